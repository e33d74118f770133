package novasim

import (
	"encoding/json"
	"slices"
	"time"
)

// evacuation is one evacuation that Nova accepted, until it has ended.
type evacuation struct {
	s         *server
	m         *migration
	act       *action
	from      *host
	to        *host  // chosen by the scheduler
	taken     bool   // the target has begun
	epoch     int    // of the target, when it began
	stopped   bool   // the server was, and is to be again
	second    bool   // another one was running when it was accepted
	preempted bool   // os-resetState came in between
	failText  string // a fault: it ends in error with this message
	target    string // a fault: the target dies or hangs
	turn      string // makes the durations of each evacuation its own
}

// evacuate is the action of that name.
func (k *call) evacuate(s *server, raw json.RawMessage) answer {
	c := k.c
	sch := schema{name: "evacuate", may: map[string]string{"host": "text", "adminPass": "string"}}
	if k.version < 14 {
		sch.may["onSharedStorage"], sch.required = "switch", []string{"onSharedStorage"}
	}
	if k.version >= 29 && k.version < 68 {
		sch.may["force"] = "switch"
	}
	body, a, good := sch.check(raw)
	if !good {
		return a
	}
	if a, good := k.may("os-evacuate"); !good {
		return a
	}
	force := switchedOn(body["force"])
	name, named := body["host"].(string)
	only := c.hostByName[name]
	switch {
	case named && only == nil:
		return fail(404, "Compute host %.100s not found.", name)
	case named && only == s.host:
		return fail(400, "The target host can't be the same one.")
	case !slices.Contains([]string{"active", "stopped", "error"}, s.vm):
		return fail(409, "Cannot 'evacuate' instance %s while it is in vm_state %s", s.id, s.vm)
	case s.host == nil:
		return fail(409, "Instance %s is not ready", s.id)
	case c.up(s.host.service):
		return fail(400, "Compute service of %s is still in use.", s.host.name)
	}

	s.evacuations++
	e := &evacuation{
		s: s, from: s.host, stopped: s.vm == "stopped", turn: number(s.evacuations),
		failText: k.plan.evacuationError, target: k.plan.evacuationTarget,
	}
	// Two at a time ruin the server. One that is stuck at a target that does
	// not run does so only when that target wakes up.
	e.second = slices.ContainsFunc(s.open, (*evacuation).running)
	s.ruined = e.second
	s.open = append(s.open, e)
	e.m = c.migration(s, "evacuation")
	e.m.dest = only // known at once when it was named
	e.act = c.record(k, s, "evacuate", "rebuild_server")
	s.state(c, s.vm, "rebuilding")

	// A host that was named without the scheduler being asked: before 2.29, or by force.
	unchecked := named && (k.version < 29 || force)
	c.after(e.phase(c, c.sc.Latency.Evacuation.Schedule, "schedule"), func() { e.choose(c, only, unchecked) })

	a = answer{status: 200}
	if k.version < 14 {
		a.body = map[string]any{"adminPass": k.password()}
	}
	return a
}

// running says whether the evacuation is being worked on right now.
func (e *evacuation) running() bool {
	if e.to == nil {
		return true
	}
	return e.to.state == "up" && (!e.taken || e.epoch == e.to.epoch)
}

func (e *evacuation) phase(c *Cloud, s Span, name string) time.Duration {
	return c.draw(s, "evacuation", name, e.s.id, e.turn)
}

// choose is the conductor's part: find a host and tell it.
func (e *evacuation) choose(c *Cloud, only *host, unchecked bool) {
	if e.s.deleted {
		e.end(c, "error", "Error")
		return
	}
	// The conductor takes the server's oldest record that nobody has claimed. With
	// two requests at a time both may work on one, and the other stays as it is.
	for _, m := range c.migrations {
		if m.server == e.s && m.kind == "evacuation" && m.status == "accepted" {
			e.m = m
			break
		}
	}
	to := only
	if !unchecked {
		to = c.schedule(e.from, only)
	}
	if to == nil {
		e.end(c, "error", "Error")
		e.fails(c, "No valid host was found. ")
		return
	}
	e.act.finish(c, "Success") // its part
	e.to, e.m.dest = to, to
	to.held++ // claimed until it ends
	c.tell(to, e.phase(c, c.sc.Latency.Evacuation.Rebuild, "rebuild"), func() { e.begin(c) })
}

