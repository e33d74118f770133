package store_test

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/wasakari/wasakari/recovery"
	"github.com/wasakari/wasakari/store"
)

func open(t *testing.T, dir string) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), store.Config{Dir: dir, Node: "n1", Version: "test"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func TestSmoke(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	t0 := time.Now()
	s := open(t, dir)
	t.Log("open", time.Since(t0))
	ctx := context.Background()
	_, err := store.Open(ctx, store.Config{Dir: dir, Node: "n1", Version: "test"})
	t.Log(err, errors.Is(err, recovery.ErrConflict))
	seg, err := s.CreateSegment(ctx, recovery.Segment{Name: "s", RecoveryMethod: recovery.Auto, Enabled: true})
	t.Log(seg, err)
	h, err := s.CreateHost(ctx, recovery.Host{Name: "h1", SegmentUUID: seg.UUID})
	t.Log(h, err)
	for range 3 {
		n, err := s.Accept(ctx, recovery.Notification{Type: recovery.VM, HostName: "h1", Payload: []byte(`{"instance_uuid":"x"}`)}, time.Minute)
		t.Log(n, err)
	}
	l, err := s.Notifications(ctx, time.Time{})
	t.Log(l, err)
	nodes, err := s.Nodes(ctx)
	t.Log(nodes, err)
	t.Log(s.DeleteSegment(ctx, seg.UUID))
	t.Log(s.Close())
	t0 = time.Now()
	s = open(t, dir)
	t.Log("open", time.Since(t0))
	l, err = s.Notifications(ctx, time.Time{})
	t.Log(l, err)
	t.Log(s.Close())
}
