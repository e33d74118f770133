//go:build chaos

package chaos

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

// claim is one taking of a host or server by a run.
type claim struct {
	lock             string // host/NAME or server/UUID
	run, node, boot  string
	rev              int64
	began            time.Time // not later than the claim, by the mark of its transaction
	workedOn, others int       // claims of the run before, and of other processes among them
}

// history is everything that was ever written, read from etcd itself, and what
// is wrong with it.
type history struct {
	root string
	etcd *clientv3.Client

	mu       sync.Mutex
	rev      int64 // up to which it was read
	keys     map[string][]byte
	locks    map[string]claim    // that are held
	last     map[string]claim    // by run
	claims   map[string][]claim  // by lock
	noted    map[string]string   // run: its notification
	bound    map[string][]string // reserved host: locks of the runs that had it
	gens     map[string]string   // run: the generation of its values
	provided map[string]map[string]string
	wrong    []string
	stopped  error

	txns, fenced, takeovers, handed, expired int
	steps                                    map[string]int
}

func follow(ctx context.Context, endpoints []string, all *sync.WaitGroup) (*history, error) {
	etcd, err := clientv3.New(clientv3.Config{
		Endpoints: endpoints, DialTimeout: 5 * time.Second, DialKeepAliveTime: time.Second, DialKeepAliveTimeout: 2 * time.Second, Logger: zap.NewNop(),
	})
	if err != nil {
		return nil, err
	}
	h := &history{
		root: "/wasakari/" + clusterName + "/", etcd: etcd, keys: map[string][]byte{}, locks: map[string]claim{}, last: map[string]claim{},
		claims: map[string][]claim{}, noted: map[string]string{}, bound: map[string][]string{}, gens: map[string]string{},
		provided: map[string]map[string]string{}, steps: map[string]int{},
	}
	all.Go(func() { h.read(ctx) })
	return h, nil
}

