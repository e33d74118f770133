package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/wasakari/wasakari/abi"
	"github.com/wasakari/wasakari/config"
	"github.com/wasakari/wasakari/flow"
	"github.com/wasakari/wasakari/hostfuncs"
	"github.com/wasakari/wasakari/internal/telemetry"
	"github.com/wasakari/wasakari/recovery"
	"github.com/wasakari/wasakari/runtime"
)

// runner runs the tasks of one run: each in a fresh sandbox of its module,
// whose ops the hatch answers. It serves flow.Runner.
type runner struct {
	catalog *catalog
	cfg     *config.Config
	tel     *telemetry.Telemetry
	hatch   *hostfuncs.Hatch
	secrets map[string]recovery.Secret // of all tasks, by group.option
	// providers tells for each flow whose tasks provide which values: the tenant,
	// empty for the operator's.
	providers map[recovery.FlowKind]map[string]string
	// first is when the run may make its first change.
	first time.Time
}

// providersOf finds whose tasks provide the values of the flows.
func providersOf(c *catalog, flows map[recovery.FlowKind]recovery.Flow) map[recovery.FlowKind]map[string]string {
	out := map[recovery.FlowKind]map[string]string{}
	for kind, f := range flows {
		out[kind] = map[string]string{}
		for _, phase := range recovery.Phases() {
			for _, ref := range f.Tasks(phase) {
				task, _ := c.Task(ref.Key)
				for _, name := range task.Provides {
					out[kind][name] = task.Tenant
				}
			}
		}
	}
	return out
}

// Run does a task.
func (r *runner) Run(ctx context.Context, call flow.TaskCall) recovery.Outcome {
	return r.do(ctx, call, (*runtime.Module).Run)
}

// Revert undoes a task.
func (r *runner) Revert(ctx context.Context, call flow.TaskCall) recovery.Outcome {
	return r.do(ctx, call, (*runtime.Module).Revert)
}

func (r *runner) do(ctx context.Context, call flow.TaskCall, run func(*runtime.Module, context.Context, runtime.Call) (runtime.Result, error)) (out recovery.Outcome) {
	module := r.catalog.modules[call.Key]
	options, err := r.cfg.TaskOptions(call.Task.Options)
	if err != nil {
		return recovery.Outcome{Status: recovery.TaskFailed, Message: err.Error()}
	}
	limit := boundsOf(r.cfg, call.Task, module.Limits(call.Task.Key))
	hatchCall := hostfuncs.TaskCall{
		Task: call.Task, Flow: call.Flow, Phase: call.Phase, Index: call.Index, Seq: call.Seq,
		Attempt: call.Attempt, Round: call.Round,
		IdempotencyKey: call.IdempotencyKey, Values: call.Values, Options: options, Script: module.Script(),
		Reverting: call.Reverting, Failure: call.Failure, ReservedHost: call.ReservedHost,
		Secrets: secretsOf(call.Task, r.secrets), Granted: grantedTo(r.cfg, call.Task), Networks: r.cfg.GrantsFor(call.Task).Networks(),
		ProviderTenant: func(name string) (string, bool) {
			tenant, ok := r.providers[call.Flow][name]
			return tenant, ok
		},
	}
	limit.give(&hatchCall)
	if wait := time.Until(r.first); wait > 0 && limit.Timeout > 0 {
		limit.Timeout += wait // it does not go by while the first change waits
	}
	ctx, ended := r.tel.StartTask(ctx, telemetry.Task{
		Key: call.Key, Tenant: call.Task.Tenant, Flow: call.Flow, Phase: call.Phase, Seq: call.Seq, Attempt: call.Attempt, Reverting: call.Reverting,
	})
	host := &witness{TaskHost: r.hatch.Task(hatchCall)}
	result, err := run(module, ctx, runtime.Call{Key: call.Key, Host: host, Limits: limit.Limits, Tenant: call.Task.Tenant, CoarseClock: call.Task.Tenant != ""})
	defer func() {
		ended(out.Status, telemetry.Usage{HostCalls: result.HostCalls, CPU: result.CPU, MemoryBytes: result.MemoryPeak})
	}()
	out = outcomeOf(ctx, result, err)
	out.Progress = host.ProgressLog()
	if out.Status == recovery.TaskFailed && out.Message == "" {
		out.Message = "the task failed and gave no reason" + host.lastRefusal()
	}
	if out.Status == recovery.TaskSucceeded && !call.Reverting {
		if out.Provided, err = host.Provided(); err != nil {
			out.Status, out.Message = recovery.TaskFailed, err.Error()
		}
	}
	if held := host.Held(); held != nil {
		out = heldBack(out, held)
	}
	// The key stands beside the message wherever it is shown.
	before, after, found := strings.Cut(out.Message, "task "+call.Key+": ")
	if found && (before == "" || before == stopped) {
		out.Message = before + after
	}
	return out
}

