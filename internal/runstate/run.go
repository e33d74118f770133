// Package runstate keeps the state of runs in files, so that a run that was
// killed can be gone on with: one file for each run, and one for the values
// that libraries keep beyond a run.
//
// It holds no decision about a run. A change is durable when its method
// returns.
package runstate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"go.etcd.io/bbolt"

	"github.com/wasakari/wasakari/internal/folder"
	"github.com/wasakari/wasakari/recovery"
)

var (
	bucketTasks   = []byte("tasks")  // number → TaskRecord
	bucketValues  = []byte("values") // name → JSON
	bucketOpen    = []byte("intents_open")
	bucketEnded   = []byte("intents_ended")
	bucketUndo    = []byte("undo")
	bucketHosts   = []byte("hosts")
	bucketVMoves  = []byte("vmoves")
	bucketScratch = []byte("scratch")

	keyRun     = []byte("run")
	keySegment = []byte("segment")
)

// Options are for making and opening the file of a run. The zero value is
// usable.
type Options struct {
	// Segment and Hosts are what the run's own copy of Masakari's records begins
	// with. Only Create reads them.
	Segment recovery.Segment
	Hosts   []recovery.Host
	// ScratchBytes is how much one task may keep under scratch/.
	//
	// Defaults to 1 MiB.
	ScratchBytes int64
	// NoSync leaves out fsync: a crash of the machine may lose or ruin the
	// file. For benchmarks.
	NoSync bool
}

func (o Options) scratchQuota() int64 {
	if o.ScratchBytes <= 0 {
		return recovery.DefaultScratchBytes
	}
	return o.ScratchBytes
}

// Run is the file of one run. It is safe for concurrent use. Whoever made or
// opened it closes it; while it is open, no other process can open it.
type Run struct {
	*file
	id           string
	scratchQuota int64
}

