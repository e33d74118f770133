package hostile_test

import (
	"fmt"
	"strings"

	"github.com/wasakari/wasakari/abi"
	"github.com/wasakari/wasakari/runtime"
)

// manifests are what modules say about themselves, to mislead a reader.
func manifests() []attack {
	const (
		head = `{"abi":1,"library":"acme","version":"1.0.0","tasks":[`
		tail = `]}`
	)
	with := func(custom ...string) []byte {
		return module(append([]string{sectionTypes, sectionFuncs, sectionMemory, sectionExports, sectionCode}, custom...)...)
	}
	manifest := func(doc string) string { return section(0, sized(abi.ManifestSection)+doc) }
	bad := func(name, does, doc, problem string) attack {
		return attack{name: name, does: does, wasm: with(manifest(doc)), want: refused(runtime.StepManifest, "manifest: "+problem)}
	}
	good := head + `{"key":"task"}` + tail
	const none = "no manifest: the module has no custom section wasakari.task; add one with wasakari task pack task.yaml module.wasm -o out.wasm"
	return []attack{
		{name: "none", does: "has no manifest", wasm: with(), want: refused(runtime.StepManifest, none)},
		{name: "name with a blank", does: "has a manifest under a name that looks like ours", wasm: with(section(0, sized("wasakari.task ")+good)), want: refused(runtime.StepManifest, none)},
		{name: "name in another case", does: "has a manifest under our name in another case", wasm: with(section(0, sized("Wasakari.Task")+good)), want: refused(runtime.StepManifest, none)},
		{name: "two", does: "has two manifests, for two readers", wasm: with(manifest(good), manifest(good)), want: refused(runtime.StepManifest, "two manifests: the module has more than one custom section wasakari.task; pack it anew with wasakari task pack (the second at byte 135)")},
		{name: "name in more bytes", does: "hides a second manifest behind a length of three bytes", wasm: with(manifest(good), section(0, "\x8d\x80\x00"+abi.ManifestSection+good)), want: refused(runtime.StepManifest, "two manifests: the module has more than one custom section wasakari.task; pack it anew with wasakari task pack (the second at byte 135)")},
		{name: "in front", does: "has its manifest before everything else, which is allowed", wasm: module(manifest(good), sectionTypes, sectionFuncs, sectionMemory, sectionExports, sectionCode), want: harmless},
		bad("empty", "has an empty manifest", "", "the document is not JSON: unexpected end of JSON input, at byte 0"),
		bad("too long", "has a manifest of 64 KiB and a byte", strings.Repeat(" ", 64<<10+1), "it has 65537 bytes; at most 65536 are taken"),
		bad("no UTF-8", "has a manifest that is no text", good[:20]+"\xff", "the document is not UTF-8"),
		bad("byte order mark", "has a manifest that begins with a byte order mark", "\ufeff"+good, "the document is not JSON: invalid character 'ï' looking for beginning of value, at byte 1"),
		bad("depth", "nests its manifest 30 000 deep", strings.Repeat("[", 30_000), "the document is not JSON: invalid character '[' exceeded max depth, at byte 10001"),
		bad("key twice", "says its library twice", `{"library":"wasakari-standard",`+good[1:], "library: the key is given twice"),
		bad("key in another case", "says its library in another case as well", `{"Library":"wasakari-standard",`+good[1:], "Library: unknown key; did you mean library?"),
		bad("key with an escape", "says its library twice, once with an escape", `{"libr\u0061ry":"wasakari-standard",`+good[1:], "library: the key is given twice"),
		bad("more behind", "has two documents in its manifest", good+good, fmt.Sprintf("the document is not JSON: invalid character '{' after top-level value, at byte %d", len(good)+1)),
		bad("another ABI", "is made for another ABI", strings.Replace(good, `"abi":1`, `"abi":2`, 1), "abi: this host does not speak ABI 2; write 1"),
		bad("ABI that wraps", "is made for an ABI that is 1 in 32 bits", strings.Replace(good, `"abi":1`, `"abi":4294967297`, 1), "abi: this host does not speak ABI 4294967297; write 1"),
		bad("library with a path", "names a library like a path", strings.Replace(good, "acme", "../acme", 1), `library: "../acme" is not allowed; write 1 to 128 lower-case letters, digits, . _ or -`),
		bad("library in other letters", "names a library in letters that look like others", strings.Replace(good, "acme", "аcme", 1), `library: "аcme" is not allowed; write 1 to 128 lower-case letters, digits, . _ or -`),
		bad("library of a tenant", "names a library with a tenant", strings.Replace(good, "acme", "acme@admin", 1), `library: "acme@admin" is not allowed; write 1 to 128 lower-case letters, digits, . _ or -`),
		bad("library with a zero", "names a library that ends early for some", strings.Replace(good, "acme", `acme\u0000x`, 1), `library: "acme\x00x" is not allowed; write 1 to 128 lower-case letters, digits, . _ or -`),
		bad("key like a path", "has a key like a path", head+`{"key":"../task"}`+tail, `tasks[0].key: "../task" is not allowed; write a letter or _, then at most 254 letters, digits, _ . or -`),
		bad("key with a line end", "has a key that ends with a line end", head+`{"key":"task\n"}`+tail, `tasks[0].key: "task\n" is not allowed; write a letter or _, then at most 254 letters, digits, _ . or -`),
		bad("summary with cursor movements", "has a summary that moves a terminal's cursor", head+`{"key":"task","summary":"\u001b[2J"}`+tail, "tasks[0].summary: the text holds control characters; write one line"),
		bad("key of two tasks", "has two tasks of one key", head+`{"key":"task"},{"key":"task"}`+tail, `tasks[1].key: "task" is the key of tasks[0] too; give each task a key of its own`),
		bad("65 tasks", "has more tasks than a module may have", head+strings.TrimSuffix(strings.Repeat(`{"key":"x"},`, 65), ",")+tail, "tasks: there are 65 tasks; list at most 64"),
		bad("65 names", "provides more names than a task may provide", head+`{"key":"task","provides":[`+numbered("p", 65)+`]}`+tail, "tasks[0].provides: there are 65 names; list at most 64"),
		bad("name read and written", "provides what it requires", head+`{"key":"task","requires":["a"],"provides":["a"]}`+tail, `tasks[0].provides[0]: "a" stands in tasks[0].requires[0] already; keep one of the two; a value that was read is provided under another name`),
		bad("all ops", "asks for every op at once", head+`{"key":"task","uses":["*"]}`+tail, `tasks[0].uses[0]: there is no op "*"; write an op such as nova.server_list, or a group such as kv.*`),
		bad("op of the runtime", "asks for an op that there is not", head+`{"key":"task","uses":["nova.server_delete"]}`+tail, `tasks[0].uses[0]: there is no op "nova.server_delete"; did you mean nova.server_get?`),
		bad("endless memory", "asks for more memory than a memory can have", head+`{"key":"task","limits":{"memory_mib":9223372036854775807}}`+tail, "tasks[0].limits.memory_mib: 9223372036854775807 is out of bounds; write 1 to 4096"),
		bad("negative memory", "asks for negative memory", head+`{"key":"task","limits":{"memory_mib":-1}}`+tail, "tasks[0].limits.memory_mib: want at least 1"),
		bad("endless time", "asks for more time than a number holds", head+`{"key":"task","limits":{"timeout":"99999999999h"}}`+tail, `tasks[0].limits.timeout: "99999999999h" is not allowed; write a time above 0 with its unit, such as 30s, 5m or 1h30m`),
		bad("negative time", "asks for a time in the past", head+`{"key":"task","limits":{"timeout":"-1s"}}`+tail, `tasks[0].limits.timeout: "-1s" is not allowed; write a time above 0 with its unit, such as 30s, 5m or 1h30m`),
		bad("endless computing", "asks for infinitely many units", head+`{"key":"task","limits":{"cpu":1e400}}`+tail, "tasks[0].limits.cpu: the number is out of range"),
		bad("computing that loses digits", "asks for more units than a number holds exactly", head+`{"key":"task","limits":{"cpu":1e17}}`+tail, "tasks[0].limits.cpu: 1e+17 is not allowed; write a whole number of units from 1 to 9e15, such as 5e9"),
		bad("default of a secret", "brings a secret's value along", head+`{"key":"task","options":[{"group":"acme","name":"token","type":"string","secret":true,"default":"x"}]}`+tail, "tasks[0].options[0].default: a secret option has no default; leave it out; the operator sets it"),
		bad("option with a line end", "asks for an option whose name begins another section", head+`{"key":"task","options":[{"group":"acme]\n[DEFAULT","name":"x","type":"string"}]}`+tail, `tasks[0].options[0].group: "acme]\n[DEFAULT" is not allowed; write the name of a section: a letter or _, then at most 127 letters, digits, _ . : or -`),
	}
}

// numbered lists n quoted names.
func numbered(prefix string, n int) string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprintf(`"%s%d"`, prefix, i)
	}
	return strings.Join(list, ",")
}
