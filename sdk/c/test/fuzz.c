/* The JSON reader against anything. With libFuzzer: clang -fsanitize=fuzzer,address,undefined fuzz.c; without: -DFUZZ_MAIN runs the files named. */
#define WSK_ARENA_SIZE (64u << 10)
#include "mock.h"

static char memory[256 << 10];

static void need(bool ok) {
    if (!ok) abort();
}

/* Reads a value in every way, and writes it again. */
static void walk(wsk_task *t, wsk_json v, int depth, wsk_out *o) {
    int64_t i, j;
    uint64_t u;
    double d;
    bool b;
    wsk_str s;
    wsk_json again;
    wsk_str text = {v.p, v.n};
    need(wsk_json_parse(text, &again) && again.p == v.p && again.n == v.n); /* each value is a document */
    switch (wsk_kind_of(v)) {
    case WSK_ARRAY:
        wsk_begin_array(o);
        if (depth < 40) {
            for (wsk_iter it = wsk_each(v); wsk_next(&it);) walk(t, it.value, depth + 1, o);
        }
        wsk_end_array(o);
        break;
    case WSK_OBJECT:
        wsk_begin_object(o);
        for (wsk_iter it = wsk_each(v); depth < 40 && wsk_next(&it);) {
            if (!wsk_to_str(t, it.key, &s)) {
                o->bad = true;
                return;
            }
            need(wsk_json_is(it.key, s));
            wsk_put_str(o, s);
            wsk__addc(o, ':');
            o->comma = false;
            walk(t, it.value, depth + 1, o);
        }
        wsk_end_object(o);
        break;
    case WSK_STRING:
        if (wsk_to_str(t, v, &s)) {
            need(wsk_json_is(v, s));
            wsk_put_str(o, s);
        } else {
            o->bad = true; /* the memory is full */
        }
        break;
    case WSK_NUMBER:
        if (wsk_to_i64(v, &i)) {
            wsk_put_i64(o, i);
            wsk_json w = wsk_json_i64(t, i);
            need(!w.n || (wsk_to_i64(w, &j) && i == j));
        } else if (wsk_to_u64(v, &u)) {
            wsk_put_u64(o, u);
        } else if (wsk_to_double(v, &d)) {
            wsk_put_double(o, d);
        } else {
            wsk_put_json(o, v);
        }
        break;
    case WSK_BOOL:
        need(wsk_to_bool(v, &b));
        wsk_put_bool(o, b);
        break;
    case WSK_NULL: wsk_put_null(o); break;
    case WSK_ABSENT: abort();
    }
}

WSK_C int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    wsk_task task;
    memset(&task, 0, sizeof task);
    wsk_use_memory(&task, memory, sizeof memory);
    char *exact = (char *)malloc(size ? size : 1); /* a byte beyond is seen by the sanitizer */
    if (size) memcpy(exact, data, size);
    wsk_str text = {exact, size};
    wsk_json v;
    if (wsk_json_parse(text, &v)) {
        wsk_out o = wsk_write(&task);
        walk(&task, v, 0, &o);
        bool bad = o.bad;
        wsk_json w = wsk_done(&o);
        need(bad || w.n);
        wsk_nova_server_list_answer servers;
        wsk_error_document error;
        memset(&servers, 0, sizeof servers);
        memset(&error, 0, sizeof error);
        (void)wsk__get_nova_server_list_answer(&task, v, &servers);
        (void)wsk__get_task_input(&task, v, &task.in);
        (void)wsk__get_error_document(&task, v, &error);
    }
    free(exact);
    return 0;
}

#ifdef FUZZ_MAIN
int main(int argc, char **argv) {
    for (int i = 1; i < argc; i++) {
        static uint8_t bytes[1 << 20];
        FILE *f = fopen(argv[i], "rb");
        if (!f) {
            perror(argv[i]);
            return 1;
        }
        size_t n = fread(bytes, 1, sizeof bytes, f);
        fclose(f);
        LLVMFuzzerTestOneInput(bytes, n);
    }
    printf("ok: %d documents\n", argc - 1);
    return 0;
}
#endif
