package runtime

import (
	"fmt"
	"unicode/utf8"
)

// Bounds on what a module may declare. They are checked before anything else
// decodes the module: decoders allocate by these counts, and a file of a few
// bytes may claim four thousand million of anything.
const (
	maxTypes        = 5000
	maxTypeValues   = 1000    // parameters or results of one type
	maxAllValues    = 100_000 // parameters and results of all types
	maxNameBytes    = 64 << 10
	maxFunctions    = 50_000
	maxImports      = 200
	maxExports      = 200
	maxGlobals      = 10_000
	maxTables       = 100
	maxTableEntries = 65_536 // in all tables, with those that grow at their largest
	maxElements     = 10_000
	maxElementItems = 131_072 // in all element segments
	maxDataSegments = 100_000
	maxLocals       = 2000 // parameters included
	maxLocalNames   = 500_000
)

// Bounds on what makes the compiler slow. 92 KB of code with 2000 locals and
// 5000 loops took it 57 s and 2 GB, and no context stopped it. Real guests are
// well below: Go nests 551 deep and has tables of 1930 branches.
const (
	maxBody        = 512 << 10 // bytes
	maxNesting     = 4096
	maxBranches    = 10_000     // of one br_table
	maxLocalBlocks = 500_000    // locals × (blocks + loops + ifs) of one function
	maxValues      = 1 << 18    // parameters and results that calls, blocks and branches of one function carry
	maxJumps       = 20_000     // blocks, branches and targets of br_table of one function
	maxLoopWork    = 10_000_000 // locals × loops × how deep loops are nested, of one function
)

// Bounds on the sums over all functions. Fifty thousand functions that are each
// within the bounds above took 7 GB; the largest real guest seen, Go's vet with
// 14 MB, is far below.
const (
	maxSumLocals      = 2_000_000
	maxSumLocalBlocks = 500_000_000
	maxSumValues      = 8 << 20
	maxSumJumps       = 2_000_000_000 // jumps × jumps of each function
	maxSumLoopWork    = 200_000_000
)

// Figure is the largest of something in a module, and where it is.
type Figure struct {
	Value int64 `json:"value"`
	Limit int64 `json:"limit"`
	// Function is the index of the function, imports counted first; -1 when
	// none has any.
	Function int    `json:"function"`
	Name     string `json:"name,omitempty"` // of the function, if the module tells
}

func (f *Figure) raise(value int64, function int) {
	if value > f.Value || f.Function < 0 {
		f.Value, f.Function = value, function
	}
}

// Complexity holds the figures that admission bounds.
type Complexity struct {
	Body        Figure `json:"body_bytes"`
	Locals      Figure `json:"locals"`
	Nesting     Figure `json:"nesting"`
	Branches    Figure `json:"br_table_branches"`
	LocalBlocks Figure `json:"locals_times_blocks"`
	// Values counts the parameters and results that calls, blocks and branches
	// carry; each target of a br_table counts.
	Values Figure `json:"values_carried"`
	// Jumps counts blocks, branches and targets of br_table: the compiler's time
	// grows with its square.
	Jumps Figure `json:"jumps"`
	// LoopWork is locals × loops × how deep loops are nested.
	LoopWork Figure `json:"locals_times_loops_times_depth"`

	// Sums over all functions; Function is -1.
	SumLocals      Figure `json:"sum_locals"`
	SumLocalBlocks Figure `json:"sum_locals_times_blocks"`
	SumValues      Figure `json:"sum_values_carried"`
	SumJumps       Figure `json:"sum_jumps_squared"`
	SumLoopWork    Figure `json:"sum_locals_times_loops_times_depth"`

	// tableGrow is the first function that grows a table so that all tables may
	// have more than maxTableEntries; only Function and Name are used.
	tableGrow Figure
}

// tooMany is a count beyond its bound.
type tooMany struct {
	what        string
	count, most int64
}

