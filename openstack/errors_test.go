package openstack_test

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/wasakari/wasakari/openstack"
	"github.com/wasakari/wasakari/recovery"
)

// The table of translate, row by row, with texts as Nova 26.2 writes them.
func TestErrorTranslation(t *testing.T) {
	unknown := recovery.ErrUnknownOutcome
	tests := []struct {
		status  int
		body    string
		message string
		want    error
		unknown bool // of a change
	}{
		{400, `{"badRequest": {"code": 400, "message": "The target host can't be the same one."}}`, "The target host can't be the same one.", recovery.ErrInvalid, false},
		{400, `{"badRequest": {"code": 400, "message": "Compute service of compute-1 is still in use."}}`, "Compute service of compute-1 is still in use.", recovery.ErrConflict, false},
		{401, `{"error": {"code": 401, "message": "The request you have made requires authentication.", "title": "Unauthorized"}}`, "The request you have made requires authentication.", recovery.ErrUnauthorized, false},
		{403, `{"forbidden": {"code": 403, "message": "Policy doesn't allow it."}}`, "Policy doesn't allow it.", recovery.ErrForbidden, false},
		{404, `{"itemNotFound": {"code": 404, "message": "Compute host nowhere not found."}}`, "Compute host nowhere not found.", recovery.ErrNotFound, false},
		{405, ``, "method not allowed", recovery.ErrInvalid, false},
		{406, `{"computeFault": {"code": 406, "message": "Version 2.95 is not supported by the API."}}`, "Version 2.95 is not supported by the API.", recovery.ErrInvalid, false},
		{409, `{"conflictingRequest": {"code": 409, "message": "Cannot 'evacuate' instance x while it is in vm_state paused"}}`, "Cannot 'evacuate' instance x while it is in vm_state paused", recovery.ErrConflict, false},
		{413, `{"overLimit": {"code": 413, "message": "Too much.", "retryAfter": 1}}`, "Too much.", recovery.ErrQuota, false},
		{429, `{"overLimit": {"message": "Slow down."}}`, "Slow down.", recovery.ErrQuota, false},
		{500, "{\"computeFault\": {\"code\": 500, \"message\": \"Unexpected API Error.\\n<class 'oslo'>\"}}", "Unexpected API Error. <class 'oslo'>", recovery.ErrUnavailable, true},
		{502, "<html><head><title>502</title><style>p {x}</style></head>\n<body><h1>Bad Gateway</h1>\n<p>nginx</p></body></html>", "Bad Gateway nginx", recovery.ErrUnavailable, true},
		{503, ``, "service unavailable", recovery.ErrUnavailable, true},
		{418, `{"message": "teapot"}`, "teapot", recovery.ErrInvalid, false},
		{400, `{"error": "short"}`, "short", recovery.ErrInvalid, false},
		{400, `{"other": [1]}`, `{"other": [1]}`, recovery.ErrInvalid, false},
		{300, `{"choices": []}`, `{"choices": []}`, recovery.ErrUnavailable, false},
	}
	f := newCloud(t, nil)
	c := f.connect()
	for _, tt := range tests {
		t.Run(fmt.Sprintf("%d %.40s", tt.status, tt.body), func(t *testing.T) {
			reply := say(tt.status, tt.body)
			f.on(stopServer, reply)
			f.on("GET /v2.1/servers/s1", reply)
			check := func(what string, err error, op string, want error, unknownOutcome bool) {
				t.Helper()
				e, ok := errors.AsType[*recovery.CloudError](err)
				if !ok {
					t.Fatalf("%s: %v, want a CloudError", what, err)
				}
				if e.Status != tt.status || e.Message != tt.message || e.RequestID != "req-1" || e.Op != op {
					t.Errorf("%s: op %q, status %d, message %q, request id %q; want %q, %d, %q, req-1", what, e.Op, e.Status, e.Message, e.RequestID, op, tt.status, tt.message)
				}
				if !errors.Is(err, want) || errors.Is(err, unknown) != unknownOutcome {
					t.Errorf("%s: %#v, want %v, unknown outcome %v", what, e.Err, want, unknownOutcome)
				}
			}
			_, err := c.Evacuate(t.Context(), "s1", "")
			check("evacuate", err, "evacuate server s1", tt.want, tt.unknown)
			_, err = c.Server(t.Context(), "s1")
			if errors.Is(tt.want, recovery.ErrConflict) && tt.status == 400 {
				check("get", err, "get server s1", recovery.ErrInvalid, false)
			} else {
				check("get", err, "get server s1", tt.want, false)
			}
		})
	}
}

