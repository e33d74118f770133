package main

import (
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	tea "charm.land/bubbletea/v2"

	"github.com/wasakari/wasakari/recovery"
)

var escapes = regexp.MustCompile("\x1b\\[[0-9;?]*[A-Za-z]")

// drawn gives the lines of a model without colours.
func drawn(m *liveModel, now time.Time) []string {
	text := strings.TrimSuffix(escapes.ReplaceAllString(m.draw(now), ""), "\n")
	lines := strings.Split(text, "\n")
	for i := range lines {
		lines[i] = strings.TrimRight(lines[i], " ")
	}
	return lines
}

var liveStart = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func liveFlow(kind recovery.FlowKind) recovery.Flow {
	refs := func(keys ...string) (list []recovery.TaskRef) {
		for _, k := range keys {
			list = append(list, recovery.TaskRef{Key: k})
		}
		return list
	}
	return recovery.Flow{Kind: kind, Pre: refs("disable_compute_service_task"), Main: refs("evacuate_instances_task"), Post: refs("custom_post_task")}
}

// liveRecord is an execution of the i-th task of liveFlow.
func liveRecord(seq int, phase recovery.Phase, key string, status recovery.TaskStatus, message string) recovery.Event {
	t := recovery.TaskRecord{
		Seq: seq, Flow: recovery.HostAuto, Phase: phase, Key: key, Status: status, Message: message, Attempt: 1, Round: 1,
		Started: liveStart.Add(time.Duration(seq) * time.Second),
	}
	if status != recovery.TaskRunning {
		t.Ended = t.Started.Add(500 * time.Millisecond)
	}
	return recovery.Event{Task: &t}
}

func liveServer(n int, status recovery.VMoveStatus, message string) recovery.Event {
	v := recovery.VMove{
		InstanceUUID: fmt.Sprintf("uuid-%d", n), InstanceName: fmt.Sprintf("web-%d", n), Status: status,
		SourceHost: "compute-1", Message: message, Attempt: 1,
	}
	if status == recovery.VMoveSucceeded {
		v.DestHost = "compute-2"
	}
	return recovery.Event{VMove: &v}
}

