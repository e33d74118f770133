package novasim_test

import (
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/wasakari/wasakari/novasim"
)

const hosts = "hosts: [{name: compute-1}, {name: compute-2}]\n"

func TestParseScenarioRefuses(t *testing.T) {
	tests := []struct {
		name, text, want string
	}{
		{"nothing", "", "cloud.yaml:1:1: hosts: there must be at least one"},
		{"not YAML", "hosts: [", "cloud.yaml:1:8: sequence end token ']' not found"},
		{"not a mapping", "- a\n", "cloud.yaml:1:1: sequence was used where mapping is expected"},
		{"two documents", hosts + "---\n" + hosts, "cloud.yaml:1:1: 2 documents, want one"},
		{"unknown field", hosts + "colour: red\n", `cloud.yaml:2:1: unknown field "colour"`},
		{"unknown field in a host", "hosts:\n  - name: a\n    stat: up\n", `cloud.yaml:3:5: unknown field "stat"`},
		{"field twice", "seed: 1\nseed: 2\n" + hosts, "cloud.yaml:2:1: mapping key \"seed\" already defined at [1:1]"},
		{"anchor", "hosts: &a [{name: x}]\n", "cloud.yaml:1:8: anchors and aliases are not allowed; write it out"},
		{"tag", "seed: !!int 3\n" + hosts, "cloud.yaml:1:7: tags are not allowed; leave it out"},
		{"nested too deep", "x: " + strings.Repeat("[", 40), "cloud.yaml:1:36: nested too deep"},
		{"wrong type", "seed: many\n" + hosts, "cloud.yaml:1:7: cannot unmarshal string into Go struct field Scenario.Seed of type int64"},
		{"no duration", "token_lifetime: soon\n" + hosts, "cloud.yaml:1:17: token_lifetime: want a length of time from 0 to 24h0m0s, such as 250ms"},
		{"duration too long", "service_down_time: 25h\n" + hosts, "cloud.yaml:1:20: service_down_time: want a length of time from 0 to 24h0m0s, such as 250ms"},
		{"span upside down", hosts + "latency:\n  requests:\n    default: 2s..1s\n", "cloud.yaml:4:14: latency.requests.default: want a length of time from 0 to 24h0m0s, such as 250ms or 100ms..400ms"},
		{"unknown timed action", hosts + "latency: {actions: {dance: 1s}}\n", `cloud.yaml:2:21: latency.actions: "dance" is not one of create, delete, live_migrate, pause, reboot, rescue, resize, start, stop, suspend`},
		{"microversion", hosts + "microversion: {max: \"3.1\"}\n", `cloud.yaml:2:21: microversion.max: "3.1" is no microversion: want "2.1" to "2.999", in quotes`},
		{"microversions crossed", hosts + "microversion: {min: \"2.60\", max: \"2.53\"}\n", "cloud.yaml:2:16: microversion: 2.60 is above 2.53"},
		{"page limit", hosts + "page_limit: -1\n", "cloud.yaml:2:13: page_limit: -1 is not in 0 to 100000"},
		{"host twice", "hosts:\n  - name: a\n  - name: a\n", `cloud.yaml:3:11: hosts[1].name: host "a" is there already`},
		{"host without name", "hosts:\n  - zone: a\n", `cloud.yaml:2:5: hosts[0].name: "" is no name: want letters, digits, . _ @ -, at most 255`},
		{"host state", "hosts: [{name: a, state: asleep}]\n", `cloud.yaml:1:26: hosts[0].state: "asleep" is not one of up, down, hung`},
		{"fails though down", "hosts: [{name: a, state: down, fails_after: 1s}]\n", "cloud.yaml:1:45: hosts[0].fails_after: the host is down from the start"},
		{"heals before it fails", "hosts: [{name: a, fails_after: 2s, heals_after: 1s}]\n", "cloud.yaml:1:49: hosts[0].heals_after: is not after fails_after"},
		{"nothing to heal", "hosts: [{name: a, heals_after: 1s}]\n", "cloud.yaml:1:32: hosts[0].heals_after: the host is up: nothing to heal"},
		{"reason without disabled", "hosts: [{name: a, disabled_reason: x}]\n", "cloud.yaml:1:36: hosts[0].disabled_reason: the host is not disabled"},
		{"too full", "hosts: [{name: a, capacity: 1}]\nservers: [{count: 2, host: a}]\n", "cloud.yaml:1:29: hosts[0].capacity: 2 servers are on it"},
		{"server on no host", hosts + "servers: [{name: a}]\n", "cloud.yaml:2:12: servers[0]: host is missing"},
		{"server on unknown host", hosts + "servers: [{host: b}]\n", `cloud.yaml:2:18: servers[0].host: there is no host "b"`},
		{"too many servers", hosts + "servers:\n  - {count: 60000, host: compute-1}\n  - {count: 60000, host: compute-1}\n", "cloud.yaml:4:6: servers[1]: more than 100000 servers"},
		{"count out of bounds", hosts + "servers: [{count: -1, host: compute-1}]\n", "cloud.yaml:2:19: servers[0].count: -1 is not in 0 to 100000"},
		{"id of many", hosts + "servers: [{count: 2, host: compute-1, id: 00000000-0000-4000-8000-000000000001}]\n", "cloud.yaml:2:43: servers[0].id: is for a single server; use ids"},
		{"id", hosts + "servers: [{host: compute-1, id: x}]\n", `cloud.yaml:2:33: servers[0].id: "x" is no UUID in lower case`},
		{"id twice", hosts + "servers: [{host: compute-1, ids: [00000000-0000-4000-8000-000000000001, 00000000-0000-4000-8000-000000000001]}]\n", "cloud.yaml:2:73: servers[0].ids[1]: server 00000000-0000-4000-8000-000000000001 is there already"},
		{"names and count", hosts + "servers: [{host: compute-1, count: 3, names: [a, b]}]\n", "cloud.yaml:2:46: servers[0].names: 2 names for 3 servers"},
		{"vm_state", hosts + "servers: [{host: compute-1, vm_state: ACTIVE}]\n", `cloud.yaml:2:39: servers[0].vm_state: "ACTIVE" is not one of active, building, error, paused, rescued, resized, shelved, shelved_offloaded, soft-delete, stopped, suspended`},
		{"task_state", hosts + "servers: [{host: compute-1, task_state: dancing}]\n", `cloud.yaml:2:41: servers[0].task_state: "dancing" is no task state of Nova's`},
		{"power_state", hosts + "servers: [{host: compute-1, power_state: 2}]\n", "cloud.yaml:2:42: servers[0].power_state: 2 is not one of 0, 1, 3, 4, 6, 7"},
		{"reason without lock", hosts + "servers: [{host: compute-1, locked_reason: x}]\n", "cloud.yaml:2:44: servers[0].locked_reason: the server is not locked"},
		{"aggregate of unknown host", hosts + "aggregates: [{name: a, hosts: [x]}]\n", `cloud.yaml:2:32: aggregates[0].hosts[0]: there is no host "x"`},
		{"user without projects", hosts + "users: [{name: a, password: b}]\n", "cloud.yaml:2:10: users[0]: projects is missing"},
		{"role", hosts + "users: [{name: a, password: b, projects: [p], roles: [a king]}]\n", `cloud.yaml:2:55: users[0].roles[0]: "a king" is no name: want letters, digits, . _ @ -, at most 255`},
		{"role in another project", hosts + "users: [{name: a, password: b, projects: [p], project_roles: {q: [admin]}}]\n", `cloud.yaml:2:66: users[0].project_roles.q: user "a" is not in this project`},
		{"no role in a project", hosts + "users: [{name: a, password: b, projects: [p], project_roles: {p: []}}]\n", `cloud.yaml:2:66: users[0].project_roles.p: there must be at least one`},
		{"credential of nobody", hosts + "application_credentials: [{name: a, secret: b, user: c}]\n", `cloud.yaml:2:54: application_credentials[0].user: there is no user "c"`},
		{"fault does nothing", hosts + "faults: [{match: {method: GET}}]\n", "cloud.yaml:2:11: faults[0].do: nothing to do"},
		{"fault answers twice", hosts + "faults: [{do: {status: 500, drop: after}}]\n", "cloud.yaml:2:16: faults[0].do: status, drop and hang exclude one another"},
		{"fault status", hosts + "faults: [{do: {status: 200}}]\n", "cloud.yaml:2:24: faults[0].do.status: 200 is not in 400 to 599"},
		{"fault drop", hosts + "faults: [{do: {drop: now}}]\n", `cloud.yaml:2:22: faults[0].do.drop: "now" is not one of before, after`},
		{"fault host", hosts + "faults: [{do: {host_up: x}}]\n", `cloud.yaml:2:25: faults[0].do.host_up: there is no host "x"`},
		{"fault pattern", hosts + "faults: [{match: {path: \"[\"}, do: {status: 500}}]\n", `cloud.yaml:2:25: faults[0].match.path: "[" is no pattern`},
		{"nth with times", hosts + "faults: [{match: {nth: 1, times: 2}, do: {status: 500}}]\n", "cloud.yaml:2:24: faults[0].match.nth: stands alone, without every, after and times"},
		{"evacuation fault of anything", hosts + "faults: [{do: {evacuation_error: x}}]\n", "cloud.yaml:2:16: faults[0].do: evacuation_error and evacuation_target need match: {action: evacuate}"},
		{"two mistakes", "hosts: [{name: a, state: x, capacity: -1}]\n", "cloud.yaml:1:26: hosts[0].state: \"x\" is not one of up, down, hung\ncloud.yaml:1:39: hosts[0].capacity: -1 is not in 0 to 100000"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := novasim.ParseScenario("cloud.yaml", []byte(tt.text))
			if err == nil {
				t.Fatal("no error")
			}
			if got := err.Error(); got != tt.want {
				t.Errorf("error is\n%s\nwant\n%s", got, tt.want)
			}
		})
	}
}

