package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"
	"charm.land/lipgloss/v2"
	"charm.land/lipgloss/v2/tree"

	"github.com/wasakari/wasakari/recovery"
)

// live shows a run as a tree that changes in place, on a terminal.
type live struct {
	out     io.Writer
	model   *liveModel
	program *tea.Program
	done    chan struct{}
}

// newLive starts the view; close ends it and leaves its last state standing.
func newLive(ctx context.Context, out io.Writer, b *board, head string, flows []recovery.Flow) *live {
	l := &live{out: out, done: make(chan struct{})}
	l.model = &liveModel{board: b, head: head, flows: flows, width: 100, height: 40}
	l.program = tea.NewProgram(l.model,
		tea.WithContext(context.WithoutCancel(ctx)), tea.WithOutput(out), tea.WithInput(nil), tea.WithoutSignalHandler(),
	)
	go func() {
		defer close(l.done)
		_, _ = l.program.Run() // without a view the run goes on all the same
	}()
	return l
}

func (l *live) observe(e recovery.Event) {
	l.model.board.take(e)
}

func (l *live) close() {
	l.program.Send(endMsg{})
	<-l.done
	// What the view held is gone; the whole tree, which may be higher than the
	// terminal, scrolls.
	l.model.ended = true
	_, _ = lipgloss.Fprint(l.out, l.model.draw(time.Now()))
}

type (
	tickMsg time.Time
	endMsg  struct{}
)

// liveModel draws the board ten times a second.
type liveModel struct {
	board         *board
	head          string
	flows         []recovery.Flow
	width, height int
	frame         int
	ended         bool
}

func tick() tea.Cmd {
	return tea.Tick(100*time.Millisecond, func(t time.Time) tea.Msg { return tickMsg(t) })
}

func (m *liveModel) Init() tea.Cmd { return tick() }

func (m *liveModel) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		m.width, m.height = msg.Width, msg.Height
	case tickMsg:
		m.frame++
		return m, tick()
	case endMsg:
		m.ended = true
		return m, tea.Quit
	}
	return m, nil
}

func (m *liveModel) View() tea.View {
	if m.ended {
		return tea.NewView("")
	}
	return tea.NewView(m.draw(time.Now()))
}

var (
	faint = lipgloss.NewStyle().Faint(true)
	bold  = lipgloss.NewStyle().Bold(true)
	green = lipgloss.NewStyle().Foreground(lipgloss.Green)
	red   = lipgloss.NewStyle().Foreground(lipgloss.Red)
	blue  = lipgloss.NewStyle().Foreground(lipgloss.Cyan)
	amber = lipgloss.NewStyle().Foreground(lipgloss.Yellow)
)

var spinner = []rune("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏")

// draw gives the whole tree; never wider than the terminal, and while the run
// goes on never higher.
func (m *liveModel) draw(now time.Time) string {
	m.board.mu.Lock()
	defer m.board.mu.Unlock()
	root := tree.Root(bold.Render(m.head)).EnumeratorStyle(faint.PaddingRight(1))
	evacuating := m.evacuating()
	for _, f := range m.flows {
		if len(m.flows) > 1 && !m.begun(f.Kind) {
			continue // a fallback that nobody needs yet
		}
		for _, phase := range recovery.Phases() {
			if branch := m.phase(f, phase, evacuating, now); branch != nil {
				root.Child(branch)
			}
		}
	}
	lines := strings.Split(root.String(), "\n")
	for _, l := range m.board.logs {
		lines = append(lines, faint.Render(oneLine(fmt.Sprintf("  %s: %s", whose(l), l.Message))))
	}
	if most := max(m.height-1, 3); !m.ended && len(lines) > most {
		lines = append(lines[:most-1], faint.Render("…"))
	}
	for i, l := range lines {
		lines[i] = lipgloss.NewStyle().MaxWidth(m.width).Render(l)
	}
	return strings.Join(lines, "\n") + "\n"
}

func (m *liveModel) begun(kind recovery.FlowKind) bool {
	return kind == m.flows[0].Kind || slices.ContainsFunc(m.board.tasks, func(t recovery.TaskRecord) bool { return t.Flow == kind })
}

// evacuating gives the Seq of the task below which the servers are shown: the
// latest that wrote a vmove is the latest that is running or ran last.
func (m *liveModel) evacuating() int {
	seq := 0
	for _, t := range m.board.tasks {
		if t.Key == "evacuate_instances_task" || (seq == 0 && len(m.board.vmoves) > 0) {
			seq = t.Seq
		}
	}
	return seq
}

