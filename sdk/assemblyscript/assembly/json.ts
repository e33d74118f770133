// Reading and writing JSON. Values that are read are views of checked text: nothing is copied before it is asked for, and numbers keep every digit.

import { readF64 } from "./number";

/** What a value is. Absent: it is not there. */
export enum Kind { Absent, Null, Bool, Number, String, Array, Object }

/** How deep a document may be nested. */
const maxDepth = 512;

const quote: u8 = 0x22;
const backslash: u8 = 0x5c;

// @ts-ignore: decorator
@inline function isSpace(c: u8): bool { return c == 0x20 || c == 0x0a || c == 0x0d || c == 0x09; }
// @ts-ignore: decorator
@inline function isDigit(c: u8): bool { return c - 0x30 < 10; }

function hex(c: u8): i32 {
  if (isDigit(c)) return c - 0x30;
  const l = c | 0x20;
  return l >= 0x61 && l <= 0x66 ? l - 0x57 : -1;
}

/** One value of a document. */
export class Json {
  /** Not for use by tasks; see Json.parse, and JsonOut for values that are made. */
  constructor(private text: ArrayBuffer, private begin: usize, private end: usize) {}

  /** The value that is not there. */
  static none(): Json { return new Json(changetype<ArrayBuffer>(0), 0, 0); }

  /** Checks that the text is one JSON document, nested at most 512 deep, and gives its value; null when it is none. */
  static parse(text: string): Json | null { return Json.decode(String.UTF8.encode(text)); }

  /** The same for UTF-8. */
  static decode(utf8: ArrayBuffer): Json | null {
    const base = changetype<usize>(utf8);
    const c = new Checker(base, base + utf8.byteLength);
    return c.document() ? new Json(utf8, c.from, c.to) : null;
  }

  static ofString(s: string): Json { const o = new JsonOut(); o.string(s); return o.json(); }
  static ofI64(i: i64): Json { const o = new JsonOut(); o.i64(i); return o.json(); }
  static ofF64(f: f64): Json { const o = new JsonOut(); o.f64(f); return o.json(); }
  static ofBool(b: bool): Json { const o = new JsonOut(); o.bool(b); return o.json(); }
  static ofStrings(l: string[]): Json { const o = new JsonOut(); o.strings(l); return o.json(); }

  get kind(): Kind {
    if (this.begin == this.end) return Kind.Absent;
    switch (load<u8>(this.begin)) {
      case 0x7b: return Kind.Object;
      case 0x5b: return Kind.Array;
      case quote: return Kind.String;
      case 0x74: case 0x66: return Kind.Bool;
      case 0x6e: return Kind.Null;
      default: return Kind.Number;
    }
  }

  /** Whether the value is null or not there. */
  get none(): bool { return this.kind <= Kind.Null; }

  /** Whether the value is that string. */
  is(s: string): bool {
    if (this.kind != Kind.String) return false;
    const n = this.end - this.begin - 2;
    let plain = n == <usize>s.length;
    for (let i: usize = 0; i < n; i++) {
      const c = load<u8>(this.begin + 1 + i);
      if (c == backslash || c >= 0x80) return this.asString() == s;
      if (plain && c != s.charCodeAt(<i32>i)) plain = false;
    }
    return plain;
  }

  /** The string that the value is, "" when it is none. What is no Unicode in it becomes U+FFFD. */
  asString(): string { return this.kind == Kind.String ? decodeText(this.begin + 1, this.end - 1) : ""; }

  /** A string as it is, other values as JSON, "" for null and what is not there. */
  plain(): string { return this.none ? "" : this.kind == Kind.String ? this.asString() : this.toString(); }

  /** The value's JSON. */
  toString(): string { return this.begin == this.end ? "" : decodeUTF8(this.begin, this.end); }

  asBool(): bool { return this.kind == Kind.Bool && load<u8>(this.begin) == 0x74; }

  /** Whether the value is an integer, without fraction and exponent, that an i64 holds. */
  get isI64(): bool {
    if (this.kind != Kind.Number) return false;
    const minus = load<u8>(this.begin) == 0x2d;
    return this.digits(minus) && this.magnitude(minus) <= <u64>i64.MAX_VALUE + <u64>minus;
  }

