package storetest

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/wasakari/wasakari/recovery"
	"github.com/wasakari/wasakari/store"
)

func digest(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

func module(library, version string, data []byte, keys ...string) recovery.ModuleVersion {
	return recovery.ModuleVersion{Digest: digest(data), Library: library, Version: version, Keys: keys, Size: int64(len(data)), By: "u1"}
}

func testModules(t *testing.T, s *store.Store) {
	ctx := t.Context()
	first := bytes.Repeat([]byte("wasm"), 400<<10) // 1.6 MB: several chunks
	later := append(slices.Clone(first), '2')
	put := func(m recovery.ModuleVersion, data []byte) (recovery.ModuleVersion, error) {
		return s.PutModule(ctx, m, bytes.NewReader(data))
	}
	zero := must(s.ModulesRevision(ctx))(t)
	a := must(put(module("acme", "1.0.0", first, "a", "b"), first))(t)
	if !a.Active || a.Pinned || a.Uploaded.IsZero() {
		t.Errorf("module %+v", a)
	}
	rev := must(s.ModulesRevision(ctx))(t)
	if rev <= zero {
		t.Errorf("revision %d after %d", rev, zero)
	}
	got, body, err := s.Module(ctx, a.Digest)
	check(t, err)
	data := must(io.ReadAll(body))(t)
	check(t, body.Close())
	if !bytes.Equal(data, first) || asJSON(t, got) != asJSON(t, a) {
		t.Errorf("module %+v of %d bytes", got, len(data))
	}
	again := must(put(module("acme", "1.0.0", first, "a", "b"), first))(t)
	is(t, "the same again", asJSON(t, again), asJSON(t, a))
	_, _, err = s.Module(ctx, digest(later))
	is(t, "none", err, recovery.ErrNotFound)
	is(t, "wrong digest", second(put(module("acme", "1.1.0", []byte("other"), "a"), []byte("wrong"))), recovery.ErrInvalid)
	short := module("acme", "1.1.0", later, "a")
	short.Size--
	is(t, "wrong size", second(put(short, later)), recovery.ErrInvalid)
	is(t, "modules", len(must(s.Modules(ctx))(t)), 1)

	_, err = put(module("other", "1.0.0", later, "b"), later)
	if err == nil || !errors.Is(err, recovery.ErrConflict) || !strings.Contains(err.Error(), "acme") || !strings.Contains(err.Error(), "other") || !strings.Contains(err.Error(), `"b"`) {
		t.Errorf("key clash: %v", err)
	}
	b := must(put(module("acme", "1.1.0", later, "a", "c"), later))(t)
	if !b.Active {
		t.Errorf("module %+v", b)
	}
	active := func() string {
		var out []string
		for _, m := range must(s.Modules(ctx))(t) {
			if m.Active {
				out = append(out, m.Version+map[bool]string{true: " pinned"}[m.Pinned])
			}
		}
		return strings.Join(out, ", ")
	}
	is(t, "active", active(), "1.1.0")
	third := append(slices.Clone(later), '3')
	other := must(put(module("other", "0.1.0", third, "b"), third))(t) // the key is free now
	is(t, "activation of a version whose key another one has", s.Activate(ctx, "", a.Digest, true), recovery.ErrConflict)
	is(t, "remove of what is active", s.Remove(ctx, "", other.Digest), recovery.ErrInUse)
	check(t, s.Deactivate(ctx, "", "other"), s.Remove(ctx, "", other.Digest))
	is(t, "remove again", s.Remove(ctx, "", other.Digest), recovery.ErrNotFound)
	check(t, s.Activate(ctx, "", a.Digest, true))
	is(t, "active", active(), "1.0.0 pinned")
	fourth := append(slices.Clone(later), '4')
	if m := must(put(module("acme", "2.0.0", fourth, "a"), fourth))(t); m.Active {
		t.Errorf("an upload replaces the pinned version: %+v", m)
	}
	is(t, "active", active(), "1.0.0 pinned")
	check(t, s.Unpin(ctx, "", "acme"))
	is(t, "active", active(), "1.0.0")

	// A run starts only with the modules that are active.
	r, _, _ := claimed(t, s)
	run := record(t, r)
	run.Modules = map[string]string{"a": a.Digest}
	is(t, "start with what was active", r.StartWith(ctx, run, rev), recovery.ErrConflict)
	check(t, r.StartWith(ctx, run, must(s.ModulesRevision(ctx))(t)), s.Activate(ctx, "", b.Digest, false))
	is(t, "remove of what a run uses", s.Remove(ctx, "", a.Digest), recovery.ErrInUse)
	end(t, r, recovery.StatusFinished, "")
	check(t, s.Remove(ctx, "", a.Digest))
	_, _, err = s.Module(ctx, a.Digest)
	is(t, "removed", err, recovery.ErrNotFound)

	// Another tenant's module of the same bytes is another one.
	mine := module("acme", "1.1.0", later, "t_a")
	mine.Tenant = "p1"
	must(put(mine, later))(t)
	check(t, s.Deactivate(ctx, "p1", "acme"), s.Remove(ctx, "p1", mine.Digest))
	_, body, err = s.Module(ctx, mine.Digest)
	check(t, err)
	is(t, "bytes that another one still has", len(must(io.ReadAll(body))(t)), len(later))
	check(t, body.Close())
}
