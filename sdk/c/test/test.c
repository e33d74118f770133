/* Tests of wasakari.h on the machine that builds it; see mock.h for the host. */
#include <math.h>
#include <setjmp.h>

static jmp_buf trapped;
#define WSK_TRAP() longjmp(trapped, 1)
#define WSK_ARENA_SIZE (512u << 10)
#include "mock.h"

static int failures;
static const char *test_name;

#define FAIL(...) (failures++, printf("%s: line %d: ", test_name, __LINE__), printf(__VA_ARGS__), printf("\n"))
#define WANT(ok) \
    do { \
        if (!(ok)) FAIL("want %s", #ok); \
    } while (0)
#define WANT_TEXT(got, want) \
    do { \
        const char *g_ = (got), *w_ = (want); \
        if (strcmp(g_ ? g_ : "", w_)) FAIL("got  %s\nwant %s", g_ ? g_ : "(null)", w_); \
    } while (0)
#define WANT_STR(got, want) \
    do { \
        wsk_str g_ = (got); \
        if (!wsk_is(g_, want)) FAIL("got  %.*s\nwant %s", (int)g_.n, g_.p ? g_.p : "", want); \
    } while (0)

/* A task outside of a run. */
static char memory[1 << 20];
static wsk_task *fresh(size_t size) {
    static wsk_task t;
    memset(&t, 0, sizeof t);
    WANT(wsk_use_memory(&t, memory, size));
    return &t;
}

static wsk_json parsed(const char *text) {
    wsk_json v;
    if (!wsk_json_parse(wsk_s(text), &v)) FAIL("not taken: %s", text);
    return v;
}

static void test_parse(void) {
    static const char *good[] = {
        "{}", "[]", "0", "-0", "1e5", "1E+5", "-1.25e-7", "true", "false", "null", "\"\"", " \t\r\n[ 1 , 2 ]\n", "{\"a\":{\"b\":[[],{}]},\"c\":\"\\u00e9\\\"\"}",
        "\"\\ud83d\\ude00\"", "\"\xc3\xa9\"", "[[[[[[[[[1]]]]]]]]]", "{\"\":0}", "[\"]\",\"}\",\"\\\\\"]", "123456789012345678901234567890",
    };
    static const char *bad[] = {
        "", " ", "{", "}", "[", "]", "[1,]", "[,1]", "{,}", "{\"a\"}", "{\"a\":}", "{\"a\":1,}", "{a:1}", "{'a':1}", "[1 2]", "{\"a\":1 \"b\":2}", "[1}", "{\"a\":1]",
        "01", "-", "-a", "1.", ".5", "1e", "1e+", "+1", "0x1", "NaN", "Infinity", "tru", "truex", "nul", "\"", "\"\\\"", "\"\\x\"", "\"\\u12\"", "\"\\u12g4\"",
        "\"\n\"", "\"\t\"", "[1]]", "1 2", "{}{}", "[\"a\":1]", "\"a\"b", "//", "[1,2", "{\"a\":[}", "\xef\xbb\xbf{}", "{1:2}", "[1,,2]",
    };
    wsk_json v;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        if (!wsk_json_parse(wsk_s(good[i]), &v)) FAIL("not taken: %s", good[i]);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        if (wsk_json_parse(wsk_s(bad[i]), &v) || v.n) FAIL("taken: %s", bad[i]);
    }
    wsk_str nul = {"\"a\0b\"", 5};
    WANT(!wsk_json_parse(nul, &v));

    /* Nested as deep as it may be, and one deeper, of both kinds. */
    static char deep[8 * WSK_JSON_DEPTH];
    for (int mixed = 0; mixed < 2; mixed++) {
        for (size_t levels = WSK_JSON_DEPTH; levels <= WSK_JSON_DEPTH + 1; levels++) {
            size_t n = 0;
            for (size_t i = 0; i < levels; i++) n += (size_t)sprintf(deep + n, "%s", mixed && i % 3 ? "{\"\":" : "[");
            deep[n++] = '1';
            for (size_t i = levels; i--;) deep[n++] = mixed && i % 3 ? '}' : ']';
            wsk_str s = {deep, n};
            WANT(wsk_json_parse(s, &v) == (levels == WSK_JSON_DEPTH));
            if (levels == WSK_JSON_DEPTH) WANT(wsk_len(v) == 1);
        }
    }
}

