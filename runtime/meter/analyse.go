package meter

import (
	"math"

	"github.com/wasakari/wasakari/runtime/internal/decode"
)

// function is what analysis finds in a function of the module's own.
type function struct {
	// work is the cost of all its instructions, each counted once, with that of
	// the functions it calls.
	work int64
	// frame is a bound of its stack frame in bytes; after the graph is known, of
	// all frames up to the next function that counts its stack.
	frame int64
	// calls are the calls to own functions, in analysis.calls.
	callsFrom, callsTo uint32

	jumps, sites int  // branches and the like; calls
	indirect     bool // it calls through a table
	loops        bool
	quiet        bool // it has a loop in which nothing is called
	helpers      bool // it fills or copies, as much as it finds out when it runs
	copies       bool // memory, at that
	cyclic       bool // it may come to call itself
	counts       bool // it counts its stack
}

// local reports whether a function keeps the counter in a local: worth it
// where loops run for long before anything is called.
func (f *function) local() bool { return !f.tiny() && (f.quiet || f.loops && f.jumps >= 3*f.sites) }

// tiny functions count no units: whoever calls them does, since what they
// cost is known there.
func (f *function) tiny() bool {
	return !f.loops && !f.cyclic && !f.indirect && !f.helpers && !f.counts && f.work <= maxTiny
}

// Bounds on what may happen between two looks at the counters.
const (
	maxTiny     = 10      // units of a function that counts none
	maxUnlooked = 64      // units of a function that does not look at the counter at its beginning
	maxPiece    = 500     // units that are charged without a look
	maxCharge   = 5000    // units that are charged at once
	maxUncount  = 8 << 10 // bytes of stack of functions that do not count it
	maxWork     = math.MaxInt32
)

// Sizes of stack frames, in bytes. The compiler keeps return address, frame
// pointer and its own values besides the locals and operands.
const (
	frameHead   = 64
	frameSlot   = 8
	frameVector = 16
)

// analysis is what is known about all functions.
type analysis struct {
	functions []function
	calls     []uint32
}

// control is one open block.
type control struct {
	op     byte
	dead   bool // it was opened where nothing runs
	height int  // of the operands below its parameters
	types  arity
	// What follows is known to the pass that uses it.
	segment int // in which it was opened
	depth   int // of its label, in the new code
	called  bool
}

// localsOf reads the head of a function's code and counts its locals.
func (m *module) localsOf(i int, r *decode.Reader) (locals int, wide bool) {
	t := m.types[m.functions[m.importedFunctions+i]]
	params := m.bytes(t.params)
	total := int64(len(params))
	for _, p := range params {
		wide = wide || p == typeV128
	}
	for range r.Count("groups of locals", 2, decode.Unbounded) {
		total += int64(r.U32())
		wide = r.ValueType() == typeV128 || wide
		if r.Err != nil {
			break
		}
	}
	if total > maxLocals {
		r.Fail("too many locals")
	}
	return int(total), wide
}

// maxLocals is what WebAssembly engines take at most, less what is added.
const maxLocals = 49_000

func (m *module) body(i int) *decode.Reader {
	b := m.bodies[i]
	return &decode.Reader{Bytes: m.wasm[b.start:b.end], Base: int(b.start)}
}

// analyse reads the code of all functions and checks every index in it.
func (m *module) analyse() (*analysis, error) {
	a := &analysis{functions: make([]function, len(m.bodies))}
	var stack []control
	for i := range m.bodies {
		var err error
		if stack, err = m.analyseFunction(a, i, stack); err != nil {
			return nil, err
		}
	}
	m.graph(a)
	return a, nil
}

