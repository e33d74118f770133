package main

import (
	"encoding/json"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/wasakari/wasakari/novasim"
)

const pythonExamples = "../../tasks-examples"

// buildPython builds a module of a source in Python.
func buildPython(t *testing.T, p *place, source, module string) string {
	t.Helper()
	r := p.run(t.Context(), t, "task", "build", source, "-o", module)
	if r.code != exitOK {
		t.Fatalf("task build %s: exit code %d\n%s", source, r.code, r.stderr)
	}
	return r.stdout
}

// The library of the guide in Python: three tasks with options of their own, in
// the flow and with the configuration of the guide.
func TestPythonLibrary(t *testing.T) {
	t.Parallel()
	_, environ := startCloud(t, demoCloud(t), novasim.Options{})
	p := newPlace(t, map[string]string{"tasks/.keep": ""})
	p.environ = environ
	out := buildPython(t, p, filepath.Join(pythonExamples, "guide-library/python"), "DIR/tasks/custom_pre_task.wasm")
	if want := "guide-library 1.0.0\n  tasks    custom_pre_task, custom_main_task, custom_post_task\n"; !strings.Contains(out, want) {
		t.Errorf("task build printed %q, want %q in it", out, want)
	}
	r := p.run(t.Context(), t, "run", "host-auto", "--config-file", guideConf, "--task-dir", "DIR/tasks", "--input", "host_name=compute-1", "--output", "json")
	if r.code != exitOK {
		t.Fatalf("exit code %d\n%s%s", r.code, r.stdout, r.stderr)
	}
	doc := documentOf(t, r)
	want := []string{
		"host-auto pre disable_compute_service_task succeeded",
		"host-auto pre custom_pre_task succeeded",
		"host-auto main custom_main_task succeeded",
		"host-auto main prepare_HA_enabled_instances_task succeeded",
		"host-auto post evacuate_instances_task succeeded",
		"host-auto post custom_post_task succeeded",
	}
	if got := lines(doc); !slices.Equal(got, want) {
		t.Errorf("tasks = %q, want %q", got, want)
	}
	var ticket struct{ ID, Queue, Host string }
	if err := json.Unmarshal(doc.KV["recovery_ticket"], &ticket); err != nil || ticket.Host != "compute-1" || ticket.Queue != "ops" || !strings.HasPrefix(ticket.ID, "ops-") {
		t.Errorf("kv = %s (%v), want a ticket of compute-1 in queue ops", doc.KV, err)
	}
}

// The sample of the guide, whose constructor takes nothing but a novaclient.
func TestPythonSample(t *testing.T) {
	t.Parallel()
	_, environ := startCloud(t, demoCloud(t), novasim.Options{})
	p := newPlace(t, map[string]string{
		"tasks/.keep": "",
		"flows.conf":  "[taskflow_driver_recovery_flows]\ninstance_failure_recovery_tasks = pre:['noop'],main:[],post:['noop']\n",
	})
	p.environ = environ
	buildPython(t, p, filepath.Join(pythonExamples, "no_op/python/noop.py"), "DIR/tasks/noop.wasm")
	r := p.run(t.Context(), t, "run", "instance", "--config-file", "DIR/flows.conf", "--task-dir", "DIR/tasks", "--input", "instance_uuid="+strings.Repeat("0", 8)+"-0000-4000-8000-"+strings.Repeat("0", 12))
	if r.code != exitOK || strings.Count(r.stdout, "noop: info: Custom task executed successfully..!!") != 2 {
		t.Errorf("exit code %d\n%s%s", r.code, r.stdout, r.stderr)
	}
}

