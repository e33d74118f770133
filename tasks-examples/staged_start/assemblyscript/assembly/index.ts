// Moves all servers off a failed host at once, and then starts those that are to run a few at a time on each host they came to: disks and networks do
// not have to bear all of them booting together.
import {
  Code, Job, Json, NovaServerEvacuateAnswer, NovaServerEvacuateRequest, NovaServerListRequest, NovaServerStartAnswer, NovaServerStartRequest, NovaServerWaitAnswer,
  NovaServerWaitRequest, NovaServiceWaitRequest, OpError, Outcome, Server, Task, fail, failed, handle, parallel, succeed,
} from "../../../../sdk/assemblyscript/assembly";

export { revert, run } from "../../../../sdk/assemblyscript/assembly";

const group = "staged_start";

/** Moves a server and says whether it is to be started: it ran before, or its owner's metadata wants it, and it does not run now. */
class Evacuation extends Job {
  is: Server = new Server(); // where and how it is afterwards
  moved: bool = false;
  start: bool = false;
  started: bool = false;
  failure: string = "";
  constructor(private t: Task, public was: Server, private limit: i64) { super(); }

  step(): OpError | null {
    if (this.stage == 0) {
      this.await(this.t.nova.serverEvacuateBegin(new NovaServerEvacuateRequest(this.was.id)));
    } else if (this.stage == 1) {
      const evacuated = this.result<NovaServerEvacuateAnswer>();
      // A conflict: an earlier attempt of this task has begun it, or it is gone.
      if (!evacuated.ok && evacuated.error.code != Code.Conflict) {
        this.failure = evacuated.error.toString();
        return null;
      }
      const wait = new NovaServerWaitRequest(this.was.id, "moved");
      wait.timeoutSeconds = this.limit;
      wait.fields = ["id", "name", "OS-EXT-STS:vm_state", "OS-EXT-SRV-ATTR:host"];
      this.await(this.t.nova.serverWaitBegin(wait));
    } else {
      const waited = this.result<NovaServerWaitAnswer>();
      if (!waited.ok) {
        this.failure = waited.error.toString();
      } else if (waited.value.outcome == "error") {
        this.failure = waited.value.message;
      } else {
        this.moved = true;
        this.is = waited.value.server;
        const wanted = this.was.vmState == "active" || this.was.metadata.has("start_after_recovery") && this.was.metadata.get("start_after_recovery") == "true";
        this.start = waited.value.outcome != "deleted" && wanted && this.is.vmState == "stopped";
      }
    }
    return null; // the others go on
  }
}

/** One of the servers that start at the same time on a host; when it runs, the next one's turn has come. */
class Lane extends Job {
  private now: Evacuation | null = null;
  private waits: bool = false;
  constructor(private t: Task, private queue: Evacuation[], private limit: i64) { super(); }

  step(): OpError | null {
    const now = this.now;
    if (now !== null && !this.waits) {
      const start = this.result<NovaServerStartAnswer>();
      if (start.ok) {
        const wait = new NovaServerWaitRequest(now.is.id, "vm_state");
        wait.vmStates = ["active"];
        wait.timeoutSeconds = this.limit;
        wait.fields = ["id"];
        this.waits = true;
        this.await(this.t.nova.serverWaitBegin(wait));
        return null;
      }
      now.failure = start.error.toString();
    } else if (now !== null) {
      const waited = this.result<NovaServerWaitAnswer>();
      if (!waited.ok) now.failure = waited.error.toString();
      else if (waited.value.outcome == "error") now.failure = waited.value.message;
      else now.started = true;
    }
    this.waits = false;
    if (this.queue.length) {
      const next = this.queue.shift();
      this.now = next;
      this.await(this.t.nova.serverStartBegin(new NovaServerStartRequest(next.is.id)));
    }
    return null;
  }
}

handle("staged_start", (t: Task): Outcome => {
  const host = t.inputs.string("host_name"), limit = t.options.int(group, "timeout");
  const down = new NovaServiceWaitRequest(host);
  down.state = "down";
  down.timeoutSeconds = limit;
  const waited = t.nova.serviceWait(down);
  if (!waited.ok) return failed(waited.error);

  const request = new NovaServerListRequest();
  request.host = host;
  request.fields = ["id", "name", "metadata", "OS-EXT-STS:vm_state"];
  const list = t.nova.serverList(request);
  if (!list.ok) return failed(list.error);
  const all: Evacuation[] = [];
  for (let i = 0; i < list.value.servers.length; i++) all.push(new Evacuation(t, list.value.servers[i], limit));
  let lost = parallel<Evacuation>(all);
  if (lost !== null) return failed(lost);

  const byHost = new Map<string, Evacuation[]>();
  let moved = 0;
  for (let i = 0; i < all.length; i++) {
    const e = all[i];
    if (!e.moved) continue;
    moved++;
    if (!e.is.host.length) continue;
    if (!byHost.has(e.is.host)) byHost.set(e.is.host, []);
    if (e.start) byHost.get(e.is.host).push(e);
  }
  const ofAll = moved.toString() + " of " + all.length.toString() + " servers";
  t.log.info("evacuated " + ofAll + " to " + byHost.size.toString() + " hosts");
  t.progress(500, "evacuated " + ofAll);

  const lanes: Lane[] = [], queues = byHost.values(), batch = <i32>t.options.int(group, "batch");
  for (let i = 0; i < queues.length; i++) {
    for (let k = 0, n = queues[i].length; k < min(batch, n); k++) lanes.push(new Lane(t, queues[i], limit));
  }
  lost = parallel<Lane>(lanes);
  if (lost !== null) return failed(lost);

  const started: string[] = [], failures: string[] = [];
  for (let i = 0; i < all.length; i++) {
    if (all[i].started) started.push(all[i].was.name);
    if (all[i].failure.length) failures.push(all[i].was.name + ": " + all[i].failure);
  }
  t.log.info("started " + started.length.toString() + " servers");
  if (failures.length) return fail(failures.length.toString() + " of " + all.length.toString() + " servers failed: " + failures.sort().join("; "));
  const refused = t.kv.put("started_servers", Json.ofStrings(started.sort()));
  return refused === null ? succeed() : failed(refused);
});
