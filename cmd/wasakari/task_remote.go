package main

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/wasakari/wasakari/api/wasakariv1"
	"github.com/wasakari/wasakari/internal/oci"
	"github.com/wasakari/wasakari/recovery"
)

func newPush(w world) *cobra.Command {
	var f remoteFlags
	var reg registryFlags
	wait := time.Minute
	cmd := &cobra.Command{
		Use:   "push FILE... [oci://REFERENCE]",
		Short: "Upload modules to a server, or one to an OCI registry",
		Long: `Uploads modules to a running wasakari serve. The server checks and compiles each
before it accepts it, and refuses it with what is wrong, where, and what to do.
From then on every new run uses it; push returns when every live node has
compiled it.

Whose a module is depends on who uploads it: with a role that may upload for the
operator it is the operator's, with the author's role that of the project logged
in at. A key that another module has is refused. Versions stay: task pin goes
back to an earlier one.

With a reference it sends the module to an OCI registry instead, as a wasm
artifact, once it is admitted here; the line by which wasakari serve runs it from
there is printed. The login is that of Docker's clients.`,
		Example: `  wasakari task push custom_pre_task.wasm
  wasakari task push tasks/*.wasm --os-cloud mycloud
  wasakari task push custom_pre_task.wasm --server https://controller:15868 --output json
  wasakari task push custom_pre_task.wasm oci://registry.example.com/acme/recovery:1.4.0`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if wait < 0 || wait > 10*time.Minute {
				return usagef("--wait %s: want up to 10m", wait)
			}
			if to := args[len(args)-1]; strings.HasPrefix(to, oci.Scheme) {
				if len(args) != 2 {
					return usagef("want one file and one reference, such as custom_pre_task.wasm %s", to)
				}
				return reg.push(cmd.Context(), w, args[0], to, f.output == "json")
			}
			for _, file := range args {
				if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) && strings.ContainsAny(file, ".:") {
					if ref, err := oci.ParseReference(oci.Scheme + file); err == nil {
						return usagef("%s: no such file; if it is an artifact of a registry, write %s", file, ref)
					}
				}
			}
			c, err := f.connect(cmd.Context(), w)
			if err != nil {
				return err
			}
			p := pusher{client: c, w: w, wait: wait, json: f.output == "json"}
			var errs []error
			for _, file := range args {
				err := p.push(cmd.Context(), file)
				if cmd.Context().Err() != nil {
					return err
				}
				errs = append(errs, located(file, err))
			}
			return errors.Join(append(errs, p.close())...)
		},
	}
	f.flags(cmd)
	reg.flags(cmd)
	cmd.Flags().DurationVar(&wait, "wait", wait, "`time` to wait for every node to have compiled it; 0 does not wait")
	return cmd
}

// pusher uploads modules.
type pusher struct {
	*client
	w    world
	wait time.Duration
	json bool
	docs []json.RawMessage
}

// push uploads one.
func (p *pusher) push(ctx context.Context, file string) error {
	wasm, err := readFile(file, maxModuleRead)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(wasm)
	bar := newBar(p.w, file, int64(len(wasm)))
	defer bar.end()
	query := url.Values{"wait": {strconv.Itoa(int(p.wait.Seconds()))}}
	req, err := p.request(ctx, http.MethodPost, "modules", query, bar.reader(wasm))
	if err != nil {
		return err
	}
	req.ContentLength = int64(len(wasm))
	req.Header.Set("Content-Type", "application/wasm")
	req.Header.Set("X-Content-SHA256", hex.EncodeToString(sum[:]))
	res, err := p.send(req)
	bar.end()
	if err != nil {
		return err
	}
	var raw json.RawMessage
	var doc wasakariv1.ModuleAnswer
	if err := p.read(res, &raw); err != nil {
		return err
	}
	if err := json.Unmarshal(raw, &doc); err != nil {
		return usagef("server %s: its answer is no document of Wasakari; name another with --server", p.base)
	}
	if p.json {
		p.docs = append(p.docs, raw)
	} else {
		fmt.Fprintln(p.w.stdout, oneLine(fmt.Sprintf("%s: %s", file, pushed(doc))))
	}
	return stillCompiling(doc, p.wait)
}

