// What a task sees, on a host given as an object with the functions of
// engine/engine.c: call, submit, wait, log, progress, now, random and
// entropy. Nothing in it depends on the engine, so that it can be tested with
// any JavaScript on a host that is made up.

import { parse, stringify } from "./json.js";
import { errno, groups } from "./ops_gen.js";

// Exits of run and revert.
const exits = { succeeded: 0, failed: 1, nothing: 2, ignored: 3 };
const modes = { run: 0, revert: 1, describe: 2 };
const nameOf = (number) => Object.keys(errno).find((name) => errno[name] === number) ?? `errno_${number}`;

const levels = { debug: 0, info: 1, warn: 2, error: 3 };

// OpError is the host's refusal of an op, or Nova's.
export class OpError extends Error {
  constructor(op, code, message = "", status = 0, request_id = "") {
    super(message);
    Object.defineProperty(this, "name", { value: "OpError" });
    this.op = op;
    this.fill(code, message, status, request_id);
  }

  // fill completes an error that was made where the op was asked for, so that
  // its stack names that place.
  fill(code, message, status = 0, request_id = "") {
    this.code = code;
    this.status = status;
    this.request_id = request_id;
    Object.defineProperty(this, "message", { value: message, writable: true, configurable: true });
    return this;
  }

  // toString gives op, code, reason, and what Nova said.
  toString() {
    let text = `${this.op}: ${this.code.replaceAll("_", " ")}`;
    // The host's reasons name the op as well.
    const reason = this.message.startsWith(`${this.op}: `) ? this.message.slice(this.op.length + 2) : this.message;
    if (reason) text += `: ${reason}`;
    const more = [this.status ? `HTTP ${this.status}` : "", this.request_id].filter(Boolean);
    return more.length ? `${text} (${more.join(", ")})` : text;
  }
}

// Outcome ends a task in another way than by an error.
export class Outcome extends Error {
  constructor(exit, reason) {
    super(reason);
    Object.defineProperty(this, "name", { value: "Outcome" });
    this.exit = exit;
  }
}

// Secret is the handle of an option that is a secret. The host puts the value
// in its place after the request left the task.
export class Secret {
  constructor(name, prefix = "") {
    this.name = name;
    this.prefix = prefix;
  }
  // withPrefix gives the secret with text before its value, such as "Bearer ".
  withPrefix(prefix) {
    return new Secret(this.name, prefix);
  }
  toJSON() {
    return this.prefix ? { $secret: this.name, prefix: this.prefix } : { $secret: this.name };
  }
  toString() {
    return `[secret ${this.name}]`;
  }
}

// inspect gives a value as text for a log line.
export function inspect(value, depth = 0, seen = []) {
  const most = 100;
  switch (typeof value) {
    case "string":
      return depth ? JSON.stringify(value) : value;
    case "bigint":
      return depth ? `${value}n` : String(value);
    case "function":
      return `[function ${value.name || "anonymous"}]`;
    case "symbol":
      return String(value);
    case "object":
      break;
    default:
      return String(value);
  }
  if (value === null) return "null";
  if (value instanceof Error) return describeError(value) + (depth ? "" : `\n${value.stack ?? ""}`.trimEnd());
  if (value instanceof Date) return isNaN(value) ? "Invalid Date" : value.toISOString();
  if (value instanceof RegExp || value instanceof Secret) return String(value);
  if (seen.includes(value)) return "[circular]";
  if (depth > 4) return Array.isArray(value) ? "[array]" : "[object]";
  const inner = [...seen, value];
  const list = (entries, open, close) => {
    const parts = entries.slice(0, most);
    if (entries.length > most) parts.push(`… ${entries.length - most} more`);
    return parts.length ? open + parts.join(", ") + close : open.trim() + close.trim();
  };
  const show = (v) => inspect(v, depth + 1, inner);
  if (Array.isArray(value)) {
    const parts = value.slice(0, most).map(show);
    if (value.length > most) parts.push(`… ${value.length - most} more`);
    return `[${parts.join(", ")}]`;
  }
  if (value instanceof Map) return `Map ${list([...value].map(([k, v]) => `${show(k)} => ${show(v)}`), "{ ", " }")}`;
  if (value instanceof Set) return `Set ${list([...value].map(show), "{ ", " }")}`;
  if (value instanceof Promise) return "[promise]";
  const entries = Object.keys(value).map((k) => `${/^[A-Za-z_$][\w$]*$/.test(k) ? k : JSON.stringify(k)}: ${show(value[k])}`);
  return list(entries, "{ ", " }");
}