static void test_reading(void) {
    wsk_task *t = fresh(sizeof memory);
    wsk_json v = parsed(" { \"a\" : [ 1 , \"x,]}\\\"\" , { \"b\" : null } ] , \"\\u0061b\" : true , \"twice\":1, \"n\":{\"x\":{}}, \"twice\" : 2 } ");
    WANT(wsk_kind_of(v) == WSK_OBJECT && wsk_len(v) == 5);
    wsk_json a = wsk_get(v, "a");
    WANT(wsk_kind_of(a) == WSK_ARRAY && wsk_len(a) == 3);
    WANT(wsk_json_is(wsk_at(a, 1), wsk_s("x,]}\"")) && !wsk_json_is(wsk_at(a, 1), wsk_s("x,]}")) && !wsk_json_is(wsk_at(a, 1), wsk_s("x,]}\"y")));
    WANT(wsk_kind_of(wsk_get(wsk_at(a, 2), "b")) == WSK_NULL && wsk_none(wsk_get(wsk_at(a, 2), "b")));
    WANT(wsk_kind_of(wsk_get(v, "ab")) == WSK_BOOL);
    int64_t i = 0;
    WANT(wsk_to_i64(wsk_get(v, "twice"), &i) && i == 2);
    WANT(wsk_kind_of(wsk_get(v, "no")) == WSK_ABSENT && wsk_none(wsk_at(a, 3)) && wsk_none(wsk_get(a, "a")) && wsk_none(wsk_at(v, 0)));
    WANT(wsk_len(wsk_at(a, 0)) == 0);
    wsk_json absent = {NULL, 0};
    WANT(wsk_len(absent) == 0 && wsk_none(wsk_get(absent, "a")));
    WANT(wsk_len(parsed("[]")) == 0 && wsk_len(parsed("{ }")) == 0);

    static const struct { const char *json, *want; size_t n; } strs[] = {
        {"\"\"", "", 0}, {"\"plain\"", "plain", 5}, {"\"\\b\\f\\n\\r\\t\\/\\\\\\\"\"", "\b\f\n\r\t/\\\"", 8}, {"\"\\u0041\\u00e9\\u20ac\"", "A\xc3\xa9\xe2\x82\xac", 6},
        {"\"\\uD83D\\uDE00!\"", "\xf0\x9f\x98\x80!", 5}, {"\"\\ud83d\"", "\xef\xbf\xbd", 3}, {"\"\\ud83dx\"", "\xef\xbf\xbdx", 4}, {"\"\\ude00\\ud83d\"", "\xef\xbf\xbd\xef\xbf\xbd", 6},
        {"\"\\ud83d\\u0041\"", "\xef\xbf\xbd" "A", 4}, {"\"\\ud83d\\ud83d\\ude00\"", "\xef\xbf\xbd\xf0\x9f\x98\x80", 7}, {"\"\\ud83d\\n\"", "\xef\xbf\xbd\n", 4}, {"\"a\\u0000b\"", "a\0b", 3},
    };
    for (size_t k = 0; k < sizeof strs / sizeof *strs; k++) {
        wsk_str s, want = {strs[k].want, strs[k].n};
        WANT(wsk_to_str(t, parsed(strs[k].json), &s));
        if (!wsk_str_equal(s, want) || !wsk_json_is(parsed(strs[k].json), want)) FAIL("%s is %.*s", strs[k].json, (int)s.n, s.p);
    }
    wsk_str s;
    WANT(!wsk_to_str(t, parsed("1"), &s) && !wsk_to_str(t, absent, &s));

    static const struct { const char *json; bool ok; int64_t want; } ints[] = {
        {"0", true, 0}, {"-0", true, 0}, {"-1", true, -1}, {"9223372036854775807", true, INT64_MAX}, {"-9223372036854775808", true, INT64_MIN},
        {"9007199254740993", true, 9007199254740993}, {"9223372036854775808", false, 0}, {"-9223372036854775809", false, 0}, {"18446744073709551616", false, 0},
        {"1.0", false, 0}, {"1e3", false, 0}, {"\"1\"", false, 0}, {"true", false, 0}, {"99999999999999999999999", false, 0},
    };
    for (size_t k = 0; k < sizeof ints / sizeof *ints; k++) {
        int64_t got = 0;
        if (wsk_to_i64(parsed(ints[k].json), &got) != ints[k].ok || got != ints[k].want) FAIL("%s is %lld", ints[k].json, (long long)got);
    }
    uint64_t u = 0;
    WANT(wsk_to_u64(parsed("18446744073709551615"), &u) && u == UINT64_MAX && !wsk_to_u64(parsed("18446744073709551616"), &u) && !wsk_to_u64(parsed("-1"), &u));
    bool b = false;
    WANT(wsk_to_bool(parsed("true"), &b) && b && wsk_to_bool(parsed("false"), &b) && !b && !wsk_to_bool(parsed("0"), &b));
    WANT_STR(wsk_plain(t, parsed("\"x\\ty\"")), "x\ty");
    WANT_STR(wsk_plain(t, parsed("[1, 2]")), "[1, 2]");
    WANT_STR(wsk_plain(t, parsed("null")), "");
}

static uint64_t seed = 1;
static uint64_t any_number(void) {
    seed ^= seed << 13;
    seed ^= seed >> 7;
    return seed ^= seed << 17;
}

static void test_doubles(void) {
    static const char *numbers[] = {
        "0", "-0", "0.1", "1.5", "-2.25", "1e22", "1e23", "123456789012345678", "9007199254740993", "9007199254740992.5", "9007199254740993.0000000000000000000001",
        "1.7976931348623157e308", "4.9e-324", "2.4703282292062327e-324", "2.4703282292062328e-324", "2.2250738585072014e-308", "2.2250738585072011e-308", "1e-400", "0e999999999999",
        "0.000000000000000000000000000000000000000000000001", "6.02214076e23", "3.141592653589793238462643383279", "1e-5", "8.5e-5", "72057594037927945", "1E5", "1e-330",
        "0.1000000000000000055511151231257827021181583404541015625", "0.10000000000000000555111512312578270211815834045410156250000000000000000001", "1e308", "100000000000000000000000000e-20",
    };
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        double got = 7, want = strtod(numbers[i], NULL);
        if (!wsk_to_double(parsed(numbers[i]), &got) || memcmp(&got, &want, sizeof got)) FAIL("%s is %.17g, want %.17g", numbers[i], got, want);
    }
    double d;
    WANT(!wsk_to_double(parsed("1e309"), &d) && !wsk_to_double(parsed("1.7976931348623159e308"), &d) && !wsk_to_double(parsed("-1e99999999999"), &d) && !wsk_to_double(parsed("\"1\""), &d));
    static char long_one[2000];
    memset(long_one, '9', sizeof long_one - 1);
    memcpy(long_one, "0.", 2);
    WANT(wsk_to_double(parsed(long_one), &d) && d == 1);
    long_one[1] = '9';
    long_one[0] = '9';
    WANT(!wsk_to_double(parsed(long_one), &d));

    for (int i = 0; i < 20000; i++) {
        wsk_task *t = fresh(64 << 10);
        union { uint64_t u; double d; } as;
        as.u = any_number();
        if (i % 3 == 0) as.d = (double)(int64_t)(as.u >> 40) / 1000;
        if (!isfinite(as.d)) continue;
        wsk_out o = wsk_write(t);
        wsk_put_double(&o, as.d);
        wsk_json v = wsk_done(&o);
        char text[64], digits[64];
        snprintf(text, sizeof text, "%.*s", (int)v.n, v.p ? v.p : "");
        double back = strtod(text, NULL), ours = 7;
        if (memcmp(&back, &as.d, sizeof back) || !wsk_to_double(v, &ours) || memcmp(&ours, &as.d, sizeof ours)) FAIL("%.17g is written %s, read %.17g", as.d, text, ours);
        size_t n = 0;
        for (char *c = text; *c && *c != 'e'; c++) n += *c >= '0' && *c <= '9';
        if (n > 23) FAIL("%s has many digits", text);
        snprintf(digits, sizeof digits, "%.25g", as.d);
        if (!wsk_to_double(parsed(digits), &ours) || memcmp(&ours, &as.d, sizeof ours)) FAIL("%s is read %.17g", digits, ours);
    }
    wsk_task *t = fresh(sizeof memory);
    static const struct { double d; const char *want; } shown[] = {{0, "0"}, {-0.0, "-0"}, {1, "1"}, {-1.5, "-1.5"}, {0.1, "0.1"}, {1e21, "1e21"}, {123, "123"}, {1.25, "1.25"}, {1200.5, "1200.5"}, {0.0000015, "0.0000015"}, {1.5e-7, "1.5e-7"}, {1e20, "100000000000000000000"}, {123456789012345680000.0, "123456789012345680000"}, {5e-324, "5e-324"}, {9.5e9, "9500000000"}, {1.7976931348623157e308, "1.7976931348623157e308"}};
    for (size_t i = 0; i < sizeof shown / sizeof *shown; i++) {
        wsk_out o = wsk_write(t);
        wsk_put_double(&o, shown[i].d);
        wsk_json v = wsk_done(&o);
        wsk_str s = {v.p, v.n};
        WANT_STR(s, shown[i].want);
    }
    wsk_out o = wsk_write(t);
    wsk_put_double(&o, (double)INFINITY);
    WANT(!wsk_done(&o).n);
}

