package novasim

import (
	_ "embed"
	"errors"
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/wasakari/wasakari/internal/safeyaml"
)

// Bounds of a scenario.
const (
	MaxScenarioBytes = 1 << 20
	MaxServers       = 100_000
	MaxHosts         = 10_000
	maxAggregates    = 1000
	maxUsers         = 1000
	maxFaults        = 1000
	maxDuration      = 24 * time.Hour
)

// Span is a length of time, fixed or drawn from Min to Max. In YAML: 250ms, or
// 400ms..1.5s.
type Span struct{ Min, Max time.Duration }

// UnmarshalYAML reads 250ms or 400ms..1.5s. Text that is neither becomes a span
// that the scenario's check refuses, because only the check knows the position.
func (s *Span) UnmarshalYAML(decode func(any) error) error {
	var text string
	if err := decode(&text); err != nil {
		return err
	}
	*s = Span{-1, -1}
	lo, hi, ranged := strings.Cut(text, "..")
	if !ranged {
		hi = lo
	}
	a, err := parseDuration(lo)
	if err != nil {
		return nil
	}
	b, err := parseDuration(hi)
	if err != nil {
		return nil
	}
	*s = Span{a, b}
	return nil
}

// Duration is a length of time. In YAML: 250ms, 1.5s, 1h.
type Duration time.Duration

// UnmarshalYAML reads 250ms. Text that is no length of time is left to the
// scenario's check, see Span.
func (d *Duration) UnmarshalYAML(decode func(any) error) error {
	var text string
	if err := decode(&text); err != nil {
		return err
	}
	v, err := parseDuration(text)
	if err != nil {
		v = -1
	}
	*d = Duration(v)
	return nil
}

func parseDuration(s string) (time.Duration, error) {
	s = strings.TrimSpace(s)
	if s == "0" {
		return 0, nil
	}
	return time.ParseDuration(s)
}

// Scenario says what a cloud holds and how it behaves. The zero value of each
// field means its default; README.md describes them all.
type Scenario struct {
	Seed                   int64               `yaml:"seed"`
	Region                 string              `yaml:"region"`            // Defaults to RegionOne.
	TokenLifetime          Duration            `yaml:"token_lifetime"`    // Defaults to 1 h.
	PageLimit              int                 `yaml:"page_limit"`        // Nova's max_limit. Defaults to 1000.
	Microversion           MicroversionSpec    `yaml:"microversion"`      // Defaults to 2.1 to 2.93.
	ServiceDownTime        Duration            `yaml:"service_down_time"` // Defaults to 0: a host that fails is down at once.
	PeriodicUpdate         Duration            `yaml:"periodic_update"`   // Defaults to 1 min.
	Placement              bool                `yaml:"placement"`         // Whether the catalog has one.
	Images                 bool                `yaml:"images"`            // Whether the catalog has an image service, an empty one.
	Users                  []UserSpec          `yaml:"users"`             // Defaults to an administrator and a member.
	ApplicationCredentials []AppCredentialSpec `yaml:"application_credentials"`
	Hosts                  []HostSpec          `yaml:"hosts"`
	Servers                []ServerSpec        `yaml:"servers"`
	Aggregates             []AggregateSpec     `yaml:"aggregates"`
	Latency                LatencySpec         `yaml:"latency"`
	Faults                 []FaultSpec         `yaml:"faults"`
}

// MicroversionSpec bounds the compute API's microversions.
type MicroversionSpec struct {
	Min string `yaml:"min"`
	Max string `yaml:"max"`
}

// UserSpec is a Keystone user of the domain "default".
type UserSpec struct {
	Name     string   `yaml:"name"`
	Password string   `yaml:"password"`
	Projects []string `yaml:"projects"` // The first is the one of Credentials.
	Roles    []string `yaml:"roles"`    // In every project and the system. Defaults to member. "admin" makes an administrator.
	System   bool     `yaml:"system"`   // May ask for a system-scoped token.
	// ProjectRoles are the roles in one project, by its name, instead of Roles.
	ProjectRoles map[string][]string `yaml:"project_roles"`
}

