package abi

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// MaxManifest is the size of the largest manifest, in bytes of JSON.
const MaxManifest = 64 << 10

// Bounds of what a manifest may list.
const (
	maxTasks    = 64
	maxProvides = 64 // per task
	maxProblems = 64 // told at once
	maxProse    = 1024
)

// Manifest is what a module says about its tasks. It is only its author's
// word: grants bind to the library as the operator registered it.
type Manifest struct {
	ABI     int            `json:"abi"`               // Version
	Library string         `json:"library"`           // [a-z0-9._-], at most 128
	Version string         `json:"version"`           // semantic version of the module
	Summary string         `json:"summary,omitempty"` // one line for people
	Tasks   []ManifestTask `json:"tasks"`             // at least one
}

// ManifestTask describes one task.
type ManifestTask struct {
	// Key is the entry-point key that flow options name:
	// [A-Za-z_][A-Za-z0-9_.-]{0,254}.
	Key string `json:"key"`
	// Class is the name shown in recovery_workflow_details. Defaults to Key.
	Class string `json:"class,omitempty" nonempty:"true"`
	// Summary is one line for people.
	Summary string `json:"summary,omitempty"`
	// Requires names the values that must be there before the task runs.
	Requires []string `json:"requires,omitempty"`
	// Optional names the values that the task reads when they are there.
	Optional []string `json:"optional,omitempty"`
	// Provides names the values that the task must have put when it succeeds;
	// at most 64.
	Provides []string `json:"provides,omitempty"`
	// Uses names the ops, or group.*, that the task may ask for.
	Uses []string `json:"uses,omitempty"`
	// HTTP names the requests that http.request may send, as ParseHTTPRule reads
	// them; at most 64. Uses lists http.request too.
	HTTP []string `json:"http,omitempty"`
	// Options are read from the operator's configuration files.
	Options []ManifestOption `json:"options,omitempty"`
	// OnInterrupt is rerun or fail: what to do when the process died while the
	// task ran. Defaults to rerun.
	OnInterrupt string `json:"on_interrupt,omitempty" enum:"rerun,fail"`
	// Limits is what the task asks for; the operator's ceilings win. No other
	// limits can be asked for.
	Limits ManifestLimits `json:"limits,omitzero"`
}

// ManifestOption describes one option, [Group] Name = value.
type ManifestOption struct {
	Group string `json:"group"`
	Name  string `json:"name"`
	// Type is string, bool, int, float, list, host, uri or seconds, as in
	// oslo.config; seconds is an int. int_or_auto is an int or the word auto.
	Type string `json:"type" enum:"string,bool,int,float,list,host,uri,seconds,int_or_auto"`
	// Default is a literal of the option's type: string, bool, int64, float64 or
	// []string once the manifest was parsed; nil: unset.
	Default any `json:"default,omitempty"`
	// Required is true when the operator must set it.
	Required bool `json:"required,omitempty"`
	// Secret is true when the value must never be shown; it is a string without
	// default.
	Secret bool `json:"secret,omitempty"`
	// Help is one line for people.
	Help string `json:"help,omitempty"`
	// Choices are the values allowed, of a string.
	Choices []string `json:"choices,omitempty"`
	// Min and Max bound an int or seconds.
	Min *int64 `json:"min,omitempty"`
	Max *int64 `json:"max,omitempty"`
}

// ManifestLimits is what a task asks for. A zero field asks for the default.
type ManifestLimits struct {
	// MemoryMiB bounds the linear memory.
	MemoryMiB int `json:"memory_mib,omitempty" min:"1"`
	// Timeout bounds the wall time, as a Go duration such as 5m or 1h30m.
	Timeout string `json:"timeout,omitempty" nonempty:"true"`
	// CPU bounds the computing, in units of about one simple instruction.
	CPU float64 `json:"cpu,omitempty" min:"1"`
}

