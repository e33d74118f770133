;; A module for a snapshot: run returns 0 only when _initialize, which is long, has left memory and globals as it did, and nothing on the stack.
(module
  (import "wasi_snapshot_preview1" "clock_time_get" (func $clock (param i32 i64 i32) (result i32)))
  (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
  (import "wasakari_v1" "call" (func $call (param i32 i32 i32 i32 i32 i32) (result i64)))
  (import "wasakari_v1" "log" (func $log (param i32 i32 i32)))
  (memory (export "memory") 1 4)
  (global $stack (mut i32) (i32.const 1024))
  (global $i32 (mut i32) (i32.const 0))
  (global $i64 (mut i64) (i64.const 0))
  (global $f32 (mut f32) (f32.const 0))
  (global $f64 (mut f64) (f64.const 0))
  (global $fixed i32 (i32.const 9))
  (data (i32.const 2048) "ready")
  (func (export "_initialize")
    (i32.store (i32.const 512) (i32.const 99)) ;; on the stack
    (drop (memory.grow (i32.const 1)))
    (i32.store (i32.const 70000) (i32.const -42))
    (i64.store (i32.const 70016) (i64.const -1))
    (drop (call $clock (i32.const 0) (i64.const 1) (i32.const 70016)))
    (drop (call $random (i32.const 70024) (i32.const 8)))
    (global.set $i32 (i32.const -7))
    (global.set $i64 (i64.const 0x123456789abcdef0))
    (global.set $f32 (f32.const 1.5))
    (global.set $f64 (f64.const -2.25))
    ;; no op is answered
    (global.set $i32 (i32.add (global.get $i32) (i32.wrap_i64 (call $call (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)))))
    (call $log (i32.const 1) (i32.const 2048) (i32.const 5)))
  (func $run (export "run") (result i32)
    (i32.eqz
      (i32.and
        (i32.and
          (i32.and (i32.eq (memory.size) (i32.const 2)) (i32.eqz (i32.load (i32.const 512))))
          (i32.and (i32.eq (i32.load (i32.const 70000)) (i32.const -42)) (i64.eqz (i64.load (i32.const 70016)))))
        (i32.and
          (i32.and (i32.eq (global.get $i32) (i32.const -8)) (i64.eq (global.get $i64) (i64.const 0x123456789abcdef0)))
          (i32.and (f32.eq (global.get $f32) (f32.const 1.5)) (i32.and (f64.eq (global.get $f64) (f64.const -2.25)) (i32.eq (global.get $fixed) (i32.const 9))))))))
)
