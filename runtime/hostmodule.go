package runtime

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/wasakari/wasakari/abi"
	"github.com/wasakari/wasakari/runtime/meter"
)

// hostFunction is one function of a host module: its signature in letters, i
// for i32 and I for i64, the results after a colon, and what it does. The
// arguments and results are on the stack.
type hostFunction struct {
	name      string
	signature string
	do        func(s *sandbox, mem []byte, stack []uint64)
}

// abiFunctions implement the six imports of package abi, where their contracts
// are.
var abiFunctions = []hostFunction{
	{abi.Call, "iiiiii:I", abiCall},
	{abi.Take, "ii:I", abiTake},
	{abi.Submit, "iiii:I", abiSubmit},
	{abi.Wait, "iii:I", abiWait},
	{abi.Log, "iii:", abiLog},
	{abi.SetProgress, "iii:", abiProgress},
}

// hostCall is a host function as wazero calls it.
type hostCall struct {
	do    func(s *sandbox, mem []byte, stack []uint64)
	units int
}

// Call implements api.GoModuleFunction. The guest's memory is looked at as the
// sandbox allocated it, which is quicker than to ask wazero for it.
func (c *hostCall) Call(ctx context.Context, _ api.Module, stack []uint64) {
	s := sandboxOf(ctx)
	if c.units > 0 {
		s.charge(c.units)
	}
	c.do(s, s.memory.bytes, stack)
}

// provide instantiates a host module, once in each wazero.Runtime.
func provide(ctx context.Context, rt wazero.Runtime, name string, functions []hostFunction) error {
	b := rt.NewHostModuleBuilder(name)
	for _, f := range functions {
		params, results := valueTypes(f.signature)
		call := &hostCall{f.do, unitsCall}
		if name == meter.ImportModule {
			call.units = 0
		}
		b.NewFunctionBuilder().WithGoModuleFunction(call, params, results).Export(f.name)
	}
	_, err := b.Instantiate(ctx)
	return err
}

func valueTypes(signature string) (params, results []api.ValueType) {
	p, r, _ := strings.Cut(signature, ":")
	convert := func(letters string) []api.ValueType {
		types := make([]api.ValueType, len(letters))
		for i, l := range letters {
			types[i] = api.ValueTypeI32
			if l == 'I' {
				types[i] = api.ValueTypeI64
			}
		}
		return types
	}
	return convert(p), convert(r)
}

// view gives the guest's bytes at ptr, without copying. Anything outside its
// memory is a trap that names import and argument.
func view(mem []byte, function, argument string, ptr, n uint64) []byte {
	from, length := api.DecodeU32(ptr), api.DecodeU32(n)
	to := uint64(from) + uint64(length)
	if to > uint64(len(mem)) {
		panic(violation(fmt.Sprintf("%s: %s pointer 0x%x + %d bytes is outside memory, which has %d bytes", function, argument, from, length, len(mem))))
	}
	return mem[from:to:to]
}

func abiCall(s *sandbox, mem []byte, stack []uint64) {
	name := view(mem, abi.Call, "op", stack[0], stack[1])
	req := view(mem, abi.Call, "request", stack[2], stack[3])
	out := view(mem, abi.Call, "answer", stack[4], stack[5])
	answer, errno := s.call(name, req)
	s.bill(unitsByte * len(answer))
	s.kept = answer
	s.keeps = true
	if errno != abi.ErrnoOK {
		stack[0] = api.EncodeI64(-int64(errno))
		return
	}
	stack[0] = api.EncodeI64(s.handOver(out))
}

func abiTake(s *sandbox, mem []byte, stack []uint64) {
	out := view(mem, abi.Take, "answer", stack[0], stack[1])
	if !s.keeps {
		stack[0] = api.EncodeI64(-int64(abi.ErrnoNotFound))
		return
	}
	stack[0] = api.EncodeI64(s.handOver(out))
}

// handOver copies the answer kept to out if it fits, and gives its length.
func (s *sandbox) handOver(out []byte) int64 {
	if len(s.kept) <= len(out) {
		copy(out, s.kept)
	}
	return int64(len(s.kept))
}

func abiSubmit(s *sandbox, mem []byte, stack []uint64) {
	name := view(mem, abi.Submit, "op", stack[0], stack[1])
	req := view(mem, abi.Submit, "request", stack[2], stack[3])
	ticket, refusal := s.submit(name, req)
	if refusal != nil {
		// The contract has no room for a text here, so it goes to the log.
		s.logLines(abi.LevelWarn, "submit: "+refusal.Error())
		stack[0] = api.EncodeI64(-int64(refusal.Code))
		return
	}
	stack[0] = uint64(ticket)
}

