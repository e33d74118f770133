// Package javascript finds the files of a script in JavaScript or TypeScript,
// checks them, and makes of them what the engine runs: JavaScript as it is, and
// TypeScript without its types.
package javascript

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/evanw/esbuild/pkg/api"

	"github.com/wasakari/wasakari/abi"
)

// LinesSuffix ends the name of a file that the engine reads for the lines of
// another: those whose types were stripped have other lines than their author's.
// It holds, as a JSON list, the author's line of each line.
const LinesSuffix = ".lines"

// ErrSource is what errors about a script match.
var ErrSource = errors.New("the script is not good")

// Script is what the engine runs.
type Script struct {
	// Files are those that the first one imports, itself included, in the order
	// of their names after it. Paths are relative to the folder that holds all.
	Files []abi.ScriptFile
	// Uses are the ops whose methods the script names, sorted.
	Uses []string
	// Notes are remarks for the author.
	Notes []string
}

// Reader gives the text of a file by its path with slashes, which is clean and
// may begin with "../". The error matches fs.ErrNotExist when it is not there.
type Reader func(name string) (string, error)

// Bounds of what is read; what a module may hold is abi's to say.
const (
	maxFiles = abi.MaxScriptFiles
	maxBytes = 2 << 20
	maxNotes = 20 // about cycles
)

// namespace keeps the files apart from those of the machine that this runs on.
const namespace = "script"

// loaders are the kinds of files by their endings.
var loaders = map[string]api.Loader{".js": api.LoaderJS, ".mjs": api.LoaderJS, ".ts": api.LoaderTS, ".mts": api.LoaderTS, ".json": api.LoaderJSON}

// Pack reads the file entry and all that it imports. Errors about the script
// match ErrSource and name file and line.
func Pack(entry string, read Reader) (*Script, error) {
	g, err := walk(path.Clean(entry), read)
	if err != nil {
		return nil, err
	}
	names := g.names()
	root := commonFolder(names)
	s := &Script{Notes: append(g.notes, g.cycles(root)...)}
	ops := map[string]bool{}
	for _, name := range names {
		text, short := g.files[name], strings.TrimPrefix(name, root)
		if loaders[path.Ext(name)] == api.LoaderTS {
			code, lines, err := strip(short, text)
			if err != nil {
				return nil, err
			}
			s.Files = append(s.Files, abi.ScriptFile{Name: short, Text: code}, abi.ScriptFile{Name: short + LinesSuffix, Text: lines})
			text = code
		} else {
			s.Files = append(s.Files, abi.ScriptFile{Name: short, Text: text})
		}
		if path.Ext(name) != ".json" {
			named(text, ops)
		}
	}
	for op := range ops {
		s.Uses = append(s.Uses, op)
	}
	slices.Sort(s.Uses)
	return s, nil
}

// Files reads the file entry and all that it imports, as they are: the files
// that Pack wants, entry first, by the paths that they were read by.
func Files(entry string, read Reader) ([]abi.ScriptFile, error) {
	g, err := walk(path.Clean(entry), read)
	if err != nil {
		return nil, err
	}
	var list []abi.ScriptFile
	for _, name := range g.names() {
		list = append(list, abi.ScriptFile{Name: name, Text: g.files[name]})
	}
	return list, nil
}

// Trim makes the paths of files relative to the folder that holds all.
func Trim(files []abi.ScriptFile) {
	names := make([]string, len(files))
	for i, f := range files {
		names[i] = f.Name
	}
	root := commonFolder(names)
	for i := range files {
		files[i].Name = strings.TrimPrefix(files[i].Name, root)
	}
}

// graph is a script: its files, and who imports whom.
type graph struct {
	entry string
	notes []string

	mu      sync.Mutex // covers what follows: imports are resolved side by side
	files   map[string]string
	imports map[string][]edge
	bytes   int
}

func (g *graph) text(name string) string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.files[name]
}

type edge struct{ to, as string }

