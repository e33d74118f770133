package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	wasakari "github.com/wasakari/wasakari/sdk/go"
	"github.com/wasakari/wasakari/tasks-examples/standard/evacuate"
)

// prepareInstances chooses the servers of the failed host that are to be
// evacuated and makes their vmoves, tagged ones first.
//
// A vmove belongs to the present round, so doing this again changes records
// and adds none; a server that is on the failed host in a later round gets a
// further attempt.
func prepareInstances(t *wasakari.Task) error {
	ctx := t.Context()
	host := t.InputString("host_name")
	t.Progress(0, "Preparing instances for evacuation")
	servers, err := t.Nova().ServerList(ctx, wasakari.NovaServerListRequest{Host: host, Fields: []string{
		"id", "name", "metadata", "OS-EXT-STS:vm_state", "OS-EXT-STS:task_state", "OS-EXT-STS:power_state",
	}})
	if err != nil {
		return fmt.Errorf("list servers of host '%s': %w", host, err)
	}
	moves, err := t.HA().VMoveList(ctx, wasakari.HAVMoveListRequest{Latest: true})
	if err != nil {
		return err
	}
	t.Progress(300, "Total instances running on failed host '%s' is %d", host, len(servers.Servers))

	c := newChooser(t, moves.VMoves)
	for _, s := range servers.Servers {
		c.look(s)
	}
	t.Progress(600, "Total HA Enabled instances count: '%d'", len(c.tagged))
	chosen := c.tagged
	if c.all {
		t.Progress(700, "Total Non-HA Enabled instances count: '%d'", len(c.untagged))
		chosen = append(chosen, c.untagged...)
		t.Progress(800, "All instances (HA Enabled/Non-HA Enabled) should be considered for evacuation. Total count is: '%d'", len(chosen))
	}
	var records []wasakari.HAVMovePutRequest
	for _, s := range chosen {
		note, state := c.found(s)
		r := wasakari.HAVMovePutRequest{InstanceUUID: s.ID, InstanceName: s.Name, Status: "pending", Message: note}
		if plan := evacuate.PlanFor(state, c.skipOthers); plan.Action == evacuate.Leave {
			r.Status, r.Message = "ignored", plan.Reason
		}
		records = append(records, r)
	}
	records = slices.Concat(records, c.unsettled(), c.left)
	var pending []string
	for _, r := range records {
		r.SourceHost = host
		v, err := t.HA().VMovePut(ctx, r)
		switch {
		case errors.Is(err, wasakari.ErrConflict):
			v = c.of[r.InstanceUUID] // of this round, and further than that
		case err != nil:
			return fmt.Errorf("vmove of server %s: %w", r.InstanceUUID, err)
		}
		if v.Status == "pending" || v.Status == "ongoing" {
			pending = append(pending, r.InstanceUUID)
		}
	}
	if len(pending) == 0 {
		reason := fmt.Sprintf("Skipped host '%s' recovery as no instances needs to be evacuated", host)
		t.Progress(1000, "%s", reason)
		return wasakari.NothingToDo(reason)
	}
	t.Progress(1000, "Instances to be evacuated are: '%s'", strings.Join(pending, ","))
	return nil
}

// chooser sorts the servers of a host.
type chooser struct {
	task       *wasakari.Task
	key        string // metadata key of the tag
	all        bool
	skipErrors bool
	skipOthers bool
	latest     []wasakari.VMove
	of         map[string]wasakari.VMove // by server
	seen       map[string]bool
	tagged     []wasakari.Server
	untagged   []wasakari.Server
	left       []wasakari.HAVMovePutRequest
}

func newChooser(t *wasakari.Task, latest []wasakari.VMove) *chooser {
	c := &chooser{
		task:       t,
		key:        t.OptionString("host_failure", "ha_enabled_instance_metadata_key"),
		all:        t.OptionBool("host_failure", "evacuate_all_instances"),
		skipErrors: t.OptionBool("host_failure", "ignore_instances_in_error_state"),
		skipOthers: t.OptionString("host_failure", "other_states") == "skip",
		latest:     latest,
		of:         make(map[string]wasakari.VMove, len(latest)),
		seen:       map[string]bool{},
	}
	for _, v := range latest {
		c.of[v.InstanceUUID] = v
	}
	return c
}

// look puts one server where it belongs.
func (c *chooser) look(s wasakari.Server) {
	c.seen[s.ID] = true
	tagged := truth(s.Metadata[c.key])
	if _, state := c.found(s); c.skipErrors && state.VM == "error" {
		if tagged {
			c.task.Progress(400, "Ignoring recovery of HA_Enabled instance '%s' as it is in 'error' state.", s.ID)
		}
		if tagged || c.all {
			c.left = append(c.left, wasakari.HAVMovePutRequest{
				InstanceUUID: s.ID, InstanceName: s.Name, Status: "ignored",
				Message: "it is in vm_state error and [host_failure] ignore_instances_in_error_state is set",
			})
		}
		return
	}
	if tagged {
		c.tagged = append(c.tagged, s)
	} else {
		c.untagged = append(c.untagged, s)
	}
}

// found gives the state of a server before this run touched it: an earlier
// attempt may have left it in error. note is what the vmove of that attempt
// says about it, for the next one.
func (c *chooser) found(s wasakari.Server) (note string, state evacuate.State) {
	state = evacuate.Of(s)
	if state.VM != "error" {
		return "", state
	}
	was, ok := evacuate.Noted(c.of[s.ID].Message)
	if !ok {
		return "", state
	}
	was.Task = state.Task
	return was.Note(), was
}

// unsettled gives new attempts for servers that are not on the host any more
// although the last attempt failed, for instance because Nova took longer than
// the limit, or did not come to an end: what became of them is still to be found
// out.
func (c *chooser) unsettled() []wasakari.HAVMovePutRequest {
	var out []wasakari.HAVMovePutRequest
	for _, v := range c.latest {
		if v.Status == "succeeded" || v.Status == "ignored" || c.seen[v.InstanceUUID] {
			continue
		}
		r := wasakari.HAVMovePutRequest{InstanceUUID: v.InstanceUUID, InstanceName: v.InstanceName, Status: "pending"}
		if was, ok := evacuate.Noted(v.Message); ok {
			r.Message = was.Note()
		}
		out = append(out, r)
	}
	return out
}

// truth reads a tag as OpenStack does when it is not strict.
func truth(tag string) bool {
	switch strings.ToLower(strings.TrimSpace(tag)) {
	case "1", "t", "true", "on", "y", "yes":
		return true
	}
	return false
}
