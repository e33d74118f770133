package main

import wasakari "github.com/wasakari/wasakari/sdk/go"

// confirmInstanceActive waits until a server is active. One in error is not
// waited for.
func confirmInstanceActive(t *wasakari.Task) error {
	id := t.InputString("instance_uuid")
	t.Progress(0, "Confirming instance '%s' vm_state is ACTIVE", id)
	if err := await(t, id, "active", "wait_period_after_power_on", "Failed to start instance "+id); err != nil {
		return err
	}
	t.Progress(1000, "Confirmed instance '%s' vm_state is ACTIVE", id)
	return nil
}
