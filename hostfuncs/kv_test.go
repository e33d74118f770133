package hostfuncs_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wasakari/wasakari/abi"
	"github.com/wasakari/wasakari/hostfuncs"
	"github.com/wasakari/wasakari/recovery"
)

// kvStep is one op and what it answers.
type kvStep struct{ op, req, want, wantErr string }

func TestKV(t *testing.T) {
	tests := []struct {
		name  string
		call  func(*hostfuncs.TaskCall)
		steps []kvStep
	}{
		{name: "run: what may be read", steps: []kvStep{
			{abi.OpKVGet, `{"name":"host_name"}`, `{"value":"compute-1","version":1}`, ""},
			{abi.OpKVGet, `{"name":"host_name","scope":"run"}`, `{"value":"compute-1","version":1}`, ""},
			{abi.OpKVGet, `{"name":"ticket"}`, ``, `not_found: kv.get: "ticket"`},
			{abi.OpKVGet, `{"name":"answer"}`, ``, `not_found: kv.get: "answer"`},
			{abi.OpKVGet, `{"name":"scratch/x"}`, ``, `not_found: kv.get: scratch/x`},
			{abi.OpKVGet, `{"name":"secret_of_others"}`, ``, `not_granted: kv.get: "secret_of_others" is neither required, optional nor provided in the manifest of task custom_task, nor under scratch/`},
		}},
		{name: "run: what may be written", steps: []kvStep{
			{abi.OpKVPut, `{"name":"answer","value":{"a":[1,null]}}`, `{"version":1}`, ""},
			{abi.OpKVPut, `{"name":"answer","value":null}`, `{"version":2}`, ""},
			{abi.OpKVGet, `{"name":"answer"}`, `{"value":null,"version":2}`, ""},
			{abi.OpKVPut, `{"name":"host_name","value":"compute-9"}`, ``, `not_granted: kv.put: "host_name" is not provided in the manifest of task custom_task, nor under scratch/`},
			{abi.OpKVPut, `{"name":"scratch/x","value":1}`, `{"version":1}`, ""},
			{abi.OpKVList, `{}`, `{"entries":[{"name":"answer","version":2,"size":4},{"name":"host_name","version":1,"size":11},{"name":"scratch/x","version":1,"size":1}]}`, ""},
			{abi.OpKVList, `{"prefix":"scratch/"}`, `{"entries":[{"name":"scratch/x","version":1,"size":1}]}`, ""},
			{abi.OpKVDelete, `{"name":"answer"}`, `{}`, ""},
			{abi.OpKVDelete, `{"name":"answer"}`, ``, `not_found: kv.delete: "answer"`},
			{abi.OpKVDelete, `{"name":"scratch/x"}`, `{}`, ""},
			{abi.OpKVDelete, `{"name":"scratch/x"}`, ``, `not_found: kv.delete: not found`},
			{abi.OpKVDelete, `{"name":"host_name"}`, ``, `not_granted: kv.delete: "host_name" is not provided in the manifest of task custom_task, nor under scratch/`},
			{abi.OpKVList, `{"prefix":"a"}`, `{"entries":[]}`, ""},
		}},
		{name: "run: a name that is required and provided", call: func(c *hostfuncs.TaskCall) {
			c.Task.Requires = append(c.Task.Requires, "answer")
			c.Values["answer"] = json.RawMessage(`"old"`)
		}, steps: []kvStep{
			{abi.OpKVGet, `{"name":"answer"}`, `{"value":"old","version":1}`, ""},
			{abi.OpKVPut, `{"name":"answer","value":"new"}`, `{"version":1}`, ""},
			{abi.OpKVGet, `{"name":"answer"}`, `{"value":"new","version":1}`, ""},
		}},
		{name: "run: nothing for scope library", steps: []kvStep{
			{abi.OpKVPut, `{"name":"answer","value":1,"if_version":0}`, ``, `invalid: kv.put: "answer": if_version and ttl_s are for scope library`},
			{abi.OpKVPut, `{"name":"scratch/a","value":1,"ttl_s":5}`, ``, `invalid: kv.put: "scratch/a": if_version and ttl_s are for scope library`},
			{abi.OpKVDelete, `{"name":"answer","if_version":1}`, ``, `invalid: kv.delete: "answer": if_version is for scope library`},
		}},
		{name: "protected names", call: func(c *hostfuncs.TaskCall) {
			c.Task.Provides = []string{"fence_proof", "instance_list"}
			c.Granted = func(name string) bool { return name != "provides:instance_list" }
		}, steps: []kvStep{
			{abi.OpKVPut, `{"name":"fence_proof","value":{}}`, `{"version":1}`, ""},
			{abi.OpKVPut, `{"name":"instance_list","value":[]}`, ``, `not_granted: kv.put: "instance_list" is protected and provides:instance_list is not granted to library acme`},
		}},
		{name: "protected names without any word of the operator", call: func(c *hostfuncs.TaskCall) { c.Task.Provides = []string{"fence_proof"} }, steps: []kvStep{
			{abi.OpKVPut, `{"name":"fence_proof","value":{}}`, ``, `not_granted: kv.put: "fence_proof" is protected and provides:fence_proof is not granted to library acme`},
		}},
		{name: "protected names in a standard task", call: func(c *hostfuncs.TaskCall) { c.Task.Provides, c.Task.Standard = []string{"instance_list"}, true }, steps: []kvStep{
			{abi.OpKVPut, `{"name":"instance_list","value":[]}`, `{"version":1}`, ""},
		}},
		{name: "library: compare and set", steps: []kvStep{
			{abi.OpKVPut, `{"scope":"library","name":"n","value":1,"if_version":0}`, `{"version":1}`, ""},
			{abi.OpKVPut, `{"scope":"library","name":"n","value":1,"if_version":0}`, ``, `conflict: kv.put: has version 1`},
			{abi.OpKVPut, `{"scope":"library","name":"n","value":2,"if_version":1}`, `{"version":2}`, ""},
			{abi.OpKVGet, `{"scope":"library","name":"n"}`, `{"value":2,"version":2}`, ""},
			{abi.OpKVGet, `{"scope":"run","name":"n"}`, ``, `not_granted: kv.get: "n" is neither required, optional nor provided in the manifest of task custom_task, nor under scratch/`},
			{abi.OpKVList, `{"scope":"library"}`, `{"entries":[{"name":"n","version":2,"size":1}]}`, ""},
			{abi.OpKVDelete, `{"scope":"library","name":"n","if_version":1}`, ``, `conflict: kv.delete: has version 2`},
			{abi.OpKVDelete, `{"scope":"library","name":"n","if_version":2}`, `{}`, ""},
			{abi.OpKVDelete, `{"scope":"library","name":"n"}`, ``, `not_found: kv.delete: not found`},
		}},
		{name: "names", steps: []kvStep{
			{abi.OpKVPut, `{"name":"","value":1}`, ``, `invalid: kv.put: name is empty`},
			{abi.OpKVPut, `{"name":"scratch/` + strings.Repeat("x", 247) + `","value":1}`, `{"version":1}`, ""},
			{abi.OpKVPut, `{"name":"scratch/` + strings.Repeat("x", 248) + `","value":1}`, ``, `invalid: kv.put: name of 256 bytes, at most 255`},
			{abi.OpKVGet, `{"name":"a\nb","scope":"library"}`, ``, `invalid: kv.get: name "a\nb" has characters that cannot be printed`},
			{abi.OpKVGet, `{"name":"x","scope":"tenant"}`, ``, `invalid: kv.get: scope: "tenant" is not allowed; use run or library`},
		}},
		{name: "values", steps: []kvStep{
			{abi.OpKVPut, `{"name":"answer","value":"` + strings.Repeat("x", 256<<10-2) + `"}`, `{"version":1}`, ""},
			{abi.OpKVPut, `{"name":"answer","value":"` + strings.Repeat("x", 256<<10-1) + `"}`, ``, `too_large: kv.put: "answer": value of 262145 bytes, at most 262144`},
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if tt.call == nil {
				tt.call = func(*hostfuncs.TaskCall) {}
			}
			task := setup(t, newNova()).task(tt.call)
			for i, s := range tt.steps {
				got, err := do(t.Context(), task, s.op, s.req)
				if s.wantErr != "" && err != nil && strings.HasPrefix(s.wantErr, "invalid: kv.get: scope") {
					s.wantErr = err.Error() // the words are abi's
					if code(err) != abi.ErrnoInvalid {
						t.Errorf("step %d: error = %v, want invalid", i, err)
					}
				}
				want(t, got, err, s.want, s.wantErr)
			}
		})
	}
}

