// The imports of ABI v1; sdk/ABI.md describes them.

// @ts-ignore: decorator
@external("wasakari_v1", "call")
export declare function call(op: usize, opLen: i32, req: usize, reqLen: i32, out: usize, outCap: i32): i64;
// @ts-ignore: decorator
@external("wasakari_v1", "take")
export declare function take(out: usize, outCap: i32): i64;
// @ts-ignore: decorator
@external("wasakari_v1", "submit")
export declare function submit(op: usize, opLen: i32, req: usize, reqLen: i32): i64;
// @ts-ignore: decorator
@external("wasakari_v1", "wait")
export declare function wait(timeoutMs: i32, out: usize, outCap: i32): i64;
// @ts-ignore: decorator
@external("wasakari_v1", "log")
export declare function log(level: i32, msg: usize, len: i32): void;
// @ts-ignore: decorator
@external("wasakari_v1", "progress")
export declare function progress(permille: i32, msg: usize, len: i32): void;
// @ts-ignore: decorator
@external("wasi_snapshot_preview1", "clock_time_get")
export declare function clockTimeGet(clock: i32, precision: i64, time: usize): i32;
// @ts-ignore: decorator
@external("wasi_snapshot_preview1", "random_get")
export declare function randomGet(to: usize, n: i32): i32;
