package novasim_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/wasakari/wasakari/novasim"
)

const placementCloud = `
placement: true
hosts:
  - {name: compute-1, capacity: 4}
  - {name: compute-2}
servers:
  - {id: ` + serverID + `, host: compute-1}
  - {count: 2, name: other, host: compute-1}
`

// TestPlacement: what the hosts have and what the servers take.
func TestPlacement(t *testing.T) {
	t.Parallel()
	s := setup(t, placementCloud, novasim.Options{})
	var list struct {
		Providers []struct{ UUID, Name string } `json:"resource_providers"`
	}
	s.want(200, "", "GET", "/placement/resource_providers", "").json(t, &list)
	if len(list.Providers) != 2 || list.Providers[0].Name != "compute-1" {
		t.Fatalf("providers = %+v, want those of compute-1 and compute-2", list.Providers)
	}
	one, two := list.Providers[0].UUID, list.Providers[1].UUID
	inventory := func(total, reserved int, ratio float64) string {
		return fmt.Sprintf(`{"allocation_ratio": %v, "max_unit": %d, "min_unit": 1, "reserved": %d, "step_size": 1, "total": %d}`, ratio, total, reserved, total)
	}
	given := `{"resources": {"DISK_GB": 1, "MEMORY_MB": 64, "VCPU": 1}}`
	var others []string
	for _, st := range s.Servers() {
		others = append(others, fmt.Sprintf(`%q: %s`, st.ID, given))
	}
	tests := []struct{ path, want string }{
		{"resource_providers/" + one, `{"uuid": "` + one + `", "name": "compute-1", "generation": 1, "links": []}`},
		{"resource_providers?name=compute-2", `{"resource_providers": [{"uuid": "` + two + `", "name": "compute-2", "generation": 1, "links": []}]}`},
		{"resource_providers/" + one + "/inventories", `{"resource_provider_generation": 1, "inventories": {"DISK_GB": ` + inventory(4, 0, 1) + `, "MEMORY_MB": ` + inventory(256, 0, 1) + `, "VCPU": ` + inventory(4, 0, 1) + `}}`},
		{"resource_providers/" + two + "/inventories", `{"resource_provider_generation": 1, "inventories": {"DISK_GB": ` + inventory(600000, 0, 1) + `, "MEMORY_MB": ` + inventory(800000, 512, 1.5) + `, "VCPU": ` + inventory(1000, 0, 16) + `}}`},
		{"resource_providers/" + one + "/usages", `{"resource_provider_generation": 1, "usages": {"DISK_GB": 3, "MEMORY_MB": 192, "VCPU": 3}}`},
		{"resource_providers/" + two + "/usages", `{"resource_provider_generation": 1, "usages": {"DISK_GB": 0, "MEMORY_MB": 0, "VCPU": 0}}`},
		{"resource_providers/" + one + "/allocations", `{"resource_provider_generation": 1, "allocations": {` + strings.Join(others, ", ") + `}}`},
		{"allocations/" + serverID, `{"allocations": {"` + one + `": {"generation": 1, "resources": {"DISK_GB": 1, "MEMORY_MB": 64, "VCPU": 1}}}}`},
		{"allocations/" + two, `{"allocations": {}}`},
	}
	for _, tt := range tests {
		var got, want any
		s.want(200, "", "GET", "/placement/"+tt.path, "").json(t, &got)
		if err := json.Unmarshal([]byte(tt.want), &want); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s = %v, want %v", tt.path, got, want)
		}
	}
	s.want(404, "", "GET", "/placement/resource_providers/"+serverID, "")
	s.want(404, "", "GET", "/placement/resource_providers/"+one+"/traits", "")
	s.want(404, "", "GET", "/placement/nowhere", "")
	s.want(405, "", "DELETE", "/placement/allocations/"+serverID, "")
	s.want(200, "", "GET", "/placement/", "")
	if r := s.do("GET", "/v3/auth/catalog", ""); !strings.Contains(r.body, `"placement"`) {
		t.Errorf("catalog = %s, want placement in it", r.body)
	}
	s.asMember()
	s.want(403, "", "GET", "/placement/resource_providers", "")
	s.token = "none"
	s.want(401, "", "GET", "/placement/resource_providers", "")
}

// TestNoPlacement: by default the catalog has none.
func TestNoPlacement(t *testing.T) {
	t.Parallel()
	s := setup(t, strings.Replace(placementCloud, "placement: true", "", 1), novasim.Options{})
	if r := s.do("GET", "/v3/auth/catalog", ""); strings.Contains(r.body, `"placement"`) {
		t.Errorf("catalog = %s, want no placement in it", r.body)
	}
}
