package masakariv1_test

import (
	"context"
	"encoding/json"
	"iter"
	"slices"
	"sync"
	"time"

	"github.com/wasakari/wasakari/recovery"
)

// fakeStore keeps records in memory, for tests that need a store to fail or to
// be in a state that takes an engine to reach.
type fakeStore struct {
	mu            sync.Mutex
	id            int64
	err           error // of every call
	accepts       int
	segments      []recovery.Segment
	hosts         []recovery.Host
	notifications []recovery.Notification
	vmoves        []recovery.VMove
	tasks         map[string][]recovery.TaskRecord
}

func newFakeStore() *fakeStore {
	return &fakeStore{tasks: map[string][]recovery.TaskRecord{}}
}

func (s *fakeStore) lock() (func(), error) {
	s.mu.Lock()
	return s.mu.Unlock, s.err
}

func (s *fakeStore) stamp() recovery.Stamp {
	s.id++
	return recovery.Stamp{ID: s.id, Created: time.Now().UTC()}
}

func get[T any](items []T, is func(T) bool) (T, error) {
	if i := slices.IndexFunc(items, is); i >= 0 {
		return items[i], nil
	}
	var zero T
	return zero, recovery.ErrNotFound
}

func (s *fakeStore) Segments(context.Context) ([]recovery.Segment, error) {
	unlock, err := s.lock()
	defer unlock()
	return slices.Clone(s.segments), err
}

func (s *fakeStore) Segment(_ context.Context, uuid string) (recovery.Segment, error) {
	unlock, err := s.lock()
	defer unlock()
	if err != nil {
		return recovery.Segment{}, err
	}
	return get(s.segments, func(x recovery.Segment) bool { return x.UUID == uuid })
}

func (s *fakeStore) CreateSegment(_ context.Context, x recovery.Segment) (recovery.Segment, error) {
	unlock, err := s.lock()
	defer unlock()
	if err != nil {
		return x, err
	}
	if slices.ContainsFunc(s.segments, func(o recovery.Segment) bool { return o.Name == x.Name }) {
		return x, recovery.ErrExists
	}
	x.Stamp = s.stamp()
	s.segments = append(s.segments, x)
	return x, nil
}

// inUse is Masakari's rule: a host of the segment has an unfinished
// notification.
func (s *fakeStore) inUse(segment string) bool {
	return slices.ContainsFunc(s.notifications, func(n recovery.Notification) bool {
		return n.SegmentUUID == segment && !n.Status.Final()
	})
}

func (s *fakeStore) UpdateSegment(_ context.Context, uuid string, change func(*recovery.Segment) error) (recovery.Segment, error) {
	unlock, err := s.lock()
	defer unlock()
	if err != nil {
		return recovery.Segment{}, err
	}
	i := slices.IndexFunc(s.segments, func(x recovery.Segment) bool { return x.UUID == uuid })
	if i < 0 {
		return recovery.Segment{}, recovery.ErrNotFound
	}
	if s.inUse(uuid) {
		return recovery.Segment{}, recovery.ErrInUse
	}
	x := s.segments[i]
	if err := change(&x); err != nil {
		return x, err
	}
	if slices.ContainsFunc(s.segments, func(o recovery.Segment) bool { return o.Name == x.Name && o.UUID != uuid }) {
		return x, recovery.ErrExists
	}
	if !sameJSON(x, s.segments[i]) {
		x.Stamp.Updated = time.Now().UTC()
	}
	s.segments[i] = x
	return x, nil
}

func sameJSON(a, b any) bool {
	x, errX := json.Marshal(a)
	y, errY := json.Marshal(b)
	return errX == nil && errY == nil && string(x) == string(y)
}

func (s *fakeStore) DeleteSegment(_ context.Context, uuid string) error {
	unlock, err := s.lock()
	defer unlock()
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(s.segments, func(x recovery.Segment) bool { return x.UUID == uuid }) {
		return recovery.ErrNotFound
	}
	if s.inUse(uuid) {
		return recovery.ErrInUse
	}
	s.segments = slices.DeleteFunc(s.segments, func(x recovery.Segment) bool { return x.UUID == uuid })
	s.hosts = slices.DeleteFunc(s.hosts, func(x recovery.Host) bool { return x.SegmentUUID == uuid })
	return nil
}

func (s *fakeStore) Hosts(context.Context) ([]recovery.Host, error) {
	unlock, err := s.lock()
	defer unlock()
	return slices.Clone(s.hosts), err
}

func (s *fakeStore) Host(_ context.Context, uuid string) (recovery.Host, error) {
	unlock, err := s.lock()
	defer unlock()
	if err != nil {
		return recovery.Host{}, err
	}
	return get(s.hosts, func(x recovery.Host) bool { return x.UUID == uuid })
}

func (s *fakeStore) CreateHost(_ context.Context, x recovery.Host) (recovery.Host, error) {
	unlock, err := s.lock()
	defer unlock()
	if err != nil {
		return x, err
	}
	if slices.ContainsFunc(s.hosts, func(o recovery.Host) bool { return o.Name == x.Name }) {
		return x, recovery.ErrExists
	}
	x.Stamp = s.stamp()
	s.hosts = append(s.hosts, x)
	return x, nil
}

