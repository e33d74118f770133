// Command compiler compiles modules for tests, and does nothing else.
package main

import (
	"fmt"
	"os"

	"github.com/wasakari/wasakari/runtime"
)

func main() {
	runtime.MaybeCompile()
	fmt.Fprintln(os.Stderr, "compiler: tests start this")
	os.Exit(2)
}
