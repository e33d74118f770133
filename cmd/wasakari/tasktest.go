package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/wasakari/wasakari/config"
	"github.com/wasakari/wasakari/hostfuncs"
	"github.com/wasakari/wasakari/internal/tasktest"
	"github.com/wasakari/wasakari/novasim"
	"github.com/wasakari/wasakari/recovery"
)

// maxScenarios bounds a folder of scenarios.
const maxScenarios = 1000

// testFlags are the flags of task test; those of record are of a real cloud.
type testFlags struct {
	settings
	cloudFlags
	lang, manifest string
	dir            string // of scenarios
	pick           string
	update         bool
	output         string
	timeout        time.Duration

	record bool
	inputs []string
	flow   string
	task   string
	save   string
}

func newTaskTest(w world) *cobra.Command {
	var f testFlags
	cmd := &cobra.Command{
		Use:   "test [PATH]",
		Short: "Run a task on a simulated cloud and compare what it does",
		Long: `Builds the task in the folder PATH, by default the one you are in, and runs it once
for each scenario in its folder tests: on a simulated cloud, in a sandbox as on the
worst day of a real one. PATH may be a script or a module (.wasm) too.

A scenario is a YAML file:

  inputs: {host_name: compute-1}        # of the flow, and of earlier tasks
  options: {acme: {max_servers: 10}}    # as in the operator's configuration
  secrets: {acme.token: not-the-real-one}
  cloud:                                # hosts and servers; the failed host is killed first
    hosts: [{name: compute-1}, {name: compute-2}]
    servers: [{name: web-1, host: compute-1}]
  kv: {library: {last_run: $now-5m}}    # what the library kept before
  http:                                 # what the outside answers
    - {method: POST, url: https://tickets.example/api, status: 201, answer: {id: 7}}
  expect:
    outcome: succeeded                  # or failed, nothing, ignored
    reason: too many servers            # a part of it, or a /pattern/
    provides: {ticket: {id: 7, at: $any}}
    kv: {library: {last_run: $string}}
    ops: [{op: nova.server_list, request: {host: compute-1}}]
    nova: ['POST /servers/web-1/action {"os-stop":null}']
    logs: [opened ticket 7]

What expect leaves out is not compared. --update writes what was seen.
docs/authors.md tells all fields.

With --record the task runs once on a real cloud: what it reads is real, what it
would change is held back, as in a dry run. The answers are kept as a scenario
that needs no cloud. Secrets are not written into it; names and metadata are.
What tasks before it would have provided is given as JSON with --input.

Exit codes: 0 all as expected, 1 something is not, 2 wrong use, a scenario that
cannot be read, or a module that is refused.`,
		Example: `  wasakari task test
  wasakari task test --run too_many
  wasakari task test --update
  wasakari task test noop.py --output json
  wasakari task test --record --os-cloud lab --input host_name=compute-1 --save lab
  wasakari task test --record --os-cloud lab --input host_name=compute-1 --input ticket='{"id": 7}'`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkOutput(f.output); err != nil {
				return err
			}
			if err := f.fitting(cmd); err != nil {
				return err
			}
			path := "."
			if len(args) > 0 {
				path = args[0]
			}
			if f.record {
				return f.recordScenario(cmd.Context(), w, path)
			}
			return f.test(cmd.Context(), w, path)
		},
	}
	fl := cmd.Flags()
	f.buildFlags(cmd)
	fl.StringVar(&f.pick, "run", "", "`PATTERN` of the names of scenarios to run")
	fl.BoolVar(&f.update, "update", false, "write what was seen into the scenarios")
	fl.StringVar(&f.output, "output", "text", "text or json")
	fl.DurationVar(&f.timeout, "timeout", 10*time.Minute, "`time` for all scenarios together")
	fl.BoolVar(&f.record, "record", false, "run on a real cloud, changes held back, and keep its answers as a scenario")
	fl.StringVar(&f.save, "save", "recorded", "with --record: `NAME` of the scenario")
	fl.StringArrayVar(&f.inputs, "input", nil, "with --record: `name=value` of an input of the flow,\nname=JSON of what a task before this one provides; repeatable")
	fl.StringVar(&f.flow, "flow", string(recovery.HostAuto), "with --record: `KIND` of flow")
	fl.StringVar(&f.task, "task", "", "with --record: `KEY`, where the module has several tasks")
	fl.StringVar(&f.osCloud, "os-cloud", "", "with --record: `name` of a cloud in clouds.yaml (default: OS_CLOUD, then the other OS_* variables)")
	fl.StringArrayVar(&f.configFiles, "config-file", nil, "with --record: configuration `file` with the task's options; repeatable")
	fl.StringArrayVar(&f.set, "set", nil, "with --record: `group.name=value` of an option; repeatable")
	f.logLevel = "error"
	return cmd
}

