package novasim

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
)

// server is a Nova VM.
type server struct {
	number       int
	id, name     string
	description  string
	project      *project
	userID       string
	host         *host // nil before it was scheduled
	was          *host // where a deleted one was
	vm, task     string
	power        int
	metadata     map[string]string
	tags         []string
	locked       bool
	lockedBy     string // admin or owner
	lockedReason string
	userData     string
	fault        *faultView
	created      time.Time
	updated      time.Time
	launched     time.Time
	deleted      bool

	actions     []*action
	open        []*evacuation // not ended yet, or lost
	ruined      bool          // by a second evacuation: its state will not be right again
	resized     *host         // where a resize came from
	evacuations int
}

// instanceName is what the hypervisor calls it.
func (s *server) instanceName() string { return fmt.Sprintf("instance-%08x", s.number) }

func (s *server) hostName() string {
	if s.host == nil {
		return ""
	}
	return s.host.name
}

// move puts the server on a host and keeps count.
func (s *server) move(to *host) {
	if s.host != nil {
		s.host.held--
	}
	if to != nil {
		to.held++
	}
	s.host = to
}

// state sets vm_state and task_state.
func (s *server) state(c *Cloud, vm, task string) {
	s.vm, s.task, s.updated = vm, task, c.now()
}

// faulty records an error as the server's fault.
func (s *server) faulty(c *Cloud, text string) {
	s.fault = &faultView{Code: 500, Created: c.now().UTC().Format(timeZ), Message: text}
}

// statuses are all that Nova derives.
var statuses = []string{
	"ACTIVE", "BUILD", "DELETED", "ERROR", "HARD_REBOOT", "MIGRATING", "PASSWORD", "PAUSED", "REBOOT", "REBUILD", "RESCUE", "RESIZE",
	"REVERT_RESIZE", "SHELVED", "SHELVED_OFFLOADED", "SHUTOFF", "SOFT_DELETED", "SUSPENDED", "VERIFY_RESIZE",
}

// status is what Nova derives from vm_state and task_state.
func (s *server) status() string {
	if s.deleted {
		return "DELETED"
	}
	rebuild := s.task == "rebuilding" || s.task == "rebuild_block_device_mapping" || s.task == "rebuild_spawning"
	resize := s.task == "resize_prep" || s.task == "resize_migrating" || s.task == "resize_migrated" || s.task == "resize_finish"
	switch s.vm {
	case "active":
		switch {
		case rebuild:
			return "REBUILD"
		case resize:
			return "RESIZE"
		}
		switch s.task {
		case "rebooting", "reboot_pending", "reboot_started":
			return "REBOOT"
		case "rebooting_hard", "reboot_pending_hard", "reboot_started_hard":
			return "HARD_REBOOT"
		case "updating_password":
			return "PASSWORD"
		case "migrating":
			return "MIGRATING"
		}
		return "ACTIVE"
	case "stopped":
		switch {
		case rebuild:
			return "REBUILD"
		case resize:
			return "RESIZE"
		}
		return "SHUTOFF"
	case "error":
		if rebuild {
			return "REBUILD"
		}
		return "ERROR"
	case "paused":
		if s.task == "migrating" {
			return "MIGRATING"
		}
		return "PAUSED"
	case "resized":
		if s.task == "resize_reverting" {
			return "REVERT_RESIZE"
		}
		return "VERIFY_RESIZE"
	case "building":
		return "BUILD"
	case "suspended":
		return "SUSPENDED"
	case "rescued":
		return "RESCUE"
	case "soft-delete":
		return "SOFT_DELETED"
	case "shelved":
		return "SHELVED"
	case "shelved_offloaded":
		return "SHELVED_OFFLOADED"
	}
	return "UNKNOWN"
}