// names gives the files, entry first.
func (g *graph) names() []string {
	var list []string
	for name := range g.files {
		if name != g.entry {
			list = append(list, name)
		}
	}
	slices.Sort(list)
	return append([]string{g.entry}, list...)
}

// walk parses the script with all that it imports.
func walk(entry string, read Reader) (*graph, error) {
	g := &graph{entry: entry, files: map[string]string{}, imports: map[string][]edge{}}
	if _, known := loaders[path.Ext(entry)]; !known {
		return nil, sourceError("%s: it is no .js, .mjs, .ts or .mts", entry)
	}
	if err := g.add(entry, read); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, sourceError("%s: there is no such file", entry)
		}
		return nil, fmt.Errorf("%s: %w", entry, err)
	}
	files := api.Plugin{Name: "files", Setup: func(b api.PluginBuild) {
		b.OnResolve(api.OnResolveOptions{Filter: ".*"}, func(a api.OnResolveArgs) (api.OnResolveResult, error) {
			return g.resolve(a, read)
		})
		b.OnLoad(api.OnLoadOptions{Filter: ".*", Namespace: namespace}, func(a api.OnLoadArgs) (api.OnLoadResult, error) {
			text := g.text(a.Path)
			return api.OnLoadResult{Contents: &text, Loader: loaders[path.Ext(a.Path)]}, nil
		})
	}}
	// Nothing is kept of the bundle: it is a check, of syntax and of names that
	// are imported and not exported.
	res := api.Build(api.BuildOptions{
		EntryPoints: []string{entry}, Bundle: true, Format: api.FormatESModule, Platform: api.PlatformNeutral, Target: api.ESNext,
		LogLevel: api.LogLevelSilent, Outdir: "out", Plugins: []api.Plugin{files}, TsconfigRaw: "{}", Supported: map[string]bool{"top-level-await": true},
	})
	if len(res.Errors) > 0 {
		return nil, told(res.Errors)
	}
	for _, w := range res.Warnings {
		g.notes = append(g.notes, line(w))
	}
	return g, nil
}

// resolve finds what a file imports.
func (g *graph) resolve(a api.OnResolveArgs, read Reader) (api.OnResolveResult, error) {
	refuse := func(format string, args ...any) (api.OnResolveResult, error) {
		return api.OnResolveResult{Errors: []api.Message{{Text: fmt.Sprintf(format, args...)}}}, nil
	}
	switch {
	case a.Kind == api.ResolveEntryPoint:
		return api.OnResolveResult{Path: g.entry, Namespace: namespace}, nil
	case a.Kind == api.ResolveJSRequireCall || a.Kind == api.ResolveJSRequireResolve:
		return refuse(`cannot require %q: a task has modules; write import … from %q`, a.Path, a.Path)
	case a.Path == "wasakari":
		return api.OnResolveResult{Path: a.Path, External: true}, nil
	case strings.HasPrefix(a.Path, "node:"):
		return refuse("cannot import %q: a task has no Node.js; what it may do is in \"wasakari\"", a.Path)
	case !strings.HasPrefix(a.Path, "./") && !strings.HasPrefix(a.Path, "../"):
		return refuse("cannot import %q: a task imports \"wasakari\" and files of its own, by paths such as \"./%s.js\"; copy a package's files beside the task", a.Path, path.Base(a.Path))
	}
	wanted := path.Join(path.Dir(a.Importer), a.Path)
	tries := []string{wanted, wanted + ".js", wanted + ".mjs", wanted + ".ts", wanted + ".mts", wanted + ".json"}
	if stem, ok := strings.CutSuffix(wanted, ".js"); ok {
		tries = append(tries, stem+".ts")
	} else if stem, ok := strings.CutSuffix(wanted, ".mjs"); ok {
		tries = append(tries, stem+".mts")
	}
	for _, name := range tries {
		if _, known := loaders[path.Ext(name)]; !known {
			continue
		}
		err := g.add(name, read)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return refuse("cannot import %q: %v", a.Path, err)
		}
		g.mu.Lock()
		g.imports[a.Importer] = append(g.imports[a.Importer], edge{to: name, as: a.Path})
		g.mu.Unlock()
		return api.OnResolveResult{Path: name, Namespace: namespace}, nil
	}
	if _, known := loaders[path.Ext(wanted)]; !known && path.Ext(wanted) != "" {
		return refuse("cannot import %q: it is no .js, .mjs, .ts, .mts or .json", a.Path)
	}
	return refuse("cannot import %q: there is no file %s", a.Path, wanted)
}

