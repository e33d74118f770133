"""Describes the tasks of a script, when it is built."""

import ast
import json
import sys

import _wasakari
import wasakari
from oslo_config import cfg
from taskflow import task
from wasakari import _engine, _host, _ops

_ENTRY_POINTS = "masakari.task_flow.tasks"


def _candidates(files):
    """Gives the files that tasks may be in."""
    for f in sorted(files):
        parts = f.split("/")
        name = parts[-1]
        if not name.endswith(".py") or name in ("setup.py", "conftest.py") or name.startswith("test_") or name.endswith("_test.py"):
            continue
        if not any(p in ("tests", "test", "docs", "doc", "build", "dist") or p.startswith(".") for p in parts[:-1]):
            yield f


def _metadata(files):
    """Gives library, version, summary and entry points of setup.cfg or
    pyproject.toml."""
    if "pyproject.toml" in files:
        import tomllib

        try:
            doc = tomllib.loads(files["pyproject.toml"])
        except tomllib.TOMLDecodeError as e:
            raise _engine.Described("pyproject.toml: %s" % e) from None
        project = doc.get("project", {})
        points = project.get("entry-points", {}).get(_ENTRY_POINTS, {})
        if project:
            return project.get("name"), project.get("version"), project.get("description"), points
    if "setup.cfg" in files:
        import configparser

        p = configparser.RawConfigParser()
        try:
            p.read_string(files["setup.cfg"], "setup.cfg")
        except configparser.Error as e:
            raise _engine.Described("setup.cfg: %s" % e) from None
        get = lambda option, *sections: next((p.get(s, option) for s in sections if p.has_option(s, option)), None)  # noqa: E731
        points = {}
        for line in (get(_ENTRY_POINTS, "entry_points", "options.entry_points") or "").splitlines():
            key, eq, target = line.partition("=")
            if eq:
                points[key.strip()] = target.strip()
        return get("name", "metadata"), get("version", "metadata"), get("summary", "metadata") or get("description", "metadata"), points
    return None, None, None, {}


def _where(e, files):
    """Gives where in the script an error is, as "file:line"."""
    place, tb = None, e.__traceback__
    while tb:
        if tb.tb_frame.f_code.co_filename in files:
            place = "%s:%d" % (tb.tb_frame.f_code.co_filename, tb.tb_lineno)
        tb = tb.tb_next
    return place


def _load(file, files):
    """Imports a file. What is wrong with it is told with file and line."""
    name = file.removesuffix(".py").split("/")[-1]
    if "." in name:
        raise _engine.Described("%s: Python imports no file with a dot in its name: call it %s.py" % (file, name.replace(".", "_")))
    try:
        module = _engine.load(file)
    except SyntaxError as e:
        text = (e.text or "").strip()
        raise _engine.Described("%s:%d: %s%s" % (e.filename or file, e.lineno or 1, e.msg, ": " + text if text else "")) from None
    except Exception as e:
        raise _engine.Described("%s: %s: %s" % (_where(e, files) or file, type(e).__name__, e)) from None
    if module.__spec__ is None or module.__spec__.loader_state != file:
        raise _engine.Described("%s: Python has a module %s of its own, which hides it: call it %s_task.py" % (file, module.__name__, name))
    return module


def _is_task(value, module):
    return (isinstance(value, type) and issubclass(value, task.Atom) and value.__module__ == module.__name__
            and value.execute is not task.Atom.execute and not value.__name__.startswith("_"))


def _snake(name):
    out = ""
    for i, c in enumerate(name):
        if c.isupper() and i and (not name[i - 1].isupper() or name[i + 1:i + 2].islower()):
            out += "_"
        out += c.lower()
    return out


