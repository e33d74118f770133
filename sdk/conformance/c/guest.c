/* The guest of the cases: does what the steps in its input say, with the SDK for C. ../README.md tells the steps. */
#define WSK_ARENA_MAX (96u << 20)
#include "../../c/wasakari.h"

#include "ops_gen.h"

/* A list of steps, done in order. Several are done side by side, each as one of these. */
typedef struct thread {
    wsk_iter it;
    wsk_out results;
    struct thread *parent; /* whose result comes of this one's */
    size_t children;       /* that are not done */
    struct thread *branches;
    size_t n_branches;
    wsk_item *item; /* what it waits for */
    const op *op;   /* NULL: it sleeps */
    int64_t deadline;
    bool timed, queued; /* queued: there was no ticket */
    struct thread *next;
} thread;

static thread *ready, **ready_end, *waiting;
static wsk_error last;
static wsk_json end_step;

static wsk_str text(wsk_task *t, wsk_json v, const char *key) { return wsk_plain(t, wsk_get(v, key)); }

/* Writes a value anew, number by number. */
static void rewrite(wsk_task *t, wsk_out *o, wsk_json v) {
    int64_t i;
    double d;
    bool b;
    wsk_str s;
    switch (wsk_kind_of(v)) {
    case WSK_ARRAY:
        wsk_begin_array(o);
        for (wsk_iter it = wsk_each(v); wsk_next(&it);) rewrite(t, o, it.value);
        wsk_end_array(o);
        break;
    case WSK_OBJECT:
        wsk_begin_object(o);
        for (wsk_iter it = wsk_each(v); wsk_next(&it);) {
            if (!wsk_to_str(t, it.key, &s)) o->bad = true;
            wsk_key_str(o, s);
            rewrite(t, o, it.value);
        }
        wsk_end_object(o);
        break;
    case WSK_STRING:
        if (wsk_to_str(t, v, &s)) wsk_put_str(o, s);
        else o->bad = true;
        break;
    case WSK_NUMBER:
        if (wsk_to_i64(v, &i)) wsk_put_i64(o, i);
        else if (wsk_to_double(v, &d)) wsk_put_double(o, d);
        else o->bad = true;
        break;
    case WSK_BOOL:
        if (wsk_to_bool(v, &b)) wsk_put_bool(o, b);
        break;
    default: wsk_put_null(o);
    }
}

static wsk_json again(wsk_task *t, wsk_json v) {
    wsk_out o = wsk_write(t);
    rewrite(t, &o, v);
    return wsk_done(&o);
}

static void put_error(wsk_out *o, const wsk_error *e) {
    last = *e;
    wsk_begin_object(o);
    wsk_key(o, "error");
    wsk_begin_object(o);
    wsk_key(o, "code");
    wsk_put_text(o, wsk_code_name(e->code));
    wsk_key(o, "message");
    wsk_put_str(o, e->message);
    wsk_key(o, "status");
    wsk_put_i64(o, e->status);
    wsk_key(o, "request_id");
    wsk_put_str(o, e->request_id);
    wsk_end_object(o);
    wsk_end_object(o);
}

static void put_refusal(wsk_task *t, wsk_out *o, wsk_code code) {
    wsk_error e = *wsk_last_error(t);
    e.code = code;
    put_error(o, &e);
}

static void put_gave_up(wsk_out *o) {
    wsk_begin_object(o);
    wsk_key(o, "gave_up");
    wsk_put_bool(o, true);
    wsk_end_object(o);
}

static void put_answer(wsk_out *o, wsk_json v) {
    wsk_begin_object(o);
    wsk_key(o, "answer");
    wsk_put_json(o, v);
    wsk_end_object(o);
}

