package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/wasakari/wasakari/abi"
	"github.com/wasakari/wasakari/config"
	"github.com/wasakari/wasakari/recovery"
	"github.com/wasakari/wasakari/store"
)

// moduleNode makes what of a service works with modules: a store and snapshots of
// a simulated cloud's configuration.
func moduleNode(t *testing.T) *daemon {
	t.Helper()
	st, err := store.Open(t.Context(), store.Config{Dir: filepath.Join(t.TempDir(), "store"), Node: "n1"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = st.Close() })
	cfg, err := config.Load(config.Sources{})
	if err != nil {
		t.Fatal(err)
	}
	w := world{stdout: new(bytes.Buffer), stderr: new(bytes.Buffer), home: t.TempDir(), compiler: compiler, environ: []string{"XDG_CACHE_HOME=" + sharedCache()}}
	stock := newStock(w, "", zap.NewNop())
	stock.store = st
	rt, err := newRuntime(cfg, w, stock, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = rt.Close(context.Background()) })
	sv := &daemon{w: w, flags: &serveFlags{}, log: zap.NewNop(), store: st, rt: rt, node: "n1", cloud: &cloud{}}
	sv.snapshots = &snapshots{w: w, flags: &sv.flags.settings, log: sv.log, shelf: newShelf(rt, sv.log), uploads: uploadStore{st, stock}, stock: stock}
	if err := sv.load(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sv.snapshots.close)
	return sv
}

