package store

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/google/uuid"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/wasakari/wasakari/recovery"
)

const (
	// maxKept bounds what modules of task folders take up, in bytes, and maxKeeps
	// how many of them a node tells of.
	maxKept  = 512 << 20
	maxKeeps = 1000
	// keptUnused is how long a module is kept that no run and no node needs. A run
	// that is about to begin with it is seen within that time.
	keptUnused = time.Hour
)

// keptModule tells that the bytes of a module of a task folder, or of an engine,
// are there.
type keptModule struct {
	Size int64 `json:"size"`
	// Engine is the digest of the engine that the module names.
	Engine string `json:"engine,omitempty"`
	// Name is that of an engine.
	Name string `json:"name,omitempty"`
	// Unused is since when nobody was seen to need it; zero: somebody was.
	Unused time.Time `json:"unused,omitzero"`
}

func (k keys) keptOf(digest string) string         { return k.kept + digest + "/" }
func (k keys) keptBy(digest, tenant string) string { return k.keptOf(digest) + esc(tenant) }

// KeepModule keeps the bytes of a module of a task folder, which it reads from r
// unless they are there: another node can then go on with a run that began with
// it. They are kept while a run pins them that has not ended, or a node says that
// its runs may (see SetKept), and an hour more. tenant is that of the folder,
// empty for the operator's; engine is the digest of the engine that the module
// names, empty when it names none.
//
// The error matches recovery.ErrInvalid when size or digest are not those of the
// bytes, recovery.ErrTooLarge, and recovery.ErrQuota when there are 512 MiB of
// such modules, or no room.
func (s *Store) KeepModule(ctx context.Context, tenant, digest, engine string, size int64, r io.Reader) error {
	if err := s.keepModule(ctx, tenant, digest, engine, size, r); err != nil {
		return fmt.Errorf("module %.80s: %w", digest, err)
	}
	return nil
}

func (s *Store) keepModule(ctx context.Context, tenant, digest, engine string, size int64, r io.Reader) error {
	m := recovery.ModuleVersion{Digest: digest, Tenant: tenant, Size: size, Library: "-"}
	if err := checkModule(m); err != nil {
		return err
	}
	key := s.key.keptBy(digest, tenant)
	if ok, err := s.stillKept(ctx, key); err != nil || ok {
		return err
	}
	total := size
	if _, err := s.rangeAll(ctx, s.key.kept, 0, func(_ string, _, _ int64, value []byte) error {
		var one keptModule
		err := decode(value, &one)
		if one.Name == "" {
			total += one.Size
		}
		return err
	}); err != nil {
		return err
	}
	if total > maxKept {
		return fmt.Errorf("%w: modules of task folders would take %d bytes, at most %d are kept", recovery.ErrQuota, total, maxKept)
	}
	return s.keepBytes(ctx, m, key, keptModule{Size: size, Engine: engine}, r)
}

// stillKept reports whether a record is there; it is needed from now on.
func (s *Store) stillKept(ctx context.Context, key string) (bool, error) {
	for {
		resp, err := s.get(ctx, key)
		if err != nil || len(resp.Kvs) == 0 {
			return false, err
		}
		var there keptModule
		if err := decode(resp.Kvs[0].Value, &there); err != nil {
			return false, err
		}
		if there.Unused.IsZero() {
			return true, nil
		}
		if ok, err := s.markKept(ctx, key, resp.Kvs[0].ModRevision, there, time.Time{}); err != nil || ok {
			return ok, err
		}
	}
}

// keepBytes writes bytes, and then the record that says that they are there.
func (s *Store) keepBytes(ctx context.Context, m recovery.ModuleVersion, key string, record keptModule, r io.Reader) error {
	return s.upload(ctx, m, r, func(upload string) error {
		t := (&txn{name: "module.keep"}).when(present(upload)).do(clientv3.OpDelete(upload))
		if err := t.docs(doc{key, record}); err != nil {
			return err
		}
		res, err := s.commit(ctx, t)
		if err == nil && !res.ok {
			err = fmt.Errorf("%w: it took too long", recovery.ErrConflict)
		}
		return err
	})
}

// upload writes the bytes of a module, and lets finish say that they are there.
// What broke off is removed.
func (s *Store) upload(ctx context.Context, m recovery.ModuleVersion, r io.Reader, finish func(upload string) error) error {
	if s.full(reserveFrom) {
		return errFull
	}
	upload := s.key.uploadsOf(m.Digest) + uuid.NewString()
	t := &txn{name: "module.begin"}
	if err := t.docs(doc{upload, changedAt{now()}}); err != nil {
		return err
	}
	if _, err := s.commit(ctx, t); err != nil {
		return err
	}
	err := s.putChunks(ctx, m, r)
	if err == nil {
		err = finish(upload)
	}
	if err != nil && !errors.Is(err, recovery.ErrUnknownOutcome) {
		return errors.Join(err, s.dropUpload(context.WithoutCancel(ctx), m.Digest, upload))
	}
	return err
}

