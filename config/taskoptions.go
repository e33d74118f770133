package config

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"

	"github.com/wasakari/wasakari/recovery"
)

// TaskOptions reads the options of tasks: for each section and name the value
// of the type that specs want, as string, bool, int64 (int, seconds), int64 or
// string (int_or_auto), float64 or []string. An option that is unset and has no default is left out. The
// default of an option that is also Masakari's own is Masakari's unless specs
// give one. Defaults of specs are taken literally; references in them are not
// resolved.
//
// All mistakes are told at once, each a *recovery.ConfigError; the value of a
// secret option is never shown.
func (c *Config) TaskOptions(specs []recovery.OptionSpec) (map[string]map[string]any, error) {
	extra := map[key]recovery.OptionSpec{}
	for _, o := range specs {
		extra[key{groupKey(o.Group), o.Name}] = o
	}
	out := map[string]map[string]any{}
	var errs []*recovery.ConfigError
	for _, o := range specs {
		v, err := c.taskOption(o, extra)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if v == nil {
			continue
		}
		if out[o.Group] == nil {
			out[o.Group] = map[string]any{}
		}
		out[o.Group][o.Name] = v
	}
	if len(errs) > 0 {
		return nil, join(errs)
	}
	return out, nil
}

func (c *Config) taskOption(o recovery.OptionSpec, extra map[key]recovery.OptionSpec) (any, *recovery.ConfigError) {
	own := o.Default != nil
	o, cerr := ofTask(o)
	if cerr != nil {
		return nil, cerr
	}
	r := &reader{c: c, extra: maps.Clone(extra)}
	r.extra[key{groupKey(o.Group), o.Name}] = o
	v, t, set, cerr := r.read(o)
	switch {
	case cerr != nil:
		return nil, cerr
	case o.Required && (v == nil || !set && !own):
		e := &recovery.ConfigError{Pos: t.pos(0), Reason: "option " + title(o) + " is required"}
		if o.Help != "" {
			e.Reason += ": " + o.Help
		}
		e.Hint = fmt.Sprintf("write %s = … below [%s]", o.Name, o.Group)
		if !set {
			e.Pos = recovery.Position{}
		}
		return nil, e
	}
	return v, nil
}

// ofTask completes what a task says of an option: its default has the type of
// the option, and an option that is also Masakari's own has Masakari's default
// unless the task gives one, and is a secret when it is one there.
func ofTask(o recovery.OptionSpec) (recovery.OptionSpec, *recovery.ConfigError) {
	def, err := literal(o)
	if err != nil {
		return o, &recovery.ConfigError{Reason: fmt.Sprintf("option %s: %v", title(o), err), Hint: "mend the manifest of the task"}
	}
	o.Default = def
	if ours, ok := known[key{groupKey(o.Group), o.Name}]; ok {
		o.Secret = o.Secret || ours.Secret
		if def == nil {
			o.Default = ours.Default
		}
	}
	return o, nil
}

