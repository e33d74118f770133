package store

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"slices"
	"strconv"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/wasakari/wasakari/recovery"
)

// Run is a run that this node has claimed. It is safe for concurrent use.
// Whoever claimed it ends it with End or Requeue, gives it back with Release,
// or, when it cannot go on with it, closes it.
//
// Each write is made only while the claim holds: else the error matches
// recovery.ErrLeaseLost, and nothing can be written any more. After the end of
// the claim the error matches fs.ErrClosed.
type Run struct {
	s       *Store
	id      string
	session *session
	token   int64 // create revision of the lock
	place   place
	itemKey string
	item    recovery.QueueItem
	fixed   recovery.Run // as it was claimed
	claims  int
	// firstChange is when the run may make its first change; zero: at once.
	firstChange time.Time

	lost    chan struct{}
	aborted chan recovery.Abort

	mu    sync.Mutex
	gone  bool // lost is closed
	ended bool
	wish  recovery.Abort // that was told last

	values     sync.RWMutex
	generation string // of the values; empty: not read yet
	next       int
}

// ID returns the run's id.
func (r *Run) ID() string { return r.id }

// Claims counts how often the run was claimed, by whichever node, this time
// included.
func (r *Run) Claims() int { return r.claims }

// Deliveries counts the runs of the notification, this one included.
func (r *Run) Deliveries() int { return r.item.Deliveries }

// Lost is closed when the claim is lost.
func (r *Run) Lost() <-chan struct{} { return r.lost }

// Aborted gives the wish that the run ends when there is one. A later wish
// comes anew.
func (r *Run) Aborted() <-chan recovery.Abort { return r.aborted }

// FirstChange is when the run may make its first change: a node that worked on
// it before may have a request under way until then. Zero: at once.
func (r *Run) FirstChange() time.Time { return r.firstChange }

func (r *Run) lose() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.gone && !r.ended {
		r.gone = true
		close(r.lost)
	}
}

func (r *Run) tellAbort(a recovery.Abort) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if a == r.wish {
		return
	}
	r.wish = a
	select {
	case <-r.aborted:
	default:
	}
	r.aborted <- a
}

// over ends the claim on this side.
func (r *Run) over() {
	r.mu.Lock()
	r.ended = true
	r.mu.Unlock()
	r.s.mu.Lock()
	if r.s.claims[r.id] == r {
		delete(r.s.claims, r.id)
	}
	r.s.mu.Unlock()
}

func (r *Run) state() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.gone:
		return recovery.ErrLeaseLost
	case r.ended:
		return fs.ErrClosed
	}
	return nil
}

func (r *Run) wrap(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("run %s: %w", r.id, err)
}

// write makes a transaction that holds only while the claim does. It reports
// whether its own compares held too.
func (r *Run) write(ctx context.Context, t *txn) (result, error) {
	if err := r.state(); err != nil {
		return result{}, err
	}
	reads := t.reads
	t.reads = append([]clientv3.Op{clientv3.OpGet(r.place.lock, clientv3.WithKeysOnly())}, reads...)
	res, err := r.s.commit(ctx, t.when(clientv3.Compare(clientv3.CreateRevision(r.place.lock), "=", r.token)))
	if err != nil || res.ok {
		return res, err
	}
	if _, created, _ := found(res.reads[0]); created != r.token {
		r.lose()
		return res, recovery.ErrLeaseLost
	}
	res.reads = res.reads[1:]
	return res, nil
}

// set writes without compares of its own.
func (r *Run) set(ctx context.Context, t *txn) error {
	_, err := r.write(ctx, t)
	return r.wrap(err)
}

func (r *Run) data() string { return r.s.key.runData(r.id) }

// Check waits until the run may make its first change, and fails with
// recovery.ErrLeaseLost when the lease was not renewed for two thirds of its
// time: another node could then go on with the run soon. d is how long the
// change may take; what could outlast the wait of another node is refused.
func (r *Run) Check(ctx context.Context, d time.Duration) error { return r.wrap(r.check(ctx, d)) }

