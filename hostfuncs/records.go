package hostfuncs

import (
	"context"
	"time"

	"github.com/wasakari/wasakari/recovery"
)

// Ledger keeps a run's intents and undo list. Each method returns only after
// the change is durable. Its errors are taken as unavailable unless they wrap
// another sentinel of recovery.
type Ledger interface {
	// BeginIntent writes an open intent. It fails when the run is no longer ours.
	BeginIntent(ctx context.Context, i recovery.Intent) error
	// EndIntent replaces the intent of the same ID; its State is not open.
	EndIntent(ctx context.Context, i recovery.Intent) error
	// OpenIntents lists the intents that have no result.
	OpenIntents(ctx context.Context) ([]recovery.Intent, error)
	// PushUndo writes an entry; one with the same Key keeps its place in the
	// order and is replaced.
	PushUndo(ctx context.Context, u recovery.Undo) error
	// DropUndo removes the entry with the key; that it is not there is no error.
	DropUndo(ctx context.Context, key string) error
	// Undos lists the entries in the order in which they were pushed.
	Undos(ctx context.Context) ([]recovery.Undo, error)
	// Check says whether the run will surely be ours for longer than d. It is
	// called before each change.
	Check(ctx context.Context, d time.Duration) error
}

// HA is Masakari's own records as far as they concern the run.
type HA interface {
	// Segment gives the failover segment, recovery.ErrNotFound when there is
	// none.
	Segment(ctx context.Context) (recovery.Segment, error)
	// Hosts lists the segment's hosts.
	Hosts(ctx context.Context) ([]recovery.Host, error)
	// UpdateHost replaces the record of the host with that name.
	UpdateHost(ctx context.Context, h recovery.Host) error
	// VMoves lists the run's vmoves in the order in which they were made.
	VMoves(ctx context.Context) ([]recovery.VMove, error)
	// PutVMove writes the vmove, replacing the one with its UUID.
	PutVMove(ctx context.Context, v recovery.VMove) error
}

// LibraryKV keeps the values of libraries, which outlive runs. Expired values
// are not there. Put ignores v's Name and Version and returns the new version.
// With ifVersion, Put and Delete answer recovery.ErrConflict unless the key has
// that version (0: is not there). Get and Delete answer recovery.ErrNotFound
// for a key that is not there.
type LibraryKV interface {
	Get(ctx context.Context, library, name string) (recovery.KVValue, error)
	Put(ctx context.Context, library, name string, v recovery.KVValue, ifVersion *int64) (version int64, err error)
	Delete(ctx context.Context, library, name string, ifVersion *int64) error
	// List gives the values whose names begin with prefix, sorted by name.
	List(ctx context.Context, library, prefix string) ([]recovery.KVValue, error)
}

// ScratchKV keeps what tasks wrote under scratch/, by the task's place in the
// run (see TaskCall.Place). It lives as long as the run. Otherwise it is as
// LibraryKV.
type ScratchKV interface {
	Get(ctx context.Context, place, name string) (recovery.KVValue, error)
	Put(ctx context.Context, place, name string, v recovery.KVValue, ifVersion *int64) (version int64, err error)
	Delete(ctx context.Context, place, name string, ifVersion *int64) error
	List(ctx context.Context, place, prefix string) ([]recovery.KVValue, error)
}
