;; Two functions without loops that call one another through a table, twice each time: never deep, never done.
(module
  (type $step (func (param i32) (result i32)))
  (memory (export "memory") 1)
  (table 2 funcref)
  (elem (i32.const 0) $even $odd)
  (func $even (type $step)
    (if (result i32) (i32.eqz (local.get 0)) (then (i32.const 1))
      (else (i32.add
        (call_indirect (type $step) (i32.sub (local.get 0) (i32.const 1)) (i32.const 1))
        (call_indirect (type $step) (i32.sub (local.get 0) (i32.const 1)) (i32.const 1))))))
  (func $odd (type $step)
    (if (result i32) (i32.eqz (local.get 0)) (then (i32.const 0))
      (else (i32.add
        (call $even (i32.sub (local.get 0) (i32.const 1)))
        (call $even (i32.sub (local.get 0) (i32.const 1)))))))
  (func $run (export "run") (result i32) (drop (call $even (i32.const 60))) (i32.const 0))
)
