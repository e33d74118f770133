package main_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	wasakari "github.com/wasakari/wasakari/sdk/go"
	"github.com/wasakari/wasakari/sdk/go/wasakaritest"
	_ "github.com/wasakari/wasakari/tasks-examples/redfish_fence/go" // registers the task
)

// controller is a fake baseboard controller.
type controller struct {
	states []string // what the looks show, one after the other; the last one stays
	system map[string]any
	reset  func() (wasakari.HTTPRequestAnswer, error)
	looks  int
	seen   []wasakari.HTTPRequestRequest
}

const address = "https://compute-1.bmc.example.com/redfish/v1/Systems/1"

func (c *controller) serve(_ context.Context, r wasakari.HTTPRequestRequest) (wasakari.HTTPRequestAnswer, error) {
	c.seen = append(c.seen, r)
	if r.Method == "POST" {
		return c.reset()
	}
	state := c.states[min(c.looks, len(c.states)-1)]
	c.looks++
	if code, text, failed := strings.Cut(state, ":"); failed {
		return wasakari.HTTPRequestAnswer{}, wasakaritest.Error(code, "%s", text)
	}
	doc := map[string]any{
		"PowerState": state, "HostName": "compute-1.example.com",
		"Actions": map[string]any{"#ComputerSystem.Reset": map[string]any{"target": "/redfish/v1/Systems/1/Actions/ComputerSystem.Reset"}},
	}
	maps.Copy(doc, c.system)
	body, err := json.Marshal(doc)
	return wasakari.HTTPRequestAnswer{Status: 200, URL: r.URL, Body: string(body)}, err
}

func answer(status int64, body string) func() (wasakari.HTTPRequestAnswer, error) {
	return func() (wasakari.HTTPRequestAnswer, error) {
		return wasakari.HTTPRequestAnswer{Status: status, Body: body}, nil
	}
}

func newFake(c *controller, options map[string]any) *wasakaritest.Fake {
	f := &wasakaritest.Fake{
		Inputs: map[string]any{"host_name": "compute-1"},
		Options: map[string]map[string]any{"redfish_fence": {
			"url": "https://{short}.bmc.example.com/redfish/v1/Systems/1", "urls": nil, "user": "wasakari",
			"password": wasakari.Secret{Name: "redfish_fence.password"}, "ca": wasakari.Secret{Name: "redfish_fence.ca"},
			"match_host_name": true, "looks": 3, "look_interval": 0.001, "timeout": 30,
		}},
	}
	maps.Copy(f.Options["redfish_fence"], options)
	if c.reset == nil {
		c.reset = answer(204, "")
	}
	wasakaritest.Answer(f, "http.request", c.serve)
	return f
}

func TestFence(t *testing.T) {
	unknown := func() (wasakari.HTTPRequestAnswer, error) {
		return wasakari.HTTPRequestAnswer{}, wasakaritest.Error("timeout", "no answer within 30s; the request may have arrived")
	}
	tests := []struct {
		name string
		c    controller
		want []string // methods
	}{
		{"on", controller{states: []string{"On", "PoweringOff", "Off"}}, []string{"GET", "POST", "GET", "GET", "GET", "GET"}},
		{"off already: nothing is sent", controller{states: []string{"Off"}}, []string{"GET", "GET", "GET", "GET"}},
		{"off and on again", controller{states: []string{"On", "Off", "Off", "On", "Off"}}, []string{"GET", "POST", "GET", "GET", "GET", "GET", "GET", "GET"}},
		{"the controller restarts", controller{states: []string{"On", "Off", "unavailable:connection refused", "Off"}}, []string{"GET", "POST", "GET", "GET", "GET", "GET", "GET"}},
		{"the answer to the reset is lost", controller{states: []string{"On", "Off"}, reset: unknown}, []string{"GET", "POST", "GET", "GET", "GET"}},
		{"going off already", controller{states: []string{"PoweringOff", "Off"}, reset: answer(409, "")}, []string{"GET", "POST", "GET", "GET", "GET"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			before := time.Now().Add(-time.Second)
			r := wasakaritest.Run(t, "redfish_fence_task", newFake(&tt.c, nil))
			if r.Outcome != wasakaritest.Succeeded {
				t.Fatalf("ended %s %q", r.Outcome, r.Reason)
			}
			var p struct {
				Host, Method, Run string
				Time              time.Time
			}
			r.Value(t, "fence_proof", &p)
			if p.Host != "compute-1" || p.Method != "redfish" || p.Run != "test-run" || p.Time.Before(before) || p.Time.After(time.Now()) {
				t.Errorf("proof %+v", p)
			}
			var methods []string
			for _, req := range tt.c.seen {
				methods = append(methods, req.Method)
				url := address
				if req.Method == "POST" {
					url += "/Actions/ComputerSystem.Reset"
					if string(req.BodyJSON) != `{"ResetType":"ForceOff"}` {
						t.Errorf("body %s", req.BodyJSON)
					}
				}
				password, _ := json.Marshal(req.Basic.Password)
				if req.URL != url || req.Basic.User != "wasakari" || string(password) != `{"$secret":"redfish_fence.password"}` || req.TLS.CA.Name != "redfish_fence.ca" {
					t.Errorf("request %+v", req)
				}
			}
			if !slices.Equal(methods, tt.want) {
				t.Errorf("requests %v, want %v", methods, tt.want)
			}
		})
	}
}

