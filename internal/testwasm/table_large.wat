;; A table of 65537 entries, and it costs memory before anything runs.
(module
  (memory (export "memory") 1)
  (table 65537 funcref)
  (func $run (export "run") (result i32) (i32.const 0))
)
