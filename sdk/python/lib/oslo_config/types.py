"""A stand-in for oslo_config.types: what a manifest says of a type."""


def of(kind):
    """Gives the type that an option was given: one of these, its class, or a
    function that makes the value of a text."""
    if isinstance(kind, type) and issubclass(kind, _Type):
        return kind()
    return kind if isinstance(kind, _Type) else _Made(kind)


class _Type:
    name = "string"

    def __init__(self, **more):
        self.more = more

    def convert(self, value):
        return value


class String(_Type):
    def __init__(self, choices=None, **_):
        super().__init__(choices=choices)


class Integer(_Type):
    name = "int"

    def __init__(self, min=None, max=None, **_):
        super().__init__(min=min, max=max)


class Port(Integer):
    def __init__(self, min=None, max=None, **_):
        super().__init__(0 if min is None else min, 65535 if max is None else max)


class Float(_Type):
    name = "float"

    def __init__(self, **_):
        super().__init__()


class Boolean(_Type):
    name = "bool"

    def __init__(self, **_):
        super().__init__()


class List(_Type):
    name = "list"

    def __init__(self, item_type=None, **_):
        super().__init__()
        self.item = item_type

    def convert(self, value):
        if value is None or self.item is None:
            return value
        numbers = {"int": int, "float": float}
        return [numbers.get(self.item.name, str)(v) for v in value]


class Dict(_Type):
    """A dict, written as "key:value,key:value"."""

    def __init__(self, **_):
        super().__init__()

    def convert(self, value):
        if not isinstance(value, str):
            return value
        pairs = (p.partition(":") for p in value.split(",") if p.strip())
        return {k.strip(): v.strip() for k, _, v in pairs}


class HostAddress(_Type):
    name = "host"

    def __init__(self, **_):
        super().__init__()


Hostname = IPAddress = HostDomain = HostAddress


class URI(_Type):
    name = "uri"

    def __init__(self, **_):
        super().__init__()


class _Made(_Type):
    """What a function makes of a text, such as int."""

    def __init__(self, make):
        super().__init__()
        self.make = make
        self.name = {int: "int", float: "float", bool: "bool"}.get(make, "string")

    def convert(self, value):
        return self.make(value) if isinstance(value, str) else value
