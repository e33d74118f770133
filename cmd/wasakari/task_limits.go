package main

import (
	"fmt"

	"go.uber.org/zap"

	"github.com/wasakari/wasakari/abi"
	"github.com/wasakari/wasakari/config"
	"github.com/wasakari/wasakari/runtime"
)

// taskLimits are the limits that hold for a task: what it asks for within the
// operator's ceilings, or the defaults.
type taskLimits struct {
	Task      string `json:"task"`
	MemoryMiB int64  `json:"memory_mib"`
	StackMiB  int64  `json:"stack_mib"`
	CPUUnits  int64  `json:"cpu_units"`
	Timeout   string `json:"timeout"`
}

// effectiveLimits tells the limits of the tasks of a module; without a
// configuration those of the defaults.
func effectiveLimits(m *abi.Manifest, cfg *config.Config) []taskLimits {
	if m == nil {
		return nil
	}
	limits, ceilings := runtime.DefaultLimits(), runtime.DefaultCeilings()
	if cfg != nil {
		c := runtimeConfig(cfg, "", zap.NewNop())
		limits, ceilings = c.Limits, c.Ceilings
	}
	var list []taskLimits
	for _, t := range m.Tasks {
		l := limits.For(t.Limits, ceilings)
		list = append(list, taskLimits{
			Task: t.Key, MemoryMiB: l.MemoryBytes >> 20, StackMiB: l.Stack >> 20, CPUUnits: l.CPU, Timeout: l.Timeout.String(),
		})
	}
	return list
}

// notes are the limits for a person.
func (l taskLimits) notes() []string {
	return []string{
		fmt.Sprintf("memory %d MiB", l.MemoryMiB), fmt.Sprintf("stack %d MiB", l.StackMiB),
		"time " + l.Timeout, fmt.Sprintf("cpu %g units", float64(l.CPUUnits)),
	}
}