func (r *Run) check(ctx context.Context, d time.Duration) error {
	if wait := r.s.cfg.TakeOverWait; r.s.own == nil && d > wait {
		return fmt.Errorf("%w: a change may take %s, longer than the %s that a node waits before it goes on with another one's run", recovery.ErrInvalid, d, wait)
	}
	for {
		if err := r.state(); err != nil {
			return err
		}
		if !r.session.good() {
			return fmt.Errorf("%w: not renewed for %s", recovery.ErrLeaseLost, r.session.unheard().Round(time.Millisecond))
		}
		wait := time.Until(r.firstChange)
		if r.firstChange.IsZero() || wait <= 0 {
			return ctx.Err()
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-r.lost:
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		}
		timer.Stop()
	}
}

// Notification gives the notification of the run.
func (r *Run) Notification(ctx context.Context) (recovery.Notification, error) {
	n, err := r.s.Notification(ctx, r.item.Notification)
	return n, r.wrap(err)
}

// Record returns the run as it was last written.
func (r *Run) Record(ctx context.Context) (recovery.Run, error) {
	run, err := r.s.readRun(ctx, r.id)
	return run, r.wrap(err)
}

// readRun reads a run and the wish that it ends.
func (s *Store) readRun(ctx context.Context, id string) (recovery.Run, error) {
	var run recovery.Run
	res, err := s.getAll(ctx, clientv3.OpGet(s.key.run(id)), clientv3.OpGet(s.key.abort(id)))
	if err != nil {
		return run, err
	}
	data, _, _ := found(res[0])
	if data == nil {
		return run, recovery.ErrNotFound
	}
	if err := decode(data, &run); err != nil {
		return run, err
	}
	if data, _, _ = found(res[1]); data != nil && run.Abort == nil {
		run.Abort = &recovery.Abort{}
		return run, decode(data, run.Abort)
	}
	return run, nil
}

// own gives a run what only the store knows of it.
func (r *Run) own(run recovery.Run) (recovery.Run, error) {
	if run.ID != r.id {
		return run, fmt.Errorf("%w: it is not run %.140q", recovery.ErrInvalid, run.ID)
	}
	run.Notification, run.Delivery, run.Node = r.fixed.Notification, r.fixed.Delivery, r.fixed.Node
	run.Host, run.Server, run.Segment = r.fixed.Host, r.fixed.Server, r.fixed.Segment
	run.Abort = nil
	return run, nil
}

// Start writes the run as it begins or goes on, or as it ended while something
// is still to be undone: nothing but the record changes.
func (r *Run) Start(ctx context.Context, run recovery.Run) error {
	return r.wrap(r.start(ctx, run))
}

func (r *Run) start(ctx context.Context, run recovery.Run, also ...clientv3.Cmp) error {
	run, err := r.own(run)
	if err != nil {
		return err
	}
	t := (&txn{name: "run.start"}).when(also...)
	if err := t.docs(doc{r.s.key.run(r.id), run}); err != nil {
		return err
	}
	res, err := r.write(ctx, t)
	if err == nil && !res.ok {
		err = fmt.Errorf("%w: other modules are active than those that the run was made with", recovery.ErrConflict)
	}
	return err
}

// StartWith is Start for a run whose modules were chosen when the modules had
// that revision: when others are active since, nothing is written and the error
// matches recovery.ErrConflict.
func (r *Run) StartWith(ctx context.Context, run recovery.Run, modules int64) error {
	return r.wrap(r.start(ctx, run, unchanged(r.s.key.modulesRev, modules)))
}

// StartTask writes a record over the one with the same number.
func (r *Run) StartTask(ctx context.Context, rec recovery.TaskRecord) error {
	return r.wrap(r.task(ctx, "task.start", rec, nil))
}

// FinishTask writes a record over the one with the same number, and values, in
// one transaction.
func (r *Run) FinishTask(ctx context.Context, rec recovery.TaskRecord, provided map[string]json.RawMessage) error {
	return r.wrap(r.task(ctx, "task.finish", rec, provided))
}

