package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"

	"github.com/knadh/koanf/v2"

	"github.com/wasakari/wasakari/internal/regular"
	"github.com/wasakari/wasakari/recovery"
)

// delimiter stands between section and name in koanf's keys. A control
// character in either is refused, so no key contains it.
const delimiter = "\x1f"

// maxFiles bounds how many files one configuration may have.
const maxFiles = 256

// Sources says where a configuration comes from. What comes later wins:
// defaults, Files, Dirs, Environ, Flags. That flags beat the environment is
// deliberate: whoever types a flag means it, though oslo.config lets the
// environment win.
type Sources struct {
	// Files are read in order (--config-file). Each must exist.
	Files []string
	// Dirs are read after Files, in order (--config-dir): of each the files
	// *.conf, sorted by name.
	Dirs []string
	// Discover looks for files when Files is empty, and for directories when
	// Dirs is empty, as Masakari does: masakari.conf and masakari-engine.conf,
	// each the first found in ~/.masakari, ~, /etc/masakari, /etc; likewise
	// the directories masakari.conf.d and masakari-engine.conf.d. After them
	// wasakari.conf and wasakari.conf.d are looked for in ~/.wasakari, ~,
	// /etc/wasakari, /etc. As with Masakari, a file for flows such as
	// custom-recovery-methods.conf is read only when it is named, or lies in
	// one of the directories.
	Discover bool
	// Environ holds KEY=VALUE pairs, of which OS_<SECTION>__<NAME> count; see
	// os.Environ.
	Environ []string
	// Flags are options from the command line.
	Flags []Flag
	// Home stands for ~ in Discover; empty: nothing is looked for there.
	Home string
	// Root is put before /etc in Discover.
	Root string
}

// Flag is one option given on the command line.
type Flag struct {
	Group, Name, Value string
	// Origin names the flag in messages, such as "--task-dir".
	Origin string
}

// Load reads a configuration. It tells all mistakes at once, joined, each a
// *recovery.ConfigError: files that cannot be read or parsed, values that are
// not of their option's type, flows that make no sense.
func Load(src Sources) (*Config, error) {
	c := &Config{k: koanf.New(delimiter)}
	l := loader{c: c}
	for _, f := range l.paths(src) {
		l.load(fileSource(f), confParser{l: &l, file: f})
	}
	l.load(mapSource(func() map[string]any { return l.environ(src.Environ) }), nil)
	l.load(mapSource(func() map[string]any { return l.flags(src.Flags) }), nil)
	c.folders = l.folders(src)
	l.errs = append(l.errs, c.swallowedFlows()...)
	l.errs = append(l.errs, c.fill()...)
	if len(l.errs) > 0 {
		return nil, join(l.errs)
	}
	return c, nil
}

// join joins errors, each text once, at most maxErrors.
func join(errs []*recovery.ConfigError) error {
	var out []error
	seen := map[string]bool{}
	for _, e := range errs {
		if s := e.Error(); !seen[s] && len(out) < maxErrors {
			seen[s] = true
			out = append(out, e)
		}
	}
	return errors.Join(out...)
}

// loader collects assignments and mistakes while sources are loaded.
type loader struct {
	c    *Config
	errs []*recovery.ConfigError
}

func (l *loader) fail(file, reason, hint string) {
	l.errs = append(l.errs, &recovery.ConfigError{Pos: recovery.Position{File: file}, Reason: reason, Hint: hint})
}

// load merges one source over those before.
func (l *loader) load(p koanf.Provider, parser koanf.Parser) {
	err := l.c.k.Load(p, parser, koanf.WithMergeFunc(mergeIDs))
	if ce, ok := errors.AsType[*recovery.ConfigError](err); ok {
		l.errs = append(l.errs, ce)
	} else if err != nil {
		l.fail("", err.Error(), "")
	}
}

// Values in koanf are the indices in Config.assignments of all assignments of
// an option, []int. mergeIDs keeps those of all sources in order: the last one
// wins, and a multi-valued option needs them all.
func mergeIDs(src, dest map[string]any) error {
	for group, v := range src {
		names, ok := v.(map[string]any)
		if !ok {
			return fmt.Errorf("section %s: unexpected %T", group, v)
		}
		old, ok := dest[group].(map[string]any)
		if !ok {
			old = map[string]any{}
			dest[group] = old
		}
		for name, ids := range names {
			before, _ := old[name].([]int)
			add, _ := ids.([]int)
			old[name] = append(slices.Clone(before), add...)
		}
	}
	return nil
}

// put records assignments and gives the map that koanf merges.
func (l *loader) put(as []assignment) map[string]any {
	m := map[string]any{}
	for _, a := range as {
		names, ok := m[a.group].(map[string]any)
		if !ok {
			names = map[string]any{}
			m[a.group] = names
		}
		ids, _ := names[a.name].([]int)
		names[a.name] = append(ids, len(l.c.assignments))
		l.c.assignments = append(l.c.assignments, a)
	}
	return m
}

// fileSource is a koanf.Provider of one file.
type fileSource string

// ReadBytes reads the file.
func (f fileSource) ReadBytes() ([]byte, error) {
	unreadable := func(reason, hint string) error {
		return &recovery.ConfigError{Pos: recovery.Position{File: string(f)}, Reason: reason, Hint: hint}
	}
	b, err := regular.Read(string(f), maxFileBytes)
	if err == nil {
		return b, nil
	}
	if _, ok := errors.AsType[*regular.TooLargeError](err); ok {
		return nil, unreadable(fmt.Sprintf("larger than %d bytes", maxFileBytes), "")
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, unreadable("no such file", "check --config-file")
	case errors.Is(err, regular.ErrNotRegular):
		return nil, unreadable(bare(err), "check --config-file; a folder goes with --config-dir")
	default:
		return nil, unreadable("cannot be read: "+bare(err), "let the user who runs this read it")
	}
}

