;; A task written from ABI.md alone, without any SDK: it counts the bytes of
;; the list of all servers, has two ops in flight at once, and provides a value
;; for the tasks after it. ABI.md shows it, sdk/conformance runs it.
;;
;;   wat2wasm from_abi.wat -o from_abi.wasm
;;   wasakari task pack from_abi.json from_abi.wasm -o tasks/from_abi.wasm
(module
  (import "wasakari_v1" "call"     (func $call     (param i32 i32 i32 i32 i32 i32) (result i64)))
  (import "wasakari_v1" "take"     (func $take     (param i32 i32) (result i64)))
  (import "wasakari_v1" "submit"   (func $submit   (param i32 i32 i32 i32) (result i64)))
  (import "wasakari_v1" "wait"     (func $wait     (param i32 i32 i32) (result i64)))
  (import "wasakari_v1" "log"      (func $log      (param i32 i32 i32)))
  (import "wasakari_v1" "progress" (func $progress (param i32 i32 i32)))

  ;; The first page holds texts and small buffers; answers that are larger go
  ;; to pages added behind it.
  (memory (export "memory") 1)
  (data (i32.const 0)   "nova.server_list")                    ;; 16 bytes
  (data (i32.const 32)  "{\"fields\":[\"id\"]}")               ;; 17
  (data (i32.const 64)  "nova.service_list")                   ;; 17
  (data (i32.const 96)  "{\"binary\":\"nova-compute\"}")       ;; 25
  (data (i32.const 128) "task.sleep")                          ;; 10
  (data (i32.const 144) "{\"ms\":1}")                          ;; 8
  (data (i32.const 160) "kv.put")                              ;; 6
  (data (i32.const 176) "task.reason")                         ;; 11
  (data (i32.const 192) "{\"reason\":\"an op was refused; its error is in the log\"}") ;; 55
  (data (i32.const 256) "counting servers")                    ;; 16
  ;; The request of kv.put; the value, decimal digits and a brace, is written
  ;; behind it.
  (data (i32.const 288) "{\"name\":\"server_list_bytes\",\"value\":") ;; 36
  ;; 512: 64 bytes for answers. 1024: what does not fit there, in new pages.

  ;; An op was refused: log the error document, leave a reason, fail.
  (func $refused (result i32)
    (local $n i64)
    (local.set $n (call $take (i32.const 1024) (i32.const 4096)))
    (if (i32.and (i64.ge_s (local.get $n) (i64.const 0)) (i64.le_s (local.get $n) (i64.const 4096)))
      (then (call $log (i32.const 3) (i32.const 1024) (i32.wrap_i64 (local.get $n)))))
    (drop (call $call (i32.const 176) (i32.const 11) (i32.const 192) (i32.const 55) (i32.const 512) (i32.const 64)))
    (i32.const 1))

  ;; Makes room for $n bytes at 65536 and fetches the answer that is kept.
  (func $fetch (param $n i64) (result i64)
    (if (i32.eq (i32.const -1)
          (memory.grow (i32.wrap_i64 (i64.shr_u (i64.add (local.get $n) (i64.const 65535)) (i64.const 16)))))
      (then unreachable)) ;; the memory limit; a trap fails the task
    (call $take (i32.const 65536) (i32.wrap_i64 (local.get $n))))

  (func (export "run") (result i32)
    (local $n i64) (local $r i64) (local $open i32) (local $p i32)
    (call $progress (i32.const 0) (i32.const 256) (i32.const 16))

    ;; A synchronous op. More than 64 bytes are kept for take.
    (local.set $n (call $call (i32.const 0) (i32.const 16) (i32.const 32) (i32.const 17) (i32.const 512) (i32.const 64)))
    (if (i64.lt_s (local.get $n) (i64.const 0)) (then (return (call $refused))))
    (if (i64.gt_s (local.get $n) (i64.const 64))
      (then (if (i64.ne (call $fetch (local.get $n)) (local.get $n)) (then unreachable))))

    ;; Two ops in flight; their answers come in any order.
    (if (i64.le_s (call $submit (i32.const 64) (i32.const 17) (i32.const 96) (i32.const 25)) (i64.const 0))
      (then (return (call $refused))))
    (if (i64.le_s (call $submit (i32.const 128) (i32.const 10) (i32.const 144) (i32.const 8)) (i64.const 0))
      (then (return (call $refused))))
    (local.set $open (i32.const 2))
    (loop $next
      (local.set $r (call $wait (i32.const -1) (i32.const 512) (i32.const 64)))
      (if (i64.lt_s (local.get $r) (i64.const 0)) (then (return (call $refused))))
      ;; Bit 31 marks an op that was refused.
      (if (i64.ne (i64.and (local.get $r) (i64.const 0x80000000)) (i64.const 0)) (then (return (call $refused))))
      (local.set $open (i32.sub (local.get $open) (i32.const 1)))
      (br_if $next (local.get $open)))

    ;; Writes the decimal digits of $n and "}" so that they end at 400, then
    ;; moves them behind the request.
    (local.set $p (i32.const 399))
    (i32.store8 (local.get $p) (i32.const 125))
    (loop $digit
      (local.set $p (i32.sub (local.get $p) (i32.const 1)))
      (i32.store8 (local.get $p) (i32.add (i32.const 48) (i32.wrap_i64 (i64.rem_u (local.get $n) (i64.const 10)))))
      (local.set $n (i64.div_u (local.get $n) (i64.const 10)))
      (br_if $digit (i64.ne (local.get $n) (i64.const 0))))
    (memory.copy (i32.const 324) (local.get $p) (i32.sub (i32.const 400) (local.get $p)))
    (local.set $n (call $call (i32.const 160) (i32.const 6)
      (i32.const 288) (i32.add (i32.const 36) (i32.sub (i32.const 400) (local.get $p)))
      (i32.const 512) (i32.const 64)))
    (if (i64.lt_s (local.get $n) (i64.const 0)) (then (return (call $refused))))

    (call $progress (i32.const 1000) (i32.const 256) (i32.const 16))
    (i32.const 0)))
