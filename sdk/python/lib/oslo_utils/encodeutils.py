"""A stand-in for oslo_utils.encodeutils."""


def safe_decode(text, incoming=None, errors="strict"):
    return text if isinstance(text, str) else bytes(text).decode(incoming or "utf-8", errors)


def safe_encode(text, incoming=None, encoding="utf-8", errors="strict"):
    return text.encode(encoding, errors) if isinstance(text, str) else bytes(text)


def exception_to_unicode(exc):
    return str(exc)
