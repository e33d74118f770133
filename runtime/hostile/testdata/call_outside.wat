;; Calls an entry behind the end of its table, at the largest index.
(module
  (memory (export "memory") 1)
  (table 4 4 funcref)
  (func (export "run") (result i32) (call_indirect (result i32) (i32.const -1)))
)
