package store_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/wasakari/wasakari/recovery"
)

// A module of a task folder is kept as long as a node may begin runs with it, or a
// run pins it, and an hour more.
func TestKeptModules(t *testing.T) {
	ctx := t.Context()
	s := open(t, filepath.Join(t.TempDir(), "store"))
	data := bytes.Repeat([]byte("wasm"), 200<<10)
	sum := digest(data)
	fatal := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	keep := func(tenant string) {
		t.Helper()
		fatal(s.KeepModule(ctx, tenant, sum, "", int64(len(data)), bytes.NewReader(data)))
	}
	there := func(want ...string) {
		t.Helper()
		tenants, r, err := s.KeptModule(ctx, sum)
		if len(want) == 0 {
			if !errors.Is(err, recovery.ErrNotFound) {
				t.Errorf("kept for %v, %v, want not found", tenants, err)
			}
			return
		}
		fatal(err)
		defer r.Close() //nolint:errcheck // read to its end
		if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, data) || !slices.Equal(tenants, want) {
			t.Errorf("%d bytes for %v, %v, want %d for %v", len(got), tenants, err, len(data), want)
		}
	}
	// age lets an hour go by for what nobody was seen to need.
	age := func(tenant string, want bool) {
		t.Helper()
		fatal(s.Sweep(ctx))
		marked, err := s.AgeKept(ctx, sum, tenant)
		fatal(err)
		if marked != want {
			t.Errorf("marked as unused: %t, want %t", marked, want)
		}
		fatal(s.Sweep(ctx))
	}
	there()
	if err := s.KeepModule(ctx, "", sum, "", int64(len(data)), bytes.NewReader(data[1:])); !errors.Is(err, recovery.ErrInvalid) {
		t.Errorf("other bytes: %v", err)
	}
	if err := s.KeepModule(ctx, "", "x", "", 1, nil); !errors.Is(err, recovery.ErrInvalid) {
		t.Errorf("no digest: %v", err)
	}
	there()
	keep("")
	keep("p1")
	there("", "p1")
	fatal(s.KeepModule(ctx, "", sum, "", int64(len(data)), unreadable{})) // it is there: nothing is read

	s.SetKept([]string{sum})
	fatal(s.SetCompiled(ctx, 0))
	age("", false)
	there("", "p1")
	s.SetKept(nil)
	fatal(s.SetCompiled(ctx, 0))

	seg, err := s.CreateSegment(ctx, recovery.Segment{Name: "seg", RecoveryMethod: recovery.Auto, Enabled: true})
	fatal(err)
	_, err = s.CreateHost(ctx, recovery.Host{Name: "h1", SegmentUUID: seg.UUID})
	fatal(err)
	n, err := s.Accept(ctx, recovery.Notification{Type: recovery.ComputeHost, HostName: "h1", Payload: json.RawMessage(`{"event":"STOPPED"}`)}, time.Minute)
	fatal(err)
	r, err := s.Claim(ctx, n.UUID)
	fatal(err)
	defer r.Close()
	run, err := r.Record(ctx)
	fatal(err)
	run.Modules = map[string]string{"first": sum}
	fatal(r.Start(ctx, run))
	age("", true)
	there("", "p1")
	fatal(s.Sweep(ctx)) // seen a moment ago: a run pins it
	run.Status = recovery.StatusFinished
	fatal(r.End(ctx, run))
	fatal(s.Sweep(ctx))
	there("", "p1")
	age("", true)
	there("p1") // another's, with the same bytes
	if _, err := s.PutModule(ctx, recovery.ModuleVersion{Digest: sum, Library: "acme", Version: "1.0.0", Keys: []string{"a"}, Size: int64(len(data))}, bytes.NewReader(data)); err != nil {
		t.Fatal(err)
	}
	age("p1", true)
	there()
	_, body, err := s.Module(ctx, sum)
	fatal(err)
	defer body.Close() //nolint:errcheck // read to its end
	if got, err := io.ReadAll(body); err != nil || !bytes.Equal(got, data) {
		t.Errorf("uploaded module of %d bytes, %v", len(got), err)
	}
	keep("") // and the other way around
	fatal(s.Deactivate(ctx, "", "acme"))
	fatal(s.Remove(ctx, "", sum))
	there("")
	s.Fill(99)
	other := append(slices.Clone(data), 1)
	if err := s.KeepModule(ctx, "", digest(other), "", int64(len(other)), bytes.NewReader(other)); !errors.Is(err, recovery.ErrQuota) {
		t.Errorf("full database: %v", err)
	}
}

// unreadable is what must not be read.
type unreadable struct{}

func (unreadable) Read([]byte) (int, error) { return 0, errors.New("read") }
