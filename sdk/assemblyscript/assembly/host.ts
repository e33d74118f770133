// Ops and tickets: how requests get to the host and answers back.

import * as imports from "./imports";
import { Code, codeName } from "./types_gen";
import { ErrorDocument } from "./types_gen";
import { Json, JsonOut } from "./json";

/** Why an op was refused. */
export class OpError {
  constructor(
    /** Such as nova.server_evacuate. */
    public op: string,
    public code: Code,
    /** The reason, for a person. */
    public message: string = "",
    /** HTTP status of Nova's answer; 0 when the error is not Nova's or no answer came. */
    public status: i64 = 0,
    /** Nova's request id; may be empty. */
    public requestId: string = "",
  ) {}

  /** Such as not_found. */
  get codeName(): string { return codeName(this.code); }

  /** Op, code, reason, and what Nova said. */
  toString(): string {
    let s = this.op.length ? this.op + ": " : "";
    s += this.codeName.replaceAll("_", " ");
    const own = this.op + ": "; // the host's reasons name the op as well
    const m = this.op.length && this.message.startsWith(own) ? this.message.slice(own.length) : this.message;
    if (m.length) s += ": " + m;
    if (this.status != 0 && this.requestId.length) s += " (HTTP " + this.status.toString() + ", " + this.requestId + ")";
    else if (this.status != 0) s += " (HTTP " + this.status.toString() + ")";
    else if (this.requestId.length) s += " (" + this.requestId + ")";
    return s;
  }
}

/** What an op came to: an answer, or why it was refused. */
export class Result<T> {
  constructor(private answer: T | null, private refusal: OpError | null) {}
  get ok(): bool { return this.refusal === null; }
  /** The answer; asking for it when ok is false ends the task. */
  get value(): T {
    const r = this.refusal;
    if (r !== null) throw new Error(r.toString());
    return this.answer!;
  }
  /** Why it was refused; asking for it when ok is true ends the task. */
  get error(): OpError { return this.refusal!; }
}

/** An op in flight. */
export class Call {
  /** For the task's own use. */
  tag: i32 = 0;
  /** Whether the host still works on it. */
  open: bool = false;
  doc: Json = Json.none();
  refusal: OpError | null = null;
  ticket: i32 = 0;
  canceled: bool = false;
  /** Whose step comes when it is done. */
  job: Job | null = null;
  constructor(public op: string) {}

  /** Waits until the op is done, and tells why it was refused; null: it was not. */
  error(): OpError | null {
    while (this.open) {
      const e = deliver(-1);
      if (e !== null && this.open) return e;
    }
    forget(this);
    return this.refusal;
  }

  /** Waits until the op is done, at most so many milliseconds, and tells whether it is. */
  within(ms: i32): bool {
    const until = ticks() + ms;
    while (this.open) {
      const left = until - ticks();
      deliver(left > 0 ? <i32>left : 0);
      if (left <= 0) break;
    }
    return !this.open;
  }

  /** Gives up waiting: a read is cancelled, a change goes on. The op still ends, soon, with Code.Canceled; the task need not wait for it. */
  cancel(): void {
    if (!this.open || this.canceled) return;
    const o = new JsonOut();
    o.beginObject();
    o.key("ticket");
    o.i64(this.ticket);
    o.endObject();
    call("task.cancel", o.json());
    this.canceled = true;
  }
}

/** An op in flight that is answered with a T. */
export class Pending<T> extends Call {
  constructor(op: string) { super(op); }

  /** Waits until the op is done. */
  result(): Result<T> { return resultOf<T>(this); }
}

/** The result of a call whose type is known only here: resultOf<NovaServerGetAnswer>(call). */
export function resultOf<T>(call: Call): Result<T> {
  const e = call.error();
  return e !== null ? new Result<T>(null, e) : decoded<T>(call.op, call.doc);
}

