;; _initialize is called once before run: run returns 0 only when the global was raised once.
(module
  (memory (export "memory") 1)
  (global $n (mut i32) (i32.const 0))
  (func (export "_initialize") (global.set $n (i32.add (global.get $n) (i32.const 1))))
  (func $run (export "run") (result i32) (i32.ne (global.get $n) (i32.const 1)))
)
