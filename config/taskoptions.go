package config

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/wasakari/wasakari/recovery"
)

// TaskOptions reads the options of tasks: for each section and name the value
// of the type that specs want, as string, bool, int64 (int, seconds), int64 or
// string (int_or_auto), float64 or []string. An option that is unset and has no default is left out. The
// default of an option that is also Masakari's own is Masakari's unless specs
// give one. Defaults of specs are taken literally; references in them are not
// resolved. A secret is a recovery.Secret that has a name only: see Secrets. A
// value that is made of a secret, of an option that is none, is a mistake.
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
	o.Secret = o.Secret || c.bound(key{groupKey(o.Group), o.Name})
	r := &reader{c: c, extra: maps.Clone(extra)}
	r.extra[key{groupKey(o.Group), o.Name}] = o
	v, t, set, cerr := r.read(o)
	switch {
	case cerr != nil:
		return nil, cerr
	case r.sawSecret && !o.Secret:
		return nil, &recovery.ConfigError{
			Pos: t.pos(0), Reason: "option " + title(o) + " is made of the value of a secret, which no task may see",
			Hint: "a task has secrets as options of its own that its manifest calls secret",
		}
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
	case o.Secret && set && v != nil:
		return recovery.Secret{Name: o.Group + "." + o.Name}, nil
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