// describeError gives an error in one line: its name, message and causes.
function describeError(err) {
  let text = "";
  for (let e = err, n = 0; n < 8 && e !== undefined; n++, e = e instanceof Error ? e.cause : undefined) {
    if (n) text += ": caused by ";
    if (e instanceof OpError) text += e.toString();
    else if (e instanceof Outcome) text += e.message;
    else if (e instanceof Error) text += e.message ? `${e.name}: ${e.message}` : `${e.name}`;
    else text += inspect(e, 1);
  }
  return text;
}

const camel = (name) => name.replace(/_([a-z])/g, (_, c) => c.toUpperCase());

// nearest gives the name that was probably meant: the one with the fewest letters
// to change, at most a third of them, or one that has the same words.
function nearest(name, names) {
  const words = (n) => n.split(/(?=[A-Z])|_/).map((w) => w.toLowerCase()).sort().join();
  const distance = (a, b) => {
    let row = [...Array(b.length + 1).keys()];
    for (let i = 0; i < a.length; i++) {
      const next = [i + 1];
      for (let j = 0; j < b.length; j++) next.push(Math.min(next[j] + 1, row[j + 1] + 1, row[j] + (a[i] === b[j] ? 0 : 1)));
      row = next;
    }
    return row[b.length];
  };
  const few = Math.max(1, Math.floor(name.length / 3));
  let best, least = few + 1;
  for (const n of name.length > 40 ? [] : names) {
    const d = words(n) === words(name) ? 0 : distance(name, n);
    if (d < least) [best, least] = [n, d];
  }
  return best;
}

// strict refuses to read what an object does not have: a misspelt name is told
// where it stands, and is not undefined. What the language asks of any object is
// answered.
const asked = new Set(["then", "toJSON", "constructor", "valueOf", "toString", "inspect", "nodeType"]);
const strict = (what, object) =>
  new Proxy(object, {
    get(of, name, receiver) {
      if (typeof name !== "string" || name in of || asked.has(name)) return Reflect.get(of, name, receiver);
      const names = Object.keys(of);
      const meant = nearest(name, names);
      throw new TypeError(`${what} has no ${name.slice(0, 80)}${meant ? `; did you mean ${meant}?` : names.length <= 12 ? `, but ${names.join(", ") || "nothing"}` : ""}`);
    },
  });