// Duration gives Timeout, 0 when it is not set or not valid.
func (l ManifestLimits) Duration() time.Duration {
	d, err := time.ParseDuration(l.Timeout)
	if err != nil {
		return 0
	}
	return d
}

// ManifestError is one mistake in a manifest.
type ManifestError struct {
	Path   string // such as tasks[0].options[1].type; empty: the document
	Reason string
	Hint   string // what to write; may be empty
}

// Error reads "manifest: path: reason; hint".
func (e *ManifestError) Error() string {
	return "manifest: " + problem{e.Path, e.Reason, e.Hint}.String()
}

// ParseManifest reads a manifest and validates it. All mistakes are told at
// once, joined, each a *ManifestError.
func ParseManifest(data []byte) (*Manifest, error) {
	if len(data) > MaxManifest {
		return nil, &ManifestError{Reason: fmt.Sprintf("it has %d bytes", len(data)), Hint: fmt.Sprintf("at most %d are taken", MaxManifest)}
	}
	m := new(Manifest)
	ps := decode(data, m, maxProblems)
	wrong := map[string]bool{}
	for _, p := range ps {
		if p.path == "" {
			return nil, joined(ps)
		}
		wrong[p.path] = true
	}
	for _, p := range m.problems() {
		if !within(p.path, wrong) && len(ps) < maxProblems {
			ps = append(ps, p)
		}
	}
	if len(ps) > 0 {
		return nil, joined(ps)
	}
	for i := range m.Tasks {
		for j := range m.Tasks[i].Options {
			o := &m.Tasks[i].Options[j]
			o.Default, _ = o.literal()
		}
	}
	return m, nil
}

// Validate finds all mistakes that are not of form, joined, each a
// *ManifestError.
func (m *Manifest) Validate() error { return joined(m.problems()) }

// Encode gives the JSON that ParseManifest reads.
func (m *Manifest) Encode() []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(m); err != nil {
		panic("abi: manifest: " + err.Error()) // a default that is no JSON: a mistake of the caller
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

// Task gives the task with this key, nil when there is none.
func (m *Manifest) Task(key string) *ManifestTask {
	for i := range m.Tasks {
		if m.Tasks[i].Key == key {
			return &m.Tasks[i]
		}
	}
	return nil
}

// Uses reports whether the task with this key asks for op, by name or by
// group.*. Ops that need no mention are always asked for.
func (m *Manifest) Uses(key, op string) bool {
	t := m.Task(key)
	if t == nil {
		return false
	}
	if o := opsByName[op]; o != nil && o.Free {
		return true
	}
	group, _, _ := strings.Cut(op, ".")
	for _, u := range t.Uses {
		if u == op || u == group+".*" {
			return true
		}
	}
	return false
}

func joined(ps []problem) error {
	errs := make([]error, len(ps))
	for i, p := range ps {
		errs[i] = &ManifestError{p.path, p.reason, p.hint}
	}
	return errors.Join(errs...)
}

// within reports whether path, or what holds it, is among the wrong ones.
func within(path string, wrong map[string]bool) bool {
	for p := path; p != ""; {
		if wrong[p] {
			return true
		}
		p = p[:max(strings.LastIndexAny(p, ".["), 0)]
	}
	return false
}

var (
	nameForm    = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.-]{0,254}$`)
	classForm   = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.:-]{0,254}$`)
	libraryForm = regexp.MustCompile(`^[a-z0-9._-]{1,128}$`)
	groupForm   = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.:-]{0,127}$`)
	optionForm  = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,127}$`)
	versionForm = regexp.MustCompile(`^(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)` +
		`(-(0|[1-9][0-9]*|[0-9]*[A-Za-z-][0-9A-Za-z-]*)(\.(0|[1-9][0-9]*|[0-9]*[A-Za-z-][0-9A-Za-z-]*))*)?` +
		`(\+[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)*)?$`)
)

// TaskKey reports whether s may be the entry-point key of a task.
func TaskKey(s string) bool { return nameForm.MatchString(s) }

