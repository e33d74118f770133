package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/wasakari/wasakari/abi"
	"github.com/wasakari/wasakari/config"
	"github.com/wasakari/wasakari/hostfuncs"
	"github.com/wasakari/wasakari/recovery"
	"github.com/wasakari/wasakari/runtime"
)

// taskBounds are the limits that hold for a task.
type taskBounds struct {
	runtime.Limits
	kvTaskKiB, kvLibraryMiB int
	// lines are those of the limits that lines of [limits] set, by name.
	lines map[string]config.Limit
}

// option names the line that sets a limit; empty when none does.
func (b taskBounds) option(name string) string {
	if l, ok := b.lines[name]; ok {
		return l.Option()
	}
	return ""
}

// standardAnswerBytes lets the standard tasks recover hosts with thousands of
// servers, whatever is allowed to others.
const standardAnswerBytes = 16 << 20

// boundsOf gives the limits of a task. asked is what its manifest asks for
// within the operator's ceilings; what a line of [limits] sets holds instead.
//
// Standard tasks have no wall limit: the flow's own waits bound them; and they
// may compute as much as anyone may ask for.
func boundsOf(cfg *config.Config, t recovery.Task, asked runtime.Limits) taskBounds {
	o := cfg.Wasakari
	b := taskBounds{Limits: asked, kvTaskKiB: o.KVTaskKiB, kvLibraryMiB: o.KVLibraryMiB, lines: cfg.LimitsFor(t)}
	if t.Standard {
		b.Timeout = 0
		b.CPU = max(b.CPU, o.CPUUnitsMax)
		b.AnswerBytes = max(b.AnswerBytes, standardAnswerBytes)
	}
	if len(b.lines) == 0 {
		return b
	}
	b.Options = &runtime.LimitOptions{
		Memory: b.option("memory_mib"), Stack: b.option("stack_mib"), CPU: b.option("cpu_units"), Timeout: b.option("task_timeout"),
		Tickets: b.option("tickets"), Request: b.option("request_kib"), Answer: b.option("answer_mib"),
		LogLines: b.option("log_lines"), LogBytes: b.option("log_kib"),
	}
	for name, l := range b.lines {
		n := int(l.Value)
		switch name {
		case "memory_mib":
			b.MemoryBytes = l.Value << 20
		case "stack_mib":
			b.Stack = l.Value << 20
		case "cpu_units":
			b.CPU = l.Value
		case "task_timeout":
			b.Timeout = time.Duration(l.Value) * time.Second
		case "host_calls_per_second":
			b.HostCallsPerSecond = n
		case "tickets":
			b.Tickets = n
		case "request_kib":
			b.RequestBytes = n << 10
		case "answer_mib":
			b.AnswerBytes = n << 20
		case "log_lines":
			b.LogLines = noneIfZero(n)
		case "log_kib":
			b.LogBytes = noneIfZero(n << 10)
		case "kv_task_kib":
			b.kvTaskKiB = n
		case "kv_library_mib":
			b.kvLibraryMiB = n
		}
	}
	return b
}

// give tells the hatch the limits that it keeps.
func (b taskBounds) give(c *hostfuncs.TaskCall) {
	c.AnswerBytes, c.AnswerOption = b.AnswerBytes, b.option("answer_mib")
	c.KVTaskBytes, c.KVTaskOption = b.kvTaskKiB<<10, b.option("kv_task_kib")
	c.KVLibraryBytes, c.KVLibraryOption = b.kvLibraryMiB<<20, b.option("kv_library_mib")
}

// scratchBytes is what any task may keep under scratch/.
func scratchBytes(cfg *config.Config) int64 {
	return max(int64(cfg.Wasakari.KVTaskKiB), cfg.MostOf("kv_task_kib")) << 10
}

// taskLimits are the limits that hold for a task, to be shown.
type taskLimits struct {
	Task               string `json:"task"`
	MemoryMiB          int64  `json:"memory_mib"`
	StackMiB           int64  `json:"stack_mib"`
	CPUUnits           int64  `json:"cpu_units"`
	Timeout            string `json:"timeout"` // 0s: none
	HostCallsPerSecond int    `json:"host_calls_per_second"`
	Tickets            int    `json:"tickets"`
	RequestKiB         int    `json:"request_kib"`
	AnswerMiB          int    `json:"answer_mib"`
	LogLines           int    `json:"log_lines"`
	LogKiB             int    `json:"log_kib"`
	KVTaskKiB          int    `json:"kv_task_kib"`
	KVLibraryMiB       int    `json:"kv_library_mib"`
	Sandboxes          int    `json:"sandboxes,omitempty"` // of its tenant
	// From tells by the name of each limit where it comes from that is not at
	// its value of [wasakari]: the manifest, a ceiling that the manifest is above,
	// or a line of [limits] with its place.
	From map[string]string `json:"from"`
}

