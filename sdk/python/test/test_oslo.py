"""The stand-ins for the libraries of oslo, and for eventlet."""

import unittest

from host import After, Case


class Config(Case):
    def test_values(self):
        import wasakari
        from oslo_config import cfg

        conf = cfg.ConfigOpts()
        group = cfg.OptGroup("acme", title="Acme")
        conf.register_group(group)
        conf.register_opts([cfg.StrOpt("queue", default="ops"), cfg.IntOpt("max-size", default=5), cfg.BoolOpt("loud"), cfg.FloatOpt("ratio", default=0.5),
                            cfg.ListOpt("hosts", default=["a"]), cfg.DictOpt("map", default={"k": "v"}), cfg.MultiStrOpt("many")], group=group)
        conf.register_opt(cfg.StrOpt("top", default="t"))
        acme = conf.acme
        self.assertEqual((acme.queue, acme.max_size, acme.loud, acme.ratio, acme.hosts, acme.map, acme.many, conf.top),
                         ("ops", 5, None, 0.5, ["a"], {"k": "v"}, None, "t"))
        wasakari.options = {"acme": {"queue": "q", "max-size": 9, "loud": False, "ratio": None, "hosts": ["b", "c"], "map": "a:1, b : 2"}, "DEFAULT": {"top": "x"}}
        self.assertEqual((acme.queue, conf["acme"]["max_size"], acme.loud, acme.ratio, acme.hosts, acme.map, conf.top),
                         ("q", 9, False, 0.5, ["b", "c"], {"a": "1", "b": "2"}, "x"))
        self.assertEqual((acme.get("queue"), acme.get("none", 1), conf.get("none", 2), len(acme), "loud" in acme, "none" in conf, "acme" in conf),
                         ("q", 1, 2, 7, True, False, True))
        self.assertEqual(sorted(acme)[:3], ["hosts", "loud", "many"])

    def test_types(self):
        from oslo_config import cfg, types

        conf = cfg.ConfigOpts()
        conf.register_opts([
            cfg.Opt("a", type=types.Integer(min=1, max=3), default=2), cfg.Opt("b", type=types.Boolean), cfg.Opt("c", type=int, default="7"), cfg.Opt("d", type=str, default="x"),
            cfg.Opt("e", type=lambda text: text.split("-"), default="p-q"), cfg.ListOpt("f", item_type=types.Integer(), default=["1", "2"]), cfg.PortOpt("g"), cfg.Opt("h"),
            cfg.IPOpt("i"), cfg.HostnameOpt("j"), cfg.HostAddressOpt("k"), cfg.HostDomainOpt("l"), cfg.URIOpt("m")])
        self.assertEqual((conf.a, conf.c, conf.d, conf.e, conf.f), (2, 7, "x", ["p", "q"], [1, 2]))
        self.assertEqual([o.type.name for o in conf._registered["DEFAULT"]],
                         ["int", "bool", "int", "string", "string", "list", "int", "string", "host", "host", "host", "host", "uri"])
        self.assertEqual(conf._registered["DEFAULT"][6].type.more, {"min": 0, "max": 65535})

    def test_registering(self):
        from oslo_config import cfg

        conf = cfg.ConfigOpts()
        self.assertTrue(conf.register_opt(cfg.StrOpt("a", default="x"), "g"))
        self.assertFalse(conf.register_opt(cfg.StrOpt("a", default="x"), "g"))
        for other in (cfg.StrOpt("a", default="y"), cfg.IntOpt("a", default="x")):
            with self.assertRaisesRegex(cfg.DuplicateOptError, "duplicate option: a"):
                conf.register_opt(other, "g")
        conf.set_override("a", "z", "g")
        self.assertEqual(conf.g.a, "z")
        conf.unregister_opt(cfg.StrOpt("a"), "g")
        for call in (lambda: conf.g.a, lambda: conf.none, lambda: conf.set_default("b", 1, "g")):
            with self.assertRaises(cfg.NoSuchOptError):
                call()
        self.assertFalse(hasattr(conf, "none"))
        self.assertFalse(hasattr(conf, "__deepcopy__"))


