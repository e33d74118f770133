package main

import (
	"errors"
	"fmt"

	wasakari "github.com/wasakari/wasakari/sdk/go"
	"github.com/wasakari/wasakari/tasks-examples/standard/evacuate"
)

// stopInstance stops a server that failed, unless it is not to be recovered.
func stopInstance(t *wasakari.Task) error {
	id := t.InputString("instance_uuid")
	s, err := server(t, id)
	if err != nil {
		return err
	}
	if !t.OptionBool("instance_failure", "process_all_instances") && !truth(s.Metadata[t.OptionString("instance_failure", "ha_enabled_instance_metadata_key")]) {
		reason := fmt.Sprintf("Skipping recovery for instance: %s as it is not Ha_Enabled", id)
		t.Progress(1000, "%s", reason)
		return wasakari.NothingToDo(reason)
	}
	switch s.VMState {
	case "paused", "rescued":
		reason := fmt.Sprintf("Recovery of instance '%s' is ignored as it is in '%s' state.", id, s.VMState)
		t.Progress(1000, "%s", reason)
		return wasakari.Ignore(reason)
	case "stopped":
		if s.TaskState == "" {
			t.Progress(1000, "Stopped instance: '%s'", id)
			return nil
		}
	default:
		if err := stop(t, s); err != nil {
			return err
		}
	}
	if err := await(t, id, "stopped", "wait_period_after_power_off", "Failed to stop instance "+id); err != nil {
		return err
	}
	t.Progress(1000, "Stopped instance: '%s'", id)
	return nil
}

// stop asks Nova to stop a server. That it is stopped already is no error.
func stop(t *wasakari.Task, s wasakari.Server) error {
	ctx := t.Context()
	if s.VMState == "resized" {
		if _, err := t.Nova().ServerResetState(ctx, wasakari.NovaServerResetStateRequest{ID: s.ID, State: "active"}); err != nil {
			return fmt.Errorf("reset state of instance %s: %w", s.ID, err)
		}
	}
	t.Progress(0, "Stopping instance: %s", s.ID)
	_, err := t.Nova().ServerStop(ctx, wasakari.NovaServerStopRequest{ID: s.ID})
	if err == nil {
		return nil
	}
	refusal := fmt.Errorf("stop instance %s: %w", s.ID, err)
	if !errors.Is(err, wasakari.ErrConflict) {
		return refusal
	}
	t.Progress(0, "Conflict when stopping instance: %s", s.ID)
	now, err := server(t, s.ID)
	switch {
	case err != nil:
		return errors.Join(refusal, err)
	case now.VMState != "stopped" && now.TaskState != "powering-off":
		return refusal
	}
	return nil
}

// server reads what the instance tasks look at.
func server(t *wasakari.Task, id string) (wasakari.Server, error) {
	s, err := t.Nova().ServerGet(t.Context(), wasakari.NovaServerGetRequest{ID: id, Fields: []string{
		"id", "metadata", "OS-EXT-STS:vm_state", "OS-EXT-STS:task_state",
	}})
	if err != nil {
		return s, fmt.Errorf("instance %s: %w", id, err)
	}
	return s, nil
}

// await waits for a vm_state, as long as the option limit says. Its error begins
// with reason.
func await(t *wasakari.Task, id, vmState, limit, reason string) error {
	ans, err := t.Nova().ServerWait(t.Context(), wasakari.NovaServerWaitRequest{
		ID: id, Until: "vm_state", VMStates: []string{vmState}, TimeoutSeconds: seconds(t, limit), Fields: evacuate.Fields,
	})
	switch {
	case err == nil && ans.Outcome == "reached":
		return nil
	case err == nil:
		err = outcome(ans)
	}
	t.Progress(1000, "%s", reason)
	return because(reason, err)
}

// outcome says why a wait ended without what was waited for.
func outcome(ans wasakari.NovaServerWaitAnswer) error {
	switch {
	case ans.Message != "":
		return errors.New(ans.Message)
	case ans.Outcome == "deleted":
		return errors.New("it was deleted meanwhile")
	case ans.Server.Fault != nil:
		return errors.New(ans.Server.Fault.Message)
	}
	return errors.New("it is in vm_state " + ans.Server.VMState)
}
