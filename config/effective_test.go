package config_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/wasakari/wasakari/config"
	"github.com/wasakari/wasakari/recovery"
)

func TestEffective(t *testing.T) {
	c := loadText(t, strings.Join([]string{
		"[DEFAULT]",
		"verify_interval = 2", // 2: beaten by the environment
		"wait_period_after_power_on = 0061",
		"host_failure_recovery_threads = 3", // 4: the default, written
		"wait_period_after_evacuation =",
		"os_privileged_user_name = $verify_interval",
		"os_privileged_user_password = hunter2",                     // 7
		"os_privileged_user_tenant = x$os_privileged_user_password", // 8: made of a secret
		"os_privileged_user_auth_url = http://u:hunter2@k:5000/v3",
		"log_file = hunter2@x", "log_dir = $state_path", // 10, 11: no effect
		"osapi_max_limit = 5", // 12
		"[wasakari]",
		"task_dir = a", "task_dir = b", // 14, 15
		"[taskflow_driver_recovery_flows]",
		"process_failure_recovery_tasks =", "  {'pre': [a, 'b'], main: [], post: []}", // 18
		"[acme]",
		"token = hunter2", "url = http://u:hunter2@h, c@d", "copy = $token", "odd = \" a\"", // 20
		"[grants]", "acme = kv.*, nova.server_list", // 25
		"[instance_failure]", "process_all_instances = off", "process_all_instances = on", // 28: the last wins
	}, "\n"))
	o := func(name string, typ recovery.OptionType, def any) recovery.OptionSpec {
		return recovery.OptionSpec{Group: "acme", Name: name, Type: typ, Default: def}
	}
	token, queue := o("token", recovery.StringOption, nil), o("queue", recovery.StringOption, nil)
	token.Secret, queue.Required, token.Required = true, true, true
	tasks := []recovery.Task{
		{Key: "one", Options: []recovery.OptionSpec{token, queue, o("url", recovery.ListOption, nil), o("copy", recovery.StringOption, "x"), o("odd", recovery.StringOption, nil), o("n", recovery.IntOption, 7.0)}},
		// What is a secret elsewhere is one here.
		{Key: "two", Options: []recovery.OptionSpec{o("token", recovery.StringOption, "y"), {Group: "DEFAULT", Name: "os_privileged_user_password", Type: recovery.StringOption, Default: "z"}, o("n", recovery.IntOption, int64(7))}},
	}
	list, err := c.Effective(tasks...)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string][]string{}
	for _, s := range list {
		place := "default"
		for i, p := range s.Places {
			place = strings.TrimPrefix(place, "default")
			place += p.String()[strings.LastIndex(p.String(), "sample.conf"):]
			if i < len(s.Places)-1 {
				place += " "
			}
		}
		var line strings.Builder
		fmt.Fprintf(&line, "%s %s %s", s.Type, s.Text(), place)
		for word, on := range map[string]bool{"": s.Default, "!": s.Missing, "*": s.Secret, "-": s.NoEffect} {
			if on && word != "" {
				line.WriteString(" " + word)
			}
		}
		if !s.Default {
			line.WriteString(" changed")
		}
		if len(s.Tasks) > 0 {
			line.WriteString(" " + strings.Join(s.Tasks, "+"))
		}
		got[s.Group+"."+s.Name] = append(got[s.Group+"."+s.Name], line.String())
		if strings.Contains(fmt.Sprintf("%+v", s), "hunter2") {
			t.Errorf("[%s] %s shows a secret: %+v", s.Group, s.Name, s)
		}
	}
	for name, want := range map[string][]string{
		"DEFAULT.verify_interval":                {"seconds 2 sample.conf:2:19 changed"},
		"DEFAULT.wait_period_after_power_on":     {"seconds 61 sample.conf:3:30 changed"},
		"DEFAULT.wait_period_after_power_off":    {"seconds 180 default"},
		"DEFAULT.host_failure_recovery_threads":  {"int_or_auto 3 sample.conf:4:33"},
		"DEFAULT.wait_period_after_evacuation":   {"seconds 90 sample.conf:5:31"},
		"DEFAULT.os_privileged_user_name":        {"string 2 sample.conf:6:27 changed"},
		"DEFAULT.os_privileged_user_password":    {"string **** sample.conf:7:31 * changed", "string **** sample.conf:7:31 * changed two"},
		"DEFAULT.os_privileged_user_tenant":      {"string **** sample.conf:8:29 * changed"},
		"DEFAULT.os_privileged_user_auth_url":    {"uri http://****@k:5000/v3 sample.conf:9:31 changed"},
		"DEFAULT.os_system_scope":                {"string (unset) default"},
		"DEFAULT.log_file":                       {"string **** sample.conf:10:12 * - changed"},
		"DEFAULT.log_dir":                        {"string $state_path sample.conf:11:11 - changed"},
		"DEFAULT.state_path":                     {"string $pybasedir default -"},
		"DEFAULT.osapi_max_limit":                {"int 5 sample.conf:12:19 changed"},
		"wasakari.task_dir":                      {"multi a, b sample.conf:14:12 sample.conf:15:12 changed"},
		"host_failure.lock_servers":              {"bool true default"},
		"instance_failure.process_all_instances": {"bool true sample.conf:28:25 changed"},
		"taskflow_driver_recovery_flows.process_failure_recovery_tasks": {
			"flow pre:['a','b'],main:[],post:[] sample.conf:18:3 changed",
		},
		"acme.token":  {"string **** sample.conf:20:9 * changed one", "string **** sample.conf:20:9 * changed two"},
		"acme.queue":  {"string (unset) default ! one"},
		"acme.url":    {"list http://****@h, c@d sample.conf:21:7 changed one"},
		"acme.copy":   {"string **** sample.conf:22:8 * changed one"},
		"acme.odd":    {`string " a" sample.conf:23:9 changed one`},
		"acme.n":      {"int 7 default one+two"},
		"grants.acme": {"list kv.*, nova.server_list sample.conf:25:8 changed"},
	} {
		sortMarks(got[name])
		sortMarks(want)
		if !reflect.DeepEqual(got[name], want) {
			t.Errorf("%s = %q\nwant %q", name, got[name], want)
		}
	}
}

