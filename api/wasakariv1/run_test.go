package wasakariv1_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wasakari/wasakari/api/wasakariv1"
	"github.com/wasakari/wasakari/recovery"
)

var began = time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)

// someRuns are four, newest first.
func someRuns() *world {
	w := &world{
		runs: []recovery.Run{
			{
				ID: "r4", Notification: "n4", Server: "s-one", Host: "compute-2", Node: "node-a", Status: recovery.StatusRunning, Started: began.Add(3 * time.Hour), Flows: []recovery.FlowKind{recovery.InstanceFailure},
				Inputs:  map[string]json.RawMessage{"instance_uuid": json.RawMessage(`"s-one"`), "host_name": json.RawMessage(`"compute-2"`)},
				Modules: map[string]string{"my_task": strings.Repeat("a", 64), "stop_instance_task": strings.Repeat("b", 64)},
			},
			{ID: "r3", Notification: "n3", Server: "s-two", Status: recovery.StatusFinished, Finished: true, Started: began.Add(2 * time.Hour)},
			{ID: "r2", Notification: "n1", Host: "compute-1", Status: recovery.StatusFailed, Finished: true, Message: "compute-9 is full", Started: began.Add(time.Hour), Delivery: 2},
			{ID: "r1", Notification: "n1", Host: "compute-1", Status: recovery.StatusError, Finished: true, Started: began, Delivery: 1, Held: &recovery.HeldError{Guard: "hosts", Count: 3, Limit: 2}},
		},
		details: map[string]wasakariv1.Detail{
			"r4": {
				Values: []string{"ticket", "instance"},
				Tasks: []recovery.TaskRecord{
					{Seq: 1, Key: "my_task", Flow: recovery.InstanceFailure, Status: recovery.TaskSucceeded, Message: "told you", Progress: []recovery.Progress{{Message: "half"}}},
					{Seq: 2, Key: "stop_instance_task", Flow: recovery.InstanceFailure, Status: recovery.TaskRunning, Message: "on compute-2", Progress: []recovery.Progress{{Message: "on compute-2"}}, Revert: &recovery.RevertRecord{Reason: "on compute-2"}},
				},
				Undo:    []recovery.Undo{{Key: "unlock_server/s-one", Kind: recovery.UndoLock, Target: "s-one", Host: "compute-2"}},
				Intents: []recovery.Intent{{ID: "i1", Op: "nova.server_stop", Target: "s-one", Task: "stop_instance_task", Attempt: 1, State: recovery.IntentDone, RequestID: "req-1", Known: []string{"req-0"}}},
			},
		},
		notes: map[string]recovery.Notification{
			"n1": {UUID: "n1", Type: recovery.ComputeHost, HostName: "compute-1", Status: recovery.StatusFailed, Runs: []string{"r1", "r2"}},
			"n4": {UUID: "n4", Type: recovery.VM, Status: recovery.StatusRunning, Runs: []string{"r4"}},
		},
		vmoves:   []recovery.VMove{{UUID: "m1", NotificationUUID: "n1", InstanceUUID: "s-one"}, {UUID: "m2", NotificationUUID: "n9"}},
		owners:   map[string]string{"s-one": "p-one", "s-two": "p-two"},
		versions: []recovery.ModuleVersion{{Digest: strings.Repeat("a", 64), Tenant: "p-one", Library: "mine", Keys: []string{"my_task"}}},
	}
	return w
}