func (r *Run) task(ctx context.Context, step string, rec recovery.TaskRecord, provided map[string]json.RawMessage) error {
	if rec.Seq < 1 {
		return fmt.Errorf("%w: a record without a number", recovery.ErrInvalid)
	}
	t := &txn{name: step}
	if err := t.docs(doc{r.s.key.task(r.id, rec.Seq), rec}); err != nil {
		return err
	}
	if len(provided) > 0 {
		r.values.RLock()
		defer r.values.RUnlock()
		generation, err := r.currentGeneration(ctx)
		if err != nil {
			return err
		}
		for name, v := range provided {
			if err := checkValue(name, v); err != nil {
				return err
			}
			t.do(put(r.valueKey(generation, name), v))
		}
	}
	_, err := r.write(ctx, t)
	return err
}

func checkValue(name string, v json.RawMessage) error {
	if name == "" || !json.Valid(v) {
		return fmt.Errorf("value %q: %w: want a name and JSON", name, recovery.ErrInvalid)
	}
	return nil
}

// firstGeneration is that of a run whose values were never replaced.
const firstGeneration = "0"

// currentGeneration reads which values count. Only the claim that has the run
// changes it.
func (r *Run) currentGeneration(ctx context.Context) (string, error) {
	r.mu.Lock()
	generation := r.generation
	r.mu.Unlock()
	if generation != "" {
		return generation, nil
	}
	resp, err := r.s.get(ctx, r.data()+"gen")
	if err != nil {
		return "", err
	}
	generation = firstGeneration
	if len(resp.Kvs) > 0 {
		generation = string(resp.Kvs[0].Value)
	}
	r.mu.Lock()
	r.generation = generation
	r.mu.Unlock()
	return generation, nil
}

func (r *Run) valueKey(generation, name string) string {
	return r.data() + "value/" + generation + "/" + name
}

// SetValues replaces all values.
func (r *Run) SetValues(ctx context.Context, values map[string]json.RawMessage) error {
	return r.wrap(r.setValues(ctx, values))
}

func (r *Run) setValues(ctx context.Context, values map[string]json.RawMessage) error {
	for name, v := range values {
		if err := checkValue(name, v); err != nil {
			return err
		}
	}
	r.values.Lock()
	defer r.values.Unlock()
	old, err := r.currentGeneration(ctx)
	if err != nil {
		return err
	}
	// What is written under a new name counts only when the last transaction says
	// so.
	r.next++
	fresh := strconv.FormatInt(r.token, 10) + "." + strconv.Itoa(r.next)
	t, size := &txn{name: "values.set"}, 0
	for name, v := range values {
		if len(t.ops) >= maxOps-10 || size+len(v) > maxBytes-(64<<10) {
			if _, err := r.write(ctx, t); err != nil {
				return err
			}
			t, size = &txn{name: "values.set"}, 0
		}
		t.do(put(r.valueKey(fresh, name), v))
		size += len(v) + len(name) + 256
	}
	t.do(put(r.data()+"gen", []byte(fresh)), clientv3.OpDelete(r.valueKey(old, ""), clientv3.WithPrefix()))
	if _, err := r.write(ctx, t); err != nil {
		return err
	}
	r.mu.Lock()
	r.generation = fresh
	r.mu.Unlock()
	return nil
}

// Values returns the values that tasks provided.
func (r *Run) Values(ctx context.Context) (map[string]json.RawMessage, error) {
	out, err := r.s.readValues(ctx, r.id)
	return out, r.wrap(err)
}

func (s *Store) readValues(ctx context.Context, run string) (map[string]json.RawMessage, error) {
	data := s.key.runData(run)
	resp, err := s.get(ctx, data+"gen")
	if err != nil {
		return nil, err
	}
	generation := firstGeneration
	if len(resp.Kvs) > 0 {
		generation = string(resp.Kvs[0].Value)
	}
	out := make(map[string]json.RawMessage)
	prefix := data + "value/" + generation + "/"
	_, err = s.rangeAll(ctx, prefix, resp.Header.Revision, func(key string, _, _ int64, value []byte) error {
		out[key[len(prefix):]] = json.RawMessage(value)
		return nil
	})
	return out, err
}

