package wasakari_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	wasakari "github.com/wasakari/wasakari/sdk/go"
	"github.com/wasakari/wasakari/sdk/go/wasakaritest"
)

// The tasks of the tests below. Handle knows each key once, so that tests with
// a function of their own pass it through current.
var current func(*wasakari.Task) error

func init() {
	wasakari.Handle("current", func(t *wasakari.Task) error { return current(t) })
	wasakari.Handle("undone", func(*wasakari.Task) error { return nil }, func(t *wasakari.Task) error {
		if !t.Reverting() {
			return errors.New("not reverting")
		}
		return fmt.Errorf("undoing after: %s", t.Failure())
	})
}

// run runs f as a task.
func run(t *testing.T, fake *wasakaritest.Fake, f func(*wasakari.Task) error) wasakaritest.Result {
	t.Helper()
	current = f
	return wasakaritest.Run(t, "current", fake)
}

func TestOutcomes(t *testing.T) {
	tests := []struct {
		name string
		do   func(*wasakari.Task) error
		want wasakaritest.Outcome
		text string
	}{
		{"nil", func(*wasakari.Task) error { return nil }, wasakaritest.Succeeded, ""},
		{"error", func(*wasakari.Task) error { return errors.New("no room") }, wasakaritest.Failed, "no room"},
		{"nothing to do", func(*wasakari.Task) error { return wasakari.NothingToDo("all is well") }, wasakaritest.NothingToDo, "all is well"},
		{"ignored", func(*wasakari.Task) error { return wasakari.Ignore("not ours") }, wasakaritest.Ignored, "not ours"},
		{
			"wrapped", func(*wasakari.Task) error { return fmt.Errorf("host c1: %w", wasakari.Ignore("not ours")) },
			wasakaritest.Ignored, "host c1: not ours",
		},
		{"panic", func(*wasakari.Task) error { panic("the moon fell") }, wasakaritest.Failed, "panic: the moon fell"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := run(t, nil, tt.do)
			if r.Outcome != tt.want || r.Reason != tt.text {
				t.Errorf("outcome %s (%s), want %s (%s)", r.Outcome, r.Reason, tt.want, tt.text)
			}
		})
	}
}

func TestUnknownKey(t *testing.T) {
	r := wasakaritest.Run(t, "currant", nil)
	if want := "task currant: the module has no handler for it, only for: "; r.Outcome != wasakaritest.Failed || !strings.HasPrefix(r.Reason, want) {
		t.Errorf("outcome %s (%s), want failed (%s…)", r.Outcome, r.Reason, want)
	}
}

func TestRevert(t *testing.T) {
	r := wasakaritest.Revert(t, "undone", &wasakaritest.Fake{Failure: "no host"})
	if want := "undoing after: no host"; r.Outcome != wasakaritest.Failed || r.Reason != want {
		t.Errorf("outcome %s (%s), want failed (%s)", r.Outcome, r.Reason, want)
	}
	if r := wasakaritest.Revert(t, "current", nil); r.Outcome != wasakaritest.NothingToDo {
		t.Errorf("without a function to undo: %s (%s), want nothing_to_do", r.Outcome, r.Reason)
	}
}

func TestHandleRefusesTheSameKeyTwice(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("the key was registered twice")
		}
	}()
	wasakari.Handle("current", func(*wasakari.Task) error { return nil })
}

// The name of a host that is not there would be all hosts.
func TestAnInputThatIsNotThere(t *testing.T) {
	r := run(t, &wasakaritest.Fake{Inputs: map[string]any{"host_name": "c1"}}, func(task *wasakari.Task) error {
		task.InputString("hostname")
		return nil
	})
	if want := "panic: input hostname: not found: a name that the manifest requires is always there; InputStringOr is for an optional one"; r.Outcome != wasakaritest.Failed || r.Reason != want {
		t.Errorf("outcome %s (%s), want failed (%s)", r.Outcome, r.Reason, want)
	}
}

