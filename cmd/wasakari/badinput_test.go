package main

import (
	"net"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/wasakari/wasakari/abi"
	"github.com/wasakari/wasakari/novasim"
	"github.com/wasakari/wasakari/recovery"
)

// flowConf sets the flow host-auto.
func flowConf(value string) string {
	return "[taskflow_driver_recovery_flows]\nhost_auto_failure_recovery_tasks = " + value + "\n"
}

// wasmHead is the magic number and the version of a core module.
const wasmHead = "\x00asm\x01\x00\x00\x00"

// badInput is a command line that is refused.
type badInput struct {
	name string
	// files are in the folder DIR. Without a conf of its own the command reads
	// an empty one.
	files   map[string]string
	environ []string
	// args are words; those after "run host-auto" are added to a good command
	// line. Empty: none are.
	args string
	want string // on standard error, where ADDR stands for an address, ID for a request id
}

// taskIn gives a conf that runs the task x in the pre phase of host-auto.
func taskIn(task string) string {
	return flowConf("pre:['" + task + "'],main:['prepare_HA_enabled_instances_task'],post:['evacuate_instances_task']")
}

func badInputs(t *testing.T) []badInput {
	noop := guest("noop")
	x := func(m abi.ManifestTask) map[string]string {
		m.Key = "x"
		return map[string]string{"tasks/x.wasm": string(packed(t, noop, m)), "conf": taskIn("x")}
	}
	with := func(files map[string]string, conf string) map[string]string {
		files["conf"] = conf
		return files
	}
	five := int64(5)
	return []badInput{
		// Flows and their wiring.
		{
			name:  "unknown task key",
			files: map[string]string{"conf": taskIn("disable_compute_servce_task")},
			want:  `DIR/conf:2:41: flow host-auto: pre: unknown task "disable_compute_servce_task"; did you mean "disable_compute_service_task"?`,
		},
		{
			name:  "unknown task key like none",
			files: map[string]string{"conf": taskIn("page_the_operator")},
			want:  `DIR/conf:2:41: flow host-auto: pre: unknown task "page_the_operator"; put page_the_operator.wasm into a task directory, or mend the name`,
		},
		{
			name:  "input that nobody provides",
			files: x(abi.ManifestTask{Requires: []string{"ticket_id"}}),
			want:  `DIR/conf:2:41: flow host-auto: pre: task "x" requires ticket_id, which no input and no earlier task provides; no known task provides it`,
		},
		{
			name:  "input of another flow",
			files: x(abi.ManifestTask{Requires: []string{"process_name"}}),
			want:  `DIR/conf:2:41: flow host-auto: pre: task "x" requires process_name, which no input and no earlier task provides; it is an input of flow process`,
		},
		{
			name: "input provided later",
			files: map[string]string{
				"tasks/x.wasm": string(packed(t, noop, abi.ManifestTask{Key: "x", Requires: []string{"ticket_id"}}, abi.ManifestTask{Key: "y", Provides: []string{"ticket_id"}})),
				"conf":         flowConf("pre:['x'],main:['y'],post:['evacuate_instances_task']"),
			},
			want: `DIR/conf:2:41: flow host-auto: pre: task "x" requires ticket_id, which no input and no earlier task provides; task "y" provides it, but later (main, DIR/conf:2:52): put it before`,
		},
		{
			name:  "protected name",
			files: x(abi.ManifestTask{Provides: []string{"fence_proof"}}),
			want:  `DIR/conf:2:41: flow host-auto: pre: task "x" asks for provides:fence_proof, which library acme is not granted; write below [grants]: acme = provides:fence_proof`,
		},
		{
			name:  "read-only input",
			files: x(abi.ManifestTask{Provides: []string{"host_name"}}),
			want:  `DIR/conf:2:41: flow host-auto: pre: task "x" provides host_name, which is an input of the flow; inputs are read-only: let the task provide another name`,
		},
		{
			name: "name provided twice",
			files: map[string]string{
				"tasks/x.wasm": string(packed(t, noop, abi.ManifestTask{Key: "x", Provides: []string{"ticket_id"}}, abi.ManifestTask{Key: "y", Provides: []string{"ticket_id"}})),
				"conf":         flowConf("pre:['x','y'],main:[],post:['evacuate_instances_task']"),
			},
			want: `DIR/conf:2:45: flow host-auto: pre: task "y" provides ticket_id, which task "x" provides already (pre, DIR/conf:2:41); a name has one provider per flow: remove one of the two tasks`,
		},
		{
			name:  "op not granted",
			files: with(x(abi.ManifestTask{Uses: []string{"nova.server_list", "kv.put"}}), taskIn("x")+"[grants]\nacme = kv.*\n"),
			want:  `DIR/conf:2:41: flow host-auto: pre: task "x" asks for nova.server_list, which library acme is not granted; write instead of the line at DIR/conf:4:1: acme = kv.*, nova.server_list`,
		},
		// Options.
		{
			name: "option missing",
			files: with(x(abi.ManifestTask{Options: []abi.ManifestOption{{Group: "acme", Name: "queue", Type: "string", Required: true, Help: "Queue of tickets"}}}),
				taskIn("x")+"[grants]\nacme = options:acme\n"),
			want: `DIR/conf:2:41: flow host-auto: pre: task "x": option [acme] queue is required: Queue of tickets; write queue = … below [acme]`,
		},
		{
			name:  "option of another's section",
			files: x(abi.ManifestTask{Options: []abi.ManifestOption{{Group: "DEFAULT", Name: "os_privileged_user_password", Type: "string"}}}),
			want: "DIR/tasks/x.wasm: task x asks for option [DEFAULT] os_privileged_user_password: that section belongs to Wasakari, Masakari or an OpenStack library; " +
				"give its options a section of their own in task.yaml, such as [acme]",
		},
		{
			name: "option of the wrong type",
			files: with(x(abi.ManifestTask{Options: []abi.ManifestOption{{Group: "acme", Name: "limit", Type: "int"}}}),
				taskIn("x")+"[acme]\nlimit = many\n[grants]\nacme = options:acme\n"),
			want: "DIR/conf:4:9: option [acme] limit: want an int, got 'many'",
		},
		{
			name: "option out of range",
			files: with(x(abi.ManifestTask{Options: []abi.ManifestOption{{Group: "acme", Name: "limit", Type: "int", Max: &five}}}),
				taskIn("x")+"[acme]\nlimit = 6\n[grants]\nacme = options:acme\n"),
			want: "DIR/conf:4:9: option [acme] limit: want an int ≤ 5, got '6'",
		},
		{
			name:  "option of ours of the wrong type",
			files: map[string]string{"conf": "[DEFAULT]\nverify_interval = soon\n"},
			want:  "DIR/conf:2:19: option [DEFAULT] verify_interval: want an int (seconds), got 'soon'",
		},
		{
			name: "option that nobody knows, typed", args: "check --set host_failure.evacuate_all_instance=false",
			want: "--set: unknown option [host_failure] 'evacuate_all_instance', ignored; did you mean evacuate_all_instances?",
		},
		{
			name:    "option of the wrong type in the environment",
			environ: []string{"OS_DEFAULT__HOST_FAILURE_RECOVERY_THREADS=0"},
			want:    "environment OS_DEFAULT__HOST_FAILURE_RECOVERY_THREADS: option [DEFAULT] host_failure_recovery_threads: want an int ≥ 1 or auto, got '0'",
		},
		{
			name:  "flow that is no dictionary",
			files: map[string]string{"conf": flowConf("evacuate_instances_task")},
			want:  "DIR/conf:2:36: option host_auto_failure_recovery_tasks: 'evacuate_instances_task' is no key with a list; the form is pre:['…'],main:['…'],post:['…']",
		},
		// Files.
		{
			name: "conf file missing",
			args: "run host-auto --config-file DIR/nope.conf",
			want: "DIR/nope.conf: no such file; check --config-file",
		},
		{
			name:  "conf file unreadable",
			files: map[string]string{"folder.conf/x": ""},
			args:  "run host-auto --config-file DIR/folder.conf",
			want:  "DIR/folder.conf: not a regular file; check --config-file; a folder goes with --config-dir",
		},
		{
			name:  "conf file that is none",
			files: map[string]string{"conf": "[DEFAULT]\n\nverify_interval\n"},
			want:  "DIR/conf:3:1: no ':' or '=' found in assignment: 'verify_interval'; write name = value; a line that belongs to the value above begins with a blank",
		},
		{
			name: "conf folder missing",
			args: "run host-auto --config-dir DIR/nope",
			want: "DIR/nope: no such directory; check --config-dir",
		},
		{
			name: "task folder missing",
			args: "run host-auto --task-dir DIR/nope",
			want: "task folder DIR/nope: no such file or directory; check --task-dir and [wasakari] task_dir",
		},
		{
			name:  "scenario unreadable",
			args:  "run host-auto --simulate --scenario DIR/nope.yaml",
			files: map[string]string{},
			want:  "DIR/nope.yaml: no such file or directory",
		},
		{
			name:  "scenario with an unknown field",
			args:  "run host-auto --simulate --scenario DIR/s.yaml",
			files: map[string]string{"s.yaml": "hosts:\n  - {name: compute-1, stat: down}\n"},
			want:  `DIR/s.yaml:2:23: unknown field "stat"`,
		},
		{
			name:  "scenario without the host",
			args:  "run host-auto --simulate --scenario DIR/s.yaml",
			files: map[string]string{"s.yaml": "hosts:\n  - {name: node-1}\n  - {name: node-2}\n"},
			want:  "simulated cloud: there is no host compute-1; it has node-1, node-2",
		},
		{
			name:  "state folder is a file",
			files: map[string]string{"state": ""},
			args:  "run host-auto --state-dir DIR/state",
			want:  "state folder: mkdir DIR/state: not a directory; name another state folder with --state-dir",
		},
		{
			name:  "cache folder is a file",
			files: map[string]string{"cache": ""},
			args:  "run host-auto --cache-dir DIR/cache",
			want:  "cache folder: mkdir DIR/cache: not a directory; name another with --cache-dir",
		},
		// Clouds.
		{
			name:    "no cloud",
			environ: []string{"OS_AUTH_URL="},
			args:    "run host-auto",
			want:    "no cloud to act on; name one with --os-cloud, set OS_CLOUD or OS_AUTH_URL, set os_privileged_user_auth_url in the configuration, or try --simulate",
		},
		{
			name:    "cloud unreachable",
			environ: []string{"OS_AUTH_URL=http://ADDR/v3"},
			args:    "run host-auto",
			want:    "cloud of the OS_* variables: log in at http://ADDR/v3: http://ADDR: dial tcp ADDR: connect: connection refused; check the URL, and that this machine reaches it",
		},
		{
			name:    "credentials wrong",
			environ: []string{"OS_PASSWORD=guessed"},
			args:    "run host-auto",
			want:    "cloud of the OS_* variables: log in at http://ADDR/v3: 401 The request you have made requires authentication. (ID); check user, password, project and their domains",
		},
		{
			name:    "credentials missing",
			environ: []string{"OS_USERNAME="},
			args:    "run host-auto",
			want:    "cloud of the OS_* variables: cloud options: invalid: a password without a user",
		},
		{
			name:    "region wrong",
			environ: []string{"OS_REGION_NAME=Mars"},
			args:    "run host-auto",
			want:    `cloud of the OS_* variables: find nova in the catalog: no compute endpoint with interface public in region "Mars"; there are compute:nova:admin in RegionOne, compute:nova:internal in RegionOne, compute:nova:public in RegionOne`,
		},
		{
			name:    "cloud unknown in clouds.yaml",
			environ: []string{"OS_CLIENT_CONFIG_FILE=DIR/clouds.yaml"},
			files:   map[string]string{"clouds.yaml": "clouds:\n  lab:\n    auth: {auth_url: http://ADDR/v3, username: a, password: b, project_name: c}\n"},
			args:    "run host-auto --os-cloud lba",
			want:    `DIR/clouds.yaml: cloud "lba": invalid: cloud "lba" not found in clouds.yaml; check --os-cloud and OS_CLOUD`,
		},
		{
			name:    "no clouds.yaml",
			environ: []string{"OS_CLIENT_CONFIG_FILE=DIR/clouds.yaml"},
			args:    "run host-auto --os-cloud lab",
			want:    "clouds file: not found: looked for DIR/clouds.yaml; make it, or name another in OS_CLIENT_CONFIG_FILE",
		},
		{
			name:    "privileged user without a password",
			environ: []string{"OS_AUTH_URL="},
			files:   map[string]string{"conf": "[DEFAULT]\nos_privileged_user_auth_url = http://ADDR/v3\nos_privileged_user_name = masakari\nos_privileged_user_tenant = service\n"},
			args:    "run host-auto",
			want:    "[DEFAULT] os_privileged_user_auth_url is set, but not os_privileged_user_password; set it too, or name a cloud with --os-cloud",
		},
		{
			name:    "nova_catalog_admin_info of the wrong form",
			environ: []string{"OS_AUTH_URL="},
			files:   map[string]string{"conf": "[DEFAULT]\nos_privileged_user_auth_url = http://ADDR/v3\nnova_catalog_admin_info = compute\n"},
			args:    "run host-auto",
			want:    "DIR/conf:3:27: option [DEFAULT] nova_catalog_admin_info: want <service type>:<service name>:<interface>, got 'compute'",
		},
		// The command line.
		{
			name: "no command", args: "rum host-auto",
			want: `unknown command "rum"; did you mean run? see wasakari --help`,
		},
		{
			name: "unknown subcommand", args: "task inspekt x.wasm",
			want: `unknown command "inspekt"; did you mean inspect? see wasakari task --help`,
		},
		{
			name: "unknown flag", args: "run host-auto --input-file x",
			want: "unknown flag: --input-file; see wasakari run --help",
		},
		{
			name: "flag without a value", args: "check --set",
			want: "flag needs an argument: --set; see wasakari check --help",
		},
		{
			name: "no flow", args: "run",
			want: "name one flow: host-auto, host-rh, instance, process or host-repair; usage: wasakari run FLOW --input name=value ... [flags]",
		},
		{
			name: "two flows", args: "run host-auto host-rh",
			want: "name one flow: host-auto, host-rh, instance, process or host-repair; usage: wasakari run FLOW --input name=value ... [flags]",
		},
		{
			name: "unknown flow", args: "run hots-auto",
			want: `flow "hots-auto": invalid: want host-auto, host-rh, instance, process, host-repair or the name of the flow's option; did you mean host-auto?`,
		},
		{
			name: "arguments of check", args: "check host-auto",
			want: `"host-auto": wasakari check takes no arguments; usage: wasakari check [flags]`,
		},
		{
			name: "unknown input", args: "run host-auto --input hostname=compute-1",
			want: "--input hostname: unknown input; did you mean host_name?",
		},
		{
			name: "input of another flow given", args: "run host-auto --input instance_uuid=1",
			want: "--input instance_uuid: unknown input; this flow takes notification_uuid, recovery_method, segment, event, payload, generated_time, host_name",
		},
		{
			name: "input without a value", args: "run host-auto --input event",
			want: "--input event: want name=value",
		},
		{
			name: "empty input", args: "run host-auto --input event=",
			want: "--input event: the value is empty",
		},
		{
			name: "input given twice", args: "run host-auto --input event=a --input event=b",
			want: "--input event: given twice",
		},
		{
			name: "input that is no list", args: "run host-rh --input host_name=compute-1 --input reserved_host_list=[1",
			want: `--input reserved_host_list: unexpected end of JSON input; want a JSON list of names, such as '["compute-4"]'`,
		},
		{
			name: "input that is no object", args: "run host-auto --input payload=stopped",
			want: `--input payload: invalid character 's' looking for beginning of value; want a JSON object, such as '{"event": "STOPPED"}'`,
		},
		{
			name: "missing input", args: "run host-rh --input host_name=compute-1",
			want: `flow host-rh needs the input reserved_host_list; add --input reserved_host_list='["compute-4"]'`,
		},
		{
			name: "missing input of instance", args: "run instance",
			want: "flow instance needs the input instance_uuid; add --input instance_uuid=b6f2…",
		},
		{
			name: "missing input of process", args: "run process --input host_name=compute-1",
			want: "flow process needs the input process_name; add --input process_name=nova-compute",
		},
		{
			name: "set without a group", args: "check --set verify_interval=2",
			want: "--set verify_interval=2: want group.name=value, such as DEFAULT.verify_interval=2",
		},
		{
			name: "set without a value", args: "check --set DEFAULT.verify_interval",
			want: "--set DEFAULT.verify_interval: want group.name=value, such as DEFAULT.verify_interval=2",
		},
		{
			name: "set to the wrong type", args: "check --set DEFAULT.verify_interval=soon",
			want: "--set: option [DEFAULT] verify_interval: want an int (seconds), got 'soon'",
		},
		{
			name: "unknown output", args: "run host-auto --output yaml",
			want: "--output yaml: want text or json",
		},
		{
			name: "unknown log level", args: "run host-auto --log-level loud",
			want: "--log-level loud: want debug, info, warn or error",
		},
		{
			name: "unknown recovery method", args: "run host-auto --recovery-method fastest",
			want: "--recovery-method fastest: want auto, reserved_host, auto_priority or rh_priority",
		},
		{
			name: "recovery method of another flow", args: "run host-auto --recovery-method rh_priority",
			want: "--recovery-method rh_priority begins with host-rh, not host-auto; run host-rh",
		},
		{
			name: "recovery method of no host flow", args: "run process --recovery-method auto --input process_name=nova-compute --input host_name=compute-1",
			want: "--recovery-method: only for host-auto and host-rh; leave it out",
		},
		{
			name: "scenario without simulate", args: "run host-auto --scenario DIR/s.yaml",
			want: "--scenario: only with --simulate; add it",
		},
		{
			name: "simulate and a cloud", args: "run host-auto --simulate --os-cloud lab",
			want: "--simulate and --os-cloud: choose one",
		},
		{
			name: "resume and a flow", args: "run host-auto --resume 1",
			want: "--resume takes no FLOW: the run knows it; usage: wasakari run FLOW --input name=value ... [flags]",
		},
		{
			name: "resume and an input", args: "run --resume 1 --input event=a",
			want: "--resume: inputs and recovery method are those of the run; leave --input and --recovery-method out",
		},
		{
			name: "resume of an unknown run", args: "run --resume 01a206b4-3671-71e3-a6ac-25e7994776ad",
			want: "run 01a206b4-3671-71e3-a6ac-25e7994776ad: not found in DIR/home/.local/state/wasakari; name the state folder of the run with --state-dir",
		},
		{
			name: "resume of a path", args: "run --resume ../../etc/passwd",
			want: `run id "../../etc/passwd": invalid: want letters, digits, dots, dashes and underscores, 128 at most`,
		},
		{
			name: "simulate at a bad address", args: "simulate --listen nowhere --log-level warn",
			want: "--listen: simulated cloud: listen tcp: address nowhere: missing port in address; want host:port, such as ADDR",
		},
		{
			name: "simulate with a bad scenario", args: "simulate --scenario DIR/s.yaml", files: map[string]string{"s.yaml": "hosts: []\n"},
			want: "DIR/s.yaml:1:8: hosts: there must be at least one",
		},
		{
			name: "inspect without a file", args: "task inspect",
			want: "accepts 1 arg(s), received 0; usage: wasakari task inspect FILE [flags]",
		},
		{
			name: "inspect of a missing file", args: "task inspect DIR/x.wasm",
			want: "DIR/x.wasm: no such file or directory",
		},
		{
			name: "inspect of no module", args: "task inspect DIR/x.wasm", files: map[string]string{"x.wasm": "hello"},
			want: "DIR/x.wasm: not a WebAssembly module: it does not begin with 00 61 73 6d; give a .wasm file",
		},
		{
			name: "pack without -o", args: "task pack DIR/task.yaml DIR/x.wasm",
			want: "name the file to write with -o, such as -o custom_pre_task.wasm",
		},
		{
			name: "pack of a bad manifest", args: "task pack DIR/task.yaml DIR/x.wasm -o DIR/out.wasm",
			files: map[string]string{"task.yaml": "abi: 1\nlibrary: Acme\nversion: one\ntasks:\n  - key: x\n    provide: [a]\n", "x.wasm": string(noop)},
			want: "DIR/task.yaml: manifest: tasks[0].provide: unknown key; did you mean provides?" + "\n" +
				`wasakari: DIR/task.yaml: manifest: library: "Acme" is not allowed; write 1 to 128 lower-case letters, digits, . _ or -` + "\n" +
				`wasakari: DIR/task.yaml: manifest: version: "one" is not allowed; write a semantic version such as 1.4.0`,
		},
		{
			name: "pack of a task that reads others' options", args: "task pack DIR/task.yaml DIR/x.wasm -o DIR/out.wasm",
			files: map[string]string{
				"task.yaml": "abi: 1\nlibrary: acme\nversion: 1.0.0\ntasks: [{key: x, options: [{group: Keystone_authtoken, name: password, type: string, secret: true}]}]\n",
				"x.wasm":    string(noop),
			},
			want: "DIR/task.yaml: task x asks for option [Keystone_authtoken] password: that section belongs to Wasakari, Masakari or an OpenStack library; " +
				"give its options a section of their own in task.yaml, such as [acme]",
		},
		{
			name: "pack of no YAML", args: "task pack DIR/task.yaml DIR/x.wasm -o DIR/out.wasm",
			files: map[string]string{"task.yaml": "abi: [1\n", "x.wasm": string(noop)},
			want:  "DIR/task.yaml:1:6: sequence end token ']' not found",
		},
		{
			name: "pack of a module that would be refused", args: "task pack DIR/task.yaml DIR/x.wasm -o DIR/out.wasm",
			files: map[string]string{"task.yaml": "abi: 1\nlibrary: acme\nversion: 1.0.0\ntasks: [{key: x}]\n", "x.wasm": string(guest("command"))},
			want:  `DIR/x.wasm: it is a command: it exports _start, the main function of a program; build it as a library, which has _initialize: Go -buildmode=c-shared (with GOOS=wasip1 GOARCH=wasm), Rust crate-type = ["cdylib"], C -mexec-model=reactor`,
		},
	}
}

