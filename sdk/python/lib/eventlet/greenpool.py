"""A stand-in for eventlet.greenpool."""

from eventlet import greenthread


class GreenPool:
    def __init__(self, size=1000):
        self.size = size

    def spawn(self, function, *args, **kwargs):
        return greenthread.spawn(function, *args, **kwargs)

    def spawn_n(self, function, *args, **kwargs):
        greenthread.spawn_n(function, *args, **kwargs)

    def starmap(self, function, iterable):
        for args in iterable:
            yield function(*args)

    def imap(self, function, *iterables):
        return map(function, *iterables)

    def waitall(self):
        pass

    def free(self):
        return self.size

    def running(self):
        return 0

    def waiting(self):
        return 0

    def resize(self, size):
        self.size = size


class GreenPile:
    def __init__(self, size_or_pool=1000):
        self._threads = []

    def spawn(self, function, *args, **kwargs):
        self._threads.append(greenthread.spawn(function, *args, **kwargs))

    def __iter__(self):
        return self

    def __next__(self):
        if not self._threads:
            raise StopIteration
        return self._threads.pop(0).wait()