class Log(Case):
    def test_levels(self):
        from oslo_log import log as logging

        log = logging.getLogger("acme.x")
        self.assertIs(logging.getLogger("acme.x"), log)
        log.trace("t")
        log.debug("d %s", 1)
        log.info("i %(a)s", {"a": 2})
        log.warning("w", instance="s", context=None)
        log.warn("v")
        log.error("e %d", 3, resource={})
        log.critical("c")
        self.assertEqual(self.host.logs, ["debug t", "debug d 1", "info i 2", "warn w", "warn v", "error e 3", "error c"])

    def test_exceptions(self):
        import logging

        from oslo_log import log

        try:
            raise ValueError("why")
        except ValueError:
            log.getLogger(None).exception("failed")
        logging.getLogger("plain").info("also")
        self.assertRegex(self.host.logs[0], r"(?s)^error failed\nTraceback .*\nValueError: why$")
        self.assertEqual(self.host.logs[1:], ["info also"])

    def test_wrong_arguments(self):
        from oslo_log import log

        log.setup(None, "acme")
        log.getLogger("x").info("%d servers", "some")  # the task goes on
        self.assertEqual(self.host.logs[0], "warn --- Logging error ---")


class Loops(Case):
    def test_fixed_interval(self):
        import time

        from oslo_service import loopingcall

        def step(a, b):
            calls.append(self.host.clock)
            time.sleep(0.25)
            if len(calls) == 3:
                raise loopingcall.LoopingCallDone(a + b)

        calls = []
        self.assertEqual(loopingcall.FixedIntervalLoopingCall(step, 1, b=2).start(interval=1, initial_delay=5).wait(), 3)
        self.assertEqual(calls, [1005.0, 1006.0, 1007.0])

    def test_stopping(self):
        from oslo_service import loopingcall

        def step():
            calls.append(1)
            if len(calls) == 2:
                timer.stop()

        calls = []
        timer = loopingcall.FixedIntervalLoopingCall(step)
        timer.start(interval=1)
        self.assertIs(timer.wait(), True)
        self.assertEqual(len(calls), 2)

    def test_errors(self):
        from oslo_service import loopingcall

        def step():
            calls.append(1)
            if len(calls) < 3:
                raise ValueError("why")
            raise loopingcall.LoopingCallDone()

        calls = []
        with self.assertRaisesRegex(ValueError, "why"):
            loopingcall.FixedIntervalLoopingCall(step).start(interval=1).wait()
        self.assertIs(loopingcall.FixedIntervalLoopingCall(step).start(interval=1, stop_on_exception=False).wait(), True)
        calls.clear()
        self.assertIs(loopingcall.DynamicLoopingCall(step).start(periodic_interval_max=1, stop_on_exception=False).wait(), True)

    def test_timeout(self):
        from oslo_service import loopingcall

        timer = loopingcall.FixedIntervalWithTimeoutLoopingCall(lambda: None)
        with self.assertRaisesRegex(loopingcall.LoopingCallTimeOut, "timed out after 6.00 seconds"):
            timer.start(interval=2, timeout=5).wait()

    def test_dynamic(self):
        from oslo_service import loopingcall

        def step():
            if not pauses:
                raise loopingcall.LoopingCallDone()
            return pauses.pop(0)

        pauses = [1, 30, None]
        loopingcall.DynamicLoopingCall(step).start(periodic_interval_max=10).wait()
        self.assertEqual(self.host.clock, 1021.0)


