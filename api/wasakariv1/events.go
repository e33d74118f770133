package wasakariv1

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/wasakari/wasakari/recovery"
)

// EventType says what an event is about.
type EventType string

// The types of events.
const (
	RunEvent          EventType = "run"
	TaskEvent         EventType = "task"
	VMoveEvent        EventType = "vmove"
	LogEvent          EventType = "log"
	NotificationEvent EventType = "notification"
	HostEvent         EventType = "host"
	SegmentEvent      EventType = "segment"
	NodeEvent         EventType = "node"
	ModuleEvent       EventType = "module"

	// ResetEvent says that events are missing: what was read before must be read
	// again. EndEvent is the last of a stream, and says why.
	ResetEvent EventType = "reset"
	EndEvent   EventType = "end"
)

// eventTypes lists those that are about something.
func eventTypes() []EventType {
	return []EventType{RunEvent, TaskEvent, VMoveEvent, LogEvent, NotificationEvent, HostEvent, SegmentEvent, NodeEvent, ModuleEvent}
}

// Event is something that changed. Exactly one of the pointers is set, or Gone.
type Event struct {
	// Revision is that of the store in which it changed, and grows; several events
	// may have the same. 0: it is not kept, as a line of a log, and nobody can go on
	// after it.
	Revision int64
	Time     time.Time
	// RunID is the run that it belongs to, empty: none.
	RunID        string
	Run          *recovery.Run
	Task         *recovery.TaskRecord
	VMove        *recovery.VMove
	Log          *recovery.LogLine
	Notification *recovery.Notification
	Host         *recovery.Host
	Segment      *recovery.Segment
	Node         *recovery.Node
	Module       *recovery.ModuleVersion
	// Gone names what is there no more; ID is its id.
	Gone EventType
	ID   string
	// Lost is true when events before this one are missing; then nothing else is
	// set.
	Lost bool
}

// Type says what the event is about.
func (e Event) Type() EventType {
	switch {
	case e.Run != nil:
		return RunEvent
	case e.Task != nil:
		return TaskEvent
	case e.VMove != nil:
		return VMoveEvent
	case e.Log != nil:
		return LogEvent
	case e.Notification != nil:
		return NotificationEvent
	case e.Host != nil:
		return HostEvent
	case e.Segment != nil:
		return SegmentEvent
	case e.Node != nil:
		return NodeEvent
	case e.Module != nil:
		return ModuleEvent
	case e.Gone != "":
		return e.Gone
	}
	return ResetEvent
}

// place is where in the sequence of kept events one stands: its revision, and
// its number in it.
type place struct{ revision, n int64 }

func (p place) String() string {
	if p.revision == 0 {
		return ""
	}
	return fmt.Sprintf("%d.%d", p.revision, p.n)
}

func (p place) after(q place) bool {
	return p.revision > q.revision || p.revision == q.revision && p.n > q.n
}

// parsePlace reads an id of an event.
func parsePlace(s string) (place, bool) {
	rev, n, ok := strings.Cut(s, ".")
	r, err1 := strconv.ParseInt(rev, 10, 64)
	i, err2 := strconv.ParseInt(n, 10, 64)
	p := place{r, i}
	return p, ok && err1 == nil && err2 == nil && r > 0 && i > 0 && p.String() == s
}

// placed is an event and its place.
type placed struct {
	Event
	at place
}

// Bounds of Events.
const (
	defaultKept = 4096
	queued      = 512 // events that a reader may be behind
)

// Events hands what changes to those who follow it. Whoever is too slow is cut
// off; he never holds up others. It is safe for concurrent use.
type Events struct {
	mu      sync.Mutex
	kept    []placed // a ring, the oldest at first
	first   int
	last    place
	since   place // events after it are known; zero: none are yet
	readers map[*reader]bool
}

// NewEvents makes one that keeps so many events for those who come back; 0
// stands for 4096.
func NewEvents(keep int) *Events {
	if keep <= 0 {
		keep = defaultKept
	}
	return &Events{kept: make([]placed, 0, keep), readers: map[*reader]bool{}}
}

// Publish hands an event to all who follow. Events of the store come in the
// order of their revisions. It does not block.
func (e *Events) Publish(ev Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	p := placed{Event: ev}
	switch {
	case ev.Lost:
		e.kept, e.first, e.since = e.kept[:0], 0, place{}
	case ev.Revision > 0:
		p.at = place{ev.Revision, 1}
		if ev.Revision <= e.last.revision {
			p.at = place{e.last.revision, e.last.n + 1}
		}
		if e.since == (place{}) {
			e.since = place{ev.Revision - 1, 1 << 62}
		}
		e.last = p.at
		if len(e.kept) < cap(e.kept) {
			e.kept = append(e.kept, p)
		} else {
			e.since = e.kept[e.first].at
			e.kept[e.first] = p
			e.first = (e.first + 1) % len(e.kept)
		}
	}
	for r := range e.readers {
		r.push(p)
	}
}

// reader is one who follows.
type reader struct {
	events *Events
	wants  func(Event) bool
	ch     chan placed
	slow   bool // guarded by Events.mu; ch is closed
}

func (r *reader) push(p placed) {
	if r.slow || !p.Lost && !r.wants(p.Event) {
		return
	}
	select {
	case r.ch <- p:
	default:
		r.slow = true
		close(r.ch)
	}
}

// follow begins to follow. With after, old are those that came since; known is
// false when that cannot be told any more.
func (e *Events) follow(wants func(Event) bool, after *place) (r *reader, old []placed, known bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	r = &reader{events: e, wants: wants, ch: make(chan placed, queued)}
	e.readers[r] = true
	if after == nil {
		return r, nil, true
	}
	if e.since == (place{}) || e.since.after(*after) || after.after(e.last) {
		return r, nil, false
	}
	for i := range e.kept {
		if p := e.kept[(e.first+i)%len(e.kept)]; p.at.after(*after) && wants(p.Event) {
			old = append(old, p)
		}
	}
	return r, old, true
}

// stop ends it.
func (r *reader) stop() {
	r.events.mu.Lock()
	defer r.events.mu.Unlock()
	delete(r.events.readers, r)
}

// eventDocument is what is sent of an event. Nothing of it is a value of a run.
func (a *API) eventDocument(ev Event, v view, own map[string]bool) ([]byte, error) {
	doc := map[string]any{"time": ev.Time.UTC()}
	if ev.RunID != "" {
		doc["run_id"] = ev.RunID
	}
	switch {
	case ev.Run != nil:
		doc["run"] = runOf(*ev.Run, v)
	case ev.Task != nil:
		doc["task"] = taskFor(v, own, *ev.Task)
	case ev.VMove != nil:
		doc["vmove"] = ev.VMove
	case ev.Log != nil:
		doc["log"] = logLine{ev.Log.Task, ev.Log.Tenant, ev.Log.Level, ev.Log.Message}
	case ev.Notification != nil:
		doc["notification"] = notificationOf(*ev.Notification)
	case ev.Host != nil:
		doc["host"] = ev.Host
	case ev.Segment != nil:
		doc["segment"] = ev.Segment
	case ev.Node != nil:
		doc["node"] = ev.Node
	case ev.Module != nil:
		doc["module"] = ev.Module
	case ev.Gone != "":
		doc["gone"] = ev.ID
	}
	return json.Marshal(doc)
}

// logLine is a line that a task logged.
type logLine struct {
	Task    string `json:"task"`
	Tenant  string `json:"tenant,omitempty"`
	Level   string `json:"level"`
	Message string `json:"message"`
}