// put uploads a version.
func put(t *testing.T, s *store.Store, tenant, library, version string, keys ...string) recovery.ModuleVersion {
	t.Helper()
	var tasks []abi.ManifestTask
	for _, key := range keys {
		tasks = append(tasks, abi.ManifestTask{Key: key})
	}
	wasm := wasmOf(t, library, version, tasks...)
	sum := sha256.Sum256([]byte(wasm))
	v, _, err := uploadStore{Store: s}.PutModule(t.Context(), recovery.ModuleVersion{
		Digest: hex.EncodeToString(sum[:]), Library: library, Tenant: tenant, Version: version, Keys: keys, Size: int64(len(wasm)),
	}, strings.NewReader(wasm))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// What was uploaded before a node watched is read all the same, and told.
func TestNodeReadsWhatWasUploadedBefore(t *testing.T) {
	sv := moduleNode(t)
	v := put(t, sv.store, "", "acme", "1.0.0", "a_task")
	want, err := sv.store.ModulesRevision(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	changes := sv.store.Watch(ctx)
	go func() { ended <- sv.follow(ctx) }()
	for told := int64(0); told < want; {
		if c := <-changes; c.Node != nil {
			told = c.Node.Modules
		}
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("following ended with %v, want what it was ended with", err)
	}
	snap, release := sv.snapshots.newest()
	defer release()
	if task, _ := snap.catalog.Task("a_task"); task.Digest != v.Digest {
		t.Errorf("task %+v, want that of %s", task, v.Digest)
	}
}

// damaged is a store with one module whose bytes cannot be read.
type damaged struct {
	uploads
	digest string
}

func (d damaged) ModuleBytes(ctx context.Context, digest string) ([]byte, error) {
	if digest == d.digest {
		return nil, fmt.Errorf("chunk 1: %w", store.ErrDamaged)
	}
	return d.uploads.ModuleBytes(ctx, digest)
}

// counted counts the uploads that are read, and what is read to be kept.
type counted struct {
	uploads
	read, kept []string
}

// opened tells when it is read for the first time.
type opened struct {
	io.Reader
	once *sync.Once
	tell func()
}

func (o opened) Read(p []byte) (int, error) {
	o.once.Do(o.tell)
	return o.Reader.Read(p)
}

func (c *counted) KeepModule(ctx context.Context, tenant, digest, engine string, size int64, r io.Reader) error {
	r = opened{r, new(sync.Once), func() { c.kept = append(c.kept, digest) }}
	return c.uploads.KeepModule(ctx, tenant, digest, engine, size, r)
}

func (c *counted) ModuleBytes(ctx context.Context, digest string) ([]byte, error) {
	c.read = append(c.read, digest)
	return c.uploads.ModuleBytes(ctx, digest)
}

// What was admitted before is not read again when something else changes.
func TestUploadsAreReadOnce(t *testing.T) {
	sv := moduleNode(t)
	c := &counted{uploads: sv.snapshots.uploads}
	sv.snapshots.uploads = c
	var want []string
	for i, library := range []string{"acme", "other"} {
		want = append(want, put(t, sv.store, "", library, "1.0.0", fmt.Sprintf("task_%d", i)).Digest)
		if err := sv.refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	snap, release := sv.snapshots.newest()
	defer release()
	for i, digest := range want {
		if task, _ := snap.catalog.Task(fmt.Sprintf("task_%d", i)); task.Digest != digest {
			t.Errorf("task %+v, want that of %s", task, digest)
		}
	}
	if !slices.Equal(c.read, want) {
		t.Errorf("read %q, want each once", c.read)
	}
}

// A module of a task folder is read once to be kept, and again when another takes
// its place, or when the store has it no longer.
func TestFoldersAreKeptOnce(t *testing.T) {
	sv := moduleNode(t)
	c := &counted{uploads: sv.snapshots.uploads}
	sv.snapshots.uploads = c
	dir := t.TempDir()
	file := filepath.Join(dir, "a_task.wasm")
	sv.flags.taskDirs = []string{dir}
	cfg, err := config.Load(config.Sources{Flags: []config.Flag{
		{Group: "taskflow_driver_recovery_flows", Name: "host_auto_failure_recovery_tasks", Value: "pre:['a_task'],main:[],post:[]"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for i, version := range []string{"1.0.0", "1.0.0", "1.1.0", "1.1.0", "1.1.0", "1.1.0"} {
		wasm := []byte(wasmOf(t, "acme", version, abi.ManifestTask{Key: "a_task"}))
		if err := os.WriteFile(file, wasm, 0o600); err != nil {
			t.Fatal(err)
		}
		if i == 4 {
			c.uploads = moduleNode(t).snapshots.uploads // of a store that knows nothing
		}
		if err := sv.load(t.Context(), cfg); err != nil {
			t.Fatal(err)
		}
		if digest := digestOf(wasm); i%2 == 0 {
			want = append(want, digest)
		}
		if !slices.Equal(c.kept, want) {
			t.Errorf("after %d times: %q was read, want %q", i+1, c.kept, want)
		}
		snap, release := sv.snapshots.newest()
		if !slices.Equal(snap.kept, []keptModule{{digest: want[len(want)-1]}}) {
			t.Errorf("after %d times: %v is kept", i+1, snap.kept)
		}
		release()
	}
}

// One damaged module keeps no other from being used.
func TestDamagedUpload(t *testing.T) {
	sv := moduleNode(t)
	bad, good := put(t, sv.store, "", "acme", "1.0.0", "a_task"), put(t, sv.store, "", "other", "1.0.0", "b_task")
	sv.snapshots.uploads = damaged{sv.snapshots.uploads, bad.Digest}
	if err := sv.refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	snap, release := sv.snapshots.newest()
	defer release()
	if task, _ := snap.catalog.Task("b_task"); task.Digest != good.Digest {
		t.Errorf("task %+v, want that of %s", task, good.Digest)
	}
	if len(snap.problems) != 1 || !strings.HasPrefix(snap.problems[0].Error(), "acme 1.0.0 (sha256:"+bad.Digest[:12]+"): ") {
		t.Errorf("problems %v, want the damaged module", snap.problems)
	}
}

// The operator can go back to a version although a tenant has taken one of its
// keys meanwhile.
func TestPinBeforeTenants(t *testing.T) {
	s := moduleNode(t).store
	both := put(t, s, "", "acme", "1.0.0", "a_task", "b_task")
	put(t, s, "", "acme", "1.1.0", "a_task")
	put(t, s, "p1", "theirs", "1.0.0", "b_task")
	if _, err := (uploadStore{Store: s}).PinModule(t.Context(), "", "acme", both.Digest); err != nil {
		t.Fatal(err)
	}
	versions, err := s.Modules(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range versions {
		if v.Active != (v.Digest == both.Digest) {
			t.Errorf("%+v, want 1.0.0 of acme active and nothing else", v)
		}
	}
}

// A run begins with the modules that are active when its record is written.
func TestFirstRecord(t *testing.T) {
	s := moduleNode(t).store
	seg, err := s.CreateSegment(t.Context(), recovery.Segment{Name: "s", RecoveryMethod: recovery.Auto, Enabled: true})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.CreateHost(t.Context(), recovery.Host{Name: "h1", SegmentUUID: seg.UUID}); err != nil {
		t.Fatal(err)
	}
	n, err := s.Accept(t.Context(), recovery.Notification{
		Type: recovery.ComputeHost, HostName: "h1", Generated: time.Now(), Payload: json.RawMessage(`{"event":"STOPPED"}`),
	}, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	state, err := s.Claim(t.Context(), n.UUID)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(state.Close)
	former, now := put(t, s, "", "acme", "1.0.0", "a_task"), put(t, s, "", "acme", "1.1.0", "a_task")
	run, err := state.Record(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		digest string
		want   error
	}{{former.Digest, recovery.ErrConflict}, {strings.Repeat("0", 64), nil}, {now.Digest, nil}} { // the second is of a folder
		run.Modules = map[string]string{"a_task": tt.digest}
		first := &firstRecord{Journal: state, state: state, store: s}
		if err := first.Start(t.Context(), run); !errors.Is(err, tt.want) {
			t.Errorf("%s: error = %v, want %v", tt.digest, err, tt.want)
		}
	}
}

// The engine is told which node it is, and how long its end may take.
func TestEngineConfig(t *testing.T) {
	file := filepath.Join(t.TempDir(), "t.conf")
	if err := os.WriteFile(file, []byte("[DEFAULT]\ngraceful_shutdown_timeout = 7\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := config.Load(config.Sources{Files: []string{file}})
	if err != nil {
		t.Fatal(err)
	}
	if c := moduleNode(t).engineConfig(cfg); c.Node != "n1" || c.DrainTimeout != 7*time.Second {
		t.Errorf("node %q, drained in %s, want n1 and 7s", c.Node, c.DrainTimeout)
	}
}

// Whoever takes a run over waits until no request of the node before can be
// under way, those of tasks included; what would take longer waits for a restart.
func TestTakeOverWaitsForEveryRequest(t *testing.T) {
	of := func(lines string) *config.Config {
		t.Helper()
		file := filepath.Join(t.TempDir(), "t.conf")
		if err := os.WriteFile(file, []byte("[store]\nendpoints = http://127.0.0.1:2379\n"+lines), 0o600); err != nil {
			t.Fatal(err)
		}
		cfg, err := config.Load(config.Sources{Files: []string{file}})
		if err != nil {
			t.Fatal(err)
		}
		return cfg
	}
	for _, tt := range []struct {
		lines string
		want  time.Duration
	}{
		{"", 31 * time.Second},
		{"[http]\ntimeout_seconds = 90\n", 91 * time.Second},
		{"[wasakari]\nnova_timeout = 200\n", 200 * time.Second},
	} {
		opt, err := storeOf(of(tt.lines), world{}, "")
		if err != nil || opt.TakeOverWait != tt.want {
			t.Errorf("%q: take-over after %s, %v, want %s", tt.lines, opt.TakeOverWait, err, tt.want)
		}
	}
	sv := moduleNode(t)
	sv.takeOverWait = 31 * time.Second
	err := sv.apply(t.Context(), of("[http]\ntimeout_seconds = 90\n"))
	const want = "[wasakari] nova_timeout and [http] timeout_seconds: a request may take 1m31s, longer than the 31s that other nodes wait before they go on with a run; restart the nodes"
	if err == nil || err.Error() != want {
		t.Errorf("reload: %v, want %s", err, want)
	}
	snap, release := sv.snapshots.newest()
	defer release()
	if got := httpWait(snap.cfg); got != 31*time.Second {
		t.Errorf("requests of tasks take up to %s after the reload, want 31s as before", got)
	}
}
