package webhook

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/wasakari/wasakari/recovery"
)

// Event is the document that is posted.
type Event struct {
	// ID is the same whenever the same ending is told.
	ID string `json:"id"`
	// Type is run.finished, run.ignored, run.error, run.failed, run.held, or
	// notification. and one of these but held.
	Type string `json:"type"`
	// Time is when it ended.
	Time         time.Time     `json:"time"`
	Notification *Notification `json:"notification,omitempty"`
	Run          *Run          `json:"run,omitempty"`
}

// Notification is what is told of a notification.
type Notification struct {
	UUID    string                      `json:"uuid"`
	Type    recovery.NotificationType   `json:"type"`
	Host    string                      `json:"host,omitempty"`
	Server  string                      `json:"server,omitempty"`
	Segment string                      `json:"segment,omitempty"`
	Status  recovery.NotificationStatus `json:"status"`
	Message string                      `json:"message,omitempty"`
	Runs    []string                    `json:"runs"`
}

// Run is what is told of a run.
type Run struct {
	ID           string                      `json:"id"`
	Notification string                      `json:"notification,omitempty"`
	Delivery     int                         `json:"delivery,omitempty"`
	Host         string                      `json:"host,omitempty"`
	Server       string                      `json:"server,omitempty"`
	Segment      string                      `json:"segment,omitempty"`
	Node         string                      `json:"node,omitempty"`
	Flows        []recovery.FlowKind         `json:"flows"`
	Status       recovery.NotificationStatus `json:"status"`
	Message      string                      `json:"message,omitempty"`
	Started      time.Time                   `json:"started"`
	Ended        time.Time                   `json:"ended,omitzero"`
	Held         *recovery.HeldError         `json:"held,omitempty"`
}

// ending is an event and which others it must not overtake: those about the same
// notification.
type ending struct {
	Event
	group string
}

// endings lists what there is to tell that happened after a moment, in the order
// in which it did.
func (s *Sender) endings(ctx context.Context, through time.Time) ([]ending, error) {
	runs, err := s.cfg.Source.Runs(ctx)
	if err != nil {
		return nil, err
	}
	notifications, err := s.cfg.Source.Notifications(ctx)
	if err != nil {
		return nil, err
	}
	var out []ending
	for r := range runs {
		if !r.Finished || !r.Ended.After(through) {
			continue
		}
		e := ending{Event{ID: "run." + r.ID, Type: "run." + string(r.Status), Time: r.Ended, Run: &Run{
			ID: r.ID, Notification: r.Notification, Delivery: r.Delivery, Host: r.Host, Server: r.Server, Segment: r.Segment, Node: r.Node,
			Flows: append([]recovery.FlowKind{}, r.Flows...), Status: r.Status, Message: r.Message, Started: r.Started, Ended: r.Ended, Held: r.Held,
		}}, cmp.Or(r.Notification, r.ID)}
		if r.Held != nil {
			e.Type = "run.held"
		}
		out = append(out, e)
	}
	for n := range notifications {
		at := n.Stamp.Updated
		if at.IsZero() {
			at = n.Stamp.Created
		}
		if !told(n.Status) || !at.After(through) {
			continue
		}
		out = append(out, ending{Event{
			// A notification that is retried may end in the same way again.
			ID: fmt.Sprintf("notification.%s.%s.%d", n.UUID, n.Status, len(n.Runs)), Type: "notification." + string(n.Status), Time: at,
			Notification: &Notification{
				UUID: n.UUID, Type: n.Type, Host: n.HostName, Server: n.ServerUUID(), Segment: n.SegmentUUID, Status: n.Status,
				Message: n.Message, Runs: append([]string{}, n.Runs...),
			},
		}, n.UUID})
	}
	// A run ends in the transaction in which its notification does, by the clock of
	// its node; the notification's time may have been cut to seconds.
	slices.SortStableFunc(out, func(a, b ending) int {
		return cmp.Or(a.Time.Truncate(time.Second).Compare(b.Time.Truncate(time.Second)), compareBool(a.Run == nil, b.Run == nil), a.Time.Compare(b.Time), strings.Compare(a.ID, b.ID))
	})
	return out, nil
}

// compareBool puts false before true.
func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

// Bounds of what is remembered.
const (
	// slack is how far the clocks of nodes may be apart.
	slack    = 10 * time.Minute
	maxDone  = 2000 // ids, of at most about 80 bytes
	pauseAll = 3    // failures in a row after which a URL is left alone for a while
)

// cursor is how far one URL is: what ended before Through was told, and what is
// in Done.
type cursor struct {
	Through time.Time       `json:"through"`
	Done    map[string]bool `json:"done"`
}

