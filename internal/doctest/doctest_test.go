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
<!-- doctest: needs bash / no-such-tool -->
` + "```console\n$ no-such-tool\n```\n" + `
<!-- doctest: skip it needs a cloud -->
` + "```console\n$ exit 1\n```\n" + `
<!-- doctest: skip a picture of the past -->
` + "```sh\nnot run\n```\n```text\nno more than a text\n```\n" + `
- a list
    with a line of four spaces
`

func TestParse(t *testing.T) {
	steps, err := doctest.Parse(document)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, s := range steps {
		got = append(got, s.Command+s.File)
	}
	want := []string{"sub/a.yaml", "cat sub/a.yaml", "cd sub && x=7", "echo one; \\\necho \"$x\" >&2; pwd", "false", "seq 5", "no-such-tool", "exit 1", ""}
	if !slices.Equal(got, want) {
		t.Errorf("steps %q, want %q", got, want)
	}
	if s := steps[1]; s.Line != 10 || !slices.Equal(s.Want, []string{"key: value"}) || steps[4].Exit != 1 || steps[7].Skip != "it needs a cloud" {
		t.Errorf("steps %+v", steps)
	}
}

func TestParseRefuses(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{"block of console without a command", "```console\nno command\n```\n", `line 2: a block of console begins with "$ "`},
		{"no end", "```\nno end\n", "line 1: the block has no end"},
		{"file above", "```yaml file=../x\n```\n", "line 1: file ../x is not below the folder"},
		{"remark of no kind", "<!-- doctest: nonsense -->\n```text\n```\n", "line 1: doctest: nonsense: want skip REASON, needs TOOL or any output"},
		{"skip without a reason", "<!-- doctest: skip -->\n```text\n```\n", "line 1: doctest: skip: want skip REASON, needs TOOL or any output"},
		{"remark of nothing", "\n<!-- doctest: skip it is gone -->\n", "line 2: there is no block after it"},
		{"hidden without end", "<!-- doctest: run\n$ true\n", "line 1: the comment has no end"},
		{"hidden without a command", "<!-- doctest: run\ntrue\n-->\n", `line 2: a block of console begins with "$ "`},
		{"shell", "```sh\nrm -r x\n```\n", `line 1: a block of "sh" is neither run (console), nor written (file=PATH), nor left out for a reason (skip REASON)`},
		{"no language", "```\nx\n```\n", `line 1: a block of "" is neither run (console), nor written (file=PATH), nor left out for a reason (skip REASON)`},
		{"four spaces", "Do:\n\n    rm -r x\n", "line 3: a block of four spaces: want a fence"},
		{"tilde", "~~~\nx\n~~~\n", "line 1: no fence of a block: want ``` after at most three spaces\nline 3: no fence of a block: want ``` after at most three spaces"},
		{"each of them", "```ini\n```\n```c\n```\n", "line 1: a block of \"ini\" is neither run (console), nor written (file=PATH), nor left out for a reason (skip REASON)\n" +
			"line 3: a block of \"c\" is neither run (console), nor written (file=PATH), nor left out for a reason (skip REASON)"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if steps, err := doctest.Parse(tt.text); err == nil || err.Error() != tt.want {
				t.Errorf("%+v, error %q, want %q", steps, err, tt.want)
			}
		})
	}
}

func TestParseSkipAll(t *testing.T) {
	steps, err := doctest.Parse("```text\n```\n<!-- doctest: skip all they are made of sources -->\n```c\nint f(void);\n```\n```console\n$ true\n```\n```go\n```\n")
	if err != nil || len(steps) != 3 || steps[0].Skip != "they are made of sources" || steps[1].Skip != "" || steps[2].Skip == "" {
		t.Errorf("%+v, error %v", steps, err)
	}
	if _, err := doctest.Parse("```c\n```\n<!-- doctest: skip all they are made of sources -->\n"); err == nil {
		t.Error("a block before the remark is not refused")
	}
}

// What has to be there is made where readers do not see it.
func TestRunHidden(t *testing.T) {
	steps, err := doctest.Parse("<!-- doctest: run\n$ echo there > file\n-->\n```console\n$ cat file\nthere\n```\n<!-- doctest: run\n$ cat file\nanother\n-->\n")
	if err != nil {
		t.Fatal(err)
	}
	errs := doctest.Run(t.Context(), steps, options(t))
	if len(errs) != 1 || errs[0].Error() != "line 9: cat file: it printed\nthere\nwant\nanother" {
		t.Errorf("errors %q", errs)
	}
}

func TestRunAnyOutput(t *testing.T) {
	steps, err := doctest.Parse("<!-- doctest: any output -->\n```console\n$ echo a\n$ echo b\nc\n```\n```console\n$ echo d\n```\n")
	if err != nil {
		t.Fatal(err)
	}
	errs := doctest.Run(t.Context(), steps, options(t))
	if len(errs) != 2 || errs[0].Error() != "line 4: echo b: it printed\nb\nwant\nc" || errs[1].Error() != "line 8: echo d: it printed\nd\nwant\n" {
		t.Errorf("errors %q", errs)
	}
}

func TestRunElsewhere(t *testing.T) {
	steps, err := doctest.Parse("```ini file=/etc/x.conf\nlisten = 127.0.0.1:80\n```\n```console\n$ cat /etc/x.conf; echo 127.0.0.1:8080\nlisten = 127.0.0.1:80\n127.0.0.1:8080\n" +
		"$ grep -c '1:7000$' /etc/x.conf\n1\n$ ls /etc/y # exit 2\nls: cannot access '/etc/y': …\n```\n```ini file=/usr/x.conf\n```\n")
	if err != nil {
		t.Fatal(err)
	}
	o := options(t)
	o.Elsewhere = map[string]string{"/etc/": t.TempDir() + "/", "127.0.0.1:80": "127.0.0.1:7000", "127.0.0.1:8080": "127.0.0.1:7001"}
	errs := doctest.Run(t.Context(), steps, o)
	if len(errs) != 1 || errs[0].Error() != "line 14: file /usr/x.conf is not below the folder" {
		t.Errorf("errors %q", errs)
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
	if want := []string{"no-such-tool is not there", "it needs a cloud", "a picture of the past"}; !slices.Equal(left, want) {
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
	f.Add("<!-- doctest: run\n$ x\n-->")
	f.Add("  ```console\n  $ x   # exit 999\n  ```")
	f.Fuzz(func(t *testing.T, text string) {
		steps, err := doctest.Parse(text)
		if err != nil {
			return
		}
		for _, s := range steps {
			if s.Line < 1 || s.Line > strings.Count(text, "\n")+1 || s.File != "" && (s.Command != "" || strings.HasPrefix(s.File, "..")) {
				t.Errorf("step %+v", s)
			}
		}
	})
}
