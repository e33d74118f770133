;; Waits in _initialize for an op that is never answered.
(module
  (import "wasakari_v1" "call" (func $call (param i32 i32 i32 i32 i32 i32) (result i64)))
  (memory (export "memory") 1)
  (data (i32.const 0) "nova.server_get")
  (func (export "_initialize") (drop (call $call (i32.const 0) (i32.const 15) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))))
  (func (export "run") (result i32) (i32.const 0))
)
