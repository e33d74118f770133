"""Runs the tasks of a script."""

import gc
import json
import sys

import _wasakari
import wasakari
from wasakari import _host

_BOOTSTRAP = sys.modules["_frozen_importlib"]
_files = {}  # of the script, by path
_roots = ("", "src/")


class _Loader:
    """Imports the files of the script."""

    @classmethod
    def find_spec(cls, name, path=None, target=None):
        base = name.replace(".", "/")
        for root in _roots:
            for file, package in ((root + base + "/__init__.py", True), (root + base + ".py", False)):
                if file in _files:
                    spec = _BOOTSTRAP.ModuleSpec(name, cls, origin=file, is_package=package)
                    spec.loader_state = file
                    return spec
            if any(f.startswith(root + base + "/") and f.endswith(".py") for f in _files):
                return _BOOTSTRAP.ModuleSpec(name, cls, origin=None, is_package=True)  # without __init__.py
        return None

    @staticmethod
    def create_module(spec):
        return None

    @staticmethod
    def exec_module(module):
        file = module.__spec__.loader_state
        if file is None:
            return
        module.__file__ = file
        exec(compile(_files[file], file, "exec", dont_inherit=True), module.__dict__)

    @staticmethod
    def get_source(name):
        return _files.get(sys.modules[name].__spec__.loader_state)


# What is not here, and what to use instead.
_MISSING = {
    "socket": "tasks have no network of their own; use wasakari.http",
    "ssl": "tasks have no network of their own; use wasakari.http",
    "requests": "tasks have no network of their own; use wasakari.http",
    "urllib3": "tasks have no network of their own; use wasakari.http",
    "http.client": "tasks have no network of their own; use wasakari.http",
    "urllib.request": "tasks have no network of their own; use wasakari.http",
    "subprocess": "tasks start no programs",
    "multiprocessing": "tasks start no programs",
    "asyncio": "there is one thread; use wasakari.nova.begin and wasakari.parallel",
    "concurrent": "there is one thread; use wasakari.nova.begin and wasakari.parallel",
    "novaclient": "use the novaclient that the task is given, or wasakari.nova",
    "keystoneauth1": "use the novaclient that the task is given, or wasakari.nova",
    "openstack": "use the novaclient that the task is given, or wasakari.nova",
}


