// JSON with whole numbers beyond 2^53: they are BigInts, both ways.

// A script may change these.
const { parse: parsePlain, stringify: stringifyPlain } = JSON;

// parse is JSON.parse, but that integers which a number cannot hold exactly
// become BigInts. The engine calls it for documents that have long integers.
export function parse(text) {
  let at = 0;

  const bad = () => {
    throw new SyntaxError(`JSON: ${at < text.length ? `unexpected ${stringifyPlain(text[at])}` : "it ends too early"} at ${at}`);
  };
  const blank = () => {
    while (at < text.length && " \t\n\r".includes(text[at])) at++;
  };
  const token = /-?(?:0|[1-9]\d*)(\.\d+)?([eE][-+]?\d+)?|"(?:[^"\\]|\\.)*"|true|false|null/y;

  const value = (depth) => {
    if (depth > 512) throw new SyntaxError("JSON: nested too deep");
    blank();
    const c = text[at];
    if (c === "{") return object(depth);
    if (c === "[") return array(depth);
    token.lastIndex = at;
    const m = token.exec(text);
    if (!m) bad();
    at = token.lastIndex;
    if (c === "-" || (c >= "0" && c <= "9")) {
      const n = Number(m[0]);
      return m[1] || m[2] || Number.isSafeInteger(n) ? n : BigInt(m[0]);
    }
    return parsePlain(m[0]);
  };
  const array = (depth) => {
    const list = [];
    at++;
    blank();
    if (text[at] === "]") return at++, list;
    for (;;) {
      list.push(value(depth + 1));
      blank();
      if (text[at] === "]") return at++, list;
      if (text[at++] !== ",") at--, bad();
    }
  };
  const object = (depth) => {
    const doc = {};
    at++;
    blank();
    if (text[at] === "}") return at++, doc;
    for (;;) {
      blank();
      if (text[at] !== '"') bad();
      const key = value(depth + 1);
      blank();
      if (text[at++] !== ":") at--, bad();
      // Not by assignment: the key may be __proto__.
      Object.defineProperty(doc, key, { value: value(depth + 1), writable: true, enumerable: true, configurable: true });
      blank();
      if (text[at] === "}") return at++, doc;
      if (text[at++] !== ",") at--, bad();
    }
  };

  const v = value(0);
  blank();
  if (at < text.length) bad();
  return v;
}

// stringify is JSON.stringify, but that BigInts become integers, and what has
// no JSON is an error instead of undefined.
export function stringify(value) {
  let text;
  try {
    text = stringifyPlain(value);
  } catch (err) {
    if (!hasBigInt(value, new Set())) throw err;
    // A mark that no string of the value can hold by chance.
    const mark = `bigint:${Math.random()}:${Math.random()}:`;
    const marked = stringifyPlain(value, (_, v) => (typeof v === "bigint" ? mark + v : v));
    text = marked.replaceAll(new RegExp(`"${mark.replaceAll(".", "\\.").replaceAll("+", "\\+")}(-?\\d+)"`, "g"), "$1");
  }
  if (text === undefined) throw new TypeError(`a ${typeof value} has no JSON`);
  return text;
}

function hasBigInt(v, seen) {
  if (typeof v === "bigint") return true;
  if (typeof v !== "object" || v === null || seen.has(v)) return false;
  seen.add(v);
  return Object.values(v).some((x) => hasBigInt(x, seen));
}