def found(files, points=()):
    """Gives key, file, name and class of each task: of the entry points, or else
    of all files."""
    tasks = []
    if points:
        for key, target in points.items():
            module, _, name = target.partition(":")
            base = module.strip().replace(".", "/")
            file = next((f for r in ("", "src/") for f in (r + base + ".py", r + base + "/__init__.py") if f in files), None)
            if file is None:
                raise _engine.Described("entry point %s: there is no module %s" % (key, module))
            cls = getattr(_load(file, files), name.strip(), None)
            if not (isinstance(cls, type) and issubclass(cls, task.Atom)):
                raise _engine.Described("%s: entry point %s: there is no class %s of a task" % (file, key, name))
            tasks.append((key, file, name.strip(), cls))
        return tasks
    for file in _candidates(files):
        module = _load(file, files)
        classes = [(n, v) for n, v in vars(module).items() if _is_task(v, module)]
        # A class that others are made from is none by itself.
        classes = [(n, v) for n, v in classes if not any(o is not v and issubclass(o, v) for _, o in classes)]
        own = file.removesuffix(".py").split("/")[-1]
        for name, cls in classes:
            key = getattr(cls, "wasakari_key", None) or (own if len(classes) == 1 and own != "__init__" else _snake(name))
            tasks.append((key, file, name, cls))
    return tasks


_OBJECTS = {"VMove": ("ha.vmove_list", "ha.vmove_put"), "VMoveList": ("ha.vmove_list",)}


class _Uses(ast.NodeVisitor):
    """Finds the ops that a source names: methods of a novaclient, methods of the
    groups of wasakari, and what the stand-ins for objects do."""

    def __init__(self):
        self.ops, self.saves = set(), False

    def visit_Attribute(self, node):
        from masakari.compute.nova import OPS

        self.generic_visit(node)
        name, base = node.attr, node.value
        owner = base.attr if isinstance(base, ast.Attribute) else base.id if isinstance(base, ast.Name) else ""
        if owner == "begin" and isinstance(base, ast.Attribute):
            inner = base.value
            owner = inner.attr if isinstance(inner, ast.Attribute) else inner.id if isinstance(inner, ast.Name) else ""
        if name in OPS:
            self.ops.update(OPS[name])
        elif owner in ("nova", "ha") and name != "begin" and hasattr(getattr(_ops, {"nova": "Nova", "ha": "HA"}[owner]), name):
            self.ops.add("%s.%s" % (owner, name))
        elif owner == "http":
            self.ops.add("http.request")
        elif owner in ("kv", "library", "scratch", "run") and name in ("get", "put", "delete", "list", "get_version"):
            self.ops.add("kv." + ("get" if name == "get_version" else name))
        elif name in _OBJECTS:
            self.ops.update(_OBJECTS[name])
        elif name == "save":
            self.saves = True

    def visit_Call(self, node):
        self.generic_visit(node)
        f = node.func
        name = f.attr if isinstance(f, ast.Attribute) else f.id if isinstance(f, ast.Name) else ""
        if name in ("do", "begin") and node.args and isinstance(node.args[0], ast.Constant) and isinstance(node.args[0].value, str) and "." in node.args[0].value:
            self.ops.add(node.args[0].value)

    def visit_Name(self, node):
        if node.id in _OBJECTS:
            self.ops.update(_OBJECTS[node.id])
        elif node.id == "update_host_method":
            self.ops.add("ha.host_update")

    def visit_arg(self, node):
        if node.arg == "update_host_method":
            self.ops.add("ha.host_update")

    def visit_Constant(self, node):
        if node.value == "update_host_method":
            self.ops.add("ha.host_update")


def _uses(cls, file, files, trees, tasks):
    """Gives the ops of a task: what its classes name, and what is in the script
    that belongs to no other task."""
    own = {c.__name__ for c in cls.__mro__}
    visitor = _Uses()
    for f, tree in trees.items():
        for node in tree.body:
            name = getattr(node, "name", None)
            if isinstance(node, ast.ClassDef) and name in tasks.get(f, ()) and name not in own:
                continue
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and name in tasks.get(f, ()) and name != cls.__name__:
                continue
            visitor.visit(node)
    if visitor.saves and "ha.vmove_list" in visitor.ops:
        visitor.ops.add("ha.vmove_put")
    return visitor.ops


