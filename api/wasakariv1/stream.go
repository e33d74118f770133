package wasakariv1

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/wasakari/wasakari/api/internal/wire"
	"github.com/wasakari/wasakari/recovery"
)

// writeTime is how long a client may take to read what is sent to it.
const writeTime = 10 * time.Second

// stream is an answer of server-sent events.
type stream struct {
	w  http.ResponseWriter
	rc *http.ResponseController
}

// openStream begins the answer.
func openStream(w http.ResponseWriter) *stream {
	h := w.Header()
	h.Set("Content-Type", typeEvents)
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Accel-Buffering", "no") // a proxy must not keep it
	w.WriteHeader(http.StatusOK)
	s := &stream{w, http.NewResponseController(w)}
	// What there was to read has been read.
	_ = s.rc.SetReadDeadline(time.Time{})
	return s
}

// send writes one event. data is one line of JSON.
func (s *stream) send(kind EventType, id string, data []byte) error {
	text := "event: " + string(kind) + "\n"
	if id != "" {
		text += "id: " + id + "\n"
	}
	return s.write(text + "data: " + string(data) + "\n\n")
}

func (s *stream) write(text string) error {
	_ = s.rc.SetWriteDeadline(time.Now().Add(writeTime))
	if _, err := s.w.Write([]byte(text)); err != nil {
		return err
	}
	return s.rc.Flush()
}

// end writes the last event, saying why.
func (s *stream) end(reason, hint string) {
	data, _ := json.Marshal(map[string]string{"reason": reason, "hint": hint}) // strings
	_ = s.send(EndEvent, "", data)
}

// streams counts those that are open. Tenants have no more than half of the
// places, and each of them but a few.
type streams struct {
	mu          sync.Mutex
	all, theirs int
	tenants     map[string]int
}

// tenantStreams is how many streams one tenant may have.
const tenantStreams = 8

// open gives a place among the streams; free gives it back.
func (s *streams) open(most int, tenant string) (free func(), err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.all >= most, tenant != "" && s.theirs >= max(most/2, 1):
		return nil, refuse(http.StatusServiceUnavailable, "try again later", "all places for streams of events are taken")
	case tenant != "" && s.tenants[tenant] >= tenantStreams:
		return nil, refuse(http.StatusServiceUnavailable, "end another one first", "the project follows %d streams of events, which is all it may", tenantStreams)
	}
	s.all++
	if tenant != "" {
		if s.tenants == nil {
			s.tenants = map[string]int{}
		}
		s.theirs++
		s.tenants[tenant]++
	}
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.all--
		if tenant == "" {
			return
		}
		s.theirs--
		if s.tenants[tenant]--; s.tenants[tenant] == 0 {
			delete(s.tenants, tenant)
		}
	}, nil
}

// resumed reads from where a client wants to go on; nil: it begins.
func resumed(r *http.Request) (*place, error) {
	id := r.Header.Get("Last-Event-ID")
	if id == "" {
		return nil, nil //nolint:nilnil // nothing to go on after
	}
	p, ok := parsePlace(id)
	if !ok {
		return nil, refuse(http.StatusBadRequest, "leave it out to begin anew", "Last-Event-ID %q is no id of an event", cut(id, 64))
	}
	return &p, nil
}

// followed copies events to a stream until it ends. done says after which event
// the stream is over.
func (a *API) followed(r *http.Request, s *stream, rd *reader, v view, own map[string]bool, done func(Event) bool) {
	beat := time.NewTicker(a.cfg.Heartbeat)
	defer beat.Stop()
	closing := wire.Closing(r.Context())
	for {
		select {
		case <-r.Context().Done():
			return
		case <-closing:
			s.end("the server is shutting down", "connect again; Last-Event-ID says where to go on")
			return
		case <-a.closed:
			s.end("the server is shutting down", "connect again; Last-Event-ID says where to go on")
			return
		case <-beat.C:
			if s.write(": still here\n\n") != nil {
				return
			}
		case p, ok := <-rd.ch:
			if !ok {
				s.end("you read too slowly; events after this one are missing", "connect again; Last-Event-ID says where to go on")
				return
			}
			if a.sendEvent(s, p, v, own) != nil {
				return
			}
			if done(p.Event) {
				s.end("the run has ended", "")
				return
			}
		}
	}
}

// sendEvent sends one event.
func (a *API) sendEvent(s *stream, p placed, v view, own map[string]bool) error {
	if p.Lost {
		return s.send(ResetEvent, "", []byte(`{"reason":"events before this one are missing","hint":"read again what you follow"}`))
	}
	data, err := json.Marshal(eventDocument(p.Event, v, own))
	if err != nil {
		return err
	}
	return s.send(p.Type(), p.at.String(), data)
}

