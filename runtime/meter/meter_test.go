package meter_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"

	"github.com/wasakari/wasakari/internal/testwasm"
	"github.com/wasakari/wasakari/runtime/meter"
)

// module writes a module of sections.
func module(sections ...string) []byte {
	return []byte("\x00asm\x01\x00\x00\x00" + strings.Join(sections, ""))
}

func section(id byte, content string) string { return string(id) + name(content) }

func leb(n int) string { return string(binary.AppendUvarint(nil, uint64(n))) }

// name is what begins with its length: names, bodies, sections.
func name(content string) string { return leb(len(content)) + content }

// body is a function without locals.
func body(code string) string { return name("\x00" + code + "\x0b") }

// The same bytes give the same module, and what is not counted is gone: two
// imports and two globals are there, and no new export.
func TestRewriteAddsLittle(t *testing.T) {
	for _, guest := range []string{"noop", "opcodes", "drive", "recursion_tree"} {
		wasm := testwasm.Module(guest)
		got, err := meter.Rewrite(wasm, meter.Options{})
		if err != nil {
			t.Fatal(err)
		}
		rt := wazero.NewRuntime(t.Context())
		before, err := rt.CompileModule(t.Context(), wasm)
		if err != nil {
			t.Fatal(err)
		}
		after, err := rt.CompileModule(t.Context(), got)
		if err != nil {
			t.Fatal(err)
		}
		if n, m := len(before.ImportedFunctions()), len(after.ImportedFunctions()); m != n+2 {
			t.Errorf("%s: %d imports, then %d", guest, n, m)
		}
		for export := range after.ExportedFunctions() {
			if before.ExportedFunctions()[export] == nil {
				t.Errorf("%s: a new export %s", guest, export)
			}
		}
		for export, f := range before.ExportedFunctions() {
			if g := after.ExportedFunctions()[export]; g == nil || g.Name() != f.Name() {
				t.Errorf("%s: export %s is the function %v, it was %s", guest, export, g, f.Name())
			}
		}
		if err := rt.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

// What refers to anything that is not there is refused: it would be one of
// ours.
func TestRewriteRefuses(t *testing.T) {
	const types, function = "\x01\x60\x00\x00", "\x01\x00"
	code := func(instructions string) []byte {
		return module(section(1, types), section(3, function), section(10, "\x01"+body(instructions)))
	}
	tests := []struct {
		name, want string
		wasm       []byte
	}{
		{"nothing", "no WebAssembly module at byte 0", nil},
		{"a hidden global", "no global of this index at byte 24", code("\x23\x00\x1a")},
		{"a hidden global is set", "no global of this index at byte 26", code("\x42\x00\x24\x00")},
		{"a hidden import is called", "no function of this index at byte 24", code("\x10\x01")},
		{"a hidden import is taken", "no function of this index at byte 24", code("\xd2\x01\x1a")},
		{"a hidden local", "no local of this index at byte 24", code("\x20\x00\x1a")},
		{"a label outside", "a branch to no label at byte 25", code("\x0c\x01")},
		{"a label outside, in a table", "no label of this index at byte 27", code("\x41\x00\x0e\x00\x01")},
		{"an operand that is not there", "an operand that is not there at byte 24", code("\x1a")},
		{"a hidden import is exported", "no function of this index at byte 24", module(section(1, types), section(3, function), section(7, "\x01\x01e\x00\x01"), section(10, "\x01"+body("")))},
		{"a hidden import is started", "no function of this index at byte 20", module(section(1, types), section(3, function), section(8, "\x01"), section(10, "\x01"+body("")))},
		{"the hidden module", "an import of the reserved module wasakari_meter at byte 34", module(section(1, types), section(2, "\x01"+name(meter.ImportModule)+"\x01x\x00\x00"))},
		{"code after the end", "code after the end of a function at byte 24", module(section(1, types), section(3, function), section(10, "\x01"+name("\x00\x0b\x0b")))},
		{"a newer instruction", "unknown instruction 0x12 at byte 24", code("\x12\x00")},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := meter.Rewrite(tt.wasm, meter.Options{})
			if fmt.Sprint(err) != tt.want {
				t.Errorf("error\n got %v\nwant %s", err, tt.want)
			}
		})
	}
}

