package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/wasakari/wasakari/abi"
	"github.com/wasakari/wasakari/config"
	"github.com/wasakari/wasakari/internal/standardtasks"
	"github.com/wasakari/wasakari/recovery"
)

func newConfig(w world) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Write a configuration to begin with, and show the one in effect",
	}
	cmd.AddCommand(newConfigSample(w), newConfigShow(w))
	return cmd
}

func newConfigSample(w world) *cobra.Command {
	var taskDirs []string
	var output string
	var force bool
	cmd := &cobra.Command{
		Use:   "sample",
		Short: "Write a configuration file with every option, explained, at its default",
		Long: `Writes a configuration file that changes nothing: every option in a comment with
its help, type, limits and default. To set one, remove the "#" before its name
and write another value.

The options of the tasks in --task-dir stand under their sections, with the
tasks that read them; those that must be set say <required>. The modules are
neither compiled nor run. No other configuration is read.

Options of Masakari that have no effect here are left out; they do no harm in a
file. A wasakari.conf is read after masakari.conf, so what is set there may stay.`,
		Example: `  wasakari config sample --task-dir tasks/ -o wasakari.conf
  wasakari check --config-file wasakari.conf --task-dir tasks/`,
		Args: noArgs,
		RunE: func(*cobra.Command, []string) error {
			if force && output == "" {
				return usagef("--force: name the file to overwrite with -o")
			}
			_, tasks, err := readTasks(ownFolders(taskDirs))
			if err != nil {
				return err
			}
			text, err := config.Sample(tasks...)
			if err != nil {
				return &usageError{err}
			}
			if output == "" {
				_, err = io.WriteString(w.stdout, text)
				return err
			}
			return writeNew(output, text, 0o600, force)
		},
	}
	f := cmd.Flags()
	f.StringArrayVar(&taskDirs, "task-dir", nil, "`folder` with .wasm tasks whose options are included; repeatable")
	f.StringVarP(&output, "output", "o", "", "`file` to write, readable by you alone as it may get passwords (default: standard output)")
	f.BoolVar(&force, "force", false, "overwrite the file if it is there")
	return cmd
}

// writeNew writes a file that is not there yet, or any with force.
func writeNew(file, text string, mode os.FileMode, force bool) error {
	flags := os.O_WRONLY | os.O_CREATE | os.O_EXCL
	if force {
		flags = os.O_WRONLY | os.O_CREATE | os.O_TRUNC
	}
	f, err := os.OpenFile(file, flags, mode) //nolint:gosec // the caller names the file
	if errors.Is(err, fs.ErrExist) {
		return usagef("%s: it is there already; overwrite it with --force, or name another file", file)
	}
	if err != nil {
		return usagef("%s: %w", file, bare(err))
	}
	_, err = io.WriteString(f, text)
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("%s: %w", file, bare(err))
	}
	return nil
}

// readTasks reads what the standard tasks and the modules of the folders say
// about themselves, for those who only look: nothing is compiled, so neither
// is it checked whether a module would be admitted.
func readTasks(folders []taskFolder) (*catalog, []recovery.Task, error) {
	files, refused, err := moduleFiles(folders)
	err = errors.Join(append(refused, err)...)
	if err != nil {
		return nil, nil, &usageError{err}
	}
	c := newCatalog()
	var tasks []recovery.Task
	add := func(source, tenant string, wasm []byte) error {
		m, err := abi.ReadManifest(wasm)
		if err != nil {
			return located(source, err)
		}
		for _, mt := range m.Tasks {
			t := taskOf(m, mt, source, source == builtIn)
			t.Tenant = tenant
			tasks = append(tasks, t)
			c.tasks[t.Key] = t
		}
		return nil
	}
	problems := []error{add(builtIn, "", standardtasks.Module())}
	for _, file := range files {
		wasm, err := readFile(file.path, maxModuleRead)
		if err == nil {
			err = add(file.path, file.tenant, wasm)
		}
		problems = append(problems, err)
	}
	if err := errors.Join(problems...); err != nil {
		return nil, nil, &usageError{err}
	}
	return c, tasks, nil
}

// builtIn is the source of the standard tasks.
const builtIn = "built in"

