package telemetry_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/wasakari/wasakari/internal/telemetry"
	"github.com/wasakari/wasakari/recovery"
)

func newTelemetry(t *testing.T, c telemetry.Config) *telemetry.Telemetry {
	t.Helper()
	for _, v := range os.Environ() {
		if name, _, _ := strings.Cut(v, "="); strings.HasPrefix(name, "OTEL_") {
			t.Setenv(name, "")
		}
	}
	x, err := telemetry.New(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = x.Shutdown(context.Background()) })
	return x
}

// scrape gives the lines about metrics of ours that have values other than 0.
func scrape(t *testing.T, x *telemetry.Telemetry) []string {
	t.Helper()
	rec := httptest.NewRecorder()
	x.Metrics().ServeHTTP(rec, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil))
	if rec.Code != http.StatusOK {
		t.Fatalf("status = %d: %s", rec.Code, rec.Body)
	}
	var lines []string
	for line := range strings.Lines(rec.Body.String()) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "wasakari_") && !strings.HasSuffix(line, " 0") && !strings.Contains(line, "_bucket{") && !strings.HasPrefix(line, "wasakari_build_info") {
			lines = append(lines, line)
		}
	}
	return lines
}

var began = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func TestMetricsOfHooks(t *testing.T) {
	after := func(s int) time.Time { return began.Add(time.Duration(s) * time.Second) }
	task := func(status recovery.TaskStatus, revert *recovery.RevertRecord) recovery.Event {
		return recovery.Event{Task: &recovery.TaskRecord{Key: "k", Status: status, Started: began, Ended: after(2), Revert: revert}}
	}
	tests := []struct {
		name string
		do   func(x *telemetry.Telemetry)
		want []string
	}{
		{"accepted", func(x *telemetry.Telemetry) {
			x.Accepted(context.Background(), recovery.Notification{Type: recovery.VM}, nil)
		}, []string{`wasakari_notifications_total{result="accepted",type="VM"} 1`}},
		{"duplicate", func(x *telemetry.Telemetry) {
			x.Accepted(context.Background(), recovery.Notification{Type: recovery.ComputeHost}, fmt.Errorf("n: %w", recovery.ErrDuplicate))
		}, []string{`wasakari_notifications_total{result="duplicate",type="COMPUTE_HOST"} 1`}},
		{"refused", func(x *telemetry.Telemetry) {
			x.Accepted(context.Background(), recovery.Notification{Type: "NONSENSE"}, recovery.ErrNotFound)
		}, []string{`wasakari_notifications_total{result="refused",type="other"} 1`}},
		{"run that ended", func(x *telemetry.Telemetry) {
			x.Observe(recovery.Event{Run: &recovery.Run{Flows: recovery.AutoPriority.Flows(), Status: recovery.StatusFailed, Finished: true, Started: began, Ended: after(3)}})
		}, []string{
			`wasakari_run_duration_seconds_count{flow="host-auto"} 1`, `wasakari_run_duration_seconds_sum{flow="host-auto"} 3`,
			`wasakari_runs_total{flow="host-auto",outcome="failed"} 1`,
		}},
		{"run that began", func(x *telemetry.Telemetry) {
			x.Observe(recovery.Event{Run: &recovery.Run{Status: recovery.StatusRunning}})
		}, nil},
		{"run at work", func(x *telemetry.Telemetry) {
			_, end := x.StartRun(context.Background(), recovery.Run{}, "")
			end(recovery.Run{}, nil)
			x.StartRun(context.Background(), recovery.Run{}, "")
		}, []string{`wasakari_runs_active 1`}},
		{"task", func(x *telemetry.Telemetry) {
			x.Observe(recovery.Event{Task: &recovery.TaskRecord{Key: "k", Status: recovery.TaskRunning, Started: began}})
			x.Observe(task(recovery.TaskSucceeded, nil))
		}, []string{
			`wasakari_task_duration_seconds_count{task="k"} 1`, `wasakari_task_duration_seconds_sum{task="k"} 2`,
			`wasakari_tasks_total{status="succeeded",task="k"} 1`,
		}},
		{"task that was interrupted", func(x *telemetry.Telemetry) {
			x.Observe(task(recovery.TaskInterrupted, nil))
		}, []string{`wasakari_tasks_total{status="interrupted",task="k"} 1`}},
		{"revert", func(x *telemetry.Telemetry) {
			x.Observe(task(recovery.TaskReverting, &recovery.RevertRecord{}))
			x.Observe(task(recovery.TaskReverted, &recovery.RevertRecord{Ended: after(3)}))
		}, []string{`wasakari_reverts_total{status="reverted",task="k"} 1`}},
		{"vmoves", func(x *telemetry.Telemetry) {
			x.Observe(recovery.Event{VMove: &recovery.VMove{Status: recovery.VMoveOngoing}})
			x.Observe(recovery.Event{VMove: &recovery.VMove{Status: recovery.VMoveIgnored}})
		}, []string{`wasakari_vmoves_total{status="ignored"} 1`}},
		{"guard", func(x *telemetry.Telemetry) {
			x.Held(&recovery.HeldError{Guard: "hosts_percent"})
			x.Held(&recovery.HeldError{Guard: "made up"})
			x.Held(nil)
		}, []string{`wasakari_guard_holds_total{guard="hosts_percent"} 1`, `wasakari_guard_holds_total{guard="other"} 1`}},
		{"usage of a task", func(x *telemetry.Telemetry) {
			_, end := x.StartTask(context.Background(), telemetry.Task{Key: "k"})
			end(recovery.TaskSucceeded, telemetry.Usage{HostCalls: 7, CPU: 1234, MemoryBytes: 5})
		}, []string{`wasakari_cpu_units_total 1234`, `wasakari_host_calls_total 7`}},
		{"answer", func(x *telemetry.Telemetry) {
			x.Answered("POST", "/v1/notifications", 202, time.Second)
			x.Answered("WHATEVER", "other", 4711, time.Second)
		}, []string{
			`wasakari_http_request_duration_seconds_count{route="/v1/notifications"} 1`, `wasakari_http_request_duration_seconds_count{route="other"} 1`,
			`wasakari_http_request_duration_seconds_sum{route="/v1/notifications"} 1`, `wasakari_http_request_duration_seconds_sum{route="other"} 1`,
			`wasakari_http_requests_total{code="202",method="POST",route="/v1/notifications"} 1`,
			`wasakari_http_requests_total{code="other",method="other",route="other"} 1`,
		}},
		{"transactions", func(x *telemetry.Telemetry) {
			for _, err := range []error{nil, recovery.ErrConflict, recovery.ErrLeaseLost, errors.New("away")} {
				x.Transaction(time.Second, err)
			}
		}, []string{
			`wasakari_store_transaction_duration_seconds_count 4`, `wasakari_store_transaction_duration_seconds_sum 4`,
			`wasakari_store_transactions_total{result="conflict"} 1`, `wasakari_store_transactions_total{result="error"} 1`,
			`wasakari_store_transactions_total{result="lease_lost"} 1`, `wasakari_store_transactions_total{result="ok"} 1`,
		}},
		{"counters", func(x *telemetry.Telemetry) {
			x.LeaseLost()
			x.Delivery("dropped")
			x.Reloaded(errors.New("bad"))
			x.Audited("nova", nil)
			x.Audited("made up", errors.New("disk full"))
		}, []string{
			`wasakari_audit_lines_total{kind="nova",result="ok"} 1`, `wasakari_audit_lines_total{kind="other",result="error"} 1`,
			`wasakari_config_reloads_total{result="error"} 1`, `wasakari_leases_lost_total 1`, `wasakari_webhook_deliveries_total{result="dropped"} 1`,
		}},
		{"queue", func(x *telemetry.Telemetry) {
			x.Queue(func(context.Context) ([]recovery.QueueItem, error) {
				return []recovery.QueueItem{
					{Type: recovery.VM, Run: "r", Added: began},
					{Type: recovery.VM, NotBefore: time.Now().Add(time.Hour), Added: began},
					{Type: recovery.Process, Added: time.Now().Add(time.Hour)},
				}, nil
			})
		}, []string{
			`wasakari_queue_notifications{state="at_work",type="VM"} 1`, `wasakari_queue_notifications{state="due",type="PROCESS"} 1`,
			`wasakari_queue_notifications{state="later",type="VM"} 1`,
		}},
		{"queue that cannot be read", func(x *telemetry.Telemetry) {
			x.Queue(func(ctx context.Context) ([]recovery.QueueItem, error) {
				if _, bounded := ctx.Deadline(); !bounded {
					t.Error("the source may take for ever")
				}
				return nil, recovery.ErrUnavailable
			})
			scrape(t, x)
			x.Queue(nil)
		}, []string{`wasakari_scrape_errors_total{source="queue"} 1`}},
		{"sandboxes", func(x *telemetry.Telemetry) {
			x.Sandboxes(func() telemetry.Sandboxes {
				return telemetry.Sandboxes{Live: 1, Waiting: 2, MemoryBytes: 3, CacheHits: 4, CacheMisses: 5}
			})
		}, []string{
			`wasakari_modules_compiled_total{cache="hit"} 4`, `wasakari_modules_compiled_total{cache="miss"} 5`,
			`wasakari_sandbox_memory_bytes 3`, `wasakari_sandboxes{state="live"} 1`, `wasakari_sandboxes{state="waiting"} 2`,
		}},
		{"store", func(x *telemetry.Telemetry) {
			x.Store(func(context.Context) (telemetry.StoreBytes, error) {
				return telemetry.StoreBytes{Size: 3, InUse: 2, Quota: 9}, nil
			})
		}, []string{`wasakari_store_bytes{what="in_use"} 2`, `wasakari_store_bytes{what="quota"} 9`, `wasakari_store_bytes{what="size"} 3`}},
		{"store that is away", func(x *telemetry.Telemetry) {
			x.Store(func(context.Context) (telemetry.StoreBytes, error) {
				return telemetry.StoreBytes{}, recovery.ErrUnavailable
			})
			scrape(t, x)
			x.Store(nil)
		}, []string{`wasakari_scrape_errors_total{source="store"} 1`}},
		{"lease and readiness", func(x *telemetry.Telemetry) {
			x.Lease(func() time.Duration { return 9 * time.Second })
			x.Ready(func(context.Context) error { return nil })
		}, []string{`wasakari_lease_left_seconds 9`, `wasakari_ready 1`}},
		{"engine", func(x *telemetry.Telemetry) {
			e := x.Engine()
			n := recovery.Notification{Type: recovery.VM, Stamp: recovery.Stamp{Created: time.Now().Add(time.Hour)}}
			e.EndedWithoutRun(n, recovery.StatusIgnored, "")
			item := recovery.QueueItem{Type: recovery.VM, Added: began}
			e.Claimed(item, recovery.Run{Delivery: 1}, false)
			e.Claimed(item, recovery.Run{Delivery: 2}, false)
			e.Claimed(item, recovery.Run{Delivery: 1}, true)
			e.RunEvent("r", recovery.Event{VMove: &recovery.VMove{Status: recovery.VMoveFailed}})
			e.RunEnded(n, recovery.Run{}, recovery.StatusError)
			e.RunEnded(n, recovery.Run{Held: &recovery.HeldError{Guard: "hosts"}}, recovery.StatusFailed)
			e.Retried(n, recovery.Run{}, began)
			e.PutOff(recovery.QueueItem{}, "r", nil)
			e.HandedOver("r", true)
			e.HandedOver("r", false)
			e.Superseded(recovery.QueueItem{}, "r")
			e.StoreAway(errors.New("no quorum"))
			e.Unreported(3)
		}, []string{
			`wasakari_guard_holds_total{guard="hosts"} 1`, `wasakari_hosts_unreported 3`, `wasakari_leases_lost_total 1`,
			`wasakari_notification_duration_seconds_count{type="VM"} 2`, `wasakari_notification_wait_seconds_count{type="VM"} 1`,
			`wasakari_notifications_ended_total{status="failed",type="VM"} 1`, `wasakari_notifications_ended_total{status="ignored",type="VM"} 1`,
			`wasakari_run_setbacks_total{what="handed_over"} 1`, `wasakari_run_setbacks_total{what="lost"} 1`, `wasakari_run_setbacks_total{what="put_off"} 1`,
			`wasakari_run_setbacks_total{what="retried"} 1`, `wasakari_run_setbacks_total{what="superseded"} 1`,
			`wasakari_store_away 1`, `wasakari_vmoves_total{status="failed"} 1`,
		}},
		{"store that is back", func(x *telemetry.Telemetry) {
			x.Engine().StoreAway(errors.New("no quorum"))
			x.Engine().StoreAway(nil)
		}, nil},
		{"not ready", func(x *telemetry.Telemetry) {
			x.Ready(func(context.Context) error { return errors.New("no quorum") })
		}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			x := newTelemetry(t, telemetry.Config{})
			tt.do(x)
			got := slices.DeleteFunc(scrape(t, x), func(line string) bool {
				// What depends on the clock.
				return strings.HasPrefix(line, "wasakari_queue_oldest_seconds") || strings.HasPrefix(line, "wasakari_notification_") && strings.Contains(line, "_sum")
			})
			slices.Sort(got)
			if !slices.Equal(got, tt.want) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(tt.want, "\n"))
			}
		})
	}
}

