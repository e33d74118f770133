;; Copies with a length that wraps around.
(module
  (memory (export "memory") 1)
  (func (export "run") (result i32) (memory.copy (i32.const 16) (i32.const 0) (i32.const -8)) (i32.const 0))
)
