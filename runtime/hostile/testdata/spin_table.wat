;; Fills and copies the largest tables, for ever.
(module
  (memory (export "memory") 1)
  (table $a 32768 32768 funcref)
  (table $b 32768 32768 funcref)
  (func (export "run") (result i32)
    (loop $again
      (table.fill $a (i32.const 0) (ref.null func) (i32.const 32768))
      (table.copy $b $a (i32.const 0) (i32.const 0) (i32.const 32768))
      (br $again))
    (i32.const 0))
)
