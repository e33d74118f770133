;; Fails, and has a revert that succeeds.
;; wat2wasm --debug-names undone.wat
(module
  (memory (export "memory") 1)
  (func (export "run") (result i32) (i32.const 1))
  (func (export "revert") (result i32) (i32.const 0)))