func (c *Cloud) makeServers() {
	now := c.now()
	owner := c.first(false)
	if owner == nil {
		owner = c.first(true)
	}
	for i, spec := range c.sc.Servers {
		n := spec.number()
		for j := range n {
			s := &server{
				id: spec.ID, name: spec.Name, vm: spec.VMState, task: spec.TaskState, metadata: spec.Metadata, tags: spec.Tags,
				locked: spec.Locked, lockedReason: spec.LockedReason, userData: spec.UserData, created: now, updated: now, launched: now,
			}
			if len(spec.IDs) > 0 {
				s.id = spec.IDs[j]
			}
			switch {
			case len(spec.Names) > 0:
				s.name = spec.Names[j]
			case s.name == "":
				s.name = "server-" + number(len(c.servers)+1)
			case n > 1:
				s.name += "-" + number(j+1)
			}
			if s.id == "" {
				s.id = c.uuid("server", number(i), number(j))
			}
			if s.vm == "" {
				s.vm = "active"
			}
			if s.locked {
				s.lockedBy = "admin"
			}
			s.power = powerOf[s.vm]
			if spec.PowerState != nil {
				s.power = *spec.PowerState
			}
			switch {
			case spec.Project != "":
				s.project = c.project(spec.Project)
			case owner != nil:
				s.project = c.project(owner.projects[0])
			default:
				s.project = c.project("lab")
			}
			if owner != nil {
				s.userID = owner.id
			}
			if spec.Fault != "" {
				s.faulty(c, spec.Fault)
			}
			s.move(c.hostByName[spec.Host])
			c.keepServer(s)
		}
	}
}

func (c *Cloud) keepServer(s *server) {
	s.number = len(c.servers) + 1
	c.servers = append(c.servers, s)
	c.serverByID[s.id] = s
}

// The JSON of a server. Names and order are Nova's.
type serverView struct {
	ID              string            `json:"id"`
	Name            string            `json:"name"`
	Status          string            `json:"status"`
	TenantID        string            `json:"tenant_id"`
	UserID          string            `json:"user_id"`
	Metadata        map[string]string `json:"metadata"`
	HostID          string            `json:"hostId"`
	Image           any               `json:"image"`
	Flavor          any               `json:"flavor"`
	Created         string            `json:"created"`
	Updated         string            `json:"updated"`
	Addresses       struct{}          `json:"addresses"`
	AccessIPv4      string            `json:"accessIPv4"`
	AccessIPv6      string            `json:"accessIPv6"`
	Links           []link            `json:"links"`
	DiskConfig      string            `json:"OS-DCF:diskConfig"`
	Progress        *int              `json:"progress,omitempty"`
	Fault           *faultView        `json:"fault,omitempty"`
	Zone            string            `json:"OS-EXT-AZ:availability_zone"`
	ConfigDrive     string            `json:"config_drive"`
	KeyName         null              `json:"key_name"`
	Launched        null              `json:"OS-SRV-USG:launched_at"`
	Terminated      null              `json:"OS-SRV-USG:terminated_at"`
	Host            null              `json:"OS-EXT-SRV-ATTR:host,omitzero"`
	InstanceName    null              `json:"OS-EXT-SRV-ATTR:instance_name,omitzero"`
	Hypervisor      null              `json:"OS-EXT-SRV-ATTR:hypervisor_hostname,omitzero"`
	ReservationID   null              `json:"OS-EXT-SRV-ATTR:reservation_id,omitzero"`
	LaunchIndex     *int              `json:"OS-EXT-SRV-ATTR:launch_index,omitempty"`
	Hostname        null              `json:"OS-EXT-SRV-ATTR:hostname,omitzero"`
	Kernel          *string           `json:"OS-EXT-SRV-ATTR:kernel_id,omitempty"`
	Ramdisk         *string           `json:"OS-EXT-SRV-ATTR:ramdisk_id,omitempty"`
	RootDevice      null              `json:"OS-EXT-SRV-ATTR:root_device_name,omitzero"`
	UserData        null              `json:"OS-EXT-SRV-ATTR:user_data,omitzero"`
	TaskState       null              `json:"OS-EXT-STS:task_state"`
	VMState         string            `json:"OS-EXT-STS:vm_state"`
	PowerState      int               `json:"OS-EXT-STS:power_state"`
	VolumesAttached []struct{}        `json:"os-extended-volumes:volumes_attached"`
	Locked          *bool             `json:"locked,omitempty"`
	HostStatus      *string           `json:"host_status,omitempty"`
	Description     null              `json:"description,omitzero"`
	Tags            *[]string         `json:"tags,omitempty"`
	TrustedCerts    null              `json:"trusted_image_certificates,omitzero"`
	ServerGroups    *[]string         `json:"server_groups,omitempty"`
	LockedReason    null              `json:"locked_reason,omitzero"`
}

type faultView struct {
	Code    int    `json:"code"`
	Created string `json:"created"`
	Message string `json:"message"`
}

type shortServer struct {
	ID    string `json:"id"`
	Name  string `json:"name"`
	Links []link `json:"links"`
}