// limitsShown tells the limits of a task whose manifest asks for asked.
func limitsShown(cfg *config.Config, t recovery.Task, asked abi.ManifestLimits) taskLimits {
	base, ceilings := sandboxLimits(cfg)
	b := boundsOf(cfg, t, base.For(asked, ceilings))
	s := taskLimits{
		Task: t.Key, MemoryMiB: b.MemoryBytes >> 20, StackMiB: b.Stack >> 20, CPUUnits: b.CPU, Timeout: b.Timeout.String(),
		HostCallsPerSecond: b.HostCallsPerSecond, Tickets: b.Tickets, RequestKiB: b.RequestBytes >> 10, AnswerMiB: b.AnswerBytes >> 20,
		LogLines: max(b.LogLines, 0), LogKiB: max(b.LogBytes, 0) >> 10, KVTaskKiB: b.kvTaskKiB, KVLibraryMiB: b.kvLibraryMiB,
		From: map[string]string{},
	}
	ask := func(name string, asked, most int64) {
		switch {
		case asked > most:
			s.From[name] = "[wasakari] " + name + "_max"
		case asked > 0:
			s.From[name] = "manifest"
		}
	}
	ask("memory_mib", int64(asked.MemoryMiB), int64(cfg.Wasakari.MemoryMiBMax))
	if t.Standard {
		s.From["cpu_units"], s.From["answer_mib"], s.From["task_timeout"] = "standard task", "standard task", "standard task"
	} else {
		ask("cpu_units", int64(asked.CPU), cfg.Wasakari.CPUUnitsMax)
		d, _ := time.ParseDuration(asked.Timeout) // a manifest that was read holds a valid one or none
		ask("task_timeout", int64(d), int64(cfg.Wasakari.TaskTimeoutMax))
	}
	if t.Tenant != "" {
		s.Sandboxes = cfg.Wasakari.Sandboxes
		if n, ok := cfg.TenantSandboxes()[t.Tenant]; ok {
			s.Sandboxes = n
		}
	}
	for name, l := range b.lines {
		s.From[name] = fmt.Sprintf("[limits] %s at %s", l.Line, l.Pos)
	}
	return s
}

// effectiveLimits tells the limits of the tasks of a module.
func effectiveLimits(m *abi.Manifest, cfg *config.Config, tenant string) []taskLimits {
	if m == nil {
		return nil
	}
	var list []taskLimits
	for _, t := range m.Tasks {
		list = append(list, limitsShown(cfg, recovery.Task{Key: t.Key, Library: m.Library, Tenant: tenant}, t.Limits))
	}
	return list
}

// notes are the limits for a person: memory, stack, time and computing, and
// what lines of [limits] set beside them.
func (l taskLimits) notes() []string {
	timeout := "time " + l.Timeout
	if l.Timeout == "0s" {
		timeout = "no limit of time"
	}
	var notes []string
	for i, row := range [][2]string{
		{"memory_mib", fmt.Sprintf("memory %d MiB", l.MemoryMiB)},
		{"stack_mib", fmt.Sprintf("stack %d MiB", l.StackMiB)},
		{"task_timeout", timeout},
		{"cpu_units", fmt.Sprintf("cpu %g units", float64(l.CPUUnits))},
		{"host_calls_per_second", fmt.Sprintf("%d host calls per second", l.HostCallsPerSecond)},
		{"tickets", fmt.Sprintf("%d tickets", l.Tickets)},
		{"request_kib", fmt.Sprintf("request %d KiB", l.RequestKiB)},
		{"answer_mib", fmt.Sprintf("answer %d MiB", l.AnswerMiB)},
		{"log_lines", fmt.Sprintf("%d log lines", l.LogLines)},
		{"log_kib", fmt.Sprintf("log %d KiB", l.LogKiB)},
		{"kv_task_kib", fmt.Sprintf("values of a task %d KiB", l.KVTaskKiB)},
		{"kv_library_mib", fmt.Sprintf("values of the library %d MiB", l.KVLibraryMiB)},
		{"sandboxes", fmt.Sprintf("%d sandboxes of the tenant", l.Sandboxes)},
	} {
		from, ok := l.From[row[0]]
		switch {
		case ok && (i < 4 || strings.HasPrefix(from, "[limits]")):
			notes = append(notes, row[1]+" ("+from+")")
		case i < 4:
			notes = append(notes, row[1])
		}
	}
	return notes
}

// shownLimits tells the limits of the tasks at hand; those of standard tasks
// where a line sets one.
func (l *loaded) shownLimits() []taskLimits {
	list := []taskLimits{}
	for _, key := range l.catalog.Keys() {
		task, _ := l.catalog.Task(key)
		if !task.Standard || len(l.cfg.LimitsFor(task)) > 0 {
			list = append(list, limitsShown(l.cfg, task, l.catalog.modules[key].Manifest().Task(key).Limits))
		}
	}
	return list
}

func (l *loaded) limitsText() string {
	list := l.shownLimits()
	if len(list) == 0 {
		return ""
	}
	var b strings.Builder
	b.WriteString("\nlimits\n")
	for _, t := range list {
		fmt.Fprintf(&b, "  %s: %s\n", t.Task, strings.Join(t.notes(), ", "))
	}
	return b.String()
}

// idleLimits tells of lines of [limits] for libraries of the operator that have
// no such task: who misspelt a name limits nothing.
func (l *loaded) idleLimits() []string {
	names := map[string]bool{}
	for _, key := range l.catalog.Keys() {
		task, _ := l.catalog.Task(key)
		names[task.Library], names[task.Library+"/"+key] = true, true
	}
	var texts []string
	lines := l.cfg.LimitLines()
	for _, name := range slices.Sorted(maps.Keys(lines)) {
		if names[name] || strings.Contains(name, "@") {
			continue
		}
		text := fmt.Sprintf("%s: [limits] %s limits nothing: no task at hand is of that name", lines[name], name)
		if near, ok := config.Nearest(name, slices.Sorted(maps.Keys(names))); ok {
			text += "; did you mean " + near + "?"
		}
		texts = append(texts, text)
	}
	return texts
}
