// The guest of the cases: does what the steps in its input say, with the SDK for AssemblyScript. ../../README.md tells the steps.

import {
  Call, Code, Json, JsonIter, JsonOut, Kind, KVListAnswer, OpError, Opt, Outcome, Task, fail, failed, handle, ignore, nothing, setTicketWait, succeed, ticks, waitAny,
} from "../../../assemblyscript/assembly";
import { beginOp, doOp, endOp, writeKVListAnswer } from "./ops_gen";
import { again } from "./values";

export { revert, run } from "../../../assemblyscript/assembly";

/** A list of steps, done in order. Several are done side by side, each as one of these. */
class Thread {
  results: JsonOut = new JsonOut();
  children: i32 = 0; // that are not done
  branches: Thread[] = [];
  call: Call | null = null; // what it waits for
  deadline: i64 = 0;
  timed: bool = false;
  queued: Json | null = null; // the step that found no ticket
  constructor(public it: JsonIter, public parent: Thread | null) { this.results.beginArray(); }
}

class Interpreter {
  ready: Thread[] = [];
  waiting: Thread[] = [];
  last: OpError | null = null;
  end: Json = Json.none();
  constructor(private t: Task) {}

  putError(o: JsonOut, e: OpError): void {
    this.last = e;
    o.beginObject();
    o.key("error");
    o.beginObject();
    o.key("code"); o.string(e.codeName);
    if (e.message.length) { o.key("message"); o.string(e.message); }
    if (e.status != 0) { o.key("status"); o.i64(e.status); }
    if (e.requestId.length) { o.key("request_id"); o.string(e.requestId); }
    o.endObject();
    o.endObject();
  }

  putAnswer(o: JsonOut, v: Json): void {
    o.beginObject();
    o.key("answer");
    o.put(v);
    o.endObject();
  }

  finish(o: JsonOut, e: OpError | null, answer: JsonOut): void {
    if (e !== null) this.putError(o, e);
    else this.putAnswer(o, answer.json());
  }

  /** Group kv has an interface of its own. */
  kv(op: string, r: Json, o: JsonOut): OpError | null {
    const library = r.get("scope").is("library"), name = r.get("name").asString(), only = r.get("if_version"), kv = this.t.kv;
    let value = Json.none(), version: i64 = 0;
    if (op == "kv.list") {
      const prefix = r.get("prefix").asString();
      const l = library ? kv.library.list(prefix) : kv.list(prefix);
      if (!l.ok) return l.error;
      writeKVListAnswer(o, l.value);
      return null;
    }
    if (op == "kv.get") {
      const g = library ? kv.library.get(name) : kv.get(name);
      if (!g.ok) return g.error;
      value = again(g.value.value);
      version = g.value.version;
    } else if (op == "kv.put") {
      const v = again(r.get("value"));
      if (library) {
        const p = kv.library.put(name, v, only.none ? null : new Opt<i64>(only.asI64()), r.get("ttl_s").asI64());
        if (!p.ok) return p.error;
        version = p.value.version;
      } else {
        const e = kv.put(name, v);
        if (e !== null) return e;
      }
    } else {
      const e = !only.none ? kv.library.deleteVersion(name, only.asI64()) : library ? kv.library.delete(name) : kv.delete(name);
      if (e !== null) return e;
    }
    o.beginObject();
    if (value.kind != Kind.Absent) { o.key("value"); o.put(value); }
    if (library) { o.key("version"); o.i64(version); }
    o.endObject();
    return null;
  }

  /** Lets the thread wait for the op of its step; false when it is done at once. */
  begin(h: Thread, s: Json): bool {
    setTicketWait(0);
    const sleeps = s.get("do").is("sleep");
    const c = sleeps ? this.t.sleepBegin(s.get("ms").asI64()) : beginOp(this.t, s.get("op").asString(), s.get("request"));
    setTicketWait(-1);
    if (c === null) return false;
    h.call = c;
    h.queued = null;
    const e = c.refusal;
    if (e !== null && e.code == Code.Quota) {
      h.queued = s;
    } else if (e !== null) {
      this.putError(h.results, e);
      h.timed = false;
      this.ready.push(h);
      return true;
    }
    this.waiting.push(h);
    return true;
  }

