package config_test

import (
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/wasakari/wasakari/config"
	"github.com/wasakari/wasakari/recovery"
)

// uncommented is a sample with every default that it shows set.
func uncommented(sample string) string {
	return regexp.MustCompile(`(?m)^#(\S)`).ReplaceAllString(sample, "$1")
}

// loadText reads a configuration from a file that holds text.
func loadText(t *testing.T, text string) *config.Config {
	t.Helper()
	f := filepath.Join(t.TempDir(), "sample.conf")
	if err := os.WriteFile(f, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := config.Load(config.Sources{Files: []string{f}})
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return c
}

// settings gives all settings by "group.name".
func settings(t *testing.T, c *config.Config, tasks ...recovery.Task) map[string]config.Setting {
	t.Helper()
	list, err := c.Effective(tasks...)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]config.Setting{}
	for _, s := range list {
		out[s.Group+"."+s.Name] = s
	}
	return out
}

// sampleTasks declare options of every type, with defaults that are not easy
// to write.
func sampleTasks() []recovery.Task {
	o := func(name string, typ recovery.OptionType, def any) recovery.OptionSpec {
		return recovery.OptionSpec{Group: "acme", Name: name, Type: typ, Default: def, Help: "Help of " + name}
	}
	queue := o("queue", recovery.StringOption, nil)
	queue.Required = true
	token := o("token", recovery.StringOption, nil)
	token.Required, token.Secret = true, true
	level := o("level", recovery.StringOption, "low")
	level.Choices = []string{"low", "high\nlock_servers = false"}
	tries := o("tries", recovery.IntOption, 5.0) // as JSON delivers it
	tries.Min, tries.Max = new(int64(1)), new(int64(9))
	wait := o("wait", recovery.SecondsOption, int64(30))
	wait.Max = new(int64(60))
	return []recovery.Task{
		{Key: "fence", Library: "acme-recovery", Uses: []string{"nova.server_list", "kv.*"}, Options: []recovery.OptionSpec{
			queue, token, level, tries, wait, o("at_once", recovery.IntOrAutoOption, "auto"),
			o("on", recovery.BoolOption, true), o("ratio", recovery.FloatOption, 2.5), o("link", recovery.URIOption, "http://x/#a"),
			o("mail_to", recovery.ListOption, []any{"a@x", "b $c"}), o("nobody", recovery.ListOption, []any{}), o("gaps", recovery.ListOption, []any{"a", "", "b"}),
			o("blanks", recovery.StringOption, " a "), o("quoted", recovery.StringOption, `"a" and "b"`), o("quote", recovery.StringOption, "'"),
			o("dollars", recovery.StringOption, `$HOME \$x $$ ${y}`), o("empty", recovery.StringOption, ""), o("equals", recovery.StringOption, "a = b: #c"),
			o("lines", recovery.StringOption, "a\nb"), o("comma", recovery.ListOption, []any{"a,b"}), o("gap", recovery.ListOption, []any{""}),
			o("unset", recovery.StringOption, nil),
			{Group: "acme", Name: "hostile", Type: recovery.StringOption, Default: "x", Help: "nice\nlock_servers = false\r[host_failure]\u2028\x1b[1m"},
			{Group: "host_failure", Name: "lock_servers", Type: recovery.BoolOption, Default: true},
			{Group: "DEFAULT", Name: "debug", Type: recovery.BoolOption},
			{Group: "DEFAULT", Name: "state_path", Type: recovery.StringOption},
		}},
		{Key: "tell", Library: "other", Options: []recovery.OptionSpec{
			o("on", recovery.BoolOption, true), o("quote", recovery.StringOption, "another"),
			{Group: "Acme", Name: "ratio", Type: recovery.FloatOption, Default: 2.5},
		}},
	}
}

func specs(tasks []recovery.Task) []recovery.OptionSpec {
	var out []recovery.OptionSpec
	for _, task := range tasks {
		out = append(out, task.Options...)
	}
	return out
}

