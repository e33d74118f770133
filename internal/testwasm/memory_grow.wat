;; Grows its memory until that is refused, takes it well, and can use all it got.
(module
  (memory (export "memory") 1)
  (func $run (export "run") (result i32)
    (loop $more (br_if $more (i32.ne (memory.grow (i32.const 1)) (i32.const -1))))
    (i32.store (i32.sub (i32.mul (memory.size) (i32.const 65536)) (i32.const 4)) (i32.const 42))
    (i32.const 0))
)