// withManifest gives the smallest task with manifests, whatever is in them.
func withManifest(docs ...string) []byte {
	wasm := guest("no_manifest")
	for _, doc := range docs {
		body := "\x0dwasakari.task" + doc
		size := []byte{byte(len(body)&0x7f | 0x80), byte(len(body) >> 7)}
		wasm = append(append(wasm, 0), string(size)+body...)
	}
	return wasm
}

var (
	addresses  = regexp.MustCompile(`127\.0\.0\.1:[0-9]+`)
	requestIDs = regexp.MustCompile(`\(req-[0-9a-f-]+\)`)
)

// TestBadModules: a folder of modules that are refused, each for a reason of
// its own, which are all told at once.
func TestBadModules(t *testing.T) {
	t.Parallel()
	noop := guest("noop")
	task := func(keys ...string) []byte {
		var tasks []abi.ManifestTask
		for _, k := range keys {
			tasks = append(tasks, abi.ManifestTask{Key: k})
		}
		return packed(t, noop, tasks...)
	}
	tests := []struct {
		file string
		wasm []byte
		want string // after the name of the file
	}{
		// Manifests.
		{
			file: "other_key", wasm: task("x", "y"),
			want: `its manifest has no task "other_key", but x, y; name the file after one of them, or mend task.yaml`,
		},
		{
			file: "manifest_none", wasm: guest("no_manifest"),
			want: "no manifest: the module has no custom section wasakari.task; add one with wasakari task pack task.yaml module.wasm -o out.wasm",
		},
		{
			file: "manifest_two", wasm: withManifest(`{}`, `{}`),
			want: "two manifests: the module has more than one custom section wasakari.task; pack it anew with wasakari task pack (the second at byte 89)",
		},
		{
			file: "manifest_keys", wasm: guest("bad_manifest"),
			want: "manifest: taskz: unknown key; did you mean tasks?" + "\n" +
				"manifest: tasks: the key is missing",
		},
		{
			file: "manifest_abi", wasm: withManifest(`{"abi":2,"library":"acme","version":"1.0.0","tasks":[{"key":"manifest_abi"}]}`),
			want: "manifest: abi: this host does not speak ABI 2; write 1",
		},
		// Imports.
		{
			file: "import_abi", wasm: guest("import_version"),
			want: "it imports wasakari_v2.call, which this host does not have; it is built for another version of Wasakari; this host has wasakari_v1",
		},
		{
			file: "import_function", wasm: guest("import_function"),
			want: "it imports wasakari_v1.submitt, which this host does not have; did you mean wasakari_v1.submit?",
		},
		{
			file: "import_module", wasm: guest("import_module"),
			want: "it imports env.now, which this host does not have; a function was declared and not linked: define it, or link the library that has it",
		},
		// What compilers make when they are not told better.
		{
			file: "component", wasm: []byte("\x00asm\x0d\x00\x01\x00"),
			want: "this is a WebAssembly component, not a core module; build a core module: wasm32-wasip1 instead of wasm32-wasip2, without wasm-tools component new; GOOS=wasip1 and -buildmode=c-shared for Go; tinygo -target=wasip1 -buildmode=c-shared",
		},
		{
			file: "command", wasm: guest("command"),
			want: `it is a command: it exports _start, the main function of a program; build it as a library, which has _initialize: Go -buildmode=c-shared (with GOOS=wasip1 GOARCH=wasm), Rust crate-type = ["cdylib"], C -mexec-model=reactor`,
		},
		{
			file: "initialize_none", wasm: guest("go_library"),
			want: "it is built by Go and has no _initialize, so Go's runtime would never start; build it with GOOS=wasip1 GOARCH=wasm -buildmode=c-shared",
		},
		// What is no module.
		{
			file: "too_large", wasm: []byte(wasmHead + strings.Repeat("\x00", 2<<20)),
			want: "too large: it has 2.0 MiB, and at most 1.0 MiB are read; strip it (Go -ldflags='-s -w', Rust strip = true, wasm-opt --strip-debug), or raise [wasakari] module_mib",
		},
		{
			file: "truncated", wasm: noop[:30],
			want: "the module is truncated or malformed: the section at byte 24 has 16 bytes, the file only 4 more; it was cut off or damaged: copy or build it again",
		},
		{
			file: "script", wasm: []byte("#!/bin/sh\necho hello\n"),
			want: "not a WebAssembly module: it does not begin with 00 61 73 6d; give a .wasm file",
		},
		{
			file: "empty",
			want: "not a WebAssembly module: it does not begin with 00 61 73 6d; give a .wasm file",
		},
		{
			file: "invalid", wasm: []byte(wasmHead + "\x01\x05\x01\x60\x00\x01\x00"),
			want: "not valid WebAssembly: a type of value 0x00, which is not WebAssembly 2.0 at byte 15; copy or build it again, for WebAssembly 2.0 (such as wasm32-wasip1) without threads, tail calls, exceptions or garbage collection",
		},
		// Keys.
		{file: "twice_1", wasm: task("twice_1", "twice")},
		{
			file: "twice_2", wasm: task("twice_2", "twice"),
			want: "task twice is in DIR/tasks/twice_1.wasm too; remove one of them, or pin one in [libraries], such as acme = " + pin(task("twice_2", "twice")),
		},
		{
			file: "standard", wasm: task("standard", "evacuate_instances_task"),
			want: "task evacuate_instances_task is a standard task, which is built in; give yours another key",
		},
	}
	files := map[string]string{"conf": "[wasakari]\nmodule_mib = 1\n"}
	for _, tt := range tests {
		files["tasks/"+tt.file+".wasm"] = string(tt.wasm)
	}
	sim, environ := startCloud(t, quickCloud, novasim.Options{})
	p := newPlace(t, files)
	p.environ = environ
	r := p.run(t.Context(), t, strings.Fields("run host-auto --input host_name=compute-1 --config-file DIR/conf --task-dir DIR/tasks")...)
	nothingStarted(t, r, p, sim)
	rest := r.stderr
	for _, tt := range tests {
		var got []string
		for line := range strings.Lines(r.stderr) {
			line, ok := strings.CutPrefix(line, "wasakari: DIR/tasks/"+tt.file+".wasm: ")
			if ok {
				got = append(got, line)
				rest = strings.Replace(rest, "wasakari: DIR/tasks/"+tt.file+".wasm: "+line, "", 1)
			}
		}
		if got := strings.TrimSuffix(strings.Join(got, ""), "\n"); got != tt.want {
			t.Errorf("%s:\n%s\nwant\n%s", tt.file, got, tt.want)
		}
	}
	if rest != "" {
		t.Errorf("more on standard error: %s", rest)
	}
}

