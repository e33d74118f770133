// For Extism: every byte between guest and host goes through the kernel's
// memory, eight at a time, as in Extism's own kits.
#include "work.h"

#define ENV(name) __attribute__((import_module("extism:host/env"), import_name(#name)))
#define USER(name) __attribute__((import_module("extism:host/user"), import_name(#name)))

ENV(input_length) uint64_t input_length(void);
ENV(input_load_u64) uint64_t input_load_u64(uint64_t at);
ENV(input_load_u8) uint32_t input_load_u8(uint64_t at);
ENV(alloc) uint64_t alloc(uint64_t n);
ENV(free) void release(uint64_t at);
ENV(length) uint64_t length(uint64_t at);
ENV(load_u64) uint64_t load_u64(uint64_t at);
ENV(load_u8) uint32_t load_u8(uint64_t at);
ENV(store_u64) void store_u64(uint64_t at, uint64_t v);
ENV(store_u8) void store_u8(uint64_t at, uint32_t v);
USER(kv_get) uint64_t kv_get(uint64_t req);
USER(nova_server_get) uint64_t nova_server_get(uint64_t req);

// Buffers are read and written in words, whatever their alignment.
struct word { uint64_t v; } __attribute__((packed));

static int32_t host(enum op op, const char *req, int32_t req_len, char *buf, int32_t cap) {
  uint64_t in = alloc(req_len);
  int32_t i = 0;
  for (; i + 8 <= req_len; i += 8) store_u64(in + i, ((const struct word *)(req + i))->v);
  for (; i < req_len; i++) store_u8(in + i, (unsigned char)req[i]);
  uint64_t out = op == OP_GET ? kv_get(in) : nova_server_get(in);
  release(in);
  int64_t n = out ? (int64_t)length(out) : 0;
  if (n > cap) return -1;
  for (i = 0; i + 8 <= n; i += 8) ((struct word *)(buf + i))->v = load_u64(out + i);
  for (; i < n; i++) buf[i] = (char)load_u8(out + i);
  if (out) release(out);
  return (int32_t)n;
}

__attribute__((export_name("run"))) int32_t run(void) {
  int64_t n = (int64_t)input_length();
  if (n > (int64_t)sizeof input) return 1;
  int32_t i = 0;
  for (; i + 8 <= n; i += 8) ((struct word *)(input + i))->v = input_load_u64(i);
  for (; i < n; i++) input[i] = (char)input_load_u8(i);
  return work((int32_t)n);
}
