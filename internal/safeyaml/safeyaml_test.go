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
