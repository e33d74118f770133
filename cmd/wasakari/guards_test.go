package main

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wasakari/wasakari/internal/audit"
	"github.com/wasakari/wasakari/internal/runstate"
	"github.com/wasakari/wasakari/novasim"
	"github.com/wasakari/wasakari/recovery"
)

// outage is a cloud in which a rack of five of eight hosts died.
const outage = `
seed: 5
hosts:
  - {name: compute-1, state: down}
  - {name: compute-2, state: down}
  - {name: compute-3, state: down}
  - {name: compute-4, state: down}
  - {name: compute-5, state: down}
  - {name: compute-6}
  - {name: compute-7}
  - {name: compute-8}
servers:
  - {names: [a1, a2, a3, a4], host: compute-1}
  - {names: [b1, b2], host: compute-2}
  - {names: [c1, c2], host: compute-3}
  - {names: [d1], host: compute-4}
`

// rack runs commands in one place on one cloud.
type rack struct {
	*place
	t   *testing.T
	sim *novasim.Cloud
}

func newRack(t *testing.T) rack {
	sim, environ := startCloud(t, outage, novasim.Options{})
	p := newPlace(t, map[string]string{"conf": ""})
	p.environ = environ
	return rack{p, t, sim}
}

// recover runs the flow for a host with further arguments.
func (k rack) recover(host string, args ...string) (result, report) {
	k.t.Helper()
	r := k.run(k.t.Context(), k.t, append([]string{"run", "host-auto", "--config-file", "DIR/conf", "--output", "json", "--input", "host_name=" + host}, args...)...)
	return r, documentOf(k.t, r)
}

// counted lists the hosts that count.
func (k rack) counted() (hosts []string) {
	k.t.Helper()
	list, err := runstate.NewGuards(filepath.Join(k.dir, "home/.local/state/wasakari")).Recoveries(k.t.Context())
	if err != nil {
		k.t.Fatal(err)
	}
	for _, r := range list {
		hosts = append(hosts, r.Host)
	}
	slices.Sort(hosts)
	return hosts
}

