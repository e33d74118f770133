"""A stand-in for masakari.context."""

from masakari.compute.nova import Context as RequestContext


def get_admin_context(read_deleted="no"):
    return RequestContext()