func TestListRuns(t *testing.T) {
	tests := []struct {
		as, query string
		want      []string
		next      string
	}{
		{as: "admin", want: []string{"r4 running", "r3 finished", "r2 failed", "r1 held"}},
		{as: "admin", query: "status=failed", want: []string{"r2 failed"}},
		{as: "admin", query: "status=held", want: []string{"r1 held"}},
		{as: "admin", query: "status=error", want: nil},
		{as: "admin", query: "host=compute-1", want: []string{"r2 failed", "r1 held"}},
		{as: "admin", query: "notification=n1&status=failed", want: []string{"r2 failed"}},
		{as: "admin", query: "since=2026-11-23T11:00:00Z", want: []string{"r4 running", "r3 finished"}},
		{as: "admin", query: "since=2026-11-24", want: nil},
		{as: "admin", query: "limit=2", want: []string{"r4 running", "r3 finished"}, next: "r3"},
		{as: "admin", query: "limit=2&marker=r3", want: []string{"r2 failed", "r1 held"}},
		{as: "reader", query: "limit=100000", want: []string{"r4 running", "r3 finished", "r2 failed", "r1 held"}},
		{as: "author", want: []string{"r4 running"}},
		{as: "other", want: []string{"r3 finished"}},
		{as: "other", query: "limit=1", want: []string{"r3 finished"}, next: "r3"},
	}
	for _, tt := range tests {
		t.Run(tt.as+" "+tt.query, func(t *testing.T) {
			s := serve(t, someRuns())
			doc := into[wasakariv1.RunList](t, s.get(t, tt.as, "/runs?"+tt.query), http.StatusOK)
			var got []string
			for _, r := range doc.Runs {
				got = append(got, r.ID+" "+r.Status)
			}
			if !slices.Equal(got, tt.want) || doc.Next != tt.next {
				t.Errorf("runs %q, next %q; want %q, %q", got, doc.Next, tt.want, tt.next)
			}
		})
	}
}

func TestListRunsRefused(t *testing.T) {
	s := serve(t, someRuns())
	for query, want := range map[string]string{
		"status=new":             `status "new" is none of a run`,
		"since=yesterday":        `since "yesterday" is no time`,
		"since=-5m":              `since "-5m" is no time`,
		"limit=0":                `limit "0" is none`,
		"limit=x":                `limit "x" is none`,
		"marker=r9":              `marker "r9" is no run that is kept`,
		"sort=x":                 `unknown parameter "sort"`,
		"host=a&host=b":          "parameter host stands 2 times",
		"host=":                  "parameter host is empty",
		"host=%zz":               "the query cannot be read",
		"host=" + longText(256):  "parameter host has 256 bytes, at most 255",
		"host=" + longText(8192): "",
	} {
		code := http.StatusBadRequest
		if want == "" {
			code, want = http.StatusRequestURITooLong, "the query has 8197 bytes, at most 8192"
		}
		refused(t, s.get(t, "admin", "/runs?"+query), code, want)
	}
	refused(t, s.get(t, "author", "/runs?host=compute-1"), 403, "")
	refused(t, s.get(t, "nobody", "/runs"), 403, "the policy does not allow it")
}

func longText(n int) string { return strings.Repeat("x", n) }

// A page asks the cloud no more than so often whose servers are.
func TestListRunsLookups(t *testing.T) {
	w := &world{owners: map[string]string{}}
	for i := range 150 {
		id := fmt.Sprintf("s%03d", i)
		w.runs = append(w.runs, recovery.Run{ID: "r" + id, Server: id})
		w.owners[id] = "p-one"
		if i < 120 {
			w.owners[id] = "p-two"
		}
	}
	s := serve(t, w)
	doc := into[wasakariv1.RunList](t, s.get(t, "author", "/runs"), http.StatusOK)
	if len(doc.Runs) != 0 || !strings.HasPrefix(doc.Next, "after-") || s.lookups != 100 {
		t.Errorf("%d runs, next %q, %d lookups", len(doc.Runs), doc.Next, s.lookups)
	}
	doc = into[wasakariv1.RunList](t, s.get(t, "author", "/runs?marker="+doc.Next), http.StatusOK)
	if len(doc.Runs) != 30 || doc.Next != "" || s.lookups != 150 {
		t.Errorf("%d runs, next %q, %d lookups", len(doc.Runs), doc.Next, s.lookups)
	}
	refused(t, s.get(t, "author", "/runs?marker=rs099"), 400, `marker "rs099" is no run that is kept`)
	refused(t, s.get(t, "author", "/runs?marker=after-0"), 400, `marker "after-0" is no run that is kept`)
	into[wasakariv1.RunList](t, s.get(t, "author", "/runs?marker=rs120"), http.StatusOK)
	s.get(t, "author", "/runs?limit=1000")
	if s.lookups != 150 {
		t.Errorf("%d lookups: what is known is asked again", s.lookups)
	}
}

