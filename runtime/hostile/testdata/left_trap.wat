;; Dirties global and memory and traps in _initialize when it finds them dirty, else in run.
(module
  (memory (export "memory") 1)
  (global $dirty (mut i32) (i32.const 0))
  (func (export "_initialize")
    (if (i32.or (global.get $dirty) (i32.load (i32.const 8))) (then unreachable)))
  (func $run (export "run") (result i32)
    (global.set $dirty (i32.const 1))
    (i32.store (i32.const 8) (i32.const 1))
    (i32.div_u (i32.const 1) (i32.const 0)))
)
