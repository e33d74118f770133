package novasim

import (
	"fmt"
	"maps"
	"net/http"
	"strings"
)

// inventory is what a resource provider has of one class.
type inventory struct {
	Total    int     `json:"total"`
	Reserved int     `json:"reserved"`
	Min      int     `json:"min_unit"`
	Max      int     `json:"max_unit"`
	Step     int     `json:"step_size"`
	Ratio    float64 `json:"allocation_ratio"`
}

// What a host without a capacity has, as Nova 26.2 reports of its fake driver,
// and what each server takes: the flavor tiny.
var (
	roomy = map[string]inventory{"VCPU": {1000, 0, 1, 1000, 1, 16}, "MEMORY_MB": {800_000, 512, 1, 800_000, 1, 1.5}, "DISK_GB": {600_000, 0, 1, 600_000, 1, 1}}
	tiny  = map[string]int{"VCPU": newFlavor.VCPUs, "MEMORY_MB": newFlavor.RAM, "DISK_GB": newFlavor.Disk}
)

// placement answers a request to Placement, which is served under /placement:
// the resource providers of the compute hosts, their inventories, usages and
// allocations, and the allocations of a server. It only reads, and it knows no
// microversions. A server has its allocation on the host that it is on and, on
// the way, none on the target.
func (k *call) placement() answer {
	if len(k.segments) == 0 {
		return ok(map[string]any{"versions": []any{map[string]any{
			"id": "v1.0", "min_version": "1.0", "max_version": "1.39", "status": "CURRENT",
			"links": []any{map[string]any{"rel": "self", "href": ""}},
		}}})
	}
	k.token = k.c.valid(k.r.Header.Get("X-Auth-Token"))
	switch {
	case k.token == nil:
		return k.unauthorized()
	case k.r.Method != http.MethodGet:
		return placementError(405, "The method specified is not allowed for this resource.")
	case !k.token.admin():
		return placementError(403, "Access was denied to this resource.")
	}
	seg := k.segments
	switch {
	case seg[0] == "resource_providers" && len(seg) == 1:
		return k.providers()
	case seg[0] == "resource_providers" && len(seg) <= 3:
		for _, h := range k.c.hosts {
			if h.hypervisor == seg[1] {
				return k.provider(h, seg[2:])
			}
		}
		return placementError(404, fmt.Sprintf("The resource could not be found.\n\n No resource provider with uuid %[1]s found: No resource provider with uuid %[1]s found  ", cut(seg[1])))
	case seg[0] == "allocations" && len(seg) == 2:
		given := map[string]any{}
		if s := k.c.serverByID[seg[1]]; s != nil && !s.deleted && s.host != nil {
			given[s.host.hypervisor] = map[string]any{"generation": 1, "resources": tiny}
		}
		return ok(map[string]any{"allocations": given})
	}
	return placementError(404, "The resource could not be found.")
}

func (k *call) providers() answer {
	name := k.r.URL.Query().Get("name")
	list := []any{}
	for _, h := range k.c.hosts {
		if name == "" || name == h.name {
			list = append(list, map[string]any{"uuid": h.hypervisor, "name": h.name, "generation": 1, "links": []any{}})
		}
	}
	return ok(map[string]any{"resource_providers": list})
}

func (k *call) provider(h *host, what []string) answer {
	if len(what) == 0 {
		return ok(map[string]any{"uuid": h.hypervisor, "name": h.name, "generation": 1, "links": []any{}})
	}
	doc := map[string]any{"resource_provider_generation": 1}
	given, used := map[string]any{}, map[string]int{"VCPU": 0, "MEMORY_MB": 0, "DISK_GB": 0}
	for _, s := range k.c.servers {
		if s.host == h && !s.deleted {
			given[s.id] = map[string]any{"resources": tiny}
			for class, n := range tiny {
				used[class] += n
			}
		}
	}
	switch what[0] {
	case "inventories":
		all := maps.Clone(roomy)
		for class, n := range tiny {
			if total := h.capacity * n; total > 0 {
				all[class] = inventory{total, 0, 1, total, 1, 1}
			}
		}
		doc["inventories"] = all
	case "usages":
		doc["usages"] = used
	case "allocations":
		doc["allocations"] = given
	default:
		return placementError(404, "The resource could not be found.")
	}
	return ok(doc)
}

func placementError(status int, text string) answer {
	return answer{status: status, body: map[string]any{"errors": []any{map[string]any{
		"status": status, "title": strings.TrimSpace(http.StatusText(status)), "detail": text,
	}}}}
}
