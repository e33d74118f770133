// Package scripts makes script modules of sources in Python or JavaScript: no
// tool chain is needed, the engine of the language describes the tasks that it
// finds and runs them later.
package scripts

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/wasakari/wasakari/abi"
	"github.com/wasakari/wasakari/runtime"
)

// TasksFile is a file that Build adds to a script: which task is in which file,
// as {"tasks": [{"key", "class", "file"}]}, with what the engine described as
// class and file.
const TasksFile = "wasakari.json"

// ErrSource is what the errors about a source match, rather than those of the
// machinery.
var ErrSource = errors.New("the source is not good")

// Source is what a script module is made of.
type Source struct {
	// Path is that of the file, or of the folder with the files. It names the
	// library where nothing else does, and stands before the names of files in
	// errors.
	Path string
	// Files have the source, by their paths below the folder, with slashes. There
	// may be others beside those of the language, such as setup.cfg.
	Files []abi.ScriptFile
	// Manifest is task.yaml as JSON, nil when there is none: what it says holds,
	// whatever the source says.
	Manifest []byte
}

// languages are the engines by the endings of their files.
var languages = map[string]string{".py": "python", ".js": "javascript", ".mjs": "javascript", ".ts": "javascript"}

// Language names the engine for a file, "" when there is none.
func Language(file string) string { return languages[path.Ext(file)] }

// description is what an engine says about a script.
type description struct {
	// Library and Version may be empty.
	Library string `json:"library"`
	Version string `json:"version"`
	Summary string `json:"summary"`
	// Tasks hold the fields of a manifest's task, and besides file, where it is,
	// and revert, whether it can be reverted.
	Tasks []map[string]any `json:"tasks"`
	// Notes are remarks for the author.
	Notes []string `json:"notes"`

	// shared are options of Masakari itself that its tasks may read.
	shared []abi.ManifestOption
}

// place is a line of TasksFile.
type place struct {
	Key   string `json:"key"`
	Class string `json:"class"`
	File  string `json:"file,omitempty"`
}

// limits bound the description of a script.
var limits = runtime.Limits{Timeout: time.Minute, RequestBytes: 1 << 20, AnswerBytes: 4 << 20, MemoryBytes: 256 << 20, LogLines: 100}

// Bounds on what a script says to its author.
const (
	maxNotes = 100
	maxNote  = 1000 // bytes
)

// Build makes a script module of a source. rt has the engines. notes are remarks
// for the author. Errors about the source match ErrSource; those about its
// manifest are abi.ManifestErrors as well.
func Build(ctx context.Context, rt *runtime.Runtime, src Source) (wasm []byte, m *abi.Manifest, notes []string, err error) {
	ref, err := engineFor(rt, src)
	if err != nil {
		return nil, nil, nil, err
	}
	for _, f := range src.Files {
		if !utf8.ValidString(f.Text) {
			return nil, nil, nil, source("%s: it is not UTF-8", f.Name)
		}
		if f.Name == TasksFile {
			return nil, nil, nil, source("%s: a file of this name is made when the module is built; give yours another name", f.Name)
		}
	}
	var uses []string
	if ref.Name == javascriptEngine {
		if src.Files, uses, notes, err = packJavaScript(src); err != nil {
			return nil, nil, nil, err
		}
	}
	d, err := describe(ctx, rt, src, ref)
	if err != nil {
		return nil, nil, nil, err
	}
	if ref.Name == javascriptEngine {
		useJavaScript(d.Tasks, uses)
	}
	if ref.Name == pythonEngine {
		d.shared = mentioned(src.Files)
	}
	m, places, reverts, err := d.merge(src, ref)
	if err != nil {
		return nil, nil, nil, err
	}
	ref.Reverts = reverts
	tasks, err := json.Marshal(map[string]any{"tasks": places})
	if err != nil {
		return nil, nil, nil, err
	}
	wasm, err = abi.ScriptModule(m, append(slices.Clone(src.Files), abi.ScriptFile{Name: TasksFile, Text: string(tasks)}), ref)
	if err != nil {
		return nil, nil, nil, fmt.Errorf("%w: %w", ErrSource, err)
	}
	return wasm, m, append(notes, d.Notes...), nil
}

