package generate_test

import (
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/wasakari/wasakari/internal/abigen/generate"
)

const top = "../../.."

// sdks are the sources of the SDKs in which the names of a page must stand.
var sdks = map[string]string{
	"python": "sdk/python/lib/wasakari/*.py", "go": "sdk/go/*.go", "rust": "sdk/rust/src/*.rs",
	"c": "sdk/c/wasakari.h", "javascript": "sdk/javascript/wasakari.d.ts", "assemblyscript": "sdk/assemblyscript/assembly/*.ts",
}

var (
	block      = regexp.MustCompile("(?s)```\\w+\n(.*?)\n```")
	heading    = regexp.MustCompile("(?m)^#{1,4} (.*)$")
	firstCell  = regexp.MustCompile("(?m)^\\| ([^|]*`[^|]*) \\|")
	codeCell   = regexp.MustCompile("(?m)^\\| `\\w+` \\| (`[^|]*`) \\|")
	span       = regexp.MustCompile("`([^`]*)`")
	identifier = regexp.MustCompile(`[A-Za-z_]\w*`)
	link       = regexp.MustCompile(`\]\(([^)]*)\)`)
	pythonCall = regexp.MustCompile(`^(?:[\w.]+\.)?(\w+)\((.*)\)$`)
	opHeading  = regexp.MustCompile("(?m)^#### `([a-z_]+\\.[a-z_]+)` \\((\\w+)\\)$")
)

// read gives the files of a pattern below the top, one after another.
func read(t *testing.T, pattern string) string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(top, filepath.FromSlash(pattern)))
	if err != nil || len(names) == 0 {
		t.Fatalf("%s: %d files, %v", pattern, len(names), err)
	}
	var all strings.Builder
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(text)
	}
	return all.String()
}

