package main

import (
	"errors"
	"fmt"
	"strings"
	"time"

	wasakari "github.com/wasakari/wasakari/sdk/go"
	"github.com/wasakari/wasakari/tasks-examples/standard/evacuate"
)

const novaCompute = "nova-compute"

// enableComputeService takes a host that is back into service: it takes back that
// the host was forced down, waits until Nova shows its nova-compute up, enables it, and ends the maintenance. Only
// what a recovery disabled is enabled; what somebody else disabled is left to
// him, and the host stays on maintenance.
func enableComputeService(t *wasakari.Task) error {
	ctx, host := t.Context(), t.InputString("host_name")
	t.Progress(0, "Enabling compute service on host: '%s'", host)
	s, err := computeService(t, host)
	if err != nil {
		return err
	}
	records, err := t.HA().HostList(ctx, wasakari.HAHostListRequest{})
	if err != nil {
		return fmt.Errorf("record of host '%s': %w", host, err)
	}
	maintenance := false
	for _, h := range records.Hosts {
		maintenance = maintenance || h.Name == host && h.OnMaintenance
	}
	if s.Status == "enabled" && !s.ForcedDown && !maintenance {
		return nothing(t, "Host '%s' is in service", host)
	}
	if theirs(s) {
		return left(t, s)
	}
	limit := t.OptionInt("host_repair", "wait_period_for_service")
	if s.ForcedDown { // sooner Nova does not show it up
		if s.Status == "enabled" {
			return nothing(t, "The compute service of host '%s' is forced down, and no recovery disabled it: take that back when the host is well", host)
		}
		err := takeBack(t, host, time.Duration(limit)*time.Second)
		switch {
		case errors.Is(err, wasakari.ErrConflict):
			return notOurs(t, host, err)
		case err != nil:
			return fmt.Errorf("compute service on host '%s' forced down: %w", host, err)
		}
	}
	t.Log().Infof("waiting up to %d s until Nova shows the service of '%s' up", limit, host)
	_, err = t.Nova().ServiceWait(ctx, wasakari.NovaServiceWaitRequest{Host: host, State: "up", TimeoutSeconds: limit})
	switch {
	case errors.Is(err, wasakari.ErrTimeout):
		return fmt.Errorf("Nova does not see %s up; is nova-compute running there?", host) //nolint:staticcheck // a question to the operator
	case err != nil:
		return fmt.Errorf("compute service on host '%s': %w", host, err)
	}
	// Meanwhile somebody may have taken the host for himself.
	if s, err = computeService(t, host); err != nil {
		return err
	}
	if theirs(s) {
		return left(t, s)
	}
	_, err = t.Nova().ServiceEnable(ctx, wasakari.NovaServiceEnableRequest{Host: host})
	switch {
	case errors.Is(err, wasakari.ErrConflict):
		return notOurs(t, host, err)
	case err != nil:
		return fmt.Errorf("enable compute service on host '%s': %w", host, err)
	}
	on := false
	if _, err := t.HA().HostUpdate(ctx, wasakari.HAHostUpdateRequest{Name: host, OnMaintenance: &on}); err != nil && !errors.Is(err, wasakari.ErrNotFound) {
		return fmt.Errorf("maintenance of host '%s': %w", host, err)
	}
	t.Progress(1000, "Enabled compute service on host: '%s'", host)
	return nil
}

// takeBack takes back that a host is forced down. Nova refuses that until
// nova-compute has been started there and has cleaned up after the servers that
// were moved away, of which it keeps a record each. A limit of 0 is none.
func takeBack(t *wasakari.Task, host string, limit time.Duration) error {
	ctx := t.Context()
	lift := func() error {
		_, err := t.Nova().ServiceForceDown(ctx, wasakari.NovaServiceForceDownRequest{Host: host})
		return err
	}
	refused := lift()
	if !errors.Is(refused, wasakari.ErrInvalid) {
		return refused
	}
	var waited time.Duration
	for pause := time.Second; ; pause = min(2*pause, 10*time.Second) {
		ans, err := t.Nova().MigrationList(ctx, wasakari.NovaMigrationListRequest{SourceCompute: host, Type: "evacuation", Status: "done"})
		switch left := len(ans.Migrations); {
		case err != nil:
			return err
		case left == 0:
			return lift()
		case limit > 0 && waited >= limit:
			return fmt.Errorf("nova-compute has not cleaned up after %d servers that were moved away; was it started there? %w", left, refused)
		case waited == 0:
			t.Log().Infof("waiting until nova-compute on '%s' is started and has cleaned up after %d servers that were moved away", host, left)
		}
		if err := t.Sleep(ctx, pause); err != nil {
			return err
		}
		waited += pause
	}
}

// computeService reads the host's nova-compute service.
func computeService(t *wasakari.Task, host string) (wasakari.ComputeService, error) {
	ans, err := t.Nova().ServiceList(t.Context(), wasakari.NovaServiceListRequest{Host: host, Binary: novaCompute})
	switch {
	case err != nil && !errors.Is(err, wasakari.ErrNotFound):
		return wasakari.ComputeService{}, fmt.Errorf("compute service on host '%s': %w", host, err)
	case err != nil || len(ans.Services) == 0:
		return wasakari.ComputeService{}, evacuate.NoService(host, novaCompute)
	}
	return ans.Services[0], nil
}

// theirs reports whether somebody who is no recovery disabled a service: what a
// recovery disables bears the mark [wasakari <cluster> <run>] at the end of its
// reason. Whose recovery it was is for nova.service_enable to judge.
func theirs(s wasakari.ComputeService) bool {
	_, mark, found := strings.Cut(s.DisabledReason, "[wasakari ")
	return s.Status == "disabled" && (!found || !strings.HasSuffix(mark, "]"))
}

func left(t *wasakari.Task, s wasakari.ComputeService) error {
	reason := s.DisabledReason
	if reason == "" {
		reason = "no reason given"
	}
	return nothing(t, "The compute service of host '%s' was not disabled by a recovery (%s), and is left as it is", s.Host, reason)
}

// notOurs ends the flow at the mark of another cluster, or of a run that is not
// known to have ended.
func notOurs(t *wasakari.Task, host string, err error) error {
	return nothing(t, "The compute service of host '%s' is left as it is: %s", host, err)
}

func nothing(t *wasakari.Task, format string, args ...any) error {
	reason := fmt.Sprintf(format, args...)
	t.Progress(1000, "%s", reason)
	return wasakari.NothingToDo(reason)
}
