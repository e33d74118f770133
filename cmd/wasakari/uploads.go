package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"

	"github.com/wasakari/wasakari/api/wasakariv1"
	"github.com/wasakari/wasakari/recovery"
	"github.com/wasakari/wasakari/store"
)

// admission decides whether an uploaded module can be taken: as a module of a
// task folder is, and against what is there already.
type admission struct{ *snapshots }

// Admit admits a module of a tenant, of the operator when tenant is empty. What
// was compiled stays in the cache.
func (a admission) Admit(ctx context.Context, tenant string, wasm []byte) (recovery.ModuleVersion, error) {
	snap, release := a.newest()
	defer release()
	f := moduleFile{path: "upload", tenant: tenant, uploaded: wasm}
	m, err := admitFile(ctx, a.shelf, snap.cfg, f, nil)
	if err != nil {
		if ctx.Err() != nil {
			return recovery.ModuleVersion{}, context.Cause(ctx)
		}
		code := http.StatusUnprocessableEntity
		if errors.Is(err, recovery.ErrTooLarge) {
			code = http.StatusRequestEntityTooLarge
		}
		return recovery.ModuleVersion{}, &wasakariv1.Refusal{Code: code, Message: err.Error(), Err: recovery.ErrInvalid}
	}
	defer a.shelf.release(m.Module)
	v := recovery.ModuleVersion{
		Digest: m.Digest(), Library: m.Manifest().Library, Tenant: tenant, Version: m.Manifest().Version, Size: int64(len(wasm)),
	}
	for _, t := range m.Manifest().Tasks {
		v.Keys = append(v.Keys, t.Key)
	}
	if err := snap.catalog.besides(v).takes(snap.loaded, m); err != nil {
		return recovery.ModuleVersion{}, &wasakariv1.Refusal{Code: http.StatusConflict, Message: err.Error(), Err: recovery.ErrExists}
	}
	return v, nil
}

// besides is the catalog without the uploaded version that v would replace.
func (c *catalog) besides(v recovery.ModuleVersion) *catalog {
	out := *c
	out.tasks, out.modules, out.libraries = maps.Clone(c.tasks), maps.Clone(c.modules), maps.Clone(c.libraries)
	out.claims, out.contested, out.clashes = map[string][]claim{}, map[string]contest{}, map[string]contest{}
	out.refused = nil
	for key, task := range c.tasks {
		if task.Library == v.Library && task.Tenant == v.Tenant && isUploaded(task) {
			out.drop(key)
		}
	}
	return &out
}

// takes refuses a module that the catalog could not serve.
func (c *catalog) takes(l *loaded, m candidate) error {
	before := c.tasks
	if err := c.add(l.cfg, m); err != nil {
		return err
	}
	for key, claims := range c.claims {
		other, taken := before[key]
		if taken && other.Tenant != "" {
			return fmt.Errorf("task %s of tenant %s is in %s of tenant %s too; give yours another key", key, claims[0].task.Tenant, other.Source, other.Tenant)
		}
	}
	return nil
}

// isUploaded reports whether a task is in a module that was uploaded.
func isUploaded(t recovery.Task) bool {
	return t.Source == uploadedName(recovery.ModuleVersion{Library: t.Library, Version: t.Version, Digest: t.Digest})
}

// moduleStore is the store as the API and the snapshots want it.
type moduleStore struct{ *store.Store }

// Module opens a module.
func (s moduleStore) Module(ctx context.Context, digest string) (io.ReadCloser, error) {
	_, r, err := s.Store.Module(ctx, digest)
	return r, err
}

// ModuleBytes reads a module.
func (s moduleStore) ModuleBytes(ctx context.Context, digest string) (_ []byte, err error) {
	r, err := s.Module(ctx, digest)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	return io.ReadAll(r)
}

// PutModule keeps a version, and makes it the active one unless another is
// pinned.
func (s moduleStore) PutModule(ctx context.Context, v recovery.ModuleVersion, wasm io.Reader) (kept recovery.ModuleVersion, revision int64, err error) {
	kept, err = s.Store.PutModule(ctx, v, wasm)
	if errors.Is(err, recovery.ErrConflict) { // the API's word for a key that is taken
		err = fmt.Errorf("%w: %w", recovery.ErrExists, err)
	}
	if err != nil {
		return kept, 0, err
	}
	revision, err = s.ModulesRevision(ctx)
	return kept, revision, err
}

// PinModule makes a version the active one for good; digest "" takes the pin
// away.
func (s moduleStore) PinModule(ctx context.Context, tenant, library, digest string) (revision int64, err error) {
	if digest == "" {
		err = s.Unpin(ctx, tenant, library)
	} else {
		err = s.Activate(ctx, tenant, digest, true)
	}
	if err != nil {
		return 0, err
	}
	return s.ModulesRevision(ctx)
}

// RemoveModule removes a version, or with digest "" all of a library.
func (s moduleStore) RemoveModule(ctx context.Context, tenant, library, digest string) (revision int64, err error) {
	digests := []string{digest}
	if digest == "" {
		if err := s.Deactivate(ctx, tenant, library); err != nil && !errors.Is(err, recovery.ErrNotFound) {
			return 0, err
		}
		versions, err := s.Modules(ctx)
		if err != nil {
			return 0, err
		}
		digests = nil
		for _, v := range versions {
			if v.Library == library && v.Tenant == tenant {
				digests = append(digests, v.Digest)
			}
		}
	}
	for _, d := range digests {
		if err := s.Remove(ctx, tenant, d); err != nil {
			return 0, err
		}
	}
	return s.ModulesRevision(ctx)
}
