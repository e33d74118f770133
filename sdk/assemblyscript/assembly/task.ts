import * as imports from "./imports";
import { HA, HTTP, Nova } from "./ops_gen";
import {
  Code, KVDeleteRequest, KVGetAnswer, KVGetRequest, KVListAnswer, KVListRequest, KVPutAnswer, KVPutRequest, Opt, Secret, TaskInput,
} from "./types_gen";
import { Call, OpError, Pending, Result, begin, call, decoded, drain } from "./host";
import { Json, JsonOut } from "./json";

/** What run and revert return; see succeed, fail, nothing, ignore. */
export class Outcome {
  constructor(public exit: i32, public reason: string) {}
}

/** The task is done. */
export function succeed(): Outcome { return new Outcome(0, ""); }
/** The task failed, for this reason. */
export function fail(reason: string): Outcome { return new Outcome(1, reason); }
/** There is nothing to do: the whole flow ends, well. In a revert: there was nothing to undo. */
export function nothing(reason: string = ""): Outcome { return new Outcome(2, reason); }
/** The flow ends, and the notification is left ignored. */
export function ignore(reason: string = ""): Outcome { return new Outcome(3, reason); }
/** The task failed because an op was refused. */
export function failed(error: OpError): Outcome { return fail(error.toString()); }

class Handler {
  constructor(public run: (t: Task) => Outcome, public revert: ((t: Task) => Outcome) | null) {}
}

const handlers: Map<string, Handler> = new Map<string, Handler>();

/** Registers the task with this entry-point key. Without revert there is nothing to undo. */
export function handle(key: string, run: (t: Task) => Outcome, revert: ((t: Task) => Outcome) | null = null): void {
  if (handlers.has(key)) throw new Error("handle(" + key + "): want each key once");
  handlers.set(key, new Handler(run, revert));
}

/** One run of a task: what it was given and what it may ask for. */
export class Task {
  readonly kv: KV = new KV();
  readonly nova: Nova = new Nova();
  readonly ha: HA = new HA();
  readonly http: HTTP = new HTTP();
  readonly log: Logger = new Logger();
  readonly inputs: Inputs;
  readonly options: Options;
  /** Everything else that it was given: key, flow, phase, attempt, idempotencyKey, failure ... */
  constructor(public input: TaskInput) {
    this.inputs = new Inputs(input.inputs);
    this.options = new Options(input.options);
  }

  /** Tells how far the task is, from 0 to 1000, and what it is doing. */
  progress(permille: i32, message: string): void {
    const m = String.UTF8.encode(message);
    imports.progress(max(min(permille, 1000), 0), changetype<usize>(m), m.byteLength);
  }

  /** Waits on the host. */
  sleep(ms: i64): OpError | null { return ms <= 0 ? null : call("task.sleep", sleepRequest(ms)).error; }

  /** A timer among the other calls. */
  sleepBegin(ms: i64): Call {
    const c = new Call("task.sleep");
    begin(c, sleepRequest(ms));
    return c;
  }
}

function sleepRequest(ms: i64): Json {
  const o = new JsonOut();
  o.beginObject();
  o.key("ms");
  o.i64(max<i64>(ms, 0));
  o.endObject();
  return o.json();
}

/** Values that the manifest requires or lists as optional. */
export class Inputs {
  constructor(private all: Json) {}
  /** Absent when it is not there. */
  get(name: string): Json { return this.all.get(name); }
  /**
   * A string as it is, other values as JSON. One that is not there is what `otherwise` says; without that it ends the task: an empty name of a host would
   * mean all hosts.
   */
  string(name: string, otherwise: string | null = null): string {
    const v = this.get(name);
    if (!isAbsent(v)) return v.plain();
    if (otherwise === null) throw new Error("input " + name + " is not there: a name that the manifest requires is always there; string(name, otherwise) is for an optional one");
    return otherwise;
  }
  has(name: string): bool { return !this.get(name).none; }
  /** Their names, sorted. */
  names(): string[] { return this.all.keys().sort(); }
}

/** The options that the manifest lists. Asking for another one, or for another type, ends the task: the module contradicts itself. */
export class Options {
  constructor(private all: Json) {}
  /** Null when it is not set, absent when the manifest does not list it. */
  get(group: string, name: string): Json { return this.all.get(group).get(name); }
  /** Whether it is set or has a default. */
  has(group: string, name: string): bool { return !this.get(group, name).none; }
  /** As text, "" when it is not set. */
  string(group: string, name: string): string { return this.get(group, name).plain(); }
  /** Of type int or seconds, 0 when it is not set. */
  int(group: string, name: string): i64 {
    const v = this.listed(group, name);
    if (!v.none && !v.isI64) wrongType(group, name);
    return v.asI64();
  }
  /** Of type float, int or seconds, 0 when it is not set. */
  float(group: string, name: string): f64 {
    const v = this.listed(group, name);
    if (!v.none && !v.isF64) wrongType(group, name);
    return v.asF64();
  }
  /** Of type bool, false when it is not set. */
  bool(group: string, name: string): bool {
    const v = this.listed(group, name);
    if (!v.none && !isBool(v)) wrongType(group, name);
    return v.asBool();
  }
  /** Of type list, empty when it is not set. */
  list(group: string, name: string): string[] {
    const v = this.listed(group, name);
    if (!v.none && !isArray(v)) wrongType(group, name);
    return v.asStrings();
  }
  /** The handle of a secret, whose value the task never sees: it names it where the value belongs. Null when it is not set. */
  secret(group: string, name: string): Secret | null {
    const v = this.listed(group, name);
    if (v.none) return null;
    const s = new Secret();
    if (!s.read(v)) wrongType(group, name);
    return s;
  }

