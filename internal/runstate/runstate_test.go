package runstate_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.etcd.io/bbolt"

	"github.com/wasakari/wasakari/internal/runstate"
	"github.com/wasakari/wasakari/recovery"
)

// The interfaces that this package serves, as those who need them declare
// them.
type (
	journal interface {
		Start(context.Context, recovery.Run) error
		StartTask(context.Context, recovery.TaskRecord) error
		FinishTask(context.Context, recovery.TaskRecord, map[string]json.RawMessage) error
		SetValues(context.Context, map[string]json.RawMessage) error
		End(context.Context, recovery.Run) error
	}
	ledger interface {
		BeginIntent(context.Context, recovery.Intent) error
		EndIntent(context.Context, recovery.Intent) error
		OpenIntents(context.Context) ([]recovery.Intent, error)
		PushUndo(context.Context, recovery.Undo) error
		DropUndo(ctx context.Context, key string) error
		Undos(context.Context) ([]recovery.Undo, error)
		Check(context.Context, time.Duration) error
	}
	ha interface {
		Segment(context.Context) (recovery.Segment, error)
		Hosts(context.Context) ([]recovery.Host, error)
		UpdateHost(context.Context, recovery.Host) error
		VMoves(context.Context) ([]recovery.VMove, error)
		PutVMove(context.Context, recovery.VMove) error
	}
	keyValues interface {
		Get(ctx context.Context, owner, name string) (recovery.KVValue, error)
		Put(ctx context.Context, owner, name string, v recovery.KVValue, ifVersion *int64) (int64, error)
		Delete(ctx context.Context, owner, name string, ifVersion *int64) error
		List(ctx context.Context, owner, prefix string) ([]recovery.KVValue, error)
	}
)

var (
	_ journal   = (*runstate.Run)(nil)
	_ ledger    = (*runstate.Run)(nil)
	_ ha        = (*runstate.Run)(nil)
	_ keyValues = runstate.Scratch{}
	_ keyValues = (*runstate.Library)(nil)
)

const childEnv = "RUNSTATE_TEST_CHILD"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childEnv); dir != "" {
		child(dir)
		return
	}
	if dir := os.Getenv(guardChildEnv); dir != "" {
		guardChild(dir)
		return
	}
	os.Exit(m.Run())
}

func raw(s string) json.RawMessage { return json.RawMessage(s) }

func value(s string) recovery.KVValue { return recovery.KVValue{Value: raw(s)} }

