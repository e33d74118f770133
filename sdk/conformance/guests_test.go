package conformance_test

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wasakari/wasakari/abi"
	"github.com/wasakari/wasakari/internal/engines"
	"github.com/wasakari/wasakari/runtime"
)

var write = flag.Bool("write", false, "rewrite the table of README.md")

// language is what LANG/language.json says.
type language struct {
	Name  string            `json:"name"`  // as the table shows it
	Skips map[string]string `json:"skips"` // reasons by group or by "group/name" of cases that do not fit the language
	// Script is the file with the guest, and Engine what runs it, of a language
	// whose sources need no tool chain: there is no guest.wasm then.
	Script string `json:"script"`
	Engine string `json:"engine"`

	dir string
}

// languages are the folders with a language.json, sorted.
func languages(t *testing.T) []language {
	t.Helper()
	files, err := filepath.Glob("*/language.json")
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(files)
	all := make([]language, len(files))
	for i, f := range files {
		raw, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(raw, &all[i]); err != nil {
			t.Fatalf("%s: %v", f, err)
		}
		all[i].dir = filepath.Dir(f)
	}
	return all
}

func (l language) skips(c testCase) string {
	if why := l.Skips[c.Group]; why != "" {
		return why
	}
	name, _, _ := strings.Cut(c.Name, ", ") // without the number of a case that stands for several
	return l.Skips[c.Group+"/"+name]
}

// guest is the module of the language, with the manifest of manifest.json.
func (l language) guest(t *testing.T) []byte {
	t.Helper()
	if l.dir == "go" {
		return withManifest(t, buildGo(t, "./testdata/conformance"))
	}
	if l.Script != "" {
		return l.packed(t)
	}
	wasm, err := os.ReadFile(filepath.Join(l.dir, "guest.wasm"))
	if err != nil {
		t.Fatal(err)
	}
	return withManifest(t, wasm)
}

// packed makes a module of a script as it is.
func (l language) packed(t *testing.T) []byte {
	t.Helper()
	carried := engines.All()
	i := slices.IndexFunc(carried, func(e runtime.Engine) bool { return e.Name == l.Engine })
	if i < 0 {
		t.Fatalf("%s: no engine %q", l.dir, l.Engine)
	}
	text, err := os.ReadFile(filepath.Join(l.dir, l.Script))
	if err != nil {
		t.Fatal(err)
	}
	wasm, err := abi.ScriptModule(readManifest(t), []abi.ScriptFile{{Name: l.Script, Text: string(text)}},
		abi.EngineRef{Name: carried[i].Name, Digest: carried[i].Digest, Reverts: []string{"case"}})
	if err != nil {
		t.Fatal(err)
	}
	return wasm
}

func withManifest(t *testing.T, wasm []byte) []byte {
	t.Helper()
	wasm, err := abi.AppendManifest(wasm, readManifest(t))
	if err != nil {
		t.Fatal(err)
	}
	return wasm
}

