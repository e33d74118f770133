package webhook

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"go.uber.org/zap"

	"github.com/wasakari/wasakari/recovery"
)

const leader = "leader"

// lead waits until this node is the one that tells, and gives a context that ends
// when it is no longer; nil when ctx ended before. release hands over.
func (s *Sender) lead(ctx context.Context) (turn context.Context, release func()) {
	pause := time.NewTicker(max(s.cfg.Lease/3, time.Millisecond))
	defer pause.Stop()
	for {
		if version, ok := s.claim(ctx); ok {
			return s.hold(ctx, version)
		}
		select {
		case <-ctx.Done():
			return nil, nil
		case <-pause.C:
		}
	}
}

// claim writes our name where nobody's is, or that of a node that is silent.
func (s *Sender) claim(ctx context.Context) (version int64, ok bool) {
	v, err := s.cfg.KV.Get(ctx, owner, leader)
	switch {
	case errors.Is(err, recovery.ErrNotFound):
		v = recovery.KVValue{}
	case err != nil:
		s.log.Debug("leader not read", zap.Error(err))
		return 0, false
	case time.Now().Before(v.Expires) && !s.own(v):
		return 0, false
	}
	return s.write(ctx, v.Version, time.Now().Add(s.cfg.Lease))
}

// own reports whether a value has our name: this node's own, of before a restart.
func (s *Sender) own(v recovery.KVValue) bool {
	var name string
	return json.Unmarshal(v.Value, &name) == nil && name == s.cfg.Node
}

// write writes our name over a version.
func (s *Sender) write(ctx context.Context, version int64, until time.Time) (int64, bool) {
	name, _ := json.Marshal(s.cfg.Node) // a string
	next, err := s.cfg.KV.Put(ctx, owner, leader, recovery.KVValue{Value: name, Expires: until.UTC()}, &version)
	if err != nil && !errors.Is(err, recovery.ErrConflict) {
		s.log.Debug("leader not written", zap.Error(err))
	}
	return next, err == nil
}

// hold keeps our name there.
func (s *Sender) hold(ctx context.Context, version int64) (turn context.Context, release func()) {
	turn, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	until := time.Now().Add(s.cfg.Lease)
	go func() {
		defer close(done)
		defer cancel()
		renew := time.NewTicker(max(s.cfg.Lease/3, time.Millisecond))
		defer renew.Stop()
		for {
			select {
			case <-turn.Done():
				return
			case <-renew.C:
			}
			end := time.Now().Add(s.cfg.Lease)
			next, ok := s.write(turn, version, end)
			switch {
			case ok:
				version, until = next, end
			case !time.Now().Before(until), s.taken(turn, version):
				return
			}
		}
	}()
	return turn, func() {
		cancel()
		<-done
		// Nobody needs to wait for the end of the lease.
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
		defer cancel()
		s.write(last, version, time.Now())
	}
}

// taken reports whether somebody wrote after our version. A write of ours whose
// answer was lost counts too: then we begin anew.
func (s *Sender) taken(ctx context.Context, version int64) bool {
	v, err := s.cfg.KV.Get(ctx, owner, leader)
	return err == nil && v.Version != version
}
