package store

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"time"

	"github.com/wasakari/wasakari/recovery"
)

var errSoon = errors.New("not there yet")

const (
	maxOwner     = 512
	libraryQuota = 10 << 20
	scratchQuota = 1 << 20
)

// Usage is how full etcd's database is, in bytes.
type Usage struct{ Size, InUse, Quota int64 }

// Runs lists the runs, newest first, without inputs, plans, modules and command.
func (s *Store) Runs(ctx context.Context) ([]recovery.Run, error) { return nil, errSoon }

// RunDetail gives all of a run.
func (s *Store) RunDetail(ctx context.Context, id string) (recovery.Run, []recovery.TaskRecord, map[string]json.RawMessage, []recovery.Undo, []recovery.Intent, error) {
	return recovery.Run{}, nil, nil, nil, nil, errSoon
}

// KnownRun reports whether the run is known, and whether it has ended.
func (s *Store) KnownRun(ctx context.Context, id string) (ended, known bool) { return false, true }

// Abort asks that a run ends.
func (s *Store) Abort(ctx context.Context, run string, a recovery.Abort) error { return errSoon }

// Retry queues a notification anew.
func (s *Store) Retry(ctx context.Context, notification, override string) error { return errSoon }

// Queue lists what waits for a run, or has one that has not ended.
func (s *Store) Queue(ctx context.Context) ([]recovery.QueueItem, error) { return nil, errSoon }

// Claim makes the run of a queue item, or goes on with it.
func (s *Store) Claim(ctx context.Context, notification string) (*Run, error) { return nil, errSoon }

// EndNotification ends a notification that needs no run.
func (s *Store) EndNotification(ctx context.Context, notification string, status recovery.NotificationStatus, message string) error {
	return errSoon
}

// Run is a run that this node has claimed.
type Run struct{ session *session }

func (r *Run) lose()                      {}
func (r *Run) tellAbort(a recovery.Abort) {}

// ID returns the run's id.
func (r *Run) ID() string { return "" }

// Claims counts how often the run was claimed, by whichever node, this time included.
func (r *Run) Claims() int { return 0 }

// Lost is closed when the claim is lost.
func (r *Run) Lost() <-chan struct{} { return nil }

// Aborted gives the wish that the run ends, once.
func (r *Run) Aborted() <-chan recovery.Abort { return nil }

// FirstChange is when the run may make its first change.
func (r *Run) FirstChange() time.Time { return time.Time{} }

// Notification gives the notification of the run.
func (r *Run) Notification(ctx context.Context) (recovery.Notification, error) {
	return recovery.Notification{}, errSoon
}

// Requeue ends the run; its notification gets another one later.
func (r *Run) Requeue(ctx context.Context, notBefore time.Time, why string) error { return errSoon }

// Release gives the claim back; another node goes on with the run at once.
func (r *Run) Release(ctx context.Context) error { return errSoon }

// EndLeaving ends the run though its undo list is not empty.
func (r *Run) EndLeaving(ctx context.Context, run recovery.Run) error { return errSoon }

// Start writes the run as it begins or goes on.
func (r *Run) Start(ctx context.Context, run recovery.Run) error { return errSoon }

// End writes the run as it ended, and ends its notification.
func (r *Run) End(ctx context.Context, run recovery.Run) error { return errSoon }

// StartTask writes a record.
func (r *Run) StartTask(ctx context.Context, rec recovery.TaskRecord) error { return errSoon }

// FinishTask writes a record and values.
func (r *Run) FinishTask(ctx context.Context, rec recovery.TaskRecord, provided map[string]json.RawMessage) error {
	return errSoon
}

// SetValues replaces all values.
func (r *Run) SetValues(ctx context.Context, values map[string]json.RawMessage) error { return errSoon }

// Record returns the run as it was last written.
func (r *Run) Record(ctx context.Context) (recovery.Run, error) { return recovery.Run{}, errSoon }

// History returns the records of tasks.
func (r *Run) History(ctx context.Context) ([]recovery.TaskRecord, error) { return nil, errSoon }

// Values returns the values that tasks provided.
func (r *Run) Values(ctx context.Context) (map[string]json.RawMessage, error) { return nil, errSoon }

// BeginIntent writes a change that is about to be sent.
func (r *Run) BeginIntent(ctx context.Context, in recovery.Intent) error { return errSoon }

// EndIntent writes how a change stands.
func (r *Run) EndIntent(ctx context.Context, in recovery.Intent) error { return errSoon }

// OpenIntents lists the changes without a result.
func (r *Run) OpenIntents(ctx context.Context) ([]recovery.Intent, error) { return nil, errSoon }

// Changed lists the targets of changes.
func (r *Run) Changed(ctx context.Context, of func(op string) bool) ([]string, error) {
	return nil, errSoon
}

// PushUndo writes what must not stay.
func (r *Run) PushUndo(ctx context.Context, u recovery.Undo) error { return errSoon }

