"""A stand-in for oslo_config.cfg."""

import wasakari
from oslo_config import types

class Error(Exception):
    def __init__(self, msg=None):
        super().__init__(msg)
        self.msg = msg


class NoSuchOptError(Error, AttributeError):
    def __init__(self, opt_name, group=None):
        super().__init__("no such option %s in group [%s]" % (opt_name, group or "DEFAULT"))
        self.opt_name, self.group = opt_name, group


class NoSuchGroupError(Error):
    def __init__(self, group_name):
        super().__init__("no such group [%s]" % group_name)
        self.group_name = group_name


class DuplicateOptError(Error):
    def __init__(self, opt_name):
        super().__init__("duplicate option: %s" % opt_name)


class RequiredOptError(Error):
    def __init__(self, opt_name, group=None):
        super().__init__("value required for option %s in group [%s]" % (opt_name, group or "DEFAULT"))


class ConfigFileValueError(ValueError, Error):
    pass


class Opt:
    """An option: name, type, default, help, required, secret."""

    kind = types.String

    def __init__(self, name, type=None, dest=None, short=None, default=None, positional=False, metavar=None, help=None,
                 secret=False, required=None, deprecated_name=None, deprecated_group=None, deprecated_opts=None, sample_default=None,
                 deprecated_for_removal=False, deprecated_reason=None, deprecated_since=None, mutable=False, advanced=False, **more):
        self.name, self.dest = name, dest or name.replace("-", "_")
        self.type = types.of(type) if type else self.kind(**more)
        self.default, self.help, self.secret, self.required = default, help, secret, bool(required)


class StrOpt(Opt):
    pass


class BoolOpt(Opt):
    kind = types.Boolean


class IntOpt(Opt):
    kind = types.Integer


class FloatOpt(Opt):
    kind = types.Float


class PortOpt(Opt):
    kind = types.Port


class ListOpt(Opt):
    kind = types.List


class MultiOpt(Opt):
    kind = types.List


class MultiStrOpt(Opt):
    kind = types.List


class DictOpt(Opt):
    kind = types.Dict


class IPOpt(Opt):
    kind = types.IPAddress


class HostnameOpt(Opt):
    kind = types.Hostname


class HostAddressOpt(Opt):
    kind = types.HostAddress


class HostDomainOpt(Opt):
    kind = types.HostDomain


class URIOpt(Opt):
    kind = types.URI


class DeprecatedOpt:
    def __init__(self, name, group=None):
        self.name, self.group = name, group


class OptGroup:
    def __init__(self, name, title=None, help=None, dynamic_group_owner="", driver_option=""):
        self.name, self.title, self.help = name, title, help

    def __str__(self):
        return self.name


def _value(group, opt):
    """Gives the value of an option that was registered."""
    given = wasakari.options.get(group, {})
    value = given.get(opt.name, given.get(opt.dest))
    if value is None:
        value = opt.default
    return opt.type.convert(value)


class GroupAttr:
    """The options of a group."""

    def __init__(self, conf, group):
        self._conf, self._group = conf, group

    def __getattr__(self, name):
        for opt in self._conf._options(self._group):
            if opt.dest == name:
                return _value(self._group, opt)
        raise NoSuchOptError(name, self._group)

    __getitem__ = __getattr__

    def get(self, name, default=None):
        try:
            return getattr(self, name)
        except NoSuchOptError:
            return default

    def __contains__(self, name):
        return any(o.dest == name for o in self._conf._options(self._group))

    def __iter__(self):
        return iter(o.dest for o in self._conf._options(self._group))

    def __len__(self):
        return len(self._conf._options(self._group))


class ConfigOpts:
    """The options that tasks register, and those that Masakari has itself, which
    are masakari.conf's."""

    def __init__(self):
        self._registered = {}  # by group
        self._masakaris = {}
        self._groups = {}

    def __call__(self, *args, **kwargs):
        pass

    def _options(self, group):
        return [*self._registered.get(group, ()), *self._masakaris.get(group, ())]

    def register_opt(self, opt, group=None, cli=False):
        name = str(group) if group else "DEFAULT"
        if isinstance(group, OptGroup):
            self.register_group(group)
        for other in self._registered.setdefault(name, []):
            if other.dest == opt.dest:
                if vars(other).keys() == vars(opt).keys() and other.default == opt.default and type(other) is type(opt):
                    return False
                raise DuplicateOptError(opt.name)
        self._registered[name].append(opt)
        return True

    def register_opts(self, opts, group=None):
        for opt in opts:
            self.register_opt(opt, group)

    register_cli_opt = register_opt
    register_cli_opts = register_opts

    def register_group(self, group):
        self._groups[str(group)] = group
        self._registered.setdefault(str(group), [])

    def unregister_opt(self, opt, group=None):
        name = str(group) if group else "DEFAULT"
        self._registered[name] = [o for o in self._registered.get(name, ()) if o.dest != opt.dest]

    def import_opt(self, name, module_str, group=None):
        __import__(module_str)

    def import_group(self, group, module_str):
        __import__(module_str)

    def set_default(self, name, default, group=None):
        for opt in self._options(str(group) if group else "DEFAULT"):
            if opt.dest == name:
                opt.default = default
                return
        raise NoSuchOptError(name, group)

    set_override = set_default

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        if name in self._registered or name in self._masakaris:
            return GroupAttr(self, name)
        for opt in self._options("DEFAULT"):
            if opt.dest == name:
                return _value("DEFAULT", opt)
        raise NoSuchOptError(name)

    __getitem__ = __getattr__

    def get(self, name, default=None):
        try:
            return self[name]
        except NoSuchOptError:
            return default

    def __contains__(self, name):
        try:
            self[name]
        except NoSuchOptError:
            return False
        return True

    def find_file(self, name):
        return None


CONF = ConfigOpts()
