package store

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/wasakari/wasakari/recovery"
)

const (
	chunkBytes = 512 << 10
	// maxModule bounds a module, maxKeys the tasks of one.
	maxModule = 64 << 20
	maxKeys   = 256
	// uploadKept is how long an upload that broke off may be gone on with by
	// nobody before its bytes are removed.
	uploadKept = time.Hour
)

// activeSet is which versions new runs take. It is one record, so that whoever
// changes it sees all keys that are taken.
type activeSet struct {
	Active map[string]activation `json:"active"` // by tenant/library, escaped
}

// activation is the version of a library that new runs take.
type activation struct {
	Digest string   `json:"digest"`
	Pinned bool     `json:"pinned,omitempty"`
	Keys   []string `json:"keys"`
}

func slot0(tenant, library string) string { return esc(tenant) + "/" + esc(library) }

// called names a library for a person.
func called(slot string) string {
	tenant, library, _ := strings.Cut(slot, "/")
	if tenant == "" {
		return "library " + unesc(library)
	}
	return "library " + unesc(library) + " of tenant " + unesc(tenant)
}

func (k keys) module(digest, tenant string) string { return k.modules + digest + "/" + esc(tenant) }
func (k keys) chunksOf(digest string) string       { return k.chunks + digest + "/" }
func (k keys) chunk(digest string, n int) string {
	return fmt.Sprintf("%s%06d", k.chunksOf(digest), n)
}
func (k keys) uploadsOf(digest string) string { return k.uploads + digest + "/" }
func (k keys) version(m recovery.ModuleVersion) string {
	return k.data + "version/" + slot0(m.Tenant, m.Library) + "/" + esc(m.Version)
}

// onlyOne holds when no key begins with prefix but key.
func onlyOne(prefix, key string) []clientv3.Cmp {
	return []clientv3.Cmp{absent(prefix).WithRange(key), absent(key + "\x00").WithRange(clientv3.GetPrefixRangeEnd(prefix))}
}

// readActive reads what is active.
func (s *Store) readActive(ctx context.Context) (set activeSet, mod int64, err error) {
	resp, err := s.get(ctx, s.key.modulesRev)
	if err != nil {
		return set, 0, err
	}
	if len(resp.Kvs) > 0 {
		mod = resp.Kvs[0].ModRevision
		err = decode(resp.Kvs[0].Value, &set)
	}
	if set.Active == nil {
		set.Active = map[string]activation{}
	}
	return set, mod, err
}

// take makes a version the active one of its library, unless another library's
// has one of its keys.
func (a activeSet) take(m recovery.ModuleVersion, pin bool) error {
	mine := slot0(m.Tenant, m.Library)
	for _, other := range slices.Sorted(maps.Keys(a.Active)) {
		if other == mine {
			continue
		}
		for _, key := range m.Keys {
			if slices.Contains(a.Active[other].Keys, key) {
				return fmt.Errorf("%w: task %q is in %s and in %s", recovery.ErrConflict, key, called(mine), called(other))
			}
		}
	}
	a.Active[mine] = activation{Digest: m.Digest, Pinned: pin, Keys: m.Keys}
	return nil
}

// told sets what the record of a version does not hold itself.
func (a activeSet) told(m recovery.ModuleVersion) recovery.ModuleVersion {
	now := a.Active[slot0(m.Tenant, m.Library)]
	m.Active = now.Digest == m.Digest
	m.Pinned = m.Active && now.Pinned
	return m
}

// checkDigest wants a sha256.
func checkDigest(digest string) error {
	sum, err := hex.DecodeString(digest)
	if err != nil || len(sum) != sha256.Size || strings.ToLower(digest) != digest {
		return fmt.Errorf("%w: digest %.80q: want a sha256 in small hex letters", recovery.ErrInvalid, digest)
	}
	return nil
}

