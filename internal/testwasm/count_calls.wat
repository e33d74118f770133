;; Fetches a number by task.input and does op kv.get so often, with room for 64 KiB of answer.
;; Fails when an answer is an error or does not fit. For benchmarks.
(module
  (import "wasakari_v1" "call" (func $call (param i32 i32 i32 i32 i32 i32) (result i64)))
  (memory (export "memory") 3)
  (data (i32.const 0) "task.input\00\00kv.get{}")
  (func $run (export "run") (result i32)
    (local $n i64)
    (drop (call $call (i32.const 0) (i32.const 10) (i32.const 18) (i32.const 2) (i32.const 64) (i32.const 8)))
    (local.set $n (i64.load (i32.const 64)))
    (block $end (loop $again
      (br_if $end (i64.eqz (local.get $n)))
      (local.set $n (i64.sub (local.get $n) (i64.const 1)))
      (br_if $again (i64.le_u
        (call $call (i32.const 12) (i32.const 6) (i32.const 18) (i32.const 2) (i32.const 128) (i32.const 65536))
        (i64.const 65536)))
      (return (i32.const 1))))
    (i32.const 0))
)