func (e *tooMany) Error() string {
	return fmt.Sprintf("it has %d %s; at most %d are admitted", e.count, e.what, e.most)
}

// malformed says what is wrong with a module's bytes and where.
type malformed struct {
	offset int
	reason string
}

func (e *malformed) Error() string { return fmt.Sprintf("%s at byte %d", e.reason, e.offset) }

// reader decodes parts of a module. The first error sticks, and what is read
// after it is zero, so loops have to look at err.
type reader struct {
	b    []byte
	pos  int
	base int // offset of b in the module
	err  error
}

func (r *reader) fail(reason string) {
	if r.err == nil {
		r.err = &malformed{r.base + r.pos, reason}
		r.pos = len(r.b)
	}
}

func (r *reader) left() int { return len(r.b) - r.pos }

func (r *reader) byte() byte {
	if r.pos >= len(r.b) {
		r.fail("unexpected end")
		return 0
	}
	r.pos++
	return r.b[r.pos-1]
}

// take gives the next n bytes.
func (r *reader) take(n int64) []byte {
	if n > int64(r.left()) {
		r.fail("a length runs past the end")
		return nil
	}
	b := r.b[r.pos:][:n]
	r.pos += int(n)
	return b
}

// sub gives a reader of the next n bytes.
func (r *reader) sub(n int64) *reader {
	base := r.base + r.pos
	b := r.take(n)
	return &reader{b: b, base: base, err: r.err}
}

// u32 reads an unsigned number.
func (r *reader) u32() uint32 {
	var v uint64
	for shift := 0; shift < 35; shift += 7 {
		c := r.byte()
		v |= uint64(c&0x7f) << shift
		if c < 0x80 {
			if v > 0xffffffff {
				break
			}
			return uint32(v)
		}
	}
	r.fail("a number is too long")
	return 0
}

// skipNumber skips a signed or unsigned number of at most n bytes.
func (r *reader) skipNumber(n int) {
	for range n {
		if r.byte() < 0x80 {
			return
		}
	}
	r.fail("a number is too long")
}

// count reads the length of a vector whose entries have at least least bytes.
func (r *reader) count(what string, least, most int64) int {
	n := int64(r.u32())
	if n > most {
		if r.err == nil {
			r.err = &tooMany{what, n, most}
		}
		return 0
	}
	if n*least > int64(r.left()) {
		r.fail("there are fewer " + what + " than claimed")
		return 0
	}
	return int(n)
}

func (r *reader) name() string {
	n := int64(r.u32())
	if n > maxNameBytes && r.err == nil {
		r.err = &tooMany{"bytes in one name", n, maxNameBytes}
		return ""
	}
	b := r.take(n)
	if !utf8.Valid(b) {
		r.fail("a name is not UTF-8")
		return ""
	}
	return string(b)
}

// limits reads the limits of a memory or table. max is -1 when there is none.
func (r *reader) limits() (least, most int64) {
	flags := r.byte()
	if flags > 1 {
		r.fail("limits of an unknown kind (shared or 64-bit memories are not WebAssembly 2.0)")
	}
	least, most = int64(r.u32()), -1
	if flags == 1 {
		most = int64(r.u32())
	}
	return least, most
}

// What follows is stricter than wazero, which reads typed references (0x63,
// 0x64), tables with an initializer (0x40), and one byte for the number of a
// vector instruction: whoever reads it in another way than the compiler does
// takes operands for instructions, and the other way round.

// valueType reads a type of WebAssembly 2.0.
func (r *reader) valueType() {
	switch t := r.byte(); t {
	case 0x7f, 0x7e, 0x7d, 0x7c, 0x7b, 0x70, 0x6f: // i32, i64, f32, f64, v128, funcref, externref
	default:
		r.fail(fmt.Sprintf("a type of value 0x%02x, which is not WebAssembly 2.0", t))
	}
}

// referenceType reads funcref or externref.
func (r *reader) referenceType() {
	if t := r.byte(); t != 0x70 && t != 0x6f {
		r.fail(fmt.Sprintf("a type of reference 0x%02x, which is not WebAssembly 2.0", t))
	}
}

