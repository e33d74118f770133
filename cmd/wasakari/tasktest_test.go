package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/wasakari/wasakari/abi"
	"github.com/wasakari/wasakari/internal/tasktest"
	"github.com/wasakari/wasakari/novasim"
	"github.com/wasakari/wasakari/recovery"
)

// dayTask is what the task of these tests asks for.
func dayTask() abi.ManifestTask {
	return abi.ManifestTask{
		Key: "ticket", Requires: []string{"host_name"}, Provides: []string{"ticket"},
		Uses: []string{"nova.*", "kv.*", "http.request"}, HTTP: []string{"POST https://tickets.example/api"},
		Options: []abi.ManifestOption{
			{Group: "acme", Name: "queue", Type: "string", Default: "ops"},
			{Group: "acme", Name: "token", Type: "string", Required: true, Secret: true},
		},
	}
}

// aDay is a task that does a bit of all.
func aDay(t *testing.T) []byte {
	t.Helper()
	return packed(t, asking(
		t,
		`task.input {}`,
		`nova.server_list {"host":"compute-1","fields":["id","name"]}`,
		`http.request {"method":"POST","url":"https://tickets.example/api","headers":{"Authorization":{"$secret":"acme.token"}},"body_json":{"title":"compute-1 failed"}}`,
		`kv.get {"scope":"library","name":"last"}`,
		`kv.put {"scope":"library","name":"last","value":"now"}`,
		`kv.put {"name":"scratch/step","value":2}`,
		`kv.put {"name":"ticket","value":{"id":7}}`,
		`nova.server_stop {"id":"11111111-1111-4111-8111-111111111111"}`,
		`task.sleep {"ms":240000}`,
	), dayTask())
}

const aDayScenario = `
summary: opens a ticket
inputs: {host_name: compute-1}
options: {acme: {queue: night}}
secrets: {acme.token: not-the-real-one}
cloud:
  hosts: [{name: compute-1}, {name: compute-2}]
  servers:
    - {id: 11111111-1111-4111-8111-111111111111, name: web-1, host: compute-2}
kv:
  library: {last: $now-5m}
  scratch: {scratch/old: 1}
http:
  - {method: POST, url: "https://tickets.example/api", request: {title: compute-1 failed}, status: 201, answer: {id: 7}}
`

const aDayExpected = `expect:
  outcome: succeeded
  provides: {ticket: {id: 7}}
  kv:
    library: {last: now}
    scratch: {scratch/old: 1, scratch/step: 2}
  ops:
    - {op: nova.server_list, request: {host: compute-1}}
    - op: http.request
      request: {url: "https://tickets.example/api", headers: {Authorization: {$secret: acme.token}}}
    - {op: nova.server_stop, request: {id: web-1}}
  nova: ['POST /servers/web-1/action {"os-stop":null}']
  logs: ['"token":{"$secret":"acme.token"}', '"status":201', '/"value":"20[0-9-]+T/']
`

// testPlace is a folder with the module ticket.wasm and these scenarios.
func testPlace(t *testing.T, wasm []byte, scenarios map[string]string) *place {
	t.Helper()
	files := map[string]string{"ticket.wasm": string(wasm)}
	for name, text := range scenarios {
		files["tests/"+name+".yaml"] = text
	}
	return newPlace(t, files)
}

func TestTaskTest(t *testing.T) {
	t.Parallel()
	p := testPlace(t, aDay(t), map[string]string{"day": aDayScenario + aDayExpected})
	r := p.run(t.Context(), t, "task", "test", "DIR/ticket.wasm")
	if want := "ok    day  opens a ticket\n1 passed\n"; r.code != exitOK || r.stdout != want {
		t.Fatalf("exit %d\n%s%s, want 0 and\n%s", r.code, r.stdout, r.stderr, want)
	}
	r = p.run(t.Context(), t, "task", "test", "DIR/ticket.wasm", "--output", "json")
	var doc testReport
	if err := json.Unmarshal([]byte(r.stdout), &doc); err != nil || r.code != exitOK {
		t.Fatalf("exit %d, %v\n%s", r.code, err, r.stdout)
	}
	if got := doc.Tests[0]; doc.Passed != 1 || got.Verdict != "passed" || got.Task != "ticket" || len(got.Seen.Ops) != 3 || got.CPU == 0 {
		t.Errorf("document %+v", doc)
	}
	if strings.Contains(r.stdout, "not-the-real-one") {
		t.Errorf("the value of a secret is shown:\n%s", r.stdout)
	}
}

