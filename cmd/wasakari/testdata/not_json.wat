;; Asks for a list of servers in words, and fails when that is refused.
;; wat2wasm --debug-names not_json.wat
(module
  (import "wasakari_v1" "call" (func $call (param i32 i32 i32 i32 i32 i32) (result i64)))
  (memory (export "memory") 1)
  (data (i32.const 0) "nova.server_list")
  (data (i32.const 32) "servers, please")
  (func (export "run") (result i32)
    (i64.lt_s
      (call $call (i32.const 0) (i32.const 16) (i32.const 32) (i32.const 15) (i32.const 0) (i32.const 0))
      (i64.const 0))))
