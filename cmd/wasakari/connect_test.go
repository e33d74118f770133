package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/wasakari/wasakari/novasim"
	"github.com/wasakari/wasakari/recovery"
)

// TestCredentials: each source of credentials reaches its cloud, and the one
// that is named first in the help counts.
func TestCredentials(t *testing.T) {
	t.Parallel()
	sim, environ := startCloud(t, quickCloud, novasim.Options{})
	_, other := startCloud(t, quickCloud, novasim.Options{})
	url, elsewhere := strings.TrimPrefix(environ[0], "OS_AUTH_URL="), strings.TrimPrefix(other[0], "OS_AUTH_URL=")
	clouds := func(url string) string {
		cr := sim.Credentials()
		return fmt.Sprintf(`clouds:
  lab:
    auth: {auth_url: %s, username: %s, password: %s, project_name: %s, user_domain_name: %s, project_domain_name: %s}
    region_name: %s
`, url, cr.Username, cr.Password, cr.ProjectName, cr.UserDomainName, cr.ProjectDomainName, cr.Region)
	}
	privileged := func(url string) string {
		cr := sim.Credentials()
		return fmt.Sprintf(`[DEFAULT]
os_privileged_user_auth_url = %s
os_privileged_user_name = %s
os_privileged_user_password = %s
os_privileged_user_tenant = %s
os_user_domain_name = %s
os_project_domain_name = %s
os_region_name = %s
`, url, cr.Username, cr.Password, cr.ProjectName, cr.UserDomainName, cr.ProjectDomainName, cr.Region)
	}
	tests := []struct {
		name    string
		files   map[string]string
		environ []string
		args    []string
		want    string // how the report names the cloud
	}{
		{
			name:  "clouds.yaml by flag",
			files: map[string]string{"clouds.yaml": clouds(url), "conf": privileged(elsewhere)}, args: []string{"--os-cloud", "lab"},
			environ: append(slices.Clone(other), "OS_CLOUD=nope", "OS_CLIENT_CONFIG_FILE=DIR/clouds.yaml"),
			want:    "cloud lab",
		}, {
			name:    "clouds.yaml by environment",
			files:   map[string]string{"clouds.yaml": clouds(url), "conf": privileged(elsewhere)},
			environ: append(slices.Clone(other), "OS_CLOUD=lab", "OS_CLIENT_CONFIG_FILE=DIR/clouds.yaml"),
			want:    "cloud lab",
		}, {
			name:    "variables",
			files:   map[string]string{"conf": privileged(elsewhere)},
			environ: environ,
			want:    "cloud of the OS_* variables",
		}, {
			name:  "configuration",
			files: map[string]string{"conf": privileged(url)},
			want:  "cloud of os_privileged_user_auth_url",
		},
	}
	for _, tt := range tests { // one after the other: they share a cloud
		t.Run(tt.name, func(t *testing.T) {
			p := newPlace(t, tt.files)
			p.environ = tt.environ
			before := len(sim.Requests())
			args := strings.Fields("run process --config-file DIR/conf --output json --input process_name=nova-compute --input host_name=compute-3")
			r := p.run(t.Context(), t, append(args, tt.args...)...)
			doc := documentOf(t, r)
			if r.code != exitOK || doc.Cloud != tt.want {
				t.Errorf("exit code %d, cloud %q, want %d, %q\n%s", r.code, doc.Cloud, exitOK, tt.want, r.stderr)
			}
			if len(sim.Requests()) == before {
				t.Error("the cloud got no request")
			}
			if strings.Contains(r.stdout+r.stderr, sim.Credentials().Password) && sim.Credentials().Password != sim.Credentials().ProjectName {
				t.Error("the password is shown")
			}
		})
	}
}

// reasonOf gives the reason with which a run disabled the service of a host.
func reasonOf(t *testing.T, p *place, sim *novasim.Cloud, args ...string) string {
	t.Helper()
	all := strings.Fields("run process --output json --input process_name=nova-compute --input host_name=compute-3")
	if r := p.run(t.Context(), t, append(all, args...)...); r.code != exitOK {
		t.Fatalf("exit code %d\n%s%s", r.code, r.stdout, r.stderr)
	}
	reason, _, _ := strings.Cut(service(t, sim, "compute-3").DisabledReason, " [wasakari")
	return reason
}

