package store

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"slices"

	"github.com/wasakari/wasakari/recovery"
)

// maxEngines bounds what engines take up, in bytes: those of a dozen releases.
const maxEngines = 128 << 20

// keptEngine is the key of an engine: no tenant's, whose names have no slash.
func (k keys) keptEngine(digest string) string { return k.keptOf(digest) + "engine/" }

// KeepEngine keeps the bytes of an engine, which open gives unless they are there:
// nodes whose program carries another can then run the modules that name it. They
// are kept while a version that was uploaded or a module that is kept names it, or
// a node says that its modules do (see SetKept), and an hour more, unless another
// engine needs the room.
//
// Whoever calls it vouches for the engine: it is one that the program carries.
//
// The error matches recovery.ErrInvalid when the digest is not that of the bytes,
// recovery.ErrTooLarge, and recovery.ErrQuota when there are 128 MiB of engines
// that are needed, or no room.
func (s *Store) KeepEngine(ctx context.Context, e recovery.ModuleEngine, open func(context.Context) ([]byte, error)) error {
	if err := s.keepEngine(ctx, e, open); err != nil {
		return fmt.Errorf("engine %.80s sha256:%.80s: %w", e.Name, e.Digest, err)
	}
	return nil
}

func (s *Store) keepEngine(ctx context.Context, e recovery.ModuleEngine, open func(context.Context) ([]byte, error)) error {
	m := recovery.ModuleVersion{Digest: e.Digest, Library: "-", Engine: &e}
	if err := checkModule(m); err != nil {
		return err
	}
	key := s.key.keptEngine(e.Digest)
	if ok, err := s.stillKept(ctx, key); err != nil || ok {
		return err
	}
	wasm, err := open(ctx)
	if err != nil {
		return err
	}
	m.Size = int64(len(wasm))
	if err := checkModule(m); err != nil {
		return err
	}
	if err := s.roomForEngine(ctx, m.Size); err != nil {
		return err
	}
	return s.keepBytes(ctx, m, key, keptModule{Size: m.Size, Name: e.Name}, bytes.NewReader(wasm))
}

// keptEngine is an engine that is kept, as it was read.
type keptEngine struct {
	keptModule
	digest string
	mod    int64
}

func (s *Store) keptEngines(ctx context.Context) (all []keptEngine, err error) {
	_, err = s.rangeAll(ctx, s.key.kept, 0, func(key string, _, mod int64, value []byte) error {
		e := keptEngine{digest: parts(key, s.key.kept)[0], mod: mod}
		err := decode(value, &e.keptModule)
		if e.Name != "" {
			all = append(all, e)
		}
		return err
	})
	return all, err
}

// roomForEngine removes engines that nobody was seen to need, those first that
// were not for the longest time, until there is room for one of this size.
func (s *Store) roomForEngine(ctx context.Context, size int64) error {
	all, err := s.keptEngines(ctx)
	if err != nil {
		return err
	}
	total := size
	for _, e := range all {
		total += e.Size
	}
	slices.SortFunc(all, func(a, b keptEngine) int { return cmp.Or(a.Unused.Compare(b.Unused), cmp.Compare(a.digest, b.digest)) })
	for _, e := range all {
		if total <= maxEngines || e.Unused.IsZero() {
			continue
		}
		if err := s.dropKept(ctx, e.digest, s.key.keptEngine(e.digest), e.mod); err != nil {
			return err
		}
		total -= e.Size
	}
	if total > maxEngines {
		return fmt.Errorf("%w: engines would take %d bytes, at most %d are kept; build the modules of former releases again, and remove their versions", recovery.ErrQuota, total, maxEngines)
	}
	return nil
}

// KeptEngine gives the bytes of an engine, whose digest is checked as Module does.
// The error matches recovery.ErrNotFound when they are not kept.
func (s *Store) KeptEngine(ctx context.Context, digest string) (io.ReadCloser, error) {
	resp, err := s.get(ctx, s.key.keptEngine(digest))
	if err == nil && len(resp.Kvs) == 0 {
		err = recovery.ErrNotFound
	}
	var kept keptModule
	if err == nil {
		err = decode(resp.Kvs[0].Value, &kept)
	}
	if err != nil {
		return nil, fmt.Errorf("engine %.80s: %w", digest, err)
	}
	return &body{ctx: ctx, s: s, m: recovery.ModuleVersion{Digest: digest, Size: kept.Size}, sum: sha256.New()}, nil
}

// KeptEngines lists the engines that are kept, by digest.
func (s *Store) KeptEngines(ctx context.Context) ([]recovery.ModuleEngine, error) {
	all, err := s.keptEngines(ctx)
	if err != nil {
		return nil, fmt.Errorf("engines: %w", err)
	}
	list := make([]recovery.ModuleEngine, 0, len(all))
	for _, e := range all {
		list = append(list, recovery.ModuleEngine{Name: e.Name, Digest: e.digest})
	}
	return list, nil
}
