;; Takes all memory in _initialize and more in run.
(module
  (memory (export "memory") 1)
  (func (export "_initialize") (loop $more (br_if $more (i32.ne (memory.grow (i32.const 1)) (i32.const -1)))))
  (func (export "run") (result i32)
    (if (i32.eq (memory.grow (i32.const 1)) (i32.const -1)) (then unreachable))
    (i32.const 0))
)
