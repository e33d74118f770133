"""A stand-in for masakari.objects: the vmoves of the notification."""

from masakari.objects import fields
from masakari.objects.vmove import VMove, VMoveList

__all__ = ["VMove", "VMoveList", "fields", "register_all"]


def register_all():
    pass