func (m *module) analyseFunction(a *analysis, n int, stack []control) ([]control, error) {
	r := m.body(n)
	locals, wide := m.localsOf(n, r)
	f := &a.functions[n]
	f.callsFrom = uint32(len(a.calls))
	results := m.arity(m.functions[m.importedFunctions+n]).results
	stack = append(stack[:0], control{op: decode.OpBlock, types: arity{results: results}})
	height, highest, dead := 0, 0, false
	work := int64(0)
	var i, before decode.Instruction
	for r.Err == nil && len(stack) > 0 {
		before = i
		m.next(r, locals, &i)
		if r.Err != nil {
			break
		}
		top := &stack[len(stack)-1]
		fact := factsOf(i.Op)
		if !dead {
			work += int64(fact.cost)
			height += int(fact.grows)
		}
		wide = wide || i.Op>>8 == 0xfd
		switch i.Op {
		case decode.OpBlock, decode.OpLoop, decode.OpIf:
			block := m.blockArity(&i)
			stack = append(stack, control{op: byte(i.Op), dead: dead, height: height - block.params, types: block})
			if i.Op == decode.OpLoop && !dead {
				f.loops = true
				f.jumps++
				work += costLoop
			}
		case decode.OpElse:
			if top.op != decode.OpIf || !dead && height != top.height+top.types.results {
				r.Fail("an else out of place")
			}
			top.op = decode.OpElse
			f.jumps++
			height, dead = top.height+top.types.params, top.dead
		case decode.OpEnd:
			if !dead && height != top.height+top.types.results {
				r.Fail("a block does not end with its results")
			}
			height, dead = top.height+top.types.results, top.dead
			if top.op == decode.OpLoop && !top.dead && !top.called {
				f.quiet = true
			}
			if len(stack) > 1 && top.called {
				stack[len(stack)-2].called = true
			}
			stack = stack[:len(stack)-1]
		case decode.OpBr, decode.OpBrIf:
			if int64(i.X) >= int64(len(stack)) {
				r.Fail("a branch to no label")
			}
			f.jumps++
		case decode.OpBrTable:
			labels := r.Branches(&i)
			for range i.Targets + 1 {
				labels.Index(len(stack), "label")
				if labels.Err != nil {
					break
				}
			}
			r.Err = labels.Err
		case decode.OpCall, decode.OpCallIndirect:
			if dead {
				break
			}
			typ := i.X
			if i.Op == decode.OpCall {
				typ = m.functions[i.X]
				if own := int(i.X) - m.importedFunctions; own >= 0 {
					a.calls = append(a.calls, uint32(own))
				} else {
					work += costImport - costCall
				}
			} else {
				f.indirect = true
			}
			t := m.arity(typ)
			height += t.results - t.params
			highest = max(highest, height+t.params) // what is passed is there until it is taken
			// What is called before giving up is not on anybody's way.
			if r.Left() == 0 || r.Bytes[r.Pos] != decode.OpUnreachable {
				top.called = true
			}
			f.sites++
		case decode.OpRefFunc:
			m.referenced = append(m.referenced, i.X)
		case decode.OpMemoryInit, decode.OpDataDrop:
			m.usesData = true
		case decode.OpTableGrow:
			if own := int(i.X) - m.importedTables; own >= 0 {
				m.tables[own].growsHere = true
			}
		}
		if !dead && helped(i.Op) {
			small, constant := sizeOf(&i, &before)
			if constant {
				work += small
			} else {
				f.helpers = true
				// Most of what is filled or copied is small.
				f.copies = f.copies || i.Op == decode.OpMemoryCopy || i.Op == decode.OpMemoryFill
				if !f.copies {
					stack[len(stack)-1].called = true
				}
			}
		}
		if height < 0 && !dead {
			r.Fail("an operand that is not there")
		}
		highest = max(highest, height)
		if ends(i.Op) {
			dead = true
		}
	}
	if r.Err == nil && r.Left() > 0 {
		r.Fail("code after the end of a function")
	}
	f.callsTo = uint32(len(a.calls))
	f.work = min(work, maxWork)
	slot := int64(frameSlot)
	if wide {
		slot = frameVector
	}
	f.frame = frameHead + slot*int64(locals+highest)
	return stack, r.Err
}

// ends reports whether nothing runs after an instruction.
func ends(op uint16) bool {
	return op == decode.OpUnreachable || op == decode.OpBr || op == decode.OpBrTable || op == decode.OpReturn
}

// sizeOf gives the units of filling or copying as much as the instruction
// before says, when that is a constant and little.
func sizeOf(i, before *decode.Instruction) (units int64, constant bool) {
	if i.Op != decode.OpMemoryFill && i.Op != decode.OpMemoryCopy {
		return 0, false
	}
	if before.Op != decode.OpI32Const || before.End != i.At || before.X > small {
		return 0, false
	}
	return int64(before.X / bytesPerUnit), true
}

