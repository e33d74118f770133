;; Reads once, with a synchronous call, and succeeds whatever the answer is.
(module
  (import "wasakari_v1" "call" (func $call (param i32 i32 i32 i32 i32 i32) (result i64)))
  (memory (export "memory") 1)
  (data (i32.const 0) "nova.server_get{}")
  (func $run (export "run") (result i32)
    (drop (call $call (i32.const 0) (i32.const 15) (i32.const 15) (i32.const 2) (i32.const 0) (i32.const 0)))
    (i32.const 0))
)
