//go:build e2e

package openstack_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// Where the lab listens.
const (
	keystoneURL = "http://127.0.0.1:5000"
	novaURL     = "http://127.0.0.1:8774"
	glanceURL   = "http://127.0.0.1:9292"
)

// cloud is a plain client of the lab's Keystone and Nova. It shares no code
// with the program under test.
type cloud struct {
	http  http.Client
	agent string // its name in the request logs
	mu    sync.Mutex
	// tokens by "user project".
	tokens map[string]string
	// ours are the ids of the suite's own requests, by which its actions are
	// told from those of the program.
	ours map[string]bool
}

func newCloud() *cloud {
	return &cloud{http: http.Client{Timeout: time.Minute}, agent: "e2e", tokens: map[string]string{}, ours: map[string]bool{}}
}

// Who asks.
const (
	admin  = "admin admin" // user and project
	owner  = "admin lab"   // an administrator in the project of the servers
	member = "lab lab"     // the owner of the servers
)

// forget drops tokens: an hour is long for a scenario, not for all of them.
func (c *cloud) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.tokens)
}

// statusError is an answer of 300 and more.
type statusError struct {
	status int
	text   string
}

func (e *statusError) Error() string { return e.text }

func statusOf(err error) int {
	if e, ok := errors.AsType[*statusError](err); ok {
		return e.status
	}
	return 0
}

func (c *cloud) token(ctx context.Context, who string) (string, error) {
	c.mu.Lock()
	token := c.tokens[who]
	c.mu.Unlock()
	if token != "" {
		return token, nil
	}
	user, project, _ := strings.Cut(who, " ")
	domain := map[string]any{"id": "default"}
	body := map[string]any{"auth": map[string]any{
		"identity": map[string]any{"methods": []string{"password"}, "password": map[string]any{
			"user": map[string]any{"name": user, "domain": domain, "password": "lab"},
		}},
		"scope": map[string]any{"project": map[string]any{"name": project, "domain": domain}},
	}}
	answer, err := c.send(ctx, "", "POST", keystoneURL+"/v3/auth/tokens", body, nil)
	if err != nil {
		return "", err
	}
	token = answer.Get("X-Subject-Token")
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tokens[who] = token
	return token, nil
}

// send sends one request and decodes its answer into out unless that is nil.
func (c *cloud) send(ctx context.Context, token, method, target string, body, out any) (http.Header, error) {
	var payload io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		payload = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, target, payload)
	if err != nil {
		return nil, err
	}
	req.Header.Set("User-Agent", c.agent)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("OpenStack-API-Version", "compute 2.90, instance-ha 1.3")
	if token != "" {
		req.Header.Set("X-Auth-Token", token)
	}
	res, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(res.Body, 64<<20))
	if err != nil {
		return nil, err
	}
	if id := res.Header.Get("X-Openstack-Request-Id"); id != "" && method != "GET" {
		c.mu.Lock()
		c.ours[id] = true
		c.mu.Unlock()
	}
	if res.StatusCode >= 300 {
		return res.Header, &statusError{res.StatusCode, fmt.Sprintf("%s %s: %s: %s", method, target, res.Status, text)}
	}
	if out == nil || len(text) == 0 {
		return res.Header, nil
	}
	return res.Header, json.Unmarshal(text, out)
}

// nova asks Nova, with a new token when the old one is no good any more.
func (c *cloud) nova(ctx context.Context, who, method, path string, body, out any) error {
	for again := false; ; again = true {
		token, err := c.token(ctx, who)
		if err != nil {
			return err
		}
		_, err = c.send(ctx, token, method, novaURL+"/v2.1"+path, body, out)
		if statusOf(err) != http.StatusUnauthorized || again {
			return err
		}
		c.forget()
	}
}

