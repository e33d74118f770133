;; Grows a table to its maximum and beyond, which is refused.
(module
  (memory (export "memory") 1)
  (table 1 8 funcref)
  (func $run (export "run") (result i32)
    (loop $more (br_if $more (i32.ne (table.grow 0 (ref.null func) (i32.const 1)) (i32.const -1))))
    (i32.ne (table.size 0) (i32.const 8)))
)