// TestPrecedence: files are read where they are named, or where Masakari looks
// for its own; later ones win, then folders, then the environment, then --set.
func TestPrecedence(t *testing.T) {
	t.Parallel()
	conf := func(reason string) string {
		return "[process_failure]\nservice_disable_reason = " + reason + "\n"
	}
	files := map[string]string{
		"one.conf": conf("one"), "two.conf": conf("two"), "dir/a.conf": conf("a"), "dir/b.conf": conf("b"), "dir/c.conf.old": conf("c"),
	}
	discovered := map[string]string{
		"root/etc/masakari/masakari.conf": conf("system"), "home/.masakari/masakari.conf": conf("own"),
	}
	folder := map[string]string{
		"root/etc/masakari/masakari.conf": conf("system"), "root/etc/masakari/masakari.conf.d/x.conf": conf("folder"),
	}
	tests := []struct {
		name    string
		files   map[string]string
		environ []string
		args    string
		want    string
	}{
		{name: "default", args: "--config-file DIR/empty.conf", files: map[string]string{"empty.conf": ""}, want: "Masakari detected process failed."},
		{name: "file", files: files, args: "--config-file DIR/one.conf", want: "one"},
		{name: "later file", files: files, args: "--config-file DIR/one.conf --config-file DIR/two.conf", want: "two"},
		{name: "folder after files", files: files, args: "--config-dir DIR/dir --config-file DIR/one.conf", want: "b"},
		{name: "environment", files: files, args: "--config-dir DIR/dir", environ: []string{"OS_PROCESS_FAILURE__SERVICE_DISABLE_REASON=env"}, want: "env"},
		{
			name: "set", files: files, args: "--set process_failure.service_disable_reason=flag --config-file DIR/one.conf",
			environ: []string{"OS_PROCESS_FAILURE__SERVICE_DISABLE_REASON=env"}, want: "flag",
		},
		{name: "discovered", files: discovered, want: "own"},
		{name: "discovered folder", files: folder, want: "folder"},
		{name: "nothing is discovered where a file is named", files: discovered, args: "--config-file DIR/root/etc/masakari/masakari.conf", want: "system"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			sim, environ := startCloud(t, quickCloud, novasim.Options{})
			p := newPlace(t, tt.files)
			p.environ = append(environ, tt.environ...)
			if got := reasonOf(t, p, sim, strings.Fields(tt.args)...); got != tt.want {
				t.Errorf("reason = %q, want %q", got, tt.want)
			}
		})
	}
}

