//go:build linux

package runtime_test

import (
	"bufio"
	"errors"
	"maps"
	"os"
	"path/filepath"
	goruntime "runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/wasakari/wasakari/internal/testwasm"
	"github.com/wasakari/wasakari/runtime"
)

// Parts of modules that are made by hand.
const (
	i32t, v128t = "\x7f", "\x7b"
	blk, lp     = "\x02\x40", "\x03\x40"
	cond, other = "\x04\x40", "\x05"
	end         = "\x0b"
	get0, set0  = "\x20\x00", "\x21\x00"
	drop        = "\x1a"
	brIf0       = "\x0d\x00"
	add         = "\x6a"
	dead        = "\x00" // unreachable
	runType     = "\x60\x00\x01\x7f"
	thousandX   = "\xe8\x07"
	exportsRun  = "\x02\x03run\x00\x00\x06memory\x02\x00"
)

func x(s string, n int) string { return strings.Repeat(s, n) }

// one makes a module of one function of the type () -> i32 with 2000 or fewer
// locals of i32.
func one(locals int, code string) []byte {
	body := "\x00"
	if locals > 0 {
		body = "\x01" + leb(uint64(locals)) + i32t
	}
	return many(1, body+code+zero+end)
}

// around makes a small good module with more sections, by their ids.
func around(more map[byte]string) []byte {
	parts := map[byte]string{
		1: "\x01" + runType, 3: "\x01\x00", 5: "\x01\x00\x01", 7: exportsRun, 10: "\x01\x04\x00" + zero + end,
	}
	maps.Copy(parts, more)
	var sections []string
	for _, id := range []byte{1, 2, 3, 4, 5, 6, 7, 9, 12, 10, 11, 0} {
		if body, ok := parts[id]; ok {
			sections = append(sections, section(id, body))
		}
	}
	return finish(sections...)
}

