package runstate

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"sync"
	"time"

	"go.etcd.io/bbolt"
	bbolterrors "go.etcd.io/bbolt/errors"

	"github.com/wasakari/wasakari/recovery"
)

// Errors that callers tell apart.
var (
	// ErrBusy says that another process has the file.
	ErrBusy = errors.New("still being worked on by another process")
	// ErrDamaged says that a file cannot be read as what it should be.
	ErrDamaged = errors.New("damaged")
	// ErrNewer says that a newer Wasakari wrote the file.
	ErrNewer = errors.New("written by a newer wasakari")
)

const (
	format = 1 // of both kinds of file

	// runLockWait is how long Open waits for a process that is just ending.
	runLockWait = 500 * time.Millisecond
	// lockPoll is the time between two tries for a file's lock.
	lockPoll = 5 * time.Millisecond
	// batch bounds how many writes share a transaction.
	batch = 256
)

var (
	bucketMeta = []byte("meta")
	keyFormat  = []byte("format")
)

// file is an open bbolt file. Its writes go through one goroutine, which puts
// those that came while it was writing into one transaction: a single writer
// waits for nobody, many share one fsync.
type file struct {
	name   string // for errors
	db     *bbolt.DB
	f      *os.File
	writes chan *write
	stop   chan struct{}
	done   chan struct{}
	once   sync.Once
	broken error // set by the writing goroutine, read there and after done
}

type write struct {
	do  func(*bbolt.Tx) error
	err chan error
}

// openMode says how a file is opened.
type openMode struct {
	create   bool // it is empty and becomes a database
	readOnly bool
	trusted  bool // its pages were verified before
	noSync   bool
	wait     time.Duration // for the lock
}

// openDB opens a bbolt file and takes its lock. A file that cannot be read as
// one is an error, never a panic.
func openDB(ctx context.Context, name, path string, m openMode) (db *bbolt.DB, f *os.File, err error) {
	until := time.Now().Add(m.wait)
	for {
		db, f, err = tryOpen(name, path, m)
		if !errors.Is(err, ErrBusy) || time.Now().After(until) {
			return db, f, err
		}
		timer := time.NewTimer(lockPoll)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil, nil, fmt.Errorf("%s: waiting for the lock: %w", name, ctx.Err())
		}
	}
}

func tryOpen(name, path string, m openMode) (db *bbolt.DB, f *os.File, err error) {
	o := *bbolt.DefaultOptions
	o.Timeout = time.Nanosecond // one try: openDB repeats them, and heeds its context
	o.ReadOnly, o.NoSync, o.NoGrowSync, o.NoStatistics = m.readOnly, m.noSync, m.noSync, true
	o.OpenFile = func(path string, flag int, mode os.FileMode) (*os.File, error) {
		var err error
		f, err = os.OpenFile(path, flag&^os.O_CREATE, mode) //nolint:gosec // the path is made of a checked id
		if err != nil {
			return nil, err
		}
		if err := lock(f, m.readOnly); err != nil {
			return nil, err
		}
		if !m.create && !m.trusted {
			info, err := f.Stat()
			if err == nil {
				err = verify(f, info.Size())
			}
			if err != nil {
				return nil, fmt.Errorf("%s: %w", path, err)
			}
		}
		return f, nil
	}
	err = safely(func() (err error) {
		db, err = bbolt.Open(path, 0o600, &o)
		return err
	})
	switch {
	case err == nil:
		return db, f, nil
	case errors.Is(err, bbolterrors.ErrTimeout):
		err = ErrBusy
	case errors.Is(err, bbolterrors.ErrInvalid), errors.Is(err, bbolterrors.ErrChecksum), errors.Is(err, bbolterrors.ErrVersionMismatch):
		err = fmt.Errorf("%s: %w: %w", path, ErrDamaged, err)
	}
	if f != nil {
		release(f) // bbolt does not after a panic
	}
	return nil, nil, fmt.Errorf("%s: %w", name, err)
}

