package main

import (
	"errors"
	"fmt"

	wasakari "github.com/wasakari/wasakari/sdk/go"
)

// startInstance starts a server that is stopped.
func startInstance(t *wasakari.Task) error {
	id := t.InputString("instance_uuid")
	t.Progress(0, "Starting instance: '%s'", id)
	s, err := server(t, id)
	if err != nil {
		return err
	}
	// An attempt that was interrupted may have started it.
	again := t.Attempt() > 1
	switch {
	case s.VMState == "stopped":
		_, err := t.Nova().ServerStart(t.Context(), wasakari.NovaServerStartRequest{ID: id})
		starting := again && s.TaskState == "powering-on" && errors.Is(err, wasakari.ErrConflict)
		if err != nil && !starting {
			return fmt.Errorf("start instance %s: %w", id, err)
		}
	case s.VMState == "active" && again:
	default:
		reason := fmt.Sprintf("Invalid state for Instance %s. Expected state: 'STOPPED', Actual state: '%s'", id, s.VMState)
		t.Progress(1000, "%s", reason)
		return errors.New(reason)
	}
	t.Progress(1000, "Instance started: '%s'", id)
	return nil
}