// add reads a file that is new.
func (g *graph) add(name string, read Reader) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if _, ok := g.files[name]; ok {
		return nil
	}
	text, err := read(name)
	if err != nil {
		return err
	}
	if g.bytes += len(text); g.bytes > maxBytes || len(g.files) >= maxFiles {
		return fmt.Errorf("the script has more than %d files or %d MiB", maxFiles, maxBytes>>20)
	}
	g.files[name] = text
	return nil
}

// cycles tells of files that import one another: what the one takes from the
// other may not be there yet when it is loaded.
func (g *graph) cycles(root string) []string {
	const working, done = 1, 2
	state := map[string]int{}
	var notes, stack []string
	var visit func(name string)
	visit = func(name string) {
		state[name] = working
		stack = append(stack, name)
		slices.SortFunc(g.imports[name], func(a, b edge) int { return strings.Compare(a.to, b.to) })
		for _, e := range g.imports[name] {
			switch state[e.to] {
			case working:
				if len(notes) == maxNotes {
					continue
				}
				var way []string
				for _, s := range stack[slices.Index(stack, e.to):] {
					way = append(way, strings.TrimPrefix(s, root))
				}
				at := ""
				if i := strings.Index(g.files[name], e.as); i >= 0 {
					at = fmt.Sprintf(":%d", 1+strings.Count(g.files[name][:i], "\n"))
				}
				notes = append(notes, fmt.Sprintf("%s%s: a cycle of imports: %s, %s; what one takes from another must not be used before all are loaded",
					strings.TrimPrefix(name, root), at, strings.Join(way, ", "), strings.TrimPrefix(e.to, root)))
			case done:
			default:
				visit(e.to)
			}
		}
		stack = stack[:len(stack)-1]
		state[name] = done
	}
	visit(g.entry)
	return notes
}

// commonFolder gives the folder that holds all files, with its slash, "" for
// the one that paths are relative to.
func commonFolder(names []string) string {
	root := strings.TrimPrefix(path.Dir(names[0])+"/", "./")
	for _, name := range names {
		for !strings.HasPrefix(name, root) {
			root = root[:strings.LastIndexByte(root[:len(root)-1], '/')+1]
		}
	}
	return root
}

// strip gives the JavaScript of a file in TypeScript, and its lines.
func strip(name, text string) (code, lines string, err error) {
	res := api.Transform(text, api.TransformOptions{
		Loader: api.LoaderTS, Format: api.FormatESModule, Target: api.ES2023, Sourcefile: name, Sourcemap: api.SourceMapExternal,
		LogLevel: api.LogLevelSilent, TsconfigRaw: "{}",
	})
	if len(res.Errors) > 0 {
		return "", "", told(res.Errors)
	}
	list, err := authorLines(res.Map)
	if err != nil {
		return "", "", fmt.Errorf("%s: %w", name, err)
	}
	doc, err := json.Marshal(list)
	return string(res.Code), string(doc), err
}

// told makes an error of what is wrong with a script.
func told(list []api.Message) error {
	const most = 10
	var lines []string
	for _, m := range list[:min(len(list), most)] {
		lines = append(lines, line(m))
	}
	if len(list) > most {
		lines = append(lines, fmt.Sprintf("and %d more", len(list)-most))
	}
	return sourceError("%s", strings.Join(lines, "\n"))
}

// line gives a message with its place, FILE:LINE:COLUMN.
func line(m api.Message) string {
	text := strings.ReplaceAll(strings.TrimSuffix(m.Text, "."), `"`+namespace+":", `"`)
	if m.Location == nil {
		return text
	}
	return fmt.Sprintf("%s:%d:%d: %s", strings.TrimPrefix(m.Location.File, namespace+":"), m.Location.Line, m.Location.Column+1, text)
}