// safely turns a panic, and a fault in mapped memory, into an error: bbolt
// trusts the pages of its file.
func safely(do func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", ErrDamaged, p)
		}
	}()
	return do()
}

// open opens a file for writing and checks its format.
func open(ctx context.Context, name, path string, m openMode) (*file, error) {
	db, f, err := openDB(ctx, name, path, m)
	if err != nil {
		return nil, err
	}
	s := &file{
		name: name, db: db, f: f,
		writes: make(chan *write), stop: make(chan struct{}), done: make(chan struct{}),
	}
	if !m.create {
		if err := s.view(ctx, checkFormat); err != nil {
			closeDB(db, f)
			return nil, err
		}
	}
	go s.serve()
	return s, nil
}

func closeDB(db *bbolt.DB, f *os.File) {
	if err := safely(db.Close); err != nil {
		release(f)
	}
}

func checkFormat(tx *bbolt.Tx) error {
	meta := tx.Bucket(bucketMeta)
	if meta == nil {
		return fmt.Errorf("%w: no bucket %s", ErrDamaged, bucketMeta)
	}
	n, err := strconv.Atoi(string(meta.Get(keyFormat)))
	switch {
	case err != nil:
		return fmt.Errorf("%w: no format", ErrDamaged)
	case n > format:
		return fmt.Errorf("%w: format %d, and this one knows up to %d; go on with the newer one", ErrNewer, n, format)
	}
	return nil
}

// initialise writes the format and makes buckets.
func initialise(tx *bbolt.Tx, buckets ...[]byte) error {
	meta, err := tx.CreateBucket(bucketMeta)
	if err != nil {
		return err
	}
	for _, name := range buckets {
		if _, err := tx.CreateBucket(name); err != nil {
			return err
		}
	}
	return meta.Put(keyFormat, []byte(strconv.Itoa(format)))
}

// create makes a file that appears under its path only when it is complete,
// with what do writes. It fails with fs.ErrExist when path is there.
func create(ctx context.Context, name, path string, noSync bool, do func(*bbolt.Tx) error) (*file, error) {
	dir := filepath.Dir(path)
	tmp, err := os.CreateTemp(dir, ".new-*")
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	defer os.Remove(tmp.Name()) //nolint:errcheck // a left-over is ignored everywhere
	if err := tmp.Close(); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	s, err := open(ctx, name, tmp.Name(), openMode{create: true, noSync: noSync})
	if err != nil {
		return nil, err
	}
	err = s.update(ctx, do)
	if err == nil {
		// The lock belongs to the file, not to its name.
		err = os.Link(tmp.Name(), path)
	}
	if err == nil {
		err = syncFolder(dir)
	}
	if err != nil {
		s.close()
		if errors.Is(err, fs.ErrExist) {
			return nil, fmt.Errorf("%s: %w", name, fs.ErrExist)
		}
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return s, nil
}

func syncFolder(dir string) error {
	d, err := os.Open(dir) //nolint:gosec // our own folder
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// close waits for the writes under way and gives the file back.
func (s *file) close() {
	s.once.Do(func() {
		close(s.stop)
		<-s.done
		if s.broken != nil {
			release(s.f) // bbolt's own locks may still be held
			return
		}
		closeDB(s.db, s.f)
	})
}

// update makes a change durable. It does not return early when ctx ends after
// the change was handed over: its outcome would be unknown.
func (s *file) update(ctx context.Context, do func(*bbolt.Tx) error) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%s: %w", s.name, err)
	}
	w := &write{do: do, err: make(chan error, 1)}
	select {
	case s.writes <- w:
	case <-s.stop:
		return fmt.Errorf("%s: %w", s.name, fs.ErrClosed)
	case <-ctx.Done():
		return fmt.Errorf("%s: %w", s.name, ctx.Err())
	}
	if err := <-w.err; err != nil {
		return fmt.Errorf("%s: %w", s.name, err)
	}
	return nil
}

