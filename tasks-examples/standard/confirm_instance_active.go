package main

import (
	wasakari "github.com/wasakari/wasakari/sdk/go"

	"github.com/wasakari/wasakari/tasks-examples/standard/evacuate"
)

// confirmInstanceActive waits until a server is active. One in error is not
// waited for.
func confirmInstanceActive(t *wasakari.Task) error {
	id := t.InputString("instance_uuid")
	t.Progress(0, "Confirming instance '%s' vm_state is ACTIVE", id)
	ans, err := t.Nova().ServerWait(t.Context(), wasakari.NovaServerWaitRequest{
		ID: id, Until: "vm_state", VMStates: []string{"active"},
		TimeoutSeconds: seconds(t, "wait_period_after_power_on"), Fields: evacuate.Fields,
	})
	reason := "Failed to start instance " + id
	switch {
	case err != nil:
		t.Progress(1000, "%s", reason)
		return because(reason, err)
	case ans.Outcome != "reached":
		t.Progress(1000, "%s", reason)
		return because(reason, outcome(ans))
	}
	t.Progress(1000, "Confirmed instance '%s' vm_state is ACTIVE", id)
	return nil
}
