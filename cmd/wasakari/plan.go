package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/wasakari/wasakari/abi"
	"github.com/wasakari/wasakari/config"
	"github.com/wasakari/wasakari/hostfuncs"
	"github.com/wasakari/wasakari/recovery"
)

func newPlan(w world) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "plan",
		Short: "Tell what a recovery would do; change nothing",
		Example: `  wasakari plan host compute-1 --os-cloud mycloud
  wasakari plan host compute-1 --simulate`,
	}
	cmd.AddCommand(newPlanHost(w))
	return cmd
}

func newPlanHost(w world) *cobra.Command {
	var f runFlags
	cmd := &cobra.Command{
		Use:   "host HOST",
		Short: "Tell what would happen now if this host died",
		Long: `Tells what would happen now if this compute host died: which servers would be
recovered, in which order, which would not and why, how many requests that
takes, and whether the other hosts have room, as far as Placement tells.

It runs your own flow as wasakari run --dry-run does, with the host taken to be
down: the cloud is only read. Names of hosts are told where there is no choice;
zones, aggregates, affinity and the like, which Nova's scheduler looks at, are
not looked at here.

Exit code 0: the recovery would end well, 1: it would fail, or leave a server
that it was to move, or there is too little room, or a guard would hold it.`,
		Example: `  wasakari plan host compute-1 --os-cloud mycloud
  wasakari plan host compute-1 --recovery-method auto_priority --input reserved_host_list=compute-4
  wasakari plan host compute-1 --config-file custom-recovery-methods.conf --task-dir tasks/ --output json
  wasakari plan host compute-1 --simulate`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return fmt.Errorf("name one host, such as compute-1")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkOutput(f.output); err != nil {
				return err
			}
			return f.planHost(cmd.Context(), w, args[0])
		},
	}
	f.settings.flags(cmd)
	f.cloudFlags.flags(cmd)
	fl := cmd.Flags()
	fl.StringArrayVar(&f.inputs, "input", nil, "`name=value` of a further input of the flow, such as reserved_host_list=compute-4; repeatable")
	fl.StringVar(&f.method, "recovery-method", "auto", "auto, reserved_host, auto_priority or rh_priority")
	fl.StringVar(&f.output, "output", "text", "text, or json: one document")
	return cmd
}

// hostPlan is what plan host tells; its JSON is what --output json prints.
type hostPlan struct {
	Host    string                  `json:"host"`
	Cloud   string                  `json:"cloud"`
	Method  string                  `json:"recovery_method"`
	Flows   []recovery.FlowKind     `json:"flows"`
	Service recovery.ComputeService `json:"service"`
	Status  string                  `json:"status"` // how the run would end
	Message string                  `json:"message"`
	// IfOverridden is how it would end with --override, where a guard would hold
	// it.
	IfOverridden *ending            `json:"if_overridden,omitempty"`
	Assumed      []string           `json:"assumed"`
	Tasks        []taskReport       `json:"tasks"`
	Servers      []plannedServer    `json:"servers"` // those to be recovered first, in their order
	Changes      []hostfuncs.Change `json:"changes"`
	Requests     plannedRequests    `json:"requests"`
	Capacity     capacity           `json:"capacity"`
	Guards       plannedGuards      `json:"guards"`
	Calls        int                `json:"nova_calls"` // of the plan itself
}

// plannedServer is a server of the host.
type plannedServer struct {
	N         int      `json:"n,omitempty"` // place in the order, from 1; none: not recovered
	ID        string   `json:"instance_uuid"`
	Name      string   `json:"instance_name"`
	Tenant    string   `json:"tenant_id"`
	HA        bool     `json:"ha_enabled"`
	VMState   string   `json:"vm_state"`
	TaskState string   `json:"task_state"`
	Locked    bool     `json:"locked"`
	Status    string   `json:"status"` // recovered, failed or left
	DestHost  string   `json:"dest_host"`
	Message   string   `json:"message"`
	Changes   []string `json:"changes"` // ops, in order
}

// What becomes of a server.
const (
	wouldRecover = "recovered"
	wouldFail    = "failed"
	wouldLeave   = "left"
)

// plannedRequests is an estimate of the requests to Nova.
type plannedRequests struct {
	Changes int     `json:"changes"`
	Reads   int     `json:"reads"`
	Total   int     `json:"total"`
	Polls   float64 `json:"polls_per_second"` // on top, while servers are on the move
	Rule    string  `json:"rule"`
}