func TestMetricsQueueAge(t *testing.T) {
	x := newTelemetry(t, telemetry.Config{})
	x.Queue(func(context.Context) ([]recovery.QueueItem, error) {
		return []recovery.QueueItem{
			{Type: recovery.VM, Added: time.Now().Add(-time.Hour)},
			{Type: recovery.VM, Added: time.Now().Add(-time.Minute)},
			{Type: recovery.Process, Added: time.Now().Add(-time.Hour), Run: "at work"},
		}, nil
	})
	got := strings.Join(scrape(t, x), "\n")
	if want := regexp.MustCompile(`(?m)^wasakari_queue_oldest_seconds\{type="VM"\} 36\d\d`); !want.MatchString(got) {
		t.Errorf("got\n%s\nwant %s", got, want)
	}
	if strings.Contains(got, `oldest_seconds{type="PROCESS"}`) {
		t.Errorf("what is worked on has an age: %s", got)
	}
}

// Whatever names come, there are no more series than the bounds let through.
func TestMetricsAreBounded(t *testing.T) {
	x := newTelemetry(t, telemetry.Config{})
	for i := range 1000 {
		x.Observe(recovery.Event{Task: &recovery.TaskRecord{Key: fmt.Sprintf("task_%d", i), Status: recovery.TaskStatus(fmt.Sprint(i)), Ended: began}})
		x.Accepted(t.Context(), recovery.Notification{Type: recovery.NotificationType(fmt.Sprint(i))}, nil)
		x.Observe(recovery.Event{Run: &recovery.Run{Finished: true, Flows: []recovery.FlowKind{recovery.FlowKind(fmt.Sprint(i))}, Status: recovery.NotificationStatus(fmt.Sprint(i))}})
		x.Answered(fmt.Sprint("M", i), "other", i, 0)
		_, done := x.Request(fmt.Sprint(i), httptest.NewRequestWithContext(t.Context(), fmt.Sprint("M", i), fmt.Sprintf("/compute/v2.1/servers/%d/action", i), nil))
		done(600+i, nil, nil)
	}
	got := map[string]int{}
	for _, line := range scrape(t, x) {
		name, _, _ := strings.Cut(line, "{")
		got[name]++
	}
	for name, want := range map[string]int{
		"wasakari_tasks_total": 65, "wasakari_notifications_total": 1, "wasakari_runs_total": 1,
		"wasakari_http_requests_total": 501, "wasakari_cloud_requests_total": 1,
	} {
		if got[name] != want {
			t.Errorf("%s has %d series, want %d", name, got[name], want)
		}
	}
}

