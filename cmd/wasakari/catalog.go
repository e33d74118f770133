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
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/wasakari/wasakari/abi"
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
		modules[0], problems[0] = rt.Admit(ctx, "built in", standardtasks.Module())
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
		c.tasks[mt.Key] = taskOf(m, mt, standard)
		c.modules[mt.Key] = m
	}
	return errors.Join(errs...)
}

// taskOf says in recovery's words what a manifest says in its own, which
// abi.ParseManifest has checked.
func taskOf(m *runtime.Module, mt abi.ManifestTask, standard bool) recovery.Task {
	t := recovery.Task{
		Key: mt.Key, Class: mt.Class, Summary: mt.Summary,
		Library: m.Manifest().Library, Version: m.Manifest().Version,
		Digest: m.Digest(), Source: m.Source(),
		Requires: mt.Requires, Optional: mt.Optional, Provides: mt.Provides, Uses: mt.Uses,
		OnInterrupt: recovery.OnInterrupt(mt.OnInterrupt), Standard: standard, HasRevert: m.HasRevert(),
	}
	if t.Class == "" {
		t.Class = t.Key
	}
	if t.OnInterrupt == "" {
		t.OnInterrupt = recovery.Rerun
	}
	t.Limits.MemoryMiB = mt.Limits.MemoryMiB
	if mt.Limits.Timeout != "" {
		t.Limits.Timeout, _ = time.ParseDuration(mt.Limits.Timeout)
	}
	for _, o := range mt.Options {
		t.Options = append(t.Options, recovery.OptionSpec{
			Group: o.Group, Name: o.Name, Type: recovery.OptionType(o.Type), Default: o.Default,
			Help: o.Help, Choices: o.Choices, Min: o.Min, Max: o.Max, Required: o.Required, Secret: o.Secret,
		})
	}
	return t
}
