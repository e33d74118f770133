;; Writes a line to standard error, half a line to standard output, and exits with code 2, as panics of many languages do.
(module
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "\10\00\00\00\05\00\00\00" "\15\00\00\00\04\00\00\00" "boom\0ahalf")
  (func $run (export "run") (result i32)
    (drop (call $write (i32.const 2) (i32.const 0) (i32.const 1) (i32.const 64)))
    (drop (call $write (i32.const 1) (i32.const 8) (i32.const 1) (i32.const 64)))
    (call $exit (i32.const 2))
    (i32.const 0))
)
