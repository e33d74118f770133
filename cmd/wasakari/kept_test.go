package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wasakari/wasakari/abi"
	"github.com/wasakari/wasakari/novasim"
	"github.com/wasakari/wasakari/store/storetest"
)

// keptConf names tasks of a module before and after what takes its time.
const keptConf = `[DEFAULT]
auth_strategy = noauth2
verify_interval = 1
[telemetry]
metrics = false
[taskflow_driver_recovery_flows]
host_auto_failure_recovery_tasks = pre:['disable_compute_service_task','first'],main:['prepare_HA_enabled_instances_task','evacuate_instances_task'],post:['later']
`

// A node that takes a run over goes on with the modules that it began with,
// although it has them in no folder.
func TestTakeOverWithoutTheFolder(t *testing.T) {
	t.Parallel()
	etcd := storetest.NewEtcd(t, 1)
	sim, environ := startCloud(t, quickCloud, novasim.Options{ManualTime: true}) // no evacuation ends before time goes on
	node := func(name string, args ...string) serving {
		t.Helper()
		p := newPlace(t, map[string]string{
			"conf":             keptConf,
			"tasks/first.wasm": string(packed(t, guest("noop"), abi.ManifestTask{Key: "first"}, abi.ManifestTask{Key: "later"})),
		})
		p.environ = environ
		return p.serve(t, append([]string{"--config-file", "DIR/conf", "--state-dir", "DIR/state", "--set", "store.endpoints=" + strings.Join(etcd.Endpoints(), ","), "--set", "engine.node=" + name}, args...)...)
	}
	one := node("one", "--task-dir", "DIR/tasks")
	sent := evacuating(t, one, sim)
	two := node("two")
	takesOver(t, one, two, sim, sent)
}

// evacuating lets the first of three hosts fail, and gives the notification of that
// when Nova has been asked for an evacuation.
func evacuating(t *testing.T, s serving, sim *novasim.Cloud) (notification string) {
	t.Helper()
	var seg struct{ Segment struct{ UUID string } }
	s.ask(t, "POST", "/v1/segments", `{"segment": {"name": "a", "recovery_method": "auto", "service_type": "compute"}}`, nil, &seg)
	for i := range 3 {
		body := fmt.Sprintf(`{"host": {"name": "compute-%d", "type": "COMPUTE", "control_attributes": "SSH"}}`, i+1)
		if r := s.ask(t, "POST", "/v1/segments/"+seg.Segment.UUID+"/hosts", body, nil, nil); r.StatusCode != 201 {
			t.Fatal(r.Status)
		}
	}
	var sent notificationDoc
	s.ask(t, "POST", "/v1/notifications", deadHost("compute-1"), nil, &sent)
	awaitRequest(t, sim, "an evacuation", func(r novasim.Request) bool { return r.Action == "evacuate" })
	return sent.Notification.UUID
}

// awaitRequest waits until Nova was asked for something.
func awaitRequest(t *testing.T, sim *novasim.Cloud, what string, is func(novasim.Request) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !slices.ContainsFunc(sim.Requests(), is) {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("nobody asked Nova for %s", what)
		}
	}
}

// takesOver ends the node one, lets the cloud's time go on, and holds how two ends
// the notification against keptConf.
func takesOver(t *testing.T, one, two serving, sim *novasim.Cloud, notification string) {
	t.Helper()
	one.stop()
	ctx, cancel := context.WithCancel(t.Context())
	var going sync.WaitGroup
	defer going.Wait()
	defer cancel()
	going.Go(func() {
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				sim.Advance(time.Second)
			case <-ctx.Done():
				return
			}
		}
	})
	done := two.final(t, notification)
	var names []string
	for _, d := range done.Notification.Details {
		names = append(names, d.Name+" "+d.State)
	}
	if n := done.Notification; n.Status != "finished" || len(names) == 0 || names[len(names)-1] != "later SUCCESS" {
		t.Errorf("notification %s, %v, tasks %q, want it finished, and later at the end", n.Status, n.Message, names)
	}
}
