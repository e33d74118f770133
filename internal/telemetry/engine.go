package telemetry

import (
	"time"

	"github.com/wasakari/wasakari/recovery"
)

// Engine is what is told by the engine that takes notifications from the queue.
type Engine struct{ t *Telemetry }

// Engine gives the hooks of an engine.
func (t *Telemetry) Engine() Engine { return Engine{t} }

func (e Engine) ended(n recovery.Notification, status recovery.NotificationStatus) {
	kind := oneOf(n.Type, recovery.ComputeHost, recovery.VM, recovery.Process)
	state := oneOf(status, recovery.StatusFinished, recovery.StatusIgnored, recovery.StatusFailed)
	e.t.metrics.ended.WithLabelValues(kind, state).Inc()
	e.t.metrics.endedTime.WithLabelValues(kind).Observe(time.Since(n.Stamp.Created).Seconds())
}

// EndedWithoutRun counts a notification that needed no run.
func (e Engine) EndedWithoutRun(n recovery.Notification, status recovery.NotificationStatus, _ string) {
	if e.t != nil {
		e.ended(n, status)
	}
}

// Claimed measures how long a notification waited for its first run.
func (e Engine) Claimed(item recovery.QueueItem, run recovery.Run, resumed bool) {
	if e.t != nil && !resumed && run.Delivery == 1 {
		e.t.metrics.waited.WithLabelValues(oneOf(item.Type, recovery.ComputeHost, recovery.VM, recovery.Process)).Observe(time.Since(item.Added).Seconds())
	}
}

// RunStarted does nothing: StartRun tells.
func (e Engine) RunStarted(recovery.Notification, recovery.Run) {}

// RunEvent counts what a run tells of.
func (e Engine) RunEvent(_ string, ev recovery.Event) { e.t.Observe(ev) }

// RunEnded counts a notification that was brought to its end by a run, and
// runs that a guard held.
func (e Engine) RunEnded(n recovery.Notification, run recovery.Run, status recovery.NotificationStatus) {
	if e.t == nil {
		return
	}
	if status.Final() {
		e.ended(n, status)
	}
	e.t.Held(run.Held)
}

// Retried counts a notification that waits for another run.
func (e Engine) Retried(recovery.Notification, recovery.Run, time.Time) { e.setback("retried") }

// PutOff counts a run that could not be gone on with for now.
func (e Engine) PutOff(recovery.QueueItem, string, error) { e.setback("put_off") }

// HandedOver counts a run that was left to another node.
func (e Engine) HandedOver(_ string, lost bool) {
	if !lost {
		e.setback("handed_over")
		return
	}
	e.setback("lost")
	e.t.LeaseLost()
}

// Superseded counts what a run of a host ended.
func (e Engine) Superseded(recovery.QueueItem, string) { e.setback("superseded") }

func (e Engine) setback(what string) {
	if e.t != nil {
		e.t.metrics.setbacks.WithLabelValues(what).Inc()
	}
}

// StoreAway notes that the queue cannot be read, or, with nil, can again.
func (e Engine) StoreAway(err error) {
	if e.t == nil {
		return
	}
	away := 0.
	if err != nil {
		away = 1
	}
	e.t.metrics.storeAway.Set(away)
}

// Unreported notes how many hosts are down without anybody having said so.
func (e Engine) Unreported(hosts int) {
	if e.t != nil {
		e.t.metrics.unreported.Set(float64(hosts))
	}
}
