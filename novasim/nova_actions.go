package novasim

import (
	"encoding/json"
	"slices"
	"strings"
	"time"
)

// action is one entry of a server's os-instance-actions.
type action struct {
	name, requestID   string
	userID, projectID string
	start, updated    time.Time
	message           string // Error when it failed
	events            []*actionEvent
}

// actionEvent is one service's part in an action.
type actionEvent struct {
	name            string
	host            string // of the service
	start, finished time.Time
	result          string // Success or Error, empty while it runs
}

// controller is the host of the services that are not nova-compute.
const controller = "controller"

// maxActions bounds the history of one server; the oldest entries go first.
const maxActions = 10_000

func (c *Cloud) record(k *call, s *server, name, event string) *action {
	a := &action{name: name, requestID: k.requestID, userID: k.token.user.id, start: c.now(), updated: c.now()}
	a.begin(c, event, controller)
	if k.token.project != nil {
		a.projectID = k.token.project.id
	}
	if len(s.actions) >= maxActions {
		s.actions = slices.Delete(s.actions, 0, maxActions/10)
	}
	s.actions = append(s.actions, a)
	return a
}

// begin notes that a service on host has taken up its part.
func (a *action) begin(c *Cloud, event, host string) {
	a.events = append(a.events, &actionEvent{name: event, host: host, start: c.now()})
}

// on says which host does the part that began last.
func (a *action) on(h *host) { a.events[len(a.events)-1].host = h.name }

// finish ends the parts that run.
func (a *action) finish(c *Cloud, result string) {
	a.updated = c.now()
	for _, e := range a.events {
		if e.result == "" {
			e.result, e.finished = result, c.now()
		}
	}
	if result == "Error" {
		a.message = "Error"
	}
}

// stateAction is a server action that changes the state and nothing else.
type stateAction struct {
	name    string   // in os-instance-actions
	policy  string   // "" where members may
	from    []string // vm_states in which Nova allows it
	tasks   []string // task_states in which Nova allows it, none apart
	task    string   // while it runs
	vm      string   // afterwards, "" for no change
	power   int
	event   string
	status  int
	timedBy string // key of latency.actions
}

var rebooting = []string{"rebooting", "reboot_pending", "reboot_started", "rebooting_hard", "reboot_pending_hard", "reboot_started_hard"}

// hardRebootable adds the states from which only a hard reboot helps.
var hardRebootable = []string{"active", "stopped", "paused", "suspended", "error"}

// The states are those of the decorators in Nova's compute API.
var stateActions = map[string]stateAction{
	"os-stop":        {name: "stop", from: []string{"active", "error"}, task: "powering-off", vm: "stopped", power: 4, event: "compute_stop_instance", status: 202, timedBy: "stop"},
	"os-start":       {name: "start", from: []string{"stopped"}, task: "powering-on", vm: "active", power: 1, event: "compute_start_instance", status: 202, timedBy: "start"},
	"pause":          {name: "pause", from: []string{"active"}, task: "pausing", vm: "paused", power: 3, event: "compute_pause_instance", status: 202, timedBy: "pause"},
	"unpause":        {name: "unpause", from: []string{"paused"}, task: "unpausing", vm: "active", power: 1, event: "compute_unpause_instance", status: 202, timedBy: "pause"},
	"suspend":        {name: "suspend", from: []string{"active"}, task: "suspending", vm: "suspended", power: 4, event: "compute_suspend_instance", status: 202, timedBy: "suspend"},
	"resume":         {name: "resume", from: []string{"suspended"}, task: "resuming", vm: "active", power: 1, event: "compute_resume_instance", status: 202, timedBy: "suspend"},
	"rescue":         {name: "rescue", from: []string{"active", "stopped", "error"}, task: "rescuing", vm: "rescued", power: 1, event: "compute_rescue_instance", status: 200, timedBy: "rescue"},
	"unrescue":       {name: "unrescue", from: []string{"rescued"}, task: "unrescuing", vm: "active", power: 1, event: "compute_unrescue_instance", status: 202, timedBy: "rescue"},
	"reboot":         {name: "reboot", from: []string{"active"}, task: "rebooting", vm: "active", power: 1, event: "compute_reboot_instance", status: 202, timedBy: "reboot"},
	"resize":         {name: "resize", from: []string{"active", "stopped"}, task: "resize_prep", vm: "resized", event: "compute_finish_resize", status: 202, timedBy: "resize"},
	"migrate":        {name: "migrate", policy: "os-migrate-server:migrate", from: []string{"active", "stopped"}, task: "resize_prep", vm: "resized", event: "compute_finish_resize", status: 202, timedBy: "resize"},
	"confirmResize":  {name: "confirmResize", from: []string{"resized"}, event: "compute_confirm_resize", status: 204, timedBy: "resize"},
	"os-migrateLive": {name: "live-migration", policy: "os-migrate-server:migrate_live", from: []string{"active", "paused"}, task: "migrating", event: "compute_live_migration", status: 202, timedBy: "live_migrate"},
}

