package hostile_test

import (
	"bytes"
	"context"
	"embed"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/wasakari/wasakari/abi"
	"github.com/wasakari/wasakari/internal/testwasm"
	"github.com/wasakari/wasakari/runtime"
)

// attack is one thing that a stranger's module tries. It gives either a module,
// or calls that drive.wat makes, which passes any argument to any import.
type attack struct {
	name string // for -run
	does string // what the attacker does
	want want   // what must come of it

	wasm  []byte
	calls func(at uint64) []invoke // at is the address of data
	data  text

	limits runtime.Limits
	answer func(ctx context.Context, op *abi.Op, req []byte) ([]byte, error) // of the host; nil: {}
	revert bool                                                              // attack in revert instead of run
	runs   int                                                               // that end the same, each; 0 is 1
}

// want is what must come of an attack. An error is told by its kind and its
// text, which for a trap is the reason alone.
type want struct {
	kind    string
	text    string
	results []int64           // of the calls, in order
	memory  map[uint64]string // what stands where after the calls
	logs    []string          // nil: not looked at
}

func refused(step runtime.Step, text string) want {
	return want{kind: "refused at " + string(step), text: text}
}
func trapped(reason string) want    { return want{kind: "trap", text: reason} }
func limited(text string) want      { return want{kind: "limit", text: text} }
func exited(text string) want       { return want{kind: "exit", text: text} }
func failed(text string) want       { return want{kind: "error", text: text} }
func answers(results ...int64) want { return want{kind: "ended well", results: results} }
func logs(lines ...string) want     { return want{kind: "ended well", logs: lines} }

// harmless says that nothing comes of it: the task ends as if it had not tried.
var harmless = want{kind: "ended well"}

// groups are all attacks.
var groups = []struct {
	name    string
	attacks []attack
}{
	{"pointers", pointers()},
	{"overlaps", overlaps()},
	{"limits", limits()},
	{"malformed", malformed()},
	{"decoders", decoders()},
	{"manifests", manifests()},
	{"scripts", scripts()},
	{"tickets", tickets()},
	{"documents", documents()},
	{"floods", floods()},
	{"leftovers", leftovers()},
	{"beginnings", beginnings()},
	{"names", names()},
}

func TestAttacks(t *testing.T) {
	c := newCell(t, t.TempDir())
	for _, g := range groups {
		t.Run(g.name, func(t *testing.T) {
			seen := map[string]bool{}
			for _, a := range g.attacks {
				if seen[a.name] || a.does == "" || a.want.kind == "" {
					t.Errorf("%s: not told apart, or not told at all", a.name)
				}
				seen[a.name] = true
				t.Run(a.name, func(t *testing.T) {
					if problem := c.perform(t.Context(), a); problem != "" {
						t.Errorf("the guest %s\n%s", a.does, problem)
					}
				})
			}
		})
	}
}

// cell is what attacks are made against: one Runtime for all, as a service
// has it.
type cell struct {
	runtime *runtime.Runtime
	drive   *runtime.Module
}

// newCell makes a cell that is closed with the test.
//
// Modules are compiled here: hundreds of processes would take minutes on a busy
// machine, and these modules are small. TestRounds has some of the others.
func newCell(t *testing.T, cache string) *cell {
	return newCellWith(t, runtime.Config{CacheDir: cache, CompileInProcess: true})
}

func newCellWith(t *testing.T, cfg runtime.Config) *cell {
	t.Helper()
	cfg.Logger, cfg.MaxModuleBytes, cfg.Engines = zap.NewNop(), 2<<20, engines()
	r, err := runtime.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // for the second time where the test closed it
		if err := r.Close(context.Background()); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	drive, err := r.Admit(t.Context(), "drive.wasm", testwasm.Module("drive"))
	if err != nil {
		t.Fatal(err)
	}
	return &cell{r, drive}
}