// helped reports whether an instruction is replaced by a helper.
func helped(op uint16) bool {
	switch op {
	case decode.OpMemoryInit, decode.OpMemoryCopy, decode.OpMemoryFill, decode.OpTableInit, decode.OpTableCopy, decode.OpTableGrow, decode.OpTableFill:
		return true
	}
	return false
}

// graph finds out which functions may come to call themselves, and sums work
// and stack of the others along their calls.
//
// One node more than there are functions stands for calls through tables: it
// leads to each function that may be in one. The components of the graph are
// found by Tarjan's algorithm, which completes those that are called first.
func (m *module) graph(a *analysis) {
	n := len(a.functions)
	targets := m.targets()
	successors := func(v uint32) []uint32 {
		if int(v) == n {
			return targets
		}
		f := &a.functions[v]
		return a.calls[f.callsFrom:f.callsTo]
	}
	type visit struct{ node, next uint32 }
	var (
		index   = make([]uint32, n+1) // 0: not seen
		low     = make([]uint32, n+1)
		onStack = make([]bool, n+1)
		stack   []uint32
		visits  []visit
		counter uint32
		through int64 // bound of the stack of what is called through a table
	)
	enter := func(v uint32) {
		counter++
		index[v], low[v] = counter, counter
		stack = append(stack, v)
		onStack[v] = true
		visits = append(visits, visit{node: v})
	}
	// called gives what a call to w adds to the stack.
	called := func(w uint32) int64 {
		switch {
		case int(w) == n:
			return through
		case a.functions[w].counts:
			return 0
		}
		return a.functions[w].frame
	}
	complete := func(component []uint32) {
		self := false
		if len(component) == 1 {
			for _, w := range successors(component[0]) {
				self = self || w == component[0]
			}
		}
		cyclic := len(component) > 1 || self
		for _, v := range component {
			if int(v) < n {
				a.functions[v].cyclic, a.functions[v].counts = cyclic, cyclic
			}
		}
		for _, v := range component { // the node of tables first
			if int(v) == n {
				for _, w := range targets {
					through = max(through, called(w))
				}
			}
		}
		for _, v := range component {
			if int(v) == n {
				continue
			}
			f := &a.functions[v]
			deepest := int64(0)
			for _, w := range successors(v) {
				if g := &a.functions[w]; !g.cyclic {
					f.work = min(f.work+g.work, maxWork)
				}
				deepest = max(deepest, called(w))
			}
			if f.indirect {
				deepest = max(deepest, called(uint32(n)))
			}
			f.frame += deepest
			if f.frame > maxUncount {
				f.counts = true
			}
		}
	}
	for root := range uint32(n + 1) {
		if index[root] != 0 {
			continue
		}
		enter(root)
		for len(visits) > 0 {
			at := &visits[len(visits)-1]
			v := at.node
			next := successors(v)
			extra := uint32(0)
			if int(v) < n && a.functions[v].indirect {
				extra = 1
			}
			if int(at.next) < len(next)+int(extra) {
				w := uint32(n)
				if int(at.next) < len(next) {
					w = next[at.next]
				}
				at.next++
				switch {
				case index[w] == 0:
					enter(w)
				case onStack[w]:
					low[v] = min(low[v], index[w])
				}
				continue
			}
			visits = visits[:len(visits)-1]
			if len(visits) > 0 {
				u := visits[len(visits)-1].node
				low[u] = min(low[u], low[v])
			}
			if low[v] == index[v] {
				from := len(stack) - 1
				for stack[from] != v {
					from--
				}
				for _, w := range stack[from:] {
					onStack[w] = false
				}
				complete(stack[from:])
				stack = stack[:from]
			}
		}
	}
}

// targets lists the own functions that a table may come to hold.
func (m *module) targets() []uint32 {
	seen := make([]bool, len(m.bodies))
	var list []uint32
	add := func(functions []uint32) {
		for _, f := range functions {
			if own := int(f) - m.importedFunctions; own >= 0 && !seen[own] {
				seen[own] = true
				list = append(list, uint32(own))
			}
		}
	}
	add(m.referenced)
	if m.tableShared {
		add(m.exported)
	}
	return list
}

