"""A stand-in for taskflow.task: what a task requires and provides, and how it
is run."""

import wasakari
from wasakari import _host

EVENT_UPDATE_PROGRESS = "update_progress"
REVERT_RESULT = "result"
REVERT_FLOW_FAILURES = "flow_failures"


def _arguments(function):
    """Gives the names of a method's arguments but for self: those without a
    default, those with one, and whether it takes any."""
    function = getattr(function, "__func__", function)
    while hasattr(function, "__wrapped__"):
        function = function.__wrapped__
    code = getattr(function, "__code__", None)
    if code is None:
        return [], [], True
    names = list(code.co_varnames[:code.co_argcount])[1:]
    defaults = len(function.__defaults__ or ())
    split = max(0, len(names) - defaults)
    required, optional = names[:split], names[split:]
    for name in code.co_varnames[code.co_argcount:code.co_argcount + code.co_kwonlyargcount]:
        (optional if name in (function.__kwdefaults__ or {}) else required).append(name)
    return required, optional, bool(code.co_flags & 0x08)


def _names(value):
    """Gives the names in what requires and provides take."""
    if value is None:
        return []
    if isinstance(value, str):
        return [value]
    return list(value)


class Notifier:
    """Takes the events of a task: progress goes to the host."""

    ANY = "*"

    def register(self, event, callback, *args, **kwargs):
        pass

    def deregister(self, *args, **kwargs):
        pass

    def notify(self, event, details=None):
        if event == EVENT_UPDATE_PROGRESS and details:
            progress = details.get("progress", 0)
            last = (details.get("progress_details") or {}).get("details") or details.get("details") or {}
            entries = last.get("progress_details") if isinstance(last, dict) else None
            text = entries[-1].get("message", "") if entries else ""
            wasakari.progress(progress * 1000, text)


class Atom:
    """What is common to all tasks.

    requires and provides add to what the arguments of execute say; rebind says
    under which names the arguments' values are; inject gives values for some of
    these names. What is not said of revert is as for execute, as far as revert
    takes it.
    """

    default_provides = None

    def __init__(self, name=None, provides=None, requires=None, auto_extract=True, rebind=None, inject=None,
                 ignore_list=None, revert_rebind=None, revert_requires=None, **_):
        self.name = name or "%s.%s" % (type(self).__module__, type(self).__name__)
        self.version = (1, 0)
        self.notifier = Notifier()
        self.inject = dict(inject or {})
        given = self.default_provides if provides is None else provides
        self.save_as = _save_as(given)
        self.provides = frozenset(self.save_as)
        self.rebind, self.optional_names = self._bind(self.execute, requires, rebind, auto_extract, ignore_list)
        self.revert_rebind, self.revert_optional = self._bind(
            self.revert, revert_requires or requires, revert_rebind or rebind, auto_extract,
            [*(ignore_list or []), REVERT_RESULT, REVERT_FLOW_FAILURES], False)
        self.requires = frozenset(n for a, n in self.rebind.items() if a not in self.optional_names and n not in self.inject)
        self.optional = frozenset(n for a, n in self.rebind.items() if a in self.optional_names and n not in self.inject)

    def _bind(self, function, requires, rebind, auto_extract, ignore_list, strict=True):
        required, optional, anything = _arguments(function)
        ignored = set(ignore_list or ())
        args = [a for a in required if a not in ignored] if auto_extract else []
        bound = {a: a for a in args}
        if isinstance(rebind, dict):
            bound.update(rebind)
        elif rebind:
            bound.update(zip([*args, *rebind[len(args):]], rebind))
        for name in _names(requires):
            if name not in bound.values():
                bound[name] = name
        free = [a for a in optional if a not in ignored and a not in bound]
        if auto_extract:
            bound.update((a, a) for a in free)
        unknown = [a for a in bound if a not in required and a not in optional and not anything]
        if unknown and strict:
            raise ValueError("%s: %s does not take %s" % (self.name, function.__name__, ", ".join(unknown)))
        for a in unknown:
            del bound[a]
        return bound, set(free)

    def pre_execute(self):
        pass

    def execute(self, *args, **kwargs):
        raise NotImplementedError("%s has no execute" % self.name)

    def post_execute(self):
        pass

    def pre_revert(self):
        pass

    def revert(self, *args, **kwargs):
        pass

    def post_revert(self):
        pass

    def __str__(self):
        return self.name


class Task(Atom):
    """A task: execute does it, revert undoes it."""

    def update_progress(self, progress):
        """Tells how far the task is, from 0.0 to 1.0."""
        wasakari.progress(progress * 1000)

    def copy(self, retain_listeners=True):
        import copy

        return copy.copy(self)


BaseTask = Task