// A sample changes nothing, neither as it is nor with every default that it
// shows set.
func TestSampleIsTheDefaults(t *testing.T) {
	for _, tt := range []struct {
		name  string
		tasks []recovery.Task
	}{{"no tasks", nil}, {"tasks", sampleTasks()}} {
		t.Run(tt.name, func(t *testing.T) {
			sample, err := config.Sample(tt.tasks...)
			if err != nil {
				t.Fatal(err)
			}
			plain, err := config.Load(config.Sources{})
			if err != nil {
				t.Fatal(err)
			}
			want := settings(t, plain, tt.tasks...)
			for form, text := range map[string]string{"as it is": sample, "uncommented": uncommented(sample)} {
				c := loadText(t, text)
				if w := c.Warnings(specs(tt.tasks)...); len(w) > 0 {
					t.Errorf("%s: warnings = %v, want none", form, w)
				}
				for name, s := range settings(t, c, tt.tasks...) {
					if !s.Default || s.Text() != want[name].Text() {
						t.Errorf("%s: %s = %s, want the default %s", form, name, s.Text(), want[name].Text())
					}
					written := len(s.Places) > 0
					if want := form == "uncommented" && strings.Contains(sample, "\n#"+s.Name+" ="); written != want && !s.NoEffect {
						t.Errorf("%s: %s is written: %t, want %t", form, name, written, want)
					}
				}
				v, w := reflect.ValueOf(*c), reflect.ValueOf(*plain)
				for i := range v.NumField() {
					f := v.Type().Field(i)
					if _, ok := f.Tag.Lookup("section"); ok && !reflect.DeepEqual(v.Field(i).Interface(), w.Field(i).Interface()) {
						t.Errorf("%s: %s = %+v, want %+v", form, f.Name, v.Field(i), w.Field(i))
					}
				}
			}
		})
	}
}

// Every option with an effect is in the sample: as a line that sets its
// default when it has one, and is not a secret.
func TestSampleIsComplete(t *testing.T) {
	sample, err := config.Sample()
	if err != nil {
		t.Fatal(err)
	}
	c := loadText(t, uncommented(sample))
	all := settings(t, c)
	oneLine := strings.ReplaceAll(sample, "\n# ", " ")
	inSample, left := 0, 0
	for _, o := range config.Specs() {
		s := all[o.Group+"."+o.Name]
		line := "\n# " + o.Name + " = <"
		if o.Default != nil {
			line = "\n#" + o.Name + " = "
		}
		switch {
		case strings.Contains(sample, line):
			inSample++
			if o.Default != nil && len(s.Places) != 1 && !s.NoEffect {
				t.Errorf("[%s] %s has places %v, want one", o.Group, o.Name, s.Places)
			}
		case s.NoEffect:
			left++
		default:
			t.Errorf("[%s] %s is not in the sample", o.Group, o.Name)
		}
		if o.Help != "" && !s.NoEffect && !strings.Contains(oneLine, " "+strings.TrimRight(o.Help, ".")+". (") {
			t.Errorf("[%s] %s: its help is not in the sample", o.Group, o.Name)
		}
	}
	if inSample < 100 || left < 100 {
		t.Errorf("%d options in the sample, %d left out; want more than 100 of each", inSample, left)
	}
	for _, name := range []string{"state_path", "transport_url", "api_paste_config", "[database]", "backend_url", "notification_delay_max"} {
		if strings.Contains(sample, name) {
			t.Errorf("%s, which has no effect, is in the sample", name)
		}
	}
}

