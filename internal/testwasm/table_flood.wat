;; Grows a table as far as it goes, then fills it and copies it, without end.
(module
  (memory (export "memory") 1)
  (table $t 1 60000 funcref)
  (func $run (export "run") (result i32)
    (loop $grow
      (br_if $grow (i32.ne (table.grow $t (ref.null func) (i32.const 1000)) (i32.const -1))))
    (loop $again
      (table.fill $t (i32.const 0) (ref.null func) (table.size $t))
      (table.copy $t $t (i32.const 1) (i32.const 0) (i32.sub (table.size $t) (i32.const 1)))
      (br $again))
    (i32.const 0))
)
