;; One function is run, revert and, under a second name, whatever the host may call: it counts how often.
(module
  (memory (export "memory") 1)
  (global $n (mut i32) (i32.const 0))
  (func $f (export "run") (export "revert") (export "_start_") (export "malloc") (export "asyncify_start_unwind") (result i32)
    (global.set $n (i32.add (global.get $n) (i32.const 1)))
    (i32.sub (global.get $n) (i32.const 1)))
)