// planHost makes and prints the plan.
func (f *runFlags) planHost(ctx context.Context, w world, host string) error {
	if err := f.contradiction(); err != nil {
		return err
	}
	kinds := recovery.RecoveryMethod(f.method).Flows()
	if kinds == nil {
		return usagef("--recovery-method %s: want auto, reserved_host, auto_priority or rh_priority", f.method)
	}
	f.inputs = append([]string{"host_name=" + host}, f.inputs...)
	l, run, plans, err := f.prepare(ctx, w, kinds[0])
	if err != nil {
		return err
	}
	defer l.close() //nolint:errcheck // nothing was written
	cl, err := f.connect(ctx, w, l.cfg, l.log, "")
	if err != nil {
		return err
	}
	defer cl.close()
	run.Started = time.Now().UTC()
	p := hostPlan{Host: host, Cloud: cl.what, Method: f.method, Flows: run.Flows}
	services, err := cl.Services(ctx, recovery.ServiceFilter{Binary: "nova-compute"})
	if err != nil {
		return err
	}
	if p.Service, err = serviceOf(services, host); err != nil {
		return err
	}
	var servers []recovery.Server
	err = cl.Servers(ctx, recovery.ServerFilter{Host: host}, func(page []recovery.Server) error {
		servers = append(servers, page...)
		return nil
	})
	if err != nil {
		return err
	}
	r, run, runErr, err := l.dryRun(ctx, cl, run, plans, hostCount(services))
	if err != nil {
		return err
	}
	p.Status, p.Message, p.IfOverridden, p.Guards = r.Status, r.Message, r.IfOverridden, r.guards
	p.Assumed, p.Tasks, p.Changes = r.Assumed, r.Tasks, r.Changes
	p.Servers = plannedServers(servers, r, l.cfg)
	p.Requests = estimate(r.Changes, l.cfg.Default.VerifyInterval)
	room := roomFinder{cloud: cl.Client, host: host, services: services, reserved: names(run.Inputs, "reserved_host_list"), kinds: run.Flows}
	if p.Capacity, err = room.find(ctx, p.Servers); err != nil {
		return err
	}
	p.Calls = cl.Calls()
	print := p.text
	if f.output == "json" {
		print = p.json
	}
	if err := print(w.stdout); err != nil {
		return err
	}
	switch err := verdict(run, runErr); {
	case err != nil:
		return err
	case slices.ContainsFunc(p.Servers, func(s plannedServer) bool { return s.Status == wouldFail }), len(p.Capacity.Unplaced) > 0, len(p.Guards.Held) > 0:
		return errReported
	}
	return nil
}

// serviceOf finds the nova-compute of a host.
func serviceOf(services []recovery.ComputeService, host string) (recovery.ComputeService, error) {
	var hosts []string
	for _, s := range services {
		if s.Host == host {
			return s, nil
		}
		hosts = append(hosts, s.Host)
	}
	hint := "; see the hosts with openstack compute service list"
	if near, ok := config.Nearest(host, hosts); ok {
		hint = "; did you mean " + near + "?"
	}
	return recovery.ComputeService{}, usagef("host %s has no nova-compute%s", host, hint)
}

// plannedServers says what becomes of each server of the host: by its vmove, or
// by the changes where the flow makes no vmoves.
func plannedServers(servers []recovery.Server, r report, cfg *config.Config) []plannedServer {
	order, moves := map[string]int{}, map[string]vmoveReport{}
	for i, v := range r.VMoves {
		order[v.InstanceUUID], moves[v.InstanceUUID] = i+1, v
	}
	ops, dest := map[string][]string{}, map[string]string{}
	for _, c := range r.Changes {
		if c.Refused != "" {
			continue
		}
		ops[c.Target] = append(ops[c.Target], c.Op)
		if c.Op == abi.OpNovaServerEvacuate && c.Effect == "" {
			dest[c.Target] = c.Host
			if order[c.Target] == 0 {
				order[c.Target] = len(r.VMoves) + c.N
			}
		}
	}
	key := cfg.HostFailure.HAEnabledInstanceMetadataKey
	out := make([]plannedServer, 0, len(servers))
	for _, s := range servers {
		p := plannedServer{
			N: order[s.ID], ID: s.ID, Name: s.Name, Tenant: s.TenantID, HA: tagged(s.Metadata[key]),
			VMState: s.VMState, TaskState: string(s.TaskState), Locked: s.Locked, Changes: append([]string{}, ops[s.ID]...),
		}
		v, recorded := moves[s.ID]
		switch {
		case recorded:
			p.DestHost, p.Message = v.DestHost, v.Message
			p.Status = map[recovery.VMoveStatus]string{recovery.VMoveSucceeded: wouldRecover, recovery.VMoveIgnored: wouldLeave}[v.Status]
			p.Status = cmp.Or(p.Status, wouldFail)
		case dest[s.ID] != "":
			p.Status, p.DestHost = wouldRecover, dest[s.ID]
		case !cfg.HostFailure.EvacuateAllInstances && !p.HA:
			p.Status, p.Message = wouldLeave, "it is not tagged "+key+", and [host_failure] evacuate_all_instances is false"
		default:
			p.Status, p.Message = wouldLeave, "the flow does not touch it"
		}
		if p.Status == wouldLeave {
			p.N = 0
		}
		out = append(out, p)
	}
	slices.SortStableFunc(out, func(a, b plannedServer) int {
		if (a.N == 0) != (b.N == 0) {
			return cmp.Compare(b.N, a.N)
		}
		return cmp.Compare(a.N, b.N)
	})
	n := 0
	for i := range out {
		if out[i].N > 0 {
			n++
			out[i].N = n
		}
	}
	return out
}