// close prints the answers, when they are wanted as one document.
func (p *pusher) close() error {
	if !p.json {
		return nil
	}
	return printJSON(p.w.stdout, map[string]any{"uploaded": append([]json.RawMessage{}, p.docs...)})
}

// pushed says what became of an upload.
func pushed(doc wasakariv1.ModuleAnswer) string {
	v := doc.Version
	text := fmt.Sprintf("%s %s, tasks %s, sha256:%s: ", v.Library, v.Version, strings.Join(v.Keys, ", "), brief(v.Digest))
	switch {
	case doc.Note != "":
		return text + "kept; " + doc.Note
	case len(doc.Waiting) > 0:
		return text + "active"
	}
	return text + "active, compiled on every node"
}

// stillCompiling tells of nodes that were waited for in vain.
func stillCompiling(doc wasakariv1.ModuleAnswer, wait time.Duration) error {
	if len(doc.Waiting) == 0 || wait == 0 {
		return nil
	}
	return fmt.Errorf("it is active, but not compiled yet on %s; look again with wasakari node list", strings.Join(doc.Waiting, ", "))
}

// bar shows how far an upload is, on a terminal.
type bar struct {
	out         io.Writer // nil: it is not shown
	name        string
	total, done int64
	shown       int64
}

func newBar(w world, name string, total int64) *bar {
	b := &bar{name: name, total: total, shown: -1}
	if f, ok := w.stderr.(*os.File); ok && term.IsTerminal(int(f.Fd())) && w.env("TERM") != "dumb" {
		b.out = w.stderr
	}
	return b
}

// reader gives the module and watches how it is read.
func (b *bar) reader(wasm []byte) io.Reader {
	return io.TeeReader(strings.NewReader(string(wasm)), b)
}

// Write counts.
func (b *bar) Write(p []byte) (int, error) {
	b.done += int64(len(p))
	const width = 30
	permille := b.done * 1000 / max(b.total, 1)
	if b.out != nil && permille != b.shown {
		b.shown = permille
		full := int(permille * width / 1000)
		text := fmt.Sprintf("%s %s%s %3d %%", oneLine(b.name), strings.Repeat("█", full), strings.Repeat("░", width-full), permille/10)
		if permille == 1000 {
			text += ", being checked and compiled"
		}
		fmt.Fprintf(b.out, "\r\x1b[K%s", text)
	}
	return len(p), nil
}

// end takes the bar away.
func (b *bar) end() {
	if b.out != nil && b.shown >= 0 {
		fmt.Fprint(b.out, "\r\x1b[K")
		b.shown = -1
	}
}

// moduleFlags are those of the commands about an uploaded module.
type moduleFlags struct {
	remoteFlags
	tenant string
}

func (f *moduleFlags) flags(cmd *cobra.Command) {
	f.remoteFlags.flags(cmd)
	cmd.Flags().StringVar(&f.tenant, "tenant", "", "`PROJECT` that the module is of, by its id (default: the operator, or the only one)")
}

func (f *moduleFlags) query() url.Values {
	if f.tenant == "" {
		return nil
	}
	return url.Values{"tenant": {f.tenant}}
}

func newTaskList(w world) *cobra.Command {
	var f moduleFlags
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the modules that were uploaded to a server",
		Example: `  wasakari task list
  wasakari task list --os-cloud mycloud --output json`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return show(cmd.Context(), &f.remoteFlags, w, http.MethodGet, "modules", f.query(), nil, func(out io.Writer, doc wasakariv1.ModuleList) error {
				if len(doc.Modules) == 0 {
					_, err := fmt.Fprintln(out, "nothing was uploaded; begin with wasakari task push FILE")
					return err
				}
				rows := [][]string{{"LIBRARY", "TENANT", "VERSION", "DIGEST", "VERSIONS", "ENGINE", "TASKS"}}
				for _, m := range doc.Modules {
					row := []string{m.Library, m.Tenant, "(none)", "", strconv.Itoa(m.Count), "", strings.Join(m.Keys, ", ")}
					if m.Active != nil {
						row[2], row[3], row[5] = m.Active.Version, brief(m.Active.Digest), briefEngine(m.Active.Engine)
					}
					if m.Pinned {
						row[2] += " (pinned)"
					}
					rows = append(rows, row)
				}
				return printTable(out, rows)
			})
		},
	}
	f.flags(cmd)
	return cmd
}

