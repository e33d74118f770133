package runtime_test

import (
	"errors"
	"os"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/wasakari/wasakari/abi"
	"github.com/wasakari/wasakari/runtime"
)

// Bytes 'a' that the guest of these tests has in its memory.
const (
	dataAt    = 40_001
	dataBytes = 100_003
)

// overwriter is a guest that looks whether its memory of so many pages is as it
// has to begin, and then writes over so many bytes of it and asks for more. It
// fails when it was not.
func overwriter(memoryPages, overwritten int64) []byte {
	allBytes := memoryPages << 16
	const (
		i, sum = "\x00", "\x01"
		get    = "\x20"
	)
	i32 := func(n int64) string { // of more than six bits
		var b []byte
		for ; n < -64 || n > 63; n >>= 7 {
			b = append(b, byte(n)|0x80)
		}
		return "\x41" + string(append(b, byte(n)&0x7f))
	}
	load := func(at int64) string { return i32(at) + "\x2d\x00\x00" }
	differs := func(a, b string) string { return a + b + "\x47" }
	or := "\x72"
	code := "\x03\x40" + // loop
		get + sum + get + i + "\x2d\x00\x00" + "\x6a\x21" + sum + // sum += memory[i]
		get + i + "\x41\x01\x6a\x22" + i + i32(allBytes) + "\x49" + "\x0d\x00\x0b" + // if ++i < allBytes goto loop
		differs(get+sum, i32(dataBytes*'a')) +
		load(dataAt-1) + or +
		differs(load(dataAt), i32('a')) + or +
		differs(load(dataAt+dataBytes-1), i32('a')) + or +
		load(dataAt+dataBytes) + or +
		i32(0) + i32('z') + i32(overwritten) + "\xfc\x0b\x00" + // memory.fill
		i32(1) + "\x40\x00\x1a" // memory.grow, drop
	body := "\x01\x02\x7f" + code + "\x0b"
	return finish(
		section(1, "\x01"+runType), section(3, "\x01\x00"), section(5, "\x01\x00"+leb(uint64(memoryPages))), section(7, exportsRun),
		section(10, "\x01"+leb(uint64(len(body)))+body),
		section(11, "\x01\x00"+i32(dataAt)+"\x0b"+leb(dataBytes)+strings.Repeat("a", dataBytes)),
	)
}

// What a task writes over the data of its module no other run sees, whether they
// share the pages of it or each has a copy, and whether the module was compiled
// or comes from the cache.
func TestEachRunHasItsOwnData(t *testing.T) {
	cache := t.TempDir()
	for _, from := range []string{"compiled", "cache"} {
		t.Run(from, func(t *testing.T) {
			m, err := newRuntime(t, runtime.Config{CacheDir: cache}).Admit(t.Context(), "m.wasm", overwriter(3, 3<<16))
			if err != nil {
				t.Fatal(err)
			}
			for _, copies := range []bool{false, true} {
				if m.HasImage() == copies {
					t.Fatalf("the module has an image that is mapped: %t", !copies)
				}
				var all sync.WaitGroup
				for range 4 {
					all.Go(func() {
						for range 3 {
							res, err := m.Run(t.Context(), runtime.Call{Key: m.Manifest().Tasks[0].Key, Host: &host{}})
							if err != nil || res.Exit != abi.ExitSucceeded {
								t.Errorf("its memory does not begin as it should, copies %t: %v %v", copies, res.Exit, err)
							}
						}
					})
				}
				all.Wait()
				m.CopyImage(t)
			}
		})
	}
}

// What all first runs of a guest write to is taken at once for those after them,
// which see the same memory; of a guest that writes everywhere nothing is.
func TestPagesThatAreWrittenInAnyCase(t *testing.T) {
	page := os.Getpagesize()
	firstShared := dataAt / page * page
	for _, tt := range []struct {
		name               string
		pages, overwritten int64
		least, most        int // bytes
	}{
		{"all", 3, 3 << 16, 3 << 16, 3 << 16},
		{"little", 3, 100, page, 3<<16 - dataBytes/page*page}, // what is read of zeros may count
		{"a part of the data", 3, dataAt + 10, firstShared + page, 3<<16 - dataBytes/page*page + page},
		{"too much", 48, 48 << 16, 0, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m, err := newRuntime(t, runtime.Config{}).Admit(t.Context(), "m.wasm", overwriter(tt.pages, tt.overwritten))
			if err != nil {
				t.Fatal(err)
			}
			for i := range 6 {
				if known := m.WarmBytes() >= 0; known != (i >= 4) {
					t.Errorf("after %d runs it is known: %t", i, known)
				}
				if res, err := m.Run(t.Context(), runtime.Call{Key: m.Manifest().Tasks[0].Key, Host: &host{}}); err != nil || res.Exit != abi.ExitSucceeded {
					t.Errorf("run %d: its memory does not begin as it should: %v %v", i, res.Exit, err)
				}
			}
			if n := m.WarmBytes(); n < tt.least || n > tt.most {
				t.Errorf("%d bytes are taken, want %d to %d", n, tt.least, tt.most)
			}
		})
	}
}

// What sandboxes share is no program, which strict systems want to be said.
func TestImageIsNoProgram(t *testing.T) {
	fd, err := unix.MemfdCreate("probe", unix.MFD_CLOEXEC|unix.MFD_NOEXEC_SEAL)
	if errors.Is(err, unix.EINVAL) {
		t.Skip("Linux before 6.3")
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Close(fd); err != nil {
		t.Fatal(err)
	}
	m, err := newRuntime(t, runtime.Config{}).Admit(t.Context(), "m.wasm", overwriter(3, 3<<16))
	if err != nil {
		t.Fatal(err)
	}
	if mode := m.ImageMode(t); mode&0o111 != 0 {
		t.Errorf("mode %v: want that nobody can execute it", mode)
	}
}
