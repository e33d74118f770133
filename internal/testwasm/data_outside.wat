;; A data segment outside the memory: instantiation fails.
(module
  (memory (export "memory") 1)
  (data (i32.const 65535) "ab")
  (func $run (export "run") (result i32) (i32.const 0))
)
