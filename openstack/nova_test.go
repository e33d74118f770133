package openstack_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wasakari/wasakari/openstack"
	"github.com/wasakari/wasakari/recovery"
)

// cloudOf is what the hatch wants of a cloud.
type cloudOf interface {
	Server(ctx context.Context, id string) (recovery.Server, error)
	Servers(ctx context.Context, f recovery.ServerFilter, page func([]recovery.Server) error) error
	Actions(ctx context.Context, id string) ([]recovery.ServerAction, error)
	Evacuate(ctx context.Context, id, host string) (string, error)
	Stop(ctx context.Context, id string) (string, error)
	Start(ctx context.Context, id string) (string, error)
	Reboot(ctx context.Context, id, kind string) (string, error)
	Lock(ctx context.Context, id, reason string) (string, error)
	Unlock(ctx context.Context, id string) (string, error)
	ResetState(ctx context.Context, id, state string) (string, error)
	Migrate(ctx context.Context, id, host string) (string, error)
	LiveMigrate(ctx context.Context, id, host, blockMigration string) (string, error)
	Services(ctx context.Context, f recovery.ServiceFilter) ([]recovery.ComputeService, error)
	UpdateService(ctx context.Context, id string, u recovery.ServiceUpdate) (recovery.ComputeService, string, error)
	Aggregates(ctx context.Context) ([]recovery.Aggregate, error)
	AddAggregateHost(ctx context.Context, id int, host string) (string, error)
	RemoveAggregateHost(ctx context.Context, id int, host string) (string, error)
	Hypervisors(ctx context.Context, host string) ([]recovery.Hypervisor, error)
	Migrations(ctx context.Context, f recovery.MigrationFilter) ([]recovery.Migration, error)
}

var _ cloudOf = (*openstack.Client)(nil)

// first makes a change's two results one.
func first(_ string, err error) error { return err }

