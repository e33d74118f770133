package hostile_test

import (
	"context"
	"math"
	"strings"

	"github.com/wasakari/wasakari/abi"
	"github.com/wasakari/wasakari/runtime"
)

// tickets are waited for, cancelled, made up and hoarded.
func tickets() []attack {
	const op = abi.OpNovaServerGet
	// steps are calls whose first string is a read's name, the second
	// task.cancel, the third a request of it.
	submit := func(at uint64) invoke { return invoke{abi.Submit, args(at, len(op), 0, 0)} }
	cancel := func(at uint64, i int) func(text) invoke {
		return func(d text) invoke { return invoke{abi.Call, args(d.ref(at, 1), d.ref(at, i), buffer, 200)} }
	}
	wait := invoke{abi.Wait, args(0, buffer, 200)}
	take := invoke{abi.Take, args(buffer, 200)}
	data := text{op, abi.OpTaskCancel, `{"ticket":1}`, `{"ticket":0}`, `{"ticket":-1}`, `{"ticket":4294967297}`, `{"ticket":9223372036854775808}`, `{"ticket":1.5}`, `{"ticket":"1"}`}
	cancels := func(i int) func(at uint64) []invoke {
		return func(at uint64) []invoke { return []invoke{submit(at), cancel(at, i)(data), take, wait} }
	}
	document := func(errno abi.Errno, message string) want {
		doc := `{"code":"` + errno.String() + `","message":"` + strings.ReplaceAll(message, `"`, `\"`) + `"}`
		return want{kind: "tickets", results: []int64{1, negative(errno), int64(len(doc)), negative(abi.ErrnoTimeout)}, memory: map[uint64]string{buffer: doc}}
	}
	// Each of these leaves a ticket open, which is told at the end.
	left := "tickets left open: nova.server_get (ticket 1); wait for each ticket before returning 0"
	open := func(w want) want { w.kind, w.text = "error", left; return w }
	return []attack{
		{name: "wait for nothing", does: "waits although nothing is outstanding", calls: func(uint64) []invoke {
			return []invoke{wait, {abi.Wait, args(-1, 0, 0)}, {abi.Wait, args(math.MinInt32, 0, 0)}}
		}, want: answers(negative(abi.ErrnoNotFound), negative(abi.ErrnoNotFound), negative(abi.ErrnoNotFound))},
		{name: "take of nothing", does: "takes an answer that was never given", calls: func(uint64) []invoke { return []invoke{wait, take} }, want: answers(negative(abi.ErrnoNotFound), negative(abi.ErrnoNotFound))},
		{name: "take after wait", does: "takes the answer of a call after it waited for something else", data: data, answer: say("kept"), calls: func(at uint64) []invoke {
			return []invoke{{abi.Call, args(at, len(op), 0, 0, 0, 0)}, take, wait, take}
		}, want: answers(4, 4, negative(abi.ErrnoNotFound), negative(abi.ErrnoNotFound))},
		{name: "cancel of ticket 0", does: "cancels the ticket of a call that is no ticket", data: data, answer: never, calls: cancels(3), want: open(document(abi.ErrnoNotFound, "no ticket 0 is open"))},
		{name: "cancel of ticket -1", does: "cancels a negative ticket", data: data, answer: never, calls: cancels(4), want: open(document(abi.ErrnoNotFound, "no ticket -1 is open"))},
		{name: "cancel of a ticket that wraps", does: "cancels the ticket that is 1 in 32 bits", data: data, answer: never, calls: cancels(5), want: open(document(abi.ErrnoNotFound, "no ticket 4294967297 is open"))},
		{name: "cancel of a ticket of 64 bits", does: "cancels a ticket of more bits than a number has", data: data, answer: never, calls: cancels(6), want: open(document(abi.ErrnoInvalid, "task.cancel: ticket: want an integer of 64 bits, without fraction and exponent"))},
		{name: "cancel of half a ticket", does: "cancels ticket 1.5", data: data, answer: never, calls: cancels(7), want: open(document(abi.ErrnoInvalid, "task.cancel: ticket: want an integer of 64 bits, without fraction and exponent"))},
		{name: "cancel of a string", does: "cancels a ticket that is a string", data: data, answer: never, calls: cancels(8), want: open(document(abi.ErrnoInvalid, "task.cancel: ticket: want an integer, not a string"))},
		{name: "cancel twice", does: "cancels a ticket again and again, and gets it once", data: data, answer: never, calls: func(at uint64) []invoke {
			c := cancel(at, 2)(data)
			return []invoke{submit(at), c, c, wait, c, wait}
		}, want: answers(1, 2, 2, 1<<32|abi.WaitError|int64(abi.ErrnoCanceled), negative(abi.ErrnoNotFound), negative(abi.ErrnoNotFound))},
		{name: "cancel of what is done", does: "cancels a ticket whose op has ended, and gets its answer all the same", data: text{abi.OpKVGet, abi.OpTaskCancel, `{"ticket":1}`}, answer: say("done"), calls: func(at uint64) []invoke {
			d := text{abi.OpKVGet, abi.OpTaskCancel, `{"ticket":1}`}
			return []invoke{{abi.Submit, args(d.ref(at, 0), 0, 0)}, {abi.Call, args(d.ref(at, 1), d.ref(at, 2), 0, 0)}, wait}
		}, want: answers(1, 2, 1<<32|4)},
		{name: "open at the end", does: "succeeds with a ticket open", data: data, answer: never, calls: func(at uint64) []invoke { return []invoke{submit(at)} }, want: failed(left)},
		{name: "ticket of another sandbox", does: "waits for and cancels the ticket of the run before", data: data, answer: say("x"), runs: 3, calls: func(at uint64) []invoke {
			return []invoke{cancel(at, 2)(data), wait, submit(at), {abi.Wait, args(-1, 0, 0)}}
		}, want: answers(negative(abi.ErrnoNotFound), negative(abi.ErrnoNotFound), 1, 1<<32|1)},
		{name: "too many", does: "keeps more ops in flight than it may", data: data, answer: never, limits: runtime.Limits{Tickets: 2}, calls: func(at uint64) []invoke {
			return []invoke{submit(at), submit(at), submit(at), submit(at)}
		}, want: want{kind: "error", text: "tickets left open: nova.server_get (ticket 1), nova.server_get (ticket 2); wait for each ticket before returning 0", results: []int64{1, 2, negative(abi.ErrnoQuota), negative(abi.ErrnoQuota)}, logs: []string{
			"warn submit: quota: nova.server_get: ticket limit of 2 open reached: 2 ops are in flight (option [wasakari] tickets)",
			"warn submit: quota: nova.server_get: ticket limit of 2 open reached: 2 ops are in flight (option [wasakari] tickets)",
		}}},
		{name: "tickets that are not fetched", does: "submits what ends at once and never fetches it, to have no limit", data: text{abi.OpKVGet}, answer: say("x"), limits: runtime.Limits{Tickets: 2}, calls: func(at uint64) []invoke {
			s := invoke{abi.Submit, args(at, len(abi.OpKVGet), 0, 0)}
			return []invoke{s, s, s}
		}, want: want{kind: "error", text: "tickets left open: kv.get (ticket 1), kv.get (ticket 2); wait for each ticket before returning 0", results: []int64{1, 2, negative(abi.ErrnoQuota)}}},
		{name: "answers that are not fetched", does: "hoards answers beyond its memory", data: text{abi.OpKVGet}, answer: say(strings.Repeat("x", 90_000)), limits: runtime.Limits{MemoryBytes: memorySize, AnswerBytes: 100_000}, calls: func(at uint64) []invoke {
			s := invoke{abi.Submit, args(at, len(abi.OpKVGet), 0, 0)}
			w := invoke{abi.Wait, args(-1, 0, 0)}
			return []invoke{s, s, w, w}
		}, want: answers(1, 2, 1<<32|90_000, 2<<32|abi.WaitError|int64(abi.ErrnoQuota))},
		{name: "wait with a small buffer", does: "waits with a buffer that is too small and takes the answer in pieces, which there is not", data: text{abi.OpKVGet}, answer: say("0123456789"), calls: func(at uint64) []invoke {
			return []invoke{{abi.Submit, args(at, len(abi.OpKVGet), 0, 0)}, {abi.Wait, args(-1, buffer, 4)}, {abi.Take, args(buffer, 4)}, {abi.Take, args(buffer, 10)}}
		}, want: want{kind: "ended well", results: []int64{1, 1<<32 | 10, 10, 10}, memory: map[uint64]string{buffer: "0123456789\x00"}}},
		{name: "host that panics", does: "makes the host panic", data: data, answer: func(context.Context, *abi.Op, []byte) ([]byte, error) { panic("no") }, calls: func(at uint64) []invoke {
			return []invoke{{abi.Call, args(at, len(op), 0, 0, 0, 0)}, take}
		}, want: want{kind: "ended well", results: []int64{negative(abi.ErrnoUnavailable)}, memory: map[uint64]string{buffer: `{"code":"unavailable","message":"nova.server_get: internal error of the host, see its log"}`}}},
		{name: "answer of nothing", does: "gets no bytes as an answer", data: data, answer: say(""), calls: func(at uint64) []invoke {
			return []invoke{{abi.Call, args(at, len(op), 0, 0, 0, 0)}, take}
		}, want: answers(0, 0)},
	}
}

