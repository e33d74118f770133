;; Fills a table from an element segment beyond the end of both.
(module
  (memory (export "memory") 1)
  (table $t 4 4 funcref)
  (elem $e funcref (ref.func $f))
  (func $f)
  (func (export "run") (result i32) (table.init $t $e (i32.const 0) (i32.const 0) (i32.const 2)) (i32.const 0))
)
