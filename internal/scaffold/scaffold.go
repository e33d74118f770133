// Package scaffold makes the first files of a task: a project that builds, with
// a test, in each language that has a folder in templates.
//
// README.md says how a language adds its own.
package scaffold

import (
	"archive/zip"
	"bytes"
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"text/template"

	"github.com/wasakari/wasakari/abi"
)

//go:embed all:templates
var templates embed.FS

// sdks holds the SDKs that projects carry along, one archive for each language.
// The folders themselves cannot be embedded: some are Go modules of their own.
//
//go:embed sdk
var sdks embed.FS

// MaxKey bounds the key of a task that New makes: names that are made of it must
// be allowed too.
const MaxKey = 100

// maxSDKBytes bounds what one SDK unpacks to.
const maxSDKBytes = 8 << 20

const (
	suffix  = ".tmpl"    // of every file in a folder of templates
	keyMark = "__KEY__"  // in file names: the key
	listing = "sdk.list" // says which files of the SDK a project carries
)

// File is a file of a project; Path has slashes.
type File struct {
	Path string
	Data []byte
}

// Languages lists the languages that have templates: what most task authors know
// first.
func Languages() []string {
	var list []string
	for _, lang := range []string{"python", "go", "rust", "c", "javascript", "assemblyscript"} {
		if info, err := fs.Stat(templates, path.Join("templates", lang)); err == nil && info.IsDir() {
			list = append(list, lang)
		}
	}
	return list
}

// Names is what templates are given.
type Names struct {
	Key     string // entry-point key, such as my_task
	Ident   string // the key in small letters, digits and _
	Class   string // the key in camel case, such as MyTask
	Library string // the key in small letters, digits, . and -
	Group   string // section of the task's options
}

// NamesOf makes names of a key. reserved tells of sections that a task may not
// have.
func NamesOf(key string, reserved func(group string) bool) (Names, error) {
	if !abi.TaskKey(key) {
		return Names{}, fmt.Errorf("key %q: want a letter or _, then letters, digits, _ . or -, such as my_task", key)
	}
	if len(key) > MaxKey {
		return Names{}, fmt.Errorf("key %.20s…: %d characters, at most %d here", key, len(key), MaxKey)
	}
	n := Names{Key: key}
	var class, ident strings.Builder
	up := true
	for _, r := range key {
		switch {
		case r == '_' || r == '.' || r == '-':
			ident.WriteByte('_')
			up = true
			continue
		case up:
			class.WriteString(strings.ToUpper(string(r)))
		default:
			class.WriteRune(r)
		}
		ident.WriteString(strings.ToLower(string(r)))
		up = false
	}
	n.Ident, n.Class = ident.String(), class.String()
	if n.Class == "" || n.Class[0] >= '0' && n.Class[0] <= '9' {
		n.Class = "Task" + n.Class
	}
	n.Library = strings.Trim(strings.ReplaceAll(n.Ident, "_", "-"), "-")
	if n.Library == "" {
		n.Library = "task"
	}
	// In Python a section is an attribute.
	n.Group = n.Ident
	if reserved(n.Group) || slices.Contains(keywords, n.Group) {
		n.Group += "_task"
	}
	if slices.Contains(keywords, n.Class) {
		n.Class += "Task"
	}
	return n, nil
}

// keywords are those of Python, which names no class or attribute like them.
var keywords = strings.Fields("False None True and as assert async await break class continue def del elif else except finally for from global if import in is lambda nonlocal not or pass raise return try while with yield")

// checkFile tells when no file can be called like the key, as a script is.
func checkFile(lang, key string) error {
	switch {
	case lang != "python" && lang != "javascript":
		return nil
	case strings.HasPrefix(key, "_"):
		return fmt.Errorf("key %q: a script is called like its task, and what begins with _ is a part of another: want a letter first", key)
	case lang == "python" && strings.Contains(key, "."):
		return fmt.Errorf("key %q: a script is called like its task, and Python imports no file with a dot in its name: want %s", key, strings.ReplaceAll(key, ".", "_"))
	}
	return nil
}

// Files makes the files of a project, sorted by path.
func Files(lang string, names Names) ([]File, error) {
	if !slices.Contains(Languages(), lang) {
		return nil, fmt.Errorf("language %q: want one of %s", lang, strings.Join(Languages(), ", "))
	}
	if err := checkFile(lang, names.Key); err != nil {
		return nil, err
	}
	root := path.Join("templates", lang)
	var files []File
	err := fs.WalkDir(templates, root, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || d.Name() == listing {
			return err
		}
		text, err := fs.ReadFile(templates, name)
		if err != nil {
			return err
		}
		to, ok := strings.CutSuffix(strings.TrimPrefix(name, root+"/"), suffix)
		if !ok {
			return fmt.Errorf("%s does not end in %s", name, suffix)
		}
		tmpl, err := template.New(name).Option("missingkey=error").Parse(string(text))
		if err != nil {
			return err
		}
		var out bytes.Buffer
		if err := tmpl.Execute(&out, names); err != nil {
			return err
		}
		files = append(files, File{strings.ReplaceAll(to, keyMark, names.Key), out.Bytes()})
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("templates of %s: %w", lang, err)
	}
	sdk, err := sdkFiles(lang)
	if err != nil {
		return nil, fmt.Errorf("sdk of %s: %w", lang, err)
	}
	files = append(files, sdk...)
	slices.SortFunc(files, func(a, b File) int { return strings.Compare(a.Path, b.Path) })
	return files, nil
}

