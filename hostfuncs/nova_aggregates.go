package hostfuncs

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	"github.com/wasakari/wasakari/abi"
	"github.com/wasakari/wasakari/recovery"
)

type aggregatesAnswer struct {
	Aggregates []recovery.Aggregate `json:"aggregates"`
}

// aggregateList implements abi.OpNovaAggregateList.
func aggregateList(ctx context.Context, t *TaskHost, req abi.NovaAggregateListRequest) (aggregatesAnswer, error) {
	list, err := t.h.cloud.Aggregates(ctx)
	if req.Host != "" {
		list = slices.DeleteFunc(slices.Clone(list), func(a recovery.Aggregate) bool { return !slices.Contains(a.Hosts, req.Host) })
	}
	return aggregatesAnswer{orEmpty(list)}, err
}

// aggregate reads one aggregate.
func (h *Hatch) aggregate(ctx context.Context, id int) (recovery.Aggregate, error) {
	list, err := h.cloud.Aggregates(ctx)
	if err != nil {
		return recovery.Aggregate{}, err
	}
	i := slices.IndexFunc(list, func(a recovery.Aggregate) bool { return a.ID == id })
	if i < 0 {
		return recovery.Aggregate{}, fmt.Errorf("aggregate %d: %w", id, recovery.ErrNotFound)
	}
	return list[i], nil
}

func aggregateTarget(id int, host string) string { return strconv.Itoa(id) + "/" + host }

// aggregateAddHost implements abi.OpNovaAggregateAddHost.
func aggregateAddHost(ctx context.Context, t *TaskHost, req abi.NovaAggregateAddHostRequest) (requestID, error) {
	if err := checkHost(req.Host, false); err != nil {
		return requestID{}, err
	}
	h, id, sent := t.h, int(req.ID), false
	rid, _, err := h.ensure(ctx, t.by(), ensured{
		op: abi.OpNovaAggregateAddHost, target: aggregateTarget(id, req.Host),
		done: func(ctx context.Context) (bool, error) {
			a, err := h.aggregate(ctx, id)
			there := slices.Contains(a.Hosts, req.Host)
			if err == nil && there && !sent {
				err = conflict("host %s is in aggregate %s (%d) already", req.Host, a.Name, id)
			}
			return there, err
		},
		before: func(ctx context.Context) error {
			reserved, err := t.isReserved(ctx, req.Host)
			if err != nil || !reserved {
				return err
			}
			return h.pushUndo(ctx, recovery.UndoAggregateHost, strconv.Itoa(id), req.Host, "")
		},
		send: func(ctx context.Context) (string, error) {
			sent = true
			return h.cloud.AddAggregateHost(ctx, id, req.Host)
		},
	})
	return requestID{rid}, err
}

// aggregateRemoveHost implements abi.OpNovaAggregateRemoveHost. A host that is
// not in the aggregate is left alone.
func aggregateRemoveHost(ctx context.Context, t *TaskHost, req abi.NovaAggregateRemoveHostRequest) (requestID, error) {
	if err := checkHost(req.Host, false); err != nil {
		return requestID{}, err
	}
	rid, err := t.h.removeFromAggregate(ctx, t.by(), int(req.ID), req.Host)
	return requestID{rid}, err
}

func (h *Hatch) removeFromAggregate(ctx context.Context, b by, id int, host string) (string, error) {
	rid, _, err := h.ensure(ctx, b, ensured{
		op: abi.OpNovaAggregateRemoveHost, target: aggregateTarget(id, host),
		done: func(ctx context.Context) (bool, error) {
			a, err := h.aggregate(ctx, id)
			return !slices.Contains(a.Hosts, host), err
		},
		send: func(ctx context.Context) (string, error) { return h.cloud.RemoveAggregateHost(ctx, id, host) },
	})
	return rid, err
}

type hypervisorsAnswer struct {
	Hypervisors []recovery.Hypervisor `json:"hypervisors"`
}

// hypervisorList implements abi.OpNovaHypervisorList.
func hypervisorList(ctx context.Context, t *TaskHost, req abi.NovaHypervisorListRequest) (hypervisorsAnswer, error) {
	list, err := t.h.cloud.Hypervisors(ctx, req.Host)
	return hypervisorsAnswer{orEmpty(list)}, err
}

type migrationsAnswer struct {
	Migrations []recovery.Migration `json:"migrations"`
}

// migrationList implements abi.OpNovaMigrationList.
func migrationList(ctx context.Context, t *TaskHost, req abi.NovaMigrationListRequest) (migrationsAnswer, error) {
	list, err := t.h.cloud.Migrations(ctx, recovery.MigrationFilter{
		InstanceUUID: req.InstanceUUID, SourceCompute: req.SourceCompute, Type: req.Type, Status: req.Status,
	})
	return migrationsAnswer{orEmpty(list)}, err
}
