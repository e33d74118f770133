package hostile_test

import (
	"encoding/binary"
	"fmt"
	"math"
	"strings"

	"github.com/wasakari/wasakari/abi"
)

// pointer is an argument of an import that points into the guest's memory.
type pointer struct {
	function string
	name     string // in the trap
	args     []uint64
	at       int // place of the pointer in args
	length   int // place of its length in args; 0: it has none
	size     uint64
}

// allPointers are all arguments of all imports through which the host reads or
// writes.
var allPointers = []pointer{
	{abi.Call, "op", args(0, 1, 0, 0, 0, 0), 0, 1, 0},
	{abi.Call, "request", args(0, 6, 0, 1, 0, 0), 2, 3, 0},
	{abi.Call, "answer", args(0, 6, 0, 0, 0, 1), 4, 5, 0},
	{abi.Take, "answer", args(0, 1), 0, 1, 0},
	{abi.Submit, "op", args(0, 1, 0, 0), 0, 1, 0},
	{abi.Submit, "request", args(0, 6, 0, 1), 2, 3, 0},
	{abi.Wait, "answer", args(0, 0, 1), 1, 2, 0},
	{abi.Log, "message", args(1, 0, 1), 1, 2, 0},
	{abi.SetProgress, "message", args(1, 0, 1), 1, 2, 0},
	{"args_sizes_get", "count", args(0, 0), 0, 0, 4},
	{"args_sizes_get", "size", args(0, 0), 1, 0, 4},
	{"environ_sizes_get", "count", args(0, 0), 0, 0, 4},
	{"environ_sizes_get", "size", args(0, 0), 1, 0, 4},
	{"clock_res_get", "resolution", args(0, 0), 1, 0, 8},
	{"clock_time_get", "time", args(0, 0, 0), 2, 0, 8},
	{"random_get", "buffer", args(0, 1), 0, 1, 0},
	{"fd_write", "vectors", args(1, 0, 1, 0), 1, 0, 8},
	{"fd_write", "written", args(1, 0, 0, 0), 3, 0, 4},
	{"fd_read", "read", args(0, 0, 0, 0), 3, 0, 4},
	{"fd_fdstat_get", "stat", args(1, 0), 1, 0, 24},
	{"fd_filestat_get", "stat", args(1, 0), 1, 0, 64},
	{"poll_oneoff", "subscriptions", args(0, 0, 1, 0), 0, 0, 48},
	{"poll_oneoff", "events", args(0, 0, 1, 0), 1, 0, 32},
	{"poll_oneoff", "count", args(0, 0, 1, 0), 3, 0, 4},
}

// wild are the ways in which a pointer misses the memory.
var wild = []struct {
	name, does string
	// place gives pointer and length; size is the argument's own, 1 where the
	// length is free.
	place func(size uint64) (at, n uint64)
	free  bool // only where the length is free
}{
	{"the byte behind", "points so that the last byte lies behind its memory", func(size uint64) (uint64, uint64) { return memorySize - size + 1, size }, false},
	{"behind", "points to the first byte behind its memory", func(size uint64) (uint64, uint64) { return memorySize, size }, false},
	{"negative", "points to -1", func(size uint64) (uint64, uint64) { return math.MaxUint32, size }, false},
	{"half of all addresses", "points to the largest positive address", func(size uint64) (uint64, uint64) { return math.MaxInt32, size }, false},
	{"length -1", "says that 4 GiB are there", func(uint64) (uint64, uint64) { return 0, math.MaxUint32 }, true},
	{"sum wraps", "lets pointer and length sum up to an address within its memory", func(uint64) (uint64, uint64) { return memorySize - 8, 1<<32 - memorySize + 16 }, true},
	{"pointer wraps", "points just below 4 GiB, with a length that ends within its memory", func(uint64) (uint64, uint64) { return 1<<32 - 16, 32 }, true},
	{"nothing behind the end", "points behind the end of its memory, with no length", func(uint64) (uint64, uint64) { return memorySize + 1, 0 }, true},
}

