;; A start function that never ends.
(module
  (memory (export "memory") 1)
  (func $main (loop $again (br $again)))
  (start $main)
  (func (export "run") (result i32) (i32.const 0))
)