func TestRequests(t *testing.T) {
	yes := true
	tests := []struct {
		name    string
		call    func(ctx context.Context, c *openstack.Client) error
		want    string
		query   url.Values
		version string
		body    string
		answer  string
	}{
		{"evacuate", func(ctx context.Context, c *openstack.Client) error { return first(c.Evacuate(ctx, "s1", "")) }, stopServer, nil, "2.53", `{"evacuate":{}}`, ""},
		{"evacuate to a host", func(ctx context.Context, c *openstack.Client) error { return first(c.Evacuate(ctx, "s1", "c2")) }, stopServer, nil, "2.53", `{"evacuate":{"host":"c2"}}`, ""},
		{"stop", stop, stopServer, nil, "2.53", `{"os-stop":null}`, ""},
		{"start", func(ctx context.Context, c *openstack.Client) error { return first(c.Start(ctx, "s1")) }, stopServer, nil, "2.53", `{"os-start":null}`, ""},
		{"reboot", func(ctx context.Context, c *openstack.Client) error { return first(c.Reboot(ctx, "s1", "")) }, stopServer, nil, "2.53", `{"reboot":{"type":"SOFT"}}`, ""},
		{"reboot hard", func(ctx context.Context, c *openstack.Client) error { return first(c.Reboot(ctx, "s1", "HARD")) }, stopServer, nil, "2.53", `{"reboot":{"type":"HARD"}}`, ""},
		{"lock", func(ctx context.Context, c *openstack.Client) error { return first(c.Lock(ctx, "s1", "run")) }, stopServer, nil, "2.73", `{"lock":{"locked_reason":"run"}}`, ""},
		{"lock without reason", func(ctx context.Context, c *openstack.Client) error { return first(c.Lock(ctx, "s1", "")) }, stopServer, nil, "2.53", `{"lock":null}`, ""},
		{"unlock", func(ctx context.Context, c *openstack.Client) error { return first(c.Unlock(ctx, "s1")) }, stopServer, nil, "2.53", `{"unlock":null}`, ""},
		{"reset state", func(ctx context.Context, c *openstack.Client) error { return first(c.ResetState(ctx, "s1", "error")) }, stopServer, nil, "2.53", `{"os-resetState":{"state":"error"}}`, ""},
		{"migrate", func(ctx context.Context, c *openstack.Client) error { return first(c.Migrate(ctx, "s1", "")) }, stopServer, nil, "2.53", `{"migrate":null}`, ""},
		{"migrate to a host", func(ctx context.Context, c *openstack.Client) error { return first(c.Migrate(ctx, "s1", "c2")) }, stopServer, nil, "2.56", `{"migrate":{"host":"c2"}}`, ""},
		{"live-migrate", func(ctx context.Context, c *openstack.Client) error { return first(c.LiveMigrate(ctx, "s1", "", "")) }, stopServer, nil, "2.53", `{"os-migrateLive":{"host":null,"block_migration":"auto"}}`, ""},
		{"live-migrate to a host", func(ctx context.Context, c *openstack.Client) error {
			return first(c.LiveMigrate(ctx, "s1", "c2", "true"))
		}, stopServer, nil, "2.53", `{"os-migrateLive":{"host":"c2","block_migration":true}}`, ""},
		{"add to an aggregate", func(ctx context.Context, c *openstack.Client) error { return first(c.AddAggregateHost(ctx, 7, "c2")) }, "POST /v2.1/os-aggregates/7/action", nil, "2.53", `{"add_host":{"host":"c2"}}`, ""},
		{"remove from an aggregate", func(ctx context.Context, c *openstack.Client) error {
			return first(c.RemoveAggregateHost(ctx, 7, "c2"))
		}, "POST /v2.1/os-aggregates/7/action", nil, "2.53", `{"remove_host":{"host":"c2"}}`, ""},
		{"disable a service", func(ctx context.Context, c *openstack.Client) error {
			_, id, err := c.UpdateService(ctx, "u1", recovery.ServiceUpdate{Status: "disabled", DisabledReason: "why"})
			return first(id, err)
		}, "PUT /v2.1/os-services/u1", nil, "2.53", `{"status":"disabled","disabled_reason":"why"}`, `{"service":{"id":"u1"}}`},
		{"force a service down", func(ctx context.Context, c *openstack.Client) error {
			_, _, err := c.UpdateService(ctx, "u1", recovery.ServiceUpdate{ForcedDown: &yes})
			return err
		}, "PUT /v2.1/os-services/u1", nil, "2.53", `{"forced_down":true}`, `{"service":{"id":"u1"}}`},
		{"get a server, id escaped", func(ctx context.Context, c *openstack.Client) error {
			_, err := c.Server(ctx, "a b?c")
			return err
		}, "GET /v2.1/servers/a b?c", url.Values{}, "2.73", "", `{"server":{"id":"x"}}`},
		{
			"list servers", func(ctx context.Context, c *openstack.Client) error {
				f := recovery.ServerFilter{Host: "c1", Status: "ERROR", Name: "^w", Tenant: "p1", ChangedSince: time.Date(2026, 11, 23, 1, 0, 0, 5, time.FixedZone("", 3600))}
				return c.Servers(ctx, f, func([]recovery.Server) error { return nil })
			}, "GET /v2.1/servers/detail",
			url.Values{
				"all_tenants": {"True"}, "limit": {"1000"}, "host": {"c1"}, "status": {"ERROR"}, "name": {"^w"}, "project_id": {"p1"},
				"changes-since": {"2026-11-23T00:00:00Z"},
			},
			"2.73", "", `{"servers":[]}`,
		},
		{"actions", func(ctx context.Context, c *openstack.Client) error {
			_, err := c.Actions(ctx, "s1")
			return err
		}, "GET /v2.1/servers/s1/os-instance-actions", url.Values{}, "2.53", "", `{"instanceActions":[]}`},
		{"services", func(ctx context.Context, c *openstack.Client) error {
			_, err := c.Services(ctx, recovery.ServiceFilter{Host: "c1", Binary: "nova-compute"})
			return err
		}, readServices, url.Values{"host": {"c1"}, "binary": {"nova-compute"}}, "2.53", "", `{"services":[]}`},
		{"aggregates", func(ctx context.Context, c *openstack.Client) error {
			_, err := c.Aggregates(ctx)
			return err
		}, "GET /v2.1/os-aggregates", url.Values{}, "2.53", "", `{"aggregates":[]}`},
		{"hypervisors", func(ctx context.Context, c *openstack.Client) error {
			_, err := c.Hypervisors(ctx, "c1")
			return err
		}, "GET /v2.1/os-hypervisors/detail", url.Values{"limit": {"1000"}}, "2.53", "", `{"hypervisors":[]}`},
		{
			"migrations", func(ctx context.Context, c *openstack.Client) error {
				_, err := c.Migrations(ctx, recovery.MigrationFilter{InstanceUUID: "s1", SourceCompute: "c1", Type: "evacuation", Status: "done"})
				return err
			}, "GET /v2.1/os-migrations",
			url.Values{"instance_uuid": {"s1"}, "source_compute": {"c1"}, "migration_type": {"evacuation"}, "status": {"done"}, "limit": {"1000"}},
			"2.59", "", `{"migrations":[]}`,
		},
	}
	f := newCloud(t, nil)
	c := f.connect()
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f.onValid(tt.want, say(200, tt.answer))
			if err := tt.call(t.Context(), c); err != nil {
				t.Fatal(err)
			}
			r := f.last()
			if r.String() != tt.want {
				t.Errorf("request = %s, want %s", r, tt.want)
			}
			if r.version != "compute "+tt.version {
				t.Errorf("version = %q, want %s", r.version, tt.version)
			}
			if tt.body == "" && r.body != "" || tt.body != "" && !sameJSON(t, r.body, tt.body) {
				t.Errorf("body = %s, want %s", r.body, tt.body)
			}
			if got, _ := url.ParseQuery(r.query); tt.query.Encode() != got.Encode() {
				t.Errorf("query = %s, want %s", got.Encode(), tt.query.Encode())
			}
		})
	}
}