func abiWait(s *sandbox, mem []byte, stack []uint64) {
	timeout := time.Duration(-1)
	if ms := api.DecodeI32(stack[0]); ms >= 0 {
		timeout = time.Duration(ms) * time.Millisecond
	}
	out := view(mem, abi.Wait, "answer", stack[1], stack[2])
	s.kept, s.keeps = nil, false
	t, errno := s.wait(timeout)
	if errno != abi.ErrnoOK {
		stack[0] = api.EncodeI64(-int64(errno))
		return
	}
	s.bill(unitsByte * len(t.answer))
	s.kept, s.keeps = t.answer, true
	low := abi.WaitError | int64(t.errno)
	if t.errno == abi.ErrnoOK {
		low = s.handOver(out)
	}
	stack[0] = api.EncodeI64(int64(t.id)<<32 | low)
}

func abiLog(s *sandbox, mem []byte, stack []uint64) {
	level := abi.Level(api.DecodeI32(stack[0]))
	if level < abi.LevelDebug || level > abi.LevelError {
		level = abi.LevelInfo
	}
	msg := view(mem, abi.Log, "message", stack[1], stack[2])
	s.charge(unitsByte * min(len(msg), s.logRoom()))
	s.logLines(level, clip(msg, s.logRoom()))
}

func abiProgress(s *sandbox, mem []byte, stack []uint64) {
	permille := int(api.DecodeI32(stack[0]))
	msg := view(mem, abi.SetProgress, "message", stack[1], stack[2])
	s.throttle()
	s.host.Progress(max(0, min(permille, 1000)), printable(clip(msg, maxText)))
}

// maxText bounds a reason and a progress message, in bytes.
const maxText = 4096

// call does an op for a guest that waits for it. With an errno the answer is
// the error document.
func (s *sandbox) call(name, req []byte) ([]byte, abi.Errno) {
	s.hostCalls++
	if s.trace != nil {
		c := s.traced(name, req)
		errno := abi.ErrnoCanceled // when the run ends before the answer comes
		var answer []byte
		defer func() { s.report(c, answer, errno) }()
		answer, errno = s.answer(name, req)
		return answer, errno
	}
	return s.answer(name, req)
}

func (s *sandbox) answer(name, req []byte) ([]byte, abi.Errno) {
	s.spend(unitsOp + unitsByte*min(len(req), s.limits.RequestBytes))
	s.throttle()
	op, refusal := s.admit(name, req)
	if refusal != nil {
		return document(refusal)
	}
	if op.Kind == abi.Local {
		answer, err := s.local(op, req)
		return s.conclude(op, answer, err)
	}
	t := s.begin(op, req)
	s.rest(-1, t.done)
	s.check()
	return t.answer, t.errno
}

// check stops the guest when the run is over.
func (s *sandbox) check() {
	if s.ctx.Err() != nil {
		panic(errStopped)
	}
}

// admit finds the op and checks the request's size.
func (s *sandbox) admit(name, req []byte) (*abi.Op, *abi.Error) {
	// Guests ask for the same op many times in a row, and comparing is quicker
	// than looking up.
	op := s.lastOp
	if op == nil || op.Name != string(name) {
		if op = abi.LookupOp(name); op == nil {
			return nil, unknownOp(name)
		}
		s.lastOp = op
	}
	if len(req) > s.limits.RequestBytes {
		return nil, abi.Errorf(abi.ErrnoTooLarge, "%s: %v", op.Name, s.limits.requestError(len(req)))
	}
	return op, nil
}

// local does a Local op: what the runtime serves itself, or the host, at once.
func (s *sandbox) local(op *abi.Op, req []byte) ([]byte, error) {
	switch op {
	case opCancel:
		return s.cancelTicket(req)
	case opReason:
		return s.setReason(req)
	}
	return s.host.Do(s.ctx, op, req)
}

// The ops that the runtime serves itself, and the one whose answer is the module's own.
var (
	opCancel = abi.LookupOp([]byte(abi.OpTaskCancel))
	opReason = abi.LookupOp([]byte(abi.OpTaskReason))
	opScript = abi.LookupOp([]byte(abi.OpTaskScript))
)

