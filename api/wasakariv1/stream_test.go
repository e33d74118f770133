package wasakariv1_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/wasakari/wasakari/api/wasakariv1"
	"github.com/wasakari/wasakari/recovery"
)

// frame is one event of a stream.
type frame struct{ kind, id, data string }

// listener reads a stream.
type listener struct {
	t    *testing.T
	body io.ReadCloser
	scan *bufio.Scanner
}

func (s *service) listen(t *testing.T, as, path string, headers ...string) *listener {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.url+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Auth-Token", as)
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		req.Header.Set(name, value)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = res.Body.Close() })
	if res.StatusCode != http.StatusOK || res.Header.Get("Content-Type") != "text/event-stream" {
		b, _ := io.ReadAll(res.Body)
		t.Fatalf("%s: %d %s", path, res.StatusCode, b)
	}
	l := &listener{t, res.Body, bufio.NewScanner(res.Body)}
	l.scan.Buffer(nil, 1<<20)
	return l
}

// next gives the next event, ok false at the end. A comment counts as one.
func (l *listener) next() (f frame, ok bool) {
	l.t.Helper()
	for l.scan.Scan() {
		line := l.scan.Text()
		name, value, _ := strings.Cut(line, ": ")
		switch {
		case line == "":
			return f, true
		case name == "event":
			f.kind = value
		case name == "id":
			f.id = value
		case name == "data":
			f.data = value
		case strings.HasPrefix(line, ":"):
			f.kind = "comment"
		default:
			l.t.Fatalf("line %q", line)
		}
	}
	return f, false
}

// expect reads events, "type id", in which "-" stands for none.
func (l *listener) expect(want ...string) []frame {
	l.t.Helper()
	var frames []frame
	for _, w := range want {
		f, ok := l.next()
		if !ok {
			l.t.Fatalf("the stream ended before %q: %v", w, l.scan.Err())
		}
		id := f.id
		if id == "" {
			id = "-"
		}
		if got := f.kind + " " + id; got != w {
			l.t.Fatalf("event %q %s, want %q", got, f.data, w)
		}
		frames = append(frames, f)
	}
	return frames
}

// over checks that nothing comes any more.
func (l *listener) over() {
	l.t.Helper()
	if f, ok := l.next(); ok {
		l.t.Errorf("after the end came %+v", f)
	}
}

func runEvent(rev int64, r recovery.Run) wasakariv1.Event {
	return wasakariv1.Event{Change: recovery.Change{Revision: rev, RunID: r.ID, Run: &r}}
}

func taskEvent(rev int64, run, key string) wasakariv1.Event {
	return wasakariv1.Event{Change: recovery.Change{Revision: rev, RunID: run, Task: &recovery.TaskRecord{Key: key, Message: "on compute-2"}}}
}

// Whoever watches a run of another node hears that its tasks' lines are not told
// here, and an operator where.
func TestWatchElsewhere(t *testing.T) {
	for as, want := range map[string]string{
		"admin":  "what tasks log, and their progress, is told only by node node-a, which works on the run: watch it there",
		"author": "what tasks log, and their progress, is told only by the node that works on the run",
	} {
		for _, node := range []string{"node-b", "node-a", ""} {
			s := serve(t, someRuns(), func(c *wasakariv1.Config) { c.Node = node })
			l := s.listen(t, as, "/runs/r4/watch")
			l.expect("run -", "task -", "task -")
			if node == "node-b" {
				if f := l.expect("log -")[0]; !strings.Contains(f.data, `"task":"wasakari"`) || !strings.Contains(f.data, want+`"`) {
					t.Errorf("%s: %s", as, f.data)
				}
			}
			s.events.Publish(runEvent(9, recovery.Run{ID: "r4", Server: "s-one", Finished: true, Status: recovery.StatusFinished}))
			l.expect("run 9.1")
		}
	}
}