// buildFlags say what is tested, and with what.
func (f *testFlags) buildFlags(cmd *cobra.Command) {
	fl := cmd.Flags()
	fl.StringVar(&f.lang, "lang", "", "`LANGUAGE` of the project, where there are several")
	fl.StringVar(&f.manifest, "manifest", "", "`file` with the manifest (default: task.yaml beside the sources)")
	fl.StringVar(&f.dir, "tests", "", "`folder` with scenarios (default: tests beside the sources)")
}

// fitting refuses flags that do not go together.
func (f *testFlags) fitting(cmd *cobra.Command) error {
	with := func(other string) []string {
		if other == "record" {
			return []string{"save", "input", "flow", "task", "os-cloud", "config-file", "set"}
		}
		return []string{"run"}
	}
	if !f.record {
		for _, name := range with("record") {
			if cmd.Flags().Changed(name) {
				return usagef("--%s: only with --record; add it", name)
			}
		}
		return nil
	}
	for _, name := range with("test") {
		if cmd.Flags().Changed(name) {
			return usagef("--%s and --record: choose one", name)
		}
	}
	return nil
}

// open builds what is tested and admits it.
func (f *testFlags) open(ctx context.Context, w world, path string, cfg *config.Config) (*bench, taskSource, error) {
	s, err := findSource(path, f.lang)
	if err != nil {
		return nil, s, err
	}
	if f.dir == "" {
		f.dir = filepath.Join(s.dir, "tests")
	}
	built, err := s.build(ctx, w, f.manifest)
	if err != nil {
		return nil, s, err
	}
	b, err := newBench(ctx, w, cfg, built)
	return b, s, err
}

// cases reads the scenarios that are wanted. All mistakes are told at once.
func (f *testFlags) cases() (_ []*tasktest.Case, texts [][]byte, err error) {
	pick, err := regexp.Compile(f.pick)
	if err != nil {
		return nil, nil, usagef("--run %s: %w", f.pick, err)
	}
	entries, err := os.ReadDir(f.dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, nil, usagef("%s: %w", f.dir, bare(err))
	}
	var names []string
	for _, e := range entries {
		if ext := filepath.Ext(e.Name()); (ext == ".yaml" || ext == ".yml") && !strings.HasPrefix(e.Name(), ".") {
			names = append(names, e.Name())
		}
	}
	if len(names) == 0 {
		return nil, nil, usagef("%s: no scenarios there; write one, such as %s with inputs: {host_name: compute-1}; wasakari task test --help shows what it can say",
			filepath.Join(f.dir, "*.yaml"), filepath.Join(f.dir, "first.yaml"))
	}
	if len(names) > maxScenarios {
		return nil, nil, usagef("%s: %d scenarios, at most %d", f.dir, len(names), maxScenarios)
	}
	var cases []*tasktest.Case
	var errs []error
	for _, name := range names {
		if !pick.MatchString(strings.TrimSuffix(strings.TrimSuffix(name, ".yml"), ".yaml")) {
			continue
		}
		file := filepath.Join(f.dir, name)
		text, err := readFile(file, tasktest.MaxBytes)
		if err == nil {
			var c *tasktest.Case
			if c, err = tasktest.Parse(file, text, readCloud); err == nil {
				cases, texts = append(cases, c), append(texts, text)
				continue
			}
			err = &usageError{err}
		}
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, nil, err
	}
	if len(cases) == 0 {
		return nil, nil, usagef("--run %s: no scenario is called so; there are %s", f.pick, strings.Join(names, ", "))
	}
	return cases, texts, nil
}

// readCloud reads the file of a cloud that a scenario names.
func readCloud(name string) ([]byte, error) { return readFile(name, novasim.MaxScenarioBytes) }