// server is what the suite looks at.
type server struct {
	ID       string            `json:"id"`
	Name     string            `json:"name"`
	Status   string            `json:"status"`
	Metadata map[string]string `json:"metadata"`
	Host     string            `json:"OS-EXT-SRV-ATTR:host"`
	VMState  string            `json:"OS-EXT-STS:vm_state"`
	Task     string            `json:"OS-EXT-STS:task_state"`
	Power    int               `json:"OS-EXT-STS:power_state"`
	Locked   bool              `json:"locked"`
	Fault    struct {
		Message string `json:"message"`
	} `json:"fault"`
}

func (s server) String() string {
	text := fmt.Sprintf("%s on %s: %s", s.Name, s.Host, s.VMState)
	if s.Task != "" {
		text += "/" + s.Task
	}
	if s.Fault.Message != "" {
		text += " (" + s.Fault.Message + ")"
	}
	return text
}

// servers reads every server, by id.
func (c *cloud) servers(ctx context.Context) (map[string]server, error) {
	var answer struct{ Servers []server }
	if err := c.nova(ctx, admin, "GET", "/servers/detail?all_tenants=1&limit=1000", nil, &answer); err != nil {
		return nil, err
	}
	out := map[string]server{}
	for _, s := range answer.Servers {
		out[s.ID] = s
	}
	return out, nil
}