var (
	noTags    = []string{}
	newFlavor = newFlavorView{VCPUs: 1, RAM: 64, Disk: 1, Name: "tiny"}
)

type imageRef struct {
	ID    string `json:"id"`
	Links []link `json:"links"`
}

type oldFlavorView struct {
	ID    string `json:"id"`
	Links []link `json:"links"`
}

// newFlavorView is how a server shows its flavor from 2.47.
type newFlavorView struct {
	VCPUs      int      `json:"vcpus"`
	RAM        int      `json:"ram"`
	Disk       int      `json:"disk"`
	Ephemeral  int      `json:"ephemeral"`
	Swap       int      `json:"swap"`
	Name       string   `json:"original_name"`
	ExtraSpecs struct{} `json:"extra_specs"`
}

func (k *call) serverLinks(s *server) []link {
	return []link{{"self", k.base + "/v2.1/servers/" + s.id}, {"bookmark", k.base + "/servers/" + s.id}}
}

// serverView is what a caller sees of a server, by microversion and role.
func (k *call) serverView(s *server, single bool) *serverView {
	c, admin := k.c, k.token.admin()
	if k.image == nil { // the same for all
		k.image = &imageRef{ID: c.image, Links: []link{{"bookmark", k.base + "/images/" + c.image}}}
		k.flavor = &oldFlavorView{ID: "1", Links: []link{{"bookmark", k.base + "/flavors/1"}}}
	}
	v := &serverView{
		ID: s.id, Name: s.name, Status: s.status(), TenantID: s.project.id, UserID: s.userID, Metadata: s.metadata,
		Image: k.image, Flavor: k.flavor,
		Created: s.created.UTC().Format(timeZ), Updated: s.updated.UTC().Format(timeZ), Links: k.serverLinks(s), DiskConfig: "MANUAL",
		KeyName: orNull(""), Launched: orNullTime(s.launched), Terminated: orNull(""), TaskState: orNull(s.task), VMState: s.vm,
		PowerState: s.power, VolumesAttached: []struct{}{},
		Description: k.since(19, s.description), TrustedCerts: k.since(63, ""), LockedReason: k.since(73, s.lockedReason),
	}
	if v.Metadata == nil {
		v.Metadata = map[string]string{}
	}
	on, name := s.host, s.hostName()
	if s.deleted {
		v.VMState = "deleted"
		v.Terminated = orNullTime(s.updated)
		if on = s.was; on != nil {
			name = on.name
		}
	}
	if on != nil {
		v.Zone = on.zone
		v.HostID = c.hostID(s.project, on.name)
	}
	switch v.Status {
	case "ACTIVE", "BUILD", "REBUILD", "RESIZE", "VERIFY_RESIZE", "MIGRATING":
		v.Progress = new(0)
	case "ERROR", "DELETED": // only then Nova shows the fault
		v.Fault = s.fault
	}
	if k.version >= 90 {
		v.Hostname = orNull(s.name)
	}
	if admin {
		v.Host, v.Hypervisor = orNull(name), orNull(name)
		v.InstanceName = orNull(s.instanceName())
		if k.version >= 3 {
			v.ReservationID, v.LaunchIndex, v.Hostname = orNull("r-"+s.id[:8]), new(0), orNull(s.name)
			v.Kernel, v.Ramdisk, v.RootDevice, v.UserData = new(""), new(""), orNull("/dev/vda"), orNull(s.userData)
		}
		if k.version >= 16 {
			v.HostStatus = new(c.hostStatus(s))
		}
	}
	if k.version >= 9 {
		v.Locked = new(s.locked)
	}
	if k.version >= 26 {
		v.Tags = &s.tags
		if s.tags == nil {
			v.Tags = &noTags
		}
	}
	if k.version >= 47 {
		v.Flavor = &newFlavor
	}
	if single && k.version >= 71 {
		v.ServerGroups = &noTags
	}
	return v
}

// hostStatus is Nova's host_status.
func (c *Cloud) hostStatus(s *server) string {
	switch {
	case s.host == nil:
		return ""
	case s.host.service.forcedDown:
		return "DOWN"
	case s.host.service.disabled:
		return "MAINTENANCE"
	case c.up(s.host.service):
		return "UP"
	}
	return "UNKNOWN"
}

