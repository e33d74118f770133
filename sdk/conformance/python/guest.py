"""Does what the cases of sdk/conformance tell it."""

import wasakari
from wasakari import ha, http, info, kv, log, nova

_last = None  # error of the last call that was refused


def run(steps):
    results, end = _drive(_all(steps))
    if results:
        kv.put("results", results)
    reason = end.get("reason", "")
    match end.get("outcome"):
        case "fail":
            wasakari.fail(reason)
        case "nothing":
            wasakari.nothing(reason)
        case "ignore":
            wasakari.ignore(reason)
        case "panic":
            raise RuntimeError(reason)
        case "error":
            raise _last


@wasakari.task(key="case", revert=run)
def guest(steps):
    run(steps)


@wasakari.task
def plain(steps):
    run(steps)


def _drive(branch):
    """Does a branch by itself."""
    (result,) = wasakari.parallel([branch])
    return result


def _all(steps):
    """Gives a result for each step, and the step that ends the task."""
    results = []
    for s in steps:
        if s["do"] == "end":
            return results, s
        results.append((yield from _step(s)))
    return results, {}


def _step(s):
    match s["do"]:
        case "who":
            names = ("key", "flow", "phase", "run_id", "notification_uuid", "attempt", "round", "idempotency_key", "reverting", "failure")
            return {**{n: info.get(n) for n in names}, "inputs": sorted(wasakari.inputs)}
        case "input":
            return _looked_up(lambda: wasakari.inputs[s["name"]])
        case "option":
            return _looked_up(lambda: wasakari.option(s["group"], s["name"]))
        case "secret":
            return {"answer": wasakari.secret(s["group"], s["name"], s.get("prefix", ""))}
        case "call":
            return (yield from _call(s))
        case "open":
            _begin(s)
        case "parallel":
            results = yield [_all(b) for b in s["branches"]]
            return [r for r, _ in results]
        case "sleep":
            yield wasakari.timer(s["ms"] / 1000)
        case "log":
            getattr(log, {"warn": "warning"}.get(s["level"], s["level"]))(s["message"])
        case "progress":
            wasakari.progress(s["permille"], s["message"])
        case "spin":
            while True:
                pass
        case "allocate":
            kept = []
            while True:
                kept.append(bytearray(1 << 20))
        case other:
            raise ValueError("step %s" % other)


def _looked_up(get):
    try:
        return {"answer": get()}
    except KeyError:
        return {"error": {"code": "not_found"}}


def _call(s):
    global _last
    try:
        group, verb = s["op"].split(".")
        if group == "kv":
            return {"answer": _value(verb, **s.get("request", {}))}
        pending = _begin(s)
        if s.get("timeout_ms"):
            pending.within(s["timeout_ms"] / 1000)
        return {"answer": (yield pending)}
    except wasakari.GaveUp as e:
        _last = e
        return {"gave_up": True}
    except wasakari.OpError as e:
        _last = e
        return {"error": {"code": e.code, "message": e.message, "status": e.status, "request_id": e.request_id}}


def _begin(s):
    group, verb = s["op"].split(".")
    return getattr({"nova": nova, "ha": ha, "http": http}[group].begin, verb)(**s.get("request", {}))


def _value(verb, scope=None, name=None, prefix="", value=None, if_version=None, ttl_s=None):
    library = scope == "library"
    values = kv.library if library else kv
    match verb:
        case "get":
            if library:
                return wasakari.do("kv.get", {"scope": scope, "name": name})
            return {"value": kv.get(name)}
        case "put":
            if library:
                return {"version": kv.library.put(name, value, if_version=if_version, ttl=ttl_s)}
            kv.put(name, value)
            return {}
        case "delete":
            values.delete(name, if_version=if_version)
            return {}
        case "list":
            return {"entries": values.list(prefix)}