const wantName = "write a letter or _, then at most 254 letters, digits, _ . or -"

// checker collects problems.
type checker struct{ ps []problem }

func (c *checker) add(path, hint, format string, args ...any) {
	if len(c.ps) < maxProblems {
		c.ps = append(c.ps, problem{path, fmt.Sprintf(format, args...), hint})
	}
}

func (c *checker) form(path string, form *regexp.Regexp, s, hint string) bool {
	if form.MatchString(s) {
		return true
	}
	c.add(path, hint, "%s is not allowed", shown(s))
	return false
}

// prose refuses what could confuse a terminal or fill a page.
func (c *checker) prose(path, s string) {
	if len(s) > maxProse {
		c.add(path, fmt.Sprintf("write at most %d", maxProse), "the text has %d bytes", len(s))
	}
	if strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r >= 0x7f && r < 0xa0 }) {
		c.add(path, "write one line", "the text holds control characters")
	}
}

// shown quotes a string for a message, cut when it is long.
func shown(s string) string {
	const longest = 64
	if len(s) > longest {
		return strconv.Quote(s[:longest]) + "…"
	}
	return strconv.Quote(s)
}

func (m *Manifest) problems() []problem {
	c := &checker{}
	if m.ABI != Version {
		c.add("abi", fmt.Sprintf("write %d", Version), "this host does not speak ABI %d", m.ABI)
	}
	c.form("library", libraryForm, m.Library, "write 1 to 128 lower-case letters, digits, . _ or -")
	if len(m.Version) > 128 || !versionForm.MatchString(m.Version) {
		c.add("version", "write a semantic version such as 1.4.0", "%s is not allowed", shown(m.Version))
	}
	c.prose("summary", m.Summary)
	switch {
	case len(m.Tasks) == 0:
		c.add("tasks", "list at least one", "there is no task")
	case len(m.Tasks) > maxTasks:
		c.add("tasks", fmt.Sprintf("list at most %d", maxTasks), "there are %d tasks", len(m.Tasks))
		return c.ps
	}
	keys := map[string]int{}
	for i := range m.Tasks {
		path := fmt.Sprintf("tasks[%d]", i)
		t := &m.Tasks[i]
		if j, twice := keys[t.Key]; twice {
			c.add(path+".key", "give each task a key of its own", "%s is the key of tasks[%d] too", shown(t.Key), j)
		} else {
			keys[t.Key] = i
		}
		t.check(c, path)
	}
	return c.ps
}

func (t *ManifestTask) check(c *checker, path string) {
	c.form(path+".key", nameForm, t.Key, wantName)
	if t.Class != "" {
		c.form(path+".class", classForm, t.Class, wantName)
	}
	c.prose(path+".summary", t.Summary)

	if len(t.Provides) > maxProvides {
		c.add(path+".provides", fmt.Sprintf("list at most %d", maxProvides), "there are %d names", len(t.Provides))
	}
	first := map[string]string{} // name → where it stands
	for _, list := range []struct {
		field string
		names []string
	}{{"requires", t.Requires}, {"optional", t.Optional}, {"provides", t.Provides}} {
		for i, n := range list.names {
			at := fmt.Sprintf("%s.%s[%d]", path, list.field, i)
			if !c.form(at, nameForm, n, wantName) {
				continue
			}
			if where := first[n]; where != "" {
				c.add(at, "keep one of the two; a value that was read is provided under another name", "%s stands in %s already", shown(n), where)
				continue
			}
			first[n] = at
		}
	}

	for i, u := range t.Uses {
		at := fmt.Sprintf("%s.uses[%d]", path, i)
		if hint, ok := knownUse(u); !ok {
			c.add(at, hint, "there is no op %s", shown(u))
		} else if slices.Index(t.Uses, u) != i {
			c.add(at, "leave one of them out", "%s is listed twice", shown(u))
		}
	}

	t.checkHTTP(c, path)

	options := map[string]bool{}
	for i := range t.Options {
		o := &t.Options[i]
		at := fmt.Sprintf("%s.options[%d]", path, i)
		if id := o.Group + "\n" + o.Name; options[id] {
			c.add(at+".name", "leave one of them out", "option [%s] %s is listed twice", o.Group, o.Name)
		} else {
			options[id] = true
		}
		o.check(c, at)
	}

	switch t.OnInterrupt {
	case "", "rerun", "fail":
	default:
		c.add(path+".on_interrupt", "write rerun or fail", "%s is not allowed", shown(t.OnInterrupt))
	}
	t.Limits.check(c, path+".limits")
}

