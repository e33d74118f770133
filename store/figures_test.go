package store_test

import (
	"errors"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/wasakari/wasakari/recovery"
	"github.com/wasakari/wasakari/store"
)

func TestFigures(t *testing.T) {
	var mu sync.Mutex
	seen := map[string]error{}
	s, err := store.Open(t.Context(), store.Config{
		Dir: filepath.Join(t.TempDir(), "store"), Node: "n1", LeaseTTL: 20 * time.Second,
		Committed: func(name string, took time.Duration, err error) {
			mu.Lock()
			defer mu.Unlock()
			if took <= 0 {
				t.Errorf("%s took %s", name, took)
			}
			if seen[name] == nil {
				seen[name] = err
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	if left := s.LeaseLeft(); left <= 0 || left > 20*time.Second {
		t.Errorf("LeaseLeft = %s", left)
	}
	segment := recovery.Segment{Name: "a", RecoveryMethod: recovery.Auto}
	if _, err := s.CreateSegment(t.Context(), segment); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if left := s.LeaseLeft(); left != 0 {
		t.Errorf("LeaseLeft after Close = %s", left)
	}
	mu.Lock()
	defer mu.Unlock()
	if len(seen) < 2 {
		t.Errorf("transactions told of: %v", seen)
	}
	for name, err := range seen {
		if err != nil && !errors.Is(err, recovery.ErrConflict) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