func source(format string, args ...any) error {
	return &sourceError{fmt.Sprintf(format, args...)}
}

// sourceError is an ErrSource whose text says all.
type sourceError struct{ text string }

func (e *sourceError) Error() string        { return e.text }
func (e *sourceError) Is(target error) bool { return target == ErrSource }

// engineFor finds the engine for the files, which are of one language.
func engineFor(rt *runtime.Runtime, src Source) (abi.EngineRef, error) {
	name, first := "", ""
	for _, f := range src.Files {
		switch l := Language(f.Name); {
		case l == "" || l == name:
		case name == "":
			name, first = l, f.Name
		default:
			return abi.EngineRef{}, source("%s: %s is %s, and %s is %s; a module is of one language", src.Path, first, name, f.Name, l)
		}
	}
	if name == "" {
		return abi.EngineRef{}, source("%s: no file ends in .py, .js, .mjs or .ts", src.Path)
	}
	return own(rt, name)
}

// own gives the engine that the program carries for a language.
func own(rt *runtime.Runtime, name string) (abi.EngineRef, error) {
	ref, ok := rt.Engine(name)
	if !ok {
		return ref, source("this program has no engine for %s", name)
	}
	return ref, nil
}

// describe lets the engine say what is in a source.
func describe(ctx context.Context, rt *runtime.Runtime, src Source, ref abi.EngineRef) (*description, error) {
	wasm, err := abi.ScriptModule(&abi.Manifest{
		ABI: abi.Version, Library: "describe", Version: "0.0.0", Tasks: []abi.ManifestTask{{Key: abi.Describe}},
	}, src.Files, ref)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSource, err)
	}
	m, err := rt.Admit(ctx, src.Path, wasm)
	if err != nil {
		return nil, err
	}
	defer m.Close(context.WithoutCancel(ctx)) //nolint:errcheck // nothing runs any more
	h := &describing{files: src.Files}
	res, err := m.Describe(ctx, runtime.Call{Key: abi.Describe, Host: h, Limits: limits})
	if err != nil {
		return nil, fmt.Errorf("%s: describing its tasks: %w", src.Path, errors.Join(err, h.said()))
	}
	if res.Exit != abi.ExitSucceeded {
		return nil, source("%s", cmp.Or(res.Reason, src.Path+": the engine does not say what is wrong"))
	}
	d := new(description)
	dec := json.NewDecoder(strings.NewReader(res.Reason))
	dec.UseNumber()
	if err := dec.Decode(d); err != nil {
		return nil, fmt.Errorf("%s: what its engine says about it: %w", src.Path, err)
	}
	d.Notes = d.Notes[:min(len(d.Notes), maxNotes)]
	for i, n := range d.Notes {
		d.Notes[i] = cut(n)
	}
	if len(d.Tasks) == 0 {
		return nil, source("%s: there is no task in it", src.Path)
	}
	return d, nil
}

// describing is the Host of a script that is described: it has nothing but the
// script.
type describing struct {
	files []abi.ScriptFile
	lines []string
}

func (h *describing) Do(_ context.Context, op *abi.Op, _ []byte) ([]byte, error) {
	if op.Name == abi.OpTaskScript {
		return json.Marshal(abi.TaskScriptAnswer{Files: h.files})
	}
	return nil, abi.Errorf(abi.ErrnoForbidden, "%s: a task that is built can ask for nothing yet", op.Name)
}

func (h *describing) Log(_ abi.Level, msg string) { h.lines = append(h.lines, msg) }

func (h *describing) Progress(int, string) {}

// said gives what the script wrote.
func (h *describing) said() error {
	if len(h.lines) == 0 {
		return nil
	}
	const most = 20 // lines, the last ones
	lines := h.lines[max(0, len(h.lines)-most):]
	for i, l := range lines {
		lines[i] = cut(l)
	}
	return errors.New(strings.Join(lines, "\n"))
}

// cut leaves out what is too much for one note.
func cut(s string) string {
	if len(s) <= maxNote {
		return s
	}
	return strings.ToValidUTF8(s[:maxNote], "") + "…"
}

