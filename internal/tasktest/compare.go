package tasktest

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"math/big"
	"regexp"
	"slices"
	"strings"
)

// Seen is what a task did.
type Seen struct {
	Outcome  string                     `json:"outcome"`
	Reason   string                     `json:"reason,omitempty"`
	Provides map[string]json.RawMessage `json:"provides"`
	Library  map[string]json.RawMessage `json:"kv_library"`
	Scratch  map[string]json.RawMessage `json:"kv_scratch"`
	Ops      []SeenOp                   `json:"ops"`
	// Nova are the requests that the cloud took, but for reads.
	Nova     []string `json:"nova"`
	Logs     []Log    `json:"logs"`
	Progress []string `json:"progress"`
	// Problems keep the test from passing whatever is expected, such as a request
	// that nothing answers.
	Problems []string `json:"problems,omitempty"`
	// Names are the names of servers by their ids.
	Names map[string]string `json:"-"`
}

// SeenOp is an op that a task asked for.
type SeenOp struct {
	Op      string          `json:"op"`
	Request json.RawMessage `json:"request,omitempty"`
	Error   string          `json:"error,omitempty"` // the code with which it was refused
}

// Log is a line that a task logged.
type Log struct {
	Level   string `json:"level"`
	Message string `json:"message"`
}

// Difference is one thing that is not as expected.
type Difference struct {
	At    string `json:"at"`    // FILE:LINE:COL
	Where string `json:"where"` // such as expect.reason
	Want  string `json:"want,omitempty"`
	Got   string `json:"got,omitempty"`
}

// Compare lists what is not as the scenario expects.
func (c *Case) Compare(seen Seen) []Difference {
	d := differ{c: c, names: seen.Names}
	e := c.Expect
	for _, p := range seen.Problems {
		d.add("", "", p)
	}
	if e.Outcome != seen.Outcome {
		got := seen.Outcome
		if seen.Reason != "" {
			got += ": " + seen.Reason
		}
		d.add("expect.outcome", e.Outcome, got)
	}
	if e.Reason != "" && !fits(e.Reason, seen.Reason) {
		d.add("expect.reason", e.Reason, orNone(seen.Reason))
	}
	if e.Provides != nil {
		d.values("expect.provides", e.Provides, seen.Provides)
	}
	if e.KV != nil {
		if e.KV.Library != nil {
			d.values("expect.kv.library", e.KV.Library, seen.Library)
		}
		if e.KV.Scratch != nil {
			d.values("expect.kv.scratch", e.KV.Scratch, seen.Scratch)
		}
	}
	if e.Ops != nil {
		d.ops(*e.Ops, seen.Ops, e.AnyOrder)
	}
	if e.Nova != nil {
		d.list("expect.nova", *e.Nova, seen.Nova, e.AnyOrder)
	}
	if e.Logs != nil {
		var lines []string
		for _, l := range seen.Logs {
			lines = append(lines, l.Message)
		}
		d.inOrder("expect.logs", *e.Logs, lines)
	}
	if e.Progress != nil {
		d.inOrder("expect.progress", *e.Progress, seen.Progress)
	}
	return d.all
}

// fits holds a text against one that it must contain, or a /pattern/.
func fits(want, got string) bool {
	if p, ok := slashed(want); ok {
		re, err := regexp.Compile(p)
		return err == nil && re.MatchString(got)
	}
	return strings.Contains(got, want)
}

func orNone(s string) string { return cmp.Or(s, "(none)") }

type differ struct {
	c     *Case
	names map[string]string
	all   []Difference
}

func (d *differ) add(where, want, got string) {
	const most = 200
	if len(d.all) < most {
		d.all = append(d.all, Difference{d.c.Position(where), where, want, got})
	}
}

// values compares all values of a map.
func (d *differ) values(where string, want map[string]any, got map[string]json.RawMessage) {
	values := map[string]any{}
	for name, raw := range got {
		values[name] = decode(raw)
	}
	d.fields(where, want, values, false)
}

// fields compares the fields of two objects; partly lets there be more than are wanted.
func (d *differ) fields(where string, want, got map[string]any, partly bool) {
	names := slices.Collect(maps.Keys(want))
	for name := range got {
		if _, ok := want[name]; !ok && !partly {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		at := where + "." + name
		w, wanted := want[name]
		g, there := got[name]
		switch {
		case !wanted:
			d.add(at, "(none)", shown(g))
		case !there:
			d.add(at, shown(w), "(none)")
		default:
			d.value(at, w, g, partly)
		}
	}
}

// value compares two values; partly lets an object have fields more.
func (d *differ) value(where string, want, got any, partly bool) {
	if ok, is := matches(want, got); is {
		if !ok {
			d.add(where, shown(want), shown(got))
		}
		return
	}
	want, got = plain(want), plain(got)
	switch w := want.(type) {
	case map[string]any:
		g, ok := got.(map[string]any)
		if !ok {
			break
		}
		d.fields(where, w, g, partly)
		return
	case []any:
		g, ok := got.([]any)
		if !ok || len(g) != len(w) {
			break
		}
		for i := range w {
			d.value(fmt.Sprintf("%s[%d]", where, i), w[i], g[i], partly)
		}
		return
	case string:
		if g, ok := got.(string); ok && (g == w || d.names[g] == w && w != "") {
			return
		}
	case json.Number:
		if g, ok := got.(json.Number); ok && sameNumber(w, g) {
			return
		}
	default:
		if w == got {
			return
		}
	}
	d.add(where, shown(want), shown(d.named(got)))
}

// equal compares without telling.
func (d *differ) equal(want, got any, partly bool) bool {
	probe := differ{c: d.c, names: d.names}
	probe.value("", want, got, partly)
	return len(probe.all) == 0
}

// named puts names in the place of ids of servers.
func (d *differ) named(v any) any { return named(v, d.names) }

func named(v any, names map[string]string) any {
	switch v := v.(type) {
	case string:
		if n, ok := names[v]; ok {
			return n
		}
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = named(v[i], names)
		}
		return out
	case map[string]any:
		out := map[string]any{}
		for k, x := range v {
			out[k] = named(x, names)
		}
		return out
	}
	return v
}

