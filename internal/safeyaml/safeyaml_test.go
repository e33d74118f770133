package safeyaml_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"github.com/wasakari/wasakari/internal/safeyaml"
)

func TestCheck(t *testing.T) {
	tests := []struct{ name, text, want, hint string }{
		{name: "empty"},
		{name: "plain", text: "a: 1\nb:\n  - {c: [1, 2]}\n"},
		{name: "stars and ampersands in strings", text: `a: "*x &y !z"` + "\n"},
		{name: "anchor", text: "a: &x 1\n", want: "1:4: anchors and aliases are not allowed", hint: "write it out"},
		{name: "alias", text: "b: 1\na: *x\n", want: "2:4: anchors and aliases are not allowed", hint: "write it out"},
		{name: "merge key", text: "<<: {a: 1}\n", want: "1:1: anchors and aliases are not allowed", hint: "write it out"},
		{name: "tag", text: "a: !!binary eA==\n", want: "1:4: tags are not allowed", hint: "leave it out"},
		{name: "brackets", text: strings.Repeat("[", 33), want: "1:33: nested too deep"},
		{name: "braces", text: strings.Repeat("{a: ", 33), want: "1:129: nested too deep"},
		{name: "dashes", text: strings.Repeat("- ", 33) + "x", want: "1:65: nested too deep"},
		{name: "documents without end", text: strings.Repeat("a: 1\n---\n", 9), want: "18:1: more than 8 documents", hint: "write one"},
		{name: "values without end", text: strings.Repeat("- 1\n", 1<<17) + "- 1", want: "131073:1: more than 262144 names, values and signs", hint: "split it"},
		{name: "as deep as may be", text: strings.Repeat("[", 32) + strings.Repeat("]", 32)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := safeyaml.Check([]byte(tt.text))
			if tt.want == "" {
				if err != nil {
					t.Errorf("error = %v, want none", err)
				}
				return
			}
			p, ok := errors.AsType[*safeyaml.Problem](err)
			if !ok || p.Error() != tt.want || p.Hint != tt.hint {
				t.Errorf("problem = %v, want %s (%s)", err, tt.want, tt.hint)
			}
		})
	}
}

// FuzzCheck: what is let through is read without harm, and stays small.
func FuzzCheck(f *testing.F) {
	for _, s := range []string{"a: 1", "a: &x [1]\nb: *x", "? - - a\n: b", "a: !!str 1", "- - - -", "<<: x", "a:\n  b:\n    c: |\n      x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if len(s) > 1<<12 || safeyaml.Check([]byte(s)) != nil {
			return
		}
		var v any
		if yaml.Unmarshal([]byte(s), &v) == nil && len(fmt.Sprint(v)) > 100*len(s)+1000 {
			t.Fatalf("%q grows to %d bytes", s, len(fmt.Sprint(v)))
		}
	})
}

func TestDecode(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{name: "good", text: "hosts: [{name: a}]\n"},
		{name: "nothing in it"},
		{name: "comment alone", text: "# x\n"},
		{name: "anchor", text: "hosts: &x []\n", want: "f.yaml:1:8: anchors and aliases are not allowed; write it out"},
		{name: "not YAML", text: "hosts: [\n", want: "f.yaml:1:8: "},
		{name: "unknown field", text: "hosts: []\nhost: []\n", want: `f.yaml:2:1: unknown field "host"`},
		{name: "doubled field", text: "hosts: []\nhosts: []\n", want: `f.yaml:2:1: `},
		{name: "wrong type", text: "hosts: 3\n", want: "f.yaml:1:8: "},
		{name: "two documents", text: "hosts: []\n---\nhosts: []\n", want: "f.yaml:1:1: 2 documents, want one"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var v struct {
				Hosts []struct{ Name string }
			}
			_, err := safeyaml.Decode("f.yaml", []byte(tt.text), &v)
			if tt.want == "" {
				if err != nil {
					t.Errorf("error = %v, want none", err)
				}
				return
			}
			if err == nil || !strings.HasPrefix(err.Error(), tt.want) {
				t.Errorf("error = %v, want %s", err, tt.want)
			}
		})
	}
}

func TestJSON(t *testing.T) {
	tests := []struct{ name, text, want, problem string }{
		{name: "good", text: "a: {b: [1, x]}\n", want: `{"a": {"b": [1, "x"]}}` + "\n"},
		{name: "tag", text: "a: !!str 1\n", problem: "f.yaml:1:4: tags are not allowed; leave it out"},
		{name: "not YAML", text: "a: 1\nb: [\n", problem: "f.yaml:2:4: "},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := safeyaml.JSON("f.yaml", []byte(tt.text))
			if tt.problem != "" && (err == nil || !strings.HasPrefix(err.Error(), tt.problem)) {
				t.Errorf("error = %v, want %s", err, tt.problem)
			}
			if tt.problem == "" && (err != nil || string(got) != tt.want) {
				t.Errorf("JSON = %q, %v; want %q", got, err, tt.want)
			}
		})
	}
}

func TestPosition(t *testing.T) {
	var v map[string]any
	file, err := safeyaml.Decode("f.yaml", []byte("hosts:\n  - name: a\n  - {name: b, up: no}\n"), &v)
	if err != nil {
		t.Fatal(err)
	}
	for where, want := range map[string]string{
		"hosts[0].name": "2:11", "hosts[1]": "3:6", "hosts[1].zone": "3:6", "hosts[7].name": "2:3", "servers": "1:1", "": "1:1",
	} {
		if got := safeyaml.Position(file, where); got != want {
			t.Errorf("position of %s = %s, want %s", where, got, want)
		}
	}
	if got := safeyaml.Position(nil, "hosts"); got != "1:1" {
		t.Errorf("position in no file = %s", got)
	}
}