// merge makes the manifest of what the source says and of what task.yaml says.
func (d *description) merge(src Source, ref abi.EngineRef) (m *abi.Manifest, places []place, reverts []string, err error) {
	doc := map[string]any{
		"abi":     abi.Version,
		"library": cmp.Or(d.Library, libraryName(src.Path)),
		"version": cmp.Or(d.Version, contentVersion(src.Files, ref)),
	}
	if d.Summary != "" {
		doc["summary"] = d.Summary
	}
	var written []map[string]any
	if src.Manifest != nil {
		over := map[string]any{}
		dec := json.NewDecoder(bytes.NewReader(src.Manifest))
		dec.UseNumber()
		if err := dec.Decode(&over); err != nil {
			return nil, nil, nil, &abi.ManifestError{Reason: err.Error()}
		}
		for k, v := range over {
			if k != "tasks" {
				doc[k] = v
				continue
			}
			list, _ := v.([]any)
			for i, t := range list {
				task, ok := t.(map[string]any)
				if !ok {
					return nil, nil, nil, &abi.ManifestError{Path: fmt.Sprintf("tasks[%d]", i), Reason: "not an object"}
				}
				written = append(written, task)
			}
		}
	}
	described, err := matched(d.Tasks, written)
	if err != nil {
		return nil, nil, nil, err
	}
	var tasks []map[string]any
	for i, task := range described {
		p := place{Class: text(task["class"]), File: text(task["file"])}
		revert, _ := task["revert"].(bool)
		delete(task, "file")
		delete(task, "revert")
		if written != nil {
			maps.Copy(task, written[i])
		}
		share(task, d.shared)
		p.Key = text(task["key"])
		if places = append(places, p); revert {
			reverts = append(reverts, p.Key)
		}
		tasks = append(tasks, task)
	}
	doc["tasks"] = tasks
	whole, err := json.Marshal(doc)
	if err != nil {
		return nil, nil, nil, err
	}
	m, err = abi.ParseManifest(whole)
	return m, places, reverts, err
}

// matched gives the described task of each that is written, all when none is:
// that of the same key, or else of the same class, or the only one.
func matched(described, written []map[string]any) ([]map[string]any, error) {
	if written == nil {
		return described, nil
	}
	var list []map[string]any
	var keys []string
	for _, d := range described {
		keys = append(keys, text(d["key"]))
	}
	for _, w := range written {
		by := func(field string) int {
			return slices.IndexFunc(described, func(d map[string]any) bool { return text(w[field]) != "" && text(d[field]) == text(w[field]) })
		}
		i := by("key")
		if i < 0 {
			i = by("class")
		}
		if i < 0 && len(described) == 1 && len(written) == 1 {
			i = 0
		}
		if i < 0 {
			return nil, source("task.yaml: task %s is not in the source, which has %s; name it so, or name its class", text(w["key"]), strings.Join(keys, ", "))
		}
		if slices.ContainsFunc(list, func(d map[string]any) bool { return text(d["key"]) == text(described[i]["key"]) }) {
			return nil, source("task.yaml: task %s: the task %s of the source is there twice", text(w["key"]), text(described[i]["key"]))
		}
		list = append(list, described[i])
	}
	return list, nil
}

// text gives a string, "" for what is none.
func text(v any) string {
	s, _ := v.(string)
	return s
}

// libraryName makes a name for a library of a path.
func libraryName(file string) string {
	base := path.Base(strings.ReplaceAll(file, `\`, "/"))
	if Language(base) != "" {
		base = strings.TrimSuffix(base, path.Ext(base))
	}
	name := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9', r == '.', r == '_', r == '-':
			return r
		case r >= 'A' && r <= 'Z':
			return r - 'A' + 'a'
		}
		return '-'
	}, base)
	return cmp.Or(strings.Trim(name, ".-"), "tasks")
}

// contentVersion is the version of a module whose author gives none: another for
// each content and each engine, since a version never changes.
func contentVersion(files []abi.ScriptFile, ref abi.EngineRef) string {
	h := sha256.New()
	_, _ = fmt.Fprintln(h, ref.Digest) // a hash takes everything
	for _, f := range files {
		_, _ = fmt.Fprintf(h, "%q %q\n", f.Name, f.Text)
	}
	return "0.0.0+" + hex.EncodeToString(h.Sum(nil))[:12]
}
