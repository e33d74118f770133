package main

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/wasakari/wasakari/recovery"
)

// board is what is known of a run while it goes on: the latest state of every
// task and of every server. It is safe for concurrent use.
type board struct {
	mu     sync.Mutex
	start  time.Time
	run    recovery.Run
	tasks  []recovery.TaskRecord // by Seq
	vmoves []recovery.VMove      // the latest attempt of each server, in order of appearance
	logs   []recovery.LogLine    // the last few
}

// keptLogs is how many log lines a live view can show.
const keptLogs = 5

// take enters an event.
func (b *board) take(e recovery.Event) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case e.Run != nil:
		b.run = *e.Run
	case e.Task != nil:
		i := slices.IndexFunc(b.tasks, func(t recovery.TaskRecord) bool { return t.Seq == e.Task.Seq })
		if i < 0 {
			b.tasks = append(b.tasks, *e.Task)
			return
		}
		t := *e.Task
		if len(t.Progress) == 0 {
			t.Progress = b.tasks[i].Progress
		}
		b.tasks[i] = t
	case e.VMove != nil:
		i := slices.IndexFunc(b.vmoves, func(v recovery.VMove) bool { return v.InstanceUUID == e.VMove.InstanceUUID })
		if i < 0 {
			b.vmoves = append(b.vmoves, *e.VMove)
			return
		}
		b.vmoves[i] = *e.VMove
	case e.Log != nil:
		b.logs = append(b.logs, *e.Log)
		if len(b.logs) > keptLogs {
			b.logs = slices.Delete(b.logs, 0, len(b.logs)-keptLogs)
		}
	}
}

// count tells how many servers stand where.
func count(vmoves []recovery.VMove) map[recovery.VMoveStatus]int {
	n := map[recovery.VMoveStatus]int{}
	for _, v := range vmoves {
		n[v.Status]++
	}
	return n
}

// tally says it in words: "17 succeeded, 2 ongoing, 1 failed".
func tally(vmoves []recovery.VMove) string {
	n := count(vmoves)
	text := ""
	for _, s := range []recovery.VMoveStatus{
		recovery.VMoveSucceeded, recovery.VMoveOngoing, recovery.VMovePending, recovery.VMoveFailed, recovery.VMoveIgnored,
	} {
		if n[s] > 0 {
			if text != "" {
				text += ", "
			}
			text += fmt.Sprintf("%d %s", n[s], s)
		}
	}
	return text
}

// took gives the length of a task so far.
func took(t recovery.TaskRecord, now time.Time) time.Duration {
	if !t.Ended.IsZero() {
		now = t.Ended
	}
	return now.Sub(t.Started)
}

// lastProgress gives the latest progress of a task.
func lastProgress(t recovery.TaskRecord) recovery.Progress {
	if len(t.Progress) == 0 {
		return recovery.Progress{}
	}
	return t.Progress[len(t.Progress)-1]
}

func vmoveName(v recovery.VMove) string {
	if v.InstanceName != "" {
		return v.InstanceName
	}
	return v.InstanceUUID
}

// outcomeWord is the word for the end of a run that a person reads first.
func outcomeWord(run recovery.Run) string {
	switch {
	case !run.Finished:
		return "interrupted"
	case run.Held != nil:
		return statusHeld
	}
	return string(run.Status)
}
