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
		wasm, err := e.Open(t.Context())
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
	}
}