// heldBack fails a task to which a guard refused a change, whatever the task
// made of that, and says so.
func heldBack(out recovery.Outcome, held *recovery.HeldError) recovery.Outcome {
	switch {
	case out.Status == recovery.TaskInterrupted:
	case out.Status != recovery.TaskFailed:
		out.Message = fmt.Sprintf("%s (the task itself ended %s)", held, out.Status)
		out.Status, out.Provided = recovery.TaskFailed, nil
	case strings.Contains(out.Message, held.Brief()): // from the op
		out.Message = strings.Replace(out.Message, held.Brief(), held.Error(), 1)
	default:
		out.Message += "; " + held.Error()
	}
	return out
}

// stopped begins the message of a task whose time was up.
const stopped = "stopped: "

// outcomeOf says in recovery's words how a sandbox ended.
func outcomeOf(ctx context.Context, result runtime.Result, err error) recovery.Outcome {
	out := recovery.Outcome{Message: result.Reason}
	switch {
	case ctx.Err() != nil:
		out.Status, out.Message = recovery.TaskInterrupted, "interrupted: "+context.Cause(ctx).Error()
	case errors.Is(err, context.DeadlineExceeded):
		out.Status, out.Message = recovery.TaskFailed, stopped+err.Error()
	case err != nil:
		out.Status, out.Message = recovery.TaskFailed, err.Error()
	case result.Exit == abi.ExitSucceeded:
		out.Status = recovery.TaskSucceeded
	case result.Exit == abi.ExitNothingToDo:
		out.Status = recovery.TaskNothingToDo
	case result.Exit == abi.ExitIgnored:
		out.Status = recovery.TaskIgnored
	default:
		out.Status = recovery.TaskFailed
	}
	return out
}

// witness is the host side of a task that remembers the last op it refused: a
// task that fails without a word most likely failed for it.
type witness struct {
	*hostfuncs.TaskHost
	mu      sync.Mutex
	op      string
	refusal error
}

// Do does an op.
func (w *witness) Do(ctx context.Context, op *abi.Op, req []byte) ([]byte, error) {
	answer, err := w.TaskHost.Do(ctx, op, req)
	if err != nil {
		w.mu.Lock()
		w.op, w.refusal = op.Name, err
		w.mu.Unlock()
	}
	return answer, err
}

func (w *witness) lastRefusal() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.refusal == nil {
		return ""
	}
	text := w.refusal.Error()
	if refused, ok := errors.AsType[*abi.Error](w.refusal); ok {
		text = refused.Message
	}
	return "; the last op that was refused: " + w.op + ": " + strings.TrimPrefix(text, w.op+": ")
}

// reserved gives out the reserved hosts of a run from the command line. It
// serves flow.Reserved.
type reserved struct {
	*hostfuncs.Hatch
	cloud hostfuncs.Cloud
	// inHand is the reserved host that a resumed run was working with: it is the
	// run's own already, whatever became of it.
	inHand string
}

// hostInHand tells which reserved host a run was working with when it stopped.
func hostInHand(history []recovery.TaskRecord) string {
	if len(history) == 0 {
		return ""
	}
	return history[len(history)-1].ReservedHost
}

// Claim refuses a host that could take no server.
func (r reserved) Claim(ctx context.Context, host string) error {
	if host == r.inHand {
		return nil
	}
	services, err := r.cloud.Services(ctx, recovery.ServiceFilter{Host: host, Binary: "nova-compute"})
	if err != nil {
		return err
	}
	i := slices.IndexFunc(services, func(s recovery.ComputeService) bool { return s.Host == host })
	switch {
	case i < 0:
		return fmt.Errorf("no nova-compute service of that name: %w", recovery.ErrNotFound)
	case services[i].State != "up":
		return fmt.Errorf("its nova-compute is %s: %w", services[i].State, recovery.ErrConflict)
	}
	return nil
}

// Settle ends a claim: the host is used up when something moved to it.
func (r reserved) Settle(ctx context.Context, host string) error {
	return r.SettleReserved(ctx, host)
}

// undoWait bounds what is done after the end of a run.
const undoWait = 2 * time.Minute
