// Package flow checks and runs the plan for one kind of failure: tasks in pre,
// main and post, strictly in order, with reverts, repetition over reserved
// hosts, fallback and resumption.
//
// It knows no wasm, no cloud and no file: who runs a task, keeps the journal
// and undoes what must not stay is handed in.
package flow

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/wasakari/wasakari/recovery"
)

// Catalog knows the tasks of all admitted modules.
type Catalog interface {
	// Task returns the task with this entry-point key.
	Task(key string) (recovery.Task, bool)
	// Keys lists all entry-point keys, for suggestions.
	Keys() []string
}

// Runner runs one task in a fresh sandbox. An Outcome always comes back,
// whatever went wrong inside. When ctx ends, the task is stopped and the
// outcome's status is interrupted.
//
// Limits of time are the runner's own.
type Runner interface {
	Run(ctx context.Context, call TaskCall) recovery.Outcome
	// Revert takes back what an execution of the task did. The outcome's status
	// is succeeded, failed, interrupted, or nothing_to_do when there was nothing
	// to take back, which leaves the task's status as it is. It may be called
	// again for the same execution when it was interrupted.
	Revert(ctx context.Context, call TaskCall) recovery.Outcome
}

// Journal keeps what is needed to go on after the process died. Each method
// returns only when its change is durable and visible as a whole, or with an
// error, which ends Run at once.
type Journal interface {
	// Start writes the run as it begins or goes on.
	Start(ctx context.Context, run recovery.Run) error
	// StartTask writes, before a task or its revert begins, the record with the
	// sequence number rec.Seq, over a former one.
	StartTask(ctx context.Context, rec recovery.TaskRecord) error
	// FinishTask writes the record over the former one of the same sequence
	// number, and the values that the task provided, in one transaction.
	FinishTask(ctx context.Context, rec recovery.TaskRecord, provided map[string]json.RawMessage) error
	// SetValues replaces all values that tasks provided.
	SetValues(ctx context.Context, values map[string]json.RawMessage) error
	// End writes the run as it ended.
	End(ctx context.Context, run recovery.Run) error
}

// Reserved gives out reserved hosts. Both methods may be called again for the
// same host by a run that is resumed.
type Reserved interface {
	// Claim makes the host the run's own. An error means that it cannot be had.
	Claim(ctx context.Context, host string) error
	// Settle ends the claim: the host is used up when something moved to it,
	// else it is released and disabled again.
	Settle(ctx context.Context, host string) error
}

// Undoer works off what must not stay when a run is over. It may be called
// again.
type Undoer interface {
	Undo(ctx context.Context) error
}

// TaskCall is all that a Runner needs to know about one execution.
type TaskCall struct {
	RunID string
	Flow  recovery.FlowKind
	Phase recovery.Phase
	// Index is the place in the phase, from 0.
	Index int
	// Round counts the repetitions of main in the whole run, from 1. A fallback
	// flow goes on counting.
	Round int
	// Attempt counts the starts at this place in this round, from 1.
	Attempt int
	// Seq counts the executions of the run, from 1.
	Seq  int
	Key  string
	Task recovery.Task
	// Values are the inputs of the flow in this phase and what earlier tasks
	// provided; in Revert also what the task itself provided. The map is the callee's to keep; the documents are shared and
	// must not be changed. Which of them the task may read is told by Reads.
	Values map[string]json.RawMessage
	// Reads lists, sorted, those of Values that the task requires or names as
	// optional, and in Revert also those that it provided.
	Reads []string
	// ReservedHost is the host being tried; empty outside main and post of the
	// reserved-host flow.
	ReservedHost string
	// IdempotencyKey names the place in the run. It stays the same in every
	// attempt, and differs between rounds and between a task and its revert.
	IdempotencyKey string
	// Reverting is true in Revert, and Failure then the reason why the flow
	// failed.
	Reverting bool
	Failure   string
}

// Place names the place of the call in its run: flow, phase, index and round.
func (c TaskCall) Place() string {
	return fmt.Sprintf("%s/%s/%d/%d", c.Flow, c.Phase, c.Index, c.Round)
}

// Step is one place of a checked flow.
type Step struct {
	recovery.TaskRef
	Phase recovery.Phase
	Index int // place in the phase, from 0
	Task  recovery.Task
}

// Plan is a flow that passed Check. It is immutable.
type Plan struct {
	flow  recovery.Flow
	steps []Step
}

// Flow returns the flow that was checked.
func (p *Plan) Flow() recovery.Flow { return p.flow }

// Steps lists all places in the order in which they run.
func (p *Plan) Steps() []Step { return slices.Clone(p.steps) }

// phase lists the places of one phase.
func (p *Plan) phase(phase recovery.Phase) []Step {
	var out []Step
	for _, s := range p.steps {
		if s.Phase == phase {
			out = append(out, s)
		}
	}
	return out
}

// Pin writes plans, and the digests of the modules that they use, into run,
// so that it can be resumed only with the same modules.
func Pin(run *recovery.Run, plans map[recovery.FlowKind]*Plan) {
	run.Plans = make(map[recovery.FlowKind]recovery.Flow, len(plans))
	run.Modules = make(map[string]string)
	for kind, p := range plans {
		run.Plans[kind] = p.flow
		for _, s := range p.steps {
			run.Modules[s.Key] = s.Task.Digest
		}
	}
}
