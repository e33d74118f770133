package engine

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/wasakari/wasakari/recovery"
)

// verdict says what a notification needs.
type verdict struct {
	// status is how it ends without a run; empty: it needs one.
	status  recovery.NotificationStatus
	message string
	flows   []recovery.FlowKind
	// maintenance says that its host is put on maintenance before the run.
	maintenance bool
	// supersedes says that the run takes the servers of the host out of other
	// runs' hands.
	supersedes bool
	// last says that the run waits until what was reported of its host before has
	// ended, retries included.
	last bool
}

// The states that a monitor reports of a host, and the process whose failure
// has a flow.
const (
	hostNormal  = "NORMAL"
	novaCompute = "nova-compute"
)

// vmEvents lists the pairs of event and vir_domain_event that a flow answers,
// as Masakari's engine does.
var vmEvents = map[[2]string]bool{
	{"QEMU_GUEST_AGENT_ERROR", "STOPPED_FAILED"}: true,
	{"LIFECYCLE", "STOPPED_FAILED"}:              true,
	{"IO_ERROR", "IO_ERROR_REPORT"}:              true,
}

// decide is the table of Masakari's engine: what becomes of a notification.
//
// Unlike Masakari, a process other than nova-compute does not put its host on
// maintenance: nothing was done to it, and its later failures would be refused.
func (e *Engine) decide(n recovery.Notification, seg recovery.Segment) verdict {
	end := func(status recovery.NotificationStatus, format string, args ...any) verdict {
		return verdict{status: status, message: fmt.Sprintf(format, args...)}
	}
	if !seg.Enabled {
		return end(recovery.StatusIgnored, "Recovery aborted: the segment HA is disabled.")
	}
	event := n.PayloadText("event")
	switch n.Type {
	case recovery.ComputeHost:
		if s := n.PayloadText("host_status"); s == "" {
			return end(recovery.StatusIgnored, "nothing was done: the notification has no host_status")
		} else if s != hostNormal {
			return end(recovery.StatusIgnored, "nothing was done: host_status is %s, not %s: the monitor could not make sure that the host is off", s, hostNormal)
		}
	case recovery.Process:
	case recovery.VM:
		if status, message := Unanswered(n); status != "" {
			return verdict{status: status, message: message}
		}
		return verdict{flows: []recovery.FlowKind{recovery.InstanceFailure}}
	default:
		return end(recovery.StatusIgnored, "nothing was done: no flow answers the type %s", n.Type)
	}

	switch event {
	case recovery.EventStopped:
	case recovery.EventStarted:
		if n.Type == recovery.ComputeHost && e.cfg.Repair != "" {
			return verdict{flows: []recovery.FlowKind{e.cfg.Repair}, last: true}
		}
		return end(recovery.StatusFinished, "")
	default:
		return end(recovery.StatusIgnored, "nothing was done: no flow answers the event %s", event)
	}
	if n.Type == recovery.Process {
		if p := n.PayloadText("process_name"); p != novaCompute {
			return end(recovery.StatusFinished, "nothing was done: no flow answers the process %s", p)
		}
		return verdict{flows: []recovery.FlowKind{recovery.ProcessFailure}, maintenance: true}
	}
	flows := seg.RecoveryMethod.Flows()
	if len(flows) == 0 {
		return end(recovery.StatusFailed, "segment %s: recovery method %q is not known", seg.UUID, seg.RecoveryMethod)
	}
	return verdict{flows: flows, maintenance: true, supersedes: true}
}

// Unanswered tells how a notification about a VM ends whose event no flow
// answers, whatever its segment says: ignored, with a message for a person. For
// any other notification both are empty. Most events of a hypervisor are like
// that, so whoever accepts them can spare the queue.
func Unanswered(n recovery.Notification) (recovery.NotificationStatus, string) {
	event, domain := n.PayloadText("event"), n.PayloadText("vir_domain_event")
	if n.Type != recovery.VM || vmEvents[[2]string{event, domain}] {
		return "", ""
	}
	return recovery.StatusIgnored, fmt.Sprintf("nothing was done: no flow answers the event %s %s", event, domain)
}

// inputs seeds the flows of a run. hosts are those of the segment in the order
// in which reserved ones are tried.
func inputs(n recovery.Notification, seg recovery.Segment, flows []recovery.FlowKind, hosts []recovery.Host) (map[string]json.RawMessage, error) {
	seg.Stamp = recovery.Stamp{} // a task sees what an operator wrote
	values := map[string]any{
		"notification_uuid": n.UUID,
		"recovery_method":   seg.RecoveryMethod,
		"segment":           seg,
		"event":             n.PayloadText("event"),
		"payload":           n.Payload,
		"generated_time":    n.Generated.UTC().Format(time.RFC3339),
		"host_name":         n.HostName,
	}
	switch n.Type {
	case recovery.VM:
		values["instance_uuid"] = n.ServerUUID()
	case recovery.Process:
		values["process_name"] = n.PayloadText("process_name")
	}
	for _, kind := range flows {
		if kind == recovery.HostReserved {
			values["reserved_host_list"] = reservedHosts(n, hosts)
		}
	}
	out := make(map[string]json.RawMessage, len(values))
	for name, v := range values {
		raw, err := json.Marshal(v)
		if err != nil {
			return nil, fmt.Errorf("input %s: %w", name, err)
		}
		out[name] = raw
	}
	return out, nil
}

// reservedHosts lists the names of the spare hosts, in order.
func reservedHosts(n recovery.Notification, hosts []recovery.Host) []string {
	names := []string{}
	for _, h := range hosts {
		if h.Reserved && !h.OnMaintenance && h.Name != n.HostName {
			names = append(names, h.Name)
		}
	}
	return names
}
