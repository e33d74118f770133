package meter

import (
	"encoding/binary"

	"github.com/wasakari/wasakari/runtime/internal/decode"
)

// imageName is the custom section with the image. No module can bring one:
// custom sections are left out when a module is rewritten.
const imageName = "wasakari.image"

// imageSpread bounds an image by the data in it, since it is kept for as long
// as the module is: a few bytes far from one another are no image.
const imageSpread = 2

// Image is what a memory begins with: Bytes at Offset, zeros elsewhere.
type Image struct {
	Offset uint32
	Bytes  []byte
}

// imageOf gives the image that the segments leave, nil when it is none or has
// less than least bytes.
func imageOf(list []segment, least int) *Image {
	data, from, to := 0, uint64(1)<<32, uint64(0)
	for i := range list {
		if n := len(list[i].content); n > 0 {
			data += n
			from = min(from, uint64(list[i].offset))
			to = max(to, uint64(list[i].offset)+uint64(n))
		}
	}
	if data < least || to-from > imageSpread*uint64(data) {
		return nil
	}
	m := &Image{uint32(from), make([]byte, to-from)}
	for i := range list {
		if len(list[i].content) > 0 {
			copy(m.Bytes[uint64(list[i].offset)-from:], list[i].content)
		}
	}
	return m
}

func (e *emitter) imageSection() []byte {
	if e.image == nil {
		return nil
	}
	content := appendName(nil, imageName)
	content = binary.AppendUvarint(content, uint64(e.image.Offset))
	return appendSection(nil, sectionCustom, append(content, e.image.Bytes...))
}

// ImageOf gives the image that Rewrite took out of a module, nil when there is
// none: the memory of an instance has to hold it before the instance is made. It
// fits into the memory's first size. Its bytes are those of wasm.
func ImageOf(wasm []byte) (*Image, error) {
	const head = 8
	r := &decode.Reader{Bytes: wasm, Pos: min(head, len(wasm))}
	for r.Left() > 0 && r.Err == nil {
		id := r.Byte()
		in := r.Sub(r.U32())
		if r.Err != nil || id != sectionCustom || string(in.Take(in.U32())) != imageName {
			continue
		}
		m := &Image{Offset: in.U32()}
		m.Bytes = in.Bytes[in.Pos:]
		return m, in.Err
	}
	return nil, r.Err
}
