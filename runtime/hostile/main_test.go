package hostile_test

import (
	"os"
	"testing"

	"github.com/wasakari/wasakari/runtime"
)

func TestMain(m *testing.M) {
	runtime.MaybeCompile()
	os.Exit(m.Run())
}
