/* The JavaScript engine of script tasks: QuickJS as a guest of ABI v1.

   What tasks see is written in JavaScript (../lib) and built in; this file
   joins it to the host. It knows memory, the six imports, and the loop that
   runs promise jobs and waits for tickets between them. _initialize is run when
   the engine is built, and the memory that it leaves is what every sandbox
   starts from: nothing in it may depend on time or chance. */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <malloc.h>
#include "quickjs.h"

#define IMPORT(name) __attribute__((import_module("wasakari_v1"), import_name(name)))
#define WASI(name) __attribute__((import_module("wasi_snapshot_preview1"), import_name(name)))
#define EXPORT(name) __attribute__((export_name(name)))

IMPORT("call") int64_t host_call(const char *op, size_t op_len, const char *req, size_t req_len, char *out, size_t cap);
IMPORT("take") int64_t host_take(char *out, size_t cap);
IMPORT("submit") int64_t host_submit(const char *op, size_t op_len, const char *req, size_t req_len);
IMPORT("wait") int64_t host_wait(int32_t timeout_ms, char *out, size_t cap);
IMPORT("log") void host_log(int32_t level, const char *msg, size_t len);
IMPORT("progress") void host_progress(int32_t permille, const char *msg, size_t len);
WASI("clock_time_get") int32_t host_clock(int32_t clock, int64_t precision, uint64_t *out);
WASI("random_get") int32_t host_random(void *out, size_t len);

/* What a script may use of C's stack in memory, which has 512 KiB, before it
   gets an InternalError "stack overflow". The machine's stack, which the host
   limits, grows five to fifteen times as fast. */
#ifndef SCRIPT_STACK
#define SCRIPT_STACK (224 << 10)
#endif

enum { EXIT_SUCCEEDED = 0, EXIT_FAILED = 1 };
enum { MODE_RUN = 0, MODE_REVERT = 1, MODE_DESCRIBE = 2 };

static JSRuntime *rt;
static JSContext *ctx;

/* What lib/wasakari.js gives with host.engine. */
static JSValue hook_begin, hook_turn, hook_resolve, hook_source, hook_rejected, hook_parse;

/* Given back to malloc when it has nothing left, so that there is room for the
   error that tells so. */
static void *reserve;
enum { RESERVE = 64 << 10 };

static void release(void)
{
    free(reserve);
    reserve = NULL;
}

/* Memory: malloc with the sizes that the garbage collector goes by. What the
   host refuses is an exception in the script. */

static void *memory_malloc(JSMallocState *s, size_t size)
{
    void *p = malloc(size);
    if (!p) {
        release();
        return NULL;
    }
    s->malloc_count++;
    s->malloc_size += malloc_usable_size(p);
    return p;
}

static void memory_free(JSMallocState *s, void *p)
{
    if (!p)
        return;
    s->malloc_count--;
    s->malloc_size -= malloc_usable_size(p);
    free(p);
}

static void *memory_realloc(JSMallocState *s, void *p, size_t size)
{
    if (!p)
        return size ? memory_malloc(s, size) : NULL;
    if (!size) {
        memory_free(s, p);
        return NULL;
    }
    size_t before = malloc_usable_size(p);
    p = realloc(p, size);
    if (!p) {
        release();
        return NULL;
    }
    s->malloc_size += malloc_usable_size(p) - before;
    return p;
}

static size_t memory_size(const void *p) { return malloc_usable_size((void *)p); }

static const JSMallocFunctions memory = {memory_malloc, memory_free, memory_realloc, memory_size};

/* Random numbers: xoroshiro128+, seeded from the host in every sandbox. */

static uint64_t seed[2];

static uint64_t rotl(uint64_t x, int k) { return (x << k) | (x >> (64 - k)); }

static uint64_t next_random(void)
{
    uint64_t a = seed[0], b = seed[1], r = a + b;
    b ^= a;
    seed[0] = rotl(a, 24) ^ b ^ (b << 16);
    seed[1] = rotl(b, 37);
    return r;
}

