"""A stand-in for masakari.objects.vmove."""

import wasakari
from wasakari import Document

_WRITTEN = ("instance_uuid", "instance_name", "status", "source_host", "dest_host", "message")


class VMove(Document):
    """The move of a server. create and save write it at once; the host keeps its
    times."""

    def __init__(self, context=None, **values):
        super().__init__(values)

    def __setattr__(self, name, value):
        self[name] = value

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return self.get(name)

    def create(self):
        self.update(wasakari.ha.vmove_put(**{k: self[k] for k in _WRITTEN if self.get(k) is not None}) or {})

    save = create

    @classmethod
    def get_by_uuid(cls, context, uuid):
        for v in wasakari.ha.vmove_list()["vmoves"]:
            if v["uuid"] == uuid:
                return cls(**v)
        from masakari import exception

        raise exception.VMoveNotFound(id=uuid)


class VMoveList(list):
    """Vmoves of the notification, in the order in which they were made."""

    @property
    def objects(self):
        return self

    @classmethod
    def get_all(cls, context, filters=None, **_):
        filters = filters or {}
        moves = wasakari.ha.vmove_list(status=filters.get("status"))["vmoves"]
        return cls(VMove(**v) for v in moves)

    @classmethod
    def get_all_vmoves(cls, context, notification_uuid, status=None):
        return cls.get_all(context, {"status": status})