// literal brings the default of a task's option, as JSON or Go delivers it, to
// the type of the option.
func literal(o recovery.OptionSpec) (any, error) {
	bad := fmt.Errorf("the default is no %s", o.Type)
	switch o.Type {
	case recovery.FlowOption, recovery.MultiOption:
		return nil, fmt.Errorf("a task's option cannot be of type %s", o.Type)
	case recovery.StringOption, recovery.BoolOption, recovery.IntOption, recovery.SecondsOption, recovery.IntOrAutoOption,
		recovery.FloatOption, recovery.ListOption, recovery.HostOption, recovery.URIOption:
	default:
		return nil, fmt.Errorf("unknown type %q", o.Type)
	}
	if o.Default == nil {
		return nil, nil
	}
	switch o.Type {
	case recovery.BoolOption:
		if b, ok := o.Default.(bool); ok {
			return b, nil
		}
	case recovery.IntOption, recovery.SecondsOption, recovery.IntOrAutoOption:
		var n int64
		switch d := o.Default.(type) {
		case string:
			if o.Type != recovery.IntOrAutoOption || d != recovery.AutoValue {
				return nil, bad
			}
			return d, nil
		case int64:
			n = d
		case int:
			n = int64(d)
		case uint64:
			if d > math.MaxInt64 {
				return nil, bad
			}
			n = int64(d)
		case float64:
			if d != math.Trunc(d) || math.Abs(d) > 1<<53 {
				return nil, bad
			}
			n = int64(d)
		default:
			return nil, bad
		}
		if want := checkInt(o, n); want != "" {
			return nil, errors.New("the default is not " + want)
		}
		return n, nil
	case recovery.FloatOption:
		switch d := o.Default.(type) {
		case float64:
			return d, nil
		case int64:
			return float64(d), nil
		case int:
			return float64(d), nil
		case uint64:
			return float64(d), nil
		}
	case recovery.ListOption:
		switch d := o.Default.(type) {
		case []string:
			return slices.Clone(d), nil
		case []any:
			list := make([]string, len(d))
			for i, v := range d {
				s, ok := v.(string)
				if !ok {
					return nil, bad
				}
				list[i] = s
			}
			return list, nil
		}
	default:
		if s, ok := o.Default.(string); ok {
			if _, err := convert(o, text{s: s}); err != nil {
				return nil, bad
			}
			return s, nil
		}
	}
	return nil, bad
}

// grant is one item of a line of section [grants], and its place.
type grant struct {
	what string
	pos  recovery.Position
}

// grantForm is an op, a group of ops, or a word with an argument such as
// provides:NAME.
var grantForm = regexp.MustCompile(`^([a-z][a-z0-9_]*\.([a-z][a-z0-9_]*|\*)|[a-z][a-z_]*:\S+)$`)

// libraryForm is the name of a library, as in a manifest.
var libraryForm = regexp.MustCompile(`^[a-z0-9._-]{1,128}$`)

// Grants gives what section [grants] grants: for each library its ops
// (group.verb), groups of ops (group.*) and words such as provides:NAME or
// options:GROUP, in the order in which they were written.
func (c *Config) Grants() map[string][]string {
	out := map[string][]string{}
	for lib, gs := range c.grants {
		out[lib] = []string{}
		for _, g := range gs {
			out[lib] = append(out[lib], g.what)
		}
	}
	return out
}

// GrantPos gives the place where something was granted to a library.
func (c *Config) GrantPos(library, what string) recovery.Position {
	for _, g := range c.grants[library] {
		if g.what == what {
			return g.pos
		}
	}
	return recovery.Position{}
}

func (c *Config) readGrants() []*recovery.ConfigError {
	var errs []*recovery.ConfigError
	c.grants = map[string][]grant{}
	for _, first := range c.assignments {
		if first.group != grantsGroup {
			continue
		}
		if _, done := c.grants[first.name]; done {
			continue
		}
		a, _ := c.lookup(key{grantsGroup, first.name})
		c.grants[a.name] = []grant{}
		if !libraryForm.MatchString(a.name) {
			errs = append(errs, &recovery.ConfigError{
				Pos: a.namePos, Reason: fmt.Sprintf("option [%s] %s: not the name of a library", a.section, quote(a.name)),
				Hint: "a library has lower-case letters, digits and . _ -",
			})
			continue
		}
		o := recovery.OptionSpec{Group: grantsGroup, Name: a.name, Type: recovery.ListOption}
		t, err := (&reader{c: c}).substitute(o, a.value)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		for off, what := range listItems(t.s) {
			if !grantForm.MatchString(what) {
				errs = append(errs, wrong(o, text{s: what, file: t.file, segs: []seg{seg1(t, off)}}, "a grant: an op such as nova.server_list, a group such as kv.*, provides:NAME or options:GROUP"))
				continue
			}
			c.grants[a.name] = append(c.grants[a.name], grant{what, t.pos(off)})
		}
	}
	return errs
}

// seg1 is the place of byte off of t.
func seg1(t text, off int) seg {
	p := t.pos(off)
	return seg{line: p.Line, col: p.Col}
}
