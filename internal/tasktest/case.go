// Package tasktest holds the scenarios by which tasks are tested: what a task is
// given, what the cloud and the world answer it, and what it is expected to do.
//
// It reads and writes scenarios and compares what was seen with what was
// expected. It runs no tasks.
package tasktest

import (
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"

	"github.com/wasakari/wasakari/abi"
	"github.com/wasakari/wasakari/internal/safeyaml"
	"github.com/wasakari/wasakari/novasim"
	"github.com/wasakari/wasakari/recovery"
)

// Bounds of a scenario.
const (
	MaxBytes   = 8 << 20
	maxEntries = 10_000
	maxPattern = 1000 // bytes: what is repeated in it costs memory many times over
)

// Outcomes of a task.
const (
	Succeeded   = "succeeded"
	Failed      = "failed"
	NothingToDo = "nothing"
	Ignored     = "ignored"
)

// Case is one scenario.
type Case struct {
	// File is where it was read from.
	File string `yaml:"-"`

	// Summary says what it shows, in a line.
	Summary string `yaml:"summary"`
	// Task is the key of the task. It may be left out when the module has one.
	Task string `yaml:"task"`
	// Flow is the kind of flow that the task runs in. Defaults to host-auto.
	Flow string `yaml:"flow"`
	// Phase is pre, main or post. Defaults to main.
	Phase string `yaml:"phase"`
	// Attempt and Round count from 1, which is the default.
	Attempt int `yaml:"attempt"`
	Round   int `yaml:"round"`
	// Revert has the task's revert run instead; Failure is why the flow failed.
	Revert  bool   `yaml:"revert"`
	Failure string `yaml:"failure"`
	// Inputs are the inputs of the flow, and what earlier tasks provided.
	Inputs map[string]any `yaml:"inputs"`
	// Options are the task's options, by section and name.
	Options map[string]map[string]any `yaml:"options"`
	// Secrets are fake values of secret options, by section.name. One that the
	// task requires and that is not here has a value made up.
	Secrets map[string]string `yaml:"secrets"`
	// NotGranted are ops, and provides:NAME, that the operator did not grant. All
	// else is granted.
	NotGranted []string `yaml:"not_granted"`
	// Cloud is the simulated cloud: a scenario of novasim, or the name of a file
	// with one, relative to this file. Defaults to three hosts without servers.
	Cloud *Cloud `yaml:"cloud"`
	// KV is what is in the key-value store before.
	KV KV `yaml:"kv"`
	// HTTP are the answers to http.request.
	HTTP []HTTPAnswer `yaml:"http"`
	// Answers are answers that were recorded. With them there is no cloud: ops of
	// the groups nova and ha are answered from here alone.
	Answers []Answer `yaml:"answers"`
	// Sleep has sleeps take their time. By default they end at once when the task
	// waits for nothing else, and its clocks and the cloud's go on by as much.
	Sleep bool `yaml:"sleep"`
	// Expect is what the task is expected to do. What it does not mention is not
	// compared.
	Expect Expect `yaml:"expect"`

	doc    *ast.File
	before KV // KV with the times of this run
}

// Cloud is a simulated cloud.
type Cloud struct {
	File     string            // not empty: the scenario is there
	Scenario *novasim.Scenario // nil until it was read
}

// UnmarshalYAML takes the name of a file; what is a mapping Parse reads by itself.
func (c *Cloud) UnmarshalYAML(decode func(any) error) error {
	if decode(&c.File) != nil {
		c.File = ""
	}
	return nil
}

// KV are values of the key-value store.
type KV struct {
	// Library are those that outlive a run.
	Library map[string]any `yaml:"library"`
	// Scratch are those under scratch/ that an earlier attempt left.
	Scratch map[string]any `yaml:"scratch"`
}

// HTTPAnswer answers requests. Of several that fit, each answers one request, and
// the last one all that follow.
type HTTPAnswer struct {
	Method string `yaml:"method"` // Defaults to any.
	URL    string `yaml:"url"`
	// Request is what the body must hold: of a JSON object these fields at least.
	Request any `yaml:"request"`

	Status  int               `yaml:"status"` // Defaults to 200.
	Headers map[string]string `yaml:"headers"`
	// Answer is the body: text as it is, all else as JSON.
	Answer any `yaml:"answer"`
	// Error is instead of an answer.
	Error *OpError `yaml:"error"`
}

// Answer is what was recorded of one op.
type Answer struct {
	Op      string   `yaml:"op"`
	Request any      `yaml:"request"`
	Answer  any      `yaml:"answer"`
	Error   *OpError `yaml:"error"`
}

// OpError is the error of an op.
type OpError struct {
	Code      string `yaml:"code"`
	Message   string `yaml:"message"`
	Status    int    `yaml:"status"`
	RequestID string `yaml:"request_id"`
}