// serve writes until the file is closed.
func (s *file) serve() {
	defer close(s.done)
	for {
		var group []*write
		select {
		case w := <-s.writes:
			group = append(group, w)
		case <-s.stop:
			return
		}
	more:
		for len(group) < batch {
			select {
			case w := <-s.writes:
				group = append(group, w)
			default:
				break more
			}
		}
		s.commit(group)
	}
}

// commit writes a group in one transaction. A change that fails is taken out,
// and the others are tried again without it.
func (s *file) commit(group []*write) {
	for len(group) > 0 && s.broken == nil {
		failed := -1
		var cause error
		panicked := true
		err := safely(func() error {
			err := s.db.Update(func(tx *bbolt.Tx) error {
				for i, w := range group {
					if cause = w.do(tx); cause != nil {
						failed = i
						return cause
					}
				}
				return nil
			})
			panicked = false
			return err
		})
		switch {
		case panicked:
			s.broken = err
		case failed >= 0:
			group[failed].err <- cause
			group = append(group[:failed:failed], group[failed+1:]...)
		default:
			for _, w := range group {
				w.err <- err
			}
			return
		}
	}
	for _, w := range group {
		w.err <- s.broken
	}
}

// view reads. What do keeps of the pages must be copied.
func (s *file) view(ctx context.Context, do func(*bbolt.Tx) error) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%s: %w", s.name, err)
	}
	if err := view(s.db, do); err != nil {
		return fmt.Errorf("%s: %w", s.name, err)
	}
	return nil
}

func view(db *bbolt.DB, do func(*bbolt.Tx) error) error {
	err := safely(func() error { return db.View(do) })
	if errors.Is(err, bbolterrors.ErrDatabaseNotOpen) {
		return fs.ErrClosed
	}
	return err
}

// A table is a bucket of JSON documents that keeps the order in which they were
// first put: "ids" leads from id to number, "rows" from number to document.
var (
	tableIDs  = []byte("ids")
	tableRows = []byte("rows")
)

func putRow(b *bbolt.Bucket, id string, doc any) error {
	if id == "" {
		return fmt.Errorf("%w: a document of %T without an id", recovery.ErrInvalid, doc)
	}
	data, err := json.Marshal(doc)
	if err != nil {
		return err
	}
	ids, err := b.CreateBucketIfNotExists(tableIDs)
	if err != nil {
		return err
	}
	rows, err := b.CreateBucketIfNotExists(tableRows)
	if err != nil {
		return err
	}
	key := ids.Get([]byte(id))
	if key == nil {
		n, err := rows.NextSequence()
		if err != nil {
			return err
		}
		key = number(n)
		if err := ids.Put([]byte(id), key); err != nil {
			return err
		}
	} else {
		key = append([]byte(nil), key...)
	}
	return rows.Put(key, data)
}

func hasRow(b *bbolt.Bucket, id string) bool {
	ids := b.Bucket(tableIDs)
	return ids != nil && ids.Get([]byte(id)) != nil
}

func dropRow(b *bbolt.Bucket, id string) error {
	ids, rows := b.Bucket(tableIDs), b.Bucket(tableRows)
	if ids == nil || rows == nil {
		return nil
	}
	key := append([]byte(nil), ids.Get([]byte(id))...)
	if len(key) == 0 {
		return nil
	}
	return errors.Join(ids.Delete([]byte(id)), rows.Delete(key))
}

func readRows[T any](b *bbolt.Bucket) ([]T, error) {
	rows := b.Bucket(tableRows)
	if rows == nil {
		return nil, nil
	}
	return documents[T](rows)
}

// documents decodes all values of a bucket.
func documents[T any](b *bbolt.Bucket) ([]T, error) {
	var out []T
	err := b.ForEach(func(_, v []byte) error {
		var doc T
		if err := decode(v, &doc); err != nil {
			return err
		}
		out = append(out, doc)
		return nil
	})
	return out, err
}

func decode(data []byte, into any) error {
	if err := json.Unmarshal(data, into); err != nil {
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return nil
}

// number makes a key that sorts as n does.
func number(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }
