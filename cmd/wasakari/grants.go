package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/wasakari/wasakari/config"
	"github.com/wasakari/wasakari/recovery"
)

// grantedTo tells what the operator granted to a task. The standard tasks, which
// are part of this program, have what they ask for.
func grantedTo(cfg *config.Config, task recovery.Task) func(what string) bool {
	if task.Standard {
		return func(string) bool { return true }
	}
	return cfg.GrantsFor(task).Allows
}

func (l *loaded) granted(task recovery.Task, what string) bool { return grantedTo(l.cfg, task)(what) }

// missing lists what a task asks for and was not granted.
func missing(cfg *config.Config, task recovery.Task) []string {
	granted := grantedTo(cfg, task)
	return slices.DeleteFunc(task.Asks(), granted)
}

// grantHint says what to write so that the task is granted what is missing. The
// line is good for all tasks of the flows that it is for.
func (l *loaded) grantHint(task recovery.Task, lacks []string) string {
	if why := l.noFlow(task); why != "" {
		return noFlowMay + why
	}
	all := slices.Clone(lacks)
	for _, kind := range recovery.FlowKinds() {
		f, err := l.cfg.Flow(kind)
		if err != nil {
			continue
		}
		for _, phase := range recovery.Phases() {
			for _, ref := range f.Tasks(phase) {
				other, ok := l.catalog.Task(ref.Key)
				if ok && !other.Standard && l.cfg.GrantsFor(other).Name == l.cfg.GrantsFor(task).Name {
					all = append(all, missing(l.cfg, other)...)
				}
			}
		}
	}
	slices.Sort(all)
	return grantLine(l.cfg, task, all)
}

// grantLine says which line to write so that a task is granted more.
func grantLine(cfg *config.Config, task recovery.Task, more []string) string {
	g := cfg.GrantsFor(task)
	where := "write below [grants]"
	if g.Pos.File != "" {
		where = fmt.Sprintf("write instead of the line at %s", g.Pos)
	}
	return where + ": " + g.Line(more...)
}

// secretsOf gives the secrets that a task's own manifest names.
func secretsOf(task recovery.Task, all map[string]recovery.Secret) map[string]recovery.Secret {
	own := map[string]recovery.Secret{}
	for _, o := range task.Options {
		if s, ok := all[o.Group+"."+o.Name]; ok && o.Secret {
			own[s.Name] = s
		}
	}
	return own
}

// loose tells of secrets that are bound to nothing or too short to be masked
// well, and of lines in [secrets] for options that are no task's.
func (l *loaded) loose() []string {
	var texts []string
	names := map[string]bool{}
	for _, o := range l.catalog.secretOptions(l.cfg) {
		name := o.Group + "." + o.Name
		s, set := l.secrets[name]
		if set && !names[name] && s.Short() {
			texts = append(texts, fmt.Sprintf("%s: option [%s] %s is a secret of fewer than 8 characters: in answers, messages and logs of requests these are masked wherever they stand, "+
				"also by chance, and what is masked is guessed easily; take a longer one", s.Pos, o.Group, o.Name))
		}
		if set && !names[name] && !s.Bound() {
			texts = append(texts, fmt.Sprintf("option [%s] %s is a secret that no request may carry; write below [secrets]: %s = https://HOST header:NAME", o.Group, o.Name, name))
		}
		names[name] = true
	}
	for _, b := range l.cfg.Bindings() {
		if l.secrets != nil && !l.catalog.partly && !slices.ContainsFunc(l.taskOptions(), func(o recovery.OptionSpec) bool {
			return o.Secret && strings.EqualFold(o.Group, b.Group) && o.Name == b.Name
		}) {
			texts = append(texts, fmt.Sprintf("%s: no task at hand has the option [%s] %s", b.Pos, b.Group, b.Name))
		}
	}
	return texts
}

// lineSection holds for the sections that say what libraries are and may do.
func lineSection(group string) bool {
	return slices.ContainsFunc([]string{"grants", "limits", "libraries", "secrets"}, func(s string) bool { return strings.EqualFold(group, s) })
}

// taskGrants is what one task asks for, and what of it was granted.
type taskGrants struct {
	Task    string `json:"task"`
	Library string `json:"library"`
	Tenant  string `json:"tenant,omitempty"`
	// Line is the name of the line in [grants] that holds for the task; At is
	// where it stands, empty when there is none.
	Line    string         `json:"line"`
	At      string         `json:"at,omitempty"`
	Asked   []string       `json:"asked"`
	Granted []grantedThing `json:"granted"`
	Missing []string       `json:"missing"`
	// Hint tells of lines that are for tenants' libraries of the same name.
	Hint string `json:"hint,omitempty"`
	// Write is what to write so that nothing is missing; empty also for a task
	// that no flow may take.
	Write string `json:"write,omitempty"`
	// NoFlow is why no flow may take the task.
	NoFlow string `json:"no_flow,omitempty"`
}

