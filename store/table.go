package store

import (
	"context"
	"encoding/json"
	"iter"
	"math"
	"slices"
	"strings"
	"sync"
	"time"
	"unique"

	"github.com/wasakari/wasakari/recovery"
)

// table holds the records of one kind in the order of their ids.
type table[T any] struct {
	rows  map[string]*row[T] // by the record's own id
	order []*row[T]          // by id; rows that are gone are left in for a while
	gone  int
}

type row[T any] struct {
	name string
	id   int64
	// latest is when it was created, or one of those before it if that was later, in
	// seconds since 1970: clocks of nodes differ. Zero: not needed.
	latest int64
	dead   bool
	doc    T
}

func newTable[T any]() *table[T] { return &table[T]{rows: map[string]*row[T]{}} }

// byID orders rows.
func byID[T any](r *row[T], id int64) int { return int(max(-1, min(1, r.id-id))) }

func (t *table[T]) put(next *row[T]) {
	if r := t.rows[next.name]; r != nil {
		if r.id == next.id {
			delete(t.rows, r.name) // it is part of a former text
			r.name, r.doc = next.name, next.doc
			t.rows[r.name] = r
			return
		}
		t.drop(next.name)
	}
	t.rows[next.name] = next
	at := len(t.order)
	if at > 0 && t.order[at-1].id > next.id {
		at, _ = slices.BinarySearchFunc(t.order, next.id, byID[T])
	}
	t.order = slices.Insert(t.order, at, next)
	t.raise(at)
}

// raise mends latest from a new row on.
func (t *table[T]) raise(at int) {
	for i := max(1, at); i < len(t.order); i++ {
		if before := t.order[i-1].latest; t.order[i].latest < before {
			t.order[i].latest = before
		} else if i > at {
			return
		}
	}
}

// fill makes an empty table of rows, in whatever order.
func (t *table[T]) fill(rows []*row[T]) {
	slices.SortFunc(rows, func(a, b *row[T]) int { return byID(a, b.id) })
	t.rows, t.order = make(map[string]*row[T], len(rows)), rows
	for i, r := range rows {
		t.rows[r.name] = r
		r.latest = max(r.latest, rows[max(0, i-1)].latest)
	}
}

func (t *table[T]) drop(name string) {
	r := t.rows[name]
	if r == nil {
		return
	}
	delete(t.rows, name)
	var zero T
	r.dead, r.doc = true, zero
	if t.gone++; t.gone > 64 && t.gone > len(t.order)/2 {
		t.order, t.gone = slices.DeleteFunc(t.order, func(r *row[T]) bool { return r.dead }), 0
	}
}

func (t *table[T]) get(name string) (doc T, ok bool) {
	if r := t.rows[name]; r != nil {
		return r.doc, true
	}
	return doc, false
}

func (t *table[T]) list(keep func(*T) bool) []T {
	var out []T
	if keep == nil {
		out = make([]T, 0, len(t.rows))
	}
	for _, r := range t.order {
		if !r.dead && (keep == nil || keep(&r.doc)) {
			out = append(out, r.doc)
		}
	}
	return out
}

// before appends the newest rows whose ids are less than id, as many as there is
// room for.
func (t *table[T]) before(id int64, out []row[T]) []row[T] {
	at, _ := slices.BinarySearchFunc(t.order, id, byID[T])
	for at--; at >= 0 && len(out) < cap(out); at-- {
		if r := t.order[at]; !r.dead {
			out = append(out, *r)
		}
	}
	return out
}

// each gives the records of a table, newest first, as of when it comes to each:
// whoever takes them may take his time. The second value is latest of the row.
func each[T, V any](ctx context.Context, s *Store, of func(*index) *table[T], show func(*row[T]) V) (iter.Seq2[V, time.Time], error) {
	const some = 128
	var top int64
	err := s.view(ctx, func(x *index) error {
		if order := of(x).order; len(order) > 0 {
			top = order[len(order)-1].id + 1
		}
		return nil
	})
	return func(yield func(V, time.Time) bool) {
		rows := make([]row[T], 0, some)
		for next := top; ; next = rows[len(rows)-1].id {
			s.index.mu.RLock()
			rows = of(s.index).before(next, rows[:0])
			s.index.mu.RUnlock()
			for i := range rows {
				if !yield(show(&rows[i]), time.Unix(rows[i].latest, 0)) {
					return
				}
			}
			if len(rows) < some {
				return
			}
		}
	}, err
}

// word is a text that many records have: it is kept once.
type word = unique.Handle[string]

// together gives copies of texts that lie in one piece of memory.
func together(texts ...*string) {
	var size int
	for _, t := range texts {
		size += len(*t)
	}
	var all strings.Builder
	all.Grow(size)
	for _, t := range texts {
		all.WriteString(*t)
	}
	rest := all.String()
	for _, t := range texts {
		*t, rest = rest[:len(*t)], rest[len(*t):]
	}
}

// note is what lists tell of a notification, in little room: there are many that
// ended long ago.
type note struct {
	kind, hostUUID, hostName, segment, status, message word

	payload                     json.RawMessage
	runs                        []string
	generated, created, updated time.Time
}

