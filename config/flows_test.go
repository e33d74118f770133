package config_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/wasakari/wasakari/config"
	"github.com/wasakari/wasakari/recovery"
)

const segment = "1cac8712-c5fb-4790-9479-762578a3f944"

// keysOf prints a flow as pre | main | post.
func keysOf(f recovery.Flow) string {
	var phases []string
	for _, ph := range recovery.Phases() {
		var keys []string
		for _, r := range f.Tasks(ph) {
			keys = append(keys, r.Key)
		}
		phases = append(phases, strings.Join(keys, ","))
	}
	return strings.Join(phases, "|")
}

func TestSegmentFlows(t *testing.T) {
	c := loadText(t, strings.Join([]string{
		"[taskflow_driver_recovery_flows]",
		"process_failure_recovery_tasks = pre:[all],main:[],post:[]",
		"[flows:" + segment + "]", // 3
		"process_failure_recovery_tasks =",
		"  pre:[mine],main:[b],post:[]", // 5
		"[Flows:" + strings.ToUpper(segment) + "]",
		"block = a, b",
		"instance_failure_recovery_tasks = pre:[],main:[$block],post:[]",
		"host_auto_faliure_recovery_tasks = x", // 9: misspelt
	}, "\n"))
	for _, tt := range []struct {
		segment string
		kind    recovery.FlowKind
		want    string
		own     bool
	}{
		{segment, recovery.ProcessFailure, "mine|b|", true},
		{strings.ToUpper(segment), recovery.ProcessFailure, "mine|b|", true},
		{segment, recovery.InstanceFailure, "|a,b|", true},
		{segment, recovery.HostAuto, "disable_compute_service_task|prepare_HA_enabled_instances_task|evacuate_instances_task", false},
		{"2" + segment[1:], recovery.ProcessFailure, "all||", false},
		{"", recovery.ProcessFailure, "all||", false},
	} {
		f, own, err := c.SegmentFlow(tt.segment, tt.kind)
		if err != nil || keysOf(f) != tt.want || own != tt.own || f.Kind != tt.kind {
			t.Errorf("SegmentFlow(%s, %s) = %s %s, %t, %v, want %s, %t", tt.segment, tt.kind, f.Kind, keysOf(f), own, err, tt.want, tt.own)
		}
	}
	if _, _, err := c.SegmentFlow(segment, "x"); err == nil {
		t.Error("an unknown kind has a flow")
	}
	if got := c.Segments(); !slices.Equal(got, []string{segment}) {
		t.Errorf("Segments = %q, want %s alone", got, segment)
	}
	f, _, _ := c.SegmentFlow(segment, recovery.ProcessFailure)
	if got := f.Pre[0].Pos; got.Line != 5 || got.Col != 8 {
		t.Errorf("the first task stands at %s, want 5:8", got)
	}
	f.Pre[0].Key = "changed"
	if f, _, _ := c.SegmentFlow(segment, recovery.ProcessFailure); f.Pre[0].Key != "mine" {
		t.Error("a flow that was handed out can be changed")
	}
	var warned []string
	for _, w := range c.Warnings() {
		warned = append(warned, w.Message)
	}
	want := []string{
		"unknown option [Flows:" + strings.ToUpper(segment) + "] 'block', ignored",
		"unknown option [Flows:" + strings.ToUpper(segment) + "] 'host_auto_faliure_recovery_tasks', ignored; did you mean host_auto_failure_recovery_tasks?",
	}
	if !slices.Equal(warned, want) {
		t.Errorf("warnings = %q\nwant %q", warned, want)
	}
	s := settings(t, c)["flows:"+segment+".process_failure_recovery_tasks"]
	if s.Text() != "pre:['mine'],main:['b'],post:[]" || len(s.Places) != 1 || s.Places[0].Line != 5 || s.Default || s.NoEffect {
		t.Errorf("setting = %+v", s)
	}
	if !config.Reserved("flows:"+segment) || !config.Reserved("Flows:x") {
		t.Error("a task may have options in the section of a segment's flows")
	}
}

