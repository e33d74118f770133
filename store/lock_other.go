//go:build !unix

package store

import (
	"errors"
	"io/fs"
	"os"
)

// owned is not looked at where folders have no owner as unix knows one.
func owned(fs.FileInfo) bool { return true }

func flock(*os.File) error {
	return errors.New("a store of its own needs a unix system; use an etcd cluster")
}
