//go:build bench

package service_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/wasakari/wasakari/novasim"
	"github.com/wasakari/wasakari/store/storetest"
)

// figure is one thing that was measured.
type figure struct {
	What  string  `json:"what"`
	Value float64 `json:"value"`
	Unit  string  `json:"unit"`
	Load  float64 `json:"load"` // load average of the last minute, right after
}

type figures struct{ all []figure }

func (f *figures) add(t *testing.T, value float64, unit, format string, args ...any) {
	t.Helper()
	var load float64
	if text, err := os.ReadFile("/proc/loadavg"); err == nil {
		_, _ = fmt.Sscan(string(text), &load)
	}
	one := figure{fmt.Sprintf(format, args...), value, unit, load}
	f.all = append(f.all, one)
	t.Logf("%-70s %10.3f %s (load %.1f)", one.What, value, unit, load)
}

// times adds how many there were in a second, and how long they took.
func (f *figures) times(t *testing.T, what string, took []time.Duration, all time.Duration) {
	t.Helper()
	if all > 0 {
		f.add(t, float64(len(took))/all.Seconds(), "/s", "%s", what)
	}
	f.add(t, quantile(took, 0.5), "ms", "%s, p50", what)
	f.add(t, quantile(took, 0.99), "ms", "%s, p99", what)
}

// quantile gives one of times, in milliseconds.
func quantile(took []time.Duration, q float64) float64 {
	s := slices.Sorted(slices.Values(took))
	return float64(s[int(q*float64(len(s)-1)+0.5)]) / float64(time.Millisecond)
}

