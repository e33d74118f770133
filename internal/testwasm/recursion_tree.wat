;; A recursion without loops that is never deep and takes longer than anyone waits: Fibonacci numbers the slow way.
(module
  (memory (export "memory") 1)
  (func $fib (param i64) (result i64)
    (if (result i64) (i64.lt_u (local.get 0) (i64.const 2))
      (then (local.get 0))
      (else (i64.add (call $fib (i64.sub (local.get 0) (i64.const 1))) (call $fib (i64.sub (local.get 0) (i64.const 2)))))))
  (func $run (export "run") (result i32) (drop (call $fib (i64.const 90))) (i32.const 0))
)
