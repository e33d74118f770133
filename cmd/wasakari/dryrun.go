package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/wasakari/wasakari/abi"
	"github.com/wasakari/wasakari/flow"
	"github.com/wasakari/wasakari/hostfuncs"
	"github.com/wasakari/wasakari/internal/runstate"
	"github.com/wasakari/wasakari/recovery"
)

// dryVerify is the time between two looks of a dry run at a cloud in which
// everything is done at once. Most of them are answered from memory.
const dryVerify = 50 * time.Millisecond

// dry does a run on an overlay of the cloud and tells what it would change.
func (f *runFlags) dry(ctx context.Context, w world, l *loaded, cl *cloud, run recovery.Run, plans map[recovery.FlowKind]*flow.Plan) error {
	if f.output != "json" {
		fmt.Fprintf(w.stdout, "%s; dry run: nothing is changed\n", headline(cl, run))
	}
	r, run, runErr, err := l.dryRun(ctx, cl, run, plans, -1)
	if err != nil {
		return err
	}
	print := r.dryText
	if f.output == "json" {
		print = r.json
	}
	if err := print(w.stdout); err != nil {
		return err
	}
	if err := verdict(run, runErr); err != nil || r.Held == nil {
		return err
	}
	return errReported
}

// dryRun does a run on an overlay of the cloud, and asks the guards whether they
// would let it; hosts is the size of the segment, negative: not read yet. Its
// journal lies in a folder that goes with it. err says that there is nothing to
// report.
func (l *loaded) dryRun(ctx context.Context, cl *cloud, run recovery.Run, plans map[recovery.FlowKind]*flow.Plan, hosts int) (_ report, _ recovery.Run, runErr, err error) {
	dir, err := os.MkdirTemp("", "wasakari-dry-run-")
	if err != nil {
		return report{}, run, nil, fmt.Errorf("folder for the dry run: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	seg, records := segmentOf(run.Flows[0], run.Inputs)
	state, err := runstate.Create(dir, run, runstate.Options{Segment: seg, Hosts: records, NoSync: true, ScratchBytes: scratchBytes(l.cfg)})
	if err != nil {
		return report{}, run, nil, fmt.Errorf("folder for the dry run: %w", err)
	}
	defer state.Close()
	overlay := hostfuncs.NewDryRun(cl.Client, hostfuncs.DryRunOptions{FailedHost: failedHost(run.Flows[0], run.Inputs)})
	run, runErr, err = l.perform(ctx, ground{
		cloud: overlay, ledger: overlay.Ledger(state), library: hostfuncs.DryLibrary(l.library()), scratch: state.Scratch(), verify: dryVerify,
		known: l.known,
	}, state, plans, flow.Request{Run: run})
	if err != nil {
		return report{}, run, nil, err
	}
	guards := plannedGuards{Held: []*recovery.HeldError{}}
	if !errors.Is(runErr, recovery.ErrInterrupted) {
		if guards, err = l.planGuards(ctx, cl, run, hosts, overlay.Changes()); err != nil {
			return report{}, run, nil, err
		}
	}
	r, err := reportOf(cl, state, run, runErr)
	r.DryRun, r.Changes, r.Assumed, r.guards = true, overlay.Changes(), overlay.Assumptions(), guards
	var end ending
	end, r.IfOverridden = guards.ending(ending{r.Status, r.Message})
	r.Status, r.Message = end.Status, end.Message
	if len(guards.Held) > 0 {
		r.Held = guards.Held[0]
	}
	return r, run, runErr, err
}

// headline says what is run on what.
func headline(cl *cloud, run recovery.Run) string {
	what := text(run.Inputs, "host_name")
	if s := text(run.Inputs, "instance_uuid"); s != "" {
		what = s
	}
	return oneLine(fmt.Sprintf("%s of %s on %s", run.Flows[0], what, cl.what))
}

// dryText prints what a dry run would have changed, for a person.
func (r report) dryText(out io.Writer) error {
	var b strings.Builder
	line := func(format string, args ...any) { b.WriteString(oneLine(fmt.Sprintf(format, args...)) + "\n") }
	if r.guards.foretell(line); r.Held != nil {
		line("with --override it would do this:")
	}
	for _, t := range r.Tasks {
		host := ""
		if t.ReservedHost != "" {
			host = " (reserved host " + t.ReservedHost + ")"
		}
		line("  %-5s %s%s: %s%s", t.Phase, t.Key, host, t.Status, because(t.Message))
	}
	b.WriteByte('\n')
	taken := printChanges(&b, r.Changes)
	for _, note := range r.Assumed {
		line("%s", note)
	}
	var vmoves []recovery.VMove
	for _, v := range r.VMoves {
		vmoves = append(vmoves, recovery.VMove{Status: v.Status})
		if v.Status == recovery.VMoveFailed || v.Status == recovery.VMoveIgnored {
			line("%s: server %s (%s)%s", v.Status, v.InstanceName, v.InstanceUUID, because(v.Message))
		}
	}
	if r.Override != "" {
		line("guards overridden: %s", r.Override)
	}
	endText(ending{r.Status, r.Message}, r.IfOverridden, line)
	if len(vmoves) > 0 {
		line("servers: %s", tally(vmoves))
	}
	line("changes: %d; requests of this dry run to Nova, all of them reads: %d", taken, r.NovaCalls)
	_, err := io.WriteString(out, b.String())
	return err
}

// printChanges lists changes as numbered lines and counts those that Nova would
// take.
func printChanges(b *strings.Builder, changes []hostfuncs.Change) (taken int) {
	for _, c := range changes {
		text := fmt.Sprintf("%4d. %s", c.N, describe(c))
		switch {
		case c.Refused != "":
			text += "; refused: " + c.Refused
		case c.Effect != "":
			text += "; " + c.Effect
			taken++
		default:
			taken++
		}
		b.WriteString(oneLine(text) + "\n")
	}
	return taken
}

// describe says a change in words.
func describe(c hostfuncs.Change) string {
	b := fmt.Sprintf("%-26s %s", c.Op, c.Target)
	if c.Name != "" {
		b = fmt.Sprintf("%-26s %s (%s)", c.Op, c.Name, c.Target)
	}
	add := func(label, value string) {
		if value != "" {
			b += label + value
		}
	}
	switch {
	case c.SourceHost != "" && c.Host != "":
		b += ": " + c.SourceHost + " → " + c.Host
	default:
		add(", host ", c.Host)
		add(", from ", c.SourceHost)
	}
	add(", to ", c.State)
	add(", ", c.Type)
	add(", ", c.Binary)
	if c.ForcedDown != nil {
		add(", forced down: ", fmt.Sprint(*c.ForcedDown))
	}
	if c.Op == abi.OpNovaServiceDisable { // that of a lock is always the run's mark
		add(", reason: ", c.Reason)
	}
	add("  by ", c.Task)
	return b
}
