;; Calls the host once, then grows its memory by a page at a time until that is
;; refused, and succeeds.
(module
  (import "wasakari_v1" "call" (func $call (param i32 i32 i32 i32 i32 i32) (result i64)))
  (memory (export "memory") 1)
  (data (i32.const 0) "nova.server_get")
  (func $run (export "run") (result i32)
    (drop (call $call (i32.const 0) (i32.const 15) (i32.const 15) (i32.const 0) (i32.const 64) (i32.const 64)))
    (loop $more
      (br_if $more (i32.ne (memory.grow (i32.const 1)) (i32.const -1))))
    (i32.const 0))
)