static void test_writing(void) {
    wsk_task *t = fresh(sizeof memory);
    wsk_out o = wsk_write(t);
    wsk_begin_object(&o);
    wsk_key(&o, "s");
    wsk_put_text(&o, "a\"b\\c\n\x01\x1f\x7f" "\xc3\xa9\xf0\x9f\x98\x80</script>");
    wsk_key(&o, "bad");
    wsk_put_text(&o, "\xff\xc3(\xe2\x82|\xed\xa0\x80|\xf4\x90\x80\x80|\xc0\x80");
    wsk_key(&o, "list");
    wsk_begin_array(&o);
    wsk_put_i64(&o, INT64_MIN);
    wsk_put_u64(&o, UINT64_MAX);
    wsk_put_bool(&o, true);
    wsk_put_null(&o);
    wsk_begin_array(&o);
    wsk_end_array(&o);
    wsk_begin_object(&o);
    wsk_end_object(&o);
    wsk_put_json(&o, parsed("{\"x\": 1}"));
    wsk_end_array(&o);
    wsk_key(&o, "e\"");
    wsk_put_i64(&o, 0);
    wsk_end_object(&o);
    wsk_json v = wsk_done(&o);
    wsk_str s = {v.p, v.n};
    WANT_STR(s, "{\"s\":\"a\\\"b\\\\c\\u000a\\u0001\\u001f\x7f\xc3\xa9\xf0\x9f\x98\x80</script>\","
                "\"bad\":\"\xef\xbf\xbd\xef\xbf\xbd(\xef\xbf\xbd\xef\xbf\xbd|\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd|\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd|\xef\xbf\xbd\xef\xbf\xbd\","
                "\"list\":[-9223372036854775808,18446744073709551615,true,null,[],{},{\"x\": 1}],\"e\\\"\":0}");

    /* What is no JSON is not given out. */
    o = wsk_write(t);
    wsk_begin_object(&o);
    WANT(!wsk_done(&o).n && o.bad);
    o = wsk_write(t);
    WANT(!wsk_done(&o).n);

    /* Neither is what did not fit. */
    t = fresh(4096);
    o = wsk_write(t);
    wsk_begin_array(&o);
    for (int i = 0; i < 4096; i++) wsk_put_i64(&o, i);
    wsk_end_array(&o);
    WANT(!wsk_done(&o).n && o.bad);
}

static void test_memory(void) {
    wsk_task *t = fresh(8192);
    WANT(!wsk_use_memory(t, memory, 100) && !wsk_use_memory(t, NULL, 8192));
    wsk_mark m = wsk_mark_memory(t);
    for (int i = 0; i < 1000; i++) {
        char *p = (char *)wsk_alloc(t, 4000);
        if (!p || (uintptr_t)p % 16 || p[0] || p[3999]) {
            FAIL("round %d", i);
            break;
        }
        memset(p, 1, 4000);
        wsk_release(t, m);
    }
    WANT(wsk_alloc(t, 4000) && !wsk_alloc(t, 8000) && t->full);
    WANT(!wsk_alloc(t, (size_t)-1) && !wsk_alloc(t, (size_t)-8));
    /* A second chunk, as on wasm, is used again after what was in it was freed. */
    static union { wsk_chunk head; char bytes[sizeof(wsk_chunk) + 8192]; } second;
    t = fresh(4096);
    second.head.size = 8192;
    t->first->next = &second.head;
    m = wsk_mark_memory(t);
    for (int i = 0; i < 3; i++) {
        WANT(wsk_alloc(t, 3000) && wsk_alloc(t, 8000) == wsk__bytes(&second.head) && !wsk_alloc(t, 8000));
        wsk_release(t, m);
    }
}

static void test_format(void) {
    wsk_task *t = fresh(sizeof memory);
    wsk_str part = {"part and more", 4};
    WANT_STR(wsk_format(t, "%s|%.*s|%c|%d|%i|%u|%x|%ld|%lu|%lld|%llu|%zu|%%|%5d", "text", WSK_P(part), 'c', -1, INT32_MIN, 4000000000u, 0xbeefu, -2L, 3UL, (long long)INT64_MIN,
                        (unsigned long long)UINT64_MAX, (size_t)9, 1),
             "text|part|c|-1|-2147483648|4000000000|beef|-2|3|-9223372036854775808|18446744073709551615|9|%|%5d");
    volatile wsk_str none = {NULL, 0};
    WANT_STR(wsk_format(t, "%.*s", WSK_P(none)), "");
    WANT_STR(wsk_format(t, "%s", ""), "");
    WANT_TEXT(wsk_format(t, "host/%d", 7).p, "host/7");
    t = fresh(4096);
    WANT(wsk_alloc(t, 4000));
    WANT_TEXT(wsk_format(t, "%s", "there is no room for this").p, "");
}

/* ---- Runs of tasks ---- */

static wsk_outcome (*behaviour)(wsk_task *t);
static wsk_outcome behave(wsk_task *t) { return behaviour(t); }
static wsk_outcome undo(wsk_task *t) {
    wsk_log_info(t, "undone: %.*s", WSK_P(t->in.failure));
    return wsk_succeed(t);
}

WSK_TASKS({"task", behave, undo}, {"other", behave, NULL}, {"another", behave, NULL})

#define INPUT(key, more) "{\"key\":\"" key "\",\"flow\":\"host-auto\",\"phase\":\"main\",\"run_id\":\"r\",\"attempt\":2,\"idempotency_key\":\"r/1\"" more "}"

static int32_t run_with(wsk_outcome (*f)(wsk_task *t)) {
    behaviour = f;
    if (!mock.n_answers || strcmp(mock.answers[0].op, "task.input")) mock_on("task.input", 0, INPUT("task", ""), 0);
    if (setjmp(trapped)) return -1;
    return wsk_run_();
}