func TestKVQuotas(t *testing.T) {
	put := func(t *testing.T, task *hostfuncs.TaskHost, scope, name string, size int) error {
		_, err := do(t.Context(), task, abi.OpKVPut, fmt.Sprintf(`{"scope":%q,"name":%q,"value":%q}`, scope, name, strings.Repeat("x", size-2)))
		return err
	}
	t.Run("bytes of a task", func(t *testing.T) {
		task := setup(t, newNova()).task()
		for i := range 3 {
			if err := put(t, task, "run", fmt.Sprintf("scratch/%d", i), 256<<10); err != nil {
				t.Fatal(err)
			}
		}
		if err := put(t, task, "library", "big", 250<<10); err != nil {
			t.Fatal(err)
		}
		err := put(t, task, "run", "answer", 10<<10)
		want(t, "", err, "", `quota: kv.put: "answer": the task would have written 1052708 bytes, at most 1048576 (option [wasakari] kv_task_kib)`)
		// What is written again or removed counts no more.
		if err := put(t, task, "run", "scratch/0", 10); err != nil {
			t.Error(err)
		}
		if err := put(t, task, "run", "answer", 10<<10); err != nil {
			t.Error(err)
		}
		if _, err := do(t.Context(), task, abi.OpKVDelete, `{"name":"scratch/1"}`); err != nil {
			t.Error(err)
		}
		if err := put(t, task, "run", "scratch/1", 256<<10); err != nil {
			t.Error(err)
		}
	})
	t.Run("names of a task, earlier attempts included", func(t *testing.T) {
		b := setup(t, newNova())
		first := b.task()
		for i := range 40 {
			if err := put(t, first, "run", fmt.Sprintf("scratch/%d", i), 5); err != nil {
				t.Fatal(err)
			}
		}
		second := b.task(func(c *hostfuncs.TaskCall) { c.Attempt = 2 })
		for i := range 24 {
			if err := put(t, second, "run", fmt.Sprintf("scratch/again%d", i), 5); err != nil {
				t.Fatal(err)
			}
		}
		err := put(t, second, "run", "scratch/one-too-many", 5)
		want(t, "", err, "", `quota: kv.put: "scratch/one-too-many": the task has written 64 names already, no more are allowed`)
		if err := put(t, second, "run", "scratch/7", 5); err != nil {
			t.Error(err)
		}
		other := b.task(func(c *hostfuncs.TaskCall) { c.Index = 1 })
		if err := put(t, other, "run", "scratch/of-another-place", 5); err != nil {
			t.Error(err)
		}
	})
	t.Run("what was not written does not count", func(t *testing.T) {
		b := setup(t, newNova())
		task := b.task()
		for _, space := range []struct {
			scope, prefix string
			kv            *fakeKV
		}{{"run", "scratch/", b.scratch}, {"library", "", b.library}} {
			if err := put(t, task, space.scope, space.prefix+"first", 10); err != nil {
				t.Fatal(err)
			}
			space.kv.putErr = errOutside
			for i := range 5 {
				err := put(t, task, space.scope, fmt.Sprintf("%s%d", space.prefix, i), 250<<10)
				want(t, "", err, "", "unavailable: kv.put: the disk is on fire")
			}
		}
	})
	t.Run("bytes of a library", func(t *testing.T) {
		b := setup(t, newNova())
		for i := range 11 {
			task := b.task()
			for j := range 4 {
				err := put(t, task, "library", fmt.Sprintf("%d-%d", i, j), 250<<10)
				if full := i*4+j >= 40; full {
					if code(err) != abi.ErrnoQuota {
						t.Errorf("value %d: error = %v, want quota", i*4+j, err)
					}
				} else if err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := put(t, b.task(func(c *hostfuncs.TaskCall) { c.Task.Library = "other" }), "library", "x", 250<<10); err != nil {
			t.Errorf("another library: %v", err)
		}
		if _, err := do(t.Context(), b.task(), abi.OpKVDelete, `{"scope":"library","name":"0-0"}`); err != nil {
			t.Fatal(err)
		}
		if err := put(t, b.task(), "library", "again", 250<<10); err != nil {
			t.Errorf("after a delete: %v", err)
		}
	})
}

func TestLibraryValuesExpire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		task := setup(t, newNova()).task()
		got, err := do(t.Context(), task, abi.OpKVPut, `{"scope":"library","name":"n","value":1,"ttl_s":10}`)
		want(t, got, err, `{"version":1}`, "")
		time.Sleep(9 * time.Second)
		got, err = do(t.Context(), task, abi.OpKVGet, `{"scope":"library","name":"n"}`)
		want(t, got, err, `{"value":1,"version":1}`, "")
		time.Sleep(time.Second)
		got, err = do(t.Context(), task, abi.OpKVGet, `{"scope":"library","name":"n"}`)
		want(t, got, err, "", `not_found: kv.get: "n"`)
		got, err = do(t.Context(), task, abi.OpKVList, `{"scope":"library"}`)
		want(t, got, err, `{"entries":[]}`, "")
	})
}

