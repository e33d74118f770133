;; Copies from a data segment beyond its end.
(module
  (memory (export "memory") 1)
  (data $d "four")
  (func (export "run") (result i32) (memory.init $d (i32.const 0) (i32.const 2) (i32.const 3)) (i32.const 0))
)
