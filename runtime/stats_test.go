package runtime_test

import (
	"path/filepath"
	"testing"

	"github.com/wasakari/wasakari/runtime"
)

func TestStats(t *testing.T) {
	const page = 64 << 10
	dir := filepath.Join(t.TempDir(), "cache")
	first := newRuntime(t, runtime.Config{CacheDir: dir})
	admit(t, first, "read_once")
	if got, want := first.Stats(), (runtime.Stats{CacheMisses: 1}); got != want {
		t.Errorf("with an empty cache: %+v, want %+v", got, want)
	}
	second := newRuntime(t, runtime.Config{CacheDir: dir, Sandboxes: 1})
	l := &lobby{
		t: t, module: admit(t, second, "read_once"), entered: make(chan string, 9), ended: make(chan error, 9),
		leave: map[string]chan struct{}{"A1": make(chan struct{}), "A2": make(chan struct{}), "O1": make(chan struct{})},
	}
	l.start(t.Context(), "A1")
	l.start(t.Context(), "O1")
	l.sees("A1", "O1")
	l.start(t.Context(), "A2")
	l.queued(1)
	if got, want := second.Stats(), (runtime.Stats{Live: 2, Waiting: 1, MemoryBytes: 2 * page, CacheHits: 1}); got != want {
		t.Errorf("at work: %+v, want %+v", got, want)
	}
	for _, name := range []string{"O1", "A1", "A2"} {
		l.release(name)
	}
	if got, want := second.Stats(), (runtime.Stats{CacheHits: 1}); got != want {
		t.Errorf("afterwards: %+v, want %+v", got, want)
	}
}
