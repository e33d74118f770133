;; Fills from the last byte of memory on; nothing may be written before the check.
(module
  (memory (export "memory") 1)
  (func (export "run") (result i32) (memory.fill (i32.const 65535) (i32.const 1) (i32.const 2)) (i32.const 0))
)
