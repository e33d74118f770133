;; Carries a script of two files.
(module
  (memory (export "memory") 1)
  (func $run (export "run") (result i32) (i32.const 0))
)