// History returns the journal's records of tasks in the order of their
// numbers.
func (r *Run) History(ctx context.Context) ([]recovery.TaskRecord, error) {
	out, err := listAll[recovery.TaskRecord](ctx, r.s, r.s.key.tasksOf(r.id), false)
	return out, r.wrap(err)
}

// listAll reads the documents below prefix in the order of their keys, or of
// their creation.
func listAll[T any](ctx context.Context, s *Store, prefix string, byCreation bool) ([]T, error) {
	type placed struct {
		at  int64
		doc T
	}
	var rows []placed
	_, err := s.rangeAll(ctx, prefix, 0, func(key string, created, _ int64, value []byte) error {
		var p placed
		h, err := decodeHead(value, &p.doc)
		if err != nil {
			return fmt.Errorf("%s: %w", key[len(prefix):], err)
		}
		if byCreation {
			p.at = id(created, h.Place)
		}
		rows = append(rows, p)
		return nil
	})
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(rows, func(a, b placed) int { return int(max(-1, min(1, a.at-b.at))) })
	out := make([]T, 0, len(rows))
	for _, p := range rows {
		out = append(out, p.doc)
	}
	if len(out) == 0 {
		return nil, nil
	}
	return out, nil
}

// End writes the run as it ended, and ends its notification with the run's
// status: it leaves the queue, and what the run held is free, at once. A run that
// ends with the status error is as with EndRetry, due at once. While the undo
// list is not empty the error matches recovery.ErrConflict.
func (r *Run) End(ctx context.Context, run recovery.Run) error {
	if run.Status == recovery.StatusError {
		return r.EndRetry(ctx, run, time.Time{})
	}
	return r.wrap(r.end(ctx, run, false))
}

// EndLeaving is End for a run whose undo list cannot be worked off: the list
// stays with the run for a person to see.
func (r *Run) EndLeaving(ctx context.Context, run recovery.Run) error {
	return r.wrap(r.end(ctx, run, true))
}

func (r *Run) end(ctx context.Context, run recovery.Run, leaving bool) error {
	run, err := r.ending(run)
	if err != nil {
		return err
	}
	if !run.Status.Final() {
		return fmt.Errorf("%w: it cannot end %q", recovery.ErrInvalid, run.Status)
	}
	return r.settle(ctx, "run.end", leaving, func(_ recovery.Run, n *recovery.Notification, item *recovery.QueueItem) recovery.Run {
		n.Status, n.Message, item.Notification = run.Status, run.Message, ""
		return run
	})
}

// EndRetry writes the run as it ended, and lets its notification, now in error,
// wait for another run until notBefore. While the undo list is not empty the
// error matches recovery.ErrConflict.
func (r *Run) EndRetry(ctx context.Context, run recovery.Run, notBefore time.Time) error {
	run, err := r.ending(run)
	if err != nil {
		return r.wrap(err)
	}
	return r.wrap(r.settle(ctx, "run.requeue", false, func(_ recovery.Run, n *recovery.Notification, item *recovery.QueueItem) recovery.Run {
		n.Status, n.Message = recovery.StatusError, run.Message
		item.Run, item.NotBefore = "", notBefore.UTC()
		return run
	}))
}

// ending is a run as it ends.
func (r *Run) ending(run recovery.Run) (recovery.Run, error) {
	run, err := r.own(run)
	run.Finished = true
	if run.Ended.IsZero() {
		run.Ended = now()
	}
	return run, err
}

// Requeue is EndRetry for a run that was not brought to an end: it ends in
// error, with why as its message.
func (r *Run) Requeue(ctx context.Context, notBefore time.Time, why string) error {
	return r.wrap(r.settle(ctx, "run.requeue", false, func(run recovery.Run, n *recovery.Notification, item *recovery.QueueItem) recovery.Run {
		run.Status, run.Message, run.Finished, run.Ended = recovery.StatusError, why, true, now()
		n.Status, n.Message = recovery.StatusError, why
		item.Run, item.NotBefore = "", notBefore.UTC()
		return run
	}))
}

