package store

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/wasakari/wasakari/recovery"
)

var errSoon = errors.New("not there yet")

// Usage is how full etcd's database is, in bytes.
type Usage struct{ Size, InUse, Quota int64 }

// reserveFrom is how full, in percent, the database is when what could wait is
// refused.
const reserveFrom = 85

var errFull = fmt.Errorf("%w: etcd's database is nearly full: what is left is kept for notifications", recovery.ErrQuota)

// PutModule stores a version of a module, read from r, and activates it unless another is pinned.
func (s *Store) PutModule(ctx context.Context, m recovery.ModuleVersion, r io.Reader) (recovery.ModuleVersion, error) {
	return m, errSoon
}

// Module gives a version of a module and its bytes.
func (s *Store) Module(ctx context.Context, digest string) (recovery.ModuleVersion, io.ReadCloser, error) {
	return recovery.ModuleVersion{}, nil, errSoon
}

// Modules lists all versions.
func (s *Store) Modules(ctx context.Context) ([]recovery.ModuleVersion, error) { return nil, nil }

// ModulesRevision grows when what is active changes.
func (s *Store) ModulesRevision(ctx context.Context) (int64, error) { return 0, nil }

// Activate makes a version the one that new runs take; with pin, uploads do not replace it.
func (s *Store) Activate(ctx context.Context, tenant, digest string, pin bool) error { return errSoon }

// Unpin lets uploads replace the active version again.
func (s *Store) Unpin(ctx context.Context, tenant, library string) error { return errSoon }

// Remove removes a version.
func (s *Store) Remove(ctx context.Context, tenant, digest string) error { return errSoon }

// Backup writes all that is durable.
func (s *Store) Backup(ctx context.Context, w io.Writer) error { return errSoon }

// Compact gives space back.
func (s *Store) Compact(ctx context.Context) error { return errSoon }

func (s *Store) keepHouse(ctx context.Context) {}