func sameNumber(a, b json.Number) bool {
	if a == b {
		return true
	}
	if len(a) > 64 || len(b) > 64 { // an exponent can make a small text a large number
		return false
	}
	for _, n := range []json.Number{a, b} {
		if i := strings.IndexAny(n.String(), "eE"); i >= 0 && len(n)-i > 4 {
			return false
		}
	}
	x, ok1 := new(big.Rat).SetString(a.String())
	y, ok2 := new(big.Rat).SetString(b.String())
	return ok1 && ok2 && x.Cmp(y) == 0
}

func (d *differ) ops(want []Op, got []SeenOp, anyOrder bool) {
	fit := func(w Op, g SeenOp) bool {
		return w.Op == g.Op && w.Error == g.Error && (w.Request == nil || d.equal(w.Request, decode(g.Request), true))
	}
	if anyOrder {
		left := slices.Clone(got)
		for i, w := range want {
			j := slices.IndexFunc(left, func(g SeenOp) bool { return fit(w, g) })
			if j < 0 {
				d.add(fmt.Sprintf("expect.ops[%d]", i), d.opText(SeenOp{w.Op, encode(w.Request), w.Error}), "(none)")
				continue
			}
			left = slices.Delete(left, j, j+1)
		}
		for _, g := range left {
			d.add("expect.ops", "(none)", d.opText(g))
		}
		return
	}
	for i := range max(len(want), len(got)) {
		where := fmt.Sprintf("expect.ops[%d]", i)
		switch {
		case i >= len(got):
			d.add(where, d.opText(SeenOp{want[i].Op, encode(want[i].Request), want[i].Error}), "(none)")
		case i >= len(want):
			d.add("expect.ops", "(none)", d.opText(got[i]))
		case want[i].Op != got[i].Op || want[i].Error != got[i].Error:
			d.add(where, d.opText(SeenOp{want[i].Op, encode(want[i].Request), want[i].Error}), d.opText(got[i]))
		case want[i].Request != nil:
			d.value(where+".request", want[i].Request, decode(got[i].Request), true)
		}
	}
}

func (d *differ) opText(o SeenOp) string {
	text := o.Op
	if len(o.Request) > 0 {
		text += " " + shown(d.named(decode(o.Request)))
	}
	if o.Error != "" {
		text += ", refused: " + o.Error
	}
	return text
}

// list compares lists of texts.
func (d *differ) list(where string, want, got []string, anyOrder bool) {
	if anyOrder {
		want, got = slices.Sorted(slices.Values(want)), slices.Sorted(slices.Values(got))
	}
	for i := range max(len(want), len(got)) {
		at := fmt.Sprintf("%s[%d]", where, i)
		switch {
		case i >= len(got):
			d.add(at, want[i], "(none)")
		case i >= len(want):
			d.add(where, "(none)", got[i])
		case want[i] != got[i]:
			d.add(at, want[i], got[i])
		}
	}
}

// inOrder finds each wanted text in a line of its own, after the one before.
func (d *differ) inOrder(where string, want, got []string) {
	from := 0
	for i, w := range want {
		j := slices.IndexFunc(got[from:], func(g string) bool { return fits(w, g) })
		if j < 0 {
			text := strings.Join(got[from:], " | ")
			d.add(fmt.Sprintf("%s[%d]", where, i), w, orNone(text))
			continue
		}
		from += j + 1
	}
}

// matchPrefix begins a string that stands for many values.
const matchPrefix = "$match "

// matches holds a value against $any, $string, $number or $match PATTERN; is is
// false when want is none of these.
func matches(want, got any) (ok, is bool) {
	w, text := want.(string)
	if !text || !strings.HasPrefix(w, "$") {
		return false, false
	}
	switch {
	case w == "$any":
		return got != nil, true
	case w == "$string":
		_, ok = got.(string)
		return ok, true
	case w == "$number":
		_, ok = got.(json.Number)
		return ok, true
	case strings.HasPrefix(w, matchPrefix):
		s, isText := got.(string)
		re, err := regexp.Compile(w[len(matchPrefix):])
		return isText && err == nil && re.MatchString(s), true
	}
	return false, false
}

// matchers checks all patterns in an expected value.
func matchers(v any, where string, bad func(where, format string, args ...any)) {
	switch v := v.(type) {
	case string:
		if p, ok := strings.CutPrefix(v, matchPrefix); ok {
			compiles(p, where, bad)
		}
	case []any:
		for _, x := range v {
			matchers(x, where, bad)
		}
	case map[string]any:
		for _, x := range v {
			matchers(x, where, bad)
		}
	}
}

// plain gives a value as JSON's decoder would.
func plain(v any) any { return decode(encode(v)) }

func encode(v any) json.RawMessage {
	if v == nil {
		return nil
	}
	b, err := json.Marshal(v)
	if err != nil { // not of YAML: an infinity
		b, _ = json.Marshal(fmt.Sprint(v))
	}
	return b
}

func decode(raw json.RawMessage) any {
	var v any
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	if dec.Decode(&v) != nil {
		return nil
	}
	return v
}

// shown writes a value for a person, in one line.
func shown(v any) string {
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return fmt.Sprint(v)
	}
	text := strings.TrimSuffix(out.String(), "\n")
	const most = 2000
	if len(text) > most {
		return text[:most] + "…"
	}
	return text
}
