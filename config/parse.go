package config

import (
	"fmt"
	"sort"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/wasakari/wasakari/recovery"
)

// Bounds on what one file may hold.
const (
	maxFileBytes = 1 << 20
	maxLines     = 1 << 16
	maxErrors    = 100
)

// text is a value and the place where each of its bytes was written.
type text struct {
	s    string
	file string
	segs []seg // sorted by off; the first has off 0
	// secret is true when the value is, or contains, one that must not be shown.
	secret bool
}

// seg says where the bytes from off on, up to the next seg, were written.
type seg struct {
	off, line, col int
	// fixed: all bytes of the segment count as written at line:col, because
	// they were put in the place of a reference.
	fixed bool
}

// pos gives the place of byte i; i may be the length of the text.
func (t text) pos(i int) recovery.Position {
	n := sort.Search(len(t.segs), func(n int) bool { return t.segs[n].off > i }) - 1
	if n < 0 || t.segs[n].line == 0 {
		return recovery.Position{File: t.file}
	}
	g := t.segs[n]
	if g.fixed {
		return recovery.Position{File: t.file, Line: g.line, Col: g.col}
	}
	return recovery.Position{File: t.file, Line: g.line, Col: g.col + i - g.off}
}

// start gives the place of the first byte that is not blank.
func (t text) start() recovery.Position {
	if i := strings.IndexFunc(t.s, func(r rune) bool { return !isSpace(r) }); i >= 0 {
		return t.pos(i)
	}
	return t.pos(0)
}

// textBuilder puts texts together without losing their places.
type textBuilder struct {
	b    strings.Builder
	segs []seg
}

// add appends t.s[from:to].
func (tb *textBuilder) add(t text, from, to int) {
	if from >= to {
		return
	}
	n := max(sort.Search(len(t.segs), func(n int) bool { return t.segs[n].off > from })-1, 0)
	base := tb.b.Len() - from
	for ; n < len(t.segs) && t.segs[n].off < to; n++ {
		g := t.segs[n]
		if g.off < from {
			if !g.fixed {
				g.col += from - g.off
			}
			g.off = from
		}
		g.off += base
		tb.segs = append(tb.segs, g)
	}
	tb.b.WriteString(t.s[from:to])
}

// insert appends s, which stands in the place of something written at p.
func (tb *textBuilder) insert(s string, p recovery.Position) {
	tb.segs = append(tb.segs, seg{off: tb.b.Len(), line: p.Line, col: p.Col, fixed: true})
	tb.b.WriteString(s)
}

// end marks the place of the end of the text when nothing was added there.
func (tb *textBuilder) end(p recovery.Position) {
	tb.segs = append(tb.segs, seg{off: tb.b.Len(), line: p.Line, col: p.Col, fixed: true})
}

// layer is the kind of source that an assignment came from; a higher one wins.
type layer int

const (
	fileLayer layer = iota
	envLayer
	flagLayer
)

// assignment is one "name = value" of a file, or its like of another source.
type assignment struct {
	section string // as written
	group   string // section as it is matched
	name    string
	namePos recovery.Position
	value   text
	layer   layer
	// cut is true when a load error tore off a part of the value, so that
	// complaints about the rest would mislead.
	cut bool
}

// header is a "[section]" line.
type header struct {
	name string
	pos  recovery.Position
}

// parsed is what one file says.
type parsed struct {
	assignments []assignment
	headers     []header
	errs        []*recovery.ConfigError
}

// groupKey gives the form in which a section is looked up: DEFAULT is matched
// exactly, any other name without regard to case.
func groupKey(section string) string {
	if section == defaultGroup {
		return section
	}
	return strings.ToLower(section)
}

// isSpace holds for what counts as blank around names and values.
func isSpace(r rune) bool { return unicode.IsSpace(r) || 0x1c <= r && r <= 0x1f }

func trimLeft(s string) string  { return strings.TrimLeftFunc(s, isSpace) }
func trimRight(s string) string { return strings.TrimRightFunc(s, isSpace) }

