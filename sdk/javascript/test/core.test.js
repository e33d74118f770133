import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { inspect, OpError, Secret } from "../lib/core.js";
import { groups } from "../lib/ops_gen.js";
import { never, run } from "./host.js";

const task = (f, more) => ({ default: { run: f, ...more } });

test("outcomes", async () => {
  for (const [f, exit, reason] of [
    [() => {}, 0, ""],
    [({ succeed }) => succeed("enough"), 0, "enough"],
    [({ fail }) => fail("no room"), 1, "no room"],
    [({ nothing }) => nothing("all is well"), 2, "all is well"],
    [async ({ ignore }) => ignore("not ours"), 3, "not ours"],
    [() => { throw "text" }, 1, 'thrown: "text"'],
  ]) {
    const r = await run(task(f));
    assert.deepEqual([r.exit, r.reason], [exit, reason]);
  }
});

test("what is returned is put", async () => {
  const r = await run(task(() => ({ a: 1, b: undefined, c: 2n ** 60n })), { answers: { "kv.put": { version: 1 } } });
  assert.equal(r.exit, 0);
  assert.deepEqual(r.calls, [["kv.put", '{"name":"a","value":1}'], ["kv.put", '{"name":"c","value":1152921504606846976}']]);
});

test("every op of the schema has its method", async () => {
  let api;
  await run(task((ctx) => void (api = ctx)));
  for (const group of ["nova", "ha", "http"]) {
    for (const verb of Object.keys(groups[group])) {
      const name = verb.replace(/_(.)/g, (_, c) => c.toUpperCase());
      assert.equal(typeof api[group][name], "function", `${group}.${name}`);
    }
  }
  const types = readFileSync(new URL("../wasakari.d.ts", import.meta.url), "utf8");
  for (const name of Object.keys(api)) assert.match(types, new RegExp(`export (const|function) ${name}\\b`));
});

test("a refusal tells all", async () => {
  const doc = { code: "conflict", message: "nova.server_stop: being rebuilt", status: 409, request_id: "req-1" };
  const answers = { "nova.server_stop": () => { throw doc } };
  let seen;
  const r = await run(task(({ nova }) => nova.serverStop({ id: "a" }).catch((err) => void (seen = err))), { answers });
  assert.equal(r.exit, 0);
  assert.ok(seen instanceof OpError);
  assert.deepEqual([seen.op, seen.code, seen.message, seen.status, seen.request_id], ["nova.server_stop", "conflict", doc.message, 409, "req-1"]);
  const uncaught = await run(task(({ nova }) => nova.serverStop({ id: "a" })), { answers });
  assert.deepEqual([uncaught.exit, uncaught.reason], [1, "nova.server_stop: conflict: being rebuilt (HTTP 409, req-1)"]);
});

test("ops side by side", async () => {
  const answers = { "nova.server_get": (r) => ({ id: r.id }) };
  const r = await run(
    task(async ({ nova, parallel, log }) => {
      const ids = Array.from({ length: 10 }, (_, i) => String(i));
      log((await parallel(ids, async (id) => (await nova.serverGet({ id })).id)).join(""));
    }),
    { answers, tickets: 3 },
  );
  assert.deepEqual([r.exit, r.logs], [0, ["info 0123456789"]]);
});

test("a worker that fails", async () => {
  const begun = [];
  const r = await run(
    task(async ({ parallel, sleep }) => {
      await parallel([1, 2, 3, 4], async (i) => { begun.push(i); await sleep(i); if (i === 2) throw new TypeError("two") }, { limit: 2 });
    }),
    { answers: {} },
  );
  assert.equal(r.exit, 1);
  assert.match(r.reason, /^TypeError: two/);
  assert.ok(begun.length < 4);
  assert.equal(r.open, 0);
});

test("what is given up is cancelled, and its ticket awaited", async () => {
  const r = await run(
    task(async ({ nova, log }) => {
      const err = await nova.serverWait({ id: "a", until: "active" }, { timeout: 50 }).catch((e) => e);
      log(err.code, err.gave_up, err.message);
    }),
    { answers: { "nova.server_wait": never } },
  );
  assert.deepEqual([r.exit, r.open, r.logs], [0, 0, ["info timeout true no answer within 50 ms"]]);
});

test("what is not awaited fails the task", async () => {
  const r = await run(task(({ nova }) => void nova.serverGet({ id: "a" })), { answers: { "nova.server_get": {} } });
  assert.deepEqual([r.exit, r.reason], [1, "Error: tickets left open: the task ended and did not await nova.server_get"]);
});

test("a promise that nothing settles", async () => {
  assert.equal((await run(task(() => new Promise(() => {})))).stuck, true);
});

test("timers", async () => {
  const order = [];
  const r = await run((api, { setTimeout, setInterval, clearInterval }) =>
    task(async () => {
      const id = setInterval(() => order.push("i"), 10);
      await new Promise((done) => setTimeout(() => (order.push("t"), done()), 35));
      clearInterval(id);
    }),
  );
  assert.deepEqual([r.exit, order.join(""), r.slept >= 35], [0, "iiit", true]);
});