// TestSimulate serves a cloud as a program of its own would, logs in as any
// client does, recovers a host of it and stops it.
func TestSimulate(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	p := newPlace(t, map[string]string{"cloud.yaml": quickCloud, "conf": ""})
	p.environ = []string{"OS_CLIENT_CONFIG_FILE=DIR/clouds.yaml"}
	ready := make(chan string, 1)
	p.stdout = func(text []byte) { ready <- string(text) }
	ended := make(chan result)
	go func() {
		ended <- p.run(ctx, t, "simulate", "--scenario", "DIR/cloud.yaml", "--write-clouds", "DIR/clouds.yaml", "--log-level", "error")
	}()
	var url string
	select {
	case text := <-ready:
		first, _, _ := strings.Cut(text, "\n")
		url = strings.TrimPrefix(first, "a simulated cloud answers at ")
	case r := <-ended:
		cancel()
		t.Fatalf("exit code %d\n%s%s", r.code, r.stdout, r.stderr)
	}

	body := `{"auth":{"identity":{"methods":["password"],"password":{"user":{"name":"admin","domain":{"id":"default"},"password":"novasim"}}},` +
		`"scope":{"project":{"name":"admin","domain":{"id":"default"}}}}}`
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url+"/auth/tokens", bytes.NewReader([]byte(body)))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	text, _ := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusCreated || resp.Header.Get("X-Subject-Token") == "" {
		t.Errorf("log in: %s %s", resp.Status, text)
	}

	other := &place{dir: p.dir, environ: p.environ}
	args := strings.Fields("run host-auto --os-cloud simulated --config-file DIR/conf --input host_name=compute-1 --output json")
	r := other.run(t.Context(), t, args...)
	if doc := documentOf(t, r); r.code != exitOK || outcomes(doc)["succeeded compute-2"]+outcomes(doc)["succeeded compute-3"] != 8 {
		t.Errorf("exit code %d, servers %v, want %d and 8 that moved\n%s", r.code, outcomes(doc), exitOK, r.stderr)
	}
	r = other.run(t.Context(), t, strings.Fields("run process --os-cloud simulated-member --config-file DIR/conf --input process_name=nova-compute --input host_name=compute-2 --output json")...)
	if doc := documentOf(t, r); r.code != exitFailed || !strings.Contains(doc.Message, "403") {
		t.Errorf("as a plain member: exit code %d, message %q, want %d and 403", r.code, doc.Message, exitFailed)
	}

	cancel()
	if r := <-ended; r.code != exitOK {
		t.Errorf("stopped: exit code %d, want %d\n%s", r.code, exitOK, r.stderr)
	}
	r = other.run(t.Context(), t, args...)
	if r.code != exitUsage || !strings.Contains(r.stderr, "connection refused; check the URL") {
		t.Errorf("after its end: exit code %d, %q, want %d, connection refused", r.code, r.stderr, exitUsage)
	}
}

// TestPrintScenario: what --print-scenario prints is a scenario.
func TestPrintScenario(t *testing.T) {
	t.Parallel()
	p := newPlace(t, nil)
	r := p.run(t.Context(), t, "simulate", "--print-scenario")
	if _, err := novasim.ParseScenario("printed", []byte(r.stdout)); r.code != exitOK || err != nil {
		t.Errorf("exit code %d, %v", r.code, err)
	}
}

// TestCheck: all flows, each task with where it comes from.
func TestCheck(t *testing.T) {
	t.Parallel()
	p := newPlace(t, map[string]string{"typo.conf": "[host_failure]\nother_state = skip\n"})
	dir := exampleTasks(t)
	r := p.run(t.Context(), t, "check", "--config-file", guideConf, "--config-file", "DIR/typo.conf", "--task-dir", dir)
	if r.code != exitOK {
		t.Fatalf("exit code %d\n%s", r.code, r.stderr)
	}
	if want := "warning: DIR/typo.conf:2:1: unknown option [host_failure] 'other_state', ignored; did you mean other_states?\n"; r.stderr != want {
		t.Errorf("standard error = %q, want %q", r.stderr, want)
	}
	for _, want := range []string{
		"read: " + guideConf + ", " + p.dir + "/typo.conf\n",
		"\nhost-auto (" + recovery.HostAuto.Option() + ", " + guideConf + ":5:36)\n",
		"  pre   disable_compute_service_task         standard\n        custom_pre_task                      guide-library 1.0.0, " + dir + "/custom_pre_task.wasm\n",
		"\nprocess (process_failure_recovery_tasks, default)\n  pre   disable_compute_node_task            standard\n" +
			"  main  confirm_compute_node_disabled_task   standard\n  post  (none)\n\nhost-repair (host_repair_tasks, default; off, see [host_repair] enabled)\n" +
			"  pre   (none)\n  main  enable_compute_service_task          standard\n  post  (none)\n\ngrants\n  task              library        asks for\n",
		"\n  custom_pre_task   guide-library  kv.put                 granted at " + guideConf + ":15:17\n" +
			"                                   options:guide_library  granted at " + guideConf + ":15:25\n" +
			"  my_noop_task      my-noop        (nothing)\n\nlimits\n",
		"\n  my_noop_task: memory 64 MiB, stack 1 MiB, time 5m0s, cpu 1e+10 units\n\nall flows are good\n",
	} {
		if !strings.Contains(r.stdout, want) {
			t.Errorf("standard output =\n%s\nwant in it\n%s", r.stdout, want)
		}
	}
}