func (s *fakeStore) UpdateHost(_ context.Context, uuid string, change func(*recovery.Host) error) (recovery.Host, error) {
	unlock, err := s.lock()
	defer unlock()
	if err != nil {
		return recovery.Host{}, err
	}
	i := slices.IndexFunc(s.hosts, func(x recovery.Host) bool { return x.UUID == uuid })
	if i < 0 {
		return recovery.Host{}, recovery.ErrNotFound
	}
	if s.inUse(s.hosts[i].SegmentUUID) {
		return recovery.Host{}, recovery.ErrInUse
	}
	x := s.hosts[i]
	if err := change(&x); err != nil {
		return x, err
	}
	if slices.ContainsFunc(s.hosts, func(o recovery.Host) bool { return o.Name == x.Name && o.UUID != uuid }) {
		return x, recovery.ErrExists
	}
	if !sameJSON(x, s.hosts[i]) {
		x.Stamp.Updated = time.Now().UTC()
	}
	s.hosts[i] = x
	return x, nil
}

func (s *fakeStore) DeleteHost(_ context.Context, uuid string) error {
	unlock, err := s.lock()
	defer unlock()
	if err != nil {
		return err
	}
	i := slices.IndexFunc(s.hosts, func(x recovery.Host) bool { return x.UUID == uuid })
	if i < 0 {
		return recovery.ErrNotFound
	}
	if s.inUse(s.hosts[i].SegmentUUID) {
		return recovery.ErrInUse
	}
	s.hosts = slices.Delete(s.hosts, i, i+1)
	return nil
}

func (s *fakeStore) Notifications(context.Context) (iter.Seq2[recovery.Notification, time.Time], error) {
	unlock, err := s.lock()
	defer unlock()
	list := slices.Clone(s.notifications)
	slices.Reverse(list)
	return func(yield func(recovery.Notification, time.Time) bool) {
		for i, n := range list {
			latest := slices.MaxFunc(list[i:], func(a, b recovery.Notification) int { return a.Stamp.Created.Compare(b.Stamp.Created) })
			if !yield(n, latest.Stamp.Created) {
				return
			}
		}
	}, err
}

func (s *fakeStore) Notification(_ context.Context, uuid string) (recovery.Notification, error) {
	unlock, err := s.lock()
	defer unlock()
	if err != nil {
		return recovery.Notification{}, err
	}
	return get(s.notifications, func(x recovery.Notification) bool { return x.UUID == uuid })
}

func (s *fakeStore) Accept(_ context.Context, n recovery.Notification, window time.Duration) (recovery.Notification, error) {
	unlock, err := s.lock()
	defer unlock()
	if err != nil {
		return n, err
	}
	s.accepts++
	h, err := get(s.hosts, func(x recovery.Host) bool { return x.Name == n.HostName })
	if err != nil {
		return n, err
	}
	if h.OnMaintenance {
		return n, recovery.ErrMaintenance
	}
	for _, o := range s.notifications {
		if o.Type == n.Type && o.HostName == n.HostName && canonical(o.Payload) == canonical(n.Payload) && !o.Generated.Before(n.Generated.Add(-window)) {
			return n, recovery.ErrDuplicate
		}
	}
	n.HostUUID, n.SegmentUUID, n.Stamp = h.UUID, h.SegmentUUID, s.stamp()
	s.notifications = append(s.notifications, n)
	return n, nil
}

func canonical(payload json.RawMessage) string {
	var m map[string]string
	if json.Unmarshal(payload, &m) != nil {
		return ""
	}
	out, err := json.Marshal(m)
	if err != nil {
		return ""
	}
	return string(out)
}

func (s *fakeStore) VMoves(_ context.Context, notification string) ([]recovery.VMove, error) {
	unlock, err := s.lock()
	defer unlock()
	return slices.DeleteFunc(slices.Clone(s.vmoves), func(v recovery.VMove) bool { return v.NotificationUUID != notification }), err
}

func (s *fakeStore) VMove(_ context.Context, notification, uuid string) (recovery.VMove, error) {
	unlock, err := s.lock()
	defer unlock()
	if err != nil {
		return recovery.VMove{}, err
	}
	return get(s.vmoves, func(v recovery.VMove) bool { return v.NotificationUUID == notification && v.UUID == uuid })
}

func (s *fakeStore) RunDetail(_ context.Context, id string) (recovery.Run, []recovery.TaskRecord, map[string]json.RawMessage, []recovery.Undo, []recovery.Intent, error) {
	unlock, err := s.lock()
	defer unlock()
	if tasks, ok := s.tasks[id]; ok || err != nil {
		return recovery.Run{ID: id}, tasks, nil, nil, nil, err
	}
	return recovery.Run{}, nil, nil, nil, nil, recovery.ErrNotFound
}

// change alters what is stored.
func (s *fakeStore) change(do func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	do()
}
