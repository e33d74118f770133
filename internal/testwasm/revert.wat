;; A task with revert, which says "reverted" as its reason and returns 2.
(module
  (import "wasakari_v1" "call" (func $call (param i32 i32 i32 i32 i32 i32) (result i64)))
  (memory (export "memory") 1)
  (data (i32.const 0) "task.reason{\"reason\":\"reverted\"}")
  (func $run (export "run") (result i32) (i32.const 0))
  (func (export "revert") (result i32)
    (drop (call $call (i32.const 0) (i32.const 11) (i32.const 11) (i32.const 21) (i32.const 0) (i32.const 0)))
    (i32.const 2))
)