// perform makes the attack and says in what way it did not end as it must.
func (c *cell) perform(ctx context.Context, a attack) string {
	m := c.drive
	if a.wasm != nil {
		var err error
		m, err = c.runtime.Admit(ctx, "evil.wasm", a.wasm)
		if err != nil {
			return a.compare(outcome(err), &host{})
		}
		defer func() { _ = m.Close(context.WithoutCancel(ctx)) }() // nothing runs any more
	}
	for range max(a.runs, 1) {
		h := &host{do: a.answer}
		if a.calls != nil {
			h.program = program(a.data.bytes(), a.calls)
		}
		limits := a.limits
		if limits.Timeout == 0 {
			limits.Timeout = 20 * time.Second // not 5 minutes, when something is broken
		}
		enter := m.Run
		if a.revert {
			enter = m.Revert
		}
		res, err := enter(ctx, runtime.Call{Key: testwasm.Key, Host: h, Limits: limits})
		got := outcome(err)
		if err == nil && res.Exit != abi.ExitSucceeded {
			got = want{kind: fmt.Sprintf("exit %d", res.Exit), text: res.Reason}
		}
		if problem := a.compare(got, h); problem != "" {
			return problem
		}
	}
	return ""
}

// outcome sorts an error of Admit or Run.
func outcome(err error) want {
	if err == nil {
		return harmless
	}
	text := strings.TrimPrefix(err.Error(), "task task: ")
	if e, ok := errors.AsType[*runtime.AdmissionError](err); ok {
		return refused(e.Step, strings.TrimPrefix(text, "evil.wasm: "))
	}
	if e, ok := errors.AsType[*runtime.TrapError](err); ok {
		reason := e.Reason
		if e.Err != nil {
			reason += "; " + e.Err.Error()
		}
		return trapped(reason)
	}
	if _, ok := errors.AsType[*runtime.ExitError](err); ok {
		return exited(text)
	}
	if e, ok := errors.AsType[*runtime.LimitError](err); ok {
		return limited(e.Error())
	}
	return failed(text)
}

// compare says how what came differs from what must come.
func (a attack) compare(got want, h *host) string {
	if got.kind != a.want.kind || got.text != a.want.text {
		return fmt.Sprintf(" got %s: %q\nwant %s: %q", got.kind, got.text, a.want.kind, a.want.text)
	}
	for i, want := range a.want.results {
		if got := h.result(i); got != want {
			return fmt.Sprintf("result %d = %d (%#x), want %d (%#x)", i, got, got, want, want)
		}
	}
	for at, want := range a.want.memory {
		if got := h.at(at, len(want)); got != want {
			return fmt.Sprintf("at %d: %q, want %q", at, got, want)
		}
	}
	if a.want.logs != nil && !slices.Equal(h.lines, a.want.logs) {
		return fmt.Sprintf("log\n got %q\nwant %q", h.lines, a.want.logs)
	}
	return ""
}

// host answers the guest and notes what it hears.
type host struct {
	do      func(ctx context.Context, op *abi.Op, req []byte) ([]byte, error)
	program []byte // for drive.wat
	memory  []byte // of drive.wat after its calls, from resultsAt
	lines   []string
}

func (h *host) at(address uint64, n int) string {
	if uint64(len(h.memory)) < address-resultsAt+uint64(n) {
		return "nothing was handed over"
	}
	return string(h.memory[address-resultsAt:][:n])
}

func (h *host) result(i int) int64 {
	return int64(binary.LittleEndian.Uint64([]byte(h.at(resultsAt+8*uint64(i), 8))))
}

func (h *host) Do(ctx context.Context, op *abi.Op, req []byte) ([]byte, error) {
	switch {
	case h.program != nil && op.Name == abi.OpTaskInput:
		return h.program, nil
	case h.program != nil && op.Name == abi.OpKVPut && len(req) == memorySize-resultsAt:
		h.memory = bytes.Clone(req)
	case h.do != nil:
		return h.do(ctx, op, req)
	}
	return []byte("{}"), nil
}

func (h *host) Log(level abi.Level, msg string) { h.lines = append(h.lines, level.String()+" "+msg) }

func (h *host) Progress(permille int, msg string) {
	h.lines = append(h.lines, fmt.Sprintf("%d %s", permille, msg))
}

