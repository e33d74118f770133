// Tasks for the tests of the SDK; run.mjs is their host.

import {
  Code, HAHostUpdateRequest, HTTPBasic, HTTPRequestRequest, HTTPTLS, Job, Json, JsonOut, Kind, NovaServerEvacuateRequest, NovaServerGetRequest, NovaServerListRequest,
  NovaServerStopRequest, NovaServerWaitAnswer, NovaServerWaitRequest, OpError, Opt, Outcome, Pending, Secret, Server, Task, Text, fail, failed, handle, ignore, nothing, parallel,
  setTicketWait, succeed, waitAny, now,
} from "../assembly";

export { revert, run } from "../assembly";

function rewrite(o: JsonOut, v: Json): void {
  switch (v.kind) {
    case Kind.Array:
      o.beginArray();
      for (const it = v.each(); it.next();) rewrite(o, it.value);
      o.endArray();
      break;
    case Kind.Object:
      o.beginObject();
      for (const it = v.each(); it.next();) {
        if (!it.key.is(it.key.asString())) throw new Error("a key is not itself");
        o.key(it.key.asString());
        rewrite(o, it.value);
      }
      o.endObject();
      break;
    case Kind.String:
      if (!v.is(v.asString())) throw new Error("a string is not itself");
      o.string(v.asString());
      break;
    case Kind.Number:
      if (v.isI64) o.i64(v.asI64());
      else if (v.isU64) o.u64(v.asU64());
      else if (v.isF64) o.f64(v.asF64());
      else o.put(v);
      break;
    case Kind.Bool: o.bool(v.asBool()); break;
    default: o.null();
  }
}

// Reads the text in input "doc" and writes it anew; "not JSON" when it is none.
handle("echo", (t: Task): Outcome => {
  const doc = Json.parse(t.inputs.string("doc"));
  if (doc === null) return fail("not JSON");
  const o = new JsonOut();
  rewrite(o, doc);
  const e = t.kv.put("echo", o.json());
  return e === null ? succeed() : failed(e);
});

// What the values of input "numbers" are.
handle("numbers", (t: Task): Outcome => {
  const o = new JsonOut();
  o.beginArray();
  for (const it = t.inputs.get("numbers").each(); it.next();) {
    const v = it.value;
    o.string((v.isI64 ? v.asI64().toString() : "-") + " " + (v.isU64 ? v.asU64().toString() : "-") + " " + (v.isF64 ? "f" : "-"));
  }
  o.endArray();
  const e = t.kv.put("numbers", o.json());
  return e === null ? succeed() : failed(e);
});

handle("access", (t: Task): Outcome => {
  const v = t.inputs.get("v"), all: string[] = [];
  all.push(v.get("twice").asI64().toString());
  all.push(v.get("no").kind.toString() + v.at(0).kind.toString() + v.get("list").get("x").kind.toString() + v.get("list").at(9).kind.toString());
  all.push(v.length.toString() + v.get("list").length.toString() + v.get("twice").length.toString());
  all.push(v.keys().join("|"));
  all.push(v.get("list").at(1).plain() + v.get("list").at(0).plain() + v.get("list").toString());
  all.push(v.get("ключ").asString());
  all.push(v.get("list").asStrings().join("|"));
  const e = t.kv.put("access", Json.ofStrings(all));
  return e === null ? succeed() : failed(e);
});

handle("given", (t: Task): Outcome => {
  const o = t.options, l = t.log, secret = o.secret("acme", "token");
  l.debug(t.input.key + " " + t.input.attempt.toString() + " " + t.input.round.toString() + " " + t.inputs.names().join(","));
  l.info(o.string("acme", "queue") + o.string("acme", "unset") + " " + o.int("acme", "max").toString() + " " + o.float("acme", "share").toString() + " " + o.bool("acme", "on").toString());
  l.warn(o.list("acme", "list").join(",") + " " + (secret === null ? "" : secret.name) + " " + (o.secret("acme", "unset") === null).toString());
  l.error(o.has("acme", "unset").toString() + o.has("no", "x").toString() + o.int("acme", "unset").toString() + t.inputs.has("no").toString() + t.inputs.string("no", "-"));
  t.progress(2000, "half of 2");
  return ignore("not ours");
}, (t: Task): Outcome => {
  t.log.info("undone: " + t.input.failure);
  return succeed();
});

handle("wrong", (t: Task): Outcome => {
  const what = t.inputs.string("what");
  if (what == "type") t.options.int("acme", "queue");
  if (what == "list") t.options.list("acme", "queue");
  if (what == "input") t.inputs.string("hostname");
  if (what == "unlisted") t.options.bool("acme", "nowhere");
  if (what == "throw") throw new Error("the \"moon\" fell\n");
  if (what == "bounds") return fail([1][<i32>t.input.attempt + 5].toString());
  return nothing();
});

handle("lists", (t: Task): Outcome => {
  const r = new NovaServerListRequest();
  r.host = "compute-1";
  r.fields = ["id", "OS-EXT-STS:vm_state"];
  const a = t.nova.serverList(r);
  if (!a.ok) return failed(a.error);
  const s = a.value.servers, fault = s[0].fault;
  const all = [
    s.length.toString(), s[0].id, s[0].vmState, s[0].taskState, s[0].powerState.toString(), s[0].locked.toString(), fault === null ? "" : fault.message, s[0].tags.join("|"),
    s[0].metadata.get("HA_Enabled"), s[0].flavor.get("vcpus").asI64().toString(), (s[1].fault === null).toString(), s[1].host,
  ];
  const e = t.kv.put("servers", Json.ofStrings(all));
  return e === null ? succeed() : failed(e);
});