/* Answers. Small ones are written into own, larger ones are taken. */

static char own[32 << 10];

/* has_long_integer reports whether a document has an integer of more than 15 digits,
   which JSON.parse would round. */
static int has_long_integer(const char *s, size_t n)
{
    size_t i = 0;
    while (i < n) {
        char c = s[i++];
        if (c == '"') {
            while (i < n && s[i] != '"')
                i += s[i] == '\\' ? 2 : 1;
            i++;
        } else if (c >= '0' && c <= '9') {
            size_t from = i;
            while (i < n && s[i] >= '0' && s[i] <= '9')
                i++;
            size_t digits = i - from + 1;
            if (i < n && (s[i] == '.' || s[i] == 'e' || s[i] == 'E')) {
                while (i < n && ((s[i] >= '0' && s[i] <= '9') || s[i] == '.' || s[i] == 'e' || s[i] == 'E' || s[i] == '+' || s[i] == '-'))
                    i++;
            } else if (digits > 15) {
                return 1;
            }
        }
    }
    return 0;
}

/* parse makes a value of a document that ends with a zero byte. */
static JSValue parse(const char *doc, size_t n)
{
    if (n == 0)
        return JS_UNDEFINED;
    if (!has_long_integer(doc, n))
        return JS_ParseJSON(ctx, doc, n, "<answer>");
    JSValue text = JS_NewStringLen(ctx, doc, n);
    if (JS_IsException(text))
        return text;
    JSValue v = JS_Call(ctx, hook_parse, JS_UNDEFINED, 1, (JSValueConst *)&text);
    JS_FreeValue(ctx, text);
    return v;
}

/* answer makes the value of what the host answered: n bytes that stand in own,
   or, when they do not fit or kept is set, wait to be taken. */
static JSValue answer(int64_t n, int kept)
{
    if (!kept && n < (int64_t)sizeof own) {
        own[n] = 0;
        return parse(own, n);
    }
    n = host_take(NULL, 0);
    if (n < 0)
        return JS_UNDEFINED;
    char *b = malloc(n + 1);
    if (!b)
        return JS_ThrowOutOfMemory(ctx);
    if (host_take(b, n) != n) {
        free(b);
        return JS_UNDEFINED;
    }
    b[n] = 0;
    JSValue v = parse(b, n);
    free(b);
    return v;
}

static JSValue tuple(JSValue *list, int n)
{
    JSValue a = JS_NewArray(ctx);
    for (int i = 0; i < n; i++) {
        if (JS_IsException(a)) {
            JS_FreeValue(ctx, list[i]);
        } else if (JS_DefinePropertyValueUint32(ctx, a, i, list[i], JS_PROP_C_W_E) < 0) {
            JS_FreeValue(ctx, a);
            a = JS_EXCEPTION;
        }
    }
    return a;
}

/* The module wasakari:host, which the lib imports. */

/* call(op, request text) gives [0, answer] or [errno, error document]. */
static JSValue js_call(JSContext *c, JSValueConst this, int argc, JSValueConst *argv)
{
    size_t op_len, req_len;
    const char *op = JS_ToCStringLen(ctx, &op_len, argv[0]);
    if (!op)
        return JS_EXCEPTION;
    const char *req = JS_ToCStringLen(ctx, &req_len, argv[1]);
    if (!req) {
        JS_FreeCString(ctx, op);
        return JS_EXCEPTION;
    }
    /* One byte is left for the zero at the end. */
    int64_t n = host_call(op, op_len, req, req_len, own, sizeof own - 1);
    JS_FreeCString(ctx, op);
    JS_FreeCString(ctx, req);
    JSValue v = answer(n, n < 0);
    if (JS_IsException(v))
        return v;
    JSValue list[] = {JS_NewInt64(ctx, n < 0 ? -n : 0), v};
    return tuple(list, 2);
}