// Modules made to cost whoever reads, validates or compiles them time and
// memory, each worse than the bounds allow. None gets to the compiler, or it
// ends there within its limits; and this process allocates in proportion to the
// module, no more.
func TestCompileBombs(t *testing.T) {
	wide := thousandX + x(i32t, 1000)
	tests := []struct {
		name string
		wasm []byte
		// step is that of the refusal; "" when the module is no bomb in the end:
		// then it is admitted, or the compiler meets a limit.
		step runtime.Step
	}{
		{"2000 locals, 5000 loops", one(2000, x(lp+end, 5000)), runtime.StepComplexity},
		{"2000 locals, 5000 ifs", one(2000, x(get0+cond+zero+set0+end, 5000)), runtime.StepComplexity},
		{"loops in loops with locals", one(2000, x(lp, 249)+x(end, 249)), runtime.StepComplexity},
		{"2001 locals", one(2001, ""), runtime.StepSize},
		{"locals of 2^32 groups", many(1, "\xff\xff\xff\xff\x0f"+zero+end), runtime.StepSize},
		{"locals that overflow a sum", many(1, "\x02\xff\xff\xff\xff\x0f\x7f\xff\xff\xff\xff\x0f\x7f"+zero+end), runtime.StepSize},
		{"br_table of 10001", one(0, blk+zero+"\x0e"+leb(10_001)+x("\x00", 10_002)+end), runtime.StepComplexity},
		{"br_table that claims 2^32", one(0, blk+zero+"\x0e\xff\xff\xff\xff\x0f\x00"+end), runtime.StepValidate},
		{"three br_tables of 9999", one(0, x(blk+zero+"\x0e"+leb(9_999)+x("\x00", 10_000)+end, 3)), runtime.StepComplexity},
		{"br_tables from within 4096 blocks", one(0, x(blk, 4096)+x(zero+"\x0e\x14"+x("\x80\x10", 21), 1000)+x(end, 4096)), runtime.StepComplexity},
		{"nesting of 4097", one(0, x(blk, 4097)+x(end, 4097)), runtime.StepComplexity},
		{"nesting of 200000", one(0, x(blk, 200_000)), runtime.StepComplexity},
		{"nested loops that carry values", withType("\x60"+"\x64"+x(i32t, 100)+"\x64"+x(i32t, 100), x(zero, 100)+x("\x03\x01", 1400)+x(end, 1400)+x(drop, 100)), runtime.StepComplexity},
		{"5001 types", around(map[byte]string{1: leb(5001) + x(runType, 5001)}), runtime.StepSize},
		{"types of 2^32", around(map[byte]string{1: "\xff\xff\xff\xff\x0f"}), runtime.StepSize},
		{"a type of 1001 parameters", around(map[byte]string{1: "\x01\x60\xe9\x07" + x(i32t, 1001) + "\x00"}), runtime.StepSize},
		{"100 types of 1000 and 1000", around(map[byte]string{1: "\x64" + x("\x60"+wide+wide, 100)}), runtime.StepSize},
		{"50001 functions", many(50_001, "\x00"+zero+end), runtime.StepSize},
		{"a body of 512 KiB and more", one(0, x("\x01", 512<<10)), runtime.StepComplexity},
		{"10001 globals", around(map[byte]string{6: leb(10_001) + x("\x7f\x00"+zero+end, 10_001)}), runtime.StepSize},
		{"an enormous constant expression", around(map[byte]string{6: "\x01\x7f\x00" + x(zero, 1_000_000) + end}), runtime.StepValidate},
		{"a constant expression that adds", around(map[byte]string{6: "\x01\x7f\x00" + zero + x(zero+add, 1000) + end}), runtime.StepValidate},
		{"a constant expression without end", around(map[byte]string{6: "\x01\x7f\x00" + zero}), runtime.StepValidate},
		{"201 exports", around(map[byte]string{7: "\xc9\x01\x03run\x00\x00\x06memory\x02\x00" + numbered(199, "\x00\x00")}), runtime.StepSize},
		{"201 imports", around(map[byte]string{2: "\xc9\x01" + x("\x00\x00\x00\x00", 201)}), runtime.StepSize},
		{"exports with names of 1 MiB", around(map[byte]string{7: "\x01" + leb(1<<20) + x("e", 1<<20) + "\x00\x00"}), runtime.StepSize},
		{"100001 data segments", around(map[byte]string{11: leb(100_001) + x("\x00"+zero+end+"\x00", 100_001)}), runtime.StepSize},
		{"data segments of 2^32", around(map[byte]string{11: "\xff\xff\xff\xff\x0f"}), runtime.StepSize},
		{"a data segment that claims 2 GiB", around(map[byte]string{11: "\x01\x00" + zero + end + "\xff\xff\xff\xff\x07"}), runtime.StepValidate},
		{"a data count of 2^32", around(map[byte]string{12: "\xff\xff\xff\xff\x0f"}), runtime.StepValidate},
		{"10001 element segments", around(map[byte]string{4: "\x01\x70\x00\x01", 9: leb(10_001) + x("\x00"+zero+end+"\x00", 10_001)}), runtime.StepSize},
		{"131073 elements", around(map[byte]string{4: "\x01\x70\x00\x01", 9: "\x02" + x("\x01\x00"+leb(65_537)+x("\x00", 65_537), 2)}), runtime.StepSize},
		{"elements of 2^32", around(map[byte]string{4: "\x01\x70\x00\x01", 9: "\x01\x01\x00\xff\xff\xff\xff\x0f"}), runtime.StepSize},
		{"a table of 2^32", around(map[byte]string{4: "\x01\x70\x00\xff\xff\xff\xff\x0f"}), runtime.StepSize},
		{"a hundred tables of 1000", around(map[byte]string{4: "\x64" + x("\x70\x00\xe8\x07", 100)}), runtime.StepSize},
		{"101 tables", around(map[byte]string{4: "\x65" + x("\x70\x00\x00", 101)}), runtime.StepSize},
		{"two memories", around(map[byte]string{5: "\x02\x00\x01\x00\x01"}), runtime.StepSize},
		{"a memory of 2^32 pages", around(map[byte]string{5: "\x01\x00\xff\xff\xff\xff\x0f"}), runtime.StepValidate},
		{"names of a million functions", around(map[byte]string{0: "\x04name" + section(1, leb(1_000_000)+x("\x00\x00", 1_000_000))}), runtime.StepSize},
		{"names of a million locals", around(map[byte]string{0: "\x04name" + section(2, "\x01\x00"+leb(1_000_000)+x("\x00\x00", 1_000_000))}), runtime.StepSize},
		{"names of the locals of functions of 2^32", around(map[byte]string{0: "\x04name" + section(2, "\xff\xff\xff\xff\x0f")}), runtime.StepSize},
		{"names of locals of many functions", around(map[byte]string{0: "\x04name" + section(2, leb(20_000)+x("\x00\x1e"+x("\x00\x00", 30), 20_000))}), runtime.StepSize},
		{"5000 custom sections", module(x("\x00\x01\x00", 5000)), runtime.StepValidate},
		{"a number of six bytes", around(map[byte]string{1: "\x81\x80\x80\x80\x80\x00" + runType}), runtime.StepValidate},
		{"a section size of five bytes that is too large", []byte("\x00asm\x01\x00\x00\x00\x01\xff\xff\xff\xff\x0f"), runtime.StepValidate},
		{"1100 functions of 2000 locals", many(1100, "\x01\xd0\x0f\x7f"+zero+end), runtime.StepComplexity},

		// Right up to the bounds: the compiler has to do these.
		{"numbers of five bytes", around(map[byte]string{1: "\x81\x80\x80\x80\x00" + runType, 10: "\x01" + section(0, "\x80\x80\x80\x80\x00"+"\x41\x80\x80\x80\x80\x00"+end)[1:]}), ""},
		{"2000 locals, 250 loops", one(2000, x(lp+end, 250)), ""},
		{"2000 locals, 249 ifs", one(2000, x(get0+cond+zero+"\x21\xcf\x0f"+other+zero+set0+end, 249)), ""},
		{"locals that every branch changes", one(500, x(get0+cond+x(zero+set0, 3)+end, 999)), ""},
		{"nesting of 4096", one(0, x(blk, 4096)+x(end, 4096)), ""},
		{"19000 branches", one(1, blk+x(get0+brIf0, 19_000)+end), ""},
		{"five functions of 19000 branches", many(5, "\x01\x01\x7f"+blk+x(get0+brIf0, 19_000)+end+zero+end), ""},
		{"a br_table of 10000", one(1, blk+zero+"\x0e"+leb(10_000)+x("\x00", 10_001)+end), ""},
		{"170000 values at once", one(1, x(get0, 170_000)+x(add, 169_999)+drop), ""},
		{"70000 vectors at once", one(1, x(get0+"\xfd\x11", 70_000)+x("\xfd\xae\x01", 69_999)+drop), ""},
		{"20000 constant vectors", one(0, x("\xfd\x0c"+x("\x5a", 16), 20_000)+x("\xfd\xae\x01", 19_999)+drop), ""},
		{"shuffles", one(1, get0+"\xfd\x11"+x("\xfd\x0c"+x("\x5a", 16)+"\xfd\x0d"+x("\x1f", 16), 14_000)+drop), ""},
		{"selects", one(1, get0+x(get0+get0+"\x1b", 100_000)+drop), ""},
		{"divisions", one(1, get0+x(get0+"\x6d", 150_000)+drop), ""},
		{"conversions that trap", one(1, x(get0+"\xb2\xa8"+drop, 100_000)), ""},
		{"loads", one(1, get0+x("\x28\x02\x00", 170_000)+drop), ""},
		{"stores", one(1, x(get0+get0+"\x36\x02\x00", 70_000)), ""},
		{"memory.grow", one(1, x(get0+"\x40\x00"+drop, 90_000)), ""},
		{"memory.copy and memory.fill", one(1, x(get0+get0+get0+"\xfc\x0a\x00\x00"+get0+get0+get0+"\xfc\x0b\x00", 25_000)), ""},
		{"dead code", one(0, dead+x("\x6a", 500_000)+drop), ""},
		{"calls", one(0, x("\x10\x00"+drop, 170_000)), ""},
		{"indirect calls", around(map[byte]string{4: "\x01\x70\x00\x01", 10: "\x01" + section(0, "\x00"+x(zero+"\x11\x00\x00"+drop, 80_000)+zero+end)[1:]}), ""},
		{"50000 functions", many(50_000, "\x00"+zero+end), ""},
		{"5000 types of all kinds", around(map[byte]string{1: leb(5000) + runType + kinds(4999)}), ""},
		{"100000 data segments", around(map[byte]string{11: leb(100_000) + x("\x00"+zero+end+"\x00", 100_000)}), ""},
		{"10000 element segments", around(map[byte]string{4: "\x01\x70\x00\x01", 9: leb(10_000) + x("\x00"+zero+end+"\x01\x00", 10_000)}), ""},
		{"10000 globals", around(map[byte]string{6: leb(10_000) + x("\x7f\x01"+zero+end, 10_000)}), ""},
		{"4000 custom sections", finish(section(1, "\x01"+runType), section(3, "\x01\x00"), section(5, "\x01\x00\x01"), section(7, exportsRun), section(10, "\x01\x04\x00"+zero+end), x("\x00\x01\x00", 4000)), ""},
	}
	limits := runtime.Config{CompileMemory: 256 << 20, CompileTime: 2 * time.Second, CacheDir: t.TempDir(), Compiler: quickCompiler}
	r := startingRuntime(t, limits)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var before, after goruntime.MemStats
			goruntime.ReadMemStats(&before)
			m, err := r.Admit(t.Context(), "bomb.wasm", tt.wasm)
			goruntime.ReadMemStats(&after)
			e, refused := errors.AsType[*runtime.AdmissionError](err)
			_, limit := errors.AsType[*runtime.LimitError](err)
			switch {
			case err == nil:
				if tt.step != "" {
					t.Errorf("admitted, want a refusal at step %s", tt.step)
				}
				if err := m.Close(t.Context()); err != nil {
					t.Error(err)
				}
			case !refused:
				t.Errorf("error = %v, want an AdmissionError", err)
			case tt.step == "" && !limit, tt.step != "" && e.Step != tt.step:
				t.Errorf("step %s: %v; want %q", e.Step, err, tt.step)
			}
			// What is loaded is decoded here too; what is refused is only looked at.
			if got, most := after.TotalAlloc-before.TotalAlloc, uint64(100*len(tt.wasm)+(8<<20)); got > most {
				t.Errorf("%d bytes were allocated here for %d bytes of module, want at most %d", got, len(tt.wasm), most)
			}
		})
	}
	if _, err := admit(t, r, "noop").Run(t.Context(), runtime.Call{Key: testwasm.Key, Host: &host{}}); err != nil {
		t.Errorf("a good module after all that: %v", err)
	}
}

