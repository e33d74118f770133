//go:build clients

// Package clients_test runs the clients and monitors that operators of
// Masakari have, from Debian's packages, against a running wasakari serve.
package clients_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience bounds the wait for something that is to happen.
const patience = time.Minute

// program is bin/wasakari, or what WASAKARI names.
func program(t *testing.T) string {
	t.Helper()
	if p := os.Getenv("WASAKARI"); p != "" {
		return p
	}
	p, err := filepath.Abs("../../bin/wasakari")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(p); err != nil {
		t.Fatalf("%v; run make build", err)
	}
	return p
}

// output is what a process wrote so far.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// start runs a process until the test's end, and then asks it to stop.
func start(t *testing.T, environ []string, name string, args ...string) *output {
	t.Helper()
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), name, args...) // it is asked to stop
	cmd.Env = environ
	var out output
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait() // how it ended does not matter
		close(ended)
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-ended:
		case <-time.After(patience):
			_ = cmd.Process.Kill()
			<-ended
			t.Errorf("%s did not stop when it was asked to", filepath.Base(name))
		}
		if t.Failed() {
			t.Logf("%s %s:\n%s", filepath.Base(name), strings.Join(args, " "), out.String())
		}
	})
	return &out
}

// until waits for done, which is asked again and again.
func until(t *testing.T, what string, done func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("%s: not within %s", what, patience)
		}
	}
}

// freeAddress is a loopback address that nobody listens on.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close() //nolint:errcheck // nobody was there
	return l.Addr().String()
}

// site is a simulated cloud with a running service.
type site struct {
	dir           string
	clouds        string // clouds.yaml
	keystone, api string
	environ       []string
}

// scenarioFor is a cloud with the machine itself as a compute host, which is the
// name by which a monitor speaks of it, and another that died.
func scenarioFor(host string) string {
	return fmt.Sprintf(`seed: 1
region: RegionOne
images: true
service_down_time: 1s
hosts:
  - {name: %s}
  - {name: compute-dead, fails_after: 0s}
  - {name: compute-2}
  - {name: compute-3, disabled: true, disabled_reason: reserved host}
servers:
  - {count: 2, name: web, host: compute-dead}
`, host)
}

// newSite starts both.
func newSite(t *testing.T) *site {
	t.Helper()
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	s := &site{dir: t.TempDir(), environ: []string{"PATH=/usr/bin:/bin:/usr/sbin:/sbin", "LC_ALL=C.UTF-8"}}
	address := freeAddress(t)
	s.api = "http://" + address
	s.clouds = s.write(t, "clouds.yaml", "")
	sc := s.write(t, "cloud.yaml", scenarioFor(host))
	sim := start(t, s.environ, program(t), "simulate", "--scenario", sc, "--write-clouds", s.clouds, "--endpoint", "instance-ha="+s.api+"/v1")
	answers := regexp.MustCompile(`answers at (\S+)`)
	until(t, "simulated cloud", func() bool { return answers.MatchString(sim.String()) })
	s.keystone = answers.FindStringSubmatch(sim.String())[1]
	s.environ = append(s.environ, "HOME="+s.dir, "OS_CLIENT_CONFIG_FILE="+s.clouds, "OS_CLOUD=simulated")
	user, password, project := s.credential(t, "username"), s.credential(t, "password"), s.credential(t, "project_name")
	_, port, _ := net.SplitHostPort(address)
	conf := s.write(t, "masakari.conf", fmt.Sprintf(`[DEFAULT]
masakari_api_listen = 127.0.0.1
masakari_api_listen_port = %s
os_privileged_user_auth_url = %[2]s
os_privileged_user_name = %[3]s
os_privileged_user_password = %[4]s
os_privileged_user_tenant = %[5]s
[keystone_authtoken]
auth_type = password
auth_url = %[2]s
username = %[3]s
password = %[4]s
project_name = %[5]s
user_domain_name = Default
project_domain_name = Default
[wasakari]
state_dir = %[6]s/state
`, port, s.keystone, user, password, project, s.dir))
	start(t, []string{"PATH=/usr/bin:/bin", "HOME=" + s.dir, "XDG_CACHE_HOME=" + cache(t)}, program(t), "serve", "--config-file", conf)
	until(t, "the service", func() bool {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.api+"/readyz", nil)
		if err != nil {
			t.Fatal(err)
		}
		r, err := http.DefaultClient.Do(req)
		if err != nil {
			return false
		}
		defer r.Body.Close() //nolint:errcheck // read only
		return r.StatusCode == http.StatusOK
	})
	return s
}