// tagged reads a tag as the standard tasks do.
func tagged(tag string) bool {
	return slices.Contains([]string{"1", "t", "true", "on", "y", "yes"}, strings.ToLower(strings.TrimSpace(tag)))
}

// The rule by which reads are estimated. They are those of an undisturbed run:
// what the guards read before a change, and what tells its result.
const (
	readsOfRun        = 10 // version, services, lists at the beginning and the end
	readsOfEvacuation = 1
	readsOfAction     = 3 // stop, start, reboot, migrate: server, its actions, result
	readsOfReset      = 1
	requestRule       = "changes as in the dry run; reads: 10, 1 for each evacuation, 3 for each stop or start, 1 for each reset; " +
		"and 2 every verify_interval while servers are on the move"
)

// estimate counts the requests of a run that makes the changes.
func estimate(changes []hostfuncs.Change, verify time.Duration) plannedRequests {
	e := plannedRequests{Changes: len(changes), Reads: readsOfRun, Rule: requestRule}
	if verify > 0 {
		e.Polls = 2 / verify.Seconds()
	}
	for _, c := range changes {
		switch c.Op {
		case abi.OpNovaServerEvacuate:
			e.Reads += readsOfEvacuation
		case abi.OpNovaServerStop, abi.OpNovaServerStart, abi.OpNovaServerReboot, abi.OpNovaServerMigrate, abi.OpNovaServerLiveMigrate:
			e.Reads += readsOfAction
		case abi.OpNovaServerResetState:
			e.Reads += readsOfReset
		}
	}
	e.Total = e.Changes + e.Reads
	return e
}

func (p hostPlan) json(out io.Writer) error {
	return printJSON(out, p)
}

// text prints the plan for a person.
func (p hostPlan) text(out io.Writer) error {
	var b strings.Builder
	line := func(format string, args ...any) { b.WriteString(oneLine(fmt.Sprintf(format, args...)) + "\n") }
	line("if %s on %s died now (recovery method %s): nothing is changed by this plan", p.Host, p.Cloud, p.Method)
	p.Guards.foretell(line)
	state := p.Service.State + ", " + p.Service.Status
	if p.Service.DisabledReason != "" {
		state += " (" + string(p.Service.DisabledReason) + ")"
	}
	line("its nova-compute is %s; servers on it: %d", state, len(p.Servers))
	heading := ""
	for _, s := range p.Servers {
		h := "would be recovered, in this order:"
		switch s.Status {
		case wouldFail:
			h = "would fail:"
		case wouldLeave:
			h = "would not be recovered:"
		}
		if h != heading && (s.Status == wouldLeave || heading == "") {
			heading = h
			if s.Status != wouldLeave {
				heading = "would be recovered, in this order:"
			}
			b.WriteString("\n" + heading + "\n")
		}
		line("%s", s.text(p.Host))
	}
	b.WriteByte('\n')
	for _, note := range p.Assumed {
		line("%s", note)
	}
	endText(ending{p.Status, p.Message}, p.IfOverridden, line)
	line("requests to Nova: about %d (%d changes, %d reads), and up to %.3g a second while servers are on the move", p.Requests.Total, p.Requests.Changes, p.Requests.Reads, p.Requests.Polls)
	p.Capacity.text(line)
	p.Guards.text(line)
	_, err := io.WriteString(out, b.String())
	return err
}

func (s plannedServer) text(from string) string {
	n := "    -"
	if s.N > 0 {
		n = fmt.Sprintf("%4d.", s.N)
	}
	state := s.VMState
	if s.TaskState != "" {
		state += "/" + s.TaskState
	}
	if s.Locked {
		state += ", locked"
	}
	if s.HA {
		state += ", HA"
	}
	text := fmt.Sprintf("%s %s (%s), %s", n, s.Name, s.ID, state)
	if s.DestHost != "" {
		text += ": " + from + " → " + s.DestHost
	}
	if s.Status == wouldFail {
		text += ": would fail"
	}
	return text + because(s.Message)
}