// While as many bombs are compiled as there are compilers, and until these are
// at an end, a neighbour runs, the collector collects, and what is in the cache is
// admitted. Only then do the admissions of the bombs end, in words.
func TestBombsHoldUpNobody(t *testing.T) {
	const bombs, runs = 2, 100
	dir := t.TempDir()
	pipe := func(name string) *os.File {
		path := filepath.Join(dir, name)
		if err := unix.Mkfifo(path, 0o600); err != nil {
			t.Fatal(err)
		}
		f, err := os.OpenFile(path, os.O_RDWR, 0) // waits for nobody
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = f.Close() })
		return f
	}
	atWork, goOn := pipe("at work"), pipe("go on")
	compiler := quickCompiler
	if compiler == "" {
		var err error
		if compiler, err = os.Executable(); err != nil {
			t.Fatal(err)
		}
	}
	// It says that it begins, has a second of the processor for each bomb, however
	// long that takes, and ends when it is told to.
	held := compilerOf(t, `cd "`+dir+`"; test -e quiet && exec "`+compiler+`" "$@"
		echo >"at work"; LC_ALL=C sed '1s/"seconds":120/"seconds":1/' | "`+compiler+`" "$@"; code=$?; read line <"go on"; exit $code`)
	quiet := filepath.Join(dir, "quiet")
	if err := os.WriteFile(quiet, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	r := startingRuntime(t, runtime.Config{Compiler: held, CacheDir: filepath.Join(dir, "cache")})
	neighbour := admit(t, r, "read_once")
	if err := os.Remove(quiet); err != nil {
		t.Fatal(err)
	}

	ended := make(chan error, bombs)
	for i := range bombs {
		go func() { // different modules
			_, err := r.Admit(t.Context(), "bomb.wasm", append(slow(), section(0, "\x01"+string(rune('a'+i)))...))
			ended <- err
		}()
	}
	begun := bufio.NewReader(atWork)
	for range bombs {
		if _, err := begun.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
	}
	for range runs {
		if res, err := neighbour.Run(t.Context(), runtime.Call{Key: testwasm.Key, Host: &host{}}); err != nil || res.HostCalls != 1 {
			t.Fatalf("a neighbour: %+v, %v", res, err)
		}
	}
	goruntime.GC()
	admit(t, r, "read_once") // needs no compiler
	select {
	case err := <-ended:
		t.Errorf("the admission of a bomb has ended, although its compiler has not: %v", err)
	default:
	}
	if _, err := goOn.WriteString(strings.Repeat("\n", bombs)); err != nil {
		t.Fatal(err)
	}
	for range bombs {
		got := message(<-ended)
		if want := "bomb.wasm: compile time limit of 2m0s reached"; !strings.HasPrefix(got, want) {
			t.Errorf("error\n got %s\nwant %s…", got, want)
		}
	}
}