func TestTenantFlows(t *testing.T) {
	c := loadText(t, "[tenant_flows]\nacme = pre:[open],main:[stop_instance_task, 'start_instance_task'],post:[]\n")
	f, ok := c.TenantFlow("acme")
	if want := "open|stop_instance_task,start_instance_task|"; !ok || keysOf(f) != want || f.Kind != recovery.InstanceFailure {
		t.Errorf("TenantFlow = %s %s, %t, want %s", f.Kind, keysOf(f), ok, want)
	}
	if got := f.Main[1].Pos; got.Line != 2 {
		t.Errorf("a task stands at %s, want line 2", got)
	}
	if _, ok := c.TenantFlow("Acme"); ok {
		t.Error("another project has a flow")
	}
	if got := c.FlowTenants(); !slices.Equal(got, []string{"acme"}) {
		t.Errorf("FlowTenants = %q", got)
	}
	if w := c.Warnings(); len(w) > 0 {
		t.Errorf("warnings = %v, want none", w)
	}
	if s := settings(t, c)["tenant_flows.acme"]; s.Text() != "pre:['open'],main:['stop_instance_task','start_instance_task'],post:[]" {
		t.Errorf("setting = %+v", s)
	}
}

func TestServiceMistakes(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{"[flows:x]\ndebug = 1", "t.conf:1:1: section [flows:x]: not the uuid of a segment behind flows:; write it as wasakari and openstack segment list show it, such as [flows:" + segment + "]"},
		{"[flows:]\n", "t.conf:1:1: section [flows:]: not the uuid of a segment behind flows:; write it as wasakari and openstack segment list show it, such as [flows:" + segment + "]"},
		{"[flows:" + segment + "]\nprocess_failure_recovery_tasks = pre:[a", "t.conf:2:38: option [flows:" + segment + "] process_failure_recovery_tasks: the '[' of pre is not closed; write ']' behind its last task"},
		{"[flows:" + segment + "]\nprocess_failure_recovery_tasks = pre:[],\nmain: []", "t.conf:2:40: option [flows:" + segment + "] process_failure_recovery_tasks: a comma at the end of the value; the lines in column 0 from line 3 on are options of their own; indent them"},
		{"[flows:" + segment + "]\nblock = a,,b\nprocess_failure_recovery_tasks = pre:[$block],main:[],post:[]", "t.conf:3:39: option [flows:" + segment + "] process_failure_recovery_tasks: an empty task name in pre; remove the ','"},
		{"[tenant_flows]\na b = pre:[],main:[],post:[]", "t.conf:2:1: option [tenant_flows] 'a b': not the name of a tenant; write the id of a project, such as 0b1f6cf9d0a44c2f9d7f3c3c5b9a7f10 = pre:[…],main:[…],post:[…]"},
		{"[tenant_flows]\na = pre:[],main:[]", "t.conf:2:5: option [tenant_flows] a: post is missing; add post:['…'], or post:[] for no tasks"},
		{"[store]\nendpoints = https://a:2379, b:2379", "t.conf:2:13: option [store] endpoints: want URLs of etcd, such as https://10.0.0.1:2379, got 'b:2379'"},
		{"[store]\nendpoints = https://u:p@a:2379", "t.conf:2:13: option [store] endpoints: want URLs of etcd, such as https://10.0.0.1:2379"},
		{"[store]\nlease_seconds = 1", "t.conf:2:17: option [store] lease_seconds: want an int from 5 to 600, got '1'"},
		{"[engine]\nnode = a b", "t.conf:2:8: option [engine] node: want at most 64 letters, digits and . _ -, got 'a b'"},
		{"[webhooks]\nurl = https://a/x\nurl = ftp://secret", "t.conf:3:7: option [webhooks] url: want a URL, such as https://hooks.example.com/wasakari"},
		{"[telemetry]\nmetrics_listen = 15869", "t.conf:2:18: option [telemetry] metrics_listen: want an address and a port, such as 127.0.0.1:15869, got '15869'"},
		{"[telemetry]\notlp_headers = secret", "t.conf:2:16: option [telemetry] otlp_headers: want NAME=VALUE, such as Authorization=Basic …"},
		{"[telemetry]\notlp_endpoint = grpc://x:1", "t.conf:2:17: option [telemetry] otlp_endpoint: want a URL, such as http://collector:4318, got 'grpc://x:1'"},
		{"[telemetry]\notlp_protocol = udp", "t.conf:2:17: option [telemetry] otlp_protocol: want one of http, grpc, got 'udp'"},
		{"[api]\nreader_roles = a,,b", "t.conf:2:16: option [api] reader_roles: want names of roles, got ''"},
	} {
		if _, got := load(t, tt.text); got != tt.want {
			t.Errorf("%q: error = %s\nwant    %s", tt.text, got, tt.want)
		}
	}
}