// markKept says since when nobody was seen to need what is kept.
func (s *Store) markKept(ctx context.Context, key string, mod int64, m keptModule, unused time.Time) (bool, error) {
	m.Unused = unused
	t := (&txn{name: "module.mark"}).when(unchanged(key, mod))
	if err := t.docs(doc{key, m}); err != nil {
		return false, err
	}
	res, err := s.commit(ctx, t)
	return res.ok, err
}

// KeptModule gives the tenants of whose folders a module is, and its bytes, as
// Module does. The error matches recovery.ErrNotFound when they are not kept.
func (s *Store) KeptModule(ctx context.Context, digest string) (tenants []string, r io.ReadCloser, err error) {
	m := recovery.ModuleVersion{Digest: digest}
	prefix := s.key.keptOf(digest)
	_, err = s.rangeAll(ctx, prefix, 0, func(key string, _, _ int64, value []byte) error {
		if key == s.key.keptEngine(digest) {
			return nil // an engine is no module
		}
		var one keptModule
		err := decode(value, &one)
		tenants, m.Size = append(tenants, unesc(key[len(prefix):])), one.Size
		return err
	})
	if err == nil && len(tenants) == 0 {
		err = recovery.ErrNotFound
	}
	if err != nil {
		return nil, nil, fmt.Errorf("module %.80s: %w", digest, err)
	}
	return tenants, &body{ctx: ctx, s: s, m: m, sum: sha256.New()}, nil
}

// SetKept says which modules of task folders the runs of this node may begin
// with, and which engines its modules name, by their digests. It is told with the next SetCompiled.
func (s *Store) SetKept(digests []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keeps = slices.Clone(digests[:min(len(digests), maxKeeps)])
}

// sweepKept removes the bytes of modules of task folders, and of engines, that
// nobody needs any more.
func (s *Store) sweepKept(ctx context.Context) error {
	type candidate struct {
		keptModule
		key, digest string
		mod         int64
	}
	var all []candidate
	if _, err := s.rangeAll(ctx, s.key.kept, 0, func(key string, _, mod int64, value []byte) error {
		c := candidate{key: key, digest: parts(key, s.key.kept)[0], mod: mod}
		err := decode(value, &c.keptModule)
		all = append(all, c)
		return err
	}); err != nil || len(all) == 0 {
		return err
	}
	told := map[string]bool{} // by nodes, and of engines by modules
	for _, c := range all {
		told[c.Engine] = true
	}
	var open []string
	if err := s.view(ctx, func(x *index) error {
		for _, n := range x.nodes.rows {
			for _, digest := range n.doc.Keeps {
				told[digest] = true
			}
		}
		for _, m := range x.modules.order {
			if !m.dead && m.doc.Engine != nil {
				told[m.doc.Engine.Digest] = true
			}
		}
		for id, r := range x.runs.rows {
			if !r.doc.finished {
				open = append(open, id)
			}
		}
		for _, q := range x.queue.rows { // one that ended may have left something to undo
			if q.doc.Run != "" && !slices.Contains(open, q.doc.Run) {
				open = append(open, q.doc.Run)
			}
		}
		return nil
	}); err != nil {
		return err
	}
	var pinned map[string]bool // not looked for yet
	for _, c := range all {
		var err error
		switch {
		case told[c.digest]:
			if !c.Unused.IsZero() {
				_, err = s.markKept(ctx, c.key, c.mod, c.keptModule, time.Time{})
			}
		case c.Unused.IsZero():
			_, err = s.markKept(ctx, c.key, c.mod, c.keptModule, now())
		case time.Since(c.Unused) < keptUnused:
		default:
			if pinned == nil {
				if pinned, err = s.pinned(ctx, open); err != nil {
					return err
				}
			}
			if pinned[c.digest] {
				_, err = s.markKept(ctx, c.key, c.mod, c.keptModule, now())
			} else {
				err = s.dropKept(ctx, c.digest, c.key, c.mod)
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// pinned lists the digests of the modules of runs.
func (s *Store) pinned(ctx context.Context, runs []string) (map[string]bool, error) {
	out := map[string]bool{}
	for _, run := range runs {
		r, err := s.readRun(ctx, run)
		if err != nil && !errors.Is(err, recovery.ErrNotFound) {
			return nil, err
		}
		for digest := range maps.Values(r.Modules) {
			out[digest] = true
		}
	}
	return out, nil
}

// dropKept removes a kept module, and its bytes unless they are somebody else's
// too.
func (s *Store) dropKept(ctx context.Context, digest, key string, mod int64) error {
	gone := (&txn{name: "sweep.module"}).when(unchanged(key, mod)).do(clientv3.OpDelete(key))
	last := *gone
	last.when(onlyOne(s.key.keptOf(digest), key)...).when(none(s.key.modules+digest+"/"), none(s.key.uploadsOf(digest))).
		do(clientv3.OpDelete(s.key.chunksOf(digest), clientv3.WithPrefix()))
	res, err := s.commit(ctx, &last)
	if err != nil || res.ok {
		return err
	}
	_, err = s.commit(ctx, gone)
	return err
}
