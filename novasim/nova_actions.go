package novasim

import (
	"encoding/json"
	"slices"
	"time"
)

// action is one entry of a server's os-instance-actions.
type action struct {
	name, requestID   string
	userID, projectID string
	start, updated    time.Time
	message           string // Error when it failed
	event             string
	result            string // of the event: Success or Error, empty while it runs
	host              string
	finished          time.Time
}

// maxActions bounds the history of one server; the oldest entries go first.
const maxActions = 10_000

func (c *Cloud) record(k *call, s *server, name, event string) *action {
	a := &action{name: name, requestID: k.requestID, userID: k.token.user.id, start: c.now(), updated: c.now(), event: event}
	if k.token.project != nil {
		a.projectID = k.token.project.id
	}
	if len(s.actions) >= maxActions {
		s.actions = slices.Delete(s.actions, 0, maxActions/10)
	}
	s.actions = append(s.actions, a)
	return a
}

func (a *action) finish(c *Cloud, result string) {
	a.result, a.finished, a.updated = result, c.now(), c.now()
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
	switch len(m) {
	case 0:
		return fail(400, "There is no action in the request body")
	case 1:
	default:
		return fail(400, "Multiple actions specified in the request body")
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
	only := (*host)(nil)
	switch key {
	case "reboot":
		body, a, good := schema{"reboot", map[string]string{"type": "string"}, []string{"type"}}.check(raw)
		if !good {
			return a
		}
		switch body["type"] {
		case "SOFT", "soft", "Soft":
		case "HARD", "hard", "Hard":
			act.from, act.tasks, act.task = hardRebootable, rebooting, "rebooting_hard"
		default:
			return fail(400, "Invalid input for field/attribute type. Value: %s. %s is not one of ['HARD', 'Hard', 'hard', 'SOFT', 'Soft', 'soft']", python(body["type"]), python(body["type"]))
		}
	case "os-migrateLive", "migrate":
		var body struct {
			Host *string `json:"host"`
		}
		if json.Unmarshal(raw, &body) != nil {
			return fail(400, "Malformed request body")
		}
		if body.Host != nil {
			if only = c.hostByName[*body.Host]; only == nil {
				return fail(400, "Compute host %.100s could not be found.", *body.Host)
			}
		}
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
	rec.host = s.host.name
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
		s.resized = nil
		s.state(c, vm, "")
		rec.finish(c, "Success")
		return answer{status: act.status}
	}
	if !c.up(s.host.service) {
		if key == "os-migrateLive" {
			return fail(400, "Compute service of %s is unavailable at this time.", s.host.name)
		}
		return fail(400, "Service is unavailable at this time.")
	}
	if only == s.host && only != nil {
		return fail(400, "Unable to migrate instance (%s) to current host (%s).", s.id, only.name)
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
	rec.host = to.name
	m := c.migration(s, kind)
	m.dest = to
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
		body, a, good := schema{"lock", map[string]string{"locked_reason": "string"}, nil}.check(raw)
		if !good {
			return a
		}
		reason, _ = body["locked_reason"].(string)
		if body["locked_reason"] != nil && (reason == "" || len(reason) > 255) {
			return fail(400, "Invalid input for field/attribute locked_reason. Value: %.40s.", reason)
		}
	}
	// An owner cannot take over an administrator's lock.
	if !s.locked || k.token.admin() {
		s.lockedBy = "owner"
		if k.token.admin() {
			s.lockedBy = "admin"
		}
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
	body, a, good := schema{"os-resetState", map[string]string{"state": "string"}, []string{"state"}}.check(raw)
	if !good {
		return a
	}
	state := body["state"].(string)
	if state != "active" && state != "error" {
		return fail(400, "Invalid input for field/attribute state. Value: %.40s. %s is not one of ['active', 'error']", state, python(state))
	}
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
	Traceback  *string `json:"traceback,omitempty"`
	HostID     *string `json:"hostId,omitempty"`
	Host       *string `json:"host,omitempty"`
}

func (k *call) actionView(s *server, a *action) actionView {
	v := actionView{
		Action: a.name, Server: s.id, RequestID: a.requestID, UserID: a.userID, ProjectID: orNull(a.projectID),
		StartTime: a.start.UTC().Format(timeMicro), Message: orNull(a.message),
	}
	if k.version >= 58 {
		v.UpdatedAt = orNullTime(a.updated, timeMicro)
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
		return fail(400, "marker [%.64s] not found", p.marker)
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
			e := eventView{Event: act.event, StartTime: v.StartTime, FinishTime: orNullTime(act.finished, timeMicro), Result: orNull(act.result)}
			if k.token.admin() {
				e.Traceback = new("")
				if k.version >= 62 {
					e.Host = new(act.host)
				}
			}
			v.Events = &[]eventView{e}
		}
		return ok(map[string]any{"instanceAction": v})
	}
	return fail(404, "Action %.64s could not be found for instance %s", requestID, s.id)
}
