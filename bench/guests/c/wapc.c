// For waPC.
#include "work.h"

#define WAPC(name) __attribute__((import_module("wapc"), import_name(#name)))

WAPC(__guest_request) void guest_request(char *op, char *payload);
WAPC(__host_call) int32_t host_call(const char *binding, int32_t binding_len, const char *ns, int32_t ns_len,
                                    const char *op, int32_t op_len, const char *payload, int32_t payload_len);
WAPC(__host_response_len) int32_t host_response_len(void);
WAPC(__host_response) void host_response(char *out);

static int32_t host(enum op op, const char *req, int32_t req_len, char *buf, int32_t cap) {
  int32_t ok = op == OP_GET ? host_call("", 0, "", 0, "kv.get", 6, req, req_len)
                            : host_call("", 0, "", 0, "nova.server_get", 15, req, req_len);
  if (!ok) return -1;
  int32_t n = host_response_len();
  if (n > cap) return -1;
  host_response(buf);
  return n;
}

// __guest_call returns 1 when it went well.
__attribute__((export_name("__guest_call"))) int32_t guest_call(int32_t op_len, int32_t payload_len) {
  static char op[16];
  if (op_len > (int32_t)sizeof op || payload_len > (int32_t)sizeof input) return 0;
  guest_request(op, input);
  return work(payload_len) == 0;
}
