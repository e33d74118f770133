package hostfuncs

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/wasakari/wasakari/recovery"
)

// DryLibrary makes a LibraryKV that reads from another one and keeps what is
// written to itself. Quotas of the store below are not kept.
func DryLibrary(under LibraryKV) LibraryKV {
	return &dryLibrary{under: under, written: map[libraryKey]written{}}
}

type libraryKey struct{ library, name string }

// written is a value, or that there is none any more.
type written struct {
	recovery.KVValue
	gone bool
}

func (w written) there() bool {
	return !w.gone && (w.Expires.IsZero() || time.Now().Before(w.Expires))
}

type dryLibrary struct {
	under   LibraryKV
	mu      sync.Mutex
	written map[libraryKey]written
}

// get gives the value and the highest version that the key ever had. mu is
// held.
func (l *dryLibrary) get(ctx context.Context, library, name string) (v recovery.KVValue, highest int64, err error) {
	notThere := fmt.Errorf("key %q: %w", name, recovery.ErrNotFound)
	if w, ok := l.written[libraryKey{library, name}]; ok {
		if !w.there() {
			return recovery.KVValue{}, w.Version, notThere
		}
		return w.KVValue, w.Version, nil
	}
	v, err = l.under.Get(ctx, library, name)
	return v, v.Version, err
}

// check reads the key and holds its version against the one wanted.
func (l *dryLibrary) check(ctx context.Context, library, name string, ifVersion *int64) (there bool, highest int64, err error) {
	v, highest, err := l.get(ctx, library, name)
	if err != nil && !isNotFound(err) {
		return false, 0, err
	}
	if there = err == nil; ifVersion != nil && *ifVersion != v.Version {
		return there, highest, fmt.Errorf("key %q: %w: it has version %d, not %d", name, recovery.ErrConflict, v.Version, *ifVersion)
	}
	return there, highest, nil
}

func (l *dryLibrary) Get(ctx context.Context, library, name string) (recovery.KVValue, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	v, _, err := l.get(ctx, library, name)
	return v, err
}

func (l *dryLibrary) Put(ctx context.Context, library, name string, v recovery.KVValue, ifVersion *int64) (int64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, highest, err := l.check(ctx, library, name, ifVersion)
	if err != nil {
		return 0, err
	}
	v.Name, v.Version, v.Value = name, highest+1, slices.Clone(v.Value)
	l.written[libraryKey{library, name}] = written{KVValue: v}
	return v.Version, nil
}

func (l *dryLibrary) Delete(ctx context.Context, library, name string, ifVersion *int64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	there, highest, err := l.check(ctx, library, name, ifVersion)
	if err != nil {
		return err
	}
	if !there {
		return fmt.Errorf("key %q: %w", name, recovery.ErrNotFound)
	}
	l.written[libraryKey{library, name}] = written{KVValue: recovery.KVValue{Version: highest}, gone: true}
	return nil
}

func (l *dryLibrary) List(ctx context.Context, library, prefix string) ([]recovery.KVValue, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	real, err := l.under.List(ctx, library, prefix)
	if err != nil {
		return nil, err
	}
	all := map[string]recovery.KVValue{}
	for _, v := range real {
		all[v.Name] = v
	}
	for k, w := range l.written {
		switch {
		case k.library != library || !strings.HasPrefix(k.name, prefix):
		case w.there():
			all[k.name] = w.KVValue
		default:
			delete(all, k.name)
		}
	}
	var out []recovery.KVValue
	for _, name := range slices.Sorted(maps.Keys(all)) {
		out = append(out, all[name])
	}
	return out, nil
}
