"""A stand-in for masakari.compute.nova: the novaclient that tasks are given.

Each method is one op, or two, of the host, which guards what they do to Nova.
"""

import wasakari
from masakari import exception
from wasakari import Document

# The ops of each method.
OPS = {
    "get_servers": ("nova.server_list",),
    "get_server": ("nova.server_get",),
    "evacuate_instance": ("nova.server_evacuate",),
    "stop_server": ("nova.server_stop",),
    "start_server": ("nova.server_start",),
    "lock_server": ("nova.server_lock",),
    "unlock_server": ("nova.server_unlock",),
    "reset_instance_state": ("nova.server_reset_state",),
    "enable_disable_service": ("nova.service_enable", "nova.service_disable"),
    "is_service_disabled": ("nova.service_list",),
    "get_aggregate_list": ("nova.aggregate_list",),
    "add_host_to_aggregate": ("nova.aggregate_add_host",),
    "find_compute_service": ("nova.service_list",),
}


class Context(Document):
    """The context that methods take first, and that nothing depends on."""

    is_admin = True

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return None

    def elevated(self, *args, **kwargs):
        return self

    to_dict = dict


class Server(Document):
    """A server, as novaclient has it: what Nova has no value for is None."""

    def __getattr__(self, name):
        if name in self:
            return self[name]
        if name == "metadata":
            return {}
        if name == "locked":
            return False
        if name.startswith("OS-") or name in ("status", "name", "fault", "host_status", "description", "locked_reason", "tenant_id", "user_id"):
            return None
        return Document.__getattr__(self, name)

    def __repr__(self):
        return "<Server: %s>" % (self.get("name") or self.get("id"))


def _translated(error):
    """Gives the error of Masakari's that an error of an op becomes."""
    kinds = {
        "invalid": exception.InvalidInput, "not_found": exception.NotFound, "conflict": exception.Conflict,
        "forbidden": exception.Forbidden, "not_granted": exception.Forbidden,
    }
    e = kinds.get(error.code, exception.MasakariException)(str(error))
    e.request_id, e.status = error.request_id, error.status
    return e


def _op(method, /, *args, **kwargs):
    try:
        return method(*args, **kwargs)
    except wasakari.OpError as e:
        raise _translated(e) from e


class API:
    """The novaclient."""

    def get_servers(self, context, host):
        return [Server(s) for s in _op(wasakari.nova.server_list, host=host)["servers"]]

    def get_server(self, context, uuid):
        return Server(_op(wasakari.nova.server_get, uuid))

    def evacuate_instance(self, context, uuid, target=None):
        _op(wasakari.nova.server_evacuate, uuid, host=target)

    def stop_server(self, context, uuid):
        _op(wasakari.nova.server_stop, uuid)

    def start_server(self, context, uuid):
        _op(wasakari.nova.server_start, uuid)

    def lock_server(self, context, uuid):
        _op(wasakari.nova.server_lock, uuid)

    def unlock_server(self, context, uuid):
        _op(wasakari.nova.server_unlock, uuid)

    def reset_instance_state(self, context, uuid, status="error"):
        _op(wasakari.nova.server_reset_state, uuid, status)

    def enable_disable_service(self, context, host_name, enable=False, reason=None):
        if enable:
            _op(wasakari.nova.service_enable, host_name)
        else:
            _op(wasakari.nova.service_disable, host_name, reason=reason)

    def is_service_disabled(self, context, host_name, binary):
        services = _op(wasakari.nova.service_list, host=host_name, binary=binary)["services"]
        if not services:
            raise exception.NotFound("host %s has no service %s" % (host_name, binary))
        return services[0]["status"] == "disabled"

    def get_aggregate_list(self, context):
        return _op(wasakari.nova.aggregate_list)["aggregates"]

    def add_host_to_aggregate(self, context, host_name, aggregate):
        _op(wasakari.nova.aggregate_add_host, aggregate["id"] if isinstance(aggregate, dict) else getattr(aggregate, "id", aggregate), host_name)

    def find_compute_service(self, context, compute_name):
        if not _op(wasakari.nova.service_list, host=compute_name, binary="nova-compute")["services"]:
            raise exception.ComputeNotFoundByName(compute_name=compute_name)


def update_host(host, reserved=None, on_maintenance=None, **_):
    """The update_host_method of tasks that take one: changes a host's record."""
    name = host if isinstance(host, str) else getattr(host, "name", host)
    _op(wasakari.ha.host_update, name, reserved=reserved, on_maintenance=on_maintenance)
