package main

import (
	"errors"
	"fmt"

	wasakari "github.com/wasakari/wasakari/sdk/go"
	"github.com/wasakari/wasakari/tasks-examples/standard/evacuate"
)

// disableComputeNode disables the service of a process that failed. The
// process's name is that of its service in Nova.
func disableComputeNode(t *wasakari.Task) error {
	ctx := t.Context()
	host, process := t.InputString("host_name"), t.InputString("process_name")
	t.Progress(0, "Disabling compute service on host: '%s'", host)
	ans, err := t.Nova().ServiceList(ctx, wasakari.NovaServiceListRequest{Host: host, Binary: process})
	switch {
	case err != nil && !errors.Is(err, wasakari.ErrNotFound):
		return fmt.Errorf("service %s on host '%s': %w", process, host, err)
	case err != nil || len(ans.Services) == 0:
		return evacuate.NoService(host, process)
	case ans.Services[0].Status == "disabled":
		t.Progress(1000, "Skipping recovery for process %s as it is already disabled", process)
		return nil
	}
	_, err = t.Nova().ServiceDisable(ctx, wasakari.NovaServiceDisableRequest{
		Host: host, Binary: process, Reason: t.OptionString("process_failure", "service_disable_reason"),
	})
	if err != nil {
		return fmt.Errorf("disable service %s on host '%s': %w", process, host, err)
	}
	t.Progress(1000, "Disabled compute service on host: '%s'", host)
	return nil
}
