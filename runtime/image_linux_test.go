package runtime_test

import (
	"errors"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/wasakari/wasakari/runtime"
)

// What sandboxes share is no program, which strict systems want to be said.
func TestImageIsNoProgram(t *testing.T) {
	fd, err := unix.MemfdCreate("probe", unix.MFD_CLOEXEC|unix.MFD_NOEXEC_SEAL)
	if errors.Is(err, unix.EINVAL) {
		t.Skip("Linux before 6.3")
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Close(fd); err != nil {
		t.Fatal(err)
	}
	m, err := newRuntime(t, runtime.Config{}).Admit(t.Context(), "m.wasm", overwriter())
	if err != nil {
		t.Fatal(err)
	}
	if mode := m.ImageMode(t); mode&0o111 != 0 {
		t.Errorf("mode %v: want that nobody can execute it", mode)
	}
}
