package javascript_test

import (
	"encoding/json"
	"errors"
	"io/fs"
	"slices"
	"strings"
	"testing"

	"github.com/wasakari/wasakari/abi"
	"github.com/wasakari/wasakari/internal/scripts/javascript"
)

// reader reads from files.
func reader(files map[string]string) javascript.Reader {
	return func(name string) (string, error) {
		text, ok := files[name]
		if !ok {
			return "", fs.ErrNotExist
		}
		return text, nil
	}
}

func names(files []abi.ScriptFile) []string {
	var list []string
	for _, f := range files {
		list = append(list, f.Name)
	}
	return list
}

func TestPack(t *testing.T) {
	tests := []struct {
		name  string
		entry string
		files map[string]string
		want  []string
		notes []string
	}{
		{name: "alone", entry: "a.js", files: map[string]string{"a.js": `export default {}`, "b.js": ""}, want: []string{"a.js"}},
		{
			name: "in order", entry: "z.js",
			files: map[string]string{"z.js": `import "./lib/b"; import x from "./a.json"; import {c} from "./lib/c.mjs"`, "lib/b.js": "", "a.json": "{}", "lib/c.mjs": "export const c = 1"},
			want:  []string{"z.js", "a.json", "lib/b.js", "lib/c.mjs"},
		},
		{
			name: "above", entry: "tasks/a.js", files: map[string]string{"tasks/a.js": `import "../lib/b.js"`, "lib/b.js": ""},
			want: []string{"tasks/a.js", "lib/b.js"},
		},
		{name: "folder", entry: "tasks/a.js", files: map[string]string{"tasks/a.js": `import "./b.js"`, "tasks/b.js": ""}, want: []string{"a.js", "b.js"}},
		{name: "out", entry: "a.js", files: map[string]string{"a.js": `import "../b.js"`, "../b.js": ""}, want: []string{"a.js", "../b.js"}},
		{
			name: "types", entry: "a.ts",
			files: map[string]string{"a.ts": `import type { X } from "./types"; import { f } from "./f.js"; export default { run() { f() } }`, "f.ts": "export function f(): void {}"},
			want:  []string{"a.ts", "a.ts.lines", "f.ts", "f.ts.lines"},
		},
		{
			name: "cycle", entry: "a.js",
			files: map[string]string{"a.js": "import \"./b.js\"\n", "b.js": "\n\nimport \"./a.js\""},
			want:  []string{"a.js", "b.js"},
			notes: []string{"b.js:3: a cycle of imports: a.js, b.js, a.js; what one takes from another must not be used before all are loaded"},
		},
		{name: "dynamic", entry: "a.js", files: map[string]string{"a.js": `export const f = () => import("./b.js")`, "b.js": ""}, want: []string{"a.js", "b.js"}},
		{name: "wasakari", entry: "a.js", files: map[string]string{"a.js": `import { nova } from "wasakari"; await nova`}, want: []string{"a.js"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, err := javascript.Pack(tt.entry, reader(tt.files))
			if err != nil {
				t.Fatal(err)
			}
			if got := names(s.Files); !slices.Equal(got, tt.want) {
				t.Errorf("files = %q, want %q", got, tt.want)
			}
			if !slices.Equal(s.Notes, tt.notes) {
				t.Errorf("notes = %q, want %q", s.Notes, tt.notes)
			}
			raw, err := javascript.Files(tt.entry, reader(tt.files))
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range raw {
				if tt.files[f.Name] != f.Text {
					t.Errorf("%s = %q, want %q", f.Name, f.Text, tt.files[f.Name])
				}
			}
			javascript.Trim(raw)
			want := slices.DeleteFunc(slices.Clone(tt.want), func(s string) bool { return strings.HasSuffix(s, javascript.LinesSuffix) })
			if got := names(raw); !slices.Equal(got, want) {
				t.Errorf("files as they are = %q, want %q", got, want)
			}
		})
	}
}

