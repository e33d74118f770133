"""A stand-in for eventlet.greenthread."""

import time


def sleep(seconds=0):
    time.sleep(seconds)


class GreenThread:
    """What has run already: its result, or its exception, comes with wait."""

    def __init__(self, function, args, kwargs):
        self._links, self._error, self._result = [], None, None
        try:
            self._result = function(*args, **kwargs)
        except Exception as e:
            self._error = e

    def wait(self):
        if self._error:
            raise self._error
        return self._result

    def link(self, function, *args, **kwargs):
        function(self, *args, **kwargs)

    def cancel(self, *_):
        pass

    kill = cancel
    dead = True


def spawn(function, *args, **kwargs):
    return GreenThread(function, args, kwargs)


def spawn_n(function, *args, **kwargs):
    spawn(function, *args, **kwargs)


def spawn_after(seconds, function, *args, **kwargs):
    time.sleep(seconds)
    return spawn(function, *args, **kwargs)


def getcurrent():
    return None
