"""A stand-in for oslo_utils.uuidutils."""

import uuid


def generate_uuid(dashed=True):
    u = uuid.uuid4()
    return str(u) if dashed else u.hex


def is_uuid_like(value):
    try:
        return uuid.UUID(value).hex == str(value).lower().replace("urn:", "").replace("uuid:", "").strip("{}").replace("-", "")
    except (TypeError, ValueError, AttributeError):
        return False
