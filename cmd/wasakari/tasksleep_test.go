package main

import (
	"strings"
	"testing"
)

// In a scenario a task that looks again and again until a deadline sees the cloud
// go on while it sleeps, in each language, and nobody waits for it. One that waits
// longer than it may run is ended as the time limit would end it.
func TestTaskTestSleeps(t *testing.T) {
	t.Parallel()
	const (
		python = `import time

import wasakari


@wasakari.task
def stops(instance_uuid, patience):
    began = time.time()
    deadline = time.monotonic() + int(patience)
    wasakari.nova.server_stop(instance_uuid)
    while wasakari.nova.server_get(instance_uuid).status != "SHUTOFF":
        if time.monotonic() > deadline:
            wasakari.fail("not stopped after %d minutes" % (int(patience) // 60))
        time.sleep(5)
    wasakari.log.info("stopped in minute %d", (time.time() - began) // 60 + 1)
`
		javascript = `export default {
  requires: ["instance_uuid", "patience"],
  async run({ inputs, nova, sleep, log, fail }) {
    const began = Date.now(), id = inputs.instance_uuid;
    await nova.serverStop({ id });
    const stopped = async () => {
      while ((await nova.serverGet({ id })).status !== "SHUTOFF") await sleep(5000);
      return true;
    };
    if (!(await Promise.race([stopped(), new Promise((late) => setTimeout(late, inputs.patience * 1000))]))) fail(` + "`not stopped after ${inputs.patience / 60} minutes`" + `);
    log.info(` + "`stopped in minute ${Math.floor((Date.now() - began) / 60000) + 1}`" + `);
  },
};
`
		scenario = `inputs: {instance_uuid: 9d3c5a7e-0000-4000-8000-000000000001, patience: PATIENCE}
flow: instance
cloud:
  hosts: [{name: compute-1}]
  servers: [{name: web, id: 9d3c5a7e-0000-4000-8000-000000000001, host: compute-1}]
  latency: {actions: {stop: 90s}}
`
	)
	within := func(patience string) string { return strings.ReplaceAll(scenario, "PATIENCE", patience) }
	scenarios := map[string]string{
		"in time":  within("180") + "expect: {logs: [stopped in minute 2]}\n",
		"too late": within("60") + "expect: {outcome: failed, reason: not stopped after 1 minutes}\n",
		"for ever": strings.ReplaceAll(within("86400"), "90s", "1h") + "expect: {outcome: failed, reason: time limit of 5m0s reached}\n",
	}
	for _, source := range []struct{ file, text string }{{"stops.py", python}, {"stops.js", javascript}} {
		t.Run(source.file, func(t *testing.T) {
			t.Parallel()
			files := map[string]string{source.file: source.text}
			for name, text := range scenarios {
				files["tests/"+strings.ReplaceAll(name, " ", "-")+".yaml"] = "summary: " + name + "\n" + text
			}
			p := newPlace(t, files)
			r := p.run(t.Context(), t, "task", "test", "DIR/"+source.file)
			if r.code != exitOK || !strings.HasSuffix(r.stdout, "3 passed\n") {
				t.Errorf("exit code %d\n%s%s", r.code, r.stdout, r.stderr)
			}
		})
	}
}
