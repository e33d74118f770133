;; Traps when a passive segment was dropped before; then drops both.
(module
  (memory (export "memory") 1)
  (table $t 1 1 funcref)
  (data $d "data")
  (elem $e funcref (ref.func $f))
  (func $f)
  (func (export "run") (result i32)
    (memory.init $d (i32.const 0) (i32.const 0) (i32.const 4))
    (table.init $t $e (i32.const 0) (i32.const 0) (i32.const 1))
    (data.drop $d)
    (elem.drop $e)
    (i32.const 0))
)
