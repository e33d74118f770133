package masakariv1

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/wasakari/wasakari/recovery"
)

type notificationDoc struct {
	ID                  int64           `json:"id"`
	NotificationUUID    string          `json:"notification_uuid"`
	GeneratedTime       string          `json:"generated_time"`
	SourceHostUUID      string          `json:"source_host_uuid"`
	Type                string          `json:"type"`
	Payload             json.RawMessage `json:"payload"`
	Status              string          `json:"status"`
	FailoverSegmentUUID string          `json:"failover_segment_uuid"`
	Message             *string         `json:"message"`
	stampDoc
	// Details are there in the answer about a single one at 1.1 and later.
	Details *[]detailDoc `json:"recovery_workflow_details,omitempty"`
}

func describeNotification(n recovery.Notification) notificationDoc {
	doc := notificationDoc{
		ID: n.Stamp.ID, NotificationUUID: n.UUID, GeneratedTime: n.Generated.UTC().Format(microseconds), SourceHostUUID: n.HostUUID,
		Type: string(n.Type), Payload: n.Payload, Status: string(n.Status), FailoverSegmentUUID: n.SegmentUUID, stampDoc: describeStamp(n.Stamp),
	}
	if n.Message != "" {
		doc.Message = &n.Message
	}
	return doc
}

func notificationStamp(n *recovery.Notification) *recovery.Stamp { return &n.Stamp }

var notificationColumns = stamped(columns[recovery.Notification]{
	"notification_uuid":     text(func(n *recovery.Notification) string { return n.UUID }),
	"source_host_uuid":      text(func(n *recovery.Notification) string { return n.HostUUID }),
	"failover_segment_uuid": text(func(n *recovery.Notification) string { return n.SegmentUUID }),
	"type":                  text(func(n *recovery.Notification) string { return string(n.Type) }),
	"status":                text(func(n *recovery.Notification) string { return string(n.Status) }),
	"payload":               text(func(n *recovery.Notification) string { return string(n.Payload) }),
	"message":               text(func(n *recovery.Notification) string { return n.Message }),
	"generated_time":        func(a, b *recovery.Notification) int { return a.Generated.Compare(b.Generated) },
}, notificationStamp)

func listNotifications(c *call) (any, error) {
	l, err := parseListing(c.query, c.cfg.MaxLimit)
	if err != nil {
		return nil, err
	}
	var since time.Time
	if given, ok := last(c.query, "generated-since"); ok {
		if since, err = parseTime(given); err != nil {
			return nil, faultf(http.StatusBadRequest, "Invalid generated-since value")
		}
	}
	all, err := c.cfg.Store.Notifications(c.ctx())
	if err != nil {
		return nil, err
	}
	status, kind, host := equals(c.query, "status"), equals(c.query, "type"), equals(c.query, "source_host_uuid")
	kept, err := page(l, all, notificationColumns, notificationStamp, func(n *recovery.Notification) bool {
		return status(string(n.Status)) && kind(string(n.Type)) && host(n.HostUUID) && !n.Generated.Before(since)
	})
	if err != nil {
		return nil, err
	}
	docs := make([]notificationDoc, len(kept))
	for i, n := range kept {
		docs[i] = describeNotification(n)
	}
	return map[string][]notificationDoc{"notifications": docs}, nil
}

// notification gives the notification that the path names.
func (c *call) notification() (recovery.Notification, error) {
	id := c.params["notification_id"]
	missing := faultf(http.StatusNotFound, "No notification with id %s.", id)
	if !uuidLike(id) {
		return recovery.Notification{}, missing
	}
	n, err := c.cfg.Store.Notification(c.ctx(), id)
	if errors.Is(err, recovery.ErrNotFound) {
		return recovery.Notification{}, missing
	}
	return n, err
}

func showNotification(c *call) (any, error) {
	n, err := c.notification()
	if err != nil {
		return nil, err
	}
	doc := describeNotification(n)
	if c.version.atLeast(1, 1) {
		details, err := c.details(n)
		if err != nil {
			return nil, err
		}
		doc.Details = &details
	}
	return map[string]notificationDoc{"notification": doc}, nil
}

