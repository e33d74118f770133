package tasktest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Update gives the text of the scenario with what was seen in the place of what
// is expected. What else is in it, comments included, stays. What was expected in
// other words and still fits, such as a pattern, stays too.
func (c *Case) Update(text []byte, seen Seen) []byte {
	e := c.Expect
	var b strings.Builder
	b.WriteString("expect:\n")
	line := func(format string, args ...any) { fmt.Fprintf(&b, "  "+format+"\n", args...) }
	line("outcome: %s", seen.Outcome)
	if seen.Reason != "" {
		line("reason: %s", scalar(keep(e.Reason, seen.Reason)))
	}
	d := differ{c: c, names: seen.Names}
	if e.Provides != nil || len(seen.Provides) > 0 {
		b.WriteString(d.mapping("  ", "provides", e.Provides, seen.Provides))
	}
	var before KV
	if e.KV != nil {
		before = *e.KV
	}
	library, scratch := e.KV != nil && before.Library != nil, e.KV != nil && before.Scratch != nil
	if library = library || !same(c.before.Library, seen.Library); library || scratch || !same(c.before.Scratch, seen.Scratch) {
		line("kv:")
		if library {
			b.WriteString(d.mapping("    ", "library", before.Library, seen.Library))
		}
		if scratch || !same(c.before.Scratch, seen.Scratch) {
			b.WriteString(d.mapping("    ", "scratch", before.Scratch, seen.Scratch))
		}
	}
	if e.AnyOrder {
		line("any_order: true")
	}
	b.WriteString(d.opList(e, seen))
	if !c.Recorded() {
		if len(seen.Nova) == 0 {
			line("nova: []")
		} else {
			line("nova:")
			for _, n := range seen.Nova {
				line("  - %s", scalar(n))
			}
		}
	}
	if e.Logs != nil {
		var lines []string
		for _, l := range seen.Logs {
			lines = append(lines, l.Message)
		}
		b.WriteString(texts("logs", *e.Logs, lines))
	}
	if e.Progress != nil {
		b.WriteString(texts("progress", *e.Progress, seen.Progress))
	}
	return replaceBlock(text, "expect", b.String())
}

// keep gives the expectation where it fits, else what was seen.
func keep(want, got string) string {
	if want != "" && fits(want, got) {
		return want
	}
	return got
}

// texts keeps a list whose texts are all found, else gives the lines seen.
func texts(name string, want, got []string) string {
	probe := differ{c: &Case{}}
	if probe.inOrder("", want, got); len(probe.all) == 0 {
		got = want
	}
	if len(got) == 0 {
		return "  " + name + ": []\n"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "  %s:\n", name)
	for _, l := range got {
		fmt.Fprintf(&b, "    - %s\n", scalar(l))
	}
	return b.String()
}

