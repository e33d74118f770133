package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"github.com/wasakari/wasakari/api/wasakariv1"
	"github.com/wasakari/wasakari/recovery"
)

func newFlow(w world) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "flow",
		Short: "Look at the flows of a server",
		Example: `  wasakari flow show host-auto
  wasakari flow check`,
	}
	cmd.AddCommand(newFlowShow(w), newFlowCheck(w))
	return cmd
}

func newFlowShow(w world) *cobra.Command {
	var f remoteFlags
	var segment string
	cmd := &cobra.Command{
		Use:   "show [KIND]",
		Short: "Show the flows as they stand: each task with its module and grants",
		Long: `Shows the flows that a server would run now, of its configuration, task folders
and uploads: for each task the module that it is in, with version and digest,
and what it was granted. KIND is host-auto, host-rh, instance,
process or host-repair.`,
		Example: `  wasakari flow show
  wasakari flow show host-auto --segment 1cac8712-c5fb-4790-9479-762578a3f944`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			query := url.Values{}
			if len(args) == 1 {
				kind, err := recovery.ParseFlowKind(args[0])
				if err != nil {
					return &usageError{err}
				}
				query.Set("kind", string(kind))
			}
			if segment != "" {
				query.Set("segment", segment)
			}
			return show(cmd.Context(), &f, w, http.MethodGet, "flows", query, nil, func(out io.Writer, doc wasakariv1.FlowList) error {
				return printFlows(out, doc.Flows)
			})
		},
	}
	f.flags(cmd)
	cmd.Flags().StringVar(&segment, "segment", "", "only the flows of the segment with this `uuid`")
	return cmd
}

func printFlows(out io.Writer, flows []wasakariv1.Flow) error {
	if len(flows) == 0 {
		_, err := fmt.Fprintln(out, "no such flow: those of a segment are in section [flows:UUID]")
		return err
	}
	var rows [][]string
	for i, fl := range flows {
		if i > 0 {
			rows = append(rows, []string{""})
		}
		off := ""
		if fl.Off {
			off = "; off, see [host_repair] enabled"
		}
		rows = append(rows, []string{fmt.Sprintf("%s%s (%s%s)", fl.Kind, flowOwner(fl.Segment, fl.Project), fl.At, off)})
		phase := recovery.Phase("")
		for _, t := range fl.Tasks {
			label := ""
			if t.Phase != phase {
				phase, label = t.Phase, string(t.Phase)
			}
			rows = append(rows, []string{"  " + label, t.Key, taskOrigin(t), grantNote(t)})
		}
		for _, p := range fl.Problems {
			rows = append(rows, []string{"  problem: " + p})
		}
	}
	return printTable(out, rows)
}

func flowOwner(segment, project string) string {
	switch {
	case segment != "":
		return " of segment " + segment
	case project != "":
		return " of project " + project
	}
	return ""
}

func taskOrigin(t wasakariv1.FlowTask) string {
	switch {
	case t.Standard:
		return "standard"
	case t.Digest == "":
		return "(no module)"
	}
	text := fmt.Sprintf("%s %s %s", t.Library, t.Version, brief(t.Digest))
	if t.Tenant != "" {
		text += " of " + t.Tenant
	}
	return text
}

func grantNote(t wasakariv1.FlowTask) string {
	if len(t.Missing) > 0 {
		return "not granted: " + strings.Join(t.Missing, ", ")
	}
	return strings.Join(t.Granted, ", ")
}

func newFlowCheck(w world) *cobra.Command {
	var f remoteFlags
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Check the flows of a server",
		Long: `Tells what is wrong with the flows of a server as they stand, of its
configuration, task folders and uploads. Exit code 0: nothing, 2: something.
wasakari check does so with files, before a server reads them.`,
		Example: "  wasakari flow check",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var problems []error
			collect := func(out io.Writer, doc wasakariv1.FlowCheck) error {
				for _, p := range doc.Problems {
					problems = append(problems, fmt.Errorf("flow %s%s: %s", p.Kind, flowOwner(p.Segment, p.Project), p.Problem))
				}
				if len(problems) > 0 {
					return &usageError{errors.Join(problems...)}
				}
				_, err := fmt.Fprintln(out, "all flows are good")
				return err
			}
			if f.output != "json" {
				return show(cmd.Context(), &f, w, http.MethodGet, "flows/check", nil, nil, collect)
			}
			c, err := f.connect(cmd.Context(), w)
			if err != nil {
				return err
			}
			var doc wasakariv1.FlowCheck
			if err := c.call(cmd.Context(), http.MethodGet, "flows/check", nil, nil, &doc); err != nil {
				return err
			}
			return errors.Join(printJSON(w.stdout, doc), collect(io.Discard, doc))
		},
	}
	f.flags(cmd)
	return cmd
}
