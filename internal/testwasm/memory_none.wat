;; A memory of no pages, which is exported and legal.
(module
  (memory (export "memory") 0)
  (func $run (export "run") (result i32) (i32.const 0))
)