/* submit(op, request text) gives a ticket or −errno. */
static JSValue js_submit(JSContext *c, JSValueConst this, int argc, JSValueConst *argv)
{
    size_t op_len, req_len;
    const char *op = JS_ToCStringLen(ctx, &op_len, argv[0]);
    if (!op)
        return JS_EXCEPTION;
    const char *req = JS_ToCStringLen(ctx, &req_len, argv[1]);
    if (!req) {
        JS_FreeCString(ctx, op);
        return JS_EXCEPTION;
    }
    int64_t n = host_submit(op, op_len, req, req_len);
    JS_FreeCString(ctx, op);
    JS_FreeCString(ctx, req);
    return JS_NewInt64(ctx, n);
}

/* wait(timeout in ms) gives [ticket, 0, answer], [ticket, errno, error
   document], or −errno of the wait itself. */
static JSValue js_wait(JSContext *c, JSValueConst this, int argc, JSValueConst *argv)
{
    int32_t timeout;
    if (JS_ToInt32(ctx, &timeout, argv[0]))
        return JS_EXCEPTION;
    int64_t r = host_wait(timeout, own, sizeof own - 1);
    if (r < 0)
        return JS_NewInt64(ctx, r);
    uint32_t low = (uint32_t)r;
    int refused = low >> 31;
    JSValue v = answer(low & 0x7fffffff, refused);
    if (JS_IsException(v))
        return v;
    JSValue list[] = {JS_NewInt64(ctx, r >> 32), JS_NewInt32(ctx, refused ? (int32_t)(low & 0x7fffffff) : 0), v};
    return tuple(list, 3);
}

static JSValue js_log(JSContext *c, JSValueConst this, int argc, JSValueConst *argv)
{
    int32_t level;
    size_t n;
    if (JS_ToInt32(ctx, &level, argv[0]))
        return JS_EXCEPTION;
    const char *s = JS_ToCStringLen(ctx, &n, argv[1]);
    if (!s)
        return JS_EXCEPTION;
    host_log(level, s, n);
    JS_FreeCString(ctx, s);
    return JS_UNDEFINED;
}

static JSValue js_progress(JSContext *c, JSValueConst this, int argc, JSValueConst *argv)
{
    int32_t permille;
    size_t n;
    if (JS_ToInt32(ctx, &permille, argv[0]))
        return JS_EXCEPTION;
    const char *s = JS_ToCStringLen(ctx, &n, argv[1]);
    if (!s)
        return JS_EXCEPTION;
    host_progress(permille, s, n);
    JS_FreeCString(ctx, s);
    return JS_UNDEFINED;
}

/* now() gives milliseconds of a clock that never goes back. */
static JSValue js_now(JSContext *c, JSValueConst this, int argc, JSValueConst *argv)
{
    uint64_t ns = 0;
    host_clock(1, 0, &ns);
    return JS_NewFloat64(ctx, (double)ns / 1e6);
}

static JSValue js_random(JSContext *c, JSValueConst this, int argc, JSValueConst *argv)
{
    return JS_NewFloat64(ctx, (double)(next_random() >> 11) * 0x1p-53);
}

/* entropy(n) gives an ArrayBuffer of n random bytes, fit for keys. */
static JSValue js_entropy(JSContext *c, JSValueConst this, int argc, JSValueConst *argv)
{
    uint8_t b[256];
    uint32_t n;
    if (JS_ToUint32(ctx, &n, argv[0]))
        return JS_EXCEPTION;
    if (n > sizeof b)
        return JS_ThrowRangeError(ctx, "at most %d random bytes at once", (int)sizeof b);
    if (host_random(b, n))
        return JS_ThrowInternalError(ctx, "no random bytes");
    return JS_NewArrayBufferCopy(ctx, b, n);
}

static JSValue js_engine(JSContext *c, JSValueConst this, int argc, JSValueConst *argv)
{
    hook_begin = JS_GetPropertyStr(ctx, argv[0], "begin");
    hook_turn = JS_GetPropertyStr(ctx, argv[0], "turn");
    hook_resolve = JS_GetPropertyStr(ctx, argv[0], "resolve");
    hook_source = JS_GetPropertyStr(ctx, argv[0], "source");
    hook_rejected = JS_GetPropertyStr(ctx, argv[0], "rejected");
    hook_parse = JS_GetPropertyStr(ctx, argv[0], "parse");
    return JS_UNDEFINED;
}

