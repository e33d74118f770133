// Builds guest.ts and runs it under Node.js against a host that answers as each test says. node test/run.mjs
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import asc from "assemblyscript/asc";

const base = fileURLToPath(new URL("..", import.meta.url));
const dir = mkdtempSync(join(tmpdir(), "wasakari-as-"));
const { error, stderr } = await asc.main([
  "test/guest.ts", "--baseDir", base, "-O2", "--exportStart", "_initialize", "--use", "abort=assembly/abort/abort", "--use", "seed=assembly/abort/seed", "--outFile", join(dir, "guest.wasm"),
]);
if (error) {
  console.error(stderr.toString());
  process.exit(1);
}
const module = new WebAssembly.Module(readFileSync(join(dir, "guest.wasm")));
rmSync(dir, { recursive: true });

const errnos = { invalid: 1, not_found: 2, conflict: 3, forbidden: 4, not_granted: 5, unavailable: 6, timeout: 7, canceled: 8, too_large: 9, quota: 10 };
const text = new TextDecoder(), utf8 = new TextEncoder();

/** One sandbox. answers: by op a document, {refuse: {...}}, or a list of them, one for each call; the last stays. */
class Host {
  calls = []; logs = []; progress = []; reason = ""; kept = null; open = []; tickets = 0; most = 0; limit = 64; lastFirst = false; waitCode = 0; clock = 1700000000123456789n;
  constructor(key, answers = {}, input = {}) {
    this.answers = { "kv.put": { version: 1 }, ...answers };
    this.input = { key, flow: "host-auto", phase: "main", run_id: "r", attempt: 2, idempotency_key: "r/1", inputs: {}, options: {}, ...input };
  }
  asked(op) { return this.calls.filter((c) => c.op == op).map((c) => c.req); }
  answer(op, req) {
    this.calls.push({ op, req });
    if (op == "task.input") return this.raw ?? this.input;
    if (op == "task.reason") return (this.reason = JSON.parse(req).reason), {};
    if (op == "task.cancel") return (this.open.find((t) => t.id == JSON.parse(req).ticket).a = { refuse: { code: "canceled", message: "given up" } }), {};
    let a = this.answers[op];
    if (Array.isArray(a)) a = a.length > 1 ? a.shift() : a[0];
    return a ?? (op == "task.sleep" ? {} : { refuse: { code: "not_granted", message: "no answer" } });
  }
  keep(a, out, cap) {
    const doc = utf8.encode(typeof a == "string" ? a : a.refuse === undefined ? JSON.stringify(a) : typeof a.refuse == "number" ? a.doc ?? "" : JSON.stringify(a.refuse));
    const code = a.refuse === undefined ? 0 : typeof a.refuse == "number" ? a.refuse : errnos[a.refuse.code];
    this.kept = typeof a.refuse == "number" && a.doc === undefined ? null : doc;
    if (!code && doc.length <= cap) {
      new Uint8Array(this.memory.buffer, out, doc.length).set(doc);
      this.kept = null;
    }
    return BigInt(code ? -code : doc.length);
  }
  run(name = "run") {
    const read = (p, n) => text.decode(new Uint8Array(this.memory.buffer, p, n));
    const imports = {
      wasakari_v1: {
        call: (op, opLen, req, reqLen, out, cap) => this.keep(this.answer(read(op, opLen), read(req, reqLen)), out, cap),
        take: (out, cap) => {
          if (!this.kept) return -2n;
          const doc = this.kept;
          if (doc.length <= cap) {
            new Uint8Array(this.memory.buffer, out, doc.length).set(doc);
            this.kept = null;
          }
          return BigInt(doc.length);
        },
        submit: (op, opLen, req, reqLen) => {
          if (this.open.length >= this.limit) return -10n;
          const t = { id: ++this.tickets, a: this.answer(read(op, opLen), read(req, reqLen)) };
          this.open.push(t);
          this.most = Math.max(this.most, this.open.length);
          return BigInt(t.id);
        },
        wait: (ms, out, cap) => {
          if (this.waitCode) return BigInt(-this.waitCode);
          if (!this.open.length) return -2n;
          if (ms == 0) return -7n;
          const t = this.lastFirst ? this.open.pop() : this.open.shift();
          let low = this.keep(t.a, out, cap);
          if (low < 0n) low = -low | 0x80000000n;
          return BigInt(t.id) << 32n | low;
        },
        log: (level, p, n) => this.logs.push(level + " " + read(p, n)),
        progress: (permille, p, n) => this.progress.push(permille + " " + read(p, n)),
      },
      wasi_snapshot_preview1: {
        clock_time_get: (id, precision, p) => (new DataView(this.memory.buffer).setBigUint64(p, this.clock, true), 0),
        random_get: () => 0,
      },
    };
    const { exports } = new WebAssembly.Instance(module, imports);
    this.memory = exports.memory;
    exports._initialize();
    try {
      return exports[name]();
    } catch (e) {
      assert.ok(e instanceof WebAssembly.RuntimeError, e);
      return -1;
    }
  }
}

