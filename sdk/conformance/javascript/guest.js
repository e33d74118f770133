// Does what the cases of sdk/conformance tell it.

import { ha, http, inputs, kv, log, nova, options, OpError, progress, sleep, task, fail, nothing, ignore } from "wasakari";

export { guest as case };
export const plain = { run };
const guest = { run, revert: run };

let last; // error of the last call that was refused
const kept = [];

async function run() {
  const { results, end } = await all(inputs.steps);
  if (results.length) await kv.put("results", results);
  switch (end.outcome) {
    case "fail":
      return fail(end.reason);
    case "nothing":
      return nothing(end.reason);
    case "ignore":
      return ignore(end.reason);
    case "panic":
      throw new Error(end.reason);
    case "error":
      throw last;
  }
}

// all gives a result for each step, and the step that ends the task.
async function all(steps) {
  const results = [];
  for (const s of steps) {
    if (s.do === "end") return { results, end: s };
    results.push((await step(s)) ?? null);
  }
  return { results, end: {} };
}

async function step(s) {
  switch (s.do) {
    case "who": {
      const { key, flow, phase, run_id, notification_uuid = "", attempt, round, idempotency_key, reverting, failure } = task;
      return { key, flow, phase, run_id, notification_uuid, attempt, round, idempotency_key, reverting, failure, inputs: Object.keys(inputs).sort() };
    }
    case "input":
      return s.name in inputs ? { answer: inputs[s.name] } : notThere;
    case "option":
      return s.name in (options[s.group] ?? {}) ? { answer: options[s.group][s.name] } : notThere;
    case "secret": {
      const secret = options[s.group][s.name];
      return { answer: s.prefix && secret ? secret.withPrefix(s.prefix) : secret };
    }
    case "call":
      return result(call(s));
    case "open":
      call(s);
      return;
    case "parallel":
      return Promise.all(s.branches.map(async (b) => (await all(b)).results));
    case "sleep":
      return sleep(s.ms);
    case "log":
      return log[s.level](s.message);
    case "progress":
      return progress(s.permille, s.message);
    case "spin":
      for (;;);
    case "allocate":
      for (;;) kept.push(new Uint8Array(1 << 20));
  }
  throw new Error(`step ${s.do}`);
}

const notThere = { error: { code: "not_found" } };

async function result(promise) {
  try {
    return { answer: await promise };
  } catch (err) {
    last = err;
    if (err.gave_up) return { gave_up: true };
    if (!(err instanceof OpError)) return { error: { code: "other", message: String(err) } };
    const { code, message, status, request_id } = err;
    return { error: { code, message, status, request_id } };
  }
}

function call({ op, request, timeout_ms }) {
  const [group, verb] = op.split(".");
  if (group === "kv") return value(verb, request);
  const method = { nova, ha, http }[group][verb.replace(/_(.)/g, (_, c) => c.toUpperCase())];
  return method(request, timeout_ms ? { timeout: timeout_ms } : {});
}

async function value(verb, { scope, name, prefix, value, ...how }) {
  const library = scope === "library";
  switch (verb) {
    case "get":
      return library ? kv.library.get(name) : { value: await kv.get(name) };
    case "put":
      return library ? { version: await kv.library.put(name, value, how) } : kv.put(name, value);
    case "delete":
      return library ? kv.library.delete(name, how) : kv.delete(name);
    case "list":
      return { entries: await (library ? kv.library : kv).list(prefix) };
  }
}