def _option(group, opt):
    o = {"group": group, "name": opt.name, "type": opt.type.name}
    if opt.help:
        o["help"] = " ".join(str(opt.help).split())[:1000]
    if opt.secret:
        o.update(type="string", secret=True)
    elif opt.default is not None:
        default = opt.default
        if isinstance(default, (tuple, set)):
            default = list(default)
        if isinstance(default, dict):
            default = ",".join("%s:%s" % kv for kv in default.items())
        if o["type"] == "list":
            default = [str(v) for v in default]
        o["default"] = str(default) if o["type"] == "string" else default
    if opt.required:
        o["required"] = True
    more = opt.type.more
    if o["type"] == "string" and not opt.secret and more.get("choices"):
        o["choices"] = [str(c[0] if isinstance(c, tuple) else c) for c in more["choices"]]
    if o["type"] == "int":
        o.update((k, int(more[k])) for k in ("min", "max") if more.get(k) is not None)
    return o


def describe():
    files = _engine.script()
    trees = {}
    for f in _candidates(files):
        try:
            trees[f] = ast.parse(files[f], f)
        except SyntaxError as e:
            text = (e.text or "").strip()
            raise _engine.Described("%s:%d: %s%s" % (f, e.lineno or 1, e.msg, ": " + text if text else "")) from None
    library, version, summary, points = _metadata(files)
    all_tasks = found(files, points)
    if not all_tasks:
        raise _engine.Described("%s: there is no task in it: no class of taskflow.task.Task with a method execute, and no function with @wasakari.task" % (
            ", ".join(trees) or "the script"))
    names = {}
    for key, file, name, cls in all_tasks:
        names.setdefault(file, set()).add(name)
    tasks, notes = [], []
    for key, file, name, cls in all_tasks:
        try:
            t = task.make(cls)
        except wasakari.OpError as e:
            raise _engine.Described("%s: class %s: its constructor asks for something, which only execute may: %s" % (_where(e, files) or file, name, e)) from None
        except Exception as e:
            raise _engine.Described("%s: class %s cannot be made: %s: %s" % (_where(e, files) or file, name, type(e).__name__, e)) from None
        if not isinstance(t, task.Atom) or not hasattr(t, "rebind"):
            raise _engine.Described("%s: class %s: its constructor does not call that of its base class" % (file, name))
        described = {"key": key, "class": name, "file": file}
        doc = (cls.__doc__ or "").strip().splitlines()
        if doc and doc[0].strip():
            described["summary"] = doc[0].strip()[:200]
        uses = _uses(cls, file, files, trees, names)
        uses.update(getattr(cls, "wasakari_uses", None) or ())
        if t.provides:
            uses.add("kv.put")
        reverts = cls.revert is not task.Atom.revert
        if cls.revert is task.FunctorTask.revert:
            reverts = cls.wasakari_revert
        required, optional = set(t.requires), set(t.optional)
        if reverts:
            required |= {n for a, n in t.revert_rebind.items() if a not in t.revert_optional and n not in t.inject} - optional
            if t.provides:
                uses.add("kv.get")
        for field, values in (("requires", required), ("optional", optional - required), ("provides", t.provides), ("uses", uses)):
            if values:
                described[field] = sorted(values)
        described["revert"] = bool(reverts)
        if "http.request" in uses:
            notes.append("task %s sends requests: name where to in task.yaml, http: [...]" % key)
        tasks.append(described)
    options = [_option(group, o) for group, opts in cfg.CONF._registered.items() for o in opts]
    if options:
        for t in tasks:
            t["options"] = options
    doc = {"tasks": tasks, "notes": notes}
    doc.update((k, v) for k, v in (("library", library), ("version", version), ("summary", summary)) if v)
    sys.stdout.flush()
    _wasakari.call("task.reason", _host.request({"reason": json.dumps(doc, ensure_ascii=False)}))