var emptyAnswer = []byte("{}")

func (s *sandbox) setReason(req []byte) ([]byte, error) {
	var r abi.TaskReasonRequest
	if err := abi.DecodeRequest(abi.OpTaskReason, req, &r); err != nil {
		return nil, err
	}
	if s.describes { // a document, for a program
		s.reason = r.Reason
		return emptyAnswer, nil
	}
	s.reason = printableLines(clip([]byte(r.Reason), maxText))
	return emptyAnswer, nil
}

// conclude turns what the host said into an answer or an error document.
func (s *sandbox) conclude(op *abi.Op, answer []byte, err error) ([]byte, abi.Errno) {
	if err != nil {
		return document(refusalOf(op, err))
	}
	if len(answer) > s.limits.AnswerBytes && op != opScript { // a script is bounded when it is admitted
		return document(abi.Errorf(abi.ErrnoTooLarge, "%s: %v", op.Name, s.limits.answerError(len(answer))))
	}
	return answer, abi.ErrnoOK
}

// refusalOf gives the error in the words of the ABI.
func refusalOf(op *abi.Op, err error) *abi.Error {
	var e *abi.Error
	switch {
	case errors.As(err, &e) && e.Code > abi.ErrnoOK:
		return e
	case errors.Is(err, context.Canceled):
		return abi.Errorf(abi.ErrnoCanceled, "%s: canceled", op.Name)
	case errors.Is(err, context.DeadlineExceeded):
		return abi.Errorf(abi.ErrnoTimeout, "%s: %v", op.Name, err)
	}
	return abi.Errorf(abi.ErrnoUnavailable, "%s: %v", op.Name, err)
}

// document writes an error document.
func document(e *abi.Error) ([]byte, abi.Errno) {
	doc, err := json.Marshal(e)
	if err != nil { // only strings and a number are in it
		doc = []byte(`{"code":"unavailable","message":"the error could not be written"}`)
	}
	return doc, e.Code
}

func unknownOp(name []byte) *abi.Error {
	shown := printable(clip(name, 64))
	if near := abi.NearestOp(name); near != "" {
		return abi.Errorf(abi.ErrnoInvalid, "no op %q; did you mean %s?", shown, near)
	}
	return abi.Errorf(abi.ErrnoInvalid, "no op %q", shown)
}

// throttle waits for the turn of an op.
func (s *sandbox) throttle() {
	for {
		wait := s.pace.take()
		if wait == 0 {
			return
		}
		s.park(wait, nil)
	}
}

// park waits for d of real time, for ever when it is negative, but at most until
// early is ready, which it reports, or no op is in flight any more where sleeps
// are skipped. It does not return when the run is over.
func (s *sandbox) park(d time.Duration, early <-chan struct{}) bool {
	var expired <-chan time.Time
	if d >= 0 {
		timer := time.NewTimer(d)
		defer timer.Stop()
		expired = timer.C
	}
	select {
	case <-early:
		return true
	case <-expired:
	case <-s.skip.idle:
	case <-s.ctx.Done():
		panic(errStopped)
	}
	return false
}

// clip takes at most n bytes, whole characters only, as valid UTF-8.
func clip(b []byte, n int) string {
	if len(b) > n {
		b = b[:max(n, 0)]
		for i := 0; i < utf8.UTFMax-1 && len(b) > 0; i++ {
			if r, width := utf8.DecodeLastRune(b); r != utf8.RuneError || width != 1 {
				break
			}
			b = b[:len(b)-1]
		}
	}
	return strings.ToValidUTF8(string(b), "\uFFFD")
}

// printable replaces control characters and those that turn the direction of
// text: what a guest writes ends on an operator's terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\t':
		case r < ' ', r >= 0x7f && r < 0xa0, r >= 0x2028 && r <= 0x202e, r >= 0x2066 && r <= 0x2069:
			return '\uFFFD'
		}
		return r
	}, s)
}

// maxShown bounds a name of the guest's in a message, in bytes.
const maxShown = 256

// shown makes a name fit for a message.
func shown(name string) string {
	if len(name) > maxShown {
		name = clip([]byte(name), maxShown) + "…"
	}
	return printable(name)
}

// printableLines is printable, but leaves line ends.
func printableLines(s string) string {
	lines := strings.Split(s, "\n")
	for i, l := range lines {
		lines[i] = printable(strings.TrimSuffix(l, "\r"))
	}
	return strings.Join(lines, "\n")
}