/** Reads an answer into its type. */
export function decoded<T>(op: string, doc: Json): Result<T> {
  const a = instantiate<T>();
  if (a.read(doc)) return new Result<T>(a, null);
  return new Result<T>(null, new OpError(op, Code.BadAnswer, "the answer has another form"));
}

/** What call gives back: one of the two is null. */
export class Raw {
  constructor(public doc: Json, public error: OpError | null) {}
}

let own: ArrayBuffer = new ArrayBuffer(16 << 10); // for answers that are not larger

/** How long begin waits, in milliseconds, while as many ops are open as may be; then the call is refused with Code.Quota. Negative: for ever. */
export let ticketWait: i32 = -1;
export function setTicketWait(ms: i32): void { ticketWait = ms; }

const open: Map<i32, Call> = new Map<i32, Call>();
let ended: Call[] = [];


// The document of this length; null when it cannot be fetched.
function fetch(length: i64): ArrayBuffer | null {
  let size = length;
  if (size <= own.byteLength && size >= 0) return own.slice(0, <i32>size);
  while (size >= 0 && size <= 0x3fffffff) {
    const big = new ArrayBuffer(<i32>size);
    size = imports.take(changetype<usize>(big), big.byteLength);
    if (size >= 0 && size <= big.byteLength) return size == big.byteLength ? big : big.slice(0, <i32>size);
  }
  return null;
}

// The error document that the host keeps.
function refusal(op: string, code: i32): OpError {
  const e = new OpError(op, code);
  const size = imports.take(changetype<usize>(own), own.byteLength);
  const utf8 = fetch(size);
  if (utf8 === null) return e;
  const doc = Json.decode(utf8);
  const d = new ErrorDocument();
  if (doc !== null && d.read(doc)) {
    e.message = d.message;
    e.status = d.status;
    e.requestId = d.requestId;
  }
  return e;
}

function answer(op: string, n: i64): Raw {
  if (n < 0) return new Raw(Json.none(), refusal(op, <i32>-n));
  const utf8 = fetch(n);
  if (utf8 === null) return new Raw(Json.none(), new OpError(op, Code.BadAnswer, "the answer could not be fetched"));
  const doc = Json.decode(utf8);
  if (doc === null) return new Raw(Json.none(), new OpError(op, Code.BadAnswer, "the answer is no JSON, or nested too deep"));
  return new Raw(doc, null);
}

/** Does an op and comes back when it is done. A request that is absent stands for {}. */
export function call(op: string, req: Json): Raw {
  const name = String.UTF8.encode(op), body = bytes(req);
  return answer(op, imports.call(changetype<usize>(name), name.byteLength, changetype<usize>(body), body.byteLength, changetype<usize>(own), own.byteLength));
}

function bytes(v: Json): ArrayBuffer {
  const o = new JsonOut();
  v.copyTo(o);
  return o.take();
}

/** Starts an op. What keeps it from being started is its error. */
export function begin(c: Call, req: Json): void {
  const name = String.UTF8.encode(c.op), body = bytes(req);
  for (;;) {
    const r = imports.submit(changetype<usize>(name), name.byteLength, changetype<usize>(body), body.byteLength);
    if (r > 0) {
      c.ticket = <i32>r;
      c.open = true;
      open.set(c.ticket, c);
      return;
    }
    if (r == -<i64>Code.Quota && open.size && ticketWait != 0) {
      const e = deliver(ticketWait);
      if (e === null) continue;
      if (e.code != Code.Timeout) {
        c.refusal = new OpError(c.op, e.code, e.message);
        return;
      }
    }
    const code = <i32>-r;
    c.refusal = new OpError(c.op, code, code == Code.Invalid ? "the host does not know the op or does not take the request"
      : code == Code.Quota ? "the task may have no more calls open"
      : code == Code.TooLarge ? "the request is larger than the task's limit" : "");
    return;
  }
}

