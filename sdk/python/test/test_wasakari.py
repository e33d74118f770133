"""The module wasakari: what every SDK has."""

import os
import unittest

from host import HERE, After, Case, Refused


class Given(Case):
    def test_input(self):
        exit, reason = self.run_task(
            "import wasakari\n"
            "@wasakari.task(provides='seen')\n"
            "def t(host_name, spare=None, other=7):\n"
            "    i = wasakari.info\n"
            "    return [host_name, spare, other, i.key, i.attempt, i.round, i.idempotency_key, i.get('failure'), sorted(wasakari.inputs)]\n",
            inputs={"host_name": "c1", "spare": "c2"}, attempt=3)
        self.assertEqual((exit, reason), (0, None))
        self.assertEqual(self.host.values["run", "seen"][0], ["c1", "c2", 7, "task", 3, 1, "k", None, ["host_name", "spare"]])

    def test_options(self):
        import wasakari

        wasakari.options = {"acme": {"queue": "ops", "size": None, "token": {"$secret": "acme.token"}, "none": None}}
        self.assertEqual(wasakari.option("acme", "queue"), "ops")
        self.assertEqual(wasakari.option("acme", "size", 5), 5)
        self.assertIsNone(wasakari.option("acme", "size"))
        with self.assertRaisesRegex(KeyError, r"option \[acme\] color: the manifest does not list it"):
            wasakari.option("acme", "color")
        self.assertEqual(wasakari.secret("acme", "token", "Bearer "), {"$secret": "acme.token", "prefix": "Bearer "})
        self.assertEqual(wasakari.secret("acme", "token"), {"$secret": "acme.token"})
        self.assertIsNone(wasakari.secret("acme", "none", "Bearer "))

    def test_documents(self):
        from wasakari import Document

        d = Document({"id": "1", "OS-EXT-STS:vm_state": "active"})
        self.assertEqual((d.id, getattr(d, "OS-EXT-STS:vm_state"), d.to_dict()), ("1", "active", dict(d)))
        self.assertFalse(hasattr(d, "name"))
        with self.assertRaisesRegex(AttributeError, "the document has no 'name', but 'id', 'OS-EXT-STS:vm_state'"):
            d.name
        with self.assertRaisesRegex(AttributeError, "but nothing"):
            Document().name