func readManifest(t *testing.T) *abi.Manifest {
	t.Helper()
	raw, err := os.ReadFile("manifest.json")
	if err != nil {
		t.Fatal(err)
	}
	m, err := abi.ParseManifest(raw)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// TestGuests runs every case in every language on the runtime of the product,
// and compares the table of README.md with what came of it.
func TestGuests(t *testing.T) {
	cases := loadCases(t)
	r, err := runtime.New(runtime.Config{Compiler: compiler, MaxModuleBytes: 64 << 20, Engines: engines.All()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close(context.WithoutCancel(t.Context())) }()
	table := newResults(cases)
	for _, l := range languages(t) {
		t.Run(l.dir, func(t *testing.T) {
			guest, err := r.Admit(t.Context(), l.dir, l.guest(t))
			if err != nil {
				t.Fatal(err)
			}
			used := map[string]bool{}
			for _, c := range cases {
				if why := l.skips(c); why != "" {
					table.skip(l, c)
					used[why] = true
					continue
				}
				ok := t.Run(c.Group+"/"+c.Name, func(t *testing.T) { runCase(t, guest, c) })
				table.add(l, c, ok)
			}
			for what, why := range l.Skips {
				if !used[why] {
					t.Errorf("%s/language.json skips %q, which is no case", l.dir, what)
				}
			}
		})
	}
	if !t.Failed() && !filtered() {
		table.compare(t)
	}
}

// filtered reports whether go test was told to leave cases out.
func filtered() bool {
	f := flag.Lookup("test.run")
	return f != nil && strings.Contains(f.Value.String(), "/")
}

func runCase(t *testing.T, guest *runtime.Module, c testCase) {
	h := newScript(t, c)
	h.files = guest.Script()
	call := runtime.Call{Key: h.input["key"].(string), Host: h, Limits: runtime.DefaultLimits()}
	call.Limits.HostCallsPerSecond = 1_000_000
	call.Limits.MemoryBytes = 128 << 20
	call.Limits.Timeout = time.Minute
	for _, set := range []struct {
		to   *int
		want int
	}{{&call.Limits.Tickets, c.Limits.Tickets}, {&call.Limits.RequestBytes, c.Limits.RequestBytes}, {&call.Limits.AnswerBytes, c.Limits.AnswerBytes}} {
		if set.want > 0 {
			*set.to = set.want
		}
	}
	if c.Limits.CPU > 0 {
		call.Limits.CPU = c.Limits.CPU
	}
	do := guest.Run
	if c.Export == abi.Revert {
		do = guest.Revert
		// A script module says which tasks can be reverted; the others are not called.
		if !guest.HasRevert(call.Key) {
			if want := exits[c.Exit]; want != abi.ExitNothingToDo {
				t.Errorf("exit = %d, want %d: the task has no revert", abi.ExitNothingToDo, want)
			}
			return
		}
	}
	res, err := do(t.Context(), call)
	if c.Error == "" && err != nil && c.Exit != "failed" {
		t.Errorf("error = %v, want none", err)
	}
	if got := fmt.Sprintf("%s; %v", res.Reason, err); !strings.Contains(strings.ToLower(got), c.Error) {
		t.Errorf("reason and error = %s, want %s in it", got, c.Error)
	}
	if want := exits[c.Exit]; res.Exit != want {
		t.Errorf("exit = %d, want %d; reason %q, error %v", res.Exit, want, res.Reason, err)
	}
	if c.Error == "" && (c.Reason != "" || c.Exit == "") && res.Reason != c.Reason {
		t.Errorf("reason = %q, want %q", res.Reason, c.Reason)
	}
	h.check(t)
}

// script is the host of one case.
type script struct {
	files  []abi.ScriptFile // of a script module
	c      testCase
	input  map[string]any
	logged chan struct{}

	mu       sync.Mutex
	calls    []*expectedCall
	together map[int]*gathering // by how many
	results  any
	reported bool
	logs     []string
	progress []string
	strange  []string
	want     []any
}

type expectedCall struct {
	op      string
	request any
	host    map[string]any
	seen    bool
}

// gathering lets calls go on when all are there.
type gathering struct {
	arrived int
	all     chan struct{}
}

func newScript(t *testing.T, c testCase) *script {
	t.Helper()
	h := &script{c: c, logged: make(chan struct{}, 1000), together: map[int]*gathering{}}
	var told []any
	told, h.want = h.steps(t, c.Steps)
	inputs := map[string]any{"steps": told}
	maps.Copy(inputs, c.Inputs)
	options := c.Options
	if options == nil {
		options = map[string]any{}
	}
	h.input = map[string]any{
		"key": "case", "flow": "host-auto", "phase": "main", "run_id": "r", "attempt": 1,
		"idempotency_key": "r/main/0", "inputs": inputs, "options": options,
	}
	if c.Key != "" {
		h.input["key"] = c.Key
	}
	if c.Export == abi.Revert {
		h.input["reverting"] = true
	}
	maps.Copy(h.input, c.Task)
	return h
}

// steps parts what the guest is told from what the host answers and what must
// come of it.
func (h *script) steps(t *testing.T, steps []any) (told, want []any) {
	t.Helper()
	told, want = []any{}, []any{}
	for _, s := range steps {
		step := maps.Clone(s.(map[string]any))
		host, _ := step["host"].(map[string]any)
		result := step["result"]
		delete(step, "host")
		delete(step, "result")
		switch step["do"] {
		case "call", "open":
			if host == nil {
				t.Fatalf("case %s: a call without host", h.c.Name)
			}
			h.calls = append(h.calls, &expectedCall{op: step["op"].(string), request: step["request"], host: host})
			if result == nil && step["do"] == "call" {
				result = resultOf(t, host)
			}
		case "who", "input", "option", "secret":
			if result == nil {
				t.Fatalf("case %s: %v without result", h.c.Name, step["do"])
			}
		case "parallel":
			var branches, wants []any
			for _, b := range step["branches"].([]any) {
				b, w := h.steps(t, b.([]any))
				branches, wants = append(branches, b), append(wants, w)
			}
			step["branches"], result = branches, wants
			if branches == nil {
				step["branches"], result = []any{}, []any{}
			}
		case "sleep", "log", "progress", "spin", "allocate":
		case "end":
			told = append(told, step)
			continue
		default:
			t.Fatalf("case %s: %v is no step", h.c.Name, step["do"])
		}
		told, want = append(told, step), append(want, result)
	}
	return told, want
}

// resultOf is what a guest reports of a call that the host treats so.
func resultOf(t *testing.T, host map[string]any) any {
	t.Helper()
	switch {
	case host["answer"] != nil:
		return map[string]any{"answer": host["answer"]}
	case host["error"] != nil:
		return map[string]any{"error": host["error"]}
	case host["refused"] != nil:
		return map[string]any{"error": map[string]any{"code": host["refused"]}}
	case host["never"] != nil:
		return map[string]any{"gave_up": true}
	}
	t.Fatalf("a call whose result is not told: %v", host)
	return nil
}

// Do answers a guest.
func (h *script) Do(ctx context.Context, op *abi.Op, raw []byte) ([]byte, error) {
	switch op.Name {
	case abi.OpTaskInput:
		return json.Marshal(h.input)
	case abi.OpTaskScript:
		return json.Marshal(abi.TaskScriptAnswer{Files: h.files})
	case abi.OpTaskSleep:
		ans, refusal := sleep(ctx, raw)
		if refusal != nil {
			return nil, refusal
		}
		return json.Marshal(ans)
	}
	if len(raw) == 0 {
		raw = []byte("{}")
	}
	req, err := decodeJSON(raw)
	if err != nil {
		return nil, abi.Errorf(abi.ErrnoInvalid, "%v", err)
	}
	call, wait := h.match(op.Name, req)
	if call == nil {
		return []byte(`{"version": 1}`), nil // the results
	}
	if call.host == nil {
		return nil, abi.Errorf(abi.ErrnoInvalid, "the case has no such request")
	}
	for range number(call.host["after_logs"]) {
		select {
		case <-h.logged:
		case <-ctx.Done():
		}
	}
	select {
	case <-wait:
	case <-ctx.Done():
		return nil, abi.Errorf(abi.ErrnoCanceled, "canceled")
	}
	if text, ok := call.host["raw"].(string); ok {
		return []byte(text), nil
	}
	if refusal, ok := call.host["error"].(map[string]any); ok {
		return nil, errorOf(refusal)
	}
	return json.Marshal(call.host["answer"])
}

// match finds the call of the case; it returns nil when the request reports the
// results.
func (h *script) match(op string, req any) (*expectedCall, <-chan struct{}) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if doc, ok := req.(map[string]any); ok && op == abi.OpKVPut && doc["name"] == "results" {
		h.results, h.reported = doc["value"], true
		return nil, nil
	}
	for _, c := range h.calls {
		if c.seen || c.op != op || !same(req, c.request) {
			continue
		}
		c.seen = true
		now := make(chan struct{})
		switch n := number(c.host["together"]); {
		case c.host["never"] == true:
			return c, now
		case n > 0:
			g := h.together[n]
			if g == nil {
				g = &gathering{all: make(chan struct{})}
				h.together[n] = g
			}
			if g.arrived++; g.arrived == n {
				close(g.all)
			}
			return c, g.all
		}
		close(now)
		return c, now
	}
	h.strange = append(h.strange, op+" "+short(req))
	return &expectedCall{}, nil
}

func number(v any) int {
	n, _ := v.(json.Number)
	i, _ := n.Int64()
	return int(i)
}

func errorOf(doc map[string]any) *abi.Error {
	e := &abi.Error{Status: number(doc["status"])}
	e.Message, _ = doc["message"].(string)
	e.RequestID, _ = doc["request_id"].(string)
	for code := abi.Errno(1); code < 100; code++ {
		if code.String() == doc["code"] {
			e.Code = code
		}
	}
	return e
}

// Log keeps a line.
func (h *script) Log(level abi.Level, msg string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.logs = append(h.logs, level.String()+" "+msg)
	h.logged <- struct{}{}
}

// Progress keeps a step.
func (h *script) Progress(permille int, msg string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.progress = append(h.progress, fmt.Sprintf("%d %s", permille, msg))
}

// check compares what the guest did with the case.
func (h *script) check(t *testing.T) {
	t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, s := range h.strange {
		t.Errorf("the guest asked for %s, which is not in the case", s)
	}
	for _, c := range h.calls {
		if !c.seen && c.host["refused"] == nil && c.host["maybe"] == nil {
			t.Errorf("the guest did not ask for %s %s; requests must be exactly so", c.op, short(c.request))
		}
	}
	switch {
	case len(h.want) == 0 || h.endsEarly():
	case !h.reported:
		t.Error("the guest put no results")
	default:
		if d := covers("results", h.results, h.want); d != "" {
			t.Error(d)
		}
	}
	if h.c.Logs != nil && !slices.Equal(h.logs, h.c.Logs) {
		t.Errorf("logs = %q, want %q", h.logs, h.c.Logs)
	}
	if h.c.Progress != nil && !slices.Equal(h.progress, h.c.Progress) {
		t.Errorf("progress = %q, want %q", h.progress, h.c.Progress)
	}
}

// endsEarly reports whether the guest cannot come to report.
func (h *script) endsEarly() bool {
	return slices.ContainsFunc(h.c.Steps, func(s any) bool {
		do := s.(map[string]any)["do"]
		return do == "spin" || do == "allocate"
	})
}

// results is the table of README.md.
type results struct {
	groups []string
	langs  []language
	passed map[string]map[string]int // by language and group
	total  map[string]map[string]int
	skips  map[string]map[string]int
}

func newResults(cases []testCase) *results {
	r := &results{passed: map[string]map[string]int{}, total: map[string]map[string]int{}, skips: map[string]map[string]int{}}
	for _, c := range cases {
		if !slices.Contains(r.groups, c.Group) {
			r.groups = append(r.groups, c.Group)
		}
	}
	return r
}

func (r *results) of(l language) {
	if r.total[l.dir] == nil {
		r.langs = append(r.langs, l)
		r.passed[l.dir], r.total[l.dir], r.skips[l.dir] = map[string]int{}, map[string]int{}, map[string]int{}
	}
}

func (r *results) add(l language, c testCase, ok bool) {
	r.of(l)
	r.total[l.dir][c.Group]++
	if ok {
		r.passed[l.dir][c.Group]++
	}
}

func (r *results) skip(l language, c testCase) {
	r.of(l)
	r.total[l.dir][c.Group]++
	r.skips[l.dir][c.Group]++
}

// markdown is the table, and below it why cases were left out.
func (r *results) markdown() string {
	var b strings.Builder
	b.WriteString("| Cases |")
	for _, l := range r.langs {
		b.WriteString(" " + l.Name + " |")
	}
	b.WriteString("\n| --- |" + strings.Repeat(" ---: |", len(r.langs)) + "\n")
	row := func(title string, count func(l language) (passed, total int)) {
		b.WriteString("| " + title + " |")
		for _, l := range r.langs {
			passed, total := count(l)
			fmt.Fprintf(&b, " %d of %d |", passed, total)
		}
		b.WriteString("\n")
	}
	for _, g := range r.groups {
		row("`"+g+"`", func(l language) (int, int) { return r.passed[l.dir][g], r.total[l.dir][g] })
	}
	row("all", func(l language) (passed, total int) {
		for _, g := range r.groups {
			passed, total = passed+r.passed[l.dir][g], total+r.total[l.dir][g]
		}
		return passed, total
	})
	for _, l := range r.langs {
		for _, what := range slices.Sorted(maps.Keys(l.Skips)) {
			fmt.Fprintf(&b, "\n%s leaves out `%s`: %s\n", l.Name, what, l.Skips[what])
		}
	}
	return b.String()
}

func (r *results) compare(t *testing.T) {
	t.Helper()
	const begin, end = "<!-- generated:results -->\n", "<!-- /generated:results -->"
	raw, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	page := string(raw)
	i, j := strings.Index(page, begin), strings.Index(page, end)
	if i < 0 || j < i {
		t.Fatalf("README.md lacks %s", begin)
	}
	want := page[:i+len(begin)] + r.markdown() + page[j:]
	if page == want {
		return
	}
	if !*write {
		t.Errorf("the table of README.md is not what the guests do; make conformance writes:\n%s", r.markdown())
		return
	}
	if err := os.WriteFile("README.md", []byte(want), 0o644); err != nil {
		t.Fatal(err)
	}
}
