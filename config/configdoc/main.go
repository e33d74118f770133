// Command configdoc writes docs/configuration.md. It runs in the root of the
// checkout.
package main

import (
	"fmt"
	"os"

	"github.com/wasakari/wasakari/config"
)

func main() {
	if err := os.WriteFile("docs/configuration.md", []byte(config.Reference()), 0o644); err != nil { //nolint:gosec // documents are for everyone to read
		fmt.Fprintln(os.Stderr, "configdoc:", err)
		os.Exit(1)
	}
}