// verdicts of scenarios.
const (
	passed  = "passed"
	failed  = "failed"
	updated = "updated"
)

// testResult is what came of one scenario.
type testResult struct {
	Name        string                `json:"name"`
	File        string                `json:"file"`
	Summary     string                `json:"summary,omitempty"`
	Task        string                `json:"task"`
	Verdict     string                `json:"verdict"`
	Differences []tasktest.Difference `json:"differences"`
	Seen        tasktest.Seen         `json:"seen"`
	CPU         int64                 `json:"cpu_units"`
	MemoryBytes int64                 `json:"memory_bytes"`
	TookMS      float64               `json:"took_ms"`
}

// testReport is what --output json prints.
type testReport struct {
	Module  string       `json:"module"`
	Digest  string       `json:"digest"`
	Tests   []testResult `json:"tests"`
	Passed  int          `json:"passed"`
	Failed  int          `json:"failed"`
	Updated int          `json:"updated"`
}

func (f *testFlags) test(ctx context.Context, w world, path string) (err error) {
	whole := ctx
	ctx, cancel := context.WithTimeoutCause(ctx, f.timeout, fmt.Errorf("the scenarios took longer than --timeout %s", f.timeout))
	defer cancel()
	b, s, err := f.open(ctx, w, path, defaults())
	if err != nil {
		return inTime(whole, ctx, err)
	}
	defer func() { err = errors.Join(err, b.close(ctx)) }()
	cases, texts, err := f.cases()
	if err != nil {
		return err
	}
	settings := make([]*setting, len(cases))
	problems := make([]error, len(cases))
	for i, c := range cases {
		settings[i], problems[i] = b.prepare(c)
	}
	if err := errors.Join(problems...); err != nil {
		return err
	}
	r := testReport{Module: s.path, Digest: b.module.Digest(), Tests: make([]testResult, len(cases))}
	var group errgroup.Group
	group.SetLimit(max(2, goMaxProcs()))
	for i, c := range cases {
		group.Go(func() (err error) {
			r.Tests[i], err = f.one(ctx, b, settings[i], texts[i])
			if err != nil && ctx.Err() == nil {
				err = fmt.Errorf("%s: %w", c.File, err)
			}
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return inTime(whole, ctx, err)
	}
	for _, t := range r.Tests {
		switch t.Verdict {
		case passed:
			r.Passed++
		case updated:
			r.Updated++
		default:
			r.Failed++
		}
	}
	if f.output == "json" {
		err = printJSON(w.stdout, r)
	} else {
		err = r.text(w)
	}
	if err == nil && r.Failed > 0 {
		err = errReported
	}
	return err
}

// inTime tells an end of the time from an interruption.
func inTime(whole, ctx context.Context, err error) error {
	if ctx.Err() != nil && whole.Err() == nil {
		return context.Cause(ctx)
	}
	return err
}

// defaults is the configuration of a system that has none.
func defaults() *config.Config {
	cfg, err := config.Load(config.Sources{})
	if err != nil {
		panic(err) // nothing was read
	}
	return cfg
}

// one runs a scenario and holds what came of it against what it expects.
func (f *testFlags) one(ctx context.Context, b *bench, s *setting, text []byte) (testResult, error) {
	started := time.Now()
	closing, err := s.simulate(ctx)
	if err != nil {
		return testResult{}, err
	}
	defer closing()
	e, err := b.run(ctx, s)
	if err != nil {
		return testResult{}, err
	}
	c := s.c
	t := testResult{
		Name: c.Name(), File: c.File, Summary: c.Summary, Task: s.task.Key, Verdict: passed, Differences: c.Compare(e.seen), Seen: e.seen,
		CPU: e.result.CPU, MemoryBytes: e.result.MemoryPeak, TookMS: float64(time.Since(started).Microseconds()) / 1000,
	}
	if len(t.Differences) == 0 {
		t.Differences = []tasktest.Difference{}
		return t, nil
	}
	t.Verdict = failed
	if !f.update || len(e.seen.Problems) > 0 {
		return t, nil
	}
	text = c.Update(text, e.seen)
	if _, err := tasktest.Parse(c.File, text, readCloud); err != nil {
		return t, usagef("it cannot be updated, as expect: does not stand in lines of its own: %w", err)
	}
	if err := os.WriteFile(c.File, text, 0o644); err != nil { //nolint:gosec // a source, no secret
		return t, &usageError{err}
	}
	t.Verdict = updated
	return t, nil
}

// text prints the report for a person.
func (r testReport) text(w world) error {
	var b strings.Builder
	widest := 0
	for _, t := range r.Tests {
		widest = max(widest, len(t.Name))
	}
	mark := map[string]string{passed: "ok  ", failed: "FAIL", updated: "new "}
	for _, t := range r.Tests {
		fmt.Fprintf(&b, "%s  %-*s  %s\n", mark[t.Verdict], widest, t.Name, oneLine(t.Summary))
		for _, d := range t.Differences {
			if d.Where == "" {
				fmt.Fprintf(&b, "      %s\n", oneLine(d.Got))
				continue
			}
			fmt.Fprintf(&b, "      %s: %s\n        want %s\n        got  %s\n", d.At, d.Where, oneLine(d.Want), oneLine(d.Got))
		}
		if t.Verdict == failed {
			for _, l := range t.Seen.Logs {
				fmt.Fprintf(&b, "      log %s: %s\n", l.Level, oneLine(l.Message))
			}
		}
	}
	var sums []string
	for _, n := range []struct {
		n    int
		what string
	}{{r.Passed, passed}, {r.Failed, failed}, {r.Updated, updated}} {
		if n.n > 0 {
			sums = append(sums, fmt.Sprintf("%d %s", n.n, n.what))
		}
	}
	fmt.Fprintf(&b, "%s\n", strings.Join(sums, ", "))
	if r.Failed > 0 {
		b.WriteString("wasakari task trace shows what a task asked for; --update takes what was seen as expected\n")
	}
	return printLines(w.stdout, b.String())
}

// recordScenario runs the task on a real cloud and keeps its answers.
func (f *testFlags) recordScenario(ctx context.Context, w world, path string) (err error) {
	log, err := newLogger(w, f.logLevel)
	if err != nil {
		return err
	}
	if f.save == "" || f.save != filepath.Base(f.save) || strings.HasPrefix(f.save, ".") {
		return usagef("--save %s: want a name without folder and ending", f.save)
	}
	kind, err := recovery.ParseFlowKind(f.flow)
	if err != nil {
		return usagef("--flow: %w", err)
	}
	src, err := f.sources(w)
	if err != nil {
		return err
	}
	src.Discover = false
	cfg, err := readConfig(src)
	if err != nil {
		return err
	}
	b, _, err := f.open(ctx, w, path, cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.close(ctx)) }()
	file := filepath.Join(f.dir, f.save+".yaml")
	if _, err := os.Stat(file); err == nil && !f.update {
		return usagef("%s is there already; choose another name with --save, or replace it with --update", file)
	}
	s, err := b.recording(file, kind, f.task, cfg, f.inputs)
	if err != nil {
		return err
	}
	cl, err := f.connect(ctx, w, cfg, log, "")
	if err != nil {
		return err
	}
	defer cl.close()
	s.overlay = hostfuncs.NewDryRun(cl.Client, hostfuncs.DryRunOptions{FailedHost: failedHost(kind, s.inputs)})
	if s.http, err = newOutside(cfg, nil, zap.NewNop()); err != nil {
		return err
	}
	e, err := b.run(ctx, s)
	if err != nil {
		return err
	}
	s.c.Answers, s.c.Expect.AnyOrder = e.answers, e.abreast
	text := s.masked(string(s.c.Write(e.seen)))
	if _, err := tasktest.Parse(file, []byte(text), readCloud); err != nil {
		return fmt.Errorf("what was recorded cannot be read again: %w", err)
	}
	if err := os.MkdirAll(f.dir, 0o755); err != nil { //nolint:gosec // sources, no secrets
		return &usageError{err}
	}
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return &usageError{err}
	}
	return f.tellRecorded(w, file, e)
}

