package store

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/wasakari/wasakari/recovery"
)

// nodeRecord is a node as it registers.
type nodeRecord struct {
	recovery.Node
	Boot string `json:"boot"`
	// Keeps lists the modules of task folders that its runs may begin with.
	Keeps []string `json:"keeps,omitempty"`
}

// session is one lease of this node. All its claims end with it.
type session struct {
	id   clientv3.LeaseID
	ttl  time.Duration
	lost chan struct{}

	mu   sync.Mutex
	last time.Time // when the last keep-alive that was answered was sent
}

// name tells the session from others, those of the same node too.
func (s *session) name() string { return strconv.FormatInt(int64(s.id), 16) }

func (s *session) alive() bool {
	select {
	case <-s.lost:
		return false
	default:
		return true
	}
}

// unheard is how long ago the last answered keep-alive was sent: by the clock
// that stands still while the machine sleeps, or the one that does not,
// whichever shows more.
func (s *session) unheard() time.Duration {
	s.mu.Lock()
	last := s.last
	s.mu.Unlock()
	t := time.Now()
	return max(t.Sub(last), t.Round(0).Sub(last.Round(0)))
}

// good reports whether the lease holds for a third of its time at least.
func (s *session) good() bool { return s.alive() && s.unheard() < 2*s.ttl/3 }

func (s *session) heard(sent time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last = sent
}

// endPredecessors ends all leases: the lock of the folder proves that whoever
// had them is dead.
func (s *Store) endPredecessors(ctx context.Context) error {
	return s.read(ctx, func(ctx context.Context) error {
		leases, err := s.etcd.Leases(ctx)
		if err != nil {
			return err
		}
		for _, l := range leases.Leases {
			if _, err := s.etcd.Revoke(ctx, l.ID); err != nil && !errors.Is(rpctypes.Error(err), rpctypes.ErrLeaseNotFound) {
				return err
			}
		}
		return nil
	})
}

// register takes a lease and writes the node's record. With wait it waits for a
// record of the same name to go, as that of a process that died does.
func (s *Store) register(ctx context.Context, wait bool) (*session, error) {
	began := time.Now()
	for {
		sess, err := s.tryRegister(ctx)
		if err == nil {
			s.mu.Lock()
			s.session, s.lost = sess, sess.lost
			s.mu.Unlock()
			return sess, nil
		}
		if !wait || !errors.Is(err, recovery.ErrConflict) || time.Since(began) > s.cfg.LeaseTTL+5*time.Second {
			return nil, err
		}
		s.log.Info("waiting for the former process of this node to expire", zap.String("node", s.cfg.Node))
		if !rest(ctx, min(time.Second, s.cfg.LeaseTTL/8)) {
			return nil, fmt.Errorf("%w: %w", err, ctx.Err())
		}
	}
}

func (s *Store) tryRegister(ctx context.Context) (*session, error) {
	key := s.key.node(s.cfg.Node)
	resp, err := s.get(ctx, key)
	if err != nil {
		return nil, err
	}
	var mod int64
	if len(resp.Kvs) == 1 {
		var other nodeRecord
		if err := decode(resp.Kvs[0].Value, &other); err != nil {
			return nil, fmt.Errorf("node %s: %w", s.cfg.Node, err)
		}
		if other.Boot != s.boot {
			return nil, fmt.Errorf("node %s: %w: another process of that name is alive", s.cfg.Node, recovery.ErrConflict)
		}
		mod = resp.Kvs[0].ModRevision
	}
	ttl := int64((s.cfg.LeaseTTL + time.Second - 1) / time.Second)
	sess := &session{lost: make(chan struct{}), ttl: s.cfg.LeaseTTL}
	err = s.read(ctx, func(ctx context.Context) error {
		sess.last = time.Now()
		l, err := s.etcd.Grant(ctx, ttl)
		if err != nil {
			return err
		}
		sess.id = l.ID
		sess.ttl = min(sess.ttl, time.Duration(l.TTL)*time.Second)
		return nil
	})
	if err != nil {
		return nil, err
	}
	record, err := encode(s.nodeRecord())
	if err != nil {
		return nil, err
	}
	res, err := s.commit(ctx, (&txn{name: "node.register"}).when(unchanged(key, mod)).do(put(key, record, clientv3.WithLease(sess.id))))
	if err == nil && !res.ok {
		err = fmt.Errorf("node %s: %w: another process of that name is alive", s.cfg.Node, recovery.ErrConflict)
	}
	if err != nil {
		s.revoke(sess)
		return nil, err
	}
	return sess, nil
}

func (s *Store) nodeRecord() nodeRecord {
	s.mu.Lock()
	defer s.mu.Unlock()
	return nodeRecord{Boot: s.boot, Keeps: s.keeps, Node: recovery.Node{
		Name: s.cfg.Node, Version: s.cfg.Version, Started: s.began, Draining: s.draining, Modules: s.compiled,
	}}
}

// updateNode writes the node's record anew.
func (s *Store) updateNode(ctx context.Context) error {
	sess := s.current()
	if sess == nil {
		return fmt.Errorf("node %s: %w: not registered", s.cfg.Node, recovery.ErrUnavailable)
	}
	record, err := encode(s.nodeRecord())
	if err != nil {
		return err
	}
	key := s.key.node(s.cfg.Node)
	res, err := s.commit(ctx, (&txn{name: "node.update"}).
		when(clientv3.Compare(clientv3.LeaseValue(key), "=", sess.id)).do(put(key, record, clientv3.WithLease(sess.id))))
	if err == nil && !res.ok {
		err = recovery.ErrLeaseLost
	}
	if err != nil {
		return fmt.Errorf("node %s: %w", s.cfg.Node, err)
	}
	return nil
}