func newTaskShow(w world) *cobra.Command {
	var f moduleFlags
	cmd := &cobra.Command{
		Use:     "show KEY",
		Short:   "Show the uploaded module that has a task",
		Example: "  wasakari task show custom_pre_task",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return show(cmd.Context(), &f.remoteFlags, w, http.MethodGet, path("modules", args[0]), f.query(), nil, func(out io.Writer, doc wasakariv1.ModuleDocument) error {
				m := doc.Module
				rows := [][]string{{"library", m.Library}, {"tenant", orOperator(m.Tenant)}}
				if v := m.Active; v != nil {
					pinned := ""
					if m.Pinned {
						pinned = " (pinned: uploads do not replace it)"
					}
					rows = append(rows, []string{"version", v.Version + pinned}, []string{"digest", "sha256:" + v.Digest}, []string{"size", size(int(v.Size))},
						[]string{"tasks", strings.Join(v.Keys, ", ")}, []string{"engine", cmp.Or(engineNote(v.Engine), "(none: it is no script)")}, []string{"uploaded", moment(v.Uploaded) + by(v.By)})
				}
				return printTable(out, append(rows, []string{"versions", strconv.Itoa(m.Count)}))
			})
		},
	}
	f.flags(cmd)
	return cmd
}

// briefEngine names an engine in a table.
func briefEngine(e *recovery.ModuleEngine) string {
	if e == nil {
		return ""
	}
	if e.State == recovery.EngineKept {
		return fmt.Sprintf("%s %s (of another release)", e.Name, brief(e.Digest))
	}
	if e.State == recovery.EngineMissing {
		return fmt.Sprintf("%s %s (missing)", e.Name, brief(e.Digest))
	}
	return e.Name + " " + brief(e.Digest)
}

func orOperator(tenant string) string {
	if tenant == "" {
		return "(the operator)"
	}
	return tenant
}

func by(user string) string {
	if user == "" {
		return ""
	}
	return " by " + user
}

func newTaskVersions(w world) *cobra.Command {
	var f moduleFlags
	cmd := &cobra.Command{
		Use:     "versions KEY",
		Short:   "List the versions of an uploaded module, newest first",
		Example: "  wasakari task versions custom_pre_task",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return show(cmd.Context(), &f.remoteFlags, w, http.MethodGet, path("modules", args[0], "versions"), f.query(), nil, func(out io.Writer, doc wasakariv1.VersionList) error {
				rows := [][]string{{"VERSION", "DIGEST", "SIZE", "ENGINE", "UPLOADED", "BY", ""}}
				for _, v := range doc.Versions {
					state := ""
					switch {
					case v.Active && v.Pinned:
						state = "active, pinned"
					case v.Active:
						state = "active"
					}
					rows = append(rows, []string{v.Version, brief(v.Digest), size(int(v.Size)), briefEngine(v.Engine), moment(v.Uploaded), v.By, state})
				}
				return printTable(out, rows)
			})
		},
	}
	f.flags(cmd)
	return cmd
}

