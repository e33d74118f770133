package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/wasakari/wasakari/abi"
	"github.com/wasakari/wasakari/internal/runstate"
	"github.com/wasakari/wasakari/novasim"
)

// asking makes a guest that asks for ops, given as "op request", and logs what
// it is answered: testdata/ops.wat with its data.
func asking(t *testing.T, ops ...string) []byte {
	t.Helper()
	return endingIn(t, abi.ExitSucceeded, ops...)
}

// endingIn is asking with another end.
func endingIn(t *testing.T, exit abi.Exit, ops ...string) []byte {
	t.Helper()
	var records, texts []byte
	at := 16 * (len(ops) + 1)
	text := func(s string) {
		records = binary.LittleEndian.AppendUint32(records, uint32(at+len(texts)))
		records = binary.LittleEndian.AppendUint32(records, uint32(len(s)))
		texts = append(texts, s...)
	}
	for _, o := range ops {
		op, req, _ := strings.Cut(o, " ")
		text(op)
		text(req)
	}
	last := binary.LittleEndian.AppendUint32(nil, uint32(exit))
	data := slices.Concat(records, last, make([]byte, 12), texts)
	leb := func(n int) []byte { return binary.AppendUvarint(nil, uint64(n)) }
	section := slices.Concat([]byte{1, 0, 0x41, 0, 0x0b}, leb(len(data)), data) // one segment, at 0
	return slices.Concat(guest("ops"), []byte{11}, leb(len(section)), section)
}

// told lists what a task logged, as "level text", in order.
func told(r result, task string) []string {
	var list []string
	for line := range strings.SplitSeq(r.stdout, "\n") {
		if _, text, ok := strings.Cut(line, task+": "); ok {
			for _, level := range []string{"info", "warning", "warn"} {
				if doc, ok := strings.CutPrefix(text, level+": "); ok {
					list = append(list, level[:4]+" "+doc)
				}
			}
		}
	}
	return list
}

const twoTenants = `
seed: 11
hosts:
  - {name: compute-1, state: down}
  - {name: compute-2}
servers:
  - {names: [mine], project: acme, host: compute-2, metadata: {HA_Enabled: "True"}}
  - {names: [broken], project: acme, host: compute-2, vm_state: error, fault: "No valid host: compute-2 is full."}
  - {names: [theirs], project: globex, host: compute-1, metadata: {HA_Enabled: "True"}}
`

// projects asks the cloud for the ids of the projects of servers.
func projects(t *testing.T, p *place) map[string]string {
	t.Helper()
	p.write(t, "look/look.wasm", string(packedAs(t, asking(t, `nova.server_list {"fields":["name","tenant_id"]}`), "look", abi.ManifestTask{Key: "look", Uses: []string{"nova.server_list"}})))
	p.write(t, "look.conf", "[taskflow_driver_recovery_flows]\nprocess_failure_recovery_tasks = pre:['look'],main:[],post:[]\n[grants]\nlook = nova.server_list\n")
	r := p.run(t.Context(), t, strings.Fields("run process --config-file DIR/look.conf --task-dir DIR/look --input process_name=nova-compute --input host_name=compute-2")...)
	lines := told(r, "look")
	var doc struct {
		Servers []struct {
			Name   string
			Tenant string `json:"tenant_id"`
		}
	}
	if len(lines) != 1 || json.Unmarshal([]byte(strings.TrimPrefix(lines[0], "info ")), &doc) != nil {
		t.Fatalf("what the operator's task was told: %q\n%s%s", lines, r.stdout, r.stderr)
	}
	ids := map[string]string{}
	for _, s := range doc.Servers {
		ids[s.Name] = s.Tenant
	}
	return ids
}

