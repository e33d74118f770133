package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/wasakari/wasakari/abi"
	"github.com/wasakari/wasakari/internal/tasktest"
	"github.com/wasakari/wasakari/recovery"
	"github.com/wasakari/wasakari/runtime"
)

func newTaskTrace(w world) *cobra.Command {
	var f testFlags
	var most int
	cmd := &cobra.Command{
		Use:   "trace [PATH] [SCENARIO]",
		Short: "Show every call that a task makes of the host",
		Long: `Runs a task as task test does, in one scenario of its folder tests (by default the
first), and shows every call of the host in the order in which the task made them:
when, with what request, what was answered, how long that took, and how many units
the task had computed by then. Lines that it logs and its progress stand between.

A unit is about one simple instruction; [wasakari] cpu_units bounds them. Calls
marked #N are tickets: the task did not wait for the answer at once.

Requests and answers are cut at --bytes; --output json gives them whole, up to
64 KiB each.`,
		Example: `  wasakari task trace
  wasakari task trace . too_many
  wasakari task trace my_task.wasm counts --output json`,
		Args: cobra.MaximumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkOutput(f.output); err != nil {
				return err
			}
			if most < 0 {
				return usagef("--bytes %d: want 0 or more", most)
			}
			path, name := ".", ""
			if len(args) > 0 {
				path = args[0]
			}
			if len(args) > 1 {
				name = scenarioName(args[1])
			}
			return f.trace(cmd.Context(), w, path, name, most)
		},
	}
	fl := cmd.Flags()
	f.buildFlags(cmd)
	fl.StringVar(&f.output, "output", "text", "text or json")
	fl.IntVar(&most, "bytes", 300, "how many bytes of a request and of an answer are shown")
	return cmd
}

// scenarioName gives the name of a scenario that may be named by its file.
func scenarioName(s string) string {
	if ext := filepath.Ext(s); ext == ".yaml" || ext == ".yml" {
		return strings.TrimSuffix(filepath.Base(s), ext)
	}
	return s
}

// traced is one thing that a task did.
type traced struct {
	N        int             `json:"n,omitempty"` // of a call, from 1
	AtMS     float64         `json:"at_ms"`
	Op       string          `json:"op,omitempty"`
	Ticket   uint32          `json:"ticket,omitempty"`
	Request  json.RawMessage `json:"request,omitempty"`
	Answer   json.RawMessage `json:"answer,omitempty"`
	Error    string          `json:"error,omitempty"` // code of the error in answer
	Bytes    int             `json:"answer_bytes,omitempty"`
	TookMS   float64         `json:"took_ms,omitempty"`
	CPU      int64           `json:"cpu_units,omitempty"` // when it asked
	Level    string          `json:"level,omitempty"`
	Message  string          `json:"message,omitempty"`
	Permille *int            `json:"permille,omitempty"`

	at time.Duration // since the task began
}

// traceReport is what task trace prints as JSON.
type traceReport struct {
	Module      string   `json:"module"`
	Scenario    string   `json:"scenario"`
	Task        string   `json:"task"`
	Outcome     string   `json:"outcome"`
	Reason      string   `json:"reason,omitempty"`
	Events      []traced `json:"events"`
	Dropped     int      `json:"dropped,omitempty"`
	HostCalls   int      `json:"host_calls"`
	CPU         int64    `json:"cpu_units"`
	MemoryBytes int64    `json:"memory_bytes"`
	TookMS      float64  `json:"took_ms"`
}