func must[T any](v T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func check(t *testing.T, errs ...error) {
	t.Helper()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
}

func asJSON(t *testing.T, v any) string {
	t.Helper()
	return string(must(json.Marshal(v))(t))
}

func newRun(id string) recovery.Run {
	return recovery.Run{
		ID: id, Flows: []recovery.FlowKind{recovery.HostAuto}, Status: recovery.StatusNew, Inputs: map[string]json.RawMessage{"host_name": raw(`"h1"`)},
		Started: time.Date(2026, 11, 23, 4, 0, 0, 0, time.UTC), Modules: map[string]string{"a": "sha"},
		Plans: map[recovery.FlowKind]recovery.Flow{recovery.HostAuto: {Kind: recovery.HostAuto, Pre: []recovery.TaskRef{{Key: "a"}}}},
	}
}

func options() runstate.Options {
	return runstate.Options{
		Segment: recovery.Segment{UUID: "s1", Name: "seg", RecoveryMethod: recovery.Auto, Enabled: true},
		Hosts:   []recovery.Host{{UUID: "u2", Name: "h2", Reserved: true}, {UUID: "u1", Name: "h1"}, {Name: "h3"}},
	}
}

// everything reads all that a run's file holds.
func everything(ctx context.Context, r *runstate.Run) (map[string]any, error) {
	out := make(map[string]any)
	var errs []error
	put := func(name string, v any, err error) { out[name], errs = v, append(errs, err) }
	run, err := r.Record(ctx)
	put("run", run, err)
	history, err := r.History(ctx)
	put("history", history, err)
	values, err := r.Values(ctx)
	put("values", values, err)
	intents, err := r.OpenIntents(ctx)
	put("intents", intents, err)
	undos, err := r.Undos(ctx)
	put("undos", undos, err)
	segment, err := r.Segment(ctx)
	put("segment", segment, err)
	hosts, err := r.Hosts(ctx)
	put("hosts", hosts, err)
	vmoves, err := r.VMoves(ctx)
	put("vmoves", vmoves, err)
	scratch, err := r.Scratch().List(ctx, "place", "")
	put("scratch", scratch, err)
	return out, errors.Join(errs...)
}

func TestEverythingIsThereAfterReopening(t *testing.T) {
	dir, ctx := filepath.Join(t.TempDir(), "state"), t.Context()
	r := must(runstate.Create(dir, newRun("r1"), options()))(t)

	run := newRun("r1")
	run.Status = recovery.StatusRunning
	first := recovery.TaskRecord{Seq: 1, Key: "a", Status: recovery.TaskRunning, Flow: recovery.HostAuto}
	done := first
	done.Status = recovery.TaskSucceeded
	second := recovery.TaskRecord{
		Seq: 300, Key: "b", Status: recovery.TaskReverted,
		Revert: &recovery.RevertRecord{Of: recovery.TaskFailed, Reason: "boom", Attempt: 1, Started: run.Started},
	}
	check(t,
		r.Start(ctx, run),
		r.StartTask(ctx, second),
		r.SetValues(ctx, map[string]json.RawMessage{"gone": raw(`1`)}),
		r.SetValues(ctx, map[string]json.RawMessage{"kept": raw(`{"a": 1}`)}),
		r.StartTask(ctx, first),
		r.FinishTask(ctx, done, map[string]json.RawMessage{"x": raw(`"<1>"`)}),

		r.BeginIntent(ctx, recovery.Intent{ID: "i1", Op: "nova.server_evacuate", Target: "s1", Known: []string{"req-1"}}),
		r.BeginIntent(ctx, recovery.Intent{ID: "i0", Op: "nova.server_lock", Target: "s1"}),
		r.BeginIntent(ctx, recovery.Intent{ID: "i2", Op: "nova.server_stop", Target: "s1"}),
		r.EndIntent(ctx, recovery.Intent{ID: "i0", State: recovery.IntentDone}),
		r.EndIntent(ctx, recovery.Intent{ID: "i2", Message: "still looking"}),
		r.EndIntent(ctx, recovery.Intent{ID: "i0", State: recovery.IntentRefused}),

		r.PushUndo(ctx, recovery.Undo{Key: "z", Kind: recovery.UndoLock, Target: "s1"}),
		r.PushUndo(ctx, recovery.Undo{Key: "y", Kind: recovery.UndoLock, Target: "s2"}),
		r.PushUndo(ctx, recovery.Undo{Key: "a", Kind: recovery.UndoServiceEnable, Target: "h2"}),
		r.PushUndo(ctx, recovery.Undo{Key: "z", Kind: recovery.UndoLock, Target: "s1", Reason: "wasakari r1"}),
		r.DropUndo(ctx, "y"),
		r.DropUndo(ctx, "never there"),

		r.UpdateHost(ctx, recovery.Host{UUID: "u2", Name: "h2"}),
		r.UpdateHost(ctx, recovery.Host{Name: "h3", OnMaintenance: true}),
		r.PutVMove(ctx, recovery.VMove{UUID: "v9", Status: recovery.VMovePending}),
		r.PutVMove(ctx, recovery.VMove{UUID: "v1", Status: recovery.VMovePending}),
		r.PutVMove(ctx, recovery.VMove{UUID: "v9", Status: recovery.VMoveSucceeded}),
	)
	must(r.Scratch().Put(ctx, "place", "n", value(`2`), nil))(t)
	before := must(everything(ctx, r))(t)
	r.Close()
	r.Close()

	r = must(runstate.Open(dir, "r1", runstate.Options{}))(t)
	defer r.Close()
	got := must(everything(ctx, r))(t)
	if got, want := asJSON(t, got), asJSON(t, before); got != want {
		t.Errorf("after reopening: %s\nbefore: %s", got, want)
	}
	want := map[string]any{
		"run":     run,
		"history": []recovery.TaskRecord{done, second},
		"values":  map[string]json.RawMessage{"kept": raw(`{"a": 1}`), "x": raw(`"<1>"`)},
		"intents": []recovery.Intent{
			{ID: "i1", Op: "nova.server_evacuate", Target: "s1", Known: []string{"req-1"}, State: recovery.IntentOpen},
			{ID: "i2", State: recovery.IntentOpen, Message: "still looking"},
		},
		"undos": []recovery.Undo{
			{Key: "z", Kind: recovery.UndoLock, Target: "s1", Reason: "wasakari r1"},
			{Key: "a", Kind: recovery.UndoServiceEnable, Target: "h2"},
		},
		"segment": options().Segment,
		"hosts":   []recovery.Host{{UUID: "u2", Name: "h2"}, {UUID: "u1", Name: "h1"}, {Name: "h3", OnMaintenance: true}},
		"vmoves":  []recovery.VMove{{UUID: "v9", Status: recovery.VMoveSucceeded}, {UUID: "v1", Status: recovery.VMovePending}},
		"scratch": []recovery.KVValue{{Name: "n", Value: raw(`2`), Version: 1}},
	}
	for name := range want {
		if got, want := asJSON(t, got[name]), asJSON(t, want[name]); got != want {
			t.Errorf("%s = %s, want %s", name, got, want)
		}
	}
	if err := r.Check(ctx, time.Hour); err != nil {
		t.Errorf("check = %v", err)
	}
	run.Status, run.Finished = recovery.StatusFinished, true
	check(t, r.End(ctx, run))
	if got := must(r.Record(ctx))(t); !got.Finished || r.ID() != "r1" {
		t.Errorf("run %s finished %t", r.ID(), got.Finished)
	}
}

func TestRefusals(t *testing.T) {
	dir, ctx := t.TempDir(), t.Context()
	check(t, os.Chmod(dir, 0o700))
	r := must(runstate.Create(dir, newRun("r1"), runstate.Options{}))(t)
	defer r.Close()
	path := filepath.Join(dir, "runs", "r1.db")
	one := func(_ any, err error) error { return err }
	tests := []struct {
		name string
		do   func() error
		want string
		is   error
	}{
		{"create twice", func() error { return one(runstate.Create(dir, newRun("r1"), runstate.Options{})) }, "run r1: conflict: it is in " + path + " already", recovery.ErrConflict},
		{"open what is not there", func() error { return one(runstate.Open(dir, "r2", runstate.Options{})) }, "run r2: not found in " + dir, recovery.ErrNotFound},
		{
			"open what is being worked on", func() error { return one(runstate.Open(dir, "r1", runstate.Options{})) },
			"run r1: still being worked on by another process; wait until it has ended, or stop it, before going on with the run", runstate.ErrBusy,
		},
		{
			"an id that leads elsewhere", func() error { return one(runstate.Open(dir, "../r1", runstate.Options{})) },
			`run id "../r1": invalid: want letters, digits, dots, dashes and underscores, 128 at most`, recovery.ErrInvalid,
		},
		{"no id", func() error { return one(runstate.Create(dir, newRun(""), runstate.Options{})) }, `run id "": invalid: want letters, digits, dots, dashes and underscores, 128 at most`, recovery.ErrInvalid},
		{"another run", func() error { return r.Start(ctx, newRun("r2")) }, `run r1: invalid: it is not run "r2"`, recovery.ErrInvalid},
		{"a record without a number", func() error { return r.StartTask(ctx, recovery.TaskRecord{}) }, "run r1: invalid: a record without a number", recovery.ErrInvalid},
		{
			"a value that is not JSON", func() error {
				return r.FinishTask(ctx, recovery.TaskRecord{Seq: 1}, map[string]json.RawMessage{"x": raw(`{`)})
			},
			`run r1: value "x": invalid: want a name and JSON`, recovery.ErrInvalid,
		},
		{"an intent that was not begun", func() error { return r.EndIntent(ctx, recovery.Intent{ID: "i"}) }, `run r1: intent "i": not found`, recovery.ErrNotFound},
		{"an intent without an id", func() error { return r.BeginIntent(ctx, recovery.Intent{}) }, "run r1: invalid: a document of recovery.Intent without an id", recovery.ErrInvalid},
		{"no segment", func() error { return one(r.Segment(ctx)) }, "run r1: segment: not found", recovery.ErrNotFound},
		{"no such host", func() error { return r.UpdateHost(ctx, recovery.Host{UUID: "u"}) }, "run r1: host u: not found", recovery.ErrNotFound},
		{"no such scratch key", func() error { return one(r.Scratch().Get(ctx, "p", "n")) }, `run r1: key "n": not found`, recovery.ErrNotFound},
		{"a context that ended", func() error {
			ctx, cancel := context.WithCancel(ctx)
			cancel()
			return errors.Join(one(r.VMoves(ctx)), r.PutVMove(ctx, recovery.VMove{UUID: "v"}))
		}, "run r1: context canceled\nrun r1: context canceled", context.Canceled},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := tt.do()
			if err == nil || err.Error() != tt.want || !errors.Is(err, tt.is) {
				t.Errorf("error = %v, want %s", err, tt.want)
			}
		})
	}
	// What was refused left nothing.
	if got := must(r.History(ctx))(t); len(got) != 0 {
		t.Errorf("history = %v, want none", got)
	}
	r.Close()
	if err := r.PutVMove(ctx, recovery.VMove{UUID: "v"}); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("write after close: %v", err)
	}
	if _, err := r.VMoves(ctx); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("read after close: %v", err)
	}
}

