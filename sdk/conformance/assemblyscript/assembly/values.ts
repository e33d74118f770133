// Values anew, number by number: what the SDK reads it must be able to write.

import { Json, JsonOut, Kind, Secret, Text } from "../../../assemblyscript/assembly";

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
        o.key(it.key.asString());
        rewrite(o, it.value);
      }
      o.endObject();
      break;
    case Kind.String: o.string(v.asString()); break;
    case Kind.Number:
      if (v.isI64) o.i64(v.asI64());
      else o.f64(v.asF64());
      break;
    case Kind.Bool: o.bool(v.asBool()); break;
    default: o.null();
  }
}

export function again(v: Json): Json {
  const o = new JsonOut();
  rewrite(o, v);
  return o.json();
}

export function readText(v: Json): Text {
  if (v.kind == Kind.String) return new Text(v.asString());
  const s = new Secret();
  s.read(v);
  return new Text("", s);
}

export function readTexts(v: Json): Map<string, Text> {
  const all = new Map<string, Text>();
  for (const it = v.each(); it.next();) all.set(it.key.asString(), readText(it.value));
  return all;
}