handle("large", (t: Task): Outcome => {
  for (let i = 0; i < 5; i++) {
    const r = t.kv.get("large");
    if (!r.ok) return failed(r.error);
    if (r.value.value.asString().length != <i32>t.inputs.get("length").asI64()) return fail("length " + r.value.value.asString().length.toString());
  }
  return succeed();
});

handle("stops", (t: Task): Outcome => {
  const r = t.nova.serverStop(new NovaServerStopRequest("7f3"));
  return r.ok ? succeed() : failed(r.error);
});

// Asking for an answer that is not there breaks the task down.
handle("careless", (t: Task): Outcome => fail(t.nova.serverStop(new NovaServerStopRequest("7f3")).value.requestId));

handle("values", (t: Task): Outcome => {
  const kv = t.kv, lib = kv.library;
  let e = kv.put("ticket_id", Json.ofString("ops-\"1"));
  if (e !== null) return failed(e);
  if (!kv.get("x").value.value.is("v")) return fail("x");
  e = kv.delete("x");
  if (e !== null) return failed(e);
  if (kv.list("scratch/").value.entries[0].version != 4) return fail("list");
  if (lib.put("acted", Json.ofBool(true), new Opt<i64>(0), 600).value.version != 5) return fail("version");
  lib.put("acted", Json.ofI64(-1));
  if (lib.get("acted").value.version != 1) return fail("library");
  lib.delete("a");
  lib.deleteVersion("a", 7);
  lib.list();
  e = t.sleep(20);
  if (e !== null || t.sleep(0) !== null) return fail("sleep");
  return nothing(now().toString());
});

handle("requests", (t: Task): Outcome => {
  const token = new Secret(), bearer = new Secret(), r = new HTTPRequestRequest("POST", "https://tickets.example.com/v1/tickets");
  token.name = "acme.token";
  bearer.name = "acme.token";
  bearer.prefix = "Bearer ";
  r.headers.set("Authorization", new Text("", bearer));
  r.headers.set("X-A", new Text("b"));
  r.bodyJson = Json.parse("{\"host\":\"c1\"}")!;
  const basic = new HTTPBasic(), tls = new HTTPTLS();
  basic.user = new Text("");
  basic.password = new Text("", token);
  tls.ca = token;
  r.basic = basic;
  r.tls = tls;
  r.timeoutSeconds = 5;
  const a = t.http.request(r);
  if (!a.ok) return failed(a.error);
  const h = new HAHostUpdateRequest("c1");
  h.reserved = new Opt<bool>(false);
  t.ha.hostUpdate(h);
  return nothing(a.value.status.toString() + a.value.headers.get("Location") + a.value.body + t.ha.segmentGet().value.name);
});

class Move extends Job {
  constructor(private t: Task, public n: i32, private lightly: bool) { super(); }
  step(): OpError | null {
    order += this.n.toString() + "." + this.stage.toString() + " ";
    if (this.stage == 0) {
      this.await(this.t.nova.serverEvacuateBegin(new NovaServerEvacuateRequest("s" + this.n.toString())));
      return null;
    }
    if (this.stage == 1) {
      const e = this.call!.error();
      if (e !== null) return this.lightly ? null : e;
      this.await(this.t.nova.serverWaitBegin(new NovaServerWaitRequest("s" + this.n.toString(), "evacuated")));
      return null;
    }
    const w = this.result<NovaServerWaitAnswer>();
    return w.ok && w.value.outcome == "done" ? null : w.error;
  }
}

let order: string = "";

handle("many", (t: Task): Outcome => {
  const jobs: Move[] = [], n = <i32>t.inputs.get("jobs").asI64();
  order = "";
  for (let i = 0; i < n; i++) jobs.push(new Move(t, i, t.inputs.get("lightly").asBool()));
  const e = parallel<Move>(jobs, <i32>t.inputs.get("at_once").asI64());
  t.log.info(order);
  return e === null ? succeed() : failed(e);
});

handle("tickets", (t: Task): Outcome => {
  const get = new NovaServerGetRequest("1");
  if (waitAny() !== null) return fail("a call out of nothing");
  const a: Pending<Server> = t.nova.serverGetBegin(get), b = t.nova.serverGetBegin(get), c = t.sleepBegin(5);
  if (c.within(0) || !c.open) return fail("no time passed");
  // The last first: the others end meanwhile.
  if (c.error() !== null || a.open || b.open) return fail("c");
  const refused = b.result();
  if (refused.ok || refused.error.code != Code.NotFound || refused.error.status != 404) return fail("b");
  if (waitAny() !== a || a.result().value.id != "7f3" || waitAny() !== null) return fail("a");
  const d = t.sleepBegin(5), e = t.sleepBegin(5);
  if (!e.within(1000) || d.error() !== null || e.error() !== null) return fail("e");
  setTicketWait(0);
  const f: Pending<Server>[] = [];
  for (let i = 0; i < 4; i++) f.push(t.nova.serverGetBegin(get));
  const over = f[3].result();
  if (over.ok || over.error.code != Code.Quota || f[3].open) return fail("f");
  setTicketWait(-1);
  const g = t.nova.serverGetBegin(get); // waits for one of the others
  if (!g.open) return fail("g");
  f[2].cancel();
  f[2].cancel();
  for (let i = 0; i < 2; i++) f[i].error();
  g.error();
  return succeed(); // the one that was given up is waited for
});
