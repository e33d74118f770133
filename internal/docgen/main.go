// Command docgen writes the pages of docs that are made from code. It runs in the
// root of the checkout.
package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/wasakari/wasakari/api"
	"github.com/wasakari/wasakari/api/auth"
	"github.com/wasakari/wasakari/api/wasakariv1"
	"github.com/wasakari/wasakari/config"
)

func main() {
	if err := write(); err != nil {
		fmt.Fprintln(os.Stderr, "docgen:", err)
		os.Exit(1)
	}
}

func write() error {
	reference, err := api.Reference(wasakariv1.Describe)
	if err != nil {
		return err
	}
	for name, text := range map[string]string{
		"api-reference.md": reference,
		"api-roles.md":     auth.Document(),
		"configuration.md": config.Reference(),
	} {
		if err := os.WriteFile(filepath.Join("docs", name), []byte(text), 0o644); err != nil { //nolint:gosec // documents are for everyone to read
			return err
		}
	}
	return nil
}