// Whatever is not as expected is told with its place, what was wanted and what
// was seen, and ends with 1.
func TestTaskTestDifferences(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, old, new string
		want           []string
	}{
		{"outcome", "outcome: succeeded", "outcome: ignored", []string{"expect.outcome", "want ignored", "got  succeeded"}},
		{"provided", "{ticket: {id: 7}}", "{ticket: {id: 8}}", []string{"DIR/tests/day.yaml:17:27: expect.provides.ticket.id", "want 8", "got  7"}},
		{"library", "{last: now}", "{last: then}", []string{"expect.kv.library.last", `want "then"`, `got  "now"`}},
		{"op", "nova.server_list, request: {host: compute-1}", "nova.server_list, request: {host: compute-2}", []string{"expect.ops[0].request.host", `want "compute-2"`, `got  "compute-1"`}},
		{"request to nova", `{"os-stop":null}`, `{"os-start":null}`, []string{"expect.nova[0]", `got  POST /servers/web-1/action {"os-stop":null}`}},
		{"log", `'"status":201'`, `'"status":202'`, []string{"expect.logs[1]", `want "status":202`}},
		{"answer", "title: compute-1 failed", "title: compute-2 failed", []string{`nothing below http: answers POST https://tickets.example/api {"title":"compute-1 failed"}`}},
		{"grant", "kv:\n  library: {last: $now", "not_granted: [nova.server_list]\nkv:\n  library: {last: $now", []string{"want nova.server_list", "refused: not_granted"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			text := strings.Replace(aDayScenario+aDayExpected, tt.old, tt.new, 1)
			p := testPlace(t, aDay(t), map[string]string{"day": text})
			r := p.run(t.Context(), t, "task", "test", "DIR/ticket.wasm")
			out := strings.ReplaceAll(r.stdout, p.dir, "DIR")
			if r.code != exitFailed || !strings.Contains(out, "FAIL  day") || !strings.Contains(out, "1 failed") || r.stderr != "" {
				t.Fatalf("exit %d\n%s%s, want 1", r.code, out, r.stderr)
			}
			for _, want := range tt.want {
				if !strings.Contains(out, want) {
					t.Errorf("output\n%s\nwant in it %s", out, want)
				}
			}
		})
	}
}

func TestTaskTestUpdate(t *testing.T) {
	t.Parallel()
	p := testPlace(t, aDay(t), map[string]string{"day": "# mine\n" + aDayScenario + "expect: {outcome: failed}\n", "other": aDayScenario})
	r := p.run(t.Context(), t, "task", "test", "DIR/ticket.wasm", "--update", "--run", "^day$")
	if r.code != exitOK || !strings.Contains(r.stdout, "new   day") || !strings.HasSuffix(r.stdout, "1 updated\n") {
		t.Fatalf("exit %d\n%s%s", r.code, r.stdout, r.stderr)
	}
	text, err := os.ReadFile(filepath.Join(p.dir, "tests/day.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"# mine\n", "library: {last: $now-5m}\n", "  outcome: succeeded\n", `    ticket: {"id": 7}`, `request: {"id": "web-1"}`, `last: "now"`} {
		if !strings.Contains(string(text), want) {
			t.Errorf("updated to\n%s\nwant in it %s", text, want)
		}
	}
	if r := p.run(t.Context(), t, "task", "test", "DIR/ticket.wasm"); r.code != exitOK || !strings.HasSuffix(r.stdout, "2 passed\n") {
		t.Errorf("after the update: exit %d\n%s%s", r.code, r.stdout, r.stderr)
	}
}

// The other ends of a task, and what it says of them.
func TestTaskTestOutcomes(t *testing.T) {
	t.Parallel()
	noop := func(uses ...string) abi.ManifestTask {
		return abi.ManifestTask{Key: "ticket", Uses: uses, Provides: []string{}}
	}
	undone := packed(t, guest("undone"), abi.ManifestTask{Key: "ticket"})
	tests := []struct {
		name     string
		wasm     []byte
		scenario string
	}{
		{"failed with a reason", packed(t, endingIn(t, abi.ExitFailed, `task.reason {"reason":"no ticket today"}`), noop()), "expect: {outcome: failed, reason: no ticket}"},
		{
			"failed without one", packed(t, endingIn(t, abi.ExitFailed, `nova.server_list {}`), noop()),
			"expect: {outcome: failed, reason: 'the task failed and gave no reason; the last op that was refused: nova.server_list: not among the uses'}",
		},
		{"nothing to do", packed(t, endingIn(t, abi.ExitNothingToDo), noop()), "expect: {outcome: nothing}"},
		{"ignored", packed(t, endingIn(t, abi.ExitIgnored, `task.reason {"reason":"on purpose"}`), noop()), "expect: {outcome: ignored, reason: /^on purpose$/}"},
		{"trapped", packed(t, guest("unreachable"), noop()), "expect: {outcome: failed, reason: unreachable}"},
		{
			"provides nothing", packed(t, endingIn(t, abi.ExitSucceeded), abi.ManifestTask{Key: "ticket", Provides: []string{"x"}}),
			"expect: {outcome: failed, reason: 'its manifest provides \"x\", which it did not put'}",
		},
		{"run of one that fails", undone, "expect: {outcome: failed}"},
		{"revert", undone, "revert: true\nfailure: the next task\nexpect: {outcome: succeeded}"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := testPlace(t, tt.wasm, map[string]string{"a": tt.scenario})
			if r := p.run(t.Context(), t, "task", "test", "DIR/ticket.wasm"); r.code != exitOK {
				t.Errorf("exit %d\n%s%s", r.code, r.stdout, r.stderr)
			}
		})
	}
}

