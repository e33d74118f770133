package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	goruntime "runtime"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"
	"go.uber.org/zap"
	"golang.org/x/term"

	"github.com/wasakari/wasakari/config"
	"github.com/wasakari/wasakari/flow"
	"github.com/wasakari/wasakari/hostfuncs"
	"github.com/wasakari/wasakari/internal/runstate"
	"github.com/wasakari/wasakari/recovery"
)

func goMaxProcs() int { return goruntime.GOMAXPROCS(0) }

// runFlags are the flags of run.
type runFlags struct {
	settings
	cloudFlags
	inputs []string
	method string
	output string
	resume string
	dryRun bool
	yes    bool
	server string
	// override is why the guards against harm are to let the run go on.
	override string
}

func newRun(w world) *cobra.Command {
	var f runFlags
	cmd := &cobra.Command{
		Use:   "run FLOW --input name=value ...",
		Short: "Run a recovery flow now",
		Long: `Runs the recovery flow of your configuration: host-auto, host-rh, instance,
process or host-repair, or the name of the option that holds it.

Each flow must be given: host-auto host_name; host-rh host_name and
reserved_host_list; instance instance_uuid; process process_name and host_name;
host-repair host_name.
May be given: event, payload, segment, notification_uuid, generated_time.

What you wrote is checked first; nothing is started when it is wrong. What the
run does is written to a journal before it is done: a run that was killed goes
on with --resume, and sends no change twice.

With --dry-run the cloud is only read. The flow runs against an overlay that
holds its changes, as if each had been done at once; what would have been
changed is listed at the end. Nothing is kept: no journal, no library values.
A guard that would hold the run is told first; a dry run does not count.

Guards ([guards]) hold a run before its first change when it would be one host
too many within ten minutes, and refuse changes of too many servers, with exit
code 1. --override "why" goes on; the reason is kept with the run.

A real cloud that wasakari serve recovers is left to it: when a service answers
(--server, WASAKARI_SERVER, or where the configuration says that it listens), the
failure is reported to it, with the credentials of the cloud, and its run is
followed and reported as one of this command, with the same exit codes. Its flows,
tasks, guards and recovery methods are its own, so --task-dir, --recovery-method,
--override and most of --set are refused then. Ctrl-C ends only the watching.
Without a service nothing is started but with --yes, which also runs beside one;
its guards and claims know nothing of such a run.

Ctrl-C stops the task at work, takes off the locks that the run put on servers,
and exits 130. A second Ctrl-C exits at once.`,
		Example: `  wasakari run host-auto --simulate --input host_name=compute-1
  wasakari run host-rh --os-cloud mycloud --input host_name=compute-1 --input reserved_host_list='["compute-4"]'
  wasakari run host-auto --recovery-method auto_priority --input host_name=compute-1 --input reserved_host_list=compute-4
  wasakari run instance --input instance_uuid=5c3b…
  wasakari run process --input process_name=nova-compute --input host_name=compute-1
  wasakari run host-auto --dry-run --os-cloud mycloud --input host_name=compute-1      # what would be changed
  wasakari run --resume 0199c0de-…`,
		Args: func(_ *cobra.Command, args []string) error {
			switch {
			case f.resume != "" && len(args) > 0:
				return errors.New("--resume takes no FLOW: the run knows it")
			case f.resume != "" && f.dryRun:
				return errors.New("--resume and --dry-run: choose one")
			case f.resume != "" && f.server != "":
				return errors.New("--resume and --server: choose one; runs of a service go on by themselves")
			case f.resume == "" && len(args) != 1:
				return errors.New("name one flow: host-auto, host-rh, instance, process or host-repair")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkOutput(f.output); err != nil {
				return err
			}
			var err error
			if f.override, err = checkOverride(f.override, cmd.Flags().Changed("override")); err != nil {
				return err
			}
			if f.resume != "" {
				return f.resumeRun(cmd.Context(), w)
			}
			return f.newRun(cmd.Context(), w, args[0])
		},
	}
	f.settings.flags(cmd)
	f.cloudFlags.flags(cmd)
	fl := cmd.Flags()
	fl.StringArrayVar(&f.inputs, "input", nil, "`name=value` of an input of the flow; repeatable")
	fl.StringVar(&f.method, "recovery-method", "", "auto, reserved_host, auto_priority or rh_priority (default: the flow's own);\nthe last two fall back to the other host flow")
	fl.StringVar(&f.output, "output", "text", "text, or json: one document at the end")
	fl.BoolVar(&f.dryRun, "dry-run", false, "change nothing; list in order what would be changed")
	fl.BoolVar(&f.yes, "yes", false, "change a real cloud from here: without a service, or beside the one that recovers it")
	fl.StringVar(&f.server, "server", "", "`URL` of the service that is to run the flow (default: WASAKARI_SERVER, then where\nthe configuration says that it listens)")
	fl.StringVar(&f.override, "override", "", "`REASON` to go on where the guards against harm ([guards]) would hold the run;\nit is kept with the run")
	fl.StringVar(&f.resume, "resume", "", "`ID` of a run that was killed or interrupted, to go on with")
	return cmd
}

// command is what a resumed run needs of the command that began it. It goes
// into the journal and holds no secrets.
type command struct {
	ConfigFiles []string `json:"config_files,omitempty"`
	ConfigDirs  []string `json:"config_dirs,omitempty"`
	TaskDirs    []string `json:"task_dirs,omitempty"`
	// TenantTaskDirs holds PROJECT=folder.
	TenantTaskDirs []string `json:"tenant_task_dirs,omitempty"`
	Set            []string `json:"set,omitempty"` // but for secrets
	OSCloud        string   `json:"os_cloud,omitempty"`
	Simulate       bool     `json:"simulate,omitempty"`
}

// method finds the recovery method and the flows that it tries.
func (f *runFlags) flows(kind recovery.FlowKind) (recovery.RecoveryMethod, []recovery.FlowKind, error) {
	if !kind.FailedHost() {
		if f.method != "" {
			return "", nil, usagef("--recovery-method: only for host-auto and host-rh; leave it out")
		}
		return recovery.Auto, []recovery.FlowKind{kind}, nil
	}
	method := recovery.RecoveryMethod(f.method)
	if f.method == "" {
		method = recovery.Auto
		if kind == recovery.HostReserved {
			method = recovery.ReservedHost
		}
	}
	kinds := method.Flows()
	switch {
	case kinds == nil:
		return "", nil, usagef("--recovery-method %s: want auto, reserved_host, auto_priority or rh_priority", f.method)
	case kinds[0] != kind:
		return "", nil, usagef("--recovery-method %s begins with %s, not %s; run %s", method, kinds[0], kind, kinds[0])
	}
	return method, kinds, nil
}

func (f *runFlags) newRun(ctx context.Context, w world, name string) error {
	kind, err := recovery.ParseFlowKind(name)
	if err != nil {
		if near, ok := config.Nearest(name, flowNames()); ok {
			err = fmt.Errorf("%w; did you mean %s?", err, near)
		}
		return &usageError{err}
	}
	if err := f.contradiction(); err != nil {
		return err
	}
	cfg, err := f.configured(w)
	if err != nil {
		return err
	}
	switch c, err := f.live(ctx, w, cfg); {
	case err != nil:
		return err
	case c != nil:
		return f.through(ctx, w, c, kind)
	}
	l, run, plans, err := f.prepare(ctx, w, kind)
	if err != nil {
		return err
	}
	defer l.close() //nolint:errcheck // what matters is in the journal
	cl, err := f.connect(ctx, w, l.cfg, l.log, failedHost(kind, run.Inputs))
	if err != nil {
		return err
	}
	defer cl.close()
	run.Started, run.Override = time.Now().UTC(), f.override
	if f.dryRun {
		return f.dry(ctx, w, l, cl, run, plans)
	}
	seg, hosts := segmentOf(kind, run.Inputs)
	state, err := runstate.Create(l.stateDir, run, runstate.Options{Segment: seg, Hosts: hosts, ScratchBytes: scratchBytes(l.cfg)})
	if err != nil {
		return usagef("%w; name another state folder with --state-dir", err)
	}
	defer state.Close()
	if held, err := l.admit(ctx, cl, &run); err != nil {
		return err
	} else if held != nil {
		return f.endHeld(ctx, w, l, cl, state, run, held)
	}
	return f.drive(ctx, w, l, cl, state, plans, flow.Request{Run: run})
}

// library is the store of what libraries keep.
func (l *loaded) library() *runstate.Library {
	lib := runstate.NewLibrary(l.stateDir).Allow(int64(l.cfg.Wasakari.KVLibraryMiB) << 20)
	l.allowEach(lib.AllowOne)
	return lib
}

// allowEach tells how much each library may keep that has a bound of its own.
func (l *loaded) allowEach(allow func(library string, bytes int64, option string)) {
	for _, key := range l.catalog.Keys() {
		task, _ := l.catalog.Task(key)
		if line, ok := l.cfg.LimitsFor(task)["kv_library_mib"]; ok {
			allow(hostfuncs.LibraryOwner(task.Tenant, task.Library), line.Value<<20, line.Option())
		}
	}
}

// prepare reads inputs, configuration and modules and checks the flows of a
// new run, which it does not start. The caller closes what was loaded.
func (f *runFlags) prepare(ctx context.Context, w world, kind recovery.FlowKind) (_ *loaded, _ recovery.Run, _ map[recovery.FlowKind]*flow.Plan, err error) {
	refused := func(err error) (*loaded, recovery.Run, map[recovery.FlowKind]*flow.Plan, error) {
		return nil, recovery.Run{}, nil, err
	}
	method, kinds, err := f.flows(kind)
	if err != nil {
		return refused(err)
	}
	in, err := parseInputs(kinds, f.inputs)
	if err != nil {
		return refused(err)
	}
	if err := seed(in, method, kind, time.Now()); err != nil {
		return refused(err)
	}
	l, err := f.load(ctx, w, func(cfg *config.Config) ([]recovery.Flow, error) {
		var flows []recovery.Flow
		for _, k := range kinds {
			f, err := cfg.Flow(k)
			if err != nil {
				return nil, err
			}
			flows = append(flows, f)
		}
		return flows, nil
	})
	if err != nil {
		return refused(err)
	}
	defer func() {
		if err != nil {
			_ = l.close() // nothing was started
		}
	}()
	l.warnRefused(w)
	if err := l.warn(w); err != nil {
		return refused(err)
	}
	if err := l.checkFor(w, kinds); err != nil {
		return refused(err)
	}
	l.stock.keepInFolderAll(ctx, l.catalog.engines())
	id, err := uuid.NewV7()
	if err != nil {
		return refused(err)
	}
	run := recovery.Run{ID: id.String(), Flows: kinds, Inputs: in, Status: recovery.StatusNew}
	plans := map[recovery.FlowKind]*flow.Plan{}
	for _, k := range kinds {
		if plans[k], err = l.check(k, in); err != nil {
			return refused(&usageError{err})
		}
	}
	flow.Pin(&run, plans)
	if run.Command, err = json.Marshal(command{
		ConfigFiles: absolute(f.configFiles), ConfigDirs: absolute(f.configDirs), TaskDirs: absolute(f.taskDirs), TenantTaskDirs: absoluteOfTenants(f.tenantTaskDirs), Set: l.lasting(f.set),
		OSCloud: f.osCloud, Simulate: f.simulate,
	}); err != nil {
		return refused(err)
	}
	return l, run, plans, nil
}

// absolute makes paths hold in any working folder.
func absolute(paths []string) []string {
	var list []string
	for _, p := range paths {
		if full, err := filepath.Abs(p); err == nil {
			p = full
		}
		list = append(list, p)
	}
	return list
}

// absoluteOfTenants does the same for PROJECT=folder.
func absoluteOfTenants(list []string) []string {
	var out []string
	for _, v := range list {
		tenant, dir, _ := strings.Cut(v, "=")
		out = append(out, tenant+"="+absolute([]string{dir})[0])
	}
	return out
}

// flowNames lists what FLOW may be.
func flowNames() []string {
	var names []string
	for _, k := range recovery.FlowKinds() {
		names = append(names, string(k), k.Option())
	}
	return names
}

// failedHost names the host whose nova-compute is dead in a flow of this kind.
func failedHost(kind recovery.FlowKind, in inputs) string {
	if !kind.FailedHost() {
		return ""
	}
	return text(in, "host_name")
}

func (f *runFlags) resumeRun(ctx context.Context, w world) error {
	if len(f.inputs) > 0 || f.method != "" {
		return usagef("--resume: inputs and recovery method are those of the run; leave --input and --recovery-method out")
	}
	if f.simulate || f.scenario != "" {
		return usagef("--resume: a run on a simulated cloud ended with it; leave --simulate and --scenario out")
	}
	// Which configuration the run had is in its journal; where that is may stand
	// in the configuration that is found without it.
	cfg, err := f.configured(w)
	if err != nil {
		return err
	}
	dir, err := stateFolder(cfg.Wasakari.StateDir, w)
	if err != nil {
		return &usageError{err}
	}
	state, err := runstate.Open(dir, f.resume, runstate.Options{ScratchBytes: scratchBytes(cfg)})
	if errors.Is(err, recovery.ErrNotFound) {
		return usagef("%w; name the state folder of the run with --state-dir", err)
	}
	if err != nil {
		return &usageError{err}
	}
	defer state.Close()
	run, err := state.Record(ctx)
	if err != nil {
		return err
	}
	left, err := state.Undos(ctx)
	if err != nil {
		return err
	}
	if run.Finished && len(left) == 0 {
		return usagef("run %s ended %s at %s; there is nothing to go on with", run.ID, run.Status, run.Ended.Format(time.RFC3339))
	}
	if err := f.recall(run); err != nil {
		return err
	}
	l, err := f.load(ctx, w, func(*config.Config) ([]recovery.Flow, error) {
		return slices.Collect(maps.Values(run.Plans)), nil
	})
	if err != nil {
		return err
	}
	defer l.close() //nolint:errcheck // what matters is in the journal
	l.warnRefused(w)
	plans := map[recovery.FlowKind]*flow.Plan{}
	for _, k := range run.Flows {
		if plans[k], err = flow.Check(run.Plans[k], l.catalog, l.checkOptions(run.Inputs)); err != nil {
			return &usageError{err}
		}
	}
	if err := l.sameModules(run); err != nil {
		return err
	}
	cl, err := f.connect(ctx, w, l.cfg, l.log, "")
	if err != nil {
		return err
	}
	defer cl.close()
	if f.override != "" {
		run.Override = f.override
	}
	if held, err := l.admit(ctx, cl, &run); err != nil {
		return err
	} else if held != nil {
		return f.endHeld(ctx, w, l, cl, state, run, held)
	}
	history, err := state.History(ctx)
	if err != nil {
		return err
	}
	values, err := state.Values(ctx)
	if err != nil {
		return err
	}
	return f.drive(ctx, w, l, cl, state, plans, flow.Request{Run: run, History: history, Values: values})
}

// sameModules refuses to go on with other modules than the run began with.
func (l *loaded) sameModules(run recovery.Run) error {
	var errs []error
	for _, key := range slices.Sorted(maps.Keys(run.Modules)) {
		task, _ := l.catalog.Task(key)
		switch was := run.Modules[key]; {
		case task.Digest == was:
		case task.Standard:
			errs = append(errs, fmt.Errorf("run %s: this wasakari has another %s than the one that began it; go on with that one", run.ID, key))
		default:
			errs = append(errs, fmt.Errorf("%s: task %s is not the one that run %s began with; put the module of digest sha256:%s back", task.Source, key, run.ID, was))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return &usageError{err}
	}
	return nil
}

// recall fills in what the command that began the run was given, where this
// one says nothing else.
func (f *runFlags) recall(run recovery.Run) error {
	var c command
	if err := json.Unmarshal(run.Command, &c); err != nil {
		return fmt.Errorf("run %s: journal: %w", run.ID, err)
	}
	if c.Simulate {
		return usagef("run %s: its simulated cloud ended with it; for runs that can be resumed start one with wasakari simulate", run.ID)
	}
	if len(f.configFiles) == 0 {
		f.configFiles = c.ConfigFiles
	}
	if len(f.configDirs) == 0 {
		f.configDirs = c.ConfigDirs
	}
	if len(f.taskDirs) == 0 {
		f.taskDirs = c.TaskDirs
	}
	if len(f.tenantTaskDirs) == 0 {
		f.tenantTaskDirs = c.TenantTaskDirs
	}
	f.set = append(c.Set, f.set...)
	if f.osCloud == "" {
		f.osCloud = c.OSCloud
	}
	return nil
}

// view shows a run while it goes on.
type view interface {
	observe(recovery.Event)
	close()
}

// drive runs the flow to its end, shows it, and reports.
func (f *runFlags) drive(ctx context.Context, w world, l *loaded, cl *cloud, state *runstate.Run, plans map[recovery.FlowKind]*flow.Plan, req flow.Request) error {
	vmoves, err := state.VMoves(ctx)
	if err != nil {
		return err
	}
	guard, err := l.serverGuard(ctx, cl, state, req.Run)
	if err != nil {
		return err
	}
	v := f.view(ctx, w, cl, req, latest(vmoves))
	req.Observe = v.observe
	told := f.tellInterruption(ctx, l.log, v)
	g := ground{
		cloud: cl.Client, ledger: state, library: l.library(), scratch: state.Scratch(), verify: l.cfg.Default.VerifyInterval, guard: guard,
		known: l.known,
	}
	if cl.sim == nil {
		g.changed = l.changedBy(req.Run)
	}
	run, runErr, err := l.perform(ctx, g, state, plans, req)
	told()
	v.close()
	if err != nil {
		return err
	}
	return f.report(w, l, cl, state, run, runErr)
}

// stopping is said at the first Ctrl-C.
const stopping = "interrupted: what was sent is followed to its outcome, then the run's locks are taken off, which may take a minute or two; " +
	"a second Ctrl-C exits at once"

// tellInterruption says, as soon as ctx ends, what the run is still at. The
// caller calls stop when the run has ended.
func (f *runFlags) tellInterruption(ctx context.Context, log *zap.Logger, v view) (stop func()) {
	told := make(chan struct{})
	unused := context.AfterFunc(ctx, func() {
		defer close(told)
		v.observe(recovery.Event{Time: time.Now(), Log: &recovery.LogLine{Task: "wasakari", Level: "warn", Message: stopping}})
		if f.output == "json" {
			log.Warn(stopping)
		}
	})
	return func() {
		if !unused() {
			<-told
		}
	}
}

// view chooses how the run is shown.
//
// A resumed run begins with what was done before.
func (f *runFlags) view(ctx context.Context, w world, cl *cloud, req flow.Request, vmoves []recovery.VMove) view {
	b := &board{start: time.Now(), run: req.Run, tasks: slices.Clone(req.History), vmoves: vmoves}
	if f.output == "json" {
		return newPlain(io.Discard, b)
	}
	kinds := make([]recovery.Flow, 0, len(req.Run.Flows))
	for _, k := range req.Run.Flows {
		kinds = append(kinds, req.Run.Plans[k])
	}
	head := headline(cl, req.Run) + ", run " + req.Run.ID
	if file, ok := w.stdout.(*os.File); ok && term.IsTerminal(int(file.Fd())) && w.env("TERM") != "dumb" {
		return newLive(ctx, w.stdout, b, head, kinds)
	}
	fmt.Fprintln(w.stdout, head)
	return newPlain(w.stdout, b)
}

// report tells how the run ended.
func (f *runFlags) report(w world, l *loaded, cl *cloud, state *runstate.Run, run recovery.Run, runErr error) error {
	r, err := reportOf(cl, state, run, runErr)
	if err != nil {
		return err
	}
	if usual, err := stateFolder("", w); err != nil || usual != l.stateDir {
		r.stateDir = l.stateDir
	}
	print := r.text
	if f.output == "json" {
		print = r.json
	}
	if err := print(w.stdout); err != nil {
		return err
	}
	if err := verdict(run, runErr); err != nil {
		return err
	}
	if len(r.LeftToUndo) > 0 {
		return errReported // a server that stays locked must not look like success
	}
	return nil
}

// reportOf makes the report of a run that ended. The journal is asked, not the
// view: it is what a later look will find.
func reportOf(cl *cloud, state *runstate.Run, run recovery.Run, runErr error) (report, error) {
	ctx, cancel := context.WithTimeout(context.Background(), undoWait)
	defer cancel()
	history, err := state.History(ctx)
	if err != nil {
		return report{}, errors.Join(runErr, err)
	}
	values, err := state.Values(ctx)
	if err != nil {
		return report{}, errors.Join(runErr, err)
	}
	vmoves, err := state.VMoves(ctx)
	if err != nil {
		return report{}, errors.Join(runErr, err)
	}
	r := newReport(run, cl.what, cl.Calls(), history, vmoves, values)
	r.gone = cl.sim != nil
	if r.LeftToUndo, err = state.Undos(ctx); err != nil {
		return report{}, errors.Join(runErr, err)
	}
	if r.Message == "" && runErr != nil {
		r.Message = runErr.Error()
	}
	return r, nil
}

// verdict is the error with which a run that was reported ends the command.
func verdict(run recovery.Run, runErr error) error {
	switch {
	case errors.Is(runErr, recovery.ErrInterrupted):
		return fmt.Errorf("%w: %w", errReported, recovery.ErrInterrupted)
	case runErr != nil, !slices.Contains([]recovery.NotificationStatus{recovery.StatusFinished, recovery.StatusIgnored}, run.Status):
		return errReported
	}
	return nil
}
