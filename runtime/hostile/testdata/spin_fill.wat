;; Fills and copies all of a large memory, for ever: each is one instruction.
(module
  (memory (export "memory") 512)
  (func (export "run") (result i32)
    (loop $again
      (memory.fill (i32.const 0) (i32.const 7) (i32.const 33554432))
      (memory.copy (i32.const 0) (i32.const 16777216) (i32.const 16777216))
      (br $again))
    (i32.const 0))
)
