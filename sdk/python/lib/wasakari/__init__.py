"""What a task may ask of Wasakari.

    import wasakari

    @wasakari.task(provides=["tagged"])
    def count_tagged(host_name):
        servers = wasakari.nova.server_list(host=host_name, fields=["id", "metadata"]).servers
        return sum("HA_Enabled" in s.metadata for s in servers)

Names are the same in every language. Errors of ops are OpError, with code,
message, status and request_id.
"""

import _wasakari
from wasakari._host import (
    Canceled, Conflict, Document, Forbidden, GaveUp, Invalid, NotFound, NotGranted, Null as _Null, OpError, Pending, Quota, Timeout, TooLarge, Unavailable,
    _wait, begin, do, sleep as _sleep, timeouts as _timeouts,
)
from wasakari._ops import HA, HTTP as _HTTP, Nova

__all__ = [
    "Canceled", "Conflict", "Document", "Forbidden", "GaveUp", "Invalid", "NotFound", "NotGranted", "OpError", "Outcome", "Pending", "Quota", "TaskFailed",
    "Timeout", "TooLarge", "Unavailable", "begin", "do", "fail", "ha", "http", "ignore", "info", "inputs", "kv", "log", "nothing", "nova", "option",
    "options", "parallel", "progress", "secret", "sleep", "succeed", "task", "timer",
]


class Outcome(BaseException):
    """Ends the task: raised by succeed, nothing and ignore."""

    def __init__(self, exit, reason=""):
        super().__init__(reason)
        self.exit, self.reason = exit, reason


class TaskFailed(Exception):
    """The task has failed, and its text says why: raised by fail."""


def succeed(reason=""):
    """Ends the task here: it has succeeded."""
    raise Outcome(0, reason)


def fail(reason):
    """Ends the task here: it has failed."""
    raise TaskFailed(reason)


def nothing(reason=""):
    """Ends the task here, and the flow well: there is nothing to do."""
    raise Outcome(2, reason)


def ignore(reason=""):
    """Ends the task here: the notification is ignored."""
    raise Outcome(3, reason)


class _Info(Document):
    """Who the task is: key, flow, phase, run_id, notification_uuid, attempt,
    round, idempotency_key, reverting, failure."""

    __slots__ = ()


info = _Info()
inputs = {}
options = {}


def option(group, name, default=None):
    """Gives the value of an option that the manifest lists, or the default when
    it is not set."""
    try:
        value = options[group][name]
    except KeyError:
        raise KeyError("option [%s] %s: the manifest does not list it" % (group, name)) from None
    return default if value is None else value


def secret(group, name, prefix=""):
    """Gives a secret option for a request of http, where the host puts its value
    in; the task never sees it. The prefix is put before it, such as "Bearer "."""
    value = option(group, name)
    if value is not None and prefix:
        value = dict(value, prefix=prefix)
    return value


class _Scope:
    def __init__(self, scope=None, prefix=""):
        self._scope, self._prefix = scope, prefix

    def get(self, name, default=...):
        """Reads a value. One that is not there is the default, or else a NotFound."""
        try:
            return do("kv.get", {"scope": self._scope, "name": self._prefix + name})["value"]
        except NotFound:
            if default is ...:
                raise
            return default

    def delete(self, name, if_version=None):
        """Removes a key."""
        do("kv.delete", {"scope": self._scope, "name": self._prefix + name, "if_version": if_version})

    def list(self, prefix=""):
        """Lists keys that begin with a prefix, as documents."""
        entries = do("kv.list", {"scope": self._scope, "prefix": (self._prefix + prefix) or None})["entries"]
        for e in entries:
            e["name"] = e["name"].removeprefix(self._prefix)
        return entries

    def _put(self, name, value, **more):
        req = {"scope": self._scope, "name": self._prefix + name, **more}
        return do("kv.put", {**{k: v for k, v in req.items() if v is not None}, "value": _Null if value is None else value}).get("version", 0)

    def put(self, name, value):
        """Writes a value, whatever JSON can hold."""
        self._put(name, value)


class _Library(_Scope):
    def get_version(self, name):
        """Reads a value and its version; (None, 0) when it is not there."""
        try:
            a = do("kv.get", {"scope": self._scope, "name": name})
        except NotFound:
            return None, 0
        return a["value"], a.get("version", 0)

    def put(self, name, value, if_version=None, ttl=None):
        """Writes a value and gives its version. With if_version only when the key
        has that version (0: when it is not there), else a Conflict. ttl: seconds
        after which it is forgotten."""
        return self._put(name, value, if_version=if_version, ttl_s=ttl)


