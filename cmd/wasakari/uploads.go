package main

import (
	"context"
	"errors"
	"io"
	"slices"

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

// uploadStore is the store as the API and the snapshots want it.
type uploadStore struct {
	*store.Store
	stock *stock
}

// Modules lists all versions, and where their engines are.
func (s uploadStore) Modules(ctx context.Context) ([]recovery.ModuleVersion, error) {
	versions, err := s.Store.Modules(ctx)
	if err != nil {
		return nil, err
	}
	var kept []recovery.ModuleEngine // not looked for yet
	for i, v := range versions {
		if v.Engine == nil {
			continue
		}
		e := *v.Engine
		if _, ok := s.stock.own(e.Digest); !ok && kept == nil {
			if kept, err = s.KeptEngines(ctx); err != nil {
				return nil, err
			}
		}
		e.State = s.stock.state(e, kept)
		versions[i].Engine = &e
	}
	return versions, nil
}

// ModuleBytes reads a module.
func (s uploadStore) ModuleBytes(ctx context.Context, digest string) (_ []byte, err error) {
	_, r, err := s.Store.Module(ctx, digest)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	return io.ReadAll(r)
}

// KeptModule reads a module that is kept for runs.
func (s uploadStore) KeptModule(ctx context.Context, digest string) (tenants []string, _ []byte, err error) {
	tenants, r, err := s.Store.KeptModule(ctx, digest)
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	wasm, err := io.ReadAll(r)
	return tenants, wasm, err
}

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
	pinned := slices.ContainsFunc(versions, func(o recovery.ModuleVersion) bool {
		return o.Pinned && o.Library == v.Library && o.Tenant == v.Tenant
	})
	if v.Engine != nil { // before the module is acknowledged
		if err := s.stock.keepInStore(ctx, *v.Engine); err != nil {
			return v, 0, err
		}
	}
	back, err := s.makeWay(ctx, versions, v)
	if err != nil {
		return v, 0, err
	}
	if kept, err = s.Store.PutModule(ctx, v, wasm); err != nil {
		return kept, 0, errors.Join(err, back())
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

// makeWay sets tenants' modules aside that have a key of the operator's version,
// which is to be the active one; back undoes it, when that came to nothing.
func (s uploadStore) makeWay(ctx context.Context, versions []recovery.ModuleVersion, next recovery.ModuleVersion) (back func() error, err error) {
	var aside []recovery.ModuleVersion
	back = func() error {
		var errs []error
		for _, o := range aside {
			errs = append(errs, s.Activate(context.WithoutCancel(ctx), o.Tenant, o.Digest, o.Pinned))
		}
		return errors.Join(errs...)
	}
	for _, o := range versions {
		if !wasakariv1.SetsAside(next, o) {
			continue
		}
		if err := s.Deactivate(ctx, o.Tenant, o.Library); err != nil && !errors.Is(err, recovery.ErrNotFound) {
			return nil, errors.Join(err, back())
		}
		aside = append(aside, o)
	}
	return back, nil
}

// PinModule makes a version the active one for good; digest "" takes the pin
// away.
func (s uploadStore) PinModule(ctx context.Context, tenant, library, digest string) (revision int64, err error) {
	if digest == "" {
		if err := s.Unpin(ctx, tenant, library); err != nil {
			return 0, err
		}
		return s.ModulesRevision(ctx)
	}
	versions, err := s.Modules(ctx)
	if err != nil {
		return 0, err
	}
	back := func() error { return nil }
	for _, v := range versions {
		if v.Tenant == tenant && v.Digest == digest {
			if back, err = s.makeWay(ctx, versions, v); err != nil {
				return 0, err
			}
		}
	}
	if err := s.Activate(ctx, tenant, digest, true); err != nil {
		return 0, errors.Join(err, back())
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
