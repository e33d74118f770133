//go:build wasip1 && go1.26 && !tinygo

package wasakari

import "runtime/metrics"

var runnableSample = []metrics.Sample{{Name: "/sched/goroutines/runnable:goroutines"}}

// runnable reports whether a goroutine could go on. Only the driver asks.
func runnable() bool {
	metrics.Read(runnableSample)
	return runnableSample[0].Value.Uint64() > 0
}