func TestParseScenarioTooLarge(t *testing.T) {
	_, err := novasim.ParseScenario("cloud.yaml", []byte(strings.Repeat("#", novasim.MaxScenarioBytes+1)))
	if err == nil || err.Error() != "cloud.yaml: scenario of 1048577 bytes is larger than 1048576" {
		t.Errorf("error is %v", err)
	}
}

func TestNewChecksTheScenario(t *testing.T) {
	_, err := novasim.New(&novasim.Scenario{}, novasim.Options{})
	if err == nil || err.Error() != "scenario: hosts: there must be at least one" {
		t.Errorf("error is %v", err)
	}
}

func TestDemoScenario(t *testing.T) {
	s := setupScenario(t, novasim.DemoScenario(), novasim.Options{ManualTime: true})
	states, tagged := map[string]int{}, 0
	for _, sv := range s.Servers() {
		if sv.Host != "compute-1" {
			t.Errorf("server %s is on %s, want compute-1", sv.Name, sv.Host)
		}
		states[sv.VMState]++
		if sv.Metadata["HA_Enabled"] == "True" {
			tagged++
		}
	}
	if want := map[string]int{"active": 12, "stopped": 4, "error": 2, "paused": 2}; !reflect.DeepEqual(states, want) {
		t.Errorf("states are %v, want %v", states, want)
	}
	if tagged != 9 {
		t.Errorf("%d servers are tagged, want 9", tagged)
	}
	if sv := s.service("compute-4"); !sv.Disabled || sv.DisabledReason != "reserved host" || !sv.Up {
		t.Errorf("compute-4 is %+v, want up, disabled as reserved host", sv)
	}
	if sv := s.service("compute-1"); !sv.Up || sv.Process != "down" {
		t.Errorf("compute-1 is %+v, want dead but still up", sv)
	}
	s.Advance(1500 * time.Millisecond)
	if s.service("compute-1").Up {
		t.Error("compute-1 is still up after 1.5 s")
	}
}