// timedActions are the keys of latency.actions.
var timedActions = []string{"create", "delete", "live_migrate", "pause", "reboot", "rescue", "resize", "start", "stop", "suspend"}

// actionTime is how long the host takes for an action.
func (c *Cloud) actionTime(key string, s *server) time.Duration {
	return c.draw(c.sc.Latency.Actions[key], "action", key, s.id, number(len(s.actions)))
}

// act is POST /servers/ID/action.
func (k *call) act(s *server) answer {
	m, a, good := object(k.body)
	if !good {
		return a
	}
	if len(m) != 1 {
		return fail(400, "Malformed request body")
	}
	key := sortedKeys(m)[0]
	body := m[key]
	switch key {
	case "evacuate":
		return k.evacuate(s, body)
	case "lock":
		return k.lock(s, body)
	case "unlock":
		return k.unlock(s)
	case "os-resetState":
		return k.resetState(s, body)
	}
	act, found := stateActions[key]
	if !found {
		return fail(400, "There is no such action: %.64s", key)
	}
	return k.change(s, key, act, body)
}

// change does what a stateAction says.
func (k *call) change(s *server, key string, act stateAction, raw json.RawMessage) answer {
	c := k.c
	target, targeted := "", false
	switch key {
	case "reboot":
		body, a, good := schema{"reboot", map[string]string{"type": "one of HARD Hard hard SOFT Soft soft"}, []string{"type"}}.check(raw)
		if !good {
			return a
		}
		if strings.EqualFold(body["type"].(string), "HARD") {
			act.from, act.tasks, act.task = hardRebootable, rebooting, "rebooting_hard"
		}
	case "os-migrateLive":
		sch := schema{key, map[string]string{"host": "text|null", "block_migration": "any"}, []string{"block_migration", "host"}}
		if k.version < 25 {
			sch.may["disk_over_commit"], sch.required = "switch", append(sch.required, "disk_over_commit")
		}
		if k.version >= 30 && k.version < 68 {
			sch.may["force"] = "switch"
		}
		body, a, good := sch.check(raw)
		if !good {
			return a
		}
		target, targeted = body["host"].(string)
	case "migrate":
		if k.version < 56 || string(raw) == "null" {
			break
		}
		body, a, good := schema{key, map[string]string{"host": "text|null"}, nil}.check(raw)
		if !good {
			return a
		}
		target, targeted = body["host"].(string)
	case "resize":
		if _, a, good := (schema{"resize", map[string]string{"flavorRef": "any", "OS-DCF:diskConfig": "string"}, []string{"flavorRef"}}).check(raw); !good {
			return a
		}
	}
	if act.policy != "" {
		if a, good := k.may(act.policy); !good {
			return a
		}
	}
	if s.locked && !k.token.admin() {
		return fail(409, "Instance %s is locked", s.id)
	}
	if a, good := k.inState(s, key, act); !good {
		return a
	}
	only := c.hostByName[target]
	if targeted && only == nil {
		return fail(400, "Compute host %.100s could not be found.", target)
	}
	if s.host == nil {
		return fail(409, "Instance %s is not ready", s.id)
	}
	switch key {
	case "resize", "migrate", "os-migrateLive", "confirmResize":
		return k.changeHost(s, key, act, only)
	}
	return k.changeHere(s, act, key)
}

