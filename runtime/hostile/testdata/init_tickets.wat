;; Submits a read in _initialize and leaves it open.
(module
  (import "wasakari_v1" "submit" (func $submit (param i32 i32 i32 i32) (result i64)))
  (memory (export "memory") 1)
  (data (i32.const 0) "nova.server_get")
  (func (export "_initialize") (drop (call $submit (i32.const 0) (i32.const 15) (i32.const 0) (i32.const 0))))
  (func (export "run") (result i32) (i32.const 0))
)
