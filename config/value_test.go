package config_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/wasakari/wasakari/config"
	"github.com/wasakari/wasakari/recovery"
)

// TestValues reads one option of each type from each kind of text.
func TestValues(t *testing.T) {
	const (
		str, boolean, integer, float = recovery.StringOption, recovery.BoolOption, recovery.IntOption, recovery.FloatOption
		list, host, uri, seconds     = recovery.ListOption, recovery.HostOption, recovery.URIOption, recovery.SecondsOption
		wantBool                     = "t.conf:2:5: option [grp] o: want a bool (true, 1, on, yes, false, 0, off, no), got "
	)
	port := recovery.OptionSpec{Type: integer, Min: new(int64(1)), Max: new(int64(65535))}
	threads := recovery.OptionSpec{Type: recovery.IntOrAutoOption, Min: new(int64(1))}
	tests := []struct {
		spec    recovery.OptionSpec
		text    string
		want    any
		wantErr string
	}{
		{spec: recovery.OptionSpec{Type: str}, text: "a b", want: "a b"},
		{spec: recovery.OptionSpec{Type: str}, text: "", want: ""},
		{spec: recovery.OptionSpec{Type: str, Choices: []string{"a", "b"}}, text: "a", want: "a"},
		{spec: recovery.OptionSpec{Type: str, Choices: []string{"a", "b"}}, text: "A", wantErr: "t.conf:2:5: option [grp] o: want one of a, b, got 'A'"},
		{spec: recovery.OptionSpec{Type: boolean}, text: "TRUE", want: true},
		{spec: recovery.OptionSpec{Type: boolean}, text: "1", want: true},
		{spec: recovery.OptionSpec{Type: boolean}, text: "On", want: true},
		{spec: recovery.OptionSpec{Type: boolean}, text: "yes", want: true},
		{spec: recovery.OptionSpec{Type: boolean}, text: `"False"`, want: false},
		{spec: recovery.OptionSpec{Type: boolean}, text: "0", want: false},
		{spec: recovery.OptionSpec{Type: boolean}, text: "off", want: false},
		{spec: recovery.OptionSpec{Type: boolean}, text: "no", want: false},
		{spec: recovery.OptionSpec{Type: boolean}, text: "t", wantErr: wantBool + "'t'"},
		{spec: recovery.OptionSpec{Type: boolean}, text: "n", wantErr: wantBool + "'n'"},
		{spec: recovery.OptionSpec{Type: boolean}, text: "", wantErr: strings.Replace(wantBool, "2:5", "2:4", 1) + "''"},
		{spec: recovery.OptionSpec{Type: integer}, text: "05", want: int64(5)},
		{spec: recovery.OptionSpec{Type: integer}, text: "1_0", want: int64(10)},
		{spec: recovery.OptionSpec{Type: integer}, text: "-3", want: int64(-3)},
		{spec: recovery.OptionSpec{Type: integer}, text: "+3", want: int64(3)},
		{spec: recovery.OptionSpec{Type: integer}, text: "", want: nil},
		{spec: recovery.OptionSpec{Type: integer}, text: "\n  7", want: int64(7)},
		{spec: recovery.OptionSpec{Type: integer}, text: "\n  x", wantErr: "t.conf:3:3: option [grp] o: want an int, got '\\nx'"},
		{spec: recovery.OptionSpec{Type: integer}, text: "1.5", wantErr: "t.conf:2:5: option [grp] o: want an int, got '1.5'"},
		{spec: recovery.OptionSpec{Type: integer}, text: "0x5", wantErr: "t.conf:2:5: option [grp] o: want an int, got '0x5'"},
		{spec: recovery.OptionSpec{Type: integer}, text: "1__0", wantErr: "t.conf:2:5: option [grp] o: want an int, got '1__0'"},
		{spec: recovery.OptionSpec{Type: integer}, text: "--1", wantErr: "t.conf:2:5: option [grp] o: want an int, got '--1'"},
		{spec: recovery.OptionSpec{Type: integer}, text: "9223372036854775808", wantErr: "t.conf:2:5: option [grp] o: want an int, got '9223372036854775808'"},
		{spec: recovery.OptionSpec{Type: integer}, text: "5 # note", wantErr: "t.conf:2:5: option [grp] o: want an int, got '5 # note'; a comment stands in a line of its own, not behind a value"},
		{spec: port, text: "65535", want: int64(65535)},
		{spec: port, text: "0", wantErr: "t.conf:2:5: option [grp] o: want an int from 1 to 65535, got '0'"},
		{spec: recovery.OptionSpec{Type: integer, Min: new(int64(0))}, text: "-1", wantErr: "t.conf:2:5: option [grp] o: want an int ≥ 0, got '-1'"},
		{spec: threads, text: "8", want: int64(8)},
		{spec: threads, text: " Auto ", want: "auto"},
		{spec: threads, text: "", want: nil},
		{spec: threads, text: "0", wantErr: "t.conf:2:5: option [grp] o: want an int ≥ 1 or auto, got '0'"},
		{spec: threads, text: "automatic", wantErr: "t.conf:2:5: option [grp] o: want an int ≥ 1 or auto, got 'automatic'"},
		{spec: recovery.OptionSpec{Type: seconds}, text: "5s", wantErr: "t.conf:2:5: option [grp] o: want an int (seconds), got '5s'"},
		{spec: recovery.OptionSpec{Type: seconds}, text: "9999999999", wantErr: "t.conf:2:5: option [grp] o: want an int (seconds) ≤ 2147483647, got '9999999999'"},
		{spec: recovery.OptionSpec{Type: float}, text: "1.5e1", want: 15.0},
		{spec: recovery.OptionSpec{Type: float}, text: "nan", wantErr: "t.conf:2:5: option [grp] o: want a float, got 'nan'"},
		{spec: recovery.OptionSpec{Type: float, Max: new(int64(1))}, text: "1.5", wantErr: "t.conf:2:5: option [grp] o: want a float ≤ 1, got '1.5'"},
		{spec: recovery.OptionSpec{Type: list}, text: "a , b,c", want: []string{"a", "b", "c"}},
		{spec: recovery.OptionSpec{Type: list}, text: "a,,b,", want: []string{"a", "", "b"}},
		{spec: recovery.OptionSpec{Type: list}, text: "a,\n  b", want: []string{"a", "b"}},
		{spec: recovery.OptionSpec{Type: list}, text: "", want: []string{}},
		{spec: recovery.OptionSpec{Type: list}, text: "'a','b'", want: []string{"a'", "'b"}},
		{spec: recovery.OptionSpec{Type: host}, text: "192.0.2.1", want: "192.0.2.1"},
		{spec: recovery.OptionSpec{Type: host}, text: "2001:db8::1", want: "2001:db8::1"},
		{spec: recovery.OptionSpec{Type: host}, text: "compute-1.example.org", want: "compute-1.example.org"},
		{spec: recovery.OptionSpec{Type: host}, text: "a_b", wantErr: "t.conf:2:5: option [grp] o: want a host name or an IP address without brackets, got 'a_b'"},
		{spec: recovery.OptionSpec{Type: host}, text: "[::1]", wantErr: "t.conf:2:5: option [grp] o: want a host name or an IP address without brackets, got '[::1]'"},
		{spec: recovery.OptionSpec{Type: host}, text: "192.0.2.256", wantErr: "t.conf:2:5: option [grp] o: want a host name or an IP address without brackets, got '192.0.2.256'"},
		{spec: recovery.OptionSpec{Type: uri}, text: "http://192.0.2.10:5000/v3", want: "http://192.0.2.10:5000/v3"},
		{spec: recovery.OptionSpec{Type: uri}, text: "example.org", wantErr: "t.conf:2:5: option [grp] o: want a URI with scheme and host, got 'example.org'"},
		{spec: recovery.OptionSpec{Type: uri}, text: "http:///x", wantErr: "t.conf:2:5: option [grp] o: want a URI with scheme and host, got 'http:///x'"},
		{spec: recovery.OptionSpec{Type: uri}, text: "u:pw@host", wantErr: "t.conf:2:5: option [grp] o: want a URI with scheme and host"},
		{spec: recovery.OptionSpec{Type: integer, Secret: true}, text: "hunter2", wantErr: "t.conf:2:5: option [grp] o: want an int"},
	}
	for _, tt := range tests {
		t.Run(string(tt.spec.Type)+" "+tt.text, func(t *testing.T) {
			f, src := write(t, "[grp]\no = "+tt.text+"\n")
			c, err := config.Load(src)
			if err != nil {
				t.Fatal(err)
			}
			tt.spec.Group, tt.spec.Name = "grp", "o"
			got, err := c.TaskOptions([]recovery.OptionSpec{tt.spec})
			if err != nil {
				if msg := strings.ReplaceAll(err.Error(), f, "t.conf"); msg != tt.wantErr {
					t.Errorf("error = %s\nwant    %s", msg, tt.wantErr)
				}
				return
			}
			if tt.wantErr != "" || !reflect.DeepEqual(got["grp"]["o"], tt.want) {
				t.Errorf("value = %#v, want %#v %s", got["grp"]["o"], tt.want, tt.wantErr)
			}
		})
	}
}