// What cannot be tested is a wrong use, and says what to do.
func TestTaskTestRefusals(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, scenario string
		args           []string
		want           string
	}{
		{"no scenarios", "", nil, "wasakari: DIR/tests/*.yaml: no scenarios there; write one, such as DIR/tests/first.yaml with inputs: {host_name: compute-1}; wasakari task test --help shows what it can say\n"},
		{"mistake", "expct: {}", nil, "wasakari: DIR/tests/a.yaml:1:1: unknown field \"expct\"\n"},
		{"no such scenario", aDayScenario, []string{"--run", "^b"}, "wasakari: --run ^b: no scenario is called so; there are a.yaml\n"},
		{"bad pattern", aDayScenario, []string{"--run", "("}, "wasakari: --run (: error parsing regexp: missing closing ): `(`\n"},
		{"missing input", "secrets: {acme.token: x}", nil, "wasakari: DIR/tests/a.yaml:1:1: inputs: task ticket requires host_name; add it\n"},
		{"unknown option", "inputs: {host_name: a}\noptions: {acme: {que: x}}", nil, "wasakari: DIR/tests/a.yaml:2:23: options.acme.que: the manifest of task ticket has no option [acme] que\n"},
		{
			"secret as an option", "inputs: {host_name: a}\noptions: {acme: {token: x}}", nil,
			"wasakari: DIR/tests/a.yaml:2:25: options.acme.token: it is a secret; give a fake value below secrets: as acme.token\n",
		},
		{"unknown secret", "inputs: {host_name: a}\nsecrets: {acme.tokn: x}", nil, "wasakari: DIR/tests/a.yaml:2:11: secrets: the manifest of task ticket has no secret option [acme] tokn\n"},
		{"other task", "task: tickets", nil, "wasakari: DIR/tests/a.yaml:1:7: task: DIR/ticket.wasm has no task \"tickets\", but ticket\n"},
		{"no revert", "inputs: {host_name: a}\nrevert: true", nil, "wasakari: DIR/tests/a.yaml:2:9: revert: task ticket has no revert\n"},
		{"grant of nothing", "inputs: {host_name: a}\nnot_granted: [nova]", nil, "wasakari: DIR/tests/a.yaml:2:14: not_granted: \"nova\" is neither an op nor provides:NAME nor http:METHOD:URL\n"},
		{"flag of record", aDayScenario, []string{"--input", "host_name=a"}, "wasakari: --input: only with --record; add it\n"},
		{"output", aDayScenario, []string{"--output", "xml"}, "wasakari: --output xml: want text or json\n"},
	}
	wasm := aDay(t)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			scenarios := map[string]string{}
			if tt.scenario != "" {
				scenarios["a"] = tt.scenario
			}
			p := testPlace(t, wasm, scenarios)
			r := p.run(t.Context(), t, slices.Concat([]string{"task", "test", "DIR/ticket.wasm"}, tt.args)...)
			if r.code != exitUsage || r.stderr != tt.want || r.stdout != "" {
				t.Errorf("exit %d\n%s%s, want 2 and\n%s", r.code, r.stdout, r.stderr, tt.want)
			}
		})
	}
}