// DropUndo takes an entry off the list.
func (r *Run) DropUndo(ctx context.Context, key string) error { return errSoon }

// Undos lists what is to be undone.
func (r *Run) Undos(ctx context.Context) ([]recovery.Undo, error) { return nil, errSoon }

// Check waits until the run may make changes, and fails when the lease does not hold.
func (r *Run) Check(ctx context.Context, d time.Duration) error { return errSoon }

// Segment returns the run's segment.
func (r *Run) Segment(ctx context.Context) (recovery.Segment, error) {
	return recovery.Segment{}, errSoon
}

// Hosts lists the hosts of the segment.
func (r *Run) Hosts(ctx context.Context) ([]recovery.Host, error) { return nil, errSoon }

// UpdateHost writes a host over the one with its UUID.
func (r *Run) UpdateHost(ctx context.Context, h recovery.Host) error { return errSoon }

// ClaimReserved binds a reserved host to the run.
func (r *Run) ClaimReserved(ctx context.Context, host string) error { return errSoon }

// ReleaseReserved gives a reserved host back.
func (r *Run) ReleaseReserved(ctx context.Context, host string) error { return errSoon }

// VMoves lists the vmoves.
func (r *Run) VMoves(ctx context.Context) ([]recovery.VMove, error) { return nil, errSoon }

// PutVMove writes a vmove.
func (r *Run) PutVMove(ctx context.Context, v recovery.VMove) error { return errSoon }

// Scratch keeps what tasks write under scratch/.
type Scratch struct{}

// Scratch returns the scratch store of the run.
func (r *Run) Scratch() Scratch { return Scratch{} }

// Get reads a value.
func (s Scratch) Get(ctx context.Context, place, name string) (recovery.KVValue, error) {
	return recovery.KVValue{}, errSoon
}

// Put writes a value.
func (s Scratch) Put(ctx context.Context, place, name string, v recovery.KVValue, ifVersion *int64) (int64, error) {
	return 0, errSoon
}

// Delete removes a value.
func (s Scratch) Delete(ctx context.Context, place, name string, ifVersion *int64) error {
	return errSoon
}

// List lists values.
func (s Scratch) List(ctx context.Context, place, prefix string) ([]recovery.KVValue, error) {
	return nil, errSoon
}

// Library keeps the values of libraries.
type Library struct{}

func newLibrary(*Store) *Library { return nil }

// Allow sets how many bytes one library may keep.
func (l *Library) Allow(bytes int64) *Library { return l }

// AllowOne sets how many bytes one library may keep.
func (l *Library) AllowOne(library string, bytes int64, option string) {}

// Get reads a value.
func (l *Library) Get(ctx context.Context, library, name string) (recovery.KVValue, error) {
	return recovery.KVValue{}, errSoon
}

// Put writes a value.
func (l *Library) Put(ctx context.Context, library, name string, v recovery.KVValue, ifVersion *int64) (int64, error) {
	return 0, errSoon
}

// Delete removes a value.
func (l *Library) Delete(ctx context.Context, library, name string, ifVersion *int64) error {
	return errSoon
}

// List lists values.
func (l *Library) List(ctx context.Context, library, prefix string) ([]recovery.KVValue, error) {
	return nil, errSoon
}

// Guards counts for the guards against harm.
type Guards struct{}

func newGuards(*Store) *Guards { return nil }

// Recover counts the recovery of a host.
func (g *Guards) Recover(ctx context.Context, next recovery.HostRecovery, decide func(before []recovery.HostRecovery) error) error {
	return errSoon
}

// Recoveries lists the recoveries.
func (g *Guards) Recoveries(ctx context.Context) ([]recovery.HostRecovery, error) {
	return nil, errSoon
}

// Change counts the change of a server.
func (g *Guards) Change(ctx context.Context, server string, now time.Time, decide func(recent []time.Time) error) error {
	return errSoon
}

// Changes lists when servers were changed.
func (g *Guards) Changes(ctx context.Context, now time.Time) ([]time.Time, error) {
	return nil, errSoon
}

// PutModule stores a version of a module, read from r, and activates it unless another is pinned.
func (s *Store) PutModule(ctx context.Context, m recovery.ModuleVersion, r io.Reader) (recovery.ModuleVersion, error) {
	return m, errSoon
}

// Module gives a version of a module and its bytes.
func (s *Store) Module(ctx context.Context, digest string) (recovery.ModuleVersion, io.ReadCloser, error) {
	return recovery.ModuleVersion{}, nil, errSoon
}

// Modules lists all versions.
func (s *Store) Modules(ctx context.Context) ([]recovery.ModuleVersion, error) { return nil, errSoon }

// ModulesRevision grows when what is active changes.
func (s *Store) ModulesRevision(ctx context.Context) (int64, error) { return 0, errSoon }

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
