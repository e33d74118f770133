package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unsafe"

	"github.com/wasakari/wasakari/abi"
	"github.com/wasakari/wasakari/flow"
	"github.com/wasakari/wasakari/hostfuncs"
	"github.com/wasakari/wasakari/internal/runstate"
	"github.com/wasakari/wasakari/novasim"
	"github.com/wasakari/wasakari/recovery"
	"github.com/wasakari/wasakari/runtime"
)

// onlooker is a host that looks at the whole memory of the guest each time that
// it asks for task.script, an op that is answered while the guest stands still.
type onlooker struct {
	runtime.Host
	t     *testing.T
	looks [][]byte
}

func (o *onlooker) Do(ctx context.Context, op *abi.Op, req []byte) ([]byte, error) {
	if op.Name == abi.OpTaskScript {
		o.looks = append(o.looks, memoryAround(o.t, req))
	}
	return o.Host.Do(ctx, op, req)
}

// memoryAround copies the memory of this process in which b lies: the whole
// linear memory of a guest, when b is a view of a part of it. Only Linux tells
// where that begins and ends.
func memoryAround(t *testing.T, b []byte) []byte {
	maps, err := os.Open("/proc/self/maps")
	if err != nil {
		t.Fatal(err)
	}
	defer maps.Close() //nolint:errcheck // opened for reading
	at := uint64(uintptr(unsafe.Pointer(unsafe.SliceData(b))))
	for lines := bufio.NewScanner(maps); lines.Scan(); {
		var from, to uint64
		var mode string
		if _, err := fmt.Sscanf(lines.Text(), "%x-%x %s", &from, &to, &mode); err == nil && from <= at && at < to && strings.HasPrefix(mode, "rw") {
			whole := unsafe.Slice(unsafe.SliceData(b), to-at) // from b to the end …
			before := unsafe.Slice((*byte)(unsafe.Add(unsafe.Pointer(unsafe.SliceData(b)), -int(at-from))), at-from)
			return append(bytes.Clone(before), whole...)
		}
	}
	t.Fatalf("%x lies in no memory that can be written", at)
	return nil
}