func TestWhatATaskIsGiven(t *testing.T) {
	fake := &wasakaritest.Fake{
		Flow: "host-rh", Phase: "post", Attempt: 2, Round: 3,
		Inputs: map[string]any{"host_name": "c1", "reserved_host_list": []string{"c4"}, "event": 7},
		Options: map[string]map[string]any{"acme": {
			"queue": "ops", "retries": 3, "dry": true, "hosts": []string{"a", "b"}, "pause": 90, "ratio": 0.5, "unset": nil,
		}},
	}
	r := run(t, fake, func(task *wasakari.Task) error {
		var hosts []string
		if err := task.Input("reserved_host_list", &hosts); err != nil {
			return err
		}
		queue := "kept"
		if err := task.Option("acme", "unset", &queue); err != nil {
			return err
		}
		got := []any{
			task.Key(), task.Flow(), task.Phase(), task.Attempt(), task.Round(), task.Reverting(),
			task.InputString("host_name"), task.InputString("event"), task.InputStringOr("nowhere", "-") + task.InputStringOr("event", "-"), hosts, task.Inputs(),
			task.OptionString("acme", "queue"), task.OptionInt("acme", "retries"), task.OptionBool("acme", "dry"),
			task.OptionList("acme", "hosts"), task.OptionDuration("acme", "pause"), task.OptionFloat("acme", "ratio"),
			queue, task.HasOption("acme", "unset"), task.HasOption("acme", "queue"), task.OptionInt("acme", "unset"),
			task.RunID(), task.NotificationUUID(), task.IdempotencyKey(),
		}
		want := []any{
			"current", "host-rh", "post", 2, 3, false, "c1", "7", "-7",
			[]string{"c4"},
			[]string{"event", "host_name", "reserved_host_list"},
			"ops", int64(3), true,
			[]string{"a", "b"},
			90 * time.Second, 0.5, "kept", false, true, int64(0),
			"test-run", "00000000-0000-4000-8000-000000000001", "test-run/current",
		}
		for i := range want {
			if !reflect.DeepEqual(got[i], want[i]) {
				t.Errorf("value %d = %#v, want %#v", i, got[i], want[i])
			}
		}
		if err := task.Input("nowhere", &hosts); !errors.Is(err, wasakari.ErrNotFound) || err.Error() != "input nowhere: not found" {
			t.Errorf("input that is not there: %v", err)
		}
		if err := task.Input("host_name", &hosts); err == nil || errors.Is(err, wasakari.ErrNotFound) {
			t.Errorf("input of another type: %v", err)
		}
		if err := task.Option("acme", "nowhere", &queue); !errors.Is(err, wasakari.ErrNotFound) {
			t.Errorf("option that is not listed: %v", err)
		}
		return nil
	})
	if r.Outcome != wasakaritest.Succeeded {
		t.Fatalf("outcome %s (%s)", r.Outcome, r.Reason)
	}
	r = run(t, fake, func(task *wasakari.Task) error {
		task.OptionInt("acme", "nowhere")
		return nil
	})
	if want := "panic: option [acme] nowhere: not found: the manifest does not list it"; r.Reason != want {
		t.Errorf("reason = %q, want %q", r.Reason, want)
	}
}

