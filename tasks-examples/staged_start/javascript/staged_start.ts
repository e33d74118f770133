// A task that moves all servers off a failed host at once, and then starts those
// that are to run a few at a time on each host they came to: disks and networks
// do not have to bear all of them booting together.

import { fail, inputs, log, nova, options, OpError, parallel, progress, type Server, type Task } from "wasakari";

// What became of a server, or why nothing did.
interface Moved {
  server: Server;
  start: boolean;
}

const failed: string[] = [];

const task: Task = {
  async run() {
    const host: string = inputs.host_name;
    const { batch, timeout } = options.staged_start;
    await nova.serviceWait({ host, state: "down", timeout_s: timeout });
    const { servers } = await nova.serverList({ host, fields: ["id", "name", "metadata", "OS-EXT-STS:vm_state"] });

    const all = await parallel(servers, (s) => noting(s, () => evacuate(s, timeout)), { limit: 1000 });
    const moved = all.filter((m) => m !== undefined);
    const hosts = new Map<string, Server[]>();
    for (const { server, start } of moved) {
      const to = server["OS-EXT-SRV-ATTR:host"];
      if (to) hosts.set(to, [...(hosts.get(to) ?? []), ...(start ? [server] : [])]);
    }
    log(`evacuated ${moved.length} of ${servers.length} servers to ${hosts.size} hosts`);
    progress(500, `evacuated ${moved.length} of ${servers.length} servers`);

    const started: string[] = [];
    await parallel(hosts.values(), async (waiting) => {
      while (waiting.length) {
        await parallel(waiting.splice(0, batch), (s) => noting(s, async () => {
          await start(s, timeout);
          started.push(s.name ?? s.id);
        }));
      }
    });
    log(`started ${started.length} servers`);
    if (failed.length) fail(`${failed.length} of ${servers.length} servers failed: ${failed.sort().join("; ")}`);
    return { started_servers: started.sort() };
  },
};

// noting keeps the error of a server, so that the others go on.
async function noting<T>(s: Server, work: () => Promise<T>): Promise<T | undefined> {
  try {
    return await work();
  } catch (err) {
    failed.push(`${s.name}: ${err instanceof OpError ? err : (err as Error).message}`);
    return undefined;
  }
}

// evacuate moves a server and says whether it is to be started: it ran before,
// or its owner's metadata wants it, and it does not run now.
async function evacuate(s: Server, timeout_s: number): Promise<Moved> {
  try {
    await nova.serverEvacuate({ id: s.id });
  } catch (err) {
    // A conflict: an earlier attempt of this task has begun it, or it is gone.
    if (!(err instanceof OpError) || err.code !== "conflict") throw err;
  }
  const { outcome, server, message } = await nova.serverWait({
    id: s.id, until: "moved", timeout_s, fields: ["id", "name", "OS-EXT-STS:vm_state", "OS-EXT-SRV-ATTR:host"],
  });
  if (outcome === "error") throw new Error(message);
  if (outcome === "deleted" || !server) return { server: s, start: false };
  const wanted = s["OS-EXT-STS:vm_state"] === "active" || s.metadata?.start_after_recovery === "true";
  return { server, start: wanted && server["OS-EXT-STS:vm_state"] === "stopped" };
}

async function start(s: Server, timeout_s: number): Promise<void> {
  await nova.serverStart({ id: s.id });
  const { outcome, message } = await nova.serverWait({ id: s.id, until: "vm_state", vm_states: ["active"], timeout_s, fields: ["id"] });
  if (outcome === "error") throw new Error(message);
}

export default task;
