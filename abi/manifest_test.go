package abi_test

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/wasakari/wasakari/abi"
)

// full is a manifest that uses everything.
const full = `{
  "abi": 1, "library": "acme-recovery", "version": "1.4.0-rc.1+b7", "summary": "Acme's fencing and ticketing",
  "tasks": [{
    "key": "custom_pre_task", "class": "CustomPreTask", "summary": "Opens a ticket",
    "requires": ["host_name"], "optional": ["reserved_host"], "provides": ["ticket_id"],
    "uses": ["nova.server_list", "kv.*", "task.sleep"],
    "options": [
      {"group": "acme", "name": "queue", "type": "string", "default": "ops", "choices": ["ops", "dev"], "help": "Queue for new tickets"},
      {"group": "acme", "name": "token", "type": "string", "required": true, "secret": true},
      {"group": "acme", "name": "retries", "type": "int", "default": 3, "min": 0, "max": 5},
      {"group": "acme", "name": "pause", "type": "seconds", "default": 1e1},
      {"group": "acme", "name": "at_once", "type": "int_or_auto", "default": "auto", "min": 1},
      {"group": "acme", "name": "ratio", "type": "float", "default": 2},
      {"group": "acme", "name": "dry", "type": "bool", "default": false},
      {"group": "acme", "name": "hosts", "type": "list", "default": ["a", "b"]},
      {"group": "acme", "name": "url", "type": "uri", "default": null}
    ],
    "on_interrupt": "fail",
    "limits": {"memory_mib": 32, "timeout": "5m", "cpu": 5e9}
  }, {"key": "second"}]
}`

func TestParseManifest(t *testing.T) {
	m, err := abi.ParseManifest([]byte(full))
	if err != nil {
		t.Fatal(err)
	}
	var defaults []any
	for _, o := range m.Tasks[0].Options {
		defaults = append(defaults, o.Default)
	}
	if want := []any{"ops", nil, int64(3), int64(10), "auto", 2.0, false, []string{"a", "b"}, nil}; !reflect.DeepEqual(defaults, want) {
		t.Errorf("defaults = %#v, want %#v", defaults, want)
	}
	if got, want := m.Tasks[0].Limits, (abi.ManifestLimits{MemoryMiB: 32, Timeout: "5m", CPU: 5e9}); got != want {
		t.Errorf("limits = %+v, want %+v", got, want)
	}
	if got, want := m.Tasks[0].Limits.Duration(), 5*time.Minute; got != want {
		t.Errorf("timeout = %v, want %v", got, want)
	}
	again, err := abi.ParseManifest(m.Encode())
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(again, m) {
		t.Errorf("encoded and read again: %+v, want %+v", again, m)
	}
}

func TestManifestUses(t *testing.T) {
	m, err := abi.ParseManifest([]byte(full))
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		key, op string
		want    bool
	}{
		{"custom_pre_task", abi.OpNovaServerList, true},
		{"custom_pre_task", abi.OpNovaServerGet, false},
		{"custom_pre_task", abi.OpKVPut, true},
		{"custom_pre_task", abi.OpTaskInput, true},
		{"second", abi.OpTaskCancel, true},
		{"second", abi.OpKVPut, false},
		{"third", abi.OpTaskInput, false},
	}
	for _, tt := range tests {
		if got := m.Uses(tt.key, tt.op); got != tt.want {
			t.Errorf("Uses(%s, %s) = %v, want %v", tt.key, tt.op, got, tt.want)
		}
	}
}