static wsk_outcome asks_input(wsk_task *t) {
    WANT_STR(t->in.key, "task");
    WANT_STR(t->in.flow, "host-auto");
    WANT(t->in.attempt == 2 && !t->in.reverting);
    WANT_STR(wsk_input_str(t, "host_name"), "compute-1");
    WANT_STR(wsk_input_str(t, "count"), "9007199254740993");
    WANT_STR(wsk_input_str_or(t, "absent", "-"), "-");
    WANT_STR(wsk_input_str_or(t, "count", "-"), "9007199254740993");
    WANT_STR(wsk_option_str(t, "acme", "queue"), "ops");
    WANT_STR(wsk_option_str(t, "acme", "unset"), "");
    WANT(wsk_option_i64(t, "acme", "max") == 5 && wsk_option_i64(t, "acme", "unset") == 0);
    WANT(wsk_option_double(t, "acme", "share") == 0.25 && wsk_option_double(t, "acme", "max") == 5);
    WANT(wsk_option_bool(t, "acme", "on") && !wsk_option_bool(t, "acme", "unset"));
    WANT(wsk_has_option(t, "acme", "on") && !wsk_has_option(t, "acme", "unset") && !wsk_has_option(t, "no", "on"));
    wsk_strs l = wsk_option_list(t, "acme", "list");
    WANT(l.n == 2);
    WANT_STR(l.p[1], "b\"");
    WANT_STR(wsk_option_secret(t, "acme", "token").name, "acme.token");
    WANT(!wsk_option_secret(t, "acme", "unset").name.n);
    wsk_progress(t, 2000, "half of %d", 2);
    wsk_log_debug(t, "d");
    wsk_log_warn(t, "w");
    wsk_log_error(t, "e");
    return wsk_ignore(t, "not ours: %s", "x");
}

static void test_given(void) {
    mock_on("task.input", 0, INPUT("task", ",\"later\":{\"x\":[1]},\"inputs\":{\"host_name\":\"compute-1\",\"count\":9007199254740993},\"options\":{\"acme\":{\"queue\":\"ops\",\"unset\":null,"
            "\"max\":5,\"share\":0.25,\"on\":true,\"list\":[\"a\",\"b\\\"\"],\"token\":{\"$secret\":\"acme.token\"}}}"), 0);
    WANT(run_with(asks_input) == WSK_IGNORED);
    WANT_TEXT(mock_request("task.reason", 0), "{\"reason\":\"not ours: x\"}");
    WANT_TEXT(mock.log, "0 d\n2 w\n3 e\n");
    WANT_TEXT(mock.progress, "1000 half of 2\n");
}

static wsk_outcome wrong_option(wsk_task *t) {
    (void)wsk_option_i64(t, "acme", "queue");
    return wsk_succeed(t);
}
static wsk_outcome unlisted_option(wsk_task *t) {
    (void)wsk_option_bool(t, "acme", "nowhere");
    return wsk_succeed(t);
}
static wsk_outcome wrong_input(wsk_task *t) {
    (void)wsk_input_str(t, "hostname");
    return wsk_succeed(t);
}

static void test_contradictions(void) {
    mock_on("task.input", 0, INPUT("task", ",\"options\":{\"acme\":{\"queue\":\"ops\"}}"), 0);
    WANT(run_with(wrong_option) == -1);
    WANT_TEXT(mock_request("task.reason", 0), "{\"reason\":\"option [acme] queue: it has another type\"}");
    WANT(run_with(unlisted_option) == -1);
    WANT_TEXT(mock_request("task.reason", 1), "{\"reason\":\"option [acme] nowhere: not found: the manifest does not list it\"}");
    WANT(run_with(wrong_input) == -1);
    WANT_TEXT(mock_request("task.reason", 2), "{\"reason\":\"input hostname is not there: a name that the manifest requires is always there; wsk_input_str_or is for an optional one\"}");
}

static wsk_outcome succeeds(wsk_task *t) {
    (void)wsk_fail(t, "not so");
    return wsk_succeed(t);
}
static wsk_outcome nothing(wsk_task *t) { return wsk_nothing(t, "all is well"); }

static void test_outcomes(void) {
    WANT(run_with(succeeds) == WSK_SUCCEEDED);
    WANT_TEXT(mock_request("task.reason", 0), "(none)");
    WANT(run_with(nothing) == WSK_NOTHING);
    WANT_TEXT(mock_request("task.reason", 0), "{\"reason\":\"all is well\"}");
    mock_reset();
    mock_on("task.input", 0, INPUT("unheard", ""), 0);
    WANT(run_with(succeeds) == WSK_FAILED);
    WANT_TEXT(mock_request("task.reason", 0), "{\"reason\":\"task unheard: the module has no handler for it, only for: another, other, task\"}");
    mock_reset();
    mock_on("task.input", WSK_UNAVAILABLE, "{\"code\":\"unavailable\",\"message\":\"gone\"}", 0);
    WANT(run_with(succeeds) == WSK_FAILED);
    WANT_TEXT(mock_request("task.reason", 0), "{\"reason\":\"task.input: unavailable: gone\"}");
    mock_reset();
    mock_on("task.input", 0, "{\"key\":7}", 0);
    WANT(run_with(succeeds) == WSK_FAILED);
    WANT_TEXT(mock_request("task.reason", 0), "{\"reason\":\"task.input: the answer cannot be read\"}");
    mock_reset();
    mock_on("task.input", 0, INPUT("task", ",\"reverting\":true,\"failure\":\"no host\""), 0);
    WANT(wsk_revert_() == WSK_SUCCEEDED);
    WANT_TEXT(mock.log, "1 undone: no host\n");
    mock_reset();
    mock_on("task.input", 0, INPUT("other", ""), 0);
    WANT(wsk_revert_() == WSK_NOTHING);
    WANT_TEXT(mock_request("task.reason", 0), "(none)");
}

static wsk_outcome lists(wsk_task *t) {
    wsk_nova_server_list_request r;
    wsk_nova_server_list_answer a;
    memset(&r, 0, sizeof r);
    r.host = wsk_s("compute-1");
    r.fields = wsk_list(t, "id", "OS-EXT-STS:vm_state", NULL);
    if (wsk_nova_server_list(t, &r, &a)) return wsk_fail_last(t);
    WANT(a.servers.n == 2);
    WANT_STR(a.servers.p[0].id, "7f3");
    WANT_STR(a.servers.p[0].vm_state, "active");
    WANT_STR(a.servers.p[0].task_state, "");
    WANT(a.servers.p[0].power_state == 4 && a.servers.p[0].locked);
    WANT_STR(a.servers.p[0].fault->message, "bad \xe2\x82\xac");
    WANT(a.servers.p[0].tags.n == 2 && !a.servers.p[1].tags.n && !a.servers.p[1].fault);
    WANT_STR(a.servers.p[0].tags.p[1], "y");
    WANT_STR(wsk_plain(t, wsk_get(a.servers.p[0].metadata, "HA_Enabled")), "True");
    WANT(wsk_kind_of(wsk_get(a.servers.p[0].flavor, "vcpus")) == WSK_NUMBER);
    WANT_STR(a.servers.p[1].host, "compute-1");
    return wsk_succeed(t);
}

