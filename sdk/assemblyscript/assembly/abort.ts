// Breaking down. These stand apart from all else: asc may need them before anything else is there.

import * as imports from "./imports";

function write(level: i32, message: string): void {
  const m = String.UTF8.encode(message);
  imports.log(level, changetype<usize>(m), m.byteLength);
}

/** What asc is to call when a task breaks down: throw, a failed assertion, an index out of bounds. See asconfig.json. */
export function abort(message: string | null, file: string | null, line: u32, column: u32): void {
  const m = message === null ? "aborted" : message;
  const f = file === null ? "?" : file;
  write(3, "panic: " + m + " at " + f + ":" + line.toString() + ":" + column.toString());
  let reason = "";
  for (let i = 0; i < m.length; i++) {
    const c = m.charAt(i);
    if (c == "\"" || c == "\\") reason += "\\" + c;
    else reason += c < " " ? " " : c;
  }
  const op = String.UTF8.encode("task.reason"), req = String.UTF8.encode("{\"reason\":\"panic: " + reason + "\"}"), out = new ArrayBuffer(64);
  imports.call(changetype<usize>(op), op.byteLength, changetype<usize>(req), req.byteLength, changetype<usize>(out), out.byteLength);
  unreachable();
}

/** Where Math.random begins. */
export function seed(): f64 {
  const b = new ArrayBuffer(8);
  imports.randomGet(changetype<usize>(b), 8);
  return reinterpret<f64>(load<u64>(changetype<usize>(b)));
}
