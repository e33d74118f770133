//go:build unix

package regular_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/wasakari/wasakari/internal/regular"
)

func TestRead(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("12345"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Symlink(file, filepath.Join(dir, "link")), syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o600)); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name string
		most int64
		want string // the text, or
		is   error  // the error
	}{
		{name: file, most: 5, want: "12345"},
		{name: filepath.Join(dir, "link"), most: 6, want: "12345"},
		{name: filepath.Join(dir, "pipe"), most: 5, is: regular.ErrNotRegular}, // and does not wait for a writer
		{name: dir, most: 5, is: regular.ErrNotRegular},
		{name: os.DevNull, most: 5, is: regular.ErrNotRegular},
		{name: filepath.Join(dir, "none"), most: 5, is: fs.ErrNotExist},
	}
	for _, tt := range tests {
		if got, err := regular.Read(tt.name, tt.most); string(got) != tt.want || !errors.Is(err, tt.is) {
			t.Errorf("Read(%s, %d) = %q, %v, want %q, %v", tt.name, tt.most, got, err, tt.want, tt.is)
		}
	}
}

// A file without a size, as those of /proc are, is bounded by what it has.
func TestReadTooLarge(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte(strings.Repeat("x", 6)), 0o600); err != nil {
		t.Fatal(err)
	}
	names := []string{file}
	if _, err := os.Stat("/proc/self/maps"); err == nil {
		names = append(names, "/proc/self/maps")
	}
	for _, name := range names {
		got, err := regular.Read(name, 5)
		if large, ok := errors.AsType[*regular.TooLargeError](err); !ok || large.Size != 6 || large.Most != 5 || got != nil {
			t.Errorf("Read(%s, 5) = %q, %v, want that it has 6 bytes, or more", name, got, err)
		}
		if !strings.Contains(fmt.Sprint(err), name) {
			t.Errorf("Read(%s, 5): %v, want the name in it", name, err)
		}
	}
}
