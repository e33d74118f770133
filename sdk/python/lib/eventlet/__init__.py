"""A stand-in for eventlet. There is one thread, so what is spawned runs at once;
several ops at a time take wasakari.nova.begin."""

import time

from eventlet import greenpool, greenthread, timeout
from eventlet.greenpool import GreenPile, GreenPool
from eventlet.greenthread import spawn, spawn_after, spawn_n
from eventlet.timeout import Timeout, with_timeout

__all__ = ["GreenPile", "GreenPool", "Timeout", "greenpool", "greenthread", "monkey_patch", "sleep", "spawn", "spawn_after", "spawn_n", "timeout", "with_timeout"]


def sleep(seconds=0):
    time.sleep(seconds)


def monkey_patch(**_):
    pass
