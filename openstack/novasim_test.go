package openstack_test

import (
	"errors"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wasakari/wasakari/novasim"
	"github.com/wasakari/wasakari/openstack"
	"github.com/wasakari/wasakari/recovery"
)

const (
	webID  = "00000000-0000-4000-8000-000000000001"
	sideID = "00000000-0000-4000-8000-000000000002"
	downID = "00000000-0000-4000-8000-000000000003"
)

// Every method against the simulated cloud, which answers as the real Nova does.
func TestEveryMethodOnNovasim(t *testing.T) {
	sc, err := novasim.ParseScenario("cloud.yaml", []byte(`
hosts:
  - {name: compute-1, state: down}
  - {name: compute-2}
  - {name: compute-3}
aggregates:
  - {name: rack, hosts: [compute-1, compute-2]}
servers:
  - {id: `+webID+`, name: web, host: compute-1, metadata: {HA_Enabled: "True"}}
  - {id: `+sideID+`, name: side, host: compute-2}
  - {id: `+downID+`, name: down, host: compute-2, vm_state: stopped}
`))
	if err != nil {
		t.Fatal(err)
	}
	sim, err := novasim.New(sc, novasim.Options{ManualTime: true})
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(sim.Handler())
	defer srv.Close()
	defer func() { _ = sim.Close() }()
	ctx, cr := t.Context(), sim.Credentials()
	o := openstack.Options{
		AuthURL: srv.URL + "/v3", User: cr.Username, UserDomain: cr.UserDomainName, Password: cr.Password,
		Project: cr.ProjectName, ProjectDomain: cr.ProjectDomainName, Region: cr.Region, ServiceName: "nova", Interface: "publicURL", Backoff: time.Millisecond,
	}
	c, err := openstack.Connect(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	done := func(what, id string, err error) {
		t.Helper()
		if err != nil || !strings.HasPrefix(id, "req-") {
			t.Fatalf("%s: request id %q, %v", what, id, err)
		}
		sim.Advance(time.Minute)
	}
	server := func(id string) recovery.Server {
		t.Helper()
		s, err := c.Server(ctx, id)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}

	var names []string
	err = c.Servers(ctx, recovery.ServerFilter{Host: "compute-1"}, func(page []recovery.Server) error {
		for _, s := range page {
			names = append(names, s.Name+" "+s.Metadata["HA_Enabled"])
		}
		return nil
	})
	if err != nil || !slices.Equal(names, []string{"web True"}) {
		t.Fatalf("Servers = %q, %v", names, err)
	}
	list, err := c.Services(ctx, recovery.ServiceFilter{Host: "compute-1", Binary: "nova-compute"})
	if err != nil || len(list) != 1 || list[0].State != "down" {
		t.Fatalf("Services = %+v, %v", list, err)
	}
	s, id, err := c.UpdateService(ctx, list[0].ID, recovery.ServiceUpdate{Status: "disabled", DisabledReason: "failed"})
	done("disable", id, err)
	if s.Status != "disabled" || s.DisabledReason != "failed" {
		t.Errorf("service = %+v, want it disabled", s)
	}

	id, err = c.Lock(ctx, webID, "wasakari run-1")
	done("lock", id, err)
	if s := server(webID); !s.Locked || s.LockedReason != "wasakari run-1" {
		t.Errorf("server = %+v, want it locked with the reason", s)
	}
	evacuation, err := c.Evacuate(ctx, webID, "compute-3")
	done("evacuate", evacuation, err)
	if s := server(webID); s.Host != "compute-3" || s.TaskState != "" {
		t.Errorf("server = %+v, want it on compute-3", s)
	}
	actions, err := c.Actions(ctx, webID)
	if err != nil || !slices.ContainsFunc(actions, func(a recovery.ServerAction) bool {
		return a.Action == "evacuate" && a.RequestID == evacuation
	}) {
		t.Errorf("Actions = %+v, %v, want the evacuation under %s", actions, err, evacuation)
	}
	migrations, err := c.Migrations(ctx, recovery.MigrationFilter{InstanceUUID: webID, Type: "evacuation"})
	if err != nil || len(migrations) != 1 || migrations[0].Open() || migrations[0].UUID == "" || migrations[0].SourceCompute != "compute-1" {
		t.Errorf("Migrations = %+v, %v, want one that is done", migrations, err)
	}
	if _, err := c.Evacuate(ctx, webID, ""); !errors.Is(err, recovery.ErrConflict) || !strings.Contains(err.Error(), "still in use") {
		t.Errorf("second evacuation: %v, want ErrConflict", err)
	}
	id, err = c.Unlock(ctx, webID)
	done("unlock", id, err)

	for _, step := range []struct {
		what string
		do   func() (string, error)
	}{
		{"stop", func() (string, error) { return c.Stop(ctx, sideID) }},
		{"start", func() (string, error) { return c.Start(ctx, downID) }},
		{"reboot", func() (string, error) { return c.Reboot(ctx, downID, "HARD") }},
		{"reset state", func() (string, error) { return c.ResetState(ctx, downID, "error") }},
		{"reset state back", func() (string, error) { return c.ResetState(ctx, downID, "active") }},
		{"live-migrate", func() (string, error) { return c.LiveMigrate(ctx, downID, "compute-3", "auto") }},
		{"migrate", func() (string, error) { return c.Migrate(ctx, sideID, "compute-3") }},
	} {
		id, err := step.do()
		done(step.what, id, err)
	}
	if s := server(downID); s.Host != "compute-3" || s.VMState != "active" {
		t.Errorf("server = %+v, want it active on compute-3", s)
	}

	aggregates, err := c.Aggregates(ctx)
	if err != nil || len(aggregates) != 1 {
		t.Fatalf("Aggregates = %+v, %v", aggregates, err)
	}
	id, err = c.AddAggregateHost(ctx, aggregates[0].ID, "compute-3")
	done("add to an aggregate", id, err)
	id, err = c.RemoveAggregateHost(ctx, aggregates[0].ID, "compute-1")
	done("remove from an aggregate", id, err)
	if aggregates, err = c.Aggregates(ctx); err != nil || !slices.Equal(aggregates[0].Hosts, []string{"compute-2", "compute-3"}) {
		t.Errorf("Aggregates = %+v, %v", aggregates, err)
	}
	hypervisors, err := c.Hypervisors(ctx, "compute-2")
	if err != nil || len(hypervisors) != 1 || hypervisors[0].Service.Host != "compute-2" {
		t.Errorf("Hypervisors = %+v, %v", hypervisors, err)
	}

	sim.RevokeTokens()
	if _, err := c.Server(ctx, "none"); !errors.Is(err, recovery.ErrNotFound) {
		t.Errorf("unknown server, expired token: %v, want ErrNotFound", err)
	}
	o.User, o.Password, o.Project = cr.MemberUsername, cr.MemberPassword, cr.MemberProject
	member, err := openstack.Connect(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	defer member.Close()
	if _, err := member.Evacuate(ctx, webID, ""); !errors.Is(err, recovery.ErrForbidden) {
		t.Errorf("a plain member evacuates: %v, want ErrForbidden", err)
	}
	o.Password = "wrong"
	if _, err := openstack.Connect(ctx, o); !errors.Is(err, recovery.ErrUnauthorized) {
		t.Errorf("wrong password: %v, want ErrUnauthorized", err)
	}
	cred := openstack.Options{AuthURL: srv.URL, ApplicationCredentialID: cr.AppCredentialID, ApplicationCredentialSecret: cr.AppCredentialSecret}
	robot, err := openstack.Connect(ctx, cred)
	if err != nil {
		t.Fatalf("application credential: %v", err)
	}
	defer robot.Close()
	if s, err := robot.Server(ctx, webID); err != nil || s.Name != "web" {
		t.Errorf("Server = %+v, %v", s, err)
	}
}