// version finds the version of a module that a person named: by its digest, the
// beginning of one, or by its number.
func (c *client) version(ctx context.Context, f *moduleFlags, key, name string) (recovery.ModuleVersion, error) {
	var doc wasakariv1.VersionList
	if err := c.call(ctx, http.MethodGet, path("modules", key, "versions"), f.query(), nil, &doc); err != nil {
		return recovery.ModuleVersion{}, err
	}
	const fewest = 6 // digits of a digest that are taken for one
	digest := strings.ToLower(strings.TrimPrefix(name, "sha256:"))
	var found []recovery.ModuleVersion
	var there []string
	for _, v := range doc.Versions {
		there = append(there, fmt.Sprintf("%s (%s)", v.Version, brief(v.Digest)))
		if v.Version == name || len(digest) >= fewest && strings.HasPrefix(v.Digest, digest) {
			found = append(found, v)
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return recovery.ModuleVersion{}, usagef("%s: no version %s; there are %s", key, name, strings.Join(there, ", "))
	}
	return recovery.ModuleVersion{}, usagef("%s: several versions are %s; name one by its digest: %s", key, name, strings.Join(there, ", "))
}

func newTaskPin(w world) *cobra.Command {
	var f moduleFlags
	cmd := &cobra.Command{
		Use:   "pin KEY DIGEST|VERSION",
		Short: "Go back to a version of an uploaded module, or stay at one",
		Long: `Makes a version of an uploaded module the active one, for every new run from now
on, and keeps it: an upload does not replace it until task unpin. Runs that have
begun go on with the version that they began with.`,
		Example: `  wasakari task pin custom_pre_task 1.3.0
  wasakari task pin custom_pre_task 4f0c2b1e`,
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := f.connect(cmd.Context(), w)
			if err != nil {
				return err
			}
			v, err := c.version(cmd.Context(), &f, args[0], args[1])
			if err != nil {
				return err
			}
			var raw json.RawMessage
			if err := c.call(cmd.Context(), http.MethodPut, path("modules", args[0], "pin"), f.query(), wasakariv1.PinRequest{Digest: v.Digest}, &raw); err != nil {
				return err
			}
			var doc wasakariv1.ModuleAnswer
			if err := json.Unmarshal(raw, &doc); err != nil {
				return err
			}
			if f.output == "json" {
				err = printJSON(w.stdout, raw)
			} else {
				_, err = fmt.Fprintln(w.stdout, oneLine(pushed(doc)+"; pinned"))
			}
			return errors.Join(err, stillCompiling(doc, time.Minute))
		},
	}
	f.flags(cmd)
	return cmd
}

func newTaskUnpin(w world) *cobra.Command {
	var f moduleFlags
	cmd := &cobra.Command{
		Use:     "unpin KEY",
		Short:   "Let uploads replace the active version of a module again",
		Example: "  wasakari task unpin custom_pre_task",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return show(cmd.Context(), &f.remoteFlags, w, http.MethodDelete, path("modules", args[0], "pin"), f.query(), nil, func(out io.Writer, doc wasakariv1.ModuleDocument) error {
				_, err := fmt.Fprintln(out, oneLine(fmt.Sprintf("library %s: the next upload becomes the active version", doc.Module.Library)))
				return err
			})
		},
	}
	f.flags(cmd)
	return cmd
}

func newTaskRemove(w world) *cobra.Command {
	var f moduleFlags
	cmd := &cobra.Command{
		Use:   "rm KEY [DIGEST|VERSION]",
		Short: "Remove an uploaded module, or one version of it",
		Long: `Removes the uploaded module that has a task, with all its versions, or one
version. Refused while a flow names one of the module's tasks, while a run that
has not ended uses it, and for the version that is active.`,
		Example: `  wasakari task rm custom_pre_task 1.2.0
  wasakari task rm custom_pre_task`,
		Args: cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := f.connect(cmd.Context(), w)
			if err != nil {
				return err
			}
			at, what := []string{"modules", args[0]}, "the module of task "+args[0]
			if len(args) == 2 {
				v, err := c.version(cmd.Context(), &f, args[0], args[1])
				if err != nil {
					return err
				}
				at, what = append(at, "versions", v.Digest), fmt.Sprintf("version %s (%s) of the module of task %s", v.Version, brief(v.Digest), args[0])
			}
			if err := c.call(cmd.Context(), http.MethodDelete, path(at...), f.query(), nil, nil); err != nil {
				return err
			}
			if f.output == "json" {
				return printJSON(w.stdout, map[string]string{"removed": what})
			}
			_, err = fmt.Fprintln(w.stdout, oneLine("removed "+what))
			return err
		},
	}
	f.flags(cmd)
	return cmd
}
