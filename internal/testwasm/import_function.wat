;; Imports a function that is not there, close to one that is.
(module
  (import "wasakari_v1" "submitt" (func))
  (memory (export "memory") 1)
  (func $run (export "run") (result i32) (i32.const 0))
)
