;; Asks for the ops that its data lists, one after the other, and logs each answer, or the error document as a warning.
;; Tests append the data: from 0 records of four 32-bit numbers, which are pointer and length of an op and of its
;; request; one without an op ends the list, and its first number is what run returns. Answers lie from 131072.
;; wat2wasm --debug-names ops.wat
(module
  (import "wasakari_v1" "call" (func $call (param i32 i32 i32 i32 i32 i32) (result i64)))
  (import "wasakari_v1" "take" (func $take (param i32 i32) (result i64)))
  (import "wasakari_v1" "log" (func $log (param i32 i32 i32)))
  (memory (export "memory") 4)
  (func (export "run") (result i32)
    (local $at i32)
    (local $n i64)
    (loop $next
      (if (i32.load offset=4 (local.get $at))
        (then
          (local.set $n (call $call
            (i32.load (local.get $at)) (i32.load offset=4 (local.get $at))
            (i32.load offset=8 (local.get $at)) (i32.load offset=12 (local.get $at))
            (i32.const 131072) (i32.const 131072)))
          (if (i64.lt_s (local.get $n) (i64.const 0))
            (then
              (local.set $n (call $take (i32.const 131072) (i32.const 131072)))
              (call $log (i32.const 2) (i32.const 131072) (i32.wrap_i64 (local.get $n))))
            (else
              (call $log (i32.const 1) (i32.const 131072) (i32.wrap_i64 (local.get $n)))))
          (local.set $at (i32.add (local.get $at) (i32.const 16)))
          (br $next))))
    (i32.load (local.get $at))))