// mapping writes values by name, those that fit as they were expected.
func (d *differ) mapping(indent, name string, want map[string]any, got map[string]json.RawMessage) string {
	if len(got) == 0 {
		return fmt.Sprintf("%s%s: {}\n", indent, name)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s%s:\n", indent, name)
	for _, k := range slices.Sorted(maps.Keys(got)) {
		v := decode(got[k])
		if w, ok := want[k]; ok && d.equal(w, v, false) {
			v = w
		}
		fmt.Fprintf(&b, "%s  %s: %s\n", indent, scalar(k), flow(v))
	}
	return b.String()
}

// opList writes the ops; one that was expected at its place and fits stays as it
// was written.
func (d *differ) opList(e Expect, seen Seen) string {
	if len(seen.Ops) == 0 {
		return "  ops: []\n"
	}
	var b strings.Builder
	b.WriteString("  ops:\n")
	for i, g := range seen.Ops {
		request := d.named(decode(g.Request))
		if e.Ops != nil && i < len(*e.Ops) {
			w := (*e.Ops)[i]
			if w.Op == g.Op && (w.Request == nil || d.equal(w.Request, decode(g.Request), true)) {
				request = w.Request
			}
		}
		if request == nil && g.Error == "" {
			fmt.Fprintf(&b, "    - %s\n", g.Op)
			continue
		}
		fmt.Fprintf(&b, "    - op: %s\n", g.Op)
		if request != nil {
			fmt.Fprintf(&b, "      request: %s\n", flow(request))
		}
		if g.Error != "" {
			fmt.Fprintf(&b, "      error: %s\n", g.Error)
		}
	}
	return b.String()
}

// same reports whether the values are those that were there before.
func same(before map[string]any, now map[string]json.RawMessage) bool {
	if len(before) != len(now) {
		return false
	}
	probe := differ{c: &Case{}}
	probe.values("", before, now)
	return len(probe.all) == 0
}

// replaceBlock puts lines in the place of a key of the outermost mapping, or at
// the end.
func replaceBlock(text []byte, key, with string) []byte {
	lines := strings.SplitAfter(string(text), "\n")
	from, to := block(lines, key)
	var out strings.Builder
	for _, l := range lines[:from] {
		out.WriteString(l)
	}
	if s := out.String(); s != "" && !strings.HasSuffix(s, "\n") {
		out.WriteByte('\n')
	}
	out.WriteString(with)
	for _, l := range lines[to:] {
		out.WriteString(l)
	}
	return []byte(out.String())
}

// scalar writes a text as YAML.
func scalar(s string) string {
	const special = "\"'`{}[]#&*!|>%@,?:-<=~$\\/ "
	plain := s != "" && !strings.ContainsAny(s[:1], special+"0123456789.+") && !strings.Contains(s, ": ") && !strings.Contains(s, " #") &&
		!strings.HasSuffix(s, ":") && !strings.HasSuffix(s, " ")
	for _, r := range s {
		if r < ' ' || r > '~' {
			plain = false
		}
	}
	switch strings.ToLower(s) {
	case "true", "false", "null", "yes", "no", "on", "off", "y", "n", "nan", "inf":
		plain = false
	}
	if plain {
		return s
	}
	return flow(s)
}

// flow writes a value as JSON, which YAML is a superset of.
func flow(v any) string {
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil { // not of JSON
		return strconv.Quote(fmt.Sprint(v))
	}
	// Spaces after colons and commas: easier to read, and what some readers of
	// YAML need.
	var b strings.Builder
	quoted, escaped := false, false
	for _, r := range strings.TrimSuffix(out.String(), "\n") {
		b.WriteRune(r)
		switch {
		case escaped:
			escaped = false
		case quoted && r == '\\':
			escaped = true
		case r == '"':
			quoted = !quoted
		case !quoted && (r == ':' || r == ','):
			b.WriteByte(' ')
		}
	}
	return b.String()
}

// Quoted gives a text as it stands between quotation marks in a scenario.
func Quoted(s string) string { return strings.TrimSuffix(strings.TrimPrefix(flow(s), `"`), `"`) }

// Write gives the text of a scenario that was recorded.
func (c *Case) Write(seen Seen) []byte {
	var b strings.Builder
	b.WriteString("# Recorded from a cloud by `wasakari task test --record`. It holds names and metadata\n# of that cloud: look at it before you give it away.\n")
	line := func(name, value, unless string) {
		if value != unless {
			fmt.Fprintf(&b, "%s: %s\n", name, scalar(value))
		}
	}
	line("summary", c.Summary, "")
	line("task", c.Task, "")
	line("flow", c.Flow, "host-auto")
	line("phase", c.Phase, "main")
	if c.Revert {
		b.WriteString("revert: true\n")
		line("failure", c.Failure, "")
	}
	values := func(name string, m map[string]any) {
		if len(m) == 0 {
			return
		}
		fmt.Fprintf(&b, "%s:\n", name)
		for _, k := range slices.Sorted(maps.Keys(m)) {
			fmt.Fprintf(&b, "  %s: %s\n", scalar(k), flow(m[k]))
		}
	}
	values("inputs", c.Inputs)
	options := map[string]any{}
	for group, m := range c.Options {
		options[group] = m
	}
	values("options", options)
	secrets := map[string]any{}
	for name, v := range c.Secrets {
		secrets[name] = v
	}
	values("secrets", secrets)
	if len(c.KV.Library) > 0 {
		b.WriteString("kv:\n  library:\n")
		for _, k := range slices.Sorted(maps.Keys(c.KV.Library)) {
			fmt.Fprintf(&b, "    %s: %s\n", scalar(k), flow(c.KV.Library[k]))
		}
	}
	if len(c.Answers) > 0 {
		b.WriteString("answers:\n")
		for _, a := range c.Answers {
			fmt.Fprintf(&b, "  - op: %s\n    request: %s\n", a.Op, flow(a.Request))
			if a.Error != nil {
				e := map[string]any{"code": a.Error.Code, "message": a.Error.Message}
				if a.Error.Status != 0 {
					e["status"] = a.Error.Status
				}
				if a.Error.RequestID != "" {
					e["request_id"] = a.Error.RequestID
				}
				fmt.Fprintf(&b, "    error: %s\n", flow(e))
			} else {
				fmt.Fprintf(&b, "    answer: %s\n", flow(a.Answer))
			}
		}
	}
	return c.Update([]byte(b.String()), seen)
}
