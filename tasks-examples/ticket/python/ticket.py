"""Opens a ticket for a failed host in a system that takes them by HTTP, and
provides its id."""

import json

import wasakari
from wasakari import http, info, log, option


@wasakari.task(provides="ticket_id")
def ticket(host_name):
    try:
        id = open_ticket(host_name)
        log.info("opened ticket %s", id)
    except (wasakari.OpError, wasakari.TaskFailed) as e:
        if option("ticket", "required"):
            raise
        # A recovery without a ticket is better than none.
        log.warning("no ticket: %s", e)
        id = ""
    return id


def open_ticket(host_name):
    answer = http.post(
        option("ticket", "url"),
        headers={
            # The host puts the token in; the task never sees it.
            "Authorization": wasakari.secret("ticket", "token", prefix="Bearer "),
            # The same when the task is run again: no second ticket.
            "Idempotency-Key": info.idempotency_key,
        },
        body_json={
            "queue": option("ticket", "queue"),
            "title": f"host {host_name} failed",
            "text": f"Recovery {info.flow} began.",
        },
    )
    if answer.status not in (200, 201):
        wasakari.fail(f"the ticket system answered {answer.status}")
    try:
        return str(json.loads(answer.body)["id"])
    except (ValueError, KeyError, TypeError) as e:
        wasakari.fail(f"the ticket system's answer: {e!r}")
