"""A stand-in for masakari.utils."""

import contextlib


def synchronized(name, semaphores=None, blocking=False, **_):
    """Each run has the host to itself, so there is nobody to lock out."""

    def decorated(f):
        return f

    return decorated


@contextlib.contextmanager
def lock(*args, **kwargs):
    yield