// TestBenchService measures. Its rows are told in the log and, as one document,
// in the file that BENCH_SERVICE_JSON names.
func TestBenchService(t *testing.T) {
	t.Cleanup(storetest.RemoveEtcd)
	f := &figures{}
	for _, part := range []struct {
		name string
		run  func(*testing.T, *figures)
	}{
		{"floor", benchFloor},
		{"accept", benchAccept},
		{"first", benchFirst},
		{"take-over", benchTakeOver},
		{"runs", benchRuns},
		{"old", benchOld},
	} {
		t.Run(part.name, func(t *testing.T) { part.run(t, f) })
	}
	if file := os.Getenv("BENCH_SERVICE_JSON"); file != "" {
		text, err := json.MarshalIndent(map[string]any{"figures": f.all}, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, append(text, '\n'), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// many does something count times, by clients at once.
func many(t *testing.T, clients, count int, do func(i int) error) (took []time.Duration, all time.Duration) {
	t.Helper()
	took = make([]time.Duration, count)
	var next atomic.Int64
	var failed atomic.Pointer[error]
	var group sync.WaitGroup
	began := time.Now()
	for range clients {
		group.Go(func() {
			for i := int(next.Add(1)) - 1; i < count && failed.Load() == nil; i = int(next.Add(1)) - 1 {
				at := time.Now()
				if err := do(i); err != nil {
					failed.CompareAndSwap(nil, &err)
				}
				took[i] = time.Since(at)
			}
		})
	}
	group.Wait()
	all = time.Since(began)
	if err := failed.Load(); err != nil {
		t.Fatal(*err)
	}
	return took, all
}

// load says how many requests so many clients send.
var loads = []struct{ clients, count int }{{1, 500}, {16, 4000}, {256, 10000}}

// benchFloor measures what nothing that is durable can go below on this disk.
func benchFloor(t *testing.T, f *figures) {
	file, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close() //nolint:errcheck // what was written counts for nothing
	record := bytes.Repeat([]byte("x"), 1024)
	took, all := many(t, 1, 500, func(int) error {
		if _, err := file.Write(record); err != nil {
			return err
		}
		return syscall.Fdatasync(int(file.Fd()))
	})
	f.times(t, "1 KiB written and synced", took, all)
	etcd := storetest.NewEtcd(t, 1).Client()
	value := string(record)
	for _, l := range loads {
		took, all := many(t, l.clients, l.count, func(i int) error {
			_, err := etcd.Put(t.Context(), fmt.Sprint("key/", l.clients, "/", i), value)
			return err
		})
		f.times(t, fmt.Sprintf("put of 1 KiB to an etcd process, %d clients", l.clients), took, all)
	}
}

// site is a simulated cloud and a service on it.
func site(t *testing.T, scenario, options string) (*novasim.Cloud, *service) {
	t.Helper()
	c, keystone := cloud(t, scenario)
	s := serve(t, "--config-file", config(t, c, keystone, options))
	s.token = token(t, c, keystone)
	return c, s
}

// scenarioOf describes a cloud of whose hosts the first ones are dead.
func scenarioOf(dead int, hosts []string, more string) string {
	var b strings.Builder
	b.WriteString("seed: 1\nservice_down_time: 100ms\nhosts:\n")
	for i, h := range hosts {
		if i < dead {
			h += ", fails_after: 0s"
		}
		fmt.Fprintf(&b, "  - {name: %s}\n", h)
	}
	return b.String() + more
}

// vm is a notification about a server.
func vm(host, server, event, domain string) string {
	return fmt.Sprintf(`{"notification": {"type": "VM", "hostname": %q, "generated_time": "2026-11-23T10:00:00",
		"payload": {"event": %q, "instance_uuid": %q, "vir_domain_event": %q}}}`, host, event, server, domain)
}

// dead is a notification about a host.
func dead(host string) string {
	return fmt.Sprintf(`{"notification": {"type": "COMPUTE_HOST", "hostname": %q, "generated_time": "2026-11-23T10:00:00",
		"payload": {"event": "STOPPED", "host_status": "NORMAL", "cluster_status": "OFFLINE"}}}`, host)
}

// benchAccept measures how many notifications are taken. Those that queue are
// about servers that Nova does not know, of which the engine works on one at a
// time beside.
func benchAccept(t *testing.T, f *figures) {
	hosts := names(50)
	for _, kind := range []struct{ name, event, domain string }{
		{"ignored", "LIFECYCLE", "STOPPED_DESTROYED"},
		{"queued", "QEMU_GUEST_AGENT_ERROR", "STOPPED_FAILED"},
	} {
		_, s := site(t, scenarioOf(0, hosts, ""), "[engine]\nservers_at_once = 1\n")
		s.segment(t, "a", hosts...)
		for _, l := range loads {
			before := s.worked(t)
			took, all := many(t, l.clients, l.count, func(i int) error {
				return s.ask("POST", "/v1/notifications", vm(hosts[i%len(hosts)], uuid.NewString(), kind.event, kind.domain), nil)
			})
			what := fmt.Sprintf("accepted, %s, %d clients", kind.name, l.clients)
			f.times(t, what, took, all)
			f.add(t, (s.worked(t)-before).Seconds()*1e6/float64(l.count), "µs", "%s, processor time of the service for each", what)
		}
		f.add(t, s.resident(t), "MiB", "resident after that")
		// A queue of thousands takes a while to be worked off; nobody waits for it.
		_ = s.cmd.Process.Kill()
		<-s.ended
	}
}

// resident is how much memory the process has, in MiB: pages that many sandboxes
// share count once.
func (s *service) resident(t *testing.T) float64 {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", s.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := bytes.Cut(text, []byte("\nPss:"))
	var kib float64
	if _, err := fmt.Sscan(string(rest), &kib); err != nil {
		t.Fatal(err)
	}
	return kib / 1024
}

// worked is how much processor time the process took.
func (s *service) worked(t *testing.T) time.Duration {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	var user, system int
	if _, err := fmt.Sscan(fields[11]+" "+fields[12], &user, &system); err != nil {
		t.Fatal(err)
	}
	return time.Duration(user+system) * 10 * time.Millisecond // Linux counts in hundredths of a second
}

// notify reports something, and gives the notification's uuid.
func (s *service) notify(t *testing.T, body string) string {
	t.Helper()
	var doc struct {
		Notification struct {
			UUID string `json:"notification_uuid"`
		}
	}
	s.must(t, "POST", "/v1/notifications", body, &doc)
	return doc.Notification.UUID
}

// status is that of a notification.
func (s *service) status(t *testing.T, notification string) string {
	t.Helper()
	var doc struct{ Notification struct{ Status string } }
	s.must(t, "GET", "/v1/notifications/"+notification, "", &doc)
	return doc.Notification.Status
}

// after finds the first request to Nova since a moment.
func after(c *novasim.Cloud, since time.Time, like func(novasim.Request) bool) (novasim.Request, bool) {
	all := c.Requests()
	i := slices.IndexFunc(all, func(r novasim.Request) bool { return r.Service == "compute" && !r.Time.Before(since) && like(r) })
	if i < 0 {
		return novasim.Request{}, false
	}
	return all[i], true
}

func anyRequest(novasim.Request) bool { return true }

func change(r novasim.Request) bool { return r.Method != http.MethodGet }

// benchFirst measures how long it takes from the answer to a notification about
// a host until Nova hears of it.
func benchFirst(t *testing.T, f *figures) {
	hosts := names(41)
	c, s := site(t, scenarioOf(40, hosts, ""), "[guards]\nhosts = 0\nhosts_percent = 0\n")
	s.segment(t, "a", hosts...)
	var answered, sent []time.Duration
	for i, h := range hosts[:40] {
		begin := time.Now()
		n := s.notify(t, dead(h))
		told := time.Now()
		var first novasim.Request
		until(t, "first request", func() (ok bool) {
			first, ok = after(c, begin, anyRequest)
			return ok
		})
		if i > 0 { // the first one logs in
			answered, sent = append(answered, max(0, first.Time.Sub(told))), append(sent, first.Time.Sub(begin))
		}
		until(t, "end of the notification", func() bool {
			return slices.Contains([]string{"finished", "failed", "ignored"}, s.status(t, n))
		})
	}
	f.times(t, "answer to a notification until the first request to Nova", answered, 0)
	f.times(t, "notification sent until the first request to Nova", sent, 0)
}

// benchTakeOver kills the node that works on a host, and waits for the other.
func benchTakeOver(t *testing.T, f *figures) {
	for round := range 2 {
		hosts := names(4)
		c, keystone := cloud(t, scenarioOf(1, hosts, `servers:
  - {count: 300, name: web, host: compute-1}
latency:
  evacuation: {schedule: 1s, rebuild: 1s, mapping: 1s, spawn: 2s}
`))
		etcd := storetest.NewEtcd(t, 1)
		var nodes []*service
		for _, name := range []string{"one", "two"} {
			s := serve(t, "--config-file", config(t, c, keystone, fmt.Sprintf("[store]\nendpoints = %s\n[engine]\nnode = %s\n", strings.Join(etcd.Endpoints(), ","), name)))
			s.token = token(t, c, keystone)
			nodes = append(nodes, s)
		}
		nodes[0].segment(t, "a", hosts...)
		begin := time.Now()
		nodes[0].notify(t, dead(hosts[0]))
		until(t, "an evacuation", func() bool {
			_, ok := after(c, begin, func(r novasim.Request) bool { return r.Action == "evacuate" && r.Status != 0 })
			return ok
		})
		var list struct{ Runs []struct{ Node string } }
		nodes[0].must(t, "GET", "/wasakari/v1/runs", "", &list)
		if len(list.Runs) != 1 {
			t.Fatalf("%d runs", len(list.Runs))
		}
		at := slices.Index([]string{"one", "two"}, list.Runs[0].Node)
		_ = nodes[at].cmd.Process.Kill()
		<-nodes[at].ended
		killed := time.Now()
		for _, what := range []struct {
			name string
			like func(novasim.Request) bool
		}{{"first request", anyRequest}, {"first change", change}} {
			var r novasim.Request
			until(t, what.name, func() (ok bool) {
				r, ok = after(c, killed, what.like)
				return ok
			})
			f.add(t, r.Time.Sub(killed).Seconds(), "s", "node killed until another one's %s, lease 15 s, round %d", what.name, round+1)
		}
		_ = nodes[1-at].cmd.Process.Kill()
		<-nodes[1-at].ended
	}
}

// benchRuns measures memory at rest and with a thousand runs.
func benchRuns(t *testing.T, f *figures) {
	const count = 1000
	hosts := names(20)
	var servers strings.Builder
	servers.WriteString("latency: {actions: {start: 50s}}\nservers:\n")
	for _, h := range hosts {
		fmt.Fprintf(&servers, "  - {count: %d, name: web, host: %s, vm_state: stopped}\n", count/len(hosts), h)
	}
	c, s := site(t, scenarioOf(0, hosts, servers.String()), fmt.Sprintf("[engine]\nservers_at_once = %d\n[instance_failure]\nprocess_all_instances = true\n", count))
	s.segment(t, "a", hosts...)
	time.Sleep(5 * time.Second)
	f.add(t, s.resident(t), "MiB", "resident at rest")
	f.add(t, s.took.Seconds(), "s", "start-up, empty store")
	begin := time.Now()
	var most float64
	for _, v := range c.Servers() {
		s.notify(t, vm(v.Host, v.ID, "QEMU_GUEST_AGENT_ERROR", "STOPPED_FAILED"))
	}
	f.add(t, time.Since(begin).Seconds(), "s", "%d notifications about servers sent one after another", count)
	var running, runningMost, done int
	for done < count && time.Since(begin) < 8*time.Minute {
		most = max(most, s.resident(t))
		var list struct{ Notifications []struct{ Status string } }
		s.must(t, "GET", "/v1/notifications?limit=1000", "", &list)
		running, done = 0, 0
		for _, n := range list.Notifications {
			switch n.Status {
			case "running":
				running++
			case "finished", "failed", "ignored":
				done++
			}
		}
		runningMost = max(runningMost, running)
		time.Sleep(500 * time.Millisecond)
	}
	f.add(t, float64(runningMost), "", "of %d runs at once, most", count)
	f.add(t, float64(done), "", "of %d runs ended", count)
	f.add(t, time.Since(begin).Seconds(), "s", "%d runs, all", count)
	f.add(t, most, "MiB", "resident with %d runs at work, most", runningMost)
	time.Sleep(10 * time.Second)
	f.add(t, s.resident(t), "MiB", "resident with %d runs that ended", done)
}

// benchOld measures with a hundred thousand notifications and runs that ended
// long ago. They are copies of one that a service made.
func benchOld(t *testing.T, f *figures) {
	const count = 100_000
	hosts := names(2)
	c, keystone := cloud(t, scenarioOf(0, hosts, "servers:\n  - {name: web, host: compute-1, vm_state: stopped}\n"))
	etcd := storetest.NewEtcd(t, 1)
	options := fmt.Sprintf("[store]\nendpoints = %s\nretention_runs = 1000000\n", strings.Join(etcd.Endpoints(), ","))
	conf := config(t, c, keystone, options)
	s := serve(t, "--config-file", conf)
	s.token = token(t, c, keystone)
	s.segment(t, "a", hosts...)
	old := s.notify(t, vm(hosts[0], c.Servers()[0].ID, "QEMU_GUEST_AGENT_ERROR", "STOPPED_FAILED"))
	until(t, "end of the notification", func() bool {
		return slices.Contains([]string{"finished", "failed", "ignored"}, s.status(t, old))
	})
	s.stop(t)
	ctx, client := t.Context(), etcd.Client()
	kept, err := client.Get(ctx, "/wasakari/default/r/", clientv3.WithPrefix())
	if err != nil {
		t.Fatal(err)
	}
	var run string
	type record struct{ key, value string }
	var copied []record
	for _, kv := range kept.Kvs {
		key := string(kv.Key)
		if rest, ok := strings.CutPrefix(key, "/wasakari/default/r/run/"); ok {
			run = rest
		}
		if strings.Contains(key, "/r/run/") || strings.Contains(key, "/r/notification/") {
			copied = append(copied, record{key, string(kv.Value)})
			f.add(t, float64(len(kv.Value)), "bytes", "record %s", strings.Split(key, "/")[4])
		}
	}
	if run == "" || len(copied) != 2 {
		t.Fatalf("%d records, run %q", len(copied), run)
	}
	_, _ = many(t, 256, count, func(int) error {
		names := strings.NewReplacer(old, uuid.NewString(), run, uuid.NewString())
		for _, r := range copied {
			if _, err := client.Put(ctx, names.Replace(r.key), names.Replace(r.value)); err != nil {
				return err
			}
		}
		return nil
	})
	measure := func(where string, s *service) {
		f.add(t, s.took.Seconds(), "s", "start-up with %d old runs, %s", count, where)
		var list struct{ Notifications []struct{ ID int64 } }
		took, _ := many(t, 1, 50, func(int) error {
			return s.ask("GET", "/v1/notifications?limit=100", "", &list)
		})
		f.times(t, fmt.Sprintf("GET /v1/notifications?limit=100 of %d, %s", count, where), took, 0)
		if len(list.Notifications) != 100 {
			t.Errorf("%d notifications", len(list.Notifications))
		}
		took, _ = many(t, 1, 50, func(int) error {
			return s.ask("GET", "/wasakari/v1/runs?limit=100", "", nil)
		})
		f.times(t, fmt.Sprintf("GET /wasakari/v1/runs?limit=100 of %d, %s", count, where), took, 0)
		f.add(t, s.resident(t), "MiB", "resident with %d old runs, right after that, %s", count, where)
		time.Sleep(20 * time.Second)
		f.add(t, s.resident(t), "MiB", "resident with %d old runs, 20 s later, %s", count, where)
	}
	s = serve(t, "--config-file", conf)
	s.token = token(t, c, keystone)
	measure("etcd apart", s)
	s.stop(t)

	dir := filepath.Join(t.TempDir(), "store")
	backup := filepath.Join(t.TempDir(), "backup")
	command(t, "store", "backup", "--config-file", conf, backup)
	own := config(t, c, keystone, fmt.Sprintf("[store]\ndir = %s\nretention_runs = 1000000\n", dir))
	began := time.Now()
	command(t, "store", "restore", "--config-file", own, backup)
	f.add(t, time.Since(began).Seconds(), "s", "restore of %d old runs from a backup", count)
	s = serve(t, "--config-file", own)
	s.token = token(t, c, keystone)
	measure("embedded", s)
}

// command runs another command of the program.
func command(t *testing.T, args ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, program(t), args...)
	cmd.Env = []string{"PATH=/usr/bin:/bin", "HOME=" + t.TempDir()}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", args, err, out)
	}
}