func newConfigShow(w world) *cobra.Command {
	var s settings
	var output string
	var changed bool
	cmd := &cobra.Command{
		Use:   "show",
		Short: "Show the value of every option, and the file and line it comes from",
		Long: `Reads the configuration as check and run do and shows what is in effect: each
option with its value and where that was written: file:line:column, a variable
of the environment, a flag, or nowhere (default). Options of the tasks in the
task folders are included; the modules are neither compiled nor run.

Secrets, values made of them and passwords in URLs are shown as ****. Options
that were set but have no effect here are marked.`,
		Example: `  wasakari config show --changed                  # what differs from the defaults, and why
  wasakari config show --config-file custom-recovery-methods.conf --task-dir tasks/
  wasakari config show --output json | jq '.options[] | select(.group == "acme")'`,
		Args: noArgs,
		RunE: func(*cobra.Command, []string) error {
			if err := checkOutput(output); err != nil {
				return err
			}
			if _, err := newLogger(w, s.logLevel); err != nil { // nothing is logged, but a wrong flag is one
				return err
			}
			src, err := s.sources(w)
			if err != nil {
				return err
			}
			for _, dir := range s.taskDirs {
				src.Flags = append(src.Flags, config.Flag{
					Group: "wasakari", Name: "task_dir", Origin: "--task-dir",
					Value: strings.ReplaceAll(dir, "$", `\$`), // a folder's name is no reference
				})
			}
			cfg, err := readConfig(src)
			if err != nil {
				return err
			}
			folders, err := s.folders(cfg)
			if err != nil {
				return err
			}
			c, tasks, err := readTasks(folders)
			if err != nil {
				return err
			}
			list, err := cfg.Effective(tasks...)
			if err != nil {
				return &usageError{err}
			}
			if err := (&loaded{cfg: cfg, catalog: c}).warn(w); err != nil {
				return err
			}
			var shown []config.Setting
			for _, o := range list {
				if len(o.Places) == 0 && o.NoEffect || changed && o.Default && !o.Missing {
					continue
				}
				shown = append(shown, chosen(o, w))
			}
			if output == "json" {
				return printSettingsJSON(w.stdout, cfg.Files(), shown)
			}
			return printSettings(w.stdout, cfg.Files(), shown)
		},
	}
	s.flags(cmd)
	f := cmd.Flags()
	f.BoolVar(&changed, "changed", false, "only options that are not at their default, and those that must be set yet")
	f.StringVar(&output, "output", "text", "text or json")
	return cmd
}

// chosen fills in the folders that the commands choose themselves.
func chosen(o config.Setting, w world) config.Setting {
	if o.Group != "wasakari" || o.Value != nil {
		return o
	}
	path, err := "", error(nil)
	switch o.Name {
	case "state_dir":
		path, err = folder("", w, "XDG_STATE_HOME", ".local/state")
	case "cache_dir":
		path, err = folder("", w, "XDG_CACHE_HOME", ".cache")
	}
	if path != "" && err == nil {
		o.Value = path
	}
	return o
}

// origins says where the values of an option were written.
func origins(o config.Setting) []string {
	switch {
	case len(o.Places) == 0 && o.Missing:
		return []string{"not set"}
	case len(o.Places) == 0:
		return []string{recovery.Position{}.String()}
	}
	var list []string
	for _, p := range o.Places {
		list = append(list, p.String())
	}
	return list
}

// printSettings prints a table for each section, in the order of the options.
func printSettings(out io.Writer, files []string, list []config.Setting) error {
	var b strings.Builder
	if len(files) > 0 {
		fmt.Fprintf(&b, "read: %s\n", strings.Join(files, ", "))
	} else {
		b.WriteString("read: no configuration file\n")
	}
	if len(list) == 0 {
		b.WriteString("\nevery option is at its default\n")
	}
	var sections []string
	bySection := map[string][]config.Setting{}
	for _, o := range list {
		if bySection[o.Group] == nil {
			sections = append(sections, o.Group)
		}
		bySection[o.Group] = append(bySection[o.Group], o)
	}
	for _, section := range sections {
		fmt.Fprintf(&b, "\n[%s]\n", section)
		const widest = 40 // longer values push the place to the right
		names, values := 0, 0
		for _, o := range bySection[section] {
			names = max(names, len(o.Name))
			if n := utf8.RuneCountInString(settingText(o)); n <= widest {
				values = max(values, n)
			}
		}
		for _, o := range bySection[section] {
			fmt.Fprintf(&b, "  %-*s  %-*s  %s", names, o.Name, values, settingText(o), strings.Join(origins(o), ", "))
			if o.NoEffect {
				b.WriteString(" (no effect)")
			}
			b.WriteString("\n")
		}
	}
	return printLines(out, b.String())
}

func settingText(o config.Setting) string {
	if o.Missing {
		return "(required by " + strings.Join(o.Tasks, ", ") + ")"
	}
	return o.Text()
}

// settingDoc is one option in the document that --output json prints.
type settingDoc struct {
	Group string              `json:"group"`
	Name  string              `json:"name"`
	Type  recovery.OptionType `json:"type"`
	// Value is null when the option is unset; of a flow, the keys of its tasks
	// by phase.
	Value any `json:"value"`
	// From has one origin, of a multi-valued option one for each value.
	From     []string `json:"from"`
	Default  bool     `json:"default"`
	Secret   bool     `json:"secret,omitempty"`
	Missing  bool     `json:"missing,omitempty"`
	NoEffect bool     `json:"no_effect,omitempty"`
	Tasks    []string `json:"tasks,omitempty"`
}

func printSettingsJSON(out io.Writer, files []string, list []config.Setting) error {
	doc := struct {
		Files   []string     `json:"files"`
		Options []settingDoc `json:"options"`
	}{Files: append([]string{}, files...), Options: []settingDoc{}}
	for _, o := range list {
		d := settingDoc{
			Group: o.Group, Name: o.Name, Type: o.Type, Value: o.Value, From: origins(o),
			Default: o.Default, Secret: o.Secret, Missing: o.Missing, NoEffect: o.NoEffect, Tasks: o.Tasks,
		}
		if f, ok := o.Value.(recovery.Flow); ok {
			phases := map[recovery.Phase][]string{}
			for _, phase := range recovery.Phases() {
				phases[phase] = []string{}
				for _, ref := range f.Tasks(phase) {
					phases[phase] = append(phases[phase], ref.Key)
				}
			}
			d.Value = phases
		}
		doc.Options = append(doc.Options, d)
	}
	return printJSON(out, doc)
}
