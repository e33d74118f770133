//go:build unix

package runstate

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
)

// owned reports whether a folder is ours or root's.
func owned(info fs.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	return !ok || st.Uid == 0 || int64(st.Uid) == int64(os.Geteuid())
}

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
