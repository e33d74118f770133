;; Grows a table until that is refused, and gives up when it came to more than its maximum.
(module
  (memory (export "memory") 1)
  (table $t 0 65536 funcref)
  (func (export "run") (result i32)
    (loop $more (br_if $more (i32.ne (table.grow $t (ref.null func) (i32.const 1000)) (i32.const -1))))
    (if (i32.gt_u (table.size $t) (i32.const 65536)) (then unreachable))
    (i32.const 0))
)