func (c *cloud) mustServers(t *testing.T) map[string]server {
	t.Helper()
	all, err := c.servers(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// server reads one server; some are in no list.
func (c *cloud) server(ctx context.Context, id string) (server, error) {
	var answer struct{ Server server }
	err := c.nova(ctx, admin, "GET", "/servers/"+id, nil, &answer)
	return answer.Server, err
}

// act sends a server action.
func (c *cloud) act(ctx context.Context, who, id, action string, arg any) error {
	return c.nova(ctx, who, "POST", "/servers/"+id+"/action", map[string]any{action: arg}, nil)
}

// actions counts the actions of the program on a server, as Nova recorded
// them, by name.
func (c *cloud) actions(ctx context.Context, id string) (map[string]int, error) {
	var answer struct {
		InstanceActions []struct {
			Action    string `json:"action"`
			RequestID string `json:"request_id"`
		} `json:"instanceActions"`
	}
	if err := c.nova(ctx, admin, "GET", "/servers/"+id+"/os-instance-actions", nil, &answer); err != nil {
		return nil, err
	}
	n := map[string]int{}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, a := range answer.InstanceActions {
		if !c.ours[a.RequestID] {
			n[a.Action]++
		}
	}
	return n, nil
}

// service is the nova-compute of a host.
type service struct {
	ID             string `json:"id"`
	Host           string `json:"host"`
	Status         string `json:"status"`
	State          string `json:"state"`
	ForcedDown     bool   `json:"forced_down"`
	DisabledReason string `json:"disabled_reason"`
}

// services reads the nova-compute of every host.
func (c *cloud) services(ctx context.Context) (map[string]service, error) {
	var answer struct{ Services []service }
	if err := c.nova(ctx, admin, "GET", "/os-services?binary=nova-compute", nil, &answer); err != nil {
		return nil, err
	}
	out := map[string]service{}
	for _, s := range answer.Services {
		out[s.Host] = s
	}
	return out, nil
}

func (c *cloud) service(t *testing.T, host string) service {
	t.Helper()
	all, err := c.services(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return all[host]
}

// setService enables or disables the nova-compute of hosts.
func (c *cloud) setService(t *testing.T, status string, names ...string) {
	t.Helper()
	for _, host := range names {
		if err := c.nova(t.Context(), admin, "PUT", "/os-services/"+c.service(t, host).ID, map[string]any{"status": status}, nil); err != nil {
			t.Fatal(err)
		}
	}
}

// fixture is a kind of servers that a scenario begins with.
type fixture struct {
	name   string
	count  int  // 0: one
	tagged bool // HA_Enabled
	state  string
	host   string // empty: the host that will fail
}

// boot makes the servers of the fixtures, brings them into their states, and
// returns them by name. The first of several has -1 after its name.
func (l *lab) boot(t *testing.T, fixtures ...fixture) map[string]server {
	t.Helper()
	ctx := t.Context()
	var images struct{ Images []struct{ ID string } }
	token, err := l.token(ctx, owner)
	if err == nil {
		_, err = l.send(ctx, token, "GET", glanceURL+"/v2/images?name=tiny", nil, &images)
	}
	if err != nil || len(images.Images) == 0 {
		t.Fatalf("image tiny: %v", err)
	}
	if slices.ContainsFunc(fixtures, func(f fixture) bool { return strings.HasPrefix(f.state, "resized") }) {
		l.setService(t, "enabled", reserved)
		defer l.setService(t, "disabled", reserved)
	}
	want := 0
	for _, f := range fixtures {
		host := f.host
		if host == "" {
			host = failed
		}
		if f.state == "resized" || f.state == "resized and off" {
			// It is moved to the failed host. It cannot be evacuated to where it
			// came from, where its guest is kept: so that must be no target.
			host = reserved
		}
		// A build slows down as a host fills; one request takes 20.
		for left := max(f.count, 1); left > 0; left -= 20 {
			n := min(left, 20)
			want += n
			spec := map[string]any{
				"name": f.name, "flavorRef": "1", "imageRef": images.Images[0].ID, "networks": "none",
				"host": host, "min_count": n, "max_count": n, "metadata": map[string]string{},
			}
			if f.tagged {
				spec["metadata"] = map[string]string{"HA_Enabled": "True"}
			}
			if f.count > 20 {
				spec["name"] = fmt.Sprintf("%s-%d", f.name, left)
			}
			if err := l.nova(ctx, owner, "POST", "/servers", map[string]any{"server": spec}, nil); err != nil {
				t.Fatal(err)
			}
			if f.count > 20 {
				l.built(t, want)
			}
		}
	}
	l.built(t, want)
	byName := map[string]server{}
	for _, s := range l.mustServers(t) {
		byName[s.Name] = s
	}
	steps := map[string][]step{}
	for _, f := range fixtures {
		if f.state == "" {
			continue
		}
		steps[f.name] = into[f.state]
		if len(steps[f.name]) == 0 {
			t.Fatalf("no way into the state %q", f.state)
		}
	}
	l.bring(t, byName, steps)
	for _, s := range l.mustServers(t) {
		byName[s.Name] = s
	}
	return byName
}

// built waits until there are n servers, all active.
func (l *lab) built(t *testing.T, n int) {
	t.Helper()
	until(t, 10*time.Minute, fmt.Sprintf("%d servers to be built", n), func() (bool, string) {
		all, err := l.servers(t.Context())
		active := 0
		for _, s := range all {
			switch {
			case s.VMState == "active" && s.Task == "":
				active++
			case s.VMState == "error":
				t.Fatalf("not built: %s", s)
			}
		}
		return active == n, fmt.Sprint(active, " active ", err)
	})
}

// step brings a server into a state: an action, and the vm_state that it ends in.
type step struct {
	action string
	arg    any
	ends   string
	locked bool
}

// into says how a server is brought into a state.
var into = map[string][]step{
	"stopped":           {{action: "os-stop", ends: "stopped"}},
	"paused":            {{action: "pause", ends: "paused"}},
	"suspended":         {{action: "suspend", ends: "suspended"}},
	"rescued":           {{action: "rescue", ends: "rescued"}},
	"error":             {{action: "os-resetState", arg: map[string]any{"state": "error"}, ends: "error"}},
	"shelved_offloaded": {{action: "shelve", ends: "shelved_offloaded"}},
	"resized":           {{action: "migrate", arg: map[string]any{"host": failed}, ends: "resized"}},
	"resized and off":   {{action: "os-stop", ends: "stopped"}, {action: "migrate", arg: map[string]any{"host": failed}, ends: "resized"}},
	"locked":            {{action: "lock", arg: map[string]any{"locked_reason": "do not touch"}, ends: "active", locked: true}},
}

// bring takes all servers through their steps, the n-th of all at once.
func (l *lab) bring(t *testing.T, byName map[string]server, steps map[string][]step) {
	t.Helper()
	ctx := t.Context()
	for n := 0; ; n++ {
		ends := map[string]step{}
		for _, name := range slices.Sorted(maps.Keys(steps)) {
			if n >= len(steps[name]) {
				continue
			}
			s, ok := byName[name]
			if !ok {
				t.Fatalf("no server %s", name)
			}
			st := steps[name][n]
			if err := l.act(ctx, owner, s.ID, st.action, st.arg); err != nil {
				t.Fatal(err)
			}
			ends[s.ID] = st
		}
		if len(ends) == 0 {
			return
		}
		until(t, waitLimit, "the servers' states", func() (bool, string) {
			all, err := l.servers(ctx)
			if err != nil {
				return false, err.Error()
			}
			var not []string
			for id, st := range ends {
				if s := all[id]; s.VMState != st.ends || s.Task != "" || s.Locked != st.locked {
					not = append(not, s.String())
				}
			}
			return len(not) == 0, strings.Join(not, ", ")
		})
	}
}

// dropServers deletes every server.
func (c *cloud) dropServers(ctx context.Context) error {
	var asked time.Time
	return await(ctx, 10*time.Minute, "the servers to be gone", func() (bool, string) {
		all, err := c.servers(ctx)
		if err != nil || len(all) == 0 {
			return err == nil, fmt.Sprint(err)
		}
		if time.Since(asked) < 30*time.Second {
			return false, fmt.Sprintf("%d servers", len(all))
		}
		asked = time.Now()
		for id, s := range all {
			if s.Task != "" || s.VMState == "building" {
				_ = c.act(ctx, admin, id, "os-resetState", map[string]any{"state": "error"})
			}
			_ = c.nova(ctx, admin, "DELETE", "/servers/"+id, nil, nil) // what is not gone is seen
		}
		return false, fmt.Sprintf("%d servers", len(all))
	})
}

type aggregate struct {
	ID    int      `json:"id"`
	Name  string   `json:"name"`
	Hosts []string `json:"hosts"`
}

func (c *cloud) aggregates(ctx context.Context) ([]aggregate, error) {
	var answer struct{ Aggregates []aggregate }
	err := c.nova(ctx, admin, "GET", "/os-aggregates", nil, &answer)
	return answer.Aggregates, err
}

// addAggregate makes an aggregate with hosts in it.
func (c *cloud) addAggregate(t *testing.T, name string, names ...string) {
	t.Helper()
	var answer struct{ Aggregate aggregate }
	if err := c.nova(t.Context(), admin, "POST", "/os-aggregates", map[string]any{"aggregate": map[string]any{"name": name}}, &answer); err != nil {
		t.Fatal(err)
	}
	for _, h := range names {
		body := map[string]any{"add_host": map[string]any{"host": h}}
		if err := c.nova(t.Context(), admin, "POST", fmt.Sprintf("/os-aggregates/%d/action", answer.Aggregate.ID), body, nil); err != nil {
			t.Fatal(err)
		}
	}
}

func (c *cloud) dropAggregates(ctx context.Context) error {
	list, err := c.aggregates(ctx)
	if err != nil {
		return err
	}
	for _, a := range list {
		for _, h := range a.Hosts {
			body := map[string]any{"remove_host": map[string]any{"host": h}}
			if err := c.nova(ctx, admin, "POST", fmt.Sprintf("/os-aggregates/%d/action", a.ID), body, nil); err != nil {
				return err
			}
		}
		if err := c.nova(ctx, admin, "DELETE", fmt.Sprintf("/os-aggregates/%d", a.ID), nil, nil); err != nil {
			return err
		}
	}
	return nil
}

// revoke makes a token worthless at Keystone.
func (c *cloud) revoke(ctx context.Context, token string) error {
	mine, err := c.token(ctx, admin)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, "DELETE", keystoneURL+"/v3/auth/tokens", nil)
	if err != nil {
		return err
	}
	req.Header.Set("X-Auth-Token", mine)
	req.Header.Set("X-Subject-Token", token)
	res, err := c.http.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusNoContent {
		return fmt.Errorf("revoke: %s", res.Status)
	}
	return nil
}