func TestFolders(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "state")
	must(runstate.Create(dir, newRun("r1"), runstate.Options{}))(t).Close()
	must(runstate.NewLibrary(dir).Put(t.Context(), "lib", "n", value(`1`), nil))(t)
	for path, want := range map[string]fs.FileMode{
		dir: 0o700 | fs.ModeDir, filepath.Join(dir, "runs"): 0o700 | fs.ModeDir,
		filepath.Join(dir, "runs", "r1.db"): 0o600, filepath.Join(dir, "library.db"): 0o600,
	} {
		if got := must(os.Stat(path))(t).Mode(); got != want {
			t.Errorf("%s: mode %v, want %v", path, got, want)
		}
	}
	for _, path := range []string{filepath.Join(dir, "runs"), dir} {
		check(t, os.Chmod(path, 0o720))
		want := fmt.Sprintf("state folder %s: forbidden: others may write to it (mode 0720); chmod 700 it, or name another folder", path)
		_, open := runstate.Open(dir, "r1", runstate.Options{})
		_, create := runstate.Create(dir, newRun("r2"), runstate.Options{})
		for _, err := range []error{open, create} {
			if err == nil || err.Error() != want {
				t.Errorf("error = %v, want %s", err, want)
			}
		}
		if path == dir {
			if _, err := runstate.NewLibrary(dir).Put(t.Context(), "lib", "n", value(`1`), nil); !errors.Is(err, recovery.ErrForbidden) {
				t.Errorf("library: error = %v, want forbidden", err)
			}
		}
		check(t, os.Chmod(path, 0o700))
	}
	if got := must(os.ReadDir(filepath.Join(dir, "runs")))(t); len(got) != 1 {
		t.Errorf("files left in the folder: %v", got)
	}
}