class Utils(Case):
    def test_strutils(self):
        from oslo_utils import strutils

        for text, want in [("Yes", True), (" on ", True), ("1", True), ("f", False), (0, False), (True, True), ("maybe", "other")]:
            self.assertEqual(strutils.bool_from_string(text, default="other"), want)
        with self.assertRaisesRegex(ValueError, "Unrecognized value 'maybe', acceptable values are: '0', '1', 'f'"):
            strutils.bool_from_string("maybe", strict=True)
        self.assertEqual((strutils.is_valid_boolstr("TRUE"), strutils.is_valid_boolstr("2"), strutils.int_from_bool_as_string("y")), (True, False, 1))
        self.assertEqual(strutils.to_slug("  Héllo, World_1 -x "), "héllo-world_1-x")
        self.assertEqual(strutils.mask_password("{'adminPass': 'x1', 'auth_token': 'y', 'user': 'u'} password=abc"),
                         "{'adminPass': '***', 'auth_token': '***', 'user': 'u'} password=***")

    def test_uuidutils(self):
        from oslo_utils import uuidutils

        u = "d1b2c3d4-e5f6-4a7b-8c9d-0e1f2a3b4c5d"
        for like in (u, u.upper(), u.replace("-", ""), "{%s}" % u, "urn:uuid:" + u):
            self.assertTrue(uuidutils.is_uuid_like(like), like)
        for unlike in (u[:-1], "x" + u[1:], "", None, 7, u + "0"):
            self.assertFalse(uuidutils.is_uuid_like(unlike), unlike)
        self.assertTrue(all(uuidutils.is_uuid_like(uuidutils.generate_uuid(d)) for d in (True, False)))
        self.assertEqual([len(uuidutils.generate_uuid(d)) for d in (True, False)], [36, 32])

    def test_timeutils(self):
        import datetime

        from oslo_utils import timeutils

        early, late = "2001-01-01T00:00:00Z", "2999-01-01T00:00:00+02:00"
        self.assertTrue(timeutils.is_older_than(early, 60))
        self.assertFalse(timeutils.is_older_than(late, 60))
        self.assertTrue(timeutils.is_newer_than(late, 60))
        self.assertFalse(timeutils.is_newer_than(timeutils.parse_isotime(early), 60))
        self.assertEqual(timeutils.normalize_time(timeutils.parse_isotime("2026-01-01T02:00:00+02:00")), datetime.datetime(2026, 1, 1))
        self.assertEqual(timeutils.parse_strtime("2026-01-01T02:00:00.5").microsecond, 500000)
        self.assertEqual((timeutils.utcnow().tzinfo, timeutils.utcnow(True).tzinfo), (None, datetime.timezone.utc))
        self.assertIsInstance(timeutils.utcnow_ts(), int)
        self.assertEqual(timeutils.delta_seconds(datetime.datetime(2026, 1, 1), datetime.datetime(2026, 1, 2)), 86400)

    def test_stop_watch(self):
        import time

        from oslo_utils import timeutils

        with timeutils.StopWatch(duration=2) as watch:
            time.sleep(1.5)
            self.assertEqual((watch.elapsed(), watch.elapsed(1), watch.expired(), watch.leftover()), (1.5, 1, False, 0.5))
            time.sleep(1)
        time.sleep(9)
        self.assertEqual((watch.elapsed(), watch.expired(), watch.leftover()), (2.5, True, 0.0))

    def test_excutils(self):
        from oslo_utils import excutils

        def f(reraise, other=None):
            try:
                raise ValueError("first")
            except ValueError:
                with excutils.save_and_reraise_exception() as context:
                    context.reraise = reraise
                    if other:
                        raise other
            return "on"

        with self.assertRaisesRegex(ValueError, "first"):
            f(True)
        with self.assertRaisesRegex(KeyError, "second"):
            f(True, KeyError("second"))
        self.assertEqual(f(False), "on")

    def test_others(self):
        from oslo_utils import encodeutils, importutils

        self.assertEqual((encodeutils.safe_decode(b"\xc3\xa9"), encodeutils.safe_decode("é"), encodeutils.safe_encode("é"), encodeutils.safe_encode(b"x")),
                         ("é", "é", b"\xc3\xa9", b"x"))
        self.assertEqual(importutils.import_class("collections.OrderedDict").__name__, "OrderedDict")
        self.assertEqual(importutils.import_object("datetime.date", 2026, 1, 2).day, 2)
        self.assertEqual(importutils.try_import("none.such", 5), 5)

    def test_jsonutils(self):
        import datetime
        import uuid

        from oslo_serialization import jsonutils

        value = {"t": datetime.datetime(2026, 1, 2, 3, 4, 5), "u": uuid.UUID(int=1), "s": {1}, "b": b"x", "e": ValueError("why"), "n": (1, None)}
        plain = {"t": "2026-01-02T03:04:05.000000", "u": "00000000-0000-0000-0000-000000000001", "s": [1], "b": "x", "e": "why", "n": [1, None]}
        self.assertEqual(jsonutils.loads(jsonutils.dumps(value)), plain)
        self.assertEqual(jsonutils.loads(jsonutils.dump_as_bytes(value)), plain)
        self.assertEqual(jsonutils.to_primitive(value), plain)
        with self.assertRaises(ValueError):
            jsonutils.dumps(object())