// fileParser reads the lines of one file.
type fileParser struct {
	file string
	line int
	out  parsed

	section string
	started bool // a section header was seen
	open    bool // the last assignment may be continued
	// swallowed is true while indented lines follow one that was complained
	// of: they are part of the same mistake.
	swallowed bool
	// ender is the line that closed the last assignment: "blank line",
	// "comment" or empty.
	ender     string
	enderLine int

	b textBuilder // the value of the open assignment
}

// parseFile reads a file by oslo.config's rules. It does not stop at a mistake,
// so that all are told at once.
func parseFile(file string, data []byte) parsed {
	p := &fileParser{file: file}
	s := string(data)
	if strings.HasPrefix(s, "\ufeff") {
		p.line = 1
		p.fail(1, "the file begins with a byte-order mark", "save it as UTF-8 without one")
		p.line = 0
		s = s[len("\ufeff"):]
	}
	for s != "" {
		var line string
		if i := strings.IndexAny(s, "\r\n"); i < 0 {
			line, s = s, ""
		} else {
			n := 1
			if strings.HasPrefix(s[i:], "\r\n") {
				n = 2
			}
			line, s = s[:i], s[i+n:]
		}
		p.line++
		if p.line > maxLines {
			p.fail(1, fmt.Sprintf("the file has more than %d lines", maxLines), "")
			break
		}
		p.read(line)
	}
	p.flush()
	return p.out
}

func (p *fileParser) at(col int) recovery.Position {
	return recovery.Position{File: p.file, Line: p.line, Col: col}
}

func (p *fileParser) fail(col int, reason, hint string) {
	if len(p.out.errs) < maxErrors {
		p.out.errs = append(p.out.errs, &recovery.ConfigError{Pos: p.at(col), Reason: reason, Hint: hint})
	}
}

// last gives the assignment read last; nil when the section has none yet.
func (p *fileParser) last() *assignment {
	n := len(p.out.assignments)
	if n == 0 || p.out.assignments[n-1].section != p.section {
		return nil
	}
	return &p.out.assignments[n-1]
}

// flush ends the open assignment.
func (p *fileParser) flush() {
	if p.open {
		a := p.last()
		a.value.s, a.value.segs = p.b.b.String(), p.b.segs
		p.b, p.open = textBuilder{}, false
	}
}

func (p *fileParser) read(raw string) {
	line := trimRight(raw)
	if i := invalidUTF8(raw); i >= 0 {
		p.fail(i+1, "a byte that is not UTF-8", "save the file as UTF-8")
		line = strings.ToValidUTF8(line, "?")
	}
	switch {
	case line == "":
		p.flush()
		p.ender, p.enderLine, p.swallowed = "blank line", p.line, false
		return
	case line[0] == ' ' || line[0] == '\t':
		p.continuation(line)
		return
	}
	p.flush()
	p.swallowed = false
	switch line[0] {
	case '#', ';':
		p.ender, p.enderLine = "comment", p.line
	case '[':
		p.sectionHeader(line)
	default:
		p.assign(line)
	}
}

func (p *fileParser) continuation(line string) {
	rest := trimLeft(line)
	indent := len(line) - len(rest)
	if p.open {
		p.b.insert("\n", p.endOfValue())
		p.b.segs = append(p.b.segs, seg{off: p.b.b.Len(), line: p.line, col: indent + 1})
		p.b.b.WriteString(rest)
		return
	}
	if p.swallowed {
		return
	}
	p.swallowed = true
	hint := "an option begins in column 0: remove the blanks before it"
	prev := p.last()
	switch {
	case rest[0] == '[':
		hint = "a section header begins in column 0: remove the blanks before it"
	case rest[0] == '#' || rest[0] == ';':
		hint = "a comment begins in column 0: remove the blanks before it"
	case isKnownName(line):
	case prev != nil && p.ender != "":
		prev.cut = true
		hint = fmt.Sprintf("the value of %s ended at the %s in line %d: remove that line, or move it above the option", quote(prev.name), p.ender, p.enderLine)
	}
	p.fail(indent+1, "unexpected continuation line"+p.show(line, prev), hint)
}

// endOfValue gives the place behind the last byte of the open value.
func (p *fileParser) endOfValue() recovery.Position {
	return text{file: p.file, segs: p.b.segs}.pos(p.b.b.Len())
}

