;; Sets an entry behind the end of its table.
(module
  (memory (export "memory") 1)
  (table $t 4 4 funcref)
  (func (export "run") (result i32) (table.set $t (i32.const 4) (ref.null func)) (i32.const 0))
)