// TestTenantInARun runs a hostile module of a tenant in the recovery of a
// server, with all that an operator could grant it.
func TestTenantInARun(t *testing.T) {
	t.Parallel()
	sim, environ := startCloud(t, twoTenants, novasim.Options{})
	p := newPlace(t, nil)
	p.environ = environ
	ids := projects(t, p)
	acme, globex := ids["mine"], ids["theirs"]
	if acme == "" || globex == "" || acme == globex {
		t.Fatalf("projects: %v", ids)
	}
	mine, theirs, absent := server(t, sim, "mine").ID, server(t, sim, "theirs").ID, "00000000-0000-4000-8000-000000000000"

	var ops []string
	ask := func(format string, args ...any) int {
		ops = append(ops, fmt.Sprintf(format, args...))
		return len(ops) - 1
	}
	input := ask("task.input {}")
	list := ask("nova.server_list {}")
	one := ask(`nova.server_get {"id":%q}`, mine)
	moves := ask("ha.vmove_list {}")
	stop := ask(`nova.server_stop {"id":%q}`, mine)
	wait := ask(`nova.server_wait {"id":%q,"until":"vm_state","vm_states":["stopped"],"timeout_s":30}`, mine)
	kept := ask(`kv.put {"scope":"library","name":"n","value":"tenant's"}`)
	read := ask(`kv.get {"scope":"library","name":"n"}`)
	hostName := ask(`kv.get {"name":"host_name"}`)
	var pairs [][2]int // of a foreign server and one that is not there
	for _, form := range []string{
		`nova.server_get {"id":%q}`, `nova.server_stop {"id":%q}`, `nova.server_lock {"id":%q}`, `nova.server_reset_state {"id":%q,"state":"error"}`,
		`nova.server_wait {"id":%q,"until":"task_clear","timeout_s":5}`, `nova.server_migrate {"id":%q}`,
	} {
		pairs = append(pairs, [2]int{ask(form, theirs), ask(form, absent)})
	}
	var forbidden []int
	for _, op := range []string{
		fmt.Sprintf(`nova.server_list {"project_id":%q}`, globex), `nova.server_list {"host":"compute-2"}`, `nova.server_list {"fields":["OS-EXT-SRV-ATTR:host"]}`,
		`nova.service_list {}`, `nova.hypervisor_list {}`, `nova.migration_list {}`, `nova.aggregate_list {}`, `ha.host_list {}`, `ha.segment_get {}`,
		fmt.Sprintf(`nova.server_evacuate {"id":%q}`, mine), `nova.service_force_down {"host":"compute-2","forced_down":true}`,
		fmt.Sprintf(`ha.vmove_put {"instance_uuid":%q,"status":"failed"}`, theirs),
	} {
		forbidden = append(forbidden, ask("%s", op))
	}

	spy := abi.ManifestTask{
		Key: "spy", Requires: []string{"notification_uuid"}, Optional: []string{"host_name", "instance_uuid", "payload"},
		Uses: []string{
			"nova.server_list", "nova.server_get", "nova.server_stop", "nova.server_lock", "nova.server_reset_state", "nova.server_wait", "nova.server_migrate",
			"ha.vmove_list", "kv.get", "kv.put",
		},
	}
	// The operator's own library has the same name and key in the store.
	own := asking(t, `kv.put {"scope":"library","name":"n","value":"operator's"}`)
	p.write(t, "tasks/own.wasm", string(packedAs(t, own, "evil", abi.ManifestTask{Key: "own", Uses: []string{"kv.put"}})))
	p.write(t, "theirs/spy.wasm", string(packedAs(t, asking(t, ops...), "evil", spy)))
	uses := strings.Join(spy.Uses, ", ")
	p.write(t, "conf", "[taskflow_driver_recovery_flows]\n"+
		"instance_failure_recovery_tasks = pre:['own'],main:['spy'],post:[]\n"+
		"[grants]\nevil = kv.put\nevil@"+acme+" = "+uses+"\n[libraries]\nevil =\nevil@"+acme+" =\n")
	about := func(id string) result {
		return p.run(t.Context(), t, "run", "instance", "--config-file", "DIR/conf", "--task-dir", "DIR/tasks", "--tenant-task-dir", acme+"=DIR/theirs",
			"--input", "instance_uuid="+id, "--input", "host_name=compute-1", "--input", `payload={"host":"compute-1"}`)
	}
	r := about(mine)
	if r.code != exitOK {
		t.Fatalf("exit code %d\n%s%s", r.code, r.stdout, r.stderr)
	}
	got := told(r, "spy@"+acme)
	if len(got) != len(ops) {
		t.Fatalf("%d answers to %d questions:\n%s", len(got), len(ops), strings.Join(got, "\n"))
	}
	for i, text := range got {
		if i == forbidden[1] { // the op's own words name no host either
			text = strings.ReplaceAll(text, "hosts are not for tenants", "")
		}
		for _, word := range []string{"compute-", theirs, globex, "theirs", "OS-EXT-SRV-ATTR:hyp", "host_status", "full"} {
			if strings.Contains(text, word) {
				t.Errorf("%s: the answer tells of %s: %s", ops[i], word, text)
			}
		}
	}
	for _, i := range []int{input, list, one, moves, wait, stop, kept, read} {
		if !strings.HasPrefix(got[i], "info ") {
			t.Errorf("%s: %s, want an answer", ops[i], got[i])
		}
	}
	if n := strings.Count(got[list], `"id":`); n < 2 || !strings.Contains(got[list], mine) {
		t.Errorf("list: %s, want both own servers", got[list])
	}
	if got[moves] != `info {"vmoves":[]}` {
		t.Errorf("vmoves: %s, want none", got[moves])
	}
	if !strings.Contains(got[wait], `"outcome":"reached"`) {
		t.Errorf("wait: %s", got[wait])
	}
	if got[read] != `info {"value":"tenant's","version":1}` {
		t.Errorf("library value: %s, want the tenant's own", got[read])
	}
	if !strings.Contains(got[hostName], "forbidden") || strings.Contains(got[input], "host_name") || !strings.Contains(got[input], "notification_uuid") ||
		strings.Contains(got[input], "payload") || !strings.Contains(got[input], `"instance_uuid":"`+mine) {
		t.Errorf("host_name: %s; input: %s", got[hostName], got[input])
	}
	for _, pair := range pairs {
		if a, b := got[pair[0]], got[pair[1]]; a != b || !strings.Contains(a, `"not_found"`) {
			t.Errorf("%s is answered %s, an absent server %s: want the same, not_found", ops[pair[0]], a, b)
		}
	}
	for _, i := range forbidden {
		if !strings.HasPrefix(got[i], "warn ") || !strings.Contains(got[i], `"forbidden"`) {
			t.Errorf("%s: %s, want forbidden", ops[i], got[i])
		}
	}
	if got, want := changes(sim), []string{"os-stop mine"}; !slices.Equal(got, want) {
		t.Errorf("the cloud took %q, want %q", got, want)
	}
	if s := server(t, sim, "mine"); s.VMState != "stopped" {
		t.Errorf("own server is %s, want stopped", s.VMState)
	}
	// In a run about the server of another tenant, it does not learn which.
	if got := told(about(theirs), "spy@"+acme); len(got) != len(ops) || strings.Contains(got[input], theirs) || strings.Contains(got[input], "instance_uuid") {
		t.Errorf("input of a run about a foreign server: %q", got)
	}
	// What the operator's library keeps is as it was.
	v, err := runstate.NewLibrary(filepath.Join(p.dir, "home/.local/state/wasakari")).Get(context.Background(), "evil", "n")
	if err != nil || string(v.Value) != `"operator's"` {
		t.Errorf("the operator's value is %s, %v", v.Value, err)
	}
}