// ABI gives the error in the words of the ABI.
func (e *OpError) ABI() *abi.Error {
	code, _ := errnoOf(e.Code) // checked
	return &abi.Error{Code: code, Message: e.Message, Status: e.Status, RequestID: e.RequestID}
}

func errnoOf(code string) (abi.Errno, bool) {
	for e := abi.ErrnoOK + 1; e < 64; e++ {
		if e.String() == code {
			return e, true
		}
	}
	return 0, false
}

// Expect is what is expected. Of what is nil nothing is.
type Expect struct {
	// Outcome is succeeded, failed, nothing or ignored. Defaults to succeeded.
	Outcome string `yaml:"outcome"`
	// Reason is a text that the reason contains, or a /pattern/.
	Reason string `yaml:"reason"`
	// Provides are all names that the task provides, with their values.
	Provides map[string]any `yaml:"provides"`
	// KV are all values that are in the key-value store afterwards.
	KV *KV `yaml:"kv"`
	// Ops are all ops of the groups nova, ha and http that the task asked for, in
	// this order, or with AnyOrder in any.
	Ops      *[]Op `yaml:"ops"`
	AnyOrder bool  `yaml:"any_order"`
	// Nova are all requests to Nova that change something and that Nova took, in
	// order: method, path and action, with names of servers, hosts and aggregates.
	Nova *[]string `yaml:"nova"`
	// Logs are texts or /patterns/ that the task logs, in this order, each in a
	// line; other lines may come between them.
	Logs *[]string `yaml:"logs"`
	// Progress is like Logs.
	Progress *[]string `yaml:"progress"`
}

// Op is an op that a task asks for.
type Op struct {
	Op string `yaml:"op"`
	// Request are fields that the request has at least. A server is named by its
	// id or its name.
	Request any `yaml:"request"`
	// Error is the code with which it is refused; empty: it is not.
	Error string `yaml:"error"`
}

// UnmarshalYAML takes the name of an op alone too.
func (o *Op) UnmarshalYAML(decode func(any) error) error {
	if decode(&o.Op) == nil {
		return nil
	}
	type plain Op
	var p plain
	if err := decode(&p); err != nil {
		return err
	}
	*o = Op(p)
	return nil
}

// defaultCloud has hosts to choose from, and nothing on them.
const defaultCloud = "hosts: [{name: compute-1}, {name: compute-2}, {name: compute-3}]\n"

// Name is the file's, without folder and ending.
func (c *Case) Name() string {
	return strings.TrimSuffix(strings.TrimSuffix(filepath.Base(c.File), ".yml"), ".yaml")
}

// Recorded reports whether answers take the place of a cloud.
func (c *Case) Recorded() bool { return len(c.Answers) > 0 }

// Kind is the kind of flow.
func (c *Case) Kind() recovery.FlowKind { return recovery.FlowKind(c.Flow) }

// Position gives FILE:LINE:COL of a place such as expect.reason, or of the
// nearest thing around it that is written.
func (c *Case) Position(where string) string { return c.File + ":" + safeyaml.Position(c.doc, where) }