func checkModule(m recovery.ModuleVersion) error {
	if err := checkDigest(m.Digest); err != nil {
		return err
	}
	if e := m.Engine; e != nil {
		if e.Name == "" || len(e.Name) > maxOwner {
			return fmt.Errorf("%w: the name of an engine that is missing or too long", recovery.ErrInvalid)
		}
		if err := checkDigest(e.Digest); err != nil {
			return err
		}
	}
	switch {
	case m.Library == "" || len(m.Library) > maxOwner || len(m.Tenant) > maxOwner || len(m.Version) > maxOwner:
		return fmt.Errorf("%w: names of a library, a tenant or a version that are missing or too long", recovery.ErrInvalid)
	case m.Size < 0 || m.Size > maxModule:
		return fmt.Errorf("%w: %d bytes, at most %d", recovery.ErrTooLarge, m.Size, maxModule)
	case len(m.Keys) > maxKeys:
		return fmt.Errorf("%w: %d tasks, at most %d", recovery.ErrTooLarge, len(m.Keys), maxKeys)
	}
	return nil
}

// PutModule stores a version of a module, whose bytes it reads from r, and makes
// it the active one of its library unless an operator pinned another. A version
// never changes: one that is there with the same bytes is given back as it is,
// with other bytes the error matches recovery.ErrExists. It matches
// recovery.ErrConflict, and names both, when the active version of another
// library has one of its keys, or when the engine that it names is not kept (see
// KeepEngine), and recovery.ErrInvalid when size or digest are not those of the
// bytes.
func (s *Store) PutModule(ctx context.Context, m recovery.ModuleVersion, r io.Reader) (recovery.ModuleVersion, error) {
	out, err := s.putModule(ctx, m, r)
	if err != nil {
		return recovery.ModuleVersion{}, fmt.Errorf("module %.300s %.100s: %w", m.Library, m.Version, err)
	}
	return out, nil
}

func (s *Store) putModule(ctx context.Context, m recovery.ModuleVersion, r io.Reader) (recovery.ModuleVersion, error) {
	if err := checkModule(m); err != nil {
		return m, err
	}
	m.Uploaded, m.Active, m.Pinned = now(), false, false
	if m.Engine != nil {
		m.Engine = &recovery.ModuleEngine{Name: m.Engine.Name, Digest: m.Engine.Digest}
	}
	if old, ok, err := s.sameVersion(ctx, m); err != nil || ok {
		return old, err
	}
	set, _, err := s.readActive(ctx)
	if err != nil {
		return m, err
	}
	// A clash is told before the bytes are read.
	if now := set.Active[slot0(m.Tenant, m.Library)]; !now.Pinned {
		if err := set.take(m, false); err != nil {
			return m, err
		}
	}
	out := m
	err = s.upload(ctx, m, r, func(upload string) (err error) {
		out, err = s.finishUpload(ctx, m, upload)
		return err
	})
	return out, err
}

// sameVersion looks for a version that is there already.
func (s *Store) sameVersion(ctx context.Context, m recovery.ModuleVersion) (recovery.ModuleVersion, bool, error) {
	res, err := s.getAll(ctx, clientv3.OpGet(s.key.version(m)), clientv3.OpGet(s.key.module(m.Digest, m.Tenant)))
	if err != nil {
		return m, false, err
	}
	if digest, _, _ := found(res[0]); digest != nil && string(digest) != m.Digest {
		return m, false, fmt.Errorf("%w: with digest %s", recovery.ErrExists, digest)
	}
	data, _, _ := found(res[1])
	if data == nil {
		return m, false, nil
	}
	var old recovery.ModuleVersion
	if err := decode(data, &old); err != nil {
		return m, false, err
	}
	if old.Library != m.Library || old.Version != m.Version {
		return m, false, fmt.Errorf("%w: as library %s, version %s", recovery.ErrExists, old.Library, old.Version)
	}
	set, _, err := s.readActive(ctx)
	return set.told(old), true, err
}

