package main

import (
	"context"
	"fmt"
	"io"
	"net/http"

	"github.com/spf13/cobra"

	"github.com/wasakari/wasakari/abi"
	"github.com/wasakari/wasakari/api"
	"github.com/wasakari/wasakari/api/wasakariv1"
	"github.com/wasakari/wasakari/internal/audit"
	"github.com/wasakari/wasakari/recovery"
	"github.com/wasakari/wasakari/store"
)

func newHost(w world) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "host",
		Short:   "Take hosts that were repaired back into service",
		Example: "  wasakari host repaired compute-1",
	}
	cmd.AddCommand(newHostRepaired(w))
	return cmd
}

func newHostRepaired(w world) *cobra.Command {
	var f remoteFlags
	cmd := &cobra.Command{
		Use:   "repaired NAME",
		Short: "End a host's maintenance, and let Nova put servers on it again",
		Long: `Ends the maintenance of a host in its segment, so that failures of it are
taken again, takes back that it was forced down, and enables its nova-compute
service. What was well already is left as it is, and what was done is told.

It is refused while Nova sees the service down, and, of a host that was forced
down, while nova-compute has not cleaned up after the servers that were moved
away: start the host and nova-compute first. And it is refused while a recovery
in the host's segment has not ended.`,
		Example: `  wasakari host repaired compute-1
  wasakari host repaired compute-1 --server http://controller-2:15868 --os-cloud mycloud`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return show(cmd.Context(), &f, w, http.MethodPost, path("hosts", args[0], "repaired"), nil, nil, func(out io.Writer, doc wasakariv1.HostRepaired) error {
				if len(doc.Done) == 0 {
					fmt.Fprintf(out, "%s: nothing had to be done\n", oneLine(doc.Host))
				}
				for _, line := range doc.Done {
					fmt.Fprintf(out, "%s: %s\n", oneLine(doc.Host), oneLine(line))
				}
				return nil
			})
		},
	}
	f.flags(cmd)
	return cmd
}

// operation is what operators ask of the node.
type operation struct {
	*store.Store
	cloud *cloud
	audit *audit.Log
}

// HostRepaired takes a host back into service. The store goes first: it refuses
// while the host's recovery has not ended.
func (o operation) HostRepaired(ctx context.Context, name string) (done []string, err error) {
	services, err := o.cloud.Services(ctx, recovery.ServiceFilter{Host: name, Binary: "nova-compute"})
	if err != nil {
		return nil, err
	}
	for _, s := range services {
		if s.State != "up" && !s.ForcedDown {
			return nil, &wasakariv1.Refusal{
				Code: http.StatusConflict, Err: recovery.ErrConflict,
				Message: fmt.Sprintf("Nova sees nova-compute on %s down", name), Hint: "start the host and nova-compute on it, and try again when openstack compute service list shows it up",
			}
		}
		if !s.ForcedDown {
			continue
		}
		// While there are such records Nova refuses to take that back.
		moves, err := o.cloud.Migrations(ctx, recovery.MigrationFilter{SourceCompute: name, Type: "evacuation", Status: "done"})
		if err != nil {
			return nil, err
		}
		if len(moves) > 0 {
			return nil, &wasakariv1.Refusal{
				Code: http.StatusConflict, Err: recovery.ErrConflict,
				Message: fmt.Sprintf("nova-compute on %s has not cleaned up after servers that were moved away (%d)", name, len(moves)), Hint: "start the host and nova-compute on it, and try again",
			}
		}
	}
	hosts, err := o.Hosts(ctx)
	if err != nil {
		return nil, err
	}
	found := false
	for _, h := range hosts {
		if h.Name != name {
			continue
		}
		found = true
		ended := false
		if _, err := o.UpdateHost(ctx, h.UUID, func(h *recovery.Host) error {
			ended, h.OnMaintenance = h.OnMaintenance, false
			return nil
		}); err != nil {
			return nil, err
		}
		if ended {
			done = append(done, "its maintenance in segment "+h.SegmentUUID+" ended")
		}
	}
	if !found {
		return nil, fmt.Errorf("host %s: %w", name, recovery.ErrNotFound)
	}
	for _, s := range services {
		change := func(op string, u recovery.ServiceUpdate, what string) error {
			_, request, err := o.cloud.UpdateService(ctx, s.ID, u)
			line := audit.Record{
				Kind: audit.Nova, Op: op, Target: name, Outcome: audit.Done, Message: what, NovaRequestID: request,
				User: api.Caller(ctx).UserID, RequestID: api.RequestID(ctx),
			}
			if err != nil {
				line.Outcome, line.Message = audit.Failed, err.Error()
			}
			o.audit.Write(line)
			if err != nil {
				return fmt.Errorf("service nova-compute of %s: %w", name, err)
			}
			done = append(done, what)
			return nil
		}
		if s.ForcedDown {
			if err := change(abi.OpNovaServiceForceDown, recovery.ServiceUpdate{ForcedDown: new(false)}, "its nova-compute service is not forced down any more"); err != nil {
				return nil, err
			}
		}
		if s.Status != "enabled" {
			what := "its nova-compute service was enabled"
			if s.DisabledReason != "" {
				what += fmt.Sprintf("; it had been disabled: %s", string(s.DisabledReason))
			}
			if err := change(abi.OpNovaServiceEnable, recovery.ServiceUpdate{Status: "enabled"}, what); err != nil {
				return nil, err
			}
		}
	}
	return done, nil
}
