package hostfuncs

import (
	"context"

	"github.com/wasakari/wasakari/recovery"
)

// Cloud is Nova as the ops need it.
//
// Its errors are [recovery.CloudError]s that wrap a sentinel of recovery. A
// change whose answer did not come (timeout, connection lost after the request
// was sent, 5xx) wraps [recovery.ErrUnknownOutcome] and is never repeated by
// the implementation; a definite refusal (4xx, 429) or a request that was
// never sent does not. Reads may be repeated by the implementation. All
// methods are called from many goroutines at once.
type Cloud interface {
	// Server reads one server of any project.
	Server(ctx context.Context, id string) (recovery.Server, error)
	// Servers hands every page of the list to page and stops at its first error,
	// which it returns unwrapped or wrapped.
	Servers(ctx context.Context, f recovery.ServerFilter, page func([]recovery.Server) error) error
	// Actions lists a server's os-instance-actions, newest first.
	Actions(ctx context.Context, id string) ([]recovery.ServerAction, error)

	// The changes of a server return Nova's request id. An empty host leaves
	// the choice to Nova's scheduler.

	Evacuate(ctx context.Context, id, host string) (requestID string, err error)
	Stop(ctx context.Context, id string) (requestID string, err error)
	Start(ctx context.Context, id string) (requestID string, err error)
	// Reboot reboots in the given way, SOFT or HARD.
	Reboot(ctx context.Context, id, kind string) (requestID string, err error)
	// Lock locks with a locked_reason; on a locked server it replaces the reason.
	Lock(ctx context.Context, id, reason string) (requestID string, err error)
	Unlock(ctx context.Context, id string) (requestID string, err error)
	// ResetState sets vm_state to active or error.
	ResetState(ctx context.Context, id, state string) (requestID string, err error)
	Migrate(ctx context.Context, id, host string) (requestID string, err error)
	// LiveMigrate takes auto, true or false as blockMigration.
	LiveMigrate(ctx context.Context, id, host, blockMigration string) (requestID string, err error)

	Services(ctx context.Context, f recovery.ServiceFilter) ([]recovery.ComputeService, error)
	// UpdateService changes the service with the given uuid and returns it as
	// Nova answered.
	UpdateService(ctx context.Context, id string, u recovery.ServiceUpdate) (s recovery.ComputeService, requestID string, err error)

	Aggregates(ctx context.Context) ([]recovery.Aggregate, error)
	AddAggregateHost(ctx context.Context, id int, host string) (requestID string, err error)
	RemoveAggregateHost(ctx context.Context, id int, host string) (requestID string, err error)

	// Hypervisors lists those of one compute host, or all when host is empty.
	Hypervisors(ctx context.Context, host string) ([]recovery.Hypervisor, error)
	// Migrations lists migrations, newest first.
	Migrations(ctx context.Context, f recovery.MigrationFilter) ([]recovery.Migration, error)
}
