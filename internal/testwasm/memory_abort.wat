;; Grows its memory until that is refused and gives up, as most languages do when they are out of memory.
(module
  (memory (export "memory") 1)
  (func $run (export "run") (result i32)
    (loop $more (br_if $more (i32.ne (memory.grow (i32.const 16)) (i32.const -1))))
    unreachable)
)
