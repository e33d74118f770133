;; A program with _start, as compilers build by default.
(module
  (memory (export "memory") 1)
  (func (export "_start"))
  (func $run (export "run") (result i32) (i32.const 0))
)