// hostID is a host as a project knows it.
func (c *Cloud) hostID(p *project, host string) string {
	key := p.id + host
	id := c.hostIDs[key]
	if id == "" {
		sum := sha256.Sum224([]byte(key))
		id = hex.EncodeToString(sum[:])
		c.hostIDs[key] = id
	}
	return id
}

func (k *call) routeServers(seg []string) answer {
	method := k.r.Method
	switch {
	case len(seg) == 0 && method == "GET":
		return k.listServers(false)
	case len(seg) == 1 && seg[0] == "detail" && method == "GET":
		return k.listServers(true)
	case len(seg) == 0 && method == "POST":
		return k.createServer()
	case len(seg) == 0 || seg[0] == "detail":
		return k.noRoute()
	}
	s := k.c.serverByID[seg[0]]
	history := len(seg) > 1 && seg[1] == "os-instance-actions" && k.version >= 21
	if s == nil && (k.action == "os-stop" || k.action == "os-start") {
		return fail(404, "Instance %.64s has no mapping to a cell.", seg[0]) // only these say so
	}
	if s == nil || s.deleted && !history || !k.token.admin() && s.project != k.token.project {
		return fail(404, "Instance %.64s could not be found.", seg[0])
	}
	switch {
	case len(seg) == 1 && method == "GET":
		return ok(map[string]any{"server": k.serverView(s, true)})
	case len(seg) == 1 && method == "DELETE":
		return k.deleteServer(s)
	case len(seg) == 2 && seg[1] == "action" && method == "POST":
		return k.act(s)
	case len(seg) == 2 && seg[1] == "os-instance-actions" && method == "GET":
		return k.listActions(s)
	case len(seg) == 3 && seg[1] == "os-instance-actions" && method == "GET":
		return k.getAction(s, seg[2])
	case len(seg) == 1, len(seg) == 2 && seg[1] == "action":
		return k.noRoute()
	}
	return k.noRoute()
}

// order compares two servers by the keys of a list request.
type order []struct {
	by   func(a, b *server) int
	desc bool
}

var sortKeys = map[string]func(a, b *server) int{
	"created_at":   func(a, b *server) int { return cmp.Or(a.created.Compare(b.created), cmp.Compare(a.number, b.number)) },
	"updated_at":   func(a, b *server) int { return a.updated.Compare(b.updated) },
	"uuid":         func(a, b *server) int { return strings.Compare(a.id, b.id) },
	"display_name": func(a, b *server) int { return strings.Compare(a.name, b.name) },
	"host":         func(a, b *server) int { return strings.Compare(a.hostName(), b.hostName()) },
	"vm_state":     func(a, b *server) int { return strings.Compare(a.vm, b.vm) },
	"task_state":   func(a, b *server) int { return strings.Compare(a.task, b.task) },
	"power_state":  func(a, b *server) int { return cmp.Compare(a.power, b.power) },
}

func (o order) compare(a, b *server) int {
	for _, key := range o {
		if n := key.by(a, b); n != 0 {
			if key.desc {
				return -n
			}
			return n
		}
	}
	return cmp.Compare(b.number, a.number)
}

// newestFirst is the order of a list that does not ask for one.
var newestFirst = order{}

func (k *call) order(q url.Values) (order, answer, bool) {
	o := newestFirst
	for i, key := range q["sort_key"] {
		by := sortKeys[key]
		if by == nil || i >= 8 {
			return nil, fail(400, "Invalid input for query parameters sort_key. Value: %.40s", key), false
		}
		dir := "desc"
		if dirs := q["sort_dir"]; i < len(dirs) {
			dir = dirs[i]
		}
		if dir != "asc" && dir != "desc" {
			return nil, fail(400, "Invalid input received: Unknown sort direction, must be 'desc' or 'asc'"), false
		}
		o = append(o, struct {
			by   func(a, b *server) int
			desc bool
		}{by, dir == "desc"})
	}
	return o, answer{}, true
}