func TestShowRun(t *testing.T) {
	s := serve(t, someRuns())
	d := into[wasakariv1.RunDocument](t, s.get(t, "reader", "/runs/r4"), http.StatusOK).Run
	if d.Host != "compute-2" || d.Node != "node-a" || !slices.Equal(d.Values, []string{"instance", "ticket"}) || !slices.Equal(d.Inputs, []string{"host_name", "instance_uuid"}) {
		t.Errorf("run %+v", d)
	}
	if len(d.Changes) != 1 || d.Changes[0].RequestID != "req-1" || d.Changes[0].State != recovery.IntentDone || len(d.Undo) != 1 || len(d.Tasks) != 2 || d.Tasks[1].Message != "on compute-2" {
		t.Errorf("run %+v", d)
	}
	if d := into[wasakariv1.RunDocument](t, s.get(t, "reader", "/runs/r2"), http.StatusOK).Run; len(d.VMoves) != 1 || d.VMoves[0].UUID != "m1" {
		t.Errorf("vmoves %+v", d.VMoves)
	}
	refused(t, s.get(t, "admin", "/runs/r9"), 404, "there is no run r9")
	refused(t, s.get(t, "admin", "/runs/r4?x=y"), 400, "")

	// A tenant learns nothing of the operator's hosts.
	r := s.get(t, "author", "/runs/r4")
	own := into[wasakariv1.RunDocument](t, r, http.StatusOK).Run
	if strings.Contains(r.body, "compute-") || strings.Contains(r.body, "node-a") || strings.Contains(r.body, "ticket") {
		t.Errorf("a tenant sees %s", r.body)
	}
	if own.Server != "s-one" || len(own.Tasks) != 2 || own.Tasks[0].Message != "told you" || len(own.Tasks[0].Progress) != 1 || len(own.Modules) != 1 || !slices.Equal(own.Inputs, []string{"instance_uuid"}) {
		t.Errorf("a tenant sees %+v", own)
	}
	refused(t, s.get(t, "other", "/runs/r4"), 404, "there is no run r4")
	refused(t, s.get(t, "author", "/runs/r2"), 404, "there is no run r2")
	refused(t, s.get(t, "author", "/runs/r2/watch"), 404, "there is no run r2")
}

