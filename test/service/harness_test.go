//go:build apifuzz || bench

// Package service_test tries and measures a whole wasakari serve, a process of
// its own, on simulated clouds.
package service_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/wasakari/wasakari/novasim"
)

// patience bounds the wait for something that is to happen.
const patience = 3 * time.Minute

// program is bin/wasakari, or what WASAKARI names.
func program(t *testing.T) string {
	t.Helper()
	p, err := filepath.Abs("../../bin/wasakari")
	if named := os.Getenv("WASAKARI"); named != "" {
		p, err = named, nil
	}
	if err == nil {
		_, err = os.Stat(p)
	}
	if err != nil {
		t.Fatalf("%v; run make build", err)
	}
	return p
}

// output is what a process wrote so far; of a long one the end.
type output struct {
	mu sync.Mutex
	b  []byte
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.b = append(o.b, p...)
	if len(o.b) > 1<<20 {
		o.b = append([]byte(nil), o.b[len(o.b)-1<<18:]...)
	}
	return len(p), nil
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return string(o.b)
}

// cloud starts a simulated cloud.
func cloud(t *testing.T, scenario string) (*novasim.Cloud, string) {
	t.Helper()
	sc, err := novasim.ParseScenario("cloud.yaml", []byte(scenario))
	if err != nil {
		t.Fatal(err)
	}
	c, err := novasim.New(sc, novasim.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	s, err := c.Start(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	return c, s.URL
}

// config writes the configuration of a service on a simulated cloud.
func config(t *testing.T, c *novasim.Cloud, keystone, more string) string {
	t.Helper()
	cr := c.Credentials()
	dir := t.TempDir()
	file := filepath.Join(dir, "masakari.conf")
	text := fmt.Sprintf(`[DEFAULT]
os_privileged_user_auth_url = %[1]s
os_privileged_user_name = %[2]s
os_privileged_user_password = %[3]s
os_privileged_user_tenant = %[4]s
[keystone_authtoken]
auth_type = password
auth_url = %[1]s
username = %[2]s
password = %[3]s
project_name = %[4]s
user_domain_name = Default
project_domain_name = Default
[telemetry]
metrics = false
[wasakari]
state_dir = %[5]s/state
%[6]s`, keystone, cr.Username, cr.Password, cr.ProjectName, dir, more)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// token logs in at Keystone.
func token(t *testing.T, c *novasim.Cloud, keystone string) string {
	t.Helper()
	cr := c.Credentials()
	body := fmt.Sprintf(`{"auth": {"identity": {"methods": ["password"], "password": {"user": {"name": %q, "password": %q, "domain": {"name": %q}}}},
		"scope": {"project": {"name": %q, "domain": {"name": %q}}}}}`, cr.Username, cr.Password, cr.UserDomainName, cr.ProjectName, cr.ProjectDomainName)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, keystone+"/auth/tokens", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close() //nolint:errcheck // read only
	if resp.StatusCode != http.StatusCreated {
		t.Fatalf("login: %s", resp.Status)
	}
	return resp.Header.Get("X-Subject-Token")
}

// service is a running wasakari serve.
type service struct {
	url, token string
	took       time.Duration // from its start until it said that it serves
	cmd        *exec.Cmd
	out        output
	ended      chan struct{}
	client     *http.Client
}

var answersAt = regexp.MustCompile(`answers at (\S+)/v1 `)

// serve starts one on a port of its own, until the test's end.
func serve(t *testing.T, args ...string) *service {
	t.Helper()
	cache, err := os.UserCacheDir() // compiled modules
	if err != nil {
		t.Fatal(err)
	}
	s := &service{ended: make(chan struct{}), client: &http.Client{Timeout: patience, Transport: &http.Transport{MaxIdleConns: 512, MaxIdleConnsPerHost: 512}}}
	s.cmd = exec.CommandContext(context.WithoutCancel(t.Context()), program(t), append([]string{"serve", "--listen", "127.0.0.1:0"}, args...)...)
	s.cmd.Env = []string{"PATH=/usr/bin:/bin", "HOME=" + t.TempDir(), "XDG_CACHE_HOME=" + cache}
	s.cmd.Stdout, s.cmd.Stderr = &s.out, &s.out
	began := time.Now()
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = s.cmd.Wait() // what it wrote tells
		close(s.ended)
	}()
	t.Cleanup(func() {
		s.stop(t)
		if t.Failed() {
			t.Logf("serve %s:\n%s", strings.Join(args, " "), s.out.String())
		}
	})
	until(t, "the service", func() bool {
		if s.gone() {
			t.Fatalf("serve ended:\n%s", s.out.String())
		}
		if m := answersAt.FindStringSubmatch(s.out.String()); m != nil {
			s.url = m[1]
		}
		return s.url != ""
	})
	s.took = time.Since(began)
	return s
}

func (s *service) gone() bool {
	select {
	case <-s.ended:
		return true
	default:
		return false
	}
}

// stop asks it to end.
func (s *service) stop(t *testing.T) {
	t.Helper()
	if s.gone() {
		return
	}
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-s.ended:
	case <-time.After(patience):
		_ = s.cmd.Process.Kill()
		<-s.ended
		t.Error("serve did not stop when it was asked to")
	}
}

// until waits for done, which is asked again and again.
func until(t *testing.T, what string, done func() bool) {
	t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("%s: not within %s", what, patience)
		}
	}
}

// ask sends a request, and decodes the answer when it is 2xx.
func (s *service) ask(method, path, body string, into any) error {
	req, err := http.NewRequestWithContext(context.Background(), method, s.url+path, strings.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("OpenStack-API-Version", "instance-ha 1.3")
	if s.token != "" {
		req.Header.Set("X-Auth-Token", s.token)
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close() //nolint:errcheck // read only
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode >= 300 {
		return fmt.Errorf("%s %s: %s: %s", method, path, resp.Status, bytes.TrimSpace(text))
	}
	if into == nil {
		return nil
	}
	return json.Unmarshal(text, into)
}

// must is ask of what has to be done.
func (s *service) must(t *testing.T, method, path, body string, into any) {
	t.Helper()
	if err := s.ask(method, path, body, into); err != nil {
		t.Fatal(err)
	}
}

// segment makes a segment with hosts.
func (s *service) segment(t *testing.T, name string, hosts ...string) {
	t.Helper()
	var made struct{ Segment struct{ UUID string } }
	s.must(t, "POST", "/v1/segments", fmt.Sprintf(`{"segment": {"name": %q, "recovery_method": "auto", "service_type": "COMPUTE"}}`, name), &made)
	for _, h := range hosts {
		s.must(t, "POST", "/v1/segments/"+made.Segment.UUID+"/hosts",
			fmt.Sprintf(`{"host": {"name": %q, "type": "COMPUTE", "control_attributes": "x"}}`, h), nil)
	}
}

// names makes the names of n hosts.
func names(n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprintf("compute-%d", i+1)
	}
	return out
}