// What drive.wat has where: results, then the program's records, then data,
// which leaves the second half of its memory to answers.
const (
	resultsAt  = 512
	programAt  = 1024
	recordSize = 80
	buffer     = 65536
	memorySize = 2 * 65536
)

// invoke is one call that drive.wat makes.
type invoke struct {
	name string
	args []uint64
}

// imports numbers the imports of drive.wat.
var imports = func() map[string]uint64 {
	info, err := runtime.Inspect("drive.wasm", testwasm.Module("drive"))
	if err != nil {
		panic(err)
	}
	m := map[string]uint64{}
	for i, imp := range info.Imports {
		m[imp.Name] = uint64(i + 1)
	}
	return m
}()

// program is what task.input answers to drive.wat.
func program(data []byte, calls func(at uint64) []invoke) []byte {
	at := uint64(programAt + (len(calls(0))+1)*recordSize)
	var out []byte
	record := func(number uint64, args []uint64) {
		b := make([]byte, recordSize)
		binary.LittleEndian.PutUint64(b, number)
		for i, a := range args {
			binary.LittleEndian.PutUint64(b[8+8*i:], a)
		}
		out = append(out, b...)
	}
	for _, c := range calls(at) {
		number, ok := imports[c.name]
		if !ok {
			panic("drive.wat does not import " + c.name)
		}
		record(number, c.args)
	}
	record(0, []uint64{0, memorySize - resultsAt})
	return append(out, data...)
}

// text is data of a program: strings one after the other. ref gives pointer
// and length of one.
type text []string

func (d text) bytes() []byte { return []byte(strings.Join(d, "")) }

func (d text) ref(at uint64, i int) []uint64 {
	return []uint64{at + uint64(len(strings.Join(d[:i], ""))), uint64(len(d[i]))}
}

// args joins pointers, lengths and numbers.
func args(parts ...any) []uint64 {
	var out []uint64
	for _, p := range parts {
		switch p := p.(type) {
		case []uint64:
			out = append(out, p...)
		case uint64:
			out = append(out, p)
		case int:
			out = append(out, uint64(int64(p)))
		default:
			panic(fmt.Sprintf("argument %v", p))
		}
	}
	return out
}

// negative is how an errno comes back.
func negative(e abi.Errno) int64 { return -int64(e) }

//go:embed testdata/*.wasm
var guests embed.FS

// guest gives a module of testdata, or one of testwasm.
func guest(name string) []byte {
	if b, err := guests.ReadFile("testdata/" + name + ".wasm"); err == nil {
		return b
	}
	return testwasm.Module(name)
}

// What follows makes modules that no compiler would write.

// module makes a module of sections, without a manifest.
func module(sections ...string) []byte {
	return []byte("\x00asm\x01\x00\x00\x00" + strings.Join(sections, ""))
}

// task is module with a manifest.
func task(sections ...string) []byte {
	manifest, err := abi.ReadManifest(testwasm.Module("noop"))
	if err != nil {
		panic(err)
	}
	wasm, err := abi.AppendManifest(module(sections...), manifest)
	if err != nil {
		panic(err)
	}
	return wasm
}

func section(id byte, body string) string { return string(id) + leb(uint64(len(body))) + body }

// sized gives a string with its length before it, as names and code have it.
func sized(s string) string { return leb(uint64(len(s))) + s }

func leb(n uint64) string { return string(binary.AppendUvarint(nil, n)) }

// The sections of the smallest task, for those that spoil one of them.
var (
	sectionTypes   = section(1, "\x01\x60\x00\x01\x7f") // () -> i32
	sectionFuncs   = section(3, "\x01\x00")
	sectionMemory  = section(5, "\x01\x00\x01")
	sectionExports = section(7, "\x02\x03run\x00\x00\x06memory\x02\x00")
	sectionCode    = section(10, "\x01"+sized("\x00\x41\x00\x0b"))
)

// code is the smallest task with this code in run, without its end.
func code(locals, instructions string) []byte {
	return task(sectionTypes, sectionFuncs, sectionMemory, sectionExports, section(10, "\x01"+sized(locals+instructions+"\x0b")))
}
