package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"github.com/wasakari/wasakari/abi"
	"github.com/wasakari/wasakari/config"
	"github.com/wasakari/wasakari/internal/safeyaml"
	"github.com/wasakari/wasakari/internal/standardtasks"
	"github.com/wasakari/wasakari/recovery"
	"github.com/wasakari/wasakari/runtime"
)

const (
	maxModuleRead   = 64 << 20 // the ceiling of [wasakari] module_mib
	maxManifestRead = 64 << 10
)

func newTask(w world) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "task",
		Short: "Write, test and build tasks, and upload them to a server or a registry",
		Example: `  wasakari task new --lang python my_task
  wasakari task test my_task
  wasakari task build my_task
  wasakari task push custom_pre_task.wasm
  wasakari task versions custom_pre_task`,
	}
	cmd.AddCommand(newTaskNew(w), newTaskBuild(w), newTaskTest(w), newTaskTrace(w), newInspect(w), newPack(w), newSign(w),
		newPush(w), newPull(w), newTaskList(w), newTaskShow(w), newTaskVersions(w), newTaskPin(w), newTaskUnpin(w), newTaskRemove(w))
	return cmd
}

// inspection is what task inspect tells of a module.
type inspection struct {
	*runtime.Info
	// SignedBy is the public key of a good signature, SignatureProblem says what
	// is wrong with one that is not.
	SignedBy         string `json:"signed_by,omitempty"`
	SignatureProblem string `json:"signature_problem,omitempty"`
	// EngineState says where the engine of a script module is.
	EngineState recovery.EngineState `json:"engine_state,omitempty"`

	// Limits are those that hold for each task, with a configuration as it says.
	Limits []taskLimits `json:"limits,omitempty"`

	// With a configuration: whether it takes the module, and what it grants.
	Registration string       `json:"registration,omitempty"` // the library's line in [libraries]
	Refused      string       `json:"refused,omitempty"`      // why the configuration does not take the module
	Grants       []taskGrants `json:"grants,omitempty"`
}

func newInspect(w world) *cobra.Command {
	var output, tenant string
	var s settings
	cmd := &cobra.Command{
		Use:   "inspect FILE",
		Short: "Show what a module says about itself, and what it imports",
		Long: `Reads a module without compiling or running it: its tasks with what they
require and provide, the ops they ask for, imports, exports and sizes, and who
signed it.

With --config-file it shows as well whether the configuration takes the module
([libraries]), and for each task what it asks for, what it is granted and what
is missing ([grants]), and
which limits hold for it and where they come from ([limits]).`,
		Example: `  wasakari task inspect tasks/custom_pre_task.wasm
  wasakari task inspect tasks/custom_pre_task.wasm --config-file custom-recovery-methods.conf`,
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			if err := checkOutput(output); err != nil {
				return err
			}
			if tenant != "" && !config.TenantID(tenant) {
				return usagef("--tenant %s: want the id of a project", tenant)
			}
			wasm, err := readFile(args[0], maxModuleRead)
			if err != nil {
				return err
			}
			info, err := runtime.Inspect(args[0], wasm)
			if err != nil {
				return &usageError{err}
			}
			in := inspection{Info: info}
			switch key, err := abi.ReadSignature(wasm); {
			case err != nil:
				in.SignatureProblem = err.Error()
			case key != nil:
				in.SignedBy = config.PublicKey(key)
			}
			src, held := config.Sources{}, len(s.configFiles)+len(s.configDirs) > 0
			if held {
				if src, err = s.sources(w); err != nil {
					return err
				}
				src.Discover = false
			}
			cfg, err := readConfig(src)
			if err != nil {
				return err
			}
			if e := in.engine(); e != nil {
				in.EngineState = newStock(w, cfg.Wasakari.StateDir, zap.NewNop()).state(*e, nil)
			}
			in.Limits = effectiveLimits(info.Manifest, cfg, tenant)
			if held {
				in.hold(cfg, moduleFile{path: args[0], tenant: tenant}, wasm)
			}
			if output == "json" {
				return printJSON(w.stdout, in)
			}
			return printInfo(w.stdout, args[0], in)
		},
	}
	f := cmd.Flags()
	f.StringVarP(&output, "output", "o", "text", "text or json")
	f.StringArrayVar(&s.configFiles, "config-file", nil, "configuration `file` to hold the module against; repeatable")
	f.StringArrayVar(&s.configDirs, "config-dir", nil, "`folder` of which *.conf is read after the files; repeatable")
	f.StringVar(&tenant, "tenant", "", "`PROJECT` that the module is of, by its id (default: the operator)")
	return cmd
}

