//go:build !unix

package runstate

import (
	"os"
)

// lock leaves it to bbolt, which opens the file right after.
func lock(*os.File, bool) error { return nil }

func release(f *os.File) { _ = f.Close() }
