package main

import (
	"strings"
	"testing"
)

// A script becomes a module without any tool, and one with a mistake is told
// with its place, as a compiler does.
func TestTaskBuildJavaScript(t *testing.T) {
	t.Parallel()
	p := newPlace(t, map[string]string{
		"good/stop_all.ts": "import { hosts } from './lib/hosts';\nexport default { requires: ['host_name'], run(): void { hosts() } };", "good/lib/hosts.ts": "export const hosts = (): string[] => [];",
		"absent/a.js": "\nimport './b.js';", "deep/a.js": "import './b.js';", "deep/b.js": "let x = ;", "none/a.js": "export const a = 1;", "throws/a.js": "export default { run() {} };\nnull.x;",
		"wrong/a.js": "export default { requires: 'x', run() {} };", "package/a.js": "import fs from 'fs';",
	})
	r := p.run(t.Context(), t, "task", "build", "DIR/good/stop_all.ts")
	if r.code != 0 || !strings.Contains(r.stdout, "/good/stop_all.wasm: stop_all 0.0.0+") || !strings.Contains(r.stdout, "  tasks    stop_all\n") {
		t.Errorf("exit %d\n%s%s", r.code, r.stdout, r.stderr)
	}
	tests := []struct {
		file string
		code int
		want string
	}{
		{"absent/a.js", exitFailed, `DIR/absent/a.js:2:8: cannot import "./b.js": there is no file DIR/absent/b.js`},
		{"deep/a.js", exitFailed, `DIR/deep/b.js:1:9: Unexpected ";"`},
		{"none/a.js", exitFailed, `TypeError: a.js: it exports no task: want "export default { async run(ctx) { … } }", or several by name`},
		{"throws/a.js", exitFailed, "TypeError: cannot read property 'x' of null (a.js:2)"},
		{"wrong/a.js", exitUsage, "DIR/wrong/a.js: manifest: tasks[0].requires: want an array, not a string"},
		{
			"package/a.js", exitFailed,
			`DIR/package/a.js:1:16: cannot import "fs": a task imports "wasakari" and files of its own, by paths such as "./fs.js"; copy a package's files beside the task`,
		},
	}
	for _, tt := range tests {
		r := p.run(t.Context(), t, "task", "build", "DIR/"+tt.file)
		if r.code != tt.code || r.stderr != "wasakari: "+tt.want+"\n" {
			t.Errorf("%s: exit %d, %s, want %d, %s", tt.file, r.code, r.stderr, tt.code, tt.want)
		}
	}
}