  /** The same for a u64. */
  get isU64(): bool { return this.kind == Kind.Number && this.digits(false); }

  /** Whether the value is a number that an f64 holds, rounded if need be. */
  get isF64(): bool { return this.kind == Kind.Number && isFinite(this.asF64()); }

  /** The integer without loss; 0 when isI64 is false. */
  asI64(): i64 {
    if (!this.isI64) return 0;
    const minus = load<u8>(this.begin) == 0x2d;
    const m = this.magnitude(minus);
    return minus ? <i64>(0 - m) : <i64>m;
  }

  /** The integer without loss; 0 when isU64 is false. */
  asU64(): u64 { return this.isU64 ? this.magnitude(false) : 0; }

  /** The number as an f64, 0 when the value is none. */
  asF64(): f64 { return this.kind == Kind.Number ? readF64(this.begin, this.end) : 0; }

  /** Whether there are digits only, after the minus, and no more than fit 64 bits. */
  private digits(minus: bool): bool {
    let u: u64 = 0;
    for (let p = this.begin + <usize>minus; p < this.end; p++) {
      const c = load<u8>(p);
      if (!isDigit(c)) return false;
      const d = <u64>(c - 0x30);
      if (u > u64.MAX_VALUE / 10 || u * 10 > u64.MAX_VALUE - d) return false;
      u = u * 10 + d;
    }
    return true;
  }

  private magnitude(minus: bool): u64 {
    let u: u64 = 0;
    for (let p = this.begin + <usize>minus; p < this.end; p++) u = u * 10 + <u64>(load<u8>(p) - 0x30);
    return u;
  }

  /** Goes over the elements of an array or the members of an object; over anything else not once. */
  each(): JsonIter {
    const k = this.kind;
    return k >= Kind.Array ? new JsonIter(this.text, this.begin + 1, this.end - 1, k == Kind.Object) : new JsonIter(this.text, 0, 0, false);
  }

  /** How many elements or members there are. */
  get length(): i32 {
    let n = 0;
    for (const it = this.each(); it.next();) n++;
    return n;
  }

  /** The member of an object; of several with the key, the last. Absent when there is none, and when the value is no object. */
  get(key: string): Json {
    let found = Json.none();
    if (this.kind == Kind.Object) {
      for (const it = this.each(); it.next();) if (it.key.is(key)) found = it.value;
    }
    return found;
  }

  /** The element of an array, absent beyond its end. */
  at(index: i32): Json {
    if (this.kind == Kind.Array) {
      for (const it = this.each(); it.next();) if (it.index == index) return it.value;
    }
    return Json.none();
  }

  /** The keys of an object, in the order of the document. */
  keys(): string[] {
    const all: string[] = [];
    if (this.kind == Kind.Object) for (const it = this.each(); it.next();) all.push(it.key.asString());
    return all;
  }

  /** The strings of an array; what is none in it is "". */
  asStrings(): string[] {
    const all: string[] = [];
    if (this.kind == Kind.Array) for (const it = this.each(); it.next();) all.push(it.value.asString());
    return all;
  }

  /** Appends the bytes; JsonOut's. */
  copyTo(o: JsonOut): void { o.raw(this.begin, this.end - this.begin); }
}

export class JsonIter {
  /** A string; absent in arrays. */
  key: Json = Json.none();
  value: Json = Json.none();
  index: i32 = -1;
  constructor(private text: ArrayBuffer, private p: usize, private end: usize, private object: bool) {}

  next(): bool {
    let p = this.p;
    const end = this.end;
    while (p < end && (isSpace(load<u8>(p)) || load<u8>(p) == 0x2c)) p++;
    if (p >= end) return false;
    if (this.object) {
      const from = p;
      p = skipString(p, end);
      this.key = new Json(this.text, from, p);
      while (p < end && (isSpace(load<u8>(p)) || load<u8>(p) == 0x3a)) p++;
    }
    const from = p;
    p = skip(p, end);
    this.value = new Json(this.text, from, p);
    this.p = p;
    this.index++;
    return true;
  }
}

