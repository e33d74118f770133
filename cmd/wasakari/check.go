package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/wasakari/wasakari/recovery"
)

func newCheck(w world) *cobra.Command {
	var s settings
	var output string
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Check configuration, flows and tasks; start nothing",
		Long: `Reads the configuration, admits every module of the task folders and checks all
flows: every key known, every input there, every op granted, every
required option set. Nothing is ever dropped in silence: what is wrong is told
with file, line and column, and the exit code is 2.

For each task that is not a standard one it shows what it asks for, where that
was granted ([grants]), and what is missing, with the line to write, and
the limits that hold for it, with where they come from ([limits]).`,
		Example: "  wasakari check --config-file custom-recovery-methods.conf --task-dir tasks/",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkOutput(output); err != nil {
				return err
			}
			l, err := s.load(cmd.Context(), w, nil)
			if err != nil {
				return err
			}
			defer l.close() //nolint:errcheck // nothing was written
			if err := l.warn(w); err != nil {
				return err
			}
			err = l.checkAll()
			if len(l.catalog.refused) > 0 {
				err = errors.Join(&usageError{errors.Join(l.catalog.refused...)}, err)
			}
			if output == "json" {
				return errors.Join(err, printJSON(w.stdout, l.checkDocument(err == nil)))
			}
			if err != nil {
				if text, lacking := l.grantsText(); lacking {
					err = errors.Join(err, printLines(w.stdout, strings.TrimPrefix(text, "\n")))
				}
				return err
			}
			return printCheck(w.stdout, l)
		},
	}
	s.flags(cmd)
	cmd.Flags().StringVarP(&output, "output", "o", "text", "text or json; what is wrong is told on standard error")
	return cmd
}

// checkDoc is the document that check prints with --output json.
type checkDoc struct {
	Good  bool     `json:"good"`
	Files []string `json:"files"`
	// Flows holds the keys of each flow by phase.
	Flows  map[recovery.FlowKind]map[recovery.Phase][]string `json:"flows"`
	Grants []taskGrants                                      `json:"grants"`
	Limits []taskLimits                                      `json:"limits"`
	// Engines are those that script modules name.
	Engines []recovery.ModuleEngine `json:"engines"`
}

func (l *loaded) checkDocument(good bool) checkDoc {
	doc := checkDoc{
		Good: good, Files: append([]string{}, l.cfg.Files()...), Grants: []taskGrants{}, Limits: l.shownLimits(), Engines: l.engines(),
		Flows: map[recovery.FlowKind]map[recovery.Phase][]string{},
	}
	for kind, f := range l.cfg.Flows {
		doc.Flows[kind] = map[recovery.Phase][]string{}
		for _, phase := range recovery.Phases() {
			keys := []string{}
			for _, ref := range f.Tasks(phase) {
				keys = append(keys, ref.Key)
			}
			doc.Flows[kind][phase] = keys
		}
	}
	for _, key := range l.catalog.Keys() {
		if task, _ := l.catalog.Task(key); !task.Standard {
			doc.Grants = append(doc.Grants, askedOf(l.cfg, task, l.noFlow(task)))
		}
	}
	return doc
}

func printCheck(out io.Writer, l *loaded) error {
	var b strings.Builder
	if files := l.cfg.Files(); len(files) > 0 {
		fmt.Fprintf(&b, "read: %s\n", strings.Join(files, ", "))
	} else {
		b.WriteString("read: no configuration file; everything is at its default\n")
	}
	for _, kind := range recovery.FlowKinds() {
		f, err := l.cfg.Flow(kind)
		if err != nil {
			return err
		}
		off := ""
		if !l.inUse(kind) {
			off = "; off, see [host_repair] enabled"
		}
		fmt.Fprintf(&b, "\n%s (%s, %s%s)\n", kind, kind.Option(), f.Pos, off)
		for _, phase := range recovery.Phases() {
			refs := f.Tasks(phase)
			if len(refs) == 0 {
				fmt.Fprintf(&b, "  %-5s (none)\n", phase)
			}
			for i, ref := range refs {
				label := string(phase)
				if i > 0 {
					label = ""
				}
				task, _ := l.catalog.Task(ref.Key)
				fmt.Fprintf(&b, "  %-5s %-36s %s\n", label, ref.Key, origin(task))
			}
		}
	}
	grants, _ := l.grantsText()
	b.WriteString(grants)
	b.WriteString(l.limitsText())
	if list := l.engines(); len(list) > 0 {
		b.WriteString("\nengines of scripts\n")
		for _, e := range list {
			fmt.Fprintf(&b, "  %s\n", engineNote(&e))
		}
	}
	b.WriteString("\nall flows are good\n")
	return printLines(out, b.String())
}

// engines lists those that modules name, and where they are.
func (l *loaded) engines() []recovery.ModuleEngine {
	list := append([]recovery.ModuleEngine{}, l.catalog.engines()...)
	for i, e := range list {
		list[i].State = l.stock.state(e, nil)
	}
	return list
}

// inUse reports whether something may run flows of a kind by itself.
func (l *loaded) inUse(kind recovery.FlowKind) bool {
	return kind != recovery.HostRepair || l.cfg.HostRepair.Enabled
}

func origin(t recovery.Task) string {
	if t.Standard {
		return "standard"
	}
	return fmt.Sprintf("%s %s, %s", t.Library, t.Version, t.Source)
}
