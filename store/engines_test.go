package store_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"path/filepath"
	"testing"

	"github.com/wasakari/wasakari/recovery"
	"github.com/wasakari/wasakari/store"
)

// engineOf gives an engine of some bytes, and its bytes.
func engineOf(fill byte, size int) (recovery.ModuleEngine, func(context.Context) ([]byte, error)) {
	data := bytes.Repeat([]byte{fill}, size)
	return recovery.ModuleEngine{Name: "python", Digest: digest(data)}, func(context.Context) ([]byte, error) { return data, nil }
}

func hasEngine(t *testing.T, s *store.Store, e recovery.ModuleEngine, want bool) {
	t.Helper()
	r, err := s.KeptEngine(t.Context(), e.Digest)
	if err != nil {
		if want || !errors.Is(err, recovery.ErrNotFound) {
			t.Errorf("engine %.8s: %v, want it kept: %t", e.Digest, err, want)
		}
		return
	}
	defer r.Close() //nolint:errcheck // read to its end
	got, err := io.ReadAll(r)
	if err != nil || digest(got) != e.Digest || !want {
		t.Errorf("engine %.8s: %d bytes, %v, want it kept: %t", e.Digest, len(got), err, want)
	}
}

// An engine is kept as long as a version that was uploaded, a module that is kept,
// or a node names it, and an hour more.
func TestKeptEngines(t *testing.T) {
	ctx := t.Context()
	s := open(t, filepath.Join(t.TempDir(), "store"))
	fatal := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	e, bytesOf := engineOf('e', 700<<10)
	// age lets an hour go by when nobody was seen to need it.
	age := func(unused bool) {
		t.Helper()
		fatal(s.Sweep(ctx))
		marked, err := s.AgeEngine(ctx, e.Digest)
		fatal(err)
		if marked != unused {
			t.Errorf("marked as unused: %t, want %t", marked, unused)
		}
		fatal(s.Sweep(ctx))
	}
	module := []byte("module")
	version := recovery.ModuleVersion{
		Digest: digest(module), Library: "acme", Version: "1.0.0", Keys: []string{"a"}, Size: int64(len(module)),
		Engine: &recovery.ModuleEngine{Name: e.Name, Digest: e.Digest, State: recovery.EngineCarried},
	}
	if _, err := s.PutModule(ctx, version, bytes.NewReader(module)); !errors.Is(err, recovery.ErrConflict) {
		t.Errorf("upload whose engine is not kept: %v", err)
	}
	hasEngine(t, s, e, false)
	other, _ := engineOf('o', 10)
	if err := s.KeepEngine(ctx, other, bytesOf); !errors.Is(err, recovery.ErrInvalid) {
		t.Errorf("other bytes: %v", err)
	}
	fatal(s.KeepEngine(ctx, e, bytesOf))
	fatal(s.KeepEngine(ctx, e, nil)) // it is there: nothing is read
	hasEngine(t, s, e, true)
	if list, err := s.KeptEngines(ctx); err != nil || len(list) != 1 || list[0] != e {
		t.Errorf("engines = %v, %v", list, err)
	}
	if _, _, err := s.KeptModule(ctx, e.Digest); !errors.Is(err, recovery.ErrNotFound) {
		t.Errorf("an engine is a module: %v", err)
	}
	kept, err := s.PutModule(ctx, version, bytes.NewReader(module))
	fatal(err)
	if *kept.Engine != e {
		t.Errorf("engine of the version = %v, want %v", kept.Engine, e)
	}
	age(false) // an upload names it
	fatal(s.Deactivate(ctx, "", "acme"))
	age(false) // it may become active again
	fatal(s.KeepModule(ctx, "", digest(module), e.Digest, int64(len(module)), bytes.NewReader(module)))
	hasEngine(t, s, recovery.ModuleEngine{Digest: digest(module)}, false) // a module is no engine
	fatal(s.Remove(ctx, "", version.Digest))
	age(false) // a module that is kept names it
	fatal(s.Sweep(ctx))
	if _, err := s.AgeKept(ctx, digest(module), ""); err != nil {
		t.Fatal(err)
	}
	s.SetKept([]string{e.Digest})
	fatal(s.SetCompiled(ctx, 0))
	age(false) // a node does
	age(false)
	if _, _, err := s.KeptModule(ctx, digest(module)); !errors.Is(err, recovery.ErrNotFound) {
		t.Errorf("module that nobody needs: %v", err)
	}
	s.SetKept(nil)
	fatal(s.SetCompiled(ctx, 0))
	fatal(s.Sweep(ctx))
	fatal(s.KeepEngine(ctx, e, nil)) // needed after all
	age(true)
	hasEngine(t, s, e, false)
}

// Engines have their own room, and those that nobody needs go first.
func TestKeptEnginesBounded(t *testing.T) {
	ctx := t.Context()
	s := open(t, filepath.Join(t.TempDir(), "store"))
	first, firstBytes := engineOf('1', 60<<20)
	second, secondBytes := engineOf('2', 60<<20)
	third, thirdBytes := engineOf('3', 60<<20)
	for _, err := range []error{s.KeepEngine(ctx, first, firstBytes), s.KeepEngine(ctx, second, secondBytes)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := s.KeepEngine(ctx, third, thirdBytes); !errors.Is(err, recovery.ErrQuota) {
		t.Errorf("no room: %v", err)
	}
	s.SetKept([]string{second.Digest})
	if err := errors.Join(s.SetCompiled(ctx, 0), s.Sweep(ctx)); err != nil {
		t.Fatal(err)
	}
	if err := s.KeepEngine(ctx, third, thirdBytes); err != nil {
		t.Error(err)
	}
	hasEngine(t, s, first, false)
	hasEngine(t, s, second, true)
	hasEngine(t, s, third, true)
	large, largeBytes := engineOf('4', 65<<20)
	if err := s.KeepEngine(ctx, large, largeBytes); !errors.Is(err, recovery.ErrTooLarge) {
		t.Errorf("too large: %v", err)
	}
}
