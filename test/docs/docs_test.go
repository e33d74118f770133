// Package docs_test runs the commands that the documents tell their readers to
// type, and looks whether what else they name is there: targets, options, flags,
// messages, links.
package docs_test

import (
	"flag"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wasakari/wasakari/internal/doctest"
)

var (
	all      = flag.Bool("all", false, "fail where a program that a document needs is not there")
	patience = flag.Duration("patience", 5*time.Minute, "bounds each command of a document")
)

// top is the folder of the checkout.
const top = "../.."

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
	// Documents wait for clouds most of the time.
	if p := flag.Lookup("test.parallel"); p.Value.String() == p.DefValue {
		if err := p.Value.Set("8"); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	return m.Run()
}

// lookAtSources has the test cache know what the program was built of, which it
// cannot see of another process.
func lookAtSources(t *testing.T) {
	t.Helper()
	err := filepath.WalkDir(top, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if base := d.Name(); d.IsDir() && name != top && leftAlone(base) {
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

// leftAlone tells of folders of which nothing is looked at.
func leftAlone(base string) bool {
	return strings.HasPrefix(base, ".") || slices.Contains([]string{"bin", "dist", "target", "node_modules", "testdata"}, base)
}

// documents gives the texts of all documents by their paths in the checkout.
func documents(t *testing.T) map[string]string {
	t.Helper()
	texts := map[string]string{}
	err := fs.WalkDir(os.DirFS(top), ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (name != "." && leftAlone(d.Name()) || name == "internal/abigen/generate/reference"): // parts of docs/sdk
			return fs.SkipDir
		case d.IsDir() || path.Ext(name) != ".md":
			return nil
		}
		text, err := os.ReadFile(filepath.Join(top, name))
		texts[name] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(texts) < 30 {
		t.Fatalf("%d documents", len(texts))
	}
	return texts
}

// Every block of every document is run, or is left out for a reason that it tells.
func TestDocuments(t *testing.T) {
	lookAtSources(t)
	env, err := exec.CommandContext(t.Context(), "go", "env", "GOCACHE", "GOMODCACHE", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	goEnv := strings.Fields(string(env))
	for name, text := range documents(t) {
		t.Run(name, func(t *testing.T) {
			steps, err := doctest.Parse(text)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			reasons(t, name, steps)
			if !slices.ContainsFunc(steps, func(s doctest.Step) bool { return s.Skip == "" }) {
				return
			}
			t.Parallel()
			checkout, err := filepath.Abs(top)
			if err != nil {
				t.Fatal(err)
			}
			home := t.TempDir()
			o := doctest.Options{Dir: t.TempDir(), Timeout: *patience, All: *all, Log: t.Logf, Elsewhere: elsewhere(t, text)}
			o.Env = []string{
				// The tools of the distribution come first, but for Go: what documents need is
				// named by its packages.
				"PATH=" + strings.Join([]string{bin, filepath.Join(goEnv[2], "bin"), "/usr/bin", os.Getenv("PATH"), filepath.Join(checkout, "sdk/assemblyscript/node_modules/.bin")}, ":"),
				"HOME=" + home, "CHECKOUT=" + checkout, "LANG=C.UTF-8",
				"GOCACHE=" + goEnv[0], "GOMODCACHE=" + goEnv[1], "GOFLAGS=-mod=mod", "GOPROXY=off", "GOTOOLCHAIN=local", "CGO_ENABLED=0",
				// What one document had compiled is so for all.
				"OS_WASAKARI__CACHE_DIR=" + filepath.Join(bin, "cache"),
				// A service of this machine's own is none of the document's.
				"OS_DEFAULT__MASAKARI_API_LISTEN_PORT=" + strings.TrimPrefix(o.Elsewhere[service], "127.0.0.1:"),
				"OS_TELEMETRY__METRICS_LISTEN=" + o.Elsewhere[metrics],
			}
			// A home of its own keeps the documents from the user's; where his tools are,
			// they stay.
			if user, err := os.UserHomeDir(); err == nil {
				o.Env = append(o.Env, "RUSTUP_HOME="+filepath.Join(user, ".rustup"), "CARGO_HOME="+filepath.Join(user, ".cargo"))
			}
			for _, err := range doctest.Run(t.Context(), steps, o) {
				t.Errorf("%s: %v", name, err)
			}
		})
	}
}

// Where the service listens, for clients and for Prometheus, when nobody says
// otherwise.
const (
	service = "127.0.0.1:15868"
	metrics = "127.0.0.1:15869"
)

var (
	address  = regexp.MustCompile(`127\.0\.0\.1:[0-9]{4,5}|registry\.example\.com`)
	ourPaths = []string{"/etc/masakari", "/etc/wasakari/", "/var/lib/wasakari"}
)

// elsewhere gives each address of a document a free port, and the folders of a
// machine that runs the service a place among the temporary files.
func elsewhere(t *testing.T, text string) map[string]string {
	t.Helper()
	root := t.TempDir()
	m := map[string]string{}
	for _, p := range ourPaths {
		m[p] = root + p
		if err := os.MkdirAll(m[p], 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for _, a := range append(address.FindAllString(text, -1), service, metrics) {
		if m[a] != "" {
			continue
		}
		l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close() //nolint:errcheck // it has had no connection
		m[a] = l.Addr().String()
	}
	return m
}

// elsewhereTested finds the tests that a reason names: TestName in folder.
var elsewhereTested = regexp.MustCompile(`\b((?:Test|Example)[A-Za-z0-9_]+) in ([a-z0-9_/]+)`)

// reasons looks whether the tests that stand for what is left out are there.
func reasons(t *testing.T, document string, steps []doctest.Step) {
	t.Helper()
	for _, s := range steps {
		for _, m := range elsewhereTested.FindAllStringSubmatch(s.Skip, -1) {
			files, err := filepath.Glob(filepath.Join(top, m[2], "*_test.go"))
			if err != nil {
				t.Fatal(err)
			}
			if !slices.ContainsFunc(files, func(f string) bool {
				text, err := os.ReadFile(f)
				return err == nil && strings.Contains(string(text), "\nfunc "+m[1]+"(")
			}) {
				t.Errorf("%s:%d: it is left out because of %s in %s, which is not there", document, s.Line, m[1], m[2])
			}
		}
	}
}