// TestInspectAndPack: a module that was packed says what the manifest says.
func TestInspectAndPack(t *testing.T) {
	t.Parallel()
	const manifest = `abi: 1
library: acme
version: 1.2.3
summary: Tickets
tasks:
  - key: open_ticket
    summary: Opens a ticket
    requires: [host_name]
    provides: [ticket_id]
    uses: [kv.put]
    options:
      - {group: acme, name: queue, type: string, default: ops, help: Queue of the ticket}
      - {group: acme, name: token, type: string, required: true, secret: true}
    on_interrupt: fail
    limits: {memory_mib: 2, timeout: 5s}
`
	p := newPlace(t, map[string]string{"task.yaml": manifest, "raw.wasm": string(guest("no_manifest"))})
	r := p.run(t.Context(), t, strings.Fields("task pack DIR/task.yaml DIR/raw.wasm -o DIR/open_ticket.wasm")...)
	out := strings.ReplaceAll(r.stdout, p.dir, "DIR")
	if want := "DIR/open_ticket.wasm: acme 1.2.3, "; r.code != exitOK || !strings.HasPrefix(out, want) || !strings.HasSuffix(out, ", tasks open_ticket\n") {
		t.Fatalf("exit code %d, %q, want %q…\n%s", r.code, out, want, r.stderr)
	}
	r = p.run(t.Context(), t, strings.Fields("task inspect DIR/open_ticket.wasm")...)
	for _, want := range []string{
		"  library  acme 1.2.3\n  summary  Tickets\n  digest   sha256:",
		"\n  task open_ticket: Opens a ticket\n    requires  host_name\n    provides  ticket_id\n    uses      kv.put\n",
		"    option    [acme] queue (string, default \"ops\"): Queue of the ticket\n    option    [acme] token (string, required, secret)\n",
		"    limits    memory 2 MiB, time 5s\n    effective memory 2 MiB (manifest), stack 1 MiB, time 5s (manifest), cpu 1e+10 units\n    interrupt fail\n",
		"  exports\n", "    run () -> i32\n", "    memory\n", `custom "wasakari.task"`,
	} {
		if !strings.Contains(r.stdout, want) {
			t.Errorf("standard output =\n%s\nwant in it\n%s", r.stdout, want)
		}
	}
	r = p.run(t.Context(), t, strings.Fields("task inspect DIR/open_ticket.wasm --output json")...)
	var info map[string]json.RawMessage
	if err := json.Unmarshal([]byte(r.stdout), &info); err != nil || r.code != exitOK {
		t.Fatalf("exit code %d, %v\n%s", r.code, err, r.stdout)
	}
	var doc struct {
		Library string `json:"library"`
		Tasks   []struct {
			Key      string   `json:"key"`
			Provides []string `json:"provides"`
		} `json:"tasks"`
	}
	if err := json.Unmarshal(info["manifest"], &doc); err != nil || doc.Library != "acme" || len(doc.Tasks) != 1 || doc.Tasks[0].Key != "open_ticket" {
		t.Errorf("manifest = %s (%v)", info["manifest"], err)
	}
	// Packed again, the manifest is replaced.
	p.write(t, "task.yaml", strings.Replace(manifest, "1.2.3", "1.2.4", 1))
	if r = p.run(t.Context(), t, strings.Fields("task pack DIR/task.yaml DIR/open_ticket.wasm -o DIR/open_ticket.wasm")...); r.code != exitOK || !strings.Contains(r.stdout, "acme 1.2.4, ") {
		t.Errorf("packed again: exit code %d, %q%s", r.code, r.stdout, r.stderr)
	}
	// A module without a manifest can be looked at.
	r = p.run(t.Context(), t, strings.Fields("task inspect DIR/raw.wasm")...)
	if want := "  problem  no manifest: the module has no custom section wasakari.task; add one with wasakari task pack task.yaml module.wasm -o out.wasm\n"; r.code != exitOK || !strings.Contains(r.stdout, want) {
		t.Errorf("exit code %d, standard output =\n%s\nwant in it\n%s", r.code, r.stdout, want)
	}
}
