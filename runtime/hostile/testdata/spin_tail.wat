;; Two functions that call each other through a table, without a loop, a little deeper each round.
(module
  (type $f (func (param i32) (result i32)))
  (memory (export "memory") 1)
  (table 2 2 funcref)
  (elem (i32.const 0) $even $odd)
  (func $even (type $f) (call_indirect (type $f) (i32.add (local.get 0) (i32.const 1)) (i32.const 1)))
  (func $odd (type $f) (call_indirect (type $f) (i32.add (local.get 0) (i32.const 1)) (i32.const 0)))
  (func (export "run") (result i32) (call $even (i32.const 0)))
)