func TestRequestIDs(t *testing.T) {
	f := newCloud(t, nil)
	c := f.connect()
	tests := []struct {
		name   string
		header http.Header
		want   string
	}{
		{"x-openstack-request-id", http.Header{"X-Openstack-Request-Id": {"req-a"}, "X-Compute-Request-Id": {"req-b"}}, "req-a"},
		{"x-compute-request-id", http.Header{"X-Compute-Request-Id": {"req-b"}}, "req-b"},
		{"none", nil, ""},
		{"much too long", http.Header{"X-Openstack-Request-Id": {strings.Repeat("x", 1000)}}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, status := range []int{202, 409} {
				f.on(stopServer, func(w http.ResponseWriter, _ *http.Request) {
					maps.Copy(w.Header(), tt.header)
					w.WriteHeader(status)
				})
				got, err := c.Stop(t.Context(), "s1")
				if e, ok := errors.AsType[*recovery.CloudError](err); ok {
					got = e.RequestID
				}
				if got != tt.want {
					t.Errorf("status %d: request id = %q, want %q", status, got, tt.want)
				}
			}
		})
	}
}

// FuzzErrorBody: whatever stands in the body of an error, its text is short,
// printable, one line.
func FuzzErrorBody(f *testing.F) {
	for _, seed := range []string{
		`{"badRequest": {"message": "text", "code": 400}}`, `{"error": {"message": 7}}`, `{"a": null, "message": "x"}`, `<html><body>hi`, "\x00\xff\n",
		`{"x": {"message": "` + strings.Repeat("é", 2000) + `"}}`, `<head></style>`, ``, `[]`, `"\u0007"`,
	} {
		f.Add([]byte(seed))
	}
	cl, c := fuzzed(f)
	f.Fuzz(func(t *testing.T, body []byte) {
		cl.on(stopServer, say(400, string(body)))
		_, err := c.Stop(t.Context(), "s1")
		e, ok := errors.AsType[*recovery.CloudError](err)
		if !ok {
			t.Fatalf("err = %v, want a CloudError", err)
		}
		if !errors.Is(e, recovery.ErrInvalid) || e.Message == "" || utf8.RuneCountInString(e.Message) > 1001 || !utf8.ValidString(e.Message) {
			t.Errorf("err = %q, want ErrInvalid with a short text", e)
		}
		if strings.ContainsFunc(e.Message, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Errorf("message = %q is not printable", e.Message)
		}
	})
}

// FuzzServers: whatever Nova answers, each server handed out has an id, the
// same as when it is read alone, or there is an error that says why.
func FuzzServers(f *testing.F) {
	for _, seed := range []string{
		`{"id": "a"}`, `{"id": "a", "metadata": {"x": "y"}, "OS-EXT-STS:power_state": 4}`, `{"id": 7}`, `null`, `{}`, `[]`, `{"id": "a"}, {"id": "b"}`,
		`{"id": "a", "locked_reason": null, "tags": ["x"], "fault": {"code": 500}}`, `{"id": "a", "flavor": {"x": [1, 2, {}]}, "image": ""}`,
	} {
		f.Add([]byte(seed))
	}
	cl, c := fuzzed(f)
	f.Fuzz(func(t *testing.T, doc []byte) {
		cl.on("GET /v2.1/servers/detail", say(200, `{"servers": [`+string(doc)+`]}`))
		cl.on("GET /v2.1/servers/s1", say(200, `{"server": `+string(doc)+`}`))
		seen := 0
		err := c.Servers(t.Context(), recovery.ServerFilter{}, func(page []recovery.Server) error {
			for _, s := range page {
				if s.ID == "" {
					t.Error("a server without an id")
				}
				seen++
			}
			return nil
		})
		if err != nil && !errors.Is(err, recovery.ErrUnavailable) {
			t.Errorf("err = %v, want ErrUnavailable", err)
		}
		s, oneErr := c.Server(t.Context(), "s1")
		if oneErr == nil && s.ID == "" {
			t.Error("a server without an id")
		}
		if err == nil && seen == 1 && oneErr != nil {
			t.Errorf("read alone: %v, in a list: fine", oneErr)
		}
	})
}

// fuzzed is a cloud for a fuzz target.
func fuzzed(f *testing.F) (*cloud, *openstack.Client) {
	f.Helper()
	cl := newCloud(f, nil)
	o := cl.options()
	o.Logger = nil
	c, err := openstack.Connect(f.Context(), o)
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(c.Close)
	return cl, c
}