// The end of the string that begins at p, of checked text.
function skipString(p: usize, end: usize): usize {
  for (p++; p < end; p++) {
    const c = load<u8>(p);
    if (c == quote) return p + 1;
    if (c == backslash) p++;
  }
  return end;
}

// The end of the value that begins at p, of checked text.
function skip(p: usize, end: usize): usize {
  let depth = 0;
  while (p < end) {
    const c = load<u8>(p);
    if (c == quote) {
      p = skipString(p, end);
      if (!depth) return p;
      continue;
    }
    if (c == 0x7b || c == 0x5b) {
      depth++;
    } else if (c == 0x7d || c == 0x5d) {
      if (depth < 2) return depth ? p + 1 : p;
      depth--;
    } else if (!depth && (c == 0x2c || c == 0x3a || isSpace(c))) {
      return p;
    }
    p++;
  }
  return end;
}

class Checker {
  from: usize = 0;
  to: usize = 0;
  constructor(private p: usize, private end: usize) {}

  private peek(): u8 { return this.p < this.end ? load<u8>(this.p) : 0; }
  private space(): void { while (this.p < this.end && isSpace(load<u8>(this.p))) this.p++; }
  private takes(c: u8): bool {
    if (this.p == this.end || load<u8>(this.p) != c) return false;
    this.p++;
    return true;
  }

  document(): bool {
    const objects = new StaticArray<bool>(maxDepth); // for each level: is it an object?
    let depth = 0;
    this.space();
    this.from = this.p;
    let key = false; // a key comes next
    for (;;) {
      if (key) {
        this.space();
        if (!this.string()) return false;
        this.space();
        if (!this.takes(0x3a)) return false;
        key = false;
      }
      this.space();
      const c = this.peek();
      if (c == 0x7b || c == 0x5b) {
        if (depth == maxDepth) return false;
        const object = c == 0x7b;
        objects[depth++] = object;
        this.p++;
        this.space();
        if (!this.takes(object ? 0x7d : 0x5d)) {
          key = object;
          continue;
        }
        depth--;
      } else if (!this.scalar(c)) {
        return false;
      }
      for (;;) { // behind a value
        if (!depth) {
          this.to = this.p;
          this.space();
          return this.p == this.end;
        }
        this.space();
        const object = objects[depth - 1];
        if (this.takes(object ? 0x7d : 0x5d)) {
          depth--;
          continue;
        }
        if (!this.takes(0x2c)) return false;
        key = object;
        break;
      }
    }
    return false;
  }

  private scalar(c: u8): bool {
    switch (c) {
      case quote: return this.string();
      case 0x74: return this.word("true");
      case 0x66: return this.word("false");
      case 0x6e: return this.word("null");
      default: return this.number();
    }
  }

  private word(w: string): bool {
    for (let i = 0; i < w.length; i++) if (!this.takes(<u8>w.charCodeAt(i))) return false;
    return true;
  }

  private digits(): bool {
    if (!isDigit(this.peek())) return false;
    while (isDigit(this.peek())) this.p++;
    return true;
  }

  private number(): bool {
    this.takes(0x2d);
    if (!this.takes(0x30) && !this.digits()) return false;
    if (this.takes(0x2e) && !this.digits()) return false;
    if (this.takes(0x65) || this.takes(0x45)) {
      if (!this.takes(0x2b)) this.takes(0x2d);
      return this.digits();
    }
    return true;
  }

  private string(): bool {
    if (!this.takes(quote)) return false;
    while (this.p < this.end) {
      const c = load<u8>(this.p++);
      if (c == quote) return true;
      if (c < 0x20) return false;
      if (c != backslash) continue;
      const e = this.peek();
      this.p++;
      switch (e) {
        case quote: case backslash: case 0x2f: case 0x62: case 0x66: case 0x6e: case 0x72: case 0x74: break;
        case 0x75:
          if (this.end - this.p < 4 || hex4(this.p) < 0) return false;
          this.p += 4;
          break;
        default: return false;
      }
    }
    return false;
  }
}

function hex4(p: usize): i32 {
  let u = 0;
  for (let i: usize = 0; i < 4; i++) {
    const h = hex(load<u8>(p + i));
    if (h < 0) return -1;
    u = u << 4 | h;
  }
  return u;
}

