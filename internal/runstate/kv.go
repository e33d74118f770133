package runstate

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/bbolt"

	"github.com/wasakari/wasakari/recovery"
)

var (
	bucketLibraries = []byte("libraries")
	bucketEntries   = []byte("entries")
	keyUsed         = []byte("used")  // bytes of all entries
	keyFloor        = []byte("floor") // highest version of the keys that are gone
)

// Scratch keeps what tasks write under scratch/. It lives and dies with the
// file of its run. The errors are those of Library.
type Scratch struct{ r *Run }

// Scratch returns the scratch store of the run.
func (r *Run) Scratch() Scratch { return Scratch{r} }

// kv is what a place keeps.
func (s Scratch) kv(tx *bbolt.Tx, place string) kv {
	return kv{tx.Bucket(bucketScratch), place, recovery.KVQuota{Bytes: s.r.scratchQuota, Option: "[wasakari] kv_task_kib"}}
}

// Get reads a value of a place.
func (s Scratch) Get(ctx context.Context, place, name string) (recovery.KVValue, error) {
	var v recovery.KVValue
	err := s.r.view(ctx, func(tx *bbolt.Tx) (err error) {
		v, err = s.kv(tx, place).get(name)
		return err
	})
	return v, err
}

// Put writes a value of a place and returns its version.
func (s Scratch) Put(ctx context.Context, place, name string, v recovery.KVValue, ifVersion *int64) (int64, error) {
	var version int64
	err := s.r.update(ctx, func(tx *bbolt.Tx) (err error) {
		version, err = s.kv(tx, place).put(name, v, ifVersion)
		return err
	})
	return version, err
}

// Delete removes a value of a place.
func (s Scratch) Delete(ctx context.Context, place, name string, ifVersion *int64) error {
	return s.r.update(ctx, func(tx *bbolt.Tx) error {
		return s.kv(tx, place).remove(name, ifVersion)
	})
}

// List lists the values of a place whose names begin with prefix, by name.
func (s Scratch) List(ctx context.Context, place, prefix string) ([]recovery.KVValue, error) {
	var out []recovery.KVValue
	err := s.r.view(ctx, func(tx *bbolt.Tx) (err error) {
		out, err = s.kv(tx, place).list(prefix)
		return err
	})
	return out, err
}

// Library keeps the values of libraries beyond a run, in one file of the state
// folder that processes share: it is opened for each op. It is safe for
// concurrent use and needs no closing.
//
// Errors match recovery.ErrNotFound (no such key, or it expired), ErrConflict
// (it has another version), ErrInvalid, ErrTooLarge (name or value), ErrQuota
// (10 MiB for each library, see Allow), and ErrBusy when other processes kept the file
// for more than 5 s.
type Library struct {
	shared
	quota recovery.KVQuota            // of each library
	own   map[string]recovery.KVQuota // of one instead, by its name
}

// NewLibrary returns the store in the state folder dir. Nothing is made before
// something is written.
func NewLibrary(dir string) *Library {
	return &Library{shared: newShared(dir, "library.db", "values of libraries", bucketLibraries), quota: recovery.KVQuota{Bytes: recovery.DefaultLibraryBytes, Option: "[wasakari] kv_library_mib"}, own: map[string]recovery.KVQuota{}}
}

// Allow sets how many bytes one library may keep, instead of 10 MiB, and
// returns l. It must be called before l is used.
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
func (l *Library) kv(tx *bbolt.Tx, library string) kv {
	q, ok := l.own[library]
	if !ok {
		q = l.quota
	}
	return kv{libraries(tx), library, q}
}

// Get reads a value.
func (l *Library) Get(ctx context.Context, library, name string) (recovery.KVValue, error) {
	var v recovery.KVValue
	err := l.read(ctx, func(tx *bbolt.Tx) (err error) {
		v, err = l.kv(tx, library).get(name)
		return err
	})
	return v, err
}

// Put writes a value and returns its version. With ifVersion it does so only
// when the key has that version; 0 stands for a key that is not there. The
// name and version in v are left aside.
func (l *Library) Put(ctx context.Context, library, name string, v recovery.KVValue, ifVersion *int64) (int64, error) {
	var version int64
	err := l.write(ctx, func(tx *bbolt.Tx) (err error) {
		version, err = l.kv(tx, library).put(name, v, ifVersion)
		return err
	})
	return version, err
}

// Delete removes a value, with ifVersion only when it has that version.
func (l *Library) Delete(ctx context.Context, library, name string, ifVersion *int64) error {
	return l.write(ctx, func(tx *bbolt.Tx) error {
		return l.kv(tx, library).remove(name, ifVersion)
	})
}

// List lists the values whose names begin with prefix, by name.
func (l *Library) List(ctx context.Context, library, prefix string) ([]recovery.KVValue, error) {
	var out []recovery.KVValue
	err := l.read(ctx, func(tx *bbolt.Tx) (err error) {
		out, err = l.kv(tx, library).list(prefix)
		return err
	})
	return out, err
}

// libraries is nil in a read when nothing was ever written.
func libraries(tx *bbolt.Tx) *bbolt.Bucket {
	if tx == nil {
		return nil
	}
	return tx.Bucket(bucketLibraries)
}

// kv is the entries of one owner: a library, or a place in a run.
type kv struct {
	root  *bbolt.Bucket // nil: empty
	owner string
	quota recovery.KVQuota
}

// An entry is its version and expiry (nanoseconds since 1970; 0: never), 8
// bytes each, and the value.
const entryHead = 16

func encodeEntry(v recovery.KVValue) []byte {
	var expires int64
	if !v.Expires.IsZero() {
		expires = v.Expires.UnixNano()
	}
	out := make([]byte, 0, entryHead+len(v.Value))
	out = append(out, encodeInt(v.Version)...)
	out = append(out, encodeInt(expires)...)
	return append(out, v.Value...)
}

