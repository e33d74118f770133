package config_test

import (
	"os"
	"testing"

	"github.com/wasakari/wasakari/config"
)

func TestReference(t *testing.T) {
	have, err := os.ReadFile("../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	if string(have) != config.Reference() {
		t.Error("docs/configuration.md is stale: make generate")
	}
}