func TestTooLarge(t *testing.T) {
	if _, err := meter.Rewrite(testwasm.Module("drive"), meter.Options{MaxBytes: 100}); !errors.Is(err, meter.ErrTooLarge) {
		t.Errorf("error = %v, want ErrTooLarge", err)
	}
}

// Every table has a maximum; those that grow share what the others leave.
func TestTables(t *testing.T) {
	// Each function grows one table by its argument.
	grow := func(table int) string { return body("\xd0\x70\x20\x00\xfc\x0f" + leb(table)) }
	build := func(tables ...string) []byte {
		return module(
			section(1, "\x01\x60\x01\x7f\x01\x7f"), section(3, "\x02\x00\x00"),
			section(4, leb(len(tables))+strings.Join(tables, "")),
			section(7, "\x02\x01a\x00\x00\x01b\x00\x01"), section(10, "\x02"+grow(0)+grow(1)),
		)
	}
	mod := metered(t, build("\x70\x00\x00", "\x70\x01\x0a\x14", "\x70\x00\x02"), newLedger(1000), meter.Options{TableEntries: 100})
	for _, step := range []struct {
		export string
		by     uint64
		want   int32
	}{
		{"a", 45, -1}, // 88 are left for two
		{"a", 44, 0},
		{"a", 1, -1},
		{"b", 11, -1}, // its own maximum is 20
		{"b", 10, 10},
	} {
		got, err := mod.ExportedFunction(step.export).Call(t.Context(), step.by)
		if err != nil || int32(got[0]) != step.want {
			t.Errorf("%s(%d) = %d, %v; want %d", step.export, step.by, int32(got[0]), err, step.want)
		}
	}
	if _, err := meter.Rewrite(build("\x70\x00\x33", "\x70\x00\x32"), meter.Options{TableEntries: 100}); !errors.Is(err, meter.ErrTables) {
		t.Errorf("error = %v, want ErrTables", err)
	}
}

