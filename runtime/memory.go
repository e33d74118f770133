package runtime

import (
	"fmt"
	"math"
	"sync/atomic"

	"github.com/tetratelabs/wazero/experimental"
)

// pageBytes is the size of a WebAssembly page.
const pageBytes = 64 << 10

// memory allocates the linear memory of one sandbox and enforces the task's
// limit: wazero's own limit belongs to the whole Runtime.
type memory struct {
	limit  int64
	ledger *ledger
	// image is what it begins with.
	image *image
	// all adds up the linear memory of all sandboxes; counted is what this one
	// has there.
	all     *atomic.Int64
	counted int64
	// held gives what the guest holds besides that is not in the ledger.
	held func() int64
	// size is the peak too: linear memory never shrinks.
	size int64
	// refused is the size that the guest last asked for in vain, 0 when it
	// never did.
	refused int64
	started bool   // it has its first size
	first   int    // that size
	bytes   []byte // all of it, as the guest sees it
	area    area
}

var (
	_ experimental.MemoryAllocator = (*memory)(nil)
	_ experimental.LinearMemory    = (*memory)(nil)
)

// Allocate implements experimental.MemoryAllocator. A module has at most one
// memory, so it is called at most once.
func (m *memory) Allocate(_, most uint64) experimental.LinearMemory {
	reserve := min(m.limit, signed(most))
	if err := m.area.reserve(int(reserve)); err != nil {
		panic(fmt.Errorf("reserving %s of address space: %w", size(reserve), err)) // recovered where the instance is made
	}
	return m
}

// Reallocate implements experimental.LinearMemory.
func (m *memory) Reallocate(newSize uint64) []byte {
	n := signed(newSize)
	more := n - m.size
	// What a module starts with was compared with the limit already.
	if m.started && !m.ledger.take(more, m.held()) {
		m.refused = n
		return nil
	}
	buf, err := m.area.commit(int(n))
	if err != nil {
		if m.started {
			m.ledger.take(-more, 0)
		}
		m.refused = n
		return nil
	}
	if !m.started {
		if err := m.image.lay(buf); err != nil {
			panic(fmt.Errorf("the memory's image: %w", err)) // recovered where the instance is made
		}
		m.started, m.first = true, int(n)
		m.ledger.used.Add(n)
	}
	m.all.Add(n - m.counted)
	m.size, m.bytes, m.counted = n, buf, n
	return buf
}

// Free implements experimental.LinearMemory. It may be called again: wazero
// forgets to when a guest traps after its time is up, so the sandbox does too.
func (m *memory) Free() {
	if m.bytes != nil {
		m.image.used(m.bytes[:m.first])
	}
	m.bytes = nil
	m.all.Add(-m.counted)
	m.counted = 0
	m.area.release()
}

// signed gives a number of bytes, which is at most 4 GiB.
func signed(n uint64) int64 {
	return int64(min(n, math.MaxInt64))
}
