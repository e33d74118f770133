package main

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/wasakari/wasakari/recovery"
)

// plain shows a run as lines, one for each thing that happened.
type plain struct {
	mu    sync.Mutex
	out   io.Writer
	start time.Time
	shown map[int]int // Seq → how many progress messages were printed
	last  map[int]recovery.TaskStatus
	board *board
}

func newPlain(out io.Writer, b *board) *plain {
	return &plain{out: out, start: b.start, shown: map[int]int{}, last: map[int]recovery.TaskStatus{}, board: b}
}

// observe prints an event.
func (p *plain) observe(e recovery.Event) {
	p.board.take(e)
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case e.Task != nil:
		p.task(e.Time, *e.Task)
	case e.VMove != nil:
		v := e.VMove
		p.line(e.Time, "server %s: %s%s%s", vmoveName(*v), v.Status, arrow(*v), because(v.Message))
	case e.Log != nil:
		p.line(e.Time, "%s: %s: %s", whose(*e.Log), e.Log.Level, e.Log.Message)
	}
}

// whose names the task of a log line, and its tenant.
func whose(l recovery.LogLine) string {
	if l.Tenant == "" {
		return l.Task
	}
	return l.Task + "@" + l.Tenant
}

func (p *plain) task(at time.Time, t recovery.TaskRecord) {
	name := fmt.Sprintf("%s %s", t.Phase, t.Key)
	if t.Attempt > 1 {
		name += fmt.Sprintf(" (attempt %d)", t.Attempt)
	}
	if t.ReservedHost != "" {
		name += fmt.Sprintf(" (reserved host %s)", t.ReservedHost)
	}
	if _, seen := p.shown[t.Seq]; !seen {
		p.shown[t.Seq] = 0
		p.line(at, "%s: started", name)
	}
	for _, m := range t.Progress[min(p.shown[t.Seq], len(t.Progress)):] {
		p.line(m.Time, "%s: %d %% %s", name, m.Permille/10, m.Message)
		p.shown[t.Seq]++
	}
	last := p.last[t.Seq]
	p.last[t.Seq] = t.Status
	switch {
	case t.Status == recovery.TaskRunning, t.Status == recovery.TaskPending:
	case t.Status == recovery.TaskReverting:
		p.line(at, "%s: reverting", name)
	case t.Status == recovery.TaskReverted, t.Status == recovery.TaskRevertFailed:
		p.line(at, "%s: %s%s", name, t.Status, because(t.Message))
	case last == recovery.TaskReverting: // stands as it ended before
		p.line(at, "%s: nothing to revert", name)
	default:
		p.line(at, "%s: %s after %s%s", name, t.Status, round(took(t, at)), because(t.Message))
	}
}

func (p *plain) line(at time.Time, format string, args ...any) {
	since := max(at.Sub(p.start), 0)
	fmt.Fprintln(p.out, oneLine(fmt.Sprintf("%7.2fs  "+format, append([]any{since.Seconds()}, args...)...)))
}

// close prints nothing more: the end of the run is printed by its report.
func (p *plain) close() {}

func arrow(v recovery.VMove) string {
	if v.DestHost == "" {
		return ""
	}
	return fmt.Sprintf(" %s → %s", v.SourceHost, v.DestHost)
}

// oneLine makes text of guests and clouds fit for a terminal: one line, and
// nothing that moves a cursor.
func oneLine(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n', r == '\t':
			return ' '
		case r == utf8.RuneError, !unicode.IsPrint(r):
			return '·'
		}
		return r
	}, text)
}

func because(message string) string {
	if message == "" {
		return ""
	}
	return ": " + message
}

func round(d time.Duration) time.Duration {
	if d < time.Second {
		return d.Round(time.Millisecond)
	}
	return d.Round(10 * time.Millisecond)
}