func TestGuardsOfHosts(t *testing.T) {
	t.Parallel()
	k := newRack(t)
	goesOn := func(host string, args ...string) {
		t.Helper()
		r, doc := k.recover(host, args...)
		if r.code != exitOK || doc.Status != "finished" || doc.Held != nil {
			t.Fatalf("%s: exit code %d, %s %q\n%s", host, r.code, doc.Status, doc.Message, r.stderr)
		}
	}
	isHeld := func(guard, host string, args ...string) report {
		t.Helper()
		before := changes(k.sim)
		r, doc := k.recover(host, args...)
		if r.code != exitFailed || doc.Status != "held" || doc.Held == nil || doc.Held.Guard != guard {
			t.Fatalf("%s: exit code %d, %s %q, want %d, held by %s\n%s", host, r.code, doc.Status, doc.Message, exitFailed, guard, r.stderr)
		}
		if after := changes(k.sim); !slices.Equal(after, before) || len(doc.Tasks) != 0 {
			t.Errorf("%s was held, and the cloud took %q, tasks %v", host, after[len(before):], doc.Tasks)
		}
		return doc
	}

	goesOn("compute-1")
	goesOn("compute-2")
	doc := isHeld("hosts_percent", "compute-3") // 30 % of 8 are 2
	if h := doc.Held; h.Count != 3 || h.Limit != 2 || time.Until(h.Until) > 10*time.Minute || time.Until(h.Until) < 5*time.Minute {
		t.Errorf("held %+v, want 3 of 2 for most of the next 10 minutes", h)
	}
	want := "held by guard hosts_percent: host compute-3 would be number 3 of the 8 in its segment recovered within 10m0s, at most 2, which is 30 % ([guards] hosts_percent); " +
		"before it: compute-1, compute-2; it is let through from "
	if !strings.HasPrefix(doc.Message, want) || !strings.HasSuffix(doc.Message, "; to go on all the same, run it with --override REASON") {
		t.Errorf("message %q, want %s…", doc.Message, want)
	}
	// It is kept as a run that ended before anything.
	runs := k.runs(t)
	if last := runs[len(runs)-1]; last.ID != doc.RunID || !last.Finished || last.Status != recovery.StatusFailed || last.Held == nil || last.Held.Guard != "hosts_percent" || !last.Admitted.IsZero() {
		t.Errorf("kept as %+v", last)
	}
	r := k.run(t.Context(), t, "run", "--resume", doc.RunID)
	if want := "wasakari: run " + doc.RunID + " ended failed at "; r.code != exitUsage || !strings.HasPrefix(r.stderr, want) {
		t.Errorf("resumed: exit code %d, %q, want %s…", r.code, r.stderr, want)
	}
	// For a person, once; where nobody reads the report, the log tells it too.
	r = k.run(t.Context(), t, "run", "host-auto", "--config-file", "DIR/conf", "--input", "host_name=compute-3", "--log-level", "warn")
	if r.code != exitFailed || !strings.Contains(r.stdout, "\nheld by guard hosts_percent: host compute-3 would be number 3") || !strings.Contains(r.stdout, "\nnothing was changed; requests to Nova: ") {
		t.Errorf("exit code %d, standard output\n%s", r.code, r.stdout)
	}
	if n := strings.Count(r.stdout+r.stderr, "would be number 3"); n != 1 {
		t.Errorf("the hold is told %d times:\n%s%s", n, r.stdout, r.stderr)
	}
	r = k.run(t.Context(), t, "run", "host-auto", "--config-file", "DIR/conf", "--input", "host_name=compute-3", "--log-level", "warn", "--output", "json")
	if !strings.Contains(r.stderr, "run held") {
		t.Errorf("the log does not tell: %s", r.stderr)
	}

	// The same host once more is no other host.
	if r, doc := k.recover("compute-2"); r.code != exitOK || doc.Held != nil {
		t.Errorf("compute-2 again: exit code %d, %s %q", r.code, doc.Status, doc.Message)
	}
	// A dry run and a plan say first what a run would meet, and what it would do
	// with --override; neither counts.
	for _, tt := range []struct {
		args  []string
		lines []string // beginnings
	}{
		{[]string{"run", "host-auto", "--dry-run", "--input", "host_name=compute-3"}, []string{
			"host-auto of compute-3 on ", "the run would be held by guard hosts_percent: host compute-3 would be number 3 of the 8", "with --override it would do this:",
			"with --override, the run would end finished",
		}},
		{[]string{"plan", "host", "compute-3"}, []string{
			"if compute-3 on ", "the run would be held by guard hosts_percent: host compute-3 would be number 3 of the 8", "its nova-compute is down",
			"with --override, the run would end finished", "guards: hosts recovered within 10m0s, with this one: 3 of 3; servers changed: 2 of 1000 in the run, 8 of 3000 within an hour",
		}},
	} {
		r := k.run(t.Context(), t, append(tt.args, "--config-file", "DIR/conf")...)
		if r.code != exitFailed || strings.Count(r.stdout, "held") != 1 || strings.Contains(r.stdout, "\nthe run would end") || r.stderr != "" {
			t.Errorf("%s: exit code %d\n%s%s", tt.args, r.code, r.stdout, r.stderr)
		}
		beginnings(t, r.stdout, tt.lines)
		r = k.run(t.Context(), t, append(tt.args, "--config-file", "DIR/conf", "--output", "json")...)
		var told struct {
			Status, Message string
			IfOverridden    ending `json:"if_overridden"`
			Held            *recovery.HeldError
			Guards          *plannedGuards
		}
		if err := json.Unmarshal([]byte(r.stdout), &told); err != nil {
			t.Fatalf("%s: %v", tt.args, err)
		}
		if told.Guards != nil && len(told.Guards.Held) > 0 {
			told.Held = told.Guards.Held[0]
		}
		if r.code != exitFailed || told.Status != "held" || told.Held == nil || told.Held.Guard != "hosts_percent" || told.Message != told.Held.Error() ||
			told.IfOverridden != (ending{Status: "finished"}) {
			t.Errorf("%s: exit code %d, %+v", tt.args, r.code, told)
		}
	}
	r = k.run(t.Context(), t, "plan", "host", "compute-3", "--config-file", "DIR/conf", "--output", "json", "--set", "guards.hosts_percent=0")
	var plan struct {
		Status string
		Guards plannedGuards
	}
	if err := json.Unmarshal([]byte(r.stdout), &plan); err != nil || r.code != exitOK || plan.Status != "finished" || len(plan.Guards.Held) != 0 || plan.Guards.Hosts != 3 || plan.Guards.SegmentHosts != 8 {
		t.Errorf("plan without percent: exit code %d, %s, %+v, %v", r.code, plan.Status, plan.Guards, err)
	}
	if r, doc := k.recover("compute-3", "--dry-run", "--override", "so be it"); r.code != exitOK || doc.Status != "finished" || doc.Held != nil || doc.IfOverridden != nil || doc.Override != "so be it" {
		t.Errorf("dry run with --override: exit code %d, %+v", r.code, doc)
	}
	// Other flows recover no host.
	process, instance := "process --input process_name=nova-compute --input host_name=compute-8", "instance --input instance_uuid="+server(t, k.sim, "a1").ID
	for _, args := range []string{process, instance, process + " --dry-run", instance + " --dry-run"} {
		if r := k.run(t.Context(), t, append(strings.Fields("run --config-file DIR/conf --output json"), strings.Fields(args)...)...); documentOf(t, r).Held != nil {
			t.Errorf("%s was held", args)
		}
	}
	if got := k.counted(); !slices.Equal(got, []string{"compute-1", "compute-2", "compute-2"}) {
		t.Errorf("counted: %q", got)
	}

	// A person decides.
	const why = "rack 7 lost its power; checked by phone"
	r, doc = k.recover("compute-3", "--override", why, "--log-level", "warn")
	if r.code != exitOK || doc.Status != "finished" || doc.Override != why || !strings.Contains(r.stderr, "guard overridden") || !strings.Contains(r.stderr, why) {
		t.Errorf("overridden: exit code %d, %s %q, override %q\n%s", r.code, doc.Status, doc.Message, doc.Override, r.stderr)
	}
	runs = k.runs(t)
	if last := runs[len(runs)-1]; last.Override != why || last.Admitted.IsZero() {
		t.Errorf("kept as %+v", last)
	}
	isHeld("hosts", "compute-4", "--set", "guards.hosts_percent=0")
	r = k.run(t.Context(), t, "run", "host-auto", "--config-file", "DIR/conf", "--input", "host_name=compute-4", "--override", why)
	if r.code != exitOK || !strings.Contains(r.stdout, "guards overridden: "+why+"\n") {
		t.Errorf("exit code %d, standard output\n%s", r.code, r.stdout)
	}
	var overrides []string
	for _, line := range k.audited(t) {
		if line.Kind == audit.Override {
			overrides = append(overrides, line.Target+" "+line.Message[:len(why)])
		}
	}
	if want := []string{"compute-3 " + why, "compute-4 " + why}; !slices.Equal(overrides, want) {
		t.Errorf("overrides in the audit log: %q, want %q", overrides, want)
	}
	goesOn("compute-4", "--set", "guards.hosts_percent=0", "--set", "guards.hosts=0")
	if got := k.counted(); !slices.Equal(slices.Compact(got), []string{"compute-1", "compute-2", "compute-3", "compute-4"}) {
		t.Errorf("counted: %q", got)
	}
}