func TestInterpolation(t *testing.T) {
	var deep strings.Builder
	deep.WriteString("[grp]\ns = $a0\n")
	for i := range 20 {
		fmt.Fprintf(&deep, "a%d = $a%d\n", i, i+1)
	}
	var bomb strings.Builder
	bomb.WriteString("[grp]\ns = $b0\nb8 = x\n")
	for i := range 8 {
		fmt.Fprintf(&bomb, "b%d = %s\n", i, strings.Repeat(fmt.Sprintf("${b%d}", i+1), 10))
	}
	tests := []struct {
		name, text, want, wantErr string
	}{
		{name: "own section first", text: "[DEFAULT]\nx = d\n[grp]\nx = g\ns = $x", want: "g"},
		{name: "then DEFAULT", text: "[DEFAULT]\nx = d\n[grp]\ns = <$x>", want: "<d>"},
		{name: "braces", text: "[grp]\nx = a\ns = ${x}y", want: "ay"},
		{name: "section", text: "[Other]\nx = a\n[grp]\ns = $other.x/b", want: "a/b"},
		{name: "section in braces", text: "[other]\nx = a\n[grp]\ns = ${other.x}.b", want: "a.b"},
		{name: "bool prints as upstream", text: "[grp]\ns = $debug $host_failure.lock_servers", want: "False True"},
		{name: "list prints as upstream", text: "[keystone_authtoken]\nservice_token_roles = a, b'c\n[grp]\ns = $keystone_authtoken.service_token_roles", want: `['a', "b'c"]`},
		{name: "int", text: "[grp]\ns = $verify_interval", want: "1"},
		{name: "unset", text: "[grp]\ns = <$osapi_masakari_link_prefix>", want: "<>"},
		{name: "flow", text: "[grp]\ns = ${taskflow_driver_recovery_flows.process_failure_recovery_tasks}", want: "{'pre': ['disable_compute_node_task'], 'main': ['confirm_compute_node_disabled_task'], 'post': []}"},
		{name: "default with a reference", text: "[DEFAULT]\npybasedir = /p\n[grp]\ns = $state_path/x", want: "/p/x"},
		{name: "two dollar signs", text: "[grp]\ns = pa$$w0rd", want: "pa$w0rd"},
		{name: "backslash", text: `[grp]` + "\n" + `s = pa\$w0rd`, want: "pa$w0rd"},
		{name: "at the end and before a digit", text: "[grp]\ns = $1 $", want: "$1 $"},
		{name: "no name in braces", text: "[grp]\ns = ${1} ${x", want: "${1} ${x"},
		{name: "unknown", text: "[grp]\ns = a $verify_intervall", wantErr: "t.conf:2:7: option [grp] s: unknown reference $verify_intervall; did you mean $verify_interval? there is no option 'verify_intervall' in [grp] or [DEFAULT]; write $$ for a dollar sign"},
		{name: "case counts", text: "[grp]\ns2 = x\ns = $S2", wantErr: "t.conf:3:5: option [grp] s: unknown reference $S2; did you mean $s2? there is no option 'S2' in [grp] or [DEFAULT]; write $$ for a dollar sign"},
		{name: "unknown in a section", text: "[grp]\ns = $wsgi.nothing", wantErr: "t.conf:2:5: option [grp] s: unknown reference $wsgi.nothing; there is no option 'nothing' in [wsgi]; write $$ for a dollar sign"},
		{name: "on a continuation line", text: "[grp]\ns = a\n   b $nosuchthing", wantErr: "t.conf:3:6: option [grp] s: unknown reference $nosuchthing; there is no option 'nosuchthing' in [grp] or [DEFAULT]; write $$ for a dollar sign"},
		{name: "itself", text: "[grp]\ns = $s", wantErr: "t.conf:2:5: option [grp] s: $s leads back to [grp] s; write $$ for a dollar sign"},
		{name: "in a ring", text: "[DEFAULT]\nlog_dir = $log_file\nlog_file = ${log_dir}/x\n[grp]\ns = $log_dir", wantErr: "t.conf:3:12: option [DEFAULT] log_file (read for [grp] s): $log_dir leads back to [DEFAULT] log_dir; write $$ for a dollar sign"},
		{name: "too deep", text: deep.String(), wantErr: "t.conf:17:7: option [grp] a14 (read for [grp] s): references lead more than 16 deep"},
		{name: "too many", text: bomb.String(), wantErr: "t.conf:6:45: option [grp] b2 (read for [grp] s): more than 10000 references"},
		{name: "too long", text: "[grp]\ns = $x$x$x\nx = " + strings.Repeat("y", 1<<19), wantErr: "t.conf:2:9: option [grp] s: the value is longer than 1048576 bytes when its references are resolved"},
	}
	spec := recovery.OptionSpec{Group: "grp", Name: "s", Type: recovery.StringOption}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f, src := write(t, tt.text+"\n")
			c, err := config.Load(src)
			if err != nil {
				t.Fatal(err)
			}
			got, err := c.TaskOptions([]recovery.OptionSpec{spec})
			msg := ""
			if err != nil {
				msg = strings.ReplaceAll(err.Error(), f, "t.conf")
			}
			if tt.name == "too many" { // where the count ends is of no interest
				tt.wantErr, msg = "more than 10000 references", msg[max(0, len(msg)-len("more than 10000 references")):]
			}
			if tt.name == "too deep" {
				tt.wantErr, msg = "references lead more than 16 deep", msg[max(0, len(msg)-len("references lead more than 16 deep")):]
			}
			if msg != tt.wantErr {
				t.Fatalf("error = %s\nwant    %s", msg, tt.wantErr)
			}
			if err == nil && got["grp"]["s"] != tt.want {
				t.Errorf("value = %q, want %q", got["grp"]["s"], tt.want)
			}
		})
	}
}

