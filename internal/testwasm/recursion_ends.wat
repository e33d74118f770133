;; A recursion of 5000 calls, which ends well where the stack is large enough.
(module
  (memory (export "memory") 1)
  (func $deeper (param i32) (result i32)
    (if (result i32) (i32.eqz (local.get 0)) (then (i32.const 0))
      (else (i32.add (call $deeper (i32.sub (local.get 0) (i32.const 1))) (i32.const 0)))))
  (func $run (export "run") (result i32) (call $deeper (i32.const 5000)))
)
