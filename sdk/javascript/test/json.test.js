import assert from "node:assert/strict";
import { test } from "node:test";

import { parse, stringify } from "../lib/json.js";

test("parse gives what JSON.parse gives", () => {
  for (const text of [
    "null", "true", "-0", "0", "12.5", "1e3", "-1.5E-3", '""', '"a\\"\\u00e9\\n"', "[]", "[1,[2,{}]]", "{}", '{"a":{"b":[null]},"":1}', ' {\n"a" : 1 , "b":[ 1 ] }\t',
    '"snow \u2603 and \\ud83d\\ude00"', '{"a":1,"a":2}', "9007199254740991", "0.12345678901234567890", "1e400",
  ]) assert.deepEqual(parse(text), JSON.parse(text), text);
});

test("parse refuses what JSON.parse refuses", () => {
  for (const text of ["", "nul", "01", "[1,]", "{a:1}", '{"a" 1}', '{"a":1,}', "[1", '"a', '"\n"', "1 2", "'a'", "+1", ".5", "1.", "[1}", "\u00a01"]) {
    assert.throws(() => parse(text), SyntaxError, text);
  }
  assert.throws(() => parse("[".repeat(1000) + "]".repeat(1000)), /nested too deep/);
});

test("64 bits", () => {
  assert.deepEqual(parse("[9223372036854775807,-9223372036854775808,9007199254740993,1]"), [2n ** 63n - 1n, -(2n ** 63n), 2n ** 53n + 1n, 1]);
  assert.equal(stringify({ a: [2n ** 63n - 1n, -5n, 1], s: "12n" }), '{"a":[9223372036854775807,-5,1],"s":"12n"}');
  assert.equal(stringify(5n), "5");
});

test("keys that are special", () => {
  const doc = parse('{"__proto__":{"x":1},"constructor":2}');
  assert.equal(Object.getPrototypeOf(doc), Object.prototype);
  assert.deepEqual(Object.keys(doc), ["__proto__", "constructor"]);
  assert.equal(doc.x, undefined);
});

test("stringify refuses what has no JSON", () => {
  for (const v of [undefined, () => {}, Symbol("s")]) assert.throws(() => stringify(v), TypeError);
  const loop = { n: 1n };
  loop.self = loop;
  assert.throws(() => stringify(loop), TypeError);
  assert.equal(stringify({ toJSON: () => ({ n: 1n }) , n: 1n }), '{"n":1}');
});
