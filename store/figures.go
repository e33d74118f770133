package store

import "time"

// LeaseLeft tells how long this node's lease lasts without another keep-alive:
// zero when there is none.
func (s *Store) LeaseLeft() time.Duration {
	sess := s.current()
	if sess == nil || !sess.alive() {
		return 0
	}
	return max(0, sess.ttl-sess.unheard())
}