func TestFenceFails(t *testing.T) {
	tests := []struct {
		name    string
		c       controller
		host    string
		options map[string]any
		want    string
	}{
		{"never off", controller{states: []string{"On"}}, "", map[string]any{"timeout": 0.02}, "not off within 20ms: its power state is On"},
		{"not reached any more", controller{states: []string{"On", "unavailable:connection refused"}}, "", map[string]any{"timeout": 0.02}, "not off within 20ms: http.request: unavailable: connection refused"},
		{"not off for long enough", controller{states: []string{"Off"}}, "", map[string]any{"timeout": 0.02, "look_interval": 0.1}, "not off within 20ms: it was off for 1 of 3 looks"},
		{"not reached", controller{states: []string{"unavailable:connection refused"}}, "", nil, "http.request: unavailable: connection refused"},
		{"not granted while waiting", controller{states: []string{"On", "not_granted:none of the requests"}}, "", nil, "http.request: not granted: none of the requests"},
		{
			"another host's controller",
			controller{states: []string{"On"}, system: map[string]any{"HostName": "compute-2"}},
			"", nil,
			address + " is the system of host compute-2, not of compute-1: mend [redfish_fence] url or urls",
		},
		{"no system", controller{states: []string{""}}, "", nil, "GET " + address + ": the answer is no system of Redfish: it has no PowerState"},
		{"no action", controller{states: []string{"On"}, system: map[string]any{"Actions": nil}}, "", nil, "GET " + address + ": the system has no action ComputerSystem.Reset"},
		{
			"an action elsewhere",
			controller{states: []string{"On"}, system: map[string]any{"Actions": map[string]any{"#ComputerSystem.Reset": map[string]any{"target": "//evil.example/x"}}}},
			"", nil,
			"GET " + address + ": the system has no action ComputerSystem.Reset",
		},
		{
			"no ForceOff",
			controller{states: []string{"On"}, system: map[string]any{"Actions": map[string]any{"#ComputerSystem.Reset": map[string]any{
				"target": "/x", "ResetType@Redfish.AllowableValues": []string{"On", "Nmi"},
			}}}},
			"", nil,
			"GET " + address + ": the system knows no reset ForceOff, only On, Nmi",
		},
		{
			"refused",
			controller{states: []string{"On"}, reset: answer(400, `{"error":{"message":"no","@Message.ExtendedInfo":[{"Message":"The account has no privilege."}]}}`)},
			"", nil,
			"POST " + address + "/Actions/ComputerSystem.Reset: answered with 400: The account has no privilege.",
		},
		{"wrong password", controller{states: []string{"On"}, reset: answer(401, "")}, "", nil, "POST " + address + "/Actions/ComputerSystem.Reset: answered with 401: user or password is wrong"},
		{"host of an odd name", controller{}, "compute-1/../2", nil, `host_name "compute-1/../2": no URL can be made of it`},
		{"urls that are none", controller{}, "", map[string]any{"urls": []string{"compute-1"}}, `[redfish_fence] urls: "compute-1": want HOST=URL`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFake(&tt.c, tt.options)
			if tt.host != "" {
				f.Inputs["host_name"] = tt.host
			}
			r := wasakaritest.Run(t, "redfish_fence_task", f)
			if r.Outcome != wasakaritest.Failed || r.Reason != tt.want {
				t.Errorf("ended %s %q\nwant failed %q", r.Outcome, r.Reason, tt.want)
			}
			if _, ok := r.Values["fence_proof"]; ok {
				t.Error("there is a proof all the same")
			}
		})
	}
}

func TestURLs(t *testing.T) {
	tests := []struct{ host, want string }{
		{"compute-1.example.com", address},
		{"compute-2", "https://rack7.bmc.example.com/redfish/v1/Systems/9"},
	}
	for _, tt := range tests {
		c := controller{states: []string{"Off"}, system: map[string]any{"HostName": ""}}
		f := newFake(&c, map[string]any{"urls": []string{"compute-2 = https://rack7.bmc.example.com/redfish/v1/Systems/9"}})
		f.Inputs["host_name"] = tt.host
		wasakaritest.Run(t, "redfish_fence_task", f)
		if len(c.seen) == 0 || c.seen[0].URL != tt.want {
			t.Errorf("%s: asked %+v, want %s", tt.host, c.seen, tt.want)
		}
	}
}

func TestDryRun(t *testing.T) {
	c := controller{states: []string{"On"}, reset: func() (wasakari.HTTPRequestAnswer, error) {
		return wasakari.HTTPRequestAnswer{Status: 200, DryRun: true}, nil
	}}
	r := wasakaritest.Run(t, "redfish_fence_task", newFake(&c, nil))
	if _, ok := r.Values["fence_proof"]; r.Outcome != wasakaritest.Succeeded || !ok || len(c.seen) != 2 {
		t.Errorf("ended %s %q after %d requests", r.Outcome, r.Reason, len(c.seen))
	}
	if want := "dry run: compute-1 would be powered off"; len(r.Logs) != 1 || r.Logs[0].Message != want {
		t.Errorf("logs %v, want %s", fmt.Sprint(r.Logs), want)
	}
}
