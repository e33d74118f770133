package meter

import (
	"cmp"
	"encoding/binary"
	"slices"

	"github.com/wasakari/wasakari/runtime/internal/decode"
)

// maxGap is how many zeros may stand between two data segments that become
// one, in bytes. Copying them is quicker than another segment.
const maxGap = 256

// mergeData makes few data segments of many, where nobody can tell: all are
// active, at constant offsets of a memory that is the module's own, and no
// instruction names one. Memory is zero before the first segment, so what is
// between two segments and in none is zero afterwards.
//
// Segments are applied in their order up to the first that does not fit.
// That one and those after it stay as they are.
//
// Much data goes to an image instead, see Image.
func (m *module) mergeData(imageBytes int) {
	s := m.section[sectionData]
	if s == nil || m.usesData || m.memoryImported || !m.memory || m.importedTables > 0 {
		return
	}
	r := &decode.Reader{Bytes: s.Bytes, Base: s.Base}
	n := r.Count("data segments", 2, decode.Unbounded)
	size := uint64(m.memoryMin) << 16
	var list []segment
	rest := r.Pos
	for range n {
		d := m.data(r)
		if r.Err != nil || !d.active {
			return
		}
		if uint64(d.offset)+uint64(len(d.content)) > size {
			break
		}
		list = append(list, d)
		rest = r.Pos
	}
	left := n - len(list)
	var merged []byte
	count := 0
	if imageBytes > 0 {
		m.image = imageOf(list, imageBytes)
	}
	if m.image == nil {
		if merged, count = merge(list); count >= len(list) {
			return
		}
	}
	content := binary.AppendUvarint(nil, uint64(count+left))
	content = append(content, merged...)
	content = append(content, s.Bytes[rest:]...)
	m.section[sectionData] = &decode.Reader{Bytes: content}
	if m.dataCount >= 0 {
		m.section[sectionDataCount] = &decode.Reader{Bytes: binary.AppendUvarint(nil, uint64(count+left))}
	}
}

// merge writes the segments that leave the same bytes, without gaps of up to
// maxGap, in the order of their offsets.
func merge(list []segment) (out []byte, count int) {
	byOffset := make([]int, len(list))
	for i := range list {
		byOffset[i] = i
	}
	slices.SortStableFunc(byOffset, func(a, b int) int { return cmp.Compare(list[a].offset, list[b].offset) })
	for len(byOffset) > 0 {
		from := list[byOffset[0]].offset
		to := uint64(from)
		n := 0
		for _, i := range byOffset {
			if uint64(list[i].offset) > to+maxGap {
				break
			}
			to = max(to, uint64(list[i].offset)+uint64(len(list[i].content)))
			n++
		}
		run := byOffset[:n]
		byOffset = byOffset[n:]
		if to == uint64(from) { // nothing in it
			continue
		}
		slices.Sort(run) // later ones write over earlier ones
		bytes := make([]byte, to-uint64(from))
		for _, i := range run {
			copy(bytes[list[i].offset-from:], list[i].content)
		}
		var c code
		c.op(0)
		c.i32(int64(int32(from)))
		c.op(decode.OpEnd)
		c.u32(uint32(len(bytes)))
		out = append(append(out, c...), bytes...)
		count++
	}
	return out, count
}