func TestKV(t *testing.T) {
	fake := &wasakaritest.Fake{Inputs: map[string]any{"host_name": "c1"}}
	fake.SetValue("instance_list", []string{"a"})
	fake.SetLibrary("count", 4)
	r := run(t, fake, func(task *wasakari.Task) error {
		ctx, kv := task.Context(), task.KV()
		var list []string
		var host string
		var count int
		if err := errors.Join(kv.Get(ctx, "instance_list", &list), kv.Get(ctx, "host_name", &host), kv.Put(ctx, "ticket_id", "<7>"),
			kv.Put(ctx, "scratch/a", 1), kv.Put(ctx, "scratch/b", 2), kv.Delete(ctx, "scratch/b")); err != nil {
			return err
		}
		if host != "c1" || !slices.Equal(list, []string{"a"}) {
			t.Errorf("read %v and %v", list, host)
		}
		if err := kv.Get(ctx, "scratch/b", &host); !errors.Is(err, wasakari.ErrNotFound) {
			t.Errorf("deleted value: %v, want %v", err, wasakari.ErrNotFound)
		}
		entries, err := kv.List(ctx, "scratch/")
		if err != nil || len(entries) != 1 || entries[0].Name != "scratch/a" {
			t.Errorf("list = %v, %v", entries, err)
		}

		lib := kv.Library()
		version, err := lib.Get(ctx, "count", &count)
		if err != nil || count != 4 {
			t.Errorf("library: %d, %v", count, err)
		}
		if _, err := lib.Put(ctx, "count", count+1, wasakari.IfVersion(version), wasakari.ForgetAfter(1500*time.Millisecond)); err != nil {
			return err
		}
		if _, err := lib.Put(ctx, "count", 0, wasakari.IfVersion(version)); !errors.Is(err, wasakari.ErrConflict) {
			t.Errorf("stale version: %v, want %v", err, wasakari.ErrConflict)
		}
		if err := lib.DeleteVersion(ctx, "count", version); !errors.Is(err, wasakari.ErrConflict) {
			t.Errorf("stale version: %v, want %v", err, wasakari.ErrConflict)
		}
		if _, err := lib.Put(ctx, "new", 1, wasakari.IfVersion(0)); err != nil {
			return err
		}
		if entries, err := lib.List(ctx, ""); err != nil || len(entries) != 2 {
			t.Errorf("library list = %v, %v", entries, err)
		}
		return lib.Delete(ctx, "new")
	})
	if r.Outcome != wasakaritest.Succeeded {
		t.Fatalf("outcome %s (%s)", r.Outcome, r.Reason)
	}
	var id string
	if r.Value(t, "ticket_id", &id); id != "<7>" {
		t.Errorf("ticket_id = %q, want <7>", id)
	}
	if got := string(fake.LibraryValue("count")); got != "5" {
		t.Errorf("library count = %s, want 5", got)
	}
	i := slices.IndexFunc(r.Calls, func(c wasakaritest.Call) bool { return strings.Contains(string(c.Request), "ttl_s") })
	if want := `{"scope":"library","name":"count","value":5,"if_version":1,"ttl_s":2}`; i < 0 || string(r.Calls[i].Request) != want {
		t.Errorf("calls = %s, want one of %s", r.Calls, want)
	}
}

func TestOpErrors(t *testing.T) {
	refusal := &wasakari.OpError{Code: "conflict", Message: "server 7f3 is being rebuilt", Status: 409, RequestID: "req-1"}
	tests := []struct {
		name string
		err  error
		is   error
		text string
	}{
		{"Nova's", refusal, wasakari.ErrConflict, "nova.server_stop: conflict: server 7f3 is being rebuilt (HTTP 409, req-1)"},
		{"the host's", wasakaritest.Error("not_granted", "ask for it"), wasakari.ErrNotGranted, "nova.server_stop: not granted: ask for it"},
		{"the host's that names the op", wasakaritest.Error("invalid", "nova.server_stop: id: missing"), wasakari.ErrInvalid, "nova.server_stop: invalid: id: missing"},
		{"any", errors.New("wires cut"), wasakari.ErrUnavailable, "nova.server_stop: unavailable: wires cut"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			fake := &wasakaritest.Fake{}
			fake.On("nova.server_stop", func(context.Context, json.RawMessage) (any, error) { return nil, tt.err })
			r := run(t, fake, func(task *wasakari.Task) error {
				_, err := task.Nova().ServerStop(task.Context(), wasakari.NovaServerStopRequest{ID: "7f3"})
				if !errors.Is(err, tt.is) {
					t.Errorf("error = %v, want %v", err, tt.is)
				}
				if errors.Is(err, wasakari.ErrQuota) {
					t.Errorf("error %v is quota too", err)
				}
				return err
			})
			if r.Reason != tt.text {
				t.Errorf("reason = %q, want %q", r.Reason, tt.text)
			}
			if got, want := r.Ops(), []string{"nova.server_stop"}; !slices.Equal(got, want) {
				t.Errorf("ops = %v, want %v", got, want)
			}
		})
	}
	r := run(t, nil, func(task *wasakari.Task) error {
		_, err := task.HA().SegmentGet(task.Context())
		return err
	})
	if want := "ha.segment_get: not granted: the fake host has no handler for it; script it with On or Answer"; r.Reason != want {
		t.Errorf("op without handler: %q, want %q", r.Reason, want)
	}
}

