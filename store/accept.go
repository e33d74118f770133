package store

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/uuid"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/wasakari/wasakari/recovery"
)

// reported is what is remembered of a notification so that a duplicate of it
// is known.
type reported struct {
	Notification string    `json:"notification"`
	Generated    time.Time `json:"generated"`
}

// dedupKey is where a notification is remembered.
func (s *Store) dedupKey(n recovery.Notification) (string, error) {
	var payload any
	dec := json.NewDecoder(bytes.NewReader(n.Payload))
	dec.UseNumber()
	if err := dec.Decode(&payload); err != nil {
		return "", fmt.Errorf("%w: payload: %w", recovery.ErrInvalid, err)
	}
	canonical, err := json.Marshal(payload) // keys sorted, no blanks
	if err != nil {
		return "", fmt.Errorf("%w: payload: %w", recovery.ErrInvalid, err)
	}
	sum := sha256.Sum256(canonical)
	return s.key.dedups(n.HostUUID, comesBack(n), n.Type) + hex.EncodeToString(sum[:]), nil
}

// comesBack reports whether a notification tells that what failed is there
// again.
func comesBack(n recovery.Notification) bool {
	return n.Type != recovery.VM && n.PayloadText("event") == recovery.EventStarted
}

// maxNotification bounds the record of a notification.
const maxNotification = 256 << 10

// Accept takes a notification about the host HostName: it is written, queued,
// and remembered so that others like it are known, all at once. One whose status
// is final, because it needs no run, is not queued. UUID and Generated are set
// when they are empty; host, segment and stamp always are, as are status and
// message of one that is queued. The error matches
//
//   - recovery.ErrNotFound: no such host,
//   - recovery.ErrMaintenance: the host is on maintenance, unless the notification
//     tells that it is back and Config.HostRepair is set,
//   - recovery.ErrDuplicate: one with the same type, host and payload was taken
//     whose generated time is not more than window before this one's,
//   - recovery.ErrExists: the UUID is taken.
//
// What was taken is not forgotten before the host is reported to be back, leaves
// maintenance, or the notification is retried.
func (s *Store) Accept(ctx context.Context, n recovery.Notification, window time.Duration) (recovery.Notification, error) {
	if n.UUID == "" {
		n.UUID = uuid.NewString()
	}
	out, err := n, checkNames(n.UUID, n.HostName)
	if err == nil {
		out, err = s.accept(ctx, n, window)
	}
	if err != nil {
		return recovery.Notification{}, fmt.Errorf("notification about host %.300q: %w", n.HostName, err)
	}
	return out, nil
}

func (s *Store) accept(ctx context.Context, n recovery.Notification, window time.Duration) (recovery.Notification, error) {
	n.Stamp = recovery.Stamp{Created: now()}
	n.Runs = nil
	if !n.Status.Final() {
		n.Status, n.Message = recovery.StatusNew, ""
	}
	if n.Generated.IsZero() {
		n.Generated = n.Stamp.Created
	}
	n.Generated = n.Generated.UTC()
	if len(n.Payload) == 0 {
		n.Payload = json.RawMessage(`{}`)
	}
	for known := true; ; known = false {
		// The index may be behind: what it says is held against the record, and what
		// does not fit is looked up.
		place, err := s.whichHost(ctx, n.HostName, known)
		if err != nil {
			return n, err
		}
		n.SegmentUUID, n.HostUUID = place.SegmentUUID, place.UUID
		dedup, err := s.dedupKey(n)
		if err != nil {
			return n, err
		}
		hostKey := s.key.host(n.SegmentUUID, n.HostUUID)
		r, err := s.getAll(ctx, clientv3.OpGet(hostKey), clientv3.OpGet(dedup), clientv3.OpGet(s.key.notification(n.UUID), clientv3.WithKeysOnly()))
		if err != nil {
			return n, err
		}
		data, created, hostMod := found(r[0])
		if data == nil {
			if known {
				continue
			}
			return n, recovery.ErrNotFound // it went with its segment
		}
		host, err := decodeHost(data, created)
		switch {
		case err != nil:
			return n, err
		case host.Name != n.HostName:
			continue // it has another name since
		case host.OnMaintenance && (!s.cfg.HostRepair || n.Type != recovery.ComputeHost || !comesBack(n)):
			return n, recovery.ErrMaintenance
		case len(r[2].GetKvs()) > 0:
			return n, fmt.Errorf("%s: %w", n.UUID, recovery.ErrExists)
		}
		was, _, dedupMod := found(r[1])
		if was != nil {
			var before reported
			if err := decode(was, &before); err != nil {
				return n, err
			}
			if !before.Generated.Before(n.Generated.Add(-window)) {
				return n, fmt.Errorf("%w of %s", recovery.ErrDuplicate, before.Notification)
			}
		}
		t, err := s.acceptance(n, dedup)
		if err != nil {
			return n, err
		}
		t.when(unchanged(hostKey, hostMod), unchanged(dedup, dedupMod))
		res, err := s.commit(ctx, t)
		if err != nil {
			return n, err
		}
		if res.ok {
			n.Stamp.ID = id(res.rev, 0)
			return n, nil
		}
	}
}

