;; Built by Go, for WASI, without _initialize: its runtime would never start.
;; section: go:buildid
(module
  (import "wasi_snapshot_preview1" "sched_yield" (func (result i32)))
  (memory (export "memory") 1)
  (func $run (export "run") (result i32) (i32.const 0))
)
