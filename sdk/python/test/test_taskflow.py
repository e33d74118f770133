"""The stand-in for taskflow: what tasks require and provide, and how they run."""

import unittest

from host import Case, Refused


class Wiring(Case):
    def test_arguments_of_execute(self):
        from taskflow import task

        class A(task.Task):
            default_provides = "x"

            def execute(self, host_name, segment, *args, reserved=None, strict, **kwargs):
                pass

        t = A()
        self.assertEqual((t.requires, t.optional, t.provides), ({"host_name", "segment", "strict"}, {"reserved"}, {"x"}))
        self.assertRegex(t.name, r"\.A$")
        self.assertEqual((str(t), A(name="n").name), (t.name, "n"))

    def test_requires_and_rebind(self):
        from taskflow import task

        class A(task.Task):
            def execute(self, a, b, c=0, **kwargs):
                return sorted({"a": a, "b": b, "c": c, **kwargs}.items())

        for more, requires, optional in [
            (dict(requires=["x"]), {"a", "b", "x"}, {"c"}),
            (dict(requires="x"), {"a", "b", "x"}, {"c"}),
            (dict(rebind={"a": "host_name"}), {"host_name", "b"}, {"c"}),
            (dict(rebind=["host_name"]), {"host_name", "b"}, {"c"}),
            (dict(rebind=["p", "q", "r"]), {"p", "q", "r"}, {"c"}),
            (dict(rebind={"a": "x"}, inject={"x": 1}), {"b"}, {"c"}),
            (dict(rebind={"c": "d"}), {"a", "b", "d"}, set()),
            (dict(inject={"b": 5}), {"a"}, {"c"}),
            (dict(auto_extract=False, requires=["a"]), {"a"}, set()),
            (dict(ignore_list=["b"]), {"a"}, {"c"}),
        ]:
            with self.subTest(more):
                t = A(**more)
                self.assertEqual((t.requires, t.optional), (requires, optional))

    def test_what_execute_does_not_take(self):
        from taskflow import task

        class A(task.Task):
            def execute(self, a):
                pass

        with self.assertRaisesRegex(ValueError, "execute does not take b"):
            A(requires=["b"])

    def test_provides(self):
        from taskflow import task

        class A(task.Task):
            default_provides = ("a", "b")

            def execute(self):
                pass

        self.assertEqual(A().save_as, {"a": 0, "b": 1})
        self.assertEqual(A(provides="x").save_as, {"x": None})
        self.assertEqual(A(provides={"x", "y"}).save_as, {"x": "x", "y": "y"})
        self.assertEqual(A(provides={"key": "name"}).save_as, {"name": "key"})
        self.assertEqual(A(provides=[]).save_as, {})

    def test_functor_task(self):
        from taskflow import task

        def add(a, b=2, *, c):
            return a + b + c

        def undo(a, result, flow_failures, **_):
            undone.append((a, result, list(flow_failures)))

        undone = []
        t = task.FunctorTask(add, provides="sum", revert=undo, rebind={"a": "x"})
        self.assertEqual((t.name, t.requires, t.optional, t.provides), ("add", {"x", "c"}, {"b"}, {"sum"}))
        task.run(t, {"inputs": {"x": 1, "c": 3}})
        self.assertEqual(self.host.values["run", "sum"][0], 6)
        task.revert(t, {"inputs": {"x": 1}, "failure": "why"})
        self.assertEqual(undone, [(1, 6, ["add"])])
        task.revert(task.FunctorTask(add), {"inputs": {}})

    def test_decorated(self):
        import functools

        from taskflow import task

        def loud(f):
            @functools.wraps(f)
            def g(*args, **kwargs):
                return f(*args, **kwargs)
            return g

        class A(task.Task):
            @loud
            def execute(self, host_name, n=1):
                pass

        self.assertEqual((A().requires, A().optional), ({"host_name"}, {"n"}))

        @loud
        def f(host_name, n=1):
            pass

        self.assertEqual((task.FunctorTask(f).requires, task.FunctorTask(f).optional), ({"host_name"}, {"n"}))


