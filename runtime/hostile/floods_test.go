package hostile_test

import (
	"slices"
	"strings"

	"github.com/wasakari/wasakari/abi"
	"github.com/wasakari/wasakari/runtime"
)

// floods fill logs, progress and reasons, or write there what is no text.
func floods() []attack {
	log := func(level int, d text) func(at uint64) []invoke {
		return func(at uint64) []invoke { return []invoke{{abi.Log, args(level, d.ref(at, 0))}} }
	}
	flood := func(name, does string, level int, message string, l runtime.Limits, w want) attack {
		d := text{message}
		return attack{name: name, does: does, data: d, calls: log(level, d), limits: l, want: w}
	}
	few := runtime.Limits{LogLines: 3}
	full := "warn log limit of 3 lines reached (option [wasakari] log_lines); further lines are dropped"
	vectors := text{string(le.AppendUint32(le.AppendUint32(nil, 0), memorySize/2))} // zeros, but for what drive.wat has there
	reason := text{abi.OpTaskReason, `{"reason":"` + strings.Repeat("r", 5000) + `"}`}
	return []attack{
		flood("lines", "logs more lines than it may in one call", 1, "a\nb\nc\nd\ne", few, logs("info a", "info b", "info c", full)),
		flood("empty lines", "logs 40 000 line ends", 1, strings.Repeat("\n", 40_000), few, logs("info ", "info ", "info ", full)),
		flood("line of 40 000 bytes", "logs a line that is longer than all it may log", 1, strings.Repeat("x", 40_000), runtime.Limits{LogBytes: 1000}, logs("warn log limit of 1000 bytes reached (option [wasakari] log_kib); further lines are dropped")),
		flood("no logs", "logs although it may not", 1, "x", runtime.Limits{LogLines: -1}, logs("warn log limit of 0 lines reached (option [wasakari] log_lines); further lines are dropped")),
		flood("cursor movements", "logs what moves a terminal's cursor, in four ways", 1, "a\x1b[2Jb\u009b2Jc\x7fd\u202ee\u2028f\rg", runtime.Limits{}, logs("info a\uFFFD[2Jb\uFFFD2Jc\uFFFDd\uFFFDe\uFFFDf\uFFFDg")),
		flood("line that looks like another", "logs what looks like a line of the host's", 3, "fine\r\n2026-11-23T00:00:00Z\tinfo\tall is well", runtime.Limits{}, logs("error fine", "error 2026-11-23T00:00:00Z\tinfo\tall is well")),
		flood("no UTF-8", "logs bytes that are no text", 1, "a\xff\xfe\xc0\x80b\xed\xa0\x80", runtime.Limits{}, logs("info a\uFFFDb\uFFFD")),
		flood("level -1", "logs at a level that is none", -1, "x", runtime.Limits{}, logs("info x")),
		flood("highest level", "logs at the highest level that a number has", 1<<31-1, "x", runtime.Limits{}, logs("info x")),
		{name: "log without end", does: "logs without end", wasm: guest("log_flood"), limits: runtime.Limits{Timeout: soon.Timeout, LogLines: 1}, want: limited(outOfTime)},
		{name: "output without end", does: "writes to its output without end", wasm: guest("write_flood"), limits: soon, want: limited(outOfTime)},
		{name: "progress without end", does: "tells its progress without end", limits: runtime.Limits{Timeout: soon.Timeout, HostCallsPerSecond: 10}, calls: func(uint64) []invoke {
			return slices.Repeat([]invoke{{abi.SetProgress, args(1, 0, 0)}}, 60)
		}, want: limited(outOfTime)},
		{name: "progress out of bounds", does: "tells a progress that is none", data: text{"x\x1by"}, calls: func(at uint64) []invoke {
			return []invoke{{abi.SetProgress, args(-1<<31, at, 3)}, {abi.SetProgress, args(1<<31-1, at, 3)}}
		}, want: logs("0 x\uFFFDy", "1000 x\uFFFDy")},
		{name: "progress of 60 000 bytes", does: "tells its progress in a text that is too long", data: text{strings.Repeat("p", 60_000)}, calls: func(at uint64) []invoke {
			return []invoke{{abi.SetProgress, args(1, at, 60_000)}}
		}, want: logs("1 " + strings.Repeat("p", 4096))},
		{name: "output without a line end", does: "writes 64 KiB without a line end", data: vectors, limits: runtime.Limits{LogLines: 2}, calls: func(at uint64) []invoke {
			return []invoke{{"fd_write", args(1, at, 1, buffer)}}
		}, want: want{kind: "ended well", results: []int64{0}, memory: map[uint64]string{buffer: "\x00\x00\x01\x00"}}},
		{name: "reason of 5000 bytes", does: "gives a reason that is too long, which is cut", data: reason, calls: func(at uint64) []invoke {
			return []invoke{{abi.Call, args(reason.ref(at, 0), reason.ref(at, 1), 0, 0)}}
		}, want: answers(2)},
		{name: "standard input", does: "reads what an operator types", calls: func(uint64) []invoke { return []invoke{{"fd_read", args(0, 0, 0, buffer)}} }, want: want{kind: "ended well", results: []int64{0}, memory: map[uint64]string{buffer: "\x00\x00\x00\x00"}}},
		{name: "file 3", does: "writes to a file that the host may have open", data: vectors, calls: func(at uint64) []invoke { return []invoke{{"fd_write", args(3, at, 1, buffer)}} }, want: answers(8)},
		{name: "file -1", does: "writes to a file of a negative number", data: vectors, calls: func(at uint64) []invoke { return []invoke{{"fd_write", args(-1, at, 1, buffer)}} }, want: answers(8)},
		{name: "exit with an endless message", does: "exits with more output than an error may hold", wasm: guest("exit_flood"), want: exited("the guest exited with code 4294967295 instead of returning; it wrote: " + strings.Repeat("z", 8192))},
	}
}