class Ops(Case):
    def test_requests(self):
        from wasakari import ha, http, nova

        self.host.answers["nova.server_list"] = {"servers": [{"id": "a", "fault": {"message": "no"}}]}
        servers = nova.server_list(host="c1", fields=["id"]).servers
        self.assertEqual((servers[0].id, servers[0].fault.message), ("a", "no"))
        nova.server_wait("a", "moved", timeout_s=0)
        ha.host_update("c1", reserved=False)
        ha.segment_get()
        http.post("https://t", body_json={"text": "Größe"})
        http.get("https://t", headers={"a": "b"})
        http.put("https://t")
        http.delete("https://t")
        http.head("https://t")
        http.patch("https://t")
        self.assertEqual(self.host.requests, [
            'nova.server_list {"host":"c1","fields":["id"]}', 'nova.server_wait {"id":"a","until":"moved","timeout_s":0}',
            'ha.host_update {"name":"c1","reserved":false}', "ha.segment_get {}",
            'http.request {"method":"POST","url":"https://t","body_json":{"text":"Größe"}}', 'http.request {"method":"GET","url":"https://t","headers":{"a":"b"}}',
            'http.request {"method":"PUT","url":"https://t"}', 'http.request {"method":"DELETE","url":"https://t"}',
            'http.request {"method":"HEAD","url":"https://t"}', 'http.request {"method":"PATCH","url":"https://t"}'])

    def test_answers_of_requests(self):
        from wasakari import http

        self.host.answers["http.request"] = {"status": 204, "url": "https://t"}
        for a in (http.get("https://t"), http.begin.request("GET", "https://t").result()):
            self.assertEqual((a.status, a.body, a.headers), (204, "", {}))

    def test_every_op_of_the_schema(self):
        import json

        import wasakari

        with open(os.path.join(HERE, "..", "..", "..", "abi", "schema.json"), encoding="utf-8") as f:
            ops = [o for o in json.load(f)["ops"] if not o["name"].startswith(("task.", "kv."))]
        for o in ops:
            group, _, verb = o["name"].partition(".")
            required = o["request"]["required"]
            getattr(getattr(wasakari, group), verb)(*range(len(required)))
            self.assertEqual(self.host.requests[-1], "%s %s" % (o["name"], json.dumps({n: i for i, n in enumerate(required)}, separators=(",", ":"))))
            full = {n: i for i, n in enumerate(o["request"]["properties"])}
            getattr(getattr(wasakari, group).begin, verb)(**full).result()
            op, _, request = self.host.requests[-1].partition(" ")
            self.assertEqual((op, json.loads(request)), (o["name"], full))

    def test_arguments(self):
        from wasakari import nova

        with self.assertRaises(TypeError):
            nova.server_get()
        with self.assertRaises(TypeError):
            nova.server_get("a", ["id"])  # what is optional has its name
        with self.assertRaises(TypeError):
            nova.server_get("a", field=["id"])

    def test_numbers(self):
        import wasakari

        self.host.answers["nova.aggregate_list"] = b'{"n":9223372036854775807,"m":-9223372036854775808,"big":123456789012345678901234567890}'
        a = wasakari.do("nova.aggregate_list")
        self.assertEqual((a.n, a.m, a.big), (2**63 - 1, -2**63, 123456789012345678901234567890))

    def test_errors(self):
        import wasakari

        for code, cls in [("invalid", "Invalid"), ("not_found", "NotFound"), ("conflict", "Conflict"), ("forbidden", "Forbidden"), ("not_granted", "NotGranted"),
                          ("unavailable", "Unavailable"), ("timeout", "Timeout"), ("canceled", "Canceled"), ("too_large", "TooLarge"), ("quota", "Quota")]:
            self.host.answers["nova.server_get"] = Refused(code, "nova.server_get: no server 7", 404, "req-1")
            with self.assertRaises(wasakari.OpError) as caught:
                wasakari.nova.server_get("7")
            e = caught.exception
            self.assertIs(type(e), getattr(wasakari, cls))
            self.assertEqual((e.op, e.code, e.message, e.status, e.request_id), ("nova.server_get", code, "nova.server_get: no server 7", 404, "req-1"))
            self.assertEqual(str(e), "nova.server_get: %s: no server 7 (HTTP 404, req-1)" % code.replace("_", " "))

    def test_texts_of_errors(self):
        from wasakari import OpError

        self.assertEqual(str(OpError("a.b", "", 0, "", "too_large")), "a.b: too large")
        self.assertEqual(str(OpError("", "why", 0, "req-1", "conflict")), "conflict: why (req-1)")
        self.assertEqual(str(OpError("a.b", "why", 503, "")), "a.b: unavailable: why (HTTP 503)")

    def test_errors_without_a_document(self):
        import wasakari
        from wasakari import _host

        for document, errno, code in [(b"", 3, "conflict"), (b"{", 7, "timeout"), (b"[]", 10, "quota"), (b'{"message":"x"}', 2, "not_found"), (b"", 77, "errno_77")]:
            e = _host._refused("nova.server_get", errno, document)
            self.assertIsInstance(e, wasakari.OpError)
            self.assertEqual(e.code, code)
        self.assertEqual(_host._refused("a.b", 1, b'{"code":"new_one","message":"x"}').code, "new_one")


