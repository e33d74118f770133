package hostfuncs

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/wasakari/wasakari/abi"
	"github.com/wasakari/wasakari/recovery"
)

const (
	novaCompute    = "nova-compute"
	statusEnabled  = "enabled"
	statusDisabled = "disabled"
	// maxReason is the length of Nova's disabled_reason, in bytes.
	maxReason = 255
)

func binaryOf(binary string) string {
	if binary == "" {
		return novaCompute
	}
	return binary
}

func serviceTarget(host, binary string) string { return host + "/" + binary }

// service reads one service.
func (h *Hatch) service(ctx context.Context, host, binary string) (recovery.ComputeService, error) {
	list, err := h.cloud.Services(ctx, recovery.ServiceFilter{Host: host, Binary: binary})
	if err != nil {
		return recovery.ComputeService{}, err
	}
	return pickService(list, host, binary)
}

func pickService(list []recovery.ComputeService, host, binary string) (recovery.ComputeService, error) {
	i := slices.IndexFunc(list, func(s recovery.ComputeService) bool { return s.Host == host && s.Binary == binary })
	if i < 0 {
		return recovery.ComputeService{}, fmt.Errorf("host %s has no service %s: %w", host, binary, recovery.ErrNotFound)
	}
	return list[i], nil
}

// mark is what the run adds to the reason of a service that it disables.
func (r RunInfo) mark() string {
	return "[wasakari " + strings.TrimSpace(r.Cluster+" "+r.ID) + "]"
}

// readMark finds the mark at the end of a reason.
func readMark(reason string) (cluster, run string, ok bool) {
	i := strings.LastIndex(reason, "[wasakari ")
	if i < 0 || !strings.HasSuffix(reason, "]") {
		return "", "", false
	}
	words := strings.Fields(reason[i+len("[wasakari ") : len(reason)-1])
	if len(words) == 0 {
		return "", "", false
	}
	last := len(words) - 1
	return strings.Join(words[:last], " "), words[last], true
}

// withMark ends reason with the run's mark; the reason is cut, not the mark.
func (r RunInfo) withMark(reason string) string {
	mark := r.mark()
	reason = strings.TrimSpace(recovery.Cut(reason, max(0, maxReason-len(mark)-1)))
	return strings.TrimSpace(reason + " " + mark)
}

// foreign refuses a service that another run disabled and that is, as far as is
// known, still that run's.
func (h *Hatch) foreign(s recovery.ComputeService) error {
	cluster, run, marked := readMark(string(s.DisabledReason))
	if s.Status != statusDisabled || !marked || (cluster == h.run.Cluster && (run == h.run.ID || h.ended(run))) {
		return nil
	}
	return conflict("%s of %s was disabled by run %s of cluster %q; finish or resume that run there, or enable the service by hand if it is over",
		s.Binary, s.Host, run, cluster)
}

type servicesAnswer struct {
	Services []recovery.ComputeService `json:"services"`
}

// serviceList implements abi.OpNovaServiceList.
func serviceList(ctx context.Context, t *TaskHost, req abi.NovaServiceListRequest) (servicesAnswer, error) {
	list, err := t.h.cloud.Services(ctx, recovery.ServiceFilter{Host: req.Host, Binary: req.Binary})
	return servicesAnswer{orEmpty(list)}, err
}