// target is one URL.
type target struct {
	s    *Sender
	url  *url.URL
	name string // for logs: no password, no path, which may be a secret too
	key  string

	at      cursor
	version int64
	saved   time.Time
	dirty   bool
	waits   map[string]*wait // by group
	failed  int              // in a row
	notTill time.Time
}

// wait is a group whose next ending could not be told.
type wait struct {
	since, next time.Time
	failures    int
}

func newTarget(s *Sender, u *url.URL) *target {
	sum := sha256.Sum256([]byte(u.String()))
	return &target{s: s, url: u, name: u.Scheme + "://" + u.Host, key: "cursor/" + hex.EncodeToString(sum[:8])}
}

// serve tells until ctx ends.
func (t *target) serve(ctx context.Context, wake <-chan struct{}) {
	t.waits, t.failed, t.notTill = map[string]*wait{}, 0, time.Time{}
	for loaded := false; ctx.Err() == nil; {
		pause := t.s.cfg.Backoff
		if !loaded {
			loaded = t.load(ctx)
		}
		if loaded {
			pause = t.round(ctx)
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
		case <-timer.C:
		case <-wake:
		}
		timer.Stop()
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	t.save(last)
}

// load reads the cursor. The first time nothing of the past is told.
func (t *target) load(ctx context.Context) bool {
	v, err := t.s.cfg.KV.Get(ctx, owner, t.key)
	switch {
	case errors.Is(err, recovery.ErrNotFound):
		t.at, t.version, t.dirty = cursor{Through: time.Now().UTC()}, 0, true
		t.at.Done = map[string]bool{}
		return t.save(ctx)
	case err != nil:
		t.s.log.Warn("cursor not read", zap.String("url", t.name), zap.Error(err))
		return false
	}
	var at cursor
	if err := json.Unmarshal(v.Value, &at); err != nil {
		t.s.log.Error("cursor not understood: what ended before now is not told", zap.String("url", t.name), zap.Error(err))
		at = cursor{Through: time.Now().UTC()}
	}
	if at.Done == nil {
		at.Done = map[string]bool{}
	}
	t.at, t.version, t.dirty = at, v.Version, false
	return true
}

// save writes the cursor. Another node's would be further than ours.
func (t *target) save(ctx context.Context) bool {
	if !t.dirty {
		return true
	}
	value, err := json.Marshal(t.at)
	if err != nil {
		return false
	}
	next, err := t.s.cfg.KV.Put(ctx, owner, t.key, recovery.KVValue{Value: value}, &t.version)
	if err != nil {
		if ctx.Err() == nil {
			t.s.log.Warn("cursor not written", zap.String("url", t.name), zap.Error(err))
		}
		if errors.Is(err, recovery.ErrConflict) { // a write of ours whose answer was lost, most likely
			if v, err := t.s.cfg.KV.Get(ctx, owner, t.key); err == nil {
				t.version = v.Version
			}
		}
		return false
	}
	t.version, t.saved, t.dirty = next, time.Now(), false
	return true
}

// round tells what there is to tell, and says how long to wait for the next.
func (t *target) round(ctx context.Context) time.Duration {
	all, err := t.s.endings(ctx, t.at.Through)
	if err != nil {
		if ctx.Err() == nil {
			t.s.log.Warn("endings not read", zap.String("url", t.name), zap.Error(err))
		}
		return t.s.cfg.Backoff
	}
	left := t.outstanding(all)
	stuck := map[string]bool{} // what comes after must not overtake
	for _, e := range left {
		now := time.Now()
		if w := t.waits[e.group]; stuck[e.group] || w != nil && now.Before(w.next) || now.Before(t.notTill) {
			stuck[e.group] = true
			continue
		}
		err := t.post(ctx, e.Event)
		if ctx.Err() != nil && err != nil {
			return 0
		}
		if err != nil && !t.givesUp(e, err) {
			t.s.delivered("retried")
			stuck[e.group] = true
			continue
		}
		if err != nil {
			t.s.delivered("dropped")
		}
		if err == nil {
			t.s.delivered("ok")
			t.failed, t.notTill = 0, time.Time{}
		}
		delete(t.waits, e.group)
		t.at.Done[e.ID], t.dirty = true, true
		if time.Since(t.saved) >= time.Second {
			t.save(ctx)
		}
	}
	t.forget(all)
	t.save(ctx)
	return t.nextLook()
}

func (s *Sender) delivered(result string) {
	if s.cfg.Delivered != nil {
		s.cfg.Delivered(result)
	}
}

// outstanding lists what was not told yet.
func (t *target) outstanding(all []ending) []ending {
	return slices.DeleteFunc(slices.Clone(all), func(e ending) bool { return !e.Time.After(t.at.Through) || t.at.Done[e.ID] })
}

// forget moves Through on, so that Done stays small: everything that ended before
// it was told. What is still to be told holds it, up to a bound.
func (t *target) forget(all []ending) {
	through := time.Now().Add(-slack)
	for _, e := range t.outstanding(all) {
		if at := e.Time.Add(-time.Nanosecond); at.Before(through) {
			through = at
		}
	}
	times := make(map[string]time.Time, len(all))
	for _, e := range all {
		times[e.ID] = e.Time
	}
	if len(t.at.Done) > maxDone {
		var done []time.Time
		for id := range t.at.Done {
			done = append(done, times[id])
		}
		slices.SortFunc(done, time.Time.Compare)
		if bound := done[len(done)-maxDone/2]; bound.After(through) {
			through = bound
			for _, e := range t.outstanding(all) {
				if !e.Time.After(through) {
					t.s.log.Error("not told: too much ended after it", zap.String("url", t.name), zap.String("event", e.ID))
					delete(t.waits, e.group)
				}
			}
		}
	}
	if !through.After(t.at.Through) {
		return
	}
	t.at.Through = through.UTC()
	for id := range t.at.Done {
		if at, there := times[id]; !there || !at.After(through) {
			delete(t.at.Done, id)
			t.dirty = true
		}
	}
}

// nextLook says when something may be due again.
func (t *target) nextLook() time.Duration {
	next := time.Now().Add(time.Minute)
	for _, w := range t.waits {
		if w.next.Before(next) {
			next = w.next
		}
	}
	if time.Now().Before(t.notTill) {
		next = t.notTill
	}
	return max(time.Until(next), time.Millisecond)
}

// givesUp notes a failure, and reports whether the ending is not tried any more.
func (t *target) givesUp(e ending, err error) bool {
	now := time.Now()
	w := t.waits[e.group]
	if w == nil {
		w = &wait{since: now}
		t.waits[e.group] = w
	}
	w.failures++
	t.failed++
	pause := t.pause(w.failures)
	w.next = now.Add(pause)
	if t.failed >= pauseAll {
		t.notTill = now.Add(t.pause(t.failed - pauseAll + 1))
	}
	if now.Sub(w.since) < t.s.cfg.GiveUp {
		t.s.log.Warn("delivery failed", zap.String("url", t.name), zap.String("event", e.ID), zap.Int("attempt", w.failures), zap.Duration("again_in", pause), zap.Error(err))
		return false
	}
	t.s.log.Error("delivery given up", zap.String("url", t.name), zap.String("event", e.ID), zap.Int("attempt", w.failures), zap.Error(err))
	return true
}

// pause doubles with each failure.
func (t *target) pause(failures int) time.Duration {
	d := t.s.cfg.Backoff
	for range min(failures-1, 30) {
		if d >= t.s.cfg.MaxBackoff {
			break
		}
		d *= 2
	}
	return min(d, t.s.cfg.MaxBackoff)
}

// grace is how long a request may go on that was begun before the end.
const grace = 2 * time.Second

// post sends one event. Errors show no URL. A request that was begun has a little
// time after the end of ctx, so that what was told is known to be.
func (t *target) post(ctx context.Context, e Event) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	ended := ctx
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	stop := context.AfterFunc(ended, func() { time.AfterFunc(grace, cancel) })
	defer stop()
	body, err := json.Marshal(e)
	if err != nil {
		return err
	}
	target := *t.url
	target.User = nil
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, target.String(), bytes.NewReader(body))
	if err != nil {
		return err
	}
	if u := t.url.User; u != nil {
		password, _ := u.Password()
		req.SetBasicAuth(u.Username(), password)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", t.s.cfg.UserAgent)
	req.Header.Set(HeaderEvent, e.Type)
	req.Header.Set(HeaderDelivery, e.ID)
	if t.s.cfg.Secret != "" {
		req.Header.Set(HeaderSignature, sign(t.s.cfg.Secret, body))
	}
	res, err := t.s.http.Do(req)
	if err != nil {
		if u, ok := errors.AsType[*url.Error](err); ok {
			err = u.Err
		}
		return err
	}
	defer res.Body.Close()                                       //nolint:errcheck // read only
	_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, 64<<10)) // so that the connection can be used again
	if res.StatusCode/100 != 2 {
		return fmt.Errorf("answer %s", recovery.Cut(res.Status, 64))
	}
	return nil
}
