//go:build !unix

package store

import (
	"errors"
	"os"
)

// InUse reports whether a process works with the folder of an embedded store.
func InUse(string) bool { return false }

func flock(*os.File) error {
	return errors.New("a store of its own needs a unix system; use an etcd cluster")
}
