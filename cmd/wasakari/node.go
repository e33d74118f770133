package main

import (
	"fmt"
	"io"
	"net/http"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/wasakari/wasakari/api/wasakariv1"
)

func newNode(w world) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "node",
		Short:   "Look at the nodes of a cluster",
		Example: "  wasakari node list",
	}
	cmd.AddCommand(newNodeList(w))
	return cmd
}

func newNodeList(w world) *cobra.Command {
	var f remoteFlags
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the nodes that are alive, and how many runs each works on",
		Example: `  wasakari node list
  wasakari node list --server http://controller-2:15868 --output json`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return show(cmd.Context(), &f, w, http.MethodGet, "nodes", nil, nil, func(out io.Writer, doc wasakariv1.NodeList) error {
				newest := int64(0)
				for _, n := range doc.Nodes {
					newest = max(newest, n.Modules)
				}
				rows := [][]string{{"NODE", "VERSION", "SINCE", "RUNS", "MODULES", ""}}
				for _, n := range doc.Nodes {
					modules, note := "compiled", ""
					if n.Modules < newest {
						modules = fmt.Sprintf("behind (%d of %d)", n.Modules, newest)
					}
					if n.Draining {
						note = "takes no more runs"
					}
					rows = append(rows, []string{n.Name, n.Version, moment(n.Started), strconv.Itoa(len(n.Runs)), modules, note})
				}
				return printTable(out, rows)
			})
		},
	}
	f.flags(cmd)
	return cmd
}
