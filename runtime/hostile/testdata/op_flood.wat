;; Asks again and again for an op whose name is all of its memory, and waits, logs and exits with it.
(module
  (import "wasakari_v1" "call" (func $call (param i32 i32 i32 i32 i32 i32) (result i64)))
  (import "wasakari_v1" "submit" (func $submit (param i32 i32 i32 i32) (result i64)))
  (import "wasakari_v1" "progress" (func $progress (param i32 i32 i32)))
  (import "wasakari_v1" "log" (func $log (param i32 i32 i32)))
  (memory (export "memory") 1024)
  (func (export "run") (result i32) (local $n i32)
    (loop $again
      (drop (call $call (i32.const 0) (i32.const 67108864) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)))
      (drop (call $call (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 67108864) (i32.const 0) (i32.const 67108864)))
      (drop (call $submit (i32.const 0) (i32.const 67108864) (i32.const 0) (i32.const 67108864)))
      (call $progress (i32.const 0) (i32.const 0) (i32.const 67108864))
      (call $log (i32.const 0) (i32.const 0) (i32.const 67108864))
      (br_if $again (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 20))))
    (i32.const 0))
)