// What a tenant's task would never see it may not require.
func TestTenantRequires(t *testing.T) {
	t.Parallel()
	p := newPlace(t, nil)
	for _, tt := range []struct {
		requires string
		first    abi.ManifestTask // of the operator
		want     string
	}{
		{requires: "notification_uuid"},
		{requires: "instance_uuid"},
		{requires: "payload", want: `DIR/conf:2:46: flow instance: pre: task "x" of tenant p1 requires payload, which tenants do not see; take it out of its task.yaml, or the task out of the flow`},
		{
			requires: "ticket", first: abi.ManifestTask{Provides: []string{"ticket"}},
			want: `DIR/conf:2:46: flow instance: pre: task "x" of tenant p1 requires ticket, which tenants do not see; take it out of its task.yaml, or the task out of the flow`,
		},
	} {
		tt.first.Key = "ops"
		p.write(t, "conf", "[taskflow_driver_recovery_flows]\ninstance_failure_recovery_tasks = pre:['ops','x'],main:[],post:[]\n")
		p.write(t, "tasks/ops.wasm", string(packedAs(t, guest("noop"), "ours", tt.first)))
		p.write(t, "theirs/x.wasm", string(packedAs(t, guest("noop"), "theirs", abi.ManifestTask{Key: "x", Requires: []string{tt.requires}})))
		r := p.run(t.Context(), t, "check", "--config-file", "DIR/conf", "--task-dir", "DIR/tasks", "--tenant-task-dir", "p1=DIR/theirs")
		code, want := exitOK, ""
		if tt.want != "" {
			code, want = exitUsage, "wasakari: "+tt.want+"\n"
		}
		if r.code != code || !bytes.Equal([]byte(r.stderr), []byte(want)) {
			t.Errorf("%s: exit code %d\n%s\nwant %d\n%s", tt.requires, r.code, r.stderr, code, want)
		}
	}
}