// Parse reads a scenario. Unknown and doubled fields, anchors, aliases, tags and
// values that make no sense are refused; each complaint begins with
// FILE:LINE:COL. read gives the file of a cloud.
func Parse(file string, text []byte, read func(name string) ([]byte, error)) (*Case, error) {
	if len(text) > MaxBytes {
		return nil, fmt.Errorf("%s: %d bytes, at most %d", file, len(text), MaxBytes)
	}
	c := &Case{File: file}
	var err error
	if c.doc, err = safeyaml.Decode(file, text, c); err != nil {
		return nil, err
	}
	if len(c.doc.Docs) == 0 || c.doc.Docs[0].Body == nil {
		return nil, fmt.Errorf("%s:1:1: nothing is in it", file)
	}
	var errs []error
	bad := func(where, format string, args ...any) {
		if len(errs) < 100 {
			errs = append(errs, fmt.Errorf("%s: %s: %s", c.Position(where), where, fmt.Sprintf(format, args...)))
		}
	}
	c.check(bad)
	if err := c.readCloud(text, read, bad); err != nil {
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return c, nil
}

// readCloud reads the scenario of the cloud, from this text or its own.
func (c *Case) readCloud(text []byte, read func(string) ([]byte, error), bad func(where, format string, args ...any)) error {
	name, yamlText := c.File, []byte(defaultCloud)
	switch {
	case c.Cloud == nil:
		c.Cloud = &Cloud{}
	case c.Recorded():
		bad("cloud", "answers that were recorded take the place of a cloud; leave it out")
		return nil
	case c.Cloud.File == "demo":
		yamlText = novasim.DemoYAML()
	case c.Cloud.File != "":
		name = filepath.Join(filepath.Dir(c.File), filepath.FromSlash(c.Cloud.File))
		var err error
		if yamlText, err = read(name); err != nil {
			bad("cloud", "%v", err)
			return nil
		}
	default:
		yamlText = only(text, "cloud")
	}
	var err error
	c.Cloud.Scenario, err = novasim.ParseScenario(name, yamlText)
	return err
}

// only keeps the lines of one key of the document, at their places.
func only(text []byte, key string) []byte {
	lines := strings.SplitAfter(string(text), "\n")
	from, to := block(lines, key)
	var out strings.Builder
	for i, line := range lines {
		switch {
		case i < from || i >= to:
			if i < from {
				out.WriteByte('\n')
			}
		case i == from:
			rest := strings.TrimPrefix(line, key)
			out.WriteString(strings.Repeat(" ", len(key)) + strings.Replace(rest, ":", " ", 1))
		default:
			out.WriteString(line)
		}
	}
	return []byte(out.String())
}

// block finds the lines of a key of the outermost mapping: from its own up to the
// next key's.
func block(lines []string, key string) (from, to int) {
	from, to = -1, len(lines)
	for i, line := range lines {
		if from < 0 {
			if rest, ok := strings.CutPrefix(line, key); ok && strings.HasPrefix(strings.TrimLeft(rest, " "), ":") {
				from = i
			}
			continue
		}
		if line = strings.TrimRight(line, "\r\n"); line != "" && !strings.ContainsRune(" \t#-]}", rune(line[0])) {
			to = i
			break
		}
	}
	if from < 0 {
		return len(lines), len(lines)
	}
	// Comments and blank lines before the next key are its own.
	for to > from+1 {
		line := strings.TrimSpace(lines[to-1])
		if line != "" && !strings.HasPrefix(lines[to-1], "#") {
			break
		}
		to--
	}
	return from, to
}

func (c *Case) check(bad func(where, format string, args ...any)) {
	oneOf := func(where string, value *string, fallback string, of ...string) {
		if *value == "" {
			*value = fallback
		}
		if !slices.Contains(of, *value) {
			bad(where, "%.40q is not one of %s", *value, strings.Join(of, ", "))
		}
	}
	var kinds []string
	for _, k := range recovery.FlowKinds() {
		kinds = append(kinds, string(k))
	}
	oneOf("flow", &c.Flow, string(recovery.HostAuto), kinds...)
	oneOf("phase", &c.Phase, string(recovery.Main), string(recovery.Pre), string(recovery.Main), string(recovery.Post))
	oneOf("expect.outcome", &c.Expect.Outcome, Succeeded, Succeeded, Failed, NothingToDo, Ignored)
	if c.Task != "" && !abi.TaskKey(c.Task) {
		bad("task", "%.40q is no key of a task", c.Task)
	}
	if c.Attempt < 0 || c.Round < 0 || c.Attempt > 1000 || c.Round > 1000 {
		bad("attempt", "attempt and round are 1 to 1000")
	}
	c.Attempt, c.Round = max(c.Attempt, 1), max(c.Round, 1)
	if c.Failure != "" && !c.Revert {
		bad("failure", "only with revert: true")
	}
	for name := range c.Secrets {
		if group, option, ok := strings.Cut(name, "."); !ok || group == "" || option == "" {
			bad("secrets", "%.80q: want section.name", name)
		}
	}
	for name := range c.KV.Scratch {
		if !strings.HasPrefix(name, "scratch/") {
			bad("kv.scratch", "%.80q does not begin with scratch/", name)
		}
	}
	for where, values := range map[string]map[string]any{"kv.library": c.KV.Library, "kv.scratch": c.KV.Scratch} {
		for _, v := range values {
			if _, err := at(v, time.Time{}); err != nil {
				bad(where, "%v", err)
			}
		}
	}
	for i, h := range c.HTTP {
		where := fmt.Sprintf("http[%d]", i)
		if _, err := abi.ParseHTTPURL(h.URL); err != nil {
			bad(where+".url", "%v", err)
		}
		if h.Method != "" && !slices.Contains([]string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}, h.Method) {
			bad(where+".method", "%.20q is no method of http.request", h.Method)
		}
		if h.Status != 0 && (h.Status < 100 || h.Status > 599) {
			bad(where+".status", "%d is not in 100 to 599", h.Status)
		}
		checkError(where, h.Error, h.Answer != nil || h.Status != 0, bad)
	}
	for i, a := range c.Answers {
		where := fmt.Sprintf("answers[%d]", i)
		checkOp(where+".op", a.Op, bad)
		checkError(where, a.Error, a.Answer != nil, bad)
	}
	e := c.Expect
	pattern(e.Reason, "expect.reason", bad)
	for _, l := range []struct {
		where string
		texts *[]string
	}{{"expect.logs", e.Logs}, {"expect.progress", e.Progress}} {
		if l.texts == nil {
			continue
		}
		for i, text := range *l.texts {
			pattern(text, fmt.Sprintf("%s[%d]", l.where, i), bad)
		}
	}
	if e.Ops != nil {
		for i, op := range *e.Ops {
			where := fmt.Sprintf("expect.ops[%d]", i)
			checkOp(where, op.Op, bad)
			if _, ok := errnoOf(op.Error); op.Error != "" && !ok {
				bad(where+".error", "%.40q is no code of an error", op.Error)
			}
			matchers(op.Request, where+".request", bad)
		}
	}
	if e.Nova != nil && c.Recorded() {
		bad("expect.nova", "answers that were recorded take the place of a cloud: nobody gets these requests; list them as ops")
	}
	matchers(e.Provides, "expect.provides", bad)
	if e.KV != nil {
		matchers(e.KV.Library, "expect.kv.library", bad)
		matchers(e.KV.Scratch, "expect.kv.scratch", bad)
	}
	for _, n := range []int{len(c.HTTP), len(c.Answers), len(c.Inputs), len(c.KV.Library), len(c.KV.Scratch)} {
		if n > maxEntries {
			bad("", "a list of %d entries, at most %d", n, maxEntries)
		}
	}
}