/* Group kv has an interface of its own. */
static wsk_code call_kv(wsk_task *t, wsk_str name, wsk_json r, wsk_out *o) {
    bool library = wsk_json_is(wsk_get(r, "scope"), wsk_s("library"));
    const char *key = wsk_format(t, "%.*s", WSK_P(text(t, r, wsk_is(name, "kv.list") ? "prefix" : "name"))).p;
    wsk_json v = {NULL, 0}, only = wsk_get(r, "if_version");
    int64_t version = 0;
    wsk_code code;
    if (wsk_is(name, "kv.list")) {
        wsk_kv_list_answer l;
        code = library ? wsk_library_list(t, key, &l) : wsk_kv_list(t, key, &l);
        if (!code) wsk__put_kv_list_answer(o, &l);
        return code;
    }
    if (wsk_is(name, "kv.get")) {
        code = library ? wsk_library_get(t, key, &v, &version) : wsk_kv_get(t, key, &v);
    } else if (wsk_is(name, "kv.put")) {
        wsk_put_options options = {{only.n != 0, 0}, 0};
        if (only.n && !wsk_to_i64(only, &options.if_version.value)) return WSK_BAD_ANSWER;
        if (wsk_get(r, "ttl_s").n && !wsk_to_i64(wsk_get(r, "ttl_s"), &options.forget_after_s)) return WSK_BAD_ANSWER;
        wsk_json value = again(t, wsk_get(r, "value"));
        code = library ? wsk_library_put(t, key, value, &options, &version) : wsk_kv_put(t, key, value);
    } else if (only.n) {
        if (!wsk_to_i64(only, &version)) return WSK_BAD_ANSWER;
        code = wsk_library_delete_version(t, key, version);
        version = 0;
    } else {
        code = library ? wsk_library_delete(t, key) : wsk_kv_delete(t, key);
    }
    if (code) return code;
    wsk_begin_object(o);
    if (v.n) {
        wsk_key(o, "value");
        rewrite(t, o, v);
    }
    if (library) {
        wsk_key(o, "version");
        wsk_put_i64(o, version);
    }
    wsk_end_object(o);
    return code;
}

static const op *find(wsk_str name) {
    for (size_t i = 0; i < sizeof ops / sizeof *ops; i++) {
        if (wsk_is(name, ops[i].name)) return &ops[i];
    }
    return NULL;
}

static void make_ready(thread *h) {
    if (!ready) ready_end = &ready;
    h->next = NULL;
    *ready_end = h;
    ready_end = &h->next;
}

static void finish(wsk_out *results, wsk_code code, wsk_out *answer, wsk_task *t) {
    if (code) {
        put_refusal(t, results, code);
        return;
    }
    wsk_json a = wsk_done(answer);
    if (!a.n) wsk_panic(t, "the answer was not written");
    put_answer(results, a);
}

/* Begins the op of the thread's step; false when it must wait for its ticket, or is done at once. */
static bool begin(wsk_task *t, thread *h, wsk_json step) {
    int64_t ms = 0;
    wsk_code code;
    h->item = (wsk_item *)wsk_alloc(t, sizeof *h->item);
    if (!h->item) wsk_panic(t, "no memory");
    h->item->data = h;
    t->ticket_wait_ms = 0;
    if (h->op) {
        code = h->op->begin(t, h->item, wsk_get(step, "request"));
    } else {
        code = wsk_to_i64(wsk_get(step, "ms"), &ms) ? wsk_sleep_begin(t, h->item, ms) : WSK_BAD_ANSWER;
    }
    t->ticket_wait_ms = -1;
    h->queued = code == WSK_QUOTA && t->open;
    if (!code || h->queued) return true;
    put_refusal(t, &h->results, code);
    return false;
}

