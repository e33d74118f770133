package main_test

import (
	"context"
	"encoding/json"
	"testing"

	"github.com/wasakari/wasakari/sdk/go/wasakaritest"
	_ "github.com/wasakari/wasakari/tasks-examples/standard" // registers the tasks
)

// served are the ops that a cloud answers.
var served = []string{
	"nova.server_get", "nova.server_list", "nova.server_evacuate", "nova.server_stop", "nova.server_start", "nova.server_lock",
	"nova.server_unlock", "nova.server_reset_state", "nova.server_wait", "nova.service_list", "nova.service_disable",
	"nova.service_enable", "nova.service_force_down", "nova.service_wait", "nova.migration_list", "ha.host_list", "ha.host_update", "nova.aggregate_list", "nova.aggregate_add_host", "ha.vmove_list", "ha.vmove_put",
	"task.sleep", // at once
}

// run runs a task on a cloud.
func run(t *testing.T, c *cloud, key string, set opts) ended {
	t.Helper()
	f := &wasakaritest.Fake{
		Inputs: map[string]any{
			"host_name": failed, "notification_uuid": "n-1", "instance_uuid": "a", "process_name": "nova-compute",
		},
		Options: defaults(),
		Round:   int(c.round),
	}
	for name, v := range set {
		switch name {
		case "attempt":
			f.Attempt = v.(int)
		case "reserved_host", "fence_proof", "process_name":
			f.Inputs[name] = v
		default:
			setOption(t, f.Options, name, v)
		}
	}
	for _, op := range served {
		f.On(op, func(_ context.Context, req json.RawMessage) (any, error) { return c.do(op, req) })
	}
	r := wasakaritest.Run(t, key, f)
	e := ended{outcome: r.Outcome, reason: r.Reason}
	for _, p := range r.Progress {
		e.progress = append(e.progress, step{p.Permille, p.Message})
	}
	for _, l := range r.Logs {
		e.logs = append(e.logs, l.Level+" "+l.Message)
	}
	return e
}
