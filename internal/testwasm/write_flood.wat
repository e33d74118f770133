;; Writes its whole memory, one line, to standard output without end.
(module
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 100)
  (data (i32.const 0) "\00\00\00\00\00\00\60\00")
  (func $run (export "run") (result i32) (loop $again (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 16))) (br $again)) (i32.const 0))
)
