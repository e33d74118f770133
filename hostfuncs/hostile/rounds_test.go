package hostile_test

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/wasakari/wasakari/abi"
	"github.com/wasakari/wasakari/hostfuncs"
)

// rounds is how often attacks are made against one process.
const rounds = 1000

// A thousand attacks of all kinds leave no goroutine, file or memory behind,
// and a task that means well gets its answers then.
func TestRounds(t *testing.T) {
	var all []attack
	for _, g := range groups {
		for _, a := range g.attacks {
			if !strings.Contains(a.name, "without end in time") { // waits for a second
				all = append(all, a)
			}
		}
	}
	const stride = 7919 // prime, so that those of a kind do not follow one another
	next := 0
	round := func(n int) {
		for range n {
			a := all[next*stride%len(all)]
			next++
			t.Run(fmt.Sprintf("%d/%s", next, a.name), func(t *testing.T) { // closes its world
				w := newWorld(t)
				if a.world != nil {
					a.world(w)
				}
				w.perform(t, a)
			})
		}
	}
	round(len(all)) // what the first time costs stays
	before := measure()
	round(rounds)
	var after usage
	for end := time.Now().Add(30 * time.Second); ; runtime.Gosched() {
		if after = measure(); after.within(before) || time.Now().After(end) {
			break
		}
	}
	if !after.within(before) {
		t.Errorf("left behind\n got %+v\nwant %+v", after, before)
	}
	w := newWorld(t)
	task := w.task(nil)
	for _, s := range []step{
		{abi.OpKVPut, `{"name":"answer","value":1}`, `{"version":1}`},
		{abi.OpNovaServerStop, `{"id":"s-operator"}`, `{"request_id":"req-1"}`},
		{abi.OpHTTPRequest, request("GET", "http://api.example.com/v1/x", ""), okay},
	} {
		if got := do(t.Context(), task, s.op, s.req); got != s.want {
			t.Errorf("a task that means well: %s\n got %s\nwant %s", s.op, got, s.want)
		}
	}
}

// usage is what a process holds.
type usage struct {
	goroutines, files int
	live              uint64 // bytes on the heap after a collection
}

func measure() usage {
	runtime.GC()
	runtime.GC() // finalizers of the first ran before the second ends
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	u := usage{goroutines: runtime.NumGoroutine(), live: m.HeapAlloc}
	if files, err := os.ReadDir("/proc/self/fd"); err == nil {
		u.files = len(files)
	}
	return u
}

// slack is what a thousand subtests and the pools of the standard library may
// take.
const slack = 2 << 20

func (u usage) within(before usage) bool {
	return u.goroutines <= before.goroutines && u.files <= before.files && u.live <= before.live+slack
}

// What a task says of its progress ends in the journal, so it has a bound in
// bytes too.
func TestProgressFlood(t *testing.T) {
	task := newWorld(t).task(nil)
	for i := range 3000 {
		task.Progress(i%1000, fmt.Sprint(i, strings.Repeat("x", 4000)))
	}
	log, total := task.ProgressLog(), 0
	for _, p := range log {
		total += len(p.Message)
	}
	if total > 256<<10 || !strings.HasPrefix(log[len(log)-1].Message, "2999x") {
		t.Errorf("%d bytes are kept, the last entry %.10q; want at most 256 KiB and the newest", total, log[len(log)-1].Message)
	}
}

// Vmoves that a task makes up fill neither memory nor journal.
func TestVMoveFlood(t *testing.T) {
	w := newWorld(t)
	task := w.task(func(c *hostfuncs.TaskCall) { c.AnswerBytes = 1 << 20 })
	put := func(server, more string) string {
		return do(t.Context(), task, abi.OpHAVMovePut, fmt.Sprintf(`{"instance_uuid":%q,"status":"ongoing"%s}`, server, more))
	}
	long := fmt.Sprintf(`,"message":%q`, strings.Repeat("x", 4096))
	n := 0
	for ; n < 10_000; n++ {
		got := put(fmt.Sprintf("server-%06d", n), long)
		if strings.HasPrefix(got, "{") {
			continue
		}
		if want := "quota: ha.vmove_put: the texts of the run's vmoves would have more than 16777216 bytes"; got != want {
			t.Errorf("vmove %d\n got %s\nwant %s", n, got, want)
		}
		break
	}
	if n != 16<<20/(4096+len("server-000000")+len(failedHost)) || len(w.ha.moves) != n {
		t.Errorf("%d vmoves were taken and %d are kept, want 16 MiB of them", n, len(w.ha.moves))
	}
	// One that is there may still change.
	if got := put("server-000000", `,"message":"done"`); !strings.HasPrefix(got, "{") {
		t.Error(got)
	}
}

// Requests that no rule allows fill no log.
func TestRefusedRequestsFlood(t *testing.T) {
	w := newWorld(t)
	task := w.task(nil)
	const most = 1000
	ask := func(url string) string { return do(t.Context(), task, abi.OpHTTPRequest, request("GET", url, "")) }
	for i := range most {
		url := "http://evil.example/" // not granted, or allowed and not to be sent
		if i%2 == 0 {
			url = "http://api.example.com/v1/x"
			w.lookups["api.example.com"] = [][]string{{"127.0.0.1"}}
		}
		if got := ask(url); !strings.HasPrefix(got, "not_granted: ") && !strings.HasPrefix(got, "forbidden: ") {
			t.Fatalf("request %d: %s, want a refusal", i, got)
		}
	}
	lines := w.logs.Len()
	for range 10 {
		if got, want := ask("http://evil.example/"), "quota: http.request: 1000 requests of the task were refused, no more are looked at"; got != want {
			t.Errorf("error\n got %s\nwant %s", got, want)
		}
	}
	if got := w.logs.Len(); got != lines || got > 2*most {
		t.Errorf("%d log lines, %d before the last ten", got, lines)
	}
}