// secretCloud has what must not get out.
const secretCloud = `
hosts: [{name: compute-1, state: down}, {name: compute-2}]
servers:
  - {id: 11111111-1111-4111-8111-111111111111, name: web-1, host: compute-1, user_data: c2VjcmV0LXVzZXItZGF0YQ==, metadata: {owner: web team}}
`

// What a real cloud answered is kept, without secrets, and tests the task
// without that cloud; nothing was changed in it.
func TestTaskTestRecord(t *testing.T) {
	t.Parallel()
	const id = "11111111-1111-4111-8111-111111111111"
	task := dayTask()
	task.Provides = nil
	wasm := packed(t, asking(
		t,
		`nova.server_list {"host":"compute-1"}`,
		`nova.server_get {"id":"`+id+`"}`,
		`nova.server_get {"id":"22222222-2222-4222-8222-222222222222"}`,
		`nova.server_stop {"id":"`+id+`"}`,
		`nova.server_get {"id":"`+id+`","fields":["id","status"]}`,
		`http.request {"method":"POST","url":"https://tickets.example/api","headers":{"Authorization":{"$secret":"acme.token"}},"body_json":{"title":"x"}}`,
		`kv.put {"scope":"library","name":"last","value":"now"}`,
	), task)
	sim, environ := startCloud(t, secretCloud, novasim.Options{})
	p := testPlace(t, wasm, nil)
	p.environ = environ
	r := p.run(t.Context(), t, "task", "test", "DIR/ticket.wasm", "--record", "--input", "host_name=compute-1",
		"--set", "acme.token=the-real-secret-token", "--set", "acme.queue=night", "--save", "lab")
	if r.code != exitOK {
		t.Fatalf("exit %d\n%s%s", r.code, r.stdout, r.stderr)
	}
	for _, want := range []string{"lab.yaml: succeeded, 6 answers", "nova.server_stop", "http.request", "held back:"} {
		if !strings.Contains(r.stdout, want) {
			t.Errorf("output\n%s\nwant in it %s", r.stdout, want)
		}
	}
	if got := changes(sim); len(got) != 0 {
		t.Errorf("the cloud was changed: %v", got)
	}
	file := filepath.Join(p.dir, "tests/lab.yaml")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{"the-real-secret-token", "c2VjcmV0", "secret-user-data", sim.Credentials().Password, "X-Auth-Token"} {
		if strings.Contains(string(text), secret) {
			t.Errorf("%s is in the recording:\n%s", secret, text)
		}
	}
	for _, want := range []string{"web team", "queue", "acme.token: \"fake-acme-token\"", `"code": "not_found"`, "host_name: \"compute-1\""} {
		if !strings.Contains(string(text), want) {
			t.Errorf("recorded\n%s\nwant in it %s", text, want)
		}
	}
	if strings.Contains(string(text), "any_order") {
		t.Errorf("recorded of a task that does one thing after another\n%s\nwant its order in it", text)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode of the recording: %v, %v", info.Mode(), err)
	}
	// Without the cloud.
	_ = sim.Close()
	p.environ = nil
	if r := p.run(t.Context(), t, "task", "test", "DIR/ticket.wasm"); r.code != exitOK {
		t.Errorf("replayed: exit %d\n%s%s\n%s", r.code, r.stdout, r.stderr, text)
	}
	if r := p.run(t.Context(), t, "task", "test", "DIR/ticket.wasm", "--record", "--input", "host_name=compute-1", "--set", "acme.token=x", "--save", "lab"); r.code != exitUsage ||
		r.stderr != "wasakari: DIR/tests/lab.yaml is there already; choose another name with --save, or replace it with --update\n" {
		t.Errorf("recorded twice: exit %d\n%s", r.code, r.stderr)
	}
	// A task that asks for something else than it did.
	other := packed(t, asking(t, `nova.server_list {"host":"compute-2"}`), task)
	p.write(t, "ticket.wasm", string(other))
	r = p.run(t.Context(), t, "task", "test", "DIR/ticket.wasm")
	if want := `no answer was recorded for nova.server_list {"host":"compute-2"}; record the scenario again`; r.code != exitFailed || !strings.Contains(r.stdout, want) {
		t.Errorf("exit %d\n%s, want 1 and in it %s", r.code, r.stdout, want)
	}
}