class Values(Case):
    def test_run(self):
        from wasakari import NotFound, kv

        for value in (None, 0, "", [], {"a": [1, None]}, "ключ", 2**63 - 1):
            kv.put("x", value)
            self.assertEqual(kv.get("x", "other"), value)
        self.assertIs(kv.run, kv)
        self.assertEqual(kv.get("y", None), None)
        with self.assertRaises(NotFound):
            kv.get("y")
        kv.delete("x")
        self.assertEqual(self.host.values, {})
        with self.assertRaises(TypeError):
            kv.put("x", object())

    def test_scratch(self):
        from wasakari import kv

        kv.put("x", 0)
        kv.scratch.put("done", ["a"])
        self.assertEqual(self.host.requests[-1], 'kv.put {"name":"scratch/done","value":["a"]}')
        self.assertEqual([e.name for e in kv.scratch.list()], ["done"])
        self.assertEqual([kv.scratch.get(e.name) for e in kv.scratch.list("d")], [["a"]])
        self.assertEqual(self.host.requests[-2], 'kv.list {"prefix":"scratch/d"}')
        self.assertEqual([e.name for e in kv.list()], ["scratch/done", "x"])
        kv.scratch.delete("done")
        self.assertEqual(kv.scratch.get("done", 5), 5)

    def test_library(self):
        import wasakari
        from wasakari import kv

        self.assertEqual(kv.library.get_version("n"), (None, 0))
        self.assertEqual(kv.library.put("n", 1, if_version=0, ttl=60), 1)
        self.assertEqual(self.host.requests[-1], 'kv.put {"scope":"library","name":"n","if_version":0,"ttl_s":60,"value":1}')
        with self.assertRaises(wasakari.Conflict):
            kv.library.put("n", 2, if_version=0)
        self.assertEqual(kv.library.put("n", None), 2)
        self.assertEqual(kv.library.get_version("n"), (None, 2))
        self.assertEqual(kv.library.get("m", "none"), "none")
        self.assertEqual(kv.library.list(), [{"name": "n", "version": 2}])
        with self.assertRaises(wasakari.Conflict):
            kv.library.delete("n", if_version=1)
        kv.library.delete("n", if_version=2)
        self.assertEqual(self.host.values, {})


class Telling(Case):
    def test_log_and_progress(self):
        from wasakari import log, progress

        log.debug("a %d", 1)
        log.info("100 %")
        log.warning(["x"])
        log.warn("y")
        log.error("%s and %r", "a", "b")
        progress(-5, "begun")
        progress(333.4, "%d of %d", 1, 3)
        progress(5000)
        self.assertEqual(self.host.logs, ["debug a 1", "info 100 %", "warn ['x']", "warn y", "error a and 'b'"])
        self.assertEqual(self.host.progressed, [(0, "begun"), (333, "1 of 3"), (1000, "")])

    def test_print(self):
        import sys

        print("a", "b")
        print("no end", end="")
        print("two\nlines", file=sys.stderr)
        sys.stdout.flush()
        sys.stdout.flush()
        self.assertEqual(self.host.logs, ["info a b", "warn two", "warn lines", "info no end"])
        with self.assertRaises(OSError):
            sys.stdout.fileno()
        self.assertFalse(sys.stdout.isatty())

    def test_sleep(self):
        import time

        import wasakari

        for seconds in (0.0001, 2, 1.5, 0, -1):
            time.sleep(seconds)
        self.assertAlmostEqual(self.host.clock, 1003.501)
        self.assertIs(time.sleep, wasakari.sleep)


