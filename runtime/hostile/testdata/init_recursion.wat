;; A recursion without end in _initialize.
(module
  (memory (export "memory") 1)
  (func $down (result i32) (i32.add (call $down) (i32.const 1)))
  (func (export "_initialize") (drop (call $down)))
  (func (export "run") (result i32) (i32.const 0))
)