  /** Does steps until the thread has to wait or is done. True: it is done. */
  advance(h: Thread): bool {
    const again_ = h.queued;
    if (again_ !== null) {
      this.begin(h, again_);
      return false;
    }
    const t = this.t, o = h.results;
    while (h.it.next()) {
      const s = h.it.value, what = s.get("do").asString(), name = s.get("name").asString(), group = s.get("group").asString(), message = s.get("message").asString();
      if (what == "who") {
        this.who(o);
      } else if (what == "input" || what == "option") {
        const v = what == "input" ? t.inputs.get(name) : t.options.get(group, name);
        if (v.kind != Kind.Absent) this.putAnswer(o, again(v));
        else this.putError(o, new OpError("", Code.NotFound));
      } else if (what == "secret") {
        const secret = t.options.secret(group, name);
        const a = new JsonOut();
        if (secret === null) {
          a.null();
        } else {
          secret.prefix = s.get("prefix").asString();
          secret.write(a);
        }
        this.putAnswer(o, a.json());
      } else if (what == "call") {
        const op = s.get("op").asString(), a = new JsonOut(), within = s.get("timeout_ms");
        if (op.startsWith("kv.")) {
          this.finish(o, this.kv(op, s.get("request"), a), a);
          continue;
        }
        if (h.parent !== null || !within.none) {
          h.timed = !within.none;
          h.deadline = ticks() + within.asI64();
          if (this.begin(h, s)) return false;
          h.timed = false;
        }
        this.finish(o, doOp(t, op, s.get("request"), a), a);
      } else if (what == "open") {
        beginOp(t, s.get("op").asString(), s.get("request"));
        o.null();
      } else if (what == "parallel") {
        const branches = s.get("branches");
        h.branches = [];
        for (const it = branches.each(); it.next();) {
          const b = new Thread(it.value.each(), h);
          h.branches.push(b);
          this.ready.push(b);
        }
        h.children = h.branches.length;
        if (h.children) return false;
        o.beginArray();
        o.endArray();
      } else if (what == "sleep") {
        if (h.parent !== null && this.begin(h, s)) return false;
        const e = t.sleep(s.get("ms").asI64());
        if (e !== null) this.putError(o, e);
        else o.null();
      } else if (what == "log") {
        const level = s.get("level").asString();
        if (level == "debug") t.log.debug(message);
        if (level == "info") t.log.info(message);
        if (level == "warn") t.log.warn(message);
        if (level == "error") t.log.error(message);
        o.null();
      } else if (what == "progress") {
        t.progress(<i32>s.get("permille").asI64(), message);
        o.null();
      } else if (what == "spin") {
        for (let i = 0;; i++) store<i32>(0, i);
      } else if (what == "allocate") {
        const all: ArrayBuffer[] = [];
        for (;;) all.push(new ArrayBuffer(1 << 20));
      } else if (what == "end") {
        this.end = s;
        break;
      } else {
        throw new Error("step " + what + " is unknown");
      }
    }
    return true;
  }

  who(o: JsonOut): void {
    const i = this.t.input;
    o.beginObject();
    o.key("key"); o.string(i.key);
    o.key("flow"); o.string(i.flow);
    o.key("phase"); o.string(i.phase);
    o.key("run_id"); o.string(i.runId);
    o.key("notification_uuid"); o.string(i.notificationUuid);
    o.key("attempt"); o.i64(i.attempt);
    o.key("round"); o.i64(i.round);
    o.key("idempotency_key"); o.string(i.idempotencyKey);
    o.key("reverting"); o.bool(i.reverting);
    o.key("failure"); o.string(i.failure);
    o.key("inputs"); o.strings(this.t.inputs.names());
    o.endObject();
  }

  /** The thread has done its steps: its results are one of its parent's when its sisters are done too. */
  done(h: Thread): void {
    h.results.endArray();
    const p = h.parent;
    if (p === null || --p.children) return;
    p.results.beginArray();
    for (let i = 0; i < p.branches.length; i++) p.results.put(p.branches[i].results.json());
    p.results.endArray();
    this.ready.push(p);
  }

  /** Lets those go on that wait: for the call that has ended, for a ticket, or in vain. */
  wake(ended: Call | null): void {
    const now = ticks(), waiting = this.waiting;
    this.waiting = [];
    for (let i = 0; i < waiting.length; i++) {
      const h = waiting[i], mine = h.queued === null && ended !== null && h.call === ended, o = h.results;
      if (mine) {
        const c = ended!, a = new JsonOut();
        h.timed = false;
        if (c.op == "task.sleep") {
          const e = c.error();
          if (e !== null) this.putError(o, e);
          else o.null();
        } else {
          this.finish(o, endOp(c, a), a);
        }
      } else if (h.timed && now >= h.deadline) {
        h.timed = false;
        if (h.queued === null) h.call!.cancel();
        h.queued = null;
        o.beginObject();
        o.key("gave_up");
        o.bool(true);
        o.endObject();
      } else if (h.queued === null || ended === null) {
        this.waiting.push(h);
        continue;
      }
      this.ready.push(h);
    }
  }

  interpret(root: Thread): void {
    this.ready.push(root);
    while (this.ready.length || this.waiting.length) {
      const ready = this.ready;
      this.ready = [];
      for (let i = 0; i < ready.length; i++) if (this.advance(ready[i])) this.done(ready[i]);
      if (this.ready.length || !this.waiting.length) continue;
      let until: i64 = -1;
      for (let i = 0; i < this.waiting.length; i++) {
        const h = this.waiting[i];
        if (h.timed && (until < 0 || h.deadline < until)) until = h.deadline;
      }
      this.wake(waitAny(until < 0 ? -1 : <i32>max<i64>(until - ticks(), 0)));
    }
  }
}

function steps(t: Task): Outcome {
  const x = new Interpreter(t), root = new Thread(t.inputs.get("steps").each(), null);
  x.interpret(root);
  const results = root.results.json();
  if (results.length) {
    const e = t.kv.put("results", results);
    if (e !== null) return failed(e);
  }
  const how = x.end.get("outcome").asString(), reason = x.end.get("reason").asString();
  if (how == "fail") return fail(reason);
  if (how == "nothing") return nothing(reason);
  if (how == "ignore") return ignore(reason);
  if (how == "panic") throw new Error(reason);
  if (how == "error") return failed(x.last!);
  return succeed();
}

handle("case", steps, steps);
handle("plain", steps);