// nothingStarted checks a command line that was refused.
func nothingStarted(t *testing.T, r result, p *place, sim *novasim.Cloud) {
	t.Helper()
	if r.code != exitUsage {
		t.Errorf("exit code = %d, want %d", r.code, exitUsage)
	}
	if r.stdout != "" {
		t.Errorf("standard output = %q, want nothing", r.stdout)
	}
	if n := len(p.runs(t)); n != 0 {
		t.Errorf("%d runs in the state folder, want none", n)
	}
	for _, r := range sim.Requests() {
		if r.Service == "compute" && r.Method != http.MethodGet {
			t.Errorf("the cloud got %s %s", r.Method, r.Path)
		}
	}
}

// TestBadInput: whatever is wrong ends with exit code 2 and a message that
// says what, where and what to do, and nothing was started.
func TestBadInput(t *testing.T) {
	t.Parallel()
	for _, tt := range badInputs(t) {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tt.refused(t)
		})
	}
}

func (tt badInput) refused(t *testing.T) {
	t.Helper()
	sim, environ := startCloud(t, quickCloud, novasim.Options{})
	p := newPlace(t, tt.files)
	if _, ok := tt.files["conf"]; !ok {
		p.write(t, "conf", "")
	}
	p.write(t, "tasks/README", "no task")
	p.environ = environ
	unused := closedAddress(t)
	for _, kv := range tt.environ {
		name, _, _ := strings.Cut(kv, "=")
		for i, have := range p.environ {
			if strings.HasPrefix(have, name+"=") {
				p.environ[i] = "" // the first one counts
			}
		}
		p.environ = append(p.environ, strings.ReplaceAll(kv, "ADDR", unused))
	}
	if tt.args == "" {
		tt.args = "run host-auto"
	}
	words := strings.Fields(strings.ReplaceAll(tt.args, "ADDR", unused))
	if rest, ok := strings.CutPrefix(tt.args, "run host-auto"); ok {
		words = append(strings.Fields("run host-auto --input host_name=compute-1 --output json"), strings.Fields(rest)...)
		if !strings.Contains(rest, "--config-") {
			words = append(words, "--config-file", "DIR/conf")
		}
		if !strings.Contains(rest, "--task-dir") {
			words = append(words, "--task-dir", "DIR/tasks")
		}
	}
	r := p.run(t.Context(), t, words...)
	nothingStarted(t, r, p, sim)
	if got := addresses.ReplaceAllString(requestIDs.ReplaceAllString(r.stderr, "(ID)"), "ADDR"); got != "wasakari: "+tt.want+"\n" {
		t.Errorf("standard error =\n%swant\nwasakari: %s", got, tt.want)
	}
}

