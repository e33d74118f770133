package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/wasakari/wasakari/hostfuncs"
	"github.com/wasakari/wasakari/recovery"
)

// report is what is told at the end of a run; its JSON is what --output json
// prints.
type report struct {
	RunID string `json:"run_id"`
	// Notification is that of a run by a service, which does not count its
	// requests to Nova and tells the names of its values only.
	Notification string                     `json:"notification,omitempty"`
	Status       string                     `json:"status"` // finished, ignored, failed, interrupted, or held by a guard
	Message      string                     `json:"message"`
	Flows        []recovery.FlowKind        `json:"flows"`
	Cloud        string                     `json:"cloud"`
	Started      time.Time                  `json:"started"`
	Duration     int64                      `json:"duration_ms"`
	Tasks        []taskReport               `json:"tasks"`
	VMoves       []vmoveReport              `json:"vmoves"`
	KV           map[string]json.RawMessage `json:"kv"`
	NovaCalls    int                        `json:"nova_calls"`
	// LeftToUndo is what could not be taken back; --resume tries again.
	LeftToUndo []recovery.Undo `json:"left_to_undo,omitempty"`
	// Held is the guard that held the run; Override why it was let go on.
	Held     *recovery.HeldError `json:"held,omitempty"`
	Override string              `json:"override,omitempty"`

	// Of a dry run only.
	DryRun  bool               `json:"dry_run,omitempty"`
	Changes []hostfuncs.Change `json:"changes,omitzero"` // in order
	Assumed []string           `json:"assumed,omitzero"` // what was taken to be so although the cloud shows otherwise
	// IfOverridden is how the run would end with --override, where a guard would
	// hold it.
	IfOverridden *ending `json:"if_overridden,omitempty"`
	guards       plannedGuards

	gone     bool   // the cloud ends with this process
	stateDir string // of the journal, where --resume would not look by itself
}

// taskReport is one execution of a task.
type taskReport struct {
	Key          string              `json:"key"`
	Flow         recovery.FlowKind   `json:"flow"`
	Phase        recovery.Phase      `json:"phase"`
	Round        int                 `json:"round"`
	Attempt      int                 `json:"attempt"`
	ReservedHost string              `json:"reserved_host,omitempty"`
	Status       recovery.TaskStatus `json:"status"`
	Duration     int64               `json:"duration_ms"`
	Message      string              `json:"message"`
}

// vmoveReport is the latest attempt at a server.
type vmoveReport struct {
	InstanceUUID string               `json:"instance_uuid"`
	InstanceName string               `json:"instance_name"`
	Status       recovery.VMoveStatus `json:"status"`
	SourceHost   string               `json:"source_host"`
	DestHost     string               `json:"dest_host"`
	Message      string               `json:"message"`
	Attempt      int                  `json:"attempt"`
}

func newReport(run recovery.Run, cloud string, novaCalls int, history []recovery.TaskRecord, vmoves []recovery.VMove, kv map[string]json.RawMessage) report {
	r := report{
		RunID: run.ID, Status: outcomeWord(run), Message: run.Message, Flows: run.Flows, Cloud: cloud,
		Started: run.Started, NovaCalls: novaCalls, KV: kv, Held: run.Held, Override: run.Override,
		Tasks: []taskReport{}, VMoves: []vmoveReport{},
	}
	if r.KV == nil {
		r.KV = map[string]json.RawMessage{}
	}
	end := run.Ended
	for _, t := range history {
		if end.Before(t.Ended) {
			end = t.Ended
		}
		r.Tasks = append(r.Tasks, taskReport{
			Key: t.Key, Flow: t.Flow, Phase: t.Phase, Round: t.Round, Attempt: t.Attempt, ReservedHost: t.ReservedHost,
			Status: t.Status, Duration: max(took(t, t.Started).Milliseconds(), 0), Message: t.Message,
		})
	}
	r.Duration = max(end.Sub(run.Started).Milliseconds(), 0)
	for _, v := range latest(vmoves) {
		r.VMoves = append(r.VMoves, vmoveReport{
			InstanceUUID: v.InstanceUUID, InstanceName: v.InstanceName, Status: v.Status,
			SourceHost: v.SourceHost, DestHost: v.DestHost, Message: v.Message, Attempt: v.Attempt,
		})
	}
	return r
}

// latest keeps the latest attempt at each server, in the order in which the
// servers first appeared.
func latest(vmoves []recovery.VMove) []recovery.VMove {
	var out []recovery.VMove
	at := map[string]int{}
	for _, v := range vmoves {
		i, seen := at[v.InstanceUUID]
		switch {
		case !seen:
			at[v.InstanceUUID] = len(out)
			out = append(out, v)
		case v.Attempt >= out[i].Attempt:
			out[i] = v
		}
	}
	return out
}

func (r report) json(out io.Writer) error {
	return printJSON(out, r)
}

// text prints the end of a run for a person, below what was shown of it.
func (r report) text(out io.Writer) error {
	var vmoves []recovery.VMove
	for _, v := range r.VMoves {
		vmoves = append(vmoves, recovery.VMove{Status: v.Status})
		if v.Status == recovery.VMoveFailed || v.Status == recovery.VMoveIgnored {
			fmt.Fprintln(out, oneLine(fmt.Sprintf("%s: server %s (%s)%s", v.Status, v.InstanceName, v.InstanceUUID, because(v.Message))))
		}
	}
	if r.Held != nil {
		fmt.Fprintf(out, "\n%s\nnothing was changed; ", oneLine(r.Message))
		if r.Notification != "" {
			fmt.Fprintf(out, "go on with: wasakari runs retry %s --override REASON\n", r.RunID)
			return nil
		}
		fmt.Fprintf(out, "requests to Nova: %d; run %s\n", r.NovaCalls, r.RunID)
		return nil
	}
	if r.Override != "" {
		fmt.Fprintln(out, oneLine("guards overridden: "+r.Override))
	}
	fmt.Fprintf(out, "\n%s in %s%s\n", r.Status, round(time.Duration(r.Duration)*time.Millisecond), oneLine(because(r.Message)))
	if len(vmoves) > 0 {
		fmt.Fprintf(out, "servers: %s\n", tally(vmoves))
	}
	switch {
	case r.Notification == "":
		fmt.Fprintf(out, "requests to Nova: %d; run %s\n", r.NovaCalls, r.RunID)
	case r.RunID != "":
		fmt.Fprintf(out, "notification %s, run %s\n", r.Notification, r.RunID)
	}
	for _, u := range r.LeftToUndo {
		fmt.Fprintln(out, oneLine(fmt.Sprintf("left to undo: %s %s", strings.ReplaceAll(string(u.Kind), "_", " "), u.Target)))
	}
	if (r.Status == "interrupted" || len(r.LeftToUndo) > 0) && !r.gone {
		where := ""
		if r.stateDir != "" {
			where = fmt.Sprintf(" --state-dir '%s'", r.stateDir)
		}
		fmt.Fprintf(out, "go on with: wasakari run --resume %s%s\n", r.RunID, where)
	}
	return nil
}
