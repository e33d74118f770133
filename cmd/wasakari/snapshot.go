package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"go.uber.org/zap"

	"github.com/wasakari/wasakari/config"
	"github.com/wasakari/wasakari/internal/telemetry"
	"github.com/wasakari/wasakari/recovery"
	"github.com/wasakari/wasakari/runtime"
	"github.com/wasakari/wasakari/store"
)

// snapshot is what the service makes runs from at one time: a configuration
// and the modules that flows may name. It does not change.
type snapshot struct {
	*loaded
	// problems are what is wrong and keeps only those flows from running that
	// need it.
	problems []error
	// missing says that modules could not be fetched from their registries.
	missing bool
	// modules is the revision of the uploaded modules in it.
	modules int64

	shelf *shelf
	mu    sync.Mutex
	holds []*runtime.Module
	users int // of snapshots.mu
}

// Admit admits a module for the snapshot, which holds it.
func (s *snapshot) Admit(ctx context.Context, source string, wasm []byte) (*runtime.Module, error) {
	m, err := s.shelf.Admit(ctx, source, wasm)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.holds = append(s.holds, m)
	return m, nil
}

func (s *snapshot) close() {
	for _, m := range s.holds {
		s.shelf.release(m)
	}
}

// uploads are the modules that were uploaded. The store serves it.
type uploads interface {
	Modules(ctx context.Context) ([]recovery.ModuleVersion, error)
	ModulesRevision(ctx context.Context) (int64, error)
	ModuleBytes(ctx context.Context, digest string) ([]byte, error)
}

// snapshots gives out the newest snapshot, and keeps older ones as long as runs
// need them. It is safe for concurrent use.
type snapshots struct {
	w       world
	flags   *settings
	log     *zap.Logger
	shelf   *shelf
	uploads uploads
	tel     *telemetry.Telemetry

	mu      sync.Mutex
	current *snapshot
}

// make makes a snapshot of a configuration and of the modules that pick lets
// through. err says that there is none.
func (s *snapshots) make(ctx context.Context, cfg *config.Config, pick func(recovery.ModuleVersion) bool, folders bool) (_ *snapshot, err error) {
	snap := &snapshot{shelf: s.shelf, users: 1}
	defer func() {
		if err != nil {
			snap.close()
		}
	}()
	if snap.loaded, err = newLoaded(cfg, s.w, s.log); err != nil {
		return nil, err
	}
	snap.rt, snap.tel = s.shelf.rt, s.tel
	if snap.modules, err = s.uploads.ModulesRevision(ctx); err != nil {
		return nil, err
	}
	versions, err := s.uploads.Modules(ctx)
	if err != nil {
		return nil, err
	}
	var files []moduleFile
	var damaged []error
	for _, v := range versions {
		if !pick(v) {
			continue
		}
		wasm, err := s.uploads.ModuleBytes(ctx, v.Digest)
		switch {
		case errors.Is(err, recovery.ErrNotFound): // removed meanwhile
			continue
		case errors.Is(err, store.ErrDamaged): // one module must not keep all flows from running
			damaged = append(damaged, fmt.Errorf("%s: %w; push it again", uploadedName(v), err))
			continue
		case err != nil:
			return nil, fmt.Errorf("module %s: %w", v.Digest, err)
		}
		files = append(files, moduleFile{path: uploadedName(v), tenant: v.Tenant, wasm: wasm})
	}
	var list []taskFolder
	if folders {
		if list, err = s.flags.folders(cfg); err != nil {
			return nil, err
		}
		remote, missing, err := registryModules(ctx, cfg, s.w, s.log)
		if err != nil {
			return nil, err
		}
		files, damaged, snap.missing = append(files, remote...), append(damaged, missing...), len(missing) > 0
	}
	catalog, err := loadCatalog(ctx, snap, cfg, list, files, nil)
	if catalog == nil {
		return nil, err
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	snap.catalog, snap.problems = catalog, slices.Concat(damaged, unjoined(err), catalog.refused)
	if snap.secrets, err = cfg.Secrets(catalog.secretOptions(cfg)); err != nil {
		return nil, err
	}
	return snap, nil
}

// uploadedName is what messages call an uploaded module.
func uploadedName(v recovery.ModuleVersion) string {
	return fmt.Sprintf("%s %s (sha256:%.12s)", v.Library, v.Version, v.Digest)
}

// unjoined lists the errors that were joined.
func unjoined(err error) []error {
	if many, ok := err.(interface{ Unwrap() []error }); ok {
		return many.Unwrap()
	}
	if err != nil {
		return []error{err}
	}
	return nil
}

// replace makes a snapshot of cfg the current one.
func (s *snapshots) replace(ctx context.Context, cfg *config.Config) (*snapshot, error) {
	next, err := s.make(ctx, cfg, func(v recovery.ModuleVersion) bool { return v.Active }, true)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	last := s.current
	s.current = next
	s.mu.Unlock()
	if last != nil {
		s.release(last)
	}
	return next, nil
}

// close lets go of the current snapshot.
func (s *snapshots) close() { s.release(s.current) }

// newest gives the current snapshot, for as long as the caller needs it.
func (s *snapshots) newest() (_ *snapshot, release func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	snap := s.current
	snap.users++
	return snap, sync.OnceFunc(func() { s.release(snap) })
}

func (s *snapshots) release(snap *snapshot) {
	s.mu.Lock()
	snap.users--
	last := snap.users == 0
	s.mu.Unlock()
	if last {
		snap.close()
	}
}

// forRun gives a snapshot with the modules that the run began with: the current
// one, or one that is made from what was uploaded.
func (s *snapshots) forRun(ctx context.Context, run recovery.Run) (_ *snapshot, release func(), err error) {
	snap, release := s.newest()
	var missing []string
	for _, key := range slices.Sorted(maps.Keys(run.Modules)) {
		if task, _ := snap.catalog.Task(key); task.Digest != run.Modules[key] {
			missing = append(missing, key)
		}
	}
	if len(missing) == 0 {
		return snap, release, nil
	}
	defer release()
	wanted := map[string]bool{}
	for _, digest := range run.Modules {
		wanted[digest] = true
	}
	own, err := s.make(ctx, snap.cfg, func(v recovery.ModuleVersion) bool { return wanted[v.Digest] }, false)
	if err != nil {
		return nil, nil, err
	}
	if err := own.sameModules(run); err != nil {
		own.close()
		return nil, nil, err
	}
	return own, sync.OnceFunc(func() { s.release(own) }), nil
}
