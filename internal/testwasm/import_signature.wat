;; Imports a function with a wrong signature.
(module
  (import "wasakari_v1" "take" (func (param i32) (result i32)))
  (memory (export "memory") 1)
  (func $run (export "run") (result i32) (i32.const 0))
)
