"""A stand-in for oslo_service.loopingcall. A loop begins with wait: there is one
thread."""

import time


class LoopingCallDone(Exception):
    def __init__(self, retvalue=True):
        self.retvalue = retvalue


class LoopingCallTimeOut(Exception):
    pass


class LoopingCallBase:
    def __init__(self, f=None, *args, **kw):
        self.f, self.args, self.kw = f, args, kw
        self._running, self.done = False, None

    def stop(self):
        self._running = False

    def start(self, interval, initial_delay=None, stop_on_exception=True, **more):
        self.interval, self.delay, self.limit = interval, initial_delay, more.get("timeout", 0)
        self.keep = not stop_on_exception
        self._running = True
        return self

    def wait(self):
        if self.delay:
            time.sleep(self.delay)
        begun = time.monotonic()
        while self._running:
            called = time.monotonic()
            try:
                pause = self.f(*self.args, **self.kw)
            except LoopingCallDone as e:
                return e.retvalue
            except Exception:
                if not self.keep:
                    raise
                pause = None
            if not self._running:
                break
            if self.limit and time.monotonic() - begun > self.limit:
                raise LoopingCallTimeOut("Looping call timed out after %.2f seconds" % (time.monotonic() - begun))
            time.sleep(self._pause(called, pause))
        return True

    def _pause(self, called, pause):
        return max(0, self.interval - (time.monotonic() - called))


class FixedIntervalLoopingCall(LoopingCallBase):
    pass


class FixedIntervalWithTimeoutLoopingCall(LoopingCallBase):
    def start(self, interval, initial_delay=None, stop_on_exception=True, timeout=0):
        return super().start(interval, initial_delay, stop_on_exception, timeout=timeout)


class DynamicLoopingCall(LoopingCallBase):
    def start(self, initial_delay=None, periodic_interval_max=None, timeout=0, stop_on_exception=True):
        return super().start(periodic_interval_max, initial_delay, stop_on_exception, timeout=timeout)

    def _pause(self, called, pause):
        if pause is None:
            pause = self.interval or 0
        return min(pause, self.interval) if self.interval else pause
