package config

import (
	"fmt"
	"slices"
	"strings"

	"github.com/wasakari/wasakari/recovery"
)

// Bounds on references: how deep they may lead, how many may be followed for
// one option, how long the result may be.
const (
	maxDepth  = 16
	maxSteps  = 10000
	maxResult = 1 << 20
)

// key names an option: its group in the form of groupKey, and its name.
type key struct{ group, name string }

// reader reads one option and whatever its value refers to.
type reader struct {
	c *Config
	// extra are options besides those of the table: the tasks'.
	extra map[key]recovery.OptionSpec
	stack []key
	steps int
	// sawSecret is true when a reference led to an option that is known to be
	// a secret, not only to one of which nobody knows.
	sawSecret bool
}

// spec finds the description of an option. One that is set but described
// nowhere counts as a string; it may be secret, but for a building block of
// flows.
func (r *reader) spec(k key) (recovery.OptionSpec, bool) {
	if o, ok := r.extra[k]; ok {
		return o, true
	}
	if o, ok := known[k]; ok {
		return o.OptionSpec, true
	}
	if _, ok := r.c.lookup(k); ok {
		return recovery.OptionSpec{Group: k.group, Name: k.name, Type: recovery.StringOption, Secret: !flowGroup(k.group)}, true
	}
	return recovery.OptionSpec{}, false
}

// knownSecret reports whether an option is said to be a secret, by its
// description or by a line in [secrets].
func (r *reader) knownSecret(k key, o recovery.OptionSpec) bool {
	_, ours := known[k]
	_, tasks := r.extra[k]
	return r.c.bound(k) || o.Secret && (ours || tasks)
}

// read gives the value of o with its references resolved, the text it was made
// of, and whether the operator set it.
func (r *reader) read(o recovery.OptionSpec) (v any, t text, set bool, err *recovery.ConfigError) {
	k := key{groupKey(o.Group), o.Name}
	a, set := r.c.lookup(k)
	if !set {
		if !defaultRefers(o) {
			return o.Default, text{secret: o.Secret}, false, nil
		}
		t = text{s: display(o.Default), file: "default of " + title(o)}
	} else {
		t = a.value
	}
	t.secret = t.secret || o.Secret
	r.stack = append(r.stack, k)
	defer func() { r.stack = r.stack[:len(r.stack)-1] }()
	if o.Type == recovery.MultiOption {
		v, hide, err := r.readAll(o, k)
		t.secret = t.secret || hide
		return v, t, set, err
	}
	if t, err = r.substitute(o, t); err != nil {
		return nil, t, set, err
	}
	if o.Type == recovery.FlowOption {
		kind, _ := recovery.ParseFlowKind(o.Name)
		name := o.Name
		if o.Group != recovery.FlowSection {
			name = title(o)
		}
		f, errs := parseFlow(kind, name, t)
		if len(errs) > 0 {
			return nil, t, set, maskFlow(o, t, errs[0])
		}
		return f, t, set, nil
	}
	v, err = convert(o, t)
	if err == nil && v == nil {
		v = o.Default // an empty number
	}
	return v, t, set, err
}

// defaultRefers reports whether the default of an option refers to another
// one. Only those of the table can: the defaults of tasks are taken literally.
func defaultRefers(o recovery.OptionSpec) bool {
	s, ok := o.Default.(string)
	_, ours := known[key{groupKey(o.Group), o.Name}]
	return ok && ours && strings.Contains(s, "$")
}

// readAll reads a multi-valued option: all values of the strongest kind of
// source that sets it, and whether one of them must not be shown.
func (r *reader) readAll(o recovery.OptionSpec, k key) (out []string, hide bool, err *recovery.ConfigError) {
	for _, a := range r.c.all(k) {
		a.value.secret = o.Secret
		t, err := r.substitute(o, a.value)
		if err != nil {
			return nil, hide, err
		}
		hide = hide || t.secret
		out = append(out, t.s)
	}
	return out, hide, nil
}