// modules gives the names of the Python files below a folder, and what is in
// them.
func modules(t *testing.T, folder string) string {
	t.Helper()
	var all strings.Builder
	err := filepath.WalkDir(filepath.Join(top, folder), func(name string, d fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(name) != ".py" {
			return err
		}
		text, err := os.ReadFile(name)
		all.WriteString("\n" + filepath.ToSlash(name) + "\n")
		all.Write(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all.String()
}

// opsOf gives the kinds of the ops of the schema by their names, in order.
func opsOf(t *testing.T) (names []string, kinds map[string]string) {
	t.Helper()
	var schema struct {
		Ops []struct{ Name, Kind string } `json:"ops"`
	}
	if err := json.Unmarshal([]byte(read(t, "abi/schema.json")), &schema); err != nil {
		t.Fatal(err)
	}
	kinds = map[string]string{}
	for _, o := range schema.Ops {
		names = append(names, o.Name)
		kinds[o.Name] = o.Kind
	}
	return names, kinds
}

// declared reports whether a line of a block stands in the source as it is.
func declared(language, line, source string) bool {
	if language != "python" {
		return holds(source, line)
	}
	m := pythonCall.FindStringSubmatch(line)
	if m == nil {
		return strings.Contains(source, "\n"+line+" = ")
	}
	method := strings.TrimSuffix("def "+m[1]+"(self, "+m[2], ", ") + ")"
	return strings.Contains(source, method) || strings.Contains(source, "def "+m[1]+"("+m[2]+")")
}

// holds reports whether the words stand in the source, whatever blanks are
// between them.
func holds(source, words string) bool {
	quoted := strings.Fields(words)
	for i, w := range quoted {
		quoted[i] = regexp.QuoteMeta(w)
	}
	return regexp.MustCompile(`(^|\W)` + strings.Join(quoted, `\s+`) + `\W`).MatchString(source)
}

// anchors are where the headings of a page are.
func anchors(page string) map[string]bool {
	all := map[string]bool{}
	for _, m := range heading.FindAllStringSubmatch(page, -1) {
		name := strings.ToLower(strings.ReplaceAll(m[1], " ", "-"))
		all["#"+regexp.MustCompile(`[^\w-]`).ReplaceAllString(name, "")] = true
	}
	return all
}

func TestReferencePages(t *testing.T) {
	files, err := generate.Files(top)
	if err != nil {
		t.Fatal(err)
	}
	ops, kinds := opsOf(t)
	for language, pattern := range sdks {
		t.Run(language, func(t *testing.T) {
			page := string(files["docs/sdk/"+language+".md"])
			source := read(t, pattern)

			var told []string
			for _, m := range opHeading.FindAllStringSubmatch(page, -1) {
				told = append(told, m[1])
				if m[2] != kinds[m[1]] {
					t.Errorf("%s is of kind %s, the page says %s", m[1], kinds[m[1]], m[2])
				}
			}
			if got, want := strings.Join(told, " "), strings.Join(ops, " "); got != want {
				t.Errorf("ops\n got %s\nwant %s", got, want)
			}

			for _, m := range block.FindAllStringSubmatch(page, -1) {
				for line := range strings.SplitSeq(m[1], "\n") {
					if !declared(language, line, source) {
						t.Errorf("the SDK does not declare %s", line)
					}
				}
			}

			if language == "python" {
				// Keys of answers, which are dicts; and modules, which are files.
				source += read(t, "abi/schema.json") + modules(t, "sdk/python/lib")
			}
			words := wordsOf(source)
			for _, cells := range [][][]string{firstCell.FindAllStringSubmatch(page, -1), codeCell.FindAllStringSubmatch(page, -1)} {
				for _, m := range cells {
					known(t, m[1], words)
				}
			}

			have := anchors(page)
			for _, m := range link.FindAllStringSubmatch(page, -1) {
				if strings.HasPrefix(m[1], "#") {
					if !have[m[1]] {
						t.Errorf("the page has no heading for %s", m[1])
					}
					continue
				}
				file, _, _ := strings.Cut(m[1], "#") // headings of other pages test/docs looks for
				if _, err := os.Stat(filepath.Join(top, "docs", "sdk", filepath.FromSlash(file))); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

func wordsOf(source string) map[string]bool {
	words := map[string]bool{}
	for _, w := range identifier.FindAllString(source, -1) {
		words[w] = true
	}
	return words
}

// known sees that the words of all code in a text are those of an SDK.
func known(t *testing.T, text string, words map[string]bool) {
	t.Helper()
	for _, s := range span.FindAllStringSubmatch(text, -1) {
		for _, w := range identifier.FindAllString(s[1], -1) {
			if !words[w] {
				t.Errorf("%s: the SDK has no %s", s[0], w)
			}
		}
	}
}

// The table of names has one in every SDK for each thing.
func TestNamesOfLanguages(t *testing.T) {
	words := map[string]map[string]bool{}
	for language, pattern := range sdks {
		words[language] = wordsOf(read(t, pattern))
	}
	var languages []string
	rows := 0
	for line := range strings.Lines(read(t, "docs/sdk/README.md")) {
		line = strings.TrimSpace(line)
		if !strings.HasPrefix(line, "| ") || strings.HasPrefix(line, "| ---") {
			continue
		}
		cells := strings.Split(strings.Trim(line, "|"), " | ")
		if languages == nil {
			for _, c := range cells[1:] {
				languages = append(languages, strings.ToLower(strings.TrimSpace(c)))
			}
			continue
		}
		rows++
		for i, language := range languages {
			if i+1 >= len(cells) || strings.TrimSpace(cells[i+1]) == "" {
				t.Errorf("%s: nothing in %s", cells[0], language)
				continue
			}
			known(t, cells[i+1], words[language])
		}
	}
	if len(languages) != len(sdks) || rows == 0 {
		t.Errorf("%d languages, %d rows", len(languages), rows)
	}
}

// What the hand-written parts say of ops is of ops that there are.
func TestReferenceFrames(t *testing.T) {
	_, kinds := opsOf(t)
	names, err := fs.Glob(os.DirFS("reference"), "*.md")
	if err != nil {
		t.Fatal(err)
	}
	if len(names) != len(sdks) {
		t.Errorf("%d pages for %d SDKs", len(names), len(sdks))
	}
	for _, name := range names {
		text, err := os.ReadFile(filepath.Join("reference", name))
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`<!-- op (\S+)`).FindAllStringSubmatch(string(text), -1) {
			if kinds[m[1]] == "" {
				t.Errorf("%s: there is no op %s", name, m[1])
			}
		}
	}
}
