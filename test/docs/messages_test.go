package docs_test

import (
	"go/scanner"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

var formatVerb = regexp.MustCompile(`%[-+# 0-9.\[\]]*[a-zA-Z]`)

// texts gives the strings of the program's sources, by folder, those joined by + as
// one; what is formatted into them is a NUL.
func texts(t *testing.T) map[string][]string {
	t.Helper()
	all := map[string][]string{}
	err := fs.WalkDir(os.DirFS(top), ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && name != "." && (leftAlone(d.Name()) || slices.Contains([]string{"bench", "sdk", "test", "tools"}, name)):
			return fs.SkipDir
		case d.IsDir() || path.Ext(name) != ".go" || strings.HasSuffix(name, "_test.go"):
			return nil
		}
		source, err := os.ReadFile(filepath.Join(top, name))
		if err != nil {
			return err
		}
		all[path.Dir(name)] = append(all[path.Dir(name)], literals(source)...)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// literals gives the strings of a source.
func literals(source []byte) []string {
	var s scanner.Scanner
	files := token.NewFileSet()
	s.Init(files.AddFile("", files.Base(), len(source)), source, nil, 0)
	var all []string
	for joined := false; ; {
		_, kind, literal := s.Scan()
		switch kind {
		case token.EOF:
			return all
		case token.STRING:
			text, err := strconv.Unquote(literal)
			if err != nil {
				text = literal
			}
			text = formatVerb.ReplaceAllString(text, "\x00")
			if joined {
				all[len(all)-1] += text
			} else {
				all = append(all, text)
			}
			joined = false
		case token.ADD:
			joined = len(all) > 0
		default:
			if joined {
				all[len(all)-1] += "\x00" // something that is no literal stands between
			}
		}
	}
}

var (
	tableRow    = regexp.MustCompile(`(?m)^\| ([^|]*) \|`)
	placeholder = regexp.MustCompile(`["']?(?:…|\b[A-Z]+\b|_initialize)["']?`)
	// Of what stands between these a message is put together: a place, a reason, a hint.
	joint     = regexp.MustCompile(`[;:,] `)
	lowercase = regexp.MustCompile(`[a-z]`)
)

// Every message of docs/troubleshooting.md is one that the program, its standard
// tasks or Nova, as simulated, have: of each clause all fixed words stand in
// strings of one folder.
func TestTroubleshootingMessages(t *testing.T) {
	sources := texts(t)
	page := documents(t)["docs/troubleshooting.md"]
	n := 0
	for _, row := range tableRow.FindAllStringSubmatch(page, -1) {
		for _, m := range inlineCode.FindAllStringSubmatch(row[1], -1) {
			message := m[1]
			if message == "FILE:LINE:COL" {
				continue
			}
			n++
			length := 0
			for _, clause := range joint.Split(message, -1) {
				var parts []string
				for _, p := range placeholder.Split(clause, -1) {
					if p = strings.Trim(p, " :"); lowercase.MatchString(p) {
						parts = append(parts, p)
						length += len(p)
					}
				}
				found := false
				for _, list := range sources {
					found = found || holds(list, parts)
				}
				if !found {
					t.Errorf("`%s`: no source has these words: %q", message, parts)
				}
			}
			if length < 8 {
				t.Errorf("`%s`: there is too little to look for", message)
			}
		}
	}
	if n < 30 {
		t.Errorf("only %d messages found", n)
	}
}

// holds tells whether each part stands in one of the strings.
func holds(list, parts []string) bool {
	for _, p := range parts {
		if !slices.ContainsFunc(list, func(s string) bool { return strings.Contains(s, p) }) {
			return false
		}
	}
	return true
}
