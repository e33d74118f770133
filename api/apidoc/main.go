// Command apidoc writes docs/api-reference.md. It runs in the root of the
// checkout.
package main

import (
	"fmt"
	"os"

	"github.com/wasakari/wasakari/api"
	"github.com/wasakari/wasakari/api/wasakariv1"
)

func main() {
	text, err := api.Reference(wasakariv1.Describe)
	if err == nil {
		err = os.WriteFile("docs/api-reference.md", []byte(text), 0o644) //nolint:gosec // documents are for everyone to read
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "apidoc:", err)
		os.Exit(1)
	}
}
