package store

import (
	"context"
	"fmt"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/wasakari/wasakari/recovery"
)

// maxOwner bounds the names of nodes, clusters and libraries, in bytes.
const maxOwner = recovery.MaxKVOwner

// Scratch keeps what tasks write under scratch/. It lives and dies with its
// run. The errors are those of Library.
type Scratch struct{ r *Run }

// Scratch returns the scratch store of the run.
func (r *Run) Scratch() Scratch { return Scratch{r} }

// kv is what a place keeps.
func (s Scratch) kv(place string) kv {
	return kv{s.r.s, s.r.data() + "scratch/" + esc(place) + "/", place, recovery.KVQuota{Bytes: s.r.s.cfg.ScratchBytes, Option: "[wasakari] kv_task_kib"}, s.r.write, "scratch"}
}

// Get reads a value of a place.
func (s Scratch) Get(ctx context.Context, place, name string) (recovery.KVValue, error) {
	v, err := s.kv(place).get(ctx, name)
	return v, s.r.wrap(err)
}

// Put writes a value of a place and returns its version.
func (s Scratch) Put(ctx context.Context, place, name string, v recovery.KVValue, ifVersion *int64) (int64, error) {
	version, err := s.kv(place).put(ctx, name, v, ifVersion)
	return version, s.r.wrap(err)
}

// Delete removes a value of a place.
func (s Scratch) Delete(ctx context.Context, place, name string, ifVersion *int64) error {
	return s.r.wrap(s.kv(place).remove(ctx, name, ifVersion))
}

// List lists the values of a place whose names begin with prefix, by name.
func (s Scratch) List(ctx context.Context, place, prefix string) ([]recovery.KVValue, error) {
	out, err := s.kv(place).list(ctx, prefix)
	return out, s.r.wrap(err)
}

// Library keeps the values of libraries beyond a run. It is safe for concurrent
// use.
//
// Errors match recovery.ErrNotFound (no such key, or it expired), ErrConflict
// (it has another version), ErrInvalid, ErrTooLarge (name or value), and
// ErrQuota (10 MiB for each library, see Allow).
type Library struct {
	s     *Store
	quota recovery.KVQuota            // of each library
	own   map[string]recovery.KVQuota // of one instead, by its name
}

func newLibrary(s *Store) *Library {
	return &Library{s: s, quota: recovery.KVQuota{Bytes: s.cfg.KVLibraryBytes, Option: "[wasakari] kv_library_mib"}, own: map[string]recovery.KVQuota{}}
}

// Allow sets how many bytes one library may keep, and returns l. It must be
// called before l is used.
func (l *Library) Allow(bytes int64) *Library {
	l.quota.Bytes = bytes
	return l
}

// AllowOne sets how many bytes one library may keep, and names the option that
// says so. It must be called before l is used.
func (l *Library) AllowOne(library string, bytes int64, option string) {
	l.own[library] = recovery.KVQuota{Bytes: bytes, Option: option}
}

// kv is what a library keeps.
func (l *Library) kv(library string) kv {
	q, ok := l.own[library]
	if !ok {
		q = l.quota
	}
	return kv{l.s, l.s.key.libraries + esc(library) + "/", library, q, l.s.commit, "library"}
}

func (l *Library) wrap(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("values of libraries: %w", err)
}

// Get reads a value.
func (l *Library) Get(ctx context.Context, library, name string) (recovery.KVValue, error) {
	v, err := l.kv(library).get(ctx, name)
	return v, l.wrap(err)
}

// Put writes a value and returns its version. With ifVersion it does so only
// when the key has that version; 0 stands for a key that is not there. The
// name and version in v are left aside.
func (l *Library) Put(ctx context.Context, library, name string, v recovery.KVValue, ifVersion *int64) (int64, error) {
	if l.s.full(reserveFrom) {
		return 0, l.wrap(errFull)
	}
	version, err := l.kv(library).put(ctx, name, v, ifVersion)
	return version, l.wrap(err)
}

// Delete removes a value, with ifVersion only when it has that version.
func (l *Library) Delete(ctx context.Context, library, name string, ifVersion *int64) error {
	return l.wrap(l.kv(library).remove(ctx, name, ifVersion))
}

// List lists the values whose names begin with prefix, by name.
func (l *Library) List(ctx context.Context, library, prefix string) ([]recovery.KVValue, error) {
	out, err := l.kv(library).list(ctx, prefix)
	return out, l.wrap(err)
}

// kv is the entries of one owner: a library, or a place in a run. Every change
// of an entry writes the counts too, which makes them take turns.
type kv struct {
	s      *Store
	prefix string
	owner  string
	quota  recovery.KVQuota
	commit func(context.Context, *txn) (result, error)
	step   string
}

// counts is what is known of all entries of an owner.
type counts struct {
	Used  int64 `json:"used"`  // bytes of all entries
	Floor int64 `json:"floor"` // highest version of the keys that are gone
}

func (k kv) meta() string             { return k.prefix + "m" }
func (k kv) entry(name string) string { return k.prefix + "e/" + name }

func encodeEntry(v recovery.KVValue) []byte {
	h := head{Version: v.Version}
	if !v.Expires.IsZero() {
		h.Expires = v.Expires.UnixNano()
	}
	return join(h, v.Value)
}

func decodeEntry(name string, data []byte) (recovery.KVValue, error) {
	h, body, err := split(data)
	if err != nil {
		return recovery.KVValue{}, fmt.Errorf("key %q: %w", name, err)
	}
	v := recovery.KVValue{Name: name, Version: h.Version, Value: body}
	if h.Expires != 0 {
		v.Expires = time.Unix(0, h.Expires).UTC()
	}
	return v, nil
}

