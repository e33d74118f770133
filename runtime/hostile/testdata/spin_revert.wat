;; A loop without end in revert, which runs when a flow failed.
(module
  (memory (export "memory") 1)
  (func (export "run") (result i32) (i32.const 0))
  (func (export "revert") (result i32) (loop $again (br $again)) (i32.const 0))
)