func pointers() []attack {
	var list []attack
	for _, p := range allPointers {
		for _, w := range wild {
			if w.free && p.length == 0 {
				continue
			}
			size := max(p.size, 1)
			at, n := w.place(size)
			call := invoke{p.function, append([]uint64{}, p.args...)}
			call.args[p.at] = at
			if p.length != 0 {
				call.args[p.length] = n
			}
			list = append(list, attack{
				name:  fmt.Sprintf("%s %s: %s", p.function, p.name, w.name),
				does:  w.does,
				calls: func(uint64) []invoke { return []invoke{call} },
				want: trapped(fmt.Sprintf("%s: %s pointer 0x%x + %d bytes is outside memory, which has 131072 bytes",
					p.function, p.name, at, n)),
			})
		}
	}
	vector := func(pointer, length uint32) text {
		b := binary.LittleEndian.AppendUint32(nil, pointer)
		return text{string(binary.LittleEndian.AppendUint32(b, length))}
	}
	write := func(at uint64) []invoke { return []invoke{{"fd_write", args(1, at, 1, buffer)}} }
	return append(list,
		attack{
			name: "fd_write data: behind", does: "writes what lies behind its memory", data: vector(memorySize, 1), calls: write,
			want: trapped("fd_write: data pointer 0x20000 + 1 bytes is outside memory, which has 131072 bytes"),
		},
		attack{
			name: "fd_write data: length -1", does: "writes 4 GiB", data: vector(0, math.MaxUint32), calls: write,
			want: trapped("fd_write: data pointer 0x0 + 4294967295 bytes is outside memory, which has 131072 bytes"),
		},
		attack{
			name: "fd_write vectors: count -1", does: "writes 4 thousand million vectors, of which 64 are looked at, so that the list ends within memory",
			calls: func(uint64) []invoke { return []invoke{{"fd_write", args(1, memorySize-64*8, -1, buffer)}} },
			want:  answers(0),
		},
		attack{
			name: "poll_oneoff subscriptions: count -1", does: "waits for 4 thousand million events",
			calls: func(uint64) []invoke { return []invoke{{"poll_oneoff", args(0, 0, -1, 0)}} },
			want:  answers(28),
		},
		attack{
			name: "nothing at the end", does: "passes empty strings at the very end of its memory, which is allowed",
			calls: func(uint64) []invoke {
				return []invoke{
					{abi.Call, args(memorySize, 0, memorySize, 0, memorySize, 0)},
					{abi.Take, args(memorySize, 0)},
					{abi.Submit, args(memorySize, 0, memorySize, 0)},
					{abi.Wait, args(0, memorySize, 0)},
					{abi.Log, args(1, memorySize, 0)},
					{abi.SetProgress, args(1, memorySize, 0)},
					{"random_get", args(memorySize, 0)},
					{"clock_time_get", args(0, 0, memorySize-8)},
				}
			},
			want: answers(negative(abi.ErrnoInvalid), int64(len(`{"code":"invalid","message":"no op \"\""}`)), negative(abi.ErrnoInvalid), negative(abi.ErrnoNotFound), 0, 0, 0, 0),
		},
		attack{
			name: "functions that do nothing", does: "points to nowhere in functions that must not look",
			calls: func(uint64) []invoke {
				return []invoke{
					{"args_get", args(-1, -1)},
					{"environ_get", args(-1, -1)},
					{"fd_prestat_get", args(3, -1)},
					{"fd_prestat_dir_name", args(3, -1, -1)},
					{"fd_readdir", args(3, -1, -1, -1, -1)},
					{"path_open", args(3, -1, -1, -1, -1, -1, -1, -1, -1)},
					{"path_readlink", args(3, -1, -1, -1, -1, -1)},
					{"sock_recv", args(3, -1, -1, -1, -1, -1)},
				}
			},
			want: answers(0, 0, 8, 8, 8, 8, 8, 58),
		},
	)
}

// overlaps let the host read and write the same bytes.
func overlaps() []attack {
	clock := make([]byte, 2*48) // two subscriptions to clocks that expire at once, for users 1 and 2
	for i := range 2 {
		le.PutUint64(clock[48*i:], uint64(i+1))
		le.PutUint32(clock[48*i+16:], 1)
	}
	events := string(clock[:8]) + "\x00\x00\x00" + string(make([]byte, 21)) + string(clock[48:56]) + string(make([]byte, 24))
	return []attack{
		{
			name: "answer over op and request", does: "lets the answer be written over op and request, and asks again with what is there then",
			data: text{abi.OpKVGet + `{"name":"x"}`}, answer: say(`kv.put{"x":1}`),
			calls: func(at uint64) []invoke {
				same := invoke{abi.Call, args(at, len(abi.OpKVGet), at+6, 12, at, 18)}
				return []invoke{same, same}
			},
			want: answers(13, 13),
		},
		{
			name: "request over op", does: "uses the op's name as the request", data: text{abi.OpTaskReason},
			calls: func(at uint64) []invoke {
				return []invoke{{abi.Call, args(at, len(abi.OpTaskReason), at, len(abi.OpTaskReason), 0, 0)}}
			},
			want: answers(negative(abi.ErrnoInvalid)),
		},
		{
			name: "answer over results", does: "lets an answer fill its own list of results", data: text{abi.OpKVGet}, answer: say("01234567"),
			calls: func(at uint64) []invoke {
				return []invoke{{abi.Call, args(at, len(abi.OpKVGet), 0, 0, resultsAt, 8)}, {abi.Take, args(resultsAt+8, 8)}}
			},
			want: answers(8, 8), // written when the host is done with it
		},
		{
			name: "events over subscriptions", does: "lets the events of poll_oneoff be written over its subscriptions", data: text{string(clock)},
			calls: func(at uint64) []invoke { return []invoke{{"poll_oneoff", args(at, at, 2, buffer)}} },
			want:  want{kind: "ended well", results: []int64{0}, memory: map[uint64]string{programAt + 2*recordSize: events, buffer: "\x02\x00\x00\x00"}},
		},
		{
			name: "count over events", does: "lets the count of poll_oneoff be written over its events", data: text{string(clock)},
			calls: func(at uint64) []invoke { return []invoke{{"poll_oneoff", args(at, buffer, 2, buffer)}} },
			want:  want{kind: "ended well", results: []int64{0}, memory: map[uint64]string{buffer: "\x02\x00\x00\x00\x00\x00\x00\x00"}},
		},
		{
			name: "written over vectors", does: "lets fd_write count over the vectors that it reads", data: text{"\x00\x00\x01\x00\x03\x00\x00\x00"},
			calls: func(at uint64) []invoke { return []invoke{{"fd_write", args(1, at, 1, at+4)}} },
			want:  want{kind: "ended well", results: []int64{0}, memory: map[uint64]string{programAt + 2*recordSize + 4: "\x03\x00\x00\x00"}},
		},
		{
			name: "vectors that write themselves", does: "logs the vectors, whose bytes are no text", data: text{string(le.AppendUint32(le.AppendUint32(nil, programAt+2*recordSize), 8))},
			calls: func(at uint64) []invoke { return []invoke{{"fd_write", args(2, at, 1, buffer)}} },
			want:  logs("warn " + strings.Repeat("\uFFFD", 8)),
		},
	}
}

var le = binary.LittleEndian
