//go:build e2e

package openstack_test

import (
	"encoding/json"
	"path/filepath"
	"slices"
	"testing"
)

// TestShort is what CI runs: the four flows once, on few servers, and one in Python.
func TestShort(t *testing.T) {
	t.Run("the flow of the guide with custom tasks recovers a host with servers in mixed states", func(t *testing.T) {
		l := scenario(t)
		before := l.boot(t,
			fixture{name: "web", count: 7, tagged: true},
			fixture{name: "batch", count: 4},
			fixture{name: "db", tagged: true, state: "stopped"},
			fixture{name: "cold", state: "stopped"},
			fixture{name: "broken", state: "error"},
			fixture{name: "frozen", tagged: true, state: "paused"},
			fixture{name: "asleep", state: "suspended"},
			fixture{name: "repair", state: "rescued"},
			fixture{name: "larger", state: "resized"},
			fixture{name: "pinned", state: "locked"},
			fixture{name: "elsewhere", host: other},
		)
		from := l.logSize(t)
		w := l.newPlace(t, nil)
		// It is started while Nova still shows the host up.
		l.must(t, "daemon", "kill", failed)
		r := l.run(t, w, "host-auto", "--config-file", "../../tasks-examples/guide-library/custom-recovery-methods.conf",
			"--task-dir", filepath.Join(l.tools, "tasks"), "--input", "host_name="+failed)
		ended(t, r, 0, "finished")
		pinned := moved("active", "active")
		pinned.locked, pinned.posts = true, map[string]int{"evacuate": 1}
		resized := moved("resized", "active").and("resetState")
		l.check(t, r, from, before, join(all(before, "web-", moved("active", "active")), all(before, "batch-", moved("active", "active")), map[string]want{
			"db": moved("stopped", "stopped"), "cold": moved("stopped", "stopped"), "broken": inError(), "frozen": stopped("paused"),
			"asleep": stopped("suspended"), "repair": stopped("rescued"), "larger": resized, "pinned": pinned,
		}))
		l.disabled(t, r.RunID)
		tasks(t, r, "disable_compute_service_task", "custom_pre_task", "custom_main_task", "prepare_HA_enabled_instances_task",
			"evacuate_instances_task", "custom_post_task")
		var ticket struct{ ID, Host string }
		if err := json.Unmarshal(r.KV["recovery_ticket"], &ticket); err != nil || ticket.ID == "" || ticket.Host != failed {
			t.Errorf("recovery_ticket = %s (%v), want what custom_pre_task put", r.KV["recovery_ticket"], err)
		}
		// Tagged servers first.
		for i, v := range r.VMoves {
			tagged := before[v.InstanceName].Metadata["HA_Enabled"] != ""
			if tagged != (i < 9) {
				t.Errorf("vmove %d is of %s, want the 9 tagged ones first", i, v.InstanceName)
			}
		}
	})
	t.Run("the reserved-host flow moves everything to the reserved host", reservedFlow)
	t.Run("the instance flow restarts a server", instanceFlow)
	t.Run("the process flow disables the service", processFlow)
	t.Run("tasks in Python restart a server", pythonInstanceFlow)
}

// tasks checks which tasks ran, each once and well.
func tasks(t *testing.T, r result, keys ...string) {
	t.Helper()
	var got []string
	for _, k := range r.Tasks {
		got = append(got, k.Key)
		if k.Status != "succeeded" {
			t.Errorf("task %s %s: %s", k.Key, k.Status, k.Message)
		}
	}
	if !slices.Equal(got, keys) {
		t.Errorf("tasks %v, want %v", got, keys)
	}
}

func reservedFlow(t *testing.T) {
	l := scenario(t)
	before := l.boot(t, fixture{name: "vm", count: 3, tagged: true}, fixture{name: "cold", state: "stopped"})
	l.addAggregate(t, "rack", failed, other)
	l.addAggregate(t, "elsewhere", third)
	l.fail(t, failed)
	from := l.logSize(t)
	r := l.run(t, l.newPlace(t, nil), "host-rh", "--input", "host_name="+failed, "--input", `reserved_host_list=["`+reserved+`"]`,
		"--set", "host_failure.add_reserved_host_to_aggregate=true")
	ended(t, r, 0, "finished")
	l.check(t, r, from, before, join(
		all(before, "vm-", moved("active", "active").on(reserved)),
		all(before, "cold", moved("stopped", "stopped").on(reserved)),
	))
	l.disabled(t, r.RunID)
	if s := l.service(t, reserved); s.Status != "enabled" {
		t.Errorf("the reserved host's nova-compute is %s, want it enabled: servers run there", s.Status)
	}
	list, err := l.aggregates(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range list {
		if got, want := slices.Contains(a.Hosts, reserved), a.Name == "rack"; got != want {
			t.Errorf("aggregate %s has %v", a.Name, a.Hosts)
		}
	}
}

func instanceFlow(t *testing.T) {
	l := scenario(t)
	before := l.boot(t,
		fixture{name: "tagged", tagged: true}, fixture{name: "plain"}, fixture{name: "off", tagged: true, state: "stopped"},
		fixture{name: "frozen", tagged: true, state: "paused"}, fixture{name: "broken", tagged: true, state: "error"},
		fixture{name: "grown", tagged: true, state: "resized"},
	)
	restart := map[string]int{"stop": 1, "start": 1}
	tests := []struct {
		name, server string
		set          string
		status       string
		want         want
	}{
		{"a tagged one is stopped and started", "tagged", "", "finished", want{vm: "active", host: "stays", posts: restart}},
		{"one without the tag is left alone", "plain", "", "finished", want{vm: "active", host: "stays"}},
		{"one without the tag is restarted when all are to be", "plain", "instance_failure.process_all_instances=true", "finished", want{vm: "active", host: "stays", posts: restart}},
		{"a stopped one is started", "off", "", "finished", want{vm: "active", host: "stays", posts: map[string]int{"start": 1}}},
		{"a paused one is ignored", "frozen", "", "ignored", want{vm: "paused", host: "stays"}},
		{"one in error is stopped and started", "broken", "", "finished", want{vm: "active", host: "stays", posts: restart}},
		{"a resized one is reset, stopped and started", "grown", "", "finished", want{vm: "active", host: "stays", posts: restart}.and("resetState")},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			args := []string{"instance", "--input", "instance_uuid=" + before[tt.server].ID}
			if tt.set != "" {
				args = append(args, "--set", tt.set)
			}
			from := l.logSize(t)
			r := l.run(t, l.newPlace(t, nil), args...)
			ended(t, r, 0, tt.status)
			one := map[string]server{tt.server: before[tt.server]}
			l.check(t, r, from, one, map[string]want{tt.server: tt.want})
		})
	}
}

func processFlow(t *testing.T) {
	l := scenario(t)
	before := l.boot(t, fixture{name: "vm", count: 2})
	from := l.logSize(t)
	args := []string{"process", "--input", "process_name=nova-compute", "--input", "host_name=" + failed}
	r := l.run(t, l.newPlace(t, nil), args...)
	ended(t, r, 0, "finished")
	tasks(t, r, "disable_compute_node_task", "confirm_compute_node_disabled_task")
	l.disabled(t, r.RunID)
	l.check(t, r, from, before, nil)
	again := l.run(t, l.newPlace(t, nil), args...)
	ended(t, again, 0, "finished")
	l.disabled(t, r.RunID) // as the first run left it
}