// acceptance is the transaction that takes a notification.
func (s *Store) acceptance(n recovery.Notification, dedup string) (*txn, error) {
	record, err := encode(n)
	if err != nil {
		return nil, err
	}
	if len(record) > maxNotification {
		return nil, fmt.Errorf("%w: %d bytes, at most %d", recovery.ErrTooLarge, len(record), maxNotification)
	}
	item, err := encode(recovery.QueueItem{
		Notification: n.UUID, Type: n.Type, Host: n.HostName, Server: serverOf(n), Added: n.Stamp.Created, Supersedes: supersedes(n),
	})
	if err != nil {
		return nil, err
	}
	mark, err := encode(reported{Notification: n.UUID, Generated: n.Generated})
	if err != nil {
		return nil, err
	}
	key := s.key.notification(n.UUID)
	t := (&txn{name: "accept"}).when(absent(key)).do(put(key, record), put(dedup, mark))
	if !n.Status.Final() {
		t.do(put(s.key.item(n), item))
	}
	if n.Type != recovery.VM {
		// A failure after it came back is a new one, and the other way around.
		of := n.Type
		up := !comesBack(n)
		if of == recovery.ComputeHost && !up {
			of = "" // nothing that was reported of the host counts any more
		}
		t.do(clientv3.OpDelete(s.key.dedups(n.HostUUID, up, of), clientv3.WithPrefix()))
	}
	return t, nil
}

// supersedes reports whether the run for a notification ends those for the
// servers of its host.
func supersedes(n recovery.Notification) bool {
	return n.Type == recovery.ComputeHost && !comesBack(n)
}

func serverOf(n recovery.Notification) string {
	if n.Type != recovery.VM {
		return ""
	}
	return n.ServerUUID()
}

// whichHost tells which host has a name: from what is known, or by quorum.
func (s *Store) whichHost(ctx context.Context, name string, known bool) (h recovery.Host, err error) {
	if known {
		s.index.mu.RLock()
		h, ok := s.index.hosts.get(s.index.hostNames[name])
		s.index.mu.RUnlock()
		if ok {
			return h, nil
		}
	}
	resp, err := s.get(ctx, s.key.hostName(name))
	if err != nil {
		return h, err
	}
	if len(resp.Kvs) == 0 {
		return h, recovery.ErrNotFound
	}
	place := parts(string(resp.Kvs[0].Value), "")
	if len(place) != 2 {
		return h, fmt.Errorf("%w: place of the host", ErrDamaged)
	}
	h.SegmentUUID, h.UUID = unesc(place[0]), unesc(place[1])
	return h, nil
}
