package runstate

import (
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"io"
)

// bbolt trusts the pages of its file: a damaged one makes it fault, recurse
// without end or loop over pages that do not exist. verify therefore walks the
// file first and finds whatever leads out of it or in a circle. It does not
// judge keys and values.
//
// The layout is that of bbolt's file format 2, in the machine's byte order.
type verifier struct {
	r        io.ReaderAt
	pageSize uint64
	pages    uint64 // all of them
	seen     []bool
}

const (
	pageHead    = 16
	elementSize = 16 // of branch and leaf pages alike
	bucketHead  = 16
	metaSize    = 64

	branchPage   = 0x01
	leafPage     = 0x02
	freelistPage = 0x10
	bucketLeaf   = 0x01

	boltMagic   = 0xED0CDAED
	boltVersion = 2
	noFreelist  = ^uint64(0)
	maxDepth    = 64 // of pages and buckets together
)

var order = binary.NativeEndian

func damaged(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrDamaged}, args...)...)
}

// verify looks through a file of size bytes.
func verify(r io.ReaderAt, size int64) error {
	v := verifier{r: r}
	root, freelist, err := v.meta(uint64(max(size, 0)))
	if err != nil {
		return err
	}
	v.seen = make([]bool, v.pages)
	if err := v.tree(root, 0); err != nil {
		return err
	}
	if freelist == noFreelist {
		return nil
	}
	return v.freelist(freelist)
}

// meta reads the newer of the two head pages that is whole.
func (v *verifier) meta(size uint64) (root, freelist uint64, err error) {
	var txid uint64
	found := false
	for _, pageSize := range []uint64{512, 1024, 2048, 4096, 8192, 16384, 32768, 65536} {
		for _, at := range []uint64{0, pageSize} {
			m := make([]byte, pageHead+metaSize)
			if _, err := v.r.ReadAt(m, int64(at)); err != nil { //nolint:gosec // at most 64 KiB
				continue
			}
			m = m[pageHead:]
			sum := fnv.New64a()
			_, _ = sum.Write(m[:56]) // never fails
			if order.Uint32(m) != boltMagic || order.Uint32(m[4:]) != boltVersion || uint64(order.Uint32(m[8:])) != pageSize || order.Uint64(m[56:]) != sum.Sum64() {
				continue
			}
			if id := order.Uint64(m[48:]); !found || id > txid {
				found, txid = true, id
				root, freelist = order.Uint64(m[16:]), order.Uint64(m[32:])
				v.pageSize, v.pages = pageSize, order.Uint64(m[40:])
			}
		}
	}
	if !found {
		return 0, 0, damaged("no database, or its head is lost")
	}
	if v.pages > size/v.pageSize {
		return 0, 0, damaged("the end is missing: %d bytes of %d pages", size, v.pages)
	}
	return root, freelist, nil
}

// page reads a page with those that it flows over to, none of which was seen
// before.
func (v *verifier) page(id uint64) ([]byte, error) {
	if id < 2 || id >= v.pages {
		return nil, damaged("page %d of %d", id, v.pages)
	}
	head := make([]byte, pageHead)
	if _, err := v.r.ReadAt(head, int64(id*v.pageSize)); err != nil { //nolint:gosec // within the file
		return nil, err
	}
	n := uint64(order.Uint32(head[12:])) + 1
	if order.Uint64(head) != id || n > v.pages-id {
		return nil, damaged("page %d", id)
	}
	for i := id; i < id+n; i++ {
		if v.seen[i] {
			return nil, damaged("page %d is used twice", i)
		}
		v.seen[i] = true
	}
	data := make([]byte, n*v.pageSize)
	_, err := v.r.ReadAt(data, int64(id*v.pageSize)) //nolint:gosec // within the file
	return data, err
}

// tree walks down from a page.
func (v *verifier) tree(id uint64, depth int) error {
	if depth > maxDepth {
		return damaged("page %d is too deep", id)
	}
	p, err := v.page(id)
	if err != nil {
		return err
	}
	if order.Uint16(p[8:]) != branchPage {
		return v.leaf(id, p, depth)
	}
	n := uint64(order.Uint16(p[10:]))
	if n == 0 || pageHead+n*elementSize > uint64(len(p)) {
		return damaged("page %d has %d branches", id, n)
	}
	for i := range n {
		at := pageHead + i*elementSize
		e := p[at : at+elementSize]
		if at+uint64(order.Uint32(e))+uint64(order.Uint32(e[4:])) > uint64(len(p)) {
			return damaged("branch %d of page %d", i, id)
		}
		if err := v.tree(order.Uint64(e[8:]), depth+1); err != nil {
			return err
		}
	}
	return nil
}

// leaf looks at a leaf page, which may stand inside another one, and walks
// into its buckets.
func (v *verifier) leaf(id uint64, p []byte, depth int) error {
	if depth > maxDepth {
		return damaged("page %d is too deep", id)
	}
	if len(p) < pageHead || order.Uint16(p[8:]) != leafPage {
		return damaged("page %d is no leaf", id)
	}
	n := uint64(order.Uint16(p[10:]))
	if pageHead+n*elementSize > uint64(len(p)) {
		return damaged("page %d has %d leaves", id, n)
	}
	for i := range n {
		at := pageHead + i*elementSize
		e := p[at : at+elementSize]
		key := at + uint64(order.Uint32(e[4:]))
		value := key + uint64(order.Uint32(e[8:]))
		end := value + uint64(order.Uint32(e[12:]))
		if end > uint64(len(p)) {
			return damaged("leaf %d of page %d", i, id)
		}
		if order.Uint32(e)&bucketLeaf == 0 {
			continue
		}
		b := p[value:end]
		if len(b) < bucketHead {
			return damaged("bucket %d of page %d", i, id)
		}
		var err error
		if root := order.Uint64(b); root == 0 {
			err = v.leaf(id, b[bucketHead:], depth+1)
		} else {
			err = v.tree(root, depth+1)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// freelist looks at the list of free pages: none of them may be in use.
func (v *verifier) freelist(id uint64) error {
	p, err := v.page(id)
	if err != nil {
		return err
	}
	n, ids := uint64(order.Uint16(p[10:])), p[pageHead:]
	if n == 0xFFFF { // the number stands before the ids
		n, ids = order.Uint64(ids), ids[8:]
	}
	if order.Uint16(p[8:]) != freelistPage || n > uint64(len(ids))/8 {
		return damaged("page %d is no list of %d free pages", id, n)
	}
	for i := range n {
		free := order.Uint64(ids[i*8:])
		if free < 2 || free >= v.pages || v.seen[free] {
			return damaged("page %d is called free", free)
		}
		v.seen[free] = true
	}
	return nil
}
