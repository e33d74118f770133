"""The stand-ins for masakari: the novaclient, exceptions, objects, configuration."""

import unittest

from host import Case, Refused


class Novaclient(Case):
    def test_methods_and_ops(self):
        from masakari.compute import nova

        self.host.answers.update({
            "nova.server_list": {"servers": [{"id": "s"}]}, "nova.server_get": {"id": "s"}, "nova.aggregate_list": {"aggregates": [{"id": 7}]},
            "nova.service_list": {"services": [{"status": "disabled"}]}})
        api, c = nova.API(), nova.Context()
        calls = {
            "get_servers": [((c, "h"), 'nova.server_list {"host":"h"}')],
            "get_server": [((c, "s"), 'nova.server_get {"id":"s"}')],
            "evacuate_instance": [((c, "s"), 'nova.server_evacuate {"id":"s"}'), ((c, "s", "t"), 'nova.server_evacuate {"id":"s","host":"t"}')],
            "stop_server": [((c, "s"), 'nova.server_stop {"id":"s"}')],
            "start_server": [((c, "s"), 'nova.server_start {"id":"s"}')],
            "lock_server": [((c, "s"), 'nova.server_lock {"id":"s"}')],
            "unlock_server": [((c, "s"), 'nova.server_unlock {"id":"s"}')],
            "reset_instance_state": [((c, "s"), 'nova.server_reset_state {"id":"s","state":"error"}')],
            "enable_disable_service": [((c, "h"), 'nova.service_disable {"host":"h"}'), ((c, "h", True), 'nova.service_enable {"host":"h"}'),
                                       ((c, "h", False, "why"), 'nova.service_disable {"host":"h","reason":"why"}')],
            "is_service_disabled": [((c, "h", "nova-compute"), 'nova.service_list {"host":"h","binary":"nova-compute"}')],
            "get_aggregate_list": [((c,), "nova.aggregate_list {}")],
            "add_host_to_aggregate": [((c, "h", {"id": 7}), 'nova.aggregate_add_host {"id":7,"host":"h"}'), ((c, "h", 7), 'nova.aggregate_add_host {"id":7,"host":"h"}')],
            "find_compute_service": [((c, "h"), 'nova.service_list {"host":"h","binary":"nova-compute"}')],
        }
        self.assertEqual(set(calls), set(nova.OPS))
        for method, cases in calls.items():
            for args, request in cases:
                getattr(api, method)(*args)
                self.assertEqual(self.host.requests[-1], request)
                self.assertIn(request.split()[0], nova.OPS[method])

    def test_answers(self):
        from masakari import exception
        from masakari.compute import nova

        api, c = nova.API(), nova.Context()
        self.host.answers["nova.service_list"] = {"services": [{"status": "enabled"}]}
        self.assertIs(api.is_service_disabled(c, "h", "nova-compute"), False)
        self.host.answers["nova.service_list"] = {"services": []}
        with self.assertRaisesRegex(exception.NotFound, "host h has no service nova-compute"):
            api.is_service_disabled(c, "h", "nova-compute")
        with self.assertRaisesRegex(exception.ComputeNotFoundByName, "Compute service with name h could not be found."):
            api.find_compute_service(c, "h")
        self.host.answers["nova.aggregate_list"] = {"aggregates": [{"id": 7, "name": "a", "hosts": ["h"]}]}
        self.assertEqual([(a.id, a.hosts) for a in api.get_aggregate_list(c)], [(7, ["h"])])

    def test_servers(self):
        from masakari.compute import nova

        self.host.answers["nova.server_get"] = {"id": "s", "name": "web", "status": "ACTIVE", "metadata": {"HA_Enabled": "True"}, "OS-EXT-STS:task_state": None}
        s = nova.API().get_server(None, "s")
        self.assertEqual((s.id, s.name, s.metadata["HA_Enabled"], repr(s)), ("s", "web", "True", "<Server: web>"))
        self.assertIsNone(getattr(s, "OS-EXT-STS:task_state"))
        self.assertIsNone(getattr(s, "OS-EXT-STS:vm_state"))
        self.host.answers["nova.server_get"] = {"id": "s"}
        s = nova.API().get_server(None, "s")
        self.assertEqual((s.metadata, s.locked, s.fault, s.host_status, repr(s)), ({}, False, None, None, "<Server: s>"))
        with self.assertRaises(AttributeError):
            s.flavour

    def test_errors(self):
        import wasakari
        from masakari import exception
        from masakari.compute import nova

        for code, cls in [("invalid", "InvalidInput"), ("not_found", "NotFound"), ("conflict", "Conflict"), ("forbidden", "Forbidden"), ("not_granted", "Forbidden"),
                          ("unavailable", "MasakariException"), ("timeout", "MasakariException"), ("canceled", "MasakariException"), ("quota", "MasakariException")]:
            self.host.answers["nova.server_stop"] = Refused(code, "so it is", 409, "req-7")
            with self.assertRaises(exception.MasakariException) as caught:
                nova.API().stop_server(None, "s")
            e = caught.exception
            self.assertIs(type(e), getattr(exception, cls))
            self.assertEqual(str(e), "nova.server_stop: %s: so it is (HTTP 409, req-7)" % code.replace("_", " "))
            self.assertEqual((e.status, e.request_id), (409, "req-7"))
            self.assertIsInstance(e.__cause__, wasakari.OpError)

    def test_update_host(self):
        from masakari.compute import nova
        from wasakari import Document

        nova.update_host("c1", reserved=False)
        nova.update_host(Document(name="c2"), on_maintenance=True)
        self.assertEqual(self.host.requests, ['ha.host_update {"name":"c1","reserved":false}', 'ha.host_update {"name":"c2","on_maintenance":true}'])

    def test_context(self):
        from masakari import context

        c = context.get_admin_context()
        self.assertTrue(c.is_admin)
        self.assertIsNone(c.request_id)
        self.assertIs(c.elevated(), c)
        self.assertEqual(c.to_dict(), {})


