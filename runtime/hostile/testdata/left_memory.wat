;; Fails when a byte of its memory is not zero, or when it begins larger than it is declared; then writes and grows.
(module
  (memory (export "memory") 1)
  (func (export "run") (result i32) (local $p i32)
    (if (i32.ne (memory.size) (i32.const 1)) (then (return (i32.const 1))))
    (loop $look
      (if (i64.ne (i64.load (local.get $p)) (i64.const 0)) (then (return (i32.const 1))))
      (br_if $look (i32.lt_u (local.tee $p (i32.add (local.get $p) (i32.const 8))) (i32.const 65536))))
    (drop (memory.grow (i32.const 3)))
    (local.set $p (i32.const 0))
    (loop $dirty
      (if (i64.ne (i64.load (local.get $p)) (i64.const 0)) (then (return (i32.const 1))))
      (i64.store (local.get $p) (i64.const -1))
      (br_if $dirty (i32.lt_u (local.tee $p (i32.add (local.get $p) (i32.const 8))) (i32.const 262144))))
    (i32.const 0))
)