// A module that is valid only with what rewriting puts into it is refused: it
// would call what is ours and write where we count.
func TestValidOnlyWhenRewritten(t *testing.T) {
	r := newRuntime(t, runtime.Config{})
	for i := range uint64(4) {
		index := leb(i)
		tests := map[string][]byte{
			"global.get":    one(0, "\x23"+index+drop),
			"global.set":    one(0, "\x42\x00\x24"+index),
			"local.get":     one(0, "\x20"+index+drop),
			"local.set":     one(0, "\x42\x00\x21"+index),
			"call":          one(0, "\x10"+leb(i+1)),
			"call with i64": one(0, "\x42\x00\x10"+leb(i+1)),
			"call of the next import": around(map[byte]string{
				2: "\x01\x16wasi_snapshot_preview1\x0bsched_yield\x00\x00", 7: "\x02\x03run\x00\x01\x06memory\x02\x00",
				10: "\x01" + section(0, "\x00\x10"+leb(i+2)+drop+zero+end)[1:],
			}),
			"block of a type":      one(0, "\x02"+leb(i+1)+end),
			"call_indirect":        around(map[byte]string{4: "\x01\x70\x00\x01", 10: "\x01" + section(0, "\x00"+zero+"\x11"+leb(i+1)+"\x00"+drop+zero+end)[1:]}),
			"table":                one(0, zero+"\x25"+index+drop),
			"ref.func":             one(0, "\xd2"+leb(i+1)+drop),
			"export of a global":   around(map[byte]string{7: "\x03\x03run\x00\x00\x06memory\x02\x00\x01g\x03" + index}),
			"export of a function": around(map[byte]string{7: "\x03\x03run\x00\x00\x06memory\x02\x00\x01f\x00" + leb(i+1)}),
			"element":              around(map[byte]string{4: "\x01\x70\x00\x01", 9: "\x01\x00" + zero + end + "\x01" + leb(i+1)}),
			"type of a function":   around(map[byte]string{3: "\x01" + leb(i+1)}),
		}
		for name, wasm := range tests {
			_, err := r.Admit(t.Context(), name, wasm)
			if e, ok := errors.AsType[*runtime.AdmissionError](err); !ok || e.Step != runtime.StepValidate {
				t.Errorf("%s %d: error = %v, want a refusal at step %s", name, i, err, runtime.StepValidate)
			}
		}
	}
}

// withType makes a module of one function, and a second type.
func withType(second, code string) []byte {
	return around(map[byte]string{1: "\x02" + runType + second, 10: "\x01" + section(0, "\x00"+code+zero+end)[1:]})
}

// numbered gives n exports of different names.
func numbered(n int, what string) string {
	var b strings.Builder
	for i := range n {
		b.WriteString("\x02" + string(rune('a'+i/26)) + string(rune('a'+i%26)) + what)
	}
	return b.String()
}

// kinds gives n types, all different.
func kinds(n int) string {
	var b strings.Builder
	for i := range n {
		var params strings.Builder
		for k := i; k > 0; k /= 4 {
			params.WriteString(string("\x7f\x7e\x7d\x7c"[k%4]))
		}
		b.WriteString("\x60" + leb(uint64(len(params.String()))) + params.String() + "\x01\x7f")
	}
	return b.String()
}