// zero reads a byte that is kept for later.
func (r *reader) zero() {
	if r.byte() != 0 {
		r.fail("a byte that must be zero is not")
	}
}

// constant skips a constant expression.
func (r *reader) constant() {
	for r.err == nil {
		switch op := r.byte(); op {
		case 0x0b: // end
			return
		case 0xd0: // ref.null
			r.referenceType()
		case 0x41, 0x23, 0xd2: // i32.const, global.get, ref.func
			r.skipNumber(5)
		case 0x42: // i64.const
			r.skipNumber(10)
		case 0x43: // f32.const
			r.take(4)
		case 0x44: // f64.const
			r.take(8)
		case 0xfd: // v128.const
			if r.byte() != 12 {
				r.fail("a constant expression does not end")
			}
			r.take(16)
		default:
			r.fail("a constant expression does not end")
		}
	}
}

// body is the code of one function.
type body struct {
	offset, size int
	locals       int // declared ones
	// What follows is known after measure.
	code  int  // offset of the first instruction
	calls bool // whether it calls anything
}

// bodyOf reads the head of a function's code.
func (r *reader) bodyOf() body {
	size := r.u32()
	at := r.base + r.pos
	in := r.sub(int64(size))
	groups := in.count("groups of locals", 2, maxLocals)
	locals := int64(0)
	for range groups {
		locals += int64(in.u32())
		if in.valueType(); in.err != nil {
			break
		}
	}
	if locals > maxLocals && in.err == nil {
		in.err = &tooMany{"locals in one function", locals, maxLocals}
	}
	if r.err == nil {
		r.err = in.err
	}
	return body{offset: at, size: int(size), locals: int(min(locals, maxLocals))}
}

// measure walks the code of all functions. An error says that the module is not
// valid, and how far it came.
func (l *layout) measure(wasm []byte) (Complexity, error) {
	c := Complexity{
		Body:        Figure{Limit: maxBody, Function: -1},
		Locals:      Figure{Limit: maxLocals, Function: -1},
		Nesting:     Figure{Limit: maxNesting, Function: -1},
		Branches:    Figure{Limit: maxBranches, Function: -1},
		LocalBlocks: Figure{Limit: maxLocalBlocks, Function: -1},
		Values:      Figure{Limit: maxValues, Function: -1},
		Jumps:       Figure{Limit: maxJumps, Function: -1},
		LoopWork:    Figure{Limit: maxLoopWork, Function: -1},

		SumLocals:      Figure{Limit: maxSumLocals, Function: -1},
		SumLocalBlocks: Figure{Limit: maxSumLocalBlocks, Function: -1},
		SumValues:      Figure{Limit: maxSumValues, Function: -1},
		SumJumps:       Figure{Limit: maxSumJumps, Function: -1},
		SumLoopWork:    Figure{Limit: maxSumLoopWork, Function: -1},

		tableGrow: Figure{Function: -1},
	}
	w := walker{layout: l}
	var err error
	for _, i := range l.imports {
		if i.kind == kindFunction {
			w.functions = append(w.functions, l.arity(i.typ))
		}
	}
	for _, t := range l.functions {
		w.functions = append(w.functions, l.arity(t))
	}
	for i, b := range l.bodies {
		function := l.importedFunctions + i
		locals := b.locals
		if i < len(l.functions) {
			locals += l.arity(l.functions[i]).params
		}
		r := &reader{b: wasm[b.offset:][:b.size], base: b.offset}
		for range r.u32() { // the groups of locals
			r.u32()
			r.byte()
			if r.err != nil {
				break
			}
		}
		l.bodies[i].code = r.base + r.pos
		code := w.walk(r, function)
		l.bodies[i].calls = code.calls
		c.Body.raise(int64(b.size), function)
		c.Locals.raise(int64(locals), function)
		c.Nesting.raise(int64(code.nesting), function)
		c.Branches.raise(int64(code.branches), function)
		c.LocalBlocks.raise(int64(locals)*int64(code.blocks), function)
		c.Values.raise(code.values, function)
		c.Jumps.raise(code.jumps, function)
		loopWork := int64(locals) * int64(code.loops) * int64(code.loopDepth)
		c.LoopWork.raise(loopWork, function)
		c.SumLocals.Value += int64(locals)
		c.SumLocalBlocks.Value += int64(locals) * int64(code.blocks)
		c.SumValues.Value += code.values
		c.SumJumps.Value += code.jumps * code.jumps
		c.SumLoopWork.Value += loopWork
		if code.grows && c.tableGrow.Function < 0 {
			c.tableGrow.Function = function
		}
		if r.err != nil {
			err = r.err
			break
		}
	}
	for _, f := range []*Figure{&c.Body, &c.Locals, &c.Nesting, &c.Branches, &c.LocalBlocks, &c.Values, &c.Jumps, &c.LoopWork, &c.tableGrow} {
		f.Name = l.names[f.Function]
	}
	return c, err
}

