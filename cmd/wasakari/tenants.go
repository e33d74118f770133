package main

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/wasakari/wasakari/config"
	"github.com/wasakari/wasakari/hostfuncs"
	"github.com/wasakari/wasakari/recovery"
)

// withheld refuses a flow in which a tenant's task requires a value that it
// would never see.
func withheld(c *catalog, f recovery.Flow) error {
	provided := providersOf(c, map[recovery.FlowKind]recovery.Flow{f.Kind: f})[f.Kind]
	var errs []error
	for _, phase := range recovery.Phases() {
		for _, ref := range f.Tasks(phase) {
			task, _ := c.Task(ref.Key)
			for _, name := range task.Requires {
				if hostfuncs.Withheld(task, name, func(name string) (string, bool) { t, ok := provided[name]; return t, ok }) {
					errs = append(errs, fmt.Errorf("%s: flow %s: %s: task %q of tenant %s requires %s, which tenants do not see; take it out of its task.yaml, or the task out of the flow",
						ref.Pos, f.Kind, phase, task.Key, task.Tenant, name))
				}
			}
		}
	}
	return errors.Join(errs...)
}

// tenantsIn reports whether tasks of tenants may stand in flows of a kind, as
// flow.Check has it.
func tenantsIn(kind recovery.FlowKind) bool { return kind == recovery.InstanceFailure }

// noFlow says why no flow may take a tenant's task, whatever is granted to it;
// "" when one may. provides tells whether a task of the tenant provides a value;
// nil: perhaps.
func noFlow(task recovery.Task, provides func(name string) bool) string {
	inputs := recovery.InstanceFailure.InputNames(recovery.Main)
	for _, name := range task.Requires {
		switch {
		case task.Tenant == "" || slices.Contains(recovery.TenantInputs(), name):
		case slices.Contains(inputs, name):
			return fmt.Sprintf("it requires %s, which tenants do not see", name)
		case provides != nil && !provides(name):
			return fmt.Sprintf("it requires %s, which no task of its tenant provides", name)
		}
	}
	for _, name := range task.Provides {
		if task.Tenant != "" && slices.Contains(inputs, name) {
			return fmt.Sprintf("it provides %s, which is an input of the flow", name)
		}
	}
	return ""
}

// noFlow says the same with the tasks at hand.
func (l *loaded) noFlow(task recovery.Task) string {
	return noFlow(task, func(name string) bool {
		return slices.ContainsFunc(slices.Collect(maps.Values(l.catalog.tasks)), func(t recovery.Task) bool {
			return t.Tenant == task.Tenant && slices.Contains(t.Provides, name)
		})
	})
}

// noFlowMay begins what is said of a task that no flow may take.
const noFlowMay = "no flow may take this task: "

// claim is a task of a module that could be run.
type claim struct {
	task   recovery.Task
	module candidate
}

// claim notes a tenant's claim to a key. The same module may lie there under
// the name of each of its keys.
func (c *catalog) claim(cl claim) {
	key := cl.task.Key
	if !slices.ContainsFunc(c.claims[key], func(o claim) bool { return o.task.Digest == cl.task.Digest && o.task.Tenant == cl.task.Tenant }) {
		c.claims[key] = append(c.claims[key], cl)
	}
}

// contest is a key that several modules of tenants have, and what to do.
type contest struct{ reason, hint string }

// settle gives each key that tenants claim to one of them: the one whose module
// is pinned, else the one whose library the operator knows. Where that says
// nothing, whose it is would be a matter of luck, and it is nobody's.
func (c *catalog) settle(cfg *config.Config) {
	for _, key := range slices.Sorted(maps.Keys(c.claims)) {
		all := c.claims[key]
		best, why := all, ""
		for _, rule := range []struct {
			why   string
			holds func(claim) bool
		}{
			{"[libraries] pins that of %s", func(cl claim) bool { return cl.module.pinned }},
			{"the operator knows the library of %s", func(cl claim) bool { return knows(cfg, cl.task) }},
		} {
			if of := slices.DeleteFunc(slices.Clone(all), func(cl claim) bool { return !rule.holds(cl) }); len(of) > 0 {
				best, why = of, rule.why
				break
			}
		}
		if len(best) > 1 {
			c.contested[key] = contestOf(best)
			c.refused = append(c.refused, fmt.Errorf("%s; %s", c.contested[key].reason, c.contested[key].hint))
			continue
		}
		c.enter(best[0])
		for _, cl := range firstOfEach(all) {
			if cl.task.Source != best[0].task.Source {
				c.aside = append(c.aside, fmt.Sprintf("task %s of %s is left aside: "+why, key, cl.task.Source, best[0].task.Source))
			}
		}
	}
}

// knows reports whether the operator wrote a line about a task's library.
func knows(cfg *config.Config, t recovery.Task) bool {
	_, registered := cfg.Registration(t.Library, t.Tenant)
	return registered || cfg.GrantsFor(t).Pos.File != ""
}

// firstOfEach gives the first claim of each tenant: one has as many as he
// likes.
func firstOfEach(all []claim) []claim {
	seen := map[string]bool{}
	return slices.DeleteFunc(slices.Clone(all), func(cl claim) bool {
		before := seen[cl.task.Tenant]
		seen[cl.task.Tenant] = true
		return before
	})
}

func contestOf(all []claim) contest {
	last := all[len(all)-1].task
	tenants := firstOfEach(all)
	hint := fmt.Sprintf("remove all but one, or pin one in [libraries], such as %s = sha256:%s", config.LibraryLine(last.Library, last.Tenant), last.Digest)
	if len(tenants) == 1 {
		return contest{fmt.Sprintf("task %s of tenant %s is in %s and in %s", last.Key, last.Tenant, all[0].task.Source, last.Source), hint}
	}
	var who []string
	for _, cl := range tenants {
		who = append(who, fmt.Sprintf("%s (%s)", cl.task.Tenant, cl.task.Source))
	}
	n := len(who) - 1
	return contest{fmt.Sprintf("task %s is contested by tenants %s and %s", last.Key, strings.Join(who[:n], ", "), who[n]), hint}
}

// ownPart is a flow without the tasks that may be those of tenants whose
// modules were not looked at; whole is false when there are any.
func ownPart(c *catalog, f recovery.Flow) (own recovery.Flow, whole bool) {
	whole = true
	known := func(refs []recovery.TaskRef) []recovery.TaskRef {
		return slices.DeleteFunc(slices.Clone(refs), func(ref recovery.TaskRef) bool {
			_, ok := c.Task(ref.Key)
			whole = whole && ok
			return !ok
		})
	}
	f.Pre, f.Main, f.Post = known(f.Pre), known(f.Main), known(f.Post)
	return f, whole
}