/* Does steps until the thread has to wait or is done. True: it is done. */
static bool advance(wsk_task *t, thread *h) {
    for (;;) {
        wsk_iter before = h->it;
        if (!wsk_next(&h->it)) return true;
        wsk_json s = h->it.value, v;
        wsk_out *o = &h->results;
        wsk_str what = text(t, s, "do"), message = text(t, s, "message");
        const char *group = wsk_format(t, "%.*s", WSK_P(text(t, s, "group"))).p;
        const char *name = wsk_format(t, "%.*s", WSK_P(text(t, s, "name"))).p;
        if (wsk_is(what, "who")) {
            wsk_begin_object(o);
            const struct { const char *key; wsk_str value; } texts[] = {
                {"key", t->in.key}, {"flow", t->in.flow}, {"phase", t->in.phase}, {"run_id", t->in.run_id}, {"notification_uuid", t->in.notification_uuid},
                {"idempotency_key", t->in.idempotency_key}, {"failure", t->in.failure},
            };
            for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
                wsk_key(o, texts[i].key);
                wsk_put_str(o, texts[i].value);
            }
            wsk_key(o, "attempt");
            wsk_put_i64(o, t->in.attempt);
            wsk_key(o, "round");
            wsk_put_i64(o, t->in.round);
            wsk_key(o, "reverting");
            wsk_put_bool(o, t->in.reverting);
            wsk_key(o, "inputs");
            wsk_begin_array(o);
            for (wsk_iter it = wsk_each(t->in.inputs); wsk_next(&it);) wsk_put_json(o, it.key);
            wsk_end_array(o);
            wsk_end_object(o);
        } else if (wsk_is(what, "input") || wsk_is(what, "option")) {
            v = wsk_is(what, "input") ? wsk_input(t, name) : wsk_option(t, group, name);
            if (v.n) {
                put_answer(o, again(t, v));
            } else {
                wsk_error e = {{NULL, 0}, WSK_NOT_FOUND, {NULL, 0}, 0, {NULL, 0}};
                put_error(o, &e);
            }
        } else if (wsk_is(what, "secret")) {
            wsk_secret secret = wsk_option_secret(t, group, name);
            wsk_out a = wsk_write(t);
            if (!secret.name.n) wsk_put_null(&a);
            else wsk__put_text_value(&a, wsk_text_secret(secret, wsk_format(t, "%.*s", WSK_P(text(t, s, "prefix"))).p));
            put_answer(o, wsk_done(&a));
        } else if (wsk_is(what, "call")) {
            wsk_str op_name = text(t, s, "op");
            wsk_out a = wsk_write(t);
            h->op = find(op_name);
            int64_t ms = 0;
            if (!h->op) {
                finish(o, call_kv(t, op_name, wsk_get(s, "request"), &a), &a, t);
                continue;
            }
            bool within = wsk_to_i64(wsk_get(s, "timeout_ms"), &ms);
            if (!h->op->begin || (!h->parent && !within)) {
                finish(o, h->op->call(t, wsk_get(s, "request"), &a), &a, t);
                continue;
            }
            if (!h->timed) {
                h->timed = within;
                h->deadline = wsk_ticks_ms() + ms;
            }
            if (!begin(t, h, s)) {
                h->timed = false;
                continue;
            }
            if (h->queued) h->it = before;
            h->next = waiting;
            waiting = h;
            return false;
        } else if (wsk_is(what, "open")) {
            wsk_item *it = (wsk_item *)wsk_alloc(t, sizeof *it);
            if (find(text(t, s, "op"))->begin(t, it, wsk_get(s, "request"))) wsk_panic(t, "the op was not begun");
            wsk_put_null(o);
        } else if (wsk_is(what, "parallel")) {
            wsk_json branches = wsk_get(s, "branches");
            size_t n = wsk_len(branches);
            if (!n) {
                wsk_begin_array(o);
                wsk_end_array(o);
                continue;
            }
            h->branches = (thread *)wsk_alloc(t, n * sizeof *h->branches);
            if (!h->branches) wsk_panic(t, "no memory");
            h->n_branches = h->children = n;
            for (wsk_iter it = wsk_each(branches); wsk_next(&it);) {
                thread *b = &h->branches[it.index];
                b->it = wsk_each(it.value);
                b->results = wsk_write(t);
                wsk_begin_array(&b->results);
                b->parent = h;
                make_ready(b);
            }
            return false;
        } else if (wsk_is(what, "sleep")) {
            int64_t ms = 0;
            (void)wsk_to_i64(wsk_get(s, "ms"), &ms);
            if (!h->parent) {
                wsk_code code = wsk_sleep(t, ms);
                if (code) put_refusal(t, o, code);
                else wsk_put_null(o);
                continue;
            }
            h->op = NULL;
            if (!begin(t, h, s)) continue;
            if (h->queued) h->it = before;
            h->next = waiting;
            waiting = h;
            return false;
        } else if (wsk_is(what, "log")) {
            wsk_str level = text(t, s, "level");
            if (wsk_is(level, "debug")) wsk_log_debug(t, "%.*s", WSK_P(message));
            if (wsk_is(level, "info")) wsk_log_info(t, "%.*s", WSK_P(message));
            if (wsk_is(level, "warn")) wsk_log_warn(t, "%.*s", WSK_P(message));
            if (wsk_is(level, "error")) wsk_log_error(t, "%.*s", WSK_P(message));
            wsk_put_null(o);
        } else if (wsk_is(what, "progress")) {
            int64_t permille = 0;
            (void)wsk_to_i64(wsk_get(s, "permille"), &permille);
            wsk_progress(t, (int)permille, "%.*s", WSK_P(message));
            wsk_put_null(o);
        } else if (wsk_is(what, "spin")) {
            for (volatile unsigned i = 0;;) i = i + 1;
        } else if (wsk_is(what, "allocate")) {
            while (wsk_alloc(t, 1 << 20)) {
            }
            wsk_panic(t, "the memory is full");
        } else if (wsk_is(what, "end")) {
            end_step = s;
            return true;
        } else {
            wsk_panic(t, "step %.*s is unknown", WSK_P(what));
        }
    }
}

