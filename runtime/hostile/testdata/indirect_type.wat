;; Calls a function of the host's through a table with another signature.
(module
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 1)
  (table 1 1 funcref)
  (elem (i32.const 0) $exit)
  (func (export "run") (result i32) (call_indirect (param i64 i64) (result i32) (i64.const 0) (i64.const 0) (i32.const 0)))
)