func TestScratchLivesThroughAttemptsAndRevert(t *testing.T) {
	b := setup(t, newNova())
	got, err := do(t.Context(), b.task(), abi.OpKVPut, `{"name":"scratch/a","value":1}`)
	want(t, got, err, `{"version":1}`, "")
	const there, gone = `{"value":1,"version":1}`, ""
	tests := []struct {
		name string
		call func(*hostfuncs.TaskCall)
		want string
	}{
		{"next attempt", func(c *hostfuncs.TaskCall) { c.Attempt = 2 }, there},
		{"revert", func(c *hostfuncs.TaskCall) { c.Reverting = true }, there},
		{"another place of the same task", func(c *hostfuncs.TaskCall) { c.Index = 3 }, gone},
		{"another round", func(c *hostfuncs.TaskCall) { c.Round = 2 }, gone},
		{"another task", func(c *hostfuncs.TaskCall) { c.Task.Key = "other_task" }, gone},
		{"a place by name", func(c *hostfuncs.TaskCall) { c.Place = "elsewhere" }, gone},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := do(t.Context(), b.task(tt.call), abi.OpKVGet, `{"name":"scratch/a"}`)
			if tt.want == gone && code(err) != abi.ErrnoNotFound || got != tt.want {
				t.Errorf("answer = %q, error %v, want %q", got, err, tt.want)
			}
		})
	}
}

