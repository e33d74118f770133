// Command rolesdoc writes docs/api-roles.md. It runs in the root of the
// checkout.
package main

import (
	"fmt"
	"os"

	"github.com/wasakari/wasakari/api/auth"
)

func main() {
	if err := os.WriteFile("docs/api-roles.md", []byte(auth.Document()), 0o644); err != nil { //nolint:gosec // documents are for everyone to read
		fmt.Fprintln(os.Stderr, "rolesdoc:", err)
		os.Exit(1)
	}
}
