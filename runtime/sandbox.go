package runtime

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"strings"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"
	"go.uber.org/zap"

	"github.com/wasakari/wasakari/abi"
)

// Call says what a run of a module is given.
type Call struct {
	// Key is the task's entry-point key, which the module must list.
	Key string
	// Host answers the task. It is used until Run returns, and longer only by
	// reads that do not heed their context.
	Host Host
	// Limits of this run. The zero value takes those of the Runtime's Config;
	// see [Module.Limits] for what the manifest asks for.
	Limits Limits
	// Tenant is who brought the task, "" being the operator. The sandboxes of a
	// tenant that run at once are bounded, see [Config].
	Tenant string
	// CoarseClock lets the guest's clocks show whole milliseconds only.
	CoarseClock bool
	// Skip has the time in which the task only sleeps not pass: task.sleep and the
	// waits of WASI end at once while nothing else is in flight, the guest's clocks
	// are ahead by as much, and so is the time that Limits.Timeout bounds. It is
	// told each time how much is skipped, before the guest goes on, so that other
	// clocks can follow. For tests of tasks; nil: sleeps take their time.
	Skip func(time.Duration)
	// Trace is told of each op that the task asked for, when it was answered. It
	// may be called by several goroutines at once, and once more after Run
	// returned where an op does not heed its context. May be nil.
	Trace func(HostCall)
}

// HostCall is an op that a task asked for, and its answer.
type HostCall struct {
	N       int    // from 1, in the order in which the task asked
	Op      string // as the task wrote it; at most 64 bytes
	Ticket  uint32 // 0: the task waited for the answer
	Open    int    // other tickets that the task had not waited for when it asked
	Request []byte
	Answer  []byte // the error document when Errno is not OK
	Errno   abi.Errno
	CPU     int64 // units that the task had used when it asked
	Asked   time.Time
	Took    time.Duration
}

// Result tells about a run. It is filled as far as the run came, also with an
// error.
type Result struct {
	// Exit is what the task returned; ExitFailed with an error.
	Exit abi.Exit
	// Reason is what the task gave as its reason by task.reason.
	Reason string
	// HostCalls counts the ops that the task asked for.
	HostCalls int
	// MemoryPeak is the size of its linear memory at the end, in bytes, which
	// is its peak.
	MemoryPeak int64
	// CPU is how much the task computed, in units of about one simple
	// instruction. The same module with the same answers takes the same units.
	CPU int64
	// Took is the time from instantiation to the end, changes that were
	// followed included.
	Took time.Duration
}

// sandbox is one instance of a module, alive for one run of one task. But for
// the desk, it belongs to the goroutine that runs the guest.
type sandbox struct {
	ctx    context.Context // ends with the run
	host   Host
	key    string // of the task
	limits Limits
	log    *zap.Logger // without the task
	memory memory
	ledger ledger
	pace   pace
	desk   desk
	skip   skipper
	// account is what the guest computed.
	account account
	coarse  bool // clocks show milliseconds

	kept  []byte // the answer kept for take
	keeps bool

	reason    string
	describes bool // reasons are descriptions
	hostCalls int
	lastOp    *abi.Op // asked for
	trace     func(HostCall)
	logs      logBook
	streams   [2]stream // standard output and error
	tail      []byte    // end of both, for errors
	start     time.Time // zero of the guest's monotonic clock
}

// sandboxKey is the context key of the sandbox whose guest is running.
type sandboxKey struct{}

// sandboxContext carries the sandbox to the host functions.
type sandboxContext struct {
	context.Context
	sandbox *sandbox
}

// sandboxOf gives the sandbox whose guest is running.
func sandboxOf(ctx context.Context) *sandbox {
	if c, ok := ctx.(*sandboxContext); ok { // always but during instantiation, and quicker
		return c.sandbox
	}
	return ctx.Value(sandboxKey{}).(*sandbox)
}

func (c *sandboxContext) Value(key any) any {
	if key == (sandboxKey{}) {
		return c.sandbox
	}
	return c.Context.Value(key)
}