func TestWatchEvents(t *testing.T) {
	s := serve(t, someRuns())
	all := s.listen(t, "admin", "/events")
	all.expect("comment -")
	some := s.listen(t, "reader", "/events?types=log,node")
	some.expect("comment -")
	s.events.Publish(runEvent(5, recovery.Run{ID: "r4", Inputs: map[string]json.RawMessage{"payload": json.RawMessage(`"hush"`)}, Command: json.RawMessage(`"hush"`)}))
	s.events.Publish(taskEvent(5, "r4", "a_task"))
	s.events.Publish(wasakariv1.Event{Change: recovery.Change{Revision: 6, VMove: &recovery.VMove{UUID: "m1"}}})
	s.events.Publish(wasakariv1.Event{Change: recovery.Change{RunID: "r4"}, Log: &recovery.LogLine{Task: "a_task", Level: "info", Message: "hello"}})
	s.events.Publish(wasakariv1.Event{Change: recovery.Change{Revision: 7, Notification: &recovery.Notification{UUID: "n1", Payload: json.RawMessage(`"hush"`)}}})
	s.events.Publish(wasakariv1.Event{Change: recovery.Change{Revision: 8, Host: &recovery.Host{Name: "compute-1"}}})
	s.events.Publish(wasakariv1.Event{Change: recovery.Change{Revision: 9, Segment: &recovery.Segment{Name: "seg"}}})
	s.events.Publish(wasakariv1.Event{Change: recovery.Change{Revision: 10, Node: &recovery.Node{Name: "n1"}}})
	s.events.Publish(wasakariv1.Event{Change: recovery.Change{Revision: 11, Modules: true}})
	s.events.Publish(wasakariv1.Event{Change: recovery.Change{Revision: 12, Node: &recovery.Node{Name: "n1"}, Deleted: true}})
	s.events.Publish(wasakariv1.Event{Change: recovery.Change{Lost: true}})
	frames := all.expect("run 5.1", "task 5.2", "vmove 6.1", "log -", "notification 7.1", "host 8.1", "segment 9.1", "node 10.1", "module 11.1", "node 12.1", "reset -")
	for _, f := range frames {
		if strings.Contains(f.data, "hush") || !json.Valid([]byte(f.data)) {
			t.Errorf("%+v", f)
		}
	}
	if frames[3].data != `{"time":"0001-01-01T00:00:00Z","run_id":"r4","log":{"task":"a_task","level":"info","message":"hello"}}` {
		t.Errorf("log %s", frames[3].data)
	}
	some.expect("log -", "node 10.1", "node 12.1", "reset -")

	refused(t, s.get(t, "admin", "/events?types=runs"), 400, `events have no type "runs"`)
	refused(t, s.get(t, "author", "/events"), 403, "")
}

func TestResume(t *testing.T) {
	s := serve(t, someRuns()) // keeps 8
	for i := range int64(10) {
		s.events.Publish(taskEvent(100+i/2, "r4", fmt.Sprint("task", i)))
	}
	l := s.listen(t, "admin", "/events", "Last-Event-ID: 103.1")
	l.expect("comment -", "task 103.2", "task 104.1", "task 104.2")
	// The oldest that was dropped is the earliest one can go on after.
	l = s.listen(t, "admin", "/events", "Last-Event-ID: 100.2")
	l.expect("comment -", "task 101.1", "task 101.2", "task 102.1")
	l = s.listen(t, "admin", "/events", "Last-Event-ID: 100.1")
	l.expect("comment -", "reset -")
	l = s.listen(t, "admin", "/events", "Last-Event-ID: 999.1") // of another life of the store
	l.expect("comment -", "reset -")
	for _, bad := range []string{"x", "1", "0.1", "1.0", "-1.1", "01.1", "1.1.1"} {
		refused(t, s.get(t, "admin", "/events", "Last-Event-ID: "+bad), 400, fmt.Sprintf("Last-Event-ID %q is no id of an event", bad))
	}
}

func TestWatchRun(t *testing.T) {
	s := serve(t, someRuns())
	l := s.listen(t, "reader", "/runs/r4/watch")
	l.expect("run -", "task -", "task -")
	s.events.Publish(taskEvent(5, "r3", "another"))
	s.events.Publish(taskEvent(6, "r4", "a_task"))
	s.events.Publish(wasakariv1.Event{Change: recovery.Change{Revision: 7, VMove: &recovery.VMove{NotificationUUID: "n1"}}})
	s.events.Publish(wasakariv1.Event{Change: recovery.Change{Revision: 8, VMove: &recovery.VMove{NotificationUUID: "n4"}}})
	s.events.Publish(wasakariv1.Event{Change: recovery.Change{RunID: "r4"}, Log: &recovery.LogLine{Message: "hello"}})
	s.events.Publish(runEvent(9, recovery.Run{ID: "r4", Finished: true, Status: recovery.StatusFinished}))
	frames := l.expect("task 6.1", "vmove 8.1", "log -", "run 9.1", "end -")
	if frames[4].data != `{"hint":"","reason":"the run has ended"}` {
		t.Errorf("end %s", frames[4].data)
	}
	l.over()

	// Whoever comes back goes on where he was.
	l = s.listen(t, "reader", "/runs/r4/watch", "Last-Event-ID: 6.1")
	l.expect("vmove 8.1", "run 9.1", "end -")
	l.over()

	// One that is over is shown whole.
	l = s.listen(t, "reader", "/runs/r2/watch")
	l.expect("vmove -", "run -", "end -")
	l.over()
}