static const JSCFunctionListEntry host_functions[] = {
    JS_CFUNC_DEF("call", 2, js_call),
    JS_CFUNC_DEF("submit", 2, js_submit),
    JS_CFUNC_DEF("wait", 1, js_wait),
    JS_CFUNC_DEF("log", 2, js_log),
    JS_CFUNC_DEF("progress", 2, js_progress),
    JS_CFUNC_DEF("now", 0, js_now),
    JS_CFUNC_DEF("random", 0, js_random),
    JS_CFUNC_DEF("entropy", 1, js_entropy),
    JS_CFUNC_DEF("engine", 1, js_engine),
};

enum { HOST_FUNCTIONS = sizeof host_functions / sizeof host_functions[0] };

static int init_host(JSContext *c, JSModuleDef *m) { return JS_SetModuleExportList(c, m, host_functions, HOST_FUNCTIONS); }

/* The lib, by module name. */

static const char core_js[] = {
#embed "core.js"
    , 0};
static const char json_js[] = {
#embed "json.js"
    , 0};
static const char ops_js[] = {
#embed "ops_gen.js"
    , 0};
static const char wasakari_js[] = {
#embed "wasakari.js"
    , 0};

static const struct {
    const char *name, *text;
    size_t len;
} lib[] = {
    {"wasakari:core.js", core_js, sizeof core_js - 1},
    {"wasakari:json.js", json_js, sizeof json_js - 1},
    {"wasakari:ops_gen.js", ops_js, sizeof ops_js - 1},
    {"wasakari", wasakari_js, sizeof wasakari_js - 1},
};

/* Modules of the script are resolved and read by the lib. While the lib itself
   is loaded there are no hooks yet. */

static char *normalize(JSContext *c, const char *base, const char *name, void *opaque)
{
    if (!JS_IsFunction(ctx, hook_resolve)) {
        if (name[0] != '.')
            return js_strdup(ctx, name);
        char *s = js_malloc(ctx, strlen(name) + 16);
        if (s) {
            strcpy(s, "wasakari:");
            strcat(s, name + 2); /* ./core.js */
        }
        return s;
    }
    JSValue args[] = {JS_NewString(ctx, base), JS_NewString(ctx, name)};
    JSValue v = JS_Call(ctx, hook_resolve, JS_UNDEFINED, 2, (JSValueConst *)args);
    JS_FreeValue(ctx, args[0]);
    JS_FreeValue(ctx, args[1]);
    if (JS_IsException(v))
        return NULL;
    const char *s = JS_ToCString(ctx, v);
    JS_FreeValue(ctx, v);
    if (!s)
        return NULL;
    char *out = js_strdup(ctx, s);
    JS_FreeCString(ctx, s);
    return out;
}

static JSModuleDef *compile(const char *text, size_t len, const char *name)
{
    JSValue f = JS_Eval(ctx, text, len, name, JS_EVAL_TYPE_MODULE | JS_EVAL_FLAG_COMPILE_ONLY);
    if (JS_IsException(f))
        return NULL;
    JSModuleDef *m = JS_VALUE_GET_PTR(f);
    JS_FreeValue(ctx, f); /* the context holds it too */
    return m;
}

static JSModuleDef *load(JSContext *c, const char *name, void *opaque)
{
    if (!JS_IsFunction(ctx, hook_source)) {
        for (size_t i = 0; i < sizeof lib / sizeof lib[0]; i++)
            if (!strcmp(lib[i].name, name))
                return compile(lib[i].text, lib[i].len, name);
        JS_ThrowReferenceError(ctx, "no module %s", name);
        return NULL;
    }
    JSValue arg = JS_NewString(ctx, name);
    JSValue v = JS_Call(ctx, hook_source, JS_UNDEFINED, 1, (JSValueConst *)&arg);
    JS_FreeValue(ctx, arg);
    if (JS_IsException(v))
        return NULL;
    size_t len;
    const char *text = JS_ToCStringLen(ctx, &len, v);
    JS_FreeValue(ctx, v);
    if (!text)
        return NULL;
    JSModuleDef *m = compile(text, len, name);
    JS_FreeCString(ctx, text);
    return m;
}

