;; Calls a function pointer of another signature.
(module
  (memory (export "memory") 1)
  (table 1 funcref)
  (elem (i32.const 0) $f)
  (func $f)
  (type $t (func (result i32)))
  (func $run (export "run") (result i32) (call_indirect (type $t) (i32.const 0)))
)
