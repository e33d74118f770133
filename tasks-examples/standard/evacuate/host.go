package evacuate

import (
	"context"
	"errors"
	"fmt"
	"slices"

	wasakari "github.com/wasakari/wasakari/sdk/go"
)

// AwaitDown waits until Nova shows the compute service of a host down: sooner
// it refuses every evacuation. The limit is wait_period_after_service_update.
func AwaitDown(ctx context.Context, t *wasakari.Task, host string) error {
	_, err := t.Nova().ServiceWait(ctx, wasakari.NovaServiceWaitRequest{
		Host: host, State: "down", TimeoutSeconds: t.OptionInt("DEFAULT", "wait_period_after_service_update"),
	})
	switch {
	case err == nil:
		return nil
	case canceled(ctx, err):
		return err
	case errors.Is(err, wasakari.ErrTimeout):
		return fmt.Errorf("Nova still sees %s up; is it fenced?", host) //nolint:staticcheck // a question to the operator
	case errors.Is(err, wasakari.ErrNotFound):
		return NoService(host, "nova-compute")
	}
	return fmt.Errorf("compute service of host %s: %s", host, text(err))
}

// NoService is the error about a service that Nova does not know.
func NoService(host, binary string) error {
	return fmt.Errorf("no service %s on host '%s' found in Nova", binary, host)
}

// openReserved makes the reserved host ready to take servers. The run gives it
// back when nothing moves there.
func (e *evacuation) openReserved(ctx context.Context) error {
	e.task.Progress(100, "Enabling reserved host: '%s'", e.reserved)
	if e.task.OptionBool("host_failure", "add_reserved_host_to_aggregate") {
		if err := e.joinAggregates(ctx); err != nil {
			return err
		}
	}
	_, err := e.nova.ServiceEnable(ctx, wasakari.NovaServiceEnableRequest{Host: e.reserved})
	switch {
	case err == nil || canceled(ctx, err):
		return err
	case errors.Is(err, wasakari.ErrNotFound):
		return NoService(e.reserved, "nova-compute")
	}
	return fmt.Errorf("enable reserved host %s: %s", e.reserved, text(err))
}

// joinAggregates adds the reserved host to every aggregate of the failed one.
func (e *evacuation) joinAggregates(ctx context.Context) error {
	ans, err := e.nova.AggregateList(ctx, wasakari.NovaAggregateListRequest{Host: e.host})
	switch {
	case canceled(ctx, err):
		return err
	case err != nil:
		return fmt.Errorf("list aggregates: %s", text(err))
	}
	for _, a := range ans.Aggregates {
		if !slices.Contains(a.Hosts, e.host) {
			continue
		}
		there := slices.Contains(a.Hosts, e.reserved)
		if !there {
			e.task.Progress(200, "Add host %s to aggregate %s", e.reserved, a.Name)
			_, err := e.nova.AggregateAddHost(ctx, wasakari.NovaAggregateAddHostRequest{ID: a.ID, Host: e.reserved})
			switch {
			case errors.Is(err, wasakari.ErrConflict):
				there = true
			case canceled(ctx, err):
				return err
			case err != nil:
				return fmt.Errorf("add host %s to aggregate %s: %s", e.reserved, a.Name, text(err))
			}
		}
		if there {
			e.task.Progress(300, "Host '%s' already has been added to aggregate '%s'.", e.reserved, a.Name)
		} else {
			e.task.Progress(300, "Added host %s to aggregate %s", e.reserved, a.Name)
		}
	}
	return nil
}