// execute runs one exported function of the module in a fresh sandbox.
func (m *Module) execute(ctx context.Context, call Call, function string) (Result, error) {
	failed := Result{Exit: abi.ExitFailed}
	if m.manifest.Task(call.Key) == nil {
		return failed, fmt.Errorf("module %s lists no task %q", m.source, call.Key)
	}
	if err := m.enter(); err != nil {
		return failed, fmt.Errorf("task %s: %w", call.Key, err)
	}
	defer m.active.Done()

	limits := call.Limits.orElse(m.runtime.limits)
	if m.engine != nil {
		limits.Stack = max(limits.Stack, m.engine.Stack)
	}
	if least := m.guest.memoryMin; least > limits.MemoryBytes {
		return failed, fmt.Errorf("task %s: %w", call.Key, limits.memoryError("the module starts with "+size(least)))
	}
	var cancel context.CancelFunc
	if limits.Timeout > 0 {
		ctx, cancel = context.WithTimeoutCause(ctx, limits.Timeout, limits.timeoutError())
	} else {
		ctx, cancel = context.WithCancel(ctx)
	}
	defer cancel()
	s := &sandbox{
		ctx:    ctx,
		key:    call.Key,
		host:   call.Host,
		limits: limits,
		log:    m.runtime.log,
		memory: memory{limit: limits.MemoryBytes, image: m.guest.image, all: &m.runtime.memory},
		pace:   pace{perSecond: min(max(limits.HostCallsPerSecond, 1), int(time.Second))},
		desk:   newDesk(),
		logs:   logBook{lines: max(limits.LogLines, 0), bytes: max(limits.LogBytes, 0)},
		start:  time.Now(),
		coarse: call.CoarseClock,
		trace:  call.Trace,

		describes: function == abi.Describe,
	}
	if call.Skip != nil {
		s.ctx, s.skip.expire = context.WithCancelCause(ctx)
		defer s.skip.expire(nil)
		s.skip.tell, s.skip.idle = call.Skip, make(chan struct{}, 1)
	}
	s.account.deadline, _ = ctx.Deadline()
	s.ledger.limits = limits
	s.ledger.used.Store(m.guest.tableBytes)
	s.memory.ledger, s.memory.held = &s.ledger, s.held
	if k, ok := call.Host.(Keeper); ok {
		k.Keep(s.ledger.keep)
	}
	exit, err := s.enter(m, function)
	cancel()
	s.endSleeps()
	if reads := s.desk.drain(&m.stragglers); reads > 0 {
		s.log.Warn("reads go on although their task has ended", s.task(), zap.Int("reads", reads))
	}
	result := Result{
		Exit:       exit,
		Reason:     s.reason,
		HostCalls:  s.hostCalls,
		MemoryPeak: s.memory.size,
		CPU:        s.account.used(),
		Took:       time.Since(s.start),
	}
	if err != nil {
		result.Exit = abi.ExitFailed
		return result, fmt.Errorf("task %s: %w", call.Key, err)
	}
	return result, nil
}

// enter instantiates the module, prepares it and calls function.
func (s *sandbox) enter(m *Module, function string) (abi.Exit, error) {
	if s.ctx.Err() != nil {
		return 0, s.ended(s.ctx)
	}
	ctx := &sandboxContext{s.ctx, s}
	defer s.memory.Free()
	mod, err := s.instantiate(ctx, m)
	if err != nil {
		return 0, err
	}
	// Nothing to close but the memory, so this cannot fail.
	defer func() { _ = mod.Close(context.WithoutCancel(ctx)) }()
	defer s.account.settle()
	defer s.flushStreams()
	if m.guest.initialize {
		if _, err := mod.ExportedFunction(abi.Initialize).Call(ctx); err != nil {
			return 0, fmt.Errorf("%s: %w", abi.Initialize, s.failure(s.ctx, err))
		}
	}
	var stack [1]uint64
	if err := mod.ExportedFunction(function).CallWithStack(ctx, stack[:]); err != nil {
		return 0, s.failure(s.ctx, err)
	}
	exit := abi.Exit(api.DecodeI32(stack[0]))
	switch exit {
	case abi.ExitSucceeded:
		return exit, s.desk.unfinished()
	case abi.ExitFailed, abi.ExitNothingToDo, abi.ExitIgnored:
		return exit, nil
	}
	return 0, fmt.Errorf("%s returned %d; an outcome is 0 (succeeded), 1 (failed), 2 (nothing to do) or 3 (ignored)", function, exit)
}