// bare gives the reason of a file error without the path.
func bare(err error) string {
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		return pe.Err.Error()
	}
	return err.Error()
}

// Read is not offered: files are parsed.
func (fileSource) Read() (map[string]any, error) { return nil, errors.ErrUnsupported }

// confParser is a koanf.Parser of one file.
type confParser struct {
	l    *loader
	file string
}

// Unmarshal parses a file. Mistakes go to the loader, so that the files after
// it are read as well.
func (p confParser) Unmarshal(b []byte) (map[string]any, error) {
	out := parseFile(p.file, b)
	p.l.errs = append(p.l.errs, out.errs...)
	p.l.c.headers = append(p.l.c.headers, out.headers...)
	p.l.c.files = append(p.l.c.files, p.file)
	return p.l.put(out.assignments), nil
}

// Marshal is not offered.
func (confParser) Marshal(map[string]any) ([]byte, error) { return nil, errors.ErrUnsupported }

// mapSource is a koanf.Provider of values that need no parser.
type mapSource func() map[string]any

// ReadBytes is not offered: there is nothing to parse.
func (mapSource) ReadBytes() ([]byte, error) { return nil, errors.ErrUnsupported }

// Read gives the values.
func (m mapSource) Read() (map[string]any, error) { return m(), nil }

// environ takes OS_<SECTION>__<NAME>. Section and name are looked up in lower
// case; see Config.lookup.
func (l *loader) environ(env []string) map[string]any {
	var as []assignment
	for _, kv := range env {
		k, v, _ := strings.Cut(kv, "=")
		rest, ok := strings.CutPrefix(k, "OS_")
		group, name, ok2 := strings.Cut(rest, "__")
		if !ok || !ok2 || group == "" || name == "" || k != strings.ToUpper(k) || controlIn(k) >= 0 {
			continue
		}
		origin := "environment " + k
		if len(v) > maxResult || invalidUTF8(v) >= 0 {
			l.fail(origin, "the value is not UTF-8 text of at most 1 MiB", "")
			continue
		}
		as = append(as, outside(group, strings.ToLower(name), v, origin, envLayer))
	}
	return l.put(as)
}

func (l *loader) flags(flags []Flag) map[string]any {
	var as []assignment
	for _, f := range flags {
		origin := f.Origin
		if origin == "" {
			origin = "flag " + f.Group + "." + f.Name
		}
		if f.Group == "" || f.Name == "" || controlIn(f.Group+f.Name) >= 0 || len(f.Value) > maxResult || invalidUTF8(f.Value) >= 0 {
			l.fail(origin, "section and name of the option must be given, the value must be UTF-8 text of at most 1 MiB", "")
			continue
		}
		as = append(as, outside(f.Group, f.Name, f.Value, origin, flagLayer))
	}
	return l.put(as)
}

// outside is an assignment that stands in no file.
func outside(group, name, value, origin string, at layer) assignment {
	return assignment{
		section: group, group: groupKey(group), name: name,
		namePos: recovery.Position{File: origin},
		value:   text{s: value, file: origin, segs: []seg{{}}},
		layer:   at,
	}
}

// paths lists the files to read, in order.
func (l *loader) paths(src Sources) []string {
	files, dirs := slices.Clone(src.Files), slices.Clone(src.Dirs)
	if src.Discover {
		programs := []struct{ project, name string }{
			{"masakari", "masakari"}, {"masakari", "masakari-engine"}, {"wasakari", "wasakari"},
		}
		for _, p := range programs {
			if len(src.Files) == 0 {
				files = append(files, find(src, p.project, p.name+".conf", false)...)
			}
			if len(src.Dirs) == 0 {
				dirs = append(dirs, find(src, p.project, p.name+".conf.d", true)...)
			}
		}
	}
	for _, d := range dirs {
		entries, err := os.ReadDir(d)
		if err != nil {
			reason, hint := "cannot be read: "+bare(err), "let the user who runs this read it"
			if errors.Is(err, fs.ErrNotExist) {
				reason, hint = "no such directory", "check --config-dir"
			}
			l.fail(d, reason, hint)
			continue
		}
		var names []string
		for _, e := range entries {
			// A name that begins with a dot is no match of *.conf.
			if n := e.Name(); strings.HasSuffix(n, ".conf") && n[0] != '.' {
				names = append(names, n)
			}
		}
		sort.Strings(names)
		for _, n := range names {
			files = append(files, filepath.Join(d, n))
		}
	}
	if len(files) > maxFiles {
		l.fail(files[maxFiles], fmt.Sprintf("more than %d files", maxFiles), "")
		files = files[:maxFiles]
	}
	return files
}

// find gives the first place where a file or directory of that name is.
func find(src Sources, project, name string, dir bool) []string {
	var places []string
	if src.Home != "" {
		places = append(places, filepath.Join(src.Home, "."+project), src.Home)
	}
	etc := filepath.Join(src.Root, "/etc")
	if src.Root == "" {
		etc = "/etc"
	}
	places = append(places, filepath.Join(etc, project), etc)
	for _, p := range places {
		path := filepath.Join(p, name)
		if st, err := os.Stat(path); err == nil && st.IsDir() == dir {
			return []string{path}
		}
	}
	return nil
}
