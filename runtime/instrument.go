package runtime

import (
	goruntime "runtime"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"

	"github.com/wasakari/wasakari/runtime/meter"
)

// instrumenter makes guests countable and interruptible.
type instrumenter interface {
	// instrument gives the module to compile in place of the original, which
	// is valid, within the bounds of complexity, and measured.
	instrument(wasm []byte, l *layout) ([]byte, error)
	// configure sets how the module is compiled.
	configure(cfg wazero.RuntimeConfig) wazero.RuntimeConfig
}

// metered lets the module count what it does, see package meter.
type metered struct{}

func (metered) configure(cfg wazero.RuntimeConfig) wazero.RuntimeConfig { return cfg }

func (metered) instrument(wasm []byte, _ *layout) ([]byte, error) {
	return meter.Rewrite(wasm, meter.Options{TableEntries: maxTableEntries, MergeData: true, ImageBytes: imageBytes})
}

// imageBytes is from how many bytes on the data of a module is mapped, which
// costs less than to copy it.
const imageBytes = 64 << 10

// meterFunctions are what metered modules call.
var meterFunctions = []hostFunction{
	{meter.ImportRefill, ":I", meterRefill},
	{meter.ImportOverflow, ":I", meterOverflow},
}

// How many units a guest gets at once. It computes up to ten of them in a
// nanosecond, but where it touches memory for the first time, the kernel has to
// find a page for every few units: microseconds, and tens of them in a virtual
// machine. So guests begin with little, and get more while they are quick. How
// they are cut changes nothing about the units that are counted.
const (
	leastSlice = 1 << 10
	firstSlice = 1 << 12
	mostSlice  = 1 << 17

	quick = 100 * time.Microsecond // of a slice after which the next one is larger
	slow  = time.Millisecond       // and of one after which it is much smaller
)

// yieldEach is after how many slices others get a turn, which matters when
// there are more busy guests than processors: about a millisecond.
const yieldEach = 64

// What the work of the host counts, in units. A host call costs the processor
// some hundred nanoseconds, and what an op reads and writes is JSON.
const (
	unitsCall   = 500  // each call of an import
	unitsOp     = 5000 // an op, besides
	unitsByte   = 2    // of a request, an answer, a message
	unitsRandom = 5    // a byte of randomness
)

// account is what a sandbox has used and may use.
type account struct {
	counters experimental.InternalModule // nil before there is an instance
	deadline time.Time                   // zero: none
	granted  int64                       // units that the guest got
	hosted   int64                       // units that the host used for it
	slices   int
	slice    int64     // the next one
	refilled time.Time // when it got the last one
	stacked  bool      // it got its stack
}

// counter reads a hidden global.
func (a *account) counter(fromLast int) int64 {
	return int64(a.counters.Global(a.counters.NumGlobal() - 1 - fromLast).Get()) //nolint:gosec // an i64 as wazero holds it
}

// used gives the units that are used up.
func (a *account) used() int64 {
	if a.counters == nil {
		return a.hosted
	}
	return a.granted + a.hosted - a.counter(meter.GlobalUnits)
}

// settle counts what the guest used before its instance is closed.
func (a *account) settle() {
	a.hosted, a.granted, a.counters = a.used(), 0, nil
}

// meterRefill gives the guest its next slice, unless its time is up or it has
// used all it may.
func meterRefill(s *sandbox, _ []byte, stack []uint64) {
	s.pause()
	a := &s.account
	left := s.limits.CPU - a.granted - a.hosted
	if left <= 0 {
		panic(errSpent)
	}
	n := min(a.slice, left)
	a.granted += n
	stack[0] = api.EncodeI64(n)
}

// pause lets others run from time to time, and stops the guest when the run is
// over. It looks at the clock itself: where all processors are busy with
// guests, timers are late.
func (s *sandbox) pause() {
	a := &s.account
	if a.slices++; a.slices%yieldEach == 0 {
		goruntime.Gosched()
	}
	now := time.Now()
	if s.ctx.Err() != nil || !a.deadline.IsZero() && !now.Before(a.deadline) {
		<-s.ctx.Done()
		panic(errStopped)
	}
	switch took := now.Sub(a.refilled); {
	case a.slice == 0:
		a.slice = firstSlice
	case took < quick:
		a.slice = min(2*a.slice, mostSlice)
	case took > slow:
		a.slice = max(a.slice/4, leastSlice)
	}
	a.refilled = now
}

// meterOverflow gives the guest its stack, once.
func meterOverflow(s *sandbox, _ []byte, stack []uint64) {
	if s.account.stacked {
		panic(errDeep)
	}
	s.account.stacked = true
	stack[0] = api.EncodeI64(s.limits.Stack)
}

// bill counts units of the host.
func (s *sandbox) bill(units int) { s.account.hosted += int64(units) }

// charge counts units of the host and stops the guest when they are too many,
// or the run is over.
func (s *sandbox) charge(units int) {
	s.bill(units)
	s.check()
	s.afford()
}

// spend is charge for what begins as soon as the call itself was charged.
func (s *sandbox) spend(units int) {
	s.bill(units)
	s.afford()
}

// afford stops the guest when it has used too many units.
func (s *sandbox) afford() {
	// The counter is read only when it can matter.
	if a := &s.account; a.granted+a.hosted > s.limits.CPU && a.used() > s.limits.CPU {
		panic(errSpent)
	}
}
