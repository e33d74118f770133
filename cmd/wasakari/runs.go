package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/wasakari/wasakari/api/wasakariv1"
	"github.com/wasakari/wasakari/recovery"
)

func newRuns(w world) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "runs",
		Short: "Look at the runs of a server, abort and retry them",
		Long: `Looks at the runs of a running wasakari serve, and acts on them. A run is one
execution of a flow for one notification. What was started with wasakari run is
not among them.`,
		Example: `  wasakari runs list --status failed --since 24h
  wasakari runs watch 01a206b4-6250-7347-b4e7-9ba61a0a1bfd
  wasakari runs retry 01a206b4-6250-7347-b4e7-9ba61a0a1bfd --override 'the rack is on fire'`,
	}
	cmd.AddCommand(newRunsList(w), newRunsShow(w), newRunsWatch(w), newRunsAbort(w), newRunsRetry(w))
	return cmd
}

func newRunsList(w world) *cobra.Command {
	var f remoteFlags
	var status, host, notification, since, marker string
	limit := 100
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List runs, newest first",
		Example: `  wasakari runs list
  wasakari runs list --status held
  wasakari runs list --host compute-1 --since 24h --output json`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			query := url.Values{"limit": {strconv.Itoa(limit)}}
			for name, value := range map[string]string{"status": status, "host": host, "notification": notification, "since": since, "marker": marker} {
				if value != "" {
					query.Set(name, value)
				}
			}
			return show(cmd.Context(), &f, w, http.MethodGet, "runs", query, nil, func(out io.Writer, doc wasakariv1.RunList) error {
				if len(doc.Runs) == 0 {
					_, err := fmt.Fprintln(out, "no runs")
					return err
				}
				rows := [][]string{{"RUN", "STATUS", "STARTED", "TOOK", "ABOUT", "MESSAGE"}}
				for _, r := range doc.Runs {
					rows = append(rows, []string{r.ID, r.Status, moment(r.Started), lasted(r), about(r), r.Message})
				}
				if err := printTable(out, rows); err != nil || doc.Next == "" {
					return err
				}
				_, err := fmt.Fprintln(out, oneLine("there are more: --marker "+doc.Next))
				return err
			})
		},
	}
	f.flags(cmd)
	fl := cmd.Flags()
	fl.StringVar(&status, "status", "", "only those: running, finished, ignored, error, failed or held")
	fl.StringVar(&host, "host", "", "only those about this compute host")
	fl.StringVar(&notification, "notification", "", "only those of the notification with this `uuid`")
	fl.StringVar(&since, "since", "", "only those that started since: a `time` such as 2026-11-23T09:00:00Z, or how long ago, such as 90m")
	fl.IntVar(&limit, "limit", limit, "the most to list, up to 1000")
	fl.StringVar(&marker, "marker", "", "go on after the run with this `id`")
	return cmd
}

// lasted says how long a run took, or takes.
func lasted(r wasakariv1.Run) string {
	if r.Ended.IsZero() || r.Started.IsZero() {
		return ""
	}
	return round(max(r.Ended.Sub(r.Started), 0)).String()
}

// about says what failed.
func about(r wasakariv1.Run) string {
	switch {
	case r.Server != "" && r.Host != "":
		return "server " + r.Server + " on " + r.Host
	case r.Server != "":
		return "server " + r.Server
	}
	return r.Host
}

func newRunsShow(w world) *cobra.Command {
	var f remoteFlags
	cmd := &cobra.Command{
		Use:   "show RUN",
		Short: "Show a run: its tasks, servers, and changes to the cloud",
		Example: `  wasakari runs show 01a206b4-6250-7347-b4e7-9ba61a0a1bfd
  wasakari runs show 01a206b4-6250-7347-b4e7-9ba61a0a1bfd --output json`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return show(cmd.Context(), &f, w, http.MethodGet, path("runs", args[0]), nil, nil, func(out io.Writer, doc wasakariv1.RunDocument) error {
				return printRun(out, doc.Run)
			})
		},
	}
	f.flags(cmd)
	return cmd
}

