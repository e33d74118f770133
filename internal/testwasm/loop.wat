;; A loop without end: only its limit of time stops it.
(module
  (memory (export "memory") 1)
  (func $run (export "run") (result i32) (loop $again (br $again)) (i32.const 0))
)
