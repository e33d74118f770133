package hostile_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/wasakari/wasakari/abi"
	"github.com/wasakari/wasakari/internal/testwasm"
	"github.com/wasakari/wasakari/runtime"
)

// engines are those of the cells: the golden one, whose outcome is the last
// digit of the script.
func engines() []runtime.Engine {
	wasm := testwasm.Module("engine")
	return []runtime.Engine{{Name: "digits", Digest: digestOf(wasm), Open: func(context.Context) ([]byte, error) { return wasm, nil }}}
}

func digestOf(wasm []byte) string {
	sum := sha256.Sum256(wasm)
	return hex.EncodeToString(sum[:])
}

// scripts are modules made by hand that say they are scripts for an engine.
func scripts() []attack {
	own := engines()[0].Digest
	manifest := section(0, sized(abi.ManifestSection)+`{"abi":1,"library":"acme","version":"1.0.0","tasks":[{"key":"task"}]}`)
	engine := func(doc string) string { return section(0, sized(abi.EngineSection)+doc) }
	script := func(doc string) string { return section(0, sized(abi.ScriptSection)+doc) }
	named := func(digest string) string { return engine(`{"name":"digits","digest":"` + digest + `"}`) }
	const one = `{"files":[{"name":"a","text":"0"}]}`
	code := []string{sectionTypes, sectionFuncs, sectionMemory, sectionExports, sectionCode}
	refusedAs := func(name, does string, wasm []byte, text string) attack {
		return attack{name: name, does: does, wasm: wasm, want: refused(runtime.StepManifest, text)}
	}
	badScript := func(name, does, doc, problem string) attack {
		return refusedAs(name, does, module(manifest, named(own), script(doc)), abi.ErrBadScript.Error()+": "+problem)
	}
	badEngine := func(name, does, doc, problem string) attack {
		return refusedAs(name, does, module(manifest, engine(doc), script(one)), abi.ErrBadEngine.Error()+": "+problem)
	}
	given := func(context.Context, *abi.Op, []byte) ([]byte, error) { return []byte(one), nil }
	files := func(n int) string {
		var list []abi.ScriptFile
		for i := range n {
			list = append(list, abi.ScriptFile{Name: fmt.Sprint(i)})
		}
		doc, _ := json.Marshal(abi.TaskScriptAnswer{Files: list}) // strings alone
		return string(doc)
	}
	const again = "; build it again with wasakari task build"
	beside := "names an engine that runs its script instead of it" + again
	of := func(digest string) string {
		return "it is a script for the engine digits sha256:" + digest + ", which is not here; this program has digits sha256:" + own +
			"; build it again for that one: wasakari task build takes its source, or the module itself"
	}
	strange, guestDigest := strings.Repeat("0", 64), digestOf(testwasm.Module("noop"))
	return []attack{
		{name: "well meant", does: "is a script for the engine", wasm: module(manifest, named(own), script(one)), answer: given, want: harmless},
		{name: "another engine", does: "names an engine that there is not", wasm: module(manifest, named(strange), script(one)), want: refused(runtime.StepInterface, of(strange))},
		{name: "a module for an engine", does: "names an ordinary module as its engine", wasm: module(manifest, named(guestDigest), script(one)), want: refused(runtime.StepInterface, of(guestDigest))},
		{name: "itself for an engine", does: "has code of its own and names an engine", wasm: module(append([]string{manifest, named(own), script(one)}, code...)...), want: refused(runtime.StepInterface, "it has a type section, and "+beside)},
		{name: "a memory beside", does: "brings a memory for the engine along", wasm: module(manifest, named(own), script(one), sectionMemory), want: refused(runtime.StepInterface, "it has a memory section, and "+beside)},
		{name: "engine behind code", does: "names an engine behind its code", wasm: module(append(code, manifest, named(own))...), want: refused(runtime.StepInterface, "it has a type section, and "+beside)},
		{name: "script without an engine", does: "has a script that nothing runs", wasm: module(append(code, manifest, script(one))...), want: harmless},
		{name: "nothing but a script", does: "has a script, no code and no engine", wasm: module(manifest, script(one)), want: refused(runtime.StepInterface, `it exports no memory named "memory"; export it: (memory (export "memory") 1) in WAT; compilers for WASI do`)},
		refusedAs("two engines", "names two engines, for two readers", module(manifest, named(own), script(one), named(own)), abi.ErrTwoEngines.Error()+" (the second at byte 257)"),
		refusedAs("engine in more bytes", "hides a second engine behind a length of three bytes", module(manifest, named(own), script(one), section(0, "\x8f\x80\x00"+abi.EngineSection+`{}`)), abi.ErrTwoEngines.Error()+" (the second at byte 257)"),
		refusedAs("two scripts", "has two scripts, for two readers", module(manifest, named(own), script(one), script(one)), abi.ErrTwoScripts.Error()+" (the second at byte 257)"),
		refusedAs("two scripts beside code", "has two scripts and code, for two readers", module(append(code, manifest, script(`{}`), script(`{}`))...), abi.ErrTwoScripts.Error()+" (the second at byte 155)"),
		refusedAs("no script", "names an engine and has nothing for it", module(manifest, named(own)), "it names the engine digits, and has no script for it"+again),
		badScript("no files", "has a script without files", `{}`, "files: the key is missing"),
		refusedAs("no files in a list", "has a script with a list of no files", module(manifest, named(own), script(`{"files":[]}`)), "it names the engine digits, and has no script for it"+again),
		badScript("no JSON", "has a script that is no JSON", "{", "the document is not JSON: unexpected end of JSON input, at byte 1"),
		badScript("no UTF-8", "has a script that is no text", `{"files":[{"name":"a","text":"`+"\xff"+`"}]}`, "the document is not UTF-8"),
		badScript("half a character", "has half a character in its script", `{"files":[{"name":"a","text":"\ud800"}]}`, "files[0].text: half of a surrogate pair stands for no character"),
		badScript("1 MiB", "has a script that is too long", strings.Repeat(" ", 1<<20+1), "it has 1048577 bytes, at most 1048576 are taken"),
		badScript("depth", "nests its script 30 000 deep", `{"files":`+strings.Repeat("[", 30_000), "the document is not JSON: invalid character '[' exceeded max depth, at byte 10009"),
		badScript("1001 files", "has more files than a script may have", files(1001), "the script has 1001 files; at most 1000 are taken"),
		badScript("file twice", "has two files of one name in its script", `{"files":[{"name":"a","text":"1"},{"name":"a","text":"2"}]}`, `file name "a" is empty or there twice`),
		badScript("file without a name", "has a file without a name in its script", `{"files":[{"name":"","text":"1"}]}`, `file name "" is empty or there twice`),
		badScript("name that moves a cursor", "has a file whose name moves a terminal's cursor", `{"files":[{"name":"a\u001b[2J","text":"1"}]}`, `file name "a\x1b[2J" holds characters that cannot be printed`),
		badScript("name that turns around", "has a file whose name is read in the other direction", `{"files":[{"name":"a\u202eb","text":"1"}]}`, `file name "a\u202eb" holds characters that cannot be printed`),
		badScript("long name", "has a file whose name is a book", `{"files":[{"name":"`+strings.Repeat("a", 1025)+`","text":"1"}]}`, `file name "`+strings.Repeat("a", 40)+`"…: 1025 bytes, at most 1024 are taken`),
		badScript("files twice", "says its files twice, for two readers", `{"files":[{"name":"a","text":"0"}],"files":[{"name":"a","text":"1"}]}`, "files: the key is given twice"),
		badScript("files in another case", "says its files in another case", `{"Files":[{"name":"a","text":"0"}]}`, "Files: unknown key; did you mean files?"),
		badScript("text twice", "says a file's text twice", `{"files":[{"name":"a","text":"0","text":"1"}]}`, "files[0].text: the key is given twice"),
		badScript("more behind", "has two documents in its script", one+one, "the document is not JSON: invalid character '{' after top-level value, at byte 36"),
		badEngine("engine of 64 KiB", "names an engine at length", strings.Repeat(" ", 64<<10+1), "it has 65537 bytes, at most 65536 are taken"),
		badEngine("engine twice in one", "names two engines in one document", `{"name":"digits","digest":"`+strange+`","digest":"`+own+`"}`, "digest: the key is given twice"),
		badEngine("engine like a path", "names an engine like a path", `{"name":"../digits","digest":"`+own+`"}`, "name: want a-z, 0-9, _ and -, at most 64"),
		badEngine("digest in capitals", "names an engine by a digest in capitals", `{"name":"digits","digest":"`+strings.Repeat("A", 64)+`"}`, "digest: want a sha256, 64 digits of 0-9 and a-f"),
		{name: "cut off", does: "has a script that ends before it is long enough", wasm: module(manifest, named(own), script(one)[:20]), want: refused(runtime.StepValidate, "the module is truncated or malformed: the section at byte 204 has 51 bytes, the file only 18 more; it was cut off or damaged: copy or build it again")},
	}
}