func (p *fileParser) sectionHeader(line string) {
	name := ""
	switch {
	case !strings.HasSuffix(line, "]"):
		hint := "a section header is [name] alone in its line"
		if i := strings.IndexByte(line, ']'); i > 0 {
			name = line[1:i]
			if rest := trimLeft(line[i+1:]); rest[0] == '#' || rest[0] == ';' {
				hint = "a comment stands in a line of its own"
			}
		}
		shown := ""
		if prev := p.last(); prev == nil || showable(prev.group, prev.name) {
			shown = ": " + quote(line)
		}
		p.fail(1, "invalid section (must end with ])"+shown, hint)
	case len(line) <= 2:
		p.fail(1, "empty section name", "")
	default:
		name = line[1 : len(line)-1]
	}
	if i := controlIn(name); i >= 0 {
		p.fail(i+2, "control character in the name of a section", "")
		name = ""
	}
	p.section, p.started, p.ender = name, true, ""
	if name != "" {
		p.out.headers = append(p.out.headers, header{name: name, pos: p.at(1)})
	}
}

func (p *fileParser) assign(line string) {
	i := strings.IndexAny(line, "=:")
	if i < 0 {
		hint := "write name = value; a line that belongs to the value above begins with a blank"
		prev := p.last()
		if line[0] == '}' || line[0] == ']' {
			hint = "put a blank before it: it belongs to the value above"
			if prev != nil {
				prev.cut = true
			}
		}
		p.fail(1, "no ':' or '=' found in assignment"+p.show(line, prev), hint)
		return
	}
	name := trimRight(line[:i])
	rest := line[i+1:]
	value := trimLeft(rest)
	col := i + 1 + len(rest) - len(value) + 1
	switch {
	case name == "":
		p.fail(1, "key cannot be empty"+p.show(line, p.last()), "write name = value")
		return
	case controlIn(name) >= 0:
		p.fail(controlIn(name)+1, "control character in the name of an option", "")
		return
	case !p.started:
		p.fail(1, "section must be started before assignment", "write [DEFAULT], or the section of the option, above it")
		p.started = true // told once; what follows is skipped like this line
		return
	case p.section == "":
		return // nothing that was not complained of stands above it
	}
	if n := len(value); n > 0 && (value[0] == '"' || value[0] == '\'') && value[n-1] == value[0] {
		value = value[1:max(n-1, 1)]
		col++
	}
	p.out.assignments = append(p.out.assignments, assignment{
		section: p.section, group: groupKey(p.section),
		name: name, namePos: p.at(1), value: text{file: p.file},
	})
	p.b = textBuilder{segs: []seg{{line: p.line, col: col}}}
	p.b.b.WriteString(value)
	p.open, p.ender = true, ""
}

// isKnownName reports whether a line assigns to an option of the table.
func isKnownName(line string) bool {
	name, ok := assigned(line)
	return ok && !isPhase(name) && knownHarmless(name)
}

// show quotes a line that makes no sense, unless it may hold a part of a value
// that must not be shown.
func (p *fileParser) show(line string, prev *assignment) string {
	i := strings.IndexAny(line, "=:")
	switch {
	case i >= 0 && knownHarmless(strings.TrimFunc(line[:i], isSpace)):
		return ": " + quote(line)
	case prev != nil && !showable(prev.group, prev.name):
		return ""
	case i >= 0:
		return ": " + quote(line[:i+1]+" …")
	}
	return ": " + quote(line)
}

// invalidUTF8 gives the offset of the first byte that is not UTF-8, or -1.
func invalidUTF8(s string) int {
	for i, r := range s {
		if r == utf8.RuneError {
			if _, n := utf8.DecodeRuneInString(s[i:]); n == 1 {
				return i
			}
		}
	}
	return -1
}

// controlIn gives the offset of the first control character, or -1.
func controlIn(s string) int { return strings.IndexFunc(s, unicode.IsControl) }

// quote puts s in single quotes, shortened, with nothing in it that could
// upset a terminal.
func quote(s string) string {
	const longest = 80
	if utf8.RuneCountInString(s) > longest {
		s = string([]rune(s)[:longest]) + "…"
	}
	q := strconv.Quote(s)
	return "'" + strings.ReplaceAll(q[1:len(q)-1], `\"`, `"`) + "'"
}