// Bytes of the UTF-8 character at p, 0 when it is none.
function charLength(p: usize, end: usize): usize {
  const c = load<u8>(p);
  const n: usize = c < 0x80 ? 1 : c < 0xc2 ? 0 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : c < 0xf5 ? 4 : 0;
  if (p + n > end) return 0;
  for (let i: usize = 1; i < n; i++) if ((load<u8>(p + i) & 0xc0) != 0x80) return 0;
  const d: u8 = n > 2 ? load<u8>(p + 1) : 0;
  if (n == 3 && (c == 0xe0 && d < 0xa0 || c == 0xed && d > 0x9f)) return 0;
  if (n == 4 && (c == 0xf0 && d < 0x90 || c == 0xf4 && d > 0x8f)) return 0;
  return n;
}

function decodeUTF8(p: usize, end: usize): string { return decodeUnits(p, end, false); }
function decodeText(p: usize, end: usize): string { return decodeUnits(p, end, true); }

// Makes UTF-16 of UTF-8, undoing escapes when there may be any. Half a surrogate pair, and what is no UTF-8, becomes U+FFFD.
function decodeUnits(p: usize, end: usize, escapes: bool): string {
  const out = new ArrayBuffer(<i32>(end - p) * 2); // no byte makes more than one unit
  const to = changetype<usize>(out);
  let n: usize = 0;
  while (p < end) {
    const c = load<u8>(p);
    let u: u32 = c;
    if (c == backslash && escapes && p + 1 < end) {
      const e = load<u8>(p + 1);
      p += 2;
      switch (e) {
        case 0x62: u = 0x08; break;
        case 0x66: u = 0x0c; break;
        case 0x6e: u = 0x0a; break;
        case 0x72: u = 0x0d; break;
        case 0x74: u = 0x09; break;
        case 0x75: {
          u = p + 4 <= end ? <u32>hex4(p) : 0xfffd;
          p += 4;
          if (u >= 0xd800 && u < 0xe000) {
            let low = -1;
            if (u < 0xdc00 && p + 6 <= end && load<u8>(p) == backslash && load<u8>(p + 1) == 0x75) low = hex4(p + 2);
            if (low >= 0xdc00 && low < 0xe000) {
              p += 6;
              store<u16>(to + n, <u16>u);
              n += 2;
              u = <u32>low;
            } else {
              u = 0xfffd;
            }
          }
          break;
        }
        default: u = e;
      }
    } else if (c < 0x80) {
      p++;
    } else {
      const len = charLength(p, end);
      if (len == 2) {
        u = (<u32>c & 0x1f) << 6 | (load<u8>(p + 1) & 0x3f);
      } else if (len == 3) {
        u = (<u32>c & 0x0f) << 12 | (<u32>load<u8>(p + 1) & 0x3f) << 6 | (load<u8>(p + 2) & 0x3f);
      } else if (len == 4) {
        u = ((<u32>c & 0x07) << 18 | (<u32>load<u8>(p + 1) & 0x3f) << 12 | (<u32>load<u8>(p + 2) & 0x3f) << 6 | (load<u8>(p + 3) & 0x3f)) - 0x10000;
        store<u16>(to + n, <u16>(0xd800 + (u >> 10)));
        n += 2;
        u = 0xdc00 + (u & 0x3ff);
      } else {
        u = 0xfffd;
      }
      p += len ? len : 1;
    }
    store<u16>(to + n, <u16>u);
    n += 2;
  }
  return String.UTF16.decodeUnsafe(to, n);
}

/** Collects a document. Values are put one after the other; commas are its own business. */
export class JsonOut {
  private buffer: ArrayBuffer = new ArrayBuffer(256);
  private n: usize = 0;
  private comma: bool = false;
  private bad: bool = false;

  private room(n: usize): usize {
    const have = <usize>this.buffer.byteLength;
    if (this.n + n > have) {
      const more = new ArrayBuffer(<i32>max(have * 2, this.n + n));
      memory.copy(changetype<usize>(more), changetype<usize>(this.buffer), this.n);
      this.buffer = more;
    }
    this.n += n;
    return changetype<usize>(this.buffer) + this.n - n;
  }

