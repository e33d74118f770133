package store

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/wasakari/wasakari/recovery"
)

const (
	// slotCount bounds how many transactions of this process are under way.
	slotCount = 64
	// tryBound bounds one request to etcd, writeBound a transaction with its
	// repetitions, and readBound a read with its own.
	tryBound   = 5 * time.Second
	writeBound = 20 * time.Second
	readBound  = 10 * time.Second
	// A request is repeated after a while that grows from firstPause to lastPause.
	firstPause = 20 * time.Millisecond
	lastPause  = time.Second

	// maxOps and maxBytes bound one transaction. etcd takes 128 and 1.5 MiB.
	maxOps   = 100
	maxBytes = 1400 << 10
)

// txn is one transaction: its ops are done when all compares hold. Else its
// reads are.
type txn struct {
	name  string // of the step, such as "run.end"
	cmps  []clientv3.Cmp
	ops   []clientv3.Op
	reads []clientv3.Op
}

func (t *txn) when(c ...clientv3.Cmp) *txn     { t.cmps = append(t.cmps, c...); return t }
func (t *txn) do(o ...clientv3.Op) *txn        { t.ops = append(t.ops, o...); return t }
func (t *txn) otherwise(o ...clientv3.Op) *txn { t.reads = append(t.reads, o...); return t }

func put(key string, value []byte, opts ...clientv3.OpOption) clientv3.Op {
	return clientv3.OpPut(key, string(value), opts...)
}

func absent(key string) clientv3.Cmp { return clientv3.Compare(clientv3.CreateRevision(key), "=", 0) }

// none holds when no key begins with prefix.
func none(prefix string) clientv3.Cmp { return absent(prefix).WithPrefix() }

func present(key string) clientv3.Cmp { return clientv3.Compare(clientv3.CreateRevision(key), ">", 0) }

// unchanged holds while the key is as it was read; mod 0: not there.
func unchanged(key string, mod int64) clientv3.Cmp {
	return clientv3.Compare(clientv3.ModRevision(key), "=", mod)
}

// result tells what became of a transaction.
type result struct {
	ok    bool  // the compares held and the ops were done
	rev   int64 // revision of the ops
	reads []*pb.RangeResponse
}

// slot is a key that one transaction of this process at a time writes, so that
// its outcome can be told when no answer came: it was made when the key holds
// its mark. Because each compares the slot's revision too, one that is sent
// again is made once at most.
type slot struct {
	key   string
	mod   int64
	known bool
}

// commit makes a transaction. It does not return early when ctx ends after the
// transaction was sent.
func (s *Store) commit(ctx context.Context, t *txn) (result, error) {
	if err := ctx.Err(); err != nil {
		return result{}, fmt.Errorf("%s: %w", t.name, err)
	}
	if s.closed() {
		return result{}, fmt.Errorf("%s: %w", t.name, fs.ErrClosed)
	}
	var sl *slot
	select {
	case sl = <-s.slots:
	case <-ctx.Done():
		return result{}, fmt.Errorf("%s: %w", t.name, ctx.Err())
	case <-s.done:
		return result{}, fmt.Errorf("%s: %w", t.name, fs.ErrClosed)
	}
	defer func() { s.slots <- sl }()
	s.step(t.name)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), writeBound)
	defer cancel()
	began := time.Now()
	res, err := s.send(ctx, t, sl)
	if s.cfg.Committed != nil {
		why := err
		if err == nil && !res.ok {
			why = recovery.ErrConflict
		}
		s.cfg.Committed(t.name, time.Since(began), why)
	}
	if err != nil {
		return res, fmt.Errorf("%s: %w", t.name, err)
	}
	return res, nil
}

// step tells of a durable write that is about to be made.
func (s *Store) step(name string) {
	if s.cfg.Step != nil {
		s.cfg.Step(name)
	}
}

func (s *Store) send(ctx context.Context, t *txn, sl *slot) (result, error) {
	mark := newMark()
	ops := t.ops
	for _, op := range ops {
		if bytes.HasPrefix(op.KeyBytes(), []byte(s.key.watched)) {
			ops = append(ops[:len(ops):len(ops)], clientv3.OpPut(s.key.seq, ""))
			break
		}
	}
	ops = append(ops[:len(ops):len(ops)], clientv3.OpPut(sl.key, mark))
	reads := append([]clientv3.Op{clientv3.OpGet(sl.key)}, t.reads...)
	if n := max(len(t.cmps)+1, len(ops), len(reads)); n > maxOps+3 {
		return result{}, fmt.Errorf("%w: a transaction of %d ops", recovery.ErrTooLarge, n)
	}
	sent := false // once at least, without an answer
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		res, again, err := s.try(ctx, t.cmps, ops, reads, sl, mark, &sent)
		if !again {
			return res, err
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
			continue
		case <-ctx.Done():
		case <-s.done:
			err = fs.ErrClosed
		}
		timer.Stop()
		if sent {
			return result{}, fmt.Errorf("%w: %w", recovery.ErrUnknownOutcome, err)
		}
		return result{}, err
	}
}

