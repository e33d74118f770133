;; Grows its memory by nothing, for ever.
(module
  (memory (export "memory") 1)
  (func (export "run") (result i32) (loop $again (drop (memory.grow (i32.const 0))) (br $again)) (i32.const 0))
)
