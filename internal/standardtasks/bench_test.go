package standardtasks_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"

	"github.com/wasakari/wasakari/abi"
	"github.com/wasakari/wasakari/config"
	"github.com/wasakari/wasakari/hostfuncs"
	"github.com/wasakari/wasakari/internal/runstate"
	"github.com/wasakari/wasakari/internal/standardtasks"
	"github.com/wasakari/wasakari/internal/testcompiler"
	"github.com/wasakari/wasakari/novasim"
	"github.com/wasakari/wasakari/openstack"
	"github.com/wasakari/wasakari/recovery"
	"github.com/wasakari/wasakari/runtime"
)

var module *runtime.Module

func TestMain(m *testing.M) {
	testcompiler.MainOn(runtime.Config{}, func(rt *runtime.Runtime) int {
		var err error
		if module, err = rt.Admit(context.Background(), "built in", standardtasks.Module()); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return m.Run()
	})
}

// bench runs the standard tasks as wasm on a simulated cloud.
type bench struct {
	t     *testing.T
	sim   *novasim.Cloud
	hatch *hostfuncs.Hatch
	state *runstate.Run

	round, attempt int
	inputs         map[string]any
	options        []config.Flag

	mu       sync.Mutex
	progress []recovery.Progress
	onVMove  func(recovery.VMove)
}

