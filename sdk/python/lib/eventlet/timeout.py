"""A stand-in for eventlet.timeout. A timeout is raised where a task waits: in a
sleep, which it cuts short, while an op that was begun is waited for, and before
an op. What computes, or waits for an op that was not begun, is not cut short;
where its block ends the timeout is raised, when nothing did before."""

import time

from wasakari import _host

_none = object()


class Timeout(BaseException):
    """Raised, or exception in its place, so many seconds from now; None: never.

    It runs from when it is made until it is raised or cancelled, at the latest
    where its block ends. With exception False its block ends in silence.
    """

    def __init__(self, seconds=None, exception=None):
        super().__init__(seconds)
        self.seconds, self.exception = seconds, exception
        self.start()

    def start(self):
        self.cancel()
        self._due = None
        if self.seconds is not None:
            self._due = time.monotonic() + self.seconds
            _host.timeouts.append(self)
            _host.timeouts.sort(key=Timeout.left)

    @classmethod
    def start_new(cls, timeout=None, exception=None):
        return timeout if isinstance(timeout, Timeout) else cls(timeout, exception)

    def left(self):
        """Gives the seconds until it is raised."""
        return self._due - time.monotonic()

    def error(self):
        """Gives what is raised."""
        return self if self.exception is None or isinstance(self.exception, bool) else self.exception

    @property
    def pending(self):
        return any(t is self for t in _host.timeouts)

    def cancel(self):
        _host.timeouts[:] = [t for t in _host.timeouts if t is not self]

    def __enter__(self):
        if not self.pending:
            self.start()
        return self

    def __exit__(self, kind, value, tb):
        late = self.pending and self.left() <= 0
        self.cancel()
        if kind is None and late and self.exception is not False:
            raise self.error()
        return value is self and self.exception is False

    def __str__(self):
        return "" if self.seconds is None else "%s second%s" % (self.seconds, "" if self.seconds == 1 else "s")


def with_timeout(seconds, function, *args, timeout_value=_none, **kwargs):
    """Calls a function, for so many seconds at most. After them it raises Timeout,
    or gives timeout_value."""
    with Timeout(seconds) as timeout:
        try:
            return function(*args, **kwargs)
        except Timeout as e:
            if e is timeout and timeout_value is not _none:
                return timeout_value
            raise