test("values", async () => {
  const r = await run(
    task(async ({ kv, log }) => {
      log(await kv.get("a"), await kv.get("b", "else"), await kv.library.get("b", 5));
      await kv.scratch.put("x", 1);
      log(await kv.scratch.list());
      await kv.get("b");
    }),
    {
      answers: {
        "kv.get": ({ name }) => { if (name !== "a") throw { code: "not_found", message: "no" }; return { value: 1, version: 4 } },
        "kv.put": {},
        "kv.list": { entries: [{ name: "scratch/x", version: 1 }] },
      },
    },
  );
  assert.deepEqual(r.logs.slice(0, 2), ["info 1 else { value: 5, version: 0 }", 'info [{ name: "x", version: 1 }]']);
  assert.equal(r.reason, "kv.get: not found: no");
});

test("values of the library", async () => {
  const r = await run(
    task(async ({ kv, log }) => {
      log(await kv.library.get("n"), await kv.library.put("n", null, { if_version: 0, ttl_s: 60 }));
      await kv.library.delete("n", { if_version: 2n ** 60n });
      await kv.delete("x");
      log(await kv.library.list(), await kv.library.list("a"), await kv.run.list());
      await kv.put("f", () => {});
    }),
    { answers: { "kv.get": { value: 5, version: 3 }, "kv.put": { version: 4 }, "kv.delete": {}, "kv.list": ({ prefix }) => ({ entries: prefix ? undefined : [{ name: "n", version: 4 }] }) } },
  );
  assert.deepEqual(r.logs.slice(0, 2), ["info { value: 5, version: 3 } 4", 'info [{ name: "n", version: 4 }] [] [{ name: "n", version: 4 }]']);
  assert.deepEqual(r.calls.slice(1), [
    ["kv.put", '{"scope":"library","name":"n","value":null,"if_version":0,"ttl_s":60}'], ["kv.delete", '{"scope":"library","name":"n","if_version":1152921504606846976}'],
    ["kv.delete", '{"name":"x"}'], ["kv.list", '{"scope":"library"}'], ["kv.list", '{"scope":"library","prefix":"a"}'], ["kv.list", "{}"],
  ]);
  assert.match(r.reason, /^TypeError: kv.put: f: a value of type function has no JSON/);
});

