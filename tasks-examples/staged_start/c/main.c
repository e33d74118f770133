/* Moves all servers off a failed host at once, and then starts those that are to run a few at a time on each host they came to: disks and networks do
 * not have to bear all of them booting together. */
#include "../../../sdk/c/wasakari.h"

#define GROUP "staged_start"

/* A server of the failed host. */
typedef struct server {
    const wsk_server *was;
    wsk_server is; /* where and how it is after the evacuation */
    bool moved, start, started;
    wsk_str failure;
} server;

/* A host that servers came to. */
typedef struct host {
    wsk_str name;
    server **servers;
    size_t n, next;
} host;

/* One of the servers that start at the same time on a host; when it runs, the next one's turn has come. */
typedef struct lane {
    host *on;
    server *now;
    bool waits;
} lane;

static int64_t limit;

static void failed(wsk_task *t, server *s) { s->failure = wsk_format(t, "%.*s: %.*s", WSK_P(s->was->name), WSK_P(wsk_error_text(t, wsk_last_error(t)))); }

/* Moves a server and says whether it is to be started: it ran before, or its owner's metadata wants it, and it does not run now. */
static wsk_code evacuate(wsk_task *t, wsk_item *it) {
    server *s = (server *)it->data;
    wsk_code code = WSK_OK;
    if (it->stage == 0) {
        wsk_nova_server_evacuate_request request = {.id = s->was->id};
        code = wsk_nova_server_evacuate_begin(t, it, &request);
    } else if (it->stage == 1) {
        code = wsk_nova_server_evacuate_end(t, it, NULL);
        if (!code || code == WSK_CONFLICT) { /* an earlier attempt of this task has begun it, or it is gone */
            wsk_nova_server_wait_request request = {
                .id = s->was->id, .until = wsk_s("moved"), .timeout_s = limit, .fields = wsk_list(t, "id", "name", "OS-EXT-STS:vm_state", "OS-EXT-SRV-ATTR:host", NULL)};
            code = wsk_nova_server_wait_begin(t, it, &request);
        }
    } else {
        wsk_nova_server_wait_answer answer;
        code = wsk_nova_server_wait_end(t, it, &answer);
        if (!code && wsk_is(answer.outcome, "error")) {
            s->failure = wsk_format(t, "%.*s: %.*s", WSK_P(s->was->name), WSK_P(answer.message));
        } else if (!code) {
            s->moved = true;
            s->is = answer.server;
            bool wanted = wsk_is(s->was->vm_state, "active") || wsk_json_is(wsk_get(s->was->metadata, "start_after_recovery"), wsk_s("true"));
            s->start = !wsk_is(answer.outcome, "deleted") && wanted && wsk_is(s->is.vm_state, "stopped");
        }
    }
    if (code) failed(t, s);
    return WSK_OK; /* the others go on */
}

static wsk_code start(wsk_task *t, wsk_item *it) {
    lane *l = (lane *)it->data;
    if (it->stage && !l->waits) {
        if (!wsk_nova_server_start_end(t, it, NULL)) {
            wsk_strs active = wsk_list(t, "active", NULL);
            wsk_nova_server_wait_request request = {.id = l->now->is.id, .until = wsk_s("vm_state"), .vm_states = active, .timeout_s = limit, .fields = wsk_list(t, "id", NULL)};
            l->waits = true;
            if (!wsk_nova_server_wait_begin(t, it, &request)) return WSK_OK;
        }
        failed(t, l->now);
    } else if (it->stage) {
        wsk_nova_server_wait_answer answer;
        if (wsk_nova_server_wait_end(t, it, &answer)) failed(t, l->now);
        else if (wsk_is(answer.outcome, "error")) l->now->failure = wsk_format(t, "%.*s: %.*s", WSK_P(l->now->was->name), WSK_P(answer.message));
        else l->now->started = true;
    }
    l->waits = false;
    while (l->on->next < l->on->n) {
        l->now = l->on->servers[l->on->next++];
        wsk_nova_server_start_request request = {.id = l->now->is.id};
        if (!wsk_nova_server_start_begin(t, it, &request)) break;
        failed(t, l->now);
    }
    return WSK_OK;
}

static bool before(wsk_str a, wsk_str b) {
    size_t i = 0;
    while (i < a.n && i < b.n && a.p[i] == b.p[i]) i++;
    return i < b.n && (i == a.n || (unsigned char)a.p[i] < (unsigned char)b.p[i]);
}