// code is what walk finds in a function.
type code struct {
	nesting, blocks, branches int
	loops, loopDepth          int
	jumps                     int64 // blocks, branches, targets
	values                    int64 // that calls, blocks and branches carry
	calls                     bool
	grows                     bool // a table that may get too large
}

// arity counts the parameters and results of a function or block.
type arity struct{ params, results int }

func (a arity) sum() int64 { return int64(a.params) + int64(a.results) }

// arity gives that of a type, zero when there is no such type: the module is
// invalid then, which is found elsewhere.
func (l *layout) arity(typ uint32) arity {
	t, _ := l.typeOf(typ)
	return arity{len(t.params), len(t.results)}
}

// walker reads the instructions of functions.
type walker struct {
	*layout
	functions []arity // by index, imports first
	labels    []label // of the function that is read, innermost last
}

// label is where a branch may lead.
type label struct {
	carries int // how many values a branch carries there
	loops   int // how many loops are around, itself included
}

// function gives the arity of a function.
func (w *walker) function(index uint32) arity {
	if int64(index) >= int64(len(w.functions)) {
		return arity{}
	}
	return w.functions[index]
}

// blockType reads the type of a block.
func (w *walker) blockType(r *reader) arity {
	from := r.pos
	if r.left() > 0 && r.b[from] == 0x40 {
		r.pos++
		return arity{}
	}
	if r.left() > 0 && r.b[from] > 0x40 && r.b[from] < 0x80 { // a negative number: a type of value
		r.valueType()
		return arity{results: 1}
	}
	t := r.u32()
	if r.err == nil && (int64(t) >= int64(len(w.types)) || r.b[r.pos-1]&0x40 != 0) { // the last: it is negative, too
		r.fail("a block of a type that is not there")
	}
	return w.arity(t)
}

// branch gives how many values a branch to a label carries.
func (w *walker) branch(label uint32) int64 {
	if int64(label) >= int64(len(w.labels)) {
		return 0
	}
	return int64(w.labels[len(w.labels)-1-int(label)].carries)
}

