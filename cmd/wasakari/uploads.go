package main

import (
	"context"
	"errors"
	"io"

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
	return snap.admitUpload(ctx, a.shelf, a.shelf.release, tenant, wasm)
}

// isUploaded reports whether a task is in a module that was uploaded.
func isUploaded(t recovery.Task) bool {
	return t.Source == uploadedName(recovery.ModuleVersion{Library: t.Library, Version: t.Version, Digest: t.Digest})
}

// moduleStore is the store as the snapshots want it.
type moduleStore struct{ *store.Store }

// ModuleBytes reads a module.
func (s moduleStore) ModuleBytes(ctx context.Context, digest string) (_ []byte, err error) {
	_, r, err := s.Module(ctx, digest)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	return io.ReadAll(r)
}

// uploadStore is the store as the API wants it.
type uploadStore struct{ *store.Store }

// Module opens a module.
func (s uploadStore) Module(ctx context.Context, digest string) (io.ReadCloser, error) {
	_, r, err := s.Store.Module(ctx, digest)
	return r, err
}

// PutModule keeps a version, and makes it the active one unless another is
// pinned. Tenants' modules that have one of the operator's keys are set aside.
func (s uploadStore) PutModule(ctx context.Context, v recovery.ModuleVersion, wasm io.Reader) (kept recovery.ModuleVersion, revision int64, err error) {
	versions, err := s.Modules(ctx)
	if err != nil {
		return v, 0, err
	}
	pinned := false
	var aside []recovery.ModuleVersion
	for _, o := range versions {
		pinned = pinned || o.Pinned && o.Library == v.Library && o.Tenant == v.Tenant
		if wasakariv1.SetsAside(v, o) {
			if err := s.Deactivate(ctx, o.Tenant, o.Library); err != nil && !errors.Is(err, recovery.ErrNotFound) {
				return v, 0, err
			}
			aside = append(aside, o)
		}
	}
	if kept, err = s.Store.PutModule(ctx, v, wasm); err != nil {
		for _, o := range aside { // for nothing
			err = errors.Join(err, s.Activate(context.WithoutCancel(ctx), o.Tenant, o.Digest, o.Pinned))
		}
		return kept, 0, err
	}
	// One that was there already is given back as it is.
	if !kept.Active && !pinned {
		if err := s.Activate(ctx, v.Tenant, v.Digest, false); err != nil {
			return kept, 0, err
		}
		kept.Active = true
	}
	revision, err = s.ModulesRevision(ctx)
	return kept, revision, err
}

// PinModule makes a version the active one for good; digest "" takes the pin
// away.
func (s uploadStore) PinModule(ctx context.Context, tenant, library, digest string) (revision int64, err error) {
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
func (s uploadStore) RemoveModule(ctx context.Context, tenant, library, digest string) (revision int64, err error) {
	digests := []string{digest}
	if digest == "" {
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
		if err := s.Deactivate(ctx, tenant, library); err != nil && !errors.Is(err, recovery.ErrNotFound) {
			return 0, err
		}
	}
	for _, d := range digests {
		if err := s.Remove(ctx, tenant, d); err != nil {
			return 0, err
		}
	}
	return s.ModulesRevision(ctx)
}
