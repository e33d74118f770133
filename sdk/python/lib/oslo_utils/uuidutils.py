"""A stand-in for oslo_utils.uuidutils."""

import uuid


def generate_uuid(dashed=True):
    u = uuid.uuid4()
    return str(u) if dashed else u.hex


def is_uuid_like(value):
    try:
        return str(uuid.UUID(value)).replace("-", "") == str(value).lower().strip("urn:uuid{}").replace("-", "")
    except (TypeError, ValueError, AttributeError):
        return False