// What tasks before the one recorded would have provided is given as JSON; what is
// wrong with it, or missing, is told with what to give.
func TestTaskTestRecordInputs(t *testing.T) {
	t.Parallel()
	task := abi.ManifestTask{
		Key: "ticket", Requires: []string{"host_name", "ticket_id", "instance_list"}, Optional: []string{"reserved_host", "note"}, Uses: []string{"kv.get"},
	}
	wasm := packed(t, asking(t, `task.input {}`, `kv.get {"name":"instance_list"}`), task)
	_, environ := startCloud(t, secretCloud, novasim.Options{})
	host, id := "--input=host_name=compute-1", `--input=ticket_id="OPS-7"`
	for _, tt := range []struct {
		name string
		args []string
		want string // on standard error; none: it is recorded
	}{
		{"all", []string{host, id, `--input=instance_list=[{"id": "s1"}]`}, ""},
		{"what it may read, too", []string{host, id, `--input=instance_list=[]`, `--input=note=null`}, ""},
		{"an input of another phase, as the flow has it", []string{"--flow=host-rh", host, id, `--input=instance_list=[]`, "--input=reserved_host_list=compute-4", "--input=reserved_host=compute-4"}, ""},
		{
			"nothing",
			[]string{host},
			`task ticket requires ticket_id, instance_list, which flow host-auto is not given: tasks before it provide that; ` +
				`add --input ticket_id=JSON --input instance_list=JSON, such as '"a text"' or '{"id": 7}'`,
		},
		{"no JSON", []string{host, "--input=ticket_id=OPS-7"}, `--input ticket_id: "OPS-7" is no JSON; want a value as a task before this one provides it, such as '"a text"' or '{"id": 7}'`},
		{"misspelt", []string{host, "--input=tiket_id=7"}, "--input tiket_id: unknown input; did you mean ticket_id?"},
		{
			"foreign",
			[]string{host, "--input=x=7"},
			"--input x: unknown input; this flow takes notification_uuid, recovery_method, segment, event, payload, generated_time, host_name, " +
				"and the task ticket_id, instance_list, reserved_host, note",
		},
		{"twice", []string{host, id, id}, "--input ticket_id: given twice"},
		{"without what the flow needs", []string{id}, "flow host-auto needs the input host_name; add --input host_name=compute-1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := testPlace(t, wasm, nil)
			p.environ = environ
			r := p.run(t.Context(), t, slices.Concat([]string{"task", "test", "DIR/ticket.wasm", "--record"}, tt.args)...)
			if tt.want != "" {
				says(t, r, exitUsage, "", "wasakari: "+tt.want+"\n")
				return
			}
			if r.code != exitOK || !strings.Contains(r.stdout, "succeeded, 0 answers") {
				t.Fatalf("recorded: exit %d\n%s%s", r.code, r.stdout, r.stderr)
			}
			p.environ = nil
			if r := p.run(t.Context(), t, "task", "test", "DIR/ticket.wasm"); r.code != exitOK {
				t.Errorf("replayed: exit %d\n%s%s", r.code, r.stdout, r.stderr)
			}
		})
	}
}

// A secret that a task got elsewhere is masked as it stands in a scenario.
func TestMasked(t *testing.T) {
	t.Parallel()
	s := &setting{secrets: map[string]recovery.Secret{"acme.token": {Value: `quoted"and\\long`}, "acme.pin": {Value: "on"}}}
	text := "reason: quoted\"and\\\\long\n" + `provides: {"x": ` + `"` + tasktest.Quoted(`quoted"and\\long`) + `", "outcome": "none"}`
	if got, want := s.masked(text), "reason: ***\nprovides: {\"x\": \"***\", \"outcome\": \"none\"}"; got != want {
		t.Errorf("masked %s, want %s", got, want)
	}
}

// A task with several ops in flight goes on in another order each time: what was
// recorded of it holds in any.
func TestTaskTestRecordAbreast(t *testing.T) {
	t.Parallel()
	_, environ := startCloud(t, quickCloud, novasim.Options{})
	p := newPlace(t, nil)
	p.environ = environ
	const example = "../../tasks-examples/staged_start/python"
	r := p.run(t.Context(), t, "task", "test", example, "--tests", "DIR/tests", "--record", "--input", "host_name=compute-1")
	if r.code != exitOK || strings.Count(r.stdout, "nova.server_evacuate") != 8 || !strings.Contains(r.stdout, "refused: 409") {
		t.Fatalf("exit %d\n%s%s", r.code, r.stdout, r.stderr)
	}
	text, err := os.ReadFile(filepath.Join(p.dir, "tests", "recorded.yaml"))
	if err != nil || !strings.Contains(string(text), "\n  any_order: true\n") {
		t.Errorf("recorded, %v\n%s\nwant in it any_order", err, text)
	}
	p.environ = nil
	for range 3 {
		if r := p.run(t.Context(), t, "task", "test", example, "--tests", "DIR/tests"); r.code != exitOK {
			t.Errorf("replayed: exit %d\n%s%s", r.code, r.stdout, r.stderr)
		}
	}
}

