;; Writes eight bytes of which only the first lies in memory; a byte next to it must not change.
(module
  (memory (export "memory") 1)
  (func (export "run") (result i32) (i64.store (i32.const 65535) (i64.const -1)) (i32.const 0))
)
