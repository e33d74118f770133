package hostfuncs_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wasakari/wasakari/abi"
	"github.com/wasakari/wasakari/recovery"
)

func moveTo(host string) func(*recovery.Server) {
	return func(s *recovery.Server) { s.Host, s.TaskState, s.VMState = host, "", "active" }
}

func TestServerWait(t *testing.T) {
	type step struct {
		at time.Duration
		do func(n *nova)
	}
	edit := func(at time.Duration, f func(*recovery.Server)) step {
		return step{at, func(n *nova) { n.edit("s1", f) }}
	}
	const moved = `{"id":"s1","until":"moved","fields":["OS-EXT-SRV-ATTR:host"],"timeout_s":60}`
	rebuilding := active("s1", failedHost)
	rebuilding.TaskState = "rebuilding"
	inError := rebuilding
	inError.VMState, inError.Fault = "error", &recovery.Fault{Code: 500, Message: "an old fault"}
	gaveUp := func(s *recovery.Server) {
		s.VMState, s.TaskState, s.Fault = "error", "", &recovery.Fault{Code: 500, Message: "No valid host was found."}
	}
	tests := []struct {
		name    string
		server  recovery.Server
		migs    []recovery.Migration
		steps   []step
		req     string
		want    string
		wantErr string
		took    time.Duration
	}{
		{
			name: "moved", server: rebuilding, steps: []step{edit(2500*time.Millisecond, moveTo("compute-3"))}, req: moved,
			want: `{"outcome":"reached","server":{"id":"s1","OS-EXT-SRV-ATTR:host":"compute-3"}}`, took: 3 * time.Second,
		},
		{name: "moved before", server: active("s1", "compute-2"), req: moved, want: `{"outcome":"reached","server":{"id":"s1","OS-EXT-SRV-ATTR:host":"compute-2"}}`},
		{
			name: "active without task on the old host for a moment", server: rebuilding, migs: []recovery.Migration{evacuation("m1", "s1", "done")},
			steps: []step{edit(900*time.Millisecond, moveTo(failedHost)), edit(1100*time.Millisecond, moveTo("compute-3"))}, req: moved,
			want: `{"outcome":"reached","server":{"id":"s1","OS-EXT-SRV-ATTR:host":"compute-3"}}`, took: 2 * time.Second,
		},
		{
			name: "on the new host, but not ready", server: rebuilding, req: moved,
			steps: []step{
				edit(500*time.Millisecond, func(s *recovery.Server) { s.Host = "compute-2" }),
				edit(1500*time.Millisecond, moveTo("compute-2")),
			},
			want: `{"outcome":"reached","server":{"id":"s1","OS-EXT-SRV-ATTR:host":"compute-2"}}`, took: 2 * time.Second,
		},
		{
			name: "back on the old host for a while", server: rebuilding, migs: []recovery.Migration{evacuation("m1", "s1", "accepted")}, req: moved,
			steps: []step{
				edit(500*time.Millisecond, func(s *recovery.Server) { s.Host = "compute-2" }),
				edit(1500*time.Millisecond, func(s *recovery.Server) { gaveUp(s); s.Host = failedHost }),
				edit(3500*time.Millisecond, moveTo("compute-3")),
			},
			want: `{"outcome":"reached","server":{"id":"s1","OS-EXT-SRV-ATTR:host":"compute-3"}}`, took: 4 * time.Second,
		},
		{
			name: "nova gave up", server: rebuilding, migs: []recovery.Migration{evacuation("m1", "s1", "accepted")}, req: moved,
			steps: []step{{1500 * time.Millisecond, func(n *nova) { n.setMigration("s1", "error"); n.edit("s1", gaveUp) }}},
			want:  `{"outcome":"error","server":{"id":"s1","OS-EXT-SRV-ATTR:host":"compute-1"},"message":"No valid host was found."}`, took: 2 * time.Second,
		},
		{
			name: "nova gave up and says nothing", server: active("s1", failedHost), migs: []recovery.Migration{evacuation("m1", "s1", "failed")}, req: moved,
			want: `{"outcome":"error","server":{"id":"s1","OS-EXT-SRV-ATTR:host":"compute-1"},"message":"evacuation m1 ended in failed"}`,
		},
		{
			name: "in error before, with an old fault", server: inError, migs: []recovery.Migration{evacuation("m1", "s1", "error"), evacuation("m22", "s1", "accepted")}, req: moved,
			steps: []step{
				edit(500*time.Millisecond, func(s *recovery.Server) { s.TaskState = "" }),
				edit(2500*time.Millisecond, moveTo("compute-2")),
			},
			want: `{"outcome":"reached","server":{"id":"s1","OS-EXT-SRV-ATTR:host":"compute-2"}}`, took: 3 * time.Second,
		},
		{
			name: "in error with a fault and never evacuated", server: rebuilding, req: moved, steps: []step{edit(500*time.Millisecond, gaveUp)},
			want: `{"outcome":"error","server":{"id":"s1","OS-EXT-SRV-ATTR:host":"compute-1"},"message":"No valid host was found."}`, took: time.Second,
		},
		{
			name: "deleted", server: rebuilding, req: moved,
			steps: []step{{1500 * time.Millisecond, func(n *nova) {
				n.mu.Lock()
				defer n.mu.Unlock()
				delete(n.srv, "s1")
			}}},
			want: `{"outcome":"deleted","server":{"id":"s1","OS-EXT-SRV-ATTR:host":"compute-1"}}`, took: 2 * time.Second,
		},
		{
			name: "timeout", server: rebuilding, req: `{"id":"s1","until":"moved","timeout_s":5}`, took: 5 * time.Second,
			wantErr: "timeout: server s1: not away from compute-1 after 5 s; last seen on compute-1, vm_state active, task_state rebuilding",
		},
		{
			name: "a failing poll is retried", server: rebuilding, req: moved, took: 4 * time.Second,
			steps: []step{
				{500 * time.Millisecond, func(n *nova) {
					n.fakeCloud.mu.Lock()
					defer n.fakeCloud.mu.Unlock()
					n.before = func(context.Context, string) error { return cloudError("list", 503, "down", recovery.ErrUnavailable) }
				}},
				{3500 * time.Millisecond, func(n *nova) {
					n.fakeCloud.mu.Lock()
					n.before = nil
					n.fakeCloud.mu.Unlock()
					n.edit("s1", moveTo("compute-2"))
				}},
			},
			want: `{"outcome":"reached","server":{"id":"s1","OS-EXT-SRV-ATTR:host":"compute-2"}}`,
		},
		{
			name: "being asked too often passes", server: rebuilding, req: `{"id":"s1","until":"moved","timeout_s":3}`, took: 3 * time.Second,
			steps: []step{{500 * time.Millisecond, func(n *nova) {
				n.fakeCloud.mu.Lock()
				defer n.fakeCloud.mu.Unlock()
				n.before = func(context.Context, string) error { return cloudError("list", 429, "slow down", recovery.ErrQuota) }
			}}},
			wantErr: "timeout: server s1: not away from compute-1 after 3 s; last seen on compute-1, vm_state active, task_state rebuilding; last error: list: 429 slow down (req-refused)",
		},
		{
			name: "a refused poll ends it", server: rebuilding, req: moved, took: time.Second,
			steps: []step{{500 * time.Millisecond, func(n *nova) {
				n.fakeCloud.mu.Lock()
				defer n.fakeCloud.mu.Unlock()
				n.before = func(context.Context, string) error { return recovery.ErrForbidden }
			}}},
			wantErr: "forbidden: nova.server_wait: forbidden",
		},
		{
			name: "from another host", server: active("s1", "compute-2"), req: `{"id":"s1","until":"moved","from_host":"compute-2","fields":["id"]}`,
			steps: []step{edit(500*time.Millisecond, moveTo("compute-3"))}, want: `{"outcome":"reached","server":{"id":"s1"}}`, took: time.Second,
		},
		{
			name: "vm_state", server: active("s1", "compute-2"), req: `{"id":"s1","until":"vm_state","vm_states":["stopped"],"fields":["id"]}`,
			steps: []step{
				edit(500*time.Millisecond, func(s *recovery.Server) { s.VMState, s.TaskState = "stopped", "powering-off" }),
				edit(1500*time.Millisecond, func(s *recovery.Server) { s.TaskState = "" }),
			},
			want: `{"outcome":"reached","server":{"id":"s1"}}`, took: 2 * time.Second,
		},
		{
			name: "vm_state becomes error", server: active("s1", "compute-2"), req: `{"id":"s1","until":"vm_state","vm_states":["stopped"],"fields":["id"]}`,
			steps: []step{edit(500*time.Millisecond, gaveUp)},
			want:  `{"outcome":"error","server":{"id":"s1"},"message":"No valid host was found."}`, took: time.Second,
		},
		{
			name: "vm_state of a server without host", server: active("s1", ""), req: `{"id":"s1","until":"vm_state","vm_states":["stopped"],"fields":["id"]}`,
			steps: []step{edit(500*time.Millisecond, func(s *recovery.Server) { s.VMState = "stopped" })},
			want:  `{"outcome":"reached","server":{"id":"s1"}}`, took: time.Second,
		},
		{
			name: "vm_state of a server that moves meanwhile", server: rebuilding, req: `{"id":"s1","until":"vm_state","vm_states":["stopped"],"fields":["id"]}`,
			steps: []step{
				edit(500*time.Millisecond, moveTo("compute-3")),
				edit(2500*time.Millisecond, func(s *recovery.Server) { s.VMState = "stopped" }),
			},
			want: `{"outcome":"reached","server":{"id":"s1"}}`, took: 3 * time.Second,
		},
		{
			name: "task_clear", server: rebuilding, req: `{"id":"s1","until":"task_clear","fields":["id"]}`,
			steps: []step{edit(500*time.Millisecond, func(s *recovery.Server) { s.TaskState = "" })},
			want:  `{"outcome":"reached","server":{"id":"s1"}}`, took: time.Second,
		},
		{
			name: "on no host is not away", server: rebuilding, req: moved,
			steps: []step{edit(500*time.Millisecond, moveTo("")), edit(1500*time.Millisecond, moveTo("compute-3"))},
			want:  `{"outcome":"reached","server":{"id":"s1","OS-EXT-SRV-ATTR:host":"compute-3"}}`, took: 2 * time.Second,
		},
		{name: "unknown server", server: active("s2", failedHost), req: moved, want: `{"outcome":"deleted","server":{"id":"s1","OS-EXT-SRV-ATTR:host":""}}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cloud := newNova(tt.server)
				cloud.migs = tt.migs
				for _, s := range tt.steps {
					time.AfterFunc(s.at, func() { s.do(cloud) })
				}
				began := time.Now()
				got, err := do(t.Context(), setup(t, cloud).task(), abi.OpNovaServerWait, tt.req)
				want(t, got, err, tt.want, tt.wantErr)
				if took := time.Since(began); took != tt.took {
					t.Errorf("took %v, want %v", took, tt.took)
				}
			})
		})
	}
}

func TestWaitersShareOneList(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 50
		var servers []recovery.Server
		for i := range n {
			s := active(fmt.Sprintf("s%d", i), failedHost)
			s.TaskState = "rebuilding"
			servers = append(servers, s)
		}
		cloud := newNova(servers...)
		b := setup(t, cloud)
		var wg sync.WaitGroup
		for i := range n {
			id := fmt.Sprintf("s%d", i)
			task := b.task()
			wg.Go(func() {
				got, err := do(t.Context(), task, abi.OpNovaServerWait, fmt.Sprintf(`{"id":%q,"until":"moved","fields":["id"]}`, id))
				want(t, got, err, fmt.Sprintf(`{"outcome":"reached","server":{"id":%q}}`, id), "")
			})
		}
		// Ten of them give up the look of "moved" for a moment, which needs the
		// evacuations: one list for all.
		time.AfterFunc(1500*time.Millisecond, func() {
			for i := range 10 {
				cloud.edit(fmt.Sprintf("s%d", i), moveTo(failedHost))
			}
		})
		time.AfterFunc(4500*time.Millisecond, func() {
			for i := range n {
				cloud.edit(fmt.Sprintf("s%d", i), moveTo("compute-2"))
			}
		})
		wg.Wait()
		// Polls at 0, 1, 2, 3, 4 and 5 s; at 2, 3 and 4 s with evacuations. The poll
		// at 0 may begin before the second waiter joins, and reads one server then.
		if lists, reads := cloud.count("servers"), cloud.count("server"); lists+reads != 6 || reads > 1 {
			t.Errorf("%d lists and %d reads of one server, want 6 in all and at most 1 read", lists, reads)
		}
		if got := cloud.count("migrations"); got != 3 {
			t.Errorf("%d lists of migrations, want 3", got)
		}
		cloud.reset()
		time.Sleep(10 * time.Second)
		if got := cloud.count("servers"); got != 0 {
			t.Errorf("%d lists after the last waiter left, want 0", got)
		}
	})
}

// rebuildingServers are n servers that are being evacuated.
func rebuildingServers(n int) []recovery.Server {
	servers := make([]recovery.Server, n)
	for i := range servers {
		servers[i] = active(fmt.Sprintf("s%d", i), failedHost)
		servers[i].TaskState = "rebuilding"
	}
	return servers
}

// waitMoved waits for servers s0 to s<n-1> to be moved.
func waitMoved(t *testing.T, b *bench, n int) {
	t.Helper()
	var wg sync.WaitGroup
	for i := range n {
		id, task := fmt.Sprintf("s%d", i), b.task()
		wg.Go(func() {
			got, err := do(t.Context(), task, abi.OpNovaServerWait, fmt.Sprintf(`{"id":%q,"until":"moved","fields":["id"]}`, id))
			want(t, got, err, fmt.Sprintf(`{"outcome":"reached","server":{"id":%q}}`, id), "")
		})
	}
	wg.Wait()
}

func TestWaitersDoNotRelyOnTheirClock(t *testing.T) {
	for _, ahead := range []time.Duration{-3 * time.Hour, 3 * time.Hour} {
		t.Run(ahead.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const n = 10
				cloud := newNova(rebuildingServers(n)...)
				novaNow := func() string { return time.Now().Add(ahead).UTC().Format(time.RFC3339) }
				for i := range n {
					cloud.srv[fmt.Sprintf("s%d", i)].Updated = novaNow()
				}
				time.AfterFunc(10*time.Second+500*time.Millisecond, func() {
					for i := range n {
						cloud.edit(fmt.Sprintf("s%d", i), moveTo("compute-2"))
						cloud.mu.Lock()
						cloud.srv[fmt.Sprintf("s%d", i)].Updated = novaNow()
						cloud.mu.Unlock()
					}
				})
				began := time.Now()
				waitMoved(t, setup(t, cloud), n)
				if took := time.Since(began); took != 11*time.Second {
					t.Errorf("took %v, want 11s", took)
				}
				// Each is read by its id once, or twice when the first poll did not see all:
				// then Nova's own time is known.
				if lists, reads := cloud.count("servers"), cloud.count("server"); lists > 12 || reads > 2*n {
					t.Errorf("%d lists and %d reads, want at most 12 and %d", lists, reads, 2*n)
				}
			})
		})
	}
}

// A server that nobody has touched for long does not make the list reach back
// to the beginning of the cloud.
func TestARestingServerIsReadByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 4
		servers := rebuildingServers(n)
		servers[0].Updated = time.Now().Add(-1000 * time.Hour).UTC().Format(time.RFC3339)
		cloud := newNova(servers...)
		b := setup(t, cloud)
		all := cloud.servers
		cloud.servers = func(ctx context.Context, f recovery.ServerFilter) ([]recovery.Server, error) {
			if reach := time.Since(f.ChangedSince); reach > 12*time.Minute {
				t.Errorf("the list reaches back %v, want at most 12 minutes", reach)
			}
			return all(ctx, f)
		}
		time.AfterFunc(5*time.Second+500*time.Millisecond, func() {
			for i := range n {
				cloud.edit(fmt.Sprintf("s%d", i), moveTo("compute-2"))
			}
		})
		// The first poll sees the resting one alone.
		var wg sync.WaitGroup
		wg.Go(func() { waitMoved(t, b, 1) })
		synctest.Wait()
		waitMoved(t, b, n)
		wg.Wait()
	})
}

func TestAServerInACellThatIsDownIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		servers := rebuildingServers(2)
		whole := servers[1]
		servers[1] = recovery.Server{ID: "s1", Status: "UNKNOWN"}
		cloud := newNova(servers...)
		b := setup(t, cloud)
		time.AfterFunc(2500*time.Millisecond, func() {
			cloud.edit("s1", func(s *recovery.Server) { *s = whole })
			for _, id := range []string{"s0", "s1"} {
				cloud.edit(id, moveTo("compute-2"))
			}
		})
		waitMoved(t, b, 2)
	})
}

func TestAWaiterLeavesInTheMiddleOfAPoll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cloud := newNova(rebuildingServers(1)...)
		b := setup(t, cloud)
		cloud.before = func(ctx context.Context, _ string) error { // hangs
			<-ctx.Done()
			return ctx.Err()
		}
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(500*time.Millisecond, cancel)
		began := time.Now()
		_, err := do(ctx, b.task(), abi.OpNovaServerWait, `{"id":"s0","until":"moved"}`)
		want(t, "", err, "", "canceled: nova.server_wait: context canceled")
		if took := time.Since(began); took != 500*time.Millisecond {
			t.Errorf("left after %v, want 500ms", took)
		}
	})
}

func TestAWaiterIsNotJudgedByAnOlderPoll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		failed := active("s1", failedHost)
		failed.VMState, failed.Fault = "error", &recovery.Fault{Message: "of the first attempt"}
		other := active("s2", failedHost)
		other.TaskState = "rebuilding"
		cloud := newNova(failed, other)
		b := setup(t, cloud)
		all := cloud.servers
		cloud.servers = func(ctx context.Context, f recovery.ServerFilter) ([]recovery.Server, error) {
			list, err := all(ctx, f)
			time.Sleep(500 * time.Millisecond) // the list is as old as its request
			return list, err
		}
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { _, _ = do(ctx, b.task(), abi.OpNovaServerWait, `{"id":"s2","until":"moved"}`) })
		time.Sleep(100 * time.Millisecond) // a poll is under way that shows s1 in error
		cloud.edit("s1", func(s *recovery.Server) { s.TaskState = "rebuilding" })
		time.AfterFunc(1600*time.Millisecond, func() { cloud.edit("s1", moveTo("compute-2")) })
		got, err := do(t.Context(), b.task(), abi.OpNovaServerWait, `{"id":"s1","until":"moved","fields":["id"]}`)
		want(t, got, err, `{"outcome":"reached","server":{"id":"s1"}}`, "")
		cancel()
		wg.Wait()
	})
}

func TestServiceWait(t *testing.T) {
	service := func(state, status string) recovery.ComputeService {
		return recovery.ComputeService{ID: "svc-1", Binary: "nova-compute", Host: failedHost, State: state, Status: status}
	}
	marked := func(reason string) recovery.ComputeService {
		s := service("down", "disabled")
		s.DisabledReason = recovery.NullString(reason)
		return s
	}
	// The first of the waiters begins a poll; those that come during it wait for
	// the next one.
	const later = 1100 * time.Millisecond
	tests := []struct {
		name, req string
		after     recovery.ComputeService // after 1.5 s
		fail      error
		wantErr   string
		took      time.Duration
	}{
		{name: "state", req: `{"host":"compute-1","state":"down"}`, after: service("down", "enabled"), took: 2100 * time.Millisecond},
		{name: "status", req: `{"host":"compute-1","status":"disabled"}`, after: service("up", "disabled"), took: 2100 * time.Millisecond},
		{name: "both", req: `{"host":"compute-1","state":"up","status":"enabled"}`, after: service("up", "enabled"), took: later},
		{
			name: "timeout", req: `{"host":"compute-1","state":"down","status":"disabled","timeout_s":3}`, after: service("up", "disabled"), took: 3 * time.Second,
			wantErr: "timeout: nova-compute of compute-1: not down and disabled after 3 s; last seen up and disabled",
		},
		{
			name: "another run took the host", req: `{"host":"compute-1","state":"down"}`, after: marked("[wasakari east run-busy]"), took: 2100 * time.Millisecond,
			wantErr: `conflict: nova.service_wait: nova-compute of compute-1 was disabled by run run-busy of cluster "east"; finish or resume that run there, or enable the service by hand if it is over`,
		},
		{name: "own mark", req: `{"host":"compute-1","state":"down"}`, after: marked("why [wasakari east run-7]"), took: 2100 * time.Millisecond},
		{name: "mark of a run that ended", req: `{"host":"compute-1","state":"down"}`, after: marked("why [wasakari east run-old]"), took: 2100 * time.Millisecond},
		{name: "no such host", req: `{"host":"compute-9","state":"down"}`, wantErr: "not_found: nova.service_wait: host compute-9 has no service nova-compute", took: later},
		{name: "no such binary", req: `{"host":"compute-1","binary":"nova-cells","state":"down"}`, wantErr: "not_found: nova.service_wait: host compute-1 has no service nova-cells", took: later},
		{name: "refused", req: `{"host":"compute-1","state":"down"}`, fail: recovery.ErrForbidden, wantErr: "forbidden: nova.service_wait: forbidden", took: later},
		{
			name: "unavailable all the time", req: `{"host":"compute-1","state":"down","timeout_s":2}`, fail: recovery.ErrUnavailable, took: 2 * time.Second,
			wantErr: "timeout: nova-compute of compute-1: not down after 2 s; last error: unavailable",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cloud := newNova()
				cloud.svcs = []recovery.ComputeService{service("up", "enabled")}
				cloud.before = func(context.Context, string) error {
					time.Sleep(100 * time.Millisecond)
					return tt.fail
				}
				b := setup(t, cloud)
				time.AfterFunc(1500*time.Millisecond, func() {
					cloud.mu.Lock()
					defer cloud.mu.Unlock()
					cloud.svcs[0] = tt.after
				})
				began := time.Now()
				var wg sync.WaitGroup
				for range 20 {
					wg.Go(func() {
						_, err := do(t.Context(), b.task(), abi.OpNovaServiceWait, tt.req)
						want(t, "", err, "", tt.wantErr)
					})
					synctest.Wait()
				}
				wg.Wait()
				took := time.Since(began)
				if took != tt.took {
					t.Errorf("took %v, want %v", took, tt.took)
				}
				if got, most := cloud.count("services"), int(took/time.Second)+2; got > most {
					t.Errorf("%d lists for 20 waiters, want at most %d", got, most)
				}
			})
		})
	}
}

func TestCloseEndsWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := active("s1", failedHost)
		s.TaskState = "rebuilding"
		cloud := newNova(s)
		cloud.svcs = []recovery.ComputeService{{Binary: "nova-compute", Host: failedHost}}
		b := setup(t, cloud)
		time.AfterFunc(1500*time.Millisecond, b.hatch.Close)
		var wg sync.WaitGroup
		for op, req := range map[string]string{
			abi.OpNovaServerWait:  `{"id":"s1","until":"moved"}`,
			abi.OpNovaServiceWait: `{"host":"compute-1","state":"down"}`,
		} {
			wg.Go(func() {
				_, err := do(t.Context(), b.task(), op, req)
				want(t, "", err, "", "canceled: "+op+": canceled")
			})
		}
		wg.Wait()
		_, err := do(t.Context(), b.task(), abi.OpNovaServerWait, `{"id":"s1","until":"moved"}`)
		want(t, "", err, "", "canceled: nova.server_wait: canceled")
	})
}

func TestAHangingListOfEvacuationsIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cloud := newNova(active("s1", failedHost))
		cloud.migs = []recovery.Migration{evacuation("m1", "s1", "failed")}
		cloud.before = func(ctx context.Context, call string) error {
			if call == "migrations" && cloud.count("migrations") == 1 {
				<-ctx.Done()
				return ctx.Err()
			}
			return nil
		}
		began := time.Now()
		got, err := do(t.Context(), setup(t, cloud).task(), abi.OpNovaServerWait, `{"id":"s1","until":"moved","fields":["id"],"timeout_s":600}`)
		want(t, got, err, `{"outcome":"error","server":{"id":"s1"},"message":"evacuation m1 ended in failed"}`, "")
		if took := time.Since(began); took > 62*time.Second {
			t.Errorf("took %v, want about a minute", took)
		}
	})
}

func TestWaitersShareAgainWhereTheirServersWent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 10
		var servers []recovery.Server
		for i := range n {
			servers = append(servers, active(fmt.Sprintf("s%d", i), failedHost))
		}
		cloud := newNova(servers...)
		b := setup(t, cloud)
		var wg sync.WaitGroup
		for i := range n {
			wg.Go(func() {
				if _, err := do(t.Context(), b.task(), abi.OpNovaServerWait, fmt.Sprintf(`{"id":"s%d","until":"vm_state","vm_states":["stopped"]}`, i)); err != nil {
					t.Error(err)
				}
			})
		}
		edit := func(at time.Duration, f func(*recovery.Server)) {
			time.AfterFunc(at, func() {
				for i := range n {
					cloud.edit(fmt.Sprintf("s%d", i), f)
				}
			})
		}
		edit(500*time.Millisecond, moveTo("compute-2"))
		edit(20*time.Second+500*time.Millisecond, func(s *recovery.Server) { s.VMState = "stopped" })
		wg.Wait()
		// Polls from 0 to 21 s.
		if lists, reads := cloud.count("servers"), cloud.count("server"); lists+reads != 22 || reads > 1 {
			t.Errorf("%d lists and %d reads of one server, want 22 in all and at most 1 read", lists, reads)
		}
	})
}