// settle ends the run, and its claim, in one transaction. decide gives the run
// as it is to be, and changes notification and item; an item without a
// notification leaves the queue.
func (r *Run) settle(ctx context.Context, step string, leaving bool, decide func(recovery.Run, *recovery.Notification, *recovery.QueueItem) recovery.Run) error {
	k := r.s.key
	nKey, undo := k.notification(r.item.Notification), r.data()+"undo/"
	for {
		res, err := r.s.getAll(ctx, clientv3.OpGet(nKey), clientv3.OpGet(r.itemKey), clientv3.OpGet(k.run(r.id)), clientv3.OpGet(k.abort(r.id)),
			clientv3.OpGet(undo, clientv3.WithPrefix(), clientv3.WithCountOnly()), clientv3.OpGet(r.place.hold), clientv3.OpGet(r.data()+"reserved/", clientv3.WithPrefix(), clientv3.WithKeysOnly()))
		if err != nil {
			return err
		}
		if left := res[4].GetCount(); left > 0 && !leaving {
			return fmt.Errorf("%w: %d entries of its undo list are not worked off", recovery.ErrConflict, left)
		}
		data, created, nMod := found(res[0])
		itemData, _, itemMod := found(res[1])
		runData, _, _ := found(res[2])
		var run recovery.Run
		if runData != nil {
			if err := decode(runData, &run); err != nil {
				return err
			}
		}
		var item recovery.QueueItem
		if itemData != nil {
			if err := decode(itemData, &item); err != nil {
				return err
			}
		}
		if data == nil || item.Run != r.id {
			return r.settled(ctx, step, run, decide)
		}
		n, err := decodeNotification(data, created)
		if err != nil {
			return err
		}
		var wish *recovery.Abort
		abort, _, abortMod := found(res[3])
		if abort != nil {
			wish = &recovery.Abort{}
			if err := decode(abort, wish); err != nil {
				return err
			}
		}
		run = decide(run, &n, &item)
		run.Abort, n.Stamp.Updated = wish, now()
		t := (&txn{name: step}).when(unchanged(nKey, nMod), unchanged(r.itemKey, itemMod), unchanged(k.abort(r.id), abortMod)).
			do(clientv3.OpDelete(r.place.lock), clientv3.OpDelete(r.place.work), clientv3.OpDelete(k.abort(r.id)))
		if !leaving {
			t.when(none(undo))
		}
		docs := []doc{{nKey, n}, {k.run(r.id), run}}
		if item.Notification != "" {
			docs = append(docs, doc{r.itemKey, item})
		} else {
			t.do(clientv3.OpDelete(r.itemKey))
			if holder, _, mod := found(res[5]); string(holder) == r.item.Notification {
				t.when(unchanged(r.place.hold, mod)).do(clientv3.OpDelete(r.place.hold))
			}
		}
		if r.item.Type == recovery.VM {
			t.do(clientv3.OpDelete(k.vmrun(r.item.Host, r.id)))
		}
		reserved := res[6].GetKvs()
		if len(reserved) > maxOps/2-10 {
			if err := r.releaseSome(ctx, r.data()+"reserved/"); err != nil {
				return err
			}
			continue
		}
		for _, kv := range reserved {
			t.do(clientv3.OpDelete(k.reserved(unesc(string(kv.Key[len(r.data()+"reserved/"):])))), clientv3.OpDelete(string(kv.Key)))
		}
		if err := t.docs(docs...); err != nil {
			return err
		}
		done, err := r.write(ctx, t)
		if err != nil {
			return err
		}
		if done.ok {
			r.over()
			return nil
		}
	}
}