// create makes the lib on a host. load imports a module of the script by its
// name.
export function create(host, load) {
  // Tickets that are open, by number, and those who wait until one is free.
  const open = new Map();
  let queued = [];
  let drained = null;
  // Timers, soonest first.
  let timers = [];
  let lastTimer = 0;
  // Promises that were rejected and that nobody handles.
  const unhandled = new Map();

  // breakDown ends the task with an error that reaches nobody. It gives false
  // when one has ended it before.
  let breakDown;
  const broken = new Promise((_, reject) => {
    let done = false;
    breakDown = (err) => {
      reject(err);
      return !done && (done = true);
    };
  });

  const inputs = Object.create(null);
  const options = Object.create(null);
  const task = {};
  let files = new Map();
  let entry = "";

  // refusal fills an error from an error document.
  const refusal = (err, number, doc) =>
    err.fill(doc?.code ?? nameOf(number), doc?.message ?? "", doc?.status ?? 0, doc?.request_id ?? "");

  const refusedSubmit = {
    [errno.invalid]: "the host does not know the op or does not take the request",
    [errno.quota]: "the task may have no more calls open",
    [errno.too_large]: "the request is larger than the task's limit",
  };

  // request gives the text of an op's request.
  const request = (op, req) => {
    if (req === undefined) return "{}";
    if (typeof req !== "object" || req === null || Array.isArray(req)) {
      throw new TypeError(`${op}: the request is ${inspect(req, 1)}, not an object`);
    }
    // JSON would leave it out, and a host that is not named is all hosts.
    const lost = Object.keys(req).find((k) => req[k] === undefined);
    if (lost !== undefined) throw new TypeError(`${op}: ${lost} is undefined: give it a value, or leave it out`);
    return stringify(req);
  };

  // callNow does an op that the host answers at once.
  const callNow = (op, req) => {
    const [number, answer] = host.call(op, request(op, req));
    if (number) throw refusal(new OpError(op, "invalid"), number, answer);
    return answer;
  };

  // submit starts an op. It gives a promise of the answer.
  const submit = (op, req, { timeout } = {}) => {
    const text = request(op, req);
    const err = new OpError(op, "invalid"); // here, for its stack
    return new Promise((resolve, reject) => {
      const waiting = { op, resolve, reject, err, gaveUp: false, ticket: 0, timer: 0 };
      const start = () => {
        if (waiting.gaveUp) return true;
        const ticket = host.submit(op, text);
        if (ticket === -errno.quota && open.size > 0) return false;
        if (ticket <= 0) {
          clearTimer(waiting.timer);
          reject(err.fill(nameOf(-ticket), refusedSubmit[-ticket] ?? ""));
          return true;
        }
        waiting.ticket = ticket;
        open.set(ticket, waiting);
        return true;
      };
      if (timeout !== undefined) {
        waiting.timer = setTimer(() => giveUp(waiting, `no answer within ${timeout} ms`), timeout);
      }
      if (queued.length || !start()) queued.push(start);
    });
  };

  // giveUp cancels an op. The host delivers its ticket all the same.
  const giveUp = (waiting, reason) => {
    if (waiting.gaveUp) return;
    waiting.gaveUp = true;
    waiting.err.gave_up = true;
    waiting.reject(waiting.err.fill("timeout", reason));
    if (!waiting.ticket) return;
    // A ticket that ended in this moment cannot be cancelled any more.
    host.call("task.cancel", stringify({ ticket: waiting.ticket }));
  };

  const deliver = (ticket, number, answer) => {
    const waiting = open.get(ticket);
    if (!waiting) return;
    open.delete(ticket);
    clearTimer(waiting.timer);
    while (queued.length && queued[0]()) queued.shift();
    if (!waiting.gaveUp) {
      if (number) waiting.reject(refusal(waiting.err, number, answer));
      else waiting.resolve(answer);
    }
    if (drained && !awaited()) drained();
  };

  // awaited counts the open tickets that were given up.
  const awaited = () => {
    let n = 0;
    for (const w of open.values()) if (w.gaveUp) n++;
    return n;
  };

  // Timers.
  const setTimer = (f, ms, every) => {
    const id = ++lastTimer;
    insert({ id, f, at: host.now() + Math.max(0, Number(ms) || 0), every });
    return id;
  };
  const insert = (t) => {
    let i = timers.length;
    while (i > 0 && timers[i - 1].at > t.at) i--;
    timers.splice(i, 0, t);
  };
  const clearTimer = (id) => {
    timers = timers.filter((t) => t.id !== id);
  };

  // turn waits for the next thing to happen and lets it happen. It gives false
  // when nothing can.
  const turn = () => {
    const longest = 2 ** 31 - 1;
    let ms = -1;
    if (timers.length) {
      const t = timers[0];
      const left = t.at - host.now();
      if (left <= 0) {
        timers.shift();
        if (t.every !== undefined) insert({ ...t, at: host.now() + Math.max(1, t.every) });
        try {
          t.f();
        } catch (err) {
          breakDown(err);
        }
        return true;
      }
      ms = Math.min(Math.ceil(left), longest);
    }
    if (!open.size) {
      if (ms < 0) {
        const [lost] = unhandled.values();
        return lost !== undefined && breakDown(lost.reason);
      }
      callNow("task.sleep", { ms });
      return true;
    }
    const done = host.wait(ms);
    if (typeof done !== "number") {
      deliver(...done);
    } else if (done !== -errno.timeout) {
      // The task is being stopped, or the host lost the tickets.
      for (const ticket of [...open.keys()]) {
        deliver(ticket, -done, { code: nameOf(-done), message: "the host stopped waiting" });
      }
    }
    return true;
  };

  // Ops by group, from the schema.
  const group = (name, more = {}) =>
    strict(name, {
      ...Object.fromEntries(
        Object.entries(groups[name]).map(([verb, kind]) => {
          const op = `${name}.${verb}`;
          return [camel(verb), kind === "local" ? async (req) => callNow(op, req) : async (req, how) => submit(op, req, how)];
        }),
      ),
      ...more,
    });
  const nova = group("nova");
  const ha = group("ha");
  const http = group("http", Object.fromEntries(["get", "head", "post", "put", "patch", "delete"].map((method) =>
    [method, (url, more, how) => http.request({ method: method.toUpperCase(), url, ...more }, how)])));

  // call does any op by its name.
  const call = async (op, req, how) => {
    const [name, verb] = op.split(".", 2);
    return groups[name]?.[verb] === "local" || name === "task" && verb !== "sleep" ? callNow(op, req) : submit(op, req, how);
  };

  // Values.
  const orElse = (args, get) => {
    try {
      return get();
    } catch (err) {
      if (args.length && err instanceof OpError && err.code === "not_found") return args[0];
      throw err;
    }
  };
  const writable = (name, value) => {
    if (["undefined", "function", "symbol"].includes(typeof value)) throw new TypeError(`kv.put: ${name}: a value of type ${typeof value} has no JSON`);
    return value;
  };
  const values = (prefix) => ({
    get: async (name, ...otherwise) => orElse(otherwise, () => callNow("kv.get", { name: prefix + name }).value),
    put: async (name, value) => {
      callNow("kv.put", { name: prefix + name, value: writable(name, value) });
    },
    delete: async (name) => {
      callNow("kv.delete", { name: prefix + name });
    },
    list: async (start = "") => {
      const { entries } = callNow("kv.list", prefix + start ? { prefix: prefix + start } : {});
      return (entries ?? []).map((e) => ({ ...e, name: e.name.slice(prefix.length) }));
    },
  });
  const run = values("");
  const kv = {
    ...run,
    run,
    scratch: values("scratch/"),
    library: {
      get: async (name, ...otherwise) => {
        const absent = otherwise.map((value) => ({ value, version: 0 }));
        const { value, version } = orElse(absent, () => callNow("kv.get", { scope: "library", name }));
        return { value, version };
      },
      put: async (name, value, how = {}) => callNow("kv.put", { scope: "library", name, value: writable(name, value), ...how }).version,
      delete: async (name, how = {}) => {
        callNow("kv.delete", { scope: "library", name, ...how });
      },
      list: async (prefix = "") => callNow("kv.list", prefix ? { scope: "library", prefix } : { scope: "library" }).entries ?? [],
    },
  };

  // Telling.
  const line = (level) => (...args) => host.log(level, args.map((a) => inspect(a)).join(" "));
  const log = Object.assign(line(1), Object.fromEntries(Object.entries(levels).map(([name, level]) => [name, line(level)])));
  const progress = (permille, message = "") =>
    host.progress(Math.round(Math.min(1000, Math.max(0, Number(permille) || 0))), String(message));

  const sleep = async (ms) => {
    if (ms > 0) await submit("task.sleep", { ms: Math.ceil(ms) });
  };

  // parallel gives the results of f for each item, at most limit at a time.
  // After an error no more are begun; those under way are awaited, and the
  // first error is thrown.
  const parallel = async (items, f = (work) => work(), { limit = 32 } = {}) => {
    const list = [...items];
    const results = new Array(list.length);
    let next = 0;
    let failed = false;
    let first;
    const worker = async () => {
      while (!failed && next < list.length) {
        const i = next++;
        try {
          results[i] = await f(list[i], i);
        } catch (err) {
          if (!failed) first = err;
          failed = true;
        }
      }
    };
    await Promise.all(Array.from({ length: Math.max(1, Math.min(limit, list.length)) }, worker));
    if (failed) throw first;
    return results;
  };

  // Outcomes.
  const ending = (exit) => (reason = "") => {
    throw new Outcome(exit, String(reason));
  };
  const succeed = ending(exits.succeeded);
  const fail = ending(exits.failed);
  const nothing = ending(exits.nothing);
  const ignore = ending(exits.ignored);

  const json = { parse, stringify };
  const api = { inputs, options, kv, nova, ha, http, log, progress, sleep, parallel, succeed, fail, nothing, ignore, call, task, json };

  // The script.

  const resolve = (base, name) => {
    if (base.startsWith("wasakari") || name === "wasakari") return name;
    if (!/^\.\.?\//.test(name)) {
      throw new ReferenceError(`${base}: cannot import "${name}": a task imports "wasakari" and files of its own, as "./${name}.js"`);
    }
    const parts = base.split("/").slice(0, -1);
    for (const p of name.split("/")) {
      if (p === "..") {
        if (!parts.length) throw new ReferenceError(`${base}: cannot import "${name}": it is outside of the script`);
        parts.pop();
      } else if (p !== "." && p !== "") parts.push(p);
    }
    const path = parts.join("/");
    const found = [path, `${path}.js`, `${path}.mjs`, `${path}.ts`, path.replace(/\.m?js$/, ".ts"), `${path}.json`].find((p) => files.has(p));
    if (found === undefined) throw new ReferenceError(`${base}: cannot import "${name}": the script has no file ${path}`);
    return found;
  };
  const source = (name) => {
    const text = files.get(name);
    if (text === undefined) throw new ReferenceError(`the script has no file ${name}`);
    return name.endsWith(".json") ? `export default JSON.parse(${JSON.stringify(text)});` : text;
  };

  // lines maps the lines of a file whose types were stripped to those of its
  // author; see internal/scripts.
  const authorLine = (name, n) => {
    const map = files.get(`${name}.lines`);
    if (map === undefined) return n;
    try {
      return JSON.parse(map)[n - 1] || n;
    } catch {
      return n;
    }
  };

  // trace gives the frames of an error's stack that are the author's.
  const trace = (err) => {
    if (!(err instanceof Error) || typeof err.stack !== "string") return [];
    const frames = [];
    for (const frame of err.stack.split("\n")) {
      const [, before, name, n, column] = /^\s*(.*?)([^\s()]+?):(\d+)(?::(\d+))?\)?$/.exec(frame) ?? [];
      if (!files.has(name)) continue;
      const place = files.has(`${name}.lines`) ? `${name}:${authorLine(name, Number(n))}` : `${name}:${n}${column ? `:${column}` : ""}`;
      frames.push(before.endsWith("(") ? `${before}${place})` : before + place);
    }
    return frames;
  };

  // explain gives the reason of an error, with the place it came from, and its
  // stack for the log.
  const explain = (err) => {
    const frames = trace(err);
    const place = frames.map((f) => /([^\s()]+?:\d+)(:\d+)?\)?$/.exec(f)?.[1]).find((p) => p);
    const text = err instanceof Error ? describeError(err) : `thrown: ${inspect(err, 1)}`;
    const most = 20;
    const lines = frames.slice(0, most).map((f) => `    ${f}`);
    if (frames.length > most) lines.push(`    … ${frames.length - most} more`);
    // The refusal of an op says what was refused; where stands in the log.
    return { reason: place && !(err instanceof OpError) ? `${text} (${place})` : text, stack: lines.length ? [text, ...lines].join("\n") : "" };
  };

  const reason = (text) => callNow("task.reason", { reason: text });

  const isTask = (v) => (typeof v === "object" || typeof v === "function") && v !== null && typeof v.run === "function";
  const stem = (name) => name.split("/").at(-1).replace(/\.[^.]*$/, "");

  // tasksOf gives the tasks that a module exports by their keys.
  const tasksOf = (exported) => {
    const found = new Map();
    const add = (key, v) => {
      if (found.has(key)) throw new TypeError(`${entry}: two tasks have the key ${key}`);
      found.set(key, v);
    };
    for (const name of Reflect.ownKeys(exported)) {
      if (typeof name !== "string") continue;
      const v = exported[name];
      if (isTask(v)) add(String(v.key ?? (name === "default" ? stem(entry) : name)), v);
      else if (name === "default" && typeof v === "function") add(stem(entry), { run: v });
    }
    if (!found.size && typeof exported.run === "function") add(stem(entry), exported);
    if (!found.size) {
      throw new TypeError(`${entry}: it exports no task: want "export default { async run(ctx) { … } }", or several by name`);
    }
    return found;
  };

  // named finds a task by the class that wasakari.json, which is made when the
  // module is built, has for a key.
  const named = (tasks, key) => {
    const of = (parse(files.get("wasakari.json") ?? '{"tasks":[]}').tasks ?? []).find((t) => t.key === key)?.class;
    return of === undefined || of === "" ? undefined : [...tasks.values()].find((t) => t.class === of);
  };

  const readScript = () => {
    const list = callNow("task.script").files;
    files = new Map(list.map((f) => [f.name, f.text]));
    entry = list[0].name;
  };

  const readInput = () => {
    const doc = callNow("task.input");
    for (const [k, v] of Object.entries(doc.inputs ?? {})) inputs[k] = v;
    for (const [name, set] of Object.entries(doc.options ?? {})) {
      const of = Object.create(null);
      options[name] = strict(`options.${name}`, of);
      for (const [k, v] of Object.entries(set)) {
        of[k] = v !== null && typeof v === "object" && typeof v.$secret === "string" ? new Secret(v.$secret, v.prefix) : v;
      }
    }
    delete doc.inputs;
    delete doc.options;
    Object.assign(task, { round: 1, reverting: false, failure: "" }, doc);
  };

  // perform does the task and gives what it returned.
  const perform = async (mode) => {
    readInput();
    readScript();
    const tasks = tasksOf(await load(entry));
    // Its key in the manifest may be another: then one task answers to any, and
    // several are found by their classes.
    const t = tasks.get(task.key) ?? named(tasks, task.key) ?? (tasks.size === 1 ? tasks.values().next().value : undefined);
    if (!t) throw new TypeError(`${entry}: no task ${task.key}: it exports ${[...tasks.keys()].join(", ")}`);
    if (mode === modes.revert) {
      if (typeof t.revert !== "function") return nothing();
      await t.revert(api);
      return undefined;
    }
    const made = await t.run(api);
    if (made instanceof Outcome) throw made;
    if (typeof made === "object" && made !== null && [Object.prototype, null].includes(Object.getPrototypeOf(made))) {
      for (const [name, value] of Object.entries(made)) if (value !== undefined) await run.put(name, value);
    }
    return undefined;
  };

  // leftovers fails a task that succeeded and left something undone.
  const leftovers = () => {
    for (const { reason } of unhandled.values()) throw reason;
    const ops = [...open.values()].filter((w) => !w.gaveUp).map((w) => w.op);
    if (ops.length) {
      throw new Error(`tickets left open: the task ended and did not await ${[...new Set(ops)].join(", ")}`);
    }
  };

  const fromManifest = ["class", "summary", "requires", "optional", "provides", "uses", "http", "options", "on_interrupt", "limits"];

  const describe = async () => {
    readScript();
    const tasks = [];
    for (const [key, t] of tasksOf(await load(entry))) {
      const d = { key };
      for (const k of Object.keys(t)) {
        const known = typeof t[k] === "function" ? ["run", "revert"] : [...fromManifest, "key"]; // of its own it may have others
        const meant = known.includes(k) ? undefined : nearest(k, known.filter((n) => !(n in t)));
        if (meant) throw new TypeError(`${entry}: task ${key} has ${k}, which means nothing; did you mean ${meant}?`);
      }
      for (const k of fromManifest) if (t[k] !== undefined && (k !== "class" || typeof t !== "function")) d[k] = t[k];
      d.revert = typeof t.revert === "function";
      tasks.push(d);
    }
    reason(stringify({ tasks }));
  };

  // begin does what mode says and gives the exit.
  const begin = async (mode) => {
    let exit = exits.succeeded;
    try {
      if (mode === modes.describe) await Promise.race([describe(), broken]);
      else {
        await Promise.race([perform(mode), broken]);
        leftovers();
      }
    } catch (err) {
      if (err instanceof Outcome) {
        exit = err.exit;
        if (err.message) reason(err.message);
        if (exit === exits.succeeded) {
          try {
            leftovers();
          } catch (other) {
            err = other;
            exit = exits.failed;
          }
        }
      } else exit = exits.failed;
      if (!(err instanceof Outcome)) {
        const { reason: text, stack } = explain(err);
        if (stack) host.log(levels.error, stack);
        reason(text);
      }
    }
    timers = [];
    if (awaited()) await new Promise((f) => (drained = f));
    return exit;
  };

  const rejected = (promise, reason, handled) => {
    if (handled) unhandled.delete(promise);
    else unhandled.set(promise, { reason });
  };

  const globals = {
    console: { log, debug: log.debug, info: log.info, warn: log.warn, error: log.error, trace: log.debug },
    setTimeout: (f, ms, ...args) => setTimer(() => f(...args), ms),
    setInterval: (f, ms, ...args) => setTimer(() => f(...args), ms, Math.max(1, Number(ms) || 0)),
    clearTimeout: clearTimer,
    clearInterval: clearTimer,
    crypto: {
      getRandomValues: (array) => {
        const bytes = new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
        for (let i = 0; i < bytes.length; i += 256) bytes.set(new Uint8Array(host.entropy(Math.min(256, bytes.length - i))), i);
        return array;
      },
      randomUUID: () => {
        const b = new Uint8Array(host.entropy(16));
        b[6] = (b[6] & 0x0f) | 0x40;
        b[8] = (b[8] & 0x3f) | 0x80;
        const hex = [...b].map((x) => x.toString(16).padStart(2, "0")).join("");
        return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
      },
    },
  };

  return { api, globals, engine: { begin, turn, resolve, source, rejected, parse } };
}
