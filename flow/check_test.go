package flow_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/wasakari/wasakari/flow"
	"github.com/wasakari/wasakari/recovery"
)

// catalog is a flow.Catalog of tasks by key.
type catalog map[string]recovery.Task

func (c catalog) Task(key string) (recovery.Task, bool) { t, ok := c[key]; return t, ok }
func (c catalog) Keys() []string                        { return slices.Collect(maps.Keys(c)) }

// tasks makes a catalog; each task gets a library and a digest of its key.
func tasks(list ...recovery.Task) catalog {
	c := make(catalog)
	for _, t := range list {
		if t.Library == "" {
			t.Library = "acme"
		}
		if t.Digest == "" {
			t.Digest = "sha-" + t.Key
		}
		c[t.Key] = t
	}
	return c
}

// parse makes a flow of keys apart by blanks, phases apart by bars. The i-th
// task stands in line i.
func parse(kind recovery.FlowKind, text string) recovery.Flow {
	f := recovery.Flow{Kind: kind}
	line := 0
	refs := func(s string) []recovery.TaskRef {
		var out []recovery.TaskRef
		for key := range strings.FieldsSeq(s) {
			line++
			out = append(out, recovery.TaskRef{Key: key, Pos: recovery.Position{File: "f.conf", Line: line, Col: 5}})
		}
		return out
	}
	parts := strings.Split(text, "|")
	f.Pre, f.Main, f.Post = refs(parts[0]), refs(parts[1]), refs(parts[2])
	return f
}

