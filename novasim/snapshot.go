package novasim

import (
	"fmt"
	"maps"
	"slices"
	"time"
)

// ServerState is what the cloud knows of a server, whoever asks.
type ServerState struct {
	ID, Name, Project string
	Host              string
	Status            string
	VMState           string
	TaskState         string
	PowerState        int
	Locked            bool
	LockedReason      string
	Fault             string
	Metadata          map[string]string
	Evacuations       int // requests to evacuate it that Nova accepted
	Deleted           bool
}

// ServiceState is a nova-compute service.
type ServiceState struct {
	ID, Host       string
	Up             bool   // as Nova sees it
	Process        string // up, down or hung: as it is
	Disabled       bool
	DisabledReason string
	ForcedDown     bool
	Skipped        bool // the scheduler passes it over, whatever Disabled says
}

// AggregateState is a host aggregate.
type AggregateState struct {
	ID    int
	Name  string
	Hosts []string
}

// MigrationState is a migration record.
type MigrationState struct {
	ID                  int
	UUID, Server        string
	Type, Status        string
	Source, Destination string
	Created             time.Time
}

// Servers are all servers as they are now, oldest first, deleted ones included.
func (c *Cloud) Servers() []ServerState {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := make([]ServerState, 0, len(c.servers))
	for _, s := range c.servers {
		st := ServerState{
			ID: s.id, Name: s.name, Project: s.project.name, Host: s.hostName(), Status: s.status(), VMState: s.vm, TaskState: s.task,
			PowerState: s.power, Locked: s.locked, LockedReason: s.lockedReason, Metadata: maps.Clone(s.metadata),
			Evacuations: s.evacuations, Deleted: s.deleted,
		}
		if s.fault != nil {
			st.Fault = s.fault.Message
		}
		all = append(all, st)
	}
	return all
}

// Services are the nova-compute services, in the scenario's order.
func (c *Cloud) Services() []ServiceState {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := make([]ServiceState, 0, len(c.hosts))
	for _, h := range c.hosts {
		s := h.service
		all = append(all, ServiceState{
			ID: s.id, Host: h.name, Up: c.up(s), Process: h.state, Disabled: s.disabled, DisabledReason: s.reason,
			ForcedDown: s.forcedDown, Skipped: h.skipped,
		})
	}
	return all
}

// Aggregates are the host aggregates, in the scenario's order.
func (c *Cloud) Aggregates() []AggregateState {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := make([]AggregateState, 0, len(c.aggregates))
	for _, a := range c.aggregates {
		all = append(all, AggregateState{ID: a.id, Name: a.name, Hosts: slices.Clone(a.hosts)})
	}
	return all
}

// Migrations are the migration records, oldest first.
func (c *Cloud) Migrations() []MigrationState {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := make([]MigrationState, 0, len(c.migrations))
	for _, m := range c.migrations {
		st := MigrationState{ID: m.id, UUID: m.uuid, Server: m.server.id, Type: m.kind, Status: m.status, Source: m.source.name, Created: m.created}
		if m.dest != nil {
			st.Destination = m.dest.name
		}
		all = append(all, st)
	}
	return all
}

// FailHost kills the host's nova-compute. Nova shows it down once its service
// down time has passed.
func (c *Cloud) FailHost(name string) error { return c.onHost(name, c.fail) }

// HangHost stops the host's nova-compute without killing it: healed, it goes on
// where it was, with the messages that came meanwhile.
func (c *Cloud) HangHost(name string) error { return c.onHost(name, c.hang) }

// HealHost starts the host's nova-compute again, or lets a hung one go on. It
// changes neither forced_down nor whether the service is disabled.
func (c *Cloud) HealHost(name string) error { return c.onHost(name, c.heal) }

// ForceDown sets or clears forced_down, as a fencing tool would, unasked
// whether Nova allows it.
func (c *Cloud) ForceDown(name string, down bool) error {
	return c.onHost(name, func(h *host) { h.service.forcedDown, h.service.updated = down, c.now() })
}

// DisableService disables the host's service with a reason, or enables it, as
// an operator would.
func (c *Cloud) DisableService(name string, disabled bool, reason string) error {
	return c.onHost(name, func(h *host) { c.setDisabled(h.service, disabled, reason) })
}

func (c *Cloud) onHost(name string, do func(*host)) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	h := c.hostByName[name]
	if h == nil {
		return fmt.Errorf("simulated cloud: there is no host %s", name)
	}
	do(h)
	return nil
}