// cache is where compiled modules stay between runs of the suite.
func cache(t *testing.T) string {
	t.Helper()
	dir, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func (s *site) write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(s.dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// credential reads one of the first cloud in clouds.yaml.
func (s *site) credential(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(s.clouds)
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`(?m)^\s+` + name + `: "([^"]*)"`).FindSubmatch(text)
	if m == nil {
		t.Fatalf("no %s in clouds.yaml:\n%s", name, text)
	}
	return string(m[1])
}

// command runs a client and gives what it printed and its exit code.
func (s *site) command(t *testing.T, name string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = s.environ
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return out.String(), errs.String(), exit.ExitCode()
	}
	if err != nil {
		t.Fatalf("%s: %v; apt install python3-masakariclient python3-openstackclient", name, err)
	}
	return out.String(), errs.String(), 0
}

// openstack runs a command of the openstack client that must end well, and
// decodes what it prints.
func (s *site) openstack(t *testing.T, into any, args ...string) {
	t.Helper()
	if into != nil {
		args = append(args, "-f", "json")
	}
	out, errs, code := s.command(t, "openstack", args...)
	if code != 0 {
		t.Fatalf("openstack %s: exit code %d\n%s%s", strings.Join(args, " "), code, out, errs)
	}
	if into == nil {
		return
	}
	if err := json.Unmarshal([]byte(out), into); err != nil {
		t.Fatalf("openstack %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// refused runs a command that must fail, with a text.
func (s *site) refused(t *testing.T, want string, args ...string) {
	t.Helper()
	out, errs, code := s.command(t, "openstack", args...)
	if code == 0 || !strings.Contains(out+errs, want) {
		t.Errorf("openstack %s: exit code %d, %s%s; want it refused with %q", strings.Join(args, " "), code, out, errs, want)
	}
}

// token logs in and gives a token.
func (s *site) token(t *testing.T) string {
	t.Helper()
	var issued struct{ ID string }
	s.openstack(t, &issued, "token", "issue")
	return issued.ID
}

// get asks the API itself.
func (s *site) get(t *testing.T, token, path string, into any) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.api+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Auth-Token", token)
	req.Header.Set("OpenStack-API-Version", "instance-ha 1.3")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close() //nolint:errcheck // read only
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("GET %s: %s: %s", path, resp.Status, body)
	}
	if err := json.Unmarshal(body, into); err != nil {
		t.Fatalf("GET %s: %v: %s", path, err, body)
	}
}

type notification struct {
	UUID    string `json:"notification_uuid"`
	Type    string `json:"type"`
	Status  string `json:"status"`
	Message string `json:"message"`
	Payload map[string]string
	Details []struct {
		Name  string
		State string
	} `json:"recovery_workflow_details"`
}

// ended waits for the notification's end.
func (s *site) ended(t *testing.T, token, uuid string) notification {
	t.Helper()
	var doc struct{ Notification notification }
	until(t, "notification "+uuid, func() bool {
		s.get(t, token, "/v1/notifications/"+uuid, &doc)
		return slices.Contains([]string{"finished", "failed", "ignored"}, doc.Notification.Status)
	})
	return doc.Notification
}

// startNamed starts a process that ps shows by a name, and gives what kills it.
func startNamed(t *testing.T, name string) (kill func()) {
	t.Helper()
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), "/bin/sleep", "1000")
	cmd.Args[0] = name
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	kill = sync.OnceFunc(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // killed
	})
	t.Cleanup(kill)
	return kill
}
