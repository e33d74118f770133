package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
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
	// kept are the modules that were put into the store for the runs that begin with
	// them.
	kept []keptModule
	// engines are the digests of those that its modules name.
	engines []string
	// remote are the modules from registries, until they are kept.
	remote []moduleFile

	shelf *shelf
	mu    sync.Mutex
	holds []*runtime.Module
	users int // of snapshots.mu
}

// keptModule is a module of a task folder or a registry in the store.
type keptModule struct{ tenant, digest string }

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

// take holds a module that was admitted before under the same name; nil: there is
// none.
func (s *snapshot) take(source, digest string) *shelved {
	m := s.shelf.take(source, digest)
	if m != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.holds = append(s.holds, m.Module)
	}
	return m
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
	// KeepModule and KeptModule keep and give modules of task folders, for the runs
	// that began with them; KeptModule tells of which tenants they are.
	KeepModule(ctx context.Context, tenant, digest, engine string, size int64, r io.Reader) error
	KeptModule(ctx context.Context, digest string) (tenants []string, wasm []byte, err error)
}

// snapshots gives out the newest snapshot, and keeps older ones as long as runs
// need them. It is safe for concurrent use.
type snapshots struct {
	w       world
	flags   *settings
	log     *zap.Logger
	shelf   *shelf
	uploads uploads
	stock   *stock
	tel     *telemetry.Telemetry

	mu      sync.Mutex
	current *snapshot
}