class Running(Case):
    def make(self, result, provides):
        from taskflow import task

        class A(task.Task):
            def pre_execute(self):
                order.append("pre")

            def execute(self):
                order.append("execute")
                return result

            def post_execute(self):
                order.append("post")

        order = []
        task.run(A(provides=provides), {"inputs": {}})
        self.assertEqual(order, ["pre", "execute", "post"])
        values = {n: v for (_, n), (v, _) in self.host.values.items()}
        self.host.values.clear()
        return values

    def test_what_is_provided(self):
        self.assertEqual(self.make([1, 2], "all"), {"all": [1, 2]})
        self.assertEqual(self.make(None, "all"), {"all": None})
        self.assertEqual(self.make((1, 2), ("a", "b")), {"a": 1, "b": 2})
        self.assertEqual(self.make({"a": 1, "b": 2, "c": 3}, {"a", "b"}), {"a": 1, "b": 2})
        self.assertEqual(self.make({"k": 5}, {"k": "name"}), {"name": 5})
        self.assertEqual(self.make(5, None), {})

    def test_what_is_not_provided(self):
        import wasakari

        for result, provides, why in [
            ((1,), ("a", "b"), r"it provides b, but execute returned \(1,\)"),
            (None, ("a",), "it provides a, but execute returned None"),
            ({"a": 1}, {"b"}, "it provides b, but execute returned {'a': 1}"),
            (object, "a", "it provides a, whose value cannot be handed on: Object of type type is not JSON serializable"),
        ]:
            with self.subTest(why), self.assertRaisesRegex(wasakari.TaskFailed, why):
                self.make(result, provides)

    def test_inputs(self):
        import wasakari
        from taskflow import task

        class A(task.Task):
            default_provides = "seen"

            def execute(self, a, b, c=3, d=4):
                return [a, b, c, d]

        task.run(A(rebind={"a": "x"}, inject={"b": 2}), {"inputs": {"x": 1, "b": 9, "c": None}})
        self.assertEqual(self.host.values["run", "seen"][0], [1, 2, None, 4])
        with self.assertRaisesRegex(wasakari.TaskFailed, "it requires a, which is not there; is it among requires in the manifest"):
            task.run(A(), {"inputs": {"b": 1}})

    def test_injected_by_its_name(self):
        from taskflow import task

        class A(task.Task):
            default_provides = "seen"

            def execute(self, a, b=2):
                return [a, b]

            def revert(self, a, **kwargs):
                seen.append(a)

        seen = []
        t = A(rebind={"a": "x"}, inject={"x": 1, "b": 3})
        task.run(t, {"inputs": {"a": 7}})
        task.revert(t, {"inputs": {}})
        self.assertEqual((self.host.values["run", "seen"][0], seen), ([1, 3], [1]))

    def test_progress(self):
        from taskflow import task

        class A(task.Task):
            def execute(self):
                self.update_progress(0.25)
                self.notifier.notify(task.EVENT_UPDATE_PROGRESS, {"progress": 0.5, "details": {"progress_details": [{"message": "old"}, {"message": "half"}]}})
                self.notifier.notify("other", {"progress": 1.0})

        task.run(A(), {"inputs": {}})
        self.assertEqual(self.host.progressed, [(250, ""), (500, "half")])


class Reverting(Case):
    def revert(self, provides, values, failure="no host left"):
        from taskflow import task

        class A(task.Task):
            def execute(self, host_name):
                pass

            def pre_revert(self):
                seen.append("pre")

            def revert(self, host_name, result, flow_failures, spare=None, **kwargs):
                seen.append([host_name, result, [str(f) for f in flow_failures.values()], spare])

            def post_revert(self):
                seen.append("post")

        seen = []
        for name, value in values.items():
            self.host.values["run", name] = (value, 1)
        t = A(provides=provides)
        self.assertEqual(t.requires, {"host_name"})
        task.revert(t, {"inputs": {"host_name": "c1"}, "failure": failure})
        self.assertEqual((seen[0], seen[2]), ("pre", "post"))
        return seen[1]

    def test_result(self):
        why = ["Failure: no host left"]
        self.assertEqual(self.revert(None, {}), ["c1", None, why, None])
        self.assertEqual(self.revert("x", {"x": 5}), ["c1", 5, why, None])
        self.assertEqual(self.revert(("x", "y"), {"x": 5, "y": 6}), ["c1", [5, 6], why, None])
        self.assertEqual(self.revert({"x", "y"}, {"x": 5, "y": 6}), ["c1", {"x": 5, "y": 6}, why, None])

    def test_as_execute(self):
        from taskflow import task

        class A(task.Task):
            def execute(self, a, **kwargs):
                pass

            def revert(self, *args, **kwargs):
                seen.append(kwargs)

        class B(A):
            def revert(self, result):
                seen.append(result)

        seen, given = [], {"inputs": {"host_name": "c1", "x": 1, "z": 0}, "failure": ""}
        task.revert(A(requires=["host_name"], rebind={"a": "x"}), given)
        seen[0].pop("result"), seen[0].pop("flow_failures")
        task.revert(B(requires=["host_name"], rebind={"a": "x"}), given)
        task.revert(A(requires=["host_name"], revert_requires=["z"], revert_rebind={"q": "x"}), given)
        seen[2].pop("result"), seen[2].pop("flow_failures")
        self.assertEqual(seen, [{"a": 1, "host_name": "c1"}, None, {"q": 1, "z": 0}])

    def test_a_task_that_failed(self):
        from taskflow.types.failure import Failure

        result = self.revert("lost", {})[1]
        self.assertIsInstance(result, Failure)
        self.assertEqual((result.exception_str, result.check(ValueError)), ("no host left", None))

    def test_through_the_engine(self):
        source = ("from taskflow import task\n"
                  "class A(task.Task):\n"
                  "    default_provides = 'x'\n"
                  "    def execute(self, host_name):\n        return 1\n"
                  "    def revert(self, result, host_name, **kwargs):\n        print('undone', host_name, result, sorted(kwargs))\n")
        self.assertEqual(self.run_task(source, inputs={"host_name": "c1"}), (0, None))
        self.assertEqual(self.run_task(source, revert=True, inputs={"host_name": "c1"}, failure="why"), (0, None))
        self.assertEqual(self.host.logs, ["info undone c1 1 ['flow_failures']"])

    def test_the_host_refuses(self):
        self.host.answers["kv.get"] = Refused("not_granted")
        self.assertEqual(self.revert("x", {})[1].exception_str, "no host left")


if __name__ == "__main__":
    unittest.main()