// grantedThing is something asked for and the item that grants it.
type grantedThing struct {
	What string `json:"what"`
	By   string `json:"by"`
	At   string `json:"at"`
}

// askedOf compares what a task asks for with what it was granted; none is why no
// flow may take it.
func askedOf(cfg *config.Config, task recovery.Task, none string) taskGrants {
	g := cfg.GrantsFor(task)
	t := taskGrants{
		Task: task.Key, Library: task.Library, Tenant: task.Tenant, Line: g.Name,
		Asked: append([]string{}, task.Asks()...), Granted: []grantedThing{}, Missing: []string{}, NoFlow: none,
	}
	if g.Pos.File != "" {
		t.At = g.Pos.String()
	}
	for _, what := range t.Asked {
		if by, pos, ok := g.By(what); ok {
			t.Granted = append(t.Granted, grantedThing{what, by, pos.String()})
		} else {
			t.Missing = append(t.Missing, what)
		}
	}
	if len(t.Missing) > 0 && none == "" {
		t.Write = grantLine(cfg, task, t.Missing)
		if g.Pos.File == "" {
			t.Hint = tenantHint(cfg, task)
		}
	}
	return t
}

// tenantHint tells whoever looks at a tenant's module as if it were the
// operator's how to look at it.
func tenantHint(cfg *config.Config, task recovery.Task) string {
	if task.Tenant != "" {
		return ""
	}
	var tenants []string
	for name := range cfg.Grants() {
		of, tenant, ok := strings.Cut(name, "@")
		if ok && (of == task.Library || of == task.Library+"/"+task.Key) && !slices.Contains(tenants, tenant) {
			tenants = append(tenants, tenant)
		}
	}
	if len(tenants) == 0 {
		return ""
	}
	slices.Sort(tenants)
	return fmt.Sprintf("[grants] has lines of library %s for tenants only; look at a tenant's module with --tenant %s", task.Library, strings.Join(tenants, ", or --tenant "))
}

// rows lists what is asked for, and for each what grants it.
func (t taskGrants) rows() [][2]string {
	var rows [][2]string
	for _, what := range t.Asked {
		row := [2]string{what, "missing"}
		for _, g := range t.Granted {
			if g.What == what {
				row[1] = "granted at " + g.At
				if g.By != what {
					row[1] += " (" + g.By + ")"
				}
			}
		}
		rows = append(rows, row)
	}
	if len(rows) == 0 {
		rows = append(rows, [2]string{"(nothing)", ""})
	}
	return rows
}

// wantedLine is a line of [grants] to be written.
type wantedLine struct {
	task   recovery.Task // one of those that it is for
	keys   []string
	things []string
}

// grantsText is a table of what the tasks that are not standard ask for;
// lacking is true when something of it is missing.
func (l *loaded) grantsText() (text string, lacking bool) {
	table := [][]string{{"task", "library", "asks for", ""}}
	var hints []string
	named := l.namedKeys()
	lines := map[string]*wantedLine{} // by name: a line is for all tasks of a library
	for _, key := range l.catalog.Keys() {
		task, _ := l.catalog.Task(key)
		if task.Standard {
			continue
		}
		t := askedOf(l.cfg, task, l.noFlow(task))
		for i, row := range t.rows() {
			cells := []string{"", "", row[0], row[1]}
			if i == 0 {
				cells[0], cells[1] = key, config.LibraryLine(task.Library, task.Tenant)
			}
			table = append(table, cells)
		}
		lacking = lacking || len(t.Missing) > 0
		switch {
		case t.NoFlow != "":
			hints = append(hints, key+": "+noFlowMay+t.NoFlow)
		case t.Write != "":
			if !slices.Contains(named, key) { // not to be granted along with the others
				hints = append(hints, key+": "+t.Write)
				break
			}
			if lines[t.Line] == nil {
				lines[t.Line] = &wantedLine{task: task}
			}
			lines[t.Line].keys = append(lines[t.Line].keys, key)
			lines[t.Line].things = append(lines[t.Line].things, t.Missing...)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(lines)) {
		line := lines[name]
		slices.Sort(line.things)
		hints = append(hints, strings.Join(line.keys, ", ")+": "+grantLine(l.cfg, line.task, line.things))
	}
	if len(table) == 1 {
		return "", false
	}
	var b strings.Builder
	b.WriteString("\ngrants\n")
	widths := make([]int, len(table[0])-1)
	for _, cells := range table {
		for i := range widths {
			widths[i] = min(max(widths[i], utf8.RuneCountInString(cells[i])), 60)
		}
	}
	for _, cells := range table {
		var line strings.Builder
		line.WriteString(" ")
		for i, cell := range cells {
			line.WriteString(" " + cell)
			if i < len(widths) {
				line.WriteString(strings.Repeat(" ", max(0, widths[i]+1-utf8.RuneCountInString(cell))))
			}
		}
		b.WriteString(strings.TrimRight(line.String(), " ") + "\n")
	}
	for _, h := range hints {
		fmt.Fprintf(&b, "  %s\n", h)
	}
	return b.String(), lacking
}
