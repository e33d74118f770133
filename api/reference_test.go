package api_test

import (
	"os"
	"testing"

	"github.com/wasakari/wasakari/api"
	"github.com/wasakari/wasakari/api/wasakariv1"
)

func TestReference(t *testing.T) {
	have, err := os.ReadFile("../docs/api-reference.md")
	if err != nil {
		t.Fatal(err)
	}
	want, err := api.Reference(wasakariv1.Describe)
	if err != nil {
		t.Fatal(err)
	}
	if string(have) != want {
		t.Error("docs/api-reference.md is stale: make generate")
	}
}