class _KV(_Scope):
    """Values of the run: what the task requires and provides. scratch holds values
    for later attempts of this task, library what outlives the run."""

    def __init__(self):
        super().__init__()
        self.run = self
        self.scratch = _Scope(None, "scratch/")
        self.library = _Library("library")


kv = _KV()
nova = Nova()
ha = HA()


class _Requests(_HTTP):
    """Requests to the outside, where the manifest names it and the operator
    granted it."""

    def get(self, url, **more):
        return self.request("GET", url, **more)

    def head(self, url, **more):
        return self.request("HEAD", url, **more)

    def post(self, url, **more):
        return self.request("POST", url, **more)

    def put(self, url, **more):
        return self.request("PUT", url, **more)

    def patch(self, url, **more):
        return self.request("PATCH", url, **more)

    def delete(self, url, **more):
        return self.request("DELETE", url, **more)


http = _Requests()


class _Log:
    """Writes log lines; arguments are put in as by %."""

    def debug(self, text, *args):
        _wasakari.log(0, str(text) % args if args else str(text))

    def info(self, text, *args):
        _wasakari.log(1, str(text) % args if args else str(text))

    def warn(self, text, *args):
        _wasakari.log(2, str(text) % args if args else str(text))

    warning = warn  # as Python's logging has it

    def error(self, text, *args):
        _wasakari.log(3, str(text) % args if args else str(text))


log = _Log()


def progress(permille, text="", *args):
    """Tells how far the task is, from 0 to 1000."""
    _wasakari.progress(max(0, min(int(permille), 1000)), str(text) % args if args else str(text))


def sleep(seconds):
    """Sleeps, on the host's side."""
    first = _timeouts[0] if _timeouts else None
    if first and first.left() <= seconds:
        seconds = first.left()
    else:
        first = None
    if seconds > 0:
        _sleep(seconds)
    if first:
        first.cancel()
        raise first.error()


def timer(seconds):
    """Begins to sleep: for a branch of parallel."""
    return begin("task.sleep", {"ms": -int(-seconds * 1000 // 1)})


def parallel(branches):
    """Does things side by side and gives their results in order; an error is in
    the place of a result. A branch is an op that was begun, such as
    nova.begin.server_get(id), or a generator that yields such ops and gets the
    answer of each:

        def restart(id):
            yield wasakari.nova.begin.server_stop(id)
            server = yield wasakari.nova.begin.server_get(id)
            return server.status

        wasakari.parallel(restart(id) for id in ids)

    A branch that yields a list does what is in it side by side, and gets a list.
    Errors other than those of ops and fail are raised.
    """
    waiting, whole = [], []

    def start(branches, finish):
        branches = list(branches)
        results, left = [None] * len(branches), len(branches)

        def ended(place, value):
            nonlocal left
            results[place] = value
            left -= 1
            if not left:
                finish(results)

        if not branches:
            finish(results)
        for place, branch in enumerate(branches):
            if isinstance(branch, Pending):
                branch = (lambda p: (yield p))(branch)
            step(branch, lambda value, place=place: ended(place, value))

    def step(branch, finish, value=None, error=None):
        while True:
            try:
                wanted = branch.throw(error) if error else branch.send(value)
            except StopIteration as e:
                return finish(e.value)
            except Exception as e:
                if isinstance(e, (OpError, TaskFailed)) or getattr(e, "wasakari_plain", False):
                    return finish(e)
                raise
            value = error = None
            if isinstance(wanted, list):
                return start(wanted, lambda results: step(branch, finish, results))
            if not isinstance(wanted, Pending):
                error = TypeError("a branch of parallel yields ops that were begun, such as nova.begin.server_get(id), not %r" % (wanted,))
            elif wanted._done:
                value, error = wanted._answer, wanted._error
            else:
                waiting.append((wanted, branch, finish))
                return None

    start(branches, whole.append)
    while not whole:
        ended = [w for w in waiting if w[0]._done]
        if not ended:
            _wait(-1)
            continue
        waiting[:] = [w for w in waiting if not w[0]._done]
        for pending, branch, finish in ended:
            step(branch, finish, pending._answer, pending._error)
    return whole[0]


def task(function=None, *, key=None, requires=None, provides=None, uses=None, revert=None):
    """Makes a task of a function. Its arguments are what the task requires, those
    with a default are optional. What it returns is what it provides: the value,
    or, of several names, a tuple or a dict of them."""

    def make(f):
        from taskflow.task import function_task

        return function_task(f, key, requires, provides, uses, revert)

    return make(function) if function else make