func TestAbort(t *testing.T) {
	tests := []struct {
		name, as, run, body string
		code                int
		message             string
		want                recovery.Abort
	}{
		{name: "revert is the default", as: "admin", run: "r4", body: `{"reason":"wrong host"}`, code: 202, want: recovery.Abort{Mode: recovery.AbortRevert, Reason: "wrong host", By: "u-admin", Status: recovery.StatusFailed}},
		{name: "stop", as: "admin", run: "r4", body: `{"mode":"stop","reason":"wrong host"}`, code: 202, want: recovery.Abort{Mode: recovery.AbortStop, Reason: "wrong host", By: "u-admin", Status: recovery.StatusFailed}},
		{name: "no such mode", as: "admin", run: "r4", body: `{"mode":"kill","reason":"x"}`, code: 400, message: `mode "kill" is none`},
		{name: "no reason", as: "admin", run: "r4", body: `{}`, code: 400, message: "reason is not set"},
		{name: "no body", as: "admin", run: "r4", code: 400, message: "reason is not set"},
		{name: "a reason of two lines", as: "admin", run: "r4", body: `{"reason":"a\nb"}`, code: 400, message: "reason holds characters that cannot be printed"},
		{name: "a long reason", as: "admin", run: "r4", body: `{"reason":"` + longText(1001) + `"}`, code: 400, message: "reason has 1001 bytes, at most 1000"},
		{name: "a name that is not known", as: "admin", run: "r4", body: `{"reason":"x","status":"finished"}`, code: 400, message: `the body: unknown field "status"`},
		{name: "another type", as: "admin", run: "r4", body: `{"reason":5}`, code: 400, message: "field reason: a number is not taken there"},
		{name: "no object", as: "admin", run: "r4", body: `[]`, code: 400, message: "the body is no JSON object"},
		{name: "a large body", as: "admin", run: "r4", body: `{"reason":"` + longText(70000) + `"}`, code: 413, message: "the body has more than 65536 bytes"},
		{name: "a run that is over", as: "admin", run: "r2", body: `{"reason":"x"}`, code: 409, message: "run r2 has ended already: failed"},
		{name: "no run", as: "admin", run: "r9", body: `{"reason":"x"}`, code: 404, message: "there is no run r9"},
		{name: "a reader", as: "reader", run: "r4", body: `{"reason":"x"}`, code: 403},
		{name: "a tenant", as: "author", run: "r4", body: `{"reason":"x"}`, code: 403},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := serve(t, someRuns())
			r := s.call(t, tt.as, http.MethodPost, "/runs/"+tt.run+"/abort", []byte(tt.body))
			if tt.code != http.StatusAccepted {
				refused(t, r, tt.code, tt.message)
				if len(s.aborts) > 0 {
					t.Errorf("aborted %+v", s.aborts)
				}
				return
			}
			if run := into[wasakariv1.RunAnswer](t, r, tt.code).Run; run.Abort == nil || *run.Abort != tt.want || s.aborts["r4"] != tt.want {
				t.Errorf("abort %+v, kept %+v; want %+v", run.Abort, s.aborts["r4"], tt.want)
			}
		})
	}
	s := serve(t, someRuns())
	refused(t, s.call(t, "admin", http.MethodPost, "/runs/r4/abort", []byte(`{"reason":"x"}`), "Content-Type: text/plain"), 415, "")
}

func TestRetry(t *testing.T) {
	for _, id := range []string{"r2", "n1"} {
		s := serve(t, someRuns())
		n := into[wasakariv1.NotificationAnswer](t, s.call(t, "admin", http.MethodPost, "/runs/"+id+"/retry", []byte(`{"override":"they burn"}`)), http.StatusAccepted).Notification
		if n.UUID != "n1" || n.Status != recovery.StatusNew || s.retries["n1"] != "they burn" {
			t.Errorf("%s: %+v, kept %v", id, n, s.retries)
		}
	}
	s := serve(t, someRuns())
	s.runs = append(s.runs, recovery.Run{ID: "cli", Finished: true})
	refused(t, s.call(t, "admin", http.MethodPost, "/runs/r4/retry", nil), 409, "notification n4 is being worked on: running")
	refused(t, s.call(t, "admin", http.MethodPost, "/runs/r9/retry", nil), 404, "there is no run and no notification r9")
	refused(t, s.call(t, "admin", http.MethodPost, "/runs/cli/retry", nil), 409, "run cli is one from the command line")
	refused(t, s.call(t, "author", http.MethodPost, "/runs/r4/retry", nil), 403, "")
	if len(s.retries) > 0 {
		t.Errorf("retried %v", s.retries)
	}
}

