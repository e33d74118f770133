package main

import wasakari "github.com/wasakari/wasakari/sdk/go"

// confirmComputeNodeDisabled waits until Nova shows the service disabled.
func confirmComputeNodeDisabled(t *wasakari.Task) error {
	host, process := t.InputString("host_name"), t.InputString("process_name")
	t.Progress(0, "Confirming compute service is disabled on host: '%s'", host)
	_, err := t.Nova().ServiceWait(t.Context(), wasakari.NovaServiceWaitRequest{
		Host: host, Binary: process, Status: "disabled", TimeoutSeconds: seconds(t, "wait_period_after_service_update"),
	})
	if err != nil {
		reason := "Failed to disable service " + process
		t.Progress(1000, "%s", reason)
		return because(reason, err)
	}
	t.Progress(1000, "Confirmed compute service is disabled on host: '%s'", host)
	return nil
}
