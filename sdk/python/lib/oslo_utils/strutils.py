"""A stand-in for oslo_utils.strutils."""

TRUE_STRINGS = ("1", "t", "true", "on", "y", "yes")
FALSE_STRINGS = ("0", "f", "false", "off", "n", "no")


def bool_from_string(subject, strict=False, default=False):
    """Reads a truth value. Other words are the default, or with strict an error."""
    if isinstance(subject, bool):
        return subject
    word = str(subject).strip().lower()
    if word in TRUE_STRINGS:
        return True
    if word in FALSE_STRINGS:
        return False
    if strict:
        raise ValueError("Unrecognized value %r, acceptable values are: %s" % (
            subject, ", ".join(repr(s) for s in sorted(TRUE_STRINGS + FALSE_STRINGS))))
    return default


def is_valid_boolstr(value):
    return str(value).strip().lower() in TRUE_STRINGS + FALSE_STRINGS


def int_from_bool_as_string(subject):
    return int(bool_from_string(subject))


def mask_password(message, secret="***"):
    import re

    return re.sub(r"""(?i)(["']?\w*(?:password|token|secret|adminpass)\w*["']?\s*[:=]\s*["']?)[^"'\s,}]+""", r"\g<1>" + secret, str(message))


def to_slug(value, incoming=None, errors="strict"):
    import re

    return re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", str(value)).strip().lower())
