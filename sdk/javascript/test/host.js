// A host that is made up, for tests of the lib on any JavaScript.

import { create } from "../lib/core.js";
import { parse } from "../lib/json.js";
import { errno } from "../lib/ops_gen.js";

// run does a task as the engine does and tells what came of it. answers are by
// op: a value, or a function of the request; one that throws a document with a
// code refuses. Ops that are submitted end last to first.
export async function run(tasks, { answers = {}, input = {}, mode = 0, tickets = 64 } = {}) {
  const seen = { calls: [], logs: [], progress: [], reason: "", exit: undefined, slept: 0 };
  const open = [];
  let last = 0;
  let clock = 0;

  const answer = (op, text) => {
    const req = parse(text);
    try {
      switch (op) {
        case "task.input":
          return [0, { key: "t", flow: "host-auto", phase: "main", run_id: "r", attempt: 1, idempotency_key: "r/main/0", ...input }];
        case "task.script":
          return [0, { files: [{ name: "t.js", text: "" }] }];
        case "task.reason":
          seen.reason = req.reason;
          return [0, {}];
        case "task.sleep":
          clock += req.ms;
          seen.slept += req.ms;
          return [0, {}];
        case "task.cancel": {
          const t = open.find((o) => o.ticket === req.ticket);
          if (t) t.canceled = true;
          return [0, {}];
        }
      }
      seen.calls.push([op, text]);
      if (!(op in answers)) throw { code: "not_found", message: "nothing is there" };
      const a = answers[op];
      return [0, typeof a === "function" ? a(req) : a];
    } catch (doc) {
      if (doc?.code === undefined) throw doc;
      return [errno[doc.code], doc];
    }
  };

  const host = {
    call: answer,
    submit: (op, text) => {
      if (open.length >= tickets) return -errno.quota;
      open.push({ ticket: ++last, op, text, canceled: false });
      return last;
    },
    wait: (ms) => {
      if (!open.length) return -errno.not_found;
      const i = open.findLastIndex((o) => o.canceled || answers[o.op] !== never);
      if (i < 0) {
        clock += ms;
        return -errno.timeout;
      }
      const [{ ticket, op, text, canceled }] = open.splice(i, 1);
      return canceled ? [ticket, errno.canceled, { code: "canceled", message: "given up" }] : [ticket, ...answer(op, text)];
    },
    log: (level, line) => seen.logs.push(`${["debug", "info", "warn", "error"][level]} ${line}`),
    progress: (permille, message) => seen.progress.push([permille, message]),
    now: () => clock,
    random: Math.random,
    entropy: (n) => new Uint8Array(n).fill(7).buffer,
  };

  const sdk = create(host, async () => (typeof tasks === "function" ? tasks(sdk.api, sdk.globals) : tasks));
  const done = sdk.engine.begin(mode).then((exit) => (seen.exit = exit));
  for (let quiet = 0; seen.exit === undefined; ) {
    // Lets the promise jobs run.
    await new Promise(setImmediate);
    if (seen.exit !== undefined) break;
    if (sdk.engine.turn()) quiet = 0;
    else if (++quiet > 3) return { ...seen, stuck: true };
  }
  await done;
  return { ...seen, open: open.length };
}

// never is the answer of an op that does not end until it is cancelled.
export const never = Symbol("never");
