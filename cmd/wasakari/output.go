package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf16"
)

// printJSON prints a document. Characters that could move a cursor or turn the
// text around are written as escapes: names in it are those of strangers, and
// it is read on terminals too.
func printJSON(out io.Writer, doc any) error {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	if err := enc.Encode(doc); err != nil {
		return err
	}
	_, err := io.WriteString(out, safeJSON(buf.String()))
	return err
}

// safeJSON writes the characters that are no print as escapes. Outside strings
// JSON has none of them but line ends.
func safeJSON(text string) string {
	safe := strings.Builder{}
	for _, r := range text {
		switch {
		case r == '\n' || unicode.IsPrint(r):
			safe.WriteRune(r)
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			fmt.Fprintf(&safe, `\u%04x\u%04x`, high, low)
		default:
			fmt.Fprintf(&safe, `\u%04x`, r)
		}
	}
	return safe.String()
}

// printLines prints text of several lines, each fit for a terminal.
func printLines(out io.Writer, text string) error {
	lines := strings.Split(text, "\n")
	for i, l := range lines {
		lines[i] = oneLine(l)
	}
	_, err := io.WriteString(out, strings.Join(lines, "\n"))
	return err
}

// terminalSafe makes what is written to it fit for a terminal. Each write holds
// whole lines, as those of a logger do.
type terminalSafe struct{ out io.Writer }

func (s terminalSafe) Write(b []byte) (int, error) {
	if err := printLines(s.out, string(b)); err != nil {
		return 0, err
	}
	return len(b), nil
}