  private byte(c: u8): void { store<u8>(this.room(1), c); }

  private ascii(s: string): void {
    const to = this.room(s.length);
    for (let i = 0; i < s.length; i++) store<u8>(to + i, <u8>s.charCodeAt(i));
  }

  private value(): void {
    if (this.comma) this.byte(0x2c);
    this.comma = true;
  }

  beginObject(): void { this.value(); this.byte(0x7b); this.comma = false; }
  endObject(): void { this.byte(0x7d); this.comma = true; }
  beginArray(): void { this.value(); this.byte(0x5b); this.comma = false; }
  endArray(): void { this.byte(0x5d); this.comma = true; }

  /** The key of the member whose value is put next. */
  key(k: string): void { this.string(k); this.byte(0x3a); this.comma = false; }

  /** Half a surrogate pair becomes U+FFFD. */
  string(s: string): void {
    this.value();
    this.byte(quote);
    for (let i = 0, n = s.length; i < n; i++) {
      let u: u32 = s.charCodeAt(i);
      if (u == 0x22 || u == 0x5c) {
        this.byte(backslash);
        this.byte(<u8>u);
      } else if (u < 0x20) {
        this.ascii(u < 0x10 ? "\\u000" : "\\u001");
        this.byte(<u8>((u & 15) < 10 ? 0x30 + (u & 15) : 0x57 + (u & 15)));
      } else if (u < 0x80) {
        this.byte(<u8>u);
      } else if (u < 0x800) {
        const to = this.room(2);
        store<u8>(to, <u8>(0xc0 | u >> 6));
        store<u8>(to + 1, <u8>(0x80 | (u & 0x3f)));
      } else {
        if (u >= 0xd800 && u < 0xe000) {
          const low: u32 = u < 0xdc00 && i + 1 < n ? s.charCodeAt(i + 1) : 0;
          if (low >= 0xdc00 && low < 0xe000) {
            i++;
            u = 0x10000 + ((u - 0xd800) << 10) + (low - 0xdc00);
            const to = this.room(4);
            store<u8>(to, <u8>(0xf0 | u >> 18));
            store<u8>(to + 1, <u8>(0x80 | (u >> 12 & 0x3f)));
            store<u8>(to + 2, <u8>(0x80 | (u >> 6 & 0x3f)));
            store<u8>(to + 3, <u8>(0x80 | (u & 0x3f)));
            continue;
          }
          u = 0xfffd;
        }
        const to = this.room(3);
        store<u8>(to, <u8>(0xe0 | u >> 12));
        store<u8>(to + 1, <u8>(0x80 | (u >> 6 & 0x3f)));
        store<u8>(to + 2, <u8>(0x80 | (u & 0x3f)));
      }
    }
    this.byte(quote);
  }

  strings(l: string[]): void {
    this.beginArray();
    for (let i = 0; i < l.length; i++) this.string(l[i]);
    this.endArray();
  }

  i64(i: i64): void { this.value(); this.ascii(i.toString()); }
  u64(u: u64): void { this.value(); this.ascii(u.toString()); }
  bool(b: bool): void { this.value(); this.ascii(b ? "true" : "false"); }
  null(): void { this.value(); this.ascii("null"); }

  /** JSON has no infinities and no NaN: they spoil the document. */
  f64(f: f64): void {
    if (!isFinite(f)) this.bad = true;
    this.value();
    const s = f.toString();
    this.ascii(s.endsWith(".0") ? s.slice(0, -2) : s);
  }

  /** A value that was read; null for one that is not there. */
  put(v: Json): void {
    if (v.kind == Kind.Absent) {
      this.null();
      return;
    }
    this.value();
    v.copyTo(this);
  }

  /** Appends bytes as they are; Json's. */
  raw(p: usize, n: usize): void { memory.copy(this.room(n), p, n); }

  /** The bytes so far. */
  take(): ArrayBuffer { return this.buffer.slice(0, <i32>this.n); }

  /** The document; absent when what was put is no JSON. */
  json(): Json {
    if (this.bad) return Json.none();
    const v = Json.decode(this.take());
    return v === null ? Json.none() : v;
  }
}
