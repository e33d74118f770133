package main

import (
	"errors"
	"fmt"

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