func TestServerIsAnAllowList(t *testing.T) {
	f := newCloud(t, nil)
	c := f.connect()
	text := fixture(t, "server.json")
	f.onValid("GET /v2.1/servers/s1", say(200, text))
	s, err := c.Server(t.Context(), "s1")
	if err != nil {
		t.Fatal(err)
	}
	var doc struct {
		Server map[string]any `json:"server"`
	}
	if err := json.Unmarshal([]byte(text), &doc); err != nil {
		t.Fatal(err)
	}
	kept, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(kept, &got); err != nil {
		t.Fatal(err)
	}
	for key, value := range got {
		want, _ := json.Marshal(doc.Server[key])
		have, _ := json.Marshal(value)
		if key == "fault" {
			want = []byte(`{"code":500,"created":"2026-11-02T09:00:00Z","message":"No valid host was found."}`)
		}
		if string(have) != string(want) {
			t.Errorf("%s = %s, want %s", key, have, want)
		}
	}
	if s.Host != "compute-1" || s.TaskState != "rebuild_spawning" || s.LockedReason != "wasakari run-1" || s.PowerState != recovery.PowerShutdown {
		t.Errorf("server = %+v, want what the fixture says", s)
	}
	for _, secret := range []string{"user_data", "adminPass", "key_name", "alices-key", "do-not-show", "traceback"} {
		if strings.Contains(string(kept), secret) {
			t.Errorf("%s came through", secret)
		}
	}
}

