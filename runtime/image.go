package runtime

import (
	"errors"
	"os"

	"go.uber.org/zap"

	"github.com/wasakari/wasakari/runtime/meter"
)

// image is what the memory of a guest begins with. Where the system can, it is a
// file without a name whose pages sandboxes share until they write to them, so
// that none copies what it does not touch. The zero value is an image of nothing.
type image struct {
	file *os.File // nil: it is copied from content
	// at is where it begins in a memory, and size how long it is, in bytes: with
	// a file these are whole pages of the system.
	at, size int
	content  []byte
	warmth   warmth
}

// newImage keeps an image; from may be nil.
func newImage(from *meter.Image, log *zap.Logger) *image {
	if from == nil {
		return &image{}
	}
	m, err := fileImage(from)
	if err != nil {
		log.Warn("memory images are copied into each sandbox: the system does not map them", zap.Error(err))
		m = &image{at: int(from.Offset), size: len(from.Bytes), content: from.Bytes}
	}
	return m
}

// errImage says that a memory is too small for what it is to begin with, which
// no module that was compiled can cause.
var errImage = errors.New("it does not fit into the memory")

// lay lays the image into a memory that begins with zeros.
func (m *image) lay(memory []byte) error {
	switch {
	case m.size == 0:
		return nil
	case m.at+m.size > len(memory):
		return errImage
	case m.file != nil:
		if err := m.mapInto(memory[m.at:][:m.size]); err != nil {
			return err
		}
		m.warmth.warm(memory)
		return nil
	}
	copy(memory[m.at:], m.content)
	return nil
}

// used tells how a memory was used at the end of a run; first is what it began
// with.
func (m *image) used(first []byte) {
	if m.file != nil {
		m.warmth.learn(first)
	}
}

func (m *image) close() error {
	if m.file == nil {
		return nil
	}
	return m.file.Close()
}
