package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/wasakari/wasakari/abi"
	"github.com/wasakari/wasakari/config"
	"github.com/wasakari/wasakari/hostfuncs"
	"github.com/wasakari/wasakari/internal/runstate"
	"github.com/wasakari/wasakari/internal/tasktest"
	"github.com/wasakari/wasakari/novasim"
	"github.com/wasakari/wasakari/openstack"
	"github.com/wasakari/wasakari/recovery"
	"github.com/wasakari/wasakari/runtime"
)

// A test gets the same run each time: what a task makes of these is the same
// each time too.
const (
	benchRun          = "00000000-0000-7000-8000-000000000001"
	benchNotification = "00000000-0000-4000-8000-000000000002"
	benchSegment      = "00000000-0000-4000-8000-000000000003"
	benchKey          = "test-1"
	benchPlace        = "test"
	benchTime         = "2026-01-01T00:00:00Z"
	benchVerify       = 10 * time.Millisecond // between two looks at a cloud in memory
	benchOutcome      = 2 * time.Second       // until a change whose answer was lost counts as never arrived there
)

// bench runs single tasks of one module.
type bench struct {
	rt     *runtime.Runtime
	module *runtime.Module
}

// newBench admits a module.
func newBench(ctx context.Context, w world, cfg *config.Config, b builtTask) (*bench, error) {
	st := newStock(w, cfg.Wasakari.StateDir, zap.NewNop())
	rt, err := authorRuntime(runtimeConfig(cfg, st, zap.NewNop()), cfg.Wasakari.CacheDir, w)
	if err != nil {
		return nil, &usageError{err}
	}
	m, err := rt.Admit(ctx, b.source, b.wasm)
	if err != nil {
		return nil, errors.Join(&usageError{located(b.source, err)}, closeRuntime(ctx, rt))
	}
	return &bench{rt, m}, nil
}

func (b *bench) close(ctx context.Context) error { return closeRuntime(ctx, b.rt) }

// setting is what one execution of a task is given.
type setting struct {
	c       *tasktest.Case
	task    recovery.Task
	cfg     *config.Config
	inputs  inputs
	options map[string]map[string]any
	secrets map[string]recovery.Secret
	granted func(string) bool

	cloud   hostfuncs.Cloud
	sim     *novasim.Cloud // nil: a real one, or none
	overlay *hostfuncs.DryRun
	http    hostfuncs.HTTP
	answer  func(ctx context.Context, op *abi.Op, req []byte) ([]byte, bool, error)
	// keepAnswers has the answers of ops kept.
	keepAnswers bool
	trace       func(runtime.HostCall)
	observe     func(recovery.Event)
	begins      func() // called when the task does; may be nil
}

// scenarioError says that a scenario does not fit its task.
func scenarioError(c *tasktest.Case, where, format string, args ...any) error {
	return usagef("%s: %s: %s", c.Position(where), where, fmt.Sprintf(format, args...))
}

// prepare fits a scenario to its task. What is wrong is told at once.
func (b *bench) prepare(c *tasktest.Case) (*setting, error) {
	task, err := taskNamed(b.module.Manifest(), b.module.Source(), c.Task)
	if err != nil {
		return nil, scenarioError(c, "task", "%v", err)
	}
	task.Digest, task.HasRevert = b.module.Digest(), b.module.HasRevert(task.Key)
	if c.Revert && !task.HasRevert {
		return nil, scenarioError(c, "revert", "task %s has no revert", task.Key)
	}
	s := &setting{c: c, task: task, inputs: inputs{}}
	for name, v := range c.Inputs {
		raw, err := json.Marshal(v)
		if err != nil {
			return nil, scenarioError(c, "inputs."+name, "%v", err)
		}
		s.inputs[name] = raw
	}
	if err := seedTest(s.inputs, c.Kind()); err != nil {
		return nil, err
	}
	var errs []error
	for _, name := range task.Requires {
		if _, ok := s.inputs[name]; !ok {
			errs = append(errs, scenarioError(c, "inputs", "task %s requires %s; add it", task.Key, name))
		}
	}
	errs = append(errs, s.configure())
	s.granted = func(what string) bool { return !slices.Contains(c.NotGranted, what) }
	for _, what := range c.NotGranted {
		if abi.LookupOp([]byte(what)) == nil && !strings.HasPrefix(what, "provides:") && !strings.HasPrefix(what, "http:") {
			errs = append(errs, scenarioError(c, "not_granted", "%.80q is neither an op nor provides:NAME nor http:METHOD:URL", what))
		}
	}
	return s, errors.Join(errs...)
}

