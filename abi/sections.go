package abi

import (
	"bytes"
	"errors"
	"fmt"
	"unicode/utf8"
)

// Names of custom sections.
const (
	// ManifestSection holds the manifest.
	ManifestSection = "wasakari.task"
	// ScriptSection holds a script, for a module that is an interpreter or that
	// names one in EngineSection.
	ScriptSection = "wasakari.script"
)

// Reasons why a module's manifest cannot be read. Wrapped errors say where.
var (
	ErrNotWasm      = errors.New("not a WebAssembly module")
	ErrComponent    = errors.New("a component, not a core module; build for a core target such as wasm32-wasip1, without wrapping it")
	ErrTruncated    = errors.New("the module is truncated or malformed")
	ErrNoManifest   = errors.New("no manifest: the module has no custom section " + ManifestSection + "; add one with wasakari task pack task.yaml module.wasm -o out.wasm")
	ErrTwoManifests = errors.New("two manifests: the module has more than one custom section " + ManifestSection + "; pack it anew with wasakari task pack")
)

// maxSections bounds what a hostile file makes us remember. Real modules have
// fewer than 50.
const maxSections = 4096

// Section is a custom section of a module.
type Section struct {
	Name string
	Data []byte // aliases the module
	// Offset and End tell where the section, with its head, stands in the
	// module.
	Offset, End int
}

// CustomSections lists the custom sections of a module in their order, without
// compiling it. What is inside the other sections is not looked at.
func CustomSections(wasm []byte) ([]Section, error) {
	var list []Section
	err := eachSection(wasm, func(s section) error {
		if s.id != 0 {
			return nil
		}
		size, n, ok := leb(s.body)
		if !ok || size > int64(len(s.body)-n) {
			return fmt.Errorf("%w: name of the custom section at byte %d", ErrTruncated, s.offset)
		}
		name := s.body[n : n+int(size)]
		if !utf8.Valid(name) {
			return fmt.Errorf("%w: name of the custom section at byte %d is not UTF-8", ErrTruncated, s.offset)
		}
		list = append(list, Section{
			Name: string(name), Data: s.body[n+int(size):],
			Offset: s.offset, End: s.end,
		})
		return nil
	})
	return list, err
}

// ReadManifest reads and validates the manifest of a module, without compiling
// it. Errors are ErrNotWasm, ErrComponent, ErrTruncated, ErrNoManifest,
// ErrTwoManifests, or those of ParseManifest.
func ReadManifest(wasm []byte) (*Manifest, error) {
	s, err := onlySection(wasm, ManifestSection, ErrTwoManifests)
	switch {
	case err != nil:
		return nil, err
	case s == nil:
		return nil, ErrNoManifest
	}
	return ParseManifest(s.Data)
}

// onlySection finds the custom section of a name, nil when there is none; two are
// what the error twice says.
func onlySection(wasm []byte, name string, twice error) (*Section, error) {
	list, err := CustomSections(wasm)
	if err != nil {
		return nil, err
	}
	var found *Section
	for i, s := range list {
		if s.Name != name {
			continue
		}
		if found != nil {
			return nil, fmt.Errorf("%w (the second at byte %d)", twice, s.Offset)
		}
		found = &list[i]
	}
	return found, nil
}

// AppendManifest gives a copy of a module with the manifest as its last
// section, in place of any that were there, and without a signature, which was
// that of another module.
func AppendManifest(wasm []byte, m *Manifest) ([]byte, error) {
	if err := m.Validate(); err != nil {
		return nil, err
	}
	doc := m.Encode()
	if len(doc) > MaxManifest {
		return nil, &ManifestError{Reason: fmt.Sprintf("it has %d bytes", len(doc)), Hint: fmt.Sprintf("at most %d are taken", MaxManifest)}
	}
	list, err := CustomSections(wasm)
	if err != nil {
		return nil, err
	}
	out := without(wasm, list, ManifestSection, SignatureSection)
	return appendCustom(out, ManifestSection, doc), nil
}

func appendCustom(wasm []byte, name string, data []byte) []byte {
	head := appendLEB(nil, uint64(len(name)))
	wasm = append(wasm, 0)
	wasm = appendLEB(wasm, uint64(len(head)+len(name)+len(data)))
	wasm = append(wasm, head...)
	wasm = append(wasm, name...)
	return append(wasm, data...)
}

type section struct {
	id          byte
	offset, end int
	body        []byte
}

// eachSection calls visit for every section.
func eachSection(wasm []byte, visit func(section) error) error {
	const headSize = 8
	switch {
	case !bytes.HasPrefix(wasm, []byte("\x00asm")):
		return fmt.Errorf("%w: it does not begin with 00 61 73 6d", ErrNotWasm)
	case len(wasm) < headSize:
		return fmt.Errorf("%w: it ends after %d bytes", ErrTruncated, len(wasm))
	case wasm[6] == 1 && wasm[7] == 0:
		return ErrComponent
	case !bytes.Equal(wasm[4:headSize], []byte{1, 0, 0, 0}):
		return fmt.Errorf("%w: binary format % x; this host reads 01 00 00 00", ErrNotWasm, wasm[4:headSize])
	}
	pos, count := headSize, 0
	for pos < len(wasm) {
		if count++; count > maxSections {
			return fmt.Errorf("%w: more than %d sections", ErrTruncated, maxSections)
		}
		s := section{id: wasm[pos], offset: pos}
		size, n, ok := leb(wasm[pos+1:])
		if !ok {
			return fmt.Errorf("%w: size of the section at byte %d", ErrTruncated, pos)
		}
		from := pos + 1 + n
		if size > int64(len(wasm)-from) {
			return fmt.Errorf("%w: the section at byte %d has %d bytes, the file only %d more", ErrTruncated, pos, size, len(wasm)-from)
		}
		s.end = from + int(size)
		s.body = wasm[from:s.end]
		if err := visit(s); err != nil {
			return err
		}
		pos = s.end
	}
	return nil
}

// leb reads an unsigned LEB128 of 32 bits, and how many bytes it took.
func leb(b []byte) (v int64, n int, ok bool) {
	const longest = 5
	for n < len(b) && n < longest {
		c := b[n]
		v |= int64(c&0x7f) << (7 * n)
		n++
		if c < 0x80 {
			return v, n, v <= 0xffffffff
		}
	}
	return 0, 0, false
}

func appendLEB(b []byte, v uint64) []byte {
	for ; v >= 0x80; v >>= 7 {
		b = append(b, byte(v)|0x80)
	}
	return append(b, byte(v))
}