// beginnings fails unless the text has lines with these beginnings, in this
// order; the first two and the first are at its top.
func beginnings(t *testing.T, text string, want []string) {
	t.Helper()
	lines := strings.Split(text, "\n")
	at := 0
	for i, w := range want {
		n := slices.IndexFunc(lines[at:], func(l string) bool { return strings.HasPrefix(l, w) })
		if n < 0 || i < 2 && n > 0 {
			t.Errorf("line %q is not where it belongs:\n%s", w, text)
			return
		}
		at += n + 1
	}
}

func TestOverrideNeedsAReason(t *testing.T) {
	t.Parallel()
	p := newPlace(t, nil)
	for _, tt := range []struct{ reason, want string }{
		{"", "wasakari: --override: say why, such as --override 'rack 7 lost its power, checked by phone'\n"},
		{" \t\n", "wasakari: --override: say why, such as --override 'rack 7 lost its power, checked by phone'\n"},
		{strings.Repeat("x", 1001), "wasakari: --override: the reason has 1001 bytes, at most 1000 are kept\n"},
	} {
		r := p.run(t.Context(), t, "run", "host-auto", "--simulate", "--input", "host_name=compute-1", "--override", tt.reason)
		if r.code != exitUsage || r.stderr != tt.want {
			t.Errorf("%.10q: exit code %d, %q, want %q", tt.reason, r.code, r.stderr, tt.want)
		}
	}
}

// TestSimulatedRunsAreNoHarm: what is done to a cloud that ends with the
// command neither counts nor is held.
func TestSimulatedRunsAreNoHarm(t *testing.T) {
	t.Parallel()
	p := newPlace(t, map[string]string{"scenario": outage})
	for _, host := range []string{"compute-1", "compute-2", "compute-3", "compute-4"} {
		for _, args := range []string{"run host-auto --input host_name=HOST", "run host-auto --dry-run --input host_name=HOST", "plan host HOST"} {
			args = strings.ReplaceAll(args, "HOST", host) + " --simulate --scenario DIR/scenario --output json --set guards.servers_per_hour=1"
			r := p.run(t.Context(), t, strings.Fields(args)...)
			if r.code != exitOK || strings.Contains(r.stdout, "held by guard") {
				t.Errorf("%s: exit code %d\n%s", args, r.code, r.stdout)
			}
		}
	}
}

