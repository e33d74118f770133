package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	goruntime "runtime"
	"slices"
	"strconv"
	"sync"
	"testing"

	"github.com/wasakari/wasakari/internal/testcompiler"
	"github.com/wasakari/wasakari/runtime"
	"github.com/wasakari/wasakari/store/storetest"
)

// asProgram makes the test binary run as the program: tests that kill it need
// a process of its own. Its value is world.compiler.
const asProgram = "WASAKARI_TEST_AS_PROGRAM"

// compiler is world.compiler for all tests.
var compiler string

func TestMain(m *testing.M) {
	runtime.MaybeCompile()
	if compiler, ok := os.LookupEnv(asProgram); ok {
		_ = os.Unsetenv(asProgram)
		home, _ := os.UserHomeDir()
		os.Exit(interruptible(world{stdout: os.Stdout, stderr: os.Stderr, environ: os.Environ(), home: home, compiler: compiler}))
	}
	testcompiler.Main(func(file string) int {
		var err error
		if scratch, err = os.MkdirTemp("", "wasakari-test"); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(scratch) //nolint:errcheck // among the temporary files
		defer storetest.RemoveEtcd()
		compiler = file
		// Half of what these tests do is to wait. -parallel overrides it.
		if err := flag.Set("test.parallel", strconv.Itoa(2*goruntime.GOMAXPROCS(0))); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return m.Run()
	})
}

// scratch is a folder for what all tests share.
var scratch string

// sharedCache is the user's folder for caches, of all tests.
func sharedCache() string { return filepath.Join(scratch, "cache") }

// result is what a command line did.
type result struct {
	code           int
	stdout, stderr string
}

// wasakari runs one command line in this process, with folders of its own for
// state and a cache that all tests share.
func wasakari(t *testing.T, environ []string, args ...string) result {
	t.Helper()
	return wasakariContext(t.Context(), t, environ, args...)
}

func wasakariContext(ctx context.Context, t *testing.T, environ []string, args ...string) result {
	t.Helper()
	var stdout, stderr bytes.Buffer
	w := world{
		stdout: &stdout, stderr: &stderr, home: t.TempDir(), compiler: compiler,
		environ: append(slices.Clone(environ), "XDG_CACHE_HOME="+sharedCache()),
	}
	code := execute(ctx, args, w)
	return result{code, stdout.String(), stderr.String()}
}

// exampleTasks builds the example modules once and returns their folder.
var exampleTasks = func() func(t *testing.T) string {
	var once sync.Once
	var dir string
	return func(t *testing.T) string {
		t.Helper()
		once.Do(func() {
			dir = filepath.Join(scratch, "tasks")
			if err := os.Mkdir(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			buildExample(t, dir, "guide-library/go", "custom_pre_task")
			buildExample(t, dir, "no_op/go", "my_noop_task")
		})
		return dir
	}
}()

func buildExample(t *testing.T, dir, folder, key string) {
	t.Helper()
	raw := filepath.Join(t.TempDir(), "raw.wasm")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-buildmode=c-shared", "-trimpath", "-ldflags=-s -w", "-o", raw, "./"+folder)
	cmd.Dir = "../../tasks-examples"
	cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build %s: %v\n%s", folder, err, out)
	}
	r := wasakari(t, nil, "task", "pack", filepath.Join("../../tasks-examples", folder, "task.yaml"), raw, "-o", filepath.Join(dir, key+".wasm"))
	if r.code != exitOK {
		t.Fatalf("task pack %s: exit %d\n%s", folder, r.code, r.stderr)
	}
}