// try sends a transaction once.
func (s *Store) try(ctx context.Context, cmps []clientv3.Cmp, ops, reads []clientv3.Op, sl *slot, mark string, sent *bool) (res result, again bool, err error) {
	if !sl.known {
		kv, err := s.getOnce(ctx, sl.key)
		if err != nil {
			return result{}, true, translate(err)
		}
		sl.mod, sl.known = 0, true
		if len(kv.Kvs) == 1 {
			sl.mod = kv.Kvs[0].ModRevision
			if *sent && string(kv.Kvs[0].Value) == mark {
				return result{ok: true, rev: sl.mod}, false, nil
			}
		}
	}
	try, cancel := context.WithTimeout(ctx, tryBound)
	defer cancel()
	resp, err := s.etcd.Txn(try).If(append(cmps[:len(cmps):len(cmps)], unchanged(sl.key, sl.mod))...).Then(ops...).Else(reads...).Commit()
	if err != nil {
		sl.known = false
		if refused(err) && !*sent {
			return result{}, false, translate(err)
		}
		if refused(err) {
			// The one that was sent before may have been made, or be made yet.
			return s.settle(ctx, sl, mark, translate(err))
		}
		*sent = true
		return result{}, true, translate(err)
	}
	if resp.Succeeded {
		sl.mod = resp.Header.Revision
		return result{ok: true, rev: resp.Header.Revision}, false, nil
	}
	var mod int64
	var value string
	if kvs := resp.Responses[0].GetResponseRange().GetKvs(); len(kvs) == 1 {
		mod, value = kvs[0].ModRevision, string(kvs[0].Value)
	}
	if mod != sl.mod {
		sl.mod = mod
		if value == mark {
			return result{ok: true, rev: mod}, false, nil
		}
		return result{}, true, recovery.ErrUnavailable // a late transaction of the slot's former user
	}
	for _, r := range resp.Responses[1:] {
		res.reads = append(res.reads, r.GetResponseRange())
	}
	return res, false, nil
}

// settle makes sure that a transaction without an answer is not made any more,
// or finds that it was.
func (s *Store) settle(ctx context.Context, sl *slot, mark string, cause error) (res result, again bool, err error) {
	kv, err := s.getOnce(ctx, sl.key)
	if err != nil {
		return result{}, true, translate(err)
	}
	var mod int64
	if len(kv.Kvs) == 1 {
		mod = kv.Kvs[0].ModRevision
		if string(kv.Kvs[0].Value) == mark {
			sl.mod, sl.known = mod, true
			return result{ok: true, rev: mod}, false, nil
		}
	}
	try, cancel := context.WithTimeout(ctx, tryBound)
	defer cancel()
	resp, err := s.etcd.Txn(try).If(unchanged(sl.key, mod)).Then(clientv3.OpPut(sl.key, newMark())).Commit()
	if err != nil || !resp.Succeeded {
		return result{}, true, cause
	}
	sl.mod, sl.known = resp.Header.Revision, true
	return result{}, false, cause
}

func newMark() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	return strconv.FormatInt(time.Now().Unix(), 10) + " " + hex.EncodeToString(b[:])
}

// rest waits, and reports whether ctx let it.
func rest(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func (s *Store) getOnce(ctx context.Context, key string, opts ...clientv3.OpOption) (*clientv3.GetResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, tryBound)
	defer cancel()
	return s.etcd.Get(ctx, key, opts...)
}

// get reads by quorum, and repeats what fails for a while.
func (s *Store) get(ctx context.Context, key string, opts ...clientv3.OpOption) (*clientv3.GetResponse, error) {
	var out *clientv3.GetResponse
	err := s.read(ctx, func(ctx context.Context) (err error) {
		out, err = s.etcd.Get(ctx, key, opts...)
		return err
	})
	return out, err
}

// getAll reads several keys or ranges at one revision.
func (s *Store) getAll(ctx context.Context, ops ...clientv3.Op) (out []*pb.RangeResponse, err error) {
	err = s.read(ctx, func(ctx context.Context) error {
		resp, err := s.etcd.Txn(ctx).Then(ops...).Commit()
		if err != nil {
			return err
		}
		out = out[:0]
		for _, r := range resp.Responses {
			out = append(out, r.GetResponseRange())
		}
		return nil
	})
	return out, err
}

