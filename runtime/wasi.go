package runtime

import (
	"crypto/rand"
	"encoding/binary"
	"math"
	"time"

	"github.com/tetratelabs/wazero/api"
)

// wasiModule is the module name of WASI preview 1.
const wasiModule = "wasi_snapshot_preview1"

// WASI's error numbers, from its witx files.
const (
	wasiOK     = 0
	wasiBadf   = 8
	wasiInval  = 28
	wasiNosys  = 52
	wasiNotsup = 58
	wasiSpipe  = 70
)

// Bounds on the vectors of one call. Real guests pass one or two entries; what
// goes beyond is left for the guest's next call, as WASI allows.
const (
	maxVectors       = 64
	maxSubscriptions = 1024
	maxRandomPiece   = 64 << 10
)

// wasiFunctions is our subset of WASI: clocks, randomness, sleep and output.
// There are no files, arguments, environment or sockets; their functions are
// there because compilers link them in, and answer that nothing is there.
// Signatures as in wasi_snapshot_preview1.witx.
var wasiFunctions = []hostFunction{
	{"args_get", "ii:i", wasiNothing(wasiOK)},
	{"args_sizes_get", "ii:i", wasiSizes("args_sizes_get")},
	{"environ_get", "ii:i", wasiNothing(wasiOK)},
	{"environ_sizes_get", "ii:i", wasiSizes("environ_sizes_get")},
	{"clock_res_get", "ii:i", wasiClockRes},
	{"clock_time_get", "iIi:i", wasiClockTime},
	{"random_get", "ii:i", wasiRandom},
	{"poll_oneoff", "iiii:i", wasiPoll},
	{"sched_yield", ":i", wasiYield},
	{"proc_exit", "i:", wasiExit},
	{"proc_raise", "i:i", wasiNothing(wasiNosys)},
	{"fd_write", "iiii:i", wasiWrite},
	{"fd_read", "iiii:i", wasiRead},
	{"fd_close", "i:i", wasiStandard(wasiOK)},
	{"fd_fdstat_get", "ii:i", wasiFdstat},
	{"fd_fdstat_set_flags", "ii:i", wasiStandard(wasiOK)},
	{"fd_fdstat_set_rights", "iII:i", wasiStandard(wasiOK)},
	{"fd_filestat_get", "ii:i", wasiFilestat},
	{"fd_seek", "iIii:i", wasiStandard(wasiSpipe)},
	{"fd_tell", "ii:i", wasiStandard(wasiSpipe)},
	{"fd_datasync", "i:i", wasiStandard(wasiOK)},
	{"fd_sync", "i:i", wasiStandard(wasiOK)},
	{"fd_prestat_get", "ii:i", wasiNothing(wasiBadf)},
	{"fd_prestat_dir_name", "iii:i", wasiNothing(wasiBadf)},
	{"fd_advise", "iIIi:i", wasiNothing(wasiBadf)},
	{"fd_allocate", "iII:i", wasiNothing(wasiBadf)},
	{"fd_filestat_set_size", "iI:i", wasiNothing(wasiBadf)},
	{"fd_filestat_set_times", "iIIi:i", wasiNothing(wasiBadf)},
	{"fd_pread", "iiiIi:i", wasiNothing(wasiBadf)},
	{"fd_pwrite", "iiiIi:i", wasiNothing(wasiBadf)},
	{"fd_readdir", "iiiIi:i", wasiNothing(wasiBadf)},
	{"fd_renumber", "ii:i", wasiNothing(wasiBadf)},
	{"path_create_directory", "iii:i", wasiNothing(wasiBadf)},
	{"path_filestat_get", "iiiii:i", wasiNothing(wasiBadf)},
	{"path_filestat_set_times", "iiiiIIi:i", wasiNothing(wasiBadf)},
	{"path_link", "iiiiiii:i", wasiNothing(wasiBadf)},
	{"path_open", "iiiiiIIii:i", wasiNothing(wasiBadf)},
	{"path_readlink", "iiiiii:i", wasiNothing(wasiBadf)},
	{"path_remove_directory", "iii:i", wasiNothing(wasiBadf)},
	{"path_rename", "iiiiii:i", wasiNothing(wasiBadf)},
	{"path_symlink", "iiiii:i", wasiNothing(wasiBadf)},
	{"path_unlink_file", "iii:i", wasiNothing(wasiBadf)},
	{"sock_accept", "iii:i", wasiNothing(wasiNotsup)},
	{"sock_recv", "iiiiii:i", wasiNothing(wasiNotsup)},
	{"sock_send", "iiiii:i", wasiNothing(wasiNotsup)},
	{"sock_shutdown", "ii:i", wasiNothing(wasiNotsup)},
}

