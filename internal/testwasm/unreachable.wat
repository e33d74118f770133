;; A trap three calls deep: the stack of the error names the functions.
(module
  (memory (export "memory") 1)
  (func $inner unreachable)
  (func $outer (call $inner))
  (func $run (export "run") (result i32) (call $outer) (i32.const 0))
)
