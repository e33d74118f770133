package masakariv1_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/wasakari/wasakari/api"
	"github.com/wasakari/wasakari/api/auth"
	"github.com/wasakari/wasakari/api/masakariv1"
	"github.com/wasakari/wasakari/recovery"
)

// benched is the API without a network.
func benched(b *testing.B, store masakariv1.Store) http.Handler {
	b.Helper()
	policy, err := auth.NewPolicy(auth.PolicyConfig{})
	if err != nil {
		b.Fatal(err)
	}
	h, err := api.New(api.Config{
		Authenticator: auth.Nobody{},
		Masakari:      masakariv1.Config{Store: store, Policy: policy, Nova: &fakeNova{}, DuplicateWindow: window},
	})
	if err != nil {
		b.Fatal(err)
	}
	return h
}

func once(b *testing.B, h http.Handler, method, path, body string, status int) {
	b.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequestWithContext(b.Context(), method, path, strings.NewReader(body)))
	if w.Code != status {
		b.Fatalf("answer = %d %s", w.Code, w.Body)
	}
}

// BenchmarkAccept is what the API itself costs per notification: the store is
// in memory and forgets.
func BenchmarkAccept(b *testing.B) {
	s := newFakeStore()
	s.hosts = []recovery.Host{{UUID: otherUUID, Name: "compute-1", SegmentUUID: otherUUID}}
	h := benched(b, s)
	b.ReportAllocs()
	for b.Loop() {
		s.notifications = nil
		once(b, h, "POST", "/v1/notifications", `{"notification": {"type": "VM", "hostname": "compute-1", "generated_time": "2026-11-23T00:17:29.770414",
			"payload": {"event": "LIFECYCLE", "instance_uuid": "`+otherUUID+`", "vir_domain_event": "STOPPED_FAILED"}}}`, 202)
	}
}

// BenchmarkListOld lists the newest notifications among many.
func BenchmarkListOld(b *testing.B) {
	const many = 100_000
	s := newFakeStore()
	for i := range many {
		s.notifications = append(s.notifications, recovery.Notification{
			UUID: fmt.Sprintf("00000000-0000-0000-0000-%012d", i), Type: recovery.VM, Status: recovery.StatusIgnored, Payload: json.RawMessage(`{"event":"x"}`),
			Generated: time.Unix(int64(i), 0), Stamp: recovery.Stamp{ID: int64(i), Created: time.Unix(int64(i), 0)},
		})
	}
	h := benched(b, s)
	b.ReportAllocs()
	for b.Loop() {
		once(b, h, "GET", "/v1/notifications?limit=100", "", 200)
	}
}
