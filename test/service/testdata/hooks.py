"""What schemathesis cannot know by itself: ids and names that the service has.

Without them nearly every request ends in a 404 before it gets anywhere. A
random id is kept in some of the requests, for that path is to be tried too.
"""

import hashlib
import os
import time

import requests
import schemathesis

BASE = os.environ["WASAKARI_URL"]
HEADERS = {"OpenStack-API-Version": "instance-ha 1.3"}
if os.environ.get("WASAKARI_TOKEN"):
    HEADERS["X-Auth-Token"] = os.environ["WASAKARI_TOKEN"]
HOSTS = os.environ["WASAKARI_HOSTS"].split(",")
with open(os.environ["WASAKARI_MODULE"], "rb") as f:
    MODULE = f.read()

# Of 20 requests 16 name what is there, and 1 of 20 removals: else nothing is left soon.
NAMED, REMOVED = 16, 1
FRESH = 1.0  # seconds for which a list is taken to be true

_lists = {}
_calls = 0


@schemathesis.serializer("application/wasm")
def wasm(ctx, value):
    body = value if isinstance(value, bytes) else str(value).encode()
    draw = _draw(body, 4)
    if draw == 0:
        body = MODULE
    elif draw == 1:  # one byte of it is another
        at = int.from_bytes(hashlib.sha256(body).digest()[4:8], "big") % len(MODULE)
        body = MODULE[:at] + bytes([MODULE[at] ^ 0x41]) + MODULE[at + 1 :]
    return {"data": body}


def _draw(of, below):
    """Draws a number that depends on the request alone."""
    return int.from_bytes(hashlib.sha256(repr(of).encode()).digest()[:4], "big") % below


def _list(path, key, field):
    kept = _lists.get(path)
    if kept is None or time.monotonic() - kept[0] > FRESH:
        answer = requests.get(BASE + path, headers=HEADERS, timeout=20)
        if answer.status_code >= 500:
            raise RuntimeError(f"{path}: {answer.status_code} {answer.text}")
        # Its parent may be gone.
        items = answer.json()[key] if answer.status_code == 200 else []
        kept = (time.monotonic(), [item[field] for item in items])
        _lists[path] = kept
    return kept[1]


def _known(name, chosen):
    if name == "segment_id":
        return _list("/v1/segments?limit=200", "segments", "uuid")
    if name == "host_id":
        return _list(f"/v1/segments/{chosen['segment_id']}/hosts", "hosts", "uuid") if "segment_id" in chosen else []
    if name == "notification_id":
        return _list("/v1/notifications?limit=200", "notifications", "notification_uuid")
    if name == "vmove_id":
        return _list(f"/v1/notifications/{chosen['notification_id']}/vmoves", "vmoves", "uuid") if "notification_id" in chosen else []
    if name == "run":
        return _list("/wasakari/v1/runs", "runs", "id")
    return []


@schemathesis.hook
def before_call(ctx, case, **kwargs):
    global _calls
    _calls += 1
    draw = _draw((_calls, case.method, case.path), 1 << 30)
    if case.path_parameters and draw % 20 < (REMOVED if case.method.upper() == "DELETE" else NAMED):
        chosen = {}
        for name in case.path_parameters:
            known = _known(name, chosen)
            if known:
                chosen[name] = known[draw % len(known)]
        case.path_parameters.update(chosen)
    body = case.body
    if isinstance(body, dict) and draw % 4:
        for kind, field in (("notification", "hostname"), ("host", "name")):
            if isinstance(body.get(kind), dict) and isinstance(body[kind].get(field), str):
                body[kind][field] = HOSTS[draw % len(HOSTS)]
