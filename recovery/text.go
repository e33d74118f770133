package recovery

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Cut gives the first n bytes of a text, or fewer: it splits no character.
func Cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n = max(n, 0); n > 0 && !utf8.RuneStart(s[n]); n-- {
	}
	return s[:n]
}

// Shorten is Cut, and puts … behind what was cut.
func Shorten(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return Cut(s, n) + "…"
}

// OneLine makes text of strangers fit for a line of a log or a file: what is not
// UTF-8 becomes a question mark, white space one space, and what cannot be
// printed goes.
func OneLine(s string) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case !unicode.IsPrint(r):
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
	return strings.Join(strings.Fields(s), " ")
}

// TableCell makes a text fit for a table in Markdown, as OneLine does for a line.
func TableCell(s string) string {
	return strings.NewReplacer("|", `\|`, "<", "&lt;", "*", `\*`).Replace(OneLine(s))
}