func (t *ManifestTask) checkHTTP(c *checker, path string) {
	asks := slices.Contains(t.Uses, OpHTTPRequest) || slices.Contains(t.Uses, "http.*")
	switch {
	case len(t.HTTP) > maxHTTPRules:
		c.add(path+".http", fmt.Sprintf("list at most %d", maxHTTPRules), "there are %d rules", len(t.HTTP))
		return
	case len(t.HTTP) > 0 && !asks:
		c.add(path+".uses", "add "+OpHTTPRequest, "the task lists requests under http and does not use %s", OpHTTPRequest)
	case len(t.HTTP) == 0 && asks:
		c.add(path+".http", "list the requests, such as POST https://tickets.example.com/v1/*", "the task uses %s and lists no request", OpHTTPRequest)
	}
	first := map[HTTPRule]int{}
	for i, s := range t.HTTP {
		at := fmt.Sprintf("%s.http[%d]", path, i)
		r, err := parseHTTPRule(s)
		if err != nil {
			c.add(at, "write a method and a URL, such as POST https://tickets.example.com/v1/*", "%s: %s", shown(s), err)
			continue
		}
		if j, twice := first[r]; twice {
			c.add(at, "leave one of them out", "%s is http[%d] already", r, j)
			continue
		}
		first[r] = i
	}
}

// knownUse reports whether u is an op, or group.* of a group that has ops; if
// not, it says what could have been meant.
func knownUse(u string) (hint string, ok bool) {
	var known []string
	for _, o := range ops {
		if group := o.Group() + ".*"; !slices.Contains(known, group) {
			known = append(known, group)
		}
		known = append(known, o.Name)
	}
	if slices.Contains(known, u) {
		return "", true
	}
	if u == Log || u == SetProgress {
		return "leave it out: log and progress need no mention", false
	}
	if hint = meant(u, known); hint == "" {
		hint = "write an op such as " + OpNovaServerList + ", or a group such as kv.*"
	}
	return hint, false
}

func (o *ManifestOption) check(c *checker, path string) {
	c.form(path+".group", groupForm, o.Group, "write the name of a section: a letter or _, then at most 127 letters, digits, _ . : or -")
	c.form(path+".name", optionForm, o.Name, "write a letter or _, then at most 127 letters, digits or _")
	c.prose(path+".help", o.Help)
	number := o.Type == "int" || o.Type == "seconds" || o.Type == "int_or_auto"
	switch o.Type {
	case "string", "bool", "int", "float", "list", "host", "uri", "seconds", "int_or_auto":
	default:
		c.add(path+".type", "write string, bool, int, float, list, host, uri, seconds or int_or_auto", "%s is no type", shown(o.Type))
		return
	}
	if len(o.Choices) > 0 && o.Type != "string" {
		c.add(path+".choices", "leave it out, or make the type string", "an option of type %s has no choices", o.Type)
	}
	if (o.Min != nil || o.Max != nil) && !number {
		at := path + ".min"
		if o.Min == nil {
			at = path + ".max"
		}
		c.add(at, "leave it out, or make the type int or seconds", "an option of type %s has no bounds", o.Type)
	}
	if o.Min != nil && o.Max != nil && *o.Min > *o.Max {
		c.add(path+".min", "write a min that is not above max", "min %d is above max %d", *o.Min, *o.Max)
	}
	if o.Secret && o.Type != "string" {
		c.add(path+".type", "write string", "a secret option is a string")
	}
	for i, choice := range o.Choices {
		c.prose(fmt.Sprintf("%s.choices[%d]", path, i), choice)
	}
	if o.Default == nil {
		return
	}
	if s, ok := o.Default.(string); ok && !o.Secret {
		c.prose(path+".default", s)
	}
	switch _, reason := o.literal(); {
	case o.Secret:
		// The value is left out of the message, secret that it may be.
		c.add(path+".default", "leave it out; the operator sets it", "a secret option has no default")
	case o.Required:
		c.add(path+".default", "leave out default or required", "a required option has no default")
	case reason != "":
		c.add(path+".default", "write a literal of type "+o.Type, "%s", reason)
	}
}