const tests = {
  "only what the host has is imported"() {
    for (const i of WebAssembly.Module.imports(module)) assert.match(i.module + "." + i.name, /^wasakari_v1\.(call|take|submit|wait|log|progress)$|^wasi_snapshot_preview1\.(clock_time_get|random_get)$/);
  },
  "documents are taken as JSON.parse takes them, and written so that it reads the same"() {
    const docs = [
      "{}", "[]", "0", "-0", "1e5", "1E+5", "-1.25e-7", "true", "false", "null", '""', " \t\r\n[ 1 , 2 ]\n", '{"a":{"b":[[],{}]},"c":"\\u00e9\\""}', '"\\ud83d\\ude00"', '"é😀\u2028"', "[[[[1]]]]", '{"":0}',
      '["]","}","\\\\"]', '"\\b\\f\\n\\r\\t\\/\\\\\\""', '"a\\u0000b\\u001f\\u007f"', "0.1", "1.7976931348623157e308", "5e-324", "2.2250738585072011e-308", "1e23", "123456.789", "9007199254740993.5", '{"a":1,"a":2}',
      "", " ", "{", "}", "[", "]", "[1,]", "[,1]", "{,}", '{"a"}', '{"a":}', '{"a":1,}', "{a:1}", "[1 2]", '{"a":1 "b":2}', "[1}", '{"a":1]', "01", "-", "-a", "1.", ".5", "1e", "1e+", "+1", "0x1", "NaN", "Infinity", "tru",
      "truex", "nul", '"', '"\\"', '"\\x"', '"\\u12"', '"\\u12g4"', '"\n"', '"\t"', "[1]]", "1 2", "{}{}", '["a":1]', '"a"b', "//", "[1,2", "\ufeff{}", "{1:2}", "[1,,2]", '"\\', '{"a":[}', "\u00a01",
    ];
    let seed = 1;
    const random = (n) => (seed = (seed * 1103515245 + 12345) % 2147483648) % n;
    const pieces = ["{", "}", "[", "]", ",", ":", '"', "\\", "u", "12", "0", "-", ".", "e", "true", "null", '"a"', '"\\u00e9"', " ", "é", "\u0001", '"k":'];
    for (let i = 0; i < 3000; i++) {
      let doc = docs[random(28)];
      for (let k = random(3); k >= 0; k--) {
        const at = random(doc.length + 1);
        doc = doc.slice(0, at) + pieces[random(pieces.length)] + doc.slice(at + random(3));
      }
      if (doc.isWellFormed()) docs.push(doc);
    }
    for (const doc of docs) {
      let want, is = true;
      try { want = JSON.parse(doc); } catch { is = false; }
      const h = new Host("echo", {}, { inputs: { doc } });
      assert.equal(h.run(), is ? 0 : 1, doc);
      if (is) assert.deepEqual(JSON.parse(JSON.parse(JSON.stringify(h.asked("kv.put")[0]))).value, lone(JSON.parse(doc)), doc);
      else assert.equal(h.reason, "not JSON");
    }
  },
  "random doubles survive"() {
    const b = new DataView(new ArrayBuffer(8));
    const all = [];
    for (let i = 0, s = 88172645463325252n; i < 4000; i++) {
      s ^= s << 13n & 0xffffffffffffffffn; s ^= s >> 7n; s ^= s << 17n & 0xffffffffffffffffn;
      b.setBigUint64(0, s);
      if (Number.isFinite(b.getFloat64(0))) all.push(b.getFloat64(0), Number(s >> 30n) / 1000);
    }
    const h = new Host("echo", {}, { inputs: { doc: JSON.stringify(all) } });
    assert.equal(h.run(), 0);
    assert.deepEqual(JSON.parse(h.asked("kv.put")[0]).value, all);
  },
  "nesting is bounded"() {
    for (const [n, exit] of [[512, 0], [513, 1], [200000, 1]]) {
      const h = new Host("echo", {}, { inputs: { doc: "[".repeat(n) + "]".repeat(n) } });
      assert.equal(h.run(), exit, n);
    }
  },
  "64 bits"() {
    const h = new Host("numbers");
    h.raw = '{"key":"numbers","inputs":{"numbers":[0,-0,9007199254740993,9223372036854775807,-9223372036854775808,9223372036854775808,-9223372036854775809,18446744073709551615,18446744073709551616,1.0,1e3,1e309,"1",true]}}';
    assert.equal(h.run(), 0);
    assert.deepEqual(JSON.parse(h.asked("kv.put")[0]).value, [
      "0 0 f", "0 - f", "9007199254740993 9007199254740993 f", "9223372036854775807 9223372036854775807 f", "-9223372036854775808 - f", "- 9223372036854775808 f", "- - f", "- 18446744073709551615 f",
      "- - f", "- - f", "- - f", "- - -", "- - -", "- - -",
    ]);
  },
  "access"() {
    const h = new Host("access");
    h.raw = '{"key":"access","inputs":{"v": { "twice" : 1 , "list" : [ 1 , "x,]}\\"" ] , "\\u043a\\u043b\\u044e\\u0447":"\\ud83d", "twice":2 } }}';
    assert.equal(h.run(), 0);
    assert.deepEqual(JSON.parse(h.asked("kv.put")[0]).value, ["2", "0000", "420", "twice|list|ключ|twice", 'x,]}"1[ 1 , "x,]}\\"" ]', "\ufffd", '|x,]}"']);
  },
  "what a task is given"() {
    const options = { acme: { queue: "ops", unset: null, max: 5, share: 0.25, on: true, list: ["a", "b"], token: { $secret: "acme.token" } } };
    const h = new Host("given", {}, { inputs: { z: 1, host_name: "c1" }, options, since_tomorrow: { a: [1] } });
    assert.equal(h.run(), 3);
    assert.equal(h.reason, "not ours");
    assert.deepEqual(h.logs, ["0 given 2 1 host_name,z", "1 ops 5 0.25 true", "2 a,b acme.token true", "3 falsefalse0false-"]);
    assert.deepEqual(h.progress, ["1000 half of 2"]);
  },
  "revert"() {
    let h = new Host("given", {}, { reverting: true, failure: "no host" });
    assert.equal(h.run("revert"), 0);
    assert.deepEqual(h.logs, ["1 undone: no host"]);
    h = new Host("echo");
    assert.equal(h.run("revert"), 2);
    assert.equal(h.reason, "");
  },
  "a key without a task, and an input that cannot be had"() {
    let h = new Host("unheard");
    assert.equal(h.run(), 1);
    assert.match(h.reason, /^task unheard: the module has no handler for it, only for: access, careless, echo, /);
    h = new Host("echo");
    h.raw = { refuse: { code: "unavailable", message: "gone" } };
    assert.equal(h.run(), 1);
    assert.equal(h.reason, "task.input: unavailable: gone");
    h.raw = { key: 7 };
    assert.equal(h.run(), 1);
    assert.equal(h.reason, "task.input: the answer cannot be read");
  },
  "breaking down"() {
    const wants = {
      type: "panic: option [acme] queue: it has another type", list: "panic: option [acme] queue: it has another type", unlisted: "panic: option [acme] nowhere: not found: the manifest does not list it",
      input: "panic: input hostname is not there: a name that the manifest requires is always there; string(name, otherwise) is for an optional one",
      throw: 'panic: the "moon" fell ', bounds: "panic: Index out of range",
    };
    for (const what in wants) {
      const h = new Host("wrong", {}, { inputs: { what }, options: { acme: { queue: "ops" } } });
      assert.equal(h.run(), -1);
      assert.equal(h.reason, wants[what]);
      assert.match(h.logs[0], /^3 panic: .* at .*:\d+:\d+$/s);
    }
  },
  "answers"() {
    const answer = '{"new":[{}],"servers":[{"id":"7f3","unknown":{"a":[]},"OS-EXT-STS:vm_state":"active","OS-EXT-STS:task_state":null,"OS-EXT-STS:power_state":4,"locked":true,"fault":{"code":500,"message":"bad \\u20ac"},' +
      '"tags":["x","y"],"metadata":{"HA_Enabled":"True"},"flavor":{"vcpus":1}},{"id":"7f4","fault":null,"tags":null,"\\u004fS-EXT-SRV-ATTR:host":"compute-1"}]}';
    let h = new Host("lists", { "nova.server_list": answer });
    assert.equal(h.run(), 0);
    assert.deepEqual(JSON.parse(h.asked("kv.put")[0]).value, ["2", "7f3", "active", "", "4", "true", "bad €", "x|y", "True", "1", "true", "compute-1"]);
    assert.deepEqual(h.asked("nova.server_list"), ['{"host":"compute-1","fields":["id","OS-EXT-STS:vm_state"]}']);
    const bad = ["", '{"servers":', '{"servers":{}}', '{"servers":[1]}', "[]", '{"servers":[{"id":1}]}', '{"servers":[{"OS-EXT-STS:power_state":1e3}]}', '{"servers":[{"fault":[]}]}', '{"servers":[{"tags":[1]}]}', '{"servers":[{"metadata":{"a":1}}]}'];
    for (const [i, doc] of bad.entries()) {
      h = new Host("lists", { "nova.server_list": doc });
      assert.equal(h.run(), 1, doc);
      assert.equal(h.reason, "nova.server_list: bad answer: " + (i < 2 ? "the answer is no JSON, or nested too deep" : "the answer has another form"), doc);
    }
  },
  "answers of any size"() {
    for (const length of [16000, 16340, 16384, 100000, 3000000]) {
      const h = new Host("large", { "kv.get": { value: "x".repeat(length), version: 1 } }, { inputs: { length } });
      assert.equal(h.run(), 0, length);
    }
  },
  "errors"() {
    const long = "y".repeat(40000);
    for (const [refuse, doc, want] of [
      [{ code: "conflict", message: "being rebuilt", status: 409, request_id: "req-1" }, , "nova.server_stop: conflict: being rebuilt (HTTP 409, req-1)"],
      [{ code: "not_granted", message: "nova.server_stop: ask for it" }, , "nova.server_stop: not granted: ask for it"],
      [{ code: "unavailable", message: "", status: 503 }, , "nova.server_stop: unavailable (HTTP 503)"],
      [{ code: "canceled", message: "x", request_id: "r" }, , "nova.server_stop: canceled: x (r)"],
      [{ code: "conflict", message: long }, , "nova.server_stop: conflict: " + long],
      [7, "no JSON", "nova.server_stop: timeout"], [4, undefined, "nova.server_stop: forbidden"], [11, '{"message":"m"}', "nova.server_stop: errno 11: m"],
    ]) {
      const h = new Host("stops", { "nova.server_stop": { refuse, doc } });
      assert.equal(h.run(), 1);
      assert.equal(h.reason, want);
    }
    const h = new Host("careless", { "nova.server_stop": { refuse: 4 } });
    assert.equal(h.run(), -1);
    assert.equal(h.reason, "panic: nova.server_stop: forbidden");
  },
  "values"() {
    const h = new Host("values", { "kv.put": { version: 5 }, "kv.get": { value: "v", version: 1 }, "kv.delete": {}, "kv.list": { entries: [{ name: "scratch/a", version: 4, size: 2 }] } });
    assert.equal(h.run(), 2);
    assert.equal(h.reason, "1700000000123");
    assert.deepEqual(h.asked("kv.put"), ['{"name":"ticket_id","value":"ops-\\"1"}', '{"scope":"library","name":"acted","value":true,"if_version":0,"ttl_s":600}', '{"scope":"library","name":"acted","value":-1}']);
    assert.deepEqual(h.asked("kv.get"), ['{"name":"x"}', '{"scope":"library","name":"acted"}']);
    assert.deepEqual(h.asked("kv.delete"), ['{"name":"x"}', '{"scope":"library","name":"a"}', '{"scope":"library","name":"a","if_version":7}']);
    assert.deepEqual(h.asked("kv.list"), ['{"prefix":"scratch/"}', '{"scope":"library"}']);
    assert.deepEqual(h.asked("task.sleep"), ['{"ms":20}']);
  },
  "requests"() {
    const h = new Host("requests", { "http.request": { status: 201, url: "u", headers: { Location: "/7" }, body: '{"id":7}' }, "ha.host_update": { name: "c1" }, "ha.segment_get": { uuid: "s", name: "rack" } });
    assert.equal(h.run(), 2);
    assert.equal(h.reason, '201/7{"id":7}rack');
    assert.deepEqual(h.asked("http.request"), [
      '{"method":"POST","url":"https://tickets.example.com/v1/tickets","headers":{"Authorization":{"$secret":"acme.token","prefix":"Bearer "},"X-A":"b"},"body_json":{"host":"c1"},' +
      '"basic":{"user":"","password":{"$secret":"acme.token"}},"tls":{"ca":{"$secret":"acme.token"}},"timeout_seconds":5}',
    ]);
    assert.deepEqual(h.asked("ha.host_update"), ['{"name":"c1","reserved":false}']);
    assert.deepEqual(h.asked("ha.segment_get"), [""]);
  },
  "parallel"() {
    const cloud = (inputs, evacuate = {}) => new Host("many", { "nova.server_evacuate": evacuate, "nova.server_wait": { outcome: "done", server: { id: "x" } } }, { inputs: { jobs: 5, at_once: 0, ...inputs } });
    let h = cloud({});
    assert.equal(h.run(), 0);
    assert.equal(h.most, 5);
    assert.deepEqual(h.logs, ["1 0.0 1.0 2.0 3.0 4.0 0.1 1.1 2.1 3.1 4.1 0.2 1.2 2.2 3.2 4.2 "]);
    h = cloud({ at_once: 2 });
    h.lastFirst = true;
    assert.equal(h.run(), 0);
    assert.equal(h.most, 2);
    assert.deepEqual(h.logs, ["1 0.0 1.0 1.1 1.2 2.0 2.1 2.2 3.0 3.1 3.2 4.0 4.1 4.2 0.1 0.2 "]);
    h = cloud({ jobs: 40 });
    h.limit = 3;
    assert.equal(h.run(), 0);
    assert.deepEqual([h.most, h.tickets], [3, 80]);
    h = cloud({});
    h.limit = 0;
    assert.equal(h.run(), 1);
    assert.equal(h.reason, "nova.server_evacuate: quota: the task may have no more calls open");
    const conflict = { refuse: { code: "conflict", message: "rebuilt" } };
    h = cloud({ at_once: 2 }, [conflict, {}]);
    assert.equal(h.run(), 1);
    assert.equal(h.reason, "nova.server_evacuate: conflict: rebuilt");
    assert.deepEqual([h.open.length, h.logs], [0, ["1 0.0 1.0 0.1 1.1 1.2 "]]);
    h = cloud({ at_once: 2, lightly: true }, [conflict, {}]);
    assert.equal(h.run(), 0);
    assert.equal(h.tickets, 9);
    h = cloud({});
    h.waitCode = 8;
    assert.equal(h.run(), 1);
    assert.equal(h.reason, "nova.server_evacuate: canceled: the host stopped waiting");
  },
  "tickets"() {
    const h = new Host("tickets", { "nova.server_get": [{ id: "7f3" }, { refuse: { code: "not_found", message: "no", status: 404 } }] });
    h.limit = 3;
    assert.equal(h.run(), 0, h.reason);
    assert.equal(h.open.length, 0);
    assert.equal(h.asked("task.cancel").length, 1);
  },
};

// Halves of surrogate pairs are replaced.
function lone(v) {
  if (typeof v == "string") return v.toWellFormed();
  if (Array.isArray(v)) return v.map(lone);
  if (v && typeof v == "object") return Object.fromEntries(Object.entries(v).map(([k, e]) => [k.toWellFormed(), lone(e)]));
  return Object.is(v, -0) ? 0 : v;
}

let failures = 0;
for (const [name, test] of Object.entries(tests)) {
  try {
    test();
  } catch (e) {
    failures++;
    console.log("FAIL " + name + "\n" + e.stack);
  }
}
console.log((failures ? "FAIL" : "ok") + ": " + Object.keys(tests).length + " tests, " + failures + " failures");
process.exit(failures ? 1 : 0);
