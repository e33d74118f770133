package hostfuncs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/wasakari/wasakari/abi"
	"github.com/wasakari/wasakari/recovery"
)

// Bounds of the key-value stores.
const (
	maxName     = 255       // bytes of a key
	maxValue    = 256 << 10 // bytes of a value's JSON
	maxRunNames = 64        // names of one task in scope run, scratch included
	maxTTL      = int64(100 * 365 * 24 * 3600)
)

const (
	scopeLibrary  = "library"
	scratchPrefix = "scratch/"
)

// stagedValue is a value put under a provided name; it becomes visible to
// others when the task succeeds.
type stagedValue struct {
	value   json.RawMessage
	version int64
}

// libSizes remembers how much the libraries hold. Values that expired or that
// other processes wrote may be missed until the next look.
type libSizes struct {
	mu    sync.Mutex
	bytes map[string]map[string]int // by library and name
}

// kvGet implements abi.OpKVGet.
func kvGet(ctx context.Context, t *TaskHost, req abi.KVGetRequest) (abi.KVGetAnswer, error) {
	if err := checkName(req.Name); err != nil {
		return abi.KVGetAnswer{}, err
	}
	var v recovery.KVValue
	var err error
	switch {
	case req.Scope == scopeLibrary:
		var lib string
		if lib, err = t.owner(t.call.Task.Library); err != nil {
			return abi.KVGetAnswer{}, err
		}
		if v, err = t.h.library.Get(ctx, lib, req.Name); err == nil && v.Expired() {
			err = notThere(req.Name)
		}
	case strings.HasPrefix(req.Name, scratchPrefix):
		v, err = t.h.scratch.Get(ctx, t.place, req.Name)
	default:
		v, err = t.runValue(ctx, req.Name)
	}
	if err != nil {
		return abi.KVGetAnswer{}, err
	}
	return abi.KVGetAnswer{Value: v.Value, Version: v.Version}, nil
}

// runValue reads a name that is not under scratch/ in scope run.
func (t *TaskHost) runValue(ctx context.Context, name string) (recovery.KVValue, error) {
	if t.writes[name] {
		t.mu.Lock()
		s, ok := t.staged[name]
		t.mu.Unlock()
		if ok {
			return recovery.KVValue{Name: name, Value: s.value, Version: s.version}, nil
		}
	}
	if v, ok, err := t.value(ctx, name); ok || err != nil {
		return recovery.KVValue{Name: name, Value: v, Version: 1}, err
	}
	if t.reads[name] || t.writes[name] {
		return recovery.KVValue{}, notThere(name)
	}
	if t.call.withheld(name) && slices.Contains(slices.Concat(t.call.Task.Requires, t.call.Task.Optional), name) {
		return recovery.KVValue{}, fmt.Errorf("%q is not for the tasks of tenants: %w", name, recovery.ErrForbidden)
	}
	return recovery.KVValue{}, fmt.Errorf("%q is neither required, optional nor provided in the manifest of task %s, nor under scratch/: %w",
		name, t.call.Task.Key, recovery.ErrNotGranted)
}

// kvPut implements abi.OpKVPut.
func kvPut(ctx context.Context, t *TaskHost, req abi.KVPutRequest) (abi.KVPutAnswer, error) {
	if err := checkName(req.Name); err != nil {
		return abi.KVPutAnswer{}, err
	}
	if len(req.Value) > maxValue {
		return abi.KVPutAnswer{}, fmt.Errorf("%q: value of %d bytes, at most %d: %w", req.Name, len(req.Value), maxValue, recovery.ErrTooLarge)
	}
	t.kvMu.Lock()
	defer t.kvMu.Unlock()
	v := recovery.KVValue{Name: req.Name, Value: slices.Clone(req.Value)}
	var version int64
	var err error
	if req.Scope == scopeLibrary {
		if req.TTLSeconds > 0 {
			v.Expires = time.Now().Add(time.Duration(min(req.TTLSeconds, maxTTL)) * time.Second).UTC()
		}
		version, err = t.putLibrary(ctx, v, req.IfVersion)
	} else {
		if req.IfVersion != nil || req.TTLSeconds != 0 {
			return abi.KVPutAnswer{}, fmt.Errorf("%q: if_version and ttl_s are for scope library: %w", req.Name, recovery.ErrInvalid)
		}
		version, err = t.putRun(ctx, v)
	}
	return abi.KVPutAnswer{Version: version}, err
}