// recording is a setting whose scenario is to be written, with the inputs given
// as name=value.
func (b *bench) recording(file string, kind recovery.FlowKind, key string, cfg *config.Config, given []string) (*setting, error) {
	task, err := taskNamed(b.module.Manifest(), b.module.Source(), key)
	if err != nil {
		return nil, usagef("%w; name one with --task", err)
	}
	task.Digest, task.HasRevert = b.module.Digest(), b.module.HasRevert(task.Key)
	ofFlow := kind.InputNames(recovery.Main)
	ofTasks := slices.DeleteFunc(slices.Concat(task.Requires, task.Optional), func(name string) bool { return slices.Contains(ofFlow, name) })
	in, err := readInputs(given, ofFlow, ofTasks)
	if err != nil {
		return nil, err
	}
	if err := complete(kind, in); err != nil {
		return nil, err
	}
	c := &tasktest.Case{
		File: file, Flow: string(kind), Phase: string(recovery.Main), Attempt: 1, Round: 1,
		Summary: "recorded", Inputs: map[string]any{}, Options: map[string]map[string]any{}, Secrets: map[string]string{},
	}
	if len(b.module.Manifest().Tasks) > 1 {
		c.Task = task.Key
	}
	for name, raw := range in {
		var v any
		if err := json.Unmarshal(raw, &v); err != nil {
			return nil, err
		}
		c.Inputs[name] = v
	}
	s := &setting{c: c, task: task, cfg: cfg, inputs: in, granted: func(string) bool { return true }, keepAnswers: true}
	if err := seedTest(s.inputs, kind); err != nil {
		return nil, err
	}
	var lacks, add []string
	for _, name := range task.Requires {
		if _, ok := s.inputs[name]; !ok {
			lacks, add = append(lacks, name), append(add, "--input "+name+"=JSON")
		}
	}
	if len(lacks) > 0 {
		return nil, usagef("task %s requires %s, which flow %s is not given: tasks before it provide that; add %s, %s",
			task.Key, strings.Join(lacks, ", "), kind, strings.Join(add, " "), asJSON)
	}
	if s.options, err = cfg.TaskOptions(task.Options); err != nil {
		return nil, &usageError{err}
	}
	if s.secrets, err = cfg.Secrets(task.Options); err != nil {
		return nil, &usageError{err}
	}
	for _, o := range task.Options {
		v, set := s.options[o.Group][o.Name]
		switch {
		case o.Secret:
			if _, set := s.secrets[o.Group+"."+o.Name]; set {
				c.Secrets[o.Group+"."+o.Name] = "fake-" + o.Group + "-" + o.Name
			}
		case set && v != nil && !sameOption(v, o.Default):
			if c.Options[o.Group] == nil {
				c.Options[o.Group] = map[string]any{}
			}
			c.Options[o.Group][o.Name] = v
		}
	}
	return s, nil
}

