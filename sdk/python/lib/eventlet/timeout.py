"""A stand-in for eventlet.timeout: its time is looked at when its block ends."""

import time


class Timeout(BaseException):
    def __init__(self, seconds=None, exception=None):
        super().__init__(seconds)
        self.seconds, self.exception = seconds, exception
        self._begun = time.monotonic()

    def cancel(self):
        self._begun = None

    def __enter__(self):
        self._begun = time.monotonic()
        return self

    def __exit__(self, kind, value, tb):
        late = self.seconds is not None and self._begun is not None and time.monotonic() - self._begun > self.seconds
        if kind is None and late and self.exception is not False:
            raise self.exception or self
        return kind is not None and value is self and self.exception is False

    def __str__(self):
        return "" if self.seconds is None else "%s seconds" % self.seconds
