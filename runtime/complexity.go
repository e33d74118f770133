package runtime

import "github.com/wasakari/wasakari/runtime/internal/decode"

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

// constant skips a constant expression.
func constant(r *decode.Reader) {
	var i decode.Instruction
	for r.Err == nil {
		if r.NextConstant(&i); i.Op == decode.OpEnd {
			return
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
func bodyOf(r *decode.Reader) body {
	size := r.U32()
	at := r.Base + r.Pos
	in := r.Sub(size)
	groups := in.Count("groups of locals", 2, maxLocals)
	locals := int64(0)
	for range groups {
		locals += int64(in.U32())
		if in.ValueType(); in.Err != nil {
			break
		}
	}
	if locals > maxLocals {
		in.FailMany("locals in one function", locals, maxLocals)
	}
	if r.Err == nil {
		r.Err = in.Err
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
		r := &decode.Reader{Bytes: wasm[b.offset:][:b.size], Base: b.offset}
		for range r.U32() { // the groups of locals
			r.U32()
			r.Byte()
			if r.Err != nil {
				break
			}
		}
		l.bodies[i].code = r.Base + r.Pos
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
		if r.Err != nil {
			err = r.Err
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

// block gives the arity of a block.
func (w *walker) block(i *decode.Instruction) arity {
	switch i.Block {
	case 0:
		return w.arity(i.X)
	case decode.BlockEmpty:
		return arity{}
	}
	return arity{results: 1}
}

// branch gives how many values a branch to a label carries.
func (w *walker) branch(label uint32) int64 {
	if int64(label) >= int64(len(w.labels)) {
		return 0
	}
	return int64(w.labels[len(w.labels)-1-int(label)].carries)
}

// walk reads the instructions of one function, all of WebAssembly 2.0.
func (w *walker) walk(r *decode.Reader, function int) code {
	var c code
	results := w.function(uint32(function)).results //nolint:gosec // there are at most 50 200 functions
	w.labels = append(w.labels[:0], label{carries: results})
	var i decode.Instruction
	for len(w.labels) > 0 {
		if r.Next(len(w.types), &i); r.Err != nil {
			break
		}
		switch i.Op {
		case decode.OpBlock, decode.OpLoop, decode.OpIf:
			t := w.block(&i)
			at := label{t.results, w.labels[len(w.labels)-1].loops}
			if i.Op == decode.OpLoop {
				at = label{t.params, at.loops + 1}
				c.loops++
				c.loopDepth = max(c.loopDepth, at.loops)
			}
			c.blocks++
			c.jumps++
			c.values += t.sum()
			w.labels = append(w.labels, at)
			c.nesting = max(c.nesting, len(w.labels)-1)
		case decode.OpEnd:
			w.labels = w.labels[:len(w.labels)-1]
		case decode.OpReturn:
			c.values += int64(results)
		case decode.OpBr, decode.OpBrIf:
			c.values += w.branch(i.X)
			c.jumps++
		case decode.OpBrTable:
			labels := r.Branches(&i)
			for range i.Targets + 1 {
				c.values += w.branch(labels.U32())
			}
			c.branches = max(c.branches, i.Targets)
			c.jumps += int64(i.Targets) + 1
		case decode.OpCall:
			c.values += w.function(i.X).sum()
			c.calls = true
		case decode.OpCallIndirect:
			c.values += w.arity(i.X).sum()
			c.calls = true
		case decode.OpTableGrow:
			c.grows = w.growsTooFar(i.X) || c.grows
		}
	}
	if r.Err == nil && r.Left() > 0 {
		r.Fail("code after the end of a function")
	}
	return c
}

// growsTooFar reports whether to grow a table may make it too large.
func (l *layout) growsTooFar(index uint32) bool {
	t := int(index)
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
}
