;; An engine: the outcome of run and revert is the digit with which the last file of the script ends; describe answers 5000 letters.
;; manifest: none
(module
  (import "wasakari_v1" "call" (func $call (param i32 i32 i32 i32 i32 i32) (result i64)))
  (memory (export "memory") 1)
  (data (i32.const 0) "task.script{}task.reason{\"reason\":\"")
  (func $script (result i32) (local $n i32)
    (local.set $n (i32.wrap_i64 (call $call (i32.const 0) (i32.const 11) (i32.const 11) (i32.const 2) (i32.const 1024) (i32.const 60000))))
    ;; The answer ends with DIGIT"}]}
    (i32.sub (i32.load8_u (i32.add (local.get $n) (i32.const 1019))) (i32.const 48)))
  (func $run (export "run") (result i32) (call $script))
  (func $revert (export "revert") (result i32) (call $script))
  (func $describe (export "describe") (result i32)
    (memory.fill (i32.const 35) (i32.const 120) (i32.const 5000))
    (i32.store16 (i32.const 5035) (i32.const 0x7d22))
    (drop (call $call (i32.const 13) (i32.const 11) (i32.const 24) (i32.const 5013) (i32.const 0) (i32.const 0)))
    (call $script))
)