// orEmpty makes an empty list of nil, so that it is [] in JSON.
func orEmpty[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

type serviceChange struct {
	Changed   bool                    `json:"changed"`
	Service   recovery.ComputeService `json:"service"`
	RequestID string                  `json:"request_id,omitempty"`
}

// changeService brings a service into a state. done says whether it is there,
// or refuses.
func (t *TaskHost) changeService(ctx context.Context, op, host, binary string, u recovery.ServiceUpdate,
	done func(recovery.ComputeService) (bool, error), before func(context.Context, recovery.ComputeService) error,
) (serviceChange, error) {
	if err := checkHost(host, false); err != nil {
		return serviceChange{}, err
	}
	h, ans := t.h, serviceChange{}
	var err error
	ans.RequestID, ans.Changed, err = h.ensure(ctx, t.by(), ensured{
		op: op, target: serviceTarget(host, binary),
		done: func(ctx context.Context) (bool, error) {
			s, err := h.service(ctx, host, binary)
			if err != nil {
				return false, err
			}
			ans.Service = s
			return done(s)
		},
		before: func(ctx context.Context) error {
			if before == nil {
				return nil
			}
			return before(ctx, ans.Service)
		},
		send: func(ctx context.Context) (string, error) {
			s, id, err := h.cloud.UpdateService(ctx, ans.Service.ID, u)
			if err == nil {
				ans.Service = s
			}
			return id, err
		},
	})
	return ans, err
}

// serviceDisable implements abi.OpNovaServiceDisable. A reason without mark,
// left by a person, is replaced as Masakari does.
func serviceDisable(ctx context.Context, t *TaskHost, req abi.NovaServiceDisableRequest) (serviceChange, error) {
	u := recovery.ServiceUpdate{Status: statusDisabled, DisabledReason: t.h.run.withMark(req.Reason)}
	return t.changeService(ctx, abi.OpNovaServiceDisable, req.Host, binaryOf(req.Binary), u,
		func(s recovery.ComputeService) (bool, error) {
			if err := t.h.foreign(s); err != nil {
				return false, err
			}
			cluster, run, marked := readMark(string(s.DisabledReason))
			return s.Status == statusDisabled && marked && cluster == t.h.run.Cluster && run == t.h.run.ID, nil
		}, nil)
}

// serviceEnable implements abi.OpNovaServiceEnable.
func serviceEnable(ctx context.Context, t *TaskHost, req abi.NovaServiceEnableRequest) (serviceChange, error) {
	binary := binaryOf(req.Binary)
	return t.changeService(ctx, abi.OpNovaServiceEnable, req.Host, binary, recovery.ServiceUpdate{Status: statusEnabled},
		func(s recovery.ComputeService) (bool, error) {
			return s.Status == statusEnabled, t.h.foreign(s)
		},
		func(ctx context.Context, s recovery.ComputeService) error {
			// What makes a host a spare is its disabled nova-compute.
			if binary != novaCompute {
				return nil
			}
			reserved, err := t.isReserved(ctx, req.Host)
			if err != nil || !reserved {
				return err
			}
			reason := string(s.DisabledReason)
			if reason == "" {
				reason = "reserved host"
			}
			return t.h.pushUndo(ctx, recovery.UndoServiceEnable, req.Host, req.Host, reason)
		})
}

// isReserved says whether host is a spare, by its record or by the flow.
func (t *TaskHost) isReserved(ctx context.Context, host string) (bool, error) {
	if host == t.call.ReservedHost {
		return true, nil
	}
	hosts, err := t.h.ha.Hosts(ctx)
	return slices.ContainsFunc(hosts, func(h recovery.Host) bool { return h.Name == host && h.Reserved }), err
}

type forceDownAnswer struct {
	Service   recovery.ComputeService `json:"service"`
	RequestID string                  `json:"request_id,omitempty"`
}

// serviceForceDown implements abi.OpNovaServiceForceDown.
func serviceForceDown(ctx context.Context, t *TaskHost, req abi.NovaServiceForceDownRequest) (forceDownAnswer, error) {
	if req.ForcedDown {
		if err := t.fenceProof(req.Host); err != nil {
			return forceDownAnswer{}, fmt.Errorf("host %s is not forced down: %w", recovery.Cut(req.Host, maxName), err)
		}
	}
	c, err := t.changeService(ctx, abi.OpNovaServiceForceDown, req.Host, binaryOf(req.Binary), recovery.ServiceUpdate{ForcedDown: &req.ForcedDown},
		func(s recovery.ComputeService) (bool, error) {
			if !req.ForcedDown { // another run may rely on it
				return !s.ForcedDown, t.h.foreign(s)
			}
			return s.ForcedDown, nil
		}, nil)
	return forceDownAnswer{c.Service, c.RequestID}, err
}

// proofName is the value that a fencing task provides.
const proofName = "fence_proof"

// proofSkew is how far a proof's clock may be ahead of ours, or behind it.
const proofSkew = time.Minute

// fenceProof refuses unless the run holds a proof that host was fenced: its
// host, method, run and time are checked.
func (t *TaskHost) fenceProof(host string) error {
	refuse := func(format string, args ...any) error {
		return fmt.Errorf("%s: %w", fmt.Sprintf(format, args...), recovery.ErrForbidden)
	}
	raw, ok := t.call.Values[proofName]
	if !ok {
		return refuse("no %s was provided in this run", proofName)
	}
	var p struct {
		Host   string    `json:"host"`
		Method string    `json:"method"`
		Run    string    `json:"run"`
		Time   time.Time `json:"time"`
	}
	if err := json.Unmarshal(raw, &p); err != nil {
		return refuse("%s is no document of host, method, run and time (RFC 3339)", proofName)
	}
	switch now := time.Now(); {
	case p.Host != host:
		return refuse("%s is of host %q, not of %q", proofName, recovery.Cut(p.Host, maxName), host)
	case p.Method == "":
		return refuse("%s names no method", proofName)
	case p.Run != t.h.run.ID:
		return refuse("%s is of run %q, not of this run %q", proofName, recovery.Cut(p.Run, maxName), t.h.run.ID)
	case p.Time.Before(t.h.run.Started.Add(-proofSkew)):
		return refuse("%s is of %s, before the run began", proofName, p.Time.Format(time.RFC3339))
	case p.Time.After(now.Add(proofSkew)):
		return refuse("%s is of %s, which is yet to come", proofName, p.Time.Format(time.RFC3339))
	}
	return nil
}