func TestParseManifestMistakes(t *testing.T) {
	// wrap puts the fields of a task, or of an option, into a manifest.
	task := func(fields string) string {
		return `{"abi":1,"library":"a","version":"1.0.0","tasks":[{"key":"k",` + fields + `}]}`
	}
	option := func(fields string) string { return task(`"options":[{"group":"g","name":"n",` + fields + `}]`) }
	tests := []struct {
		name, doc string
		want      []string // exact lines
	}{
		{"empty", ``, []string{"manifest: the document is not JSON: unexpected end of JSON input, at byte 0"}},
		{"array", `[]`, []string{"manifest: want an object, not an array"}},
		{"nothing in it", `{}`, []string{
			"manifest: abi: the key is missing", "manifest: library: the key is missing",
			"manifest: version: the key is missing", "manifest: tasks: the key is missing",
		}},
		{"of form and of meaning at once", `{"abi":2,"library":"Acme","version":"1.4","Summary":"x","tasks":[]}`, []string{
			"manifest: Summary: unknown key; did you mean summary?",
			"manifest: abi: this host does not speak ABI 2; write 1",
			`manifest: library: "Acme" is not allowed; write 1 to 128 lower-case letters, digits, . _ or -`,
			`manifest: version: "1.4" is not allowed; write a semantic version such as 1.4.0`,
			"manifest: tasks: there is no task; list at least one",
		}},
		{"a wrong type is told once", `{"abi":"1","library":"a","version":"1.0.0","tasks":[{"key":7},{"key":"a"}]}`, []string{
			"manifest: abi: want an integer, not a string", "manifest: tasks[0].key: want a string, not a number",
		}},
		{"key twice in the document", `{"abi":1,"abi":1,"library":"a","version":"1.0.0","tasks":[{"key":"k"}]}`, []string{"manifest: abi: the key is given twice"}},
		{"same task twice", `{"abi":1,"library":"a","version":"1.0.0","tasks":[{"key":"k"},{"key":"k"}]}`, []string{
			`manifest: tasks[1].key: "k" is the key of tasks[0] too; give each task a key of its own`,
		}},
		{"key with a space", `{"abi":1,"library":"a","version":"1.0.0","tasks":[{"key":"my task"}]}`, []string{
			`manifest: tasks[0].key: "my task" is not allowed; write a letter or _, then at most 254 letters, digits, _ . or -`,
		}},
		{"version with leading zero", `{"abi":1,"library":"a","version":"1.04.0","tasks":[{"key":"k"}]}`, []string{
			`manifest: version: "1.04.0" is not allowed; write a semantic version such as 1.4.0`,
		}},
		{"escape in the summary", `{"abi":1,"library":"a","version":"1.0.0","summary":"\u001b[2J","tasks":[{"key":"k"}]}`, []string{
			"manifest: summary: the text holds control characters; write one line",
		}},
		{"http without its op", task(`"http":["GET https://a.example/x","get https://a.example/x","GET https://A.example:443/x","GET https://a.example/../x"]`), []string{
			`manifest: tasks[0].uses: the task lists requests under http and does not use http.request; add http.request`,
			`manifest: tasks[0].http[1]: "get https://a.example/x": method "get": want GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS, or * for any; write a method and a URL, such as POST https://tickets.example.com/v1/*`,
			`manifest: tasks[0].http[2]: GET https://a.example/x is http[0] already; leave one of them out`,
			`manifest: tasks[0].http[3]: "GET https://a.example/../x": url: path: dot segments are not allowed; write a method and a URL, such as POST https://tickets.example.com/v1/*`,
		}},
		{"op without requests", task(`"uses":["http.*"]`), []string{
			`manifest: tasks[0].http: the task uses http.request and lists no request; list the requests, such as POST https://tickets.example.com/v1/*`,
		}},
		{"too many requests", task(`"uses":["http.request"],"http":["GET https://a.example/x"` + strings.Repeat(`,"GET https://a.example/x"`, 64) + `]`), []string{
			`manifest: tasks[0].http: there are 65 rules; list at most 64`,
		}},
		{"unknown op", task(`"uses":["nova.server_lst","mail.send","kv","log","kv.get","kv.get"]`), []string{
			`manifest: tasks[0].uses[0]: there is no op "nova.server_lst"; did you mean nova.server_list?`,
			`manifest: tasks[0].uses[1]: there is no op "mail.send"; write an op such as nova.server_list, or a group such as kv.*`,
			`manifest: tasks[0].uses[2]: there is no op "kv"; write an op such as nova.server_list, or a group such as kv.*`,
			`manifest: tasks[0].uses[3]: there is no op "log"; leave it out: log and progress need no mention`,
			`manifest: tasks[0].uses[5]: "kv.get" is listed twice; leave one of them out`,
		}},
		{"required and provided", task(`"requires":["a","b"],"optional":["b"],"provides":["a","scratch/x"]`), []string{
			`manifest: tasks[0].optional[0]: "b" stands in tasks[0].requires[1] already; keep one of the two; a value that was read is provided under another name`,
			`manifest: tasks[0].provides[0]: "a" stands in tasks[0].requires[0] already; keep one of the two; a value that was read is provided under another name`,
			`manifest: tasks[0].provides[1]: "scratch/x" is not allowed; write a letter or _, then at most 254 letters, digits, _ . or -`,
		}},
		{"on_interrupt", task(`"on_interrupt":"retry"`), []string{"manifest: tasks[0].on_interrupt: want one of rerun, fail"}},
		{"limits", task(`"limits":{"memory_mib":0,"timeout":"5","cpu":-1}`), []string{
			"manifest: tasks[0].limits.memory_mib: want at least 1", "manifest: tasks[0].limits.cpu: want at least 1",
			`manifest: tasks[0].limits.timeout: "5" is not allowed; write a time above 0 with its unit, such as 30s, 5m or 1h30m`,
		}},
		{"empty limits", task(`"limits":{"timeout":""}`), []string{"manifest: tasks[0].limits.timeout: the string is empty; leave the key out or fill it"}},
		{"limits out of bounds", task(`"limits":{"memory_mib":4097,"timeout":"-1s","cpu":1.5}`), []string{
			"manifest: tasks[0].limits.memory_mib: 4097 is out of bounds; write 1 to 4096",
			`manifest: tasks[0].limits.timeout: "-1s" is not allowed; write a time above 0 with its unit, such as 30s, 5m or 1h30m`,
			"manifest: tasks[0].limits.cpu: 1.5 is not allowed; write a whole number of units from 1 to 9e15, such as 5e9",
		}},
		{"option without type", task(`"options":[{"group":"g","name":"n"}]`), []string{"manifest: tasks[0].options[0].type: the key is missing"}},
		{"option of unknown type", option(`"type":"integer"`), []string{
			"manifest: tasks[0].options[0].type: want one of string, bool, int, float, list, host, uri, seconds, int_or_auto",
		}},
		{"secret with default", option(`"type":"string","secret":true,"default":"hunter2"`), []string{
			"manifest: tasks[0].options[0].default: a secret option has no default; leave it out; the operator sets it",
		}},
		{"secret number", option(`"type":"int","secret":true`), []string{"manifest: tasks[0].options[0].type: a secret option is a string; write string"}},
		{"required with default", option(`"type":"bool","required":true,"default":true`), []string{
			"manifest: tasks[0].options[0].default: a required option has no default; leave out default or required",
		}},
		{"default of another type", option(`"type":"int","default":"3"`), []string{"manifest: tasks[0].options[0].default: the default is no int; write a literal of type int"}},
		{"default with a fraction", option(`"type":"seconds","default":0.5`), []string{"manifest: tasks[0].options[0].default: the default is no seconds; write a literal of type seconds"}},
		{"default that lost digits", option(`"type":"int","default":9007199254740994`), []string{"manifest: tasks[0].options[0].default: the default is no int; write a literal of type int"}},
		{"default out of bounds", option(`"type":"int","default":9,"max":5`), []string{"manifest: tasks[0].options[0].default: the default 9 is out of bounds; write a literal of type int"}},
		{"default that is no word", option(`"type":"int_or_auto","default":"many"`), []string{"manifest: tasks[0].options[0].default: the default is no int_or_auto; write a literal of type int_or_auto"}},
		{"default of int_or_auto out of bounds", option(`"type":"int_or_auto","default":0,"min":1`), []string{"manifest: tasks[0].options[0].default: the default 0 is out of bounds; write a literal of type int_or_auto"}},
		{"default none of the choices", option(`"type":"string","default":"c","choices":["a","b"]`), []string{"manifest: tasks[0].options[0].default: the default is none of the choices; write a literal of type string"}},
		{"list of numbers", option(`"type":"list","default":[1]`), []string{"manifest: tasks[0].options[0].default: the default is no list of strings; write a literal of type list"}},
		{"choices of a number", option(`"type":"int","choices":["1"]`), []string{"manifest: tasks[0].options[0].choices: an option of type int has no choices; leave it out, or make the type string"}},
		{"bounds of a string", option(`"type":"string","max":5`), []string{"manifest: tasks[0].options[0].max: an option of type string has no bounds; leave it out, or make the type int or seconds"}},
		{"bounds crossed", option(`"type":"int","min":6,"max":5`), []string{"manifest: tasks[0].options[0].min: min 6 is above max 5; write a min that is not above max"}},
		{"escapes in choices and default", option(`"type":"string","default":"\u009b2J","choices":["\u009b2J"]`), []string{
			"manifest: tasks[0].options[0].choices[0]: the text holds control characters; write one line",
			"manifest: tasks[0].options[0].default: the text holds control characters; write one line",
		}},
		{"option twice", task(`"options":[{"group":"g","name":"n","type":"int"},{"group":"g","name":"n","type":"int"}]`), []string{
			"manifest: tasks[0].options[1].name: option [g] n is listed twice; leave one of them out",
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m, err := abi.ParseManifest([]byte(tt.doc))
			if err == nil {
				t.Fatalf("taken: %+v", m)
			}
			if got := strings.Split(err.Error(), "\n"); !reflect.DeepEqual(got, tt.want) {
				t.Errorf("mistakes\n got %s\nwant %s", strings.Join(got, "\n     "), strings.Join(tt.want, "\n     "))
			}
			if me, ok := errors.AsType[*abi.ManifestError](err); !ok || me.Reason == "" {
				t.Errorf("no ManifestError in %v", err)
			}
		})
	}
}

