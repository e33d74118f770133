package config

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/wasakari/wasakari/recovery"
)

// segmentForm is the uuid of a segment as it stands in a section's name, where
// case does not count.
var segmentForm = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)

// flowGroup holds for the sections whose options are flows and what they are
// made of.
func flowGroup(group string) bool {
	return group == recovery.FlowSection || strings.HasPrefix(group, flowsWord)
}

// SegmentFlow gives the flow of one kind for the hosts of a segment: that of
// section [flows:<segment uuid>] when it has one, which own tells, else that
// for all.
func (c *Config) SegmentFlow(segmentUUID string, k recovery.FlowKind) (f recovery.Flow, own bool, err error) {
	if f, ok := c.segmentFlows[strings.ToLower(segmentUUID)][k]; ok {
		return clone(f), true, nil
	}
	f, err = c.Flow(k)
	return f, false, err
}

// Segments lists the uuids of the segments that have flows of their own,
// sorted.
func (c *Config) Segments() []string { return slices.Sorted(maps.Keys(c.segmentFlows)) }

// TenantFlow gives a tenant's own flow for the failure of one of its servers:
// the line of section [tenant_flows], which is also the operator's leave.
func (c *Config) TenantFlow(project string) (recovery.Flow, bool) {
	f, ok := c.tenantFlows[project]
	return clone(f), ok
}

// FlowTenants lists the projects that have a flow of their own, sorted.
func (c *Config) FlowTenants() []string { return slices.Sorted(maps.Keys(c.tenantFlows)) }

func clone(f recovery.Flow) recovery.Flow {
	f.Pre, f.Main, f.Post = slices.Clone(f.Pre), slices.Clone(f.Main), slices.Clone(f.Post)
	return f
}

// segmentOption describes a flow in the section of a segment.
func segmentOption(group string, k recovery.FlowKind) recovery.OptionSpec {
	return recovery.OptionSpec{Group: group, Name: k.Option(), Type: recovery.FlowOption}
}

// segmentGroups lists the sections of segments that have an assignment, as the
// operator spelled them, by the form in which they are matched.
func (c *Config) segmentGroups() map[string]string {
	out := map[string]string{}
	for _, a := range c.assignments {
		if _, ok := out[a.group]; !ok && strings.HasPrefix(a.group, flowsWord) {
			out[a.group] = a.section
		}
	}
	return out
}

func (c *Config) readSegmentFlows() []*recovery.ConfigError {
	var errs []*recovery.ConfigError
	c.segmentFlows = map[string]map[recovery.FlowKind]recovery.Flow{}
	refused := map[string]bool{}
	wrongName := func(group string, pos recovery.Position, name string) {
		if strings.HasPrefix(group, flowsWord) && !segmentForm.MatchString(group[len(flowsWord):]) && !refused[group] {
			refused[group] = true
			errs = append(errs, &recovery.ConfigError{
				Pos: pos, Reason: fmt.Sprintf("section [%s]: not the uuid of a segment behind %s", name, flowsWord),
				Hint: "write it as wasakari and openstack segment list show it, such as [flows:1cac8712-c5fb-4790-9479-762578a3f944]",
			})
		}
	}
	for _, h := range c.headers {
		wrongName(groupKey(h.name), h.pos, h.name)
	}
	groups := c.segmentGroups()
	for _, group := range slices.Sorted(maps.Keys(groups)) {
		if refused[group] {
			continue
		}
		for _, k := range recovery.FlowKinds() {
			a, set := c.lookup(key{group, k.Option()})
			if !set || a.cut {
				continue
			}
			wrongName(group, a.namePos, a.section) // from the environment or a flag
			if refused[group] {
				break
			}
			v, _, _, err := (&reader{c: c}).read(segmentOption(group, k))
			if err != nil {
				errs = append(errs, c.explain(a, err))
				continue
			}
			uuid := group[len(flowsWord):]
			if c.segmentFlows[uuid] == nil {
				c.segmentFlows[uuid] = map[recovery.FlowKind]recovery.Flow{}
			}
			c.segmentFlows[uuid][k], _ = v.(recovery.Flow)
		}
	}
	return errs
}

func (c *Config) readTenantFlows() []*recovery.ConfigError {
	var errs []*recovery.ConfigError
	c.tenantFlows = map[string]recovery.Flow{}
	for _, a := range c.lines(tenantFlowsGroup) {
		if !tenantForm.MatchString(a.name) {
			errs = append(errs, misnamed(a, "a tenant", "write the id of a project, such as 0b1f6cf9d0a44c2f9d7f3c3c5b9a7f10 = pre:[…],main:[…],post:[…]"))
			continue
		}
		o := recovery.OptionSpec{Group: tenantFlowsGroup, Name: a.name, Type: recovery.FlowOption}
		t, err := (&reader{c: c}).substitute(o, a.value)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		f, wrong := parseFlow(recovery.InstanceFailure, title(o), t)
		for _, e := range wrong {
			errs = append(errs, maskFlow(o, t, e))
		}
		if len(wrong) == 0 {
			c.tenantFlows[a.name] = f
		}
	}
	return errs
}

// flowSettings lists the flows of segments and tenants.
func (c *Config) flowSettings() []Setting {
	var out []Setting
	groups := c.segmentGroups()
	for _, group := range slices.Sorted(maps.Keys(groups)) {
		for _, k := range recovery.FlowKinds() {
			if f, ok := c.segmentFlows[group[len(flowsWord):]][k]; ok {
				a, _ := c.lookup(key{group, k.Option()})
				out = append(out, flowSetting(a, groups[group], f))
			}
		}
	}
	for _, a := range c.lines(tenantFlowsGroup) {
		out = append(out, flowSetting(a, tenantFlowsGroup, c.tenantFlows[a.name]))
	}
	return out
}

func flowSetting(a assignment, group string, f recovery.Flow) Setting {
	return Setting{Group: group, Name: a.name, Type: recovery.FlowOption, Value: f, Places: []recovery.Position{a.value.start()}}
}
