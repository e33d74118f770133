;; Fills 64 MiB at once, without end: one instruction that takes tens of milliseconds.
(module
  (memory (export "memory") 1024)
  (func $run (export "run") (result i32)
    (loop $again
      (memory.fill (i32.const 0) (i32.const 7) (i32.const 0x4000000))
      (br $again))
    (i32.const 0))
)
