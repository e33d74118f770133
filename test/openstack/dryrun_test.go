//go:build e2e

package openstack_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// change is one entry of a dry run's "changes".
type change struct {
	Op      string `json:"op"`
	Target  string `json:"target"`
	Host    string `json:"host"`
	Refused string `json:"refused"`
}

// TestDryRun does each recovery twice: dry, then real. What the first one said
// is what the second one sends, in that order, and the first one sends nothing.
func TestDryRun(t *testing.T) {
	tests := []struct {
		name     string
		fixtures []fixture
		racks    bool // the failed host is in an aggregate
		alive    bool // the host stays up
		args     func(before map[string]server) []string
		wants    func(before map[string]server) map[string]want
		status   string
		exit     int
		changes  int // at least
	}{
		{
			name: "a host with servers in mixed states",
			fixtures: []fixture{
				{name: "web", count: 3, tagged: true},
				{name: "cold", state: "stopped"},
				{name: "broken", state: "error"},
				{name: "frozen", tagged: true, state: "paused"},
				{name: "pinned", state: "locked"},
				{name: "elsewhere", host: other},
			},
			args: func(map[string]server) []string { return []string{"host-auto", "--input", "host_name=" + failed} },
			wants: func(before map[string]server) map[string]want {
				pinned := moved("active", "active")
				pinned.locked, pinned.posts = true, map[string]int{"evacuate": 1}
				return join(all(before, "web-", moved("active", "active")), map[string]want{
					"cold": moved("stopped", "stopped"), "broken": inError(), "frozen": stopped("paused"), "pinned": pinned,
				})
			},
			status: "finished", changes: 24,
		},
		{
			name: "a reserved host and aggregates", fixtures: []fixture{{name: "vm", count: 2}}, racks: true,
			args: func(map[string]server) []string {
				return []string{
					"host-rh", "--input", "host_name=" + failed, "--input", `reserved_host_list=["` + reserved + `"]`,
					"--set", "host_failure.add_reserved_host_to_aggregate=true",
				}
			},
			wants: func(before map[string]server) map[string]want {
				return all(before, "vm-", moved("active", "active").on(reserved))
			},
			status: "finished", changes: 9,
		},
		{
			name: "an instance", fixtures: []fixture{{name: "vm", tagged: true}}, alive: true,
			args: func(before map[string]server) []string {
				return []string{"instance", "--input", "instance_uuid=" + before["vm"].ID}
			},
			wants: func(map[string]server) map[string]want {
				return map[string]want{"vm": {vm: "active", host: "stays", posts: map[string]int{"stop": 1, "start": 1}}}
			},
			status: "finished", changes: 2,
		},
		{
			name: "a process", fixtures: []fixture{{name: "vm"}}, alive: true,
			args: func(map[string]server) []string {
				return []string{"process", "--input", "process_name=nova-compute", "--input", "host_name=" + failed}
			},
			wants:  func(map[string]server) map[string]want { return nil },
			status: "finished", changes: 1,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := scenario(t)
			before := l.boot(t, tt.fixtures...)
			if tt.racks {
				l.addAggregate(t, "rack", failed, other)
			}
			if !tt.alive {
				l.fail(t, failed)
			}
			// One at a time: what several do at once has no order.
			args := append(tt.args(before), "--set", "DEFAULT.host_failure_recovery_threads=1")

			p := newProxy(t)
			dry := l.run(t, l.newPlace(t, p), append(args, "--dry-run")...)
			ended(t, dry, tt.exit, tt.status)
			if sent := p.changes(); len(sent) != 0 {
				t.Fatalf("the dry run changed %q", sent)
			}
			var planned []string
			for _, c := range dry.Changes {
				if c.Refused == "" {
					planned = append(planned, c.text(t, l))
				}
			}
			if len(planned) < tt.changes {
				t.Errorf("%d changes are planned, want at least %d: %q", len(planned), tt.changes, planned)
			}

			p = newProxy(t)
			from := l.logSize(t)
			r := l.run(t, l.newPlace(t, p), args...)
			ended(t, r, tt.exit, tt.status)
			if sent := p.changes(); !slices.Equal(sent, planned) {
				t.Errorf("the run sent\n\t%s\nand the dry run said\n\t%s", strings.Join(sent, "\n\t"), strings.Join(planned, "\n\t"))
			}
			l.check(t, r, from, before, tt.wants(before))
			for i, v := range r.VMoves {
				if d := dry.VMoves[i]; d.InstanceUUID != v.InstanceUUID || d.Status != v.Status || d.Message != v.Message {
					t.Errorf("vmove %d of the dry run is of %s: %s %q, of the run of %s: %s %q", i, d.InstanceUUID, d.Status, d.Message, v.InstanceUUID, v.Status, v.Message)
				}
			}
		})
	}
}

// posted names the request with which Nova is asked for an op.
var posted = map[string]string{
	"nova.server_lock": "lock", "nova.server_unlock": "unlock", "nova.server_evacuate": "evacuate",
	"nova.server_stop": "os-stop", "nova.server_start": "os-start", "nova.server_reset_state": "os-resetState",
	"nova.service_disable": "service", "nova.service_enable": "service", "nova.service_force_down": "service",
	"nova.aggregate_add_host": "add_host", "nova.aggregate_remove_host": "remove_host",
}

// text says what a change asks of whom, as proxy.changes does.
func (c change) text(t *testing.T, l *lab) string {
	t.Helper()
	name := posted[c.Op]
	if name == "" {
		t.Fatalf("the dry run lists the op %s", c.Op)
	}
	if name == "service" {
		return name + " " + l.service(t, c.Target).ID
	}
	return name + " " + c.Target
}

// changes lists what the program sent to change something, in order.
func (p *proxy) changes() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var list []string
	for _, s := range p.seen {
		if s.change() == "" {
			continue
		}
		target := s.server
		if target == "" {
			target = s.path[strings.LastIndex(s.path, "/")+1:]
		}
		list = append(list, fmt.Sprintf("%s %s", s.change(), target))
	}
	return list
}