class Tasks(Case):
    def test_masakari_task(self):
        self.host.answers["nova.server_list"] = {"servers": [{"id": "s"}]}
        exit, reason = self.run_task(
            "from masakari.engine.drivers.taskflow import base\n"
            "class A(base.MasakariTask):\n"
            "    def __init__(self, context, novaclient, **kwargs):\n"
            "        kwargs['requires'] = ['host_name']\n"
            "        super(A, self).__init__(context, novaclient, **kwargs)\n"
            "    def execute(self, host_name):\n"
            "        self.update_details('looking', 0.5)\n"
            "        print(self.name, self.context.is_admin, len(self.novaclient.get_servers(self.context, host_name)), self.progress)\n",
            inputs={"host_name": "c1"})
        self.assertEqual((exit, reason), (0, None))
        self.assertEqual(self.host.logs, ["info A True 1 [{'progress': 0.5, 'message': 'looking'}]"])
        self.assertEqual(self.host.progressed, [(500, "looking")])

    def test_what_constructors_take(self):
        from masakari.compute import nova
        from taskflow import task

        class A(task.Task):
            def __init__(self, context, novaclient, update_host_method=None):
                super().__init__()
                self.given = (context, novaclient, update_host_method)

            def execute(self):
                pass

        class B(task.Task):
            def __init__(self, **kwargs):
                super().__init__()
                self.given = sorted(kwargs)

            def execute(self):
                pass

        class D(task.Task):
            def __init__(self, **kwargs):
                super().__init__()
                self.given = kwargs.get("update_host_method")

            def execute(self):
                pass

        class C(task.Task):
            def execute(self):
                pass

        context, novaclient, update = task.make(A).given
        self.assertIsInstance(context, nova.Context)
        self.assertIsInstance(novaclient, nova.API)
        self.assertIs(update, nova.update_host)
        self.assertEqual(task.make(B).given, ["context", "novaclient"])
        self.assertIs(task.make(D).given, nova.update_host)
        self.assertIsInstance(task.make(C), C)

    def test_noop(self):
        from masakari.engine.drivers.taskflow import no_op
        from taskflow import task

        task.run(task.make(no_op.Noop), {"inputs": {}})
        self.assertEqual(self.host.logs, ["info Custom task executed successfully..!!"])

    def test_exceptions_end_tasks(self):
        for raised, exit, reason in [
            ("SkipHostRecoveryException('enough')", 2, "enough"), ("SkipInstanceRecoveryException()", 2, "Skipping execution of instance recovery workflow."),
            ("SkipProcessRecoveryException('p')", 2, "p"), ("IgnoreInstanceRecoveryException('not ours')", 3, "not ours"),
            ("HostRecoveryFailureException('no room')", 1, "no room"), ("HostNotFoundByName(host_name='c1')", 1, "Host with name c1 could not be found."),
        ]:
            with self.subTest(raised):
                got = self.run_task("from masakari import exception\nfrom taskflow import task\nclass A(task.Task):\n"
                                    "    def execute(self):\n        raise exception.%s\n" % raised)
                self.assertEqual(got, (exit, reason))

    def test_texts_of_exceptions(self):
        from masakari import exception

        e = exception.VMoveNotFound(id=7)
        self.assertEqual((str(e), e.format_message(), e.message, e.code, e.kwargs), ("No vm move with id 7.",) * 3 + (404, {"id": 7, "code": 404}))
        self.assertEqual(str(exception.VMoveNotFound()), "No vm move with id %(id)s.")
        self.assertEqual(str(exception.APITimeout()), "Timeout while requesting unknown API.")
        self.assertTrue(issubclass(exception.HostInUse, exception.Conflict))


