// Lets no second recovery of a host begin within some minutes of the first: a host that fails again and again needs a person. The task stands first in
// pre.
import { Code, JsonOut, Opt, Outcome, Task, failed, handle, ignore, nothing, succeed } from "../../../../sdk/assemblyscript/assembly";

export { revert, run } from "../../../../sdk/assemblyscript/assembly";

function name(t: Task): string { return "host/" + t.inputs.string("host_name"); }

function cooldown(t: Task): Outcome {
  const minutes = t.options.int("cooldown", "minutes"), mark = new JsonOut();
  mark.beginObject();
  mark.key("run");
  mark.string(t.input.runId);
  mark.endObject();
  // Written only when nobody else's is there: of two runs at the same moment one goes on.
  const put = t.kv.library.put(name(t), mark.json(), new Opt<i64>(0), minutes * 60);
  if (put.ok) return succeed();
  if (put.error.code != Code.Conflict) return failed(put.error);

  const last = t.kv.library.get(name(t));
  if (!last.ok) return failed(last.error);
  const run = last.value.value.get("run").plain();
  if (run == t.input.runId) return succeed(); // the task runs again after an interruption
  return ignore("host " + t.inputs.string("host_name") + " was acted on less than " + minutes.toString() + " minutes ago, by run " + run);
}

/** Takes the run's own mark away: a recovery that failed does not count. */
function forget(t: Task): Outcome {
  const last = t.kv.library.get(name(t));
  if (!last.ok) return last.error.code == Code.NotFound ? nothing("the mark is gone") : failed(last.error);
  if (!last.value.value.get("run").is(t.input.runId)) return nothing("the mark is another run's");
  const refused = t.kv.library.deleteVersion(name(t), last.value.version);
  return refused === null ? succeed() : failed(refused);
}

handle("cooldown", cooldown, forget);