static void test_answers(void) {
    mock_on("nova.server_list", 0, "{\"new\":[{}],\"servers\":[{\"id\":\"7f3\",\"unknown\":{\"a\":[]},\"OS-EXT-STS:vm_state\":\"active\",\"OS-EXT-STS:task_state\":null,\"OS-EXT-STS:power_state\":4,"
            "\"locked\":true,\"fault\":{\"code\":500,\"message\":\"bad \\u20ac\"},\"tags\":[\"x\",\"y\"],\"metadata\":{\"HA_Enabled\":\"True\"},\"flavor\":{\"vcpus\":1}},"
            "{\"id\":\"7f4\",\"fault\":null,\"tags\":null,\"\\u004fS-EXT-SRV-ATTR:host\":\"compute-1\"}]}", 1);
    WANT(run_with(lists) == WSK_SUCCEEDED);
    WANT_TEXT(mock_request("nova.server_list", 0), "{\"host\":\"compute-1\",\"fields\":[\"id\",\"OS-EXT-STS:vm_state\"]}");
    static const struct { const char *doc, *why; } bad[] = {
        {"{\"servers\":", "the answer is no JSON, or nested too deep"}, {"", "the answer is no JSON, or nested too deep"}, {"{\"servers\":{}}", "the answer has another form"},
        {"{\"servers\":[1]}", "the answer has another form"}, {"[]", "the answer has another form"}, {"{\"servers\":[{\"id\":1}]}", "the answer has another form"},
        {"{\"servers\":[{\"OS-EXT-STS:power_state\":1e3}]}", "the answer has another form"}, {"{\"servers\":[{\"fault\":[]}]}", "the answer has another form"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char want[200];
        mock_reset();
        mock_on("task.input", 0, INPUT("task", ""), 0);
        mock_on("nova.server_list", 0, bad[i].doc, 0);
        WANT(run_with(lists) == WSK_FAILED);
        snprintf(want, sizeof want, "{\"reason\":\"nova.server_list: bad answer: %s\"}", bad[i].why);
        WANT_TEXT(mock_request("task.reason", 0), want);
    }
    /* More servers than the task's memory has room for: text fits, documents do not. */
    static char many[400 << 10];
    size_t n = (size_t)sprintf(many, "{\"servers\":[{}");
    while (n < sizeof many - 8) n += (size_t)sprintf(many + n, ",{}");
    sprintf(many + n, "]}");
    mock_reset();
    mock_on("task.input", 0, INPUT("task", ""), 0);
    mock_on("nova.server_list", 0, many, 0);
    WANT(run_with(lists) == WSK_FAILED);
    WANT_TEXT(mock_request("task.reason", 0), "{\"reason\":\"nova.server_list: no memory: the task's memory is full\"}");
}

static char *large;
static wsk_outcome reads_large(wsk_task *t) {
    wsk_json v;
    wsk_str s = {NULL, 0};
    /* Leaves so little room that only take can fetch it into another place. */
    for (int i = 0; i < 3; i++) {
        wsk_mark m = wsk_mark_memory(t);
        if (wsk_kv_get(t, "large", &v)) return wsk_fail_last(t);
        WANT(wsk_to_str(t, v, &s) && s.n == 200u << 10);
        wsk_release(t, m);
    }
    return wsk_succeed(t);
}

static void test_large(void) {
    size_t n = 200 << 10;
    large = (char *)malloc(n + 64);
    strcpy(large, "{\"value\":\"");
    memset(large + 10, 'x', n);
    strcpy(large + 10 + n, "\",\"version\":3}");
    mock_on("kv.get", 0, large, 0);
    WANT(run_with(reads_large) == WSK_SUCCEEDED);
    WANT_TEXT(mock_request("kv.get", 0), "{\"name\":\"large\"}");
    /* Twice as large as all memory. */
    free(large);
    n = WSK_ARENA_SIZE * 2;
    large = (char *)malloc(n + 64);
    strcpy(large, "{\"value\":\"");
    memset(large + 10, 'x', n);
    strcpy(large + 10 + n, "\"}");
    mock_reset();
    mock_on("kv.get", 0, large, 0);
    WANT(run_with(reads_large) == WSK_FAILED);
    WANT_TEXT(mock_request("task.reason", 0), "{\"reason\":\"kv.get: no memory: the task's memory is full\"}");
    free(large);
}

static wsk_outcome stops(wsk_task *t) {
    wsk_nova_server_stop_request r;
    memset(&r, 0, sizeof r);
    r.id = wsk_s("7f3");
    wsk_code code = wsk_nova_server_stop(t, &r, NULL);
    WANT(code == wsk_last_error(t)->code);
    return code ? wsk_fail_last(t) : wsk_succeed(t);
}

static void test_errors(void) {
    static const struct { int code; const char *doc, *want; } tests[] = {
        {3, "{\"code\":\"conflict\",\"message\":\"server 7f3 is being rebuilt\",\"status\":409,\"request_id\":\"req-1\"}", "nova.server_stop: conflict: server 7f3 is being rebuilt (HTTP 409, req-1)"},
        {5, "{\"code\":\"not_granted\",\"message\":\"nova.server_stop: ask for it\"}", "nova.server_stop: not granted: ask for it"},
        {6, "{\"code\":\"unavailable\",\"message\":\"\",\"status\":503}", "nova.server_stop: unavailable (HTTP 503)"},
        {8, "{\"code\":\"canceled\",\"message\":\"x\",\"request_id\":\"r\"}", "nova.server_stop: canceled: x (r)"},
        {7, "no JSON", "nova.server_stop: timeout"},
        {4, NULL, "nova.server_stop: forbidden"},
        {11, "{\"code\":\"later\",\"message\":\"m\"}", "nova.server_stop: unknown: m"},
    };
    for (size_t i = 0; i < sizeof tests / sizeof *tests; i++) {
        char want[200];
        mock_reset();
        mock_on("nova.server_stop", tests[i].code, tests[i].doc, 0);
        WANT(run_with(stops) == WSK_FAILED);
        snprintf(want, sizeof want, "{\"reason\":\"%s\"}", tests[i].want);
        WANT_TEXT(mock_request("task.reason", 0), want);
    }
    /* A long reason is taken, as long as it is. */
    mock_reset();
    static char doc[41 << 10];
    size_t n = (size_t)sprintf(doc, "{\"code\":\"conflict\",\"message\":\"");
    memset(doc + n, 'y', 40 << 10);
    strcpy(doc + n + (40 << 10), "\"}");
    mock_on("nova.server_stop", 3, doc, 0);
    WANT(run_with(stops) == WSK_FAILED);
    WANT(strlen(mock_request("task.reason", 0)) == (40u << 10) + strlen("{\"reason\":\"nova.server_stop: conflict: \"}"));
}

static wsk_outcome keeps(wsk_task *t) {
    wsk_json v;
    int64_t version = 0;
    wsk_kv_list_answer l;
    WANT(!wsk_kv_put(t, "ticket_id", wsk_json_str(t, wsk_s("ops-\"1"))));
    WANT(!wsk_kv_get(t, "x", &v) && wsk_json_is(v, wsk_s("v")));
    WANT(!wsk_kv_delete(t, "x"));
    WANT(!wsk_kv_list(t, "scratch/", &l) && l.entries.n == 1 && l.entries.p[0].version == 4);
    wsk_put_options o = {{true, 0}, 600};
    WANT(!wsk_library_put(t, "acted/c1", wsk_json_bool(true), &o, &version) && version == 5);
    WANT(!wsk_library_put(t, "acted/c1", wsk_json_i64(t, -1), NULL, NULL));
    WANT(!wsk_library_get(t, "acted/c1", &v, &version) && version == 1);
    WANT(!wsk_library_delete(t, "a") && !wsk_library_delete_version(t, "a", 7) && !wsk_library_list(t, "", &l));
    wsk_json absent = {NULL, 0};
    WANT(wsk_kv_put(t, "y", absent) == WSK_NO_MEMORY);
    WANT(!wsk_sleep(t, 20) && !wsk_sleep(t, 0) && wsk_now_ms() == 1700000000123);
    return wsk_succeed(t);
}

static void test_values(void) {
    mock.clock = 1700000000123456789u;
    mock_on("task.input", 0, INPUT("task", ""), 0);
    mock_on("kv.put", 0, "{\"version\":5}", 0);
    mock_on("kv.get", 0, "{\"value\":\"v\",\"version\":1}", 0);
    mock_on("kv.delete", 0, "{}", 0);
    mock_on("kv.list", 0, "{\"entries\":[{\"name\":\"scratch/a\",\"version\":4,\"size\":2}]}", 0);
    WANT(run_with(keeps) == WSK_SUCCEEDED);
    static const struct { const char *op; size_t index; const char *want; } asked[] = {
        {"kv.put", 0, "{\"name\":\"ticket_id\",\"value\":\"ops-\\\"1\"}"}, {"kv.get", 0, "{\"name\":\"x\"}"}, {"kv.delete", 0, "{\"name\":\"x\"}"}, {"kv.list", 0, "{\"prefix\":\"scratch/\"}"},
        {"kv.put", 1, "{\"scope\":\"library\",\"name\":\"acted/c1\",\"value\":true,\"if_version\":0,\"ttl_s\":600}"}, {"kv.put", 2, "{\"scope\":\"library\",\"name\":\"acted/c1\",\"value\":-1}"},
        {"kv.get", 1, "{\"scope\":\"library\",\"name\":\"acted/c1\"}"}, {"kv.delete", 1, "{\"scope\":\"library\",\"name\":\"a\"}"},
        {"kv.delete", 2, "{\"scope\":\"library\",\"name\":\"a\",\"if_version\":7}"}, {"kv.list", 1, "{\"scope\":\"library\"}"}, {"kv.put", 3, "(none)"}, {"task.sleep", 0, "{\"ms\":20}"}, {"task.sleep", 1, "(none)"},
    };
    for (size_t i = 0; i < sizeof asked / sizeof *asked; i++) WANT_TEXT(mock_request(asked[i].op, asked[i].index), asked[i].want);
}

static wsk_outcome asks_http(wsk_task *t) {
    wsk_http_request_request r;
    wsk_http_request_answer a;
    wsk_secret token = {{"acme.token", 10}, {NULL, 0}};
    wsk_named_text headers[2] = {{wsk_s("Authorization"), wsk_text_secret(token, "Bearer ")}, {wsk_s("X-A"), wsk_text_str(wsk_s("b"))}};
    wsk_http_basic basic = {wsk_text_str(wsk_s("")), wsk_text_secret(token, NULL)};
    wsk_http_tls tls;
    memset(&r, 0, sizeof r);
    memset(&tls, 0, sizeof tls);
    tls.ca = &token;
    r.method = wsk_s("POST");
    r.url = wsk_s("https://tickets.example.com/v1/tickets");
    r.headers.p = headers;
    r.headers.n = 2;
    r.body_json = parsed("{\"host\":\"c1\"}");
    r.basic = &basic;
    r.tls = &tls;
    r.timeout_seconds = 5;
    if (wsk_http_request(t, &r, &a)) return wsk_fail_last(t);
    WANT(a.status == 201 && !a.dry_run);
    WANT_STR(wsk_plain(t, wsk_get(a.headers, "Location")), "/7");
    WANT_STR(a.body, "{\"id\":7}");
    wsk_ha_host_update_request h;
    memset(&h, 0, sizeof h);
    h.name = wsk_s("c1");
    h.reserved = WSK_NO;
    WANT(!wsk_ha_host_update(t, &h, NULL));
    wsk_segment s;
    WANT(!wsk_ha_segment_get(t, &s));
    WANT_STR(s.name, "rack");
    return wsk_succeed(t);
}

static void test_requests(void) {
    mock_on("task.input", 0, INPUT("task", ""), 0);
    mock_on("http.request", 0, "{\"status\":201,\"url\":\"u\",\"headers\":{\"Location\":\"/7\"},\"body\":\"{\\\"id\\\":7}\"}", 0);
    mock_on("ha.host_update", 0, "{\"name\":\"c1\"}", 0);
    mock_on("ha.segment_get", 0, "{\"uuid\":\"s\",\"name\":\"rack\"}", 0);
    WANT(run_with(asks_http) == WSK_SUCCEEDED);
    WANT_TEXT(mock_request("http.request", 0),
              "{\"method\":\"POST\",\"url\":\"https://tickets.example.com/v1/tickets\",\"headers\":{\"Authorization\":{\"$secret\":\"acme.token\",\"prefix\":\"Bearer \"},\"X-A\":\"b\"},"
              "\"body_json\":{\"host\":\"c1\"},\"basic\":{\"user\":\"\",\"password\":{\"$secret\":\"acme.token\"}},\"tls\":{\"ca\":{\"$secret\":\"acme.token\"}},\"timeout_seconds\":5}");
    WANT_TEXT(mock_request("ha.host_update", 0), "{\"name\":\"c1\",\"reserved\":false}");
    WANT_TEXT(mock_request("ha.segment_get", 0), "");
}

/* ---- Tickets ---- */

static char order[4096];
static wsk_code evacuate(wsk_task *t, wsk_item *it) {
    wsk_nova_server_evacuate_request e;
    wsk_nova_server_wait_request w;
    wsk_nova_server_wait_answer a;
    wsk_code code = WSK_OK;
    memset(&e, 0, sizeof e);
    memset(&w, 0, sizeof w);
    sprintf(order + strlen(order), "%zu.%d ", it->index, it->stage);
    switch (it->stage) {
    case 0:
        e.id = wsk_format(t, "s%zu", it->index);
        return wsk_nova_server_evacuate_begin(t, it, &e);
    case 1:
        code = wsk_nova_server_evacuate_end(t, it, NULL);
        if (code) return it->data ? WSK_OK : code;
        w.id = wsk_format(t, "s%zu", it->index);
        w.until = wsk_s("evacuated");
        return wsk_nova_server_wait_begin(t, it, &w);
    default:
        code = wsk_nova_server_wait_end(t, it, &a);
        if (!code) WANT_STR(a.outcome, "done");
        return code;
    }
}

static size_t n_items = 5, at_once;
static void *tolerant;
static wsk_outcome many(wsk_task *t) {
    wsk_item items[40];
    memset(items, 0, sizeof items);
    for (size_t i = 0; i < n_items; i++) items[i].data = tolerant;
    order[0] = 0;
    if (wsk_parallel(t, items, n_items, at_once, evacuate)) return wsk_fail_last(t);
    WANT(!t->open && !t->ended);
    return wsk_succeed(t);
}

static void cloud(void) {
    mock_reset();
    mock_on("task.input", 0, INPUT("task", ""), 0);
    mock_on("nova.server_wait", 0, "{\"outcome\":\"done\",\"server\":{\"id\":\"x\"}}", 0);
}

static void test_parallel(void) {
    cloud();
    mock_on("nova.server_evacuate", 0, "{}", 0);
    at_once = 0;
    WANT(run_with(many) == WSK_SUCCEEDED && mock.most == 5 && mock.tickets == 10);
    WANT_TEXT(order, "0.0 1.0 2.0 3.0 4.0 0.1 1.1 2.1 3.1 4.1 0.2 1.2 2.2 3.2 4.2 ");

    cloud();
    mock_on("nova.server_evacuate", 0, "{}", 0);
    at_once = 2;
    mock.last_first = true;
    WANT(run_with(many) == WSK_SUCCEEDED && mock.most == 2);
    WANT_TEXT(order, "0.0 1.0 1.1 1.2 2.0 2.1 2.2 3.0 3.1 3.2 4.0 4.1 4.2 0.1 0.2 ");

    /* Fewer tickets than it wants: it waits for free ones. */
    cloud();
    mock_on("nova.server_evacuate", 0, "{}", 0);
    at_once = 0;
    n_items = 40;
    mock.limit = 3;
    WANT(run_with(many) == WSK_SUCCEEDED && mock.most == 3 && mock.tickets == 80);
    mock.limit = 0;
    WANT(run_with(many) == WSK_FAILED);
    WANT_TEXT(mock_request("task.reason", 0), "{\"reason\":\"nova.server_evacuate: quota: the task may have no more calls open\"}");
    n_items = 5;

    /* A refusal ends the work, but what is open is waited for. */
    cloud();
    mock_on("nova.server_evacuate", 3, "{\"code\":\"conflict\",\"message\":\"rebuilt\"}", 1);
    mock_on("nova.server_evacuate", 0, "{}", 0);
    at_once = 2;
    WANT(run_with(many) == WSK_FAILED && mock.n_open == 0);
    WANT_TEXT(order, "0.0 1.0 0.1 1.1 1.2 ");
    WANT_TEXT(mock_request("task.reason", 0), "{\"reason\":\"nova.server_evacuate: conflict: rebuilt\"}");

    /* One that is taken lightly does not. */
    cloud();
    mock_on("nova.server_evacuate", 3, "{\"code\":\"conflict\",\"message\":\"rebuilt\"}", 1);
    mock_on("nova.server_evacuate", 0, "{}", 0);
    tolerant = order;
    WANT(run_with(many) == WSK_SUCCEEDED);
    WANT_TEXT(order, "0.0 1.0 0.1 2.0 1.1 2.1 1.2 3.0 2.2 4.0 3.1 4.1 3.2 4.2 ");
    tolerant = NULL;

    /* The host lost the tickets. */
    cloud();
    mock_on("nova.server_evacuate", 0, "{}", 0);
    mock.wait_code = WSK_CANCELED;
    WANT(run_with(many) == WSK_FAILED);
    WANT_TEXT(mock_request("task.reason", 0), "{\"reason\":\"nova.server_evacuate: canceled: the host stopped waiting\"}");
}

static wsk_outcome tickets(wsk_task *t) {
    wsk_item a, b, c;
    wsk_nova_server_get_request r;
    wsk_server s;
    memset(&a, 0, sizeof a);
    memset(&r, 0, sizeof r);
    b = c = a;
    WANT(!wsk_wait(t, -1) && wsk_last_error(t)->code == WSK_NOT_FOUND);
    WANT(wsk_end(t, &a, NULL) == WSK_NOT_FOUND);
    r.id = wsk_s("1");
    WANT(!wsk_nova_server_get_begin(t, &a, &r) && !wsk_nova_server_get_begin(t, &b, &r) && !wsk_sleep_begin(t, &c, 5));
    WANT(wsk_nova_server_get_begin(t, &a, &r) == WSK_CONFLICT);
    WANT(!wsk_wait(t, 0) && wsk_last_error(t)->code == WSK_TIMEOUT);
    /* The last first: the others end meanwhile. */
    WANT(!wsk_end(t, &c, NULL) && !a.open && a.done && b.done);
    WANT(wsk_nova_server_get_begin(t, &a, &r) == WSK_CONFLICT);
    WANT(wsk_nova_server_get_end(t, &b, &s) == WSK_NOT_FOUND && wsk_last_error(t)->status == 404);
    WANT(wsk_wait(t, -1) == &a && !wsk_nova_server_get_end(t, &a, &s));
    WANT_STR(s.id, "7f3");
    WANT(!wsk_wait(t, -1));
    /* An op that the host does not know. */
    wsk_json none = {NULL, 0};
    WANT(wsk_begin(t, &a, "nova.nothing", none) == WSK_INVALID && !a.open);
    /* Time is up for one of two, but not for the other. */
    WANT(!wsk_sleep_begin(t, &b, 5) && !wsk_sleep_begin(t, &c, 5));
    WANT(wsk_await(t, &c, 0) == WSK_TIMEOUT && c.open);
    WANT(!wsk_await(t, &c, 1000) && c.done && b.done && !wsk_end(t, &b, NULL) && !wsk_end(t, &c, NULL));
    /* There is no ticket, and nobody to wait for it. */
    t->ticket_wait_ms = 0;
    mock.limit = 1;
    WANT(!wsk_sleep_begin(t, &b, 5) && wsk_sleep_begin(t, &c, 5) == WSK_QUOTA && b.open && !wsk_end(t, &b, NULL));
    /* The last of those that are done is taken away, and another one is done. */
    mock.limit = 3;
    WANT(!wsk_sleep_begin(t, &b, 5) && !wsk_sleep_begin(t, &c, 5) && !wsk_await(t, &c, 1000) && !wsk_end(t, &c, NULL));
    WANT(!wsk_sleep_begin(t, &c, 5) && !wsk_await(t, &c, 1000) && wsk_wait(t, -1) == &b && wsk_wait(t, -1) == &c);
    WANT(!wsk_end(t, &b, NULL) && !wsk_end(t, &c, NULL));
    /* One is given up and left alone. */
    WANT(!wsk_nova_server_get_begin(t, &a, &r) && !wsk_cancel(t, &a) && !wsk_cancel(t, &a));
    return wsk_succeed(t);
}

/* Frees what was given while other ops were open, and writes over it. */
static void over(wsk_task *t, wsk_mark m) {
    wsk_release(t, m);
    m = wsk_mark_memory(t);
    while (t->now->size - t->now->used >= 16) memset(wsk_alloc(t, 16), '#', 16);
    wsk_release(t, m);
}

static wsk_outcome releases(wsk_task *t) {
    static union { wsk_chunk head; char bytes[sizeof(wsk_chunk) + 8192]; } second;
    wsk_item a, b, c, d;
    wsk_nova_server_get_request r;
    wsk_server s;
    memset(&a, 0, sizeof a);
    memset(&r, 0, sizeof r);
    b = c = d = a;
    r.id = wsk_s("1");
    WANT(!wsk_nova_server_get_begin(t, &a, &r) && !wsk_nova_server_get_begin(t, &b, &r) && !wsk_nova_server_get_begin(t, &c, &r) && !wsk_sleep_begin(t, &d, 5));
    wsk_mark m = wsk_mark_memory(t);
    WANT(wsk_alloc(t, 48) && !wsk_end(t, &d, NULL) && a.done && b.done && c.done);
    (void)wsk_fail(t, "%s", "because");
    over(t, m);
    /* What stays is where the mark is, and is there after the next time. */
    WANT(t->now == m.chunk && t->now->used - m.used < 160 && a.answer.p == wsk__bytes(m.chunk) + m.used);
    over(t, m);
    WANT_STR(t->reason, "because");
    WANT(!wsk_nova_server_get_end(t, &a, &s));
    WANT_STR(s.id, "7f3");
    WANT(wsk_nova_server_get_end(t, &b, &s) == WSK_NOT_FOUND);
    WANT_STR(wsk_last_error(t)->message, "a \"b\"");
    WANT_STR(wsk_last_error(t)->request_id, "req-1");
    WANT(!wsk_nova_server_get_end(t, &c, &s));
    WANT_STR(s.id, "7f4");
    /* In a second chunk: what fits goes back into the first. */
    WANT(wsk_use_memory(t, memory, 4096));
    second.head.size = 8192;
    t->first->next = &second.head;
    WANT(!wsk_nova_server_get_begin(t, &a, &r) && !wsk_nova_server_get_begin(t, &b, &r) && !wsk_sleep_begin(t, &d, 5));
    m = wsk_mark_memory(t);
    WANT(wsk_alloc(t, 3500) && !wsk_end(t, &d, NULL) && t->now == &second.head && a.done && b.done);
    over(t, m);
    WANT(t->now == t->first);
    WANT(!wsk_nova_server_get_end(t, &a, &s));
    WANT_STR(s.id, "7f4");
    m = wsk_mark_memory(t);
    WANT(wsk_alloc(t, t->now->size - t->now->used - 16) && wsk_alloc(t, 64) && t->now == &second.head);
    over(t, m);
    WANT(!wsk_nova_server_get_end(t, &b, &s));
    WANT_STR(s.id, "7f4");
    return wsk_fail(t, "because");
}

static void test_release(void) {
    mock_on("task.input", 0, INPUT("task", ""), 0);
    mock_on("nova.server_get", 0, "{\"id\":\"7f3\"}", 1);
    mock_on("nova.server_get", 2, "{\"request_id\":\"req-1\",\"code\":\"not_found\",\"message\":\"a \\\"b\\\"\"}", 1);
    mock_on("nova.server_get", 0, "{\"id\":\"7f4\"}", 0);
    mock_on("task.sleep", 0, "{}", 0);
    WANT(run_with(releases) == WSK_FAILED);
    WANT_TEXT(mock_request("task.reason", 0), "{\"reason\":\"because\"}");
}

static wsk_item left[2];
static wsk_outcome leaves_open(wsk_task *t) {
    memset(left, 0, sizeof left);
    WANT(!wsk_sleep_begin(t, &left[0], 5) && !wsk_sleep_begin(t, &left[1], 5) && !wsk_cancel(t, &left[0]));
    return wsk_succeed(t);
}

/* The item is gone when the task has returned. */
static wsk_outcome gives_up_its_own(wsk_task *t) {
    wsk_item *it = (wsk_item *)calloc(1, sizeof *it);
    WANT(!wsk_sleep_begin(t, it, 5) && !wsk_cancel(t, it));
    memset(it, 0xff, sizeof *it);
    free(it);
    return wsk_succeed(t);
}

static void test_tickets(void) {
    mock_on("task.input", 0, INPUT("task", ""), 0);
    mock_on("task.sleep", 0, "{}", 0);
    WANT(run_with(leaves_open) == WSK_SUCCEEDED && mock.n_open == 2 && mock.waits == 0); /* what was not given up is not waited for */
    mock_reset();
    mock_on("task.input", 0, INPUT("task", ""), 0);
    mock_on("task.sleep", 0, "{}", 0);
    WANT(run_with(gives_up_its_own) == WSK_SUCCEEDED && mock.n_open == 0 && mock.waits == 1);
    mock_reset();

    mock_on("task.input", 0, INPUT("task", ""), 0);
    mock_on("nova.server_get", 0, "{\"id\":\"7f3\"}", 1);
    mock_on("nova.server_get", 2, "{\"code\":\"not_found\",\"message\":\"no\",\"status\":404}", 0);
    mock_on("task.sleep", 0, "{}", 0);
    WANT(run_with(tickets) == WSK_SUCCEEDED && mock.n_open == 0);
    WANT_TEXT(mock_request("task.cancel", 0), "{\"ticket\":10}");
}

int main(void) {
    static const struct { const char *name; void (*f)(void); } tests[] = {
        {"parse", test_parse}, {"reading", test_reading}, {"doubles", test_doubles}, {"writing", test_writing}, {"memory", test_memory}, {"format", test_format}, {"given", test_given},
        {"contradictions", test_contradictions}, {"outcomes", test_outcomes}, {"answers", test_answers}, {"large", test_large}, {"errors", test_errors}, {"values", test_values},
        {"requests", test_requests}, {"parallel", test_parallel}, {"tickets", test_tickets}, {"release", test_release},
    };
    for (size_t i = 0; i < sizeof tests / sizeof *tests; i++) {
        test_name = tests[i].name;
        mock_reset();
        tests[i].f();
    }
    mock_reset();
    printf("%s: %zu tests, %d failures\n", failures ? "FAIL" : "ok", sizeof tests / sizeof *tests, failures);
    return failures != 0;
}