func encodeInt(n int64) []byte {
	return binary.BigEndian.AppendUint64(nil, uint64(n)) //nolint:gosec // the same bits come back
}

func decodeInt(data []byte) int64 {
	return int64(binary.BigEndian.Uint64(data)) //nolint:gosec // the same bits went in
}

func decodeEntry(name, data []byte) (recovery.KVValue, error) {
	if len(data) < entryHead {
		return recovery.KVValue{}, fmt.Errorf("%w: key %q", ErrDamaged, name)
	}
	v := recovery.KVValue{Name: string(name), Version: decodeInt(data), Value: bytes.Clone(data[entryHead:])}
	if ns := decodeInt(data[8:]); ns != 0 {
		v.Expires = time.Unix(0, ns).UTC()
	}
	return v, nil
}

// entries returns the bucket of the owner and that of its entries; nil when
// nothing was written.
func (k kv) entries() (own, entries *bbolt.Bucket) {
	if k.root == nil || k.owner == "" {
		return nil, nil
	}
	own = k.root.Bucket([]byte(k.owner))
	if own == nil {
		return nil, nil
	}
	return own, own.Bucket(bucketEntries)
}

// find returns the entry, expired or not.
func find(entries *bbolt.Bucket, name string) (v recovery.KVValue, ok bool, err error) {
	if entries == nil {
		return v, false, nil
	}
	data := entries.Get([]byte(name))
	if data == nil {
		return v, false, nil
	}
	v, err = decodeEntry([]byte(name), data)
	return v, err == nil, err
}

func (k kv) get(name string) (recovery.KVValue, error) {
	if err := recovery.CheckKVKey(k.owner, name); err != nil {
		return recovery.KVValue{}, err
	}
	_, entries := k.entries()
	v, ok, err := find(entries, name)
	if err != nil {
		return recovery.KVValue{}, err
	}
	if !ok || v.Expired() {
		return recovery.KVValue{}, fmt.Errorf("key %q: %w", name, recovery.ErrNotFound)
	}
	return v, nil
}

func (k kv) put(name string, v recovery.KVValue, ifVersion *int64) (int64, error) {
	if err := recovery.CheckKVKey(k.owner, name); err != nil {
		return 0, err
	}
	if err := recovery.CheckKVValue(name, v.Value); err != nil {
		return 0, err
	}
	own, err := k.root.CreateBucketIfNotExists([]byte(k.owner))
	if err != nil {
		return 0, err
	}
	entries, err := own.CreateBucketIfNotExists(bucketEntries)
	if err != nil {
		return 0, err
	}
	old, there, err := find(entries, name)
	if err != nil {
		return 0, err
	}
	if err := recovery.CompareKV(name, old, there, ifVersion); err != nil {
		return 0, err
	}
	used := counter(own, keyUsed)
	v.Name, v.Version = name, counter(own, keyFloor)+1
	if there {
		used -= old.Cost()
		v.Version = old.Version + 1
	}
	if used+v.Cost() > k.quota.Bytes {
		freed, err := purge(own, entries, name)
		if err != nil {
			return 0, err
		}
		used -= freed
	}
	used += v.Cost()
	if err := k.quota.Check(name, used); err != nil {
		return 0, err
	}
	return v.Version, errors.Join(entries.Put([]byte(name), encodeEntry(v)), own.Put(keyUsed, encodeInt(used)))
}

func (k kv) remove(name string, ifVersion *int64) error {
	if err := recovery.CheckKVKey(k.owner, name); err != nil {
		return err
	}
	own, entries := k.entries()
	old, there, err := find(entries, name)
	if err != nil {
		return err
	}
	if err := recovery.CompareKV(name, old, there, ifVersion); err != nil {
		return err
	}
	if !there || old.Expired() {
		return fmt.Errorf("key %q: %w", name, recovery.ErrNotFound)
	}
	return drop(own, entries, old)
}

// drop removes an entry. A key that is made anew goes on above the versions of
// all keys that are gone, so that no version ever comes back.
func drop(own, entries *bbolt.Bucket, v recovery.KVValue) error {
	floor := max(counter(own, keyFloor), v.Version)
	return errors.Join(
		entries.Delete([]byte(v.Name)),
		own.Put(keyFloor, encodeInt(floor)),
		own.Put(keyUsed, encodeInt(counter(own, keyUsed)-v.Cost())),
	)
}

// purge removes what has expired, but for one key, and returns the bytes that
// this freed.
func purge(own, entries *bbolt.Bucket, keep string) (int64, error) {
	var old []recovery.KVValue
	err := entries.ForEach(func(name, data []byte) error {
		v, err := decodeEntry(name, data)
		if err == nil && v.Expired() && v.Name != keep {
			old = append(old, v)
		}
		return err
	})
	var freed int64
	for _, v := range old {
		freed += v.Cost()
		err = errors.Join(err, drop(own, entries, v))
	}
	return freed, err
}

func (k kv) list(prefix string) ([]recovery.KVValue, error) {
	_, entries := k.entries()
	if entries == nil {
		return nil, nil
	}
	var out []recovery.KVValue
	c := entries.Cursor()
	for name, data := c.Seek([]byte(prefix)); name != nil && bytes.HasPrefix(name, []byte(prefix)); name, data = c.Next() {
		v, err := decodeEntry(name, data)
		if err != nil {
			return nil, err
		}
		if !v.Expired() {
			out = append(out, v)
		}
	}
	return out, nil
}

func counter(b *bbolt.Bucket, key []byte) int64 {
	if b == nil {
		return 0
	}
	data := b.Get(key)
	if len(data) != 8 {
		return 0
	}
	return decodeInt(data)
}