// What the store says is for the log; the client is told what it means.
func TestStoreFails(t *testing.T) {
	for _, tt := range []struct {
		err  error
		code int
	}{
		{recovery.ErrUnavailable, 503},
		{fmt.Errorf("secret %w: %w", recovery.ErrUnknownOutcome, recovery.ErrTimeout), 503},
		{recovery.ErrCanceled, 503},
		{recovery.ErrTimeout, 504},
		{recovery.ErrLeaseLost, 503},
		{fmt.Errorf("secret %w", recovery.ErrQuota), 413},
		{fmt.Errorf("secret"), 500},
	} {
		w := someRuns()
		w.err = tt.err
		s := serve(t, w)
		for _, path := range []string{"/runs", "/runs/r4", "/nodes", "/modules", "/flows", "/flows/check", "/modules/a_task", "/runs/r4/watch"} {
			r := s.get(t, "admin", path)
			refused(t, r, tt.code, "")
			if strings.Contains(r.body, "secret") {
				t.Errorf("%s: %s", path, r.body)
			}
		}
	}
}

func TestFlowsAndNodes(t *testing.T) {
	w := &world{
		flows: []wasakariv1.Flow{
			{Kind: recovery.HostAuto, At: "default", Tasks: []wasakariv1.FlowTask{{Phase: recovery.Pre, Key: "a_task"}}},
			{Kind: recovery.HostAuto, Segment: "seg-1", Problems: []string{"no task b_task"}},
			{Kind: recovery.ProcessFailure},
		},
		nodes: []recovery.Node{{Name: "n1", Version: "1", Started: began}},
	}
	s := serve(t, w)
	for query, want := range map[string]int{"": 3, "?kind=host-auto": 2, "?kind=host_auto_failure_recovery_tasks": 2, "?segment=seg-1": 1, "?kind=instance": 0} {
		if doc := into[wasakariv1.FlowList](t, s.get(t, "reader", "/flows"+query), http.StatusOK); len(doc.Flows) != want {
			t.Errorf("%s: %d flows, want %d", query, len(doc.Flows), want)
		}
	}
	refused(t, s.get(t, "reader", "/flows?kind=all"), 400, `kind "all" is none of a flow`)
	check := into[wasakariv1.FlowCheck](t, s.get(t, "reader", "/flows/check"), http.StatusOK)
	if check.Good || len(check.Problems) != 1 || check.Problems[0] != (wasakariv1.FlowProblem{Kind: recovery.HostAuto, Segment: "seg-1", Problem: "no task b_task"}) {
		t.Errorf("check %+v", check)
	}
	r := s.get(t, "reader", "/nodes")
	if nodes := into[wasakariv1.NodeList](t, r, http.StatusOK).Nodes; len(nodes) != 1 || nodes[0].Name != "n1" || nodes[0].Runs == nil {
		t.Errorf("nodes %+v", nodes)
	}
	if again := s.get(t, "reader", "/nodes", "If-None-Match: W/"+r.header.Get("Etag")); again.code != http.StatusNotModified {
		t.Errorf("the same again: %d", again.code)
	}
	refused(t, s.get(t, "author", "/flows"), 403, "")
	refused(t, s.get(t, "author", "/nodes"), 403, "")
}

func TestPaths(t *testing.T) {
	s := serve(t, nil)
	refused(t, s.get(t, "admin", "/tasks"), 404, "there is no such path")
	r := s.call(t, "admin", http.MethodPut, "/modules", nil)
	refused(t, r, 405, "PUT is not for this path")
	if got := r.header.Get("Allow"); got != "GET, POST, HEAD" {
		t.Errorf("Allow: %s", got)
	}
	if r := s.call(t, "admin", http.MethodHead, "/modules", nil); r.code != http.StatusOK || r.body != "" {
		t.Errorf("HEAD: %d %q", r.code, r.body)
	}
	if r := s.call(t, "", http.MethodGet, "/nodes", nil); r.code != http.StatusUnauthorized {
		t.Errorf("without a token: %d", r.code)
	}
}

func TestNewNames(t *testing.T) {
	if _, err := wasakariv1.New(wasakariv1.Config{}); err == nil {
		t.Error("a configuration without anything is taken")
	}
}
