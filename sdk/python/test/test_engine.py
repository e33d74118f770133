"""How the engine runs and describes scripts."""

import unittest

from host import After, Case, Refused

HEADER = "import wasakari\nfrom taskflow import task\n"


def of(body, head="def execute(self):"):
    """Gives the source of a task."""
    return HEADER + "class A(task.Task):\n    %s\n        %s\n" % (head, body.replace("\n", "\n        "))


class Outcomes(Case):
    def test_reasons(self):
        for body, want in [
            ("return 5", (0, None)),
            ("wasakari.succeed('enough')", (0, "enough")),
            ("wasakari.fail('no room')", (1, "no room")),
            ("wasakari.nothing('all is well')", (2, "all is well")),
            ("wasakari.ignore()", (3, None)),
            ("exit(3)", (1, "name 'exit' is not defined")),
            ("raise SystemExit(3)", (1, "the task called exit(3); it says its outcome by returning, or raises an error")),
            ("wasakari.nova.server_stop('a')", (1, "nova.server_stop: conflict: busy (HTTP 409)")),
        ]:
            with self.subTest(body):
                self.host.reason = None
                self.host.answers["nova.server_stop"] = Refused("conflict", "busy", 409)
                exit, reason = self.run_task(of(body))
                if "not defined" in str(want[1]):
                    reason = reason.splitlines()[-1].removeprefix("NameError: ")
                self.assertEqual((exit, reason), want)

    def test_an_error_tells_its_place(self):
        files = {"task.py": HEADER + "import helper\nclass A(task.Task):\n    def execute(self):\n        helper.divide(1, 0)\n", "helper.py": "def divide(a, b):\n    return a / b\n"}
        exit, reason = self.run_task(files=files)
        self.assertEqual((exit, reason.splitlines()[0].strip(), reason.splitlines()[-1]), (1, 'File "helper.py", line 2, in divide', "ZeroDivisionError: division by zero"))
        log = self.host.logs[-1]
        self.assertTrue(log.startswith("error Traceback"))
        self.assertIn('File "task.py", line 6, in execute', log)
        self.assertNotIn("_engine", log)

    def test_endless_recursion(self):
        exit, reason = self.run_task(of("self.execute()"))
        self.assertEqual((exit, reason.splitlines()[-1]), (1, "RecursionError: maximum recursion depth exceeded"))
        self.assertLess(len(self.host.logs[-1]), 2000)

    def test_what_was_given_up_is_waited_for(self):
        self.host.answers["nova.server_wait"] = After(None)
        self.assertEqual(self.run_task(of("wasakari.nova.begin.server_wait('a', 'moved').within(1).result()")), (1, "nova.server_wait: timeout: gave up waiting"))
        self.assertEqual(self.host._open, {})

    def test_what_is_left_open_is_not(self):
        self.host.answers["nova.server_wait"] = After(None)
        self.assertEqual(self.run_task(of("wasakari.nova.begin.server_wait('a', 'moved')")), (0, None))
        self.assertEqual(len(self.host._open), 1)

    def test_no_such_task(self):
        self.assertEqual(self.run_task(of("pass"), key="other"), (1, "task other: the script has no such task"))

    def test_the_host_refuses_the_input(self):
        self.script(of("pass"))
        self.host._task_input = lambda req: Refused("invalid")
        self.assertEqual((self.engine.run(), self.host.reason), (1, "task.input: invalid"))


class Scripts(Case):
    def test_files(self):
        for files in (
            {"task.py": "from lib.deep import x\nfrom lib import y\n" + of("print(x, y)"), "lib/__init__.py": "y = 2\n", "lib/deep.py": "from . import y\nx = y - 1\n"},
            {"src/task.py": "from lib.deep import x\n" + of("print(x, 2)"), "src/lib/deep.py": "x = 1\n"},
        ):
            self.host.logs.clear()
            self.assertEqual(self.run_task(files=files), (0, None))
            self.assertEqual(self.host.logs, ["info 1 2"])

    def test_built_scripts(self):
        files = {"a.py": HEADER + "@wasakari.task\ndef one():\n    print('one')\n@wasakari.task\ndef two():\n    print('two')\n",
                 "wasakari.json": '{"tasks": [{"key": "second", "file": "a.py", "class": "two"}]}'}
        self.assertEqual(self.run_task(files=files, key="second"), (0, None))
        self.assertEqual(self.host.logs, ["info two"])

    def test_what_is_not_there(self):
        for module, hint in [("requests", "tasks have no network of their own; use wasakari.http"), ("novaclient.client", "use the novaclient that the task is given"),
                             ("masakari.db", "the stand-in for masakari has what tasks need and no more"), ("oslo_utils.netutils", "the stand-in for oslo_utils has")]:
            with self.assertRaises(ModuleNotFoundError) as caught:
                __import__(module)
            self.assertIn(hint, str(caught.exception))
        with self.assertRaisesRegex(ModuleNotFoundError, "No module named 'acme'$"):
            __import__("acme")

    def test_every_module_of_the_lib(self):
        import importlib
        import os

        from host import LIB

        for folder, _, files in os.walk(LIB):
            for file in files:
                if file.endswith(".py"):
                    name = os.path.relpath(os.path.join(folder, file), LIB)[:-3].replace(os.sep, ".").removesuffix(".__init__")
                    self.assertEqual(importlib.import_module(name).__name__, name)