func TestLists(t *testing.T) {
	f := newCloud(t, nil)
	c := f.connect()
	f.onValid("GET /v2.1/servers/s1/os-instance-actions", say(200, `{"instanceActions": [
		{"action": "evacuate", "request_id": "req-2", "start_time": "2026-11-23T00:00:01.000000", "message": null, "user_id": "u"},
		{"action": "create", "request_id": "req-1", "start_time": "2026-11-23T00:00:00.000000", "message": "Error"}]}`))
	actions, err := c.Actions(t.Context(), "s1")
	if err != nil || len(actions) != 2 || actions[0].RequestID != "req-2" || actions[1].Message != "Error" {
		t.Errorf("Actions = %+v, %v", actions, err)
	}

	f.onValid(readServices, say(200, `{"services": [{"id": "u1", "binary": "nova-compute", "host": "c1", "zone": "nova", "status": "disabled",
		"state": "down", "disabled_reason": "why", "forced_down": true, "updated_at": null}]}`))
	list, err := c.Services(t.Context(), recovery.ServiceFilter{})
	want := recovery.ComputeService{ID: "u1", Binary: "nova-compute", Host: "c1", Zone: "nova", Status: "disabled", State: "down", DisabledReason: "why", ForcedDown: true}
	if err != nil || len(list) != 1 || list[0] != want {
		t.Errorf("Services = %+v, %v, want %+v", list, err, want)
	}

	f.onValid("GET /v2.1/os-aggregates", say(200, `{"aggregates": [{"id": 7, "uuid": "x", "name": "a", "availability_zone": null, "hosts": ["c1"], "metadata": {"k": "v"}}]}`))
	aggregates, err := c.Aggregates(t.Context())
	if err != nil || len(aggregates) != 1 || aggregates[0].ID != 7 || aggregates[0].Hosts[0] != "c1" || aggregates[0].Metadata["k"] != "v" {
		t.Errorf("Aggregates = %+v, %v", aggregates, err)
	}

	f.onValid("GET /v2.1/os-hypervisors/detail", say(200, `{"hypervisors": [
		{"id": "h1", "hypervisor_hostname": "c1.example.org", "service": {"id": "u1", "host": "c1"}, "cpu_info": {"a": [1]}},
		{"id": "h2", "hypervisor_hostname": "c10.example.org", "service": {"id": "u2", "host": "c10"}}]}`))
	for host, n := range map[string]int{"": 2, "c1": 1, "c": 0} {
		hypervisors, err := c.Hypervisors(t.Context(), host)
		if err != nil || len(hypervisors) != n {
			t.Errorf("Hypervisors(%q) = %+v, %v, want %d", host, hypervisors, err, n)
		}
	}

	f.onValid("GET /v2.1/os-migrations", say(200, `{"migrations": [
		{"id": 1, "uuid": null, "instance_uuid": "s1", "status": "done", "migration_type": "evacuation", "source_compute": "c1", "dest_compute": null},
		{"id": 2, "uuid": "m2", "instance_uuid": "s1", "status": "accepted", "migration_type": "evacuation"}]}`))
	migrations, err := c.Migrations(t.Context(), recovery.MigrationFilter{})
	if err != nil || len(migrations) != 2 || migrations[0].UUID != "m2" || !migrations[0].Open() || migrations[1].SourceCompute != "c1" {
		t.Errorf("Migrations = %+v, %v, want the newest first", migrations, err)
	}

	f.onValid("PUT /v2.1/os-services/u1", say(200, `{"service": {"id": "u1", "status": "enabled"}}`))
	service, id, err := c.UpdateService(t.Context(), "u1", recovery.ServiceUpdate{Status: "enabled"})
	if err != nil || service.Status != "enabled" || id != "req-1" {
		t.Errorf("UpdateService = %+v, %q, %v", service, id, err)
	}
}

// list answers a page of servers of the given ids.
func list(next string, ids ...string) string {
	var docs []string
	for _, id := range ids {
		docs = append(docs, fmt.Sprintf(`{"id": %q}`, id))
	}
	links := ""
	if next != "" {
		links = fmt.Sprintf(`, "servers_links": [{"rel": "next", "href": %q}]`, next)
	}
	return `{"servers": [` + strings.Join(docs, ",") + `]` + links + `}`
}

