;; Overflows the stack's depth slowly: each level does a loop of its own before it goes deeper.
(module
  (memory (export "memory") 1)
  (func $down (param i32)
    (local $n i32)
    (loop $work (br_if $work (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 100000))))
    (call $down (i32.add (local.get 0) (i32.const 1))))
  (func (export "run") (result i32) (call $down (i32.const 0)) (i32.const 0))
)