// documents are requests to the ops that the runtime serves itself; those of
// the others are in hostfuncs/hostile.
func documents() []attack {
	one := func(name, does, op, req, message string) attack {
		d := text{op, req}
		doc := `{"code":"invalid","message":"` + message + `"}`
		return attack{name: name, does: does, data: d, calls: func(at uint64) []invoke {
			return []invoke{{abi.Call, args(d.ref(at, 0), d.ref(at, 1), 0, 0)}, {abi.Take, args(buffer, 1000)}}
		}, want: want{kind: "ended well", results: []int64{negative(abi.ErrnoInvalid), int64(len(doc))}, memory: map[uint64]string{buffer: doc}}}
	}
	deep := strings.Repeat("[", 30_000)
	return []attack{
		one("op that is none", "asks for an op that is none", "nova.server_delete", "{}", `no op \"nova.server_delete\"; did you mean nova.server_get?`),
		one("op with a zero", "asks for an op with a zero behind its name", "kv.get\x00", "{}", `no op \"kv.get�\"; did you mean kv.get?`),
		one("op in another case", "asks for an op in another case", "KV.GET", "{}", `no op \"KV.GET\"; did you mean kv.get?`),
		one("op of a group", "asks for a whole group", "kv.*", "{}", `no op \"kv.*\"`),
		one("op with cursor movements", "asks for an op whose name moves a terminal's cursor", "\x1b[2J\u009b2J\u202e", "{}", `no op \"�[2J�2J�\"`),
		one("endless op", "asks for an op of 60 000 characters", strings.Repeat("é", 30_000), "{}", `no op \"`+strings.Repeat("é", 32)+`\"`),
		one("no JSON", "sends what is no JSON", abi.OpTaskReason, "because", "task.reason: the document is not JSON: invalid character 'b' looking for beginning of value, at byte 1"),
		one("no UTF-8", "sends bytes that are no text", abi.OpTaskReason, `{"reason":"`+"\xff"+`"}`, "task.reason: the document is not UTF-8"),
		one("half a pair", "sends half of a surrogate pair", abi.OpTaskReason, `{"reason":"\ud800"}`, "task.reason: reason: half of a surrogate pair stands for no character"),
		one("depth", "nests arrays 30 000 deep", abi.OpTaskReason, `{"reason":`+deep, "task.reason: the document is not JSON: invalid character '[' exceeded max depth, at byte 10010"),
		one("key twice", "gives a key twice", abi.OpTaskReason, `{"reason":"a","re\u0061son":"b"}`, "task.reason: reason: the key is given twice"),
		one("key in another case", "writes a key in another case", abi.OpTaskReason, `{"Reason":"a"}`, "task.reason: Reason: unknown key; did you mean reason?"),
		one("more behind", "sends two documents in one", abi.OpTaskReason, `{"reason":"a"}{}`, "task.reason: the document is not JSON: invalid character '{' after top-level value, at byte 15"),
		one("null", "sends null for a string", abi.OpTaskReason, `{"reason":null}`, "task.reason: reason: want a string, not null; leave the key out"),
		one("nothing", "sends nothing where a key must be", abi.OpTaskReason, ``, "task.reason: reason: the key is missing"),
		one("huge number", "sends a number of 10 000 digits", abi.OpTaskCancel, `{"ticket":`+strings.Repeat("9", 10_000)+`}`, "task.cancel: ticket: want an integer of 64 bits, without fraction and exponent"),
	}
}
