package runtime

import (
	"errors"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/wasakari/wasakari/runtime/meter"
)

// fileImage makes an image with a file, which nothing can change any more.
func fileImage(from *meter.Image) (_ *image, err error) {
	const (
		name  = "wasakari-image"
		flags = unix.MFD_CLOEXEC | unix.MFD_ALLOW_SEALING
	)
	// Systems that are made strict, vm.memfd_noexec, have no other files.
	fd, err := unix.MemfdCreate(name, flags|unix.MFD_NOEXEC_SEAL)
	if errors.Is(err, unix.EINVAL) { // Linux before 6.3
		fd, err = unix.MemfdCreate(name, flags)
	}
	if err != nil {
		return nil, os.NewSyscallError("memfd_create", err)
	}
	m := &image{file: os.NewFile(uintptr(fd), "image of a memory")}
	defer func() {
		if err != nil {
			err = errors.Join(err, m.file.Close())
		}
	}()
	page := os.Getpagesize()
	skip := int(from.Offset) % page
	m.at = int(from.Offset) - skip
	m.size = (skip + len(from.Bytes) + page - 1) / page * page
	if _, err := m.file.WriteAt(from.Bytes, int64(skip)); err != nil {
		return nil, err
	}
	if err := m.file.Truncate(int64(m.size)); err != nil {
		return nil, err
	}
	const seals = unix.F_SEAL_WRITE | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_SEAL
	if _, err := unix.FcntlInt(m.file.Fd(), unix.F_ADD_SEALS, seals); err != nil {
		return nil, os.NewSyscallError("fcntl", err)
	}
	return m, nil
}

// mapInto puts the pages of the file in place of those of a memory.
func (m *image) mapInto(memory []byte) error {
	at := unsafe.Pointer(unsafe.SliceData(memory)) //nolint:gosec // where the kernel is to put the pages
	_, err := unix.MmapPtr(int(m.file.Fd()), 0, at, uintptr(len(memory)), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_FIXED)
	return os.NewSyscallError("mmap", err)
}
