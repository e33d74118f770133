;; Hands the host a request that lies outside its memory.
;; wat2wasm --debug-names outside_memory.wat
(module
  (import "wasakari_v1" "call" (func $call (param i32 i32 i32 i32 i32 i32) (result i64)))
  (memory (export "memory") 1)
  (data (i32.const 0) "kv.get")
  (func (export "run") (result i32)
    (drop (call $call (i32.const 0) (i32.const 6) (i32.const 65530) (i32.const 100) (i32.const 0) (i32.const 0)))
    (i32.const 0)))
