package testwasm_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wasakari/wasakari/abi"
	"github.com/wasakari/wasakari/internal/testwasm"
)

// Each module has its source beside it, which begins with what it proves, and
// the other way round.
func TestSources(t *testing.T) {
	sources, err := filepath.Glob("*.wat")
	if err != nil {
		t.Fatal(err)
	}
	modules, err := testwasm.FS.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	if len(sources) == 0 || len(sources) != len(modules) {
		t.Errorf("%d sources, %d modules", len(sources), len(modules))
	}
	for _, name := range sources {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if first, _, _ := bytes.Cut(text, []byte("\n")); !bytes.HasPrefix(first, []byte(";; ")) {
			t.Errorf("%s begins with %q, want a comment that says what it proves", name, first)
		}
		if _, err := abi.CustomSections(testwasm.Module(strings.TrimSuffix(name, ".wat"))); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestUnknownModule(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("no panic for a module that is not there")
		}
	}()
	testwasm.Module("nothing of that name")
}
