package scripts_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/wasakari/wasakari/abi"
	"github.com/wasakari/wasakari/internal/scripts"
	"github.com/wasakari/wasakari/runtime"
)

// All sandboxes of an engine begin with the same memory: nothing that a task
// leaves there is found by the next, of the same module or of another, and
// random numbers are others each time.
func TestSandboxesOfOneEngine(t *testing.T) {
	for _, tt := range []struct{ name, text string }{
		{"marks.py", `
import builtins, json, os, random, sys, uuid
import masakari.exception
from taskflow import task

class Marks(task.Task):
    def execute(self):
        found = [n for n, where in (("builtins", builtins), ("json", json), ("exception", masakari.exception)) if hasattr(where, "mark")]
        if "mark" in sys.modules:
            found.append("modules")
        builtins.mark = json.mark = masakari.exception.mark = sys.modules["mark"] = 1
        json.dumps = random.seed = None
        raise Exception("%s %r %s %s %s" % (found, random.random(), uuid.uuid4(), os.urandom(8).hex(), random.Random().random()))
`},
		{"marks.js", `
export default {
  run() {
    const found = ["Object", "Array", "JSON", "Promise"].filter((n) => "mark" in globalThis[n]).concat("mark" in globalThis ? "this" : []);
    globalThis.mark = Object.mark = Array.mark = JSON.mark = Promise.mark = 1;
    throw new Error("[" + found + "] " + Math.random() + " " + Math.random());
  },
};
`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			seen := map[string]bool{}
			first, _ := build(t, tt.name, tt.text)
			second, _ := build(t, tt.name, tt.text+"\n")
			for range 3 {
				for _, m := range []*runtime.Module{first, second} {
					res := run(t, m, &host{}, false)
					_, said, nothing := strings.Cut(res.Reason, ": [] ")
					if res.Exit != abi.ExitFailed || !nothing {
						t.Fatalf("a task found what another left: %s", res.Reason)
					}
					said, _, _ = strings.Cut(said, " (") // the place in the script
					for number := range strings.FieldsSeq(said) {
						if seen[number] {
							t.Errorf("%s is random for a second time", number)
						}
						seen[number] = true
					}
				}
			}
			if len(seen) < 12 {
				t.Errorf("%d random numbers: %v", len(seen), seen)
			}
		})
	}
}

// What a script does while it is described costs its author a moment and a few
// lines.
func TestBuildHostile(t *testing.T) {
	const (
		python     = "\nfrom taskflow import task\nclass T(task.Task):\n    def execute(self):\n        pass\n"
		javascript = "\nexport default { run() {} };\n"
	)
	forge := func(doc string) string {
		return "import _wasakari, json\nask = _wasakari.call\n_wasakari.call = lambda op, req: ask(op, json.dumps({'reason': " + doc + "}) if op == 'task.reason' else req)" + python
	}
	for _, tt := range []struct {
		name, file, text string
		says             string // in the error; empty: it is built
		notes            int
	}{
		{name: "loop", file: "a.py", text: "while True:\n    try:\n        while True: pass\n    except BaseException: pass" + python, says: "limit of"},
		{name: "memory", file: "a.py", text: "x = []\nwhile True: x.append(bytearray(1 << 20))" + python, says: "a.py:2: MemoryError"},
		{name: "recursion", file: "a.py", text: "def f(): f()\nf()" + python, says: "a.py:1: RecursionError"},
		{name: "exit", file: "a.py", text: "import os; os._exit(0)" + python, says: "exited with code 0"},
		{name: "lines", file: "a.py", text: "for i in range(1000): print('x' * 5000)\nimport os; os._exit(0)" + python, says: "exited with code 0"},
		{name: "nesting", file: "a.py", text: "x = " + strings.Repeat("[", 100_000) + python, says: "MemoryError"},
		{name: "another key", file: "a.py", text: forge(`'{"tasks":[{"key":"../x","class":"T"}]}'`), says: `manifest: tasks[0].key: "../x" is not allowed`},
		{name: "no document", file: "a.py", text: forge("'[' * 100000"), says: "what its engine says about it"},
		{name: "notes", file: "a.py", text: forge(`json.dumps({"tasks":[{"key":"x","class":"T"}],"notes":["x" * 5000] * 100 + ["y"] * 50})`), notes: 100},
		{name: "memory in JavaScript", file: "a.js", text: "const x = []; while (true) x.push(new Uint8Array(1 << 20).fill(1));" + javascript, says: "InternalError: out of memory"},
		{name: "expression in JavaScript", file: "a.js", text: `/(a*)*b/.test("a".repeat(40));` + javascript, says: "limit of"},
		{name: "nothing to wait for in JavaScript", file: "a.js", text: "await new Promise(() => {});" + javascript, says: "a promise that nothing can settle"},
		{name: "prototypes in JavaScript", file: "a.js", text: `Object.defineProperty(Object.prototype, "key", { value: "../x" });` + javascript, says: `manifest: tasks[0].key: "../x" is not allowed`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, _, notes, err := scripts.Build(t.Context(), rt, scripts.Source{Path: tt.file, Files: []abi.ScriptFile{{Name: tt.file, Text: tt.text}}})
			if (err == nil) != (tt.says == "") || err != nil && !strings.Contains(err.Error(), tt.says) {
				t.Errorf("error = %.500v, want in it %s", err, tt.says)
			}
			const most = 30_000
			if text := fmt.Sprint(errors.Join(err), notes); len(notes) != tt.notes || len(text) > 4*most {
				t.Errorf("%d notes, %d bytes", len(notes), len(text))
			}
		})
	}
}
