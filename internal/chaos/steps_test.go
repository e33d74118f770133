//go:build chaos

package chaos

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// unhurt are steps at which no node is killed: nothing in the rounds leads to
// them for certain.
var unhurt = []string{
	"claim.drop",                         // the answer to a claim was lost
	"run.end.check", "run.requeue.check", // the same of an end; it only looks
	"library.purge", "scratch.purge", // a library that is full of what expired
	"module.keep", "module.mark", // modules of task folders, by the first node that starts
}

// drive leads nodes to durable writes: do is called again and again, with the
// number of the call, until a node has died before each of its steps.
type drive struct {
	name  string
	steps []string
	do    func(ctx context.Context, f *field, i int)
}

var drives = []drive{
	{"hosts fail while runs for their servers go on", []string{
		"node.register", "accept", "claim", "run.start", "task.start", "task.finish", "run.end", "run.requeue", "intent.begin", "intent.end",
		"undo.push", "undo.drop", "vmove.put", "host.recover", "guard.recover", "guard.change", "hold", "supersede",
	}, func(ctx context.Context, f *field, i int) {
		if i >= len(f.plan.auto) {
			return
		}
		host := f.plan.auto[i]
		server := f.home[host][0]
		f.tell(ctx, &note{kind: "VM", host: host, server: server})
		f.until(ctx, 5*time.Second, func() bool { return f.running(ctx, server) != "" })
		f.lose(ctx, host, i)
	}},
	{"a host needs a second reserved host", []string{"reserved.claim", "values.set", "reserved.release"}, func(ctx context.Context, f *field, i int) {
		if i < len(f.plan.reserve) {
			f.lose(ctx, f.plan.reserve[i], i)
		}
	}},
	{"servers fail; runs are aborted, retried, handed over", []string{
		"scratch.put", "scratch.delete", "library.put", "library.delete", "abort", "retry", "run.release", "node.update",
	}, func(ctx context.Context, f *field, i int) {
		host := f.plan.plain[i%len(f.plan.plain)]
		server := f.home[host][i/len(f.plan.plain)%len(f.home[host])]
		f.tell(ctx, &note{kind: "VM", host: host, server: server})
		run := ""
		f.until(ctx, 5*time.Second, func() bool { run = f.running(ctx, server); return run != "" })
		if i%2 == 0 {
			f.nodes[f.any(len(f.nodes))].signal(syscall.SIGTERM)
			return
		}
		f.ask(ctx, "POST", "/wasakari/v1/runs/"+run+"/abort", map[string]any{"mode": "stop", "reason": "trial"}, nil)
		f.until(ctx, 10*time.Second, func() bool {
			return f.ask(ctx, "POST", "/wasakari/v1/runs/"+run+"/retry", map[string]any{}, nil) == http.StatusOK
		})
	}},
	{"a failure that needs no run", []string{"notification.end"}, func(ctx context.Context, f *field, i int) {
		f.tell(ctx, &note{kind: "PROCESS", host: f.plan.plain[i%len(f.plan.plain)], process: "libvirtd"})
	}},
	{"segments", []string{"segment.create", "segment.update", "segment.delete", "host.create", "host.update", "host.delete"}, func(ctx context.Context, f *field, i int) {
		f.clear(ctx, "extra", true)
		path := f.segment(ctx, fmt.Sprintf("extra-%d", i))
		f.ask(ctx, "PUT", path, map[string]any{"segment": map[string]any{"name": fmt.Sprintf("extra-other-%d", i)}}, nil)
		if host := f.host(ctx, path, f.plan.spare[0]); host != "" {
			f.ask(ctx, "PUT", host, map[string]any{"host": map[string]any{"on_maintenance": true}}, nil)
			f.ask(ctx, "DELETE", host, nil, nil)
		}
		f.ask(ctx, "DELETE", path, nil, nil)
	}},
	{"modules", []string{
		"module.begin", "module.chunk", "module.put", "module.activate", "module.unpin", "module.deactivate", "module.remove",
	}, func(ctx context.Context, f *field, _ int) {
		f.command(ctx, "task", "push", filepath.Join(*programs, "..", "tasks", "my_noop_task.wasm"), "--wait", "0")
		f.command(ctx, "task", "pin", "my_noop_task", "0.1.0")
		f.command(ctx, "task", "unpin", "my_noop_task")
		f.command(ctx, "task", "rm", "my_noop_task")
	}},
}

