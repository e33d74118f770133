package runtime

import (
	"io/fs"
	goruntime "runtime"
	"testing"
)

// AwaitQueued waits until n runs wait for their turn.
func (m *Module) AwaitQueued(n int) {
	q := m.runtime.queue
	for {
		q.mu.Lock()
		waiting := 0
		for _, l := range q.lines {
			waiting += len(l.waiting)
		}
		q.mu.Unlock()
		if waiting == n {
			return
		}
		goruntime.Gosched()
	}
}

// HasImage reports whether sandboxes share what their memory begins with.
func (m *Module) HasImage() bool { return m.guest.image.file != nil }

// ImageMode gives the rights of the file that sandboxes share.
func (m *Module) ImageMode(t testing.TB) fs.FileMode {
	t.Helper()
	info, err := m.guest.image.file.Stat()
	if err != nil {
		t.Fatal(err)
	}
	return info.Mode()
}

// CopyImage has each sandbox copy it, as where the system cannot map it. No task
// may run.
func (m *Module) CopyImage(t testing.TB) {
	t.Helper()
	i := m.guest.image
	content := make([]byte, i.size)
	if i.file != nil {
		if _, err := i.file.ReadAt(content, 0); err != nil {
			t.Fatal(err)
		}
		if err := i.file.Close(); err != nil {
			t.Fatal(err)
		}
	}
	m.guest.image = &image{at: i.at, size: i.size, content: content}
}