// TestSecrets: no mistake in a secret shows any part of it.
func TestSecrets(t *testing.T) {
	texts := []string{
		"[DEFAULT]\nos_privileged_user_password = $hunter2\n",
		"[DEFAULT]\nos_privileged_user_password = ${hunter2}\n",
		"[DEFAULT]\nos_privileged_user_password = a\n\n  hunter2\n",
		"[DEFAULT]\nos_privileged_user_password = a\nhunter2\n",
		"[DEFAULT]\nos_privileged_user_password = a\n= hunter2\n",
		"[DEFAULT]\nos_privileged_user_password = a\n[hunter2\n",
		"[DEFAULT]\n  os_privileged_user_password = hunter2\n",
		"[acme]\n  token = hunter2\n",
		"[acme]\ntoken = a\n\n  hunter2\n",
		"[DEFAULT]\nverify_interval = $os_privileged_user_password\nos_privileged_user_password = hunter2\n",
		"[DEFAULT]\nverify_interval = $acme.token\n[acme]\ntoken = hunter2\n",
		"[taskflow_driver_recovery_flows]\nprocess_failure_recovery_tasks = pre:[$taskflow.connection x],main:[],post:[]\n[taskflow]\nconnection = hunter2\n",
		"[store]\npassword = etcd3://u:hunter2@x/$y\n",
		"[DEFAULT]\nos_privileged_user_auth_url = u:hunter2@x\n",
		"[keystone_authtoken]\npassword = hunter2\nhttp_request_max_retries = ${password}\n",
	}
	for _, text := range texts {
		_, msg := load(t, text)
		if msg == "" || strings.Contains(msg, "hunter2") {
			t.Errorf("error of %q = %q, want one without the secret", text, msg)
		}
	}

	c, msg := load(t, "[DEFAULT]\nos_privileged_user_password = hunter2\ntransport_url = rabbit://u:hunter2@x\nlog_dir = x$os_privileged_user_password\nlog_file = x@hunter2\ndebug = on\n"+
		"[coordination]\nbackend_url = hunter2\n[store]\npassword = hunter2\n[webhooks]\nurl = https://hunter2\nsecret = hunter2\n[telemetry]\notlp_headers = a=hunter2\n[keystone_authtoken]\npassword = hunter2\n[acme]\ntoken = hunter2\n")
	if msg != "" {
		t.Fatal(msg)
	}
	if got := string(c.Nova.Password); got != "hunter2" {
		t.Errorf("password = %q, want hunter2", got)
	}
	for _, s := range []string{c.String(), fmt.Sprintf("%v %+v %#v", c, c, c), fmt.Sprintf("%v %+v %#v", *c, *c, *c), fmt.Sprintf("%v %+v %#v", []any{c.Nova, c.AuthToken, c.Store, c.Webhooks, c.Telemetry}, c.Webhooks, c.Telemetry), fmt.Sprint(c.Warnings())} {
		if strings.Contains(s, "hunter2") {
			t.Errorf("%s shows a secret", s)
		}
	}
	if want := "[DEFAULT] debug = true ("; !strings.Contains(c.String(), want) {
		t.Errorf("String() = %s, want a line with %s", c.String(), want)
	}
	if b, err := c.Nova.Password.MarshalText(); string(b) != "****" || err != nil {
		t.Errorf("password as text = %s, %v", b, err)
	}
}