class SideBySide(Case):
    def test_pending(self):
        from wasakari import nova

        self.host.answers["nova.server_get"] = lambda req: After(int(req["id"]), {"id": req["id"]})
        slow, quick = nova.begin.server_get("2000"), nova.begin.server_get("10")
        self.assertFalse(slow.done())
        self.assertEqual(quick.result().id, "10")
        self.assertTrue(quick.done())
        self.assertEqual(slow.result().id, "2000")
        self.assertEqual((slow.result().id, self.host.clock), ("2000", 1002.0))

    def test_pending_refused(self):
        import wasakari

        self.host.answers["nova.server_stop"] = Refused("conflict", "busy")
        p = wasakari.nova.begin.server_stop("a")
        for _ in range(2):
            with self.assertRaisesRegex(wasakari.Conflict, "nova.server_stop: conflict: busy"):
                p.result()
        with self.assertRaises(wasakari.Invalid):
            wasakari.begin("moon.land")

    def test_giving_up(self):
        import wasakari
        from wasakari import _host

        self.host.answers["nova.server_wait"] = After(None)
        p = wasakari.nova.begin.server_wait("a", "moved").within(2.5)
        with self.assertRaises(wasakari.GaveUp) as caught:
            p.result()
        self.assertIsInstance(caught.exception, wasakari.Timeout)
        self.assertEqual(self.host.clock, 1002.5)
        _host.drain()  # the host delivers what was given up
        self.assertEqual(_host._pending, {})

    def test_a_long_time(self):
        from wasakari import nova

        self.host.answers["nova.server_wait"] = After(1000)
        nova.begin.server_wait("a", "moved").within(10**9).result()
        self.assertEqual(self.host.waits, [2**31 - 1])

    def test_canceling(self):
        import wasakari

        self.host.answers["nova.server_wait"] = After(None)
        p = wasakari.nova.begin.server_wait("a", "moved")
        p.cancel()
        with self.assertRaises(wasakari.Canceled):
            p.result()
        p.cancel()  # once it has ended: nothing

    def test_more_than_may_be_open(self):
        from wasakari import nova, parallel

        self.host.tickets = 3
        self.host.answers["nova.server_get"] = lambda req: After(10, {"id": req["id"]})
        answers = parallel(nova.begin.server_get(str(i)) for i in range(10))
        self.assertEqual([a.id for a in answers], [str(i) for i in range(10)])
        self.assertEqual(self.host.most, 3)

    def test_nothing_may_be_open(self):
        import wasakari

        self.host.tickets = 0
        with self.assertRaises(wasakari.Quota):
            wasakari.nova.begin.server_get("a")

    def test_parallel(self):
        import wasakari
        from wasakari import nova, parallel, timer

        self.host.answers["nova.server_stop"] = lambda req: Refused("conflict") if req["id"] == "b" else After(100)
        self.host.answers["nova.server_get"] = lambda req: {"id": req["id"], "status": "SHUTOFF"}

        def stop(id):
            try:
                yield nova.begin.server_stop(id)
            except wasakari.Conflict:
                wasakari.fail("busy")
            answers = yield [nova.begin.server_get(id), timer(1), inner(id)]
            return answers[0].status, answers[2]

        def inner(id):
            return (yield nova.begin.server_get(id)).id

        done = parallel([stop("a"), stop("b"), nova.begin.server_get("c"), stop("d")])
        self.assertEqual([done[0], done[2].id, done[3]], [("SHUTOFF", "a"), "c", ("SHUTOFF", "d")])
        self.assertIsInstance(done[1], wasakari.TaskFailed)
        self.assertEqual(self.host.clock, 1001.1)
        self.assertEqual(parallel([]), [])
        self.assertEqual(parallel(i for i in [(x for x in ())]), [None])

    def test_mistakes_in_parallel(self):
        from wasakari import parallel

        def wrong():
            yield 7

        def broken():
            yield []
            raise ZeroDivisionError

        with self.assertRaisesRegex(TypeError, "a branch of parallel yields ops that were begun, such as .*, not 7"):
            parallel([wrong()])
        with self.assertRaises(ZeroDivisionError):
            parallel([broken()])

    def test_the_host_stops(self):
        from wasakari import nova

        p = nova.begin.server_get("a")
        self.host._open.clear()
        with self.assertRaisesRegex(RuntimeError, "wait: error 2 of the host"):
            p.result()


if __name__ == "__main__":
    unittest.main()