// TestSecretsAreNotInTheGuest searches all of a guest's memory for the value of
// a secret, after it was given its options, sent the secret to the service that
// may have it, and was sent it back in every way that the service could think
// of.
func TestSecretsAreNotInTheGuest(t *testing.T) {
	t.Parallel()
	const value = "hunter2+and/more=than that"
	forms := map[string]string{
		"as it is": value, "in base64": base64.StdEncoding.EncodeToString([]byte(value)), "in base64 for URLs": base64.RawURLEncoding.EncodeToString([]byte(value)),
		"in hex": hex.EncodeToString([]byte(value)), "for a query": url.QueryEscape(value), "for a path": url.PathEscape(value),
	}
	var mu sync.Mutex
	var sent []string
	echo := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body) // what did not come cannot be sent back
		got := r.Header.Get("X-Token")
		if _, pass, ok := r.BasicAuth(); ok {
			got = pass
		}
		var doc struct{ Token string }
		if json.Unmarshal(body, &doc) == nil && doc.Token != "" {
			got = doc.Token
		}
		mu.Lock()
		sent = append(sent, got)
		mu.Unlock()
		w.Header().Set("X-Echo", got)
		w.Header().Set("Location", "https://elsewhere.example.com/?token="+url.QueryEscape(got))
		if r.URL.Path == "/fail" {
			w.WriteHeader(http.StatusInternalServerError)
		}
		for _, form := range forms {
			fmt.Fprintf(w, "%s\n", form)
		}
		_, _ = w.Write(body)
	}))
	defer echo.Close()
	origin := echo.URL
	ca := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: echo.Certificate().Raw}))

	request := func(path, more string) string {
		return fmt.Sprintf(`http.request {"method":"POST","url":"%s%s","tls":{"ca":{"$secret":"acme.ca"}},%s}`, origin, path, more)
	}
	ops := []string{
		"task.input {}",
		request("/x", `"headers":{"X-Token":{"$secret":"acme.token"}}`),
		request("/fail", `"body_json":{"token":{"$secret":"acme.token"}}`),
		request("/x", `"basic":{"user":"u","password":{"$secret":"acme.token"}}`),
		request("/x", `"headers":{"X-Other":{"$secret":"acme.token"}}`), // not a place of it
		`kv.put {"name":"scratch/handle","value":{"$secret":"acme.token"}}`,
		`kv.get {"name":"scratch/handle"}`,
		`kv.get {"name":"acme.token"}`,
		"task.script {}",
	}
	task := abi.ManifestTask{
		Key: "x", Uses: []string{"http.request", "kv.get", "kv.put"}, HTTP: []string{"POST " + origin + "/*"},
		Options: []abi.ManifestOption{
			{Group: "acme", Name: "token", Type: "string", Required: true, Secret: true},
			{Group: "acme", Name: "ca", Type: "string", Required: true, Secret: true},
			{Group: "acme", Name: "queue", Type: "string"},
		},
	}
	_, environ := startCloud(t, quickCloud, novasim.Options{})
	p := newPlace(t, map[string]string{
		"tasks/x.wasm": string(packed(t, asking(t, ops...), task)), "token": value, "ca.pem": ca,
	})
	p.write(t, "conf", "[taskflow_driver_recovery_flows]\nprocess_failure_recovery_tasks = pre:['x'],main:[],post:[]\n"+
		"[grants]\nacme = http.request, kv.get, kv.put, options:acme, http:POST:"+origin+"/*, net:127.0.0.0/8\n"+
		"[acme]\ntoken = file:"+p.dir+"/token\nca = file:"+p.dir+"/ca.pem\nqueue = plain-queue\n"+
		"[secrets]\nacme.token = "+origin+" header:X-Token, body, basic\nacme.ca = "+origin+" tls\n")
	p.environ = environ

	// In a run, as an operator sees it: what is printed, logged and kept.
	args := strings.Fields("run process --config-file DIR/conf --task-dir DIR/tasks --log-level debug --input process_name=nova-compute --input host_name=compute-2")
	var all strings.Builder
	for _, more := range [][]string{nil, {"--output", "json"}, {"--dry-run"}} {
		r := p.run(t.Context(), t, append(args, more...)...)
		if r.code != exitOK {
			t.Errorf("%v: exit code %d\n%s%s", more, r.code, r.stdout, r.stderr)
		}
		all.WriteString(r.stdout + r.stderr)
		if more == nil {
			answers := told(r, "x")
			if len(answers) != len(ops) || !strings.Contains(answers[0], `"token":{"$secret":"acme.token"}`) || !strings.Contains(answers[0], "plain-queue") {
				t.Errorf("what the task was told: %q", answers)
			}
		}
	}
	mu.Lock()
	if len(sent) < 3 || sent[0] != value || sent[1] != value || sent[2] != value {
		t.Errorf("the service got %q, want the value each time", sent)
	}
	mu.Unlock()
	err := filepath.WalkDir(filepath.Join(p.dir, "home"), func(path string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		all.Write(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for form, text := range forms {
		if i := strings.Index(all.String(), text); i >= 0 {
			t.Errorf("the value %s is told: %q", form, all.String()[max(0, i-80):min(all.Len(), i+40)])
		}
	}

	// The same task once more, under the eyes of an onlooker.
	o := p.lookOn(t, "x")
	if len(o.looks) != 1 {
		t.Fatalf("%d looks at the guest's memory, want 1", len(o.looks))
	}
	memory := o.looks[0]
	for _, known := range []string{`{"$secret":"acme.token"}`, "http.request", `"name":"scratch/handle"`} {
		if !bytes.Contains(memory, []byte(known)) {
			t.Errorf("%s is not in the %d bytes that were looked at: they are not the guest's", known, len(memory))
		}
	}
	for form, text := range forms {
		if i := bytes.Index(memory, []byte(text)); i >= 0 {
			t.Errorf("the value %s is in the guest's memory at %d: %q", form, i, memory[max(0, i-40):i+len(text)])
		}
	}
	if bytes.Contains(memory, []byte(strings.Split(ca, "\n")[1])) {
		t.Error("the certificate is in the guest's memory")
	}
}

// lookOn runs a task of the place's configuration by itself, with an onlooker
// between it and its host.
func (p *place) lookOn(t *testing.T, key string) *onlooker {
	t.Helper()
	w := world{
		stdout: io.Discard, stderr: io.Discard, home: filepath.Join(p.dir, "home"), root: filepath.Join(p.dir, "root"), compiler: compiler,
		environ: append(slices.Clone(p.environ), "XDG_CACHE_HOME="+sharedCache()),
	}
	s := settings{configFiles: []string{filepath.Join(p.dir, "conf")}, taskDirs: []string{filepath.Join(p.dir, "tasks")}, logLevel: "warn"}
	l, err := s.load(t.Context(), w, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer l.close() //nolint:errcheck // nothing was begun
	cl, err := (&cloudFlags{}).connect(t.Context(), w, l.cfg, l.log, "")
	if err != nil {
		t.Fatal(err)
	}
	defer cl.close()
	run := recovery.Run{ID: "look", Flows: []recovery.FlowKind{recovery.ProcessFailure}, Started: time.Now()}
	state, err := runstate.Create(t.TempDir(), run, runstate.Options{NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	defer state.Close()
	hatch := hostfuncs.New(hostfuncs.Deps{
		Cloud: cl.Client, Ledger: state, Library: l.library(), Scratch: state.Scratch(), HA: state, HTTP: l.outside,
		Run: hostfuncs.RunInfo{ID: run.ID, Started: run.Started},
	})
	defer hatch.Close()
	r := &runner{catalog: l.catalog, cfg: l.cfg, hatch: hatch, secrets: l.secrets}
	found, ok := l.catalog.Task(key)
	if !ok {
		t.Fatalf("no task %s", key)
	}
	o := &onlooker{t: t}
	out := r.do(t.Context(), flow.TaskCall{Key: key, Task: found, Flow: recovery.ProcessFailure, Phase: recovery.Pre},
		func(m *runtime.Module, ctx context.Context, c runtime.Call) (runtime.Result, error) {
			o.Host, c.Host = c.Host, o
			return m.Run(ctx, c)
		})
	if out.Status != recovery.TaskSucceeded {
		t.Errorf("the task ended %s: %s", out.Status, out.Message)
	}
	return o
}