func TestParseManifestBounds(t *testing.T) {
	frame := func(n int, item string) string {
		return `{"abi":1,"library":"a","version":"1.0.0","tasks":[` + strings.Repeat(item+",", n-1) + item + `]}`
	}
	tests := []struct{ name, doc, want string }{
		{"too large", frame(1, `{"key":"k","summary":"`+strings.Repeat("x", abi.MaxManifest)+`"}`), "manifest: it has 65612 bytes; at most 65536 are taken"},
		{"too many tasks", frame(65, `{"key":"k"}`), "manifest: tasks: there are 65 tasks; list at most 64"},
		{"long summary", frame(1, `{"key":"k","summary":"`+strings.Repeat("x", 1025)+`"}`), "manifest: tasks[0].summary: the text has 1025 bytes; write at most 1024"},
		{"long key", frame(1, `{"key":"`+strings.Repeat("k", 256)+`"}`), `manifest: tasks[0].key: "` + strings.Repeat("k", 64) + `"… is not allowed; write a letter or _, then at most 254 letters, digits, _ . or -`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := abi.ParseManifest([]byte(tt.doc))
			if err == nil || err.Error() != tt.want {
				t.Errorf("error\n got %v\nwant %s", err, tt.want)
			}
		})
	}
	many := frame(1, `{"key":"k","uses":[`+strings.Repeat(`"x.y",`, 999)+`"x.y"]}`)
	_, err := abi.ParseManifest([]byte(many))
	if got, want := strings.Count(err.Error(), "\n")+1, 64; got != want {
		t.Errorf("%d mistakes told, want %d", got, want)
	}
}