// AppCredentialSpec is an application credential.
type AppCredentialSpec struct {
	Name    string `yaml:"name"`
	Secret  string `yaml:"secret"`
	User    string `yaml:"user"`
	Project string `yaml:"project"` // Defaults to the user's first.
}

// HostSpec is a compute host with its nova-compute.
type HostSpec struct {
	Name            string    `yaml:"name"`
	Zone            string    `yaml:"zone"`  // Defaults to nova.
	State           string    `yaml:"state"` // up (default), down, hung
	FailsAfter      *Duration `yaml:"fails_after"`
	HealsAfter      *Duration `yaml:"heals_after"`
	Disabled        bool      `yaml:"disabled"`
	DisabledReason  string    `yaml:"disabled_reason"`
	ForcedDown      bool      `yaml:"forced_down"`
	Capacity        int       `yaml:"capacity"` // How many servers it can hold. Defaults to no limit.
	ServiceDownTime *Duration `yaml:"service_down_time"`
}

// ServerSpec is one server, or Count alike.
type ServerSpec struct {
	Count        int               `yaml:"count"` // Defaults to the number of IDs or Names, else 1.
	ID           string            `yaml:"id"`
	IDs          []string          `yaml:"ids"`
	Name         string            `yaml:"name"` // With Count over 1: a prefix, followed by -1, -2 ...
	Names        []string          `yaml:"names"`
	Host         string            `yaml:"host"`
	Project      string            `yaml:"project"`  // Defaults to the member's project.
	VMState      string            `yaml:"vm_state"` // Defaults to active.
	TaskState    string            `yaml:"task_state"`
	PowerState   *int              `yaml:"power_state"` // Defaults to what fits VMState.
	Metadata     map[string]string `yaml:"metadata"`
	Tags         []string          `yaml:"tags"`
	Locked       bool              `yaml:"locked"`
	LockedReason string            `yaml:"locked_reason"`
	UserData     string            `yaml:"user_data"`
	Fault        string            `yaml:"fault"` // Message of its last error.
}

// AggregateSpec is a host aggregate.
type AggregateSpec struct {
	Name     string            `yaml:"name"`
	Zone     string            `yaml:"zone"`
	Hosts    []string          `yaml:"hosts"`
	Metadata map[string]string `yaml:"metadata"`
}

// LatencySpec says how long things take. All default to 0: nothing waits.
type LatencySpec struct {
	Requests   RequestLatency    `yaml:"requests"`
	Actions    map[string]Span   `yaml:"actions"`
	Evacuation EvacuationLatency `yaml:"evacuation"`
}

// RequestLatency is the time before a request is looked at.
type RequestLatency struct {
	Default Span  `yaml:"default"`
	Auth    *Span `yaml:"auth"`   // POST /v3/auth/tokens
	Read    *Span `yaml:"read"`   // GET of one thing
	List    *Span `yaml:"list"`   // GET of a list
	Change  *Span `yaml:"change"` // POST, PUT, DELETE at Nova
}

// EvacuationLatency is the length of each phase of an evacuation.
type EvacuationLatency struct {
	Schedule Span `yaml:"schedule"`  // until the scheduler has chosen a host; task_state rebuilding
	Rebuild  Span `yaml:"rebuild"`   // until the target starts; rebuilding
	Mapping  Span `yaml:"mapping"`   // rebuild_block_device_mapping
	Spawn    Span `yaml:"spawn"`     // rebuild_spawning
	PowerOff Span `yaml:"power_off"` // powering-off, for a server that was stopped
	Move     Span `yaml:"move"`      // no task, still the old host
}

// FaultSpec is a rule: what it matches, and what then goes wrong.
type FaultSpec struct {
	Match MatchSpec  `yaml:"match"`
	Do    EffectSpec `yaml:"do"`
}

