package masakariv1_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wasakari/wasakari/api"
	"github.com/wasakari/wasakari/recovery"
)

// TestRecovery follows a notification through two runs in the real store: the
// first fails, the second ends it.
func TestRecovery(t *testing.T) {
	kept := openStore(t)
	s := serve(t, func(c *api.Config) { c.Masakari.Store = kept })
	segment := s.segment("r")
	s.host(segment, "compute-1")
	id := s.notify("compute-1", "2026-11-23")
	path := "/v1/notifications/" + id
	at := time.Date(2026, 11, 23, 0, 17, 1, 48352000, time.UTC)
	tell := func() string {
		got := s.ask("GET", path, nil, "OpenStack-API-Version", "instance-ha 1.1").wantStatus(200)
		_, details, _ := strings.Cut(got.body, `"recovery_workflow_details":`)
		return got.text("notification.status") + " " + strings.TrimSuffix(details, "}}")
	}
	if got := tell(); got != "new []" {
		t.Errorf("before a run: %s", got)
	}

	for n, ends := range []recovery.NotificationStatus{recovery.StatusError, recovery.StatusFinished} {
		run, err := kept.Claim(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		rec := recovery.TaskRecord{Seq: 1, Key: "custom_pre_task", Class: "Custom", Status: recovery.TaskRunning, Started: at}
		if err := run.StartTask(t.Context(), rec); err != nil {
			t.Fatal(err)
		}
		before := strings.Repeat(`{"name":"Custom","progress":1.0,"state":"SUCCESS","progress_details":[{"timestamp":"2026-11-23 00:17:01.048352","progress":"1.0","message":"opened"}]},`, n)
		if got, want := tell(), "running ["+before+`{"name":"Custom","progress":0.0,"state":"RUNNING","progress_details":[]}]`; got != want {
			t.Errorf("while a task runs: %s\nwant %s", got, want)
		}
		rec.Status, rec.Ended, rec.Progress = recovery.TaskSucceeded, at, []recovery.Progress{{Time: at, Permille: 1000, Message: "opened"}}
		if err := run.FinishTask(t.Context(), rec, nil); err != nil {
			t.Fatal(err)
		}
		vmove := recovery.VMove{UUID: fmt.Sprintf("e3bce6c6-7eb6-4b1b-99d5-8d76c2a07f2%d", n), InstanceUUID: otherUUID, Type: "evacuation", Status: recovery.VMoveFailed, Attempt: n + 1}
		if err := run.PutVMove(t.Context(), vmove); err != nil {
			t.Fatal(err)
		}
		if n == 1 {
			vmove.Status = recovery.VMoveSucceeded
			if err := run.PutVMove(t.Context(), vmove); err != nil {
				t.Fatal(err)
			}
		}
		record, err := run.Record(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		record.Status, record.Message = ends, "so it went"
		if err := run.End(t.Context(), record); err != nil {
			t.Fatal(err)
		}
	}
	one := `{"name":"Custom","progress":1.0,"state":"SUCCESS","progress_details":[{"timestamp":"2026-11-23 00:17:01.048352","progress":"1.0","message":"opened"}]}`
	if got, want := tell(), "finished ["+one+","+one+"]"; got != want {
		t.Errorf("after both runs: %s\nwant %s", got, want)
	}
	if got := s.ask("GET", path, nil).text("notification.message"); got != "so it went" {
		t.Errorf("message = %q, want the run's", got)
	}

	got := s.ask("GET", path+"/vmoves", nil)
	if moves, want := got.names("vmoves", "status"), []string{"succeeded", "failed"}; !slices.Equal(moves, want) {
		t.Errorf("vmoves = %q, want %q: newest first", moves, want)
	}
	if got.at("vmoves.0.updated_at") == nil || got.at("vmoves.1.updated_at") != nil {
		t.Errorf("vmoves = %s, want the first updated and the second not", got.body)
	}
	move := got.text("vmoves.0.uuid")
	if got := s.ask("GET", path+"/vmoves/"+move, nil).wantStatus(200).text("vmove.uuid"); got != move {
		t.Errorf("vmove = %s, want %s", got, move)
	}
	s.ask("GET", path+"/vmoves/"+otherUUID, nil).wantFault(404, "No vm move with id "+otherUUID+".")
	s.ask("DELETE", "/v1/segments/"+segment, nil).wantStatus(204)
	// The notification outlives host and segment, details and all.
	if got, want := tell(), "finished ["+one+","+one+"]"; got != want {
		t.Errorf("after host and segment went: %s\nwant %s", got, want)
	}
}

// TestRace sends the same report many times at once: one is taken.
func TestRace(t *testing.T) {
	kept := openStore(t)
	s := serve(t, func(c *api.Config) { c.Masakari.Store = kept })
	s.host(s.segment("r"), "compute-1")
	statuses := make([]int, 16)
	var wg sync.WaitGroup
	for i := range statuses {
		wg.Go(func() {
			generated := fmt.Sprintf("2026-11-23T00:00:%02d", i)
			statuses[i] = s.ask("POST", "/v1/notifications", notification("compute-1", generated)).status
		})
	}
	wg.Wait()
	slices.Sort(statuses)
	if statuses[0] != 202 || statuses[1] != 409 || statuses[15] != 409 {
		t.Errorf("statuses = %v, want one 202 and else 409", statuses)
	}
	if got := s.ask("GET", "/v1/notifications", nil).names("notifications", "status"); len(got) != 1 {
		t.Errorf("notifications = %q, want one", got)
	}
}

// TestLargeSegment deletes a segment of more hosts than a transaction has room
// for.
func TestLargeSegment(t *testing.T) {
	kept := openStore(t)
	s := serve(t, func(c *api.Config) { c.Masakari.Store = kept })
	segment := s.segment("large")
	for i := range 150 {
		name := fmt.Sprintf("host-%03d", i)
		s.nova.known = append(s.nova.known, name)
		s.host(segment, name)
	}
	s.ask("DELETE", "/v1/segments/"+segment, nil).want(204, "")
	again := s.segment("large")
	s.host(again, "host-149")
	if got := s.ask("GET", "/v1/segments/"+again+"/hosts", nil).names("hosts", "name"); len(got) != 1 {
		t.Errorf("hosts = %q, want one", got)
	}
}