// sortMarks puts "* -" into one order.
func sortMarks(lines []string) {
	for i := range lines {
		lines[i] = strings.ReplaceAll(lines[i], "- *", "* -")
	}
}

// TestEffectiveSources: what stands in no file says where it comes from.
func TestEffectiveSources(t *testing.T) {
	c, err := config.Load(config.Sources{
		Environ: []string{"OS_DEFAULT__VERIFY_INTERVAL=3", "OS_HOST_FAILURE__LOCK_SERVERS=no"},
		Flags: []config.Flag{
			{Group: "host_failure", Name: "lock_servers", Value: "true", Origin: "--set"},
			{Group: "wasakari", Name: "task_dir", Value: "$DEFAULT.os_privileged_user_password", Origin: "--task-dir"},
			{Group: "DEFAULT", Name: "os_privileged_user_password", Value: "hunter2"},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	all := settings(t, c)
	for name, want := range map[string]string{
		"DEFAULT.verify_interval":             "3 environment OS_DEFAULT__VERIFY_INTERVAL false",
		"host_failure.lock_servers":           "true --set true",
		"wasakari.task_dir":                   "**** --task-dir false",
		"DEFAULT.os_privileged_user_password": "**** flag DEFAULT.os_privileged_user_password false",
	} {
		s := all[name]
		if len(s.Places) != 1 {
			t.Errorf("%s has places %v, want one", name, s.Places)
			continue
		}
		if got := fmt.Sprintf("%s %s %t", s.Text(), s.Places[0], s.Default); got != want {
			t.Errorf("%s = %s, want %s", name, got, want)
		}
	}
}

func TestEffectiveMistakes(t *testing.T) {
	c := loadText(t, "[acme]\nn = many\ntoken = hunter2\n")
	token := recovery.OptionSpec{Group: "acme", Name: "token", Type: recovery.IntOption, Secret: true}
	_, err := c.Effective(recovery.Task{Key: "one", Options: []recovery.OptionSpec{{Group: "acme", Name: "n", Type: recovery.IntOption}, token}})
	if err == nil {
		t.Fatal("no error")
	}
	_, got, _ := strings.Cut(strings.ReplaceAll(err.Error(), c.Files()[0], "f"), "")
	if want := "f:2:5: option [acme] n: want an int, got 'many'\nf:3:9: option [acme] token: want an int"; got != want {
		t.Errorf("error = %s\nwant    %s", got, want)
	}
}
