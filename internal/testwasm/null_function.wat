;; Calls a function pointer that is null.
(module
  (memory (export "memory") 1)
  (table 1 funcref)
  (type $t (func (result i32)))
  (func $run (export "run") (result i32) (call_indirect (type $t) (i32.const 0)))
)
