package openstack_test

import (
	"errors"
	"maps"
	"net/http"
	"strings"
	"testing"

	"github.com/wasakari/wasakari/openstack"
	"github.com/wasakari/wasakari/recovery"
)

// withPlacement adds a Placement to the catalog. Its URL has a path, as where
// all services are behind one address.
func withPlacement(f *cloud) {
	entry := `{"type": "placement", "name": "placement", "endpoints": [{"interface": "public", "region": "One", "region_id": "One", "url": "` + f.URL + `/placement"}]},`
	f.catalog = "[" + entry + strings.TrimPrefix(f.catalog, "[")
}

func TestPlacement(t *testing.T) {
	t.Parallel()
	f := newCloud(t, nil)
	withPlacement(f)
	f.onValid("GET /placement/resource_providers/p1/inventories", say(200, `{"resource_provider_generation": 7, "inventories": {
		"VCPU": {"total": 8, "reserved": 2, "min_unit": 1, "max_unit": 8, "step_size": 1, "allocation_ratio": 4.0},
		"MEMORY_MB": {"total": 1000, "reserved": 0, "min_unit": 1, "max_unit": 1000, "step_size": 1, "allocation_ratio": 1.5}}}`))
	f.onValid("GET /placement/resource_providers/p1/usages", say(200, `{"resource_provider_generation": 7, "usages": {"VCPU": 3, "MEMORY_MB": 512}}`))
	f.onValid("GET /placement/resource_providers/p1/allocations", say(200, `{"resource_provider_generation": 7, "allocations": {"s1": {"resources": {"VCPU": 3, "MEMORY_MB": 512}}}}`))
	c := f.connect()
	calls := c.Calls()
	inv, err := c.Inventories(t.Context(), "p1")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := inv["VCPU"], (recovery.Inventory{Total: 8, Reserved: 2, AllocationRatio: 4, MaxUnit: 8}); got != want || got.Capacity() != 24 || inv["MEMORY_MB"].Capacity() != 1500 {
		t.Errorf("inventories = %+v, want %+v", inv, want)
	}
	used, err := c.Usages(t.Context(), "p1")
	if want := (recovery.Resources{"VCPU": 3, "MEMORY_MB": 512}); err != nil || !maps.Equal(used, want) {
		t.Errorf("usages = %v, %v, want %v", used, err, want)
	}
	given, err := c.Allocations(t.Context(), "p1")
	if err != nil || len(given) != 1 || !maps.Equal(given["s1"], used) {
		t.Errorf("allocations = %v, %v, want those of s1", given, err)
	}
	if c.Calls() != calls {
		t.Errorf("%d requests to Nova were counted, want none", c.Calls()-calls)
	}
}

func TestPlacementErrors(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name     string
		without  bool
		answer   http.HandlerFunc
		provider string
		want     error
		text     string
	}{
		{name: "no service", without: true, want: openstack.ErrNoPlacement, text: "inventories of resource provider p1: there is no placement service in the catalog"},
		{name: "no such provider", answer: say(404, `{"errors": [{"status": 404, "title": "Not Found", "detail": "No resource provider with uuid p1 found"}]}`), want: recovery.ErrNotFound, text: "inventories of resource provider p1: 404 No resource provider with uuid p1 found (req-1)"},
		{name: "not allowed", answer: say(403, `{"errors": [{"status": 403, "detail": "Policy does not allow it."}]}`), want: recovery.ErrForbidden, text: "inventories of resource provider p1: 403 Policy does not allow it. (req-1)"},
		{name: "no document", answer: say(200, `{"inventories": null}`), want: recovery.ErrUnavailable, text: `inventories of resource provider p1: 200 the answer cannot be understood: field "inventories" is missing (req-1)`},
		{name: "no id", provider: "..", want: recovery.ErrInvalid, text: `inventories of resource provider ..: ".." is no id`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f := newCloud(t, nil)
			if !tt.without {
				withPlacement(f)
			}
			if tt.answer != nil {
				f.onValid("GET /placement/resource_providers/p1/inventories", tt.answer)
			}
			if tt.provider == "" {
				tt.provider = "p1"
			}
			_, err := f.connect().Inventories(t.Context(), tt.provider)
			if !errors.Is(err, tt.want) || err.Error() != tt.text {
				t.Errorf("error = %v, want %q, which is %v", err, tt.text, tt.want)
			}
		})
	}
}
