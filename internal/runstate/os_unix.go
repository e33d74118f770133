//go:build unix

package runstate

import (
	"errors"
	"os"
	"syscall"
)

// lock takes a file's lock without waiting. bbolt takes it too, later.
func lock(f *os.File, shared bool) error {
	how := syscall.LOCK_EX
	if shared {
		how = syscall.LOCK_SH
	}
	err := syscall.Flock(int(f.Fd()), how|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return ErrBusy
	}
	return err
}

// release gives a file and its lock back. Closing alone would not do: pages
// that are still mapped keep the lock.
func release(f *os.File) {
	_ = syscall.Flock(int(f.Fd()), syscall.LOCK_UN)
	_ = f.Close()
}
