;; Starts with 128 MiB, more than the default limit.
(module
  (memory (export "memory") 2048)
  (func $run (export "run") (result i32) (i32.const 0))
)