// seedTest adds what the service would know from the notification.
func seedTest(in inputs, kind recovery.FlowKind) error {
	method := recovery.Auto
	if kind == recovery.HostReserved {
		method = recovery.ReservedHost
	}
	segment, err := json.Marshal(recovery.Segment{UUID: benchSegment, Name: "test", RecoveryMethod: method, Enabled: true})
	if err != nil {
		return err
	}
	for name, raw := range map[string]json.RawMessage{
		"notification_uuid": json.RawMessage(`"` + benchNotification + `"`), "segment": segment, "generated_time": json.RawMessage(`"` + benchTime + `"`),
	} {
		if _, ok := in[name]; !ok {
			in[name] = raw
		}
	}
	at, err := time.Parse(time.RFC3339, benchTime)
	if err != nil {
		return err
	}
	return seed(in, method, kind, at)
}

// configure reads the options of the scenario as it would those of a file.
func (s *setting) configure() error {
	c := s.c
	known := func(group, name string, secret bool) bool {
		return slices.ContainsFunc(s.task.Options, func(o recovery.OptionSpec) bool {
			return strings.EqualFold(o.Group, group) && o.Name == name && o.Secret == secret
		})
	}
	var errs []error
	src := config.Sources{}
	for _, group := range slices.Sorted(maps.Keys(c.Options)) {
		for _, name := range slices.Sorted(maps.Keys(c.Options[group])) {
			where := "options." + group + "." + name
			switch {
			case known(group, name, true):
				errs = append(errs, scenarioError(c, where, "it is a secret; give a fake value below secrets: as %s.%s", group, name))
				continue
			case !known(group, name, false):
				errs = append(errs, scenarioError(c, where, "the manifest of task %s has no option [%s] %s", s.task.Key, group, name))
				continue
			}
			text, err := optionText(c.Options[group][name])
			if err != nil {
				errs = append(errs, scenarioError(c, where, "%v", err))
				continue
			}
			src.Flags = append(src.Flags, config.Flag{Group: group, Name: name, Value: text, Origin: c.Position(where)})
		}
	}
	for _, full := range slices.Sorted(maps.Keys(c.Secrets)) {
		if group, name, _ := strings.Cut(full, "."); !known(group, name, true) {
			errs = append(errs, scenarioError(c, "secrets", "the manifest of task %s has no secret option [%s] %s", s.task.Key, group, name))
		}
	}
	for _, o := range s.task.Options {
		if !o.Secret {
			if o.Required && o.Default == nil && !slices.ContainsFunc(src.Flags, func(f config.Flag) bool { return strings.EqualFold(f.Group, o.Group) && f.Name == o.Name }) {
				errs = append(errs, scenarioError(c, "options", "option [%s] %s is required; write options: {%s: {%s: …}}", o.Group, o.Name, o.Group, o.Name))
			}
			continue
		}
		value, given := c.Secrets[o.Group+"."+o.Name]
		if !given && !o.Required {
			continue
		}
		if !given {
			value = "fake-" + o.Group + "-" + o.Name
		}
		src.Flags = append(src.Flags, config.Flag{Group: o.Group, Name: o.Name, Value: literal(value), Origin: c.Position("secrets")})
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	var err error
	if s.cfg, err = readConfig(src); err != nil {
		return err
	}
	if s.options, err = s.cfg.TaskOptions(s.task.Options); err != nil {
		return &usageError{located(c.Position("options"), err)}
	}
	if s.secrets, err = s.cfg.Secrets(s.task.Options); err != nil {
		return &usageError{err}
	}
	return nil
}

// literal keeps a value from being interpolated.
func literal(s string) string { return strings.ReplaceAll(s, "$", "$$") }

// optionText writes a value as it stands in a configuration file.
func optionText(v any) (string, error) {
	switch v := v.(type) {
	case string:
		return literal(v), nil
	case []any:
		var items []string
		for _, x := range v {
			text, err := optionText(x)
			if err != nil {
				return "", err
			}
			items = append(items, text)
		}
		return strings.Join(items, ","), nil
	case nil, map[string]any:
		return "", errors.New("want a text, a number, true, false or a list of these")
	}
	return fmt.Sprint(v), nil
}

// simulate gives the setting the cloud of its scenario, over HTTP as a real one.
// The caller closes it.
func (s *setting) simulate(ctx context.Context) (closing func(), err error) {
	replies := s.c.Replies()
	s.http = replayed{replies, s.task.Key}
	s.answer = func(_ context.Context, op *abi.Op, req []byte) ([]byte, bool, error) {
		return replies.Recorded(op.Name, req)
	}
	if s.c.Recorded() {
		s.cloud = noCloud{}
		return func() {}, nil
	}
	if s.sim, err = novasim.New(s.c.Cloud.Scenario, novasim.Options{}); err != nil {
		return nil, &usageError{err}
	}
	if host := failedHost(s.c.Kind(), s.inputs); slices.ContainsFunc(s.sim.Services(), func(v novasim.ServiceState) bool { return v.Host == host }) {
		if err := s.sim.FailHost(host); err != nil {
			return nil, errors.Join(err, s.sim.Close())
		}
	}
	server, err := s.sim.Start(context.WithoutCancel(ctx), "")
	if err != nil {
		return nil, errors.Join(err, s.sim.Close())
	}
	client, err := openstack.Connect(ctx, simOptions(s.sim, server.URL))
	if err != nil {
		return nil, errors.Join(err, s.sim.Close())
	}
	s.cloud = client
	return func() {
		client.Close()
		_ = s.sim.Close() // in memory; nothing can be lost
	}, nil
}

// noCloud stands where every op is answered from a recording.
type noCloud struct{ hostfuncs.Cloud }

// replayed answers requests from a scenario. It serves hostfuncs.HTTP.
type replayed struct {
	*tasktest.Replies
	task string
}

// Do answers a request.
func (r replayed) Do(_ context.Context, call hostfuncs.HTTPCall) (abi.HTTPRequestAnswer, error) {
	if name, ok := unknownSecret(call); ok {
		return abi.HTTPRequestAnswer{}, abi.Errorf(abi.ErrnoInvalid, "%s: task %s has no secret %s", abi.OpHTTPRequest, r.task, name)
	}
	return r.HTTP(call.Request)
}

// Refused has nobody to tell.
func (replayed) Refused(hostfuncs.HTTPCall, error) {}

// unknownSecret finds a handle in a request that names no secret of the task.
func unknownSecret(call hostfuncs.HTTPCall) (string, bool) {
	raw, err := json.Marshal(call.Request)
	if err != nil {
		return "", false
	}
	var doc any
	if json.Unmarshal(raw, &doc) != nil {
		return "", false
	}
	var walk func(v any) (string, bool)
	walk = func(v any) (string, bool) {
		switch v := v.(type) {
		case []any:
			for _, x := range v {
				if name, ok := walk(x); ok {
					return name, ok
				}
			}
		case map[string]any:
			if name, ok := v[recovery.SecretKey].(string); ok && len(v) == 1 {
				_, known := call.Secrets[name]
				return name, !known
			}
			for _, x := range v {
				if name, ok := walk(x); ok {
					return name, ok
				}
			}
		}
		return "", false
	}
	return walk(doc)
}

// spy notes what a task does.
type spy struct {
	*witness
	keepAnswers bool

	mu       sync.Mutex
	ops      []tasktest.SeenOp
	answers  []tasktest.Answer
	logs     []tasktest.Log
	steps    []string
	bytes    int // of requests and answers that are noted
	problems []string
}

// Bounds on what is noted of one task: the module may be a stranger's.
const (
	maxNoted      = 10_000   // ops, steps, lines of a trace
	maxNotedBytes = 64 << 20 // of requests, answers and messages
)

// full refuses an op that there is no more room to note, and keeps the test from
// passing; s.mu is held.
func (s *spy) full(op *abi.Op, size int) error {
	if len(s.ops) < maxNoted && s.bytes+size <= maxNotedBytes {
		s.bytes += size
		return nil
	}
	if len(s.problems) == 0 {
		s.problems = []string{fmt.Sprintf("the task asks for more than a test notes: %d ops, or %d MiB of requests and answers", maxNoted, maxNotedBytes>>20)}
	}
	return abi.Errorf(abi.ErrnoQuota, "%s: a test notes at most %d ops, and %d MiB of requests and answers", op.Name, maxNoted, maxNotedBytes>>20)
}

// Do notes ops that reach beyond the sandbox.
func (s *spy) Do(ctx context.Context, op *abi.Op, req []byte) ([]byte, error) {
	if !tasktest.Outwards(op.Name) {
		return s.witness.Do(ctx, op, req)
	}
	s.mu.Lock()
	if err := s.full(op, len(req)); err != nil {
		s.mu.Unlock()
		return nil, err
	}
	n := len(s.ops)
	s.ops = append(s.ops, tasktest.SeenOp{Op: op.Name, Request: requestOf(req)})
	s.mu.Unlock()
	answer, err := s.witness.Do(ctx, op, req)
	s.mu.Lock()
	defer s.mu.Unlock()
	refused, isABI := errors.AsType[*abi.Error](err)
	if isABI {
		s.ops[n].Error = refused.Code.String()
	}
	if s.keepAnswers && (err == nil || isABI) {
		a := tasktest.Answer{Op: op.Name, Request: s.ops[n].Request}
		if isABI {
			a.Error = &tasktest.OpError{Code: refused.Code.String(), Message: refused.Message, Status: refused.Status, RequestID: refused.RequestID}
		} else {
			a.Answer = json.RawMessage(answer)
			s.bytes += len(answer)
		}
		s.answers = append(s.answers, a)
	}
	return answer, err
}

// requestOf keeps a request where it is JSON.
func requestOf(req []byte) json.RawMessage {
	if !json.Valid(req) {
		return nil
	}
	return slices.Clone(req)
}

// Log notes a line.
func (s *spy) Log(level abi.Level, msg string) {
	s.mu.Lock()
	s.logs = append(s.logs, tasktest.Log{Level: level.String(), Message: msg})
	s.mu.Unlock()
	s.witness.Log(level, msg)
}

// Progress notes a step.
func (s *spy) Progress(permille int, msg string) {
	s.mu.Lock()
	if len(s.steps) < maxNoted {
		s.steps = append(s.steps, msg)
	}
	s.mu.Unlock()
	s.witness.Progress(permille, msg)
}

// execution is what came of a task.
type execution struct {
	seen    tasktest.Seen
	answers []tasktest.Answer
	result  runtime.Result
	changes []hostfuncs.Change
	assumed []string // of a cloud whose changes are held back
	// abreast says that the task had several ops in flight: in which order it went
	// on may differ from run to run.
	abreast bool
}

// run executes the task once. Its state lies in a folder that goes with it.
func (b *bench) run(ctx context.Context, s *setting) (_ execution, err error) {
	dir, err := os.MkdirTemp("", "wasakari-task-test-")
	if err != nil {
		return execution{}, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	started := time.Now().UTC()
	run := recovery.Run{ID: benchRun, Flows: []recovery.FlowKind{s.c.Kind()}, Inputs: s.inputs, Status: recovery.StatusRunning, Started: started}
	seg, hosts := segmentOf(s.c.Kind(), s.inputs)
	state, err := runstate.Create(filepath.Join(dir, "state"), run, runstate.Options{Segment: seg, Hosts: hosts, NoSync: true, ScratchBytes: scratchBytes(s.cfg)})
	if err != nil {
		return execution{}, err
	}
	defer state.Close()
	library := runstate.NewLibrary(filepath.Join(dir, "state"))
	if err := s.fill(ctx, library, state.Scratch(), started); err != nil {
		return execution{}, err
	}
	deps := hostfuncs.Deps{
		Cloud: s.cloud, Ledger: state, Library: library, Scratch: state.Scratch(), HA: state, HTTP: s.http, Answer: s.answer,
		Observe: func(recovery.Event) {}, Values: ctx,
		Run: hostfuncs.RunInfo{
			ID: run.ID, Cluster: s.cfg.Wasakari.Cluster, FailedHost: failedHost(s.c.Kind(), s.inputs),
			NotificationUUID: text(s.inputs, "notification_uuid"), Started: started,
		},
		Options: hostfuncs.Options{
			KVTaskBytes: s.cfg.Wasakari.KVTaskKiB << 10, KVLibraryBytes: s.cfg.Wasakari.KVLibraryMiB << 20,
			VerifyInterval: benchVerify, NovaTimeout: s.cfg.Wasakari.NovaTimeout, HTTPTimeout: httpWait(s.cfg),
			OutcomeWait: benchOutcome, RequireFenceProof: s.cfg.HostFailure.RequireFenceProof,
		},
	}
	if s.observe != nil {
		deps.Observe = s.observe
	}
	if s.overlay != nil {
		deps.Cloud, deps.Ledger, deps.Library = s.overlay, s.overlay.Ledger(state), hostfuncs.DryLibrary(library)
		deps.Options.VerifyInterval, deps.Options.OutcomeWait = dryVerify, s.cfg.Wasakari.NovaOutcomeWait
	}
	hatch := hostfuncs.New(deps)
	defer hatch.Close()
	limit := boundsOf(s.cfg, s.task, b.module.Limits(s.task.Key))
	call := hostfuncs.TaskCall{
		Task: s.task, Flow: s.c.Kind(), Phase: recovery.Phase(s.c.Phase), Seq: 1, Attempt: s.c.Attempt, Round: s.c.Round,
		IdempotencyKey: benchKey, Place: benchPlace, Values: s.inputs, Options: s.options, Script: b.module.Script(),
		Reverting: s.c.Revert, Failure: s.c.Failure, ReservedHost: text(s.inputs, "reserved_host"),
		Secrets: secretsOf(s.task, s.secrets), Granted: s.granted, Networks: s.cfg.GrantsFor(s.task).Networks(),
	}
	limit.give(&call)
	host := &spy{witness: &witness{TaskHost: hatch.Task(call)}, keepAnswers: s.keepAnswers}
	do := b.module.Run
	if s.c.Revert {
		do = b.module.Revert
	}
	if s.begins != nil {
		s.begins()
	}
	var abreast atomic.Bool
	trace := s.trace
	if s.keepAnswers {
		trace = func(c runtime.HostCall) {
			if c.Open > 0 && tasktest.Outwards(c.Op) {
				abreast.Store(true)
			}
		}
	}
	var skip func(time.Duration)
	if !s.c.Sleep && s.overlay == nil { // a real cloud does not hurry
		skip = func(d time.Duration) {
			if s.sim != nil {
				s.sim.Advance(d)
			}
		}
	}
	result, runErr := do(ctx, runtime.Call{Key: s.task.Key, Host: host, Limits: limit.Limits, Trace: trace, Skip: skip})
	if ctx.Err() != nil {
		return execution{}, ctx.Err()
	}
	out := outcomeOf(ctx, result, runErr)
	out.Message = strings.TrimPrefix(out.Message, "task "+s.task.Key+": ")
	if out.Status == recovery.TaskFailed && out.Message == "" {
		out.Message = "the task failed and gave no reason" + host.lastRefusal()
	}
	provided, err := host.Provided()
	if err != nil && out.Status == recovery.TaskSucceeded && !s.c.Revert {
		out.Status, out.Message = recovery.TaskFailed, err.Error()
	}
	if out.Status != recovery.TaskSucceeded || s.c.Revert {
		provided = nil
	}
	e := execution{result: result, answers: host.answers, abreast: abreast.Load()}
	if s.overlay != nil {
		e.changes, e.assumed = s.overlay.Changes(), s.overlay.Assumptions()
	}
	e.seen = tasktest.Seen{
		Outcome: outcomeName(out.Status), Reason: out.Message, Provides: orNoValues(provided),
		Ops: host.ops, Logs: host.logs, Progress: host.steps, Names: map[string]string{},
	}
	if r, ok := s.http.(replayed); ok {
		e.seen.Problems = r.Problems()
	}
	e.seen.Problems = append(e.seen.Problems, host.problems...)
	if s.sim != nil {
		for _, v := range s.sim.Servers() {
			e.seen.Names[v.ID] = v.Name
		}
		e.seen.Nova = requestsTo(s.sim, e.seen.Names)
	}
	e.seen.Library, e.seen.Scratch, err = s.kept(context.WithoutCancel(ctx), deps.Library, state.Scratch())
	return e, err
}

func orNoValues(m map[string]json.RawMessage) map[string]json.RawMessage {
	if m == nil {
		return map[string]json.RawMessage{}
	}
	return m
}

// outcomeName says how a task ended in the words of scenarios.
func outcomeName(s recovery.TaskStatus) string {
	switch s {
	case recovery.TaskSucceeded:
		return tasktest.Succeeded
	case recovery.TaskNothingToDo:
		return tasktest.NothingToDo
	case recovery.TaskIgnored:
		return tasktest.Ignored
	}
	return tasktest.Failed
}

// fill puts in what is in the key-value store before.
func (s *setting) fill(ctx context.Context, library hostfuncs.LibraryKV, scratch hostfuncs.ScratchKV, now time.Time) error {
	before := s.c.Before(now)
	put := func(where string, values map[string]any, put func(name string, v recovery.KVValue) error) error {
		for name, v := range values {
			raw, err := json.Marshal(v)
			if err == nil {
				err = put(name, recovery.KVValue{Name: name, Value: raw})
			}
			if err != nil {
				return scenarioError(s.c, where, "%s: %v", name, err)
			}
		}
		return nil
	}
	return errors.Join(
		put("kv.library", before.Library, func(name string, v recovery.KVValue) error {
			_, err := library.Put(ctx, hostfuncs.LibraryOwner("", s.task.Library), name, v, nil)
			return err
		}),
		put("kv.scratch", before.Scratch, func(name string, v recovery.KVValue) error {
			_, err := scratch.Put(ctx, benchPlace, name, v, nil)
			return err
		}),
	)
}

// kept reads what is in the key-value store afterwards.
func (s *setting) kept(ctx context.Context, library hostfuncs.LibraryKV, scratch hostfuncs.ScratchKV) (inLibrary, inScratch map[string]json.RawMessage, err error) {
	values := func(list []recovery.KVValue) map[string]json.RawMessage {
		out := map[string]json.RawMessage{}
		for _, v := range list {
			out[v.Name] = v.Value
		}
		return out
	}
	l, err := library.List(ctx, hostfuncs.LibraryOwner("", s.task.Library), "")
	if err != nil {
		return nil, nil, err
	}
	sc, err := scratch.List(ctx, benchPlace, "")
	return values(l), values(sc), err
}

// versionPath begins the paths of Nova's API.
var versionPath = regexp.MustCompile(`^/v[0-9.]+`)

// requestsTo lists the requests that the cloud took, but for reads, with names
// for ids.
func requestsTo(sim *novasim.Cloud, names map[string]string) []string {
	ids := maps.Clone(names)
	for _, v := range sim.Services() {
		ids[v.ID] = v.Host
	}
	for _, a := range sim.Aggregates() {
		ids[fmt.Sprint(a.ID)] = a.Name
	}
	list := []string{}
	for _, r := range sim.Requests() {
		if r.Service != "compute" || r.Method == "GET" || r.Status < 200 || r.Status >= 300 {
			continue
		}
		parts := strings.Split(versionPath.ReplaceAllString(r.Path, ""), "/")
		for i, p := range parts {
			if n, ok := ids[p]; ok && i > 1 {
				parts[i] = n
			}
		}
		line := r.Method + " " + strings.Join(parts, "/")
		if r.Body != "" {
			line += " " + r.Body
		}
		list = append(list, oneLine(line))
	}
	return list
}
