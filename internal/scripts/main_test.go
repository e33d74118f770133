package scripts_test

import (
	"testing"

	"github.com/wasakari/wasakari/internal/engines"
	"github.com/wasakari/wasakari/internal/testcompiler"
	"github.com/wasakari/wasakari/runtime"
)

// rt has the engines of the program.
var rt *runtime.Runtime

func TestMain(m *testing.M) {
	testcompiler.MainOn(runtime.Config{Engines: engines.All()}, func(r *runtime.Runtime) int {
		rt = r
		return m.Run()
	})
}
