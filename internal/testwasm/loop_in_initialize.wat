;; A loop without end in _initialize, before run is called.
(module
  (memory (export "memory") 1)
  (func (export "_initialize") (loop $again (br $again)))
  (func $run (export "run") (result i32) (i32.const 0))
)
