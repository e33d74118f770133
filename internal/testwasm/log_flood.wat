;; Logs the same line without end: the limit on logs drops it, that of time ends it.
(module
  (import "wasakari_v1" "log" (func $log (param i32 i32 i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "again")
  (func $run (export "run") (result i32) (loop $again (call $log (i32.const 1) (i32.const 0) (i32.const 5)) (br $again)) (i32.const 0))
)
