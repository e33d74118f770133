// The work of every guest, see bench/internal/workload. The shim of an ABI
// (wasakari.c, extism.c, wapc.c) fetches the input and does the host calls.
#pragma once
#include <stdint.h>

enum op { OP_GET, OP_HOLD };

// host does an op and copies its answer to buf. It gives the answer's length,
// or -1.
static int32_t host(enum op op, const char *req, int32_t req_len, char *buf, int32_t cap);

static char input[8192], answer[65536];

struct doc {
  const char *p, *end;
  int depth;
  uint32_t mode, n, size, want;
  int bad;
};

static void space(struct doc *d) {
  while (d->p < d->end && (*d->p == ' ' || *d->p == '\n' || *d->p == '\t' || *d->p == '\r')) d->p++;
}

static int next(struct doc *d) {
  if (d->p >= d->end) {
    d->bad = 1;
    return -1;
  }
  return (unsigned char)*d->p++;
}

static inline uint32_t fnv(uint32_t h, uint32_t byte) { return (h ^ byte) * 16777619u; }

static uint32_t hex4(struct doc *d) {
  uint32_t u = 0;
  for (int i = 0; i < 4; i++) {
    int c = next(d);
    if (c >= '0' && c <= '9') u = u << 4 | (c - '0');
    else if (c >= 'a' && c <= 'f') u = u << 4 | (c - 'a' + 10);
    else if (c >= 'A' && c <= 'F') u = u << 4 | (c - 'A' + 10);
    else d->bad = 1;
  }
  return u;
}

// string reads a string after its opening quote and hashes what it stands for.
static uint32_t string(struct doc *d) {
  uint32_t h = 2166136261u;
  for (;;) {
    int c = next(d);
    if (c < 0 || c == '"') return h;
    if (c != '\\') {
      h = fnv(h, c);
      continue;
    }
    switch (c = next(d)) {
    case 'n': c = '\n'; break;
    case 't': c = '\t'; break;
    case 'r': c = '\r'; break;
    case 'b': c = '\b'; break;
    case 'f': c = '\f'; break;
    case 'u': {
      uint32_t u = hex4(d); // the documents hold no surrogates
      if (u < 0x80) {
        h = fnv(h, u);
      } else if (u < 0x800) {
        h = fnv(fnv(h, 0xc0 | u >> 6), 0x80 | (u & 63));
      } else {
        h = fnv(fnv(fnv(h, 0xe0 | u >> 12), 0x80 | (u >> 6 & 63)), 0x80 | (u & 63));
      }
      continue;
    }
    case '"': case '\\': case '/': break;
    default: d->bad = 1; return h;
    }
    h = fnv(h, c);
  }
}

static uint32_t number(struct doc *d, int c) {
  uint32_t v = 0;
  int minus = c == '-';
  if (minus) c = next(d);
  for (;;) {
    if (c < '0' || c > '9') {
      d->bad = 1;
      return 0;
    }
    v = v * 10 + (c - '0');
    if (d->p >= d->end || *d->p < '0' || *d->p > '9') return minus ? -v : v;
    c = next(d);
  }
}

static uint32_t word(struct doc *d, const char *rest, uint32_t v) {
  for (; *rest; rest++)
    if (next(d) != *rest) d->bad = 1;
  return v;
}

static int is(const char *p, const char *end, const char *name) {
  for (; *name; name++, p++)
    if (p >= end || *p != *name) return 0;
  return p < end && *p == '"';
}

static uint32_t value(struct doc *d) {
  uint32_t sum = 0;
  space(d);
  int c = next(d);
  switch (c) {
  case '"': return string(d);
  case 't': return word(d, "rue", 1);
  case 'f': return word(d, "alse", 0);
  case 'n': return word(d, "ull", 0);
  case '{':
  case '[': break;
  default: return number(d, c);
  }
  if (++d->depth > 64) d->bad = 1;
  char close = c == '{' ? '}' : ']';
  space(d);
  if (d->p < d->end && *d->p == close) {
    d->p++;
    d->depth--;
    return 0;
  }
  for (;;) {
    if (d->bad) return 0;
    const char *key = d->p + 1;
    if (close == '}') {
      space(d);
      if (next(d) != '"') d->bad = 1;
      key = d->p;
      sum += string(d);
      space(d);
      if (next(d) != ':') d->bad = 1;
    }
    uint32_t v = value(d);
    sum += v;
    if (d->depth == 1) {
      if (is(key, d->end, "mode")) d->mode = v;
      else if (is(key, d->end, "n")) d->n = v;
      else if (is(key, d->end, "size")) d->size = v;
      else if (is(key, d->end, "want")) d->want = v;
    }
    space(d);
    c = next(d);
    if (c == close) {
      d->depth--;
      return sum;
    }
    if (c != ',') d->bad = 1;
  }
}

static int parse(struct doc *d, int32_t len) {
  *d = (struct doc){.p = input, .end = input + len};
  uint32_t sum = value(d);
  space(d);
  return !d->bad && d->p == d->end && sum - d->want == d->want;
}

static volatile uint32_t counter;

__attribute__((noinline)) static void tree(uint32_t n) {
  counter++;
  if (n == 0) return;
  tree(n - 1);
  tree(n - 1);
  counter++;
}

// work does what the input of len bytes asks for: 0 when all was right.
static int32_t work(int32_t len) {
  static const char req[] = "{\"name\":\"host_name\"}";
  struct doc d;
  if (len < 0 || len > (int32_t)sizeof input || !parse(&d, len)) return 1;
  switch (d.mode) {
  case 1: // task
  case 4: // hold
    for (uint32_t i = 0; i < d.n; i++)
      if (host(OP_GET, req, sizeof req - 1, answer, sizeof answer) != (int32_t)d.size) return 1;
    if (d.mode == 4 && host(OP_HOLD, req, sizeof req - 1, answer, sizeof answer) < 0) return 1;
    return 0;
  case 2: // json
    for (uint32_t i = 0; i < d.n; i++) {
      struct doc again;
      if (!parse(&again, len)) return 1;
    }
    return 0;
  case 3: // spin
    for (;;) counter++;
  case 5: // recurse
    tree(d.n);
    return 0;
  }
  return 1;
}
