package docs_test

import (
	"fmt"
	"maps"
	"net/url"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
)

// span is a piece of code in a document: in backquotes, or a line of a block.
type span struct {
	line int
	text string
}

var (
	inlineCode = regexp.MustCompile("`([^`\n]+)`")
	fenceLine  = regexp.MustCompile("^ {0,3}```")
)

// spans gives the code of a document, that of HTML comments left out.
func spans(text string) []span {
	var all []span
	inBlock, session, inComment, goesOn := false, false, false, false
	for i, line := range strings.Split(text, "\n") {
		switch {
		case inComment:
			inComment = strings.TrimSpace(line) != "-->"
		case line == "<!-- doctest: run":
			inComment = true
		case fenceLine.MatchString(line):
			inBlock, session, goesOn = !inBlock, !inBlock && strings.HasPrefix(line, "```console"), false
		case inBlock && goesOn:
			all[len(all)-1].text += " " + strings.TrimPrefix(line, "> ")
			goesOn = strings.HasSuffix(line, `\`)
		case inBlock && session && !strings.HasPrefix(line, "$ "):
			// what a command prints
		case inBlock || strings.HasPrefix(line, "    "):
			all = append(all, span{i + 1, strings.TrimPrefix(strings.TrimSpace(line), "$ ")})
			goesOn = strings.HasSuffix(line, `\`)
		default:
			for _, m := range inlineCode.FindAllStringSubmatch(line, -1) {
				all = append(all, span{i + 1, m[1]})
			}
		}
	}
	return all
}

// eachSpan calls f with all code of all documents that tell of the program as it
// is.
func eachSpan(t *testing.T, f func(where string, text string)) {
	t.Helper()
	texts := documents(t)
	// The READMEs of the projects that task new makes.
	templates, err := filepath.Glob(filepath.Join(top, "internal/scaffold/templates/*/README.md.tmpl"))
	if err != nil || len(templates) < 6 {
		t.Fatalf("templates %q, error %v", templates, err)
	}
	for _, name := range templates {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		texts[name] = string(text)
	}
	for _, name := range slices.Sorted(maps.Keys(texts)) {
		if name == "CHANGELOG.md" { // of the program as it was
			continue
		}
		for _, s := range spans(texts[name]) {
			f(fmt.Sprintf("%s:%d", name, s.line), s.text)
		}
	}
}

var (
	makeCommand = regexp.MustCompile(`(?:^|[;&|(] ?)make ((?:[A-Z_0-9]+=\S+ )*[a-z][^;&|)#]*)`)
	makeTarget  = regexp.MustCompile(`(?m)^([a-z][a-z0-9-]*)(?: [a-z0-9 -]*)?:`)
)

// Every target and every variable of make is in the Makefile.
func TestMakeTargets(t *testing.T) {
	makefile, err := os.ReadFile(filepath.Join(top, "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	targets := map[string]bool{}
	for _, m := range makeTarget.FindAllStringSubmatch(string(makefile), -1) {
		targets[m[1]] = true
	}
	n := 0
	eachSpan(t, func(where, text string) {
		for _, m := range makeCommand.FindAllStringSubmatch(text, -1) {
			for word := range strings.FieldsSeq(m[1]) {
				name, _, isVariable := strings.Cut(word, "=")
				switch {
				case isVariable && !strings.Contains(string(makefile), "$("+name) && name != "E2E_SERVERS": // which the tests read
					t.Errorf("%s: `%s`: the Makefile has no %s", where, text, name)
				case !isVariable && regexp.MustCompile(`^[a-z][a-z0-9-]*$`).MatchString(word) && !targets[word]:
					t.Errorf("%s: `%s`: the Makefile has no target %s", where, text, word)
				}
				n++
			}
		}
	})
	if n < 40 {
		t.Errorf("only %d words of make found", n)
	}
}

var (
	goTest   = regexp.MustCompile(`(?:^|[;&|(] ?)go test ([^;&|)#]*)`)
	goNaming = map[string]string{"-bench": "Benchmark", "-run": "(?:Test|Example|Fuzz)"}
)

// Every package and benchmark that is named to go test is there.
func TestGoTests(t *testing.T) {
	n := 0
	eachSpan(t, func(where, text string) {
		for _, m := range goTest.FindAllStringSubmatch(text, -1) {
			words := strings.Fields(strings.ReplaceAll(m[1], "'", ""))
			var sources strings.Builder
			for _, w := range words {
				if !strings.HasPrefix(w, "./") || w == "./..." {
					continue
				}
				// Those of examples stand in their own folder.
				var files []string
				for _, base := range []string{top, filepath.Join(top, "tasks-examples")} {
					found, _ := filepath.Glob(filepath.Join(base, w, "*_test.go"))
					files = append(files, found...)
				}
				if len(files) == 0 {
					t.Errorf("%s: `%s`: no tests in %s", where, text, w)
				}
				for _, f := range files {
					source, err := os.ReadFile(f)
					if err != nil {
						t.Fatal(err)
					}
					sources.Write(source)
				}
			}
			for i, w := range words[:max(len(words)-1, 0)] {
				kind, names := goNaming[w]
				if pattern := words[i+1]; names && sources.Len() > 0 && pattern != "^$" && pattern != "." {
					if !regexp.MustCompile(`\nfunc ` + kind + `\w*(?:` + strings.Trim(pattern, "^$") + `)`).MatchString(sources.String()) {
						t.Errorf("%s: `%s`: nothing is called %s", where, text, pattern)
					}
					n++
				}
			}
		}
	})
	if n < 3 {
		t.Errorf("only %d patterns of go test found", n)
	}
}

// help is what a command of the program says of itself.
type help struct {
	commands, flags map[string]bool
}

var (
	helpOf      sync.Map
	helpCommand = regexp.MustCompile(`(?m)^  ([a-z-]+) +\S`)
	helpFlag    = regexp.MustCompile(`(?m)^ +(?:-([a-z]), )?(?:    )?--([a-z-]+)`)
)

func readHelp(t *testing.T, command []string) help {
	t.Helper()
	key := strings.Join(command, " ")
	if h, ok := helpOf.Load(key); ok {
		return h.(help) //nolint:forcetypeassert // nothing else is kept
	}
	out, err := exec.CommandContext(t.Context(), filepath.Join(bin, "wasakari"), append(slices.Clone(command), "--help")...).Output()
	if err != nil {
		t.Fatalf("wasakari %s --help: %v", key, err)
	}
	h := help{map[string]bool{}, map[string]bool{}}
	if _, list, ok := strings.Cut(string(out), "Available Commands:\n"); ok {
		list, _, _ = strings.Cut(list, "\n\n")
		for _, m := range helpCommand.FindAllStringSubmatch(list, -1) {
			h.commands[m[1]] = true
		}
	}
	for _, m := range helpFlag.FindAllStringSubmatch(string(out), -1) {
		h.flags["-"+m[1]], h.flags["--"+m[2]] = true, true
	}
	helpOf.Store(key, h)
	return h
}

var (
	ourCommand = regexp.MustCompile(`(?:^|[;&|(] ?|sudo -u wasakari )(?:bin/)?wasakari ([^;&>)#]*)`)
	plainWord  = regexp.MustCompile(`^[a-z][a-z-]*$`)
	flagWord   = regexp.MustCompile(`^--?[a-z][a-z-]*`)
)

// Every command of the program is there, with all of its flags, where documents
// only name it too.
func TestCommands(t *testing.T) {
	n := 0
	eachSpan(t, func(where, text string) {
		for _, m := range ourCommand.FindAllStringSubmatch(text, -1) {
			rest, _, _ := strings.Cut(m[1], " | ")
			var command []string
			h := readHelp(t, nil)
			for word := range strings.FieldsSeq(rest) {
				switch {
				case flagWord.MatchString(word):
					if f := flagWord.FindString(word); !h.flags[f] {
						t.Errorf("%s: `%s`: wasakari %s has no flag %s", where, text, strings.Join(command, " "), f)
					}
					n++
				case len(h.commands) > 0 && strings.Contains(word, "|"):
					for alternative := range strings.SplitSeq(word, "|") {
						if !h.commands[alternative] {
							t.Errorf("%s: `%s`: wasakari %s has no command %s", where, text, strings.Join(command, " "), alternative)
						}
					}
					h.commands = nil
				case len(h.commands) > 0 && h.commands[word]:
					command = append(command, word)
					h = readHelp(t, command)
				case len(h.commands) > 0 && plainWord.MatchString(word):
					t.Errorf("%s: `%s`: wasakari %s has no command %s", where, text, strings.Join(command, " "), word)
				}
			}
		}
	})
	if n < 100 {
		t.Errorf("only %d flags found", n)
	}
}

var (
	optionName = regexp.MustCompile(`^\[([a-z_]+|DEFAULT)\](?: ([a-z_]+))?(?: = .*)?$`)
	sampleName = regexp.MustCompile(`(?m)^(?:\[([A-Za-z_]+)\]|#? ?([a-z_]+) = ?.*)$`)
	// Sections of tasks, words that stand for any, and what has no effect here.
	otherSections = []string{"my_task", "redfish_fence", "guide_library", "acme", "name", "group", "database", "coordination", "taskflow"}
)

// Every option that a document names is one.
func TestOptions(t *testing.T) {
	sample, err := exec.CommandContext(t.Context(), filepath.Join(bin, "wasakari"), "config", "sample").Output()
	if err != nil {
		t.Fatal(err)
	}
	options, section := map[string]bool{}, ""
	for _, m := range sampleName.FindAllStringSubmatch(string(sample), -1) {
		if m[1] != "" {
			section = m[1]
			options[section] = true
		} else {
			options[section+" "+m[2]] = true
		}
	}
	n := 0
	eachSpan(t, func(where, text string) {
		m := optionName.FindStringSubmatch(text)
		if m == nil || slices.Contains(otherSections, m[1]) {
			return
		}
		n++
		if name := strings.TrimSpace(m[1] + " " + m[2]); !options[name] {
			t.Errorf("%s: `%s`: there is no such option", where, text)
		}
	})
	if n < 100 {
		t.Errorf("only %d options found", n)
	}
}

var (
	metricName  = regexp.MustCompile(`\bwasakari_[a-z_]+\b(?:\{([a-z]+)=)?`)
	metricRow   = regexp.MustCompile("(?m)^\\| `(wasakari_[a-z_]+)` \\| [a-z]+ \\| ([^|]*)\\|")
	otherWasa   = regexp.MustCompile(`^wasakari_(v[0-9]+|operator|author|monitor|reader)$`)
	histogramOf = regexp.MustCompile(`_(bucket|sum|count)$`)
)

// Every metric that a document names is in the table, with the label that it is
// asked for.
func TestMetricNames(t *testing.T) {
	rows := map[string]string{}
	for _, m := range metricRow.FindAllStringSubmatch(documents(t)["docs/operation.md"], -1) {
		rows[m[1]] = m[2]
	}
	n := 0
	eachSpan(t, func(where, text string) {
		for _, m := range metricName.FindAllStringSubmatch(text, -1) {
			name := histogramOf.ReplaceAllString(strings.TrimRight(m[0], "={"+m[1]), "")
			if m[1] != "" {
				name, _, _ = strings.Cut(m[0], "{")
			}
			if otherWasa.MatchString(name) {
				continue
			}
			n++
			if labels, ok := rows[name]; !ok || m[1] != "" && !strings.Contains(labels, "`"+m[1]+"`") {
				t.Errorf("%s: `%s`: no metric %s with label %q", where, text, name, m[1])
			}
		}
	})
	if n < 50 {
		t.Errorf("only %d metrics found", n)
	}
}

var (
	link    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile("(?m)^#+ (.*)$")
	noSlug  = regexp.MustCompile(`[^\p{L}\p{N} _-]`)
)

// slugs are the anchors of a document, as forges make them of its headings.
func slugs(text string) map[string]bool {
	all := map[string]bool{}
	for _, m := range heading.FindAllStringSubmatch(text, -1) {
		title := link.ReplaceAllString(m[1], "")
		all[strings.ReplaceAll(noSlug.ReplaceAllString(strings.ToLower(title), ""), " ", "-")] = true
	}
	return all
}

// Every link within the checkout leads somewhere.
func TestLinks(t *testing.T) {
	texts := documents(t)
	for name, text := range texts {
		for _, m := range link.FindAllStringSubmatch(text, -1) {
			u, err := url.Parse(m[1])
			if err != nil || u.Scheme != "" {
				continue
			}
			target := name
			if u.Path != "" {
				target = path.Join(path.Dir(name), u.Path)
			}
			if _, err := os.Stat(filepath.Join(top, target)); err != nil {
				t.Errorf("%s: the link %s leads nowhere", name, m[1])
				continue
			}
			if u.Fragment != "" && path.Ext(target) == ".md" && !slugs(texts[target])[u.Fragment] {
				t.Errorf("%s: the link %s: %s has no such heading", name, m[1], target)
			}
		}
	}
}
