package doctest_test

import (
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wasakari/wasakari/internal/doctest"
)

const document = "# A document\n" + `
Text with ` + "`$ no command`" + `.

` + "```yaml file=sub/a.yaml\nkey: value\n```\n" + `
` + "```console\n$ cat sub/a.yaml\nkey: value\n$ cd sub && x=7\n$ echo one; \\\n> echo \"$x\" >&2; pwd\none\n7\n…/sub\n```\n" + `
` + "```console\n$ false   # exit 1\n$ seq 5\n1\n…\n5\n```\n" + `
<!-- doctest: needs no-such-tool -->
` + "```console\n$ no-such-tool\n```\n" + `
<!-- doctest: skip it needs a cloud -->
` + "```console\n$ exit 1\n```\n```sh\nnot run\n```\n"

func TestParse(t *testing.T) {
	steps, err := doctest.Parse(document)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, s := range steps {
		got = append(got, s.Command+s.File)
	}
	want := []string{"sub/a.yaml", "cat sub/a.yaml", "cd sub && x=7", "echo one; \\\necho \"$x\" >&2; pwd", "false", "seq 5", "no-such-tool", "exit 1"}
	if !slices.Equal(got, want) {
		t.Errorf("steps %q, want %q", got, want)
	}
	if s := steps[1]; s.Line != 10 || !slices.Equal(s.Want, []string{"key: value"}) || steps[4].Exit != 1 || steps[7].Skip != "it needs a cloud" {
		t.Errorf("steps %+v", steps)
	}
	for _, bad := range []string{"```console\nno command\n```\n", "```\nno end\n", "```yaml file=../x\n```\n", "```yaml file=/x\n```\n", "<!-- doctest: nonsense -->\n"} {
		if steps, err := doctest.Parse(bad); err == nil {
			t.Errorf("%q: %+v, want an error", bad, steps)
		}
	}
}

func options(t *testing.T) doctest.Options {
	t.Helper()
	return doctest.Options{Dir: t.TempDir(), Env: []string{"PATH=" + os.Getenv("PATH")}, Timeout: time.Minute}
}

func TestRun(t *testing.T) {
	steps, err := doctest.Parse(document)
	if err != nil {
		t.Fatal(err)
	}
	o := options(t)
	var left []string
	o.Log = func(_ string, args ...any) { left = append(left, args[1].(string)) }
	for _, err := range doctest.Run(t.Context(), steps, o) {
		t.Error(err)
	}
	if want := []string{"no-such-tool is not there", "it needs a cloud"}; !slices.Equal(left, want) {
		t.Errorf("left out %q, want %q", left, want)
	}
	o = options(t)
	o.All = true
	if errs := doctest.Run(t.Context(), steps, o); len(errs) != 1 || errs[0].Error() != "line 30: no-such-tool is not there" {
		t.Errorf("with all: %v", errs)
	}
}

func TestRunDifferences(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{"output", "$ echo a\nb", "line 2: echo a: it printed\na\nwant\nb"},
		{"output more", "$ echo a; echo b\na", "line 2: echo a; echo b: it printed\na\nb\nwant\na"},
		{"nothing shown", "$ echo a", "line 2: echo a: it printed\na\nwant\n"},
		{"exit code", "$ echo a; false\na", "line 2: echo a; false: exit code 1, want 0; it printed\na"},
		{"good where it should fail", "$ true # exit 2", "line 2: true: exit code 0, want 2; it printed\n"},
		{"end of the shell", "$ exit 3", "line 2: exit 3: the shell ended; it printed\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			steps, err := doctest.Parse("```console\n" + tt.text + "\n```\n")
			if err != nil {
				t.Fatal(err)
			}
			errs := doctest.Run(t.Context(), steps, options(t))
			if len(errs) != 1 || errs[0].Error() != tt.want {
				t.Errorf("errors %q, want %q", errs, tt.want)
			}
		})
	}
}

// A command that hangs, and one left in the background, are ended.
func TestRunHangs(t *testing.T) {
	steps, err := doctest.Parse("```console\n$ sleep 1000 &\n$ echo first; sleep 1000\n```\n")
	if err != nil {
		t.Fatal(err)
	}
	o := options(t)
	o.Timeout = 300 * time.Millisecond
	errs := doctest.Run(t.Context(), steps, o)
	if len(errs) != 1 || !strings.HasPrefix(errs[0].Error(), "line 3: echo first; sleep 1000: it did not end in time; it printed\nfirst\n") {
		t.Errorf("errors %q", errs)
	}
}

func TestMatch(t *testing.T) {
	tests := []struct {
		want, got string
		fits      bool
	}{
		{"a|b", "a|b", true},
		{"a|b", "a|c", false},
		{"a", "a|b", false},
		{"a|…", "a", true},
		{"a|…", "a|b|c", true},
		{"…|c", "a|b|c", true},
		{"…|b", "a|b|c", false},
		{"a|…|c|…|e", "a|b|c|c|d|e", true},
		{"x … y", "x 1 2 y", true},
		{"x … y", "x y", false},
		{"…ms", "12 ms", true},
		{"a…a", "a", false},
		{"a … b … c", "a 1 b 2 c", true},
		{"a  ", "a", true},
		{"a||", "a", true},
		{"", "", true},
	}
	for _, tt := range tests {
		if got := doctest.Match(strings.Split(tt.want, "|"), strings.Split(tt.got, "|")); got != tt.fits {
			t.Errorf("%q with %q: %t, want %t", tt.got, tt.want, got, tt.fits)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(document)
	f.Add("~~~console\n$ x\n~~~")
	f.Add("  ```console\n  $ x   # exit 999\n  ```")
	f.Fuzz(func(t *testing.T, text string) {
		steps, err := doctest.Parse(text)
		if err != nil {
			return
		}
		for _, s := range steps {
			if s.Line < 1 || s.Line > strings.Count(text, "\n")+1 || s.File != "" && (s.Command != "" || strings.HasPrefix(s.File, "/") || s.File == "..") {
				t.Errorf("step %+v", s)
			}
		}
	})
}