func TestPaging(t *testing.T) {
	tests := []struct {
		name  string
		pages map[string]string // marker to answer
		want  string            // ids
		text  string            // of an error
	}{
		{"one", map[string]string{"": list("", "a", "b")}, "a b", ""},
		{"three, links with another host", map[string]string{
			"": list("http://inside.invalid:8774/v2.1/servers/detail?limit=2&marker=b", "a", "b"), "b": list("http://inside.invalid/x?marker=d", "c", "d"), "d": list("", "e"),
		}, "a b c d e", ""},
		{"last page empty", map[string]string{"": list("http://x/?marker=a", "a"), "a": list("")}, "a", ""},
		{"link without a marker", map[string]string{"": list("http://x/", "a"), "a": list("", "b")}, "a b", ""},
		{"empty page with a link", map[string]string{"": list("http://x/?marker=q")}, "", ""},
		{"circle", map[string]string{"": list("http://x/?marker=a", "a"), "a": list("http://x/?marker=b", "b"), "b": list("http://x/?marker=a", "c")}, "a b c", `circle at marker "a"`},
		{"page lost", map[string]string{"": list("http://x/?marker=a", "a")}, "a", "no such page"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newCloud(t, nil)
			c := f.connect()
			f.onValid("GET /v2.1/servers/detail", func(w http.ResponseWriter, r *http.Request) {
				q := r.URL.Query()
				if q.Get("host") != "c1" || q.Get("all_tenants") != "True" || q.Get("limit") != "1000" {
					t.Errorf("query = %v, want the filter on every page", q)
				}
				page, ok := tt.pages[q.Get("marker")]
				if !ok {
					answer(w, 400, `{"badRequest": {"message": "no such page"}}`)
					return
				}
				answer(w, 200, page)
			})
			var ids []string
			err := c.Servers(t.Context(), recovery.ServerFilter{Host: "c1"}, func(page []recovery.Server) error {
				for _, s := range page {
					ids = append(ids, s.ID)
				}
				return nil
			})
			if got := strings.Join(ids, " "); got != tt.want {
				t.Errorf("ids = %q, want %q", got, tt.want)
			}
			if (err == nil) != (tt.text == "") || err != nil && !strings.Contains(err.Error(), tt.text) {
				t.Errorf("err = %v, want %q", err, tt.text)
			}
		})
	}
	t.Run("a list without end", func(t *testing.T) {
		f := newCloud(t, nil)
		c := f.connect()
		c.SetMaxList(2 << 20)
		padding := strings.Repeat(" ", 1<<18)
		var pages atomic.Int32
		f.onValid("GET /v2.1/servers/detail", func(w http.ResponseWriter, _ *http.Request) {
			answer(w, 200, list(fmt.Sprintf("http://x/?marker=%d", pages.Add(1)), "a")+padding)
		})
		err := c.Servers(t.Context(), recovery.ServerFilter{}, func([]recovery.Server) error { return nil })
		if !errors.Is(err, recovery.ErrTooLarge) || pages.Load() != 8 {
			t.Errorf("err = %v after %d pages, want ErrTooLarge after 8", err, pages.Load())
		}
	})
	t.Run("the caller has enough", func(t *testing.T) {
		f := newCloud(t, nil)
		c := f.connect()
		f.onValid("GET /v2.1/servers/detail", say(200, list("http://x/?marker=a", "a")))
		enough := errors.New("enough")
		if err := c.Servers(t.Context(), recovery.ServerFilter{}, func([]recovery.Server) error { return enough }); !errors.Is(err, enough) {
			t.Errorf("err = %v, want the caller's own", err)
		}
		if got := f.got("GET /v2.1/servers/detail"); got != 1 {
			t.Errorf("pages = %d, want 1", got)
		}
	})
}