type scriptError string

func sourceError(format string, args ...any) error { return scriptError(fmt.Sprintf(format, args...)) }

func (e scriptError) Error() string        { return string(e) }
func (e scriptError) Is(target error) bool { return target == ErrSource }

var (
	quoted = regexp.MustCompile("\"(?:[^\"\\\\\n]|\\\\.)*\"|'(?:[^'\\\\\n]|\\\\.)*'")
	opName = regexp.MustCompile(`^["']((?:nova|ha|kv|http)\.[a-z_]+)["']$`)
	word   = regexp.MustCompile(`[A-Za-z_$][\w$]*`)
	kvVerb = regexp.MustCompile(`\.\s*(get|put|delete|list)\b`)
)

// named finds the ops whose methods, or whose names, a text in JavaScript names.
// What it returns may be put too, which it cannot know.
func named(text string, ops map[string]bool) {
	// Printed anew, it has no comments; what cannot be printed is looked at as it
	// is.
	if res := api.Transform(text, api.TransformOptions{Loader: api.LoaderJS, LegalComments: api.LegalCommentsNone, LogLevel: api.LogLevelSilent}); len(res.Errors) == 0 {
		text = string(res.Code)
	}
	text = quoted.ReplaceAllStringFunc(text, func(s string) string {
		if m := opName.FindStringSubmatch(s); m != nil && abi.LookupOp([]byte(m[1])) != nil {
			ops[m[1]] = true
		}
		return `""`
	})
	inStore := false
	for _, w := range word.FindAllString(text, -1) {
		if op := methods[w]; op != "" {
			ops[op] = true
		}
		switch w {
		case "http":
			ops[abi.OpHTTPRequest] = true
		case "kv":
			inStore = true
		}
	}
	if !inStore {
		return
	}
	verbs := kvVerb.FindAllStringSubmatch(text, -1)
	for _, m := range verbs {
		ops["kv."+m[1]] = true
	}
	if len(verbs) == 0 {
		ops["kv.*"] = true
	}
}

// methods are the ops of nova and ha by the names of their methods.
var methods = func() map[string]string {
	m := map[string]string{}
	for _, op := range abi.Ops() {
		group, verb, _ := strings.Cut(op.Name, ".")
		if group != "nova" && group != "ha" {
			continue
		}
		words := strings.Split(verb, "_")
		for i, w := range words[1:] {
			words[i+1] = strings.ToUpper(w[:1]) + w[1:]
		}
		m[strings.Join(words, "")] = op.Name
	}
	return m
}()

// authorLines reads a source map: the author's line of each line, 1 being the
// first.
func authorLines(sourceMap []byte) ([]int, error) {
	var doc struct {
		Mappings string `json:"mappings"`
	}
	if err := json.Unmarshal(sourceMap, &doc); err != nil {
		return nil, err
	}
	var lines []int
	source := 0 // the running value of the third field: the author's line
	last := 1
	for group := range strings.SplitSeq(doc.Mappings, ";") {
		first := 0
		for segment := range strings.SplitSeq(group, ",") {
			fields := vlq(segment)
			if len(fields) < 4 {
				continue
			}
			source += fields[2]
			if first == 0 {
				first = source + 1
			}
		}
		last = cmp.Or(first, last)
		lines = append(lines, last)
	}
	return lines, nil
}

const base64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

// vlq reads the numbers of a segment of a source map.
func vlq(s string) []int {
	var list []int
	value, shift := 0, 0
	for i := range len(s) {
		digit := strings.IndexByte(base64, s[i])
		if digit < 0 || shift > 30 {
			return nil
		}
		value |= digit & 31 << shift
		if digit&32 != 0 {
			shift += 5
			continue
		}
		n := value >> 1
		if value&1 != 0 {
			n = -n
		}
		list = append(list, n)
		value, shift = 0, 0
	}
	return list
}
