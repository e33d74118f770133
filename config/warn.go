package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/wasakari/wasakari/recovery"
)

// Warning is something that the operator should know but that stops nothing.
type Warning struct {
	Pos     recovery.Position
	Message string
	// Unknown is true when there is no such option or section.
	Unknown bool
}

// String gives place and message.
func (w Warning) String() string { return w.Pos.String() + ": " + w.Message }

func (c *Config) warn(p recovery.Position, msg string) {
	c.warnings = append(c.warnings, Warning{Pos: p, Message: msg})
}

// Warnings lists what is doubtful: options that are known in no section or in
// another one, sections whose name is close to a known one, options without
// effect, options that became a part of the value above them. The options of
// tasks, given as extra, count as known, and so do their sections. Unknown
// sections are otherwise left alone, as are unknown options in the sections of
// OpenStack's libraries. No value is shown.
func (c *Config) Warnings(extra ...recovery.OptionSpec) []Warning {
	names := map[string][]string{} // by group
	sections := map[string]bool{}
	for _, g := range lineGroups {
		sections[g] = true
	}
	for _, o := range table {
		g := groupKey(o.Group)
		names[g] = append(names[g], o.Name)
		sections[g] = true
	}
	for _, g := range libraryGroups {
		sections[g] = true
	}
	for _, o := range extra {
		g := groupKey(o.Group)
		names[g] = append(names[g], o.Name)
		sections[g] = true
	}
	knownSections := slices.Sorted(maps.Keys(sections))
	for _, a := range c.assignments {
		if strings.HasPrefix(a.group, flowsWord) {
			sections[a.group], names[a.group] = true, names[recovery.FlowSection]
		}
	}

	w := slices.Clone(c.warnings)
	told := map[string]bool{}
	for _, h := range c.headers {
		g := groupKey(h.name)
		if sections[g] || libraryGroup(g) || told[g] || strings.HasPrefix(g, flowsWord) {
			continue
		}
		told[g] = true
		if word, id, ok := strings.Cut(g, ":"); ok && segmentForm.MatchString(strings.TrimFunc(id, isSpace)) {
			w = append(w, Warning{Unknown: true, Pos: h.pos, Message: fmt.Sprintf("unknown section [%s], ignored; [%s%s] is for the flows of a segment, not [%s:…]", h.name, flowsWord, strings.TrimFunc(id, isSpace), word)})
		} else if near, ok := Nearest(h.name, knownSections); ok {
			w = append(w, Warning{Unknown: true, Pos: h.pos, Message: fmt.Sprintf("unknown section [%s], ignored; did you mean [%s]?", h.name, near)})
		}
	}
	done := map[key]bool{}
	for _, a := range c.assignments {
		k := key{a.group, a.name}
		if o, ok := known[k]; ok && o.deprecated != "" && !done[k] {
			done[k] = true
			w = append(w, Warning{Pos: a.namePos, Message: fmt.Sprintf("option %s is deprecated: %s", title(o.OptionSpec), o.deprecated)})
		}
		w = append(w, c.indented(a, names)...)
		if !sections[a.group] || lineGroup(a.group) || done[k] || inGroup(names[a.group], a) {
			continue
		}
		done[k] = true
		msg := fmt.Sprintf("unknown option [%s] %s, ignored", a.section, quote(a.name))
		if home := homes(a.name, names); len(home) > 0 && !flowGroup(a.group) && !libraryGroup(a.group) {
			msg += "; it belongs to [" + strings.Join(home, "] or [") + "]"
		} else if near, ok := Nearest(a.name, names[a.group]); ok && !libraryGroup(a.group) {
			msg += "; did you mean " + near + "?"
		} else if libraryGroup(a.group) {
			continue
		}
		w = append(w, Warning{Unknown: true, Pos: a.namePos, Message: msg})
	}
	return w
}

// lineGroup holds for the sections whose lines have names of the operator's
// choice.
func lineGroup(group string) bool {
	return slices.Contains(lineGroups, group)
}

// inGroup reports whether an assignment names one of the options; the
// environment knows no case.
func inGroup(names []string, a assignment) bool {
	return slices.ContainsFunc(names, func(n string) bool {
		return n == a.name || a.layer == envLayer && strings.EqualFold(n, a.name)
	})
}

// homes lists the sections that have an option of that name.
func homes(name string, names map[string][]string) []string {
	var out []string
	for g, ns := range names {
		if slices.Contains(ns, name) && !libraryGroup(g) {
			out = append(out, g)
		}
	}
	slices.Sort(out)
	return out
}

// indented warns of lines of a value that look like options or sections.
func (c *Config) indented(a assignment, names map[string][]string) []Warning {
	if a.layer != fileLayer || flowGroup(a.group) {
		return nil
	}
	var w []Warning
	lines := continuations(a.value.s)
	for _, off := range slices.Sorted(maps.Keys(lines)) {
		line := lines[off]
		what := ""
		if name, ok := assigned(line); ok && slices.Contains(names[a.group], name) {
			what = "option " + name
		} else if strings.HasPrefix(line, "[") && strings.HasSuffix(line, "]") && names[groupKey(line[1:len(line)-1])] != nil {
			what = "section " + line
		}
		if what != "" {
			w = append(w, Warning{Pos: a.value.pos(off), Message: fmt.Sprintf("%s is a part of the value of [%s] %s, because it does not begin in column 0", what, a.section, quote(a.name))})
		}
	}
	return w
}
