;; Calls kv.get, grows its memory by a page, has the next answer written across the border of the
;; pages, and fails unless it is as before. Then it gives a buffer that ends a byte behind the new end.
(module
  (import "wasakari_v1" "call" (func $call (param i32 i32 i32 i32 i32 i32) (result i64)))
  (memory (export "memory") 1)
  (data (i32.const 0) "kv.get{}")
  (func $get (param $out i32) (param $size i32) (result i64)
    (call $call (i32.const 0) (i32.const 6) (i32.const 6) (i32.const 2) (local.get $out) (local.get $size)))
  (func $run (export "run") (result i32)
    (if (i64.ne (call $get (i32.const 64) (i32.const 8)) (i64.const 8)) (then (return (i32.const 1))))
    (if (i32.ne (memory.grow (i32.const 1)) (i32.const 1)) (then (return (i32.const 1))))
    (if (i64.ne (call $get (i32.const 65532) (i32.const 8)) (i64.const 8)) (then (return (i32.const 1))))
    (if (i64.ne (i64.load (i32.const 64)) (i64.load (i32.const 65532))) (then (return (i32.const 1))))
    (drop (call $get (i32.const 131065) (i32.const 8)))
    (i32.const 0))
)
