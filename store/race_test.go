package store_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wasakari/wasakari/recovery"
	"github.com/wasakari/wasakari/store"
)

// Between what a change read and its transaction something else happens: the
// transaction finds out.
func TestChangesBetweenReadAndWrite(t *testing.T) {
	type ground struct {
		s    *store.Store
		seg  recovery.Segment
		host recovery.Host
	}
	down := recovery.Notification{Type: recovery.ComputeHost, HostName: "h1", Payload: json.RawMessage(`{"event":"STOPPED"}`)}
	vm := recovery.Notification{Type: recovery.VM, HostName: "h1", Payload: json.RawMessage(`{"instance_uuid":"s1"}`)}
	accept := func(g ground, n recovery.Notification) recovery.Notification {
		n, err := g.s.Accept(t.Context(), n, time.Hour)
		if err != nil {
			t.Error(err)
		}
		return n
	}
	maintain := func(h *recovery.Host) error { h.OnMaintenance = true; return nil }
	module := func(g ground, library, content string) error {
		return onlyErr(g.s.PutModule(t.Context(), recovery.ModuleVersion{
			Digest: digest([]byte(content)), Library: library, Version: "1", Size: int64(len(content)), Keys: []string{"key"},
		}, bytes.NewReader([]byte(content))))
	}
	var last recovery.Notification // what between made
	tests := []struct {
		name    string
		step    string
		before  func(ground)
		do      func(ground) error
		between func(ground) error
		want    error
	}{
		{
			name: "a segment whose host fails is not deleted", step: "segment.delete", want: recovery.ErrInUse,
			do:      func(g ground) error { return g.s.DeleteSegment(t.Context(), g.seg.UUID) },
			between: func(g ground) error { accept(g, down); return nil },
		},
		{
			name: "nor changed", step: "segment.update", want: recovery.ErrInUse,
			do: func(g ground) error {
				return onlyErr(g.s.UpdateSegment(t.Context(), g.seg.UUID, func(v *recovery.Segment) error { v.Enabled = !v.Enabled; return nil }))
			},
			between: func(g ground) error { accept(g, down); return nil },
		},
		{
			name: "nor is its host changed", step: "host.update", want: recovery.ErrInUse,
			do:      func(g ground) error { return onlyErr(g.s.UpdateHost(t.Context(), g.host.UUID, maintain)) },
			between: func(g ground) error { accept(g, down); return nil },
		},
		{
			name: "nor deleted", step: "host.delete", want: recovery.ErrInUse,
			do:      func(g ground) error { return g.s.DeleteHost(t.Context(), g.host.UUID) },
			between: func(g ground) error { accept(g, down); return nil },
		},
		{
			name: "nothing is taken about a host that goes with its segment", step: "accept", want: recovery.ErrNotFound,
			do:      func(g ground) error { return onlyErr(g.s.Accept(t.Context(), down, time.Hour)) },
			between: func(g ground) error { return g.s.DeleteSegment(t.Context(), g.seg.UUID) },
		},
		{
			name: "nor about one that is put on maintenance", step: "accept", want: recovery.ErrMaintenance,
			do:      func(g ground) error { return onlyErr(g.s.Accept(t.Context(), down, time.Hour)) },
			between: func(g ground) error { return onlyErr(g.s.UpdateHost(t.Context(), g.host.UUID, maintain)) },
		},
		{
			name: "nor about one that is given another name", step: "accept", want: recovery.ErrNotFound,
			do: func(g ground) error { return onlyErr(g.s.Accept(t.Context(), down, time.Hour)) },
			between: func(g ground) error {
				return onlyErr(g.s.UpdateHost(t.Context(), g.host.UUID, func(h *recovery.Host) error { h.Name = "h9"; return nil }))
			},
		},
		{
			name: "nor twice", step: "accept", want: recovery.ErrDuplicate,
			do:      func(g ground) error { return onlyErr(g.s.Accept(t.Context(), down, time.Hour)) },
			between: func(g ground) error { accept(g, down); return nil },
		},
		{
			name: "a name is given once", step: "segment.create", want: recovery.ErrExists,
			do:      func(g ground) error { return onlyErr(g.s.CreateSegment(t.Context(), recovery.Segment{Name: "x"})) },
			between: func(g ground) error { return onlyErr(g.s.CreateSegment(t.Context(), recovery.Segment{Name: "x"})) },
		},
		{
			name: "a host's too", step: "host.create", want: recovery.ErrExists,
			do: func(g ground) error {
				return onlyErr(g.s.CreateHost(t.Context(), recovery.Host{Name: "x", SegmentUUID: g.seg.UUID}))
			},
			between: func(g ground) error {
				return onlyErr(g.s.CreateHost(t.Context(), recovery.Host{Name: "x", SegmentUUID: g.seg.UUID}))
			},
		},
		{
			name: "a host is not made in a segment that is gone", step: "host.create", want: recovery.ErrNotFound,
			do: func(g ground) error {
				return onlyErr(g.s.CreateHost(t.Context(), recovery.Host{Name: "x", SegmentUUID: g.seg.UUID}))
			},
			between: func(g ground) error { return g.s.DeleteSegment(t.Context(), g.seg.UUID) },
		},
		{
			name: "a notification that ends is not claimed", step: "claim", want: recovery.ErrNotFound,
			before:  func(g ground) { last = accept(g, down) },
			do:      func(g ground) error { return onlyErr(g.s.Claim(t.Context(), last.UUID)) },
			between: func(g ground) error { return g.s.EndNotification(t.Context(), last.UUID, recovery.StatusIgnored, "") },
		},
		{
			name: "one that is claimed does not end", step: "notification.end", want: recovery.ErrConflict,
			before:  func(g ground) { last = accept(g, down) },
			do:      func(g ground) error { return g.s.EndNotification(t.Context(), last.UUID, recovery.StatusIgnored, "") },
			between: func(g ground) error { return onlyErr(g.s.Claim(t.Context(), last.UUID)) },
		},
		{
			name: "no VM run begins while its host is claimed", step: "claim", want: recovery.ErrConflict,
			before:  func(g ground) { last = accept(g, vm) },
			do:      func(g ground) error { return onlyErr(g.s.Claim(t.Context(), last.UUID)) },
			between: func(g ground) error { return onlyErr(g.s.Claim(t.Context(), accept(g, down).UUID)) },
		},
		{
			name: "no host is claimed while a VM run begins", step: "claim", want: recovery.ErrConflict,
			before:  func(g ground) { last = accept(g, down) },
			do:      func(g ground) error { return onlyErr(g.s.Claim(t.Context(), last.UUID)) },
			between: func(g ground) error { return onlyErr(g.s.Claim(t.Context(), accept(g, vm).UUID)) },
		},
		{
			name: "a run that ends is not aborted", step: "abort", want: recovery.ErrConflict,
			before: func(g ground) { last = accept(g, down) },
			do: func(g ground) error {
				r, err := g.s.Claim(t.Context(), last.UUID)
				if err != nil {
					return err
				}
				last.Message = r.ID()
				return g.s.Abort(t.Context(), r.ID(), recovery.Abort{Mode: recovery.AbortStop})
			},
			between: func(g ground) error { return g.s.ClaimOf(last.Message).Requeue(t.Context(), time.Time{}, "") },
		},
		{
			name: "a retry of a host that goes", step: "retry", want: recovery.ErrNotFound,
			before: func(g ground) {
				last = accept(g, down)
				if err := g.s.EndNotification(t.Context(), last.UUID, recovery.StatusFailed, ""); err != nil {
					t.Error(err)
				}
			},
			do:      func(g ground) error { return g.s.Retry(t.Context(), last.UUID, "") },
			between: func(g ground) error { return g.s.DeleteSegment(t.Context(), g.seg.UUID) },
		},
		{
			name: "a run ends only without an undo list", step: "run.end", want: recovery.ErrConflict,
			before: func(g ground) { last = accept(g, down) },
			do: func(g ground) error {
				r, err := g.s.Claim(t.Context(), last.UUID)
				if err != nil {
					return err
				}
				last.Message = r.ID()
				return r.End(t.Context(), recovery.Run{ID: r.ID(), Status: recovery.StatusFinished})
			},
			between: func(g ground) error { return g.s.ClaimOf(last.Message).PushUndo(t.Context(), recovery.Undo{Key: "k"}) },
		},
		{
			name: "a task has one library", step: "module.put", want: recovery.ErrConflict,
			do:      func(g ground) error { return module(g, "one", "1") },
			between: func(g ground) error { return module(g, "two", "2") },
		},
		{
			name: "a version that is made active is not removed", step: "module.remove", want: recovery.ErrInUse,
			before: func(g ground) {
				if err := errors.Join(module(g, "one", "1"), g.s.Deactivate(t.Context(), "", "one")); err != nil {
					t.Error(err)
				}
			},
			do:      func(g ground) error { return g.s.Remove(t.Context(), "", digest([]byte("1"))) },
			between: func(g ground) error { return g.s.Activate(t.Context(), "", digest([]byte("1")), false) },
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var g ground
			var armed atomic.Bool
			s, err := store.Open(t.Context(), store.Config{Dir: filepath.Join(t.TempDir(), "store"), Node: "n1", Step: func(name string) {
				if name == tt.step && armed.CompareAndSwap(true, false) {
					if err := tt.between(g); err != nil {
						t.Errorf("in between: %v", err)
					}
				}
			}})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close() //nolint:errcheck // the end of the test
			g.s = s
			if g.seg, err = s.CreateSegment(t.Context(), recovery.Segment{Name: "s"}); err == nil {
				g.host, err = s.CreateHost(t.Context(), recovery.Host{Name: "h1", SegmentUUID: g.seg.UUID})
			}
			if err != nil {
				t.Fatal(err)
			}
			if tt.before != nil {
				tt.before(g)
			}
			armed.Store(true)
			if err := tt.do(g); !errors.Is(err, tt.want) {
				t.Errorf("%v, want %v", err, tt.want)
			}
			if armed.Load() {
				t.Errorf("step %s was not made", tt.step)
			}
		})
	}
}