// literal gives the default as the Go type that the option delivers, or what
// is wrong with it.
func (o *ManifestOption) literal() (any, string) {
	if o.Default == nil {
		return nil, ""
	}
	reason := "the default is no " + o.Type
	switch o.Type {
	case "bool":
		if b, ok := o.Default.(bool); ok {
			return b, ""
		}
	case "int", "seconds", "int_or_auto":
		if s, ok := o.Default.(string); ok && o.Type == "int_or_auto" && s == "auto" {
			return s, ""
		}
		n, ok := integer(o.Default)
		switch {
		case !ok:
		case o.Min != nil && n < *o.Min, o.Max != nil && n > *o.Max:
			return nil, fmt.Sprintf("the default %d is out of bounds", n)
		default:
			return n, ""
		}
	case "float":
		if f, ok := o.Default.(float64); ok && !math.IsInf(f, 0) && !math.IsNaN(f) {
			return f, ""
		}
		if n, ok := integer(o.Default); ok {
			return float64(n), ""
		}
	case "list":
		switch l := o.Default.(type) {
		case []string:
			return l, ""
		case []any:
			list := make([]string, len(l))
			for i, v := range l {
				s, ok := v.(string)
				if !ok {
					return nil, reason + " of strings"
				}
				list[i] = s
			}
			return list, ""
		}
	default:
		s, ok := o.Default.(string)
		switch {
		case !ok:
		case len(o.Choices) > 0 && !slices.Contains(o.Choices, s):
			return nil, "the default is none of the choices"
		default:
			return s, ""
		}
	}
	return nil, reason
}

// integer takes whole numbers as JSON, YAML and Go deliver them. JSON numbers
// beyond 2^53 have lost digits already and are refused.
func integer(v any) (int64, bool) {
	switch n := v.(type) {
	case int:
		return int64(n), true
	case int64:
		return n, true
	case uint64:
		return int64(n), n <= math.MaxInt64 //nolint:gosec // the second result says whether it fits
	case float64:
		return int64(n), n == math.Trunc(n) && math.Abs(n) <= 1<<53
	}
	return 0, false
}

func (l ManifestLimits) check(c *checker, path string) {
	const mostMiB = 4096 // what a 32-bit memory can hold
	if l.MemoryMiB < 0 || l.MemoryMiB > mostMiB {
		c.add(path+".memory_mib", fmt.Sprintf("write 1 to %d", mostMiB), "%d is out of bounds", l.MemoryMiB)
	}
	if l.Timeout != "" {
		if d, err := time.ParseDuration(l.Timeout); err != nil || d <= 0 {
			c.add(path+".timeout", "write a time above 0 with its unit, such as 30s, 5m or 1h30m", "%s is not allowed", shown(l.Timeout))
		}
	}
	if l.CPU < 0 || l.CPU > 1<<53 || l.CPU != math.Trunc(l.CPU) {
		c.add(path+".cpu", "write a whole number of units from 1 to 9e15, such as 5e9", "%g is not allowed", l.CPU)
	}
}