// make makes a snapshot of a configuration, of the modules that are active and of
// those in task folders; or, when wanted is not nil, of the modules of a run: those
// with these digests that are uploaded, in former, or kept. err says that there is
// none.
func (s *snapshots) make(ctx context.Context, cfg *config.Config, former *snapshot, wanted map[string]bool) (_ *snapshot, err error) {
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
	files, damaged, err := s.uploaded(ctx, snap, wanted)
	if err != nil {
		return nil, err
	}
	var list []taskFolder
	if wanted == nil {
		if list, err = s.flags.folders(cfg); err != nil {
			return nil, err
		}
		remote, missing, err := registryModules(ctx, cfg, s.w, s.log)
		if err != nil {
			return nil, err
		}
		files, damaged, snap.missing = append(files, remote...), append(damaged, missing...), len(missing) > 0
		snap.remote = remote
	} else {
		kept, err := s.ofRun(ctx, snap, former, wanted)
		if err != nil {
			return nil, err
		}
		files = append(files, kept...)
	}
	catalog, err := loadCatalog(ctx, snap, cfg, list, files, nil)
	if catalog == nil {
		return nil, err
	}
	if unread := unreadEngine(append(unjoined(err), catalog.refused...)); unread != nil {
		return nil, unread
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

// uploaded gives the uploaded modules that are active, or that are wanted; those it
// finds are wanted no more. Only what was not admitted before is read.
func (s *snapshots) uploaded(ctx context.Context, snap *snapshot, wanted map[string]bool) (files []moduleFile, damaged []error, err error) {
	versions, err := s.uploads.Modules(ctx)
	if err != nil {
		return nil, nil, err
	}
	found := map[string]bool{}
	for _, v := range versions {
		if wanted == nil && !v.Active || wanted != nil && !wanted[v.Digest] {
			continue
		}
		file := moduleFile{path: uploadedName(v), tenant: v.Tenant}
		if file.admitted = snap.take(file.path, v.Digest); file.admitted == nil {
			file.wasm, err = s.uploads.ModuleBytes(ctx, v.Digest)
		}
		switch {
		case errors.Is(err, recovery.ErrNotFound): // removed meanwhile
			continue
		case errors.Is(err, store.ErrDamaged): // one module must not keep all flows from running
			damaged = append(damaged, fmt.Errorf("%s: %w; push it again", uploadedName(v), err))
			continue
		case err != nil:
			return nil, nil, fmt.Errorf("module %s: %w", v.Digest, err)
		}
		files, found[v.Digest] = append(files, file), true
	}
	maps.DeleteFunc(wanted, func(digest string, _ bool) bool { return found[digest] })
	return files, damaged, nil
}

// ofRun gives the modules of a run that are in a former snapshot, or that are kept:
// they may be in no folder of this node.
func (s *snapshots) ofRun(ctx context.Context, snap, former *snapshot, wanted map[string]bool) ([]moduleFile, error) {
	var files []moduleFile
	found := map[string]bool{}
	for _, key := range former.catalog.Keys() {
		task, _ := former.catalog.Task(key)
		if task.Standard || !wanted[task.Digest] || found[task.Digest] {
			continue
		}
		if m := snap.take(task.Source, task.Digest); m != nil {
			files, found[task.Digest] = append(files, moduleFile{path: task.Source, tenant: task.Tenant, admitted: m}), true
		}
	}
	for _, digest := range slices.Sorted(maps.Keys(wanted)) {
		if found[digest] {
			continue
		}
		tenants, wasm, err := s.uploads.KeptModule(ctx, digest)
		if errors.Is(err, recovery.ErrNotFound) {
			continue // a standard task's; whoever goes on with the run says what is missing
		}
		if err != nil {
			return nil, fmt.Errorf("module %s: %w", digest, err)
		}
		for _, tenant := range tenants {
			files = append(files, moduleFile{path: fmt.Sprintf("a module of a task folder (sha256:%.12s)", digest), tenant: tenant, wasm: wasm})
		}
	}
	return files, nil
}

// keep puts into the store what runs may begin with and other nodes may not have:
// the modules of task folders and registries that flows name, and the engines that
// modules name, for which there is the state folder too. What is there already is
// not read; but it is asked for each time, as a store forgets what a node that it
// has not heard of for an hour kept. What cannot be kept is told, and keeps nothing
// from running.
func (s *snapshots) keep(ctx context.Context, snap *snapshot) {
	named := snap.catalog.engines()
	s.stock.keepInFolderAll(ctx, named)
	for _, e := range named {
		if err := s.stock.keepInStore(ctx, e); err != nil {
			s.log.Error("engine not kept: programs of other releases cannot run the modules that name it", zap.String("engine", e.Name), zap.String("digest", e.Digest), zap.Error(err))
		}
		snap.engines = append(snap.engines, e.Digest)
	}
	for _, key := range snap.namedKeys() {
		task, ok := snap.catalog.Task(key)
		module := keptModule{task.Tenant, task.Digest}
		if !ok || task.Standard || isUploaded(task) || slices.Contains(snap.kept, module) {
			continue
		}
		file := &lazyFile{file: moduleFile{path: task.Source}, most: int64(snap.cfg.Wasakari.ModuleMiB) << 20}
		if i := slices.IndexFunc(snap.remote, func(f moduleFile) bool { return f.path == task.Source }); i >= 0 {
			file.file = snap.remote[i]
		}
		info, engine := snap.catalog.modules[key].Info(), ""
		if info.Engine != nil {
			engine = info.Engine.Digest
		}
		err := s.uploads.KeepModule(ctx, task.Tenant, task.Digest, engine, int64(info.Bytes), file)
		if err != nil {
			s.log.Error("module not kept: only nodes that have it can go on with its runs", zap.String("module", task.Source), zap.Error(err))
			continue
		}
		snap.kept = append(snap.kept, module)
	}
	snap.remote = nil
}

// lazyFile reads a module when it is asked for its first byte.
type lazyFile struct {
	file moduleFile
	most int64 // bytes
	wasm *bytes.Reader
}

// Read implements io.Reader.
func (l *lazyFile) Read(p []byte) (int, error) {
	if l.wasm == nil {
		wasm, err := l.file.read(l.most)
		if err != nil {
			return 0, err
		}
		l.wasm = bytes.NewReader(wasm)
	}
	return l.wasm.Read(p)
}

// namedKeys lists the keys of tasks that flows name: the four, those of segments,
// and those of projects.
func (l *loaded) namedKeys() []string {
	keys := map[string]bool{}
	add := func(f recovery.Flow) {
		for _, phase := range recovery.Phases() {
			for _, ref := range f.Tasks(phase) {
				keys[ref.Key] = true
			}
		}
	}
	for _, kind := range recovery.FlowKinds() {
		if f, err := l.cfg.Flow(kind); err == nil {
			add(f)
		}
		for _, segment := range l.cfg.Segments() {
			if f, _, err := l.cfg.SegmentFlow(segment, kind); err == nil {
				add(f)
			}
		}
	}
	for _, project := range l.cfg.FlowTenants() {
		if f, ok := l.cfg.TenantFlow(project); ok {
			add(f)
		}
	}
	return slices.Sorted(maps.Keys(keys))
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
	next, err := s.make(ctx, cfg, nil, nil)
	if err != nil {
		return nil, err
	}
	s.keep(ctx, next) // before a run can begin with it
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
// one, or one that is made from what was uploaded or kept.
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
	own, err := s.make(ctx, snap.cfg, snap, wanted)
	if err != nil {
		return nil, nil, err
	}
	if err := own.sameModules(run); err != nil {
		own.close()
		return nil, nil, err
	}
	return own, sync.OnceFunc(func() { s.release(own) }), nil
}
