//go:build !unix

package store

import (
	"errors"
	"io/fs"
	"os"
)

// owned is not looked at where folders have no owner as unix knows one.
func owned(fs.FileInfo) bool { return true }

// InUse reports whether a process works with the folder of an embedded store.
func InUse(string) bool { return false }

func flock(*os.File) error {
	return errors.New("a store of its own needs a unix system; use an etcd cluster")
}