// wasiNothing answers with an error number and touches nothing.
func wasiNothing(errno uint64) func(*sandbox, []byte, []uint64) {
	return func(_ *sandbox, _ []byte, stack []uint64) { stack[0] = errno }
}

// wasiStandard answers so for the three standard streams, which are all that
// is open.
func wasiStandard(errno uint64) func(*sandbox, []byte, []uint64) {
	return func(_ *sandbox, _ []byte, stack []uint64) {
		if api.DecodeU32(stack[0]) > 2 {
			stack[0] = wasiBadf
			return
		}
		stack[0] = errno
	}
}

// wasiSizes answers that there are no strings of no bytes.
func wasiSizes(function string) func(*sandbox, []byte, []uint64) {
	return func(_ *sandbox, mem []byte, stack []uint64) {
		clear(view(mem, function, "count", stack[0], 4))
		clear(view(mem, function, "size", stack[1], 4))
		stack[0] = wasiOK
	}
}

// The clocks.
const (
	clockRealtime  = 0
	clockMonotonic = 1
)

// monotonicZero is what the guest's monotonic clock shows at its start. Go's
// runtime takes 0 for a broken clock.
const monotonicZero = time.Second

// clock reads a clock of the guest in nanoseconds.
func (s *sandbox) clock(id uint32) (uint64, bool) {
	switch id {
	case clockRealtime:
		return api.EncodeI64(time.Now().Add(s.skip.ahead).UnixNano() / s.resolution() * s.resolution()), true
	case clockMonotonic:
		return api.EncodeI64(int64((s.elapsed() + monotonicZero).Truncate(time.Duration(s.resolution())))), true
	}
	return 0, false
}

// resolution is that of the guest's clocks, in nanoseconds.
func (s *sandbox) resolution() int64 {
	if s.coarse {
		return int64(time.Millisecond)
	}
	return 1
}

func wasiClockRes(s *sandbox, mem []byte, stack []uint64) {
	out := view(mem, "clock_res_get", "resolution", stack[1], 8)
	if api.DecodeU32(stack[0]) > clockMonotonic {
		stack[0] = wasiInval
		return
	}
	binary.LittleEndian.PutUint64(out, api.EncodeI64(s.resolution()))
	stack[0] = wasiOK
}

func wasiClockTime(s *sandbox, mem []byte, stack []uint64) {
	out := view(mem, "clock_time_get", "time", stack[2], 8)
	now, ok := s.clock(api.DecodeU32(stack[0]))
	if !ok {
		stack[0] = wasiInval
		return
	}
	binary.LittleEndian.PutUint64(out, now)
	stack[0] = wasiOK
}

func wasiRandom(s *sandbox, mem []byte, stack []uint64) {
	out := view(mem, "random_get", "buffer", stack[0], stack[1])
	for len(out) > 0 { // in pieces, so that a big buffer does not outlast the deadline
		n := min(len(out), maxRandomPiece)
		s.charge(unitsRandom * n)
		_, _ = rand.Read(out[:n]) // never fails: it ends the process instead
		out = out[n:]
	}
	stack[0] = wasiOK
}

func wasiYield(s *sandbox, _ []byte, stack []uint64) {
	s.check()
	stack[0] = wasiOK
}

func wasiExit(_ *sandbox, _ []byte, stack []uint64) {
	panic(&ExitError{Code: api.DecodeU32(stack[0])})
}

// wasiWrite logs what is written to standard output and error.
func wasiWrite(s *sandbox, mem []byte, stack []uint64) {
	fd := api.DecodeU32(stack[0])
	count := min(api.DecodeU32(stack[2]), maxVectors)
	vectors := view(mem, "fd_write", "vectors", stack[1], uint64(count)*8)
	written := view(mem, "fd_write", "written", stack[3], 4)
	if fd != 1 && fd != 2 {
		stack[0] = wasiBadf
		return
	}
	s.check()
	total := uint32(0)
	for ; len(vectors) > 0; vectors = vectors[8:] {
		n := binary.LittleEndian.Uint32(vectors[4:])
		p := view(mem, "fd_write", "data", uint64(binary.LittleEndian.Uint32(vectors)), uint64(n))
		if n > math.MaxInt32-total {
			break
		}
		s.charge(unitsByte * min(len(p), s.logRoom()))
		s.write(int(fd)-1, p)
		total += n
	}
	binary.LittleEndian.PutUint32(written, total)
	stack[0] = wasiOK
}

