package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/wasakari/wasakari/abi"
	"github.com/wasakari/wasakari/internal/scripts"
	"github.com/wasakari/wasakari/internal/toolchain"
	"github.com/wasakari/wasakari/recovery"
	"github.com/wasakari/wasakari/runtime"
)

// scriptSuffixes are those of languages that need no tools.
var scriptSuffixes = []string{".py", ".js", ".mjs", ".ts"}

// taskSource is what a task's module comes from.
type taskSource struct {
	path string // as the author named it
	dir  string // the project's folder
	file string // module or script; empty: the folder is built
	lang string // of a folder that is built
}

// findSource finds the module, the script or the project at path; lang is the
// language to take when there are several, empty: any.
func findSource(path, lang string) (taskSource, error) {
	if lang != "" && !slices.Contains(toolchain.Languages(), lang) {
		return taskSource{}, usagef("--lang %s: want one of %s; scripts are named by their file", lang, strings.Join(toolchain.Languages(), ", "))
	}
	info, err := os.Stat(path)
	if err != nil {
		return taskSource{}, usagef("%s: %w", path, bare(err))
	}
	s := taskSource{path: path, dir: path, lang: lang}
	if !info.IsDir() {
		s.dir, s.file = filepath.Dir(path), path
		if filepath.Ext(path) != ".wasm" && !slices.Contains(scriptSuffixes, filepath.Ext(path)) {
			return s, usagef("%s: want a folder, a .wasm module, or a script (%s)", path, strings.Join(scriptSuffixes, ", "))
		}
		return s, nil
	}
	if lang != "" {
		return s, nil
	}
	s.lang, err = toolchain.Detect(path)
	switch {
	case err == nil:
		return s, nil
	case errors.Is(err, toolchain.ErrAmbiguous):
		return s, usagef("%w; choose one with --lang", err)
	case !errors.Is(err, toolchain.ErrNoProject):
		return s, &usageError{err}
	}
	if scripts.IsProject(path) {
		s.file = path
		return s, nil
	}
	s.file, err = onlyScript(path)
	return s, err
}

// onlyScript finds the script of a folder; several in Python are the folder.
func onlyScript(dir string) (string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return "", usagef("%s: %w", dir, bare(err))
	}
	var found []string
	for _, e := range entries {
		name := e.Name()
		if e.Type().IsRegular() && slices.Contains(scriptSuffixes, filepath.Ext(name)) && !strings.HasPrefix(name, ".") &&
			!strings.HasPrefix(name, "test_") && !strings.HasPrefix(name, "_") && name != "conftest.py" && name != "setup.py" &&
			!strings.HasSuffix(name, ".d.ts") && !strings.Contains(name, ".test.") {
			found = append(found, name)
		}
	}
	switch len(found) {
	case 1:
		return filepath.Join(dir, found[0]), nil
	case 0:
		return "", usagef("%s: nothing to build here: want go.mod, Cargo.toml, asconfig.json, *.c, or a script (%s); make a project with wasakari task new",
			dir, strings.Join(scriptSuffixes, ", "))
	}
	if !slices.ContainsFunc(found, func(name string) bool { return filepath.Ext(name) != ".py" }) {
		return dir, nil // a library of several tasks
	}
	return "", usagef("%s holds several scripts: %s; name one", dir, strings.Join(found, ", "))
}

// builtTask is a module with its manifest.
type builtTask struct {
	source   string // for messages
	wasm     []byte
	manifest *abi.Manifest
	notes    []string
	with     string
	took     time.Duration
}

// build makes the module. What a compiler said goes to standard error.
func (s taskSource) build(ctx context.Context, w world, manifestFile string) (builtTask, error) {
	named := manifestFile != ""
	if !named {
		manifestFile = filepath.Join(s.dir, "task.yaml")
	}
	switch {
	case s.file == "":
		return s.compile(ctx, w, manifestFile)
	case filepath.Ext(s.file) == ".wasm":
		wasm, err := readFile(s.file, maxModuleRead)
		if err != nil {
			return builtTask{}, err
		}
		if named {
			packed, m, err := packInto(manifestFile, s.file, wasm)
			return builtTask{source: s.file, wasm: packed, manifest: m}, err
		}
		m, err := abi.ReadManifest(wasm)
		if err != nil {
			return builtTask{}, &usageError{located(s.file, err)}
		}
		return builtTask{source: s.file, wasm: wasm, manifest: m}, nil
	}
	if _, err := os.Stat(manifestFile); err != nil && !named {
		manifestFile = ""
	}
	started := time.Now()
	wasm, m, notes, err := buildScript(ctx, w, s.file, manifestFile)
	return builtTask{source: s.file, wasm: wasm, manifest: m, notes: notes, took: time.Since(started)}, err
}

// rebuild makes a script module anew for the engine of this program.
func (s taskSource) rebuild(ctx context.Context, w world, manifestFile string) (builtTask, error) {
	if manifestFile != "" {
		return builtTask{}, usagef("%s has a manifest; wasakari task pack puts another one in", s.file)
	}
	wasm, err := readFile(s.file, maxModuleRead)
	if err != nil {
		return builtTask{}, err
	}
	b := builtTask{source: s.file}
	err = withRuntime(ctx, w, func(rt *runtime.Runtime) error {
		b.wasm, b.manifest, b.notes, err = scripts.Rebuild(ctx, rt, s.file, wasm)
		return err
	})
	if errors.Is(err, scripts.ErrSource) || errors.As(err, new(*runtime.AdmissionError)) {
		err = &usageError{located(s.file, err)}
	}
	return b, err
}