func TestTaskOptions(t *testing.T) {
	f, src := write(t, "[acme]\nfence_timeout = 120\nmail_to = a@x, b@x\ndry_run = no\nqueue = q-$dry_run\ntoken = hunter2\nbad = hunter2\n[DEFAULT]\nwait_period_after_evacuation = 7\n")
	c, err := config.Load(src)
	if err != nil {
		t.Fatal(err)
	}
	o := func(name string, typ recovery.OptionType, def any) recovery.OptionSpec {
		return recovery.OptionSpec{Group: "acme", Name: name, Type: typ, Default: def}
	}
	got, err := c.TaskOptions([]recovery.OptionSpec{
		o("fence_timeout", recovery.SecondsOption, 60.0),
		o("mail_to", recovery.ListOption, nil),
		o("dry_run", recovery.BoolOption, true),
		o("queue", recovery.StringOption, nil),
		o("unset", recovery.StringOption, nil),
		o("d_string", recovery.StringOption, "$literal"),
		o("d_int", recovery.IntOption, 5.0),
		o("d_uint", recovery.IntOption, uint64(6)),
		o("d_auto", recovery.IntOrAutoOption, "auto"),
		o("d_count", recovery.IntOrAutoOption, 4.0),
		o("d_float", recovery.FloatOption, 2),
		o("d_list", recovery.ListOption, []any{"a", "b"}),
		o("d_bool", recovery.BoolOption, false),
		{Group: "DEFAULT", Name: "wait_period_after_evacuation", Type: recovery.SecondsOption},
		{Group: "host_failure", Name: "evacuate_all_instances", Type: recovery.BoolOption},
	})
	want := map[string]map[string]any{
		"acme": {
			"fence_timeout": int64(120), "mail_to": []string{"a@x", "b@x"}, "dry_run": false, "queue": "q-False",
			"d_string": "$literal", "d_int": int64(5), "d_uint": int64(6), "d_auto": "auto", "d_count": int64(4), "d_float": 2.0, "d_list": []string{"a", "b"}, "d_bool": false,
		},
		"DEFAULT":      {"wait_period_after_evacuation": int64(7)},
		"host_failure": {"evacuate_all_instances": true},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("options = %#v, %v\nwant %#v", got, err, want)
	}

	required := o("api_key", recovery.StringOption, nil)
	required.Required, required.Help = true, "key of the ticket system"
	hidden := o("bad", recovery.IntOption, nil)
	hidden.Secret = true
	_, err = c.TaskOptions([]recovery.OptionSpec{
		required, hidden,
		o("fence_timeout", recovery.BoolOption, nil),
		o("x1", recovery.IntOption, 1.5), o("x2", recovery.ListOption, []any{1}), o("x3", recovery.BoolOption, "yes"),
		o("x4", recovery.FlowOption, nil), o("x5", "colour", nil), o("x6", recovery.HostOption, "a_b"),
		{Group: "acme", Name: "x7", Type: recovery.IntOption, Default: 5, Max: new(int64(3))},
		o("x8", recovery.IntOrAutoOption, "many"),
	})
	wantErr := []string{
		"option [acme] api_key is required: key of the ticket system; write api_key = … below [acme]",
		"t.conf:7:7: option [acme] bad: want an int",
		"t.conf:2:17: option [acme] fence_timeout: want a bool (true, 1, on, yes, false, 0, off, no), got '120'",
		"option [acme] x1: the default is no int; mend the manifest of the task",
		"option [acme] x2: the default is no list; mend the manifest of the task",
		"option [acme] x3: the default is no bool; mend the manifest of the task",
		"option [acme] x4: a task's option cannot be of type flow; mend the manifest of the task",
		`option [acme] x5: unknown type "colour"; mend the manifest of the task`,
		"option [acme] x6: the default is no host; mend the manifest of the task",
		"option [acme] x7: the default is not an int ≤ 3; mend the manifest of the task",
		"option [acme] x8: the default is no int_or_auto; mend the manifest of the task",
	}
	if err == nil || strings.ReplaceAll(err.Error(), f, "t.conf") != strings.Join(wantErr, "\n") {
		t.Errorf("error = %v\nwant %s", err, strings.Join(wantErr, "\n"))
	}
}

