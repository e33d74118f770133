"""A stand-in for oslo_serialization.jsonutils."""

import datetime
import json
import uuid


def to_primitive(value, **_):
    if isinstance(value, dict):
        return {k: to_primitive(v) for k, v in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [to_primitive(v) for v in value]
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    if isinstance(value, datetime.datetime):
        return value.strftime("%Y-%m-%dT%H:%M:%S.%f")
    if isinstance(value, uuid.UUID):
        return str(value)
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, Exception):
        return str(value)
    raise ValueError("cannot be written as JSON: %r" % (value,))


def dumps(obj, default=to_primitive, **kwargs):
    return json.dumps(obj, default=default, **kwargs)


def dump_as_bytes(obj, default=to_primitive, encoding="utf-8", **kwargs):
    return dumps(obj, default=default, **kwargs).encode(encoding)


def loads(s, encoding="utf-8", **kwargs):
    return json.loads(s, **kwargs)