// tracer gathers what a task does.
type tracer struct {
	mu      sync.Mutex
	started time.Time
	events  []traced
	bytes   int
	dropped int
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func (t *tracer) add(e traced) {
	e.AtMS = milliseconds(e.at)
	t.mu.Lock()
	defer t.mu.Unlock()
	size := len(e.Request) + len(e.Answer) + len(e.Message)
	if len(t.events) >= maxNoted || t.bytes+size > maxNotedBytes {
		t.dropped++
		return
	}
	t.bytes += size
	t.events = append(t.events, e)
}

func (t *tracer) call(c runtime.HostCall) {
	e := traced{
		N: c.N, at: c.Asked.Sub(t.started), Op: c.Op, Ticket: c.Ticket, Request: tracedJSON(c.Request), Answer: tracedJSON(c.Answer),
		Bytes: len(c.Answer), TookMS: milliseconds(c.Took), CPU: c.CPU,
	}
	if c.Errno != abi.ErrnoOK {
		e.Error = c.Errno.String()
	}
	t.add(e)
}

// observe takes what the task says.
func (t *tracer) observe(ev recovery.Event) {
	at := time.Since(t.started)
	switch {
	case ev.Log != nil:
		t.add(traced{at: at, Level: ev.Log.Level, Message: ev.Log.Message})
	case ev.Task != nil && len(ev.Task.Progress) > 0:
		p := ev.Task.Progress[len(ev.Task.Progress)-1]
		t.add(traced{at: at, Permille: &p.Permille, Message: p.Message})
	}
}

// maxNotedJSON bounds a request or an answer in a trace.
const maxNotedJSON = 64 << 10

// tracedJSON gives a document for a trace; what is none, or too long, as a text.
func tracedJSON(raw []byte) json.RawMessage {
	if len(raw) == 0 {
		return nil
	}
	if len(raw) <= maxNotedJSON {
		var compact bytes.Buffer
		if json.Compact(&compact, raw) == nil {
			return compact.Bytes()
		}
	}
	b, err := json.Marshal(cutText(string(raw), maxNotedJSON))
	if err != nil {
		return nil
	}
	return b
}

// cutText cuts a text and says how much is left out.
func cutText(s string, most int) string {
	if len(s) <= most {
		return s
	}
	n := most
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return fmt.Sprintf("%s… (%d bytes)", s[:n], len(s))
}

func (f *testFlags) trace(ctx context.Context, w world, path, name string, most int) (err error) {
	b, src, err := f.open(ctx, w, path, defaults())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.close(ctx)) }()
	cases, _, err := f.cases()
	if err != nil {
		return err
	}
	c := cases[0]
	if name != "" {
		i := slices.IndexFunc(cases, func(c *tasktest.Case) bool { return c.Name() == name })
		if i < 0 {
			var names []string
			for _, c := range cases {
				names = append(names, c.Name())
			}
			return usagef("%s: no scenario is called so; there are %s", name, strings.Join(names, ", "))
		}
		c = cases[i]
	}
	s, err := b.prepare(c)
	if err != nil {
		return err
	}
	closing, err := s.simulate(ctx)
	if err != nil {
		return err
	}
	defer closing()
	t := &tracer{}
	s.trace, s.observe, s.begins = t.call, t.observe, func() { t.started = time.Now() }
	e, err := b.run(ctx, s)
	if err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	// A call is told when it was answered, and shown when it was made.
	slices.SortStableFunc(t.events, func(a, b traced) int { return cmp.Compare(a.at, b.at) })
	doc := traceReport{
		Module: src.path, Scenario: c.File, Task: s.task.Key, Outcome: e.seen.Outcome, Reason: e.seen.Reason, Events: t.events, Dropped: t.dropped,
		HostCalls: e.result.HostCalls, CPU: e.result.CPU, MemoryBytes: e.result.MemoryPeak, TookMS: milliseconds(e.result.Took),
	}
	if f.output == "json" {
		return printJSON(w.stdout, doc)
	}
	return doc.text(w.stdout, most)
}

// text prints the trace for a person.
func (t traceReport) text(out io.Writer, most int) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s in %s\n\n      at ms    took ms        units\n", t.Task, t.Scenario)
	for _, e := range t.Events {
		switch {
		case e.Op != "":
			ticket := ""
			if e.Ticket != 0 {
				ticket = fmt.Sprintf(" #%d", e.Ticket)
			}
			fmt.Fprintf(&b, "%11.3f %10.3f %12d  %s%s %s\n", e.AtMS, e.TookMS, e.CPU, e.Op, ticket, cutText(string(e.Request), most))
			arrow := "→"
			if e.Error != "" {
				arrow = "✗"
			}
			fmt.Fprintf(&b, "%37s %s %s\n", arrow, e.Error, cutText(string(e.Answer), most))
		case e.Permille != nil:
			fmt.Fprintf(&b, "%11.3f %10s %12s  progress %d ‰%s\n", e.AtMS, "", "", *e.Permille, because(e.Message))
		default:
			fmt.Fprintf(&b, "%11.3f %10s %12s  log %s: %s\n", e.AtMS, "", "", e.Level, e.Message)
		}
	}
	if t.Dropped > 0 {
		fmt.Fprintf(&b, "… and %d more\n", t.Dropped)
	}
	// The lines of a reason do not look like those of the trace.
	fmt.Fprintf(&b, "\n%s%s\n%d calls of the host, %d units, %s of memory, %.3f ms\n", t.Outcome, because(strings.ReplaceAll(t.Reason, "\n", "\n  | ")),
		t.HostCalls, t.CPU, size(int(t.MemoryBytes)), t.TookMS)
	return printLines(out, b.String())
}
