"""The engine's own modules on plain CPython, against a host that is made up.

Each test of a Case has modules of its own, fresh as those of a sandbox, and a
clock that only sleeping moves. What the engine does not have cannot be imported.
"""

import gc
import importlib.machinery
import importlib.util
import json
import logging
import os
import sys
import time
import types
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
LIB = os.path.join(HERE, "..", "lib")
STDLIB = os.path.dirname(os.__file__)
_SUFFIXES = [(importlib.machinery.ExtensionFileLoader, importlib.machinery.EXTENSION_SUFFIXES), (importlib.machinery.SourceFileLoader, [".py"])]


def _frozen():
    """Gives the modules of the standard library that the engine has."""
    spec = importlib.util.spec_from_file_location("freeze", os.path.join(HERE, "..", "engine", "freeze.py"))
    freeze = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(freeze)
    return frozenset(freeze.STDLIB)


FROZEN = _frozen()
_code = {}  # compiled modules of the lib, by path


class _Loader:
    """Loads modules of the lib, which are compiled once for all tests."""

    def __init__(self, path):
        self.path = path

    def create_module(self, spec):
        return None

    def exec_module(self, module):
        if self.path not in _code:
            with open(self.path, encoding="utf-8") as f:
                _code[self.path] = compile(f.read(), self.path, "exec", dont_inherit=True, optimize=2)  # as it is frozen
        exec(_code[self.path], module.__dict__)


