package hostfuncs_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wasakari/wasakari/abi"
	"github.com/wasakari/wasakari/hostfuncs"
	"github.com/wasakari/wasakari/recovery"
)

func TestVMovePut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := setup(t, newNova())
		put := func(req string) recovery.VMove {
			t.Helper()
			got, err := do(t.Context(), b.task(), abi.OpHAVMovePut, req)
			if err != nil {
				t.Fatal(err)
			}
			var m recovery.VMove
			if err := json.Unmarshal([]byte(got), &m); err != nil {
				t.Fatal(err)
			}
			return m
		}
		first := put(`{"instance_uuid":"s1","instance_name":"web","status":"pending"}`)
		wantMove := recovery.VMove{
			UUID: first.UUID, NotificationUUID: "note-1", InstanceUUID: "s1", InstanceName: "web", Type: "evacuation",
			Status: recovery.VMovePending, SourceHost: failedHost, Attempt: 1,
		}
		if first != wantMove || first.UUID == "" {
			t.Errorf("vmove = %+v, want %+v", first, wantMove)
		}
		time.Sleep(time.Second)
		put(`{"instance_uuid":"s1","status":"ongoing"}`)
		time.Sleep(time.Second)
		put(`{"instance_uuid":"s1","status":"ongoing","message":"half way"}`)
		time.Sleep(time.Second)
		last := put(`{"instance_uuid":"s1","status":"succeeded","dest_host":"compute-2"}`)
		wantMove.Status, wantMove.DestHost, wantMove.Message = recovery.VMoveSucceeded, "compute-2", "half way"
		wantMove.StartTime, wantMove.EndTime = "2000-01-01T00:00:01Z", "2000-01-01T00:00:03Z"
		if last != wantMove {
			t.Errorf("vmove = %+v, want %+v", last, wantMove)
		}
		kept := last
		kept.Run = "run-7" // tasks are not told
		if len(b.ha.vmoves) != 1 || b.ha.vmoves[0] != kept {
			t.Errorf("records = %+v, want the last one only", b.ha.vmoves)
		}
		if len(b.events) != 4 || *b.events[3].VMove != last {
			t.Errorf("%d events, want 4 with the vmove as it is", len(b.events))
		}
	})
}

func TestVMoveTransitions(t *testing.T) {
	statuses := []string{"pending", "ongoing", "succeeded", "failed", "ignored"}
	allowed := map[string]string{ // from: to, on the first attempt
		"":          "pending ongoing succeeded failed ignored",
		"pending":   "pending ongoing succeeded failed ignored",
		"ongoing":   "ongoing succeeded failed ignored",
		"succeeded": "succeeded",
		"failed":    "failed",
		"ignored":   "ignored",
	}
	for from, list := range allowed {
		for _, to := range statuses {
			for _, attempt := range []int{1, 2} {
				want := strings.Contains(list, to) || attempt == 2 && from == "failed" && (to == "ongoing" || to == "pending")
				t.Run(fmt.Sprintf("%s to %s in attempt %d", from, to, attempt), func(t *testing.T) {
					b := setup(t, newNova())
					if from != "" {
						b.ha.vmoves = []recovery.VMove{{UUID: "v1", InstanceUUID: "s1", Status: recovery.VMoveStatus(from), Attempt: 1, EndTime: "then", Message: "why"}}
					}
					got, err := do(t.Context(), b.task(func(c *hostfuncs.TaskCall) { c.Attempt = attempt }),
						abi.OpHAVMovePut, fmt.Sprintf(`{"instance_uuid":"s1","status":%q}`, to))
					if want != (err == nil) || err != nil && code(err) != abi.ErrnoConflict {
						t.Errorf("error = %v, want allowed %v", err, want)
					}
					if from == "failed" && to == "ongoing" && err == nil && (strings.Contains(got, "then") || strings.Contains(got, "why")) {
						t.Errorf("vmove = %s, want no end and no reason of the first try", got)
					}
				})
			}
		}
	}
}

func TestVMoveRounds(t *testing.T) {
	b := setup(t, newNova())
	for _, step := range []struct {
		round  int
		server string
		status string
	}{{1, "s1", "failed"}, {1, "s2", "succeeded"}, {2, "s1", "succeeded"}} {
		if _, err := do(t.Context(), b.task(func(c *hostfuncs.TaskCall) { c.Round = step.round }), abi.OpHAVMovePut,
			fmt.Sprintf(`{"instance_uuid":%q,"status":%q}`, step.server, step.status)); err != nil {
			t.Fatal(err)
		}
	}
	tests := []struct{ req, want string }{
		{`{}`, "s1/1 failed, s2/1 succeeded, s1/2 succeeded"},
		{`{"latest":true}`, "s2/1 succeeded, s1/2 succeeded"},
		{`{"latest":true,"status":"failed"}`, ""},
		{`{"status":"failed"}`, "s1/1 failed"},
	}
	for _, tt := range tests {
		t.Run(tt.req, func(t *testing.T) {
			got, err := do(t.Context(), b.task(), abi.OpHAVMoveList, tt.req)
			if err != nil {
				t.Fatal(err)
			}
			var ans struct{ VMoves []recovery.VMove }
			if err := json.Unmarshal([]byte(got), &ans); err != nil {
				t.Fatal(err)
			}
			var list []string
			for _, m := range ans.VMoves {
				list = append(list, fmt.Sprintf("%s/%d %s", m.InstanceUUID, m.Attempt, m.Status))
			}
			if got := strings.Join(list, ", "); got != tt.want {
				t.Errorf("vmoves = %s, want %s", got, tt.want)
			}
		})
	}
}