// walk reads the instructions of one function, all of WebAssembly 2.0.
func (w *walker) walk(r *reader, function int) code {
	var c code
	results := w.function(uint32(function)).results //nolint:gosec // there are at most 50 200 functions
	w.labels = append(w.labels[:0], label{carries: results})
	for r.err == nil && len(w.labels) > 0 {
		op := r.byte()
		switch {
		case op == 0x02 || op == 0x03 || op == 0x04: // block, loop, if
			t := w.blockType(r)
			at := label{t.results, w.labels[len(w.labels)-1].loops}
			if op == 0x03 {
				at = label{t.params, at.loops + 1}
				c.loops++
				c.loopDepth = max(c.loopDepth, at.loops)
			}
			c.blocks++
			c.jumps++
			c.values += t.sum()
			w.labels = append(w.labels, at)
			c.nesting = max(c.nesting, len(w.labels)-1)
		case op == 0x0b: // end
			w.labels = w.labels[:len(w.labels)-1]
		case op == 0x0f: // return
			c.values += int64(results)
		case op <= 0x01 || op == 0x05 || op == 0x1a || op == 0x1b ||
			op >= 0x45 && op <= 0xc4 || op == 0xd1:
			// unreachable, nop, else, drop, select, numeric, ref.is_null
		case op == 0x0e: // br_table
			n := r.count("branches", 1, 1<<32)
			for range n + 1 {
				c.values += w.branch(r.u32())
			}
			c.branches = max(c.branches, n)
			c.jumps += int64(n) + 1
		case op == 0x0c || op == 0x0d: // br, br_if
			c.values += w.branch(r.u32())
			c.jumps++
		case op >= 0x20 && op <= 0x26 || op == 0xd2: // variables, tables, ref.func
			r.u32()
		case op == 0x10: // call
			c.values += w.function(r.u32()).sum()
			c.calls = true
		case op == 0x11: // call_indirect
			c.values += w.arity(r.u32()).sum()
			r.u32()
			c.calls = true
		case op == 0x1c: // select of types
			if r.byte() != 1 {
				r.fail("a select of several values, which is not WebAssembly 2.0")
			}
			r.valueType()
		case op >= 0x28 && op <= 0x3e: // loads and stores
			r.u32()
			r.u32()
		case op == 0x3f || op == 0x40: // memory.size, memory.grow
			r.zero()
		case op == 0xd0: // ref.null
			r.referenceType()
		case op == 0x41: // i32.const
			r.skipNumber(5)
		case op == 0x42: // i64.const
			r.skipNumber(10)
		case op == 0x43: // f32.const
			r.take(4)
		case op == 0x44: // f64.const
			r.take(8)
		case op == 0xfc:
			c.grows = w.walkMisc(r) || c.grows
		case op == 0xfd:
			walkVector(r)
		default:
			r.fail(fmt.Sprintf("unknown instruction 0x%02x", op))
		}
	}
	if r.err == nil && r.left() > 0 {
		r.fail("code after the end of a function")
	}
	return c
}

// walkMisc reads an instruction with prefix 0xfc. It reports whether that may
// make a table too large.
func (l *layout) walkMisc(r *reader) (grows bool) {
	switch op := r.u32(); {
	case op <= 7: // saturating conversions
	case op == 8 || op == 12 || op == 14 || op == 10: // memory.init, table.init, table.copy, memory.copy
		r.u32()
		r.u32()
	case op == 9 || op == 11 || op == 13 || op == 16 || op == 17: // data.drop, memory.fill, elem.drop, table.size, table.fill
		r.u32()
	case op == 15: // table.grow
		t := int(r.u32())
		if t >= len(l.tables) || l.tables[t].most < 0 {
			return true
		}
		l.tables[t].grows = true
		total := int64(0)
		for _, t := range l.tables {
			if t.grows {
				total += t.most
			} else {
				total += t.least
			}
		}
		return total > maxTableEntries
	default:
		r.fail(fmt.Sprintf("unknown instruction 0xfc %d", op))
	}
	return false
}

// walkVector reads an instruction with prefix 0xfd.
func walkVector(r *reader) {
	op := r.byte()
	if op >= 0x80 && r.byte() != 1 { // the number, written in as few bytes as it takes
		r.fail("a vector instruction that is not WebAssembly 2.0")
	}
	switch {
	case op <= 11 || op == 92 || op == 93: // loads and stores
		r.u32()
		r.u32()
	case op == 12 || op == 13: // v128.const, i8x16.shuffle
		r.take(16)
	case op >= 21 && op <= 34: // lanes
		r.byte()
	case op >= 84 && op <= 91: // loads and stores of a lane
		r.u32()
		r.u32()
		r.byte()
	}
}
