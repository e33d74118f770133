package main

import (
	"strings"
	"testing"

	"github.com/wasakari/wasakari/abi"
	"github.com/wasakari/wasakari/config"
	"github.com/wasakari/wasakari/novasim"
	"github.com/wasakari/wasakari/recovery"
)

// What any task may read of Masakari's options is there, and no secret.
func TestMasakariOptionsAreKnown(t *testing.T) {
	t.Parallel()
	for _, o := range abi.MasakariOptions() {
		found := false
		for _, spec := range config.Specs() {
			if spec.Group == o.Group && spec.Name == o.Name {
				found = spec.Type == recovery.OptionType(o.Type) && !spec.Secret
			}
		}
		if !found || !o.Masakaris() {
			t.Errorf("[%s] %s of type %s: want an option of the configuration, and no secret", o.Group, o.Name, o.Type)
		}
	}
}

// A task in Python reads what the operator's files say of Masakari's own options,
// without a grant; what is not among those that any task may read is refused.
func TestMasakariOptions(t *testing.T) {
	t.Parallel()
	_, environ := startCloud(t, quickCloud, novasim.Options{})
	p := newPlace(t, map[string]string{
		"conf": processConfOf("tell") + "[DEFAULT]\nwait_period_after_power_off = 77\n[host_failure]\nevacuate_all_instances = no\nservice_disable_reason = gone: %(x)s\n",
		"tell.py": `from masakari import conf
from taskflow import task

CONF = conf.CONF


class Tell(task.Task):
    def execute(self, host_name):
        failure = CONF.host_failure
        print(CONF.wait_period_after_power_off, CONF.wait_period_after_power_on, failure.evacuate_all_instances, failure.service_disable_reason,
              failure["ha_enabled_instance_metadata_key"])
`,
	})
	p.environ = environ
	p.write(t, "tasks/.keep", "")
	buildPython(t, p, "DIR/tell.py", "DIR/tasks/tell.wasm")
	r := p.run(t.Context(), t, "run", "process", "--config-file", "DIR/conf", "--task-dir", "DIR/tasks", "--input", "host_name=compute-1", "--input", "process_name=nova-compute")
	if want := "77 60 False gone: %(x)s HA_Enabled"; r.code != exitOK || !strings.Contains(r.stdout, want) {
		t.Errorf("run: %+v, want %q", r, want)
	}
	for _, bad := range []string{
		"{group: host_failure, name: evacuate_all_instances, type: bool, default: false}", "{group: host_failure, name: service_disable_reason, type: string, secret: true}",
		"{group: host_failure, name: evacuate_all_instances, type: string}", "{group: host_failure, name: evacuate_all_instances, type: bool, required: true}",
		"{group: DEFAULT, name: os_privileged_user_password, type: string, secret: true}", "{group: DEFAULT, name: host, type: string}", "{group: keystone_authtoken, name: password, type: string}",
	} {
		p.write(t, "task.yaml", "{abi: 1, library: tell, version: 1.0.0, tasks: [{key: tell, options: ["+bad+"]}]}")
		r := p.run(t.Context(), t, "task", "build", "DIR/tell.py")
		if r.code != exitUsage || !strings.Contains(r.stderr, "that section belongs to Wasakari, Masakari or an OpenStack library") {
			t.Errorf("%s: %+v, want it refused", bad, r)
		}
	}
}

// processConfOf is a flow with one task before the standard one.
func processConfOf(key string) string {
	return "[taskflow_driver_recovery_flows]\nprocess_failure_recovery_tasks = pre:['" + key + "'],main:['disable_compute_node_task'],post:[]\n"
}
