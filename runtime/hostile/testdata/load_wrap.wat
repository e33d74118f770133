;; Reads at an address whose sum with the offset wraps around.
(module
  (memory (export "memory") 1)
  (func (export "run") (result i32) (i32.load offset=0xfffffff0 (i32.const 0x20)))
)
