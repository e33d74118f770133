package wasakari

import (
	"context"
	"encoding/json"
	"fmt"
	"time"
)

// KV is the values of the run, and what a task keeps for itself: keys that
// begin with scratch/ are written at once and kept for later attempts; other
// names must stand in the manifest, and those that it provides become visible,
// all at once, when the task succeeds.
type KV struct{ c *caller }

// Get decodes the value with this name. The error matches ErrNotFound when it
// is not there, ErrNotGranted when the manifest does not require or list it.
func (k KV) Get(ctx context.Context, name string, into any) error {
	_, err := get(ctx, k.c, "", name, into)
	return err
}

// Put writes the JSON of value.
func (k KV) Put(ctx context.Context, name string, value any) error {
	_, err := put(ctx, k.c, KVPutRequest{Name: name}, value)
	return err
}

// Delete removes a key that the task may write.
func (k KV) Delete(ctx context.Context, name string) error {
	return k.c.do(ctx, "kv.delete", KVDeleteRequest{Name: name}, nil)
}

// List lists the keys that the task may read and that begin with prefix,
// sorted by name.
func (k KV) List(ctx context.Context, prefix string) ([]KVEntry, error) {
	return list(ctx, k.c, "", prefix)
}

// Library returns the values of the task's library, which outlive the run.
func (k KV) Library() Library { return Library(k) }

// Library is the values of the task's library. They outlive the run, and other
// runs may write them at the same time: compare and set with versions.
type Library struct{ c *caller }

const scopeLibrary = "library"

// Get decodes the value with this name and gives its version. The error
// matches ErrNotFound when it is not there.
func (l Library) Get(ctx context.Context, name string, into any) (version int64, err error) {
	return get(ctx, l.c, scopeLibrary, name, into)
}

// PutOption changes what Library.Put does.
type PutOption func(*KVPutRequest)

// IfVersion writes only when the key has this version, 0 meaning that it is
// not there; else the error matches ErrConflict.
func IfVersion(v int64) PutOption { return func(r *KVPutRequest) { r.IfVersion = &v } }

// ForgetAfter lets the value expire after d, in whole seconds, rounded up.
func ForgetAfter(d time.Duration) PutOption {
	return func(r *KVPutRequest) { r.TTLSeconds = int64((d + time.Second - 1) / time.Second) }
}

// Put writes the JSON of value and gives its version.
func (l Library) Put(ctx context.Context, name string, value any, opts ...PutOption) (version int64, err error) {
	req := KVPutRequest{Scope: scopeLibrary, Name: name}
	for _, o := range opts {
		o(&req)
	}
	return put(ctx, l.c, req, value)
}

// Delete removes a value, whatever its version.
func (l Library) Delete(ctx context.Context, name string) error {
	return l.c.do(ctx, "kv.delete", KVDeleteRequest{Scope: scopeLibrary, Name: name}, nil)
}

// DeleteVersion removes a value when it has this version; else the error
// matches ErrConflict.
func (l Library) DeleteVersion(ctx context.Context, name string, version int64) error {
	return l.c.do(ctx, "kv.delete", KVDeleteRequest{Scope: scopeLibrary, Name: name, IfVersion: &version}, nil)
}

// List lists the keys that begin with prefix, sorted by name.
func (l Library) List(ctx context.Context, prefix string) ([]KVEntry, error) {
	return list(ctx, l.c, scopeLibrary, prefix)
}

func get(ctx context.Context, c *caller, scope, name string, into any) (int64, error) {
	var ans KVGetAnswer
	if err := c.do(ctx, "kv.get", KVGetRequest{Scope: scope, Name: name}, &ans); err != nil {
		return 0, err
	}
	if err := json.Unmarshal(ans.Value, into); err != nil {
		return 0, fmt.Errorf("value %s: %w", name, err)
	}
	return ans.Version, nil
}

func put(ctx context.Context, c *caller, req KVPutRequest, value any) (int64, error) {
	raw, err := json.Marshal(value)
	if err != nil {
		return 0, fmt.Errorf("value %s: %w", req.Name, err)
	}
	req.Value = raw
	var ans KVPutAnswer
	err = c.do(ctx, "kv.put", req, &ans)
	return ans.Version, err
}

func list(ctx context.Context, c *caller, scope, prefix string) ([]KVEntry, error) {
	var ans KVListAnswer
	err := c.do(ctx, "kv.list", KVListRequest{Scope: scope, Prefix: prefix}, &ans)
	return ans.Entries, err
}
