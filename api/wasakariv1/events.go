package wasakariv1

import (
	"fmt"
	"slices"
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

// Event is a change of the store, or a line that a task logged.
type Event struct {
	// Change has the Revision 0 when it is not kept, as a line of a log: nobody can
	// go on after it.
	recovery.Change
	Time time.Time
	Log  *recovery.LogLine // of the run RunID
}

// Type says what the event is about; empty: nothing that is told.
func (e Event) Type() EventType {
	switch {
	case e.Lost:
		return ResetEvent
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
	case e.Modules:
		return ModuleEvent
	}
	return ""
}

// run is the id of the run that it belongs to, empty: none.
func (e Event) run() string {
	if e.Run != nil {
		return e.Run.ID
	}
	return e.RunID
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

// toldProgress is how much of a task's progress an event tells: the last of it.
const toldProgress = 3

// Publish hands an event to all who follow. Events of the store come in the
// order of their revisions. It does not block.
func (e *Events) Publish(ev Event) {
	if ev.Type() == "" {
		return
	}
	// Each of a thousand messages would bring all that came before it along.
	if t := ev.Task; t != nil && len(t.Progress) > toldProgress {
		short := *t
		short.Progress = slices.Clone(t.Progress[len(t.Progress)-toldProgress:])
		ev.Task = &short
	}
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

// Follow publishes the changes of the store until the channel is closed.
func (e *Events) Follow(changes <-chan recovery.Change) {
	for c := range changes {
		e.Publish(Event{Change: c, Time: time.Now().UTC()})
	}
}

// EventDocument is what is sent of an event. Nothing of it is a value of a run.
type EventDocument struct {
	Time         time.Time            `json:"time"`
	RunID        string               `json:"run_id,omitempty" help:"The run that it belongs to."`
	Deleted      bool                 `json:"deleted,omitempty" help:"Whether it is there no more; then only its uuid, name or id is told."`
	Run          *Run                 `json:"run,omitempty"`
	Task         *recovery.TaskRecord `json:"task,omitempty" help:"Of its progress the last few messages."`
	VMove        *recovery.VMove      `json:"vmove,omitempty"`
	Log          *LogLine             `json:"log,omitempty"`
	Notification *Notification        `json:"notification,omitempty"`
	Host         *recovery.Host       `json:"host,omitempty"`
	Segment      *recovery.Segment    `json:"segment,omitempty"`
	Node         *recovery.Node       `json:"node,omitempty"`
}

// eventDocument shows an event. own are the tasks of the view's tenant.
func eventDocument(ev Event, v view, own map[string]bool) EventDocument {
	doc := EventDocument{
		Time: ev.Time.UTC(), RunID: ev.run(), Deleted: ev.Deleted,
		VMove: ev.VMove, Host: ev.Host, Segment: ev.Segment, Node: ev.Node,
	}
	if ev.Run != nil {
		r := runOf(*ev.Run, v)
		doc.Run = &r
	}
	if ev.Task != nil {
		t := taskFor(v, own, *ev.Task)
		doc.Task = &t
	}
	if ev.Log != nil {
		doc.Log = &LogLine{ev.Log.Task, ev.Log.Tenant, ev.Log.Level, ev.Log.Message}
	}
	if ev.Notification != nil {
		n := notificationOf(*ev.Notification)
		doc.Notification = &n
	}
	return doc
}

// LogLine is a line that a task logged.
type LogLine struct {
	Task    string `json:"task"`
	Tenant  string `json:"tenant,omitempty"`
	Level   string `json:"level"`
	Message string `json:"message"`
}