// watchEvents follows everything.
func (a *API) watchEvents(w http.ResponseWriter, r *http.Request, _ Caller, v view) error {
	p, err := parameters(r, "types")
	if err != nil {
		return err
	}
	types := eventTypes()
	if s, ok := p["types"]; ok {
		types = nil
		for one := range strings.SplitSeq(s, ",") {
			t := EventType(strings.TrimSpace(one))
			if !slices.Contains(eventTypes(), t) {
				return refuse(http.StatusBadRequest, fmt.Sprintf("there are %v", eventTypes()), "events have no type %q", cut(one, 64))
			}
			types = append(types, t)
		}
	}
	after, err := resumed(r)
	if err != nil {
		return err
	}
	free, err := a.streams.open(a.cfg.Streams, v.tenant)
	if err != nil {
		return err
	}
	defer free()
	rd, old, known := a.cfg.Events.follow(func(e Event) bool { return slices.Contains(types, e.Type()) }, after)
	defer rd.stop()
	s := openStream(w)
	if !known {
		old = append([]placed{{Event: Event{Change: recovery.Change{Lost: true}}}}, old...)
	}
	if s.write(": events of Wasakari\n\n") != nil {
		return nil
	}
	for _, p := range old {
		if a.sendEvent(s, p, v, nil) != nil {
			return nil
		}
	}
	a.followed(r, s, rd, v, nil, func(Event) bool { return false })
	return nil
}

// watchRun follows one run: how it stands first, then what changes, until it has
// ended.
func (a *API) watchRun(w http.ResponseWriter, r *http.Request, _ Caller, v view) error {
	if _, err := parameters(r); err != nil {
		return err
	}
	after, err := resumed(r)
	if err != nil {
		return err
	}
	run, _, err := a.run(r, v)
	if err != nil {
		return err
	}
	own, err := a.ownKeys(r.Context(), v, run)
	if err != nil {
		return err
	}
	free, err := a.streams.open(a.cfg.Streams, v.tenant)
	if err != nil {
		return err
	}
	defer free()
	wants := func(e Event) bool {
		switch {
		case e.VMove != nil:
			return v.all && run.Notification != "" && e.VMove.NotificationUUID == run.Notification
		case e.Log != nil:
			return e.run() == run.ID && (v.all || e.Log.Tenant == v.tenant)
		case e.Run != nil, e.Task != nil:
			return e.run() == run.ID
		}
		return false
	}
	rd, old, known := a.cfg.Events.follow(wants, after)
	defer rd.stop()
	if after == nil || !known {
		// Read after following began, so that nothing falls between.
		if old, err = a.standing(r, v); err != nil {
			return err
		}
	}
	s := openStream(w)
	ended := func(e Event) bool { return e.Run != nil && e.Run.Finished }
	var over bool
	for _, p := range old {
		if a.sendEvent(s, p, v, own) != nil {
			return nil
		}
		over = over || ended(p.Event)
	}
	if over || run.Finished {
		s.end("the run has ended", "")
		return nil
	}
	if note := a.elsewhere(run, v); note != nil && a.sendEvent(s, placed{Event: *note}, v, own) != nil {
		return nil
	}
	a.followed(r, s, rd, v, own, ended)
	return nil
}

// elsewhere tells who follows a run that its tasks' lines are not told here, but
// by the node that works on it; nil: they are. Nodes are not for tenants.
func (a *API) elsewhere(run recovery.Run, v view) *Event {
	if a.cfg.Node == "" || run.Node == "" || run.Node == a.cfg.Node {
		return nil
	}
	where := "the node that works on the run"
	if v.all {
		where = fmt.Sprintf("node %s, which works on the run: watch it there", run.Node)
	}
	return &Event{
		Change: recovery.Change{RunID: run.ID}, Time: time.Now().UTC(),
		Log: &recovery.LogLine{Task: "wasakari", Tenant: v.tenant, Level: "info", Message: "what tasks log, and their progress, is told only by " + where},
	}
}

// standing tells in events how a run stands: what it did, then the run itself.
func (a *API) standing(r *http.Request, v view) ([]placed, error) {
	run, d, err := a.run(r, v)
	if err != nil {
		return nil, err
	}
	now := time.Now().UTC()
	var list []placed
	add := func(c recovery.Change) {
		c.RunID = run.ID
		list = append(list, placed{Event: Event{Change: c, Time: now}})
	}
	if !run.Finished {
		add(recovery.Change{Run: &run})
	}
	for _, t := range d.Tasks {
		add(recovery.Change{Task: &t})
	}
	if v.all && run.Notification != "" {
		vmoves, err := a.cfg.Store.VMoves(r.Context(), run.Notification)
		if err != nil {
			return nil, err
		}
		for _, m := range vmoves {
			add(recovery.Change{VMove: &m})
		}
	}
	if run.Finished {
		add(recovery.Change{Run: &run})
	}
	return list, nil
}
