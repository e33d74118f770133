//go:build chaos

package chaos

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// steps are the durable writes of a node at which it is killed, each in its
// turn. Those of a restoration are not a node's, and what is swept out is a month
// old.
var steps = []string{
	"accept", "claim", "run.start", "task.start", "task.finish", "values.set", "run.end", "run.requeue", "run.release",
	"intent.begin", "intent.end", "undo.push", "undo.drop", "vmove.put", "host.recover", "hold", "supersede", "notification.end",
	"reserved.claim", "reserved.release", "guard.recover", "guard.change", "abort", "retry",
	"node.register", "node.update", "segment.create", "segment.update", "segment.delete", "host.create", "host.update", "host.delete",
	"module.begin", "module.chunk", "module.put", "module.activate", "module.deactivate", "module.remove",
}

// unhurt are steps at which no node is killed: once in the life of a store, when
// something was lost, or a month later.
var unhurt = []string{"module.drop", "module.unpin", "format", "segment.names", "sweep.run", "sweep.notification", "sweep.name", "sweep.slots", "run.end.check", "run.requeue.check"}

// TestSteps kills a node at each of its durable writes.
func TestSteps(t *testing.T) {
	t.Parallel()
	f := prepare(t, plan{
		auto: names("auto", 24), reserve: names("reserve", 8), reserved: names("reserved", 24), process: names("process", 10),
		plain: names("plain", 12), spare: names("spare", 4), each: 2, plainEach: 8,
	}, *seedFlag, nil)
	var mu sync.Mutex
	left := map[string]bool{}
	for _, s := range steps {
		left[s] = true
	}
	random := rand.New(rand.NewPCG(f.seed, 2))
	look := func() (missing []string) {
		for _, n := range f.nodes {
			text, _ := os.ReadFile(n.steps)
			for line := range strings.Lines(string(text)) {
				if name, ok := strings.CutPrefix(strings.TrimSpace(line), "killed "); ok {
					delete(left, name)
				}
			}
		}
		return slices.Sorted(maps.Keys(left))
	}
	for _, n := range f.nodes {
		n.more = func() []string {
			mu.Lock()
			defer mu.Unlock()
			var at []string
			for _, name := range look() {
				at = append(at, fmt.Sprintf("%s:%d", name, 1+random.IntN(3)*random.IntN(2)))
			}
			return []string{"WASAKARI_CHAOS_LEASE=2s", "WASAKARI_CHAOS_KILL=" + strings.Join(at, ",")}
		}
		n.kill() // it is started again, and begins to be killed
	}
	work, stop := context.WithTimeout(f.ctx, 5*time.Minute)
	defer stop()
	var all sync.WaitGroup
	all.Go(func() { operate(work, f) })
	all.Go(func() {
		tick := time.NewTicker(200 * time.Millisecond)
		defer tick.Stop()
		for {
			mu.Lock()
			missing := look()
			mu.Unlock()
			if len(missing) == 0 {
				stop()
			}
			select {
			case <-tick.C:
			case <-work.Done():
				return
			}
		}
	})
	notes := draw(f.plan, f.nova, f.random, 150)
	// What is sent is also wanted when the last step was reached before its time.
	within, end := context.WithTimeout(f.ctx, 3*time.Minute)
	f.m.send(within, notes, 40*time.Second, f.seed)
	end()
	all.Wait()
	mu.Lock()
	missing := look()
	clear(left)
	mu.Unlock()
	for _, n := range f.nodes {
		n.kill() // the next one is not killed any more
	}
	for _, n := range f.nodes {
		f.await(30*time.Second, n.name+" is ready", n.ready)
	}
	f.finish()
	deaths := 0
	seen := map[string]bool{}
	for _, n := range f.nodes {
		text, err := os.ReadFile(n.steps)
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
	t.Logf("%d deaths at %d of %d steps", deaths, len(steps)-len(missing), len(steps))
	if len(missing) > 0 {
		t.Errorf("no node got to %v", missing)
	}
	for name := range seen {
		if !slices.Contains(steps, name) && !slices.Contains(unhurt, name) {
			t.Errorf("step %s is not known here; add it to the list", name)
		}
	}
}

// operate does what operators do, so that nodes die at that too.
func operate(ctx context.Context, f *field) {
	random := rand.New(rand.NewPCG(f.seed, 3))
	task := filepath.Join(*programs, "..", "tasks", "custom_pre_task.wasm")
	ask := func(method, path string, doc, into any) int {
		bound, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		status, _, err := call(bound, method, f.nodes[random.IntN(len(f.nodes))].url+path, doc, into)
		if err != nil {
			return 0
		}
		return status
	}
	command := func(args ...string) {
		bound, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		_ = exec.CommandContext(bound, filepath.Join(*programs, "wasakari"), append(args, "--server", f.nodes[random.IntN(len(f.nodes))].url)...).Run()
	}
	for i := 0; ctx.Err() == nil; i++ {
		var made struct{ Segment struct{ UUID string } }
		if ask("POST", "/v1/segments", map[string]any{"segment": map[string]any{"name": fmt.Sprintf("extra-%d", i), "service_type": "COMPUTE", "recovery_method": "auto"}}, &made) == http.StatusCreated {
			path := "/v1/segments/" + made.Segment.UUID
			ask("PUT", path, map[string]any{"segment": map[string]any{"name": fmt.Sprintf("other-%d", i)}}, nil)
			var host struct{ Host struct{ UUID string } }
			if ask("POST", path+"/hosts", map[string]any{"host": map[string]any{"name": f.plan.spare[i%len(f.plan.spare)], "type": "COMPUTE", "control_attributes": "SSH"}}, &host) == http.StatusCreated {
				ask("PUT", path+"/hosts/"+host.Host.UUID, map[string]any{"host": map[string]any{"on_maintenance": true}}, nil)
				ask("DELETE", path+"/hosts/"+host.Host.UUID, nil, nil)
			}
			for range 5 {
				if ask("DELETE", path, nil, nil) == http.StatusNoContent {
					break
				}
			}
		}
		var runs struct {
			Runs []struct {
				ID, Notification, Server string
				Finished                 bool
			}
		}
		ask("GET", "/wasakari/v1/runs", nil, &runs)
		for _, r := range runs.Runs {
			if !r.Finished && r.Server != "" {
				ask("POST", "/wasakari/v1/runs/"+r.ID+"/abort", map[string]any{"mode": "stop", "reason": "trial"}, nil)
				break
			}
		}
		for _, r := range runs.Runs {
			if r.Finished && r.Server != "" && random.IntN(8) == 0 {
				ask("POST", "/wasakari/v1/runs/"+r.ID+"/retry", map[string]any{}, nil)
				break
			}
		}
		if i%2 == 0 {
			command("task", "push", task, "--wait", "0")
			command("task", "pin", "custom_pre_task", "1.0.0")
			command("task", "rm", "custom_pre_task")
		}
		if i%5 == 4 {
			f.nodes[random.IntN(len(f.nodes))].signal(syscall.SIGTERM)
		}
		pass(ctx, 300*time.Millisecond)
	}
}
