// Package testcompiler builds a compiler of modules for tests under the race
// detector, which makes validating and compiling take many times longer.
package testcompiler

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"

	"github.com/wasakari/wasakari/runtime"
)

// Main is the main function of tests: it gives run what is to be
// runtime.Config.Compiler, and exits with its result. That is a program which is
// built with the go command; or "", for the tests' own, where that is as quick.
func Main(run func(compiler string) int) {
	runtime.MaybeCompile()
	os.Exit(with(run))
}

// MainOn is Main for tests that share one Runtime, with the compiler set.
func MainOn(cfg runtime.Config, run func(rt *runtime.Runtime) int) {
	Main(func(compiler string) int {
		cfg.Compiler = compiler
		rt, err := runtime.New(cfg)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer rt.Close(context.Background()) //nolint:errcheck // the tests are over
		return run(rt)
	})
}

const wazero = "github.com/tetratelabs/wazero"

// wazeroVersion is what wazero takes for its version in this process, which is
// not told of its modules when it tests a package that is no program: machine
// code is loaded by the version that made it.
func wazeroVersion() string {
	version := ""
	if info, ok := debug.ReadBuildInfo(); ok {
		version = info.Main.Version
		for _, dep := range info.Deps {
			if dep.Path == wazero {
				version = dep.Version
			}
		}
	}
	if version == "" || version == "(devel)" {
		return "dev"
	}
	return version
}

func with(run func(compiler string) int) int {
	if !slow {
		return run("")
	}
	dir, err := os.MkdirTemp("", "wasakari-test-compiler")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir) //nolint:errcheck // among the temporary files
	file := filepath.Join(dir, "compiler")
	// As `make build` has it, so that most of it was built before.
	cmd := exec.Command("go", "build", "-race=false", "-trimpath", "-buildvcs=false", "-o", file, //nolint:noctx,gosec // as long as a build takes; nothing is from outside
		"-ldflags=-X "+wazero+"/internal/version.version="+wazeroVersion(),
		"github.com/wasakari/wasakari/internal/testcompiler/compiler")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "go build: %v\n%s", err, out)
		return 1
	}
	return run(file)
}