// substitute puts values in the places of $name, ${name}, $section.name and
// ${section.name}; $$ and \$ give a dollar sign. A dollar sign before anything
// else stays.
func (r *reader) substitute(o recovery.OptionSpec, t text) (text, *recovery.ConfigError) {
	if !strings.Contains(t.s, "$") {
		return t, nil
	}
	t.s = strings.ReplaceAll(t.s, `\$`, "$$") // of the same length: places stay
	out := textBuilder{}
	secret := t.secret
	done := 0
	for i := 0; i < len(t.s); {
		if t.s[i] != '$' {
			i++
			continue
		}
		if strings.HasPrefix(t.s[i:], "$$") {
			out.add(t, done, i+1)
			i += 2
			done = i
			continue
		}
		ref, n := reference(t.s[i:])
		if n == 0 {
			i++
			continue
		}
		out.add(t, done, i)
		s, hide, err := r.resolve(o, t, i, ref)
		if err != nil {
			return t, err
		}
		secret = secret || hide
		out.insert(s, t.pos(i))
		if out.b.Len() > maxResult {
			return t, &recovery.ConfigError{Pos: t.pos(i), Reason: fmt.Sprintf("option %s: the value is longer than %d bytes when its references are resolved", title(o), maxResult)}
		}
		i += n
		done = i
	}
	out.add(t, done, len(t.s))
	out.end(t.pos(len(t.s)))
	return text{s: out.b.String(), file: t.file, segs: out.segs, secret: secret}, nil
}

// reference reads the reference at the beginning of s and says how long it is;
// 0 when there is none.
func reference(s string) (name string, n int) {
	body := s[1:]
	braced := strings.HasPrefix(body, "{")
	if braced {
		body = body[1:]
	}
	end := 0
	for end < len(body) {
		c := body[end]
		letter := c == '_' || 'a' <= c|0x20 && c|0x20 <= 'z'
		if !letter && (end == 0 || c != '.' && (c < '0' || c > '9')) {
			break
		}
		end++
	}
	switch {
	case end == 0:
		return "", 0
	case !braced:
		return body[:end], 1 + end
	case end < len(body) && body[end] == '}':
		return body[:end], end + 3
	}
	return "", 0
}

// resolve gives what stands for the reference ref at byte i of the value t of
// option o, and whether that must not be shown.
func (r *reader) resolve(o recovery.OptionSpec, t text, i int, ref string) (string, bool, *recovery.ConfigError) {
	fail := func(reason, hint string) (string, bool, *recovery.ConfigError) {
		what := "option " + title(o)
		if len(r.stack) > 1 {
			first := r.stack[0]
			what += fmt.Sprintf(" (read for [%s] %s)", first.group, first.name)
		}
		return "", false, &recovery.ConfigError{Pos: t.pos(i), Reason: what + ": " + reason, Hint: hint}
	}
	// What follows the dollar sign may be a part of a password.
	name := "$" + ref
	if t.secret {
		name = "a reference after '$'"
	}
	const literal = "write $$ for a dollar sign"
	tries := []key{{groupKey(o.Group), ref}, {defaultGroup, ref}}
	where := fmt.Sprintf("there is no option %s in [%s] or [DEFAULT]", quote(ref), o.Group)
	if groupKey(o.Group) == defaultGroup {
		where = fmt.Sprintf("there is no option %s in [DEFAULT]", quote(ref))
	}
	if g, n, ok := strings.Cut(ref, "."); ok {
		tries = []key{{groupKey(g), n}, {defaultGroup, ref}}
		where = fmt.Sprintf("there is no option %s in [%s]", quote(n), g)
	}
	for _, k := range tries {
		spec, ok := r.spec(k)
		if !ok {
			continue
		}
		if slices.Contains(r.stack, k) {
			return fail(name+" leads back to "+title(spec), literal)
		}
		if len(r.stack) >= maxDepth {
			return fail(fmt.Sprintf("references lead more than %d deep", maxDepth), "")
		}
		if r.steps++; r.steps > maxSteps {
			return fail(fmt.Sprintf("more than %d references", maxSteps), "")
		}
		r.sawSecret = r.sawSecret || r.knownSecret(k, spec)
		v, vt, _, err := r.read(spec)
		if err != nil {
			return "", false, err
		}
		return display(v), vt.secret, nil
	}
	if t.secret {
		return fail("unknown reference after '$'", literal)
	}
	hint := where + "; " + literal
	if near, ok := Nearest(ref, r.c.optionNames(groupKey(o.Group))); ok {
		hint = fmt.Sprintf("did you mean $%s? %s", near, hint)
	}
	return fail("unknown reference "+name, hint)
}

// maskFlow hides the texts of an error when the flow refers to a secret.
func maskFlow(o recovery.OptionSpec, t text, err *recovery.ConfigError) *recovery.ConfigError {
	if !t.secret {
		return err
	}
	return &recovery.ConfigError{Pos: err.Pos, Reason: "option " + title(o) + ": not a flow", Hint: "it refers to an option that may not be shown"}
}