// keepRegistered keeps the lease alive, and takes another one when it is lost.
func (s *Store) keepRegistered(ctx context.Context, sess *session) {
	for {
		s.keepAlive(ctx, sess)
		if ctx.Err() != nil {
			return
		}
		s.lose(sess)
		s.revoke(sess)
		sess = nil
		for pause := firstPause; sess == nil; pause = min(2*pause, lastPause) {
			var err error
			if sess, err = s.register(ctx, false); err != nil {
				if ctx.Err() == nil {
					s.log.Warn("node not registered", zap.Error(err))
				}
				if !rest(ctx, pause) {
					return
				}
			}
		}
		s.log.Info("node registered anew", zap.String("node", s.cfg.Node))
	}
}

// keepAlive returns when the lease is lost or ctx ends.
func (s *Store) keepAlive(ctx context.Context, sess *session) {
	every := sess.ttl / 5
	for {
		if !rest(ctx, every) {
			return
		}
		sent := time.Now()
		try, cancel := context.WithTimeout(ctx, every)
		_, err := s.etcd.KeepAliveOnce(try, sess.id)
		cancel()
		switch {
		case err == nil:
			sess.heard(sent)
			every = sess.ttl / 5
		case ctx.Err() != nil:
			return
		case errors.Is(rpctypes.Error(err), rpctypes.ErrLeaseNotFound), sess.unheard() >= sess.ttl:
			s.log.Error("lease lost", zap.String("node", s.cfg.Node), zap.Error(err))
			return
		default:
			s.log.Warn("lease not renewed", zap.String("node", s.cfg.Node), zap.Error(err), zap.Duration("since", sess.unheard()))
			every = sess.ttl / 20
		}
	}
}

// lose ends a session and its claims.
func (s *Store) lose(sess *session) {
	s.mu.Lock()
	s.session = nil
	close(sess.lost)
	var mine []*Run
	for id, r := range s.claims {
		if r.session == sess {
			mine = append(mine, r)
			delete(s.claims, id)
		}
	}
	s.mu.Unlock()
	for _, r := range mine {
		r.lose()
	}
}

func (s *Store) revoke(sess *session) {
	ctx, cancel := context.WithTimeout(context.Background(), tryBound/2)
	defer cancel()
	if _, err := s.etcd.Revoke(ctx, sess.id); err != nil {
		s.log.Debug("lease not revoked", zap.Error(err))
	}
}

// unregister gives the lease back when the store closes.
func (s *Store) unregister() {
	s.mu.Lock()
	sess := s.session
	s.mu.Unlock()
	if sess != nil {
		s.revoke(sess)
		s.lose(sess)
	}
}

// current is the session, nil while there is none.
func (s *Store) current() *session {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.session
}

// NodeLost is closed when the node's lease is lost, and all its claims with it.
// The node then registers anew by itself; from then on NodeLost gives another
// channel.
func (s *Store) NodeLost() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lost
}

// SetDraining says whether this node takes no more runs.
func (s *Store) SetDraining(ctx context.Context, draining bool) error {
	s.mu.Lock()
	s.draining = draining
	s.mu.Unlock()
	return s.updateNode(ctx)
}

// SetCompiled says up to which revision of the modules this node has compiled
// what is active.
func (s *Store) SetCompiled(ctx context.Context, revision int64) error {
	s.mu.Lock()
	s.compiled = revision
	s.mu.Unlock()
	return s.updateNode(ctx)
}

// Nodes lists the nodes that are alive, by name.
func (s *Store) Nodes(ctx context.Context) ([]recovery.Node, error) {
	var out []recovery.Node
	err := s.view(ctx, func(x *index) error {
		for _, r := range x.nodes.rows {
			n := r.doc.Node
			n.Runs = []string{}
			for _, h := range x.locks {
				if h.Node == n.Name {
					n.Runs = append(n.Runs, h.Run)
				}
			}
			slices.Sort(n.Runs)
			out = append(out, n)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("nodes: %w", err)
	}
	slices.SortFunc(out, func(a, b recovery.Node) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}

// quiet keeps etcd's own messages to warnings, without those that are about
// listeners and tokens of clients, of which an embedded one has none, and about
// its own version, which it looks for until it has one.
func quiet(log *zap.Logger) *zap.Logger {
	if !log.Core().Enabled(zapcore.WarnLevel) {
		return log
	}
	return log.Named("etcd").WithOptions(zap.IncreaseLevel(zapcore.WarnLevel), zap.WrapCore(func(c zapcore.Core) zapcore.Core { return idle{c} }))
}

// idle leaves out messages that would worry people for nothing.
type idle struct{ zapcore.Core }

func (i idle) With(fields []zapcore.Field) zapcore.Core { return idle{i.Core.With(fields)} }

func (i idle) Check(e zapcore.Entry, ce *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	switch e.Message {
	case "Running http and grpc server on single port. This is not recommended for production.", "simple token is not cryptographically signed",
		"Failed to detect schema version", "failed to update storage version": // of a store that ends as soon as it was made
		return ce
	}
	return i.Core.Check(e, ce)
}

// abortsHeard tells the runs of this node that they are to end.
func (s *Store) abortsHeard() {
	s.index.mu.RLock()
	aborts := maps.Clone(s.index.aborts)
	s.index.mu.RUnlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, r := range s.claims {
		if a, ok := aborts[id]; ok {
			r.tellAbort(a)
		}
	}
}