// looks reports whether a function looks at the counter at its beginning.
func (f *function) looks() bool { return f.cyclic || f.indirect || f.work > maxUnlooked }

// A charge is put before an instruction.
type charge struct {
	at   int // offset in the code
	cost int64
	loop bool // at the head of a loop
	// What follows is for the pass that makes them.
	into   int // the one before it on every way, -1: none
	merged int64
	calls  bool // something that is worth a charge, and often never reached
	gone   bool // merged with another one
}

// maxMerged is how many units a charge may take in advance for code that may
// not be reached.
const maxMerged = 20

// charges cuts a function into pieces that are run as a whole, or nearly so,
// and says what each costs. They are in the order of the code.
func (m *module) charges(a *analysis, n int, list []charge, stack []control) ([]charge, []control) {
	r := m.body(n)
	locals, _ := m.localsOf(n, r)
	list = append(list[:0], charge{at: r.Pos, into: -1})
	now := 0
	stack = append(stack[:0], control{op: decode.OpBlock})
	dead := false
	root := func(s int) int {
		for list[s].gone {
			s = list[s].into
		}
		return s
	}
	finish := func() { // of the piece that ends here
		c := &list[now]
		if c.loop || c.into < 0 || c.gone {
			return
		}
		into := &list[root(c.into)]
		if c.cost == 0 || !c.calls && into.merged+c.merged+c.cost <= maxMerged {
			into.cost += c.cost
			into.merged += c.merged + c.cost
			c.gone = true
		}
	}
	begin := func(at, into int, loop bool) {
		list = append(list, charge{at: at, into: into, loop: loop})
		now = len(list) - 1
	}
	var i, previous decode.Instruction
	for r.Err == nil && len(stack) > 0 {
		previous = i
		m.next(r, locals, &i)
		if r.Err != nil {
			break
		}
		top := &stack[len(stack)-1]
		if !dead {
			list[now].cost += int64(factsOf(i.Op).cost)
			if small, constant := sizeOf(&i, &previous); constant {
				list[now].cost += small
			}
		}
		switch i.Op {
		case decode.OpBlock, decode.OpLoop, decode.OpIf:
			stack = append(stack, control{op: byte(i.Op), dead: dead, segment: now})
			if dead {
				break
			}
			switch before := now; i.Op {
			case decode.OpLoop:
				finish()
				begin(i.End, -1, true)
				list[now].cost = costLoop
			case decode.OpIf:
				finish()
				begin(i.End, before, false)
			}
		case decode.OpElse:
			dead = top.dead
			if !dead {
				finish()
				begin(i.End, top.segment, false)
			}
		case decode.OpEnd:
			wasDead := dead
			dead = top.dead
			// A block without branches to it goes on as it was.
			if !dead && (top.op != decode.OpBlock || top.called || wasDead) {
				finish()
				begin(i.End, top.segment, false)
			}
			stack = stack[:len(stack)-1]
		case decode.OpBr:
			if !dead {
				stack[len(stack)-1-int(i.X)].called = true
			}
		case decode.OpBrTable:
			if !dead {
				labels := r.Branches(&i)
				for range i.Targets + 1 {
					if x := int(labels.U32()); x < len(stack) {
						stack[len(stack)-1-x].called = true
					}
				}
			}
		case decode.OpBrIf:
			if dead {
				break
			}
			to := &stack[len(stack)-1-int(i.X)]
			to.called = true
			before := now
			finish()
			begin(i.End, before, false)
		case decode.OpCall:
			if dead {
				break
			}
			if own := int(i.X) - m.importedFunctions; own < 0 {
				list[now].cost += costImport - costCall
				list[now].calls = true
			} else if f := &a.functions[own]; f.tiny() {
				list[now].cost += f.work
			} else {
				list[now].calls = true
			}
		}
		if ends(i.Op) {
			dead = true
		}
		if !dead && list[now].cost > maxCharge {
			before := now
			finish()
			begin(i.End, before, false)
		}
	}
	finish()
	return list, stack
}
