//go:build unix

package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"github.com/wasakari/wasakari/recovery"
)

// InUse reports whether a process works with the folder of an embedded store.
// A folder that is not there, or cannot be read, is not in use.
func InUse(dir string) bool {
	f, err := os.Open(filepath.Join(dir, lockName)) //nolint:gosec // the operator named the folder
	if err != nil {
		return false
	}
	defer f.Close() //nolint:errcheck // opened for reading
	return errors.Is(syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB), syscall.EWOULDBLOCK)
}

// flock takes a file's lock without waiting; closing the file gives it back.
func flock(f *os.File) error {
	err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return fmt.Errorf("%w: another process works with it", recovery.ErrConflict)
	}
	return err
}
