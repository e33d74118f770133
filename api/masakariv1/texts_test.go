package masakariv1_test

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
)

// TestBodyTexts compares what is told about bodies with what Masakari's own
// schemas told about the same ones. The null that a host's type and control
// attributes may not be was taken out of those schemas before.
func TestBodyTexts(t *testing.T) {
	data, err := os.ReadFile("testdata/texts.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases []struct {
		Schema, Version string
		Body            json.RawMessage
		Want            string // empty: the body is good
	}
	if err := json.Unmarshal(data, &cases); err != nil {
		t.Fatal(err)
	}
	s := serve(t)
	segment := s.segment("texts")
	host := s.host(segment, "compute-3")
	for _, tt := range cases {
		method, path, body := "POST", "/v1/segments", string(tt.Body)
		switch tt.Schema {
		case "segment_update":
			method, path = "PUT", path+"/"+segment
		case "host_create":
			path += "/" + segment + "/hosts"
		case "host_update":
			method, path = "PUT", path+"/"+segment+"/hosts/"+host
		case "notification_create":
			path = "/v1/notifications"
		}
		if kind, ok := strings.CutPrefix(tt.Schema, "payload_"); ok {
			path = "/v1/notifications"
			body = `{"notification": {"type": "` + kind + `", "hostname": "ghost", "generated_time": "2026-11-23", "payload": ` + body + `}}`
		}
		got := s.ask(method, path, body, "OpenStack-API-Version", "instance-ha "+tt.Version)
		if tt.Want != "" {
			if got.status != 400 || got.text("badRequest.message") != tt.Want {
				t.Errorf("%s at %s, body %s: answer = %d %s\nwant 400 %s", tt.Schema, tt.Version, body, got.status, got.body, tt.Want)
			}
			continue
		}
		// A good body may still be refused for what it says.
		m := got.text("badRequest.message")
		if tt.Schema == "notification_create" && !strings.HasPrefix(m, "Invalid input") {
			m = "" // the payload is not that of a VM: the next check's matter
		}
		if m != "" && !strings.HasSuffix(m, "could not be found.") {
			t.Errorf("%s at %s, body %s: answer = %d %s, want it let through", tt.Schema, tt.Version, body, got.status, got.body)
		}
	}
}