class _Missing:
    """Says what to use instead of what is not here."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        hint = _MISSING.get(name)
        if hint:
            raise ModuleNotFoundError("No module named %r: %s" % (name, hint), name=name)
        if name.split(".")[0] in ("masakari", "oslo_config", "oslo_utils", "oslo_log", "oslo_service", "taskflow", "eventlet"):
            raise ModuleNotFoundError(
                "No module named %r: the stand-in for %s has what tasks need and no more" % (name, name.split(".")[0]), name=name)
        return None


class _Stream:
    """Standard output and error: lines for the log."""

    encoding, errors, closed = "utf-8", "replace", False

    def __init__(self, level):
        self._level, self._line = level, ""

    def write(self, text):
        *lines, self._line = (self._line + text).split("\n")
        for line in lines:
            _wasakari.log(self._level, line)
        return len(text)

    def flush(self):
        if self._line:
            _wasakari.log(self._level, self._line)
            self._line = ""

    def writelines(self, lines):
        for line in lines:
            self.write(line)

    def isatty(self):
        return False

    def writable(self):
        return True

    def fileno(self):
        raise OSError("tasks have no files")


def ready():
    """Prepares what every sandbox starts from."""
    sys.stdout = sys.__stdout__ = _Stream(1)
    sys.stderr = sys.__stderr__ = _Stream(2)
    sys.path[:] = []
    sys.path_hooks[:] = []
    sys.meta_path[:] = [m for m in sys.meta_path if getattr(m, "__name__", "") != "PathFinder"]
    sys.meta_path.insert(1, _Loader)
    sys.meta_path.append(_Missing)
    sys.setrecursionlimit(1000)
    import time

    time.sleep = wasakari.sleep

    # What nearly every task imports.
    import collections.abc, copy, datetime, functools, itertools, logging, operator, random, re, string, traceback, types, typing, uuid  # noqa: E401, F401
    import eventlet  # noqa: F401
    import masakari.compute.nova  # noqa: F401
    import masakari.engine.drivers.taskflow.base  # noqa: F401
    import masakari.exception  # noqa: F401
    import masakari.i18n  # noqa: F401
    import oslo_config.cfg  # noqa: F401
    import oslo_log.log  # noqa: F401
    import oslo_utils.excutils  # noqa: F401
    import oslo_utils.strutils  # noqa: F401
    import taskflow.task  # noqa: F401

    compile("class A:\n def f(self, *a, **k):\n  return f'{a}'\n", "", "exec")
    gc.collect()
    gc.freeze()  # the collector leaves alone what no task made


def script():
    """Gives the files of the script, by path."""
    _files.clear()
    for f in _host.do("task.script")["files"]:
        _files[f["name"]] = f["text"]
    return _files


def module_name(file):
    """Gives the name under which a file of the script is imported."""
    for root in _roots[1:]:
        file = file.removeprefix(root)
    return file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def load(file):
    """Imports a file of the script."""
    import importlib

    return importlib.import_module(module_name(file))


def run():
    return _outcome(lambda: _perform(False))


def revert():
    return _outcome(lambda: _perform(True))


def describe():
    def work():
        from wasakari import _describe

        return _describe.describe()

    return _outcome(work)


def _perform(reverting):
    given = _host.do("task.input")
    wasakari.inputs = given["inputs"]
    wasakari.options = given["options"]
    wasakari.info.update(round=1)
    wasakari.info.update((k, v) for k, v in given.items() if k not in ("inputs", "options"))
    random = sys.modules.get("random")
    if random:
        random.seed()
    script()
    key = given["key"]
    cls = _task(key)
    from taskflow import task

    t = task.make(cls)
    if reverting:
        task.revert(t, given)
    else:
        task.run(t, given)


def _task(key):
    """Gives the class of a task."""
    if "wasakari.json" in _files:
        for place in json.loads(_files["wasakari.json"])["tasks"]:
            if place["key"] == key:
                return getattr(load(place["file"]), place["class"])
    else:  # a script that was not built
        from wasakari import _describe

        for own, _, _, cls in _describe.found(_files):
            if own == key:
                return cls
    raise wasakari.TaskFailed("task %s: the script has no such task" % key)


def _outcome(work):
    """Does the work and gives the exit."""
    exit, reason = 1, ""
    try:
        work()
        exit = 0
    except wasakari.Outcome as e:
        exit, reason = e.exit, e.reason
    except SystemExit as e:
        reason = "the task called exit(%s); it says its outcome by returning, or raises an error" % ("" if e.code is None else e.code)
    except BaseException as e:
        skip = getattr(e, "wasakari_exit", None)
        if skip is not None:
            exit, reason = skip, str(e)
        else:
            reason = _explain(e)
    _host.timeouts.clear()
    try:
        _host.drain()
    except BaseException as e:
        exit, reason = 1, reason or _explain(e)
    sys.stdout.flush()
    sys.stderr.flush()
    if reason:
        _wasakari.call("task.reason", _host.request({"reason": reason}))
    return exit


def _explain(e):
    """Gives the reason for an error: what it says, and for one that nobody meant
    the end of its traceback. All of that is in the log."""
    if isinstance(e, Described):
        return str(e)
    if isinstance(e, (wasakari.TaskFailed, _host.OpError)) or getattr(e, "wasakari_plain", False):
        return str(e) or type(e).__name__
    import traceback

    tb = e.__traceback__
    while tb and tb.tb_frame.f_code.co_filename not in _files:
        tb = tb.tb_next  # what of the engine is around the script
    if tb:
        e.__traceback__ = tb
    limit = -3 if isinstance(e, RecursionError) else None
    _wasakari.log(3, "".join(traceback.format_exception(e, limit=limit)))
    frames = traceback.extract_tb(e.__traceback__)
    mine = [f for f in frames if f.filename in _files]
    tail = "".join(traceback.format_list(mine[-1:])) if mine else ""
    return (tail + "".join(traceback.format_exception_only(e))).strip()[-3500:]


class Described(Exception):
    """What is wrong with a script, as "file:line: text"."""