// serverFilter makes the test that a list request's query asks for.
func (k *call) serverFilter(q url.Values, detail bool) (func(*server) bool, answer, bool) {
	admin := k.token.admin()
	var tests []func(*server) bool
	bad := func(key string) (func(*server) bool, answer, bool) {
		return nil, fail(400, "Invalid input for query parameters %s. Value: %.100s. '%.100s' is not a '%s'", key, q.Get(key), q.Get(key),
			map[string]string{"name": "regex", "changes-since": "date-time"}[key]), false
	}
	projectID := q.Get("project_id")
	if projectID == "" {
		projectID = q.Get("tenant_id")
	}
	all := false
	if q.Has("all_tenants") {
		on, valid := truth(q.Get("all_tenants"))
		if !valid {
			return nil, fail(400, notTruth, q.Get("all_tenants")), false
		}
		if all = on; all && !admin {
			policy := "servers:index:get_all_tenants"
			if detail {
				policy = "servers:detail:get_all_tenants"
			}
			a, _ := k.may(policy)
			return nil, a, false
		}
	} else if admin && projectID != "" {
		all = true // Nova takes the one for the other
	}
	if !all {
		own := k.token.project
		tests = append(tests, func(s *server) bool { return s.project == own })
	} else if projectID != "" {
		tests = append(tests, func(s *server) bool { return s.project.id == projectID })
	}
	if h := q.Get("host"); h != "" && admin {
		tests = append(tests, func(s *server) bool { return s.host != nil && s.host.name == h })
	}
	if want := q["status"]; len(want) > 0 {
		if k.version >= 38 && !slices.ContainsFunc(want, func(w string) bool { return slices.Contains(statuses, strings.ToUpper(w)) }) {
			return nil, fail(400, "Invalid status value"), false
		}
		tests = append(tests, func(s *server) bool {
			st := s.status()
			return slices.ContainsFunc(want, func(w string) bool { return strings.EqualFold(w, st) })
		})
	}
	if text := q.Get("name"); text != "" {
		if len(text) > 255 {
			return bad("name")
		}
		re, err := regexp.Compile("(?i)" + text)
		if err != nil {
			return bad("name")
		}
		tests = append(tests, func(s *server) bool { return re.MatchString(s.name) })
	}
	for key, get := range map[string]func(*server) string{
		"vm_state": func(s *server) string { return s.vm }, "task_state": func(s *server) string { return s.task }, "uuid": func(s *server) string { return s.id },
	} {
		if want := q.Get(key); want != "" && (admin || key == "uuid") {
			tests = append(tests, func(s *server) bool { return get(s) == want })
		}
	}
	if text := q.Get("locked"); text != "" && k.version >= 73 {
		want, valid := truth(text)
		if !valid {
			return nil, fail(400, notTruth, text), false
		}
		tests = append(tests, func(s *server) bool { return s.locked == want })
	}
	gone, valid := truth(q.Get("deleted"))
	if gone = gone && valid && admin && q.Has("deleted"); gone {
		tests = append(tests, func(s *server) bool { return s.deleted })
	}
	if text := q.Get("changes-since"); text != "" {
		since, err := time.Parse(time.RFC3339, text)
		if err != nil {
			if since, err = time.Parse("2006-01-02T15:04:05", text); err != nil {
				return bad("changes-since")
			}
		}
		since = since.Truncate(time.Second) // Nova keeps whole seconds
		tests = append(tests, func(s *server) bool { return !s.updated.Before(since) })
	} else if !gone {
		tests = append(tests, func(s *server) bool { return !s.deleted })
	}
	return func(s *server) bool {
		for _, test := range tests {
			if !test(s) {
				return false
			}
		}
		return true
	}, answer{}, true
}

func (k *call) listServers(detail bool) answer {
	q := k.r.URL.Query()
	p, a, good := k.page(q)
	if !good {
		return a
	}
	keep, a, good := k.serverFilter(q, detail)
	if !good {
		return a
	}
	o, a, good := k.order(q)
	if !good {
		return a
	}
	var marker *server
	if p.marker != "" {
		if marker = k.c.serverByID[p.marker]; marker == nil {
			return fail(400, "marker [%.64s] not found", p.marker)
		}
	}
	var found []*server
	for _, s := range slices.Backward(k.c.servers) {
		if p.given && q.Get("limit") == "0" {
			break
		}
		if keep(s) && (marker == nil || o.compare(s, marker) > 0) {
			found = append(found, s)
			if len(o) == 0 && len(found) == p.limit {
				break
			}
		}
	}
	if len(o) > 0 {
		slices.SortStableFunc(found, o.compare)
		found = found[:min(len(found), p.limit)]
	}
	body := map[string]any{}
	if detail {
		views := make([]*serverView, 0, len(found))
		for _, s := range found {
			views = append(views, k.serverView(s, false))
		}
		body["servers"] = views
	} else {
		views := make([]shortServer, 0, len(found))
		for _, s := range found {
			views = append(views, shortServer{s.id, s.name, k.serverLinks(s)})
		}
		body["servers"] = views
	}
	if len(found) == p.limit && p.limit > 0 {
		body["servers_links"] = k.next(q, found[len(found)-1].id)
	}
	return ok(body)
}

