package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wasakari/wasakari/abi"
	"github.com/wasakari/wasakari/internal/standardtasks"
	"github.com/wasakari/wasakari/recovery"
	"github.com/wasakari/wasakari/runtime"
)

// BenchmarkTask runs a whole task as the flow does: a fresh sandbox of the Go
// module of the standard tasks, its start-up, one log line, its end.
func BenchmarkTask(b *testing.B) {
	rt, err := runtime.New(runtime.Config{CacheDir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	defer rt.Close(b.Context()) //nolint:errcheck // nothing was written
	m, err := rt.Admit(b.Context(), "built in", standardtasks.Module())
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := m.Run(b.Context(), runtime.Call{Key: "no_op", Host: silentHost{}}); err != nil {
			b.Fatal(err)
		}
	}
}

// silentHost is a task's host that knows who the task is and nothing else.
type silentHost struct{ runtime.Host }

func (silentHost) Log(abi.Level, string) {}
func (silentHost) Progress(int, string)  {}

// Do answers task.input.
func (silentHost) Do(context.Context, *abi.Op, []byte) ([]byte, error) {
	return []byte(`{"key":"no_op","flow":"process","phase":"pre","run_id":"r","attempt":1,"idempotency_key":"k","inputs":{},"options":{}}`), nil
}

// BenchmarkFlow recovers a host of a simulated cloud without latency, from the
// command line to the report, journal on disk included.
func BenchmarkFlow(b *testing.B) {
	for _, servers := range []int{20, 1000} {
		b.Run(fmt.Sprintf("%d servers", servers), func(b *testing.B) {
			dir := b.TempDir()
			scenario := filepath.Join(dir, "cloud.yaml")
			text := fmt.Sprintf("hosts:\n  - {name: compute-1, state: down}\n  - {name: compute-2}\n  - {name: compute-3}\nservers:\n  - {count: %d, name: web, host: compute-1}\n", servers)
			if err := os.WriteFile(scenario, []byte(text), 0o600); err != nil {
				b.Fatal(err)
			}
			calls := 0
			b.ReportAllocs()
			for b.Loop() {
				var out strings.Builder
				w := world{stdout: &out, stderr: io.Discard, home: dir}
				if code := execute(b.Context(), []string{
					"run", "host-auto", "--simulate", "--scenario", scenario, "--input", "host_name=compute-1", "--output", "json",
					"--set", "DEFAULT.host_failure_recovery_threads=32",
				}, w); code != exitOK {
					b.Fatalf("exit %d\n%s", code, out.String())
				}
				var r report
				if err := json.Unmarshal([]byte(out.String()), &r); err != nil {
					b.Fatal(err)
				}
				if n := count(vmovesOf(r))[recovery.VMoveSucceeded]; n != servers {
					b.Fatalf("%d servers succeeded, want %d", n, servers)
				}
				calls = r.NovaCalls
			}
			b.ReportMetric(float64(calls)/float64(servers), "requests/server")
			b.ReportMetric(peakMiB(b), "peak-MiB")
		})
	}
}

func vmovesOf(r report) []recovery.VMove {
	var out []recovery.VMove
	for _, v := range r.VMoves {
		out = append(out, recovery.VMove{Status: v.Status})
	}
	return out
}

// peakMiB is the most memory that the process has ever had resident.
func peakMiB(b *testing.B) float64 {
	b.Helper()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0 // not on this system
	}
	var kib float64
	for line := range strings.Lines(string(status)) {
		if _, err := fmt.Sscanf(line, "VmHWM: %f kB", &kib); err == nil {
			return kib / 1024
		}
	}
	return 0
}