func TestProvided(t *testing.T) {
	b := setup(t, newNova())
	task := b.task(func(c *hostfuncs.TaskCall) { c.Task.Provides = []string{"a", "b", "c"} })
	for _, req := range []string{`{"name":"a","value":1}`, `{"name":"b","value":[2]}`, `{"name":"scratch/s","value":0}`} {
		if _, err := do(t.Context(), task, abi.OpKVPut, req); err != nil {
			t.Fatal(err)
		}
	}
	_, err := task.Provided()
	const wantErr = `task custom_task: its manifest provides "c", which it did not put: invalid`
	if err == nil || err.Error() != wantErr {
		t.Errorf("error = %v, want %s", err, wantErr)
	}
	if _, err := do(t.Context(), task, abi.OpKVPut, `{"name":"c","value":3}`); err != nil {
		t.Fatal(err)
	}
	got, err := task.Provided()
	if doc, _ := json.Marshal(got); err != nil || string(doc) != `{"a":1,"b":[2],"c":3}` {
		t.Errorf("provided = %s, error %v, want a, b and c", doc, err)
	}
	// Staged values are the task's own until it succeeds.
	_, err = do(t.Context(), b.task(func(c *hostfuncs.TaskCall) { c.Task.Requires = []string{"a"} }), abi.OpKVGet, `{"name":"a"}`)
	want(t, "", err, "", `not_found: kv.get: "a"`)
}

