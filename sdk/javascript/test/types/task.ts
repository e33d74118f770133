// Read by the checker of types only: what an author writes.

import { fail, kv, nova, OpError, parallel, type Secret, type Server, type Task } from "wasakari";

const stop: Task = {
  requires: ["host_name"],
  provides: ["stopped"],
  options: [{ group: "acme", name: "token", type: "string", secret: true }],
  async run({ inputs, options, log, http, sleep, progress, task }) {
    const { servers } = await nova.serverList({ host: inputs.host_name, fields: ["id", "OS-EXT-STS:vm_state"] });
    const ids: string[] = await parallel(servers, async (s: Server) => (await nova.serverStop({ id: s.id }, { timeout: 5000 })) && s.id, { limit: 8 });
    const token: Secret = options.acme.token;
    const answer = await http.post("https://x.example/", { headers: { Authorization: token.withPrefix("Bearer ") }, body_json: { ids } });
    if (answer.status >= 300) fail(`HTTP ${answer.status}`);
    const { value, version } = await kv.library.get<number>("runs", 0);
    await kv.library.put("runs", value + 1, { if_version: version });
    try {
      await nova.serverWait({ id: ids[0], until: "vm_state", vm_states: ["active"] });
    } catch (err) {
      if (!(err instanceof OpError) || err.code !== "timeout") throw err;
      log.warn(err.request_id, task.idempotency_key);
    }
    await sleep(10);
    progress(1000, "done");
    console.log(setTimeout(() => {}, 1));
    // @ts-expect-error an op that is not there
    nova.serverExplode({});
    // @ts-expect-error a request without what it needs
    nova.serverStop({});
    // @ts-expect-error a word that is none of those allowed
    nova.serverReboot({ id: "a", type: "SOFTLY" });
    return { stopped: ids };
  },
  async revert({ nova, kv }) {
    for (const id of await kv.get<string[]>("stopped", [])) await nova.serverStart({ id });
  },
};

export default stop;
