package recovery_test

import (
	"strings"
	"testing"

	"github.com/wasakari/wasakari/recovery"
)

func TestCut(t *testing.T) {
	tests := []struct {
		name, text  string
		n           int
		cut, marked string
	}{
		{"shorter", "abc", 4, "abc", "abc"},
		{"as long", "abc", 3, "abc", "abc"},
		{"longer", "abcd", 3, "abc", "abc…"},
		{"in a character", "ab€d", 4, "ab", "ab…"},
		{"behind a character", "ab€d", 5, "ab€", "ab€…"},
		{"in the first character", "€", 2, "", "…"},
		{"nothing", "abc", 0, "", "…"},
		{"less than nothing", "abc", -1, "", "…"},
		{"no UTF-8", "\xbf\xbf\xbf", 2, "", "…"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := recovery.Cut(tt.text, tt.n); got != tt.cut {
				t.Errorf("Cut = %q, want %q", got, tt.cut)
			}
			if got := recovery.Shorten(tt.text, tt.n); got != tt.marked {
				t.Errorf("Shorten = %q, want %q", got, tt.marked)
			}
		})
	}
}

func TestOneLine(t *testing.T) {
	for text, want := range map[string]string{
		"":                         "",
		" a \t b\r\n\u2028c\u00a0": "a b c",
		"up\x1b[2Jon":              "up[2Jon",
		"a\u202eb\u200bc":          "abc",
		"not \xff\xfe UTF-8":       "not ? UTF-8",
		"größer € 世界":              "größer € 世界",
		strings.Repeat(" ", 1000):  "",
	} {
		if got := recovery.OneLine(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func TestTableCell(t *testing.T) {
	if got, want := recovery.TableCell("a|b\n<c> *d*"), `a\|b &lt;c> \*d\*`; got != want {
		t.Errorf("cell = %q, want %q", got, want)
	}
}