// settled tells whether the run that was found to have ended ended as it was
// to: the answer to that was lost then.
func (r *Run) settled(ctx context.Context, step string, found recovery.Run, decide func(recovery.Run, *recovery.Notification, *recovery.QueueItem) recovery.Run) error {
	want := decide(found, &recovery.Notification{}, &recovery.QueueItem{})
	want.Abort, found.Abort = nil, nil
	a, err := encode(want)
	if err != nil {
		return err
	}
	b, err := encode(found)
	if err != nil {
		return err
	}
	if found.Finished && bytes.Equal(a, b) {
		r.over()
		return nil
	}
	if err := r.set(ctx, &txn{name: step + ".check"}); err != nil {
		return errors.Unwrap(err) // most often: the claim is lost
	}
	return fmt.Errorf("%w: its notification, queue item or record is not there", ErrDamaged)
}

// Release gives the claim back with nothing under way: another node, or this
// one, goes on with the run at once.
func (r *Run) Release(ctx context.Context) error { return r.wrap(r.release(ctx, true)) }

// Close gives the claim back, when it still holds. Whoever goes on with the run
// waits as if this node had died. It may be called again, and after the end.
func (r *Run) Close() {
	if r.state() != nil {
		return
	}
	if err := r.release(context.Background(), false); err != nil {
		r.s.log.Warn("claim not given back", zap.String("run", r.id), zap.Error(err))
		r.over() // it ends with the lease
	}
}

func (r *Run) release(ctx context.Context, clean bool) error {
	t := (&txn{name: "run.release"}).do(clientv3.OpDelete(r.place.lock))
	w := work{
		Run: r.id, Notification: r.item.Notification, Node: r.s.cfg.Node, Boot: r.s.boot,
		Session: r.session.name(), Claims: r.claims, Released: clean && !time.Now().Before(r.firstChange),
	}
	if err := t.docs(doc{r.place.work, w}); err != nil {
		return err
	}
	if _, err := r.write(ctx, t); err != nil {
		return err
	}
	r.over()
	return nil
}

// Runs gives the runs, newest first, without inputs, plans, modules and command.
// What begins after the call is left out.
func (s *Store) Runs(ctx context.Context) (iter.Seq[recovery.Run], error) {
	out, err := each(ctx, s, func(x *index) *table[brief] { return x.runs }, runOf)
	if err != nil {
		return nil, fmt.Errorf("runs: %w", err)
	}
	return func(yield func(recovery.Run) bool) {
		for r := range out {
			if !yield(r) {
				return
			}
		}
	}, nil
}

// RunDetail gives all of a run: the record, the journal, the values that tasks
// provided, what is still to be undone, and all changes in the order in which
// they were begun. The error matches recovery.ErrNotFound.
func (s *Store) RunDetail(ctx context.Context, id string) (run recovery.Run, tasks []recovery.TaskRecord, values map[string]json.RawMessage, undos []recovery.Undo, intents []recovery.Intent, err error) {
	fail := func(err error) (recovery.Run, []recovery.TaskRecord, map[string]json.RawMessage, []recovery.Undo, []recovery.Intent, error) {
		return recovery.Run{}, nil, nil, nil, nil, fmt.Errorf("run %.140s: %w", id, err)
	}
	if run, err = s.readRun(ctx, id); err != nil {
		return fail(err)
	}
	data := s.key.runData(id)
	if tasks, err = listAll[recovery.TaskRecord](ctx, s, s.key.tasksOf(id), false); err != nil {
		return fail(err)
	}
	if values, err = s.readValues(ctx, id); err != nil {
		return fail(err)
	}
	if undos, err = listAll[recovery.Undo](ctx, s, data+"undo/", true); err != nil {
		return fail(err)
	}
	if intents, err = s.intents(ctx, id); err != nil {
		return fail(err)
	}
	return run, tasks, values, undos, intents, nil
}

// KnownRun reports whether the run is known, and whether it has ended. One that
// cannot be looked for has not ended as far as can be known.
func (s *Store) KnownRun(ctx context.Context, id string) (ended, known bool) {
	err := s.view(ctx, func(x *index) error {
		var r brief
		r, known = x.runs.get(id)
		ended = r.finished
		return nil
	})
	if err != nil {
		return false, true
	}
	return ended, known
}