// TestDefaults holds some defaults of the typed struct against the table's,
// and each field against a row.
func TestDefaults(t *testing.T) {
	c, err := config.Load(config.Sources{})
	if err != nil {
		t.Fatal(err)
	}
	specs := map[string]recovery.OptionSpec{}
	for _, o := range config.Specs() {
		specs[o.Group+"."+o.Name] = o
		if o.Help == "" {
			t.Errorf("option %s.%s has no help", o.Group, o.Name)
		}
	}
	v := reflect.ValueOf(*c)
	fields := 0
	for i := range v.NumField() {
		group, ok := v.Type().Field(i).Tag.Lookup("section")
		if !ok {
			continue
		}
		for j := range v.Field(i).NumField() {
			fields++
			name := group + "." + v.Field(i).Type().Field(j).Tag.Get("option")
			o, ok := specs[name]
			if !ok {
				t.Errorf("field %s has no option %s", v.Field(i).Type().Field(j).Name, name)
				continue
			}
			typ := v.Field(i).Field(j).Type()
			if secret := typ == reflect.TypeFor[config.Secret]() || typ == reflect.TypeFor[[]config.Secret](); secret != o.Secret {
				t.Errorf("option %s: secret = %t, its field says %t", name, o.Secret, secret)
			}
			want := o.Default
			if n, ok := want.(int64); ok && o.Type == recovery.SecondsOption {
				want = time.Duration(n) * time.Second
			}
			got := v.Field(i).Field(j)
			if o.Default == nil && !got.IsZero() || o.Default != nil && fmt.Sprint(got.Interface()) != fmt.Sprint(want) {
				t.Errorf("option %s = %v, want %v", name, got, want)
			}
		}
	}
	if fields < 90 {
		t.Errorf("%d fields are filled, want them all", fields)
	}
	if c.Wasakari.NovaOutcomeWait != time.Minute || c.Default.APIListenPort != 15868 || !c.HostFailure.LockServers || c.Nova.CatalogAdminInfo != "compute:nova:publicURL" {
		t.Errorf("got %+v %+v %+v %+v", c.Wasakari, c.Default, c.HostFailure, c.Nova)
	}
	if _, err := c.Flow("nothing"); err == nil {
		t.Error("an unknown flow gave no error")
	}
}