// engine tells of the engine of a script module; nil: it is none.
func (in *inspection) engine() *recovery.ModuleEngine {
	e := engineOf(in.Engine)
	if e != nil {
		e.State = in.EngineState
	}
	return e
}

// hold compares the module with what the operator wrote.
func (in *inspection) hold(cfg *config.Config, f moduleFile, wasm []byte) {
	m := in.Manifest
	if m == nil {
		return
	}
	if reg, ok := cfg.Registration(m.Library, f.tenant); ok {
		in.Registration = fmt.Sprintf("%s (%s)", reg, reg.Pos)
	}
	if _, err := identify(cfg, m.Library, f, wasm); err != nil {
		in.Refused = err.Error()
	}
	for _, mt := range m.Tasks {
		task := taskOf(m, mt, f.path, false)
		task.Tenant = f.tenant
		in.Grants = append(in.Grants, askedOf(cfg, task, noFlow(task, nil)))
	}
}

func checkOutput(output string) error {
	if output != "text" && output != "json" {
		return usagef("--output %s: want text or json", output)
	}
	return nil
}

func printInfo(out io.Writer, file string, info inspection) error {
	var b strings.Builder
	m := info.Manifest
	fmt.Fprintln(&b, file)
	if m == nil {
		m = &abi.Manifest{}
		fmt.Fprintf(&b, "  problem  %s\n", oneLine(info.ManifestProblem))
	} else {
		fmt.Fprintf(&b, "  library  %s %s\n", m.Library, m.Version)
	}
	if m.Summary != "" {
		fmt.Fprintf(&b, "  summary  %s\n", m.Summary)
	}
	fmt.Fprintf(&b, "  digest   sha256:%s\n  size     %s\n", info.Digest, size(info.Bytes))
	for _, l := range []struct{ name, text string }{
		{"engine", engineNote(info.engine())}, {"script", strings.Join(info.Script, ", ")}, {"signed", info.SignedBy}, {"problem", info.SignatureProblem}, {"line", info.Registration}, {"refused", info.Refused},
	} {
		if l.text != "" {
			fmt.Fprintf(&b, "  %-8s %s\n", l.name, l.text)
		}
	}
	list := func(name string, items []string) {
		if len(items) > 0 {
			fmt.Fprintf(&b, "    %-9s %s\n", name, strings.Join(items, ", "))
		}
	}
	for _, t := range m.Tasks {
		fmt.Fprintf(&b, "\n  task %s%s\n", t.Key, because(t.Summary))
		list("requires", t.Requires)
		list("optional", t.Optional)
		list("provides", t.Provides)
		list("uses", t.Uses)
		list("requests", t.HTTP)
		for _, o := range t.Options {
			fmt.Fprintf(&b, "    option    [%s] %s (%s%s)%s\n", o.Group, o.Name, o.Type, optionNote(o), because(o.Help))
		}
		list("limits", limitNotes(t.Limits))
		for _, l := range info.Limits {
			if l.Task == t.Key {
				list("effective", l.notes())
			}
		}
		if t.OnInterrupt != "" {
			list("interrupt", []string{t.OnInterrupt})
		}
		for _, g := range info.Grants {
			if g.Task != t.Key {
				continue
			}
			for _, row := range g.rows() {
				fmt.Fprintf(&b, "    asks for  %-28s %s\n", row[0], row[1])
			}
			if g.Hint != "" {
				fmt.Fprintf(&b, "    %s\n", g.Hint)
			}
			if g.Write != "" {
				fmt.Fprintf(&b, "    %s\n", g.Write)
			}
			if g.NoFlow != "" {
				fmt.Fprintf(&b, "    %s%s\n", noFlowMay, g.NoFlow)
			}
		}
	}
	line := func(format string, args ...any) {
		b.WriteString(strings.TrimRight(oneLine(fmt.Sprintf(format, args...)), " ") + "\n")
	}
	b.WriteString("\n")
	if info.Engine == nil {
		b.WriteString("  imports\n")
		for _, i := range info.Imports {
			line("    %s.%s %s", i.Module, i.Name, i.Signature)
		}
		b.WriteString("  exports\n")
		for _, e := range info.Exports {
			line("    %s %s", e.Name, e.Signature)
		}
	}
	b.WriteString("  sections\n")
	for _, s := range info.Sections {
		line("    %-24s %s", s.Name, size(s.Bytes))
	}
	// Names and texts are a stranger's: a module that is only looked at may be
	// hostile.
	return printLines(out, b.String())
}