class _Finder:
    """Finds what is frozen into the engine."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        *folders, last = name.split(".")
        base = os.path.join(LIB, *folders, last)
        for file, package in ((os.path.join(base, "__init__.py"), True), (base + ".py", False)):
            if os.path.exists(file):
                return importlib.machinery.ModuleSpec(name, _Loader(file), origin=file, is_package=package)
        if name in FROZEN:
            return importlib.machinery.FileFinder(os.path.join(STDLIB, *folders), *_SUFFIXES).find_spec(name)
        if not folders:  # modules in C
            return importlib.machinery.FileFinder(os.path.join(STDLIB, "lib-dynload"), *_SUFFIXES).find_spec(name)
        return None


class Refused(Exception):
    """An answer: the op is refused."""

    def __init__(self, code, message="", status=0, request_id=""):
        super().__init__(code)
        self.document = {"code": code, "message": message}
        self.document.update((k, v) for k, v in (("status", status), ("request_id", request_id)) if v)


class After:
    """An answer that comes after so many milliseconds; None: never."""

    def __init__(self, ms, answer=None):
        self.ms, self.answer = ms, {} if answer is None else answer


class Host:
    """What the C module _wasakari is in the engine.

    answers has, by op, an answer, a Refused, an After, or a function of the
    request that gives one; {} else. Groups task and kv are served.
    """

    ERRNOS = ("", "invalid", "not_found", "conflict", "forbidden", "not_granted", "unavailable", "timeout", "canceled", "too_large", "quota")

    def __init__(self):
        self.answers, self.values = {}, {}
        self.input = {"key": "task", "flow": "host-auto", "phase": "main", "run_id": "r", "attempt": 1, "idempotency_key": "k", "inputs": {}, "options": {}}
        self.files = []
        self.requests = []  # "op request", but for those of group task
        self.logs, self.progressed, self.reason = [], [], None
        self.clock, self.tickets = 1000.0, 64  # seconds; how many may be open
        self.waits = []  # what wait was given
        self.most = 0  # that were open at the same time
        self._open, self._last = {}, 0

    # The functions of the module.

    def call(self, op, request):
        assert isinstance(op, str) and isinstance(request, str)
        if op == "task.cancel":
            return self._cancel(json.loads(request)["ticket"])
        due, errno, answer = self._do(op, request)
        assert due is not None, "a call that never ends"
        self.clock = max(self.clock, due)
        return errno, answer

    def submit(self, op, request):
        assert isinstance(op, str) and isinstance(request, str)
        if len(self._open) >= self.tickets:
            return -10
        if op.partition(".")[0] not in ("nova", "ha", "http", "task", "kv"):
            return -1
        self._last += 1
        self._open[self._last] = self._do(op, request)
        self.most = max(self.most, len(self._open))
        return self._last

    def wait(self, timeout_ms):
        assert -2**31 <= timeout_ms < 2**31, timeout_ms
        self.waits.append(timeout_ms)
        if not self._open:
            return -2
        due, ticket = min(((d[0], t) for t, d in self._open.items() if d[0] is not None), default=(None, 0))
        if timeout_ms >= 0 and (due is None or due > self.clock + timeout_ms / 1000):
            self.clock += timeout_ms / 1000
            return -7
        assert due is not None, "a wait that never ends"
        self.clock = max(self.clock, due)
        _, errno, answer = self._open.pop(ticket)
        return ticket, errno, answer

    def log(self, level, text):
        assert isinstance(text, str)
        self.logs.append("%s %s" % (("debug", "info", "warn", "error")[level], text))

    def progress(self, permille, text):
        self.progressed.append((permille, text))

    # Behind them.

    def _do(self, op, request):
        """Gives when the answer is due, its errno and its bytes."""
        req = json.loads(request)
        group, _, verb = op.partition(".")
        if group != "task":
            self.requests.append("%s %s" % (op, request))
        answer = self.answers.get(op)
        if callable(answer):
            answer = answer(req)
        if answer is None:
            answer = getattr(self, "_%s_%s" % (group, verb), lambda req: {})(req)
        due = self.clock
        if isinstance(answer, After):
            due, answer = None if answer.ms is None else self.clock + answer.ms / 1000, answer.answer
        if isinstance(answer, Refused):
            return due, self.ERRNOS.index(answer.document["code"]), json.dumps(answer.document).encode()
        return due, 0, answer if isinstance(answer, bytes) else json.dumps(answer).encode()

    def _cancel(self, ticket):
        if ticket not in self._open:
            return 2, json.dumps(Refused("not_found").document).encode()
        self._open[ticket] = (self.clock, 8, json.dumps(Refused("canceled").document).encode())
        return 0, b"{}"

    def _task_input(self, req):
        return self.input

    def _task_script(self, req):
        return {"files": self.files}

    def _task_reason(self, req):
        self.reason = req["reason"]
        return {}

    def _task_sleep(self, req):
        return After(req["ms"])

    def _kv_get(self, req):
        value = self.values.get((req.get("scope", "run"), req["name"]))
        return {"value": value[0], "version": value[1]} if value else Refused("not_found", "kv.get: there is no %s" % req["name"])

    def _kv_put(self, req):
        name = (req.get("scope", "run"), req["name"])
        version = self.values.get(name, (None, 0))[1]
        if req.get("if_version", version) != version:
            return Refused("conflict")
        self.values[name] = (req["value"], version + 1)
        return {"version": version + 1}

    def _kv_delete(self, req):
        value = self.values.get((req.get("scope", "run"), req["name"]))
        if not value:
            return Refused("not_found")
        if req.get("if_version", value[1]) != value[1]:
            return Refused("conflict")
        del self.values[req.get("scope", "run"), req["name"]]
        return {}

    def _kv_list(self, req):
        scope, prefix = req.get("scope", "run"), req.get("prefix", "")
        return {"entries": [{"name": n, "version": v} for (s, n), (_, v) in sorted(self.values.items()) if s == scope and n.startswith(prefix)]}


class Case(unittest.TestCase):
    """A test in an engine of its own; self.host is its host."""

    maxDiff = None

    def setUp(self):
        self.host = Host()
        saved = [(sys, n, getattr(sys, n)) for n in ("stdout", "stderr", "__stdout__", "__stderr__")]
        saved += [(time, n, getattr(time, n)) for n in ("sleep", "monotonic")]
        path, hooks, finders, limit = sys.path[:], sys.path_hooks[:], sys.meta_path[:], sys.getrecursionlimit()
        handlers, level = logging.root.handlers[:], logging.root.level

        def restore():
            for owner, name, value in saved:
                setattr(owner, name, value)
            sys.path[:], sys.path_hooks[:], sys.meta_path[:] = path, hooks, finders
            sys.setrecursionlimit(limit)
            logging.root.handlers[:] = handlers
            logging.root.setLevel(level)
            forget((_Loader, self.engine._Loader))
            del sys.modules["_wasakari"]
            gc.unfreeze()

        def forget(loaders):
            for name, module in list(sys.modules.items()):
                loader = getattr(module, "__loader__", None)
                if isinstance(loader, loaders) or loader in loaders:
                    del sys.modules[name]

        self.addCleanup(restore)
        native = types.ModuleType("_wasakari")
        for name in ("call", "submit", "wait", "log", "progress"):
            setattr(native, name, getattr(self.host, name))
        sys.modules["_wasakari"] = native
        time.monotonic = lambda: self.host.clock
        sys.meta_path.insert(0, _Finder)
        from wasakari import _engine

        _engine.ready()
        self.engine, self.forget = _engine, forget

    def script(self, text="", files=None, **given):
        """Gives the host a script of one file, task.py, and what the task is given."""
        files = {"task.py": text} if files is None else files
        self.forget((self.engine._Loader,))  # a sandbox runs one script
        self.host.files = [{"name": n, "text": t} for n, t in files.items()]
        self.host.input.update(given)

    def run_task(self, text="", files=None, revert=False, **given):
        """Runs a task, and gives its exit and reason."""
        self.script(text, files, reverting=revert, **given)
        exit = self.engine.revert() if revert else self.engine.run()
        return exit, self.host.reason

    def describe(self, text="", files=None):
        """Gives what a script says of its tasks, or why it cannot be described."""
        self.script(text, files)
        exit = self.engine.describe()
        return json.loads(self.host.reason) if exit == 0 else self.host.reason