func (t *TaskHost) putRun(ctx context.Context, v recovery.KVValue) (int64, error) {
	isScratch := strings.HasPrefix(v.Name, scratchPrefix)
	if !isScratch {
		if err := t.mayProvide(v.Name); err != nil {
			return 0, err
		}
	} else if err := t.countScratch(ctx); err != nil {
		return 0, err
	}
	undo, err := t.charge(v, true)
	if err != nil {
		return 0, err
	}
	if isScratch {
		version, err := t.h.scratch.Put(ctx, t.place, v.Name, v, nil)
		if err != nil {
			undo()
		}
		return version, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	old := t.staged[v.Name]
	if err := t.kept(int64(len(v.Value) - len(old.value))); err != nil {
		undo()
		return 0, fmt.Errorf("%q: %w: %w", v.Name, err, recovery.ErrQuota)
	}
	s := stagedValue{value: v.Value, version: old.version + 1}
	t.staged[v.Name] = s
	return s.version, nil
}

// kept counts bytes more, or with a negative number fewer, of staged values.
func (t *TaskHost) kept(bytes int64) error {
	if t.keep == nil {
		return nil
	}
	return t.keep(bytes)
}

// mayProvide checks that the task's manifest provides name, and for a protected
// name that the operator allows it.
func (t *TaskHost) mayProvide(name string) error {
	if !t.writes[name] {
		return fmt.Errorf("%q is not provided in the manifest of task %s, nor under scratch/: %w", name, t.call.Task.Key, recovery.ErrNotGranted)
	}
	if t.call.Task.Standard || !slices.Contains(recovery.ProtectedNames(), name) {
		return nil
	}
	if t.call.Granted == nil || !t.call.Granted("provides:"+name) {
		return fmt.Errorf("%q is protected and provides:%s is not granted to library %s: %w", name, name, t.call.Task.Library, recovery.ErrNotGranted)
	}
	return nil
}

// countScratch counts, once, what earlier attempts left under scratch/.
func (t *TaskHost) countScratch(ctx context.Context) error {
	if t.counted {
		return nil
	}
	old, err := t.h.scratch.List(ctx, t.place, "")
	if err != nil {
		return err
	}
	for _, v := range old {
		t.written[runKey(v.Name)] = len(v.Name) + len(v.Value)
	}
	t.counted = true
	return nil
}

func runKey(name string) string { return "run " + name }

// charge counts v against the task. undo takes it back.
func (t *TaskHost) charge(v recovery.KVValue, inRun bool) (undo func(), err error) {
	k := "library " + v.Name
	if inRun {
		k = runKey(v.Name)
	}
	before, had := t.written[k]
	total, names := len(v.Name)+len(v.Value)-before, 0
	for other, n := range t.written {
		total += n
		if strings.HasPrefix(other, runKey("")) {
			names++
		}
	}
	if most := t.call.KVTaskBytes; total > most {
		return nil, fmt.Errorf("%q: the task would have written %d bytes, at most %d (option %s): %w", v.Name, total, most, t.call.KVTaskOption, recovery.ErrQuota)
	}
	if inRun && !had && names >= maxRunNames {
		return nil, fmt.Errorf("%q: the task has written %d names already, no more are allowed: %w", v.Name, maxRunNames, recovery.ErrQuota)
	}
	t.written[k] = len(v.Name) + len(v.Value)
	return func() {
		if had {
			t.written[k] = before
		} else {
			delete(t.written, k)
		}
	}, nil
}

func (t *TaskHost) putLibrary(ctx context.Context, v recovery.KVValue, ifVersion *int64) (int64, error) {
	lib, err := t.owner(t.call.Task.Library)
	if err != nil {
		return 0, err
	}
	undo, err := t.charge(v, false)
	if err != nil {
		return 0, err
	}
	l := &t.h.libSize
	l.mu.Lock()
	defer l.mu.Unlock()
	size, most := len(v.Name)+len(v.Value), t.call.KVLibraryBytes
	if l.bytes[lib] == nil || l.total(lib)-l.bytes[lib][v.Name]+size > most {
		if err := l.count(ctx, t.h.library, lib); err != nil {
			undo()
			return 0, err
		}
	}
	if n := l.total(lib) - l.bytes[lib][v.Name] + size; n > most {
		undo()
		return 0, fmt.Errorf("%q: library %s would hold %d bytes, at most %d (option %s): %w",
			v.Name, t.call.Task.Library, n, most, t.call.KVLibraryOption, recovery.ErrQuota)
	}
	version, err := t.h.library.Put(ctx, lib, v.Name, v, ifVersion)
	if err != nil {
		undo()
		return 0, err
	}
	l.bytes[lib][v.Name] = size
	return version, nil
}

func (l *libSizes) total(lib string) int {
	n := 0
	for _, size := range l.bytes[lib] {
		n += size
	}
	return n
}

// count looks how much the library holds.
func (l *libSizes) count(ctx context.Context, kv LibraryKV, lib string) error {
	values, err := kv.List(ctx, lib, "")
	if err != nil {
		return err
	}
	sizes := make(map[string]int, len(values))
	for _, v := range values {
		if !v.Expired() {
			sizes[v.Name] = len(v.Name) + len(v.Value)
		}
	}
	if l.bytes == nil {
		l.bytes = map[string]map[string]int{}
	}
	l.bytes[lib] = sizes
	return nil
}

// kvDelete implements abi.OpKVDelete.
func kvDelete(ctx context.Context, t *TaskHost, req abi.KVDeleteRequest) (empty, error) {
	if err := checkName(req.Name); err != nil {
		return empty{}, err
	}
	t.kvMu.Lock()
	defer t.kvMu.Unlock()
	if req.Scope == scopeLibrary {
		lib, err := t.owner(t.call.Task.Library)
		if err != nil {
			return empty{}, err
		}
		if err = t.h.library.Delete(ctx, lib, req.Name, req.IfVersion); err == nil {
			l := &t.h.libSize
			l.mu.Lock()
			defer l.mu.Unlock()
			delete(l.bytes[lib], req.Name)
		}
		return empty{}, err
	}
	if req.IfVersion != nil {
		return empty{}, fmt.Errorf("%q: if_version is for scope library: %w", req.Name, recovery.ErrInvalid)
	}
	if strings.HasPrefix(req.Name, scratchPrefix) {
		if err := t.countScratch(ctx); err != nil {
			return empty{}, err
		}
		if err := t.h.scratch.Delete(ctx, t.place, req.Name, nil); err != nil {
			return empty{}, err
		}
	} else {
		if err := t.mayProvide(req.Name); err != nil {
			return empty{}, err
		}
		t.mu.Lock()
		old, there := t.staged[req.Name]
		delete(t.staged, req.Name)
		t.mu.Unlock()
		if !there {
			return empty{}, notThere(req.Name)
		}
		_ = t.kept(-int64(len(old.value))) // fewer are never too many
	}
	delete(t.written, runKey(req.Name))
	return empty{}, nil
}

// kvList implements abi.OpKVList.
func kvList(ctx context.Context, t *TaskHost, req abi.KVListRequest) (abi.KVListAnswer, error) {
	var values []recovery.KVValue
	var err error
	if req.Scope == scopeLibrary {
		var lib string
		if lib, err = t.owner(t.call.Task.Library); err == nil {
			values, err = t.h.library.List(ctx, lib, req.Prefix)
		}
	} else if values, err = t.h.scratch.List(ctx, t.place, req.Prefix); err == nil {
		values = append(values, t.runValues(ctx, req.Prefix)...)
	}
	if err != nil {
		return abi.KVListAnswer{}, err
	}
	ans := abi.KVListAnswer{Entries: make([]abi.KVEntry, 0, len(values))}
	for _, v := range values {
		if !v.Expired() {
			ans.Entries = append(ans.Entries, abi.KVEntry{Name: v.Name, Version: v.Version, Size: int64(len(v.Value))})
		}
	}
	slices.SortFunc(ans.Entries, func(a, b abi.KVEntry) int { return strings.Compare(a.Name, b.Name) })
	return ans, nil
}

// runValues lists what runValue can read.
func (t *TaskHost) runValues(ctx context.Context, prefix string) []recovery.KVValue {
	var out []recovery.KVValue
	seen := map[string]bool{}
	for _, names := range []map[string]bool{t.writes, t.reads} {
		for name := range names {
			if seen[name] || !strings.HasPrefix(name, prefix) {
				continue
			}
			if v, err := t.runValue(ctx, name); err == nil {
				seen[name] = true
				out = append(out, v)
			}
		}
	}
	return out
}

func checkName(name string) error {
	switch {
	case name == "":
		return fmt.Errorf("name is empty: %w", recovery.ErrInvalid)
	case len(name) > maxName:
		return fmt.Errorf("name of %d bytes, at most %d: %w", len(name), maxName, recovery.ErrInvalid)
	case strings.ContainsFunc(name, func(r rune) bool { return r == utf8.RuneError || !unicode.IsPrint(r) }):
		// Half of a surrogate pair is read as RuneError, and many names as one.
		return fmt.Errorf("name %q has characters that cannot be printed: %w", name, recovery.ErrInvalid)
	}
	return nil
}

func notThere(name string) error { return fmt.Errorf("%q: %w", name, recovery.ErrNotFound) }

// isNotFound reports that the thing is not there.
func isNotFound(err error) bool { return errors.Is(err, recovery.ErrNotFound) }

func joinNames(names []string) string {
	quoted := make([]string, len(names))
	for i, n := range names {
		quoted[i] = fmt.Sprintf("%q", n)
	}
	return strings.Join(quoted, ", ")
}
