;; Grows a table that has no maximum.
(module
  (memory (export "memory") 1)
  (table 1 funcref)
  (func $widen (result i32) (table.grow 0 (ref.null func) (i32.const 1)))
  (func $run (export "run") (result i32) (call $widen))
)
