;; Loops within loops that carry values and go on by br_table, br_if and br in turn.
(module
  (memory (export "memory") 1)
  (func (export "run") (result i32) (local $n i32)
    (loop $outer (result i32)
      (i32.const 1)
      (loop $inner (param i32) (result i32)
        (local.set $n (i32.add (local.get $n)))
        (i32.const 1)
        (br_if $inner (i32.and (local.get $n) (i32.const 1)))
        (drop)
        (br_table $outer $outer (i32.rem_u (local.get $n) (i32.const 3)))))
  )
)