// inState refuses an action that the server's state does not allow.
func (k *call) inState(s *server, key string, act stateAction) (answer, bool) {
	// The names of the actions in Nova's messages.
	verb := key
	switch key {
	case "os-stop", "os-start":
		verb = key[len("os-"):]
	}
	if !slices.Contains(act.from, s.vm) {
		return fail(409, "Cannot '%s' instance %s while it is in vm_state %s", verb, s.id, s.vm), false
	}
	if s.task != "" && !slices.Contains(act.tasks, s.task) {
		return fail(409, "Cannot '%s' instance %s while it is in task_state %s", verb, s.id, s.task), false
	}
	return answer{}, true
}

// changeHere changes the state of a server on its host. For a host that does
// not run it is accepted all the same, and its task_state stays set.
func (k *call) changeHere(s *server, act stateAction, key string) answer {
	c := k.c
	rec := c.record(k, s, act.name, act.event)
	rec.on(s.host)
	s.state(c, s.vm, act.task)
	on := s.host
	c.tell(on, c.actionTime(act.timedBy, s), func() {
		// An old message: the server is elsewhere, or gone, or was reset.
		if s.deleted || s.host != on || s.task != act.task {
			rec.finish(c, "Error")
			return
		}
		s.state(c, act.vm, "")
		s.power = act.power
		rec.finish(c, "Success")
	})
	a := answer{status: act.status}
	if key == "rescue" {
		a.body = map[string]any{"adminPass": k.password()}
	}
	return a
}

// changeHost moves a server that runs: resize, migrate, live migration; and
// confirms a move.
func (k *call) changeHost(s *server, key string, act stateAction, only *host) answer {
	c := k.c
	if key == "confirmResize" {
		rec := c.record(k, s, act.name, act.event)
		vm := "active"
		if s.power == 4 {
			vm = "stopped"
		}
		for _, m := range slices.Backward(c.migrations) {
			if m.server == s && m.status == "finished" {
				m.set(c, "confirmed")
				break
			}
		}
		s.resized = nil
		s.state(c, vm, "")
		rec.finish(c, "Success")
		return answer{status: act.status}
	}
	switch {
	case key != "os-migrateLive" && !c.up(s.host.service):
		return fail(400, "Service is unavailable at this time.")
	case key != "os-migrateLive" && only == s.host:
		return fail(400, "Cannot migrate to the host where the server exists.")
	case key == "os-migrateLive" && (only == s.host || !c.up(s.host.service)):
		// Accepted; the conductor finds out.
		m := c.migration(s, "live-migration")
		m.set(c, "error")
		c.record(k, s, act.name, act.event).finish(c, "Error")
		return answer{status: act.status}
	}
	not := s.host
	if key == "resize" {
		not = nil
	}
	to := c.schedule(not, only)
	if to == nil {
		return fail(400, "No valid host was found. There are not enough hosts available.")
	}
	kind := map[string]string{"resize": "resize", "migrate": "migration", "os-migrateLive": "live-migration"}[key]
	rec := c.record(k, s, act.name, act.event)
	rec.on(to)
	m := c.migration(s, kind)
	m.dest, m.claimed = to, true
	m.set(c, "migrating")
	s.state(c, s.vm, act.task)
	from := s.host
	c.tell(to, c.actionTime(act.timedBy, s), func() {
		if s.deleted || s.task != act.task || s.host != from {
			m.set(c, "error")
			rec.finish(c, "Error")
			return
		}
		s.move(to)
		vm := s.vm
		if act.vm != "" {
			vm, s.resized = act.vm, from
			m.set(c, "finished")
		} else {
			m.set(c, "completed")
		}
		s.state(c, vm, "")
		rec.finish(c, "Success")
	})
	return answer{status: act.status}
}

func (k *call) lock(s *server, raw json.RawMessage) answer {
	reason := ""
	if k.version >= 73 && string(raw) != "null" {
		body, a, good := schema{"lock", map[string]string{"locked_reason": "text"}, nil}.check(raw)
		if !good {
			return a
		}
		reason, _ = body["locked_reason"].(string)
	}
	// Who is in the server's project is its owner, an administrator too, and does
	// not change a lock that is there: neither its reason nor whose it is.
	owner := k.token.project == s.project
	if s.locked && owner {
		return answer{status: 202}
	}
	s.lockedBy = "admin"
	if owner {
		s.lockedBy = "owner"
	}
	s.locked, s.lockedReason, s.updated = true, reason, k.c.now()
	k.c.record(k, s, "lock", "api_lock").finish(k.c, "Success")
	return answer{status: 202}
}

