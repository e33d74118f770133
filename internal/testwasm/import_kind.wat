;; Imports a global by the name of a function.
(module
  (import "wasakari_v1" "call" (global i32))
  (memory (export "memory") 1)
  (func $run (export "run") (result i32) (i32.const 0))
)