// wasiRead answers end of file on standard input.
func wasiRead(_ *sandbox, mem []byte, stack []uint64) {
	read := view(mem, "fd_read", "read", stack[3], 4)
	if api.DecodeU32(stack[0]) != 0 {
		stack[0] = wasiBadf
		return
	}
	clear(read)
	stack[0] = wasiOK
}

// characterDevice is the file type of the standard streams.
const characterDevice = 2

func wasiFdstat(_ *sandbox, mem []byte, stack []uint64) {
	out := view(mem, "fd_fdstat_get", "stat", stack[1], 24)
	fd := api.DecodeU32(stack[0])
	if fd > 2 {
		stack[0] = wasiBadf
		return
	}
	clear(out)
	out[0] = characterDevice
	rights := uint64(1 << 6) // fd_write
	if fd == 0 {
		rights = 1 << 1 // fd_read
	}
	binary.LittleEndian.PutUint64(out[8:], rights)
	stack[0] = wasiOK
}

func wasiFilestat(_ *sandbox, mem []byte, stack []uint64) {
	out := view(mem, "fd_filestat_get", "stat", stack[1], 64)
	if api.DecodeU32(stack[0]) > 2 {
		stack[0] = wasiBadf
		return
	}
	clear(out)
	out[16] = characterDevice
	stack[0] = wasiOK
}

// The layout of poll_oneoff's subscriptions and events.
const (
	subscriptionSize = 48
	eventSize        = 32
	eventClock       = 0
	eventRead        = 1
	eventWrite       = 2
	clockAbsolute    = 1
)

// wasiPoll sleeps until a clock of the subscriptions expires. It comes back
// early when a ticket was settled, and then says that the first clock to
// expire has expired: callers in several languages take no event for a broken
// host. Reading and writing the standard streams is always ready.
func wasiPoll(s *sandbox, mem []byte, stack []uint64) {
	count := api.DecodeU32(stack[2])
	if count == 0 || count > maxSubscriptions {
		stack[0] = wasiInval
		return
	}
	in := view(mem, "poll_oneoff", "subscriptions", stack[0], uint64(count)*subscriptionSize)
	out := view(mem, "poll_oneoff", "events", stack[1], uint64(count)*eventSize)
	written := view(mem, "poll_oneoff", "count", stack[3], 4)

	// The events may overlap the subscriptions, so these are read first.
	type subscription struct {
		user  uint64
		kind  byte
		errno uint16
		left  time.Duration // until a clock expires
	}
	subs := make([]subscription, 0, count)
	first, ready := -1, false
	for ; len(in) > 0; in = in[subscriptionSize:] {
		sub := subscription{user: binary.LittleEndian.Uint64(in), kind: in[8]}
		switch sub.kind {
		case eventClock:
			now, ok := s.clock(binary.LittleEndian.Uint32(in[16:]))
			if !ok {
				sub.errno, ready = wasiInval, true
				break
			}
			at := binary.LittleEndian.Uint64(in[24:])
			if binary.LittleEndian.Uint16(in[40:])&clockAbsolute != 0 {
				at -= min(at, now)
			}
			sub.left = time.Duration(min(at, math.MaxInt64))
			if first < 0 || sub.left < subs[first].left {
				first = len(subs)
			}
		case eventRead, eventWrite:
			if fd := binary.LittleEndian.Uint32(in[16:]); fd > 2 {
				sub.errno = wasiBadf
			}
			ready = true
		default:
			sub.errno, ready = wasiInval, true
		}
		subs = append(subs, sub)
	}

	s.check()
	var slept time.Duration
	if !ready { // then there are only clocks
		slept = subs[first].left
		s.rest(slept, s.desk.news)
	}
	n := uint32(0)
	for _, sub := range subs {
		if sub.left > slept { // a clock that goes on
			continue
		}
		event := out[n*eventSize:][:eventSize]
		clear(event)
		binary.LittleEndian.PutUint64(event, sub.user)
		binary.LittleEndian.PutUint16(event[8:], sub.errno)
		event[10] = sub.kind
		n++
	}
	binary.LittleEndian.PutUint32(written, n)
	stack[0] = wasiOK
}
