package runstate

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"go.etcd.io/bbolt"

	"github.com/wasakari/wasakari/internal/folder"
)

// sharedLockWait bounds how long an op waits for other processes.
const sharedLockWait = 5 * time.Second

// shared is a file of the state folder that processes share: it is opened for
// each op.
type shared struct {
	dir, path string
	name      string // for errors
	buckets   [][]byte
	turn      chan struct{} // one op of this process at a time
	// trusted is true when the pages of the file were looked through once. The
	// turn guards it.
	trusted bool
}

func newShared(dir, base, name string, buckets ...[]byte) shared {
	return shared{dir: dir, path: filepath.Join(dir, base), name: name, buckets: buckets, turn: make(chan struct{}, 1)}
}

func (s *shared) lock(ctx context.Context) error {
	select {
	case s.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%s: %w", s.name, ctx.Err())
	}
}

// read calls do with nil when nothing was ever written.
func (s *shared) read(ctx context.Context, do func(*bbolt.Tx) error) error {
	if err := s.lock(ctx); err != nil {
		return err
	}
	defer func() { <-s.turn }()
	if _, err := os.Lstat(s.path); errors.Is(err, fs.ErrNotExist) {
		return do(nil)
	}
	looked := false
	err := readFile(ctx, s.name, s.path, openMode{trusted: s.trusted, wait: sharedLockWait}, func(tx *bbolt.Tx) error {
		looked = true
		return do(tx)
	})
	s.trusted = s.trusted || looked && !errors.Is(err, ErrDamaged)
	return err
}

func (s *shared) write(ctx context.Context, do func(*bbolt.Tx) error) error {
	if err := s.lock(ctx); err != nil {
		return err
	}
	defer func() { <-s.turn }()
	if err := folder.Own("state folder", s.dir); err != nil {
		return err
	}
	if _, err := os.Lstat(s.path); errors.Is(err, fs.ErrNotExist) {
		f, err := create(ctx, s.name, s.path, false, func(tx *bbolt.Tx) error { return initialise(tx, s.buckets...) })
		switch {
		case err == nil:
			f.close()
		case !errors.Is(err, fs.ErrExist):
			return err
		}
	}
	f, err := open(ctx, s.name, s.path, openMode{trusted: s.trusted, wait: sharedLockWait})
	if err != nil {
		return err
	}
	s.trusted = true
	defer f.close()
	return f.update(ctx, do)
}
