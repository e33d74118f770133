package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/wasakari/wasakari/abi"
)

// ticketTask is a task with options of its own.
func ticketTask() abi.ManifestTask {
	return abi.ManifestTask{
		Key: "open_ticket_task", Uses: []string{"kv.put"},
		Options: []abi.ManifestOption{
			{Group: "acme", Name: "queue", Type: "string", Required: true, Help: "Queue for new tickets"},
			{Group: "acme", Name: "token", Type: "string", Secret: true},
			{Group: "acme", Name: "tries", Type: "int", Default: int64(3)},
		},
	}
}

func TestConfigSample(t *testing.T) {
	t.Parallel()
	p := newPlace(t, map[string]string{
		"tasks/open_ticket_task.wasm": string(packed(t, guest("noop"), ticketTask())),
		"tasks/notes.txt":             "no module",
	})
	r := p.run(t.Context(), t, "config", "sample", "--task-dir", "DIR/tasks", "-o", "DIR/wasakari.conf")
	if r.code != exitOK || r.stdout != "" || r.stderr != "" {
		t.Fatalf("exit %d\n%s%s", r.code, r.stdout, r.stderr)
	}
	file := filepath.Join(p.dir, "wasakari.conf")
	written, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode = %v, %v, want 0600", info.Mode(), err)
	}
	for _, want := range []string{
		"\n[acme]\n# Options of the tasks of acme.\n\n# Queue for new tickets. (string)\n# Read by open_ticket_task.\n# queue = <required: string>\n",
		"\n# (string)\n# Read by open_ticket_task.\n# token = <secret string>\n", "\n#tries = 3\n",
		"\n# What the libraries at hand ask for:\n# acme = kv.put, options:acme\n",
		"\n# Read by evacuate_instances_task.\n#lock_servers = true\n",
	} {
		if !strings.Contains(string(written), want) {
			t.Errorf("not in the sample: %s", want)
		}
	}

	// On standard output the same, without the tasks less.
	if r = p.run(t.Context(), t, "config", "sample", "--task-dir", "DIR/tasks"); r.code != exitOK || r.stdout != string(written) {
		t.Errorf("exit %d, standard output differs from the file: %t", r.code, r.stdout != string(written))
	}
	if r = p.run(t.Context(), t, "config", "sample"); r.code != exitOK || strings.Contains(r.stdout, "acme") || !strings.Contains(r.stdout, "\n#verify_interval = 1\n") {
		t.Errorf("exit %d\n%s", r.code, r.stdout)
	}

	// What it says is all at its default, as it is and with the defaults set.
	set := regexp.MustCompile(`(?m)^#(\S)`).ReplaceAllString(string(written), "$1")
	p.write(t, "set.conf", strings.Replace(set, "\n# queue = <required: string>\n", "\nqueue = q\n", 1))
	for _, conf := range []string{"wasakari.conf", "set.conf"} {
		r = p.run(t.Context(), t, "config", "show", "--changed", "--config-file", "DIR/"+conf, "--task-dir", "DIR/tasks", "--output", "json")
		var changed []string
		for _, o := range showDoc(t, r).Options {
			changed = append(changed, o.Group+"."+o.Name)
		}
		if want := []string{"wasakari.task_dir", "acme.queue"}; r.code != exitOK || r.stderr != "" || !slices.Equal(changed, want) {
			t.Errorf("%s: exit %d, changed %q, want %q\n%s", conf, r.code, changed, want, r.stderr)
		}
	}
	if r = p.run(t.Context(), t, "check", "--config-file", "DIR/set.conf", "--task-dir", "DIR/tasks"); r.code != exitOK {
		t.Errorf("check: exit %d\n%s", r.code, r.stderr)
	}

	// Nothing is overwritten unasked.
	p.write(t, "wasakari.conf", "mine")
	r = p.run(t.Context(), t, "config", "sample", "-o", "DIR/wasakari.conf")
	if want := "wasakari: DIR/wasakari.conf: it is there already; overwrite it with --force, or name another file\n"; r.code != exitUsage || r.stderr != want {
		t.Errorf("exit %d, %s, want %d, %s", r.code, r.stderr, exitUsage, want)
	}
	if b, _ := os.ReadFile(file); string(b) != "mine" {
		t.Errorf("the file was overwritten: %s", b)
	}
	if r = p.run(t.Context(), t, "config", "sample", "-o", "DIR/wasakari.conf", "--task-dir", "DIR/tasks", "--force"); r.code != exitOK {
		t.Errorf("exit %d\n%s", r.code, r.stderr)
	}
	if b, _ := os.ReadFile(file); string(b) != string(written) {
		t.Errorf("with --force the file holds\n%s", b)
	}
}