func TestValidateOfAManifestMadeInGo(t *testing.T) {
	m := &abi.Manifest{ABI: 1, Library: "a", Version: "1.0.0", Tasks: []abi.ManifestTask{{
		Key: "k", OnInterrupt: "sometimes", Limits: abi.ManifestLimits{MemoryMiB: -1},
		Options: []abi.ManifestOption{
			{Group: "g", Name: "a", Type: "int", Default: uint64(7)},
			{Group: "g", Name: "b", Type: "list", Default: []string{"x"}},
			{Group: "g", Name: "c", Type: "dict"},
		},
	}}}
	want := strings.Join([]string{
		`manifest: tasks[0].options[2].type: "dict" is no type; write string, bool, int, float, list, host, uri, seconds or int_or_auto`,
		`manifest: tasks[0].on_interrupt: "sometimes" is not allowed; write rerun or fail`,
		"manifest: tasks[0].limits.memory_mib: -1 is out of bounds; write 1 to 4096",
	}, "\n")
	if err := m.Validate(); err == nil || err.Error() != want {
		t.Errorf("mistakes\n got %v\nwant %s", err, want)
	}
}

func FuzzParseManifest(f *testing.F) {
	f.Add([]byte(full))
	for _, s := range []string{
		`{}`, `[]`, `{"abi":1,"tasks":[{"key":"k","options":[{"default":[{}]}]}]}`, `{"tasks":[{"limits":{"cpu":1e400}}]}`,
		`{"abi":1,"library":"a","version":"1.0.0","tasks":[{"key":"k","options":[{"group":"g","name":"n","type":"float","default":1e308}]}]}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := abi.ParseManifest(data)
		if err != nil {
			return
		}
		again, err := abi.ParseManifest(m.Encode())
		if err != nil {
			if len(m.Encode()) > abi.MaxManifest {
				return
			}
			t.Fatalf("taken, encoded as %s, refused: %v", m.Encode(), err)
		}
		if got, want := string(again.Encode()), string(m.Encode()); got != want {
			t.Fatalf("encoded twice:\n%s\n%s", want, got)
		}
	})
}
