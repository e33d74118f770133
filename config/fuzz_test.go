package config_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/wasakari/wasakari/config"
	"github.com/wasakari/wasakari/recovery"
)

// lineLengths gives the length of each line of a file.
func lineLengths(data []byte) []int {
	s := strings.TrimPrefix(string(data), "\ufeff")
	s = strings.ReplaceAll(strings.ReplaceAll(s, "\r\n", "\n"), "\r", "\n")
	var out []int
	for l := range strings.SplitSeq(s, "\n") {
		out = append(out, len(l))
	}
	return out
}

// FuzzFile: no panic, and every place spoken of is in the file.
func FuzzFile(f *testing.F) {
	files, err := filepath.Glob("testdata/conf/*.conf")
	if err != nil || len(files) == 0 {
		f.Fatal(files, err)
	}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte("\ufeff[a]\r\nb = \"\r  c\xff\n\n d"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 1<<16 {
			return
		}
		lengths := lineLengths(data)
		_, places := config.ParseFile(data)
		for _, p := range places {
			// A byte that is not UTF-8 may count as a replacement of the same
			// length, so no place lies behind the end of its line.
			if p.Line < 1 || p.Line > len(lengths) || p.Col < 1 || p.Col > lengths[p.Line-1]+1 {
				t.Fatalf("place %s is not in the file", p)
			}
		}
	})
}

// FuzzFlow: no panic, mistakes lie in the value, and what is accepted is
// printed so that it reads the same.
func FuzzFlow(f *testing.F) {
	for _, s := range []string{
		"pre:['a'],main:[b],post:[\"c\"]", "{'pre': ['a'], \"main\": [], post: [],}", "pre:['a' 'b'],", "pre:['a,main:[b],post:[c]", "{\n'pre':[\n",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if len(s) > 1<<16 {
			return
		}
		flow, errs := config.ParseFlow(s)
		for _, e := range errs {
			if e.Pos.Col < 1 || e.Pos.Col > len(s)+1 {
				t.Fatalf("%q: place %s is not in the value", s, e.Pos)
			}
		}
		if errs != nil {
			return
		}
		for _, ph := range recovery.Phases() {
			for _, ref := range flow.Tasks(ph) {
				if ref.Key == "" || strings.TrimSpace(ref.Key) != ref.Key || !strings.HasPrefix(strings.TrimLeft(s[ref.Pos.Col-1:], `'"`), ref.Key) {
					t.Fatalf("%q: %q is not at %s", s, ref.Key, ref.Pos)
				}
			}
		}
		printed := config.FormatFlow(flow)
		again, errs := config.ParseFlow(printed)
		if errs != nil {
			t.Fatalf("%q is printed as %q: %v", s, printed, errs[0])
		}
		for _, ph := range recovery.Phases() {
			if !slices.Equal(keys(flow.Tasks(ph)), keys(again.Tasks(ph))) {
				t.Fatalf("%q is printed as %q", s, printed)
			}
		}
	})
}

// FuzzInterpolation: no panic; a value without dollar signs is as it was, and
// one whose dollar signs are all doubled reads back.
func FuzzInterpolation(f *testing.F) {
	for _, s := range []string{"$a", "${b}", "$grp.a $$ \\$ $", "${", "$s", "x\\$$y", "$1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if len(s) > 1<<12 {
			return
		}
		load := func(v string) (string, error) {
			c, err := config.Load(config.Sources{Flags: []config.Flag{
				{Group: "grp", Name: "a", Value: "1"}, {Group: "grp", Name: "b", Value: "<$a>"}, {Group: "grp", Name: "s", Value: v},
			}})
			if err != nil {
				return "", err
			}
			out, err := c.TaskOptions([]recovery.OptionSpec{{Group: "grp", Name: "s", Type: recovery.StringOption}})
			if err != nil {
				return "", err
			}
			return out["grp"]["s"].(string), nil
		}
		got, err := load(s)
		if err == nil && !strings.Contains(s, "$") && got != s {
			t.Fatalf("%q = %q", s, got)
		}
		if strings.Contains(s, `\`) {
			return // a backslash before a dollar sign is a way to write it, too
		}
		if got, err = load(strings.ReplaceAll(s, "$", "$$")); err == nil && got != s {
			t.Fatalf("%q with doubled dollar signs = %q", s, got)
		}
	})
}
