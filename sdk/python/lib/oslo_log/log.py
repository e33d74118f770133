"""A stand-in for oslo_log.log."""

import logging

import _wasakari

CRITICAL, ERROR, WARNING, WARN, INFO, DEBUG, TRACE = (
    logging.CRITICAL, logging.ERROR, logging.WARNING, logging.WARNING, logging.INFO, logging.DEBUG, 5)


class _Handler(logging.Handler):
    def emit(self, record):
        try:
            text = self.format(record)
        except Exception:
            self.handleError(record)
            return
        level = record.levelno
        _wasakari.log(3 if level >= ERROR else 2 if level >= WARNING else 1 if level >= INFO else 0, text)


logging.root.addHandler(_Handler())
logging.root.setLevel(TRACE)
logging.raiseExceptions = True


class KeywordArgumentAdapter(logging.LoggerAdapter):
    """Takes whatever keywords: context, instance, resource and others."""

    def process(self, msg, kwargs):
        return msg, {k: v for k, v in kwargs.items() if k in ("exc_info", "stack_info", "stacklevel")}

    def trace(self, msg, *args, **kwargs):
        self.log(TRACE, msg, *args, **kwargs)

    warn = logging.LoggerAdapter.warning


_loggers = {}


def getLogger(name=None, project="unknown", version="unknown"):
    if name not in _loggers:
        _loggers[name] = KeywordArgumentAdapter(logging.getLogger(name), {})
    return _loggers[name]


def register_options(conf):
    pass


def setup(conf, product_name, version="unknown"):
    pass


def set_defaults(*args, **kwargs):
    pass