class Eventlet(Case):
    def test_pools(self):
        import eventlet

        eventlet.monkey_patch()
        eventlet.sleep(2)
        pool = eventlet.GreenPool(3)
        threads = [pool.spawn(lambda a, b=0: a + b, i, b=1) for i in range(3)]
        pool.waitall()
        self.assertEqual(([t.wait() for t in threads], pool.free(), list(pool.imap(abs, [-1, 2])), list(pool.starmap(max, [(1, 2)]))), ([1, 2, 3], 3, [1, 2], [2]))
        pile = eventlet.GreenPile()
        for i in range(3):
            pile.spawn(pow, i, 2)
        self.assertEqual((list(pile), self.host.clock), ([0, 1, 4], 1002.0))

    def test_threads(self):
        import eventlet

        failed = eventlet.spawn(int, "x")
        with self.assertRaises(ValueError):
            failed.wait()
        eventlet.spawn_n(int, "x")
        linked = []
        eventlet.spawn_after(3, str, 5).link(lambda thread, more: linked.append((thread.wait(), more)), "m")
        self.assertEqual((linked, self.host.clock), ([("5", "m")], 1003.0))

    def test_timeout(self):
        import eventlet

        with self.assertRaises(eventlet.Timeout) as caught:
            with eventlet.Timeout(1):
                eventlet.sleep(2)
        self.assertEqual(str(caught.exception), "1 second")
        with self.assertRaises(KeyError):
            with eventlet.Timeout(1, KeyError("late")):
                eventlet.sleep(2)
        with eventlet.Timeout(1, False):
            eventlet.sleep(2)
        with eventlet.Timeout(5) as t:
            eventlet.sleep(2)
            t.cancel()
            eventlet.sleep(9)

    def test_timeout_cuts_short(self):
        from eventlet import timeout as etimeout
        from oslo_service import loopingcall
        import wasakari

        began = self.host.clock
        timer = loopingcall.FixedIntervalLoopingCall(lambda: None)
        timer.start(interval=2)
        with self.assertRaises(etimeout.Timeout) as caught:
            etimeout.with_timeout(5, timer.wait)
        self.assertEqual((str(caught.exception), self.host.clock - began), ("5 seconds", 5.0))

        began = self.host.clock
        self.assertEqual(etimeout.with_timeout(3, timer.wait, timeout_value="late"), "late")
        self.assertEqual(etimeout.with_timeout(3, max, 1, 2), 2)
        with etimeout.Timeout(10), self.assertRaises(KeyError):
            with etimeout.Timeout(4, KeyError("inner")):
                timer.wait()
        with etimeout.Timeout(2, False) as short:
            timer.wait()
        self.assertFalse(short.pending)
        self.assertEqual(self.host.clock - began, 3 + 4 + 2)

        began = self.host.clock
        self.host.answers["nova.server_wait"] = After(60000)
        with self.assertRaises(etimeout.Timeout):  # while an op that was begun is waited for
            with etimeout.Timeout(7):
                wasakari.nova.begin.server_wait("a", "moved").result()
        self.assertEqual(self.host.clock - began, 7.0)
        left = etimeout.Timeout(1)
        self.host.clock += 2
        with self.assertRaises(etimeout.Timeout):  # before an op
            wasakari.nova.server_get("a")
        wasakari.nova.server_get("a")
        self.assertFalse(left.pending)

        began = self.host.clock
        with self.assertRaisesRegex(loopingcall.LoopingCallTimeOut, "after 6.00 seconds"):
            loopingcall.FixedIntervalWithTimeoutLoopingCall(lambda: None).start(interval=2, timeout=5).wait()
        self.assertEqual(self.host.clock - began, 6.0)


if __name__ == "__main__":
    unittest.main()
