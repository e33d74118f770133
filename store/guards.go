package store

import (
	"context"
	"fmt"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/wasakari/wasakari/recovery"
)

const (
	// keepRecoveries is how long a host recovery is remembered: longer than any
	// period that is asked for.
	keepRecoveries = 31 * 24 * time.Hour
	keepChanged    = time.Hour
)

// Guards counts, for all nodes, the hosts that runs recover and the servers
// that they change. Its methods decide nothing: what they are given does, and
// what it decided on is what counts when it is written.
type Guards struct {
	s *Store
	// turns lets one count of this process at a time try: nodes take turns by the
	// revision of a key.
	recoveries, changes chan struct{}
}

func newGuards(s *Store) *Guards {
	return &Guards{s: s, recoveries: make(chan struct{}, 1), changes: make(chan struct{}, 1)}
}

func (g *Guards) turn(ctx context.Context, turn chan struct{}, do func() error) error {
	select {
	case turn <- struct{}{}:
	case <-ctx.Done():
		return fmt.Errorf("counts of the guards: %w", ctx.Err())
	}
	defer func() { <-turn }()
	if err := do(); err != nil {
		return fmt.Errorf("counts of the guards: %w", err)
	}
	return nil
}

// tally is the key that is written with every count below prefix.
func tally(prefix string) string { return strings.TrimSuffix(prefix, "/") }

// Recover counts the recovery of a host by a run, when decide lets it: decide is
// given the recoveries that other runs began, and may be called several times. A
// run that is counted already is not counted again, and decide is not asked.
func (g *Guards) Recover(ctx context.Context, next recovery.HostRecovery, decide func(before []recovery.HostRecovery) error) error {
	return g.turn(ctx, g.recoveries, func() error {
		for {
			mod, before, counted, err := g.readRecoveries(ctx, next.Run)
			if err != nil || counted {
				return err
			}
			if err := decide(before); err != nil {
				return err
			}
			prefix := g.s.key.recoveries
			t := (&txn{name: "guard.recover"}).when(unchanged(tally(prefix), mod)).do(put(tally(prefix), nil))
			if err := t.docs(doc{prefix + esc(next.Run), next}); err != nil {
				return err
			}
			for _, r := range before {
				if next.Time.Sub(r.Time) > keepRecoveries && len(t.ops) < maxOps-10 {
					t.do(clientv3.OpDelete(prefix + esc(r.Run)))
				}
			}
			res, err := g.s.commit(ctx, t)
			if err != nil || res.ok {
				return err
			}
		}
	})
}

func (g *Guards) readRecoveries(ctx context.Context, run string) (mod int64, out []recovery.HostRecovery, counted bool, err error) {
	prefix := g.s.key.recoveries
	resp, err := g.s.get(ctx, tally(prefix))
	if err != nil {
		return 0, nil, false, err
	}
	if len(resp.Kvs) > 0 {
		mod = resp.Kvs[0].ModRevision
	}
	// What is read later than the tally can only be more: the compare finds out.
	_, err = g.s.rangeAll(ctx, prefix, 0, func(_ string, _, _ int64, value []byte) error {
		var r recovery.HostRecovery
		if err := decode(value, &r); err != nil {
			return err
		}
		counted = counted || r.Run == run
		out = append(out, r)
		return nil
	})
	return mod, out, counted, err
}

// Recoveries lists the recoveries that were counted.
func (g *Guards) Recoveries(ctx context.Context) ([]recovery.HostRecovery, error) {
	_, out, _, err := g.readRecoveries(ctx, "")
	if err != nil {
		return nil, fmt.Errorf("counts of the guards: %w", err)
	}
	return out, nil
}

// changedAt is when a server was changed last.
type changedAt struct {
	Time time.Time `json:"time"`
}

// Change counts the change of a server, when decide lets it: decide is given
// the times at which other servers were changed last, within the hour before,
// and may be called several times. A server that is changed once more counts
// once, by its latest change.
func (g *Guards) Change(ctx context.Context, server string, now time.Time, decide func(recent []time.Time) error) error {
	return g.turn(ctx, g.changes, func() error {
		prefix := g.s.key.changes
		for {
			resp, err := g.s.get(ctx, tally(prefix))
			if err != nil {
				return err
			}
			var mod int64
			if len(resp.Kvs) > 0 {
				mod = resp.Kvs[0].ModRevision
			}
			recent, old, err := g.readChanges(ctx, server, now)
			if err != nil {
				return err
			}
			if err := decide(recent); err != nil {
				return err
			}
			t := (&txn{name: "guard.change"}).when(unchanged(tally(prefix), mod)).do(put(tally(prefix), nil))
			if err := t.docs(doc{prefix + esc(server), changedAt{now.UTC()}}); err != nil {
				return err
			}
			for _, key := range old {
				if len(t.ops) < maxOps-10 && key != prefix+esc(server) {
					t.do(clientv3.OpDelete(key))
				}
			}
			res, err := g.s.commit(ctx, t)
			if err != nil || res.ok {
				return err
			}
		}
	})
}

// Changes lists the times at which servers were changed last, within the hour
// before now.
func (g *Guards) Changes(ctx context.Context, now time.Time) ([]time.Time, error) {
	out, _, err := g.readChanges(ctx, "", now)
	if err != nil {
		return nil, fmt.Errorf("counts of the guards: %w", err)
	}
	return out, nil
}

// readChanges gives the times of the servers but for one, and the keys of those
// that no longer count.
func (g *Guards) readChanges(ctx context.Context, but string, now time.Time) (recent []time.Time, old []string, err error) {
	prefix := g.s.key.changes
	_, err = g.s.rangeAll(ctx, prefix, 0, func(key string, _, _ int64, value []byte) error {
		var at changedAt
		if err := decode(value, &at); err != nil {
			return err
		}
		switch age := now.Sub(at.Time); {
		// What is ahead by more was written by a clock that was wrong.
		case age >= keepChanged, age <= -keepChanged:
			old = append(old, key)
		case key != prefix+esc(but):
			recent = append(recent, at.Time)
		}
		return nil
	})
	return recent, old, err
}
