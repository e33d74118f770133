// Package toolchain builds the module of a task's project with the tools of its
// language: it finds the language by the files that lie there, runs compilers
// with the right flags, and says what to install when one is missing.
//
// It knows no manifests: what it gives is the module as the compiler wrote it.
package toolchain

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/wasakari/wasakari/internal/regular"
)

// MaxModuleBytes bounds what a build may write.
const MaxModuleBytes = 64 << 20

// maxOutput bounds what is kept of what compilers print: the end of it.
const maxOutput = 64 << 10

// ErrNoProject says that a folder holds nothing that is known.
var ErrNoProject = errors.New("no task's project")

// ErrAmbiguous says that a folder holds projects of several languages.
var ErrAmbiguous = errors.New("several languages")

// MissingToolError says that a program is not there.
type MissingToolError struct {
	Language string
	Tool     string
	Install  string // what to do, on Debian
}

// Error names the program and what to do.
func (e *MissingToolError) Error() string {
	return fmt.Sprintf("%s is missing, which builds tasks in %s; install it: %s", e.Tool, e.Language, e.Install)
}

// BuildError says that a compiler refused the sources.
type BuildError struct {
	Command string // as it was run
	Output  string // the end of what it printed
	Err     error
}

// Error names the command; Output tells the rest.
func (e *BuildError) Error() string { return e.Command + ": " + e.Err.Error() }

// Unwrap gives the reason.
func (e *BuildError) Unwrap() error { return e.Err }

// tool is a program that a build needs.
type tool struct {
	name    string
	install string
}

// language is how projects of a language are known and built.
type language struct {
	name string
	// marks are files of which one makes a folder a project of the language;
	// patterns as of filepath.Match.
	marks []string
	tools []tool
	// build writes the module to the file out.
	build func(ctx context.Context, b *builder, out string) error
}

// languages in the order in which they are looked for.
var languages = []language{goLanguage, rustLanguage, assemblyScriptLanguage, cLanguage}

// Languages lists the languages that are built here.
func Languages() []string {
	var list []string
	for _, l := range languages {
		list = append(list, l.name)
	}
	return list
}

// Detect finds the language of the project in a folder. Errors are ErrNoProject
// and ErrAmbiguous.
func Detect(dir string) (string, error) {
	var found []string
	for _, l := range languages {
		for _, mark := range l.marks {
			if names, err := filepath.Glob(filepath.Join(globSafe(dir), mark)); err == nil && len(names) > 0 {
				found = append(found, l.name)
				break
			}
		}
	}
	switch len(found) {
	case 0:
		return "", fmt.Errorf("%s: %w", dir, ErrNoProject)
	case 1:
		return found[0], nil
	}
	return "", fmt.Errorf("%s: %w: %s", dir, ErrAmbiguous, strings.Join(found, ", "))
}

// globSafe quotes what a pattern would read otherwise.
func globSafe(dir string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(dir)
}

// Built is a module as the compiler wrote it.
type Built struct {
	Wasm []byte
	With string // what built it, such as go1.26.8
	Took time.Duration
}

// Build builds the project of a language in a folder. environ is the environment
// of the tools. Errors are *MissingToolError, *BuildError, or those of files.
func Build(ctx context.Context, lang, dir string, environ []string) (_ Built, err error) {
	i := slices.IndexFunc(languages, func(l language) bool { return l.name == lang })
	if i < 0 {
		return Built{}, fmt.Errorf("language %q: want one of %s", lang, strings.Join(Languages(), ", "))
	}
	l := languages[i]
	if dir, err = filepath.Abs(dir); err == nil {
		dir, err = filepath.EvalSymlinks(dir) // as compilers name it
	}
	if err != nil {
		return Built{}, err
	}
	b := &builder{language: l.name, dir: dir, environ: environ, paths: map[string]string{}}
	for _, t := range l.tools {
		if b.paths[t.name] = lookPath(t.name, environ); b.paths[t.name] == "" {
			return Built{}, &MissingToolError{Language: l.name, Tool: t.name, Install: t.install}
		}
	}
	tmp, err := os.MkdirTemp("", "wasakari-build-")
	if err != nil {
		return Built{}, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(tmp)) }()
	b.tmp = tmp
	out := filepath.Join(tmp, "task.wasm")
	started := time.Now()
	if err := l.build(ctx, b, out); err != nil {
		return Built{}, err
	}
	wasm, err := regular.Read(out, MaxModuleBytes)
	if err != nil {
		return Built{}, fmt.Errorf("what %s built: %w", l.name, err)
	}
	return Built{Wasm: wasm, With: b.with, Took: time.Since(started)}, nil
}

// builder runs the tools of one build.
type builder struct {
	language string
	dir, tmp string
	environ  []string
	paths    map[string]string // of tools
	with     string
}

// killWait is how long a tool that was interrupted may hold on to its output.
const killWait = 5 * time.Second

// run runs a tool in the project's folder, with variables more, and gives what it
// wrote to standard output.
func (b *builder) run(ctx context.Context, variables []string, name string, args ...string) (string, error) {
	path := b.paths[name]
	if path == "" {
		path = name
	}
	cmd := exec.CommandContext(ctx, path, args...) //nolint:gosec // a tool of the language, found in PATH as the author has it
	cmd.Dir, cmd.Env = b.dir, append(slices.Clone(b.environ), variables...)
	cmd.WaitDelay = killWait
	inGroup(cmd)
	var stdout, both tail
	cmd.Stdout, cmd.Stderr = io.MultiWriter(&stdout, &both), &both
	err := cmd.Run()
	if ctx.Err() != nil {
		return "", ctx.Err()
	}
	if err != nil {
		return "", &BuildError{Command: strings.Join(append([]string{name}, args...), " "), Output: both.String(), Err: err}
	}
	return stdout.String(), nil
}

// version notes what builds the module.
func (b *builder) version(ctx context.Context, name string, args ...string) {
	out, err := b.run(ctx, nil, name, args...)
	line, _, _ := strings.Cut(strings.TrimSpace(out), "\n")
	if err == nil {
		b.with = line
	}
}

// lookPath finds a program in the PATH of environ.
func lookPath(name string, environ []string) string {
	if found := allInPath(name, environ); len(found) > 0 {
		return found[0]
	}
	return ""
}

// allInPath finds all programs of a name in the PATH of environ.
func allInPath(name string, environ []string) []string {
	var found []string
	path := ""
	for _, kv := range environ {
		if v, ok := strings.CutPrefix(kv, "PATH="); ok {
			path = v
		}
	}
	for _, dir := range filepath.SplitList(path) {
		if !filepath.IsAbs(dir) {
			continue
		}
		full := filepath.Join(dir, name)
		if info, err := os.Stat(full); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			found = append(found, full)
		}
	}
	return found
}

// tail keeps the end of what is written, by several writers.
type tail struct {
	mu   sync.Mutex
	kept bytes.Buffer
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.kept.Write(p)
	if n := t.kept.Len() - maxOutput; n > 0 {
		t.kept.Next(n)
	}
	return len(p), nil
}

func (t *tail) String() string { return t.kept.String() }