func (k *call) unlock(s *server) answer {
	if s.locked && s.lockedBy == "admin" {
		if a, good := k.may("os-lock-server:unlock:unlock_override"); !good {
			return a
		}
	}
	s.locked, s.lockedBy, s.lockedReason, s.updated = false, "", "", k.c.now()
	k.c.record(k, s, "unlock", "api_unlock").finish(k.c, "Success")
	return answer{status: 202}
}

// resetState is os-resetState: it sets vm_state, clears task_state, and asks nobody.
func (k *call) resetState(s *server, raw json.RawMessage) answer {
	body, a, good := schema{"os-resetState", map[string]string{"state": "one of active error"}, []string{"state"}}.check(raw)
	if !good {
		return a
	}
	state := body["state"].(string)
	if a, good := k.may("os-admin-actions:reset_state"); !good {
		return a
	}
	rec := k.c.record(k, s, "resetState", "api_reset_state")
	for _, e := range s.open {
		e.preempted = true
	}
	s.ruined = false
	s.state(k.c, state, "")
	rec.finish(k.c, "Success")
	return answer{status: 202}
}

type actionView struct {
	Action    string       `json:"action"`
	Server    string       `json:"instance_uuid"`
	RequestID string       `json:"request_id"`
	UserID    string       `json:"user_id"`
	ProjectID null         `json:"project_id"`
	StartTime string       `json:"start_time"`
	Message   null         `json:"message"`
	UpdatedAt null         `json:"updated_at,omitzero"`
	Events    *[]eventView `json:"events,omitempty"`
}

type eventView struct {
	Event      string  `json:"event"`
	StartTime  string  `json:"start_time"`
	FinishTime null    `json:"finish_time"`
	Result     null    `json:"result"`
	Traceback  null    `json:"traceback,omitzero"`
	HostID     *string `json:"hostId,omitempty"`
	Host       *string `json:"host,omitempty"`
	Details    null    `json:"details,omitzero"`
}

func (k *call) actionView(s *server, a *action) actionView {
	v := actionView{
		Action: a.name, Server: s.id, RequestID: a.requestID, UserID: a.userID, ProjectID: orNull(a.projectID),
		StartTime: a.start.UTC().Format(timeMicro), Message: orNull(a.message),
	}
	if k.version >= 58 {
		v.UpdatedAt = orNullTime(a.updated)
	}
	return v
}

func (k *call) listActions(s *server) answer {
	q := k.r.URL.Query()
	p, a, good := k.page(q)
	if !good {
		return a
	}
	views := []actionView{}
	waiting := p.marker != "" && k.version >= 58
	for _, act := range slices.Backward(s.actions) {
		if !waiting && len(views) < p.limit {
			views = append(views, k.actionView(s, act))
		}
		if act.requestID == p.marker {
			waiting = false
		}
	}
	if waiting {
		return fail(400, "Marker None could not be found.") // so says Nova
	}
	body := map[string]any{"instanceActions": views}
	if k.version >= 58 && p.given && len(views) == p.limit && p.limit > 0 {
		body["links"] = k.next(q, views[len(views)-1].RequestID)
	}
	return ok(body)
}

func (k *call) getAction(s *server, requestID string) answer {
	for _, act := range s.actions {
		if act.requestID != requestID {
			continue
		}
		v := k.actionView(s, act)
		if k.token.admin() || k.version >= 51 {
			events := []eventView{}
			for _, e := range slices.Backward(act.events) {
				events = append(events, k.eventView(s, e))
			}
			v.Events = &events
		}
		return ok(map[string]any{"instanceAction": v})
	}
	return fail(404, "Action %.64s not found", requestID)
}

func (k *call) eventView(s *server, e *actionEvent) eventView {
	v := eventView{
		Event: e.name, StartTime: e.start.UTC().Format(timeMicro), FinishTime: orNullTime(e.finished), Result: orNull(e.result),
	}
	if k.token.admin() {
		v.Details = k.since(84, "")
		v.Traceback = orNull("")
		if k.version >= 62 {
			v.Host = new(e.host)
		}
	}
	if k.version >= 62 {
		v.HostID = new(k.c.hostID(s.project, e.host))
	}
	return v
}
