package main

import (
	"errors"
	"fmt"

	wasakari "github.com/wasakari/wasakari/sdk/go"
	"github.com/wasakari/wasakari/tasks-examples/standard/evacuate"
)

// disableComputeService keeps new servers off the failed host, and ends when
// Nova shows its service down, which it must before it evacuates anything.
func disableComputeService(t *wasakari.Task) error {
	ctx := t.Context()
	host := t.InputString("host_name")
	t.Progress(0, "Disabling compute service on host: '%s'", host)
	_, err := t.Nova().ServiceDisable(ctx, wasakari.NovaServiceDisableRequest{
		Host: host, Reason: t.OptionString("host_failure", "service_disable_reason"),
	})
	switch {
	case errors.Is(err, wasakari.ErrNotFound):
		return evacuate.NoService(host, "nova-compute")
	case err != nil:
		return fmt.Errorf("disable compute service on host '%s': %w", host, err)
	}
	t.Log().Infof("waiting up to %d s until Nova shows the service of '%s' down", t.OptionInt("DEFAULT", "wait_period_after_service_update"), host)
	if err := evacuate.AwaitDown(ctx, t, host); err != nil {
		return fmt.Errorf("%w (the service of '%s' stays disabled: enable it when the host is well)", err, host)
	}
	t.Progress(1000, "Disabled compute service on host: '%s'", host)
	return nil
}