func TestListAndKnown(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	if got, err := runstate.List(dir); got != nil || err != nil {
		t.Errorf("list of no folder = %v, %v", got, err)
	}
	for _, id := range []string{"c-running", "a-done", "b-busy"} {
		r := must(runstate.Create(dir, newRun(id), runstate.Options{}))(t)
		run := newRun(id)
		run.Finished, run.Status = id == "a-done", recovery.StatusFinished
		check(t, r.Start(t.Context(), run))
		if id == "b-busy" {
			defer r.Close()
			continue
		}
		r.Close()
	}
	runs := filepath.Join(dir, "runs")
	check(t,
		os.WriteFile(filepath.Join(runs, "d-damaged.db"), []byte("no database"), 0o600),
		os.WriteFile(filepath.Join(runs, "note.txt"), nil, 0o600),
		os.WriteFile(filepath.Join(runs, ".new-123"), nil, 0o600))
	var got []string
	for _, e := range must(runstate.List(dir))(t) {
		got = append(got, fmt.Sprintf("%s %s started=%t finished=%t busy=%t damaged=%t", e.ID, e.Status, !e.Started.IsZero(), e.Finished, e.Busy, errors.Is(e.Err, runstate.ErrDamaged)))
	}
	want := []string{
		"a-done finished started=true finished=true busy=false damaged=false",
		"b-busy running started=false finished=false busy=true damaged=false",
		"c-running finished started=true finished=false busy=false damaged=false",
		"d-damaged  started=false finished=false busy=false damaged=true",
	}
	if !slices.Equal(got, want) {
		t.Errorf("list:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	for id, want := range map[string][2]bool{
		"a-done": {true, true}, "b-busy": {false, true}, "c-running": {false, true}, "d-damaged": {false, true}, "none": {false, false}, "../runs/a-done": {false, false},
	} {
		if ended, known := runstate.Known(dir, id); ended != want[0] || known != want[1] {
			t.Errorf("known %s = ended %t, known %t, want %v", id, ended, known, want)
		}
	}
}

func TestNewerFormat(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	must(runstate.Create(dir, newRun("r1"), runstate.Options{}))(t).Close()
	library := runstate.NewLibrary(dir)
	must(library.Put(t.Context(), "lib", "n", value(`1`), nil))(t)
	for _, path := range []string{"runs/r1.db", "library.db"} {
		db := must(bbolt.Open(filepath.Join(dir, path), 0o600, nil))(t)
		check(t, db.Update(func(tx *bbolt.Tx) error { return tx.Bucket([]byte("meta")).Put([]byte("format"), []byte("2")) }), db.Close())
	}
	_, err := runstate.Open(dir, "r1", runstate.Options{})
	if want := "run r1: written by a newer wasakari: format 2, and this one knows up to 1; go on with the newer one"; err == nil || err.Error() != want || !errors.Is(err, runstate.ErrNewer) {
		t.Errorf("error = %v, want %s", err, want)
	}
	if _, err := library.Get(t.Context(), "lib", "n"); !errors.Is(err, runstate.ErrNewer) {
		t.Errorf("library: error = %v", err)
	}
	if _, err := library.Put(t.Context(), "lib", "n", value(`1`), nil); !errors.Is(err, runstate.ErrNewer) {
		t.Errorf("library: error = %v", err)
	}
}

// filled makes the file of a run with something in all of its parts and
// returns its bytes.
func filled(tb testing.TB, dir string) []byte {
	tb.Helper()
	ctx := context.Background()
	r, err := runstate.Create(dir, newRun("r1"), options())
	if err != nil {
		tb.Fatal(err)
	}
	for i := range 60 {
		name := fmt.Sprintf("n%d", i)
		_, err := r.Scratch().Put(ctx, "place", name, value(`"`+strings.Repeat("x", 100)+`"`), nil)
		err = errors.Join(err,
			r.FinishTask(ctx, recovery.TaskRecord{Seq: i + 1, Key: name}, map[string]json.RawMessage{name: raw(`1`)}),
			r.BeginIntent(ctx, recovery.Intent{ID: name}),
			r.PushUndo(ctx, recovery.Undo{Key: name}),
			r.PutVMove(ctx, recovery.VMove{UUID: name, Message: strings.Repeat("y", 200)}))
		if err != nil {
			tb.Fatal(err)
		}
	}
	r.Close()
	data, err := os.ReadFile(filepath.Join(dir, "runs", "r1.db"))
	if err != nil {
		tb.Fatal(err)
	}
	return data
}

// use opens a file and does with it what a resumption does. Errors are fine,
// panics are not.
func use(tb testing.TB, dir string, data []byte) error {
	tb.Helper()
	ctx := context.Background()
	if err := os.WriteFile(filepath.Join(dir, "runs", "r1.db"), data, 0o600); err != nil {
		tb.Fatal(err)
	}
	_, err := runstate.List(dir)
	r, openErr := runstate.Open(dir, "r1", runstate.Options{NoSync: true})
	if openErr != nil {
		return openErr
	}
	defer r.Close()
	_, readErr := everything(ctx, r)
	return errors.Join(err, readErr,
		r.Start(ctx, newRun("r1")),
		r.FinishTask(ctx, recovery.TaskRecord{Seq: 30}, map[string]json.RawMessage{"n3": raw(`2`)}),
		r.EndIntent(ctx, recovery.Intent{ID: "n1", State: recovery.IntentDone}),
		r.DropUndo(ctx, "n20"),
		r.PutVMove(ctx, recovery.VMove{UUID: "n7"}),
		r.SetValues(ctx, nil))
}

func TestDamagedFiles(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	data := filled(t, dir)
	check(t, use(t, dir, data))
	tests := []struct {
		name string
		data []byte
		want string
	}{
		{"empty", nil, "damaged: no database, or its head is lost"},
		{"not a database", []byte("[DEFAULT]\n"), "damaged: no database, or its head is lost"},
		{"zeroes", make([]byte, 1<<16), "damaged: no database, or its head is lost"},
		{"head only", data[:8192], "damaged: the end is missing"},
		{"half", data[:len(data)/4&^4095], "damaged: the end is missing"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := use(t, dir, tt.data)
			if !errors.Is(err, runstate.ErrDamaged) || !strings.Contains(err.Error(), "run r1: ") || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error = %v, want damaged", err)
			}
		})
	}
	t.Run("random pages", func(t *testing.T) {
		rnd := rand.New(rand.NewPCG(1, 2))
		damaged := 0
		for range 300 {
			bad := slices.Clone(data)
			for range 1 + rnd.IntN(8) {
				page := 2 + rnd.IntN(len(bad)/4096-2)
				at := page*4096 + rnd.IntN(64)
				bad[at] ^= byte(1 + rnd.IntN(255))
			}
			if err := use(t, dir, bad); err != nil {
				damaged++
			}
		}
		if damaged == 0 {
			t.Error("nothing was found to be damaged")
		}
	})
}

