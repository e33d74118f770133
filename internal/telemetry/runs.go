package telemetry

import (
	"context"
	"errors"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/wasakari/wasakari/recovery"
)

// Accepted counts a notification that came in, and notes it on the span of its
// request: n as it was accepted, or, with the error, as it was sent.
func (t *Telemetry) Accepted(ctx context.Context, n recovery.Notification, err error) {
	if t == nil {
		return
	}
	result := "accepted"
	switch {
	case errors.Is(err, recovery.ErrDuplicate):
		result = "duplicate"
	case err != nil:
		result = "refused"
	}
	kind := oneOf(n.Type, recovery.ComputeHost, recovery.VM, recovery.Process)
	t.metrics.notifications.WithLabelValues(kind, result).Inc()
	span := trace.SpanFromContext(ctx)
	if !span.IsRecording() {
		return
	}
	span.SetAttributes(attribute.String("wasakari.type", kind), attribute.String("wasakari.result", result))
	if err == nil {
		span.SetAttributes(attribute.String("wasakari.notification", n.UUID))
	}
}

// Observe counts what runs tell of: tasks, vmoves, and runs that ended. It is
// what an observer of flows is.
func (t *Telemetry) Observe(e recovery.Event) {
	if t == nil {
		return
	}
	m := t.metrics
	switch {
	case e.Run != nil && e.Run.Finished:
		flow := other
		if len(e.Run.Flows) > 0 {
			flow = oneOf(e.Run.Flows[0], recovery.FlowKinds()...)
		}
		outcome := oneOf(e.Run.Status, recovery.StatusFinished, recovery.StatusIgnored, recovery.StatusFailed)
		m.runs.WithLabelValues(flow, outcome).Inc()
		m.runTime.WithLabelValues(flow).Observe(e.Run.Ended.Sub(e.Run.Started).Seconds())
	case e.Task != nil:
		t.observeTask(*e.Task)
	case e.VMove != nil && e.VMove.Status.Final():
		m.vmoves.WithLabelValues(string(e.VMove.Status)).Inc()
	}
}

func (t *Telemetry) observeTask(rec recovery.TaskRecord) {
	m, status := t.metrics, rec.Status
	known := oneOf(status, recovery.TaskSucceeded, recovery.TaskFailed, recovery.TaskNothingToDo, recovery.TaskIgnored, recovery.TaskInterrupted,
		recovery.TaskReverted, recovery.TaskRevertFailed)
	switch {
	case rec.Revert != nil:
		if !rec.Revert.Ended.IsZero() {
			m.reverts.WithLabelValues(m.tasks.of(rec.Key), known).Inc()
		}
	case !rec.Ended.IsZero():
		task := m.tasks.of(rec.Key)
		m.taskCount.WithLabelValues(task, known).Inc()
		// An interruption may have lasted as long as the process was away.
		if status != recovery.TaskInterrupted {
			m.taskTime.WithLabelValues(task).Observe(rec.Ended.Sub(rec.Started).Seconds())
		}
	}
}

// Held counts a run that a guard held, or refused a change.
func (t *Telemetry) Held(e *recovery.HeldError) {
	if t != nil && e != nil {
		t.metrics.holds.WithLabelValues(oneOf(e.Guard, "hosts", "hosts_percent", "servers_per_run", "servers_per_hour")).Inc()
	}
}

// StartRun begins the span of a run, new or resumed, in the trace of its
// notification; traceparent is Notification.Trace, empty when there is none. The
// tasks of the run are to have the context. end takes the run as it is then, and
// why it did not come to an end.
func (t *Telemetry) StartRun(ctx context.Context, run recovery.Run, traceparent string) (_ context.Context, end func(recovery.Run, error)) {
	if t == nil {
		return ctx, func(recovery.Run, error) {}
	}
	t.metrics.runsActive.Inc()
	name := "run"
	if len(run.Flows) > 0 {
		name += " " + string(run.Flows[0])
	}
	ctx, span := t.tracer.Start(remote(ctx, traceparent), name, trace.WithAttributes(filled(
		attribute.String("wasakari.run", run.ID),
		attribute.String("wasakari.notification", run.Notification),
		attribute.String("wasakari.host", run.Host),
		attribute.String("wasakari.server", run.Server),
		attribute.String("wasakari.segment", run.Segment),
		attribute.Int("wasakari.delivery", run.Delivery),
	)...))
	return ctx, func(run recovery.Run, err error) {
		t.metrics.runsActive.Dec()
		span.SetAttributes(attribute.String("wasakari.status", string(run.Status)))
		switch {
		case err != nil:
			fail(span, kindOf(err))
		case run.Status == recovery.StatusFailed:
			fail(span, string(run.Status))
		}
		span.End()
	}
}