func TestAnswerRefusesUnknownKeys(t *testing.T) {
	fake := &wasakaritest.Fake{}
	wasakaritest.Answer(fake, "nova.server_stop", func(context.Context, wasakari.NovaServerGetRequest) (any, error) { return nil, nil })
	wasakaritest.Answer(fake, "nova.server_evacuate", func(context.Context, wasakari.NovaServerStopRequest) (any, error) { return nil, nil })
	r := run(t, fake, func(task *wasakari.Task) error {
		_, err := task.Nova().ServerEvacuate(task.Context(), wasakari.NovaServerEvacuateRequest{ID: "7f3", Host: "c2"})
		return err
	})
	if want := `nova.server_evacuate: invalid: json: unknown field "host"`; r.Reason != want {
		t.Errorf("reason = %q, want %q", r.Reason, want)
	}
}

// Every call of the task is open at once: none is answered before all came.
func TestCallsInParallel(t *testing.T) {
	const n = 50
	var all sync.WaitGroup
	all.Add(n)
	fake := &wasakaritest.Fake{}
	wasakaritest.Answer(fake, "nova.server_get", func(_ context.Context, r wasakari.NovaServerGetRequest) (wasakari.Server, error) {
		all.Done()
		all.Wait()
		return wasakari.Server{ID: r.ID}, nil
	})
	r := run(t, fake, func(task *wasakari.Task) error {
		errs := make(chan error, n)
		for i := range n {
			go func() {
				id := fmt.Sprint(i)
				s, err := task.Nova().ServerGet(task.Context(), wasakari.NovaServerGetRequest{ID: id})
				if err == nil && s.ID != id {
					err = fmt.Errorf("got %s, want %s", s.ID, id)
				}
				errs <- err
			}()
		}
		var err error
		for range n {
			err = errors.Join(err, <-errs)
		}
		return err
	})
	if r.Outcome != wasakaritest.Succeeded || len(r.Calls) != n {
		t.Errorf("outcome %s (%s) after %d calls", r.Outcome, r.Reason, len(r.Calls))
	}
}

func TestContextEndsACall(t *testing.T) {
	fake := &wasakaritest.Fake{}
	fake.On("nova.server_wait", func(ctx context.Context, _ json.RawMessage) (any, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	})
	r := run(t, fake, func(task *wasakari.Task) error {
		ctx, cancel := context.WithTimeout(task.Context(), time.Millisecond)
		defer cancel()
		_, err := task.Nova().ServerWait(ctx, wasakari.NovaServerWaitRequest{ID: "7f3", Until: "moved"})
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error = %v, want %v", err, context.DeadlineExceeded)
		}
		if err := task.Sleep(ctx, time.Hour); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("sleep = %v, want %v", err, context.DeadlineExceeded)
		}
		return task.Sleep(task.Context(), time.Millisecond)
	})
	if r.Outcome != wasakaritest.Succeeded {
		t.Errorf("outcome %s (%s)", r.Outcome, r.Reason)
	}
}

func TestLogAndProgress(t *testing.T) {
	r := run(t, nil, func(task *wasakari.Task) error {
		task.Log().Debugf("a %d", 1)
		task.Log().Infof("b")
		task.Log().Warnf("c")
		task.Log().Errorf("d")
		task.Progress(-5, "begins")
		task.Progress(1200, "%d of %d", 2, 2)
		return nil
	})
	if want := []wasakaritest.Log{{Level: "debug", Message: "a 1"}, {Level: "info", Message: "b"}, {Level: "warn", Message: "c"}, {Level: "error", Message: "d"}}; !slices.Equal(r.Logs, want) {
		t.Errorf("logs = %v, want %v", r.Logs, want)
	}
	if want := []wasakaritest.Progress{{Permille: 0, Message: "begins"}, {Permille: 1000, Message: "2 of 2"}}; !slices.Equal(r.Progress, want) {
		t.Errorf("progress = %v, want %v", r.Progress, want)
	}
}