  private listed(group: string, name: string): Json {
    const v = this.get(group, name);
    if (isAbsent(v)) throw new Error("option [" + group + "] " + name + ": not found: the manifest does not list it");
    return v;
  }
}

function isAbsent(v: Json): bool { return v.kind == 0; }
function isBool(v: Json): bool { return v.kind == 2; }
function isArray(v: Json): bool { return v.kind == 5; }

function wrongType(group: string, name: string): void { throw new Error("option [" + group + "] " + name + ": it has another type"); }

export class Logger {
  debug(message: string): void { write(0, message); }
  info(message: string): void { write(1, message); }
  warn(message: string): void { write(2, message); }
  error(message: string): void { write(3, message); }
}

function write(level: i32, message: string): void {
  const m = String.UTF8.encode(message);
  imports.log(level, changetype<usize>(m), m.byteLength);
}

function kvGet(scope: string, name: string): Result<KVGetAnswer> {
  const r = new KVGetRequest(name);
  r.scope = scope;
  const raw = call("kv.get", r.json());
  const e = raw.error;
  return e !== null ? new Result<KVGetAnswer>(null, e) : decoded<KVGetAnswer>("kv.get", raw.doc);
}

function kvPut(r: KVPutRequest): Result<KVPutAnswer> {
  const raw = call("kv.put", r.json());
  const e = raw.error;
  return e !== null ? new Result<KVPutAnswer>(null, e) : decoded<KVPutAnswer>("kv.put", raw.doc);
}

function kvDelete(scope: string, name: string, version: Opt<i64> | null): OpError | null {
  const r = new KVDeleteRequest(name);
  r.scope = scope;
  r.ifVersion = version;
  return call("kv.delete", r.json()).error;
}

function kvList(scope: string, prefix: string): Result<KVListAnswer> {
  const r = new KVListRequest();
  r.scope = scope;
  r.prefix = prefix;
  const raw = call("kv.list", r.json());
  const e = raw.error;
  return e !== null ? new Result<KVListAnswer>(null, e) : decoded<KVListAnswer>("kv.list", raw.doc);
}

/** The values of the run. Names that begin with scratch/ are written at once and kept for later attempts; others must stand in the manifest, and
 * those that it provides become visible, all at once, when the task succeeds. */
export class KV {
  /** The values of the task's library. */
  readonly library: Library = new Library();
  /** Code.NotFound: it is not there. */
  get(name: string): Result<KVGetAnswer> { return kvGet("", name); }
  put(name: string, value: Json): OpError | null {
    const r = kvPut(new KVPutRequest(name, value));
    return r.ok ? null : r.error;
  }
  delete(name: string): OpError | null { return kvDelete("", name, null); }
  /** The keys that the task may read and that begin with prefix, sorted by name. */
  list(prefix: string = ""): Result<KVListAnswer> { return kvList("", prefix); }
}

/** The values of the task's library. They outlive the run, and other runs may write them at the same time: compare and set with versions. */
export class Library {
  get(name: string): Result<KVGetAnswer> { return kvGet("library", name); }
  /** Writes a value and gives its version. ifVersion: only when the key has this version, 0 meaning that it is not there, else Code.Conflict.
   * The value expires after forgetAfter seconds; 0: never. */
  put(name: string, value: Json, ifVersion: Opt<i64> | null = null, forgetAfter: i64 = 0): Result<KVPutAnswer> {
    const r = new KVPutRequest(name, value);
    r.scope = "library";
    r.ifVersion = ifVersion;
    r.ttlSeconds = forgetAfter;
    return kvPut(r);
  }
  /** Removes a value, whatever its version. */
  delete(name: string): OpError | null { return kvDelete("library", name, null); }
  /** Removes a value when it has this version; else Code.Conflict. */
  deleteVersion(name: string, version: i64): OpError | null { return kvDelete("library", name, new Opt<i64>(version)); }
  list(prefix: string = ""): Result<KVListAnswer> { return kvList("library", prefix); }
}

function sendReason(reason: string): void {
  const o = new JsonOut();
  o.beginObject();
  o.key("reason");
  o.string(reason);
  o.endObject();
  call("task.reason", o.json());
}

function dispatch(reverting: bool): Outcome {
  const raw = call("task.input", Json.none());
  const e = raw.error;
  if (e !== null) return failed(e);
  const input = new TaskInput();
  if (!input.read(raw.doc)) return fail("task.input: the answer cannot be read");
  input.round = max<i64>(input.round, 1);
  if (!handlers.has(input.key)) {
    return fail("task " + input.key + ": the module has no handler for it, only for: " + handlers.keys().sort().join(", "));
  }
  const h = handlers.get(input.key);
  if (!reverting) return h.run(new Task(input));
  const undo = h.revert;
  return undo === null ? nothing() : undo(new Task(input));
}

function main(reverting: bool): i32 {
  const o = dispatch(reverting);
  if (o.reason.length) sendReason(o.reason);
  drain();
  return o.exit;
}

/** The exports of the module: export { run, revert } from the SDK. */
export function run(): i32 { return main(false); }
export function revert(): i32 { return main(true); }