class Descriptions(Case):
    def one(self, text, file="a.py", **more):
        doc = self.describe(files={file: text, **more})
        self.assertIsInstance(doc, dict, doc)
        self.assertEqual(len(doc["tasks"]), 1)
        return doc["tasks"][0]

    def test_a_class(self):
        t = self.one(HEADER + "class A(task.Task):\n    '''Counts.\n\n    More.'''\n    default_provides = 'x'\n    def execute(self, host_name, spare=None): pass\n")
        self.assertEqual(t, {"key": "a", "class": "A", "file": "a.py", "requires": ["host_name"], "optional": ["spare"], "provides": ["x"], "uses": ["kv.put"],
                             "summary": "Counts.", "revert": False})

    def test_a_function(self):
        t = self.one("import wasakari\ndef undo(host_name, x): pass\n@wasakari.task(key='k', provides=['p', 'q'], uses=['nova.server_list'], revert=undo)\ndef f(host_name, *, y=1): pass\n")
        self.assertEqual(t, {"key": "k", "class": "f", "file": "a.py", "requires": ["host_name", "x"], "optional": ["y"], "provides": ["p", "q"],
                             "uses": ["kv.get", "kv.put", "nova.server_list"], "revert": True})

    def test_what_is_injected_is_not_required(self):
        t = self.one(HEADER + "class A(task.Task):\n    def __init__(self):\n        super().__init__(inject={'b': 1}, rebind={'a': 'host_name'})\n"
                     "    def execute(self, a, b): pass\n    def revert(self, a, b, result, flow_failures): pass\n")
        self.assertEqual((t["requires"], t["revert"]), (["host_name"], True))

    def test_keys(self):
        doc = self.describe(files={"acme/tasks.py": HEADER + "class _Base(task.Task):\n    def execute(self): pass\nclass HTTPPing(_Base): pass\nclass WaitForIt(_Base): pass\n",
                                   "tests/test_x.py": "import none\n", "conftest.py": "import none\n"})
        self.assertEqual([(t["key"], t["class"], t["file"]) for t in doc["tasks"]], [("http_ping", "HTTPPing", "acme/tasks.py"), ("wait_for_it", "WaitForIt", "acme/tasks.py")])

    def test_entry_points(self):
        source = HEADER + "class A(task.Task):\n    def execute(self): pass\nclass B(A): pass\n"
        for name, text in [
            ("setup.cfg", "[metadata]\nname = acme\nversion = 1.2\nsummary = Tasks\n[entry_points]\nmasakari.task_flow.tasks =\n    first = acme.tasks:A\n"),
            ("pyproject.toml", '[project]\nname = "acme"\nversion = "1.2"\ndescription = "Tasks"\n[project.entry-points."masakari.task_flow.tasks"]\nfirst = "acme.tasks:A"\n'),
        ]:
            with self.subTest(name):
                doc = self.describe(files={"src/acme/tasks.py": source, name: text})
                self.assertEqual((doc["library"], doc["version"], doc["summary"]), ("acme", "1.2", "Tasks"))
                self.assertEqual([(t["key"], t["class"], t["file"]) for t in doc["tasks"]], [("first", "A", "src/acme/tasks.py")])

    def test_names_that_no_file_may_have(self):
        for name, want in [
            ("json.py", "json.py: Python has a module json of its own, which hides it: call it json_task.py"),
            ("lib/a.b.py", "lib/a.b.py: Python imports no file with a dot in its name: call it a_b.py"),
        ]:
            self.assertEqual(self.describe(files={name: HEADER + "class A(task.Task):\n    def execute(self): pass\n"}), want)

    def test_wrong_entry_points(self):
        point = "[entry_points]\nmasakari.task_flow.tasks =\n    k = acme:%s\n"
        for files, want in [
            ({"setup.cfg": point % "A"}, "entry point k: there is no module acme"),
            ({"setup.cfg": point % "B", "acme.py": HEADER}, "acme.py: entry point k: there is no class B of a task"),
            ({"setup.cfg": "nonsense"}, "setup.cfg: File contains no section headers"),
            ({"pyproject.toml": "= 1"}, "pyproject.toml: Invalid statement (at line 1, column 1)"),
        ]:
            self.assertTrue(self.describe(files=files).startswith(want), want)

    def test_uses(self):
        for source, want in [
            ("self.novaclient.enable_disable_service(c, 'h')", ["nova.service_disable", "nova.service_enable"]),
            ("wasakari.nova.server_stop('a'); wasakari.nova.begin.server_get('b')", ["nova.server_get", "nova.server_stop"]),
            ("wasakari.ha.host_list()", ["ha.host_list"]),
            ("wasakari.kv.library.get_version('a'); wasakari.kv.scratch.put('b', 1); wasakari.kv.list()", ["kv.get", "kv.list", "kv.put"]),
            ("wasakari.do('nova.migration_list')", ["nova.migration_list"]),
            ("wasakari.http.post('https://x')", ["http.request"]),
            ("objects.VMoveList.get_all(c)", ["ha.vmove_list"]),
            ("v = objects.VMove(); v.save()", ["ha.vmove_list", "ha.vmove_put"]),
            ("update_host_method('h', reserved=False)", ["ha.host_update"]),
            ("{}.get('update_host_method')", ["ha.host_update"]),
            ("nova.nothing_such(); {}.get('a')", None),
        ]:
            with self.subTest(source):
                self.assertEqual(self.one(of(source)).get("uses"), want)

    def test_uses_are_of_their_task(self):
        doc = self.describe(files={"a.py": HEADER + "def helper():\n    wasakari.nova.server_list()\n"
                                   "class A(task.Task):\n    def execute(self):\n        wasakari.nova.server_stop('a')\n"
                                   "class B(task.Task):\n    def execute(self):\n        wasakari.http.get('https://x')\n"})
        self.assertEqual([t["uses"] for t in doc["tasks"]], [["nova.server_list", "nova.server_stop"], ["http.request", "nova.server_list"]])
        self.assertEqual(doc["notes"], ["task b sends requests: name where to in task.yaml, http: [...]"])

    def test_options(self):
        t = self.one(of("pass") + "from oslo_config import cfg\nimport masakari.conf\n"
                     "cfg.CONF.register_group(cfg.OptGroup('acme'))\n"
                     "cfg.CONF.register_opts([cfg.StrOpt('queue', default='ops', help='Where\\n  to.', choices=['ops', ('dev', 'D')]), cfg.IntOpt('n', min=1, max=9, required=True),\n"
                     "  cfg.ListOpt('hosts', default=('a', 1)), cfg.StrOpt('token', secret=True, default='never'), cfg.DictOpt('d', default={'k': 'v'}),\n"
                     "  cfg.Opt('t', type=int, default=3)], group='acme')\n")
        self.assertEqual(t["options"], [
            {"group": "acme", "name": "queue", "type": "string", "help": "Where to.", "default": "ops", "choices": ["ops", "dev"]},
            {"group": "acme", "name": "n", "type": "int", "required": True, "min": 1, "max": 9},
            {"group": "acme", "name": "hosts", "type": "list", "default": ["a", "1"]},
            {"group": "acme", "name": "token", "type": "string", "secret": True},
            {"group": "acme", "name": "d", "type": "string", "default": "k:v"},
            {"group": "acme", "name": "t", "type": "int", "default": 3}])

    def test_mistakes(self):
        for text, want in [
            ("x = \n", "a.py:1: invalid syntax: x ="),
            ("import wasakari\n\nwasakari.none\n", "a.py:3: AttributeError: module 'wasakari' has no attribute 'none'"),
            ("x = 1\n", "a.py: there is no task in it: no class of taskflow.task.Task with a method execute, and no function with @wasakari.task"),
            (of("pass", "def __init__(self): pass\n    def execute(self):"), "a.py: class A: its constructor does not call that of its base class"),
            (of("pass", "def __init__(self):\n        super().__init__(); wasakari.nova.server_get('a')\n    def execute(self):"),
             "a.py:5: class A: its constructor asks for something, which only execute may: nova.server_get: not granted"),
            (of("pass", "def __init__(self, host):\n        super().__init__()\n    def execute(self):"),
             "a.py: class A cannot be made: TypeError: A.__init__() missing 1 required positional argument: 'host'"),
        ]:
            with self.subTest(want):
                self.host.answers["nova.server_get"] = Refused("not_granted")
                self.assertEqual(self.describe(files={"a.py": text}), want)


if __name__ == "__main__":
    unittest.main()