func TestGuardsOfServers(t *testing.T) {
	t.Parallel()
	k := newRack(t)
	// changed lists the servers that the cloud was asked to change, but for
	// unlocking.
	changed := func() (names []string) {
		for _, c := range changes(k.sim) {
			if action, name, ok := strings.Cut(c, " "); ok && action != "PUT" && action != "unlock" && !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
		return names
	}
	unlocked := func() {
		t.Helper()
		for _, s := range k.sim.Servers() {
			if s.Locked {
				t.Errorf("server %s stays locked", s.Name)
			}
		}
	}
	// What the dry run foretells, the run meets.
	const two = "guards.servers_per_run=2"
	r := k.run(t.Context(), t, "run", "host-auto", "--config-file", "DIR/conf", "--input", "host_name=compute-1", "--dry-run", "--set", two)
	if r.code != exitFailed || strings.Count(r.stdout, "held") != 1 || strings.Contains(r.stdout, "\nthe run would end") {
		t.Errorf("dry run: exit code %d\n%s%s", r.code, r.stdout, r.stderr)
	}
	beginnings(t, r.stdout, []string{"host-auto of compute-1", "the run would fail, held by guard servers_per_run: server ", "with --override it would do this:", "with --override, the run would end finished", "servers: 4 succeeded"})
	r, doc := k.recover("compute-1", "--dry-run", "--set", two)
	if r.code != exitFailed || doc.Status != "failed" || doc.Held == nil || doc.Held.Guard != "servers_per_run" || doc.Message != doc.Held.Error() || doc.IfOverridden == nil || doc.IfOverridden.Status != "finished" {
		t.Errorf("dry run: exit code %d, %+v", r.code, doc)
	}
	if _, err := os.Stat(filepath.Join(k.dir, "home/.local/state/wasakari/guards.db")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("dry runs counted something: %v", err)
	}
	r, doc = k.recover("compute-1", "--set", two)
	for _, v := range doc.VMoves {
		if n := strings.Count(v.Message, "--override"); n != 0 {
			t.Errorf("server %s tells the whole of the hold: %q", v.InstanceName, v.Message)
		}
	}
	if r.code != exitFailed || doc.Status != "failed" || strings.Count(doc.Message, "held") != 1 || !strings.Contains(doc.Message, "held by guard servers_per_run: server ") ||
		!strings.Contains(doc.Message, "would be number 3 that this run changes, at most 2 ([guards] servers_per_run); to go on all the same, run it with --override REASON") {
		t.Errorf("exit code %d, %s %q\n%s", r.code, doc.Status, doc.Message, r.stderr)
	}
	if got := changed(); len(got) != 2 {
		t.Errorf("changed: %q, want two servers", got)
	}
	unlocked()
	if got := outcomes(doc); got["failed"] != 2 {
		t.Errorf("servers %v, want 2 failed", got)
	}
	// Within the hour 2 were changed; 3 may be.
	r, doc = k.recover("compute-2", "--set", "guards.servers_per_hour=3")
	if r.code != exitFailed || doc.Status != "failed" || !strings.Contains(doc.Message, "would be number 4 changed within an hour, at most 3 ([guards] servers_per_hour); it is let through from ") {
		t.Errorf("exit code %d, %s %q\n%s", r.code, doc.Status, doc.Message, r.stderr)
	}
	if got := changed(); len(got) != 3 {
		t.Errorf("changed: %q, want three servers", got)
	}
	unlocked()
	r = k.run(t.Context(), t, "plan", "host", "compute-1", "--config-file", "DIR/conf", "--set", "guards.servers_per_hour=4")
	if r.code != exitFailed || !strings.Contains(r.stdout, "would be number 5 changed within an hour, at most 4") || !strings.Contains(r.stdout, "servers changed: 2 of 1000 in the run, 5 of 4 within an hour\n") {
		t.Errorf("plan: exit code %d\n%s%s", r.code, r.stdout, r.stderr)
	}
	r, doc = k.recover("compute-1", "--set", "guards.servers_per_hour=3", "--set", "guards.servers_per_run=1", "--override", "they are all dead")
	if r.code != exitOK || doc.Status != "finished" {
		t.Errorf("overridden: exit code %d, %s %q\n%s", r.code, doc.Status, doc.Message, r.stderr)
	}
	if got := changed(); len(got) != 5 {
		t.Errorf("changed: %q, want five servers", got)
	}
	unlocked()
	// What would be changed once more within the hour counts once.
	r = k.run(t.Context(), t, "plan", "host", server(t, k.sim, "a1").Host, "--config-file", "DIR/conf", "--set", "guards.servers_per_hour=5", "--set", "guards.hosts_percent=0")
	if r.code != exitOK || !strings.Contains(r.stdout, ", 5 of 5 within an hour\n") {
		t.Errorf("plan: exit code %d\n%s%s", r.code, r.stdout, r.stderr)
	}
}

// TestGuardsAfterAResume: a run that goes on is not counted twice, neither its
// host nor its servers.
func TestGuardsAfterAResume(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var mu sync.Mutex
	sent := 0
	_, environ := startCloud(t, outage+"latency:\n  evacuation: {spawn: 150ms}\n", novasim.Options{OnRequest: func(_ int, before bool, r *http.Request) {
		if before || r.Method != http.MethodPost || !strings.HasSuffix(r.URL.Path, "/action") {
			return
		}
		mu.Lock()
		defer mu.Unlock()
		if sent++; sent == 5 {
			cancel()
		}
	}})
	p := newPlace(t, map[string]string{"conf": "[guards]\nhosts = 1\nservers_per_run = 4\nservers_per_hour = 4\n[wasakari]\nnova_outcome_wait = 1\n"})
	p.environ = environ
	args := []string{"run", "host-auto", "--config-file", "DIR/conf", "--output", "json", "--input"}
	r := p.run(ctx, t, append(args, "host_name=compute-1")...)
	doc := documentOf(t, r)
	if r.code != exitInterrupted {
		t.Fatalf("exit code %d, want %d: %s %s", r.code, exitInterrupted, doc.Status, doc.Message)
	}
	if held := documentOf(t, p.run(t.Context(), t, append(args, "host_name=compute-2")...)); held.Held == nil || held.Held.Guard != "hosts" {
		t.Errorf("another host in between: %s %q, want held by hosts", held.Status, held.Message)
	}
	r = p.run(t.Context(), t, "run", "--resume", doc.RunID, "--output", "json")
	again := documentOf(t, r)
	if r.code != exitOK || again.Status != "finished" {
		t.Errorf("resumed: exit code %d, %s %q\n%s", r.code, again.Status, again.Message, r.stderr)
	}
	counts := runstate.NewGuards(filepath.Join(p.dir, "home/.local/state/wasakari"))
	recoveries, err := counts.Recoveries(t.Context())
	if err != nil || len(recoveries) != 1 || recoveries[0].Run != doc.RunID {
		t.Errorf("recoveries %v, %v, want one", recoveries, err)
	}
	if servers, err := counts.Changes(t.Context(), time.Now()); err != nil || len(servers) != 4 {
		t.Errorf("%d servers are counted, %v, want 4", len(servers), err)
	}
}

// TestGuardsThatCannotCount: without a count nothing is begun, but a person may
// go on.
func TestGuardsThatCannotCount(t *testing.T) {
	t.Parallel()
	k := newRack(t)
	k.write(t, "home/.local/state/wasakari/guards.db", strings.Repeat("noise", 5000))
	r := k.run(t.Context(), t, "run", "host-auto", "--config-file", "DIR/conf", "--input", "host_name=compute-2")
	if r.code == exitOK || !strings.HasPrefix(r.stderr, "wasakari: guards: counts of the guards: ") || !strings.HasSuffix(r.stderr, "; mend or remove it, or run with --override REASON\n") {
		t.Errorf("exit code %d, %q", r.code, r.stderr)
	}
	if got := changes(k.sim); len(got) != 0 {
		t.Errorf("the cloud took %q", got)
	}
	for _, args := range []string{"run host-auto --dry-run --input host_name=compute-2", "plan host compute-2"} {
		if dry := k.run(t.Context(), t, append(strings.Fields(args), "--config-file", "DIR/conf")...); dry.code != r.code || dry.stderr != r.stderr {
			t.Errorf("%s: exit code %d, %q, want those of the run", args, dry.code, dry.stderr)
		}
	}
	r, doc := k.recover("compute-2", "--override", "the file is broken")
	if r.code != exitOK || doc.Status != "finished" {
		t.Errorf("overridden: exit code %d, %s %q\n%s", r.code, doc.Status, doc.Message, r.stderr)
	}
}