// instanceConfig is that of every sandbox. Without a source of randomness, which
// our WASI does not use, wazero would seed one for each: 5 KB and 10 µs.
var instanceConfig = wazero.NewModuleConfig().WithName("").WithStartFunctions().WithRandSource(rand.Reader)

// instantiate makes the instance. wazero panics when an allocator fails.
func (s *sandbox) instantiate(ctx context.Context, m *Module) (mod api.Module, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("instantiating: %v", p)
		}
	}()
	ctx = experimental.WithMemoryAllocator(ctx, &s.memory)
	mod, err = m.guest.rt.InstantiateModule(ctx, m.guest.compiled, instanceConfig)
	if err != nil {
		return nil, fmt.Errorf("instantiating: %w", err)
	}
	s.account.counters = mod.(experimental.InternalModule) // as wazero says that each is
	return mod, nil
}

// task names the task in a message of the runtime.
func (s *sandbox) task() zap.Field { return zap.String("task", s.key) }

// held is what the guest's own goroutine has of the task's besides the ledger:
// the answer kept, and what was logged.
func (s *sandbox) held() int64 {
	return int64(len(s.kept)) + int64(max(s.limits.LogBytes, 0)-s.logs.bytes)
}

// logBook counts what a task logs.
type logBook struct {
	lines, bytes int // left
	full         bool
}

// logRoom is how many bytes of a message can matter: longer ones run into one
// of the limits, whatever part of them is line ends.
func (s *sandbox) logRoom() int { return s.logs.bytes + 2*s.logs.lines + 1 }

// logLines logs text, each of its lines by itself.
func (s *sandbox) logLines(level abi.Level, text string) {
	text = strings.TrimSuffix(text, "\n")
	for line := range strings.SplitSeq(text, "\n") {
		if s.logs.full {
			return
		}
		line = printable(strings.TrimSuffix(line, "\r"))
		if s.logs.lines < 1 || s.logs.bytes < len(line) {
			s.logs.full = true
			s.host.Log(abi.LevelWarn, s.limits.logError(s.logs.lines < 1).Error()+"; further lines are dropped")
			return
		}
		s.logs.lines--
		s.logs.bytes -= len(line)
		s.host.Log(level, line)
	}
}

// maxTail bounds the output kept for errors, and a line of it, in bytes.
const maxTail = 8 << 10

// stream is standard output or error: bytes up to the next line end.
type stream struct{ line []byte }

// write takes what a guest wrote to stream i.
func (s *sandbox) write(i int, p []byte) {
	s.tail = append(s.tail, p[max(0, len(p)-maxTail):]...)
	s.tail = s.tail[max(0, len(s.tail)-maxTail):]
	if s.logs.full {
		return
	}
	st := &s.streams[i]
	for len(p) > 0 && !s.logs.full {
		n := min(len(p), maxTail-len(st.line))
		k := bytes.IndexByte(p[:n], '\n')
		if k >= 0 {
			n = k + 1
		}
		st.line = append(st.line, p[:n]...)
		p = p[n:]
		if k >= 0 || len(st.line) >= maxTail {
			s.flush(i)
		}
	}
}

func (s *sandbox) flush(i int) {
	st := &s.streams[i]
	if len(st.line) == 0 {
		return
	}
	level := abi.LevelInfo
	if i == 1 {
		level = abi.LevelWarn
	}
	s.logLines(level, clip(st.line, len(st.line)))
	st.line = st.line[:0]
}

// flushStreams logs what was written without a line end.
func (s *sandbox) flushStreams() {
	for i := range s.streams {
		s.flush(i)
	}
}

// output is the end of what the guest wrote, for errors.
func (s *sandbox) output() string { return printableLines(clip(s.tail, len(s.tail))) }