// Waits for one ticket. Null: it came, or nobody's did.
function deliver(timeoutMs: i32): OpError | null {
  const r = imports.wait(timeoutMs, changetype<usize>(own), own.byteLength);
  if (r < 0) {
    const code = <i32>-r;
    if (code != Code.Timeout) { // the task is being stopped, or the host lost the tickets: nothing will come any more
      const lost = open.values();
      for (let i = 0; i < lost.length; i++) {
        lost[i].refusal = new OpError(lost[i].op, code, "the host stopped waiting");
        close(lost[i]);
      }
    }
    return new OpError("", code);
  }
  const ticket = <i32>(r >> 32);
  const low = r & 0xffffffff;
  const n: i64 = low >> 31 ? -(low & 0x7fffffff) : low;
  const c: Call | null = open.has(ticket) ? open.get(ticket) : null;
  const raw = answer(c === null ? "" : c.op, n);
  if (c === null) return null;
  c.doc = raw.doc;
  c.refusal = raw.error;
  close(c);
  return null;
}

function close(c: Call): void {
  open.delete(c.ticket);
  c.open = false;
  ended.push(c);
}

function forget(c: Call): void {
  const i = ended.indexOf(c);
  if (i >= 0) ended.splice(i, 1);
}

/** The next call that is done, however it ended. Null after so many milliseconds (negative: never), and when none is open. */
export function waitAny(timeoutMs: i32 = -1): Call | null {
  while (!ended.length) {
    if (!open.size) return null;
    if (deliver(timeoutMs) !== null && !ended.length) return null;
  }
  return ended.shift();
}

/** Waits for what was given up: it is delivered all the same. */
export function drain(): void {
  for (;;) {
    const calls = open.values();
    let waits = false;
    for (let i = 0; i < calls.length; i++) if (calls[i].canceled) waits = true;
    if (!waits || deliver(-1) !== null) return;
  }
}

/** One of the things that parallel works on. */
export abstract class Job {
  /** 0 at first, and 1 more whenever the call that the step began is done. */
  stage: i32 = 0;
  /** The call that is done; null at stage 0. */
  call: Call | null = null;
  pending: Call | null = null;

  /** Does one step. One that does not say what it waits for (await) has finished its job. An error keeps new jobs from being begun. */
  abstract step(): OpError | null;

  /** The next step comes when this call is done. */
  await(c: Call): void {
    c.job = this;
    this.pending = c;
  }

  /** What the call came to that is done. */
  result<T>(): Result<T> { return resultOf<T>(this.call!); }
}

/** Works on all jobs, at most atOnce at the same time (0: as many as the host takes), and returns when all that were begun are finished; what it
 * returns is the first error of a step. */
export function parallel<T extends Job>(jobs: T[], atOnce: i32 = 0): OpError | null {
  let first: OpError | null = null;
  let next = 0, busy = 0;
  const others: Call[] = []; // begun outside; whoever began them ends them
  while (busy || first === null && next < jobs.length) {
    let job: Job;
    if (first === null && next < jobs.length && (!atOnce || busy < atOnce)) {
      job = jobs[next++];
      busy++;
    } else {
      const c = waitAny();
      if (c === null) return new OpError("", Code.NotFound, "the host lost the calls");
      const owner = c.job;
      if (owner === null) {
        others.push(c);
        continue;
      }
      owner.call = c;
      owner.stage++;
      job = owner;
    }
    job.pending = null;
    const e = job.step();
    if (e !== null && first === null) first = e;
    const p = job.pending;
    if (p === null) busy--;
    else if (!p.open && !ended.includes(p)) ended.push(p); // it could not be begun, or was waited for
  }
  for (let i = 0; i < others.length; i++) ended.push(others[i]);
  return first;
}

function clock(id: i32): i64 {
  const time = new ArrayBuffer(8);
  imports.clockTimeGet(id, 1, changetype<usize>(time));
  return <i64>(load<u64>(changetype<usize>(time)) / 1000000);
}

/** Milliseconds since 1970, UTC. */
export function now(): i64 { return clock(0); }

/** Milliseconds of a clock that never goes back, for measuring. */
export function ticks(): i64 { return clock(1); }
