;; Its manifest has an unknown key.
(module
  (memory (export "memory") 1)
  (func $run (export "run") (result i32) (i32.const 0))
)