// TestLiveTree: the tree after each event.
func TestLiveTree(t *testing.T) {
	t.Parallel()
	b := &board{start: liveStart}
	m := &liveModel{board: b, head: "host-auto of compute-1", flows: []recovery.Flow{liveFlow(recovery.HostAuto), liveFlow(recovery.HostReserved)}, width: 100, height: 40}
	check := func(want ...string) {
		t.Helper()
		if got := drawn(m, liveStart.Add(4*time.Second)); !slices.Equal(got, want) {
			t.Errorf("tree =\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
	check(
		"host-auto of compute-1",
		"├── pre",
		"│   └── · disable_compute_service_task",
		"├── main",
		"│   └── · evacuate_instances_task",
		"└── post",
		"    └── · custom_post_task",
	)
	b.take(liveRecord(1, recovery.Pre, "disable_compute_service_task", recovery.TaskRunning, ""))
	b.take(liveRecord(1, recovery.Pre, "disable_compute_service_task", recovery.TaskSucceeded, ""))
	b.take(liveServer(1, recovery.VMovePending, ""))
	b.take(liveServer(2, recovery.VMoveOngoing, "was active"))
	running := liveRecord(2, recovery.Main, "evacuate_instances_task", recovery.TaskRunning, "")
	running.Task.Progress = []recovery.Progress{{Permille: 300, Message: "moving"}}
	running.Task.Attempt, running.Task.ReservedHost = 2, "compute-4"
	b.take(running)
	b.take(recovery.Event{Log: &recovery.LogLine{Task: "evacuate_instances_task", Level: "info", Message: "up\x1b[2Jon\nus"}})
	check(
		"host-auto of compute-1",
		"├── pre",
		"│   └── ✓ disable_compute_service_task 500ms",
		"├── main",
		"│   └── ⠋ evacuate_instances_task on compute-4 attempt 2 30 % 2s moving",
		"│       ├── · web-1                pending",
		"│       └── ⠋ web-2                ongoing: was active",
		"└── post",
		"    └── · custom_post_task",
		"  evacuate_instances_task: up·[2Jon us",
	)
	b.take(liveServer(1, recovery.VMoveSucceeded, "evacuated"))
	b.take(liveServer(2, recovery.VMoveFailed, "Disk is full."))
	b.take(liveRecord(2, recovery.Main, "evacuate_instances_task", recovery.TaskFailed, "no room"))
	fallback := liveRecord(3, recovery.Main, "evacuate_instances_task", recovery.TaskNothingToDo, "all moved")
	fallback.Task.Flow = recovery.HostReserved
	m.flows[1].Pre, m.flows[1].Post = nil, nil
	b.logs = nil
	b.take(fallback)
	check(
		"host-auto of compute-1",
		"├── pre",
		"│   └── ✓ disable_compute_service_task 500ms",
		"├── main",
		"│   └── ✗ evacuate_instances_task 500ms no room",
		"├── post",
		"│   └── · custom_post_task",
		"└── main",
		"    └── ✓ evacuate_instances_task 500ms all moved",
		"        ├── ✓ web-1                succeeded compute-1 → compute-2: evacuated",
		"        └── ✗ web-2                failed: Disk is full.",
	)
	for status, mark := range map[recovery.TaskStatus]string{
		recovery.TaskReverted: "↶", recovery.TaskInterrupted: "‖", recovery.TaskRevertFailed: "✗", recovery.TaskIgnored: "·",
	} {
		if got := escapes.ReplaceAllString(m.taskMark(status), ""); got != mark {
			t.Errorf("mark of %s = %s, want %s", status, got, mark)
		}
	}
}

// TestLiveBounds: a thousand servers, long messages and a small terminal: the
// tree stays within it while the run goes on, and is whole at the end.
func TestLiveBounds(t *testing.T) {
	t.Parallel()
	b := &board{start: liveStart}
	b.take(liveRecord(1, recovery.Main, "evacuate_instances_task", recovery.TaskRunning, strings.Repeat("very long message ", 50)))
	for n := range 1000 {
		status := recovery.VMoveSucceeded
		switch {
		case n >= 900:
			status = recovery.VMovePending
		case n >= 890:
			status = recovery.VMoveOngoing
		case n == 500:
			status = recovery.VMoveFailed
		}
		b.take(liveServer(n, status, strings.Repeat("so it is ", 30)))
		b.take(recovery.Event{Log: &recovery.LogLine{Task: "x", Message: strings.Repeat("log ", 100)}})
	}
	for _, size := range []tea.WindowSizeMsg{{Width: 80, Height: 24}, {Width: 20, Height: 5}, {Width: 200, Height: 60}, {Width: 1, Height: 1}} {
		m := &liveModel{board: b, head: strings.Repeat("head ", 60), flows: []recovery.Flow{liveFlow(recovery.HostAuto)}}
		if _, cmd := m.Update(size); cmd != nil {
			t.Error("a change of size starts something")
		}
		lines := drawn(m, liveStart)
		if most := max(size.Height-1, 3); len(lines) > most {
			t.Errorf("%+v: %d lines, want at most %d", size, len(lines), most)
		}
		for _, l := range lines {
			if n := utf8.RuneCountInString(l); n > size.Width {
				t.Errorf("%+v: a line of %d columns: %s", size, n, l)
			}
		}
	}
	m := &liveModel{board: b, head: "head", flows: []recovery.Flow{liveFlow(recovery.HostAuto)}, width: 80, height: 24}
	text := strings.Join(drawn(m, liveStart), "\n")
	first, second := strings.Index(text, "✗ web-500 "), strings.Index(text, "web-890 ")
	if first < 0 || second < first || !strings.Contains(text, "more; all: 889 succeeded, 10 ongoing, 100 pending, 1 failed") {
		t.Errorf("tree =\n%s\nwant the failed server, then those at work, then how many more there are", text)
	}
	if _, cmd := m.Update(endMsg{}); cmd == nil || m.View().Content != "" {
		t.Error("the end does not end the view")
	}
	if n := len(drawn(m, liveStart)); n < 100 {
		t.Errorf("%d lines at the end, want a hundred servers", n)
	}
}

// brokenTerminal fails at every write.
type brokenTerminal struct{}

func (brokenTerminal) Write([]byte) (int, error) { return 0, errors.New("the terminal is gone") }

// TestLiveProgram: the view starts, takes events from many goroutines and ends
// when it is told to, also where nothing can be shown.
func TestLiveProgram(t *testing.T) {
	t.Parallel()
	for name, out := range map[string]io.Writer{"good": &strings.Builder{}, "broken": brokenTerminal{}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLive(t.Context(), out, &board{start: liveStart}, "host-auto of compute-1", []recovery.Flow{liveFlow(recovery.HostAuto)})
			done := make(chan struct{})
			for i := range 4 {
				go func() {
					for n := range 50 {
						l.observe(liveServer(100*i+n, recovery.VMoveSucceeded, ""))
					}
					done <- struct{}{}
				}()
			}
			l.observe(liveRecord(1, recovery.Main, "evacuate_instances_task", recovery.TaskSucceeded, "all moved"))
			for range 4 {
				<-done
			}
			l.close()
			if b, ok := out.(*strings.Builder); ok {
				text := escapes.ReplaceAllString(b.String(), "")
				last := text[strings.LastIndex(text, "host-auto of compute-1"):]
				if !strings.Contains(last, "✓ evacuate_instances_task 500ms all moved\n") || !strings.Contains(last, "… 100 more; all: 200 succeeded") {
					t.Errorf("the last that was shown =\n%s", last)
				}
			}
		})
	}
}

// TestLiveAfterItsProgram: a view that failed at once takes events and can be
// closed.
func TestLiveAfterItsProgram(t *testing.T) {
	t.Parallel()
	l := newLive(t.Context(), io.Discard, &board{start: liveStart}, "head", []recovery.Flow{liveFlow(recovery.HostAuto)})
	l.program.Quit()
	<-l.done
	l.observe(liveRecord(1, recovery.Main, "evacuate_instances_task", recovery.TaskRunning, ""))
	l.close()
}
