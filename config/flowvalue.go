package config

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/wasakari/wasakari/recovery"
)

// Bounds on a flow.
const (
	maxNameBytes = 255  // of a task name, as in a manifest
	maxTasks     = 1000 // in one phase
)

// The grammar of a flow value. It is stricter than Masakari's, which takes
// slips of the pen for names, and wider by the braces that Masakari's guide
// prints:
//
//	flow  = pairs | "{" pairs [","] "}"
//	pairs = pair {"," pair}
//	pair  = key ":" "[" [name {"," name}] "]"
//	key   = "pre" | "main" | "post"; within braces also in quotes
//	name  = a word, or text in ' or " without quotes, brackets, line ends
//
// Blanks and line ends may stand between all parts. Each key stands once.
type flowParser struct {
	t    text
	s    string
	i    int
	opt  string // the option's name
	flow recovery.Flow
	seen map[string]bool
	// braces is the offset of the opening brace, or -1.
	braces int
	// lastKey and lastItem are what was read last, for messages.
	lastKey, lastItem string
	err               *recovery.ConfigError
}

// phaseNames are the keys of a flow.
var phaseNames = []string{string(recovery.Pre), string(recovery.Main), string(recovery.Post)}

func isPhase(k string) bool { return slices.Contains(phaseNames, k) }

// parseFlow reads the value of the option of a flow, named so in messages. The first mistake in the
// grammar ends it; missing phases are all told.
func parseFlow(kind recovery.FlowKind, option string, t text) (recovery.Flow, []*recovery.ConfigError) {
	p := &flowParser{
		t: t, s: t.s, opt: option, braces: -1, seen: map[string]bool{},
		flow: recovery.Flow{Kind: kind, Pre: []recovery.TaskRef{}, Main: []recovery.TaskRef{}, Post: []recovery.TaskRef{}},
	}
	p.blanks()
	start := p.i
	p.flow.Pos = t.pos(start)
	if p.end() {
		p.fail(start, "the value is empty", "write pre:[…],main:[…],post:[…], or remove the option to keep the default")
		return recovery.Flow{}, []*recovery.ConfigError{p.err}
	}
	p.pairs()
	if p.err != nil {
		return recovery.Flow{}, []*recovery.ConfigError{p.err}
	}
	var errs []*recovery.ConfigError
	for _, ph := range recovery.Phases() {
		if !p.seen[string(ph)] {
			p.err = nil
			p.fail(start, fmt.Sprintf("%s is missing", ph), fmt.Sprintf("add %s:['…'], or %s:[] for no tasks", ph, ph))
			errs = append(errs, p.err)
		}
	}
	if errs != nil {
		return recovery.Flow{}, errs
	}
	return p.flow, nil
}

// formatFlow prints a flow in the form that parseFlow reads.
func formatFlow(f recovery.Flow) string {
	var b strings.Builder
	sep := "{"
	for _, ph := range recovery.Phases() {
		b.WriteString(sep)
		sep = ", "
		fmt.Fprintf(&b, "'%s': [", ph)
		for i, t := range f.Tasks(ph) {
			if i > 0 {
				b.WriteString(", ")
			}
			b.WriteString("'" + t.Key + "'")
		}
		b.WriteString("]")
	}
	b.WriteString("}")
	return b.String()
}

func (p *flowParser) fail(i int, reason, hint string) {
	if p.err == nil {
		p.err = &recovery.ConfigError{Pos: p.t.pos(i), Reason: "option " + p.opt + ": " + reason, Hint: hint}
	}
}

func (p *flowParser) end() bool { return p.i >= len(p.s) }

// peek gives the next byte, 0 at the end.
func (p *flowParser) peek() byte {
	if p.end() {
		return 0
	}
	return p.s[p.i]
}

func isBlank(c byte) bool { return c == ' ' || '\t' <= c && c <= '\r' }

func (p *flowParser) blanks() { p.i = skipBlanks(p.s, p.i) }

func skipBlanks(s string, i int) int {
	for i < len(s) && isBlank(s[i]) {
		i++
	}
	return i
}

func isQuote(c byte) bool { return c == '\'' || c == '"' }

// wordEnd gives the offset behind the word that begins at i.
func (p *flowParser) wordEnd(i int) int {
	for i < len(p.s) && !isBlank(p.s[i]) && !strings.ContainsRune(",[]{}()'\"#;=", rune(p.s[i])) {
		r, n := utf8.DecodeRuneInString(p.s[i:])
		if strange(r) {
			break
		}
		i += n
	}
	return i
}

// strange holds for characters that cannot be meant as part of a name: those
// that cannot be seen, and typographic quotes.
func strange(r rune) bool {
	return unicode.IsSpace(r) || !unicode.IsGraphic(r) || r == utf8.RuneError || strings.ContainsRune("‘’“”„«»′″", r)
}