func noteOf(n recovery.Notification) *row[note] {
	r := &row[note]{name: n.UUID, id: n.Stamp.ID, latest: n.Stamp.Created.Unix(), doc: note{
		kind: unique.Make(string(n.Type)), hostUUID: unique.Make(n.HostUUID), hostName: unique.Make(n.HostName), segment: unique.Make(n.SegmentUUID),
		status: unique.Make(string(n.Status)), message: unique.Make(n.Message),
		payload: slices.Clip(n.Payload), generated: n.Generated, created: n.Stamp.Created, updated: n.Stamp.Updated,
	}}
	texts := []*string{&r.name}
	if len(n.Runs) > 0 {
		r.doc.runs = append(make([]string, 0, len(n.Runs)), n.Runs...)
		for i := range r.doc.runs {
			texts = append(texts, &r.doc.runs[i])
		}
	}
	together(texts...)
	return r
}

func notification(r *row[note]) recovery.Notification {
	d := &r.doc
	return recovery.Notification{
		UUID: r.name, Type: recovery.NotificationType(d.kind.Value()), HostUUID: d.hostUUID.Value(), HostName: d.hostName.Value(),
		SegmentUUID: d.segment.Value(), Generated: d.generated, Payload: d.payload, Status: recovery.NotificationStatus(d.status.Value()),
		Message: d.message.Value(), Runs: d.runs, Stamp: recovery.Stamp{ID: r.id, Created: d.created, Updated: d.updated},
	}
}

// brief is what lists tell of a run, in little room.
type brief struct {
	status, message, host, segment, node word

	flows                    []recovery.FlowKind
	notification, server     string
	started, ended, admitted time.Time
	delivery                 int32
	finished                 bool
	more                     *seldom // nil: nothing
}

// seldom is what few runs have.
type seldom struct {
	override string
	held     *recovery.HeldError
	abort    *recovery.Abort
}

// flowKinds are the kinds of flow of runs: a list that many have is kept once.
var flowKinds sync.Map // [4]recovery.FlowKind to []recovery.FlowKind

func sharedFlows(kinds []recovery.FlowKind) []recovery.FlowKind {
	var key [4]recovery.FlowKind
	if len(kinds) == 0 || len(kinds) > len(key) {
		return kinds
	}
	for i, kind := range kinds {
		if !slices.Contains(recovery.FlowKinds(), kind) {
			return kinds // who knows how many of these there are
		}
		key[i] = kind
	}
	if known, ok := flowKinds.Load(key); ok {
		return known.([]recovery.FlowKind) //nolint:forcetypeassert // nothing else is in it
	}
	known, _ := flowKinds.LoadOrStore(key, slices.Clip(kinds))
	return known.([]recovery.FlowKind) //nolint:forcetypeassert // as above
}

// decodeBrief reads of a run what lists tell, and the number by which they are
// in order.
func decodeBrief(data []byte, created int64) (recovery.Run, int64, error) {
	const text = 4 << 10
	// What is long is not taken apart.
	var r struct {
		recovery.Run
		Inputs  skipped `json:"inputs"`
		Modules skipped `json:"modules"`
		Plans   skipped `json:"plans"`
		Command skipped `json:"command"`
	}
	h, err := decodeHead(data, &r)
	if len(r.Message) > text {
		r.Message = strings.ToValidUTF8(r.Message[:text], "") + "…"
	}
	return r.Run, id(created, h.Place), err
}

// skipped is a part of a document that is not read.
type skipped struct{}

// UnmarshalJSON implements json.Unmarshaler.
func (skipped) UnmarshalJSON([]byte) error { return nil }

func briefOf(r recovery.Run, number int64) *row[brief] {
	out := &row[brief]{name: r.ID, id: number, doc: brief{
		status: unique.Make(string(r.Status)), message: unique.Make(r.Message), host: unique.Make(r.Host), segment: unique.Make(r.Segment), node: unique.Make(r.Node),
		flows: sharedFlows(r.Flows), notification: r.Notification, server: r.Server, started: r.Started, ended: r.Ended, admitted: r.Admitted,
		delivery: int32(min(r.Delivery, math.MaxInt32)), finished: r.Finished, //nolint:gosec // bounded
	}}
	if more := (seldom{r.Override, r.Held, r.Abort}); more != (seldom{}) {
		out.doc.more = &more
	}
	together(&out.name, &out.doc.notification, &out.doc.server)
	return out
}

func runOf(r *row[brief]) recovery.Run {
	d := &r.doc
	out := recovery.Run{
		ID: r.name, Flows: d.flows, Status: recovery.NotificationStatus(d.status.Value()), Message: d.message.Value(), Started: d.started, Ended: d.ended,
		Finished: d.finished, Admitted: d.admitted, Notification: d.notification, Delivery: int(d.delivery),
		Host: d.host.Value(), Server: d.server, Segment: d.segment.Value(), Node: d.node.Value(),
	}
	if m := d.more; m != nil {
		out.Override, out.Held, out.Abort = m.override, m.held, m.abort
	}
	return out
}