func TestWatchRunTenant(t *testing.T) {
	s := serve(t, someRuns())
	l := s.listen(t, "author", "/runs/r4/watch")
	frames := l.expect("run -", "task -", "task -")
	s.events.Publish(taskEvent(5, "r4", "stop_instance_task"))
	s.events.Publish(taskEvent(6, "r4", "my_task"))
	s.events.Publish(wasakariv1.Event{Change: recovery.Change{Revision: 8, VMove: &recovery.VMove{NotificationUUID: "n4"}}})
	s.events.Publish(wasakariv1.Event{Change: recovery.Change{RunID: "r4"}, Log: &recovery.LogLine{Message: "the operator's"}})
	s.events.Publish(wasakariv1.Event{Change: recovery.Change{RunID: "r4"}, Log: &recovery.LogLine{Tenant: "p-one", Message: "mine"}})
	s.events.Publish(runEvent(9, recovery.Run{ID: "r4", Finished: true, Host: "compute-2"}))
	frames = append(frames, l.expect("task 5.1", "task 6.1", "log -", "run 9.1", "end -")...)
	for i, f := range frames {
		if i != 4 && strings.Contains(f.data, "compute-") { // 4 is the tenant's own task's word
			t.Errorf("a tenant sees %s", f.data)
		}
	}
}

// Whoever does not read is cut off, and told so; the others go on.
func TestSlowReader(t *testing.T) {
	s := serve(t, someRuns())
	slow := s.listen(t, "admin", "/events")
	slow.expect("comment -")
	quick := s.listen(t, "admin", "/events?types=node")
	quick.expect("comment -")
	text := strings.Repeat("x", 64<<10)
	for i := range int64(4000) { // more than sockets buffer
		s.events.Publish(wasakariv1.Event{Change: recovery.Change{Revision: i + 1, RunID: "r4", Task: &recovery.TaskRecord{Message: text}}})
	}
	s.events.Publish(wasakariv1.Event{Change: recovery.Change{Revision: 5000, Node: &recovery.Node{Name: "n1"}}})
	quick.expect("node 5000.1")
	var last frame
	n := 0
	for f, ok := slow.next(); ok; f, ok = slow.next() {
		last = f
		n++
	}
	if last.kind != "end" || !strings.Contains(last.data, "you read too slowly") || n > 3000 {
		t.Errorf("after %d events the last was %s %.200s", n, last.kind, last.data)
	}
}

// An event tells the last of a task's progress; all of it is told once, at the
// beginning.
func TestProgress(t *testing.T) {
	w := someRuns()
	long := recovery.TaskRecord{Seq: 1, Key: "a_task"}
	for i := range 1000 {
		long.Progress = append(long.Progress, recovery.Progress{Time: began.Add(time.Duration(i) * time.Second), Message: fmt.Sprint("step ", i)})
	}
	w.details["r4"] = wasakariv1.Detail{Tasks: []recovery.TaskRecord{long}}
	s := serve(t, w)
	l := s.listen(t, "admin", "/runs/r4/watch")
	count := func(f frame) int {
		var doc wasakariv1.EventDocument
		if err := json.Unmarshal([]byte(f.data), &doc); err != nil {
			t.Fatal(err)
		}
		return len(doc.Task.Progress)
	}
	if n := count(l.expect("run -", "task -")[1]); n != 1000 {
		t.Errorf("%d messages at the beginning", n)
	}
	s.events.Publish(wasakariv1.Event{Change: recovery.Change{Revision: 5, RunID: "r4", Task: &long}})
	if f := l.expect("task 5.1")[0]; count(f) != 3 || !strings.Contains(f.data, "step 999") || len(long.Progress) != 1000 {
		t.Errorf("%s", f.data)
	}
}

func TestTenantStreams(t *testing.T) {
	s := serve(t, someRuns())
	for range 8 {
		s.listen(t, "author", "/runs/r4/watch").expect("run -")
	}
	refused(t, s.get(t, "author", "/runs/r4/watch"), 503, "the project follows 8 streams of events, which is all it may")
	s.listen(t, "admin", "/runs/r4/watch").expect("run -")
	few := serve(t, someRuns(), func(c *wasakariv1.Config) { c.Streams = 2 })
	few.listen(t, "author", "/runs/r4/watch").expect("run -")
	refused(t, few.get(t, "author", "/runs/r4/watch"), 503, "all places for streams of events are taken")
	few.listen(t, "admin", "/runs/r4/watch").expect("run -")
}

func TestHeartbeat(t *testing.T) {
	s := serve(t, someRuns(), func(c *wasakariv1.Config) { c.Heartbeat = time.Millisecond })
	l := s.listen(t, "admin", "/events")
	l.expect("comment -", "comment -", "comment -")
}

func TestStreamsAreBounded(t *testing.T) {
	s := serve(t, someRuns(), func(c *wasakariv1.Config) { c.Streams = 1 })
	l := s.listen(t, "admin", "/events")
	l.expect("comment -")
	refused(t, s.get(t, "admin", "/events"), 503, "all places for streams of events are taken")
	refused(t, s.get(t, "admin", "/runs/r4/watch"), 503, "")
	s.api.Close()
	frames := l.expect("end -")
	if !strings.Contains(frames[0].data, "the server is shutting down") {
		t.Errorf("end %s", frames[0].data)
	}
	l.over()
}
