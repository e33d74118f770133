"""A stand-in for oslo_utils.importutils."""


def import_module(name):
    import importlib

    return importlib.import_module(name)


def import_class(name):
    module, _, cls = name.rpartition(".")
    return getattr(import_module(module), cls)


def import_object(name, *args, **kwargs):
    return import_class(name)(*args, **kwargs)


def try_import(name, default=None):
    try:
        return import_module(name)
    except ImportError:
        return default
