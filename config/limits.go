package config

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/wasakari/wasakari/recovery"
)

// Limit is one limit that a line of section [limits] sets: it holds whatever
// the manifest asks for, and instead of the option of that name in [wasakari].
type Limit struct {
	// Name is that of the option, such as memory_mib.
	Name string
	// Value is in the unit that the name tells; of task_timeout it is in seconds.
	Value int64
	// Line is the name of the line: LIBRARY or LIBRARY/KEY, each with @TENANT
	// when it is for a tenant's library, or @TENANT for all libraries of one.
	Line string
	// Pos is where the limit stands.
	Pos recovery.Position

	text string // as it was written
}

// Option names what sets the limit, such as "[limits] acme memory_mib".
func (l Limit) Option() string { return "[" + limitsGroup + "] " + l.Line + " " + l.Name }

// The limits that are not for every line.
const (
	limitSandboxes = "sandboxes"      // of a tenant
	limitLibrary   = "kv_library_mib" // of a library
	limitTime      = "task_timeout"
)

// limitNames lists the limits: options of [wasakari], in that order.
var limitNames = []string{
	"memory_mib", "stack_mib", "cpu_units", limitTime, "host_calls_per_second", "tickets", "request_kib", "answer_mib",
	"log_lines", "log_kib", "kv_task_kib", limitLibrary, limitSandboxes,
}

// limitCeilings are the most that a line may set where the option of [wasakari]
// may be more.
var limitCeilings = map[string]int64{"memory_mib": 512, "cpu_units": 600e9, limitTime: 6 * 3600}

// limitRange gives the least and the most that a line may set.
func limitRange(name string) (least, most int64) {
	o := known[key{ownGroup, name}]
	most = *o.Max
	if ceiling, ok := limitCeilings[name]; ok {
		most = ceiling
	}
	return *o.Min, most
}

// limitForm says how a limit is written.
func limitForm(name string) string {
	least, most := limitRange(name)
	if name == limitTime {
		return fmt.Sprintf("%s=TIME, such as 90s or 10m, from %ds to %dh", name, least, most/3600)
	}
	return fmt.Sprintf("%s=NUMBER, a whole number from %d to %d", name, least, most)
}

// limitName gives the key of a task in the name of a line, and tells whether it
// is for all libraries of a tenant; hint tells what is wrong with the name.
func limitName(name string) (taskKey string, ofTenant bool, hint string) {
	if tenant, ok := strings.CutPrefix(name, "@"); ok {
		if !tenantForm.MatchString(tenant) {
			hint = wantTenant
		}
		return "", true, hint
	}
	taskKey, hint = grantName(name)
	return taskKey, false, hint
}

// LimitsFor gives the limits of a task that lines set, by their names. For each
// of them the line of its library and key counts before that of its library,
// and before that of its tenant. A tenant's library has lines of its own.
func (c *Config) LimitsFor(t recovery.Task) map[string]Limit {
	names := []string{LibraryLine(t.Library, t.Tenant), lineName(t.Library, t.Key, t.Tenant)}
	if t.Tenant != "" {
		names = append([]string{lineName("", "", t.Tenant)}, names...)
	}
	out := map[string]Limit{}
	for _, name := range names {
		for _, l := range c.limits[name] {
			out[l.Name] = l
		}
	}
	return out
}

// TenantSandboxes gives the sandboxes of tenants that have a number of their
// own, by tenant.
func (c *Config) TenantSandboxes() map[string]int {
	out := map[string]int{}
	for line, list := range c.limits {
		for _, l := range list {
			if l.Name == limitSandboxes {
				out[strings.TrimPrefix(line, "@")] = int(l.Value)
			}
		}
	}
	return out
}

// MostOf gives the most that any line sets for a limit; zero when none does.
func (c *Config) MostOf(name string) int64 {
	var most int64
	for _, list := range c.limits {
		for _, l := range list {
			if l.Name == name {
				most = max(most, l.Value)
			}
		}
	}
	return most
}

// LimitLines gives the lines of section [limits], each with its place.
func (c *Config) LimitLines() map[string]recovery.Position {
	out := map[string]recovery.Position{}
	for _, a := range c.lines(limitsGroup) {
		out[a.name] = a.namePos
	}
	return out
}

func (c *Config) readLimits() []*recovery.ConfigError {
	var errs []*recovery.ConfigError
	c.limits = map[string][]Limit{}
	for _, a := range c.lines(limitsGroup) {
		taskKey, ofTenant, hint := limitName(a.name)
		if hint != "" {
			errs = append(errs, misnamed(a, "a library or a tenant", hint))
			continue
		}
		o := recovery.OptionSpec{Group: limitsGroup, Name: a.name, Type: recovery.ListOption}
		t, err := (&reader{c: c}).substitute(o, a.value)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		list := []Limit{}
		for off, what := range listItems(t.s) {
			l, want, hint := parseLimit(what)
			switch {
			case want != "":
			case l.Name == limitSandboxes && !ofTenant:
				want = "a limit of tasks, which " + limitSandboxes + " is not"
				hint = "it is for all libraries of a tenant together: write it into the line @PROJECT"
			case l.Name == limitLibrary && taskKey != "":
				want = "a limit of one task, which " + limitLibrary + " is not"
				hint = "it is for a library as a whole: leave /" + taskKey + " out"
			case slices.ContainsFunc(list, func(other Limit) bool { return other.Name == l.Name }):
				want, hint = "each limit once", l.Name+" stands in this line already"
			}
			if want != "" {
				e := wrong(o, text{s: what, file: t.file, segs: []seg{seg1(t, off)}, secret: t.secret}, want)
				if hint != "" {
					e.Hint = hint
				}
				errs = append(errs, e)
				continue
			}
			l.Line, l.Pos = a.name, t.pos(off)
			list = append(list, l)
		}
		c.limits[a.name] = list
	}
	return errs
}

// parseLimit reads one item; want says what is wanted instead.
func parseLimit(what string) (l Limit, want, hint string) {
	name, value, _ := strings.Cut(what, "=")
	name = strings.TrimFunc(name, isSpace)
	if !slices.Contains(limitNames, name) {
		if near, ok := Nearest(name, limitNames); ok {
			hint = "did you mean " + near + "?"
		}
		return l, "a limit and its value, such as memory_mib=32; the limits are " + strings.Join(limitNames, ", "), hint
	}
	n, ok := limitValue(name, strings.TrimFunc(value, isSpace))
	if least, most := limitRange(name); !ok || n < least || n > most {
		return l, limitForm(name), ""
	}
	return Limit{Name: name, Value: n, text: what}, "", ""
}

// limitValue reads a whole number, 1e9 too; a time may have a unit.
func limitValue(name, s string) (int64, bool) {
	if n, ok := parseInt(s); ok {
		return n, true
	}
	if name == limitTime {
		d, err := time.ParseDuration(s)
		return int64(d / time.Second), err == nil && d%time.Second == 0
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || f != math.Trunc(f) || math.Abs(f) > 1<<53 || strings.ContainsAny(s, "xX_") {
		return 0, false
	}
	return int64(f), true
}