func printRun(out io.Writer, r wasakariv1.RunDetail) error {
	rows := [][]string{}
	row := func(name, value string) {
		if value != "" {
			rows = append(rows, []string{name, value})
		}
	}
	row("run", r.ID)
	row("status", r.Status)
	row("message", r.Message)
	row("about", about(r.Run))
	row("segment", r.Segment)
	row("notification", r.Notification)
	if r.Delivery > 1 {
		row("delivery", strconv.Itoa(r.Delivery))
	}
	row("node", r.Node)
	row("started", moment(r.Started))
	row("ended", moment(r.Ended))
	row("overridden", r.Override)
	if r.Abort != nil {
		row("aborted", fmt.Sprintf("%s%s: %s", r.Abort.Mode, by(r.Abort.By), r.Abort.Reason))
	}
	row("values", strings.Join(r.Values, ", "))
	section := func(title string, heads ...string) {
		rows = append(rows, []string{""}, []string{title}, heads)
	}
	if len(r.Tasks) > 0 {
		section("tasks", "  PHASE", "TASK", "STATUS", "TOOK", "MESSAGE")
	}
	for _, t := range r.Tasks {
		length := ""
		if !t.Ended.IsZero() {
			length = round(took(t, t.Ended)).String()
		}
		rows = append(rows, []string{"  " + string(t.Phase), t.Key, string(t.Status), length, t.Message})
	}
	if len(r.VMoves) > 0 {
		section("servers", "  SERVER", "STATUS", "FROM", "TO", "MESSAGE")
	}
	for _, v := range latest(r.VMoves) {
		rows = append(rows, []string{"  " + vmoveName(v), string(v.Status), v.SourceHost, v.DestHost, v.Message})
	}
	if len(r.Changes) > 0 {
		section("changes", "  OP", "TARGET", "STATE", "REQUEST", "MESSAGE")
	}
	for _, c := range r.Changes {
		rows = append(rows, []string{"  " + c.Op, c.Target, string(c.State), c.RequestID, c.Message})
	}
	if len(r.Undo) > 0 {
		section("left to undo", "  WHAT", "TARGET", "", "")
	}
	for _, u := range r.Undo {
		rows = append(rows, []string{"  " + strings.ReplaceAll(string(u.Kind), "_", " "), u.Target})
	}
	return printTable(out, rows)
}

func newRunsWatch(w world) *cobra.Command {
	var f remoteFlags
	cmd := &cobra.Command{
		Use:   "watch RUN",
		Short: "Follow a run until it has ended",
		Long: `Follows a run: its tasks, servers and logs, as they come. When the connection is
lost it goes on where it was. With --output json each event is a line with one
document.

Exit code 0: the run finished, or was ignored, 1: it failed.`,
		Example: "  wasakari runs watch 01a206b4-6250-7347-b4e7-9ba61a0a1bfd",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := f.connect(cmd.Context(), w)
			if err != nil {
				return err
			}
			v := &watcher{client: c, run: args[0], w: w, json: f.output == "json"}
			return v.watch(cmd.Context())
		},
	}
	f.flags(cmd)
	return cmd
}

// watcher follows one run.
type watcher struct {
	*client
	w     world
	run   string
	json  bool
	quiet bool // how it ended is told by somebody else, as is that it failed
	plain *plain
	last  string // id of the last event
	state wasakariv1.Run
	ended bool
	// progress is that of each task so far: an event tells the last of it.
	progress map[int][]recovery.Progress
}

// Bounds of following.
const (
	maxEvent  = 4 << 20 // bytes of a line
	reconnect = 8       // times in a row without an event
)

// errStreamEnd says that the server ended the stream, and that another may go
// on.
var errStreamEnd = errors.New("the stream of events ended")

func (v *watcher) watch(ctx context.Context) error {
	for failed := 0; ; {
		before := v.last
		err := v.follow(ctx)
		if v.ended {
			return v.verdict()
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if _, refused := errors.AsType[*remoteError](err); refused || v.plain == nil {
			return err
		}
		if failed++; v.last != before {
			failed = 0
		}
		if failed >= reconnect {
			return err
		}
		select {
		case <-ctx.Done():
		case <-time.After(min(100*time.Millisecond<<failed, 5*time.Second)):
		}
	}
}

// verdict tells how the run ended.
func (v *watcher) verdict() error {
	if v.quiet {
		return nil
	}
	if !v.json {
		fmt.Fprintf(v.w.stdout, "\n%s\n", oneLine(v.state.Status+because(v.state.Message)))
	}
	if slices.Contains([]string{string(recovery.StatusFinished), string(recovery.StatusIgnored)}, v.state.Status) {
		return nil
	}
	return errReported
}

// follow reads one stream until it ends.
func (v *watcher) follow(ctx context.Context) error {
	req, err := v.request(ctx, http.MethodGet, path("runs", v.run, "watch"), nil, nil)
	if err != nil {
		return err
	}
	req.Header.Set("Accept", "text/event-stream")
	if v.last != "" {
		req.Header.Set("Last-Event-ID", v.last)
	}
	res, err := v.send(req)
	if err != nil {
		return err
	}
	defer res.Body.Close() //nolint:errcheck // read only
	if v.plain == nil {
		v.plain = newPlain(v.w.stdout, &board{start: time.Now()})
	}
	lines := bufio.NewScanner(res.Body)
	lines.Buffer(nil, maxEvent)
	var kind, id, data string
	for lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), ":")
		value = strings.TrimPrefix(value, " ")
		switch name {
		case "event":
			kind = value
		case "id":
			id = value
		case "data":
			data += value
		case "":
			if lines.Text() != "" || kind == "" {
				continue // a comment
			}
			if err := v.event(kind, data); err != nil {
				return err
			}
			if id != "" {
				v.last = id
			}
			kind, id, data = "", "", ""
		}
		if v.ended {
			return nil
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("server %s: %w", v.base, err)
	}
	return fmt.Errorf("server %s: %w", v.base, errStreamEnd)
}

