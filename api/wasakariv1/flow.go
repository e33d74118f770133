package wasakariv1

import (
	"fmt"
	"net/http"
	"slices"

	"github.com/wasakari/wasakari/recovery"
)

// Flow is one flow as it stands.
type Flow struct {
	Kind recovery.FlowKind `json:"kind"`
	// Segment and Project say for whose failures it is; none of both: for all that
	// have no flow of their own.
	Segment string     `json:"segment,omitempty" help:"UUID of the segment that it is for."`
	Project string     `json:"project,omitempty" help:"Id of the project whose servers it is for."`
	At      string     `json:"at" help:"Where it is written: file:line:col, or default."`
	Off     bool       `json:"off,omitempty" help:"Whether no notification is answered by it, since [host_repair] enabled is off."`
	Tasks   []FlowTask `json:"tasks" help:"In the order in which they run."`
	// Problems says what keeps it from running; none: it is good.
	Problems []string `json:"problems"`
}

// FlowTask is one place in a flow.
type FlowTask struct {
	Phase    recovery.Phase `json:"phase"`
	Key      string         `json:"key"`
	At       string         `json:"at" help:"Where the key is written."`
	Standard bool           `json:"standard,omitempty" help:"Whether it is one of the standard tasks."`
	Library  string         `json:"library,omitempty"`
	Tenant   string         `json:"tenant,omitempty" help:"Id of the project that it is of; none: the operator."`
	Version  string         `json:"version,omitempty"`
	Digest   string         `json:"digest,omitempty" help:"SHA-256 of the module."`
	Source   string         `json:"source,omitempty" help:"Where the module came from: a file, an upload, or built in."`
	Summary  string         `json:"summary,omitempty"`
	Requires []string       `json:"requires"`
	Provides []string       `json:"provides"`
	Granted  []string       `json:"granted" help:"What it asks for and was granted."`
	Missing  []string       `json:"missing" help:"What it asks for and was not granted."`
}

// FlowList answers a list of flows.
type FlowList struct {
	Flows []Flow `json:"flows"`
}

// FlowCheck tells whether all flows are good.
type FlowCheck struct {
	Good     bool          `json:"good"`
	Problems []FlowProblem `json:"problems"`
}

// FlowProblem is one thing that is wrong with a flow.
type FlowProblem struct {
	Kind    recovery.FlowKind `json:"kind"`
	Segment string            `json:"segment,omitempty"`
	Project string            `json:"project,omitempty"`
	Problem string            `json:"problem"`
}

// NodeList answers a list of nodes.
type NodeList struct {
	Nodes []recovery.Node `json:"nodes"`
}

// name names the flow for a person.
func (f Flow) name() string {
	switch {
	case f.Segment != "":
		return fmt.Sprintf("%s of segment %s", f.Kind, f.Segment)
	case f.Project != "":
		return fmt.Sprintf("%s of project %s", f.Kind, f.Project)
	}
	return string(f.Kind)
}

func (a *API) listFlows(w http.ResponseWriter, r *http.Request, _ Caller, _ view) error {
	p, err := parameters(r, "kind", "segment")
	if err != nil {
		return err
	}
	kind := recovery.FlowKind("")
	if s := p["kind"]; s != "" {
		if kind, err = recovery.ParseFlowKind(s); err != nil {
			return refuse(http.StatusBadRequest, "want host-auto, host-rh, instance, process or host-repair", "kind %q is none of a flow", cut(s, 64))
		}
	}
	flows, err := a.cfg.Flows.Flows(r.Context())
	if err != nil {
		return err
	}
	segment := p["segment"]
	flows = slices.DeleteFunc(slices.Clone(flows), func(f Flow) bool {
		return kind != "" && f.Kind != kind || segment != "" && f.Segment != segment
	})
	for i := range flows {
		filled(&flows[i])
	}
	return a.answer(w, r, http.StatusOK, FlowList{append([]Flow{}, flows...)})
}

// filled makes lists of what is none.
func filled(f *Flow) {
	f.Tasks = append([]FlowTask{}, f.Tasks...)
	f.Problems = append([]string{}, f.Problems...)
	for i := range f.Tasks {
		t := &f.Tasks[i]
		for _, list := range []*[]string{&t.Requires, &t.Provides, &t.Granted, &t.Missing} {
			*list = append([]string{}, *list...)
		}
	}
}

func (a *API) checkFlows(w http.ResponseWriter, r *http.Request, _ Caller, _ view) error {
	if _, err := parameters(r); err != nil {
		return err
	}
	flows, err := a.cfg.Flows.Flows(r.Context())
	if err != nil {
		return err
	}
	doc := FlowCheck{Problems: []FlowProblem{}}
	for _, f := range flows {
		for _, text := range f.Problems {
			doc.Problems = append(doc.Problems, FlowProblem{f.Kind, f.Segment, f.Project, text})
		}
	}
	doc.Good = len(doc.Problems) == 0
	return a.answer(w, r, http.StatusOK, doc)
}

func (a *API) listNodes(w http.ResponseWriter, r *http.Request, _ Caller, _ view) error {
	if _, err := parameters(r); err != nil {
		return err
	}
	nodes, err := a.cfg.Store.Nodes(r.Context())
	if err != nil {
		return err
	}
	nodes = append([]recovery.Node{}, nodes...)
	for i := range nodes {
		nodes[i].Runs = append([]string{}, nodes[i].Runs...)
	}
	return a.answer(w, r, http.StatusOK, NodeList{nodes})
}
