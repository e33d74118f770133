package config

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/wasakari/wasakari/recovery"
)

// hidden stands in the place of what must not be shown.
const hidden = "****"

// Setting is the value that an option has, fit to be shown.
type Setting struct {
	Group, Name string
	Type        recovery.OptionType
	// Value is a string, bool, int64 (int, seconds), float64, []string (list,
	// multi) or recovery.Flow; nil when the option is unset. A secret, and a
	// value made of one, is "****"; so is what stands before the @ of a URL.
	// Of an option without effect it is the text as it was written.
	Value any
	// Places says where the value was written: one place, of a multi-valued
	// option one for each value, of an unset option none.
	Places []recovery.Position
	// Default is true when the value is the default, whether or not somebody
	// wrote it.
	Default bool
	// Missing is true when a task requires the option and it is not set.
	Missing bool
	// Secret is true when the value must not be shown.
	Secret bool
	// NoEffect is true when nothing here reads the option.
	NoEffect bool
	// Tasks are the keys of the tasks that read it.
	Tasks []string
}

// Text prints the value on one line.
func (s Setting) Text() string {
	switch v := s.Value.(type) {
	case nil:
		return "(unset)"
	case string:
		return shownText(v)
	case []string:
		if len(v) == 0 {
			return "(empty)"
		}
		items := make([]string, len(v))
		for i, item := range v {
			items[i] = shownText(item)
		}
		return strings.Join(items, ", ")
	case recovery.Flow:
		return operatorsFlow(v)
	}
	return fmt.Sprint(s.Value)
}

// shownText quotes a text that could not be told from what is around it, or
// could upset a terminal.
func shownText(s string) string {
	odd := func(r rune) bool { return !unicode.IsGraphic(r) }
	if s == "" || strings.TrimFunc(s, isSpace) != s || strings.ContainsFunc(s, odd) || s[0] == '"' {
		return strconv.Quote(s)
	}
	return s
}

// Effective lists the value of every option that is known, of those that tasks
// declare, and of sections [grants], [limits], [libraries], [secrets], [tenant_flows] and
// [flows:…]: the table's first, in its order. An option
// that two tasks describe differently stands once for each description. All
// values that are not of their option's type are told at once, each a
// *recovery.ConfigError; only those of tasks can be.
func (c *Config) Effective(tasks ...recovery.Task) ([]Setting, error) {
	entries, errs := describe(tasks)
	extra := map[key]recovery.OptionSpec{}
	for _, e := range entries {
		if len(e.tasks) > 0 {
			extra[e.key()] = e.OptionSpec
		}
	}
	var out []Setting
	for _, e := range entries {
		s, err := c.setting(e, extra)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		out = append(out, s)
	}
	if len(errs) > 0 {
		return nil, join(errs)
	}
	for _, a := range c.lines(grantsGroup) {
		out = append(out, line(a, grantsGroup, c.grants[a.name].Items()))
	}
	for _, a := range c.lines(limitsGroup) {
		items := []string{}
		for _, l := range c.limits[a.name] {
			items = append(items, l.text)
		}
		out = append(out, line(a, limitsGroup, items))
	}
	for _, a := range c.lines(librariesGroup) {
		r := c.libraries[a.name]
		_, pins, _ := strings.Cut(r.String(), "=")
		out = append(out, line(a, librariesGroup, splitList(pins)))
	}
	for _, a := range c.lines(signaturesGroup) {
		out = append(out, line(a, signaturesGroup, c.signatureItems(a)))
	}
	for _, a := range c.lines(secretsGroup) {
		k, _ := secretName(a.name)
		_, where, _ := strings.Cut(c.bindings[k].String(), " = ")
		out = append(out, line(a, secretsGroup, []string{where}))
	}
	return append(out, c.flowSettings()...), nil
}

// line is a setting of a section whose names are not those of options.
func line(a assignment, group string, value []string) Setting {
	return Setting{
		Group: group, Name: a.name, Type: recovery.ListOption, Value: value, Places: []recovery.Position{a.value.start()},
	}
}

func (c *Config) setting(e *entry, extra map[key]recovery.OptionSpec) (Setting, *recovery.ConfigError) {
	e.Secret = e.Secret || c.bound(e.key())
	s := Setting{
		Group: e.Group, Name: e.Name, Type: e.Type, Secret: e.Secret, Tasks: slices.Clone(e.tasks),
		NoEffect: e.noEffect(),
	}
	for _, a := range c.all(e.key()) {
		if e.Type != recovery.MultiOption {
			s.Places = nil
		}
		s.Places = append(s.Places, a.value.start())
	}
	if e.unread {
		s.Value, s.Default = e.Default, true
		if a, set := c.lookup(e.key()); set {
			s.Value, s.Default = a.value.s, false
			// Who knows what is in there: a URL with a password, perhaps.
			s.Secret = s.Secret || strings.Contains(a.value.s, "@")
		}
		s.Value = mask(s.Value, s.Secret)
		return s, nil
	}
	v, t, set, err := (&reader{c: c, extra: extra}).read(e.OptionSpec)
	if err != nil {
		return s, err
	}
	s.Default = !set || same(v, e.Default)
	if a, set := c.lookup(e.key()); set && defaultRefers(e.OptionSpec) {
		s.Default = a.value.s == e.Default
	}
	s.Missing = e.required && (v == nil || !set)
	s.Secret = s.Secret || t.secret
	s.Value = mask(v, s.Secret)
	return s, nil
}

