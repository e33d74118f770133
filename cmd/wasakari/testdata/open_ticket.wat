;; Submits an op and succeeds without waiting for it.
;; wat2wasm --debug-names open_ticket.wat
(module
  (import "wasakari_v1" "submit" (func $submit (param i32 i32 i32 i32) (result i64)))
  (memory (export "memory") 1)
  (data (i32.const 0) "task.sleep")
  (data (i32.const 32) "{\"ms\": 60000}")
  (func (export "run") (result i32)
    (drop (call $submit (i32.const 0) (i32.const 10) (i32.const 32) (i32.const 13)))
    (i32.const 0)))