// sweeps is what a node does about what is past its time.
var sweeps = []string{"sweep.run", "sweep.notification", "sweep.name", "sweep.slots", "module.drop", "segment.names"}

// tell sends a notification.
func (f *field) tell(ctx context.Context, n *note) {
	n.generated = time.Now()
	f.m.report(ctx, n, rand.New(rand.NewPCG(f.seed, 6)))
}

// lose lets a host die. The first ones do so at the same time; from then on each
// recovery ends before the next begins, so that one at last is disturbed by nobody
// who dies at other steps, and comes to its own.
func (f *field) lose(ctx context.Context, host string, before int) {
	const atOnce = 3
	n := &note{kind: "COMPUTE_HOST", host: host, before: func() { _ = f.nova.FailHost(host) }}
	f.tell(ctx, n)
	if before+1 < atOnce || n.uuid == "" {
		return
	}
	f.until(ctx, time.Minute, func() bool {
		var doc struct{ Notification struct{ Status string } }
		f.ask(ctx, "GET", "/v1/notifications/"+n.uuid, nil, &doc)
		return final(doc.Notification.Status)
	})
}

func (f *field) any(n int) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.dice.IntN(n)
}

// until waits for a time at most, or until it is so.
func (f *field) until(ctx context.Context, most time.Duration, so func() bool) {
	for end := time.Now().Add(most); time.Now().Before(end) && ctx.Err() == nil && !so(); {
		pass(ctx, 50*time.Millisecond)
	}
}

func (f *field) ask(ctx context.Context, method, path string, doc, into any) int {
	bound, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	status, _, err := call(bound, method, f.nodes[f.any(len(f.nodes))].url+path, doc, into)
	if err != nil {
		return 0
	}
	return status
}

func (f *field) command(ctx context.Context, args ...string) {
	bound, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	_ = exec.CommandContext(bound, filepath.Join(*programs, "wasakari"), append(args, "--server", f.nodes[f.any(len(f.nodes))].url)...).Run()
}

// running gives the run of a server that goes on.
func (f *field) running(ctx context.Context, server string) string {
	var all struct {
		Runs []struct {
			ID, Server, Status string
			Finished           bool
		}
	}
	f.ask(ctx, "GET", "/wasakari/v1/runs", nil, &all)
	for _, r := range all.Runs {
		if r.Server == server && !r.Finished && r.Status == "running" {
			return r.ID
		}
	}
	return ""
}

// segment makes a segment, and gives its path.
func (f *field) segment(ctx context.Context, name string) string {
	var made struct{ Segment struct{ UUID string } }
	f.ask(ctx, "POST", "/v1/segments", map[string]any{"segment": map[string]any{"name": name, "service_type": "COMPUTE", "recovery_method": "auto"}}, &made)
	return "/v1/segments/" + made.Segment.UUID
}

// clear deletes segments, with their hosts or after them: those too that somebody
// left who died.
func (f *field) clear(ctx context.Context, name string, hosts bool) {
	var all struct{ Segments []struct{ Name, UUID string } }
	f.ask(ctx, "GET", "/v1/segments", nil, &all)
	for _, s := range all.Segments {
		path := "/v1/segments/" + s.UUID
		if !strings.HasPrefix(s.Name, name) {
			continue
		}
		if hosts {
			var all struct{ Hosts []struct{ UUID string } }
			f.ask(ctx, "GET", path+"/hosts", nil, &all)
			for _, h := range all.Hosts {
				f.ask(ctx, "DELETE", path+"/hosts/"+h.UUID, nil, nil)
			}
		}
		f.ask(ctx, "DELETE", path, nil, nil)
	}
}

// host makes a host, and gives its path, or nothing.
func (f *field) host(ctx context.Context, segment, name string) string {
	var made struct{ Host struct{ UUID string } }
	if f.ask(ctx, "POST", segment+"/hosts", map[string]any{"host": map[string]any{"name": name, "type": "COMPUTE", "control_attributes": "SSH"}}, &made) != http.StatusCreated {
		return ""
	}
	return segment + "/hosts/" + made.Host.UUID
}

