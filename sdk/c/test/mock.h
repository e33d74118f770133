/* A host for the tests of the SDK: what it answers is set beforehand, what it was asked is kept. */
#ifndef MOCK_H
#define MOCK_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../wasakari.h"

#define MOCK_CALLS 4096

typedef struct mock_call {
    char op[64];
    char *req;
} mock_call;

typedef struct mock_answer {
    const char *op;
    int code; /* 0, or the errno; doc is then the error document */
    const char *doc;
    int times; /* 0: always */
} mock_answer;

typedef struct mock_ticket {
    int id;
    bool canceled;
    const mock_answer *answer;
} mock_ticket;

static struct {
    mock_answer answers[64];
    size_t n_answers;
    mock_call calls[MOCK_CALLS];
    size_t n_calls;
    char *log, *progress, *kept;
    mock_ticket open[256];
    int n_open, limit, tickets, most; /* most: that were open at the same time */
    int waits, wait_code;             /* wait_code: what wait is refused with */
    bool last_first;                  /* tickets end in the other order */
    uint64_t clock;
} mock;

static inline void mock_reset(void) {
    for (size_t i = 0; i < mock.n_calls; i++) free(mock.calls[i].req);
    free(mock.log);
    free(mock.progress);
    free(mock.kept);
    memset(&mock, 0, sizeof mock);
    mock.limit = 64;
}

static inline void mock_on(const char *op, int code, const char *doc, int times) {
    mock_answer a = {op, code, doc, times};
    mock.answers[mock.n_answers++] = a;
}

static char *mock_copy(const char *p, size_t n) {
    char *c = (char *)malloc(n + 1);
    if (n) memcpy(c, p, n);
    c[n] = 0;
    return c;
}

static inline const char *mock_request(const char *op, size_t index) {
    for (size_t i = 0; i < mock.n_calls; i++) {
        if (!strcmp(mock.calls[i].op, op) && !index--) return mock.calls[i].req;
    }
    return "(none)";
}

static mock_answer *mock_find(const char *op, size_t len, const char *req, size_t n) {
    if (mock.n_calls == MOCK_CALLS) abort();
    mock_call *c = &mock.calls[mock.n_calls++];
    snprintf(c->op, sizeof c->op, "%.*s", (int)len, op);
    c->req = mock_copy(req, n);
    for (size_t i = 0; i < mock.n_answers; i++) {
        mock_answer *a = &mock.answers[i];
        if (strcmp(a->op, c->op) || a->times < 0) continue;
        if (a->times && !--a->times) a->times = -1;
        return a;
    }
    return NULL;
}

static int64_t mock_keep(const mock_answer *a, char *out, size_t cap) {
    const char *doc = a ? a->doc : "{\"code\":\"not_granted\",\"message\":\"no answer\"}";
    int code = a ? a->code : WSK_NOT_GRANTED;
    size_t n = doc ? strlen(doc) : 0;
    free(mock.kept);
    mock.kept = NULL;
    if (!code && n <= cap) {
        if (n) memcpy(out, doc, n);
        return (int64_t)n;
    }
    if (doc) mock.kept = mock_copy(doc, n);
    return code ? -code : (int64_t)n;
}

WSK_C int64_t wsk_import_call(const char *op, size_t op_len, const char *req, size_t req_len, char *out, size_t out_cap) {
    mock_answer *a = mock_find(op, op_len, req, req_len);
    static const mock_answer empty = {"", 0, "{}", 0};
    if (op_len == 11 && !memcmp(op, "task.cancel", 11)) {
        for (int i = 0; i < mock.n_open; i++) {
            if (mock.open[i].id == atoi(strchr(mock.calls[mock.n_calls - 1].req, ':') + 1)) mock.open[i].canceled = true;
        }
    }
    if (!a && op_len > 5 && !memcmp(op, "task.", 5)) return mock_keep(&empty, out, out_cap);
    return mock_keep(a, out, out_cap);
}

WSK_C int64_t wsk_import_take(char *out, size_t out_cap) {
    if (!mock.kept) return -WSK_NOT_FOUND;
    size_t n = strlen(mock.kept);
    if (n <= out_cap) {
        memcpy(out, mock.kept, n);
        free(mock.kept);
        mock.kept = NULL;
    }
    return (int64_t)n;
}

WSK_C int64_t wsk_import_submit(const char *op, size_t op_len, const char *req, size_t req_len) {
    if (mock.n_open >= mock.limit) return -WSK_QUOTA;
    mock_answer *a = mock_find(op, op_len, req, req_len);
    if (!a) return -WSK_INVALID;
    mock_ticket t = {++mock.tickets, false, a};
    mock.open[mock.n_open++] = t;
    if (mock.n_open > mock.most) mock.most = mock.n_open;
    return t.id;
}

WSK_C int64_t wsk_import_wait(int32_t timeout_ms, char *out, size_t out_cap) {
    static const mock_answer canceled = {"", WSK_CANCELED, "{\"code\":\"canceled\",\"message\":\"given up\"}", 0};
    mock.waits++;
    if (mock.wait_code) return -mock.wait_code;
    if (!mock.n_open) return -WSK_NOT_FOUND;
    if (timeout_ms == 0) return -WSK_TIMEOUT;
    int at = mock.last_first ? mock.n_open - 1 : 0;
    mock_ticket t = mock.open[at];
    memmove(mock.open + at, mock.open + at + 1, sizeof t * (size_t)(mock.n_open - at - 1));
    mock.n_open--;
    int64_t low = mock_keep(t.canceled ? &canceled : t.answer, out, out_cap);
    if (low < 0) low = -low | 0x80000000LL;
    return (int64_t)t.id << 32 | low;
}

static void mock_append(char **to, const char *p, size_t n) {
    size_t have = *to ? strlen(*to) : 0;
    *to = (char *)realloc(*to, have + n + 2);
    memcpy(*to + have, p, n);
    memcpy(*to + have + n, "\n", 2);
}

WSK_C void wsk_import_log(int32_t level, const char *msg, size_t len) {
    char line[4096];
    int n = snprintf(line, sizeof line, "%d %.*s", level, (int)len, len ? msg : "");
    mock_append(&mock.log, line, (size_t)n);
}

WSK_C void wsk_import_progress(int32_t permille, const char *msg, size_t len) {
    char line[4096];
    int n = snprintf(line, sizeof line, "%d %.*s", permille, (int)len, len ? msg : "");
    mock_append(&mock.progress, line, (size_t)n);
}

WSK_C int32_t wsk_import_clock(int32_t clock, int64_t precision, uint64_t *time) {
    (void)clock;
    (void)precision;
    *time = mock.clock;
    return 0;
}

#endif