func (s *Store) read(ctx context.Context, do func(context.Context) error) error {
	if s.closed() {
		return fs.ErrClosed
	}
	bound, cancel := context.WithTimeout(ctx, readBound)
	defer cancel()
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		try, cancel := context.WithTimeout(bound, tryBound)
		err := do(try)
		cancel()
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if refused(err) {
			return translate(err)
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
			continue
		case <-bound.Done():
			err = translate(err)
			if ctx.Err() != nil {
				err = ctx.Err()
			}
		case <-s.done:
			err = fs.ErrClosed
		}
		timer.Stop()
		return err
	}
}

// rangeAll reads all keys below prefix, page by page, as they were at one
// revision, which it returns.
func (s *Store) rangeAll(ctx context.Context, prefix string, rev int64, each func(key string, created, mod int64, value []byte) error) (int64, error) {
	return s.rangePages(ctx, prefix, rev, func(kvs []*mvccpb.KeyValue) error {
		for _, kv := range kvs {
			if err := each(string(kv.Key), kv.CreateRevision, kv.ModRevision, kv.Value); err != nil {
				return err
			}
		}
		return nil
	})
}

// rangePages is rangeAll for whoever takes whole pages.
func (s *Store) rangePages(ctx context.Context, prefix string, rev int64, take func([]*mvccpb.KeyValue) error) (int64, error) {
	// A page is of about so many bytes, whatever the records are.
	const first, most, bytes = 20, 1000, 4 << 20
	from, end, page := prefix, clientv3.GetPrefixRangeEnd(prefix), int64(first)
	for {
		opts := []clientv3.OpOption{clientv3.WithRange(end), clientv3.WithLimit(page)}
		if rev > 0 {
			opts = append(opts, clientv3.WithRev(rev))
		}
		resp, err := s.get(ctx, from, opts...)
		if err != nil {
			return 0, err
		}
		if rev == 0 {
			rev = resp.Header.Revision
		}
		var size int64
		for _, kv := range resp.Kvs {
			size += int64(len(kv.Key) + len(kv.Value) + 1)
		}
		more := resp.More && len(resp.Kvs) > 0
		if more { // before they are given away
			from = string(resp.Kvs[len(resp.Kvs)-1].Key) + "\x00"
			page = max(1, min(most, 10*page, bytes*int64(len(resp.Kvs))/size))
		}
		if err := take(resp.Kvs); err != nil {
			return 0, err
		}
		if !more {
			return rev, nil
		}
	}
}

// meaning lists the errors with which etcd answers that it did not do, and never
// will do, what was asked, and what each means to us.
var meaning = map[error]error{
	rpctypes.ErrEmptyKey: recovery.ErrInvalid, rpctypes.ErrDuplicateKey: recovery.ErrInvalid, rpctypes.ErrFutureRev: recovery.ErrInvalid,
	rpctypes.ErrTooManyOps: recovery.ErrTooLarge, rpctypes.ErrRequestTooLarge: recovery.ErrTooLarge,
	rpctypes.ErrPermissionDenied: recovery.ErrForbidden, rpctypes.ErrAuthFailed: recovery.ErrForbidden,
	rpctypes.ErrUserEmpty: recovery.ErrForbidden, rpctypes.ErrUserNotFound: recovery.ErrForbidden, rpctypes.ErrRoleNotFound: recovery.ErrForbidden,
	rpctypes.ErrNoSpace: recovery.ErrUnavailable, rpctypes.ErrCorrupt: recovery.ErrUnavailable,
	rpctypes.ErrLeaseNotFound: recovery.ErrLeaseLost, rpctypes.ErrCompacted: recovery.ErrUnavailable,
}

// refused reports whether etcd answered that it did not do, and never will do,
// what was asked.
func refused(err error) bool { return meaning[rpctypes.Error(err)] != nil }

func compactedAlready(err error) bool { return errors.Is(rpctypes.Error(err), rpctypes.ErrCompacted) }

// translate gives an error of etcd one of our sentinels.
func translate(err error) error {
	as := meaning[rpctypes.Error(err)]
	switch {
	case as == nil:
		as = recovery.ErrUnavailable
	case compactedAlready(err):
		return err
	case errors.Is(as, recovery.ErrLeaseLost):
		return as
	case errors.Is(rpctypes.Error(err), rpctypes.ErrNoSpace):
		return fmt.Errorf("%w: %w: etcd's database is full; see store compact", as, recovery.ErrQuota)
	}
	text := err.Error()
	if st, ok := status.FromError(err); ok && st.Code() != codes.Unknown {
		text = st.Message()
	}
	if errors.Is(err, context.DeadlineExceeded) {
		text = "no answer in time"
	}
	return fmt.Errorf("%w: etcd: %s", as, strings.TrimPrefix(text, "etcdserver: "))
}
