//go:build unix

package runtime

import "golang.org/x/sys/unix"

// area is address space reserved up to a limit, of which a growing prefix is
// memory. It never moves, costs nothing until it is touched, and is zero.
type area struct {
	space     []byte
	committed int
}

func (a *area) reserve(n int) error {
	n = (n + pageBytes - 1) / pageBytes * pageBytes
	if n == 0 {
		return nil
	}
	space, err := unix.Mmap(-1, 0, n, unix.PROT_NONE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		return err
	}
	a.space = space
	return nil
}

func (a *area) commit(n int) ([]byte, error) {
	if n > len(a.space) {
		return nil, unix.ENOMEM
	}
	if n > a.committed {
		if err := unix.Mprotect(a.space[a.committed:n], unix.PROT_READ|unix.PROT_WRITE); err != nil {
			return nil, err
		}
		a.committed = n
	}
	if n == 0 {
		return []byte{}, nil // nil would say that it failed
	}
	return a.space[:n:n], nil
}

func (a *area) release() {
	if a.space == nil {
		return
	}
	// Munmap fails only for a range that Mmap did not return.
	_ = unix.Munmap(a.space)
	a.space, a.committed = nil, 0
}