class Objects(Case):
    def test_vmoves(self):
        from masakari import exception, objects
        from masakari.objects import fields

        self.host.answers["ha.vmove_put"] = lambda req: {**req, "uuid": "v1"}
        v = objects.VMove(context=None, instance_uuid="s", source_host="c1", status=fields.VMoveStatus.PENDING, start_time="now")
        v.create()
        v.status, v.message = "failed", "no room"
        v.save()
        self.assertEqual(self.host.requests, [
            'ha.vmove_put {"instance_uuid":"s","status":"pending","source_host":"c1"}',
            'ha.vmove_put {"instance_uuid":"s","status":"failed","source_host":"c1","message":"no room"}'])
        self.assertEqual((v.uuid, v.dest_host), ("v1", None))

        self.host.answers["ha.vmove_list"] = {"vmoves": [{"uuid": "v1", "status": "failed"}]}
        moves = objects.VMoveList.get_all_vmoves(None, "n", status="failed")
        self.assertEqual([m.uuid for m in moves.objects], ["v1"])
        objects.VMoveList.get_all(None, filters={"notification_uuid": "n"})
        self.assertEqual(self.host.requests[-2:], ['ha.vmove_list {"status":"failed"}', "ha.vmove_list {}"])
        self.assertEqual(objects.VMove.get_by_uuid(None, "v1").status, "failed")
        with self.assertRaises(exception.VMoveNotFound):
            objects.VMove.get_by_uuid(None, "v2")

    def test_small_things(self):
        from masakari import i18n, utils

        @utils.synchronized("x", blocking=True)
        def f(a):
            return a

        with utils.lock("x"):
            self.assertEqual(f(i18n._("text")), "text")

    def test_configuration(self):
        import masakari.conf
        import wasakari

        wasakari.options = {"host_failure": {"evacuate_all_instances": False}}
        conf = masakari.conf.CONF
        self.assertEqual((conf.wait_period_after_service_update, conf.host_failure.ha_enabled_instance_metadata_key), (180, "HA_Enabled"))
        self.assertIs(conf.host_failure.evacuate_all_instances, False)
        self.assertEqual(conf._registered, {})  # none is an option of the task's manifest


if __name__ == "__main__":
    unittest.main()
