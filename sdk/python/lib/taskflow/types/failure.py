"""The failure that a task's revert is told of."""


class Failure:
    """Why the flow failed, in words: the exception itself was another sandbox's."""

    def __init__(self, exc_info=None, exception_str="", **_):
        self.exception_str = exception_str or (str(exc_info[1]) if exc_info else "")
        self.exception = self.exc_info = None
        self.traceback_str = ""

    def check(self, *classes):
        return None

    def pformat(self, traceback=False):
        return "Failure: " + self.exception_str

    __str__ = pformat