func FuzzOpen(f *testing.F) {
	dir := filepath.Join(f.TempDir(), "state")
	data := filled(f, dir)
	f.Add(uint32(0), []byte("x"))
	f.Add(uint32(4096*3+8), []byte{4, 0})
	f.Add(uint32(len(data)/2), []byte{0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, at uint32, patch []byte) {
		bad := slices.Clone(data)
		copy(bad[int(at)%len(bad):], patch)
		_ = use(t, dir, bad)
	})
}

// TestHammer writes from many goroutines and looks for everything afterwards.
func TestHammer(t *testing.T) {
	dir, ctx := filepath.Join(t.TempDir(), "state"), t.Context()
	r := must(runstate.Create(dir, newRun("r1"), runstate.Options{}))(t)
	const workers, rounds = 16, 20
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := range rounds {
				id := fmt.Sprintf("%d-%d", w, i)
				err := errors.Join(
					r.BeginIntent(ctx, recovery.Intent{ID: id}),
					r.PushUndo(ctx, recovery.Undo{Key: id}),
					r.PutVMove(ctx, recovery.VMove{UUID: id}),
				)
				if i%2 == 0 {
					err = errors.Join(err, r.EndIntent(ctx, recovery.Intent{ID: id, State: recovery.IntentDone}), r.DropUndo(ctx, id))
				}
				if e := r.EndIntent(ctx, recovery.Intent{ID: "none"}); !errors.Is(e, recovery.ErrNotFound) {
					err = errors.Join(err, fmt.Errorf("refused neighbour: %w", e))
				}
				if _, e := r.OpenIntents(ctx); e != nil {
					err = errors.Join(err, e)
				}
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	r.Close()
	r = must(runstate.Open(dir, "r1", runstate.Options{}))(t)
	defer r.Close()
	if got, want := len(must(r.OpenIntents(ctx))(t)), workers*rounds/2; got != want {
		t.Errorf("%d open intents, want %d", got, want)
	}
	if got, want := len(must(r.Undos(ctx))(t)), workers*rounds/2; got != want {
		t.Errorf("%d undos, want %d", got, want)
	}
	if got, want := len(must(r.VMoves(ctx))(t)), workers*rounds; got != want {
		t.Errorf("%d vmoves, want %d", got, want)
	}
}

// child writes intents and tells of each when it is durable.
func child(dir string) {
	r, err := runstate.Create(dir, newRun("r1"), runstate.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	for i := range 100_000 {
		if err := r.BeginIntent(context.Background(), recovery.Intent{ID: fmt.Sprint(i)}); err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(i)
	}
}

func TestKilledProcess(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	exe := must(os.Executable())(t)
	cmd := exec.CommandContext(t.Context(), exe)
	cmd.Env = append(os.Environ(), childEnv+"="+dir)
	out := must(cmd.StdoutPipe())(t)
	check(t, cmd.Start())
	acked := -1
	lines := bufio.NewScanner(out)
	for acked < 20 && lines.Scan() {
		if lines.Text() != fmt.Sprint(acked+1) {
			t.Fatalf("child: %s", lines.Text())
		}
		acked++
	}
	if _, err := runstate.Open(dir, "r1", runstate.Options{}); !errors.Is(err, runstate.ErrBusy) {
		t.Errorf("open while the child works: %v", err)
	}
	check(t, cmd.Process.Kill())
	for lines.Scan() {
		acked++
	}
	_ = cmd.Wait() // it was killed
	r := must(runstate.Open(dir, "r1", runstate.Options{}))(t)
	defer r.Close()
	got := must(r.OpenIntents(t.Context()))(t)
	if len(got) <= acked {
		t.Errorf("%d intents are there, want all %d that were acknowledged", len(got), acked+1)
	}
}

// TestKeyValues holds for both stores.
func TestKeyValues(t *testing.T) {
	stores := map[string]func(*testing.T) keyValues{
		"scratch": func(t *testing.T) keyValues {
			r := must(runstate.Create(filepath.Join(t.TempDir(), "state"), newRun("r1"), runstate.Options{}))(t)
			t.Cleanup(r.Close)
			return r.Scratch()
		},
		"library": func(t *testing.T) keyValues { return runstate.NewLibrary(filepath.Join(t.TempDir(), "state")) },
	}
	for name, store := range stores {
		t.Run(name, func(t *testing.T) {
			s, ctx := store(t), t.Context()
			if _, err := s.Get(ctx, "o", "n"); !errors.Is(err, recovery.ErrNotFound) {
				t.Errorf("get of nothing: %v", err)
			}
			if got := must(s.List(ctx, "o", ""))(t); len(got) != 0 {
				t.Errorf("list of nothing: %v", got)
			}
			if err := s.Delete(ctx, "o", "n", nil); !errors.Is(err, recovery.ErrNotFound) {
				t.Errorf("delete of nothing: %v", err)
			}
			put := func(name, v string, ifVersion *int64) any {
				n, err := s.Put(ctx, "o", name, value(v), ifVersion)
				if err != nil {
					return err
				}
				return n
			}
			is := func(what string, got any, want any) {
				t.Helper()
				if e, ok := want.(error); ok {
					if g, _ := got.(error); !errors.Is(g, e) {
						t.Errorf("%s = %v, want %v", what, got, want)
					}
				} else if got != want {
					t.Errorf("%s = %v, want %v", what, got, want)
				}
			}
			is("put", put("n", `1`, nil), int64(1))
			is("put again", put("n", `{"a": "<2>"}`, nil), int64(2))
			is("put if new, of what is there", put("n", `3`, new(int64(0))), recovery.ErrConflict)
			is("put of an old version", put("n", `3`, new(int64(1))), recovery.ErrConflict)
			is("put of the version", put("n", `{"a": "<3>"}`, new(int64(2))), int64(3))
			is("put if new", put("m", `1`, new(int64(0))), int64(1))
			is("put of a version of nothing", put("k", `1`, new(int64(1))), recovery.ErrConflict)
			is("delete of an old version", s.Delete(ctx, "o", "n", new(int64(1))), recovery.ErrConflict)
			got := must(s.Get(ctx, "o", "n"))(t)
			is("value", string(got.Value), `{"a": "<3>"}`)
			is("name", got.Name, "n")
			is("version", got.Version, int64(3))
			if _, err := s.Get(ctx, "another", "n"); !errors.Is(err, recovery.ErrNotFound) {
				t.Errorf("get of another owner: %v", err)
			}
			check(t, s.Delete(ctx, "o", "n", new(int64(3))))
			// A version that was seen once never comes back.
			is("put after delete", put("n", `1`, new(int64(0))), int64(4))

			is("no JSON", put("x", `{`, nil), recovery.ErrInvalid)
			is("no name", put("", `1`, nil), recovery.ErrInvalid)
			is("long name", put(strings.Repeat("n", 256), `1`, nil), recovery.ErrTooLarge)
			is("longest name", put(strings.Repeat("n", 255), `1`, nil), int64(4))
			is("large value", put("x", `"`+strings.Repeat("v", 256<<10-1)+`"`, nil), recovery.ErrTooLarge)
			_, err := s.Put(ctx, "", "n", value(`1`), nil)
			is("no owner", err, recovery.ErrInvalid)

			check(t, s.Delete(ctx, "o", strings.Repeat("n", 255), nil))
			is("put", put("n2", `2`, nil), int64(5))
			var names []string
			for _, v := range must(s.List(ctx, "o", "n"))(t) {
				names = append(names, v.Name+"="+string(v.Value))
			}
			is("list", strings.Join(names, " "), "n=1 n2=2")
			is("list of all", len(must(s.List(ctx, "o", ""))(t)), 3)
		})
	}
}

func TestKeyValuesExpire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, ctx := runstate.NewLibrary(filepath.Join(t.TempDir(), "state")), t.Context()
		v := value(`"held"`)
		v.Expires = time.Now().Add(time.Minute)
		must(l.Put(ctx, "o", "lock", v, new(int64(0))))(t)
		if got := must(l.Get(ctx, "o", "lock"))(t); !got.Expires.Equal(v.Expires) {
			t.Errorf("expires %v, want %v", got.Expires, v.Expires)
		}
		time.Sleep(time.Minute - 1)
		if _, err := l.Put(ctx, "o", "lock", v, new(int64(0))); !errors.Is(err, recovery.ErrConflict) {
			t.Errorf("put before it expired: %v", err)
		}
		time.Sleep(time.Nanosecond)
		if _, err := l.Get(ctx, "o", "lock"); !errors.Is(err, recovery.ErrNotFound) {
			t.Errorf("get after it expired: %v", err)
		}
		if got := must(l.List(ctx, "o", ""))(t); len(got) != 0 {
			t.Errorf("list after it expired: %v", got)
		}
		if err := l.Delete(ctx, "o", "lock", nil); !errors.Is(err, recovery.ErrNotFound) {
			t.Errorf("delete after it expired: %v", err)
		}
		// Whoever held version 1 must not take it for its own.
		if got := must(l.Put(ctx, "o", "lock", value(`"other"`), new(int64(0))))(t); got != 2 {
			t.Errorf("version = %d, want 2", got)
		}
	})
}

