// Package docs_test runs the commands that the documents tell their readers to
// type.
package docs_test

import (
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/wasakari/wasakari/internal/doctest"
)

var all = flag.Bool("all", false, "fail where a program that a document needs is not there")

// documents are those whose commands are run.
var documents = []string{"authors.md", "quickstart.md", "distribution.md", "../README.md"}

// bin is a folder with the program.
var bin string

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(main(m))
}

func main(m *testing.M) int {
	var err error
	if bin, err = os.MkdirTemp("", "wasakari-docs"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(bin)                                                                          //nolint:errcheck // among the temporary files
	build := exec.Command("go", "build", "-o", filepath.Join(bin, "wasakari"), "../../cmd/wasakari") //nolint:noctx // the tests have not begun
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "go build: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// lookAtSources has the test cache know what the program was built of, which it
// cannot see of another process.
func lookAtSources(t *testing.T) {
	t.Helper()
	const top = "../.."
	err := filepath.WalkDir(top, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if base := d.Name(); d.IsDir() && name != top && (strings.HasPrefix(base, ".") || slices.Contains([]string{"bin", "dist", "target", "node_modules", "testdata"}, base)) {
			return fs.SkipDir
		}
		if !d.IsDir() {
			_, err = os.Stat(name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestDocuments(t *testing.T) {
	lookAtSources(t)
	cache, err := exec.CommandContext(t.Context(), "go", "env", "GOCACHE").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range documents {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile(filepath.Join("..", "..", "docs", name))
			if err != nil {
				t.Fatal(err)
			}
			steps, err := doctest.Parse(string(text))
			if err != nil {
				t.Fatal(err)
			}
			if len(steps) == 0 {
				t.Fatal("there is nothing to run in it")
			}
			home := t.TempDir()
			o := doctest.Options{Dir: t.TempDir(), All: *all, Log: t.Logf, Env: []string{
				"PATH=" + bin + ":" + os.Getenv("PATH"), "HOME=" + home, "GOCACHE=" + strings.TrimSpace(string(cache)), "GOFLAGS=-mod=mod", "GOPROXY=off", "LANG=C.UTF-8",
			}}
			// A home of its own keeps the documents from the user's; where his tools are,
			// they stay.
			if user, err := os.UserHomeDir(); err == nil {
				o.Env = append(o.Env, "RUSTUP_HOME="+filepath.Join(user, ".rustup"), "CARGO_HOME="+filepath.Join(user, ".cargo"))
			}
			for _, err := range doctest.Run(t.Context(), steps, o) {
				t.Errorf("docs/%s: %v", name, err)
			}
		})
	}
}