func checkError(where string, e *OpError, answered bool, bad func(where, format string, args ...any)) {
	if e == nil {
		return
	}
	if _, ok := errnoOf(e.Code); !ok {
		bad(where+".error.code", "%.40q is no code of an error", e.Code)
	}
	if answered {
		bad(where+".error", "an answer or an error, not both")
	}
}

// Outwards holds for ops that a scenario answers or expects: those that reach
// beyond the sandbox.
func Outwards(name string) bool {
	op := abi.LookupOp([]byte(name))
	return op != nil && slices.Contains([]string{"nova", "ha", "http"}, op.Group())
}

func checkOp(where, name string, bad func(where, format string, args ...any)) {
	if Outwards(name) {
		return
	}
	hint := ""
	if near := abi.NearestOp([]byte(name)); near != "" && abi.LookupOp([]byte(name)) == nil {
		hint = "; did you mean " + near + "?"
	}
	bad(where, "%.40q is no op of the groups nova, ha and http%s", name, hint)
}

// pattern checks text that may be a /pattern/.
func pattern(text, where string, bad func(where, format string, args ...any)) {
	if p, ok := slashed(text); ok {
		compiles(p, where, bad)
	}
}

// compiles checks a pattern.
func compiles(p, where string, bad func(where, format string, args ...any)) {
	if len(p) > maxPattern {
		bad(where, "a pattern of %d bytes, at most %d", len(p), maxPattern)
		return
	}
	if _, err := regexp.Compile(p); err != nil {
		bad(where, "%v", err)
	}
}

// slashed gives what is between slashes.
func slashed(text string) (string, bool) {
	if len(text) > 2 && text[0] == '/' && text[len(text)-1] == '/' {
		return text[1 : len(text)-1], true
	}
	return "", false
}

// timeForm is a value that stands for a time: $now, $unix (seconds) or $unix_ms,
// with a length of time more or less.
var timeForm = regexp.MustCompile(`^\$(now|unix|unix_ms)(?:([+-])([0-9][0-9a-zµ.]*))?$`)

// Before gives what is in the key-value store before, with $now, $now-5m, $unix
// and $unix_ms replaced by times.
func (c *Case) Before(now time.Time) KV {
	c.before = KV{timed(c.KV.Library, now), timed(c.KV.Scratch, now)}
	return c.before
}

func timed(values map[string]any, now time.Time) map[string]any {
	out := map[string]any{}
	for k, v := range values {
		out[k], _ = at(v, now) // checked
	}
	return out
}

// at replaces the times in a value.
func at(v any, now time.Time) (any, error) {
	switch v := v.(type) {
	case string:
		m := timeForm.FindStringSubmatch(v)
		if m == nil {
			return v, nil
		}
		if m[3] != "" {
			d, err := time.ParseDuration(m[2] + m[3])
			if err != nil {
				return nil, fmt.Errorf("%.40q: %w", v, err)
			}
			now = now.Add(d)
		}
		switch m[1] {
		case "unix":
			return now.Unix(), nil
		case "unix_ms":
			return now.UnixMilli(), nil
		}
		return now.UTC().Format(time.RFC3339), nil
	case []any:
		out := make([]any, len(v))
		for i := range v {
			var err error
			if out[i], err = at(v[i], now); err != nil {
				return nil, err
			}
		}
		return out, nil
	case map[string]any:
		out := map[string]any{}
		for k := range v {
			var err error
			if out[k], err = at(v[k], now); err != nil {
				return nil, err
			}
		}
		return out, nil
	}
	return v, nil
}