// A nil Telemetry is one that measures nothing.
func TestNil(t *testing.T) {
	var x *telemetry.Telemetry
	v := reflect.ValueOf(x)
	for i := range v.NumMethod() {
		name := v.Type().Method(i).Name
		if name == "List" || name == "Metrics" || name == "ServeMetrics" {
			continue // there is nothing to serve
		}
		f := v.Method(i)
		args := make([]reflect.Value, f.Type().NumIn())
		for k := range args {
			args[k] = reflect.Zero(f.Type().In(k))
			if f.Type().In(k) == reflect.TypeFor[context.Context]() {
				args[k] = reflect.ValueOf(t.Context())
			}
		}
		for _, out := range f.Call(args) {
			if out.Kind() == reflect.Func && !out.IsNil() {
				ends := make([]reflect.Value, out.Type().NumIn())
				for k := range ends {
					ends[k] = reflect.Zero(out.Type().In(k))
				}
				out.Call(ends)
			}
		}
	}
}

func TestServeMetrics(t *testing.T) {
	x := newTelemetry(t, telemetry.Config{Version: "1.2.3"})
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- x.ServeMetrics(ctx, l) }()
	tests := []struct {
		name, method, path, origin string
		want                       int
	}{
		{"scrape", "GET", "/metrics", "", 200},
		{"elsewhere", "GET", "/", "", 404},
		{"change", "POST", "/metrics", "", 405},
		{"web page", "GET", "/metrics", "http://evil.example", 403},
	}
	for _, tt := range tests {
		req, err := http.NewRequestWithContext(t.Context(), tt.method, "http://"+l.Addr().String()+tt.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if tt.origin != "" {
			req.Header.Set("Origin", tt.origin)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != tt.want {
			t.Errorf("%s: status = %d, want %d", tt.name, resp.StatusCode, tt.want)
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("end: %v", err)
	}
}

var write = flag.Bool("write", false, "write the table of metrics into docs/operation.md")

// The table in the docs is that of the registry.
func TestMetricsTable(t *testing.T) {
	const file, first, last = "../../docs/operation.md", "<!-- metrics: make generate -->\n", "<!-- end of metrics -->\n"
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(text), first)
	table, after, ok2 := strings.Cut(rest, last)
	if !ok || !ok2 {
		t.Fatalf("%s lacks %s or %s", file, first, last)
	}
	var b strings.Builder
	b.WriteString("\n| Metric | Kind | Labels | Meaning |\n| --- | --- | --- | --- |\n")
	x := newTelemetry(t, telemetry.Config{Exporter: tracetest.NewNoopExporter()})
	for _, m := range x.List() {
		labels := strings.ReplaceAll(strings.Join(m.Labels, ", "), ", ", "`, `")
		if labels != "" {
			labels = "`" + labels + "`"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", m.Name, m.Kind, labels, m.Help)
	}
	b.WriteString("\n")
	if table == b.String() {
		return
	}
	if !*write {
		t.Fatalf("%s: the table of metrics is not that of the registry; make generate", file)
	}
	if err := os.WriteFile(file, []byte(before+first+b.String()+last+after), 0o644); err != nil {
		t.Fatal(err)
	}
}