func TestPackRefuses(t *testing.T) {
	tests := []struct {
		name  string
		files map[string]string
		want  string
	}{
		{"no entry", nil, "a.js: there is no such file"},
		{"syntax", map[string]string{"a.js": "let x\nlet y = ;"}, `a.js:2:9: Unexpected ";"`},
		{"not there", map[string]string{"a.js": "\n  import x from './b.js'"}, `a.js:2:17: cannot import "./b.js": there is no file b.js`},
		{"deep", map[string]string{"a.js": "import './l/b.js'", "l/b.js": "import '../c'"}, `l/b.js:1:8: cannot import "../c": there is no file c`},
		{
			"not exported",
			map[string]string{"a.js": "import { x } from './b.js'\nx()", "b.js": "export const y = 1"},
			`a.js:1:10: No matching export in "b.js" for import "x"`,
		},
		{
			"package",
			map[string]string{"a.js": "import _ from 'lodash'"},
			`a.js:1:15: cannot import "lodash": a task imports "wasakari" and files of its own, by paths such as "./lodash.js"; copy a package's files beside the task`,
		},
		{
			"node",
			map[string]string{"a.js": "import fs from 'node:fs'"},
			`a.js:1:16: cannot import "node:fs": a task has no Node.js; what it may do is in "wasakari"`,
		},
		{"require", map[string]string{"a.js": "require('./b.js')", "b.js": ""}, `a.js:1:9: cannot require "./b.js": a task has modules; write import … from "./b.js"`},
		{"no script", map[string]string{"a.js": "import './b.css'", "b.css": ""}, `a.js:1:8: cannot import "./b.css": it is no .js, .mjs, .ts, .mts or .json`},
		{"absolute", map[string]string{"a.js": "import '/etc/b.js'"}, `a.js:1:8: cannot import "/etc/b.js": a task imports "wasakari" and files of its own, by paths such as "./b.js.js"; copy a package's files beside the task`},
		{"no json", map[string]string{"a.js": "import x from './b.json'; x", "b.json": "{"}, `b.json:1:2: Expected string in JSON but found end of file`},
		{"large", map[string]string{"a.js": "import './b.js'", "b.js": strings.Repeat(" ", 9<<20)}, `a.js:1:8: cannot import "./b.js": the script has more than 1000 files or 2 MiB`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := javascript.Pack("a.js", reader(tt.files))
			if err == nil || err.Error() != tt.want || !errors.Is(err, javascript.ErrSource) {
				t.Errorf("error = %v, want %s", err, tt.want)
			}
		})
	}
	if _, err := javascript.Pack("a.css", reader(nil)); err == nil || err.Error() != "a.css: it is no .js, .mjs, .ts or .mts" {
		t.Errorf("error = %v", err)
	}
}

func TestUses(t *testing.T) {
	tests := []struct {
		name, text string
		want       []string
	}{
		{"none", `export default { run() {} }`, nil},
		{"methods", `import {nova, ha} from "wasakari"; nova.serverList(); const {hostList} = ha`, []string{"ha.host_list", "nova.server_list"}},
		{"not comments and strings", "// nova.serverList()\nconst x = 'serverGet'; /* kv */", nil},
		{"by name", `call("nova.server_get"); call('kv.put'); call("nova.no_such")`, []string{"kv.put", "nova.server_get"}},
		{"kv", `const a = await kv.get("x"); kv.library.put("y", a)`, []string{"kv.get", "kv.put"}},
		{"kv alone", `f(kv)`, []string{"kv.*"}},
		{"http", `http.post("https://x/")`, []string{"http.request"}},
		{"in a file of its own", `import "./b.js"`, []string{"nova.server_stop"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, err := javascript.Pack("a.js", reader(map[string]string{"a.js": tt.text, "b.js": "x.serverStop()"}))
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(s.Uses, tt.want) {
				t.Errorf("uses = %q, want %q", s.Uses, tt.want)
			}
		})
	}
}

// The lines of a file whose types were stripped are known.
func TestLines(t *testing.T) {
	const text = `interface A {
  a: string
}

export default {
  run(ctx: any): void {
    const a: A = { a: "x" }

    throw new Error(a.a)
  },
}
`
	s, err := javascript.Pack("a.ts", reader(map[string]string{"a.ts": text}))
	if err != nil {
		t.Fatal(err)
	}
	var lines []int
	if err := json.Unmarshal([]byte(s.Files[1].Text), &lines); err != nil {
		t.Fatal(err)
	}
	for i, line := range strings.Split(s.Files[0].Text, "\n") {
		if strings.Contains(line, "throw") {
			if lines[i] != 9 {
				t.Errorf("line %d is %d of the author, want 9:\n%s", i+1, lines[i], s.Files[0].Text)
			}
			return
		}
	}
	t.Errorf("no throw in\n%s", s.Files[0].Text)
}

func FuzzPack(f *testing.F) {
	f.Add("import './b.js'", "export const x = 1")
	f.Add("export default { run({nova}) { nova.serverList() } }", "{}")
	f.Fuzz(func(t *testing.T, a, b string) {
		s, err := javascript.Pack("a.ts", reader(map[string]string{"a.ts": a, "b.js": b}))
		if err != nil {
			if !errors.Is(err, javascript.ErrSource) {
				t.Error(err)
			}
			return
		}
		if len(s.Files) < 2 || s.Files[0].Name != "a.ts" {
			t.Errorf("files = %q", names(s.Files))
		}
	})
}
