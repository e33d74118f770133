;; Its run takes a parameter and returns nothing.
(module
  (memory (export "memory") 1)
  (func (export "run") (param i32))
)
