package store

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/wasakari/wasakari/recovery"
)

// A backup is a line of JSON, the records, and a sum. A record is the length of
// its key, the length of its value, the revision that made it, each 8 bytes, big
// endian, then key and value; the key without what all keys begin with. A key
// of length 0 is followed by the number of records and the SHA-256 of all that
// was before.
type backupHead struct {
	Format   int       `json:"wasakari_backup"`
	Cluster  string    `json:"cluster"`
	Revision int64     `json:"revision"`
	Time     time.Time `json:"time"`
}

const (
	maxBackupHead = 4 << 10
	maxKey        = 8 << 10
	maxRecord     = 2 << 20
)

// leftOut reports whether a key, without what all keys begin with, is not part
// of a backup: what lives and dies with a process.
func leftOut(key string) bool {
	for _, prefix := range []string{"format", "r/seq", "r/lock/", "r/node/", "d/tx/", "restoring"} {
		if strings.HasPrefix(key, prefix) {
			return true
		}
	}
	return false
}

// Backup writes all that is durable, as it is at one moment, for Restore. It
// holds the modules and what libraries keep, and no credentials of Wasakari's.
func (s *Store) Backup(ctx context.Context, w io.Writer) error {
	if err := s.backup(ctx, w); err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	return nil
}

func (s *Store) backup(ctx context.Context, w io.Writer) error {
	resp, err := s.get(ctx, s.key.format)
	if err != nil {
		return err
	}
	rev := resp.Header.Revision
	head, err := json.Marshal(backupHead{Format: format, Cluster: s.cfg.Cluster, Revision: rev, Time: now()})
	if err != nil {
		return err
	}
	sum := sha256.New()
	out := bufio.NewWriterSize(io.MultiWriter(w, sum), 1<<20)
	count := uint64(0)
	if _, err := out.Write(append(head, '\n')); err != nil {
		return err
	}
	_, err = s.rangeAll(ctx, s.key.root, rev, func(key string, created, _ int64, value []byte) error {
		key = strings.TrimPrefix(key, s.key.root)
		if leftOut(key) {
			return nil
		}
		count++
		var lengths [24]byte
		binary.BigEndian.PutUint64(lengths[:], uint64(len(key)))
		binary.BigEndian.PutUint64(lengths[8:], uint64(len(value)))
		binary.BigEndian.PutUint64(lengths[16:], uint64(created)) //nolint:gosec // revisions are positive
		_, err := out.Write(slices.Concat(lengths[:], []byte(key), value))
		return err
	})
	if err != nil {
		return err
	}
	var tail [16]byte
	binary.BigEndian.PutUint64(tail[8:], count)
	if _, err := out.Write(tail[:]); err != nil {
		return err
	}
	if err := out.Flush(); err != nil {
		return err
	}
	_, err = w.Write(sum.Sum(nil))
	return err
}

// saved is one record of a backup.
type saved struct {
	key     string
	created int64
	value   []byte
}

// made tells when a record was made, as its number did. What has no first line has
// no number.
func (r saved) made() int64 {
	h, _, err := split(r.value)
	if err != nil {
		return id(r.created, 0)
	}
	return id(r.created, h.Place)
}

// ordered reports whether a record has a number, or an order of its own.
func (r saved) ordered() bool {
	for _, prefix := range []string{"r/segment/", "r/host/", "r/notification/", "r/run/", "r/vmove/"} {
		if strings.HasPrefix(r.key, prefix) {
			return true
		}
	}
	return strings.HasPrefix(r.key, "d/run/") && (strings.Contains(r.key, "/undo/") || strings.Contains(r.key, "/open/") || strings.Contains(r.key, "/ended/"))
}

// at gives the value with another place.
func (r saved) at(place int64) ([]byte, error) {
	h, body, err := split(r.value)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", r.key, err)
	}
	h.Place = place
	return join(h, body), nil
}

// open reports whether a record is that of a run that has not ended, and which.
func (r saved) open() (run string, is bool) {
	run, is = strings.CutPrefix(r.key, "r/run/")
	if !is {
		return "", false
	}
	var doc struct {
		Finished bool `json:"finished"`
	}
	return run, decode(r.value, &doc) != nil || !doc.Finished
}

// readBackup calls each with every record of a backup. Whatever each did counts
// only when the error is nil: it matches ErrDamaged, or ErrNewer.
func readBackup(r io.Reader, each func(saved) error) error {
	sum := sha256.New()
	in := &summed{r: bufio.NewReaderSize(r, 1<<20), sum: sum}
	line, err := in.line(maxBackupHead)
	if err != nil {
		return err
	}
	var head backupHead
	if err := json.Unmarshal(line, &head); err != nil || head.Format < 1 {
		return fmt.Errorf("%w: this is no backup", ErrDamaged)
	}
	if head.Format > format {
		return fmt.Errorf("%w: format %d, and this one knows up to %d", ErrNewer, head.Format, format)
	}
	for count := uint64(0); ; count++ {
		var first [16]byte
		if err := in.full(first[:]); err != nil {
			return err
		}
		keyLen, second := binary.BigEndian.Uint64(first[:]), binary.BigEndian.Uint64(first[8:])
		if keyLen == 0 {
			want := sum.Sum(nil)
			var got [sha256.Size]byte
			if _, err := io.ReadFull(in.r, got[:]); err != nil || second != count || !bytes.Equal(got[:], want) {
				return fmt.Errorf("%w: the sum does not fit", ErrDamaged)
			}
			return nil
		}
		if keyLen > maxKey || second > maxRecord {
			return fmt.Errorf("%w: a record of %d and %d bytes", ErrDamaged, keyLen, second)
		}
		var created [8]byte
		data := make([]byte, keyLen+second)
		if err := errors.Join(in.full(created[:]), in.full(data)); err != nil {
			return err
		}
		rec := saved{key: string(data[:keyLen]), value: data[keyLen:], created: int64(binary.BigEndian.Uint64(created[:]))} //nolint:gosec // only their order counts
		if !strings.HasPrefix(rec.key, "r/") && !strings.HasPrefix(rec.key, "d/") || leftOut(rec.key) {
			return fmt.Errorf("%w: key %.80q", ErrDamaged, rec.key)
		}
		if err := each(rec); err != nil {
			return err
		}
	}
}

