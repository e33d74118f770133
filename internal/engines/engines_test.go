package engines_test

import (
	"crypto/sha256"
	"encoding/hex"
	"testing"

	"github.com/wasakari/wasakari/abi"
	"github.com/wasakari/wasakari/internal/engines"
)

// Each engine is what its digest says.
func TestEngines(t *testing.T) {
	for _, e := range engines.All() {
		wasm, err := e.Open()
		if err != nil {
			t.Error(err)
			continue
		}
		sum := sha256.Sum256(wasm)
		if got := hex.EncodeToString(sum[:]); got != e.Digest {
			t.Errorf("%s: digest = %s, want %s: make engines", e.Name, got, e.Digest)
		}
		if _, err := abi.CustomSections(wasm); err != nil {
			t.Errorf("%s: %v", e.Name, err)
		}
		if found, ok := engines.Find(e.Name); !ok || found.Digest != e.Digest {
			t.Errorf("find %s = %s, %t", e.Name, found.Digest, ok)
		}
	}
	if _, ok := engines.Find("cobol"); ok {
		t.Error("found an engine that is not there")
	}
}