func (m *liveModel) phase(f recovery.Flow, phase recovery.Phase, evacuating int, now time.Time) *tree.Tree {
	refs := f.Tasks(phase)
	if len(refs) == 0 {
		return nil
	}
	branch := tree.Root(blue.Render(string(phase)))
	for i, ref := range refs {
		t, ok := m.record(f.Kind, phase, i)
		if !ok {
			branch.Child(faint.Render("· " + ref.Key))
			continue
		}
		line := m.taskLine(t, now)
		if t.Seq != evacuating || len(m.board.vmoves) == 0 {
			branch.Child(line)
			continue
		}
		servers := tree.Root(line)
		for _, s := range m.serverLines() {
			servers.Child(s)
		}
		branch.Child(servers)
	}
	return branch
}

// record gives the latest execution at a place of the flow.
func (m *liveModel) record(kind recovery.FlowKind, phase recovery.Phase, index int) (recovery.TaskRecord, bool) {
	for _, t := range slices.Backward(m.board.tasks) {
		if t.Flow == kind && t.Phase == phase && t.Index == index {
			return t, true
		}
	}
	return recovery.TaskRecord{}, false
}

func (m *liveModel) taskLine(t recovery.TaskRecord, now time.Time) string {
	p := lastProgress(t)
	message := t.Message
	if message == "" {
		message = p.Message
	}
	extra := ""
	if t.ReservedHost != "" {
		extra += " on " + t.ReservedHost
	}
	if t.Attempt > 1 {
		extra += fmt.Sprintf(" attempt %d", t.Attempt)
	}
	if t.Status == recovery.TaskRunning && p.Permille > 0 {
		extra += fmt.Sprintf(" %d %%", p.Permille/10)
	}
	return fmt.Sprintf("%s %s%s %s %s", m.taskMark(t.Status), t.Key, extra, faint.Render(round(took(t, now)).String()), faint.Render(oneLine(message)))
}

func (m *liveModel) taskMark(s recovery.TaskStatus) string {
	switch s {
	case recovery.TaskSucceeded, recovery.TaskNothingToDo:
		return green.Render("✓")
	case recovery.TaskFailed, recovery.TaskRevertFailed:
		return red.Render("✗")
	case recovery.TaskRunning:
		return amber.Render(m.spin())
	case recovery.TaskReverted:
		return amber.Render("↶")
	case recovery.TaskInterrupted:
		return amber.Render("‖")
	}
	return faint.Render("·")
}

func (m *liveModel) spin() string { return string(spinner[m.frame%len(spinner)]) }

// serverLines shows every server when there is room, else those that a person
// would look at: ongoing and failed first.
func (m *liveModel) serverLines() []string {
	vmoves := slices.Clone(m.board.vmoves)
	room := max(m.height-16, 5)
	if m.ended {
		room = max(room, 100)
	}
	hidden := 0
	if len(vmoves) > room {
		urgency := map[recovery.VMoveStatus]int{recovery.VMoveFailed: 0, recovery.VMoveOngoing: 1, recovery.VMovePending: 2, recovery.VMoveIgnored: 3, recovery.VMoveSucceeded: 4}
		slices.SortStableFunc(vmoves, func(a, b recovery.VMove) int { return urgency[a.Status] - urgency[b.Status] })
		hidden = len(vmoves) - room
		vmoves = vmoves[:room]
	}
	var lines []string
	for _, v := range vmoves {
		lines = append(lines, fmt.Sprintf("%s %-20s %s%s", m.serverMark(v.Status), oneLine(vmoveName(v)), faint.Render(oneLine(string(v.Status)+arrow(v))), faint.Render(oneLine(because(v.Message)))))
	}
	if hidden > 0 {
		lines = append(lines, faint.Render(fmt.Sprintf("… %d more; all: %s", hidden, tally(m.board.vmoves))))
	}
	return lines
}

func (m *liveModel) serverMark(s recovery.VMoveStatus) string {
	switch s {
	case recovery.VMoveSucceeded:
		return green.Render("✓")
	case recovery.VMoveFailed:
		return red.Render("✗")
	case recovery.VMoveOngoing:
		return amber.Render(m.spin())
	}
	return faint.Render("·")
}
