package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/wasakari/wasakari/abi"
	"github.com/wasakari/wasakari/config"
	"github.com/wasakari/wasakari/internal/standardtasks"
	"github.com/wasakari/wasakari/recovery"
	"github.com/wasakari/wasakari/runtime"
)

// maxModuleFiles bounds a task folder.
const maxModuleFiles = 1000

// catalog holds the admitted modules by the keys of their tasks.
type catalog struct {
	tasks   map[string]recovery.Task
	modules map[string]*runtime.Module
	// standard is the library of the standard tasks.
	standard string
}

// Task finds a task by its entry-point key.
func (c *catalog) Task(key string) (recovery.Task, bool) {
	t, ok := c.tasks[key]
	return t, ok
}

// Keys lists the keys, sorted.
func (c *catalog) Keys() []string { return slices.Sorted(maps.Keys(c.tasks)) }

// loadCatalog admits the standard tasks and every module of the folders, none
// larger than maxBytes. All mistakes are told at once.
func loadCatalog(ctx context.Context, rt *runtime.Runtime, dirs []string, maxBytes int64) (*catalog, error) {
	files, err := moduleFiles(dirs)
	if err != nil {
		return nil, err
	}
	modules := make([]*runtime.Module, len(files)+1)
	problems := make([]error, len(files)+1)
	var group errgroup.Group
	group.SetLimit(max(2, goMaxProcs()))
	group.Go(func() error {
		modules[0], problems[0] = rt.Admit(ctx, builtIn, standardtasks.Module())
		return nil
	})
	for i, file := range files {
		group.Go(func() error {
			modules[i+1], problems[i+1] = admitFile(ctx, rt, file, maxBytes)
			return nil
		})
	}
	_ = group.Wait() // the problems are kept in order instead
	c := &catalog{tasks: map[string]recovery.Task{}, modules: map[string]*runtime.Module{}}
	for i, m := range modules {
		if m == nil {
			continue
		}
		problems = append(problems, c.add(m, i == 0))
	}
	return c, errors.Join(problems...)
}

// moduleFiles lists the .wasm files of the folders, sorted in each.
func moduleFiles(dirs []string) ([]string, error) {
	var files []string
	var errs []error
	for _, dir := range dirs {
		entries, err := os.ReadDir(dir)
		if err != nil {
			errs = append(errs, fmt.Errorf("task folder %s: %w; check --task-dir and [wasakari] task_dir", dir, bare(err)))
			continue
		}
		for _, e := range entries {
			if strings.HasSuffix(e.Name(), ".wasm") && !e.IsDir() {
				files = append(files, filepath.Join(dir, e.Name()))
			}
		}
	}
	if len(files) > maxModuleFiles {
		errs = append(errs, fmt.Errorf("task folders hold %d modules, more than the %d allowed", len(files), maxModuleFiles))
	}
	return files, errors.Join(errs...)
}

func admitFile(ctx context.Context, rt *runtime.Runtime, file string, maxBytes int64) (*runtime.Module, error) {
	wasm, err := readFile(file, maxBytes)
	if errors.Is(err, recovery.ErrTooLarge) {
		return nil, fmt.Errorf("%w; strip it (Go -ldflags='-s -w', Rust strip = true, wasm-opt --strip-debug), or raise [wasakari] module_mib", err)
	}
	if err != nil {
		return nil, err
	}
	m, err := rt.Admit(ctx, file, wasm)
	if err != nil {
		return nil, located(file, err)
	}
	key := strings.TrimSuffix(filepath.Base(file), ".wasm")
	if !slices.ContainsFunc(m.Manifest().Tasks, func(t abi.ManifestTask) bool { return t.Key == key }) {
		var keys []string
		for _, t := range m.Manifest().Tasks {
			keys = append(keys, t.Key)
		}
		return nil, fmt.Errorf("%s: its manifest has no task %q, but %s; name the file after one of them, or mend task.yaml",
			file, key, strings.Join(keys, ", "))
	}
	return m, nil
}

// add enters the tasks of a module. The same module may lie there under the
// name of each of its keys.
func (c *catalog) add(m *runtime.Module, standard bool) error {
	var errs []error
	if standard {
		c.standard = m.Manifest().Library
	}
	for _, mt := range m.Manifest().Tasks {
		if other, ok := c.tasks[mt.Key]; ok {
			switch {
			case other.Digest == m.Digest():
			case other.Standard:
				errs = append(errs, fmt.Errorf("%s: task %s is a standard task, which is built in; give yours another key", m.Source(), mt.Key))
			default:
				errs = append(errs, fmt.Errorf("%s: task %s is in %s too; remove one of them", m.Source(), mt.Key, other.Source))
			}
			continue
		}
		if !standard && m.Manifest().Library == c.standard {
			// Values in the key-value store belong to a library, and so do grants.
			errs = append(errs, fmt.Errorf("%s: its library %s is that of the standard tasks, which are built in; give yours another name in task.yaml", m.Source(), c.standard))
			break
		}
		task := taskOf(m.Manifest(), mt, m.Source(), standard)
		task.Digest, task.HasRevert = m.Digest(), m.HasRevert()
		errs = append(errs, ownOptions(task))
		c.tasks[mt.Key] = task
		c.modules[mt.Key] = m
	}
	return errors.Join(errs...)
}

// ownOptions refuses options in sections that are not the task's to read: the
// cloud's password stands in one of them.
func ownOptions(t recovery.Task) error {
	if t.Standard {
		return nil
	}
	var errs []error
	for _, o := range t.Options {
		if config.Reserved(o.Group) {
			errs = append(errs, fmt.Errorf("%s: task %s asks for option [%s] %s: that section belongs to Wasakari, Masakari or an OpenStack library; "+
				"give its options a section of their own in task.yaml, such as [%s]", t.Source, t.Key, o.Group, o.Name, sectionName(t.Library)))
		}
	}
	return errors.Join(errs...)
}

// sectionName makes a library's name into that of a section.
func sectionName(library string) string {
	return strings.NewReplacer("-", "_", ".", "_").Replace(library)
}

// taskOf says in recovery's words what a manifest says in its own, which
// abi.ParseManifest has checked.
func taskOf(m *abi.Manifest, mt abi.ManifestTask, source string, standard bool) recovery.Task {
	t := recovery.Task{
		Key: mt.Key, Class: mt.Class, Summary: mt.Summary, Library: m.Library, Version: m.Version, Source: source,
		Requires: mt.Requires, Optional: mt.Optional, Provides: mt.Provides, Uses: mt.Uses,
		OnInterrupt: recovery.OnInterrupt(mt.OnInterrupt), Standard: standard,
	}
	if t.Class == "" {
		t.Class = t.Key
	}
	if t.OnInterrupt == "" {
		t.OnInterrupt = recovery.Rerun
	}
	for _, o := range mt.Options {
		t.Options = append(t.Options, recovery.OptionSpec{
			Group: o.Group, Name: o.Name, Type: recovery.OptionType(o.Type), Default: o.Default,
			Help: o.Help, Choices: o.Choices, Min: o.Min, Max: o.Max, Required: o.Required, Secret: o.Secret,
		})
	}
	return t
}
