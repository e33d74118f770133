;; Touches each page of 64 MiB, without end: few instructions, and much work for the kernel.
(module
  (memory (export "memory") 1024)
  (func $run (export "run") (result i32)
    (local $at i32)
    (loop $again
      (i32.store (i32.and (local.get $at) (i32.const 0x3fffffc)) (local.get $at))
      (local.set $at (i32.add (local.get $at) (i32.const 4096)))
      (br $again))
    (i32.const 0))
)
