"""A stand-in for oslo_utils.timeutils."""

import datetime
import time

PERFECT_TIME_FORMAT = "%Y-%m-%dT%H:%M:%S.%f"
now = time.monotonic


def utcnow(with_timezone=False):
    t = datetime.datetime.now(datetime.timezone.utc)
    return t if with_timezone else t.replace(tzinfo=None)


def utcnow_ts(microsecond=False):
    t = time.time()
    return t if microsecond else int(t)


def parse_isotime(text):
    return datetime.datetime.fromisoformat(text)


def parse_strtime(text, fmt=PERFECT_TIME_FORMAT):
    return datetime.datetime.strptime(text, fmt)


def normalize_time(timestamp):
    offset = timestamp.utcoffset()
    return timestamp if offset is None else timestamp.replace(tzinfo=None) - offset


def _time(value):
    return normalize_time(parse_isotime(value) if isinstance(value, str) else value)


def is_older_than(before, seconds):
    return utcnow() - _time(before) > datetime.timedelta(seconds=seconds)


def is_newer_than(after, seconds):
    return _time(after) - utcnow() > datetime.timedelta(seconds=seconds)


def delta_seconds(before, after):
    return (after - before).total_seconds()


class StopWatch:
    """Measures time."""

    def __init__(self, duration=None):
        self._duration, self._started, self._stopped = duration, None, None

    def start(self):
        self._started, self._stopped = now(), None
        return self

    def stop(self):
        self._stopped = now()
        return self

    restart = start

    def elapsed(self, maximum=None):
        e = (self._stopped if self._stopped is not None else now()) - self._started
        return e if maximum is None else min(e, maximum)

    def expired(self):
        return self._duration is not None and self.elapsed() > self._duration

    def leftover(self, return_none=False):
        return None if self._duration is None else max(0.0, self._duration - self.elapsed())

    def __enter__(self):
        return self.start()

    def __exit__(self, *exc):
        self.stop()
