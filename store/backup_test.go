package store_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"testing"
	"time"

	"github.com/wasakari/wasakari/recovery"
	"github.com/wasakari/wasakari/store"
	"github.com/wasakari/wasakari/store/storetest"
)

// contents gives what clients see of a store; numbers and revisions left out.
func contents(t *testing.T, s *store.Store) string {
	t.Helper()
	ctx := t.Context()
	out := map[string]any{}
	var errs []error
	put := func(name string, v any, err error) { out[name], errs = v, append(errs, err) }
	segments, err := s.Segments(ctx)
	for i := range segments {
		segments[i].Stamp.ID = 0
	}
	put("segments", segments, err)
	hosts, err := s.Hosts(ctx)
	for i := range hosts {
		hosts[i].Stamp.ID = 0
	}
	put("hosts", hosts, err)
	notifications := storetest.Notifications(t, s)
	for i := range notifications {
		notifications[i].Stamp.ID = 0
	}
	put("notifications", notifications, nil)
	queue, err := s.Queue(ctx)
	put("queue", queue, err)
	runs := storetest.Runs(t, s)
	put("runs", runs, nil)
	for _, r := range runs {
		run, tasks, values, undos, intents, err := s.RunDetail(ctx, r.ID)
		put("run "+r.ID, []any{run, tasks, values, undos, intents}, err)
		vmoves, err := s.VMoves(ctx, r.Notification)
		for i := range vmoves {
			vmoves[i].Stamp.ID = 0
		}
		put("vmoves "+r.ID, vmoves, err)
	}
	modules, err := s.Modules(ctx)
	put("modules", modules, err)
	library, err := s.Library().List(ctx, "acme", "")
	put("library", library, err)
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	data, err := json.MarshalIndent(out, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// fill writes something of every kind and returns a notification whose run has
// not ended.
func fill(t *testing.T, s *store.Store) recovery.Notification {
	t.Helper()
	ctx := t.Context()
	fatal := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	seg, err := s.CreateSegment(ctx, recovery.Segment{Name: "seg", RecoveryMethod: recovery.Auto, Enabled: true})
	fatal(err)
	for _, name := range []string{"h2", "h1", "h3"} {
		_, err = s.CreateHost(ctx, recovery.Host{Name: name, SegmentUUID: seg.UUID})
		fatal(err)
	}
	var last recovery.Notification
	for i, host := range []string{"h1", "h3"} {
		n, err := s.Accept(ctx, recovery.Notification{Type: recovery.ComputeHost, HostName: host, Payload: json.RawMessage(`{"event":"STOPPED"}`)}, time.Minute)
		fatal(err)
		r, err := s.Claim(ctx, n.UUID)
		fatal(err)
		t.Cleanup(r.Close)
		run, err := r.Record(ctx)
		fatal(err)
		fatal(r.FinishTask(ctx, recovery.TaskRecord{Seq: 1, Key: "a"}, map[string]json.RawMessage{"x": json.RawMessage(`"<1>"`)}))
		for _, id := range []string{"z", "b", "k"} {
			fatal(r.BeginIntent(ctx, recovery.Intent{ID: id, Started: run.Started}))
			fatal(r.PutVMove(ctx, recovery.VMove{UUID: id}))
		}
		if i == 0 {
			run.Status = recovery.StatusFinished
			fatal(r.End(ctx, run))
			continue
		}
		for _, id := range []string{"z", "b", "k"} {
			fatal(r.PushUndo(ctx, recovery.Undo{Key: id}))
		}
		last = n
	}
	_, err = s.Library().Put(ctx, "acme", "n", recovery.KVValue{Value: json.RawMessage(`{"a": 1}`)}, nil)
	fatal(err)
	data := bytes.Repeat([]byte("wasm"), 200<<10)
	_, err = s.PutModule(ctx, recovery.ModuleVersion{Digest: digest(data), Library: "acme", Version: "1.0.0", Keys: []string{"a"}, Size: int64(len(data))}, bytes.NewReader(data))
	fatal(err)
	return last
}

func TestBackupAndRestore(t *testing.T) {
	ctx := t.Context()
	s := open(t, filepath.Join(t.TempDir(), "store"))
	last := fill(t, s)
	want := contents(t, s)
	var backup bytes.Buffer
	if err := s.Backup(ctx, &backup); err != nil {
		t.Fatal(err)
	}
	cfg := store.Config{Dir: filepath.Join(t.TempDir(), "restored"), Node: "n2"}
	if err := store.Restore(ctx, cfg, bytes.NewReader(backup.Bytes())); err != nil {
		t.Fatal(err)
	}
	if err := store.Restore(ctx, cfg, bytes.NewReader(backup.Bytes())); !errors.Is(err, recovery.ErrExists) {
		t.Errorf("restore into what is not empty: %v", err)
	}
	restored, err := store.Open(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer restored.Close() //nolint:errcheck // only read from
	if got := contents(t, restored); got != want {
		t.Errorf("restored:\n%s\nwant:\n%s", got, want)
	}
	modules, err := restored.Modules(ctx)
	if err != nil {
		t.Fatal(err)
	}
	_, body, err := restored.Module(ctx, modules[0].Digest)
	if err != nil {
		t.Fatal(err)
	}
	if data, err := io.ReadAll(body); err != nil || len(data) != 800<<10 {
		t.Errorf("module of %d bytes, %v", len(data), err)
	}
	// What was not done with is gone on with, and nothing is taken twice.
	if _, err := restored.Accept(ctx, recovery.Notification{Type: recovery.ComputeHost, HostName: "h3", Payload: json.RawMessage(`{"event":"STOPPED"}`)}, time.Hour); !errors.Is(err, recovery.ErrDuplicate) {
		t.Errorf("accept: %v", err)
	}
	r, err := restored.Claim(ctx, last.UUID)
	if err != nil {
		t.Fatal(err)
	}
	undos, err := r.Undos(ctx)
	if err != nil || len(undos) != 3 || undos[0].Key != "z" {
		t.Errorf("undos = %v, %v", undos, err)
	}
	r.Close()

	for name, data := range map[string][]byte{
		"empty":      nil,
		"no backup":  []byte("[DEFAULT]\n"),
		"newer":      []byte(`{"wasakari_backup": 99}` + "\n"),
		"half":       backup.Bytes()[:backup.Len()/2],
		"no end":     backup.Bytes()[:backup.Len()-1],
		"other byte": append(append(bytes.Clone(backup.Bytes()[:backup.Len()/2]), backup.Bytes()[backup.Len()/2]^1), backup.Bytes()[backup.Len()/2+1:]...),
	} {
		t.Run(name, func(t *testing.T) {
			cfg := store.Config{Dir: filepath.Join(t.TempDir(), "store"), Node: "n2"}
			err := store.Restore(ctx, cfg, bytes.NewReader(data))
			if want := map[bool]error{true: store.ErrNewer, false: store.ErrDamaged}[name == "newer"]; !errors.Is(err, want) {
				t.Errorf("restore: %v, want %v", err, want)
			}
			if _, err := store.Open(ctx, cfg); !errors.Is(err, store.ErrDamaged) {
				t.Errorf("open of what was half restored: %v", err)
			}
		})
	}
}

// Many records are restored by one transaction, and have numbers of their own
// all the same, which they keep when they change.
func TestRestoredNumbers(t *testing.T) {
	ctx := t.Context()
	s := open(t, filepath.Join(t.TempDir(), "store"))
	seg, err := s.CreateSegment(ctx, recovery.Segment{Name: "seg", RecoveryMethod: recovery.Auto, Enabled: true})
	if err == nil {
		_, err = s.CreateHost(ctx, recovery.Host{Name: "h1", SegmentUUID: seg.UUID})
	}
	if err != nil {
		t.Fatal(err)
	}
	for i := range 150 {
		payload := fmt.Sprintf(`{"event":"LIFECYCLE","instance_uuid":"s%d"}`, i)
		if _, err := s.Accept(ctx, recovery.Notification{Type: recovery.VM, HostName: "h1", Payload: json.RawMessage(payload), Status: recovery.StatusIgnored}, 0); err != nil {
			t.Fatal(err)
		}
	}
	want := storetest.Notifications(t, s)
	for round := range 2 {
		var backup bytes.Buffer
		if err := s.Backup(ctx, &backup); err != nil {
			t.Fatal(err)
		}
		cfg := store.Config{Dir: filepath.Join(t.TempDir(), "restored"), Node: "n2"}
		writes := 0
		counting := cfg
		counting.Step = func(string) { writes++ }
		if err := store.Restore(ctx, counting, &backup); err != nil {
			t.Fatal(err)
		}
		if writes > 20 {
			t.Errorf("round %d: %d transactions", round, writes)
		}
		s = open(t, cfg.Dir)
		before := storetest.Notifications(t, s)
		if err := s.Retry(ctx, before[70].UUID, ""); err != nil {
			t.Fatal(err)
		}
		got := storetest.Notifications(t, s)
		if len(got) != len(want) {
			t.Fatalf("round %d: %d notifications, want %d", round, len(got), len(want))
		}
		for i, n := range got {
			if n.UUID != want[i].UUID || n.Stamp.ID != before[i].Stamp.ID || i > 0 && n.Stamp.ID >= got[i-1].Stamp.ID {
				t.Errorf("round %d: notification %d is %s with number %d, want %s with %d", round, i, n.UUID, n.Stamp.ID, want[i].UUID, before[i].Stamp.ID)
			}
		}
		if one, err := s.Notification(ctx, got[70].UUID); err != nil || one.Stamp.ID != got[70].Stamp.ID || one.Status != recovery.StatusNew {
			t.Errorf("round %d: %+v, %v", round, one, err)
		}
	}
}
