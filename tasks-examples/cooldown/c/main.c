/* Lets no second recovery of a host begin within some minutes of the first: a host that fails again and again needs a person. The task stands
 * first in pre. */
#include "../../../sdk/c/wasakari.h"

static const char *name(wsk_task *t) { return wsk_format(t, "host/%.*s", WSK_P(wsk_input_str(t, "host_name"))).p; }

static wsk_outcome cooldown(wsk_task *t) {
    int64_t minutes = wsk_option_i64(t, "cooldown", "minutes");
    /* Written only when nobody else's is there: of two runs at the same moment one goes on. */
    wsk_put_options once = {{true, 0}, minutes * 60};
    wsk_out mark = wsk_write(t);
    wsk_begin_object(&mark);
    wsk_key(&mark, "run");
    wsk_put_str(&mark, t->in.run_id);
    wsk_end_object(&mark);
    wsk_code code = wsk_library_put(t, name(t), wsk_done(&mark), &once, NULL);
    if (!code) return wsk_succeed(t);
    if (code != WSK_CONFLICT) return wsk_fail_last(t);

    wsk_json last;
    if (wsk_library_get(t, name(t), &last, NULL)) return wsk_fail_last(t);
    wsk_str run = wsk_plain(t, wsk_get(last, "run"));
    if (wsk_str_equal(run, t->in.run_id)) return wsk_succeed(t); /* the task runs again after an interruption */
    return wsk_ignore(t, "host %.*s was acted on less than %lld minutes ago, by run %.*s", WSK_P(wsk_input_str(t, "host_name")), (long long)minutes, WSK_P(run));
}

/* Takes the run's own mark away: a recovery that failed does not count. */
static wsk_outcome forget(wsk_task *t) {
    wsk_json last;
    int64_t version;
    wsk_code code = wsk_library_get(t, name(t), &last, &version);
    if (code == WSK_NOT_FOUND) return wsk_nothing(t, "the mark is gone");
    if (code) return wsk_fail_last(t);
    if (!wsk_json_is(wsk_get(last, "run"), t->in.run_id)) return wsk_nothing(t, "the mark is another run's");
    if (wsk_library_delete_version(t, name(t), version)) return wsk_fail_last(t);
    return wsk_succeed(t);
}

WSK_TASKS({"cooldown", cooldown, forget})
