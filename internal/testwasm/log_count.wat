;; Logs five lines in three messages.
(module
  (import "wasakari_v1" "log" (func $log (param i32 i32 i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "one\0atwo\0d\0athree\0afo\1bur\fffive")
  (func $run (export "run") (result i32)
    (call $log (i32.const 0) (i32.const 0) (i32.const 15))
    (call $log (i32.const 3) (i32.const 15) (i32.const 6))
    (call $log (i32.const 9) (i32.const 21) (i32.const 4))
    (i32.const 0))
)