// TestVMovesOfAnEarlierRun takes a server up again that an earlier run of the
// notification gave up.
func TestVMovesOfAnEarlierRun(t *testing.T) {
	b := setup(t, newNova())
	b.ha.vmoves = []recovery.VMove{
		{UUID: "v1", InstanceUUID: "s1", Status: recovery.VMoveFailed, Attempt: 1, Run: "run-6"},
		{UUID: "v2", InstanceUUID: "s1", Status: recovery.VMoveFailed, Attempt: 2, Run: "run-6"},
		{UUID: "v3", InstanceUUID: "s2", Status: recovery.VMoveSucceeded, Attempt: 1, Run: "run-6"},
	}
	for _, status := range []string{"pending", "ongoing", "succeeded"} {
		got, err := do(t.Context(), b.task(), abi.OpHAVMovePut, fmt.Sprintf(`{"instance_uuid":"s1","status":%q}`, status))
		if err != nil {
			t.Fatalf("%s: %v", status, err)
		}
		if strings.Contains(got, `"run"`) {
			t.Errorf("the task is told of runs: %s", got)
		}
	}
	var list []string
	for _, m := range b.ha.vmoves {
		list = append(list, fmt.Sprintf("%s/%d %s of %s", m.InstanceUUID, m.Attempt, m.Status, m.Run))
	}
	const want = "s1/1 failed of run-6, s1/2 failed of run-6, s2/1 succeeded of run-6, s1/3 succeeded of run-7"
	if got := strings.Join(list, ", "); got != want {
		t.Errorf("vmoves = %s, want %s", got, want)
	}
}

func TestVMovesOfManyAtOnce(t *testing.T) {
	b := setup(t, newNova())
	task := b.task()
	var wg sync.WaitGroup
	for i := range 40 {
		for _, status := range []string{"pending", "pending"} {
			wg.Go(func() {
				if _, err := do(t.Context(), task, abi.OpHAVMovePut, fmt.Sprintf(`{"instance_uuid":"s%d","status":%q}`, i, status)); err != nil {
					t.Error(err)
				}
			})
		}
	}
	wg.Wait()
	if got := len(b.ha.vmoves); got != 40 {
		t.Errorf("%d vmoves, want 40: one for each server", got)
	}
}

func TestVMoveIsNotKeptWhenItsRecordFails(t *testing.T) {
	b := setup(t, newNova())
	task := b.task()
	if _, err := do(t.Context(), task, abi.OpHAVMovePut, `{"instance_uuid":"s1","status":"ongoing"}`); err != nil {
		t.Fatal(err)
	}
	b.ha.err = errOutside
	_, err := do(t.Context(), task, abi.OpHAVMovePut, `{"instance_uuid":"s1","status":"succeeded"}`)
	want(t, "", err, "", "unavailable: ha.vmove_put: the disk is on fire")
	b.ha.err = nil
	got, err := do(t.Context(), task, abi.OpHAVMoveList, `{"status":"ongoing"}`)
	if err != nil || !strings.Contains(got, `"s1"`) {
		t.Errorf("vmoves = %s, error %v, want s1 ongoing still", got, err)
	}
	if got := len(b.events); got != 1 {
		t.Errorf("%d events, want 1", got)
	}
}

func TestHosts(t *testing.T) {
	tests := []struct{ name, op, req, want, wantErr string }{
		{"all", abi.OpHAHostList, `{}`, `{"hosts":[{"uuid":"","name":"compute-1","reserved":false,"on_maintenance":false},{"uuid":"","name":"compute-4","reserved":true,"on_maintenance":false}]}`, ""},
		{"not reserved", abi.OpHAHostList, `{"reserved":false}`, `{"hosts":[{"uuid":"","name":"compute-1","reserved":false,"on_maintenance":false}]}`, ""},
		{"on maintenance", abi.OpHAHostList, `{"on_maintenance":true}`, `{"hosts":[]}`, ""},
		{"update", abi.OpHAHostUpdate, `{"name":"compute-4","reserved":false}`, `{"uuid":"","name":"compute-4","reserved":false,"on_maintenance":false}`, ""},
		{"update nothing", abi.OpHAHostUpdate, `{"name":"compute-4"}`, `{"uuid":"","name":"compute-4","reserved":true,"on_maintenance":false}`, ""},
		{"unknown", abi.OpHAHostUpdate, `{"name":"compute-9","reserved":false}`, "", `not_found: ha.host_update: host "compute-9" is not in the segment`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := do(t.Context(), setup(t, newNova()).task(), tt.op, tt.req)
			want(t, got, err, tt.want, tt.wantErr)
		})
	}
}

func TestVMovesAreBounded(t *testing.T) {
	b := setup(t, newNova())
	for i := range 50_000 {
		b.ha.vmoves = append(b.ha.vmoves, recovery.VMove{UUID: fmt.Sprint("v", i), InstanceUUID: fmt.Sprint("s", i), Attempt: 1, Status: recovery.VMovePending})
	}
	_, err := do(t.Context(), b.task(), abi.OpHAVMovePut, `{"instance_uuid":"one-too-many","status":"pending"}`)
	want(t, "", err, "", "too_large: ha.vmove_put: the run has 50000 vmoves already, no more are allowed")
	if _, err := do(t.Context(), b.task(), abi.OpHAVMovePut, `{"instance_uuid":"s7","status":"ongoing"}`); err != nil {
		t.Error(err)
	}
}