// TestReadmeNamesEveryField keeps README.md complete: every field of a scenario
// stands in it.
func TestReadmeNamesEveryField(t *testing.T) {
	text, err := os.ReadFile("README.md")
	must(t, err)
	var walk func(reflect.Type)
	seen := map[reflect.Type]bool{}
	walk = func(typ reflect.Type) {
		for typ.Kind() == reflect.Pointer || typ.Kind() == reflect.Slice {
			typ = typ.Elem()
		}
		if typ.Kind() != reflect.Struct || seen[typ] {
			return
		}
		seen[typ] = true
		for f := range typ.Fields() {
			key := f.Tag.Get("yaml")
			if key == "" {
				continue
			}
			if !regexp.MustCompile(`\b` + key + `:`).Match(text) {
				t.Errorf("README.md does not name %s.%s", typ.Name(), key)
			}
			walk(f.Type)
		}
	}
	walk(reflect.TypeFor[novasim.Scenario]())
}

// TestReadmeScenario parses the example of README.md.
func TestReadmeScenario(t *testing.T) {
	text, err := os.ReadFile("README.md")
	must(t, err)
	_, rest, found := strings.Cut(string(text), "```yaml file=every.yaml\n")
	example, _, closed := strings.Cut(rest, "```")
	if !found || !closed {
		t.Fatal("README.md has no example")
	}
	setup(t, example, novasim.Options{ManualTime: true})
}

func FuzzParseScenario(f *testing.F) {
	f.Add(string(novasim.DemoYAML()))
	f.Add(one("") + slow)
	f.Add("hosts: [{name: a, fails_after: 0s}]\nservers: [{count: 3, host: a, metadata: {k: v}}]\nfaults: [{match: {nth: 2}, do: {hang: 1s}}]\n")
	f.Add("hosts:\n- &a name: b\n- *a\n")
	f.Add("- - - - ? : !!x [[[{{{")
	f.Fuzz(func(t *testing.T, text string) {
		sc, err := novasim.ParseScenario("f.yaml", []byte(text))
		if (err == nil) == (sc == nil) {
			t.Fatalf("scenario %v, error %v", sc, err)
		}
		if err != nil {
			if !strings.HasPrefix(err.Error(), "f.yaml:") {
				t.Errorf("error does not name the file: %v", err)
			}
			return
		}
		n := 0
		for _, s := range sc.Servers {
			n += max(s.Count, 1)
		}
		if n > 1000 {
			return
		}
		c, err := novasim.New(sc, novasim.Options{ManualTime: true})
		if err != nil {
			t.Fatalf("parsed, but refused: %v", err)
		}
		c.Advance(time.Hour)
		must(t, c.Close())
	})
}
