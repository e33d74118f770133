package runtime

import (
	"encoding/binary"
	"os"
	"sync"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Pages that all of the first runs of a guest wrote to are taken at once for
// each run after them: the kernel needs microseconds for a page that is missed
// while the guest runs, and a fraction of it for one of many.
const (
	learnRuns = 4
	// warmPages bounds what is taken, should the first runs be of somebody who
	// writes everywhere.
	warmPages = 512
)

// warmth knows which pages of a guest's first memory are written to in any case.
// It is a hint: a sandbox holds the same bytes with it and without.
type warmth struct {
	known atomic.Pointer[[]pages] // nil as long as it learns
	mu    sync.Mutex
	runs  int
	wrote []bool // by all runs, by page
}

// pages is a row of pages, in bytes of the memory.
type pages struct{ at, size int }

// warm takes the pages.
func (w *warmth) warm(memory []byte) {
	known := w.known.Load()
	if known == nil {
		return
	}
	for _, p := range *known {
		if p.at+p.size > len(memory) || unix.Madvise(memory[p.at:][:p.size], unix.MADV_POPULATE_WRITE) != nil {
			return // it is taken when it is touched
		}
	}
}

// learn looks which pages a run has written to, at its end. first is the memory
// that it began with.
func (w *warmth) learn(first []byte) {
	if w.known.Load() != nil { // as nearly always: without waiting for others
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.known.Load() != nil {
		return
	}
	page := os.Getpagesize()
	own, err := ownPages(first, page)
	if err != nil {
		own = nil // then nothing is known
	}
	if w.runs++; w.runs == 1 {
		w.wrote = own
	}
	w.wrote = w.wrote[:min(len(w.wrote), len(own))]
	for i := range w.wrote {
		w.wrote[i] = w.wrote[i] && own[i]
	}
	if w.runs == learnRuns {
		w.known.Store(rows(w.wrote, page))
		w.wrote = nil
	}
}

// rows gives the pages that are true, none when they are too many.
func rows(wrote []bool, page int) *[]pages {
	var list []pages
	count := 0
	for i := 0; i < len(wrote); i++ {
		from := i
		for i < len(wrote) && wrote[i] {
			i++
		}
		if i > from {
			list = append(list, pages{from * page, (i - from) * page})
			count += i - from
		}
	}
	if count > warmPages {
		list = nil
	}
	return &list
}

// ownPages tells which pages of a memory are there and shared with nobody.
func ownPages(memory []byte, page int) ([]bool, error) {
	f, err := os.Open("/proc/self/pagemap")
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // opened for reading
	const entry = 8
	list := make([]byte, len(memory)/page*entry)
	first := int64(uintptr(unsafe.Pointer(unsafe.SliceData(memory)))) / int64(page) //nolint:gosec // where the kernel has it
	if _, err := f.ReadAt(list, first*entry); err != nil {
		return nil, err
	}
	const present, ofFile = 63, 61 // Documentation/admin-guide/mm/pagemap.rst
	own := make([]bool, len(memory)/page)
	for i := range own {
		e := binary.NativeEndian.Uint64(list[i*entry:])
		own[i] = e>>present&1 == 1 && e>>ofFile&1 == 0
	}
	return own, nil
}