// sameOption reports whether a value is the default.
func sameOption(v, def any) bool {
	a, err1 := json.Marshal(v)
	b, err2 := json.Marshal(def)
	return err1 == nil && err2 == nil && string(a) == string(b)
}

// masked takes the values of secrets out of a text, plain or in JSON. The answers
// of requests hold none; what a task logged or gave as its reason might, had it
// got one elsewhere.
func (s *setting) masked(text string) string {
	for _, secret := range s.secrets {
		if secret.Short() {
			continue
		}
		text = strings.ReplaceAll(text, secret.Value, "***")
		if quoted := tasktest.Quoted(secret.Value); quoted != secret.Value {
			text = strings.ReplaceAll(text, quoted, "***")
		}
	}
	return text
}

func (f *testFlags) tellRecorded(w world, file string, e execution) error {
	if f.output == "json" {
		return printJSON(w.stdout, struct {
			File    string             `json:"file"`
			Answers int                `json:"answers"`
			Held    []hostfuncs.Change `json:"held_back"`
			Assumed []string           `json:"assumed"`
			Seen    tasktest.Seen      `json:"seen"`
		}{file, len(e.answers), slices.Concat([]hostfuncs.Change{}, e.changes), slices.Concat([]string{}, e.assumed), e.seen})
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s, %d answers\n", file, oneLine(e.seen.Outcome+because(e.seen.Reason)), len(e.answers))
	if len(e.changes) > 0 {
		b.WriteString("held back:\n")
		printChanges(&b, e.changes)
	}
	for _, note := range e.assumed {
		b.WriteString(oneLine(note) + "\n")
	}
	b.WriteString("it holds names and metadata of the cloud: look at it before you give it away\n")
	return printLines(w.stdout, b.String())
}