// Tasks in the style of Masakari's own, in the flow of a server.
func TestPythonInstanceFlow(t *testing.T) {
	t.Parallel()
	const conf = `[taskflow_driver_recovery_flows]
instance_failure_recovery_tasks = pre:['py_stop_task'],main:['py_start_task'],post:['py_confirm_task']
[grants]
instance_tasks = kv.get, kv.put, options:python_tasks, nova.server_get, nova.server_stop, nova.server_start
[python_tasks]
`
	const cloud = `hosts: [{name: compute-1}, {name: compute-2}]
servers:
  - {name: tagged, host: compute-1, metadata: {HA_Enabled: "True"}}
  - {name: plain, host: compute-1}
  - {name: paused, host: compute-1, vm_state: paused, metadata: {HA_Enabled: "yes"}}
`
	for _, tt := range []struct {
		name, server, options string
		status                string
		want                  []string
		said                  string
	}{
		{
			name: "tagged", server: "tagged", status: "finished",
			want: []string{"instance pre py_stop_task succeeded", "instance main py_start_task succeeded", "instance post py_confirm_task succeeded"},
		},
		{name: "not tagged", server: "plain", status: "finished", said: "as it is not tagged", want: []string{"instance pre py_stop_task nothing_to_do"}},
		{
			name: "paused", server: "paused", status: "ignored", said: "is paused",
			want: []string{"instance pre py_stop_task ignored"},
		},
		{
			name: "all", server: "plain", options: "all_servers = yes\n", status: "finished",
			want: []string{"instance pre py_stop_task succeeded", "instance main py_start_task succeeded", "instance post py_confirm_task succeeded"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			sim, environ := startCloud(t, cloud, novasim.Options{})
			p := newPlace(t, map[string]string{"tasks/.keep": "", "flows.conf": conf + tt.options})
			p.environ = environ
			buildPython(t, p, "testdata/python/instance_tasks.py", "DIR/tasks/py_stop_task.wasm")
			r := p.run(t.Context(), t, "run", "instance", "--config-file", "DIR/flows.conf", "--task-dir", "DIR/tasks",
				"--input", "instance_uuid="+server(t, sim, tt.server).ID, "--output", "json")
			doc := documentOf(t, r)
			if doc.Status != tt.status {
				t.Errorf("status %q, want %q\n%s", doc.Status, tt.status, r.stdout)
			}
			if got := lines(doc); !slices.Equal(got[:min(len(got), len(tt.want))], tt.want) {
				t.Errorf("tasks = %q, want %q", got, tt.want)
			}
			if !strings.Contains(r.stdout, tt.said) {
				t.Errorf("%q is not in\n%s", tt.said, r.stdout)
			}
		})
	}
}

// Tasks in the style of Masakari's own, and the guide's sample as it is, in the
// flows of a host.
func TestPythonHostFlow(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, flow string
		args       []string
		on         string // where the reserved host says
		want       map[string]int
	}{
		{"auto", "host-auto", nil, "", map[string]int{"succeeded compute-2": 3, "succeeded compute-3": 5}},
		{"reserved host", "host-rh", []string{"--input", "reserved_host_list=compute-4"}, " on compute-4", map[string]int{"succeeded compute-4": 8}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			sim, environ := startCloud(t, quickCloud, novasim.Options{})
			p := newPlace(t, map[string]string{"tasks/.keep": ""})
			p.environ = environ
			buildPython(t, p, "testdata/python/host_tasks.py", "DIR/tasks/py_disable_task.wasm")
			buildPython(t, p, filepath.Join(pythonExamples, "no_op/python/noop.py"), "DIR/tasks/noop.wasm")
			r := p.run(t.Context(), t, slices.Concat([]string{
				"run", tt.flow, "--config-file", "testdata/python/host_tasks.conf", "--task-dir", "DIR/tasks", "--input", "host_name=compute-1", "--output", "json",
			}, tt.args)...)
			if r.code != exitOK {
				t.Fatalf("exit code %d\n%s%s", r.code, r.stdout, r.stderr)
			}
			doc := documentOf(t, r)
			want := []string{
				tt.flow + " pre py_disable_task succeeded", tt.flow + " pre noop succeeded",
				tt.flow + " main py_prepare_task succeeded" + tt.on,
				tt.flow + " post py_evacuate_task succeeded" + tt.on, tt.flow + " post py_confirm_moves_task succeeded" + tt.on,
			}
			if got := lines(doc); !slices.Equal(got, want) {
				t.Errorf("tasks = %q, want %q", got, want)
			}
			if got := outcomes(doc); !maps.Equal(got, tt.want) {
				t.Errorf("servers = %v, want %v", got, tt.want)
			}
			for name, state := range map[string]string{"web-1": "active", "db": "stopped", "broken": "error", "snapshot": "stopped", "pinned": "active"} {
				if s := server(t, sim, name); s.Host == "compute-1" || s.VMState != state || s.Locked != (name == "pinned") {
					t.Errorf("%s: %+v, want it %s, elsewhere", name, s, state)
				}
			}
			if !service(t, sim, "compute-1").Disabled {
				t.Error("the service of the failed host is enabled")
			}
		})
	}
}

