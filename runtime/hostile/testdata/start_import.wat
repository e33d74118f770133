;; A start function that is one of the host's.
(module
  (import "wasi_snapshot_preview1" "sched_yield" (func $yield (result i32)))
  (memory (export "memory") 1)
  (func $main (drop (call $yield)))
  (start $main)
  (func (export "run") (result i32) (i32.const 0))
)