func TestServiceWarnings(t *testing.T) {
	c, err := load(t, "[flow:"+segment+"]\n[segment:"+segment+"]\n[store]\nendpoint = x\ndirectory = x\n[engines]\n[webhooks]\nurls = x\n[telemetry]\nmetric = 1\n[api]\nreader_role = x\n")
	if err != "" {
		t.Fatal(err)
	}
	want := []string{
		"t.conf:1:1: unknown section [flow:" + segment + "], ignored; [flows:" + segment + "] is for the flows of a segment, not [flow:…]",
		"t.conf:2:1: unknown section [segment:" + segment + "], ignored; [flows:" + segment + "] is for the flows of a segment, not [segment:…]",
		"t.conf:6:1: unknown section [engines], ignored; did you mean [engine]?",
		"t.conf:4:1: unknown option [store] 'endpoint', ignored; did you mean endpoints?",
		"t.conf:5:1: unknown option [store] 'directory', ignored",
		"t.conf:8:1: unknown option [webhooks] 'urls', ignored; did you mean url?",
		"t.conf:10:1: unknown option [telemetry] 'metric', ignored; did you mean metrics?",
		"t.conf:12:1: unknown option [api] 'reader_role', ignored; did you mean reader_roles?",
	}
	if got := warnings(c); !slices.Equal(got, want) {
		t.Errorf("warnings = %q\nwant %q", got, want)
	}
}

func TestCheckService(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		{"no Keystone", "", "option [keystone_authtoken] auth_url is required: auth_strategy is keystone; write auth_url = … below [keystone_authtoken], with the user who checks tokens"},
		{"no auth", "[DEFAULT]\nauth_strategy = noauth2", ""},
		{"Keystone", "[keystone_authtoken]\nauth_url = http://k", ""},
		{
			"TLS", "[DEFAULT]\nauth_strategy = noauth2\nuse_ssl = true\n[wsgi]\nssl_key_file =\n",
			"option [wsgi] ssl_cert_file is required: use_ssl is true; name the file, or set use_ssl = false where a proxy speaks TLS\n" +
				"t.conf:5:15: option [wsgi] ssl_key_file is required: use_ssl is true; name the file, or set use_ssl = false where a proxy speaks TLS",
		},
		{"half a client certificate", "[DEFAULT]\nauth_strategy = noauth2\n[store]\ncertfile = x\n", "option [store] keyfile is required: certfile and keyfile go together"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, msg := load(t, tt.text)
			if msg != "" {
				t.Fatal(msg)
			}
			got := ""
			if err := c.CheckService(); err != nil {
				got = strings.ReplaceAll(err.Error(), strings.TrimSuffix(c.Files()[0], "t.conf"), "")
			}
			if got != tt.want {
				t.Errorf("error = %s\nwant    %s", got, tt.want)
			}
		})
	}
}

// Callers are told of the Keystone that is asked, unless of another one.
func TestWWWAuthenticateURI(t *testing.T) {
	for text, want := range map[string]string{"": "http://k/v3", "www_authenticate_uri = https://public/v3\n": "https://public/v3"} {
		c := loadText(t, "[keystone_authtoken]\nauth_url = http://k/v3\n"+text)
		if got := c.AuthToken.WWWAuthenticateURI; got != want {
			t.Errorf("www_authenticate_uri = %s, want %s", got, want)
		}
	}
}

func TestFind(t *testing.T) {
	root := t.TempDir()
	put := func(name string) string {
		t.Helper()
		p := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		return p
	}
	one, two := put("one/a.conf"), put("two/b.conf")
	put("one/policy.yaml")
	second, third := put("two/policy.yaml"), put("etc/masakari/other.yaml")
	c, err := config.Load(config.Sources{Files: []string{one, two}, Root: root})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, want string
		ok         bool
	}{
		{"policy.yaml", second, true},
		{"other.yaml", third, true},
		{third, third, true},
		{"none.yaml", "none.yaml", false},
		{filepath.Join(root, "none"), filepath.Join(root, "none"), false},
		{"", "", false},
	} {
		if got, ok := c.Find(tt.name); got != tt.want || ok != tt.ok {
			t.Errorf("Find(%s) = %s, %t, want %s, %t", tt.name, got, ok, tt.want, tt.ok)
		}
	}
}