func TestChecks(t *testing.T) {
	_, msg := load(t, "[DEFAULT]\nnova_catalog_admin_info = compute:nova\n[wasakari]\ncluster = a b\nmemory_mib_max = 32\ntask_timeout = 30000\n")
	want := "t.conf:2:27: option [DEFAULT] nova_catalog_admin_info: want <service type>:<service name>:<interface>, got 'compute:nova'\n" +
		"t.conf:4:11: option [wasakari] cluster: want at most 64 letters, digits and . _ -, got 'a b'\n" +
		"t.conf:5:18: option [wasakari] memory_mib: want at most memory_mib_max, which is 32, got '64'\n" +
		"t.conf:6:16: option [wasakari] task_timeout: want at most task_timeout_max, which is 21600, got '30000'"
	if msg != want {
		t.Errorf("error = %s\nwant    %s", msg, want)
	}
}

func TestReserved(t *testing.T) {
	for group, want := range map[string]bool{
		"DEFAULT": true, "default": true, "Host_Failure": true, "wasakari": true, "grants": true, "oslo_db": true,
		"database": true, "taskflow_driver_recovery_flows": true, "acme": false, "libraries": true, "Secrets": true,
		"keystone_authtoken": true, "nova": true, "Placement": true, "oslo_anything": true, "novak": false,
	} {
		if got := config.Reserved(group); got != want {
			t.Errorf("Reserved(%q) = %t, want %t", group, got, want)
		}
	}
}

func TestNearest(t *testing.T) {
	known := []string{"evacuate_instances_task", "stop_instance_task", "start_instance_task", "no_op", "pre"}
	for name, want := range map[string]string{
		"evacuate_instance_task": "evacuate_instances_task", "NO_OP": "no_op", "no-op": "no_op", "stop_instances_task": "stop_instance_task",
		"Pre": "pre", "": "", "x": "", "custom_pre_task": "", "no_op": "", strings.Repeat("x", 1000): "",
	} {
		got, ok := config.Nearest(name, known)
		if got != want || ok != (want != "") {
			t.Errorf("Nearest(%.20q) = %q, %t, want %q", name, got, ok, want)
		}
	}
}