// same reports whether two values are equal, wherever they were written.
func same(a, b any) bool {
	if f, ok := a.(recovery.Flow); ok {
		g, ok := b.(recovery.Flow)
		return ok && operatorsFlow(f) == operatorsFlow(g)
	}
	return reflect.DeepEqual(a, b)
}

// mask hides what must not be shown. That a secret is unset or empty may be.
func mask(v any, secret bool) any {
	switch v := v.(type) {
	case nil:
		return nil
	case string:
		if secret {
			return Secret(v).String()
		}
		return maskUser(v)
	case []string:
		if secret {
			break
		}
		items := make([]string, len(v))
		for i, item := range v {
			items[i] = maskUser(item)
		}
		return items
	}
	if secret {
		return hidden
	}
	return v
}

// maskUser hides user and password of a URL, or of what looks like one.
func maskUser(s string) string {
	at := strings.LastIndexByte(s, '@')
	if at < 0 {
		return s
	}
	from := 0
	if i := strings.Index(s[:at], "://"); i >= 0 {
		from = i + len("://")
	} else if !strings.Contains(s[:at], ":") {
		return s // a mail address
	}
	return s[:from] + hidden + s[at:]
}

// entry is one description of an option, and the tasks that give it.
type entry struct {
	option
	required         bool // by a task that has no default for it
	tasks, libraries []string
}

func (e *entry) key() key { return key{groupKey(e.Group), e.Name} }

// noEffect holds for an option that nothing reads: a task may read one that
// is otherwise without effect.
func (e *entry) noEffect() bool { return len(e.tasks) == 0 && e.unread }

// ofService holds for an option that only the service reads.
func (e *entry) ofService() bool { return len(e.tasks) == 0 && e.service }

// describe lists the options of the table and those of tasks. What several
// describe in the same way is one entry.
func describe(tasks []recovery.Task) ([]*entry, []*recovery.ConfigError) {
	var entries []*entry
	byKey := map[key][]*entry{}
	add := func(e *entry) {
		entries = append(entries, e)
		byKey[e.key()] = append(byKey[e.key()], e)
	}
	for _, o := range table {
		add(&entry{option: o})
	}
	var errs []*recovery.ConfigError
	for _, t := range tasks {
		for _, raw := range t.Options {
			o, err := ofTask(raw)
			if err != nil {
				err.Reason = fmt.Sprintf("task %s: %s", t.Key, err.Reason)
				errs = append(errs, err)
				continue
			}
			k := key{groupKey(o.Group), o.Name}
			i := slices.IndexFunc(byKey[k], func(e *entry) bool { return alike(e.OptionSpec, o) })
			if i < 0 {
				i = len(byKey[k])
				add(&entry{option: option{OptionSpec: o}})
			}
			e := byKey[k][i]
			if e.unread && o.Help != "" {
				e.Help = o.Help // the table's says that it has no effect
			}
			e.unread = false
			e.required = e.required || o.Required && raw.Default == nil
			if !slices.Contains(e.tasks, t.Key) {
				e.tasks = append(e.tasks, t.Key)
			}
			if !slices.Contains(e.libraries, t.Library) {
				e.libraries = append(e.libraries, t.Library)
			}
			for _, e := range byKey[k] { // for one a secret, for all a secret
				e.Secret = e.Secret || o.Secret || byKey[k][0].Secret
			}
		}
	}
	return entries, errs
}

// alike reports whether two describe an option in the same way.
func alike(a, b recovery.OptionSpec) bool {
	limit := func(p *int64) string {
		if p == nil {
			return ""
		}
		return strconv.FormatInt(*p, 10)
	}
	return a.Type == b.Type && reflect.DeepEqual(a.Default, b.Default) && slices.Equal(a.Choices, b.Choices) &&
		limit(a.Min) == limit(b.Min) && limit(a.Max) == limit(b.Max)
}

// operatorsFlow prints a flow in the form that Masakari takes as well.
func operatorsFlow(f recovery.Flow) string {
	var phases []string
	for _, ph := range recovery.Phases() {
		var names []string
		for _, t := range f.Tasks(ph) {
			names = append(names, "'"+t.Key+"'")
		}
		phases = append(phases, fmt.Sprintf("%s:[%s]", ph, strings.Join(names, ",")))
	}
	return strings.Join(phases, ",")
}
