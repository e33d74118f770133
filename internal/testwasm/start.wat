;; A start function: refused, it would run before the limits are in force.
(module
  (memory (export "memory") 1)
  (func $start)
  (start $start)
  (func $run (export "run") (result i32) (i32.const 0))
)