// summed reads and sums up what it reads.
type summed struct {
	r   *bufio.Reader
	sum hash.Hash
}

func (s *summed) full(p []byte) error {
	if _, err := io.ReadFull(s.r, p); err != nil {
		return fmt.Errorf("%w: the end is missing: %w", ErrDamaged, err)
	}
	s.sum.Write(p)
	return nil
}

func (s *summed) line(most int) ([]byte, error) {
	var out []byte
	for len(out) < most {
		b, err := s.r.ReadByte()
		if err != nil {
			return nil, fmt.Errorf("%w: this is no backup", ErrDamaged)
		}
		s.sum.Write([]byte{b})
		if b == '\n' {
			return out, nil
		}
		out = append(out, b)
	}
	return nil, fmt.Errorf("%w: this is no backup", ErrDamaged)
}

// Restore fills an empty store, a folder or a cluster, with a backup. It is also
// how a folder's content moves to a cluster. Numbers that the API shows are given
// anew, in the former order. The node of the backup must no longer run: runs that
// have not ended are gone on with.
//
// A store whose restoration broke off cannot be opened; the error then says so.
// One that is not empty matches recovery.ErrExists.
func Restore(ctx context.Context, cfg Config, r io.Reader) error {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return err
	}
	s := newStore(cfg)
	if err := s.connect(ctx); err != nil {
		return err
	}
	err := s.restore(ctx, r)
	if err != nil {
		err = fmt.Errorf("restore: %w", err)
	}
	return errors.Join(err, s.Close())
}

func (s *Store) restore(ctx context.Context, r io.Reader) error {
	if s.own == nil {
		if err := s.checkServers(ctx); err != nil {
			return err
		}
	}
	resp, err := s.get(ctx, s.key.root, clientv3.WithPrefix(), clientv3.WithKeysOnly(), clientv3.WithLimit(1))
	if err != nil {
		return err
	}
	if len(resp.Kvs) > 0 {
		return fmt.Errorf("%w: the store is not empty", recovery.ErrExists)
	}
	res, err := s.commit(ctx, (&txn{name: "restore.begin"}).when(none(s.key.root+"r/"), absent(s.key.format), absent(s.key.restoring)).do(put(s.key.restoring, nil)))
	if err != nil {
		return err
	}
	if !res.ok {
		return fmt.Errorf("%w: the store is not empty", recovery.ErrExists)
	}
	// Modules are written as they come; the rest is put into the order in which it
	// was made.
	var rest []saved
	if err := readBackup(r, func(rec saved) error {
		if strings.HasPrefix(rec.key, "d/chunk/") {
			_, err := s.commit(ctx, (&txn{name: "restore"}).do(put(s.key.root+rec.key, rec.value)))
			return err
		}
		rest = append(rest, rec)
		return nil
	}); err != nil {
		return err
	}
	if err := s.restoreAll(ctx, rest); err != nil {
		return err
	}
	_, err = s.commit(ctx, (&txn{name: "restore.end"}).do(clientv3.OpDelete(s.key.restoring), put(s.key.format, []byte(strconv.Itoa(format)))))
	return err
}

// restoreAll writes records in the order in which they were made: as many in one
// transaction as it takes, each with its place. A record of a run that has not
// ended loses its place when it is written again: it gets a revision of its own.
func (s *Store) restoreAll(ctx context.Context, all []saved) error {
	made := make(map[string]int64, len(all))
	open := map[string]bool{}
	for _, rec := range all {
		made[rec.key] = rec.made()
		if run, is := rec.open(); is {
			open[run] = true
		}
	}
	slices.SortStableFunc(all, func(a, b saved) int { return cmp.Compare(made[a.key], made[b.key]) })
	t, size := &txn{name: "restore"}, 0
	flush := func() error {
		if len(t.ops) == 0 {
			return nil
		}
		_, err := s.commit(ctx, t)
		t, size = &txn{name: "restore"}, 0
		return err
	}
	for _, rec := range all {
		ordered := rec.ordered()
		alone := !ordered && strings.HasPrefix(rec.key, "r/") && !strings.HasPrefix(rec.key, "r/task/")
		if ordered && (strings.HasPrefix(rec.key, "r/run/") || strings.HasPrefix(rec.key, "d/run/")) {
			run, _, _ := strings.Cut(rec.key[len("r/run/"):], "/")
			alone = open[run]
		}
		if alone || len(t.ops) >= maxOps-10 || size+len(rec.value) > maxBytes-(64<<10) {
			if err := flush(); err != nil {
				return err
			}
		}
		if ordered {
			var err error
			if rec.value, err = rec.at(int64(len(t.ops))); err != nil {
				return err
			}
		}
		t.do(put(s.key.root+rec.key, rec.value))
		size += len(rec.value) + len(rec.key) + 256
		if alone {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	return flush()
}