// phaseAhead gives the phase when "phase :" begins at i, in quotes or not.
func (p *flowParser) phaseAhead(i int) (string, bool) {
	for _, ph := range recovery.Phases() {
		rest := p.s[i:]
		for _, q := range []string{"", "'", `"`} {
			after, ok := strings.CutPrefix(rest, q+string(ph)+q)
			if !ok {
				continue
			}
			j := skipBlanks(after, 0)
			if j < len(after) && (after[j] == ':' || after[j] == '=') {
				return string(ph), true
			}
		}
	}
	return "", false
}

const (
	hintComment = "put the comment above the option, beginning in column 0"
	hintTypo    = "write ' or \" instead"
)

// unexpected complains of what stands at p.i, where want was to come.
func (p *flowParser) unexpected(want string) {
	if p.end() {
		p.fail(p.i, "the value ends where "+want+" is to come", "")
		return
	}
	r, _ := utf8.DecodeRuneInString(p.s[p.i:])
	switch {
	case r == '#' || r == ';':
		p.fail(p.i, fmt.Sprintf("'%c' starts no comment here", r), hintComment)
	case strings.ContainsRune("‘’“”„«»′″", r):
		p.fail(p.i, fmt.Sprintf("a typographic quote %c where %s is to come", r, want), hintTypo)
	case strange(r):
		p.fail(p.i, fmt.Sprintf("the character %U where %s is to come", r, want), "remove it")
	default:
		p.fail(p.i, fmt.Sprintf("unexpected %s where %s is to come", quote(string(r)), want), "")
	}
}

// pairs reads the whole value from its first byte.
func (p *flowParser) pairs() {
	if p.peek() == '{' {
		p.braces = p.i
		p.i++
	}
	comma := -1 // offset of the comma before, if any
	for p.err == nil {
		p.blanks()
		switch {
		case p.end() && p.braces >= 0:
			p.unclosedBrace()
			return
		case p.end() && comma >= 0:
			p.fail(comma, "a comma at the end of the value", "remove it")
			return
		case p.peek() == '}' && p.braces >= 0:
			p.i++
			p.blanks()
			if !p.end() {
				p.unexpected("the end of the value")
			}
			return
		}
		p.pair(comma)
		if p.err != nil {
			return
		}
		p.blanks()
		switch {
		case p.end():
			if p.braces >= 0 {
				p.unclosedBrace()
			}
			return
		case p.peek() == ',':
			comma = p.i
			p.i++
		case p.peek() == '}' && p.braces >= 0:
			comma = -1
		default:
			p.afterList()
		}
	}
}

func (p *flowParser) unclosedBrace() {
	p.fail(p.braces, "the '{' is not closed", "write '}' behind the last list; lines of the value that begin in column 0 must be indented")
}

// afterList complains of what stands behind a list that is neither a comma nor
// the end.
func (p *flowParser) afterList() {
	behind := len(strings.TrimRightFunc(p.s[:p.i], isSpace)) // where the comma belongs
	last := "[]"
	if p.lastItem != "" {
		last = quote(p.lastItem)
	}
	c := p.peek()
	if ph, ok := p.phaseAhead(p.i); ok {
		p.fail(behind, fmt.Sprintf("a comma is missing between %s and %s", last, ph), fmt.Sprintf("write ',' behind the list of %s", p.lastKey))
		return
	}
	switch {
	case c == ';':
		if ph, ok := p.phaseAhead(skipBlanks(p.s, p.i+1)); ok {
			p.fail(p.i, fmt.Sprintf("';' between the lists of %s and %s", p.lastKey, ph), "write ','")
			return
		}
		p.unexpected("")
	case c == '}':
		p.fail(p.i, "'}' without '{'", "remove it, or write '{' before the first key")
	case c == ']':
		p.fail(p.i, "one ']' too many", "remove it")
	case isQuote(c):
		p.fail(p.i, fmt.Sprintf("a stray %c behind the list of %s", c, p.lastKey), "quotes around the whole value are removed only when they stand at both ends of one line")
	default:
		p.unexpected("',' or the end of the value")
	}
}

// pair reads one key and its list.
func (p *flowParser) pair(comma int) {
	start := p.i
	c := p.peek()
	var k string
	switch {
	case c == ',' && comma >= 0:
		p.fail(p.i, "two commas with nothing between them", "remove one")
	case c == ',':
		p.fail(p.i, "a comma before the first key", "remove it")
	case c == ':':
		p.fail(p.i, "a key is missing before ':'", "write pre, main or post")
	case c == '}':
		p.fail(p.i, "'}' without '{'", "remove it, or write '{' before the first key")
	case isQuote(c):
		n := strings.IndexByte(p.s[p.i+1:], c)
		if n < 0 || strings.ContainsAny(p.s[p.i+1:p.i+1+n], "[]{}:\n") {
			p.fail(p.i, fmt.Sprintf("the %c here is not closed", c), "quotes around the whole value are removed only when they stand at both ends of one line")
			return
		}
		k = p.s[p.i+1 : p.i+1+n]
		if p.braces < 0 {
			p.fail(p.i, fmt.Sprintf("the key %s is in quotes", quote(k)), "write keys without quotes, or put { } around the whole value")
			return
		}
		p.i += n + 2
	default:
		end := p.wordEnd(p.i)
		if n := strings.IndexByte(p.s[p.i:end], ':'); n >= 0 {
			end = p.i + n
		}
		k = p.s[p.i:end]
		if k == "" {
			p.unexpected("pre, main or post")
			return
		}
		p.i = end
	}
	if p.err != nil {
		return
	}
	p.blanks()
	switch p.peek() {
	case ':':
		p.i++
	case '=':
		p.fail(p.i, fmt.Sprintf("'=' behind %s", quote(k)), fmt.Sprintf("write %s:[…]", phaseFor(k)))
		return
	case '[':
		p.fail(p.i, fmt.Sprintf("':' is missing behind %s", quote(k)), fmt.Sprintf("write %s:[…]", phaseFor(k)))
		return
	default:
		p.fail(start, fmt.Sprintf("%s is no key with a list", quote(k)), "the form is pre:['…'],main:['…'],post:['…']")
		return
	}
	switch {
	case !isPhase(k):
		hint := "the keys are pre, main and post"
		if near, ok := Nearest(k, phaseNames); ok {
			hint = "write " + near
		}
		p.fail(start, fmt.Sprintf("unknown key %s", quote(k)), hint)
		return
	case p.seen[k]:
		p.fail(start, fmt.Sprintf("%s is given twice", k), "put all its tasks into one list")
		return
	}
	p.seen[k], p.lastKey, p.lastItem = true, k, ""
	p.blanks()
	if p.peek() != '[' {
		p.notList(k)
		return
	}
	tasks := p.list(k)
	switch recovery.Phase(k) {
	case recovery.Pre:
		p.flow.Pre = tasks
	case recovery.Main:
		p.flow.Main = tasks
	case recovery.Post:
		p.flow.Post = tasks
	}
}

// phaseFor gives the phase to show in a hint for the key k.
func phaseFor(k string) string {
	if near, ok := Nearest(k, phaseNames); ok {
		return near
	}
	if isPhase(k) {
		return k
	}
	return "pre"
}

// notList complains of a value of key k that does not begin with '['.
func (p *flowParser) notList(k string) {
	word := p.s[p.i:p.wordEnd(p.i)]
	switch {
	case p.end() || p.peek() == ',' || p.peek() == '}':
		p.fail(p.i, fmt.Sprintf("%s has no list", k), fmt.Sprintf("write %s:['…'], or %s:[] for no tasks", k, k))
	case p.peek() == '(':
		p.fail(p.i, fmt.Sprintf("the value of %s is no list", k), "write [ ] instead of ( )")
	case word == "None" || word == "null" || word == "none":
		p.fail(p.i, fmt.Sprintf("the value of %s is no list", k), fmt.Sprintf("write %s:[] for no tasks", k))
	case word != "":
		p.fail(p.i, fmt.Sprintf("the value of %s is no list", k), fmt.Sprintf("write %s:['%s']", k, word))
	case isQuote(p.peek()):
		p.fail(p.i, fmt.Sprintf("the value of %s is no list", k), fmt.Sprintf("put [ ] around it: %s:['…']", k))
	default:
		p.unexpected("the list of " + k)
	}
}

// list reads a list of task names; p.i is at its '['.
func (p *flowParser) list(k string) []recovery.TaskRef {
	open := p.i
	tasks := []recovery.TaskRef{}
	p.i++
	p.blanks()
	if p.peek() == ']' {
		p.i++
		return tasks
	}
	for {
		p.blanks()
		at := p.i
		name := p.name(k, open, len(tasks) > 0)
		if p.err != nil {
			return nil
		}
		if len(tasks) == maxTasks {
			p.fail(at, fmt.Sprintf("more than %d tasks in %s", maxTasks, k), "")
			return nil
		}
		tasks = append(tasks, recovery.TaskRef{Key: name, Pos: p.t.pos(at)})
		p.lastItem = name
		behind := p.i
		p.blanks()
		c := p.peek()
		switch {
		case c == ',':
			if ph, ok := p.phaseAhead(skipBlanks(p.s, p.i+1)); ok {
				p.unclosedList(behind, k, ph)
				return nil
			}
			p.i++
		case c == ']':
			p.i++
			return tasks
		case p.end():
			p.fail(open, fmt.Sprintf("the '[' of %s is not closed", k), "write ']' behind its last task")
			return nil
		case c == '}':
			p.fail(behind, fmt.Sprintf("the '[' of %s is not closed before '}'", k), "write ']' behind its last task")
			return nil
		case c == ';':
			j := skipBlanks(p.s, p.i+1)
			if j < len(p.s) && (isQuote(p.s[j]) || j == p.i+1 && p.wordEnd(j) > j) {
				p.fail(p.i, fmt.Sprintf("';' behind %s", quote(name)), "write ','")
				return nil
			}
			p.unexpected("',' or ']'")
			return nil
		default:
			if ph, ok := p.phaseAhead(p.i); ok {
				p.unclosedList(behind, k, ph)
				return nil
			}
			p.noComma(name, behind)
			return nil
		}
	}
}

func (p *flowParser) unclosedList(behind int, k, next string) {
	p.fail(behind, fmt.Sprintf("the '[' of %s is not closed before %s", k, next), fmt.Sprintf("write ']' behind its last task, %s", quote(p.lastItem)))
}

// noComma complains of what stands behind a name in a list.
func (p *flowParser) noComma(name string, behind int) {
	c := p.peek()
	if isQuote(c) || p.wordEnd(p.i) > p.i {
		next := p.s[p.i:p.wordEnd(p.i)]
		if isQuote(c) {
			next = p.s[p.i+1 : p.wordEnd(p.i+1)]
		}
		if next != "" {
			p.fail(behind, fmt.Sprintf("a comma is missing between %s and %s", quote(name), quote(next)), "")
			return
		}
	}
	p.unexpected("',' or ']'")
}

// name reads one task name of the list of key k, which begins at open.
func (p *flowParser) name(k string, open int, comma bool) string {
	c := p.peek()
	switch {
	case p.end():
		p.fail(open, fmt.Sprintf("the '[' of %s is not closed", k), "write ']' behind its last task")
	case c == ']' && comma:
		p.fail(p.i, fmt.Sprintf("an empty task name in %s", k), "remove the comma before ']'")
	case c == ',':
		p.fail(p.i, fmt.Sprintf("an empty task name in %s", k), "remove the ','")
	case c == '[':
		p.fail(p.i, fmt.Sprintf("a list within the list of %s", k), "write the names without [ ] of their own")
	case isQuote(c):
		return p.quoted(k)
	}
	if p.err != nil {
		return ""
	}
	at := p.i
	p.i = p.wordEnd(p.i)
	name := p.s[at:p.i]
	if name == "" {
		p.unexpected("a task name")
	} else {
		p.checkLength(at, name)
	}
	return name
}

func (p *flowParser) quoted(k string) string {
	at, q := p.i, p.s[p.i]
	for j := at + 1; j < len(p.s); {
		r, n := utf8.DecodeRuneInString(p.s[j:])
		switch {
		case p.s[j] == q:
			name := p.s[at+1 : j]
			p.i = j + 1
			switch {
			case strings.TrimFunc(name, isSpace) == "":
				p.fail(at, fmt.Sprintf("an empty task name in %s", k), "remove it")
			case strings.TrimFunc(name, isSpace) != name:
				p.fail(at, fmt.Sprintf("blanks within the quotes of %s", quote(name)), "remove them: they would be a part of the name")
			default:
				p.checkLength(at, name)
			}
			return name
		case strings.ContainsRune("[]{}\n", r):
			before := strings.TrimFunc(p.s[at+1:j], isSpace)
			what := "the end of the line"
			if r != '\n' {
				what = fmt.Sprintf("'%c'", r)
			}
			p.fail(at, fmt.Sprintf("the quote %c before %s is not closed before %s", q, quote(before), what), fmt.Sprintf("write %c behind the name", q))
			return ""
		case isQuote(p.s[j]):
			p.fail(j, fmt.Sprintf("the name that begins with %c holds %c", q, r), "use the same quote at both ends of a name")
			return ""
		case !unicode.IsGraphic(r) || r == utf8.RuneError:
			p.fail(j, fmt.Sprintf("the character %U in a task name", r), "remove it")
			return ""
		}
		j += n
	}
	p.fail(at, fmt.Sprintf("the quote %c here is not closed", q), fmt.Sprintf("write %c behind the name", q))
	return ""
}

func (p *flowParser) checkLength(at int, name string) {
	if len(name) > maxNameBytes {
		p.fail(at, fmt.Sprintf("a task name of %d bytes", len(name)), fmt.Sprintf("at most %d are allowed", maxNameBytes))
	}
}
