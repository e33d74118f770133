;; Says that it spins, and then does.
(module
  (import "wasakari_v1" "log" (func $log (param i32 i32 i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "spinning")
  (func $run (export "run") (result i32)
    (call $log (i32.const 1) (i32.const 0) (i32.const 8))
    (loop $again (br $again))
    (i32.const 0))
)