// Task says which execution of a task a span is about.
type Task struct {
	Key, Tenant string
	Flow        recovery.FlowKind
	Phase       recovery.Phase
	Seq         int // of the executions of the run, from 1
	Attempt     int
	Reverting   bool
}

// Usage is what an execution of a task used.
type Usage struct {
	HostCalls   int
	CPU         int64 // units
	MemoryBytes int64 // peak
}

// StartTask begins the span of one execution of a task. Its ops are to have the
// context.
func (t *Telemetry) StartTask(ctx context.Context, task Task) (_ context.Context, end func(recovery.TaskStatus, Usage)) {
	if t == nil {
		return ctx, func(recovery.TaskStatus, Usage) {}
	}
	name := "task " + task.Key
	if task.Reverting {
		name = "revert " + task.Key
	}
	ctx, span := t.tracer.Start(ctx, name, trace.WithAttributes(filled(
		attribute.String("wasakari.task", task.Key),
		attribute.String("wasakari.tenant", task.Tenant),
		attribute.String("wasakari.flow", string(task.Flow)),
		attribute.String("wasakari.phase", string(task.Phase)),
		attribute.Int("wasakari.seq", task.Seq),
		attribute.Int("wasakari.attempt", task.Attempt),
	)...))
	return ctx, func(status recovery.TaskStatus, u Usage) {
		t.metrics.hostCalls.Add(float64(max(u.HostCalls, 0)))
		t.metrics.cpu.Add(float64(max(u.CPU, 0)))
		span.SetAttributes(
			attribute.String("wasakari.status", string(status)), attribute.Int("wasakari.host_calls", u.HostCalls),
			attribute.Int64("wasakari.cpu_units", u.CPU), attribute.Int64("wasakari.memory_bytes", u.MemoryBytes),
		)
		switch status {
		case recovery.TaskFailed, recovery.TaskRevertFailed, recovery.TaskInterrupted:
			fail(span, string(status))
		}
		span.End()
	}
}

// StartOp begins the span of an op. Requests to the cloud that it makes are to
// have the context. code is "ok", or the name of the error's.
//
// op must be the name of an op that there is, code one of the ABI's: both are
// labels.
func (t *Telemetry) StartOp(ctx context.Context, op string) (_ context.Context, end func(code string)) {
	if t == nil {
		return ctx, func(string) {}
	}
	ctx, span := t.tracer.Start(ctx, op)
	began := time.Now()
	return ctx, func(code string) {
		t.metrics.ops.WithLabelValues(op, code).Inc()
		t.metrics.opTime.WithLabelValues(op).Observe(time.Since(began).Seconds())
		if code != "ok" {
			fail(span, code)
		}
		span.End()
	}
}

// fail marks a span as failed, by a kind of failure and not by a text.
func fail(span trace.Span, kind string) {
	span.SetAttributes(attribute.String("error.type", kind))
	span.SetStatus(codes.Error, kind)
}

// filled leaves out attributes that say nothing.
func filled(attrs ...attribute.KeyValue) []attribute.KeyValue {
	out := attrs[:0]
	for _, a := range attrs {
		if a.Value.Type() == attribute.STRING && a.Value.AsString() == "" || a.Value.Type() == attribute.INT64 && a.Value.AsInt64() == 0 {
			continue
		}
		out = append(out, a)
	}
	return out
}