func TestKeyValuesQuota(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := must(runstate.Create(filepath.Join(t.TempDir(), "state"), newRun("r1"), runstate.Options{NoSync: true}))(t)
		defer r.Close()
		s, ctx := r.Scratch(), t.Context()
		big := value(`"` + strings.Repeat("v", 200<<10) + `"`)
		big.Expires = time.Now().Add(time.Hour)
		for i := range 5 {
			must(s.Put(ctx, "o", fmt.Sprint(i), big, nil))(t)
		}
		_, err := s.Put(ctx, "o", "5", big, nil)
		if want := `run r1: key "5": quota exceeded: 1229202 bytes in all, at most 1048576 (option [wasakari] kv_task_kib)`; err == nil || err.Error() != want || !errors.Is(err, recovery.ErrQuota) {
			t.Errorf("error = %v, want %s", err, want)
		}
		must(s.Put(ctx, "another", "5", big, nil))(t)
		must(s.Put(ctx, "o", "4", value(`1`), nil))(t) // smaller than before
		must(s.Put(ctx, "o", "5", big, nil))(t)
		check(t, s.Delete(ctx, "o", "5", nil))
		must(s.Put(ctx, "o", "6", big, nil))(t)
		time.Sleep(time.Hour) // what expired makes room
		must(s.Put(ctx, "o", "7", big, nil))(t)
		if got := must(s.List(ctx, "o", ""))(t); len(got) != 1 {
			t.Errorf("%d values, want 1: the others expired, or were written over", len(got))
		}
	})
}

