"""What passes between a task and its host: ops, answers, errors, tickets."""

import json
import time

import _wasakari


class Document(dict):
    """A document of the host: a dict whose keys are attributes as well.

    getattr(server, "OS-EXT-STS:vm_state") reads keys that are no names.
    """

    __slots__ = ()

    def __getattr__(self, name):
        try:
            return self[name]
        except KeyError:
            raise AttributeError("the document has no %r, but %s" % (name, ", ".join(map(repr, self)) or "nothing")) from None

    def to_dict(self):
        """Gives a plain copy."""
        return dict(self)


_decode = json.JSONDecoder(object_hook=Document).decode


def _answer(op, document):
    """Decodes an answer. That of a request always has headers and a body, be they
    empty: whoever reads them asks for the status, not for what is missing."""
    answer = _decode(document.decode())
    if op == "http.request":
        answer.setdefault("headers", Document())
        answer.setdefault("body", "")
    return answer


_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), check_circular=True).encode


class OpError(Exception):
    """What the host answers when an op is refused or did not work out.

    op is its name, code says what kind of error it is, such as "conflict",
    message why. Errors of Nova have its HTTP status and request_id besides.
    Each code has a class of its own.
    """

    code = "unavailable"

    def __init__(self, op="", message="", status=0, request_id="", code=None):
        self.op, self.message, self.status, self.request_id = op, message, status, request_id
        if code:
            self.code = code
        super().__init__(self._text())

    def _text(self):
        parts = [self.op] if self.op else []
        parts.append(self.code.replace("_", " "))
        reason = self.message.removeprefix(self.op + ": ")
        if reason:
            parts.append(reason)
        text = ": ".join(parts)
        notes = [n for n in ("HTTP %d" % self.status if self.status else "", self.request_id) if n]
        return text + (" (%s)" % ", ".join(notes) if notes else "")


class Invalid(OpError):
    code = "invalid"


class NotFound(OpError):
    code = "not_found"


class Conflict(OpError):
    code = "conflict"


class Forbidden(OpError):
    code = "forbidden"


class NotGranted(OpError):
    code = "not_granted"


class Unavailable(OpError):
    code = "unavailable"


class Timeout(OpError):
    code = "timeout"


class Canceled(OpError):
    code = "canceled"


class TooLarge(OpError):
    code = "too_large"


class Quota(OpError):
    code = "quota"


_errors = {c.code: c for c in OpError.__subclasses__()}


def _error(op, code, message, status=0, request_id=""):
    return _errors.get(code, OpError)(op, message, status, request_id, code)


def _refused(op, errno, document):
    from wasakari._ops import ERRNOS

    try:
        d = json.loads(document)
        return _error(op, d["code"], d.get("message", ""), d.get("status", 0), d.get("request_id", ""))
    except (ValueError, KeyError, TypeError):
        return _error(op, ERRNOS.get(errno, "errno_%d" % errno), "")


Null = object()  # null in a request, where None leaves the field out


def request(fields):
    """Encodes a request: without what is None."""
    return _encode({k: None if v is Null else v for k, v in fields.items() if v is not None})


def sleep(seconds):
    """Sleeps, on the host's side."""
    do("task.sleep", {"ms": -int(-seconds * 1000 // 1)})


timeouts = []  # those of eventlet that run, the next one first


def check():
    """Raises the error of a timeout whose time is over, once."""
    if timeouts and timeouts[0].left() <= 0:
        raise timeouts.pop(0).error()


def do(op, fields=None):
    """Does an op and gives its answer. An error is an OpError."""
    if timeouts:
        check()
    errno, answer = _wasakari.call(op, request(fields) if fields else "{}")
    if errno:
        raise _refused(op, errno, answer)
    return _answer(op, answer)


_pending = {}  # tickets that are open
_QUOTA = 10
_TIMEOUT = 7


class GaveUp(Timeout):
    """The time of Pending.within is over: a read was cancelled, a change goes on."""


class Pending:
    """An op that was begun and goes on while the task does something else."""

    def __init__(self, op, ticket):
        self.op, self._ticket, self._deadline = op, ticket, None
        self._done, self._error, self._answer = False, None, None

    def within(self, seconds):
        """Gives up waiting after so many seconds from now, with GaveUp."""
        self._deadline = time.monotonic() + seconds
        return self

    def done(self):
        """Tells whether it has ended."""
        if not self._done:
            _wait(0)
        return self._done

    def result(self):
        """Waits for its end and gives its answer, or raises its OpError."""
        while not self._done:
            _wait(-1)
        if self._error:
            raise self._error
        return self._answer

    def cancel(self):
        """Gives up waiting: a read is cancelled, a change goes on."""
        if self._ticket in _pending:
            try:
                do("task.cancel", {"ticket": self._ticket})
            except NotFound:
                pass


def begin(op, fields=None):
    """Begins an op. When as many as allowed are open it waits for one first."""
    req = request(fields or {})
    ticket = _wasakari.submit(op, req)
    while ticket == -_QUOTA and _pending:
        _wait(-1)
        ticket = _wasakari.submit(op, req)
    if ticket <= 0:
        raise _refused(op, -ticket, b"")
    p = _pending[ticket] = Pending(op, ticket)
    return p


def _wait(timeout_ms):
    """Waits for one of the open tickets, or until one is to be given up."""
    timed = [p for p in _pending.values() if p._deadline is not None and not p._done]
    if timed:
        left = max(0, -int(-(min(p._deadline for p in timed) - time.monotonic()) * 1000 // 1))
        left = min(left, 2**31 - 1)
        timeout_ms = left if timeout_ms < 0 else min(left, timeout_ms)
    if timeouts:
        check()
        left = min(-int(-timeouts[0].left() * 1000 // 1), 2**31 - 1)
        timeout_ms = max(0, left) if timeout_ms < 0 else max(0, min(left, timeout_ms))
    r = _wasakari.wait(timeout_ms)
    if isinstance(r, tuple):
        ticket, errno, answer = r
        p = _pending.pop(ticket, None)
        if p is not None and not p._done:
            p._done = True
            if errno:
                p._error = _refused(p.op, errno, answer)
            else:
                p._answer = _answer(p.op, answer)
    elif -r != _TIMEOUT:
        raise RuntimeError("wait: error %d of the host" % -r)
    now = time.monotonic()
    for p in timed:
        if not p._done and p._deadline <= now:
            p._done, p._error = True, GaveUp(p.op, "gave up waiting")
            p.cancel()


def drain():
    """Waits for the tickets that were given up. Others that are open at the end
    of a task are its mistake."""
    while any(p._done for p in _pending.values()):
        _wait(-1)


class Group:
    """A group of ops. Its methods do an op and give its answer.

    begin has the same methods, which give a Pending instead.
    """

    _do = staticmethod(do)

    @property
    def begin(self):
        g = object.__new__(type(self))
        g._do = begin
        return g