class FunctorTask(Task):
    """A task that is a function."""

    def __init__(self, execute, name=None, provides=None, requires=None, auto_extract=True, rebind=None, revert=None, version=None, inject=None):
        self._function, self._undo = execute, revert
        super().__init__(name or execute.__name__, provides, requires, auto_extract, rebind, inject)

    def _bind(self, function, *args):
        f = self._undo if function.__name__ == "revert" else self._function
        if f is None:
            return {}, set()
        return super()._bind(_Bound(f), *args)

    def execute(self, *args, **kwargs):
        return self._function(*args, **kwargs)

    def revert(self, *args, **kwargs):
        if self._undo:
            return self._undo(*args, **kwargs)


class _Bound:
    """Looks like the method of a function that has no self."""

    def __init__(self, f):
        while hasattr(f, "__wrapped__"):
            f = f.__wrapped__
        self.__name__, self.__func__ = f.__name__, self
        self.__code__ = _Code(f.__code__)
        self.__defaults__, self.__kwdefaults__ = f.__defaults__, f.__kwdefaults__


class _Code:
    def __init__(self, code):
        self.co_varnames = ("self", *code.co_varnames)
        self.co_argcount = code.co_argcount + 1
        self.co_kwonlyargcount, self.co_flags = code.co_kwonlyargcount, code.co_flags


def function_task(f, key, requires, provides, uses, revert):
    """Makes the class of a task of a function, see wasakari.task."""

    class Made(FunctorTask):
        wasakari_key, wasakari_uses = key, uses
        wasakari_revert = revert is not None

        def __init__(self):
            super().__init__(f, provides=provides, requires=requires, revert=revert)

    Made.__name__ = Made.__qualname__ = f.__name__
    Made.__module__, Made.__doc__ = f.__module__, f.__doc__
    return Made


def _save_as(provides):
    """Gives, for each name that is provided, where it is in the result: an index,
    a key, or None for all of it."""
    if provides is None:
        return {}
    if isinstance(provides, str):
        return {provides: None}
    if isinstance(provides, dict):
        return {name: key for key, name in provides.items()}
    if isinstance(provides, (list, tuple)):
        return {name: i for i, name in enumerate(provides)}
    return {name: name for name in sorted(provides)}


def make(cls):
    """Makes a task, with those of context, novaclient and update_host_method that
    its constructor takes. One that takes any has context and novaclient, and
    update_host_method, which only host flows give, when a constructor names it."""
    from masakari.compute import nova

    given = {"context": nova.Context(), "novaclient": nova.API(), "update_host_method": nova.update_host}
    if cls.__init__ is Atom.__init__:
        return cls()
    required, optional, anything = _arguments(cls.__init__)
    named = {n: given[n] for n in (*required, *optional) if n in given}
    if anything:
        named.update((n, given[n]) for n in ("context", "novaclient"))
        if any("update_host_method" in c.__init__.__code__.co_consts for c in cls.__mro__ if hasattr(vars(c).get("__init__"), "__code__")):
            named["update_host_method"] = given["update_host_method"]
    return cls(**named)


def _values(bound, optional, inject, inputs):
    kwargs = {}
    for argument, name in bound.items():
        if name in inject:
            kwargs[argument] = inject[name]
        elif name in inputs:
            kwargs[argument] = inputs[name]
        elif argument not in optional:
            raise wasakari.TaskFailed("it requires %s, which is not there; is it among requires in the manifest?" % name)
    return kwargs


def run(t, given):
    """Executes a task and puts what it provides."""
    t.pre_execute()
    result = t.execute(**_values(t.rebind, t.optional_names, t.inject, given["inputs"]))
    t.post_execute()
    for name, place in t.save_as.items():
        value = result
        if place is not None:
            try:
                value = result[place]
            except (KeyError, IndexError, TypeError):
                raise wasakari.TaskFailed("it provides %s, but execute returned %.200r" % (name, result)) from None
        try:
            wasakari.kv.put(name, value)
        except TypeError as e:
            raise wasakari.TaskFailed("it provides %s, whose value cannot be handed on: %s" % (name, e)) from None


def revert(t, given):
    """Reverts a task. It gets as result what was provided, where that is still to
    be read, and as flow_failures why the flow failed."""
    from taskflow.types.failure import Failure

    failure = Failure(exception_str=given.get("failure", ""))
    function = _Bound(t._undo) if isinstance(t, FunctorTask) and t._undo else t.revert
    required, optional, anything = _arguments(function)
    kwargs = _values(t.revert_rebind, set(t.revert_rebind), t.inject, given["inputs"])
    for name, value in ((REVERT_RESULT, lambda: _result(t, failure)), (REVERT_FLOW_FAILURES, lambda: {t.name: failure})):
        if anything or name in required or name in optional:
            kwargs[name] = value()
    t.pre_revert()
    t.revert(**kwargs)
    t.post_revert()


def _result(t, failure):
    values = {}
    for name, place in t.save_as.items():
        try:
            values[place] = wasakari.kv.get(name)
        except _host.OpError:
            return failure
    if not values or None in values:
        return values.get(None)
    return values if any(isinstance(p, str) for p in values) else [values[i] for i in sorted(values)]