func TestCheck(t *testing.T) {
	c := tasks(
		recovery.Task{Key: "plain"},
		recovery.Task{Key: "ticket", Provides: []string{"ticket_id"}},
		recovery.Task{Key: "ticket2", Provides: []string{"ticket_id"}},
		recovery.Task{Key: "both", Provides: []string{"a", "ticket_id"}},
		recovery.Task{Key: "use_ticket", Requires: []string{"ticket_id"}},
		recovery.Task{Key: "may_ticket", Optional: []string{"ticket_id", "reserved_host"}},
		recovery.Task{Key: "selfish", Requires: []string{"mine"}, Provides: []string{"mine"}},
		recovery.Task{Key: "host", Requires: []string{"host_name"}},
		recovery.Task{Key: "reserved", Requires: []string{"reserved_host"}},
		recovery.Task{Key: "process", Requires: []string{"process_name"}},
		recovery.Task{Key: "nobody", Requires: []string{"host_nam"}},
		recovery.Task{Key: "set_host", Provides: []string{"host_name"}},
		recovery.Task{Key: "set_reserved", Provides: []string{"reserved_host"}},
		recovery.Task{Key: "fence", Provides: []string{"fence_proof"}},
		recovery.Task{Key: "ops", Uses: []string{"kv.*", "nova.server_list", "nova.server_stop"}},
		recovery.Task{Key: "opts", Options: []recovery.OptionSpec{{Group: "acme", Name: "token"}}},
		recovery.Task{Key: "sends", Uses: []string{"http.request", "task.sleep"}, HTTP: []string{"GET https://h.example.com/*"}, Options: []recovery.OptionSpec{{Group: "acme", Name: "url"}}},
		recovery.Task{Key: "theirs", Library: "them", Tenant: "p1"},
		recovery.Task{Key: "theirs_ops", Library: "them", Tenant: "p1", Uses: []string{"kv.get"}, Options: []recovery.OptionSpec{{Group: "them", Name: "token"}}},
	)
	nearest := func(name string, known []string) (string, bool) {
		slices.Sort(known)
		for _, k := range known {
			if len(k) >= len(name) && k[:3] == name[:3] {
				return k, true
			}
		}
		return "", false
	}
	tests := []struct {
		name string
		kind recovery.FlowKind
		flow string
		o    flow.CheckOptions
		want string // "": no mistake
	}{
		{name: "empty phases", kind: recovery.HostAuto, flow: "||"},
		{name: "a task twice", kind: recovery.HostAuto, flow: "plain plain|plain|"},
		{name: "provider in the same phase", kind: recovery.HostAuto, flow: "ticket use_ticket||use_ticket"},
		{name: "provider in an earlier phase", kind: recovery.HostAuto, flow: "ticket||use_ticket"},
		{name: "optional provided later or never", kind: recovery.HostReserved, flow: "may_ticket|ticket|"},
		{name: "an input", kind: recovery.ProcessFailure, flow: "process host||"},
		{name: "reserved host in main and post", kind: recovery.HostReserved, flow: "|reserved|reserved"},
		{
			name: "reserved host comes from the flow", kind: recovery.HostReserved, flow: "|reserved|",
			o: flow.CheckOptions{Inputs: map[string]json.RawMessage{}},
		},
		{name: "ops without a grants function", kind: recovery.HostAuto, flow: "ops||"},
		{
			name: "protected name granted", kind: recovery.HostAuto, flow: "fence||",
			o: flow.CheckOptions{Granted: func(task recovery.Task, name string) bool {
				return task.Key == "fence" && name == "provides:fence_proof"
			}},
		},
		{
			name: "unknown task", kind: recovery.HostAuto, flow: "|xyz|",
			want: `f.conf:1:5: flow host-auto: main: unknown task "xyz"; put xyz.wasm into a task directory, or mend the name`,
		},
		{
			name: "a task of which more is known", kind: recovery.HostAuto, flow: "plain plan|xyz|",
			o: flow.CheckOptions{Nearest: nearest, Absent: func(key string) (reason, hint string) {
				if key == "xyz" {
					return "task xyz is in two modules", "remove one"
				}
				return "", ""
			}},
			want: `f.conf:2:5: flow host-auto: pre: unknown task "plan"; did you mean "plain"?` + "\n" +
				`f.conf:3:5: flow host-auto: main: task xyz is in two modules; remove one`,
		},
		{
			name: "misspelt task, and what it would provide is not missed", kind: recovery.HostAuto, flow: "plain ticked|use_ticket|",
			o:    flow.CheckOptions{Nearest: nearest},
			want: `f.conf:2:5: flow host-auto: pre: unknown task "ticked"; did you mean "ticket"?`,
		},
		{
			name: "required and provided later", kind: recovery.HostAuto, flow: "use_ticket||plain ticket",
			want: `f.conf:1:5: flow host-auto: pre: task "use_ticket" requires ticket_id, which no input and no earlier task provides; task "ticket" provides it, but later (post, f.conf:3:5): put it before`,
		},
		{
			name: "required and provided by a task outside the flow", kind: recovery.HostAuto, flow: "use_ticket||",
			want: `f.conf:1:5: flow host-auto: pre: task "use_ticket" requires ticket_id, which no input and no earlier task provides; task "both" provides it: put it before`,
		},
		{
			name: "required and provided by itself", kind: recovery.HostAuto, flow: "selfish||",
			want: `f.conf:1:5: flow host-auto: pre: task "selfish" requires mine, which no input and no earlier task provides; only the task itself provides it: mend its manifest`,
		},
		{
			name: "required input of another flow", kind: recovery.HostAuto, flow: "process||",
			want: `f.conf:1:5: flow host-auto: pre: task "process" requires process_name, which no input and no earlier task provides; it is an input of flow process`,
		},
		{
			name: "required input of other phases", kind: recovery.HostReserved, flow: "reserved||",
			want: `f.conf:1:5: flow host-rh: pre: task "reserved" requires reserved_host, which is not set in pre; reserved_host is set in main and post only: move the task there`,
		},
		{
			name: "required input not given", kind: recovery.HostAuto, flow: "host||",
			o:    flow.CheckOptions{Inputs: map[string]json.RawMessage{"event": json.RawMessage(`"stopped"`)}},
			want: `f.conf:1:5: flow host-auto: pre: task "host" requires host_name, an input of the flow that was not given; give the run the input host_name`,
		},
		{
			name: "required name misspelt", kind: recovery.HostAuto, flow: "nobody||",
			o:    flow.CheckOptions{Nearest: nearest},
			want: `f.conf:1:5: flow host-auto: pre: task "nobody" requires host_nam, which no input and no earlier task provides; did the task's manifest mean "host_name"?`,
		},
		{
			name: "required name nobody knows", kind: recovery.HostAuto, flow: "nobody||",
			want: `f.conf:1:5: flow host-auto: pre: task "nobody" requires host_nam, which no input and no earlier task provides; no known task provides it`,
		},
		{
			name: "two providers", kind: recovery.HostAuto, flow: "ticket||ticket2",
			want: `f.conf:2:5: flow host-auto: post: task "ticket2" provides ticket_id, which task "ticket" provides already (pre, f.conf:1:5); a name has one provider per flow: remove one of the two tasks`,
		},
		{
			name: "a provider twice", kind: recovery.HostAuto, flow: "both|both|",
			want: `f.conf:2:5: flow host-auto: main: task "both" stands in the flow already (pre, f.conf:1:5) and provides a, ticket_id; a name has one provider per flow: remove one of the two`,
		},
		{
			name: "an input provided", kind: recovery.HostAuto, flow: "set_host||",
			o:    flow.CheckOptions{Granted: func(recovery.Task, string) bool { return true }},
			want: `f.conf:1:5: flow host-auto: pre: task "set_host" provides host_name, which is an input of the flow; inputs are read-only: let the task provide another name`,
		},
		{
			name: "an input of main provided in pre", kind: recovery.HostReserved, flow: "set_reserved||",
			want: `f.conf:1:5: flow host-rh: pre: task "set_reserved" provides reserved_host, which is an input of the flow; inputs are read-only: let the task provide another name`,
		},
		{
			name: "a protected name", kind: recovery.InstanceFailure, flow: "set_reserved|fence|",
			want: `f.conf:1:5: flow instance: pre: task "set_reserved" asks for provides:reserved_host, which library acme is not granted; add provides:reserved_host to the line of acme in [grants], or remove the task` + "\n" +
				`f.conf:2:5: flow instance: main: task "fence" asks for provides:fence_proof, which library acme is not granted; add provides:fence_proof to the line of acme in [grants], or remove the task`,
		},
		{
			name: "ops not granted, said once", kind: recovery.HostAuto, flow: "ops|ops|",
			o:    flow.CheckOptions{Granted: func(_ recovery.Task, name string) bool { return name == "kv.*" }},
			want: `f.conf:1:5: flow host-auto: pre: task "ops" asks for nova.server_list, nova.server_stop, which library acme is not granted; add nova.server_list, nova.server_stop to the line of acme in [grants], or remove the task`,
		},
		{
			name: "requests and sections not granted, with the line to write", kind: recovery.HostAuto, flow: "sends||",
			o: flow.CheckOptions{
				Granted: func(_ recovery.Task, name string) bool { return name == "http.request" },
				GrantHint: func(t recovery.Task, missing []string) string {
					return "write " + t.Library + " = " + strings.Join(missing, ", ")
				},
			},
			want: `f.conf:1:5: flow host-auto: pre: task "sends" asks for http:GET:https://h.example.com/*, options:acme, which library acme is not granted; write acme = http:GET:https://h.example.com/*, options:acme`,
		},
		{
			name: "options of a section that is not granted", kind: recovery.HostAuto, flow: "opts||",
			o: flow.CheckOptions{
				Granted: func(recovery.Task, string) bool { return false },
				Options: func(specs []recovery.OptionSpec) error { return fmt.Errorf("it looks at %v", specs) },
			},
			want: `f.conf:1:5: flow host-auto: pre: task "opts" asks for options:acme, which library acme is not granted; add options:acme to the line of acme in [grants], or remove the task`,
		},
		{
			name: "everything granted", kind: recovery.HostAuto, flow: "sends|fence|",
			o: flow.CheckOptions{Granted: func(recovery.Task, string) bool { return true }},
		},
		{name: "a tenant's task for a server", kind: recovery.InstanceFailure, flow: "theirs||"},
		{
			name: "a tenant's task for a host", kind: recovery.HostAuto, flow: "theirs||",
			want: `f.conf:1:5: flow host-auto: pre: task "theirs" is of tenant p1, and hosts are not for tenants; a tenant's task may stand in flow instance only: remove it here`,
		},
		{
			name: "a tenant's task for a host, not granted", kind: recovery.HostAuto, flow: "theirs_ops||",
			o:    flow.CheckOptions{Granted: func(recovery.Task, string) bool { return false }},
			want: `f.conf:1:5: flow host-auto: pre: task "theirs_ops" is of tenant p1, and hosts are not for tenants; a tenant's task may stand in flow instance only: remove it here`,
		},
		{
			name: "a tenant's task for a reserved host", kind: recovery.HostReserved, flow: "||theirs",
			want: `f.conf:1:5: flow host-rh: post: task "theirs" is of tenant p1, and hosts are not for tenants; a tenant's task may stand in flow instance only: remove it here`,
		},
		{
			name: "a tenant's task for a process", kind: recovery.ProcessFailure, flow: "|theirs|",
			want: `f.conf:1:5: flow process: main: task "theirs" is of tenant p1, and hosts are not for tenants; a tenant's task may stand in flow instance only: remove it here`,
		},
		{
			name: "options, with and without a place", kind: recovery.HostAuto, flow: "opts|plain|opts",
			o: flow.CheckOptions{Options: func(specs []recovery.OptionSpec) error {
				return errors.Join(
					&recovery.ConfigError{Pos: recovery.Position{File: "o.conf", Line: 7}, Reason: "[acme] n: not an int"},
					&recovery.ConfigError{Reason: fmt.Sprintf("option [%s] %s is required", specs[0].Group, specs[0].Name), Hint: "set it"},
					errors.New("something else"))
			}},
			want: "o.conf:7: [acme] n: not an int\n" +
				`f.conf:1:5: flow host-auto: pre: task "opts": option [acme] token is required; set it` + "\n" +
				`f.conf:1:5: flow host-auto: pre: task "opts": something else`,
		},
		{
			name: "several mistakes at once", kind: recovery.HostAuto, flow: "xyz use_ticket|fence|",
			want: `f.conf:1:5: flow host-auto: pre: unknown task "xyz"; put xyz.wasm into a task directory, or mend the name` + "\n" +
				`f.conf:2:5: flow host-auto: pre: task "use_ticket" requires ticket_id, which no input and no earlier task provides; task "both" provides it: put it before` + "\n" +
				`f.conf:3:5: flow host-auto: main: task "fence" asks for provides:fence_proof, which library acme is not granted; add provides:fence_proof to the line of acme in [grants], or remove the task`,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := parse(tt.kind, tt.flow)
			p, err := flow.Check(f, c, tt.o)
			if got := text(err); got != tt.want {
				t.Fatalf("mistakes:\n%s\nwant:\n%s", got, tt.want)
			}
			if (p != nil) != (err == nil) {
				t.Errorf("plan = %v with error %v", p, err)
			}
			if err != nil && !errors.Is(err, recovery.ErrInvalid) {
				t.Error("the error does not match ErrInvalid")
			}
		})
	}
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestPlanKeepsOrderAndPins(t *testing.T) {
	c := tasks(recovery.Task{Key: "a"}, recovery.Task{Key: "b"}, recovery.Task{Key: "c"})
	f := parse(recovery.HostAuto, "c a|a|b")
	p, err := flow.Check(f, c, flow.CheckOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, s := range p.Steps() {
		got = append(got, fmt.Sprintf("%s/%d/%s", s.Phase, s.Index, s.Key))
	}
	if want := []string{"pre/0/c", "pre/1/a", "main/0/a", "post/0/b"}; !slices.Equal(got, want) {
		t.Errorf("steps = %v, want %v", got, want)
	}
	run := recovery.Run{}
	flow.Pin(&run, map[recovery.FlowKind]*flow.Plan{recovery.HostAuto: p})
	if want := map[string]string{"a": "sha-a", "b": "sha-b", "c": "sha-c"}; !maps.Equal(run.Modules, want) {
		t.Errorf("modules = %v, want %v", run.Modules, want)
	}
	if got := run.Plans[recovery.HostAuto]; len(got.Pre) != 2 || got.Pre[0] != f.Pre[0] {
		t.Errorf("pinned plan = %v, want %v", got, f)
	}
}
