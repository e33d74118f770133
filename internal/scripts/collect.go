package scripts

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/wasakari/wasakari/abi"
	"github.com/wasakari/wasakari/internal/regular"
)

// Bounds on what is collected; a script module holds no more.
const (
	maxDepth = 16 // folders in one another
	maxBytes = abi.MaxScript
)

// besides are files that say something about a script in Python.
var besides = []string{"setup.cfg", "pyproject.toml"}

// left are folders that are not part of a script.
var left = []string{"tests", "test", "docs", "doc", "build", "dist", "node_modules", "__pycache__", "venv", "env"}

// IsProject reports whether a folder is a project in Python, of which all files
// belong to the module: it has setup.cfg or pyproject.toml.
func IsProject(dir string) bool {
	return slices.ContainsFunc(besides, func(name string) bool {
		info, err := os.Stat(filepath.Join(dir, name))
		return err == nil && info.Mode().IsRegular()
	})
}

// Collect reads the source at a path: a file and those beside it that it
// imports, or a folder in Python with all that is below it. Symbolic links are
// left out, but for the file or folder itself, and so are tests and what begins
// with a dot. Nothing outside of the folder is read.
func Collect(name string) (Source, error) {
	info, err := os.Stat(name)
	if err != nil {
		return Source{}, err
	}
	if !info.IsDir() && Language(name) == javascriptEngine {
		files, err := JavaScriptFiles(name)
		return Source{Path: name, Files: files}, err
	}
	dir := name
	if !info.IsDir() {
		dir = filepath.Dir(name)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return Source{}, err
	}
	defer root.Close() //nolint:errcheck // it was read
	c := &collector{root: root, seen: map[string]bool{}}
	if info.IsDir() {
		err = c.folder(".", 0)
	} else {
		c.named = filepath.Base(name)
		err = c.follow(c.named)
	}
	if err != nil {
		return Source{}, err
	}
	return Source{Path: name, Files: c.files}, nil
}

type collector struct {
	root  *os.Root
	named string // the file that the author named; empty: the folder
	files []abi.ScriptFile
	seen  map[string]bool
	bytes int
}

// open opens a file of the folder. The one that the author named may be a
// symbolic link to anywhere.
func (c *collector) open(name string) (*os.File, error) {
	if name == c.named {
		return os.OpenFile(filepath.Join(c.root.Name(), name), regular.Flags, 0) //nolint:gosec // the author, who builds, named it
	}
	return c.root.OpenFile(name, regular.Flags, 0)
}

// add reads a file.
func (c *collector) add(name string) (string, error) {
	c.seen[name] = true
	if len(c.files) >= abi.MaxScriptFiles {
		return "", source("more than %d files belong to it", abi.MaxScriptFiles)
	}
	f, err := c.open(name)
	if err != nil {
		return "", err
	}
	defer f.Close() //nolint:errcheck // it was read
	text, err := regular.ReadFrom(f, int64(maxBytes-c.bytes))
	if _, ok := errors.AsType[*regular.TooLargeError](err); ok {
		return "", source("%s: with it the script has more than the %d bytes that are taken", name, maxBytes)
	}
	if pe, ok := errors.AsType[*fs.PathError](err); ok { // the author knows it by its name in the folder
		err = pe.Err
	}
	if err != nil {
		return "", fmt.Errorf("%s: %w", name, err)
	}
	c.bytes += len(text)
	c.files = append(c.files, abi.ScriptFile{Name: name, Text: string(text)})
	return string(text), nil
}

// folder adds the files in Python below a folder.
func (c *collector) folder(dir string, depth int) error {
	if depth > maxDepth {
		return source("%s: more than %d folders in one another", dir, maxDepth)
	}
	entries, err := fs.ReadDir(c.root.FS(), dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		name := path.Join(dir, e.Name())
		switch {
		case strings.HasPrefix(e.Name(), "."):
		case e.IsDir():
			if slices.Contains(left, e.Name()) || strings.HasSuffix(e.Name(), ".egg-info") {
				continue
			}
			if err := c.folder(name, depth+1); err != nil {
				return err
			}
		case !e.Type().IsRegular():
		case Language(name) == "python" && !isTest(e.Name()), dir == "." && slices.Contains(besides, e.Name()):
			if _, err := c.add(name); err != nil {
				return err
			}
		}
	}
	return nil
}

// isTest tells what is for the author alone.
func isTest(name string) bool {
	return strings.HasPrefix(name, "test_") || strings.HasSuffix(name, "_test.py") || name == "conftest.py" || name == "setup.py"
}

var pythonImport = regexp.MustCompile(`(?m)^[ \t]*(?:from[ \t]+([\w.]+)[ \t]+import[ \t]+\(?([\w \t,]*)|import[ \t]+([\w., \t]+))`)

// follow adds a file and what it imports of the files beside it. What only
// looks like an import adds a file too many at worst.
func (c *collector) follow(name string) error {
	if c.seen[name] {
		return nil
	}
	text, err := c.add(name)
	if err != nil {
		return err
	}
	for _, candidate := range imported(name, text) {
		info, err := c.root.Lstat(candidate)
		if err != nil || !info.Mode().IsRegular() {
			continue
		}
		if err := c.follow(candidate); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

// imported lists the files that a file in Python may import.
func imported(name, text string) []string {
	var list []string
	tooDeep := func(name string) bool { return strings.Count(name, ".") > maxDepth }
	module := func(name string) {
		if tooDeep(name) { // there are no such files
			return
		}
		parts := strings.Split(name, ".")
		for i := range parts { // importing a.b.c imports a and a.b
			base := path.Join(parts[:i+1]...)
			for _, file := range []string{base + "/__init__.py", base + ".py"} {
				if fs.ValidPath(file) {
					list = append(list, file)
				}
			}
		}
	}
	for _, m := range pythonImport.FindAllStringSubmatch(text, -1) {
		if m[3] != "" {
			for one := range strings.SplitSeq(m[3], ",") {
				if f := strings.Fields(one); len(f) > 0 {
					module(f[0])
				}
			}
			continue
		}
		from := m[1]
		if up := len(from) - len(strings.TrimLeft(from, ".")); up > 0 { // of this package
			dir := path.Dir(name)
			for range up - 1 {
				dir = path.Dir(dir)
			}
			from = strings.Trim(strings.ReplaceAll(dir, "/", ".")+"."+from[up:], ".")
		}
		if tooDeep(from) {
			continue
		}
		module(from)
		for one := range strings.SplitSeq(m[2], ",") {
			if f := strings.Fields(one); len(f) > 0 {
				module(strings.Trim(from+"."+f[0], "."))
			}
		}
	}
	return list
}