/* Puts a text where it belongs in a sorted list that has room for it. */
static void insert(wsk_str *list, size_t n, wsk_str s) {
    while (n && before(s, list[n - 1])) list[n] = list[n - 1], n--;
    list[n] = s;
}

static wsk_outcome run(wsk_task *t) {
    wsk_str name = wsk_input_str(t, "host_name");
    limit = wsk_option_i64(t, GROUP, "timeout");
    wsk_nova_service_wait_request down = {.host = name, .state = wsk_s("down"), .timeout_s = limit};
    if (wsk_nova_service_wait(t, &down, NULL)) return wsk_fail_last(t);

    wsk_nova_server_list_request request = {.host = name, .fields = wsk_list(t, "id", "name", "metadata", "OS-EXT-STS:vm_state", NULL)};
    wsk_nova_server_list_answer list;
    if (wsk_nova_server_list(t, &request, &list)) return wsk_fail_last(t);

    size_t n = list.servers.n, n_hosts = 0, n_moved = 0, n_started = 0, n_failed = 0, batch = (size_t)wsk_option_i64(t, GROUP, "batch");
    server *all = (server *)wsk_alloc(t, n * sizeof *all);
    host *hosts = (host *)wsk_alloc(t, n * sizeof *hosts);
    wsk_item *items = (wsk_item *)wsk_alloc(t, n * sizeof *items);
    lane *lanes = (lane *)wsk_alloc(t, n * sizeof *lanes);
    wsk_str *started = (wsk_str *)wsk_alloc(t, n * sizeof *started), *failures = (wsk_str *)wsk_alloc(t, n * sizeof *failures);
    if (!all || !hosts || !items || !lanes || !started || !failures) return wsk_fail(t, "%zu servers do not fit the task's memory", n);

    for (size_t i = 0; i < n; i++) {
        all[i].was = &list.servers.p[i];
        items[i].data = &all[i];
    }
    if (wsk_parallel(t, items, n, 0, evacuate)) return wsk_fail_last(t);

    for (size_t i = 0; i < n; i++) {
        if (!all[i].moved) continue;
        n_moved++;
        wsk_str to = all[i].is.host;
        if (!to.n) continue;
        host *h = hosts;
        while (h < hosts + n_hosts && !wsk_str_equal(h->name, to)) h++;
        if (h == hosts + n_hosts) {
            n_hosts++;
            h->name = to;
            h->servers = (server **)wsk_alloc(t, n * sizeof *h->servers);
            if (!h->servers) return wsk_fail(t, "%zu servers do not fit the task's memory", n);
        }
        if (all[i].start) h->servers[h->n++] = &all[i];
    }
    wsk_log_info(t, "evacuated %zu of %zu servers to %zu hosts", n_moved, n, n_hosts);
    wsk_progress(t, 500, "evacuated %zu of %zu servers", n_moved, n);

    size_t n_lanes = 0;
    __builtin_memset(items, 0, n * sizeof *items);
    for (size_t i = 0; i < n_hosts; i++) {
        for (size_t k = 0; k < batch && k < hosts[i].n; k++, n_lanes++) {
            lanes[n_lanes].on = &hosts[i];
            items[n_lanes].data = &lanes[n_lanes];
        }
    }
    if (wsk_parallel(t, items, n_lanes, 0, start)) return wsk_fail_last(t);

    for (size_t i = 0; i < n; i++) {
        if (all[i].started) insert(started, n_started++, all[i].was->name);
        if (all[i].failure.n) insert(failures, n_failed++, all[i].failure);
    }
    wsk_log_info(t, "started %zu servers", n_started);
    if (n_failed) {
        wsk_str text = failures[0];
        for (size_t i = 1; i < n_failed; i++) text = wsk_format(t, "%.*s; %.*s", WSK_P(text), WSK_P(failures[i]));
        return wsk_fail(t, "%zu of %zu servers failed: %.*s", n_failed, n, WSK_P(text));
    }
    wsk_out names = wsk_write(t);
    wsk_begin_array(&names);
    for (size_t i = 0; i < n_started; i++) wsk_put_str(&names, started[i]);
    wsk_end_array(&names);
    if (wsk_kv_put(t, "started_servers", wsk_done(&names))) return wsk_fail_last(t);
    return wsk_succeed(t);
}

WSK_TASKS({"staged_start", run, NULL})
