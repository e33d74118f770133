package generate_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/wasakari/wasakari/internal/abigen/generate"
)

const markers = "prose\n<!-- generated:errnos -->\nold\n<!-- /generated:errnos -->\nmore prose\n" +
	"<!-- generated:ops -->\n<!-- /generated:ops -->\n<!-- generated:documents -->\n<!-- /generated:documents -->\n"

const headerMarkers = "/* generated:types */\n/* /generated:types */\n/* generated:codecs */\n/* /generated:codecs */\n/* generated:ops */\n/* /generated:ops */\n"

// checkout makes a folder with these two files.
func checkout(t *testing.T, schema, page string) string {
	t.Helper()
	root := t.TempDir()
	for name, text := range map[string]string{"abi/schema.json": schema, "sdk/ABI.md": page, "sdk/c/wasakari.h": headerMarkers} {
		path := filepath.Join(root, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// schemaOf puts ops and documents into a schema.
func schemaOf(ops, defs string) string {
	return `{"errnos":[{"name":"not_found","errno":2,"doc":"Not there."}],"ops":[` + ops + `],"$defs":{` + defs + `}}`
}

const (
	emptyObject = `{"type":"object","properties":{},"required":[]}`
	getOp       = `{"name":"nova.server_get","kind":"read","doc":"Reads a server.","errors":["not_found"],` +
		`"request":{"type":"object","properties":{"id":{"type":"string","description":"UUID."},` +
		`"locked":{"type":"boolean"},"kind":{"type":"string","description":"Kind.","enum":["a","b"]},"timeout_s":{"type":"integer","minimum":0}},"required":["id"]},` +
		`"answer":{"$ref":"#/$defs/Server"}}`
	serverDef = `"Server":{"type":"object","description":"A server.","properties":{` +
		`"OS-EXT-STS:vm_state":{"type":["string","null"],"description":"State | of it."},"fault":{"$ref":"#/$defs/Server"},"any":{},"text":{"$ref":"#/$defs/Text"},"$secret":{"type":"string"}},"required":["text"]},` +
		`"Text":{"description":"By hand.","oneOf":[{"type":"string"},{"$ref":"#/$defs/Server"}]}`
)

func TestFiles(t *testing.T) {
	files, err := generate.Files(checkout(t, schemaOf(getOp, serverDef), markers))
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct{ file, want string }{
		{"abi/ops_gen.go", "ErrnoNotFound Errno = 2"},
		{"abi/ops_gen.go", `OpNovaServerGet = "nova.server_get"`},
		{"abi/ops_gen.go", "{Name: OpNovaServerGet, Kind: Read},"},
		{"abi/types_gen.go", "\tID string `json:\"id\"`"},
		{"abi/types_gen.go", "\tLocked *bool `json:\"locked,omitempty\"`"},
		{"abi/types_gen.go", "\tKind string `json:\"kind,omitempty\" enum:\"a,b\"`"},
		{"sdk/javascript/lib/ops_gen.js", "not_found: 2,"},
		{"sdk/javascript/lib/ops_gen.js", "server_get: \"read\","},
		{"sdk/javascript/wasakari.d.ts", "serverGet(request: NovaServerGetRequest, how?: How): Promise<NovaServerGetAnswer>;"},
		{"sdk/javascript/wasakari.d.ts", "\"OS-EXT-STS:vm_state\"?: string | null;"},
		{"sdk/javascript/wasakari.d.ts", "kind?: \"a\" | \"b\";"},
		{"abi/types_gen.go", "// Kind. One of a, b."},
		{"abi/types_gen.go", "\tTimeoutSeconds int64 `json:\"timeout_s,omitempty\" min:\"0\"`"},
		{"abi/types_gen.go", "type NovaServerGetAnswer = Server"},
		{"abi/types_gen.go", "\tVMState string `json:\"OS-EXT-STS:vm_state,omitempty\"`"},
		{"abi/types_gen.go", "\tFault *Server         `json:\"fault,omitempty\"`"},
		{"abi/types_gen.go", "\tText Text `json:\"text\"`"},
		{"abi/types_gen.go", "\tName string `json:\"$secret,omitempty\"`"},
		{"sdk/rust/src/types_gen.rs", "pub struct NovaServerGetRequest {\n /// UUID.\n pub id: String,\n pub locked: Option<bool>,"},
		{"sdk/rust/src/types_gen.rs", " timeout_s: r.take(\"timeout_s\")?,"},
		{"sdk/rust/src/types_gen.rs", "pub type NovaServerGetAnswer = Server;"},
		{"sdk/rust/src/types_gen.rs", " w.optional(\"OS-EXT-STS:vm_state\", &self.vm_state);\n w.optional(\"fault\", &self.fault);\n w.optional(\"any\", &self.any);\n w.field(\"text\", &self.text);"},
		{"sdk/rust/src/types_gen.rs", "pub any: Option<Value>,\n pub text: Text,\n pub name: Option<String>,"},
		{"sdk/rust/src/ops_gen.rs", "Code::NotFound => \"not_found\","},
		{"sdk/rust/src/ops_gen.rs", "pub fn server_get(&self, req: &NovaServerGetRequest) -> Call<NovaServerGetAnswer> {\n self.0.begin(\"nova.server_get\", req)\n }\n}\n"},
		{"sdk/c/wasakari.h", "    WSK_NOT_FOUND = 2, /* Not there. */\n"},
		{"sdk/c/wasakari.h", "    wsk_maybe locked;\n"},
		{"sdk/c/wasakari.h", "    int64_t timeout_s;"},
		{"sdk/c/wasakari.h", "    const wsk_server *fault;\n"},
		{"sdk/c/wasakari.h", "if (WSK__KEY(it.key, \"OS-EXT-STS:vm_state\")) {\n if (!wsk__get_str(t, it.value, &out->vm_state)) return false;"},
		{"sdk/c/wasakari.h", "typedef wsk_server wsk_nova_server_get_answer;"},
		{"sdk/c/wasakari.h", "static inline wsk_code wsk_nova_server_get_begin(wsk_task *t, wsk_item *it, const wsk_nova_server_get_request *r) {"},
		{"sdk/c/wasakari.h", " if (r->locked) wsk_key(o, \"locked\"), wsk_put_bool(o, r->locked == WSK_YES);"},
		{"sdk/conformance/c/ops_gen.h", "{\"nova.server_get\", call_nova_server_get, begin_nova_server_get, end_nova_server_get},"},
		{"sdk/assemblyscript/assembly/types_gen.ts", " locked: Opt<bool> | null = null;"},
		{"sdk/assemblyscript/assembly/types_gen.ts", " timeoutSeconds: i64 = 0;"},
		{"sdk/assemblyscript/assembly/types_gen.ts", " constructor(\n /** UUID. */\n public id: string,\n ) {}"},
		{"sdk/assemblyscript/assembly/types_gen.ts", "export type NovaServerGetAnswer = Server;"},
		{"sdk/assemblyscript/assembly/ops_gen.ts", " serverGetBegin(req: NovaServerGetRequest): Pending<NovaServerGetAnswer> {"},
		{"sdk/conformance/assemblyscript/assembly/ops_gen.ts", " if (op == \"nova.server_get\") return t.nova.serverGetBegin(readNovaServerGetRequest(req));"},
		{"docs/sdk/python.md", "#### `nova.server_get` (read)\n\nReads a server.\n\n```python\nnova.server_get(id, *, locked=None, kind=None, timeout_s=None)\nnova.begin.server_get(id, *, locked"},
		{"docs/sdk/python.md", "| `OS-EXT-STS:vm_state` | `str \\| None`, optional | State \\| of it. |"},
		{"docs/sdk/go.md", "Methods of `t.Nova()`."},
		{"docs/sdk/go.md", "| `Locked` | `*bool`, optional |  |\n| `Kind` | `string`, optional | Kind. One of a, b. |\n| `TimeoutSeconds` | `int64`, optional | At least 0. |"},
		{"docs/sdk/go.md", "Answer, `NovaServerGetAnswer`: [`Server`](#server).\n\nErrors: `ErrNotFound`.\n"},
		{"docs/sdk/rust.md", "| `fault` | [`Option<Server>`](#server), optional |"},
		{"docs/sdk/rust.md", "| `not_found` | `Code::NotFound` | Not there. |"},
		{"docs/sdk/c.md", "| `fault` | [`const wsk_server *`](#wsk_server), optional |"},
		{"docs/sdk/c.md", "\nwsk_code wsk_nova_server_get_end(wsk_task *t, wsk_item *it, wsk_nova_server_get_answer *a)\n```\n"},
		{"docs/sdk/javascript.md", "\nserverGet(request: NovaServerGetRequest, how?: How): Promise<NovaServerGetAnswer>\n"},
		{"docs/sdk/javascript.md", "| `kind` | `\"a\" \\| \"b\"`, optional |"},
		{"docs/sdk/assemblyscript.md", "\nserverGetBegin(req: NovaServerGetRequest): Pending<NovaServerGetAnswer>\n"},
		{"docs/sdk/assemblyscript.md", "| `locked` | `Opt<bool> \\| null`, optional |"},
		{"sdk/ABI.md", "### `Text`\n\nBy hand.\n"},
		{"sdk/go/types_gen.go", "\tKind string `json:\"kind,omitempty\"`"},
		{"sdk/go/ops_gen.go", "func (g Nova) ServerGet(ctx context.Context, req NovaServerGetRequest) (NovaServerGetAnswer, error) {"},
		{"sdk/ABI.md", "prose\n<!-- generated:errnos -->\n| Errno | `code` | Means |\n| ---: | --- | --- |\n| 2 | `not_found` | Not there. |\n<!-- /generated:errnos -->\nmore prose\n"},
		{"sdk/ABI.md", "| `OS-EXT-STS:vm_state` | string or null, optional | State \\| of it. |"},
		{"sdk/ABI.md", "Answer: [`Server`](#server).\n\nErrors: `not_found`.\n"},
	}
	for _, tt := range tests {
		got := string(files[tt.file])
		if !strings.Contains(unaligned(got), unaligned(tt.want)) {
			t.Errorf("%s lacks %q:\n%s", tt.file, tt.want, got)
		}
	}
	if strings.Contains(string(files["abi/types_gen.go"]), "type Text") {
		t.Error("a type that is written by hand was generated")
	}
}

// unaligned undoes gofmt's columns.
func unaligned(s string) string { return regexp.MustCompile(`[ \t]+`).ReplaceAllString(s, " ") }

func TestFilesMistakes(t *testing.T) {
	op := func(kind, request, errs string) string {
		return `{"name":"kv.get","kind":"` + kind + `","doc":"","request":` + request + `,"answer":` + emptyObject + `,"errors":[` + errs + `]}`
	}
	tests := []struct{ name, schema, page, want string }{
		{"not JSON", `{`, markers, "abi/schema.json: unexpected end of JSON input"},
		{"unknown kind", schemaOf(op("write", emptyObject, ""), ""), markers, `abi/schema.json: kv.get: kind "write": want local, read or change`},
		{"unknown error", schemaOf(op("local", emptyObject, `"lost"`), ""), markers, `abi/schema.json: kv.get: error "lost" is not there`},
		{"dangling reference", schemaOf(op("local", `{"$ref":"#/$defs/Lost"}`, ""), ""), markers, "abi/schema.json: kv.get request: #/$defs/Lost is not there"},
		{
			"required and no property", schemaOf(op("local", `{"type":"object","properties":{},"required":["id"]}`, ""), ""), markers,
			"abi/schema.json: kv.get request: id is required and no property",
		},
		{"no answer", schemaOf(`{"name":"kv.get","kind":"local","request":`+emptyObject+`}`, ""), markers, "abi/schema.json: kv.get: request or answer is missing"},
		{
			"an op without a method", schemaOf(`{"name":"task.new","kind":"local","doc":"","request":`+emptyObject+`,"answer":`+emptyObject+`}`, ""), markers,
			"docs/sdk/python.md: task.new: the page does not say what does it",
		},
		{"no marker", schemaOf("", ""), strings.ReplaceAll(markers, "<!-- /generated:ops -->", ""), `sdk/ABI.md: the markers "<!-- generated:ops -->" and "<!-- /generated:ops -->" are not there in this order`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := generate.Files(checkout(t, tt.schema, tt.page))
			if err == nil || err.Error() != tt.want {
				t.Errorf("error\n got %v\nwant %s", err, tt.want)
			}
		})
	}
}