func TestSampleLines(t *testing.T) {
	sample, err := config.Sample(sampleTasks()...)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"\n# Time between two looks at the state of a server or service. (seconds)\n#verify_interval = 1\n",
		"\n# Port that the API listens on. (int, from 1 to 65535)\n#masakari_api_listen_port = 15868\n",
		"\n# Password of that user. (string)\n# os_privileged_user_password = <secret string>\n",
		"\n# Directory of task modules; may be given more than once. (string, may be given more than once)\n# task_dir = <string>\n",
		"\n#host_rh_failure_recovery_tasks = pre:['disable_compute_service_task'],main:['prepare_HA_enabled_instances_task','evacuate_instances_task'],post:[]\n",
		"\n# The tasks at hand: fence, tell.\n",
		"\n# What the libraries at hand ask for:\n# acme-recovery = kv.*, nova.server_list, options:acme\n",
		"\n[acme]\n# Options of the tasks of acme-recovery, other.\n\n# Help of queue. (string)\n# Read by fence.\n# queue = <required: string>\n",
		"\n# token = <required: secret string>\n",
		"\n# Help of tries. (int, from 1 to 9)\n# Read by fence.\n#tries = 5\n",
		"\n# Help of wait. (seconds, at most 60)\n",
		"\n# Help of level. (string, one of low, \"high\\nlock_servers = false\")\n",
		"\n# Help of on. (bool)\n# Read by fence, tell.\n#on = true\n",
		"\n#ratio = 2.5\n", "\n#mail_to = a@x,b $$c\n", "\n#nobody =\n", "\n#gaps = a,,b\n", "\n#blanks = \" a \"\n", "\n#empty =\n",
		"\n# Read by fence.\n# The default has no form on one line: \"a\\nb\".\n# lines = <string>\n",
		"\n# The default has no form on one line: \"['a,b']\".\n# comma = <list>\n", "\n# unset = <string>\n",
		// Two tasks, two defaults: neither is fit for both.
		"\n# Read by fence.\n# quote = \"'\"\n", "\n# Read by tell.\n# quote = another\n",
		"\n# nice lock_servers = false [host_failure] [1m. (string)\n",
		"\n# Lock a server while it is evacuated. Wasakari's own. (bool)\n# Read by fence.\n#lock_servers = true\n",
		// What a task reads has an effect.
		"\n# Log debug messages. (bool)\n# Read by fence.\n#debug = false\n",
		"\n# Read by Masakari only; no effect here. (string)\n# Read by fence.\n#state_path = $pybasedir\n",
	} {
		if !strings.Contains(sample, want) {
			t.Errorf("not in the sample: %s", want)
		}
	}
	if i, j := strings.Index(sample, "\n#debug ="), strings.Index(sample, "read by wasakari serve only"); i > j {
		t.Error("an option that a task reads stands with those of the service")
	}
	var sections []string
	for n, line := range strings.Split(strings.TrimSuffix(sample, "\n"), "\n") {
		switch {
		case strings.HasPrefix(line, "["):
			sections = append(sections, line)
		case line != "" && line != "#" && !strings.HasPrefix(line, "# ") && !regexp.MustCompile(`^#\w+ =( \S.*)?$`).MatchString(line):
			t.Errorf("line %d: %q is neither section nor comment nor default", n+1, line)
		}
	}
	want := []string{
		"[DEFAULT]", "[taskflow_driver_recovery_flows]", "[tenant_flows]", "[host_failure]", "[instance_failure]", "[process_failure]", "[host_repair]", "[wasakari]", "[guards]", "[http]", "[grants]",
		"[limits]", "[libraries]", "[signatures]", "[registries]", "[secrets]", "[acme]", "[store]", "[engine]", "[keystone_authtoken]",
		"[oslo_policy]", "[api]", "[wsgi]", "[oslo_middleware]", "[webhooks]", "[telemetry]",
	}
	if !slices.Equal(sections, want) {
		t.Errorf("sections %q\nwant     %q", sections, want)
	}
}

func TestSampleMistakes(t *testing.T) {
	bad := []recovery.OptionSpec{{Group: "acme", Name: "a", Type: recovery.IntOption, Default: "x"}, {Group: "acme", Name: "b", Type: "colour"}}
	_, err := config.Sample(recovery.Task{Key: "fence", Options: bad})
	want := "task fence: option [acme] a: the default is no int; mend the manifest of the task\n" +
		"task fence: option [acme] b: unknown type \"colour\"; mend the manifest of the task"
	if err == nil || err.Error() != want {
		t.Errorf("error = %v\nwant    %s", err, want)
	}
}

// FuzzSample: whatever the help and the defaults of a task are, both forms of
// the sample read as the defaults.
func FuzzSample(f *testing.F) {
	for _, s := range []string{"a", " $a", "'a'", `\$$`, "a\n b", "\x00", "#", "[x]", "a,", "\u2028", `"`} {
		f.Add(s, s)
	}
	f.Fuzz(func(t *testing.T, help, def string) {
		if len(help)+len(def) > 1<<12 {
			return
		}
		task := recovery.Task{Key: "k", Library: "l", Options: []recovery.OptionSpec{
			{Group: "acme", Name: "s", Type: recovery.StringOption, Default: def, Help: help},
			{Group: "acme", Name: "l", Type: recovery.ListOption, Default: strings.Split(def, ","), Help: help},
		}}
		sample, err := config.Sample(task)
		if err != nil {
			t.Fatal(err)
		}
		for _, text := range []string{sample, uncommented(sample)} {
			c := loadText(t, text)
			for name, s := range settings(t, c, task) {
				if !s.Default {
					t.Fatalf("%s = %s is not the default", name, s.Text())
				}
			}
			if w := c.Warnings(task.Options...); len(w) > 0 {
				t.Fatalf("warnings = %v, want none", w)
			}
		}
	})
}
