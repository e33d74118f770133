;; Copies 256 MiB at once, to where it overlaps, without end.
(module
  (memory (export "memory") 4097)
  (func $run (export "run") (result i32)
    (loop $again
      (memory.copy (i32.const 0x10000) (i32.const 0) (i32.const 0x10000000))
      (memory.copy (i32.const 0) (i32.const 0x10000) (i32.const 0x10000000))
      (br $again))
    (i32.const 0))
)
