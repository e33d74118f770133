package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/spf13/cobra"

	"github.com/wasakari/wasakari/abi"
	"github.com/wasakari/wasakari/internal/safeyaml"
	"github.com/wasakari/wasakari/runtime"
)

const (
	maxModuleRead   = 64 << 20 // the ceiling of [wasakari] module_mib
	maxManifestRead = 64 << 10
)

func newTask(w world) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "task",
		Short: "Look at task modules and make them",
	}
	cmd.AddCommand(newInspect(w), newPack(w))
	return cmd
}

func newInspect(w world) *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "inspect FILE",
		Short: "Show what a module says about itself, and what it imports",
		Long: `Reads a module without compiling or running it: its tasks with what they
require and provide, the ops they ask for, imports, exports and sizes.`,
		Example: "  wasakari task inspect tasks/custom_pre_task.wasm",
		Args:    cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			if err := checkOutput(output); err != nil {
				return err
			}
			wasm, err := readFile(args[0], maxModuleRead)
			if err != nil {
				return err
			}
			info, err := runtime.Inspect(args[0], wasm)
			if err != nil {
				return &usageError{err}
			}
			if output == "json" {
				return printJSON(w.stdout, info)
			}
			return printInfo(w.stdout, args[0], info)
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "text", "text or json")
	return cmd
}

func checkOutput(output string) error {
	if output != "text" && output != "json" {
		return usagef("--output %s: want text or json", output)
	}
	return nil
}

func printInfo(out io.Writer, file string, info *runtime.Info) error {
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
		for _, o := range t.Options {
			fmt.Fprintf(&b, "    option    [%s] %s (%s%s)%s\n", o.Group, o.Name, o.Type, optionNote(o), because(o.Help))
		}
		list("limits", limitNotes(t.Limits))
		if t.OnInterrupt != "" {
			list("interrupt", []string{t.OnInterrupt})
		}
	}
	line := func(format string, args ...any) {
		b.WriteString(strings.TrimRight(oneLine(fmt.Sprintf(format, args...)), " ") + "\n")
	}
	b.WriteString("\n  imports\n")
	for _, i := range info.Imports {
		line("    %s.%s %s", i.Module, i.Name, i.Signature)
	}
	b.WriteString("  exports\n")
	for _, e := range info.Exports {
		line("    %s %s", e.Name, e.Signature)
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
			if err := admissible(cmd.Context(), args[1], packed); err != nil {
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
	text, err := readFile(manifestFile, maxManifestRead)
	if err != nil {
		return nil, nil, err
	}
	if err := safeyaml.Check(text); err != nil {
		return nil, nil, usagef("%s:%s", manifestFile, yamlHint(err))
	}
	doc, err := yaml.YAMLToJSON(text)
	if err != nil {
		return nil, nil, usagef("%s%s", manifestFile, yamlProblem(err))
	}
	m, err := abi.ParseManifest(doc)
	if err != nil {
		return nil, nil, &usageError{located(manifestFile, err)}
	}
	wasm, err := readFile(moduleFile, maxModuleRead)
	if err != nil {
		return nil, nil, err
	}
	packed, err := abi.AppendManifest(wasm, m)
	if err != nil {
		return nil, nil, usagef("%s: %w", moduleFile, err)
	}
	return packed, m, nil
}

// yamlHint gives a problem with its hint.
func yamlHint(err error) string {
	if p, ok := errors.AsType[*safeyaml.Problem](err); ok && p.Hint != "" {
		return p.Error() + "; " + p.Hint
	}
	return err.Error()
}

var yamlPosition = regexp.MustCompile(`^\[(\d+):(\d+)\] `)

// yamlProblem gives ":line:col: reason", without the lines of the file that
// the decoder quotes.
func yamlProblem(err error) string {
	text := yaml.FormatError(err, false, false)
	if m := yamlPosition.FindStringSubmatch(text); m != nil {
		return fmt.Sprintf(":%s:%s: %s", m[1], m[2], text[len(m[0]):])
	}
	return ": " + text
}

// admissible admits a module and forgets it.
func admissible(ctx context.Context, source string, wasm []byte) error {
	rt, err := runtime.New(runtime.Config{MaxModuleBytes: maxModuleRead})
	if err != nil {
		return err
	}
	_, err = rt.Admit(ctx, source, wasm)
	if err != nil {
		err = &usageError{located(source, err)}
	}
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	return errors.Join(err, rt.Close(closing))
}
