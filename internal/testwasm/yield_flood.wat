;; Yields, reads the clock and asks for randomness without end.
(module
  (import "wasi_snapshot_preview1" "sched_yield" (func $yield (result i32)))
  (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
  (memory (export "memory") 100)
  (func $run (export "run") (result i32) (loop $again (drop (call $yield)) (drop (call $random (i32.const 0) (i32.const 6553600))) (br $again)) (i32.const 0))
)