func (s *Store) putChunks(ctx context.Context, m recovery.ModuleVersion, r io.Reader) error {
	sum, total := sha256.New(), int64(0)
	buf := make([]byte, chunkBytes)
	for i := 0; ; i++ {
		n, err := io.ReadFull(r, buf)
		last := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
		if err != nil && !last {
			return fmt.Errorf("reading it: %w", err)
		}
		total += int64(n)
		if total > m.Size {
			return fmt.Errorf("%w: more than the %d bytes that were announced", recovery.ErrInvalid, m.Size)
		}
		sum.Write(buf[:n])
		if last && total != m.Size {
			return fmt.Errorf("%w: %d bytes, and %d were announced", recovery.ErrInvalid, total, m.Size)
		}
		if n > 0 {
			if _, err := s.commit(ctx, (&txn{name: "module.chunk"}).do(put(s.key.chunk(m.Digest, i), buf[:n]))); err != nil {
				return err
			}
		}
		if last {
			break
		}
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != m.Digest {
		return fmt.Errorf("%w: its digest is %s, not %s", recovery.ErrInvalid, got, m.Digest)
	}
	return nil
}

// finishUpload writes the record of a version, whose bytes are there, and makes
// it active.
func (s *Store) finishUpload(ctx context.Context, m recovery.ModuleVersion, upload string) (recovery.ModuleVersion, error) {
	key := s.key.module(m.Digest, m.Tenant)
	for {
		set, mod, err := s.readActive(ctx)
		if err != nil {
			return m, err
		}
		t := (&txn{name: "module.put"}).
			when(absent(key), absent(s.key.version(m)), present(upload), unchanged(s.key.modulesRev, mod)).
			do(put(s.key.version(m), []byte(m.Digest)), clientv3.OpDelete(upload)).
			otherwise(clientv3.OpGet(upload))
		if m.Engine != nil {
			engine := s.key.keptEngine(m.Engine.Digest)
			t.when(present(engine)).otherwise(clientv3.OpGet(engine))
		}
		if !set.Active[slot0(m.Tenant, m.Library)].Pinned {
			if err := set.take(m, false); err != nil {
				return m, err
			}
			if err := t.docs(doc{s.key.modulesRev, set}); err != nil {
				return m, err
			}
		}
		if err := t.docs(doc{key, m}); err != nil {
			return m, err
		}
		res, err := s.commit(ctx, t)
		switch {
		case err != nil:
			return m, err
		case res.ok:
			return set.told(m), nil
		case len(res.reads[0].GetKvs()) == 0:
			return m, fmt.Errorf("%w: the upload took too long", recovery.ErrConflict)
		case m.Engine != nil && len(res.reads[1].GetKvs()) == 0:
			return m, fmt.Errorf("%w: its engine %s sha256:%s is not kept", recovery.ErrConflict, m.Engine.Name, m.Engine.Digest)
		}
		if old, ok, err := s.sameVersion(ctx, m); err != nil || ok {
			if ok {
				err = errors.Join(err, s.dropUpload(ctx, m.Digest, upload))
			}
			return old, err
		}
	}
}

// dropUpload removes the bytes of an upload, unless a version or another upload
// has the same.
func (s *Store) dropUpload(ctx context.Context, digest, upload string) error {
	res, err := s.commit(ctx, (&txn{name: "module.drop"}).
		when(none(s.key.modules+digest+"/"), none(s.key.keptOf(digest))).when(onlyOne(s.key.uploadsOf(digest), upload)...).
		do(clientv3.OpDelete(upload), clientv3.OpDelete(s.key.chunksOf(digest), clientv3.WithPrefix())))
	if err != nil || res.ok {
		return err
	}
	_, err = s.commit(ctx, (&txn{name: "module.drop"}).do(clientv3.OpDelete(upload)))
	return err
}

// Modules lists all versions in the order in which they were uploaded.
func (s *Store) Modules(ctx context.Context) (out []recovery.ModuleVersion, err error) {
	err = s.view(ctx, func(x *index) error {
		out = x.modules.list(nil)
		for i := range out {
			out[i] = x.active.told(out[i])
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("modules: %w", err)
	}
	return out, nil
}

// ModulesRevision grows when what is active changes; 0: nothing ever was.
func (s *Store) ModulesRevision(ctx context.Context) (rev int64, err error) {
	err = s.view(ctx, func(x *index) error { rev = x.modulesRev; return nil })
	if err != nil {
		return 0, fmt.Errorf("modules: %w", err)
	}
	return rev, nil
}

// Module gives a version and its bytes, whose digest is checked when they were
// read to the end: an error there matches ErrDamaged, and recovery.ErrNotFound
// when the version was removed meanwhile. The caller closes the reader. ctx
// bounds the reading too.
func (s *Store) Module(ctx context.Context, digest string) (recovery.ModuleVersion, io.ReadCloser, error) {
	var m recovery.ModuleVersion
	err := s.view(ctx, func(x *index) error {
		for _, r := range x.modules.order {
			if !r.dead && r.doc.Digest == digest {
				m = x.active.told(r.doc)
				return nil
			}
		}
		return recovery.ErrNotFound
	})
	if err != nil {
		return m, nil, fmt.Errorf("module %.80s: %w", digest, err)
	}
	return m, &body{ctx: ctx, s: s, m: m, sum: sha256.New()}, nil
}

// body reads the bytes of a module, one chunk at a time.
type body struct {
	ctx   context.Context //nolint:containedctx // io.Reader has no place for it
	s     *Store
	m     recovery.ModuleVersion
	sum   hash.Hash
	next  int
	total int64
	rest  []byte
	err   error
}

// Read implements io.Reader.
func (b *body) Read(p []byte) (int, error) {
	for len(b.rest) == 0 && b.err == nil {
		b.err = b.fetch()
	}
	if len(b.rest) == 0 {
		return 0, b.err
	}
	n := copy(p, b.rest)
	b.rest = b.rest[n:]
	return n, nil
}

func (b *body) fetch() error {
	fail := func(err error) error { return fmt.Errorf("module %s: %w", b.m.Digest, err) }
	if b.total >= b.m.Size {
		if got := hex.EncodeToString(b.sum.Sum(nil)); got != b.m.Digest || b.total > b.m.Size {
			return fail(fmt.Errorf("%w: %d bytes with digest %s", ErrDamaged, b.total, got))
		}
		return io.EOF
	}
	resp, err := b.s.get(b.ctx, b.s.key.chunk(b.m.Digest, b.next))
	if err != nil {
		return fail(err)
	}
	if len(resp.Kvs) == 0 || len(resp.Kvs[0].Value) == 0 {
		return fail(recovery.ErrNotFound)
	}
	b.next++
	b.rest = resp.Kvs[0].Value
	b.total += int64(len(b.rest))
	b.sum.Write(b.rest)
	return nil
}

// Close implements io.Closer.
func (b *body) Close() error {
	b.rest, b.err = nil, io.ErrClosedPipe
	return nil
}

// changeActive changes which versions are active. change may be called several
// times; it reports whether it changed anything.
func (s *Store) changeActive(ctx context.Context, step string, change func(activeSet) (bool, []clientv3.Cmp, error)) error {
	for {
		set, mod, err := s.readActive(ctx)
		if err != nil {
			return err
		}
		changed, also, err := change(set)
		if err != nil || !changed {
			return err
		}
		t := (&txn{name: step}).when(unchanged(s.key.modulesRev, mod)).when(also...)
		if err := t.docs(doc{s.key.modulesRev, set}); err != nil {
			return err
		}
		res, err := s.commit(ctx, t)
		if err != nil || res.ok {
			return err
		}
	}
}

// Activate makes a version the one that new runs take. With pin uploads do not
// replace it. The error matches recovery.ErrNotFound, or recovery.ErrConflict
// when the active version of another library has one of its keys.
func (s *Store) Activate(ctx context.Context, tenant, digest string, pin bool) error {
	key := s.key.module(digest, tenant)
	err := s.changeActive(ctx, "module.activate", func(set activeSet) (bool, []clientv3.Cmp, error) {
		resp, err := s.get(ctx, key)
		if err != nil {
			return false, nil, err
		}
		if len(resp.Kvs) == 0 {
			return false, nil, recovery.ErrNotFound
		}
		var m recovery.ModuleVersion
		if err := decode(resp.Kvs[0].Value, &m); err != nil {
			return false, nil, err
		}
		if now := set.Active[slot0(tenant, m.Library)]; now.Digest == digest && now.Pinned == pin {
			return false, nil, nil
		}
		return true, []clientv3.Cmp{present(key)}, set.take(m, pin)
	})
	if err != nil {
		return fmt.Errorf("module %.80s: %w", digest, err)
	}
	return nil
}

// Unpin lets uploads replace the active version of a library again. The error
// matches recovery.ErrNotFound when none is active.
func (s *Store) Unpin(ctx context.Context, tenant, library string) error {
	err := s.changeActive(ctx, "module.unpin", func(set activeSet) (bool, []clientv3.Cmp, error) {
		now, ok := set.Active[slot0(tenant, library)]
		if !ok {
			return false, nil, recovery.ErrNotFound
		}
		was := now.Pinned
		now.Pinned = false
		set.Active[slot0(tenant, library)] = now
		return was, nil, nil
	})
	if err != nil {
		return fmt.Errorf("library %.300s: %w", library, err)
	}
	return nil
}

// Deactivate leaves a library without a version that new runs take. The error
// matches recovery.ErrNotFound when none is active.
func (s *Store) Deactivate(ctx context.Context, tenant, library string) error {
	err := s.changeActive(ctx, "module.deactivate", func(set activeSet) (bool, []clientv3.Cmp, error) {
		if _, ok := set.Active[slot0(tenant, library)]; !ok {
			return false, nil, recovery.ErrNotFound
		}
		delete(set.Active, slot0(tenant, library))
		return true, nil, nil
	})
	if err != nil {
		return fmt.Errorf("library %.300s: %w", library, err)
	}
	return nil
}

// Remove removes a version. The error matches recovery.ErrNotFound, or
// recovery.ErrInUse while it is active or a run that has not ended was started
// with it (see Run.StartWith).
func (s *Store) Remove(ctx context.Context, tenant, digest string) error {
	if err := s.remove(ctx, tenant, digest); err != nil {
		return fmt.Errorf("module %.80s: %w", digest, err)
	}
	return nil
}

func (s *Store) remove(ctx context.Context, tenant, digest string) error {
	key := s.key.module(digest, tenant)
	for {
		res, err := s.getAll(ctx, clientv3.OpGet(key), clientv3.OpGet(s.key.modulesRev))
		if err != nil {
			return err
		}
		data, _, mod := found(res[0])
		if data == nil {
			return recovery.ErrNotFound
		}
		var m recovery.ModuleVersion
		if err := decode(data, &m); err != nil {
			return err
		}
		var set activeSet
		active, _, activeMod := found(res[1])
		if active != nil {
			if err := decode(active, &set); err != nil {
				return err
			}
		}
		if set.told(m).Active {
			return fmt.Errorf("%w: it is active", recovery.ErrInUse)
		}
		// A run starts with what is active: none does with this version any more.
		if err := s.unused(ctx, digest); err != nil {
			return err
		}
		t := (&txn{name: "module.remove"}).
			when(unchanged(key, mod), unchanged(s.key.modulesRev, activeMod)).
			do(clientv3.OpDelete(key), clientv3.OpDelete(s.key.version(m)))
		last := *t
		last.when(onlyOne(s.key.modules+digest+"/", key)...).when(none(s.key.uploadsOf(digest)), none(s.key.keptOf(digest))).
			do(clientv3.OpDelete(s.key.chunksOf(digest), clientv3.WithPrefix()))
		done, err := s.commit(ctx, &last)
		if err != nil || done.ok {
			return err
		}
		if done, err = s.commit(ctx, t); err != nil || done.ok {
			return err
		}
	}
}

// unused makes sure that no run that has not ended was started with a module.
func (s *Store) unused(ctx context.Context, digest string) error {
	var runs []string
	err := s.view(ctx, func(x *index) error {
		for id, r := range x.runs.rows {
			if !r.doc.finished {
				runs = append(runs, id)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, run := range runs {
		r, err := s.readRun(ctx, run)
		if errors.Is(err, recovery.ErrNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		if !r.Finished && slices.Contains(slices.Collect(maps.Values(r.Modules)), digest) {
			return fmt.Errorf("%w: by run %s", recovery.ErrInUse, run)
		}
	}
	return nil
}
