package scripts

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/wasakari/wasakari/abi"
	"github.com/wasakari/wasakari/internal/regular"
	"github.com/wasakari/wasakari/internal/scripts/javascript"
)

const javascriptEngine = "javascript"

// maxSource bounds a source file that is read, in bytes.
const maxSource = 2 << 20

// JavaScriptFiles reads the file, in JavaScript or TypeScript, and all that it
// imports: Files of a Source whose Path is the file.
//
// What is imported by way of a symbolic link, or of a file or folder whose name
// begins with a dot, is refused: a folder of a stranger's must not bring files
// of the author's own along, such as those with passwords.
func JavaScriptFiles(file string) ([]abi.ScriptFile, error) {
	file = filepath.Clean(file)
	list, err := javascript.Files(filepath.ToSlash(file), func(name string) (string, error) {
		name = filepath.FromSlash(name)
		if name != file {
			if err := plainPath(filepath.Dir(file), name); err != nil {
				return "", err
			}
		}
		return readSource(name)
	})
	if err != nil {
		if errors.Is(err, javascript.ErrSource) {
			return nil, source("%s", err)
		}
		return nil, err
	}
	for i := range list {
		whole, err := filepath.Abs(filepath.FromSlash(list[i].Name))
		if err != nil {
			return nil, err
		}
		list[i].Name = filepath.ToSlash(whole)
	}
	javascript.Trim(list)
	return list, nil
}

// plainPath refuses a path that leads from a folder through symbolic links or
// names that begin with a dot.
func plainPath(dir, name string) error {
	way, err := filepath.Rel(dir, name)
	if err != nil {
		return err
	}
	at := dir
	for part := range strings.SplitSeq(filepath.ToSlash(way), "/") {
		at = filepath.Join(at, part)
		if part == ".." {
			continue
		}
		if strings.HasPrefix(part, ".") {
			return errors.New("names that begin with a dot are left out of modules")
		}
		info, err := os.Lstat(at)
		if err != nil {
			return err
		}
		if info.Mode()&fs.ModeSymlink != 0 {
			return fmt.Errorf("%s is a symbolic link, which no module is made of", filepath.ToSlash(at))
		}
	}
	return nil
}

func readSource(name string) (string, error) {
	text, err := regular.Read(name, maxSource)
	if errors.Is(err, regular.ErrNotRegular) {
		return "", fs.ErrNotExist
	}
	if _, ok := errors.AsType[*regular.TooLargeError](err); ok {
		return "", fmt.Errorf("it has more than %d MiB", maxSource>>20)
	}
	return string(text), err
}

// packJavaScript gives the files that the engine needs, the one with the tasks
// first, and the ops that they use.
func packJavaScript(src Source) (files []abi.ScriptFile, uses, notes []string, err error) {
	texts := map[string]string{}
	for _, f := range src.Files {
		texts[f.Name] = f.Text
	}
	entry, err := entryOf(src)
	if err != nil {
		return nil, nil, nil, err
	}
	s, err := javascript.Pack(entry, func(name string) (string, error) {
		if text, ok := texts[name]; ok {
			return text, nil
		}
		return "", fs.ErrNotExist
	})
	if err != nil {
		if errors.Is(err, javascript.ErrSource) {
			return nil, nil, nil, source("%s", err)
		}
		return nil, nil, nil, err
	}
	return s.Files, s.Uses, s.Notes, nil
}

// entries are the names of the file with the tasks in a folder with several.
var entries = []string{"task", "tasks", "index", "main"}

// entryOf finds the file with the tasks: the first one when the path is a
// file's, else the only one in the folder itself, or the one that is named so.
func entryOf(src Source) (string, error) {
	if Language(src.Path) != "" && len(src.Files) > 0 {
		return src.Files[0].Name, nil
	}
	var top []string
	for _, f := range src.Files {
		stem := strings.TrimSuffix(f.Name, path.Ext(f.Name))
		if Language(f.Name) == javascriptEngine && !strings.Contains(f.Name, "/") && path.Ext(stem) == "" {
			top = append(top, f.Name)
		}
	}
	if len(top) == 1 {
		return top[0], nil
	}
	for _, name := range entries {
		i := slices.IndexFunc(top, func(f string) bool { return strings.TrimSuffix(f, path.Ext(f)) == name })
		if i >= 0 {
			return top[i], nil
		}
	}
	slices.Sort(top)
	return "", source("%s: which of %s has the tasks? Name it task.js, or build it by its own name", src.Path, strings.Join(top, ", "))
}

// useJavaScript lets the tasks that do not say what they use ask for the ops that
// the source names. A task that provides values may put them by returning them.
func useJavaScript(tasks []map[string]any, uses []string) {
	for _, task := range tasks {
		if _, said := task["uses"]; said {
			continue
		}
		list := slices.Clone(uses)
		if provides, _ := task["provides"].([]any); len(provides) > 0 && !slices.Contains(list, "kv.*") && !slices.Contains(list, abi.OpKVPut) {
			list = append(list, abi.OpKVPut)
		}
		if len(list) > 0 {
			slices.Sort(list)
			task["uses"] = list
		}
	}
}