// begin is where the target takes the request up.
func (e *evacuation) begin(c *Cloud) {
	e.taken, e.epoch = true, e.to.epoch
	e.m.dest = e.to
	e.m.claimed = true
	e.act.begin(c, "compute_rebuild_instance", e.to.name)
	lat := c.sc.Latency.Evacuation
	switch {
	case e.s.deleted:
		e.drop()
		e.end(c, "failed", "Error")
	case e.second, e.s.host != e.from:
		// The server is being rebuilt by another, or has been: this one fails
		// and leaves a state that nothing clears, in the end.
		e.m.set(c, "pre-migrating")
		c.tell(e.to, e.phase(c, lat.Mapping, "mapping"), func() {
			e.drop()
			e.end(c, "failed", "Error")
			e.s.ruined = true
			e.s.faulty(c, "Unexpected task state: the server is being rebuilt by another request.")
			if !slices.ContainsFunc(e.s.open, (*evacuation).running) {
				e.s.ruin(c)
			}
		})
	default:
		e.m.set(c, "pre-migrating")
		e.step(c, "rebuild_block_device_mapping", e.phase(c, lat.Mapping, "mapping"), func() {
			switch e.target {
			case "dies":
				e.s.state(c, e.s.vm, "rebuild_spawning")
				c.fail(e.to)
				return
			case "hangs":
				c.hang(e.to)
			}
			e.step(c, "rebuild_spawning", e.phase(c, lat.Spawn, "spawn"), func() { e.spawned(c) })
		})
	}
}

// step shows a task for a while and goes on, unless the evacuation is over meanwhile.
func (e *evacuation) step(c *Cloud, task string, d time.Duration, then func()) {
	e.s.state(c, e.s.vm, task)
	c.tell(e.to, d, func() {
		switch {
		case e.s.deleted:
			e.drop()
			e.end(c, "failed", "Error")
		case e.preempted:
			e.drop()
			e.end(c, "failed", "Error")
			e.fails(c, "Unexpected task state: os-resetState came during the evacuation.")
		case e.s.host != e.from: // another one was quicker, see begin
			e.second = true
			e.begin(c)
		default:
			then()
		}
	})
}

func (e *evacuation) spawned(c *Cloud) {
	s, lat := e.s, c.sc.Latency.Evacuation
	text := e.failText
	if text == "" && s.resized == e.to {
		// Where a resize came from, the guest is kept until it is confirmed.
		text = "Instance " + s.instanceName() + " already exists."
	}
	if text != "" {
		e.drop()
		e.end(c, "failed", "Error")
		e.fails(c, text)
		return
	}
	s.power, s.launched = 1, c.now()
	move := func() {
		e.step(c, "", e.phase(c, lat.Move, "move"), func() { e.moved(c) })
	}
	s.vm = "active"
	if !e.stopped {
		move()
		return
	}
	// Seen active for a moment, without a task.
	e.step(c, "", e.phase(c, lat.Move, "active"), func() {
		e.step(c, "powering-off", e.phase(c, lat.PowerOff, "power_off"), func() {
			s.vm, s.power = "stopped", 4
			move()
		})
	})
}

// moved is the end of an evacuation that went well.
func (e *evacuation) moved(c *Cloud) {
	s := e.s
	e.drop()
	s.move(e.to)
	s.fault = nil
	e.end(c, "done", "Success")
	s.updated = c.now()
	if s.ruined { // all seems well for a moment
		c.after(e.phase(c, c.sc.Latency.Evacuation.Move, "ruin"), func() {
			if s.ruined && s.host == e.to && !s.deleted {
				s.ruin(c)
			}
		})
	}
}

// ruin leaves the server as two evacuations at a time do.
func (s *server) ruin(c *Cloud) {
	s.state(c, "error", "rebuilding")
	s.power = 0
}

// fails puts the server in error, on its old host, so that it can be evacuated again.
func (e *evacuation) fails(c *Cloud, text string) {
	task := ""
	if e.s.ruined {
		task = "rebuilding"
	}
	if !e.s.deleted {
		e.s.state(c, "error", task)
		e.s.faulty(c, text)
	}
}

// drop gives back what was claimed on the target.
func (e *evacuation) drop() { e.to.held-- }

// end closes the records.
func (e *evacuation) end(c *Cloud, migration, result string) {
	e.m.set(c, migration)
	e.act.finish(c, result)
	e.s.open = slices.DeleteFunc(e.s.open, func(o *evacuation) bool { return o == e })
}

// migration is a row of os-migrations.
type migration struct {
	id               int
	uuid             string
	server           *server
	kind, status     string
	source, dest     *host
	claimed          bool // dest has begun
	created, updated time.Time
	userID           string
}

func (c *Cloud) migration(s *server, kind string) *migration {
	m := &migration{
		id: len(c.migrations) + 1, uuid: c.uuid("migration", number(len(c.migrations)+1)), server: s, kind: kind, status: "accepted",
		source: s.host, created: c.now(), userID: s.userID,
	}
	c.migrations = append(c.migrations, m)
	return m
}

func (m *migration) set(c *Cloud, status string) { m.status, m.updated = status, c.now() }