// CarriesSDK reports whether projects of a language have a copy of its SDK.
func CarriesSDK(lang string) bool {
	_, err := fs.Stat(templates, path.Join("templates", lang, listing))
	return err == nil
}

// sdkFiles gives the SDK as it is in a project, below sdk/.
func sdkFiles(lang string) ([]File, error) {
	if !CarriesSDK(lang) {
		return nil, nil
	}
	text, err := sdks.ReadFile(ArchiveOf(lang))
	if err != nil {
		return nil, err
	}
	files, err := Unpack(text)
	for i := range files {
		files[i].Path = path.Join("sdk", files[i].Path)
	}
	return files, err
}

// ArchiveOf is the file of an SDK's archive in this package's folder.
func ArchiveOf(lang string) string { return path.Join("sdk", lang+".zip") }

// Unpack reads an archive that Pack made.
func Unpack(archive []byte) ([]File, error) {
	r, err := zip.NewReader(bytes.NewReader(archive), int64(len(archive)))
	if err != nil {
		return nil, err
	}
	var files []File
	left := int64(maxSDKBytes)
	for _, f := range r.File {
		if !fs.ValidPath(f.Name) {
			return nil, fmt.Errorf("%q is no path", f.Name)
		}
		in, err := f.Open()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.Name, err)
		}
		text, err := io.ReadAll(io.LimitReader(in, left+1))
		if err = errors.Join(err, in.Close()); err != nil {
			return nil, fmt.Errorf("%s: %w", f.Name, err)
		}
		if left -= int64(len(text)); left < 0 {
			return nil, fmt.Errorf("more than %d bytes", int64(maxSDKBytes))
		}
		files = append(files, File{f.Name, text})
	}
	return files, nil
}

// Pack makes the archive of an SDK from its folder. The same files make the same
// archive.
func Pack(lang string, folder fs.FS) ([]byte, error) {
	files, err := picked(lang, folder)
	if err != nil {
		return nil, fmt.Errorf("sdk of %s: %w", lang, err)
	}
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	for _, f := range files {
		// Stored, not squeezed: how well that is done changes with Go, and a change
		// of one line stays a small change in the history.
		to, err := w.CreateHeader(&zip.FileHeader{Name: f.Path, Method: zip.Store})
		if err != nil {
			return nil, err
		}
		if _, err := to.Write(f.Data); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// picked reads the files of an SDK that sdk.list names.
func picked(lang string, folder fs.FS) ([]File, error) {
	text, err := fs.ReadFile(templates, path.Join("templates", lang, listing))
	if err != nil {
		return nil, err
	}
	var with, without []string
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		if not, ok := strings.CutPrefix(line, "!"); ok {
			without = append(without, not)
		} else {
			with = append(with, line)
		}
	}
	used := map[string]bool{}
	matches := func(patterns []string, name string) bool {
		for _, p := range patterns {
			if whole, _ := path.Match(p, name); whole || strings.HasSuffix(p, "/") && strings.HasPrefix(name, p) {
				used[p] = true
				return true
			}
		}
		return false
	}
	var files []File
	err = fs.WalkDir(folder, ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir():
			if slices.Contains(without, d.Name()+"/") {
				return fs.SkipDir
			}
			return nil
		case !matches(with, name), matches(without, name), matches(without, path.Base(name)):
			return nil
		}
		data, err := fs.ReadFile(folder, name)
		files = append(files, File{name, data})
		return err
	})
	for _, p := range with {
		if err == nil && !used[p] {
			err = fmt.Errorf("%s: nothing is called %s", listing, p)
		}
	}
	return files, err
}

// Write writes the files into a folder that is not there yet, or empty.
func Write(dir string, files []File) error {
	switch entries, err := os.ReadDir(dir); {
	case err == nil && len(entries) > 0:
		return fmt.Errorf("%s is there already and not empty: %w", dir, fs.ErrExist)
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return err
	}
	for _, f := range files {
		name := filepath.Join(dir, filepath.FromSlash(f.Path))
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil { //nolint:gosec // sources, no secrets
			return err
		}
		out, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644) //nolint:gosec // below dir
		if err != nil {
			return err
		}
		_, err = out.Write(f.Data)
		if err = errors.Join(err, out.Close()); err != nil {
			return err
		}
	}
	return nil
}