// Each call of the host is shown in order, with what was asked and answered, cut.
func TestTaskTrace(t *testing.T) {
	t.Parallel()
	p := testPlace(t, aDay(t), map[string]string{"day": aDayScenario, "b": strings.Replace(aDayScenario, "night", "noon", 1)})
	r := p.run(t.Context(), t, "task", "trace", "DIR/ticket.wasm", "tests/day.yaml", "--bytes", "40")
	if r.code != exitOK {
		t.Fatalf("exit %d\n%s%s", r.code, r.stdout, r.stderr)
	}
	at := 0
	for _, want := range []string{
		"ticket in ", "task.input {}", `→  {"key":"ticket","flow":"host-auto","phas… (`, "log info: ", `nova.server_list {"host":"compute-1","fields":["id","name… (43 bytes)`,
		"http.request ", "kv.get ", "kv.put ", "nova.server_stop ", "task.sleep ", "\nsucceeded\n9 calls of the host, ",
	} {
		i := strings.Index(r.stdout[at:], want)
		if i < 0 {
			t.Fatalf("trace\n%s\nwant in it, after what came before, %s", r.stdout, want)
		}
		at += i
	}
	r = p.run(t.Context(), t, "task", "trace", "DIR/ticket.wasm", "--output", "json")
	var doc traceReport
	if err := json.Unmarshal([]byte(r.stdout), &doc); err != nil || r.code != exitOK {
		t.Fatalf("exit %d, %v\n%s%s", r.code, err, r.stdout, r.stderr)
	}
	if !strings.HasSuffix(doc.Scenario, "b.yaml") || doc.HostCalls != 9 || doc.Outcome != "succeeded" || doc.CPU == 0 || doc.MemoryBytes == 0 {
		t.Errorf("document %+v", doc)
	}
	var ops []string
	last := int64(-1)
	for _, e := range doc.Events {
		if e.Op == "" {
			continue
		}
		ops = append(ops, e.Op)
		if e.CPU <= last {
			t.Errorf("call %d came after %d units, the one before after %d", e.N, e.CPU, last)
		}
		last = e.CPU
		if e.Op == "kv.get" && string(e.Request) == "" || len(e.Answer) == 0 {
			t.Errorf("call %+v", e)
		}
	}
	want := []string{"task.input", "nova.server_list", "http.request", "kv.get", "kv.put", "kv.put", "kv.put", "nova.server_stop", "task.sleep"}
	if !slices.Equal(ops, want) {
		t.Errorf("ops %v, want %v", ops, want)
	}
	if r := p.run(t.Context(), t, "task", "trace", "DIR/ticket.wasm", "c"); r.code != exitUsage || r.stderr != "wasakari: c: no scenario is called so; there are b, day\n" {
		t.Errorf("unknown scenario: exit %d\n%s", r.code, r.stderr)
	}
}

// A ticket is traced when it is answered, a refused request with its code.
func TestTaskTraceTicketsAndErrors(t *testing.T) {
	t.Parallel()
	p := testPlace(t, packed(t, guest("open_ticket"), abi.ManifestTask{Key: "ticket"}), map[string]string{"a": "sleep: true"})
	r := p.run(t.Context(), t, "task", "trace", "DIR/ticket.wasm")
	if !strings.Contains(r.stdout, `task.sleep #1 {"ms":60000}`) || !strings.Contains(r.stdout, "✗ canceled") || !strings.Contains(r.stdout, "\nfailed: ") {
		t.Errorf("exit %d\n%s%s", r.code, r.stdout, r.stderr)
	}
	p = testPlace(t, packed(t, guest("not_json"), abi.ManifestTask{Key: "ticket", Uses: []string{"nova.server_list"}}), map[string]string{"a": "task: ticket"})
	r = p.run(t.Context(), t, "task", "trace", "DIR/ticket.wasm")
	if !strings.Contains(r.stdout, `nova.server_list "servers, please"`) || !strings.Contains(r.stdout, "✗ invalid {") {
		t.Errorf("exit %d\n%s%s", r.code, r.stdout, r.stderr)
	}
}
