;; Imports from a module that is not there.
(module
  (import "env" "now" (func (result i64)))
  (memory (export "memory") 1)
  (func $run (export "run") (result i32) (i32.const 0))
)
