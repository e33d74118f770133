package archtest_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/wasakari/wasakari"

// may lists, for each room, the rooms that its packages may import. A folder
// without a line fails the test: say where a new room belongs.
var may = map[string][]string{
	"abi":                    {},
	"recovery":               {},
	"runtime":                {"abi", "internal/regular"},
	"hostfuncs":              {"abi", "recovery"},
	"egress":                 {"abi", "recovery"},
	"flow":                   {"recovery"},
	"engine":                 {"recovery", "flow"},
	"api":                    {"abi", "recovery", "internal/safeyaml", "internal/regular"},
	"openstack":              {"recovery"},
	"store":                  {"recovery", "internal/folder"},
	"novasim":                {"internal/safeyaml"},
	"config":                 {"abi", "recovery", "internal/regular"},
	"internal/runstate":      {"recovery", "internal/folder"},
	"internal/folder":        {"recovery"},
	"internal/standardtasks": {"abi"},
	"internal/abigen":        {},
	"internal/docgen":        {"api", "config"},
	"internal/engines":       {"runtime"},
	"internal/scripts":       {"abi", "runtime", "internal/regular"},
	"internal/testwasm":      {"abi"},
	"internal/testcompiler":  {"runtime"},
	"internal/safeyaml":      {},
	"internal/scaffold":      {"abi"},
	"internal/toolchain":     {"internal/regular"},
	"internal/regular":       {},
	"internal/doctest":       {},
	"internal/tasktest":      {"abi", "recovery", "novasim", "internal/safeyaml"},
	"internal/audit":         {"recovery"},
	"internal/lifecycle":     {},
	"internal/reload":        {},
	"internal/oci":           {"recovery", "internal/regular"},
	"internal/telemetry":     {"recovery"},
	"internal/archtest":      {},
	"internal/chaos":         {},
	"sdk/conformance":        {},
	"cmd": {
		"abi", "recovery", "runtime", "hostfuncs", "egress", "flow", "engine", "store", "openstack", "novasim", "config", "api",
		"internal/runstate", "internal/safeyaml", "internal/standardtasks", "internal/telemetry", "internal/audit",
		"internal/lifecycle", "internal/reload", "internal/scaffold", "internal/toolchain", "internal/tasktest", "internal/oci",
		"internal/engines", "internal/folder", "internal/scripts", "internal/regular",
	},
}

// only lists the outsiders that a single room may import, wherever in the
// tree they are imported. A prefix stands for all packages below it.
var only = map[string][]string{
	"github.com/tetratelabs/wazero":      {"runtime"},
	"github.com/gophercloud/gophercloud": {"openstack"},
	"github.com/knadh/koanf":             {"config"},
	"go.etcd.io/bbolt":                   {"internal/runstate"},
	"go.etcd.io/etcd":                    {"store"},
	"oras.land/oras-go":                  {"internal/oci"},
	"github.com/spf13/cobra":             {"cmd"},
	"charm.land/":                        {"cmd"},
	"github.com/goccy/go-yaml":           {"api", "internal/safeyaml", "internal/tasktest"},
	"github.com/agext/levenshtein":       {"config", "hostfuncs"},
	"github.com/prometheus/":             {"internal/telemetry", "cmd"},
	"github.com/coreos/go-systemd/":      {"internal/lifecycle"},
	"github.com/fsnotify/fsnotify":       {"internal/reload"},
	"go.opentelemetry.io/":               {"internal/telemetry", "cmd"},
	"golang.org/x/sys/unix":              {"runtime", "internal/runstate"},
	"github.com/getkin/kin-openapi":      {"api"},
	"github.com/evanw/esbuild":           {"internal/scripts"},
}

// bare lists the rooms that import nothing but the standard library and what
// may allows.
var bare = []string{"abi", "recovery", "internal/abigen", "internal/archtest"}

// TestImports parses every file in this process: a subprocess's inputs are
// invisible to the test cache, which would then hide a forbidden import.
func TestImports(t *testing.T) {
	tree := os.DirFS("../..")
	seen := map[string]bool{}
	err := fs.WalkDir(tree, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			base := path.Base(name)
			if name != "." && (base == "testdata" || strings.HasPrefix(base, ".")) {
				return fs.SkipDir
			}
			if name != "." {
				if _, err := fs.Stat(tree, path.Join(name, "go.mod")); err == nil {
					return fs.SkipDir // a module of its own
				}
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return nil
		}
		room := roomOf(path.Dir(name))
		if room == "" {
			t.Errorf("%s: no room: add a line to may", name)
			return nil
		}
		seen[room] = true
		check(t, tree, name, room)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for room := range may {
		if !seen[room] && room != "sdk/conformance" {
			t.Errorf("may has a line for %s, where no Go file is", room)
		}
	}
}

func check(t *testing.T, tree fs.FS, name, room string) {
	t.Helper()
	src, err := fs.ReadFile(tree, name)
	if err != nil {
		t.Fatal(err)
	}
	file, err := parser.ParseFile(token.NewFileSet(), name, src, parser.ImportsOnly)
	if err != nil {
		t.Fatal(err)
	}
	for _, spec := range file.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			t.Fatal(err)
		}
		if ours, ok := strings.CutPrefix(imported, module+"/"); ok {
			target := roomOf(ours)
			if target != room && !slices.Contains(may[room], target) {
				t.Errorf("%s: %s may not import %s", name, room, ours)
			}
			continue
		}
		if !strings.Contains(strings.SplitN(imported, "/", 2)[0], ".") {
			continue // standard library
		}
		if slices.Contains(bare, room) {
			t.Errorf("%s: %s may import the standard library only, not %s", name, room, imported)
		}
		for prefix, rooms := range only {
			if strings.HasPrefix(imported, prefix) && !slices.Contains(rooms, room) {
				t.Errorf("%s: only %v may import %s", name, rooms, imported)
			}
		}
	}
}

// roomOf returns the longest key of may that dir lies in, or "".
func roomOf(dir string) string {
	for d := dir; d != "." && d != "/"; d = path.Dir(d) {
		if _, ok := may[d]; ok {
			return d
		}
	}
	return ""
}
