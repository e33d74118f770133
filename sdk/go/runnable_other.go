//go:build !wasip1 || !go1.26 || tinygo

package wasakari

// runnable reports whether a goroutine is known to be able to go on. Off wasm
// nobody needs to know; older runtimes do not tell, and a quiet round has to
// do.
func runnable() bool { return false }
