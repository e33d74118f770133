// Package regular reads files whose kind and size are somebody else's choice.
//
// A name may lead to a folder, a pipe, a device or a file that is larger than
// memory; to read it must neither wait for ever nor take all there is.
package regular

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
)

// Flags are those of os.OpenFile for a file that ReadFrom is to read: to open a
// pipe without O_NONBLOCK waits for whoever writes to it.
const Flags = os.O_RDONLY | syscall.O_NONBLOCK

// ErrNotRegular says that a name leads to a folder, a pipe or a device.
var ErrNotRegular = errors.New("not a regular file")

// TooLargeError says that a file has more bytes than are read of it.
type TooLargeError struct {
	Size int64 // what it has; more, when it grew meanwhile
	Most int64 // that are read
}

func (e *TooLargeError) Error() string {
	return fmt.Sprintf("it has %d bytes, and at most %d are read", e.Size, e.Most)
}

// Read reads a regular file, or one that symbolic links lead to, of at most so
// many bytes. Errors are those of os, an *fs.PathError with the name; one may
// match ErrNotRegular or hold a *TooLargeError.
func Read(name string, most int64) ([]byte, error) {
	f, err := os.OpenFile(name, Flags, 0) //nolint:gosec // the caller says which files may be read
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // opened for reading
	return ReadFrom(f, most)
}

// ReadFrom is Read of a file that was opened with Flags. The caller closes it.
func ReadFrom(f *os.File, most int64) ([]byte, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, &fs.PathError{Op: "read", Path: f.Name(), Err: ErrNotRegular}
	}
	if info.Size() > most {
		return nil, &fs.PathError{Op: "read", Path: f.Name(), Err: &TooLargeError{Size: info.Size(), Most: most}}
	}
	// The size is where to begin: files of /proc have none, others grow.
	text := bytes.NewBuffer(make([]byte, 0, info.Size()+bytes.MinRead))
	_, err = text.ReadFrom(io.LimitReader(f, most+1))
	b := text.Bytes()
	if err == nil && int64(len(b)) > most {
		return nil, &fs.PathError{Op: "read", Path: f.Name(), Err: &TooLargeError{Size: int64(len(b)), Most: most}}
	}
	return b, err
}