// limitNotes says what a task asks for.
func limitNotes(l abi.ManifestLimits) []string {
	var notes []string
	if l.MemoryMiB > 0 {
		notes = append(notes, fmt.Sprintf("memory %d MiB", l.MemoryMiB))
	}
	if l.Timeout != "" {
		notes = append(notes, "time "+l.Timeout)
	}
	if l.CPU > 0 {
		notes = append(notes, fmt.Sprintf("cpu %g units", l.CPU))
	}
	return notes
}

func optionNote(o abi.ManifestOption) string {
	var notes []string
	if o.Required {
		notes = append(notes, "required")
	}
	if o.Secret {
		notes = append(notes, "secret")
	}
	if o.Default != nil {
		d, _ := json.Marshal(o.Default) // came from JSON
		notes = append(notes, "default "+string(d))
	}
	if len(notes) == 0 {
		return ""
	}
	return ", " + strings.Join(notes, ", ")
}

func size(n int) string {
	switch {
	case n >= 1<<20:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	case n >= 1<<10:
		return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
	}
	return fmt.Sprintf("%d B", n)
}

func newPack(w world) *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "pack MANIFEST MODULE -o OUT",
		Short: "Put a manifest into a module",
		Long: `Checks task.yaml, appends it to the module as its manifest, and admits the
result as check and run will do: what they would refuse, pack refuses.`,
		Example: "  wasakari task pack task.yaml mod.wasm -o custom_pre_task.wasm",
		Args:    cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if output == "" {
				return usagef("name the file to write with -o, such as -o custom_pre_task.wasm")
			}
			packed, m, err := pack(args[0], args[1])
			if err != nil {
				return err
			}
			if err := admissible(cmd.Context(), w, args[1], packed); err != nil {
				return err
			}
			if err := os.WriteFile(output, packed, 0o644); err != nil { //nolint:gosec // a module is no secret
				return &usageError{err}
			}
			var keys []string
			for _, t := range m.Tasks {
				keys = append(keys, t.Key)
			}
			fmt.Fprintf(w.stdout, "%s: %s %s, %s, tasks %s\n", output, m.Library, m.Version, size(len(packed)), strings.Join(keys, ", "))
			return nil
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "", "`file` to write; name it after a key of the manifest")
	return cmd
}

func pack(manifestFile, moduleFile string) ([]byte, *abi.Manifest, error) {
	if _, err := readManifest(manifestFile); err != nil {
		return nil, nil, err
	}
	wasm, err := readFile(moduleFile, maxModuleRead)
	if err != nil {
		return nil, nil, err
	}
	return packInto(manifestFile, moduleFile, wasm)
}

// packInto puts the manifest of a file into a module.
func packInto(manifestFile, source string, wasm []byte) ([]byte, *abi.Manifest, error) {
	m, err := readManifest(manifestFile)
	if err != nil {
		return nil, nil, err
	}
	packed, err := abi.AppendManifest(wasm, m)
	if err != nil {
		return nil, nil, usagef("%s: %w", source, err)
	}
	return packed, m, nil
}

// readManifest reads a manifest as authors write it.
func readManifest(file string) (*abi.Manifest, error) {
	doc, err := manifestJSON(file)
	if err != nil {
		return nil, err
	}
	m, err := abi.ParseManifest(doc)
	if err != nil {
		return nil, &usageError{located(file, err)}
	}
	for _, mt := range m.Tasks {
		if err := ownOptions(taskOf(m, mt, file, false)); err != nil && m.Library != standardLibrary() {
			return nil, &usageError{err}
		}
	}
	return m, nil
}

// manifestJSON reads a manifest's file as JSON, whatever it says.
func manifestJSON(file string) ([]byte, error) {
	text, err := readFile(file, maxManifestRead)
	if err != nil {
		return nil, err
	}
	doc, err := safeyaml.JSON(file, text)
	if err != nil {
		return nil, &usageError{err}
	}
	return doc, nil
}

// standardLibrary is the library of the standard tasks, which are packed like
// any other and read Masakari's own options.
func standardLibrary() string {
	m, err := abi.ReadManifest(standardtasks.Module())
	if err != nil {
		return "" // a test would not let it pass
	}
	return m.Library
}

// admissible admits a module. What was compiled for it stays in the user's cache,
// where the first run finds it.
func admissible(ctx context.Context, w world, source string, wasm []byte) error {
	return withRuntime(ctx, w, func(rt *runtime.Runtime) error {
		if _, err := rt.Admit(ctx, source, wasm); err != nil {
			return &usageError{located(source, err)}
		}
		return nil
	})
}