// metered instantiates a module that is rewritten.
func metered(t testing.TB, wasm []byte, l *ledger, o meter.Options) api.Module {
	t.Helper()
	rt := wazero.NewRuntime(t.Context())
	t.Cleanup(func() {
		if err := rt.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	if l != nil {
		l.provide(t, rt)
		got, err := meter.Rewrite(wasm, o)
		if err != nil {
			t.Fatal(err)
		}
		wasm = got
	}
	mod, err := rt.InstantiateWithConfig(t.Context(), wasm, wazero.NewModuleConfig().WithName("").WithStartFunctions())
	if err != nil {
		t.Fatal(err)
	}
	return mod
}

// bulk exports fill, copy and init of 2 MiB of data, for a memory of 4 MiB,
// and drop, which drops the data.
func bulk() []byte {
	data := make([]byte, 2<<20)
	for i := range data {
		data[i] = byte(i*7 + i>>8)
	}
	const three = "\x20\x00\x20\x01\x20\x02"
	return module(
		section(1, "\x02\x60\x03\x7f\x7f\x7f\x00\x60\x00\x00"), section(3, "\x04\x00\x00\x00\x01"), section(5, "\x01\x00\x40"),
		section(7, "\x05\x04fill\x00\x00\x04copy\x00\x01\x04init\x00\x02\x04drop\x00\x03\x06memory\x02\x00"),
		section(12, "\x01"),
		section(10, "\x04"+body(three+"\xfc\x0b\x00")+body(three+"\xfc\x0a\x00\x00")+body(three+"\xfc\x08\x00\x00")+body("\xfc\x09\x00")),
		section(11, "\x01\x01"+name(string(data))),
	)
}

// Filling and copying in pieces does what it does at once: the same bytes,
// whatever overlaps, and a trap before anything is written.
func TestPieces(t *testing.T) {
	const mib = 1 << 20
	l := newLedger(1000)
	sides := []api.Module{metered(t, bulk(), nil, meter.Options{}), metered(t, bulk(), l, meter.Options{})}
	sizes := []uint64{0, 1, 3, 1023, 1024, 1025, mib - 1, mib, mib + 1, 2 * mib, 2*mib + 5, 4*mib - 1, 4 * mib, 4*mib + 1, 1<<32 - 1}
	places := append(slices.Clone(sizes), 5, 4*mib-1024, 3*mib+7)
	random := rand.New(rand.NewPCG(1, 2))
	for round := range 400 {
		call := []string{"fill", "copy", "init"}[round%3]
		if round == 390 {
			call = "drop"
		}
		pick := func(list []uint64) uint64 { return list[random.IntN(len(list))] }
		args := []uint64{pick(places), pick(places), pick(sizes)}
		if call == "drop" {
			args = nil
		}
		var errs [2]string
		var memory [2][]byte
		for i, mod := range sides {
			_, err := mod.ExportedFunction(call).Call(t.Context(), args...)
			errs[i] = reason(err)
			memory[i], _ = mod.Memory().Read(0, mod.Memory().Size())
		}
		if errs[0] != errs[1] || !bytes.Equal(memory[0], memory[1]) {
			t.Fatalf("round %d: %s%d: %q, want %q; the same memory: %t", round, call, args, errs[1], errs[0], bytes.Equal(memory[0], memory[1]))
		}
	}
	if used := l.used(sides[1]); used < 100*mib/4 {
		t.Errorf("%d units used, want a quarter of the bytes at least", used)
	}
}

// A piece is paid for before it is filled.
func TestPiecesAreChargedFirst(t *testing.T) {
	l := newLedger(1000)
	l.most = 600_000 // units, for two pieces and a bit
	mod := metered(t, bulk(), l, meter.Options{})
	_, err := mod.ExportedFunction("fill").Call(t.Context(), 0, 7, 4<<20)
	if reason(err) != errSpent.Error() {
		t.Fatalf("error = %v, want %v", err, errSpent)
	}
	memory, _ := mod.Memory().Read(0, 4<<20)
	if got := bytes.Count(memory, []byte{7}); got != 2<<20 {
		t.Errorf("%d bytes are filled, want 2 MiB", got)
	}
}

// segments makes a module with data segments, and its memory of one page.
func segments(list ...string) []byte {
	return module(section(5, "\x01\x00\x01"), section(7, "\x01\x06memory\x02\x00"), section(12, leb(len(list))), section(11, leb(len(list))+strings.Join(list, "")))
}

// at is an active segment.
func at(offset int, content string) string {
	var b []byte
	for v := int64(int32(offset)); ; {
		c := byte(v & 0x7f)
		v >>= 7
		if v == 0 && c&0x40 == 0 || v == -1 && c&0x40 != 0 {
			b = append(b, c)
			break
		}
		b = append(b, c|0x80)
	}
	return "\x00\x41" + string(b) + "\x0b" + name(content)
}

// Memory is the same with few data segments as with many.
func TestMergeData(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	many := make([]string, 500)
	for i := range many {
		many[i] = at(random.IntN(60_000), strings.Repeat(string(rune('a'+i%26)), random.IntN(40)))
	}
	tests := []struct {
		name string
		list []string
		most int // segments afterwards
	}{
		{"none", nil, 0},
		{"one", []string{at(5, "x")}, 1},
		{"side by side", []string{at(0, "ab"), at(2, "cd")}, 1},
		{"with a gap", []string{at(0, "ab"), at(200, "cd")}, 1},
		{"with a gap in front", []string{at(200, "ab"), at(0, "cd")}, 1},
		{"far from one another", []string{at(0, "ab"), at(2000, "cd")}, 2},
		{"one over another", []string{at(10, "abcdef"), at(12, "XY"), at(8, "123"), at(300, "")}, 1},
		{"many", many, 50},
		{"the last byte", []string{at(65_530, "abc"), at(65_533, "def")}, 1},
		{"empty ones", []string{at(0, ""), at(65_536, "")}, 0},
		{"one that does not fit", []string{at(0, "ab"), at(2, "cd"), at(65_535, "ef"), at(4, "gh")}, 3},
		{"a negative offset", []string{at(0, "ab"), at(2, "cd"), at(-1, "")}, 2},
		{"empty, and outside", []string{at(0, "ab"), at(2, "cd"), at(65_537, "")}, 2},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			wasm := segments(tt.list...)
			want, wantTrap := instantiated(t, wasm)
			for _, imageBytes := range []int{0, 1} {
				got, err := meter.Rewrite(wasm, meter.Options{MergeData: true, ImageBytes: imageBytes})
				if err != nil {
					t.Fatal(err)
				}
				if n := dataSegments(t, got); n > tt.most {
					t.Errorf("%d data segments, want at most %d", n, tt.most)
				}
				memory, trap := instantiated(t, got)
				if trap != wantTrap || !bytes.Equal(memory, want) {
					t.Errorf("image from %d bytes on: %q, want %q; the same memory: %t", imageBytes, trap, wantTrap, bytes.Equal(memory, want))
				}
			}
		})
	}
}