test("requests by HTTP", async () => {
  const r = await run(
    task(async ({ http }) => {
      for (const method of ["get", "head", "post", "put", "patch", "delete"]) await http[method]("https://t", { body: "b" });
    }),
    { answers: { "http.request": { status: 200, url: "https://t" } } },
  );
  assert.deepEqual(r.calls, ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"].map((method) => ["http.request", `{"method":"${method}","url":"https://t","body":"b"}`]));
});

test("any op by its name", async () => {
  const r = await run(
    task(async ({ call, log }) => {
      log(await call("ha.host_list", { reserved: true }), await call("nova.server_get", { id: "a" }), (await call("task.input")).key);
      await call("task.sleep", { ms: 0 });
    }),
    { answers: { "ha.host_list": { hosts: [] }, "nova.server_get": { id: "a" } } },
  );
  assert.deepEqual([r.exit, r.logs, r.calls], [0, ['info { hosts: [] } { id: "a" } t'], [["ha.host_list", '{"reserved":true}'], ["nova.server_get", '{"id":"a"}']]]);
});

test("progress", async () => {
  const r = await run(task(({ progress }) => { for (const [permille, message] of [[-1], [500.4, "half"], [5000, 7], ["x", "none"]]) progress(permille, message) }));
  assert.deepEqual(r.progress, [[0, ""], [500, "half"], [1000, "7"], [0, "none"]]);
});

test("a host that takes no more ops", async () => {
  const r = await run(task(({ nova }) => nova.serverGet({ id: "a" }, { timeout: 50 })), { tickets: 0 });
  assert.deepEqual([r.exit, r.reason], [1, "nova.server_get: quota: the task may have no more calls open"]);
});

test("randomness", async () => {
  const r = await run((_, { crypto }) => task(({ log }) => log(crypto.randomUUID(), crypto.getRandomValues(new Uint16Array(300)).every((n) => n === 0x0707))));
  assert.deepEqual(r.logs, ["info 07070707-0707-4707-8707-070707070707 true"]);
});

test("secrets", async () => {
  const r = await run(
    task(({ options, http, log }) => {
      log(`${options.acme.token}`, options.acme.other);
      return http.get("https://x/", { headers: { A: options.acme.token.withPrefix("Bearer ") } }).then(() => {});
    }),
    { input: { options: { acme: { token: { $secret: "acme.token" }, other: null } } }, answers: { "http.request": { status: 200 } } },
  );
  assert.equal(r.exit, 0);
  assert.deepEqual(r.logs, ["info [secret acme.token] null"]);
  assert.equal(r.calls[0][1], '{"method":"GET","url":"https://x/","headers":{"A":{"$secret":"acme.token","prefix":"Bearer "}}}');
  assert.equal(JSON.stringify(new Secret("a.b")), '{"$secret":"a.b"}');
});

test("which task", async () => {
  const script = { one: { run: ({ log }) => log("one") }, two: { key: "second", run: ({ log }) => log("two") }, helper: () => {} };
  for (const [key, logs, reason] of [
    ["one", ["info one"], ""],
    ["second", ["info two"], ""],
    ["third", [], "TypeError: t.js: no task third: it exports one, second"],
  ]) {
    const r = await run(script, { input: { key } });
    assert.deepEqual([r.logs, r.reason.replace(/ \(.*/, "")], [logs, reason]);
  }
  const renamed = await run(task(({ log }) => log("ran")), { input: { key: "anything" } });
  assert.deepEqual(renamed.logs, ["info ran"]);
});

test("revert", async () => {
  const undone = await run(task(() => {}, { revert: ({ task, log }) => log(task.failure) }), { mode: 1, input: { reverting: true, failure: "broke" } });
  assert.deepEqual([undone.exit, undone.logs], [0, ["info broke"]]);
  assert.equal((await run(task(() => {}), { mode: 1 })).exit, 2);
});

test("describe", async () => {
  const r = await run(task(() => {}, { requires: ["a"], revert() {}, options: [{ group: "g", name: "n", type: "int" }] }), { mode: 2 });
  assert.deepEqual(JSON.parse(r.reason), {
    tasks: [{ key: "t", requires: ["a"], options: [{ group: "g", name: "n", type: "int" }], revert: true }],
  });
  assert.equal((await run({ x: 1 }, { mode: 2 })).exit, 1);
});

test("requests that are none", async () => {
  for (const req of [null, "id", [1], 5]) {
    const r = await run(task(({ nova }) => nova.serverGet(req)));
    assert.match(r.reason, /^TypeError: nova.server_get: the request is .*, not an object/);
  }
});

test("inspect", () => {
  const loop = {};
  loop.self = loop;
  for (const [value, want] of [
    ["text", "text"], [["text"], '["text"]'], [null, "null"], [undefined, "undefined"], [1n, "1"], [[1n], "[1n]"],
    [{ "a-b": 1, c: { d: [] } }, '{ "a-b": 1, c: { d: [] } }'], [loop, "{ self: [circular] }"], [new Date(0), "1970-01-01T00:00:00.000Z"], [{}, "{}"],
    [/x/g, "/x/g"], [Symbol("s"), "Symbol(s)"], [Promise.resolve(), "[promise]"],
    [Array.from({ length: 102 }, () => 1), `[${"1, ".repeat(100)}… 2 more]`],
  ]) assert.equal(inspect(value), want);
});

test("misspelt names are told", async () => {
  const acme = { input: { options: { acme: { max_servers: 3, queue: null } } } };
  for (const [f, reason] of [
    [({ nova }) => nova.stopServer({ id: "a" }), "nova has no stopServer; did you mean serverStop?"],
    [({ nova, inputs }) => nova.serverList({ host: inputs.hostname }), "nova.server_list: host is undefined: give it a value, or leave it out"],
    [({ http }) => http.fetch("https://x/"), "http has no fetch, but request, get, head, post, put, patch, delete"],
    [({ options }) => options.acme.max_server, "options.acme has no max_server; did you mean max_servers?"],
    [({ options }) => options.acme.colour, "options.acme has no colour, but max_servers, queue"],
  ]) {
    const r = await run(task(async (ctx) => void (await f(ctx))), acme);
    assert.equal(r.exit, 1);
    assert.match(r.reason, new RegExp(`^TypeError: ${reason.replace(/[.?]/g, "\\$&")}( |$)`));
  }
  const r = await run(task(async ({ nova, options, log }) => {
    await nova;
    log(JSON.stringify(options), "colour" in options.acme, `${Object.keys(options.acme)}`, options.acme);
  }), acme);
  assert.deepEqual([r.exit, r.reason], [0, ""]);
  for (const [more, reason] of [
    [{ require: ["host_name"] }, "task t has require, which means nothing; did you mean requires?"],
    [{ revet() {} }, "task t has revet, which means nothing; did you mean revert?"],
    [{ requires: ["a"], require() {}, limit: 3, helpers: [] }, "task t has limit, which means nothing; did you mean limits?"],
  ]) {
    const r = await run(task(() => {}, more), { mode: 2 });
    assert.equal(r.exit, 1);
    assert.ok(r.reason.includes(reason), r.reason);
  }
  assert.equal((await run(task(() => {}, { requires: ["a"], require() {}, helpers: [], colours: {} }), { mode: 2 })).exit, 0);
});
