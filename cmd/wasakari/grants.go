package main

import (
	"fmt"
	"slices"
	"strings"

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

// loose tells of secrets that are bound to nothing, and of lines in [secrets]
// for options that are no task's.
func (l *loaded) loose() []string {
	var texts []string
	names := map[string]bool{}
	for _, o := range l.taskOptions() {
		if !o.Secret {
			continue
		}
		name := o.Group + "." + o.Name
		if s, set := l.secrets[name]; set && !s.Bound() && !names[name] {
			texts = append(texts, fmt.Sprintf("option [%s] %s is a secret that no request may carry; write below [secrets]: %s = https://HOST header:NAME", o.Group, o.Name, name))
		}
		names[name] = true
	}
	for _, b := range l.cfg.Bindings() {
		if l.secrets != nil && !slices.ContainsFunc(l.taskOptions(), func(o recovery.OptionSpec) bool {
			return o.Secret && strings.EqualFold(o.Group, b.Group) && o.Name == b.Name
		}) {
			texts = append(texts, fmt.Sprintf("%s: no task at hand has the option [%s] %s", b.Pos, b.Group, b.Name))
		}
	}
	return texts
}

// lineSection holds for the sections that say what libraries are and may do.
func lineSection(group string) bool {
	return strings.EqualFold(group, "grants") || strings.EqualFold(group, "libraries") || strings.EqualFold(group, "secrets")
}
