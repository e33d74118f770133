"""A stand-in for oslo_utils.excutils."""

import sys


class save_and_reraise_exception:
    """Raises an exception again after what its handler did."""

    def __init__(self, reraise=True, logger=None):
        self.reraise = reraise

    def __enter__(self):
        self.type_, self.value, self.tb = sys.exc_info()
        return self

    def force_reraise(self):
        raise self.value

    def __exit__(self, kind, value, tb):
        if kind is None and self.reraise:
            self.force_reraise()
        return False