// showDocument is what config show prints, with all its fields.
type showDocument struct {
	Files   []string
	Options []settingDoc
}

func showDoc(t *testing.T, r result) showDocument {
	t.Helper()
	var doc showDocument
	dec := json.NewDecoder(strings.NewReader(r.stdout))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&doc); err != nil || dec.More() {
		t.Fatalf("standard output is not one document: %v\nexit %d\n%s%s", err, r.code, r.stdout, r.stderr)
	}
	return doc
}

func TestConfigShow(t *testing.T) {
	t.Parallel()
	p := newPlace(t, map[string]string{
		"tasks/open_ticket_task.wasm": string(packed(t, guest("noop"), ticketTask())),
		"root/etc/masakari/masakari.conf": "[DEFAULT]\nverify_interval = 2\nwait_period_after_power_on = 60\nos_privileged_user_password = hunter2\nlog_dir = /log\ndebgu = 1\n" +
			"[wasakari]\ntask_dir = DIR/none\n",
		"my.conf": "[taskflow_driver_recovery_flows]\nprocess_failure_recovery_tasks = pre:[no_op],main:[],post:[]\n[acme]\ntoken = $DEFAULT.os_privileged_user_password\n",
	})
	p.environ = []string{"OS_HOST_FAILURE__LOCK_SERVERS=false"}
	discovered := p.run(t.Context(), t, "config", "show", "--changed", "--set", "wasakari.task_dir=DIR/tasks", "--set", "acme.queue=a b")
	want := `read: DIR/root/etc/masakari/masakari.conf

[DEFAULT]
  verify_interval              2     DIR/root/etc/masakari/masakari.conf:2:19
  os_privileged_user_password  ****  DIR/root/etc/masakari/masakari.conf:4:31
  log_dir                      /log  DIR/root/etc/masakari/masakari.conf:5:11 (no effect)

[host_failure]
  lock_servers  false  environment OS_HOST_FAILURE__LOCK_SERVERS

[wasakari]
  task_dir  DIR/tasks  --set

[acme]
  queue  a b  --set
`
	// The folder stands in a column, and its length is not ours.
	got := regexp.MustCompile(`(DIR/tasks) +`).ReplaceAllString(strings.ReplaceAll(discovered.stdout, p.dir, "DIR"), "$1  ")
	if discovered.code != exitOK || got != want {
		t.Errorf("exit %d\n%s\nwant\n%s%s", discovered.code, got, want, discovered.stderr)
	}
	if want := "warning: DIR/root/etc/masakari/masakari.conf:6:1: unknown option [DEFAULT] 'debgu', ignored; did you mean debug?\n"; discovered.stderr != want {
		t.Errorf("standard error %s, want %s", discovered.stderr, want)
	}

	r := p.run(t.Context(), t, "config", "show", "--config-file", "DIR/my.conf", "--task-dir", "DIR/tasks", "--set", "DEFAULT.os_privileged_user_password=hunter2", "--output", "json")
	if strings.Contains(r.stdout+r.stderr, "hunter2") || r.code != exitOK {
		t.Errorf("exit %d, or a secret is shown:\n%s%s", r.code, r.stdout, r.stderr)
	}
	doc := showDoc(t, r)
	if want := []string{filepath.Join(p.dir, "my.conf")}; !slices.Equal(doc.Files, want) {
		t.Errorf("files %q, want %q", doc.Files, want)
	}
	rows := map[string]string{}
	for _, o := range doc.Options {
		b, err := json.Marshal(o)
		if err != nil {
			t.Fatal(err)
		}
		rows[o.Group+"."+o.Name] = strings.ReplaceAll(string(b), p.dir, "DIR")
	}
	for name, want := range map[string]string{
		"DEFAULT.verify_interval":             `{"group":"DEFAULT","name":"verify_interval","type":"seconds","value":1,"from":["default"],"default":true}`,
		"DEFAULT.os_privileged_user_password": `{"group":"DEFAULT","name":"os_privileged_user_password","type":"string","value":"****","from":["--set"],"default":false,"secret":true}`,
		"wasakari.task_dir":                   `{"group":"wasakari","name":"task_dir","type":"multi","value":["DIR/tasks"],"from":["--task-dir"],"default":false}`,
		"wasakari.state_dir":                  `{"group":"wasakari","name":"state_dir","type":"string","value":"DIR/home/.local/state/wasakari","from":["default"],"default":true}`,
		"taskflow_driver_recovery_flows.process_failure_recovery_tasks": `{"group":"taskflow_driver_recovery_flows","name":"process_failure_recovery_tasks","type":"flow",` +
			`"value":{"main":[],"post":[],"pre":["no_op"]},"from":["DIR/my.conf:2:34"],"default":false}`,
		"acme.queue": `{"group":"acme","name":"queue","type":"string","value":null,"from":["not set"],"default":true,"missing":true,"tasks":["open_ticket_task"]}`,
		"acme.token": `{"group":"acme","name":"token","type":"string","value":"****","from":["DIR/my.conf:4:9"],"default":false,"secret":true,"tasks":["open_ticket_task"]}`,
		"acme.tries": `{"group":"acme","name":"tries","type":"int","value":3,"from":["default"],"default":true,"tasks":["open_ticket_task"]}`,
	} {
		if rows[name] != want {
			t.Errorf("%s = %s\nwant %s", name, rows[name], want)
		}
	}
	// Without effect and unset: of no use to anybody.
	if row, ok := rows["DEFAULT.osapi_max_limit"]; ok {
		t.Errorf("shown: %s", row)
	}
	if entries, err := os.ReadDir(filepath.Join(p.dir, "home")); len(entries) > 0 || err != nil {
		t.Errorf("show left %v in the home folder, %v", entries, err)
	}
	r = p.run(t.Context(), t, "config", "show", "--changed", "--config-file", "DIR/my.conf", "--task-dir", "DIR/tasks")
	if want := "  queue  (required by open_ticket_task)  not set\n"; !strings.Contains(r.stdout, want) {
		t.Errorf("%s\nhas no line %s", r.stdout, want)
	}
	p.environ = nil
	if r = p.run(t.Context(), t, "config", "show", "--changed", "--config-file", "/dev/null"); r.code != exitUsage {
		t.Errorf("exit %d, want %d", r.code, exitUsage)
	}
	p.write(t, "empty.conf", "")
	r = p.run(t.Context(), t, "config", "show", "--changed", "--config-file", "DIR/empty.conf")
	if want := "read: DIR/empty.conf\n\nevery option is at its default\n"; strings.ReplaceAll(r.stdout, p.dir, "DIR") != want {
		t.Errorf("%s, want %s", r.stdout, want)
	}
}