// find reads an entry, expired or not, and the counts.
func (k kv) find(ctx context.Context, name string) (v recovery.KVValue, there bool, c counts, mod int64, err error) {
	var res []*pb.RangeResponse
	if res, err = k.s.getAll(ctx, clientv3.OpGet(k.meta()), clientv3.OpGet(k.entry(name))); err != nil {
		return v, false, c, 0, err
	}
	data, _, mod := found(res[0])
	if data != nil {
		if err := decode(data, &c); err != nil {
			return v, false, c, mod, err
		}
	}
	if data, _, _ = found(res[1]); data != nil {
		v, err = decodeEntry(name, data)
		there = err == nil
	}
	return v, there, c, mod, err
}

func (k kv) get(ctx context.Context, name string) (recovery.KVValue, error) {
	if err := recovery.CheckKVKey(k.owner, name); err != nil {
		return recovery.KVValue{}, err
	}
	v, there, _, _, err := k.find(ctx, name)
	if err == nil && (!there || v.Expired()) {
		err = fmt.Errorf("key %q: %w", name, recovery.ErrNotFound)
	}
	if err != nil {
		return recovery.KVValue{}, err
	}
	return v, nil
}

func (k kv) put(ctx context.Context, name string, v recovery.KVValue, ifVersion *int64) (int64, error) {
	if err := recovery.CheckKVKey(k.owner, name); err != nil {
		return 0, err
	}
	if err := recovery.CheckKVValue(name, v.Value); err != nil {
		return 0, err
	}
	purged := false
	for {
		old, there, c, mod, err := k.find(ctx, name)
		if err != nil {
			return 0, err
		}
		if err := recovery.CompareKV(name, old, there, ifVersion); err != nil {
			return 0, err
		}
		used := c.Used
		v.Name, v.Version = name, c.Floor+1
		if there {
			used -= old.Cost()
			v.Version = old.Version + 1
		}
		if used += v.Cost(); used > k.quota.Bytes {
			if !purged {
				if purged, err = k.purge(ctx, name, c, mod); err != nil {
					return 0, err
				}
				continue
			}
			return 0, k.quota.Check(name, used)
		}
		c.Used = used
		t := (&txn{name: k.step + ".put"}).when(unchanged(k.meta(), mod)).do(put(k.entry(name), encodeEntry(v)))
		if err := t.docs(doc{k.meta(), c}); err != nil {
			return 0, err
		}
		res, err := k.commit(ctx, t)
		if err != nil {
			return 0, err
		}
		if res.ok {
			return v.Version, nil
		}
	}
}

func (k kv) remove(ctx context.Context, name string, ifVersion *int64) error {
	if err := recovery.CheckKVKey(k.owner, name); err != nil {
		return err
	}
	for {
		old, there, c, mod, err := k.find(ctx, name)
		if err != nil {
			return err
		}
		if err := recovery.CompareKV(name, old, there, ifVersion); err != nil {
			return err
		}
		if !there || old.Expired() {
			return fmt.Errorf("key %q: %w", name, recovery.ErrNotFound)
		}
		t := (&txn{name: k.step + ".delete"}).when(unchanged(k.meta(), mod)).do(clientv3.OpDelete(k.entry(name)))
		c.drop(old)
		if err := t.docs(doc{k.meta(), c}); err != nil {
			return err
		}
		res, err := k.commit(ctx, t)
		if err != nil || res.ok {
			return err
		}
	}
}

// drop counts an entry out. A key that is made anew goes on above the versions
// of all keys that are gone, so that no version ever comes back.
func (c *counts) drop(v recovery.KVValue) {
	c.Floor = max(c.Floor, v.Version)
	c.Used -= v.Cost()
}

// purge removes what has expired, but for one key. It reports whether all of it
// is gone.
func (k kv) purge(ctx context.Context, keep string, c counts, mod int64) (bool, error) {
	all, err := k.entries(ctx, "")
	if err != nil {
		return false, err
	}
	t := (&txn{name: k.step + ".purge"}).when(unchanged(k.meta(), mod))
	whole := true
	for _, v := range all {
		if !v.Expired() || v.Name == keep {
			continue
		}
		if len(t.ops) >= maxOps-10 {
			whole = false
			break
		}
		c.drop(v)
		t.do(clientv3.OpDelete(k.entry(v.Name)))
	}
	if len(t.ops) == 0 {
		return true, nil
	}
	if err := t.docs(doc{k.meta(), c}); err != nil {
		return false, err
	}
	res, err := k.commit(ctx, t)
	return whole && res.ok, err
}

func (k kv) list(ctx context.Context, prefix string) ([]recovery.KVValue, error) {
	all, err := k.entries(ctx, prefix)
	var out []recovery.KVValue
	for _, v := range all {
		if !v.Expired() {
			out = append(out, v)
		}
	}
	return out, err
}

// entries reads all entries whose names begin with prefix, expired ones too.
func (k kv) entries(ctx context.Context, prefix string) ([]recovery.KVValue, error) {
	if k.owner == "" {
		return nil, nil
	}
	var out []recovery.KVValue
	from := len(k.entry(""))
	_, err := k.s.rangeAll(ctx, k.entry(prefix), 0, func(key string, _, _ int64, value []byte) error {
		v, err := decodeEntry(key[from:], value)
		out = append(out, v)
		return err
	})
	return out, err
}
