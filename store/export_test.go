package store

import (
	"context"
	"io"
	"math"
	"runtime"
	"strconv"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"

	"github.com/wasakari/wasakari/recovery"
)

// Forget makes the store forget a claim, as if the answer to it was lost.
func (r *Run) Forget() { r.over() }

// Reopen makes a run take writes that has ended, as if the answer to its end was
// lost.
func (r *Run) Reopen() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ended = false
}

// ClaimOf gives the claim that this node has of a run.
func (s *Store) ClaimOf(run string) *Run {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.claims[run]
}

// Unheard makes this node's last keep-alive one that was sent so long ago.
func (s *Store) Unheard(d time.Duration) { s.current().heard(time.Now().Add(-d)) }

// Fill makes the store take its database for so many percent full until it looks
// next, in a minute.
func (s *Store) Fill(percent int64) {
	for s.usage.Load() == nil { // the first look
		runtime.Gosched()
	}
	s.usage.Store(&Usage{Size: percent, InUse: percent, Quota: 100})
}

// Take reads a key and its value as the index does, and drops it again.
func Take(key string, value []byte) error {
	x := newIndex(newKeys("c"))
	_, err := x.set(&mvccpb.KeyValue{Key: []byte("/wasakari/c/" + key), Value: value, CreateRevision: 1, ModRevision: 2})
	x.unset("/wasakari/c/"+key, 3)
	if _, e := decodeEntry(key, value); err == nil {
		err = e
	}
	return err
}

// ReadBackup reads a backup and counts its records.
func ReadBackup(r io.Reader) (n int, err error) {
	err = readBackup(r, func(saved) error { n++; return nil })
	return n, err
}

// AgeKept makes a kept module one that nobody was seen to need for longer than it
// is kept. It reports whether it was marked as such at all.
func (s *Store) AgeKept(ctx context.Context, digest, tenant string) (marked bool, err error) {
	return s.ageKept(ctx, s.key.keptBy(digest, tenant))
}

// AgeEngine does so with an engine.
func (s *Store) AgeEngine(ctx context.Context, digest string) (marked bool, err error) {
	return s.ageKept(ctx, s.key.keptEngine(digest))
}

func (s *Store) ageKept(ctx context.Context, key string) (marked bool, err error) {
	resp, err := s.get(ctx, key)
	if err != nil || len(resp.Kvs) == 0 {
		return false, err
	}
	var m keptModule
	if err := decode(resp.Kvs[0].Value, &m); err != nil || m.Unused.IsZero() {
		return false, err
	}
	return s.markKept(ctx, key, resp.Kvs[0].ModRevision, m, now().Add(-keptUnused))
}

// Latest puts records with these ids and times of creation into a table of
// notifications, drops some, and gives each that is left, newest first, with what
// is told of those that come later.
func Latest(made [][2]int64, drop func(id int64) bool) (ids, created, latest []int64) {
	rows := newTable[note]()
	name := func(id int64) string { return strconv.FormatInt(id, 10) }
	for _, m := range made {
		rows.put(noteOf(recovery.Notification{UUID: name(m[0]), Stamp: recovery.Stamp{ID: m[0], Created: time.Unix(m[1], 0)}}))
	}
	for _, m := range made {
		if drop(m[0]) {
			rows.drop(name(m[0]))
		}
	}
	for _, r := range rows.before(math.MaxInt64, make([]row[note], 0, len(made))) {
		ids, created, latest = append(ids, r.id), append(created, r.doc.created.Unix()), append(latest, r.latest)
	}
	return ids, created, latest
}