var validID = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$`)

// runPath returns the file of a run. It refuses an id that would lead
// elsewhere.
func runPath(dir, id string) (string, error) {
	if !validID.MatchString(id) {
		return "", fmt.Errorf("run id %.140q: %w: want letters, digits, dots, dashes and underscores, 128 at most", id, recovery.ErrInvalid)
	}
	return filepath.Join(dir, "runs", id+".db"), nil
}

// Create makes the file of a new run in the state folder dir, which is made
// when it is not there. A run with that id must not be there: the error then
// matches recovery.ErrConflict.
func Create(dir string, run recovery.Run, o Options) (*Run, error) {
	path, err := runPath(dir, run.ID)
	if err != nil {
		return nil, err
	}
	for _, d := range []string{dir, filepath.Dir(path)} {
		if err := folder.Own("state folder", d); err != nil {
			return nil, err
		}
	}
	s, err := create(context.Background(), "run "+run.ID, path, o.NoSync, func(tx *bbolt.Tx) error {
		err := initialise(tx, bucketTasks, bucketValues, bucketOpen, bucketEnded, bucketUndo, bucketHosts, bucketVMoves, bucketScratch)
		if err != nil {
			return err
		}
		if o.Segment.UUID != "" || o.Segment.Name != "" {
			if err := putMeta(tx, keySegment, o.Segment); err != nil {
				return err
			}
		}
		for _, h := range o.Hosts {
			if err := putRow(tx.Bucket(bucketHosts), hostID(h), h); err != nil {
				return err
			}
		}
		return putMeta(tx, keyRun, run)
	})
	if errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("run %s: %w: it is in %s already", run.ID, recovery.ErrConflict, path)
	}
	if err != nil {
		return nil, err
	}
	return &Run{file: s, id: run.ID, scratchQuota: o.scratchQuota()}, nil
}

// Open opens the file of a run, to go on with it. The file's lock proves that
// no other process works on the run: otherwise the error matches ErrBusy. A
// run that is not there matches recovery.ErrNotFound.
func Open(dir, id string, o Options) (*Run, error) {
	path, err := runPath(dir, id)
	if err != nil {
		return nil, err
	}
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("run %s: %w in %s", id, recovery.ErrNotFound, dir)
	}
	for _, d := range []string{dir, filepath.Dir(path)} {
		if err := folder.Own("state folder", d); err != nil {
			return nil, err
		}
	}
	s, err := open(context.Background(), "run "+id, path, openMode{noSync: o.NoSync, wait: runLockWait})
	if errors.Is(err, ErrBusy) {
		return nil, fmt.Errorf("run %s: %w; wait until it has ended, or stop it, before going on with the run", id, ErrBusy)
	}
	if err != nil {
		return nil, err
	}
	return &Run{file: s, id: id, scratchQuota: o.scratchQuota()}, nil
}

// Entry is one run of a state folder.
type Entry struct {
	// Run is what the file says of the run. When Busy is true only the ID and
	// the status running are set, when Err is set only the ID.
	recovery.Run
	// Busy is true when a process works on the run.
	Busy bool
	// Err says why the file cannot be read.
	Err error
}

// List lists the runs of a state folder in the order of their ids. A folder
// that is not there has none.
func List(dir string) ([]Entry, error) {
	files, err := os.ReadDir(filepath.Join(dir, "runs"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("state folder: %w", err)
	}
	var out []Entry
	for _, f := range files {
		id, ok := strings.CutSuffix(f.Name(), ".db")
		if !ok || !validID.MatchString(id) {
			continue
		}
		out = append(out, look(dir, id))
	}
	return out, nil
}

// Known reports whether the state folder knows the run, and whether it has
// ended. A run that is being worked on, or whose file is damaged, has not
// ended as far as can be known.
func Known(dir, id string) (ended, known bool) {
	path, err := runPath(dir, id)
	if err != nil {
		return false, false
	}
	if _, err := os.Lstat(path); err != nil {
		return false, !errors.Is(err, fs.ErrNotExist)
	}
	return look(dir, id).Finished, true
}

// look reads what a run's file says, without waiting for its lock.
func look(dir, id string) Entry {
	e := Entry{Run: recovery.Run{ID: id}}
	path, err := runPath(dir, id)
	if err == nil {
		var run recovery.Run
		err = readFile(context.Background(), "run "+id, path, openMode{}, func(tx *bbolt.Tx) error { return getMeta(tx, keyRun, &run) })
		if err == nil {
			e.Run = run
			return e
		}
	}
	if errors.Is(err, ErrBusy) {
		e.Busy, e.Status = true, recovery.StatusRunning
		return e
	}
	e.Err = err
	return e
}

// readFile opens a file for one read that shares the lock with other readers.
func readFile(ctx context.Context, name, path string, m openMode, do func(*bbolt.Tx) error) error {
	m.readOnly = true
	db, f, err := openDB(ctx, name, path, m)
	if err != nil {
		return err
	}
	defer closeDB(db, f)
	err = view(db, func(tx *bbolt.Tx) error {
		if err := checkFormat(tx); err != nil {
			return err
		}
		return do(tx)
	})
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// ID returns the run's id.
func (r *Run) ID() string { return r.id }

// Close waits for writes under way and lets other processes open the run.
func (r *Run) Close() { r.close() }

// Record returns the run as it was last written.
func (r *Run) Record(ctx context.Context) (recovery.Run, error) {
	var run recovery.Run
	err := r.view(ctx, func(tx *bbolt.Tx) error { return getMeta(tx, keyRun, &run) })
	return run, err
}

// History returns the journal's records of tasks in the order of their
// numbers.
func (r *Run) History(ctx context.Context) ([]recovery.TaskRecord, error) {
	var out []recovery.TaskRecord
	err := r.view(ctx, func(tx *bbolt.Tx) (err error) {
		out, err = documents[recovery.TaskRecord](tx.Bucket(bucketTasks))
		return err
	})
	return out, err
}

// Values returns the values that tasks provided.
func (r *Run) Values(ctx context.Context) (map[string]json.RawMessage, error) {
	out := make(map[string]json.RawMessage)
	err := r.view(ctx, func(tx *bbolt.Tx) error {
		return tx.Bucket(bucketValues).ForEach(func(k, v []byte) error {
			out[string(k)] = append(json.RawMessage(nil), v...)
			return nil
		})
	})
	return out, err
}

// Start writes the run as it begins or goes on.
func (r *Run) Start(ctx context.Context, run recovery.Run) error { return r.putRun(ctx, run) }

// End writes the run as it ended.
func (r *Run) End(ctx context.Context, run recovery.Run) error { return r.putRun(ctx, run) }

func (r *Run) putRun(ctx context.Context, run recovery.Run) error {
	if run.ID != r.id {
		return fmt.Errorf("run %s: %w: it is not run %.140q", r.id, recovery.ErrInvalid, run.ID)
	}
	return r.update(ctx, func(tx *bbolt.Tx) error { return putMeta(tx, keyRun, run) })
}

// StartTask writes a record over the one with the same number.
func (r *Run) StartTask(ctx context.Context, rec recovery.TaskRecord) error {
	return r.FinishTask(ctx, rec, nil)
}

// FinishTask writes a record over the one with the same number, and values, in
// one transaction.
func (r *Run) FinishTask(ctx context.Context, rec recovery.TaskRecord, provided map[string]json.RawMessage) error {
	if rec.Seq < 1 {
		return fmt.Errorf("run %s: %w: a record without a number", r.id, recovery.ErrInvalid)
	}
	data, err := json.Marshal(rec)
	if err != nil {
		return fmt.Errorf("run %s: %w", r.id, err)
	}
	return r.update(ctx, func(tx *bbolt.Tx) error {
		if err := putValues(tx.Bucket(bucketValues), provided); err != nil {
			return err
		}
		return tx.Bucket(bucketTasks).Put(encodeInt(int64(rec.Seq)), data)
	})
}

// SetValues replaces all values.
func (r *Run) SetValues(ctx context.Context, values map[string]json.RawMessage) error {
	return r.update(ctx, func(tx *bbolt.Tx) error {
		if err := tx.DeleteBucket(bucketValues); err != nil {
			return err
		}
		b, err := tx.CreateBucket(bucketValues)
		if err != nil {
			return err
		}
		return putValues(b, values)
	})
}

func putValues(b *bbolt.Bucket, values map[string]json.RawMessage) error {
	for name, v := range values {
		if name == "" || !json.Valid(v) {
			return fmt.Errorf("value %q: %w: want a name and JSON", name, recovery.ErrInvalid)
		}
		if err := b.Put([]byte(name), v); err != nil {
			return err
		}
	}
	return nil
}

func putMeta(tx *bbolt.Tx, key []byte, doc any) error {
	data, err := json.Marshal(doc)
	if err != nil {
		return err
	}
	return tx.Bucket(bucketMeta).Put(key, data)
}

// getMeta decodes a document, or fails with recovery.ErrNotFound.
func getMeta(tx *bbolt.Tx, key []byte, into any) error {
	data := tx.Bucket(bucketMeta).Get(key)
	if data == nil {
		return fmt.Errorf("%s: %w", key, recovery.ErrNotFound)
	}
	return decode(data, into)
}