func TestInputOfARevert(t *testing.T) {
	b := setup(t, newNova())
	got, err := do(t.Context(), b.task(func(c *hostfuncs.TaskCall) {
		c.Attempt, c.Round, c.Reverting, c.Failure = 2, 3, true, "task x failed"
		c.Values["ticket"] = json.RawMessage(`{"id":7}`)
	}), abi.OpTaskInput, ``)
	want(t, got, err, `{"key":"custom_task","flow":"host-auto","phase":"main","run_id":"run-7","notification_uuid":"note-1","attempt":2,"round":3,"idempotency_key":"idem","reverting":true,"failure":"task x failed","inputs":{"host_name":"compute-1","ticket":{"id":7}},"options":{}}`, "")
	got, err = do(t.Context(), b.task(), abi.OpTaskScript, `{}`)
	want(t, got, err, "", "not_found: task.script: the module carries no script")
}

func TestARevertReadsWhatTheTaskProvided(t *testing.T) {
	b := setup(t, newNova())
	revert := func(c *hostfuncs.TaskCall) {
		c.Reverting, c.Task.Provides = true, []string{"stopped", "late"}
		c.Values["stopped"] = json.RawMessage(`["a"]`)
	}
	task := b.task(revert)
	got, err := do(t.Context(), task, abi.OpKVGet, `{"name":"stopped"}`)
	want(t, got, err, `{"value":["a"],"version":1}`, "")
	got, err = do(t.Context(), task, abi.OpKVList, `{}`)
	want(t, got, err, `{"entries":[{"name":"host_name","version":1,"size":11},{"name":"stopped","version":1,"size":5}]}`, "")
	got, err = do(t.Context(), task, abi.OpKVGet, `{"name":"late"}`) // it had failed before
	want(t, got, err, "", `not_found: kv.get: "late"`)
	got, err = do(t.Context(), task, abi.OpKVGet, `{"name":"another"}`)
	want(t, got, err, "", `not_granted: kv.get: "another" is neither required, optional nor provided in the manifest of task custom_task, nor under scratch/`)
	got, err = do(t.Context(), b.task(revert, func(c *hostfuncs.TaskCall) { c.Reverting = false }), abi.OpKVGet, `{"name":"stopped"}`)
	want(t, got, err, "", `not_found: kv.get: "stopped"`)
}

func TestLogAndProgress(t *testing.T) {
	b := setup(t, newNova())
	task := b.task(func(c *hostfuncs.TaskCall) { c.Seq, c.Index, c.ReservedHost = 4, 2, "compute-4" })
	task.Log(abi.LevelWarn, "careful")
	task.Progress(-5, "begun")
	task.Progress(2000, strings.Repeat("x", 5000))
	if got := *b.events[0].Log; got != (recovery.LogLine{Task: "custom_task", Level: "warn", Message: "careful"}) {
		t.Errorf("log = %+v", got)
	}
	first, last := b.events[1].Task, b.events[2].Task
	if len(first.Progress) != 1 || len(last.Progress) != 2 {
		t.Fatalf("progress of %d and %d entries, want 1 and 2", len(first.Progress), len(last.Progress))
	}
	if p := last.Progress; p[0].Permille != 0 || p[0].Message != "begun" || p[1].Permille != 1000 || len(p[1].Message) != 4096 {
		t.Errorf("progress = %+v", p)
	}
	if last.Seq != 4 || last.Index != 2 || last.Key != "custom_task" || last.Attempt != 1 || last.Status != recovery.TaskRunning || last.ReservedHost != "compute-4" {
		t.Errorf("record = %+v", last)
	}
	for i := range 5000 {
		task.Progress(500, fmt.Sprint(i))
	}
	log := task.ProgressLog()
	if len(log) > 2000 || log[len(log)-1].Message != "4999" {
		t.Errorf("%d entries are kept, the last one %q, want at most 2000 and the newest", len(log), log[len(log)-1].Message)
	}
}