static void rejected(JSContext *c, JSValueConst promise, JSValueConst reason, JS_BOOL handled, void *opaque)
{
    if (!JS_IsFunction(ctx, hook_rejected))
        return;
    JSValueConst args[] = {promise, reason, handled ? JS_TRUE : JS_FALSE};
    JSValue v = JS_Call(ctx, hook_rejected, JS_UNDEFINED, 3, args);
    if (JS_IsException(v))
        JS_FreeValue(ctx, JS_GetException(ctx));
    JS_FreeValue(ctx, v);
}

/* Failures that the lib could not tell, because memory is used up or because
   the script changed what the lib works with. */

static void give_reason(const char *text)
{
    static char doc[1200];
    size_t n = 0;
    n = strlen(strcpy(doc, "{\"reason\":\""));
    for (; *text && n < sizeof doc - 16; text++) {
        unsigned char ch = *text;
        if (ch == '"' || ch == '\\')
            doc[n++] = '\\';
        doc[n++] = ch < ' ' ? ' ' : ch;
    }
    /* Not in the middle of a character. */
    if (*text)
        while (n && (doc[n - 1] & 0x80))
            n--;
    n += strlen(strcpy(doc + n, "\"}"));
    host_call("task.reason", 11, doc, n, own, sizeof own);
}

static int failed(JSValue v)
{
    release();
    if (JS_IsUninitialized(v) || JS_IsNull(v)) {
        /* QuickJS throws null when there is no room for an error. */
        give_reason("InternalError: out of memory");
        return EXIT_FAILED;
    }
    const char *s = JS_ToCString(ctx, v);
    if (!s)
        JS_FreeValue(ctx, JS_GetException(ctx));
    give_reason(s ? s : "the script failed, and its error cannot be told");
    JS_FreeCString(ctx, s);
    if (JS_IsError(ctx, v)) {
        JSValue stack = JS_GetPropertyStr(ctx, v, "stack");
        size_t n;
        const char *t = JS_IsString(stack) ? JS_ToCStringLen(ctx, &n, stack) : NULL;
        if (t)
            host_log(3, t, n);
        JS_FreeCString(ctx, t);
        JS_FreeValue(ctx, stack);
    }
    JS_FreeValue(ctx, v);
    return EXIT_FAILED;
}

/* jobs runs what promises have to do. It gives −1 with an exception. */
static int jobs(void)
{
    JSContext *c;
    int r;
    do
        r = JS_ExecutePendingJob(rt, &c);
    while (r > 0);
    return r;
}

static int go(int mode)
{
    JS_UpdateStackTop(rt);
    if (host_random(seed, sizeof seed) || !(seed[0] | seed[1]))
        seed[0] = 1;
    JSValue arg = JS_NewInt32(ctx, mode);
    JSValue done = JS_Call(ctx, hook_begin, JS_UNDEFINED, 1, (JSValueConst *)&arg);
    if (JS_IsException(done))
        return failed(JS_GetException(ctx));
    for (;;) {
        if (jobs() < 0)
            return failed(JS_GetException(ctx));
        if (JS_PromiseState(ctx, done) != JS_PROMISE_PENDING)
            break;
        if (!reserve)
            reserve = malloc(RESERVE);
        JSValue v = JS_Call(ctx, hook_turn, JS_UNDEFINED, 0, NULL);
        if (JS_IsException(v))
            return failed(JS_GetException(ctx));
        if (JS_VALUE_GET_TAG(v) != JS_TAG_BOOL || !JS_VALUE_GET_BOOL(v)) {
            give_reason("the task waits for a promise that nothing can settle");
            return EXIT_FAILED;
        }
    }
    JSValue result = JS_PromiseResult(ctx, done);
    int32_t exit;
    if (JS_PromiseState(ctx, done) == JS_PROMISE_REJECTED)
        return failed(result);
    if (!JS_IsNumber(result) || JS_ToInt32(ctx, &exit, result))
        return EXIT_FAILED;
    return exit;
}