func setup(t *testing.T, scenario string) *bench {
	t.Helper()
	sc, err := novasim.ParseScenario("cloud.yaml", []byte(scenario))
	if err != nil {
		t.Fatal(err)
	}
	sim, err := novasim.New(sc, novasim.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := sim.Close(); err != nil {
			t.Error(err)
		}
	})
	server, err := sim.Start(context.Background(), "")
	if err != nil {
		t.Fatal(err)
	}
	cr := sim.Credentials()
	client, err := openstack.Connect(t.Context(), openstack.Options{
		AuthURL: server.URL, User: cr.Username, Password: cr.Password, Project: cr.ProjectName,
		UserDomain: cr.UserDomainName, ProjectDomain: cr.ProjectDomainName, Region: cr.Region,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	b := &bench{t: t, sim: sim, round: 1, attempt: 1, inputs: map[string]any{
		"host_name": "compute-1", "notification_uuid": "11111111-0000-4000-8000-000000000000", "process_name": "nova-compute",
	}}
	dir := t.TempDir()
	if b.state, err = runstate.Create(dir, recovery.Run{ID: "run-1"}, runstate.Options{NoSync: true}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.state.Close)
	b.hatch = hostfuncs.New(hostfuncs.Deps{
		Cloud: client, Ledger: b.state, Library: runstate.NewLibrary(dir), Scratch: b.state.Scratch(), HA: b.state,
		Observe: b.observe, Logger: zaptest.NewLogger(t, zaptest.Level(zap.WarnLevel)),
		Run:     hostfuncs.RunInfo{ID: "run-1", Cluster: "test", FailedHost: "compute-1", NotificationUUID: "11111111-0000-4000-8000-000000000000"},
		Options: hostfuncs.Options{VerifyInterval: 5 * time.Millisecond, OutcomeWait: 200 * time.Millisecond},
	})
	t.Cleanup(b.hatch.Close)
	return b
}

func (b *bench) observe(e recovery.Event) {
	if e.VMove == nil {
		return
	}
	b.mu.Lock()
	f := b.onVMove
	b.mu.Unlock()
	if f != nil {
		f(*e.VMove)
	}
}

// set gives an option of the operator's.
func (b *bench) set(group, name, value string) {
	b.options = append(b.options, config.Flag{Group: group, Name: name, Value: value, Origin: "test"})
}

// run runs one task and gives exit and reason.
func (b *bench) run(ctx context.Context, key string) (abi.Exit, string, error) {
	b.t.Helper()
	task, specs := b.task(key)
	cfg, err := config.Load(config.Sources{Flags: b.options})
	if err != nil {
		b.t.Fatal(err)
	}
	options, err := cfg.TaskOptions(specs)
	if err != nil {
		b.t.Fatal(err)
	}
	values := map[string]json.RawMessage{}
	for name, v := range b.inputs {
		if values[name], err = json.Marshal(v); err != nil {
			b.t.Fatal(err)
		}
	}
	reserved, _ := b.inputs["reserved_host"].(string)
	host := b.hatch.Task(hostfuncs.TaskCall{
		Task: task, Flow: recovery.HostAuto, Phase: recovery.Main, Round: b.round, Attempt: b.attempt,
		IdempotencyKey: "run-1/" + key, Values: values, Options: options, ReservedHost: reserved,
	})
	limits := module.Limits(key)
	limits.Timeout = 0
	res, err := module.Run(ctx, runtime.Call{Key: key, Host: host, Limits: limits})
	b.progress = host.ProgressLog()
	return res.Exit, res.Reason, err
}

// task makes of the manifest's word what the command line makes of it.
func (b *bench) task(key string) (recovery.Task, []recovery.OptionSpec) {
	b.t.Helper()
	m := module.Manifest().Task(key)
	if m == nil {
		b.t.Fatalf("no task %s", key)
	}
	var specs []recovery.OptionSpec
	for _, o := range m.Options {
		specs = append(specs, recovery.OptionSpec{
			Group: o.Group, Name: o.Name, Type: recovery.OptionType(o.Type), Default: o.Default, Help: o.Help,
			Choices: o.Choices, Min: o.Min, Max: o.Max, Required: o.Required, Secret: o.Secret,
		})
	}
	return recovery.Task{
		Key: key, Class: m.Class, Library: module.Manifest().Library, Requires: m.Requires, Optional: m.Optional,
		Provides: m.Provides, Uses: m.Uses, Options: specs, Standard: true,
	}, specs
}

// want runs a task that is to end so.
func (b *bench) want(key string, exit abi.Exit, reason string) {
	b.t.Helper()
	got, why, err := b.run(b.t.Context(), key)
	if err != nil || got != exit || why != reason {
		b.t.Fatalf("%s ended %d %q, %v, want %d %q", key, got, why, err, exit, reason)
	}
}

// last gives the last progress message.
func (b *bench) last() string {
	if len(b.progress) == 0 {
		return ""
	}
	return b.progress[len(b.progress)-1].Message
}

func (b *bench) server(name string) novasim.ServerState {
	b.t.Helper()
	for _, s := range b.sim.Servers() {
		if s.Name == name {
			return s
		}
	}
	b.t.Fatalf("no server %s", name)
	return novasim.ServerState{}
}

// vmoves gives the latest vmove of each server, by the server's name.
func (b *bench) vmoves() map[string]recovery.VMove {
	b.t.Helper()
	list, err := b.state.VMoves(b.t.Context())
	if err != nil {
		b.t.Fatal(err)
	}
	names := map[string]string{}
	for _, s := range b.sim.Servers() {
		names[s.ID] = s.Name
	}
	out := map[string]recovery.VMove{}
	for _, v := range list {
		if old, ok := out[names[v.InstanceUUID]]; !ok || v.Attempt > old.Attempt {
			out[names[v.InstanceUUID]] = v
		}
	}
	return out
}

func (b *bench) service(host string) novasim.ServiceState {
	b.t.Helper()
	for _, s := range b.sim.Services() {
		if s.Host == host {
			return s
		}
	}
	b.t.Fatalf("no host %s", host)
	return novasim.ServiceState{}
}

// unspoilt checks what must hold at the end, whatever happened.
func (b *bench) unspoilt() {
	b.t.Helper()
	if err := b.hatch.Undo(b.t.Context()); err != nil {
		b.t.Error(err)
	}
	for _, s := range b.sim.Servers() {
		if s.Locked && !strings.Contains(s.LockedReason, "owner") {
			b.t.Errorf("server %s is left locked: %s", s.Name, s.LockedReason)
		}
		if strings.HasPrefix(s.TaskState, "rebuild") {
			b.t.Errorf("server %s is left in task_state %s", s.Name, s.TaskState)
		}
	}
	for name, v := range b.vmoves() {
		if !v.Status.Final() {
			b.t.Errorf("vmove of server %s is left %s", name, v.Status)
		}
	}
}
