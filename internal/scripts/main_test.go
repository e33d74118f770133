package scripts_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/wasakari/wasakari/internal/engines"
	"github.com/wasakari/wasakari/internal/testcompiler"
	"github.com/wasakari/wasakari/runtime"
)

// rt has the engines of the program.
var rt *runtime.Runtime

func TestMain(m *testing.M) {
	testcompiler.Main(func(file string) int {
		var list []runtime.Engine
		for _, e := range engines.All() {
			list = append(list, runtime.Engine{Name: e.Name, Digest: e.Digest, Stack: engines.Stack, Open: e.Open})
		}
		var err error
		if rt, err = runtime.New(runtime.Config{Compiler: file, Engines: list}); err != nil {
			fmt.Println(err)
			return 1
		}
		defer rt.Close(context.Background()) //nolint:errcheck // the tests are over
		return m.Run()
	})
}
