;; Imports from a later version of the ABI.
(module
  (import "wasakari_v2" "call" (func))
  (memory (export "memory") 1)
  (func $run (export "run") (result i32) (i32.const 0))
)