// TestTenantsTaskForNoFlow: nobody is told to grant something to a task that no
// flow may take.
func TestTenantsTaskForNoFlow(t *testing.T) {
	t.Parallel()
	p := newPlace(t, nil)
	for _, tt := range []struct {
		name  string
		task  abi.ManifestTask
		other abi.ManifestTask // of the same tenant
		why   string           // empty: the line to write
		alone string           // what inspect says, which sees one module
	}{
		{name: "one that may", task: abi.ManifestTask{Requires: []string{"instance_uuid"}}},
		{name: "a value of its own tenant", task: abi.ManifestTask{Requires: []string{"ticket"}}, other: abi.ManifestTask{Provides: []string{"ticket"}}},
		{name: "an input that tenants do not see", task: abi.ManifestTask{Requires: []string{"host_name"}}, why: "it requires host_name, which tenants do not see", alone: "it requires host_name, which tenants do not see"},
		{name: "an input of flows for hosts", task: abi.ManifestTask{Requires: []string{"reserved_host"}}, why: "it requires reserved_host, which no task of its tenant provides"},
		{name: "an input provided", task: abi.ManifestTask{Provides: []string{"payload"}}, why: "it provides payload, which is an input of the flow", alone: "it provides payload, which is an input of the flow"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.task.Key, tt.other.Key, tt.task.Uses = "x", "y", []string{"kv.get"}
			p.write(t, "conf", "[libraries]\nacme@p1 =\n")
			p.write(t, "theirs/x.wasm", string(packed(t, guest("noop"), tt.task, tt.other)))
			const write, none = "write below [grants]: acme@p1 = kv.get", "no flow may take this task: "
			want := func(why string) string {
				if why == "" {
					return write
				}
				return none + why
			}
			says := func(r result, why string) {
				t.Helper()
				if lines := want(why) + "\n"; r.code != exitOK || !strings.Contains(r.stdout, lines) || strings.Contains(r.stdout, write) != (why == "") || strings.Contains(r.stdout, none) != (why != "") {
					t.Errorf("exit code %d, want %s\n%s%s", r.code, lines, r.stdout, r.stderr)
				}
			}
			check := []string{"check", "--config-file", "DIR/conf", "--tenant-task-dir", "p1=DIR/theirs"}
			says(p.run(t.Context(), t, check...), tt.why)
			says(p.run(t.Context(), t, "task", "inspect", "DIR/theirs/x.wasm", "--config-file", "DIR/conf", "--tenant", "p1"), tt.alone)
			r := p.run(t.Context(), t, append(check, "--output", "json")...)
			var doc checkDoc
			if err := json.Unmarshal([]byte(r.stdout), &doc); err != nil || len(doc.Grants) != 2 || doc.Grants[0].NoFlow != tt.why || (doc.Grants[0].Write == write) != (tt.why == "") {
				t.Errorf("document %+v, %v", doc.Grants, err)
			}
			// In a flow, the mistake says so too.
			if tt.why != "" {
				p.write(t, "conf", "[taskflow_driver_recovery_flows]\ninstance_failure_recovery_tasks = pre:['x'],main:[],post:[]\n")
				if r := p.run(t.Context(), t, check...); r.code != exitUsage || strings.Contains(r.stderr+r.stdout, write) {
					t.Errorf("in a flow: exit code %d\n%s%s", r.code, r.stdout, r.stderr)
				}
			}
		})
	}
}
