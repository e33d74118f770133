//go:build unix

package folder

import (
	"io/fs"
	"os"
	"syscall"
)

// owned reports whether a folder is ours or root's.
func owned(info fs.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	return !ok || st.Uid == 0 || int64(st.Uid) == int64(os.Geteuid())
}