func TestConfigMistakes(t *testing.T) {
	t.Parallel()
	p := newPlace(t, map[string]string{
		"bare/a.wasm": "\x00asm\x01\x00\x00\x00", "text/b.wasm": "text",
		"tasks/open_ticket_task.wasm": string(packed(t, guest("noop"), ticketTask())),
		"bad.conf":                    "[DEFAULT]\nverify_interval = soon\n", "tries.conf": "[acme]\ntries = many\ntoken = hunter2\n",
	})
	for _, tt := range []struct {
		name string
		args []string
		want string // of standard error
	}{
		{"no folder", []string{"sample", "--task-dir", "DIR/none"}, "wasakari: task folder DIR/none: no such file or directory; check --task-dir and [wasakari] task_dir\n"},
		{"no manifest, no wasm", []string{"sample", "--task-dir", "DIR/bare", "--task-dir", "DIR/text"}, "wasakari: DIR/bare/a.wasm: " + abi.ErrNoManifest.Error() + "\nwasakari: DIR/text/b.wasm: " + abi.ErrNotWasm.Error() + ": it does not begin with 00 61 73 6d\n"},
		{"force what", []string{"sample", "--force"}, "wasakari: --force: name the file to overwrite with -o\n"},
		{"no folder to write to", []string{"sample", "-o", "DIR/none/a.conf"}, "wasakari: DIR/none/a.conf: no such file or directory\n"},
		{"unknown command", []string{"shwo"}, "wasakari: unknown command \"shwo\"; did you mean show? see wasakari config --help\n"},
		{"unknown form", []string{"show", "--output", "yaml"}, "wasakari: --output yaml: want text or json\n"},
		{"unknown level", []string{"show", "--log-level", "loud"}, "wasakari: --log-level loud: want debug, info, warn or error\n"},
		{"bad value", []string{"show", "--config-file", "DIR/bad.conf"}, "wasakari: DIR/bad.conf:2:19: option [DEFAULT] verify_interval: want an int (seconds), got 'soon'\n"},
		{"bad value of a task", []string{"show", "--config-file", "DIR/tries.conf", "--task-dir", "DIR/tasks"}, "wasakari: DIR/tries.conf:2:9: option [acme] tries: want an int, got 'many'\n"},
		{"bad flag", []string{"show", "--set", "x=1"}, "wasakari: --set x=1: want group.name=value, such as DEFAULT.verify_interval=2\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := p.run(t.Context(), t, append([]string{"config"}, tt.args...)...)
			if r.code != exitUsage || r.stdout != "" || r.stderr != tt.want {
				t.Errorf("exit %d, %q, %s\nwant %d, %s", r.code, r.stdout, r.stderr, exitUsage, tt.want)
			}
		})
	}
}