// closedAddress gives an address at which nobody listens.
func closedAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // closed in the next line
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close() //nolint:errcheck // nothing was accepted
	return l.Addr().String()
}

// TestHelp: every command explains itself on standard output.
func TestHelp(t *testing.T) {
	t.Parallel()
	var walk func(cmd *cobra.Command)
	walk = func(cmd *cobra.Command) {
		args := append(strings.Fields(cmd.CommandPath())[1:], "--help")
		p := newPlace(t, nil)
		r := p.run(t.Context(), t, args...)
		if r.code != exitOK || r.stderr != "" || !strings.Contains(r.stdout, "Usage:\n  wasakari") {
			t.Errorf("%q: exit code %d\n%s%s", args, r.code, r.stdout, r.stderr)
		}
		for line := range strings.Lines(r.stdout) {
			if n := utf8.RuneCountInString(line); n > 140 {
				t.Errorf("%q: a line of %d columns: %s", args, n, line)
			}
		}
		if cmd.HasParent() && cmd.Runnable() && !cmd.HasSubCommands() && cmd.Example == "" {
			t.Errorf("%q: no example", args)
		}
		for _, sub := range cmd.Commands() {
			if sub.IsAvailableCommand() && sub.Name() != "help" {
				walk(sub)
			}
		}
	}
	walk(newRoot(world{}))
	// Each flow's inputs are in the help of run.
	p := newPlace(t, nil)
	help := p.run(t.Context(), t, "run", "--help").stdout
	for _, kind := range recovery.FlowKinds() {
		if want := string(kind) + " " + strings.Join(mustGive[kind], " and "); !strings.Contains(strings.ReplaceAll(help, "\n", " "), want) {
			t.Errorf("the help of run does not say %q", want)
		}
	}
}
