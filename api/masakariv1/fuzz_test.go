package masakariv1_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/wasakari/wasakari/api"
	"github.com/wasakari/wasakari/api/auth"
	"github.com/wasakari/wasakari/api/masakariv1"
	"github.com/wasakari/wasakari/recovery"
)

const fuzzedSegment, fuzzedHost = otherUUID, "11111111-2222-3333-4444-666666666666"

// fuzzed is the API without a network, with a segment, a host, a notification.
func fuzzed(f *testing.F) http.Handler {
	f.Helper()
	policy, err := auth.NewPolicy(auth.PolicyConfig{})
	if err != nil {
		f.Fatal(err)
	}
	s := newFakeStore()
	s.segments = []recovery.Segment{{UUID: fuzzedSegment, Name: "s", Stamp: s.stamp()}}
	s.hosts = []recovery.Host{{UUID: fuzzedHost, Name: "h", SegmentUUID: fuzzedSegment, Stamp: s.stamp()}}
	s.notifications = []recovery.Notification{{
		UUID: otherUUID, Type: recovery.ComputeHost, HostUUID: fuzzedHost, Payload: json.RawMessage(`{}`), Status: recovery.StatusFailed, Stamp: s.stamp(),
	}}
	h, err := api.New(api.Config{
		Authenticator: auth.Nobody{},
		Masakari:      masakariv1.Config{Store: s, Policy: policy, Nova: &fakeNova{known: []string{"compute-1"}}},
	})
	if err != nil {
		f.Fatal(err)
	}
	return h
}

// check fails the test for an answer that no request must get.
func check(t *testing.T, w *httptest.ResponseRecorder) {
	t.Helper()
	body := w.Body.Bytes()
	if w.Code >= 500 {
		t.Errorf("answer = %d %s", w.Code, body)
	}
	if kind := w.Header().Get("Content-Type"); strings.Contains(kind, "json") && !json.Valid(body) || !utf8.Valid(body) {
		t.Errorf("answer = %d %s: no JSON", w.Code, body)
	}
}

// FuzzBody sends any body to everything that takes one.
func FuzzBody(f *testing.F) {
	h := fuzzed(f)
	data, err := os.ReadFile("testdata/texts.json")
	if err != nil {
		f.Fatal(err)
	}
	var seeds []struct{ Body json.RawMessage }
	if err := json.Unmarshal(data, &seeds); err != nil {
		f.Fatal(err)
	}
	for i, s := range seeds {
		if i%7 == 0 {
			f.Add(string(s.Body))
		}
	}
	f.Add(`{"notification": {"type": "VM", "hostname": "h", "generated_time": "0001-01-01T00:00:00+14:00", "payload": {"event": "\ud800", "instance_uuid": "", "vir_domain_event": "\u0000"}}}`)
	f.Add(`{"segment": {"name": "\uffff", "description": "\n"}, "segment": 1e999}`)
	f.Fuzz(func(t *testing.T, body string) {
		for _, target := range []string{
			"POST /v1/segments", "PUT /v1/segments/" + fuzzedSegment, "POST /v1/segments/" + fuzzedSegment + "/hosts",
			"PUT /v1/segments/" + fuzzedSegment + "/hosts/" + fuzzedHost, "POST /v1/notifications",
		} {
			method, path, _ := strings.Cut(target, " ")
			r := httptest.NewRequestWithContext(t.Context(), method, path, strings.NewReader(body))
			r.Header.Set("OpenStack-API-Version", "instance-ha latest")
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			check(t, w)
			if w.Code < 300 && !json.Valid([]byte(body)) {
				t.Errorf("%s: answer = %d to what is no JSON", target, w.Code)
			}
		}
	})
}

// FuzzQuery sends any query to all lists.
func FuzzQuery(f *testing.F) {
	h := fuzzed(f)
	for _, q := range []string{
		"", "limit=1&marker=1&sort_key=name&sort_dir=asc", "limit=-0", "marker=+1", "generated-since=2026-11-23T00:00:00%2B09:00", "generated-since=1-1",
		"enabled=yes&reserved=t&on_maintenance=N", "sort_key=a&sort_key=b;sort_dir=%zz", "limit=%F0%9F%98%80", "page_size=00000000000000000000000000000001",
	} {
		f.Add(q)
	}
	f.Fuzz(func(t *testing.T, query string) {
		for _, path := range []string{
			"/v1/segments", "/v1/segments/" + fuzzedSegment + "/hosts", "/v1/notifications", "/v1/notifications/" + otherUUID + "/vmoves",
		} {
			r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil)
			r.URL.RawQuery = query
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			check(t, w)
		}
	})
}

// FuzzRequest sends any method, path and headers.
func FuzzRequest(f *testing.F) {
	h := fuzzed(f)
	f.Add("GET", "/v1/segments", "instance-ha 1.2", "application/json;q=0.1, */*", "text/plain")
	f.Add("PATCH", "/v1//./../notifications.json", "instance-ha\t1.99999999999999999999,", ";q=", ";")
	f.Add("DELETE", "/v1/0-f/segments/"+fuzzedSegment+"/hosts/x.json", ",,instance-ha latest", "application/*;q=NaN", "application/json;charset=\xff")
	f.Add("GET", "/\xff%", "", "", "")
	f.Fuzz(func(t *testing.T, method, path, version, accept, kind string) {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", strings.NewReader("{}"))
		r.Method, r.URL.Path = method, path
		r.Header.Set("OpenStack-API-Version", version)
		r.Header.Set("Accept", accept)
		r.Header.Set("Content-Type", kind)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		check(t, w)
	})
}