// arm lets one process die before each of the steps.
func (c *cluster) arm(steps ...string) {
	c.t.Helper()
	for _, s := range steps {
		if err := os.WriteFile(filepath.Join(c.armed, s), nil, 0o600); err != nil {
			c.t.Fatal(err)
		}
	}
}

// unreached gives those of the steps before which nobody has died.
func (c *cluster) unreached(steps ...string) (left []string) {
	for _, s := range steps {
		if _, err := os.Stat(filepath.Join(c.armed, s)); err == nil {
			left = append(left, s)
		}
	}
	return left
}

// disarm spares those who are left, and tells which steps they are.
func (c *cluster) disarm(what string, steps ...string) {
	c.t.Helper()
	for _, s := range c.unreached(steps...) {
		c.t.Errorf("%s: step %s was not reached", what, s)
		_ = os.Remove(filepath.Join(c.armed, s))
	}
}

// TestSteps kills a process before each of its durable writes: nodes, and the
// commands that work on a store.
func TestSteps(t *testing.T) {
	t.Parallel()
	p := plan{
		auto: names("auto", 12), reserve: names("reserve", 6), reserved: names("reserved", 20),
		plain: names("plain", 12), spare: names("spare", 4), each: 2, plainEach: 8, stubborn: true,
	}
	tasks := keeper(t)
	f := prepare(t, p, *seedFlag, nil, "[taskflow_driver_recovery_flows]\ninstance_failure_recovery_tasks = "+
		"{'pre': ['keeper', 'stop_instance_task'], 'main': ['start_instance_task'], 'post': ['confirm_instance_active_task']}\n"+
		"[grants]\nchaos = kv.*\n[wasakari]\ntask_dir = "+tasks+"\n")
	f.dice = rand.New(rand.NewPCG(f.seed, 2))
	for _, n := range f.nodes {
		n.more = n.renamed()
	}
	for _, d := range drives {
		f.arm(d.steps...)
	}
	began := time.Now()
	work, stop := context.WithTimeout(f.ctx, 4*time.Minute)
	defer stop()
	f.nodes[0].kill() // it registers anew
	var all sync.WaitGroup
	for _, d := range drives {
		all.Go(func() {
			for i := 0; work.Err() == nil && len(f.unreached(d.steps...)) > 0; i++ {
				d.do(work, f, i)
				pass(work, 200*time.Millisecond)
			}
			t.Logf("%s: after %s", d.name, time.Since(began).Round(100*time.Millisecond))
		})
	}
	all.Wait()
	for _, d := range drives {
		f.disarm(d.name, d.steps...)
	}
	f.finish()
	if t.Failed() {
		return
	}
	kept, backup := f.keep()
	f.house()
	f.commands(kept, backup)

	deaths := 0
	seen := map[string]bool{}
	texts, err := filepath.Glob(filepath.Join(f.dir, "*.steps"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range texts {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		deaths += strings.Count(string(text), "killed ")
		for line := range strings.Lines(string(text)) {
			if name, ok := strings.CutPrefix(strings.TrimSpace(line), "step "); ok {
				seen[name] = true
			}
		}
	}
	known := slices.Concat(unhurt, sweeps, housework)
	for _, d := range drives {
		known = append(known, d.steps...)
	}
	t.Logf("%d deaths, %d steps", deaths, len(seen))
	for _, name := range slices.Sorted(maps.Keys(seen)) {
		if !slices.Contains(known, name) {
			t.Errorf("step %s is not known here; add it to a list", name)
		}
	}
}

// keep takes a backup, and tells what must be in it.
func (f *field) keep() (keys map[string][]byte, backup string) {
	f.t.Helper()
	f.h.mu.Lock()
	defer f.h.mu.Unlock()
	keys = map[string][]byte{}
	for key, value := range f.h.keys {
		if !ofProcess(key) {
			keys[key] = value
		}
	}
	backup = filepath.Join(f.dir, "wasakari.backup")
	if out, err := f.storeCommand("", "backup", backup); err != nil {
		f.t.Fatalf("%v\n%s", err, out)
	}
	return keys, backup
}

// place is what tells records apart that one transaction of a restoration made.
var place = regexp.MustCompile(`,"p":[0-9]+}$`)

// unplaced gives a record as it was before it was restored.
func unplaced(value []byte) []byte {
	head, body, ok := bytes.Cut(value, []byte("\n"))
	if !ok {
		return value
	}
	return slices.Concat(place.ReplaceAll(head, []byte("}")), []byte("\n"), body)
}

// ofProcess tells what no backup has.
func ofProcess(key string) bool {
	for _, prefix := range []string{"format", "restoring", "r/seq", "r/node/", "r/lock/", "d/tx/"} {
		if strings.HasPrefix(key, prefix) {
			return true
		}
	}
	return false
}

// storeCommand works on the store of the nodes, or on that of another Wasakari
// cluster in the same etcd.
func (f *field) storeCommand(cluster string, args ...string) (string, error) {
	n := f.nodes[0]
	ctx, cancel := context.WithTimeout(f.ctx, time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, n.path, append([]string{"store"}, append(args, "--config-file", n.args[2])...)...)
	cmd.Env = append(slices.Clone(n.env), "WASAKARI_CHAOS_STEPS="+filepath.Join(f.dir, "command.steps"))
	if cluster != "" {
		more := filepath.Join(f.dir, cluster+".conf")
		if err := os.WriteFile(more, []byte("[wasakari]\ncluster = "+cluster+"\n"), 0o600); err != nil {
			f.t.Fatal(err)
		}
		cmd.Args = append(cmd.Args, "--config-file", more)
	}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// house lets all that is done with be past its time, and nodes die while they
// remove it. In the end nothing of it is left, and nothing else is gone.
func (f *field) house() {
	f.t.Helper()
	began := time.Now()
	f.arm(sweeps...)
	for _, n := range f.nodes {
		renamed := n.renamed()
		n.more = func() []string {
			return append(renamed(), "WASAKARI_CHAOS_RETENTION=1s", "WASAKARI_CHAOS_HOUSE=300ms")
		}
		if err := n.start(); err != nil {
			f.t.Fatal(err)
		}
	}
	ctx, stop := context.WithCancel(f.ctx)
	defer f.s.all.Wait()
	defer stop()
	for _, n := range f.nodes {
		f.s.keepUp(ctx, &n.process)
	}
	var armed time.Time
	f.until(ctx, 90*time.Second, func() bool {
		// Who deletes a segment and dies leaves the names of its hosts.
		if len(f.unreached("sweep.name")) > 0 && time.Since(armed) > 10*time.Second {
			armed = time.Now()
			f.arm("segment.names")
		}
		if len(f.unreached("segment.names")) > 0 {
			f.host(ctx, f.segment(ctx, "whole"), f.plan.spare[1])
			f.clear(ctx, "whole", false)
		}
		return len(f.unreached(sweeps...)) == 0
	})
	f.clear(ctx, "whole", false)
	f.disarm("what is past its time", sweeps...)
	pass(ctx, 200*time.Millisecond) // who dies last takes its file away a little earlier
	f.await(time.Minute, "all that is done with is removed", func(context.Context) error {
		f.h.mu.Lock()
		defer f.h.mu.Unlock()
		for key := range f.h.keys {
			for _, prefix := range []string{"r/run/", "r/task/", "r/notification/", "r/vmove/", "d/run/", "d/dedup/", "r/abort/", "d/upload"} {
				if strings.HasPrefix(key, prefix) {
					return fmt.Errorf("%s is there", key)
				}
			}
		}
		return nil
	})
	stop()
	f.s.all.Wait()
	for _, n := range f.nodes {
		n.more = nil
		if !n.running() {
			continue
		}
		if err := n.end(); err != nil {
			f.t.Error(err)
		}
	}
	report(f.t, "logs", panics(f.cluster))
	f.t.Logf("house kept in %s", time.Since(began).Round(100*time.Millisecond))
}

// housework are the steps of the commands that work on a store.
var housework = []string{"format", "compact", "compact.defragment", "restore.begin", "restore", "restore.end"}

// commands kills those that work on a store, each at each of its steps: another
// one then does it all.
func (f *field) commands(kept map[string][]byte, backup string) {
	f.t.Helper()
	dies := func(cluster, step string, args ...string) {
		f.t.Helper()
		f.arm(step)
		out, err := f.storeCommand(cluster, args...)
		if err == nil {
			f.t.Errorf("store %s was to die at %s: %s", args[0], step, out)
		}
		f.disarm("store "+args[0], step)
	}
	does := func(cluster string, args ...string) {
		f.t.Helper()
		if out, err := f.storeCommand(cluster, args...); err != nil {
			f.t.Errorf("store %s: %v\n%s", args[0], err, out)
		}
	}
	refused := func(cluster, why string, args ...string) {
		f.t.Helper()
		if out, err := f.storeCommand(cluster, args...); err == nil || !strings.Contains(out, why) {
			f.t.Errorf("store %s: %v, want it to be refused with %q: %s", args[0], err, why, out)
		}
	}
	const fresh, restored = "fresh", "restored"
	dies(fresh, "format", "compact")
	does(fresh, "compact")
	for _, step := range []string{"compact", "compact.defragment"} {
		dies("", step, "compact")
		does("", "compact")
	}
	dies(restored, "restore.begin", "restore", backup)
	for _, step := range []string{"restore", "restore.end"} {
		dies(restored, step, "restore", backup)
		refused(restored, "a restoration broke off", "compact")
		refused(restored, "not empty", "restore", backup)
		if err := f.h.remove(f.ctx, restored); err != nil {
			f.t.Fatal(err)
		}
	}
	does(restored, "restore", backup)
	got, err := f.h.all(f.ctx, restored)
	if err != nil {
		f.t.Fatal(err)
	}
	maps.DeleteFunc(got, func(key string, _ []byte) bool { return ofProcess(key) })
	if !maps.EqualFunc(got, kept, func(a, b []byte) bool { return bytes.Equal(unplaced(a), unplaced(b)) }) {
		f.t.Errorf("%d keys were restored, not the %d that there were, as they were", len(got), len(kept))
	}
	f.t.Logf("%d keys restored", len(got))
}

// keeper packs a task that keeps values: of its run, under scratch/, and for its
// library. It gives the folder with it.
func keeper(t *testing.T) string {
	t.Helper()
	wasm, err := os.ReadFile(filepath.Join("..", "..", "cmd", "wasakari", "testdata", "ops.wasm"))
	if err != nil {
		t.Fatal(err)
	}
	var table, text []byte
	ops := [][2]string{
		{"kv.put", `{"name":"first","value":1}`},
		{"kv.put", `{"name":"second","value":2}`},
		{"kv.put", `{"name":"scratch/a","value":1}`},
		{"kv.delete", `{"name":"scratch/a"}`},
		{"kv.put", `{"scope":"library","name":"a","value":1}`},
		{"kv.delete", `{"scope":"library","name":"a"}`},
	}
	at := 16 * (len(ops) + 1)
	for _, op := range ops {
		for _, s := range op {
			table = binary.LittleEndian.AppendUint32(table, uint32(at+len(text)))
			table = binary.LittleEndian.AppendUint32(table, uint32(len(s)))
			text = append(text, s...)
		}
	}
	data := slices.Concat(table, make([]byte, 16), text)
	section := []byte{1, 0, 0x41, 0, 0x0b} // one segment, of memory 0, at i32.const 0
	section = append(binary.AppendUvarint(section, uint64(len(data))), data...)
	wasm = append(binary.AppendUvarint(append(wasm, 11), uint64(len(section))), section...)

	dir := t.TempDir()
	raw, manifest := filepath.Join(dir, "keeper.raw"), filepath.Join(dir, "task.yaml")
	const about = "abi: 1\nlibrary: chaos\nversion: 1.0.0\nsummary: Keeps values\ntasks:\n" +
		"  - {key: keeper, summary: Keeps values, provides: [first, second], uses: [kv.put, kv.delete]}\n"
	for name, text := range map[string][]byte{raw: wasm, manifest: []byte(about)} {
		if err := os.WriteFile(name, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	out, err := exec.CommandContext(t.Context(), filepath.Join(*programs, "wasakari"), "task", "pack", manifest, raw, "-o", filepath.Join(dir, "keeper.wasm")).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return dir
}