/* The thread has done its steps: its results are one of its parent's when its sisters are done too. */
static void done(thread *h, wsk_task *t) {
    wsk_end_array(&h->results);
    thread *p = h->parent;
    if (!p || --p->children) return;
    wsk_begin_array(&p->results);
    for (size_t i = 0; i < p->n_branches; i++) {
        wsk_json r = wsk_done(&p->branches[i].results);
        if (!r.n) wsk_panic(t, "results were not written");
        wsk_put_json(&p->results, r);
    }
    wsk_end_array(&p->results);
    make_ready(p);
}

/* Lets those go on that wait: for the op that has ended, for a ticket, or in vain. */
static void wake(wsk_task *t, wsk_item *ended) {
    thread **at = &waiting;
    int64_t now = wsk_ticks_ms();
    while (*at) {
        thread *h = *at;
        bool late = h->timed && now >= h->deadline;
        if (h->item != ended && !late && !(h->queued && (ended || !t->open))) {
            at = &h->next;
            continue;
        }
        *at = h->next;
        if (h->item == ended) {
            wsk_out a = wsk_write(t);
            if (h->op) {
                finish(&h->results, h->op->end(t, ended, &a), &a, t);
            } else {
                wsk_code code = wsk_end(t, ended, NULL);
                if (code) put_refusal(t, &h->results, code);
                else wsk_put_null(&h->results);
            }
            h->timed = false;
        } else if (late) {
            if (h->queued) (void)wsk_next(&h->it);
            else if (wsk_cancel(t, h->item)) wsk_panic(t, "the ticket was not cancelled");
            put_gave_up(&h->results);
            h->timed = h->queued = false;
        }
        make_ready(h);
    }
}

static void interpret(wsk_task *t, thread *root) {
    make_ready(root);
    while (ready || waiting) {
        while (ready) {
            thread *h = ready;
            ready = h->next;
            if (advance(t, h)) done(h, t);
        }
        if (!waiting) break;
        int64_t until = -1, now = wsk_ticks_ms();
        for (thread *h = waiting; h; h = h->next) {
            if (h->timed && (until < 0 || h->deadline < until)) until = h->deadline;
        }
        wsk_item *it = wsk_wait(t, until < 0 ? -1 : until <= now ? 0 : (int32_t)(until - now));
        if (!it && wsk_last_error(t)->code == WSK_CANCELED) wsk_panic(t, "the task is being stopped");
        wake(t, it);
    }
}

static wsk_outcome run(wsk_task *t) {
    thread root;
    __builtin_memset(&root, 0, sizeof root);
    root.it = wsk_each(wsk_input(t, "steps"));
    root.results = wsk_write(t);
    wsk_begin_array(&root.results);
    interpret(t, &root);
    wsk_json results = wsk_done(&root.results);
    if (wsk_len(results) && wsk_kv_put(t, "results", results)) return wsk_fail_last(t);
    wsk_str reason = text(t, end_step, "reason"), how = text(t, end_step, "outcome");
    if (wsk_is(how, "fail")) return wsk_fail(t, "%.*s", WSK_P(reason));
    if (wsk_is(how, "nothing")) return wsk_nothing(t, "%.*s", WSK_P(reason));
    if (wsk_is(how, "ignore")) return wsk_ignore(t, "%.*s", WSK_P(reason));
    if (wsk_is(how, "panic")) wsk_panic(t, "%.*s", WSK_P(reason));
    if (wsk_is(how, "error")) {
        t->error = last;
        return wsk_fail_last(t);
    }
    return wsk_succeed(t);
}

WSK_TASKS({"case", run, run}, {"plain", run, NULL})