func TestHostileAnswers(t *testing.T) {
	tests := []struct{ name, one, list, text string }{
		{"not JSON", `<html>`, `<html>`, "cannot be understood"},
		{"empty", ``, ``, "cannot be understood"},
		{"another document", `{}`, `{}`, "is missing"},
		{"null", `{"server": null}`, `{"servers": null}`, ""},
		{"no id", `{"server": {"name": "x"}}`, `{"servers": [{"id": "a"}, {"name": "x"}]}`, "no id"},
		{"null in a list", `{"server": {}}`, `{"servers": [null]}`, "no id"},
		{"id is a number", `{"server": {"id": 7}}`, `{"servers": [{"id": 7}]}`, "id"},
		{"power_state is a string", `{"server": {"id": "a", "OS-EXT-STS:power_state": "on"}}`, `{"servers": [{"id": "a", "OS-EXT-STS:power_state": "on"}]}`, "OS-EXT-STS:power_state"},
		{"task_state is a list", `{"server": {"id": "a", "OS-EXT-STS:task_state": []}}`, `{"servers": [{"id": "a", "OS-EXT-STS:task_state": []}]}`, "OS-EXT-STS:task_state"},
		{"metadata of numbers", `{"server": {"id": "a", "metadata": {"k": 1}}}`, `{"servers": [{"id": "a", "metadata": {"k": 1}}]}`, "metadata"},
		{"list is a document", `{"server": []}`, `{"servers": {}}`, "server"},
		{"links of another kind", `{"server": 1}`, `{"servers": [{"id": "a"}], "servers_links": "x"}`, "server"},
		{"very deep", `{"server": ` + strings.Repeat("[", 20000), `{"servers": ` + strings.Repeat("[", 20000), "cannot be understood"},
	}
	f := newCloud(t, nil)
	c := f.connect()
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f.onValid("GET /v2.1/servers/s1", say(200, tt.one))
			f.onValid("GET /v2.1/servers/detail", say(200, tt.list))
			_, one := c.Server(t.Context(), "s1")
			all := c.Servers(t.Context(), recovery.ServerFilter{}, func(page []recovery.Server) error {
				t.Errorf("page = %+v, want none", page)
				return nil
			})
			for _, err := range []error{one, all} {
				if !errors.Is(err, recovery.ErrUnavailable) || !strings.Contains(err.Error(), tt.text) || !strings.Contains(err.Error(), "req-1") {
					t.Errorf("err = %v, want ErrUnavailable with %q and the request id", err, tt.text)
				}
			}
		})
	}
	t.Run("a part of a server, whose cell is down", func(t *testing.T) {
		f.onValid("GET /v2.1/servers/s1", say(200, `{"server": {"id": "s1", "status": "UNKNOWN", "tenant_id": "p1", "links": []}}`))
		s, err := c.Server(t.Context(), "s1")
		if !errors.Is(err, recovery.ErrUnavailable) || s.ID != "" || !strings.Contains(err.Error(), "its cell does not answer") {
			t.Errorf("Server = %+v, %v, want ErrUnavailable", s, err)
		}
	})
	t.Run("after a change", func(t *testing.T) {
		f.onValid("PUT /v2.1/os-services/u1", say(200, `{"service": 7}`))
		_, id, err := c.UpdateService(t.Context(), "u1", recovery.ServiceUpdate{Status: "enabled"})
		if !errors.Is(err, recovery.ErrUnknownOutcome) || id != "req-1" {
			t.Errorf("UpdateService = %q, %v, want req-1, ErrUnknownOutcome", id, err)
		}
	})
}

func TestBadArguments(t *testing.T) {
	f := newCloud(t, nil)
	c := f.connect(func(o *openstack.Options) {
		f.nova = `{"version": {"id": "v2.1", "version": "2.55", "min_version": "2.1"}}`
	})
	before := c.Calls()
	for _, id := range []string{"", ".", "..", strings.Repeat("x", 256)} {
		_, err := c.Stop(t.Context(), id)
		if !errors.Is(err, recovery.ErrInvalid) {
			t.Errorf("Stop(%.10q): %v, want ErrInvalid", id, err)
		}
		if _, err := c.Server(t.Context(), id); !errors.Is(err, recovery.ErrInvalid) {
			t.Errorf("Server(%.10q): %v, want ErrInvalid", id, err)
		}
		if _, err := c.Actions(t.Context(), id); !errors.Is(err, recovery.ErrInvalid) {
			t.Errorf("Actions(%.10q): %v, want ErrInvalid", id, err)
		}
		if _, _, err := c.UpdateService(t.Context(), id, recovery.ServiceUpdate{}); !errors.Is(err, recovery.ErrInvalid) {
			t.Errorf("UpdateService(%.10q): %v, want ErrInvalid", id, err)
		}
	}
	if _, err := c.Migrate(t.Context(), "s1", "c2"); !errors.Is(err, recovery.ErrInvalid) || !strings.Contains(err.Error(), "2.55") || !strings.Contains(err.Error(), "2.56") {
		t.Errorf("Migrate: %v, want ErrInvalid with both versions", err)
	}
	if _, err := c.LiveMigrate(t.Context(), "s1", "", "perhaps"); !errors.Is(err, recovery.ErrInvalid) {
		t.Errorf("LiveMigrate: %v, want ErrInvalid", err)
	}
	if got := c.Calls() - before; got != 0 {
		t.Errorf("Calls = %d, want 0", got)
	}
	f.onValid("GET /v2.1/os-migrations", say(200, `{"migrations": [{"id": 1}, {"id": 2}]}`))
	m, err := c.Migrations(t.Context(), recovery.MigrationFilter{})
	if err != nil || len(m) != 2 || m[0].ID != 2 || f.last().query != "" || f.last().version != "compute 2.55" {
		t.Errorf("Migrations of an old nova = %+v, %v, query %q at %q", m, err, f.last().query, f.last().version)
	}
}
