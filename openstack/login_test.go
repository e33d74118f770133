package openstack_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/wasakari/wasakari/novasim"
	"github.com/wasakari/wasakari/openstack"
	"github.com/wasakari/wasakari/recovery"
)

func TestLogIn(t *testing.T) {
	sim, err := novasim.New(novasim.DemoScenario(), novasim.Options{Endpoints: map[string]string{"instance-ha": "http://127.0.0.1:15868/v1"}})
	if err != nil {
		t.Fatal(err)
	}
	server, err := sim.Start(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sim.Close() })
	cr := sim.Credentials()
	o := openstack.Options{AuthURL: server.URL, User: cr.Username, Password: cr.Password, Project: cr.ProjectName, UserDomain: cr.UserDomainName, ProjectDomain: cr.ProjectDomainName}
	for service, want := range map[string]string{"instance-ha": "http://127.0.0.1:15868/v1/", "": "", "baremetal": ""} {
		l, err := openstack.LogIn(t.Context(), o, service)
		if err != nil {
			t.Fatal(err)
		}
		if l.Token == "" || l.TLS == nil || l.Endpoint != want {
			t.Errorf("%s: endpoint %q, want %q", service, l.Endpoint, want)
		}
		if text := fmt.Sprintf("%v %+v %#v %s", l, l, l, l); strings.Contains(text, l.Token) {
			t.Errorf("it shows its token: %s", text)
		}
	}
	o.Password = "wrong"
	if _, err := openstack.LogIn(t.Context(), o, ""); !errors.Is(err, recovery.ErrUnauthorized) {
		t.Errorf("wrong password: %v", err)
	}
	if _, err := openstack.LogIn(t.Context(), openstack.Options{}, ""); !errors.Is(err, recovery.ErrInvalid) {
		t.Errorf("no options: %v", err)
	}
}