// MatchSpec selects requests. Empty fields match all.
type MatchSpec struct {
	Service string `yaml:"service"` // identity or compute
	Method  string `yaml:"method"`
	Path    string `yaml:"path"`   // glob over the path, such as /servers/*/action; * matches no slash
	Action  string `yaml:"action"` // key of an action's body: evacuate, os-stop, add_host ...
	Server  string `yaml:"server"` // name or id
	Host    string `yaml:"host"`   // host of the server, of the service, or named in the query
	Nth     int    `yaml:"nth"`    // only the nth matching request, from 1
	Every   int    `yaml:"every"`  // every nth matching request
	After   int    `yaml:"after"`  // not the first n matching requests
	Times   int    `yaml:"times"`  // at most so often
}

// EffectSpec is what goes wrong. At most one of Status, Drop and Hang.
type EffectSpec struct {
	Status           int       `yaml:"status"`
	Message          string    `yaml:"message"`
	RetryAfter       int       `yaml:"retry_after"` // seconds, with Status
	Drop             string    `yaml:"drop"`        // before or after the change: the connection closes without an answer
	Hang             *Duration `yaml:"hang"`        // nothing is done; the connection closes after it
	Delay            *Span     `yaml:"delay"`       // answered later
	EvacuationError  string    `yaml:"evacuation_error"`
	EvacuationTarget string    `yaml:"evacuation_target"` // dies or hangs, while the guest is spawning there
	HostDown         string    `yaml:"host_down"`
	HostHang         string    `yaml:"host_hang"`
	HostUp           string    `yaml:"host_up"`
}

//go:embed demo.yaml
var demoYAML []byte

// DemoScenario is the scenario of demo.yaml: compute-1 has just died with 20
// servers on it, compute-4 is a reserved host.
func DemoScenario() *Scenario {
	sc, err := ParseScenario("demo.yaml", demoYAML)
	if err != nil {
		panic(err)
	}
	return sc
}

// DemoYAML is the text of the demo scenario, with comments that explain it.
func DemoYAML() []byte { return slices.Clone(demoYAML) }

// ParseScenario reads a scenario. Unknown and doubled fields, anchors, aliases,
// tags, and values out of bounds are refused; each complaint begins with
// NAME:LINE:COLUMN.
func ParseScenario(name string, text []byte) (*Scenario, error) {
	if len(text) > MaxScenarioBytes {
		return nil, fmt.Errorf("%s: scenario of %d bytes is larger than %d", name, len(text), MaxScenarioBytes)
	}
	sc := &Scenario{}
	file, err := safeyaml.Decode(name, text, sc)
	if err != nil {
		return nil, err
	}
	var errs []error
	sc.check(func(where, format string, args ...any) {
		if len(errs) < 100 {
			errs = append(errs, fmt.Errorf("%s:%s: %s: %s", name, safeyaml.Position(file, where), where, fmt.Sprintf(format, args...)))
		}
	})
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return sc, nil
}

var (
	uuidPattern    = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`)
	namePattern    = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._@-]{0,254}$`)
	versionPattern = regexp.MustCompile(`^2\.([1-9][0-9]{0,2})$`)
)

// powerOf has each vm_state a scenario may use, with the power_state that fits.
var powerOf = map[string]int{
	"active": 1, "stopped": 4, "error": 1, "paused": 3, "suspended": 4, "rescued": 1,
	"resized": 1, "building": 0, "soft-delete": 4, "shelved": 4, "shelved_offloaded": 4,
}

var taskStates = []string{
	"scheduling", "block_device_mapping", "networking", "spawning", "image_snapshot", "image_snapshot_pending",
	"image_pending_upload", "image_uploading", "image_backup", "updating_password", "resize_prep", "resize_migrating",
	"resize_migrated", "resize_finish", "resize_reverting", "resize_confirming", "rebooting", "reboot_pending",
	"reboot_started", "rebooting_hard", "reboot_pending_hard", "reboot_started_hard", "pausing", "unpausing",
	"suspending", "resuming", "powering-off", "powering-on", "rescuing", "unrescuing", "rebuilding",
	"rebuild_block_device_mapping", "rebuild_spawning", "migrating", "deleting", "soft-deleting", "restoring",
	"shelving", "shelving_image_pending_upload", "shelving_image_uploading", "shelving_offloading", "unshelving",
}