func createNotification(c *call) (any, error) {
	in, _ := c.body.get("notification")
	payload, _ := in.get("payload")
	kind := recovery.NotificationType(in.str("type"))
	if m := payloads[kind].check(payload); m != nil {
		return nil, faultf(http.StatusBadRequest, "%s", m.text())
	}
	raw, err := payload.MarshalJSON()
	if err != nil {
		return nil, fmt.Errorf("payload: %w", err)
	}
	generated, err := parseTime(in.str("generated_time"))
	if err != nil {
		return nil, err // the schema let it through
	}
	n := recovery.Notification{
		UUID: uuid.NewString(), Type: kind, HostName: in.str("hostname"), Generated: generated, Payload: raw,
		Status: recovery.StatusNew, RequestID: c.info.ID, Trace: c.info.Trace,
	}
	if c.cfg.Verdict != nil {
		if status, why := c.cfg.Verdict(n); status != "" {
			n.Status, n.Message = status, why
		}
	}
	made, err := c.cfg.Store.Accept(c.ctx(), n, c.cfg.DuplicateWindow)
	switch {
	case errors.Is(err, recovery.ErrMaintenance):
		return nil, faultf(http.StatusConflict, "Notification received from host %s of type '%s' is ignored as the host is already under maintenance.", n.HostName, kind)
	case errors.Is(err, recovery.ErrDuplicate):
		return nil, faultf(http.StatusConflict, "Notification received from host %s of type %s is duplicate.", n.HostName, kind)
	case errors.Is(err, recovery.ErrNotFound):
		return nil, faultf(http.StatusBadRequest, "Host with name %s could not be found.", n.HostName)
	case err != nil:
		return nil, err
	}
	c.info.Target = made.UUID
	doc := describeNotification(made)
	// What was decided at once is told to who asks next; the sender has always
	// been told of a new one.
	doc.Status, doc.Message, doc.UpdatedAt = string(recovery.StatusNew), nil, nil
	return map[string]notificationDoc{"notification": doc}, nil
}

type detailDoc struct {
	Name     string        `json:"name"`
	Progress json.Number   `json:"progress"`
	State    string        `json:"state"`
	Details  []progressDoc `json:"progress_details"`
}

type progressDoc struct {
	Timestamp string `json:"timestamp"`
	Progress  string `json:"progress"`
	Message   string `json:"message"`
}

// states are the words for where a task stands.
var states = map[recovery.TaskStatus]string{
	recovery.TaskPending:      "PENDING",
	recovery.TaskRunning:      "RUNNING",
	recovery.TaskSucceeded:    "SUCCESS",
	recovery.TaskNothingToDo:  "SUCCESS",
	recovery.TaskIgnored:      "SUCCESS",
	recovery.TaskFailed:       "FAILURE",
	recovery.TaskInterrupted:  "FAILURE",
	recovery.TaskReverting:    "REVERTING",
	recovery.TaskReverted:     "REVERTED",
	recovery.TaskRevertFailed: "REVERT_FAILURE",
}

// details tells of every task of every run of a notification, in the order in
// which they began.
func (c *call) details(n recovery.Notification) ([]detailDoc, error) {
	docs := []detailDoc{}
	for _, id := range n.Runs {
		_, tasks, _, _, _, err := c.cfg.Store.RunDetail(c.ctx(), id)
		if errors.Is(err, recovery.ErrNotFound) {
			continue // too old to be kept
		}
		if err != nil {
			return nil, fmt.Errorf("run %s: %w", id, err)
		}
		for _, t := range tasks {
			docs = append(docs, describeTask(t))
		}
	}
	return docs, nil
}

func describeTask(t recovery.TaskRecord) detailDoc {
	doc := detailDoc{Name: t.Class, State: states[t.Status], Details: []progressDoc{}}
	if doc.Name == "" {
		doc.Name = t.Key
	}
	if doc.State == "" {
		doc.State = "PENDING"
	}
	permille := 0
	tell := func(at time.Time, message string) {
		doc.Details = append(doc.Details, progressDoc{Timestamp: at.UTC().Format(blankMicros), Progress: fraction(permille), Message: message})
	}
	said := ""
	for _, p := range t.Progress {
		permille, said = p.Permille, p.Message
		tell(p.Time, p.Message)
	}
	ended := t.Status // how the execution itself ended
	reason := t.Message
	at := t.Ended
	if t.Revert != nil {
		ended, reason, at = t.Revert.Of, t.Revert.Reason, t.Revert.Started
	}
	switch ended {
	case recovery.TaskSucceeded, recovery.TaskNothingToDo, recovery.TaskIgnored:
		permille = 1000
	}
	if reason != "" && reason != said {
		tell(at, reason)
	}
	if t.Revert != nil && t.Message != "" && t.Message != reason {
		at = t.Revert.Ended
		if at.IsZero() {
			at = t.Revert.Started
		}
		tell(at, t.Message)
	}
	doc.Progress = json.Number(fraction(permille))
	return doc
}

// fraction writes thousandths as a number with a point: 0.0, 0.25, 1.0.
func fraction(permille int) string {
	s := strconv.FormatFloat(float64(min(max(permille, 0), 1000))/1000, 'f', -1, 64)
	if !strings.Contains(s, ".") {
		s += ".0"
	}
	return s
}