// TestLibraryIsShared counts up from several processes' worth of stores.
func TestLibraryIsShared(t *testing.T) {
	dir, ctx := filepath.Join(t.TempDir(), "state"), t.Context()
	const stores, workers, rounds = 3, 2, 5
	var wg sync.WaitGroup
	for range stores {
		l := runstate.NewLibrary(dir)
		for range workers {
			wg.Go(func() {
				for range rounds {
					for {
						v, err := l.Get(ctx, "o", "n")
						if err != nil && !errors.Is(err, recovery.ErrNotFound) {
							t.Error(err)
							return
						}
						_, err = l.Put(ctx, "o", "n", value(`1`), &v.Version)
						if err == nil {
							break
						}
						if !errors.Is(err, recovery.ErrConflict) {
							t.Error(err)
							return
						}
					}
				}
			})
		}
	}
	wg.Wait()
	if got := must(runstate.NewLibrary(dir).Get(ctx, "o", "n"))(t); got.Version != stores*workers*rounds {
		t.Errorf("version = %d, want %d", got.Version, stores*workers*rounds)
	}
}

func TestLibraryWaitsForAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "state")
		l := runstate.NewLibrary(dir)
		must(l.Put(t.Context(), "o", "n", value(`1`), nil))(t)
		f := must(os.Open(filepath.Join(dir, "library.db")))(t)
		defer f.Close() //nolint:errcheck // only its lock matters
		check(t, syscall.Flock(int(f.Fd()), syscall.LOCK_EX))
		start := time.Now()
		_, err := l.Get(t.Context(), "o", "n")
		if want := "values of libraries: still being worked on by another process"; err == nil || err.Error() != want {
			t.Errorf("error = %v, want %s", err, want)
		}
		if got := time.Since(start).Round(100 * time.Millisecond); got != 5*time.Second {
			t.Errorf("waited %v, want 5 s", got)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := l.Put(ctx, "o", "n", value(`1`), nil); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error = %v, want deadline exceeded", err)
		}
	})
}

func BenchmarkIntent(b *testing.B) {
	for _, noSync := range []bool{false, true} {
		for _, writers := range []int{1, 40} {
			b.Run(fmt.Sprintf("nosync=%t/writers=%d", noSync, writers), func(b *testing.B) {
				r, err := runstate.Create(filepath.Join(b.TempDir(), "state"), newRun("r1"), runstate.Options{NoSync: noSync})
				if err != nil {
					b.Fatal(err)
				}
				defer r.Close()
				b.ReportAllocs()
				b.SetParallelism(writers)
				var n sync.Mutex
				next := 0
				write := func() {
					n.Lock()
					next++
					id := fmt.Sprint(next)
					n.Unlock()
					if err := r.BeginIntent(b.Context(), recovery.Intent{ID: id, Op: "nova.server_evacuate", Target: "7f3", Known: []string{"req-1"}}); err != nil {
						b.Error(err)
					}
				}
				if writers == 1 {
					for b.Loop() {
						write()
					}
					return
				}
				b.RunParallel(func(pb *testing.PB) {
					for pb.Next() {
						write()
					}
				})
			})
		}
	}
}