type complain func(where, format string, args ...any)

// check reports every value that is out of bounds or does not fit.
func (sc *Scenario) check(bad complain) {
	length := func(where string, d Duration) {
		if d < 0 || time.Duration(d) > maxDuration {
			bad(where, "want a length of time from 0 to %s, such as 250ms", maxDuration)
		}
	}
	lengthOf := func(where string, d *Duration) {
		if d != nil {
			length(where, *d)
		}
	}
	span := func(where string, s Span) {
		if s.Min < 0 || s.Max < s.Min || s.Max > maxDuration {
			bad(where, "want a length of time from 0 to %s, such as 250ms or 100ms..400ms", maxDuration)
		}
	}
	spanOf := func(where string, s *Span) {
		if s != nil {
			span(where, *s)
		}
	}
	count := func(where string, n, most int) {
		if n < 0 || n > most {
			bad(where, "%d is not in 0 to %d", n, most)
		}
	}
	text := func(where, s string, most int) {
		if len(s) > most {
			bad(where, "longer than %d bytes", most)
		}
	}
	name := func(where, s string) {
		if !namePattern.MatchString(s) {
			bad(where, "%.40q is no name: want letters, digits, . _ @ -, at most 255", s)
		}
	}
	oneOf := func(where, s string, of ...string) {
		if s != "" && !slices.Contains(of, s) {
			bad(where, "%.40q is not one of %s", s, strings.Join(of, ", "))
		}
	}

	if sc.Region != "" {
		name("region", sc.Region)
	}
	length("token_lifetime", sc.TokenLifetime)
	count("page_limit", sc.PageLimit, MaxServers)
	lo, hi := minMicroversion, maxMicroversion
	for _, v := range []struct {
		where, text string
		to          *int
	}{{"microversion.min", sc.Microversion.Min, &lo}, {"microversion.max", sc.Microversion.Max, &hi}} {
		if m := versionPattern.FindStringSubmatch(v.text); m != nil {
			*v.to, _ = strconv.Atoi(m[1])
		} else if v.text != "" {
			bad(v.where, "%.20q is no microversion: want \"2.1\" to \"2.999\", in quotes", v.text)
		}
	}
	if lo > hi {
		bad("microversion", "2.%d is above 2.%d", lo, hi)
	}
	length("service_down_time", sc.ServiceDownTime)
	length("periodic_update", sc.PeriodicUpdate)

	users := map[string]*UserSpec{}
	count("users", len(sc.Users), maxUsers)
	for i := range sc.Users {
		u := &sc.Users[i]
		at := fmt.Sprintf("users[%d]", i)
		name(at+".name", u.Name)
		if users[u.Name] != nil {
			bad(at+".name", "user %q is there already", u.Name)
		}
		users[u.Name] = u
		if u.Password == "" {
			bad(at, "password is missing")
		}
		text(at+".password", u.Password, 255)
		if len(u.Projects) == 0 {
			bad(at, "projects is missing")
		}
		count(at+".projects", len(u.Projects), 100)
		for j, p := range u.Projects {
			name(fmt.Sprintf("%s.projects[%d]", at, j), p)
		}
		for j, r := range u.Roles {
			name(fmt.Sprintf("%s.roles[%d]", at, j), r)
		}
		count(at+".roles", len(u.Roles), 100)
		for _, p := range slices.Sorted(maps.Keys(u.ProjectRoles)) {
			at := fmt.Sprintf("%s.project_roles.%.40s", at, p)
			if !slices.Contains(u.Projects, p) {
				bad(at, "user %q is not in this project", u.Name)
			}
			if len(u.ProjectRoles[p]) == 0 {
				bad(at, "there must be at least one")
			}
			count(at, len(u.ProjectRoles[p]), 100)
			for j, r := range u.ProjectRoles[p] {
				name(fmt.Sprintf("%s[%d]", at, j), r)
			}
		}
	}
	if len(sc.Users) == 0 {
		for _, u := range defaultUsers() {
			users[u.Name] = &u
		}
	}
	creds := map[[2]string]bool{}
	count("application_credentials", len(sc.ApplicationCredentials), maxUsers)
	for i, a := range sc.ApplicationCredentials {
		at := fmt.Sprintf("application_credentials[%d]", i)
		name(at+".name", a.Name)
		if a.Secret == "" {
			bad(at, "secret is missing")
		}
		text(at+".secret", a.Secret, 255)
		switch u := users[a.User]; {
		case u == nil:
			bad(at+".user", "there is no user %.40q", a.User)
		case a.Project != "" && !slices.Contains(u.Projects, a.Project):
			bad(at+".project", "user %q is not in project %.40q", a.User, a.Project)
		}
		if creds[[2]string{a.User, a.Name}] {
			bad(at+".name", "user %.40q has %q already", a.User, a.Name)
		}
		creds[[2]string{a.User, a.Name}] = true
	}

	hosts := map[string]bool{}
	if len(sc.Hosts) == 0 {
		bad("hosts", "there must be at least one")
	}
	count("hosts", len(sc.Hosts), MaxHosts)
	for i, h := range sc.Hosts {
		at := fmt.Sprintf("hosts[%d]", i)
		name(at+".name", h.Name)
		if hosts[h.Name] {
			bad(at+".name", "host %q is there already", h.Name)
		}
		hosts[h.Name] = true
		if h.Zone != "" {
			name(at+".zone", h.Zone)
		}
		oneOf(at+".state", h.State, "up", "down", "hung")
		lengthOf(at+".fails_after", h.FailsAfter)
		lengthOf(at+".heals_after", h.HealsAfter)
		if h.FailsAfter != nil && h.State != "" && h.State != "up" {
			bad(at+".fails_after", "the host is %s from the start", h.State)
		}
		if h.FailsAfter != nil && h.HealsAfter != nil && *h.HealsAfter <= *h.FailsAfter {
			bad(at+".heals_after", "is not after fails_after")
		}
		if h.HealsAfter != nil && h.FailsAfter == nil && (h.State == "" || h.State == "up") {
			bad(at+".heals_after", "the host is up: nothing to heal")
		}
		if h.DisabledReason != "" && !h.Disabled {
			bad(at+".disabled_reason", "the host is not disabled")
		}
		text(at+".disabled_reason", h.DisabledReason, 255)
		count(at+".capacity", h.Capacity, MaxServers)
		lengthOf(at+".service_down_time", h.ServiceDownTime)
	}
	host := func(where, h string) {
		if !hosts[h] {
			bad(where, "there is no host %.40q", h)
		}
	}

	total, ids, held := 0, map[string]bool{}, map[string]int{}
	for i := range sc.Servers {
		s := &sc.Servers[i]
		at := fmt.Sprintf("servers[%d]", i)
		count(at+".count", s.Count, MaxServers)
		n := s.number()
		if total += n; total > MaxServers {
			bad(at, "more than %d servers", MaxServers)
			return
		}
		if s.ID != "" && (len(s.IDs) > 0 || n != 1) {
			bad(at+".id", "is for a single server; use ids")
		}
		if len(s.IDs) > 0 && len(s.IDs) != n {
			bad(at+".ids", "%d ids for %d servers", len(s.IDs), n)
		}
		if len(s.Names) > 0 && len(s.Names) != n {
			bad(at+".names", "%d names for %d servers", len(s.Names), n)
		}
		if s.Name != "" && len(s.Names) > 0 {
			bad(at+".names", "name is there too")
		}
		one := func(where, id string) {
			if !uuidPattern.MatchString(id) {
				bad(where, "%.40q is no UUID in lower case", id)
			}
			if ids[id] {
				bad(where, "server %.40s is there already", id)
			}
			ids[id] = true
		}
		if s.ID != "" {
			one(at+".id", s.ID)
		}
		for j, id := range s.IDs {
			one(fmt.Sprintf("%s.ids[%d]", at, j), id)
		}
		text(at+".name", s.Name, 200)
		for j, nm := range s.Names {
			text(fmt.Sprintf("%s.names[%d]", at, j), nm, 255)
		}
		if _, ok := powerOf[s.VMState]; !ok && s.VMState != "" {
			bad(at+".vm_state", "%.40q is not one of active, building, error, paused, rescued, resized, shelved, shelved_offloaded, soft-delete, stopped, suspended", s.VMState)
		}
		if s.Host == "" && !slices.Contains([]string{"building", "error", "shelved_offloaded"}, s.VMState) {
			bad(at, "host is missing")
		}
		if s.Host != "" {
			host(at+".host", s.Host)
			held[s.Host] += n
		}
		if s.TaskState != "" && !slices.Contains(taskStates, s.TaskState) {
			bad(at+".task_state", "%.40q is no task state of Nova's", s.TaskState)
		}
		if s.PowerState != nil && !slices.Contains([]int{0, 1, 3, 4, 6, 7}, *s.PowerState) {
			bad(at+".power_state", "%d is not one of 0, 1, 3, 4, 6, 7", *s.PowerState)
		}
		if s.Project != "" {
			name(at+".project", s.Project)
		}
		if s.LockedReason != "" && !s.Locked {
			bad(at+".locked_reason", "the server is not locked")
		}
		text(at+".locked_reason", s.LockedReason, 255)
		text(at+".user_data", s.UserData, 65535)
		text(at+".fault", s.Fault, 255)
		pairs(bad, at+".metadata", s.Metadata)
		count(at+".tags", len(s.Tags), 50)
		for j, tag := range s.Tags {
			text(fmt.Sprintf("%s.tags[%d]", at, j), tag, 60)
		}
	}
	for i, h := range sc.Hosts {
		if h.Capacity > 0 && held[h.Name] > h.Capacity {
			bad(fmt.Sprintf("hosts[%d].capacity", i), "%d servers are on it", held[h.Name])
		}
	}

	aggregates := map[string]bool{}
	count("aggregates", len(sc.Aggregates), maxAggregates)
	for i, a := range sc.Aggregates {
		at := fmt.Sprintf("aggregates[%d]", i)
		name(at+".name", a.Name)
		if aggregates[a.Name] {
			bad(at+".name", "aggregate %q is there already", a.Name)
		}
		aggregates[a.Name] = true
		if a.Zone != "" {
			name(at+".zone", a.Zone)
		}
		for j, h := range a.Hosts {
			host(fmt.Sprintf("%s.hosts[%d]", at, j), h)
			if slices.Index(a.Hosts, h) != j {
				bad(fmt.Sprintf("%s.hosts[%d]", at, j), "host %q is there already", h)
			}
		}
		pairs(bad, at+".metadata", a.Metadata)
	}

	r := sc.Latency.Requests
	span("latency.requests.default", r.Default)
	spanOf("latency.requests.auth", r.Auth)
	spanOf("latency.requests.read", r.Read)
	spanOf("latency.requests.list", r.List)
	spanOf("latency.requests.change", r.Change)
	for _, k := range sortedKeys(sc.Latency.Actions) {
		at := "latency.actions." + k
		if !slices.Contains(timedActions, k) {
			bad("latency.actions", "%.40q is not one of %s", k, strings.Join(timedActions, ", "))
			continue
		}
		span(at, sc.Latency.Actions[k])
	}
	e := sc.Latency.Evacuation
	span("latency.evacuation.schedule", e.Schedule)
	span("latency.evacuation.rebuild", e.Rebuild)
	span("latency.evacuation.mapping", e.Mapping)
	span("latency.evacuation.spawn", e.Spawn)
	span("latency.evacuation.power_off", e.PowerOff)
	span("latency.evacuation.move", e.Move)

	count("faults", len(sc.Faults), maxFaults)
	for i, f := range sc.Faults {
		at := fmt.Sprintf("faults[%d].match", i)
		m := f.Match
		oneOf(at+".service", m.Service, "identity", "compute")
		oneOf(at+".method", m.Method, "GET", "HEAD", "POST", "PUT", "DELETE")
		if _, err := path.Match(m.Path, ""); err != nil || len(m.Path) > 1000 {
			bad(at+".path", "%.40q is no pattern", m.Path)
		}
		if m.Host != "" {
			host(at+".host", m.Host)
		}
		text(at+".action", m.Action, 64)
		text(at+".server", m.Server, 255)
		count(at+".nth", m.Nth, 1<<30)
		count(at+".every", m.Every, 1<<30)
		count(at+".after", m.After, 1<<30)
		count(at+".times", m.Times, 1<<30)
		if m.Nth > 0 && (m.Every > 0 || m.After > 0 || m.Times > 0) {
			bad(at+".nth", "stands alone, without every, after and times")
		}

		at = fmt.Sprintf("faults[%d].do", i)
		d := f.Do
		if d == (EffectSpec{}) {
			bad(at, "nothing to do")
		}
		answers := 0
		for _, given := range []bool{d.Status != 0, d.Drop != "", d.Hang != nil} {
			if given {
				answers++
			}
		}
		if answers > 1 {
			bad(at, "status, drop and hang exclude one another")
		}
		if d.Status != 0 && (d.Status < 400 || d.Status > 599) {
			bad(at+".status", "%d is not in 400 to 599", d.Status)
		}
		if d.Status == 0 && (d.Message != "" || d.RetryAfter != 0) {
			bad(at, "message and retry_after go with status")
		}
		text(at+".message", d.Message, 1000)
		count(at+".retry_after", d.RetryAfter, 86400)
		oneOf(at+".drop", d.Drop, "before", "after")
		lengthOf(at+".hang", d.Hang)
		spanOf(at+".delay", d.Delay)
		text(at+".evacuation_error", d.EvacuationError, 255)
		oneOf(at+".evacuation_target", d.EvacuationTarget, "dies", "hangs")
		if d.EvacuationError != "" && d.EvacuationTarget != "" {
			bad(at, "evacuation_error and evacuation_target exclude one another")
		}
		if (d.EvacuationError != "" || d.EvacuationTarget != "") && m.Action != "evacuate" {
			bad(at, "evacuation_error and evacuation_target need match: {action: evacuate}")
		}
		for _, h := range []struct{ where, name string }{{".host_down", d.HostDown}, {".host_hang", d.HostHang}, {".host_up", d.HostUp}} {
			if h.name != "" {
				host(at+h.where, h.name)
			}
		}
	}
}

// pairs checks metadata.
func pairs(bad complain, where string, m map[string]string) {
	if len(m) > 128 {
		bad(where, "%d is not in 0 to 128", len(m))
	}
	for _, k := range sortedKeys(m) {
		if k == "" || len(k) > 255 || len(m[k]) > 255 {
			bad(where, "key %.40q: keys have 1 to 255 bytes, values at most 255", k)
		}
	}
}

// number is how many servers the entry stands for.
func (s *ServerSpec) number() int {
	switch {
	case s.Count > 0:
		return s.Count
	case len(s.IDs) > 0:
		return len(s.IDs)
	case len(s.Names) > 0:
		return len(s.Names)
	}
	return 1
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

func defaultUsers() []UserSpec {
	return []UserSpec{
		{Name: "admin", Password: "novasim", Projects: []string{"admin", "lab"}, Roles: []string{"admin", "member", "reader"}, System: true},
		{Name: "lab", Password: "novasim", Projects: []string{"lab"}, Roles: []string{"member", "reader"}},
	}
}
