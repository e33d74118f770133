package novasim

import (
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

type serviceView struct {
	ID         any    `json:"id"`
	Binary     string `json:"binary"`
	Host       string `json:"host"`
	Zone       string `json:"zone"`
	Status     string `json:"status"`
	State      string `json:"state"`
	UpdatedAt  null   `json:"updated_at"`
	Reason     null   `json:"disabled_reason"`
	ForcedDown *bool  `json:"forced_down,omitempty"`
}

func (k *call) serviceView(s *service) serviceView {
	v := serviceView{
		ID: s.number, Binary: s.binary, Host: s.host, Zone: s.zone, Status: "enabled", State: "down",
		UpdatedAt: orNullTime(k.c.reported(s)), Reason: orNull(s.reason),
	}
	if k.version >= 53 {
		v.ID = s.id
	}
	if s.disabled {
		v.Status = "disabled"
	}
	if k.c.up(s) {
		v.State = "up"
	}
	if k.version >= 11 {
		v.ForcedDown = new(s.forcedDown)
	}
	return v
}

func (k *call) routeServices(seg []string) answer {
	switch {
	case len(seg) == 0 && k.r.Method == "GET":
		return k.listServices()
	case len(seg) == 1 && k.r.Method == "PUT" && k.version >= 53:
		return k.updateService(seg[0])
	case len(seg) == 1 && k.r.Method == "PUT":
		return k.updateServiceByHost(seg[0])
	case len(seg) > 1:
		return k.noRoute()
	}
	return k.noRoute()
}

func (k *call) listServices() answer {
	if a, good := k.may("os-services:list"); !good {
		return a
	}
	q := k.r.URL.Query()
	if k.version >= 75 {
		if a, good := strangers(q, "host", "binary"); !good {
			return a
		}
	}
	views := []serviceView{}
	for _, s := range k.c.services {
		if h := q.Get("host"); h != "" && h != s.host {
			continue
		}
		if b := q.Get("binary"); b != "" && b != s.binary {
			continue
		}
		views = append(views, k.serviceView(s))
	}
	return ok(map[string]any{"services": views})
}

// updateService is PUT /os-services/UUID, from 2.53.
func (k *call) updateService(id string) answer {
	c := k.c
	body, a, good := schema{"", map[string]string{"status": "one of enabled disabled", "disabled_reason": "text", "forced_down": "switch"}, nil}.check(k.body)
	if !good {
		return a
	}
	if a, good := k.may("os-services:update"); !good {
		return a
	}
	if !uuidPattern.MatchString(id) {
		return fail(400, "Invalid uuid %.64s", id)
	}
	var s *service
	for _, other := range c.services {
		if other.id == id {
			s = other
		}
	}
	if s == nil {
		return fail(404, "Service %s could not be found.", id)
	}
	if s.compute == nil {
		return fail(400, "Updating a %s service is not supported. Only nova-compute services can be updated.", s.binary)
	}
	status, hasStatus := body["status"].(string)
	reason, hasReason := body["disabled_reason"].(string)
	forced, hasForced := body["forced_down"]
	down := switchedOn(forced)
	switch {
	case hasReason && status == "enabled":
		return fail(400, "Specifying 'disabled_reason' with status 'enabled' is invalid.")
	case !hasStatus && !hasForced:
		return fail(400, "No updates were requested. Fields 'status' or 'forced_down' should be specified.")
	}
	if hasForced && !down && c.owes(s.compute) {
		return forceUpRefused(s)
	}
	if hasStatus {
		c.setDisabled(s, status == "disabled", reason)
	}
	if hasForced {
		s.forcedDown, s.updated = down, c.now()
	}
	return ok(map[string]any{"service": k.serviceView(s)})
}

// switchedOn reads what a schema has found to be a switch.
func switchedOn(v any) bool {
	if text, isText := v.(string); isText {
		on, _ := truth(text)
		return on
	}
	on, _ := v.(bool)
	return on
}

func forceUpRefused(s *service) answer {
	return fail(400, "Unable to force up host %s as `done` evacuation migration records remain associated with the host. "+
		"Ensure the compute service has been restarted, allowing these records to move to `completed` before retrying this request.", s.host)
}

// owes says whether the host has not yet cleaned up after servers that were
// evacuated from it.
func (c *Cloud) owes(h *host) bool {
	return slices.ContainsFunc(c.migrations, func(m *migration) bool {
		return m.kind == "evacuation" && m.status == "done" && m.source == h
	})
}

// setDisabled disables or enables a service. Placement learns of it only from a
// nova-compute that Nova sees up; else the scheduler goes on as before until the
// next start or periodic update.
func (c *Cloud) setDisabled(s *service, disabled bool, reason string) {
	s.disabled, s.reason, s.updated = disabled, "", c.now()
	if disabled {
		s.reason = reason
	}
	switch h := s.compute; {
	case c.up(s) && h.state == "up":
		h.skipped = disabled
	case h.state == "up":
		c.after(c.periodic(), func() { c.sync(h) })
	}
}

// updateServiceByHost is PUT /os-services/enable and its kin, before 2.53.
func (k *call) updateServiceByHost(verb string) answer {
	c := k.c
	sch := schema{"", map[string]string{"host": "text", "binary": "text"}, []string{"host", "binary"}}
	switch verb {
	case "enable", "disable":
	case "disable-log-reason":
		sch.may["disabled_reason"], sch.required = "text", append(sch.required, "disabled_reason")
	case "force-down":
		if k.version >= 11 {
			sch.may["forced_down"], sch.required = "switch", append(sch.required, "forced_down")
		}
	default:
		return fail(404, "Unknown action")
	}
	if a, good := k.may("os-services:update"); !good {
		return a
	}
	body, a, good := sch.check(k.body)
	if !good {
		return a
	}
	hostName, binary := body["host"].(string), body["binary"].(string)
	i := slices.IndexFunc(c.services, func(s *service) bool { return s.host == hostName && s.binary == binary })
	if c.hostByName[hostName] == nil && i < 0 {
		return fail(404, "Host '%.64s' is not mapped to any cell", hostName)
	}
	if i < 0 || c.services[i].compute == nil {
		return fail(404, "Could not find binary %.64s on host %.64s.", binary, hostName)
	}
	s := c.services[i]
	view := map[string]any{"host": hostName, "binary": binary}
	switch verb {
	case "enable":
		c.setDisabled(s, false, "")
		view["status"] = "enabled"
	case "disable":
		c.setDisabled(s, true, "")
		view["status"] = "disabled"
	case "disable-log-reason":
		reason := body["disabled_reason"].(string)
		c.setDisabled(s, true, reason)
		view["status"], view["disabled_reason"] = "disabled", reason
	case "force-down":
		if k.version < 11 {
			return fail(404, "Unknown action")
		}
		down := switchedOn(body["forced_down"])
		if !down && c.owes(s.compute) {
			return forceUpRefused(s)
		}
		s.forcedDown, s.updated = down, c.now()
		view["forced_down"] = down
	}
	return ok(map[string]any{"service": view})
}

// aggregate is a host aggregate.
type aggregate struct {
	id               int
	uuid, name, zone string
	hosts            []string
	metadata         map[string]string
	created          time.Time
}

type aggregateView struct {
	ID        int               `json:"id"`
	UUID      null              `json:"uuid,omitzero"`
	Name      string            `json:"name"`
	Zone      null              `json:"availability_zone"`
	Hosts     []string          `json:"hosts"`
	Metadata  map[string]string `json:"metadata"`
	CreatedAt string            `json:"created_at"`
	UpdatedAt null              `json:"updated_at"`
	Deleted   bool              `json:"deleted"`
	DeletedAt null              `json:"deleted_at"`
}

func (k *call) aggregateView(a *aggregate) aggregateView {
	v := aggregateView{
		ID: a.id, UUID: k.since(41, a.uuid), Name: a.name, Zone: orNull(a.zone), Hosts: append([]string{}, a.hosts...),
		Metadata: map[string]string{}, CreatedAt: a.created.UTC().Format(timeMicro), UpdatedAt: orNull(""), DeletedAt: orNull(""),
	}
	maps.Copy(v.Metadata, a.metadata)
	if a.zone != "" {
		v.Metadata["availability_zone"] = a.zone
	}
	return v
}

func (k *call) routeAggregates(seg []string) answer {
	c := k.c
	if len(seg) == 0 {
		if k.r.Method != "GET" {
			return k.noRoute()
		}
		if a, good := k.may("os-aggregates:index"); !good {
			return a
		}
		views := []aggregateView{}
		for _, a := range c.aggregates {
			views = append(views, k.aggregateView(a))
		}
		return ok(map[string]any{"aggregates": views})
	}
	policy := "os-aggregates:show"
	if len(seg) == 2 {
		policy = "os-aggregates:" + map[bool]string{true: "remove_host", false: "add_host"}[k.action == "remove_host"]
	}
	if a, good := k.may(policy); !good {
		return a
	}
	id, err := strconv.Atoi(seg[0])
	if err != nil {
		return fail(400, "Invalid input received: id must be an integer")
	}
	i := slices.IndexFunc(c.aggregates, func(a *aggregate) bool { return a.id == id })
	if i < 0 && k.action == "remove_host" && len(seg) == 2 {
		return k.aggregateAction(&aggregate{id: id}) // no host of it can be removed, says Nova
	}
	if i < 0 {
		return fail(404, "Aggregate %.64s could not be found.", seg[0])
	}
	agg := c.aggregates[i]
	switch {
	case len(seg) == 1 && k.r.Method == "GET":
		return ok(map[string]any{"aggregate": k.aggregateView(agg)})
	case len(seg) == 2 && seg[1] == "action" && k.r.Method == "POST":
		return k.aggregateAction(agg)
	case len(seg) <= 2:
		return k.noRoute()
	}
	return k.noRoute()
}

func (k *call) aggregateAction(agg *aggregate) answer {
	c := k.c
	m, a, good := object(k.body)
	if !good {
		return a
	}
	if len(m) != 1 {
		return fail(400, "Malformed request body")
	}
	if k.action != "add_host" && k.action != "remove_host" {
		return fail(400, "There is no such action: %.64s", k.action)
	}
	body, a, good := schema{k.action, map[string]string{"host": "text"}, []string{"host"}}.check(m[k.action])
	if !good {
		return a
	}
	name := body["host"].(string)
	if k.action == "add_host" && c.hostByName[name] == nil {
		return fail(404, "Compute host %.100s could not be found.", name)
	}
	there := slices.Contains(agg.hosts, name)
	switch {
	case k.action == "add_host" && there:
		return fail(409, "Aggregate %d already has host %s.", agg.id, name)
	case k.action == "add_host":
		agg.hosts = append(slices.Clip(agg.hosts), name)
	case !there:
		return fail(404, "Cannot remove host %.100s in aggregate %d", name, agg.id)
	default:
		agg.hosts = slices.DeleteFunc(slices.Clone(agg.hosts), func(h string) bool { return h == name })
	}
	return ok(map[string]any{"aggregate": k.aggregateView(agg)})
}

type hypervisorView struct {
	ID       any    `json:"id"`
	Hostname string `json:"hypervisor_hostname"`
	State    string `json:"state"`
	Status   string `json:"status"`
	*hypervisorDetail
}

type hypervisorDetail struct {
	Type    string `json:"hypervisor_type"`
	Version int    `json:"hypervisor_version"`
	HostIP  string `json:"host_ip"`
	Service struct {
		ID     any    `json:"id"`
		Host   string `json:"host"`
		Reason null   `json:"disabled_reason"`
	} `json:"service"`
	Running *int           `json:"running_vms,omitempty"`
	Servers *[]shortServer `json:"servers,omitempty"`
	Uptime  null           `json:"uptime,omitzero"`
}

func (k *call) routeHypervisors(seg []string) answer {
	c := k.c
	if k.r.Method != "GET" {
		return k.noRoute()
	}
	detail := len(seg) == 1 && seg[0] == "detail"
	policy := "os-hypervisors:list"
	switch {
	case detail:
		policy = "os-hypervisors:list-detail"
	case len(seg) == 1:
		policy = "os-hypervisors:show"
	case len(seg) > 1:
		return k.noRoute()
	}
	if a, good := k.may(policy); !good {
		return a
	}
	view := func(h *host, detail bool) hypervisorView {
		sv := k.serviceView(h.service)
		v := hypervisorView{ID: h.number, Hostname: h.name, State: sv.State, Status: sv.Status}
		if k.version >= 53 {
			v.ID = h.hypervisor
		}
		if detail {
			d := &hypervisorDetail{Type: "fake", Version: 1000, HostIP: h.address()}
			d.Service.ID, d.Service.Host, d.Service.Reason = sv.ID, h.name, sv.Reason
			if k.version < 88 {
				d.Running = new(h.held)
			} else {
				d.Uptime = orNull("")
			}
			v.hypervisorDetail = d
		}
		return v
	}
	if len(seg) == 1 && !detail {
		if k.version >= 53 && !uuidPattern.MatchString(seg[0]) {
			return fail(400, "Invalid uuid %.64s", seg[0])
		}
		for _, h := range c.hosts {
			if k.version >= 53 && h.hypervisor == seg[0] || k.version < 53 && number(h.number) == seg[0] {
				return ok(map[string]any{"hypervisor": view(h, true)})
			}
		}
		return fail(404, "Hypervisor with ID '%.64s' could not be found.", seg[0])
	}
	q := k.r.URL.Query()
	p, a, good := k.page(q)
	if !good {
		return a
	}
	pattern := q.Get("hypervisor_hostname_pattern")
	waiting := p.marker != "" && k.version >= 33
	views := []hypervisorView{}
	for _, h := range c.hosts {
		if pattern != "" && !strings.Contains(h.name, pattern) {
			continue
		}
		v := view(h, detail)
		switch {
		case waiting:
			waiting = v.ID != p.marker && number(h.number) != p.marker
		case len(views) < p.limit:
			views = append(views, v)
		}
	}
	if waiting {
		return fail(400, "marker [%.64s] not found", p.marker)
	}
	if pattern != "" && len(views) == 0 && k.version >= 53 {
		return fail(404, "No hypervisor matching '%.64s' could be found.", pattern)
	}
	body := map[string]any{"hypervisors": views}
	if len(views) == p.limit && p.limit > 0 && k.version >= 33 {
		last, _ := views[len(views)-1].ID.(string)
		if n, isNumber := views[len(views)-1].ID.(int); isNumber {
			last = number(n)
		}
		body["hypervisors_links"] = k.next(q, last)
	}
	return ok(body)
}

type migrationView struct {
	ID         int    `json:"id"`
	UUID       null   `json:"uuid,omitzero"`
	Server     string `json:"instance_uuid"`
	Status     string `json:"status"`
	Type       null   `json:"migration_type,omitzero"`
	SourceNode null   `json:"source_node"`
	Source     null   `json:"source_compute"`
	DestNode   null   `json:"dest_node"`
	Dest       null   `json:"dest_compute"`
	DestHost   null   `json:"dest_host"`
	OldFlavor  *int   `json:"old_instance_type_id"`
	NewFlavor  *int   `json:"new_instance_type_id"`
	CreatedAt  string `json:"created_at"`
	UpdatedAt  null   `json:"updated_at"`
	UserID     null   `json:"user_id,omitzero"`
	ProjectID  null   `json:"project_id,omitzero"`
}

func (k *call) migrationView(m *migration) migrationView {
	dest, node, address := "", "", ""
	if m.dest != nil {
		dest = m.dest.name
	}
	if m.claimed {
		node, address = dest, m.dest.address()
	}
	source := m.source.name
	if m.kind == "live-migration" { // has neither
		address = ""
		if !m.claimed {
			source = ""
		}
	}
	flavor := new(1)
	if m.kind == "evacuation" {
		flavor = nil
	}
	return migrationView{
		ID: m.id, UUID: k.since(59, m.uuid), Server: m.server.id, Status: m.status, Type: k.since(23, m.kind),
		SourceNode: orNull(source), Source: orNull(m.source.name), DestNode: orNull(node), Dest: orNull(dest), DestHost: orNull(address),
		OldFlavor: flavor, NewFlavor: flavor, CreatedAt: m.created.UTC().Format(timeMicro), UpdatedAt: orNullTime(m.updated),
		UserID: k.since(80, m.userID), ProjectID: k.since(80, m.server.project.id),
	}
}

// migrationFilter makes the test that the query asks for.
func migrationFilter(q url.Values) func(*migration) bool {
	id, source, kind, status, host := q.Get("instance_uuid"), q.Get("source_compute"), q.Get("migration_type"), q.Get("status"), q.Get("host")
	is := func(want, got string) bool { return want == "" || want == got }
	return func(m *migration) bool {
		return is(id, m.server.id) && is(source, m.source.name) && is(kind, m.kind) && is(status, m.status) &&
			(is(host, m.source.name) || m.dest != nil && host == m.dest.name)
	}
}

func (k *call) routeMigrations(seg []string) answer {
	c := k.c
	switch {
	case len(seg) > 0:
		return k.noRoute()
	case k.r.Method != "GET":
		return k.noRoute()
	}
	if a, good := k.may("os-migrations:index"); !good {
		return a
	}
	q := k.r.URL.Query()
	if k.version >= 59 {
		known := []string{"hidden", "host", "instance_uuid", "limit", "marker", "migration_type", "source_compute", "status"}
		if k.version >= 66 {
			known = append(known, "changes-before")
		}
		if k.version >= 80 {
			known = append(known, "project_id", "user_id")
		}
		if a, good := strangers(q, append(known, "changes-since")...); !good {
			return a
		}
	}
	p, a, good := k.page(q)
	if !good {
		return a
	}
	paged := k.version >= 59
	if !paged {
		p.limit, p.marker = len(c.migrations)+1, ""
	}
	waiting := p.marker != ""
	wanted := migrationFilter(q)
	views := []migrationView{}
	for _, m := range slices.Backward(c.migrations) {
		if waiting {
			waiting = m.uuid != p.marker
			continue
		}
		if len(views) == p.limit {
			break
		}
		if wanted(m) {
			views = append(views, k.migrationView(m))
		}
	}
	if waiting {
		return fail(400, "Marker %.64s could not be found.", p.marker)
	}
	body := map[string]any{"migrations": views}
	if len(views) == p.limit && p.limit > 0 && k.version >= 59 {
		body["migrations_links"] = k.next(q, views[len(views)-1].UUID.s)
	}
	return ok(body)
}

func (k *call) routeZones(seg []string) answer {
	switch {
	case k.r.Method != "GET":
		return k.noRoute()
	case len(seg) > 1 || len(seg) == 1 && seg[0] != "detail":
		return k.noRoute()
	}
	detail := len(seg) == 1
	if detail {
		if a, good := k.may("os-availability-zone:detail"); !good {
			return a
		}
	}
	zones := map[string]map[string]any{}
	for _, h := range k.c.hosts {
		if h.service.disabled && !detail {
			continue
		}
		if zones[h.zone] == nil {
			zones[h.zone] = map[string]any{}
		}
		zones[h.zone][h.name] = map[string]any{"nova-compute": map[string]any{
			"available": k.c.up(h.service), "active": !h.service.disabled, "updated_at": orNullTime(k.c.reported(h.service)),
		}}
	}
	infos := []any{}
	for _, name := range sortedKeys(zones) {
		info := map[string]any{"zoneName": name, "zoneState": map[string]any{"available": true}, "hosts": nil}
		if detail {
			info["hosts"] = zones[name]
		}
		infos = append(infos, info)
	}
	return ok(map[string]any{"availabilityZoneInfo": infos})
}

func (k *call) routeFlavors(seg []string) answer {
	tiny := map[string]any{
		"id": "1", "name": "tiny", "vcpus": 1, "ram": 64, "disk": 1, "swap": "", "rxtx_factor": 1.0, "OS-FLV-EXT-DATA:ephemeral": 0,
		"OS-FLV-DISABLED:disabled": false, "os-flavor-access:is_public": true, "links": []link{{"self", k.base + "/v2.1/flavors/1"}},
	}
	switch {
	case k.r.Method != "GET":
		return k.noRoute()
	case len(seg) == 0:
		return ok(map[string]any{"flavors": []any{map[string]any{"id": "1", "name": "tiny", "links": tiny["links"]}}})
	case len(seg) == 1 && seg[0] == "detail":
		return ok(map[string]any{"flavors": []any{tiny}})
	case len(seg) == 1 && seg[0] == "1":
		return ok(map[string]any{"flavor": tiny})
	}
	return fail(404, "Flavor %.64s could not be found.", seg[0])
}

func (k *call) routeLimits(seg []string) answer {
	switch {
	case k.r.Method != "GET":
		return k.noRoute()
	case len(seg) > 0:
		return k.noRoute()
	}
	return ok(map[string]any{"limits": map[string]any{"rate": []any{}, "absolute": map[string]any{
		"maxTotalInstances": -1, "maxTotalCores": -1, "maxTotalRAMSize": -1, "totalInstancesUsed": len(k.c.servers),
	}}})
}