func (h *history) read(ctx context.Context) {
	next := int64(1)
	for ctx.Err() == nil {
		watching, cancel := context.WithCancel(clientv3.WithRequireLeader(ctx))
		for resp := range h.etcd.Watch(watching, h.root, clientv3.WithPrefix(), clientv3.WithRev(next), clientv3.WithProgressNotify()) {
			if resp.CompactRevision > 0 {
				h.mu.Lock()
				h.stopped = fmt.Errorf("history compacted at %d", resp.CompactRevision)
				h.mu.Unlock()
				cancel()
				return
			}
			if resp.Err() != nil {
				break
			}
			h.add(resp.Events)
			if n := len(resp.Events); n > 0 {
				next = resp.Events[n-1].Kv.ModRevision + 1
			}
			h.mu.Lock()
			h.rev = max(h.rev, next-1)
			h.mu.Unlock()
		}
		cancel()
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}

// complete waits until all is read that is there now.
func (h *history) complete(ctx context.Context) error {
	h.mu.Lock()
	seen := h.rev // before etcd is asked: it goes on meanwhile
	h.mu.Unlock()
	resp, err := h.etcd.Get(ctx, h.root, clientv3.WithPrefix(), clientv3.WithSort(clientv3.SortByModRevision, clientv3.SortDescend), clientv3.WithLimit(1))
	if err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.stopped != nil {
		return h.stopped
	}
	if seen > resp.Header.Revision {
		h.stopped = fmt.Errorf("revision %d was seen, and etcd is at %d", seen, resp.Header.Revision)
		return h.stopped
	}
	if len(resp.Kvs) > 0 && h.rev < resp.Kvs[0].ModRevision {
		return fmt.Errorf("history read up to %d of %d", h.rev, resp.Kvs[0].ModRevision)
	}
	return nil
}

// all gives the keys of a Wasakari cluster.
func (h *history) all(ctx context.Context, cluster string) (map[string][]byte, error) {
	root := "/wasakari/" + cluster + "/"
	resp, err := h.etcd.Get(ctx, root, clientv3.WithPrefix())
	if err != nil {
		return nil, err
	}
	out := map[string][]byte{}
	for _, kv := range resp.Kvs {
		out[strings.TrimPrefix(string(kv.Key), root)] = kv.Value
	}
	return out, nil
}

// remove empties the store of a Wasakari cluster.
func (h *history) remove(ctx context.Context, cluster string) error {
	_, err := h.etcd.Delete(ctx, "/wasakari/"+cluster+"/", clientv3.WithPrefix())
	return err
}

func (h *history) add(events []*clientv3.Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for len(events) > 0 {
		n := 1
		for n < len(events) && events[n].Kv.ModRevision == events[0].Kv.ModRevision {
			n++
		}
		h.transaction(events[0].Kv.ModRevision, events[:n])
		events = events[n:]
	}
}

// document decodes a record.
func document(value []byte, into any) error {
	_, body, ok := bytes.Cut(value, []byte("\n"))
	if !ok {
		body = value
	}
	return json.Unmarshal(body, into)
}

func (h *history) bad(rev int64, format string, args ...any) {
	h.wrong = append(h.wrong, fmt.Sprintf("revision %d: ", rev)+fmt.Sprintf(format, args...))
}

// transaction looks at what was written at one revision.
func (h *history) transaction(rev int64, events []*clientv3.Event) {
	h.txns++
	var node, boot string
	var mark time.Time
	changed := map[string][]byte{} // nil: deleted
	for _, e := range events {
		key := strings.TrimPrefix(string(e.Kv.Key), h.root)
		deleted := e.Type == clientv3.EventTypeDelete
		if rest, ok := strings.CutPrefix(key, "d/tx/"); ok {
			if !deleted {
				parts := strings.Split(rest, "/")
				node, boot = nodeOf(parts[0]), parts[1]
				secs, _, _ := strings.Cut(string(e.Kv.Value), " ")
				n, _ := strconv.ParseInt(secs, 10, 64)
				mark = time.Unix(n, 0)
			}
			continue
		}
		if changed[key] = nil; !deleted {
			changed[key] = append([]byte{}, e.Kv.Value...) // not nil, also when it is empty
		}
	}
	before := h.locks
	h.locks = maps.Clone(before)
	for key, value := range changed {
		lock, ok := strings.CutPrefix(key, "r/lock/")
		switch {
		case !ok:
		case value == nil:
			delete(h.locks, lock)
			if node == "" {
				h.expired++
			}
		default:
			h.claimed(rev, lock, value, node, boot, mark, before, changed)
		}
	}
	runs := map[string]bool{}
	for key, value := range changed {
		parts := strings.Split(key, "/")
		switch {
		case len(parts) >= 3 && (parts[0] == "r" && (parts[1] == "run" || parts[1] == "task") || parts[0] == "d" && parts[1] == "run"):
			runs[parts[2]] = true
		case len(parts) == 4 && parts[0] == "r" && parts[1] == "vmove":
			h.vmove(rev, parts[2], node, boot, before)
		case len(parts) == 4 && parts[0] == "r" && parts[1] == "vmrun" && value != nil:
			if l, ok := before["host/"+parts[2]]; ok {
				h.bad(rev, "a VM run of host %s begins while run %s has the host", parts[2], l.run)
			}
		case len(parts) == 3 && parts[0] == "d" && parts[1] == "reserved" && value != nil:
			if l, ok := h.last[string(value)]; ok {
				h.bound[unescape(parts[2])] = append(h.bound[unescape(parts[2])], l.lock)
			}
		}
	}
	for run := range runs {
		h.write(rev, run, node, boot, before, changed)
	}
	for key, value := range changed {
		if value == nil {
			delete(h.keys, key)
		} else {
			h.keys[key] = value
		}
	}
}

func unescape(s string) string {
	if u, err := url.PathUnescape(s); err == nil {
		return u
	}
	return s
}

func (h *history) claimed(rev int64, lock string, value []byte, node, boot string, mark time.Time, before map[string]claim, changed map[string][]byte) {
	var doc struct{ Run, Node string }
	if err := document(value, &doc); err != nil {
		h.bad(rev, "lock %s: %v", lock, err)
		return
	}
	if doc.Node = nodeOf(doc.Node); doc.Node != node {
		h.bad(rev, "lock %s of node %s is taken by node %s", lock, doc.Node, node)
	}
	if held, ok := before[lock]; ok {
		h.bad(rev, "run %s of node %s takes %s, which run %s of node %s has", doc.Run, node, lock, held.run, held.node)
	}
	c := claim{lock: unescape(lock), run: doc.Run, node: node, boot: boot, rev: rev, began: mark}
	if prev, ok := h.last[doc.Run]; ok {
		c.workedOn, c.others = prev.workedOn+1, prev.others
		if prev.boot != boot {
			c.others++
			if work := h.keys["d/work/"+lock]; bytes.Contains(work, []byte(`"released":true`)) {
				h.handed++
			} else {
				h.takeovers++
			}
		}
		if prev.lock != c.lock {
			h.bad(rev, "run %s takes %s and had %s", doc.Run, c.lock, prev.lock)
		}
	}
	if host, ok := strings.CutPrefix(lock, "host/"); ok {
		var n struct {
			Notification string
		}
		_ = document(changed["r/run/"+doc.Run], &n)
		var kind struct{ Type string }
		if value, ok := changed["r/notification/"+n.Notification]; ok {
			_ = document(value, &kind)
		} else {
			_ = document(h.keys["r/notification/"+n.Notification], &kind)
		}
		for key := range h.keys {
			if kind.Type == "COMPUTE_HOST" && strings.HasPrefix(key, "r/vmrun/"+host+"/") {
				h.bad(rev, "run %s takes host %s while VM run %s has not ended", doc.Run, host, key)
			}
		}
	}
	h.locks[lock], h.last[doc.Run] = c, c
	h.claims[c.lock] = append(h.claims[c.lock], c)
}

// write looks at a change of what belongs to a run: only who has its claim may
// make it.
func (h *history) write(rev int64, run, node, boot string, before map[string]claim, changed map[string][]byte) {
	h.fenced++
	l := h.last[run]
	now, held := before[escapedLock(l)]
	if !held || now.run != run {
		now, held = h.locks[escapedLock(l)]
	}
	if !held || now.run != run || now.node != node || now.boot != boot {
		h.bad(rev, "node %s writes %v of run %s without its claim (%+v)", node, slices.Sorted(maps.Keys(changed)), run, now)
	}
	if value := changed["r/run/"+run]; value != nil {
		var doc struct{ Notification string }
		if err := document(value, &doc); err != nil {
			h.bad(rev, "run %s: %v", run, err)
		}
		h.noted[run] = doc.Notification
	}
	h.values(rev, run, changed)
}

func escapedLock(c claim) string {
	kind, name, _ := strings.Cut(c.lock, "/")
	return kind + "/" + url.PathEscape(name)
}

// values looks at what a task provides: all of it is written with the record of
// the task's success.
func (h *history) values(rev int64, run string, changed map[string][]byte) {
	if gen := changed["d/run/"+run+"/gen"]; gen != nil {
		h.gens[run] = string(gen)
		return // all values are replaced
	}
	gen := h.gens[run]
	if gen == "" {
		gen = "0"
	}
	var names []string
	var done []string
	for key, value := range changed {
		if name, ok := strings.CutPrefix(key, "d/run/"+run+"/value/"+gen+"/"); ok && value != nil {
			names = append(names, name)
		}
		if strings.HasPrefix(key, "r/task/"+run+"/") && value != nil {
			var rec struct{ Key, Status string }
			if err := document(value, &rec); err != nil {
				h.bad(rev, "%s: %v", key, err)
			}
			if rec.Status == "succeeded" {
				done = append(done, rec.Key)
			}
		}
	}
	slices.Sort(names)
	if len(names) > 0 && len(done) != 1 {
		h.bad(rev, "values %v of run %s are written without the record of a task that succeeded", names, run)
	}
	if len(done) == 1 {
		seen := h.provided[done[0]]
		if seen == nil {
			seen = map[string]string{}
			h.provided[done[0]] = seen
		}
		seen[strings.Join(names, ",")] = run
	}
}

func (h *history) vmove(rev int64, notification, node, boot string, before map[string]claim) {
	for _, l := range before {
		if h.noted[l.run] == notification && l.node == node && l.boot == boot {
			return
		}
	}
	h.bad(rev, "node %s writes a vmove of notification %s without a claim", node, notification)
}
