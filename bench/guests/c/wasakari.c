// For Wasakari, and for the bare runtimes, which are given the same import.
#include "work.h"

__attribute__((import_module("wasakari_v1"), import_name("call")))
int64_t call(const char *op, int32_t op_len, const char *req, int32_t req_len, char *out, int32_t cap);

static int32_t host(enum op op, const char *req, int32_t req_len, char *buf, int32_t cap) {
  int64_t n = op == OP_GET ? call("kv.get", 6, req, req_len, buf, cap)
                           : call("nova.server_get", 15, req, req_len, buf, cap);
  return n >= 0 && n <= cap ? (int32_t)n : -1;
}

__attribute__((export_name("run"))) int32_t run(void) {
  return work((int32_t)call("task.input", 10, "{}", 2, input, sizeof input));
}
