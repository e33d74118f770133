package main

import (
	"bytes"
	"context"
	"embed"
	"encoding/json"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/wasakari/wasakari/abi"
	"github.com/wasakari/wasakari/internal/runstate"
	"github.com/wasakari/wasakari/internal/testwasm"
	"github.com/wasakari/wasakari/novasim"
	"github.com/wasakari/wasakari/runtime"
)

// testdata holds guests; their sources are beside them, in the text format,
// and say how they are built.
//
//go:embed testdata/*.wasm
var testdata embed.FS

// guest gives a module of testdata or else of testwasm.
func guest(name string) []byte {
	if b, err := testdata.ReadFile("testdata/" + name + ".wasm"); err == nil {
		return b
	}
	return testwasm.Module(name)
}

// packed gives a module with a manifest of the library acme and these tasks.
func packed(t *testing.T, module []byte, tasks ...abi.ManifestTask) []byte {
	t.Helper()
	wasm, err := abi.AppendManifest(module, &abi.Manifest{ABI: 1, Library: "acme", Version: "1.0.0", Tasks: tasks})
	if err != nil {
		t.Fatal(err)
	}
	return wasm
}

// place is a folder of a test with what a command line reads and leaves: files
// as it finds them, home as it leaves it.
type place struct {
	dir     string
	environ []string
	stdout  func([]byte)     // gets what is printed, as it is printed; may be nil
	asked   bool             // wasakari run is not told --yes
	engines []runtime.Engine // that the program carries; nil: its own
}

// newPlace makes the files, each with its folder.
func newPlace(t *testing.T, files map[string]string) *place {
	t.Helper()
	p := &place{dir: t.TempDir()}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		p.write(t, name, files[name])
	}
	if err := os.MkdirAll(filepath.Join(p.dir, "home"), 0o700); err != nil {
		t.Fatal(err)
	}
	return p
}

func (p *place) write(t *testing.T, name, text string) {
	t.Helper()
	path := filepath.Join(p.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// run runs a command line, in which DIR stands for the folder.
func (p *place) run(ctx context.Context, t *testing.T, args ...string) result {
	t.Helper()
	var stdout, stderr bytes.Buffer
	args = slices.Clone(args)
	if len(args) > 1 && args[0] == "run" && !p.asked && !slices.Contains(args, "--server") {
		args = append(args, "--yes")
	}
	for i := range args {
		args[i] = strings.ReplaceAll(args[i], "DIR", p.dir)
	}
	w := world{
		stdout: tee{&stdout, p.stdout}, stderr: &stderr, home: filepath.Join(p.dir, "home"), root: filepath.Join(p.dir, "root"),
		compiler: compiler, engines: p.engines,
		environ: append(slices.Clone(p.environ), "XDG_CACHE_HOME="+sharedCache()),
	}
	for i := range w.environ {
		w.environ[i] = strings.ReplaceAll(w.environ[i], "DIR", p.dir)
	}
	code := execute(ctx, args, w)
	return result{code, stdout.String(), strings.ReplaceAll(stderr.String(), p.dir, "DIR")}
}

// tee passes on what is written.
type tee struct {
	*bytes.Buffer
	also func([]byte)
}

func (w tee) Write(b []byte) (int, error) {
	n, err := w.Buffer.Write(b)
	if w.also != nil {
		w.also(b)
	}
	return n, err
}

// runs lists the runs in the state folder.
func (p *place) runs(t *testing.T) []runstate.Entry {
	t.Helper()
	list, err := runstate.List(filepath.Join(p.dir, "home/.local/state/wasakari"))
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// quickCloud is a cloud in which everything happens at once: a host that has
// just died is seen to be down, and every change is done when it is answered.
const quickCloud = `
seed: 3
hosts:
  - {name: compute-1, state: down}
  - {name: compute-2}
  - {name: compute-3}
  - {name: compute-4, disabled: true, disabled_reason: reserved host}
servers:
  - {names: [batch-1, batch-2], host: compute-1}
  - {names: [web-1, web-2], host: compute-1, metadata: {HA_Enabled: "True"}}
  - {name: db, host: compute-1, vm_state: stopped}
  - {name: broken, host: compute-1, vm_state: error, fault: Guest did not start.}
  - {name: snapshot, host: compute-1, vm_state: paused}
  - {name: pinned, host: compute-1, locked: true, locked_reason: do not touch}
  - {name: other, host: compute-2}
  - {name: frozen, host: compute-2, vm_state: paused}
`

// startCloud serves a scenario and returns it with the variables by which the
// program finds it.
func startCloud(t *testing.T, scenario string, o novasim.Options) (sim *novasim.Cloud, environ []string) {
	t.Helper()
	sc, err := novasim.ParseScenario("scenario", []byte(scenario))
	if err != nil {
		t.Fatal(err)
	}
	if sim, err = novasim.New(sc, o); err != nil {
		t.Fatal(err)
	}
	server, err := sim.Start(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sim.Close() })
	cr := sim.Credentials()
	return sim, []string{
		"OS_AUTH_URL=" + server.URL, "OS_USERNAME=" + cr.Username, "OS_PASSWORD=" + cr.Password, "OS_PROJECT_NAME=" + cr.ProjectName,
		"OS_USER_DOMAIN_NAME=" + cr.UserDomainName, "OS_PROJECT_DOMAIN_NAME=" + cr.ProjectDomainName, "OS_REGION_NAME=" + cr.Region,
	}
}

// changes lists the changes that a cloud took, in order, as "action name".
func changes(sim *novasim.Cloud) []string {
	names := map[string]string{}
	for _, s := range sim.Servers() {
		names[s.ID] = s.Name
	}
	var list []string
	for _, r := range sim.Requests() {
		if r.Service != "compute" || r.Method == http.MethodGet || r.Status >= 300 {
			continue
		}
		what := r.Action
		if what == "" {
			what = r.Method + " " + r.Path
		}
		if name, ok := names[r.Server]; ok {
			what += " " + name
		}
		list = append(list, what)
	}
	return list
}

// server finds a server by its name.
func server(t *testing.T, sim *novasim.Cloud, name string) novasim.ServerState {
	t.Helper()
	all := sim.Servers()
	i := slices.IndexFunc(all, func(s novasim.ServerState) bool { return s.Name == name })
	if i < 0 {
		t.Fatalf("no server %s", name)
	}
	return all[i]
}

// service finds the nova-compute of a host.
func service(t *testing.T, sim *novasim.Cloud, host string) novasim.ServiceState {
	t.Helper()
	all := sim.Services()
	i := slices.IndexFunc(all, func(s novasim.ServiceState) bool { return s.Host == host })
	if i < 0 {
		t.Fatalf("no host %s", host)
	}
	return all[i]
}

// documentOf decodes what --output json printed: one document, with no field
// that the report does not have.
func documentOf(t *testing.T, r result) report {
	t.Helper()
	dec := json.NewDecoder(strings.NewReader(r.stdout))
	dec.DisallowUnknownFields()
	var doc report
	if err := dec.Decode(&doc); err != nil {
		t.Fatalf("standard output is no document: %v\nexit %d\n%s%s", err, r.code, r.stdout, r.stderr)
	}
	if dec.More() {
		t.Fatalf("more than one document on standard output:\n%s", r.stdout)
	}
	return doc
}
