/* Opens a ticket for a failed host in a system that takes them by HTTP, and provides its id. */
#include "../../../sdk/c/wasakari.h"

/* Gives the id of the ticket, or nothing and why. */
static wsk_str open_ticket(wsk_task *t, wsk_str *why) {
    wsk_str none = {NULL, 0};
    wsk_out body = wsk_write(t);
    wsk_begin_object(&body);
    wsk_key(&body, "queue");
    wsk_put_str(&body, wsk_option_str(t, "ticket", "queue"));
    wsk_key(&body, "title");
    wsk_put_str(&body, wsk_format(t, "host %.*s failed", WSK_P(wsk_input_str(t, "host_name"))));
    wsk_key(&body, "text");
    wsk_put_str(&body, wsk_format(t, "Recovery %.*s began.", WSK_P(t->in.flow)));
    wsk_end_object(&body);

    wsk_named_text headers[] = {
        /* The host puts the token in; the task never sees it. */
        {wsk_s("Authorization"), wsk_text_secret(wsk_option_secret(t, "ticket", "token"), "Bearer ")},
        /* The same when the task is run again: no second ticket. */
        {wsk_s("Idempotency-Key"), wsk_text_str(t->in.idempotency_key)},
    };
    wsk_http_request_request request;
    wsk_http_request_answer answer;
    __builtin_memset(&request, 0, sizeof request);
    request.method = wsk_s("POST");
    request.url = wsk_option_str(t, "ticket", "url");
    request.headers.p = headers;
    request.headers.n = 2;
    request.body_json = wsk_done(&body);
    if (wsk_http_request(t, &request, &answer)) {
        *why = wsk_error_text(t, wsk_last_error(t));
        return none;
    }
    if (answer.status != 200 && answer.status != 201) {
        *why = wsk_format(t, "the ticket system answered %lld", (long long)answer.status);
        return none;
    }
    wsk_json ticket;
    if (!wsk_json_parse(answer.body, &ticket)) {
        *why = wsk_s("the ticket system's answer is no JSON");
        return none;
    }
    wsk_str id = wsk_plain(t, wsk_get(ticket, "id")); /* text, or a number as it stands */
    if (!id.n) *why = wsk_s("the ticket system told no id");
    return id;
}

static wsk_outcome run(wsk_task *t) {
    wsk_str why = {NULL, 0}, id = open_ticket(t, &why);
    if (!why.n) {
        wsk_log_info(t, "opened ticket %.*s", WSK_P(id));
    } else if (wsk_option_bool(t, "ticket", "required")) {
        return wsk_fail(t, "%.*s", WSK_P(why));
    } else {
        /* A recovery without a ticket is better than none. */
        wsk_log_warn(t, "no ticket: %.*s", WSK_P(why));
    }
    if (wsk_kv_put(t, "ticket_id", wsk_json_str(t, id))) return wsk_fail_last(t);
    return wsk_succeed(t);
}

WSK_TASKS({"ticket", run, NULL})
