;; Fills 2 MiB of a memory that has 64 KiB.
(module
  (memory (export "memory") 1)
  (func $run (export "run") (result i32)
    (memory.fill (i32.const 0) (i32.const 1) (i32.const 0x200000))
    (i32.const 0))
)
