;; Fails when a global has another value than it was declared with; then changes it. _initialize counts too.
(module
  (memory (export "memory") 1)
  (global $run (mut i64) (i64.const 41))
  (global $begun (export "begun") (mut i32) (i32.const 0))
  (func (export "_initialize") (global.set $begun (i32.add (global.get $begun) (i32.const 1))))
  (func (export "run") (result i32)
    (if (i64.ne (global.get $run) (i64.const 41)) (then (return (i32.const 1))))
    (if (i32.ne (global.get $begun) (i32.const 1)) (then (return (i32.const 1))))
    (global.set $run (i64.const 42))
    (global.set $begun (i32.const 9))
    (i32.const 0))
)