// What is wrong with a source is told with file and line.
func TestPythonMistakes(t *testing.T) {
	t.Parallel()
	p := newPlace(t, map[string]string{
		"syntax.py":  "from taskflow import task\n\n\nclass A(task.Task):\n    def execute(self, host_name)\n        pass\n",
		"import.py":  "from taskflow import task\nimport requests\n",
		"empty.py":   "x = 1\n",
		"default.py": "from taskflow import task\nfrom oslo_config import cfg\ncfg.CONF.register_opts([cfg.StrOpt('x')])\nclass A(task.Task):\n    def execute(self):\n        cfg.CONF.x\n",
		"make.py":    "from taskflow import task\nclass A(task.Task):\n    def __init__(self, colour):\n        super().__init__()\n    def execute(self):\n        pass\n",
		"yaml.py":    "from taskflow import task\nclass A(task.Task):\n    def execute(self):\n        pass\n",
		"other.yaml": "tasks: [{key: other, class: B}, {key: yaml}]\n",
	})
	for _, tt := range []struct{ file, manifest, want string }{
		{"syntax.py", "", "wasakari: syntax.py:5: expected ':': def execute(self, host_name)\n"},
		{"import.py", "", "wasakari: import.py:2: ModuleNotFoundError: No module named 'requests': tasks have no network of their own; use wasakari.http\n"},
		{"empty.py", "", "wasakari: empty.py: there is no task in it: no class of taskflow.task.Task with a method execute, and no function with @wasakari.task\n"},
		{"default.py", "", "wasakari: DIR/default.py: task default asks for option [DEFAULT] x: that section belongs to Wasakari, Masakari or an OpenStack library; " +
			"give its options a section of their own in task.yaml, such as [default]\n"},
		{"make.py", "", "wasakari: make.py: class A cannot be made: TypeError: A.__init__() missing 1 required positional argument: 'colour'\n"},
		{"yaml.py", "DIR/other.yaml", "wasakari: task.yaml: task other is not in the source, which has yaml; name it so, or name its class\n"},
		{"nothing.py", "", "wasakari: DIR/nothing.py: no such file or directory\n"},
	} {
		args := []string{"task", "build", "DIR/" + tt.file, "-o", "DIR/out.wasm"}
		if tt.manifest != "" {
			args = append(args, "--manifest", tt.manifest)
		}
		if r := p.run(t.Context(), t, args...); r.code == exitOK || r.stderr != tt.want {
			t.Errorf("%s: exit code %d, standard error\n got %q\nwant %q", tt.file, r.code, r.stderr, tt.want)
		}
	}
}

// A revert gets as result what the task returned, in a run and in a scenario.
func TestPythonRevertResult(t *testing.T) {
	t.Parallel()
	p := newPlace(t, map[string]string{
		"tasks/stops.py": "import wasakari\nfrom taskflow import task\n\n\nclass Stops(task.Task):\n    default_provides = 'stopped'\n\n" +
			"    def execute(self, host_name):\n        return [host_name]\n\n" +
			"    def revert(self, result, **kwargs):\n        wasakari.log.info('start again: %s', result)\n",
		"tasks/breaks.py":       "import wasakari\n\n\n@wasakari.task\ndef breaks(stopped):\n    wasakari.fail('no')\n",
		"tasks/tests/undo.yaml": "revert: true\ninputs: {host_name: compute-1, stopped: [compute-7]}\nexpect: {logs: ['start again: [''compute-7'']']}\n",
		"conf": "[taskflow_driver_recovery_flows]\nhost_auto_failure_recovery_tasks = pre:['stops','breaks'],main:['disable_compute_service_task'],post:[]\n" +
			"[grants]\nstops = kv.get, kv.put\n",
	})
	for _, task := range []string{"stops", "breaks"} {
		if r := p.run(t.Context(), t, "task", "build", "DIR/tasks/"+task+".py"); r.code != exitOK {
			t.Fatalf("exit code %d\n%s%s", r.code, r.stdout, r.stderr)
		}
	}
	r := p.run(t.Context(), t, "run", "host-auto", "--simulate", "--config-file", "DIR/conf", "--task-dir", "DIR/tasks", "--input", "host_name=compute-1")
	if want := "start again: ['compute-1']"; r.code != exitFailed || !strings.Contains(r.stdout, want) {
		t.Errorf("exit code %d, want %d and %s\n%s%s", r.code, exitFailed, want, r.stdout, r.stderr)
	}
	if r := p.run(t.Context(), t, "task", "test", "DIR/tasks/stops.py"); r.code != exitOK {
		t.Errorf("exit code %d\n%s%s", r.code, r.stdout, r.stderr)
	}
}

// A scenario without a required option is told what to write into it.
func TestScenarioWithoutARequiredOption(t *testing.T) {
	t.Parallel()
	p := newPlace(t, map[string]string{
		"site.py": "import wasakari\nfrom oslo_config import cfg\ncfg.CONF.register_opts([cfg.StrOpt('name', required=True)], group='site')\n\n\n" +
			"@wasakari.task\ndef site():\n    wasakari.log.info(cfg.CONF.site.name)\n",
		"tests/a.yaml": "inputs: {host_name: compute-1}\n",
	})
	r := p.run(t.Context(), t, "task", "test", "DIR/site.py")
	const want = "wasakari: DIR/tests/a.yaml:1:1: options: option [site] name is required; write options: {site: {name: …}}\n"
	if r.code != exitUsage || r.stderr != want {
		t.Errorf("exit code %d\n%s%s\nwant\n%s", r.code, r.stdout, r.stderr, want)
	}
	p.write(t, "tests/a.yaml", "options: {SITE: {name: north}}\nexpect: {logs: [north]}\n")
	if r := p.run(t.Context(), t, "task", "test", "DIR/site.py"); r.code != exitOK {
		t.Errorf("exit code %d\n%s%s", r.code, r.stdout, r.stderr)
	}
}