// What lies together is an image, what does not or is little stays in segments,
// and nobody brings an image of his own.
func TestImage(t *testing.T) {
	tests := []struct {
		name   string
		list   []string
		offset uint32
		want   string // "": no image
	}{
		{"one", []string{at(7, "abcdefgh")}, 7, "abcdefgh"},
		{"with zeros between", []string{at(10, "efgh"), at(1, "abcd")}, 1, "abcd\x00\x00\x00\x00\x00efgh"},
		{"later ones over earlier ones", []string{at(0, "abcdef"), at(2, "XY"), at(100, "")}, 0, "abXYef"},
		{"little", []string{at(0, "abc")}, 0, ""},
		{"far from one another", []string{at(0, "abcd"), at(20, "efgh")}, 0, ""},
		{"up to one that does not fit", []string{at(0, "abcdef"), at(65_535, "ef"), at(6, "gh")}, 0, "abcdef"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			wasm := append(segments(tt.list...), section(0, "\x0ewasakari.image\x05XXXXX")...)
			got, err := meter.Rewrite(wasm, meter.Options{MergeData: true, ImageBytes: 4})
			if err != nil {
				t.Fatal(err)
			}
			image, err := meter.ImageOf(got)
			switch {
			case err != nil:
				t.Fatal(err)
			case (image == nil) != (tt.want == ""):
				t.Fatalf("an image: %t, want %q", image != nil, tt.want)
			case image != nil && (image.Offset != tt.offset || string(image.Bytes) != tt.want):
				t.Errorf("%q at %d, want %q at %d", image.Bytes, image.Offset, tt.want, tt.offset)
			}
		})
	}
}

// Where code names a segment, they stay as they are.
func TestNamedDataStays(t *testing.T) {
	wasm := module(
		section(1, "\x01\x60\x00\x00"), section(3, "\x01\x00"), section(5, "\x01\x00\x01"), section(12, "\x02"),
		section(10, "\x01"+body("\xfc\x09\x01")), section(11, "\x02"+at(0, "ab")+at(2, "cd")),
	)
	got, err := meter.Rewrite(wasm, meter.Options{MergeData: true, ImageBytes: 1})
	if err != nil {
		t.Fatal(err)
	}
	if n := dataSegments(t, got); n != 2 {
		t.Errorf("%d data segments, want 2", n)
	}
}

// dataSegments counts them.
func dataSegments(t *testing.T, wasm []byte) int {
	t.Helper()
	for rest := wasm[8:]; len(rest) > 0; {
		size, n := binary.Uvarint(rest[1:])
		content := rest[1+n:][:size]
		if rest[0] == 11 {
			count, _ := binary.Uvarint(content)
			return int(count)
		}
		rest = rest[1+n+int(size):]
	}
	return 0
}

// keep is an allocator that lays the image of a module into its memory, and
// shows memory also when instantiation fails.
type keep struct {
	memory []byte
	image  *meter.Image
}

func (k *keep) Allocate(_, _ uint64) experimental.LinearMemory { return k }

func (k *keep) Reallocate(size uint64) []byte {
	k.memory = append(k.memory, make([]byte, size-uint64(len(k.memory)))...)
	if k.image != nil {
		copy(k.memory[k.image.Offset:][:len(k.image.Bytes)], k.image.Bytes)
		k.image = nil
	}
	return k.memory
}

func (k *keep) Free() {}

// withImage gives a context in which an instance of a module has its image.
func withImage(t *testing.T, wasm []byte) (context.Context, *keep) {
	t.Helper()
	image, err := meter.ImageOf(wasm)
	if err != nil {
		t.Fatal(err)
	}
	k := &keep{image: image}
	return experimental.WithMemoryAllocator(t.Context(), k), k
}

// instantiated gives memory after instantiation, and the trap of it.
func instantiated(t *testing.T, wasm []byte) ([]byte, string) {
	t.Helper()
	rt := wazero.NewRuntime(t.Context())
	defer func() {
		if err := rt.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}()
	newLedger(1000).provide(t, rt)
	ctx, k := withImage(t, wasm)
	_, err := rt.InstantiateWithConfig(ctx, wasm, wazero.NewModuleConfig().WithName(""))
	return k.memory, reason(err)
}
