;; Puts functions of the host into a table and calls them through it, once well and once with a pointer to nowhere.
(module
  (type $log (func (param i32 i32 i32)))
  (import "wasakari_v1" "log" (func $log (type $log)))
  (import "wasakari_v1" "progress" (func $progress (type $log)))
  (memory (export "memory") 1)
  (table 2 2 funcref)
  (elem (i32.const 0) $log $progress)
  (data (i32.const 0) "hello")
  (func (export "run") (result i32)
    (call_indirect (type $log) (i32.const 1) (i32.const 0) (i32.const 5) (i32.const 0))
    (call_indirect (type $log) (i32.const 1) (i32.const 65535) (i32.const 2) (i32.const 1))
    (i32.const 0))
)