EXPORT("run") int32_t engine_run(void) { return go(MODE_RUN); }
EXPORT("revert") int32_t engine_revert(void) { return go(MODE_REVERT); }
EXPORT("describe") int32_t engine_describe(void) { return go(MODE_DESCRIBE); }

void __wasm_call_ctors(void);

EXPORT("_initialize") void engine_initialize(void)
{
    __wasm_call_ctors();
    reserve = malloc(RESERVE);
    rt = JS_NewRuntime2(&memory, NULL);
    ctx = JS_NewContext(rt);
    JS_SetMaxStackSize(rt, SCRIPT_STACK);
    JS_UpdateStackTop(rt);
    hook_begin = hook_turn = hook_resolve = hook_source = hook_rejected = hook_parse = JS_UNDEFINED;
    JS_SetModuleLoaderFunc(rt, normalize, load, NULL);
    JS_SetHostPromiseRejectionTracker(rt, rejected, NULL);
    JSModuleDef *m = JS_NewCModule(ctx, "wasakari:host", init_host);
    if (!m || JS_AddModuleExportList(ctx, m, host_functions, HOST_FUNCTIONS))
        __builtin_trap();
    const size_t last = sizeof lib / sizeof lib[0] - 1;
    JSValue v = JS_Eval(ctx, lib[last].text, lib[last].len, lib[last].name, JS_EVAL_TYPE_MODULE);
    if (JS_IsException(v) || jobs() < 0 || JS_PromiseState(ctx, v) != JS_PROMISE_FULFILLED || !JS_IsFunction(ctx, hook_begin)) {
        if (!JS_IsException(v) && JS_PromiseState(ctx, v) == JS_PROMISE_REJECTED)
            JS_Throw(ctx, JS_PromiseResult(ctx, v));
        failed(JS_GetException(ctx));
        __builtin_trap();
    }
    JS_FreeValue(ctx, v);
    JS_RunGC(rt);
}

/* What wasi-libc would import, but for the clock: there are no files, no
   arguments, no environment, and what is written to standard output or error
   (by QuickJS, when it gives up) goes nowhere. */

enum { WASI_BADF = 8, WASI_NOTSUP = 58 };

int32_t __imported_wasi_snapshot_preview1_clock_time_get(int32_t clock, int64_t precision, int32_t out)
{
    return host_clock(clock, precision, (uint64_t *)out);
}
int32_t __imported_wasi_snapshot_preview1_fd_close(int32_t fd) { return WASI_BADF; }
int32_t __imported_wasi_snapshot_preview1_fd_fdstat_get(int32_t fd, int32_t out) { return WASI_BADF; }
int32_t __imported_wasi_snapshot_preview1_fd_seek(int32_t fd, int64_t offset, int32_t whence, int32_t out) { return WASI_BADF; }
int32_t __imported_wasi_snapshot_preview1_fd_write(int32_t fd, int32_t iovs, int32_t n, int32_t out)
{
    const uint32_t *v = (const uint32_t *)iovs;
    uint32_t total = 0;
    for (int32_t i = 0; i < n; i++)
        total += v[2 * i + 1];
    *(uint32_t *)out = total;
    return 0;
}
int32_t __imported_wasi_snapshot_preview1_environ_get(int32_t a, int32_t b) { return WASI_NOTSUP; }
int32_t __imported_wasi_snapshot_preview1_environ_sizes_get(int32_t count, int32_t size)
{
    *(uint32_t *)count = *(uint32_t *)size = 0;
    return 0;
}