// createServer is POST /servers: enough to boot a server on a host of choice.
func (k *call) createServer() answer {
	c := k.c
	m, a, good := object(k.body)
	if !good {
		return a
	}
	var spec struct {
		Name     string            `json:"name"`
		Host     string            `json:"host"`
		Zone     string            `json:"availability_zone"`
		Metadata map[string]string `json:"metadata"`
		Min      int               `json:"min_count"`
		Max      int               `json:"max_count"`
	}
	if m["server"] == nil {
		return fail(400, "Invalid input for field/attribute server. 'server' is a required property")
	}
	if err := json.Unmarshal(m["server"], &spec); err != nil {
		return fail(400, "Malformed request body")
	}
	switch {
	case spec.Name == "" || len(spec.Name) > 255:
		return fail(400, "Invalid input for field/attribute name. Value: %.40s.", spec.Name)
	case len(spec.Metadata) > 128:
		return fail(400, "Invalid input for field/attribute metadata.")
	case spec.Host != "" && k.version < 74:
		return fail(400, "Invalid input for field/attribute server. Additional properties are not allowed ('host' was unexpected)")
	}
	if zone, h, found := strings.Cut(spec.Zone, ":"); found && zone != "" {
		spec.Host = h
	}
	if spec.Host != "" {
		if a, good := k.may("servers:create:forced_host"); !good {
			return a
		}
	}
	only := c.hostByName[spec.Host]
	if spec.Host != "" && only == nil {
		return fail(400, "Compute host %.100s could not be found.", spec.Host)
	}
	n := max(spec.Min, spec.Max, 1)
	if len(c.servers)+n > MaxServers || k.token.project == nil {
		return fail(403, "Quota exceeded for instances: Requested %d, but already used %d of %d instances", n, len(c.servers), MaxServers)
	}
	var firstOne *server
	for i := range n {
		s := &server{
			id: c.uuid("booted", number(k.seq), number(i)), name: spec.Name, project: k.token.project, userID: k.token.user.id,
			vm: "building", task: "scheduling", metadata: spec.Metadata, created: c.now(), updated: c.now(),
		}
		if n > 1 {
			s.name += "-" + number(i+1)
		}
		if firstOne == nil {
			firstOne = s
		}
		c.keepServer(s)
		act := c.record(k, s, "create", "compute__do_build_and_run_instance")
		h := c.schedule(nil, only)
		if h == nil {
			s.state(c, "error", "")
			s.faulty(c, "No valid host was found.")
			act.finish(c, "Error")
			continue
		}
		s.move(h)
		act.on(h)
		s.task = "spawning"
		c.tell(h, c.actionTime("create", s), func() {
			if s.deleted {
				return
			}
			s.state(c, "active", "")
			s.power, s.launched = 1, c.now()
			act.finish(c, "Success")
		})
	}
	a = answer{status: 202, body: map[string]any{"server": map[string]any{
		"id": firstOne.id, "links": k.serverLinks(firstOne), "OS-DCF:diskConfig": "MANUAL", "adminPass": k.password(), "security_groups": []any{map[string]any{"name": "default"}},
	}}}
	a.header("Location", k.base+"/v2.1/servers/"+firstOne.id)
	return a
}

// deleteServer is DELETE /servers/ID. A server whose host is down goes at once.
func (k *call) deleteServer(s *server) answer {
	c := k.c
	if s.locked && !k.token.admin() {
		return fail(409, "Instance %s is locked", s.id)
	}
	act := c.record(k, s, "delete", "compute_terminate_instance")
	gone := func() {
		if s.deleted {
			return
		}
		s.was = s.host
		s.move(nil)
		s.state(c, "deleted", "")
		s.power, s.deleted = 0, true
		act.finish(c, "Success")
	}
	if s.host == nil || !c.up(s.host.service) {
		gone()
	} else {
		s.state(c, s.vm, "deleting")
		c.tell(s.host, c.actionTime("delete", s), gone)
	}
	return answer{status: 204}
}

// password is an adminPass, different in each answer.
func (k *call) password() string { return k.c.hexID("password", number(k.seq))[:12] }