func (s taskSource) compile(ctx context.Context, w world, manifestFile string) (builtTask, error) {
	// What is wrong with the manifest is told before a compiler takes its time.
	if _, err := readManifest(manifestFile); err != nil {
		if errors.Is(err, os.ErrNotExist) {
			return builtTask{}, usagef("%w; a project in %s needs one, see wasakari task new --help", err, s.lang)
		}
		return builtTask{}, err
	}
	b, err := toolchain.Build(ctx, s.lang, s.dir, w.environ)
	if missing, ok := errors.AsType[*toolchain.MissingToolError](err); ok {
		return builtTask{}, &usageError{missing}
	}
	if failed, ok := errors.AsType[*toolchain.BuildError](err); ok {
		if err := printLines(w.stderr, strings.TrimRight(failed.Output, "\n")+"\n"); err != nil {
			return builtTask{}, err
		}
		return builtTask{}, fmt.Errorf("%s: %w", s.path, err)
	}
	if err != nil {
		return builtTask{}, fmt.Errorf("%s: %w", s.path, err)
	}
	packed, m, err := packInto(manifestFile, s.path, b.Wasm)
	return builtTask{source: s.path, wasm: packed, manifest: m, with: b.With, took: b.Took}, err
}

// keys lists the keys of the tasks.
func (b builtTask) keys() []string {
	var keys []string
	for _, t := range b.manifest.Tasks {
		keys = append(keys, t.Key)
	}
	return keys
}

func newTaskBuild(w world) *cobra.Command {
	var output, lang, manifest string
	cmd := &cobra.Command{
		Use:   "build [PATH]",
		Short: "Build a task's module from its sources",
		Long: `Builds the task in the folder PATH, by default the one you are in, with the tools
of its language: go.mod is Go, Cargo.toml Rust, asconfig.json AssemblyScript, *.c C.
A Python or JavaScript file needs no tools: name it, or the folder it lies in.
A module that was made of one is made anew for the engine of this program: its
script, its tasks and their options stay, its version gets a part that names the
engine, and a signature is lost.

task.yaml is put into the module, which is then admitted as check and run will do:
what they would refuse, build refuses. The module is written as KEY.wasm, KEY being
the first key of task.yaml, next to the sources.

Exit codes: 0 built, 1 a compiler refused the sources, 2 wrong use, a tool is
missing (what to install is said), or the module is refused.`,
		Example: `  wasakari task build
  wasakari task build tasks/ticket -o /etc/masakari/tasks/ticket.wasm
  wasakari task build noop.py
  wasakari task build /etc/masakari/tasks/noop.wasm`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			path := "."
			if len(args) > 0 {
				path = args[0]
			}
			s, err := findSource(path, lang)
			if err != nil {
				return err
			}
			build := s.build
			if s.file != "" && filepath.Ext(s.file) == ".wasm" {
				build = s.rebuild
			}
			b, err := build(cmd.Context(), w, manifest)
			if err != nil {
				return err
			}
			if err := admissible(cmd.Context(), w, b.source, b.wasm); err != nil {
				return err
			}
			if output == "" {
				output = filepath.Join(s.dir, b.keys()[0]+".wasm")
			}
			if err := writeModule(output, b.wasm); err != nil {
				return err
			}
			for _, n := range b.notes {
				fmt.Fprintf(w.stderr, "note: %s\n", oneLine(n))
			}
			fmt.Fprintf(w.stdout, "%s: %s %s\n  tasks    %s\n  size     %s\n  digest   sha256:%s\n", output, b.manifest.Library, b.manifest.Version,
				strings.Join(b.keys(), ", "), size(len(b.wasm)), digestOf(b.wasm))
			if b.with != "" {
				fmt.Fprintf(w.stdout, "  built    with %s in %s\n", oneLine(b.with), b.took.Round(10*time.Millisecond))
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVarP(&output, "output", "o", "", "`file` to write (default: KEY.wasm beside the sources)")
	f.StringVar(&lang, "lang", "", "`LANGUAGE` of the project, where there are several: "+strings.Join(toolchain.Languages(), ", "))
	f.StringVar(&manifest, "manifest", "", "`file` with the manifest (default: task.yaml beside the sources)")
	return cmd
}

// writeModule writes a module as a whole: nobody finds half of one.
func writeModule(name string, wasm []byte) error {
	tmp, err := os.CreateTemp(filepath.Dir(name), ".wasakari-*.tmp")
	if err != nil {
		return usagef("%s: %w", name, bare(err))
	}
	_, err = tmp.Write(wasm)
	err = errors.Join(err, tmp.Chmod(0o644), tmp.Sync(), tmp.Close())
	if err == nil {
		err = os.Rename(tmp.Name(), name)
	}
	if err != nil {
		return errors.Join(usagef("%s: %w", name, err), os.Remove(tmp.Name()))
	}
	return nil
}

// taskNamed gives a task of a module: the one of this key, or the only one.
func taskNamed(m *abi.Manifest, source, key string) (recovery.Task, error) {
	if key == "" && len(m.Tasks) == 1 {
		key = m.Tasks[0].Key
	}
	t := m.Task(key)
	if t == nil {
		var keys []string
		for _, t := range m.Tasks {
			keys = append(keys, t.Key)
		}
		if key == "" {
			return recovery.Task{}, fmt.Errorf("%s has several tasks, name one: %s", source, strings.Join(keys, ", "))
		}
		return recovery.Task{}, fmt.Errorf("%s has no task %q, but %s", source, key, strings.Join(keys, ", "))
	}
	return taskOf(m, *t, source, false), nil
}