// event shows one event.
func (v *watcher) event(kind, data string) error {
	switch wasakariv1.EventType(kind) {
	case wasakariv1.EndEvent:
		return fmt.Errorf("server %s: %w", v.base, errStreamEnd)
	case wasakariv1.ResetEvent:
		v.last = "" // the next stream begins with how everything stands
		return fmt.Errorf("server %s: %w", v.base, errStreamEnd)
	}
	var doc wasakariv1.EventDocument
	if err := json.Unmarshal([]byte(data), &doc); err != nil {
		return usagef("server %s: its events are none of Wasakari; name another with --server", v.base)
	}
	if v.json {
		line, err := json.Marshal(struct {
			Event string          `json:"event"`
			Data  json.RawMessage `json:"data"`
		}{kind, json.RawMessage(data)})
		if err != nil {
			return err
		}
		fmt.Fprintln(v.w.stdout, safeJSON(string(line)))
	}
	e := recovery.Event{Time: doc.Time, Task: doc.Task, VMove: doc.VMove}
	if doc.Log != nil {
		e.Log = &recovery.LogLine{Task: doc.Log.Task, Tenant: doc.Log.Tenant, Level: doc.Log.Level, Message: doc.Log.Message}
	}
	if doc.Run != nil {
		if v.state.ID == "" {
			v.plain.start = doc.Run.Started
			if !v.json {
				fmt.Fprintln(v.w.stdout, oneLine(fmt.Sprintf("run %s, %s", doc.Run.ID, about(*doc.Run))))
			}
		}
		v.state, v.ended = *doc.Run, doc.Run.Finished
	}
	if !v.json {
		v.gather(e.Task)
		v.plain.observe(e)
	}
	return nil
}

// gather gives a task all of its progress that was told.
func (v *watcher) gather(t *recovery.TaskRecord) {
	if t == nil {
		return
	}
	if v.progress == nil {
		v.progress = map[int][]recovery.Progress{}
	}
	all := v.progress[t.Seq]
	for _, p := range t.Progress {
		if len(all) == 0 || p.Time.After(all[len(all)-1].Time) {
			all = append(all, p)
		}
	}
	v.progress[t.Seq], t.Progress = all, all
}

func newRunsAbort(w world) *cobra.Command {
	var f remoteFlags
	var reason string
	mode := string(recovery.AbortRevert)
	cmd := &cobra.Command{
		Use:   "abort RUN --reason TEXT",
		Short: "End a run",
		Long: `Ends a run that is going on. With --mode revert the task at work fails and the
tasks that ran are reverted; with --mode stop what was done stays. Either way
what must not stay, such as our locks on servers, is undone. Its notification
ends failed; wasakari runs retry runs it once more.`,
		Example: `  wasakari runs abort 01a206b4-6250-7347-b4e7-9ba61a0a1bfd --reason 'compute-1 is back'
  wasakari runs abort 01a206b4-6250-7347-b4e7-9ba61a0a1bfd --mode stop --reason 'storage is down'`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			body := wasakariv1.AbortRequest{Mode: recovery.AbortMode(mode), Reason: reason}
			switch {
			case body.Mode != recovery.AbortRevert && body.Mode != recovery.AbortStop:
				return usagef("--mode %s: want revert or stop", mode)
			case strings.TrimSpace(reason) == "":
				return usagef("say why with --reason, for those who look at it later")
			}
			return show(cmd.Context(), &f, w, http.MethodPost, path("runs", args[0], "abort"), nil, body, func(out io.Writer, doc wasakariv1.RunAnswer) error {
				_, err := fmt.Fprintln(out, oneLine(fmt.Sprintf("run %s is being ended (%s); follow it with wasakari runs watch %s", doc.Run.ID, mode, doc.Run.ID)))
				return err
			})
		},
	}
	f.flags(cmd)
	cmd.Flags().StringVar(&mode, "mode", mode, "revert: revert what ran; stop: leave it as it is")
	cmd.Flags().StringVar(&reason, "reason", "", "why, for those who look at it later")
	return cmd
}

func newRunsRetry(w world) *cobra.Command {
	var f remoteFlags
	var override string
	cmd := &cobra.Command{
		Use:   "retry RUN|NOTIFICATION",
		Short: "Run the notification of a run once more",
		Long: `Puts the notification of a run that has ended back into the queue, so that it is
run once more, now. --override lets the new run go on beyond the bounds of
[guards] and says why.`,
		Example: `  wasakari runs retry 01a206b4-6250-7347-b4e7-9ba61a0a1bfd
  wasakari runs retry 01a206b4-6250-7347-b4e7-9ba61a0a1bfd --override 'the rack lost power, all 12 hosts are fenced'`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return show(cmd.Context(), &f, w, http.MethodPost, path("runs", args[0], "retry"), nil, wasakariv1.RetryRequest{Override: override}, func(out io.Writer, doc wasakariv1.NotificationAnswer) error {
				n := doc.Notification
				_, err := fmt.Fprintln(out, oneLine(fmt.Sprintf("notification %s is in the queue; look with wasakari runs list --notification %s", n.UUID, n.UUID)))
				return err
			})
		},
	}
	f.flags(cmd)
	cmd.Flags().StringVar(&override, "override", "", "why the run may go beyond the bounds of [guards]")
	return cmd
}
