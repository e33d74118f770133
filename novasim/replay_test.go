package novasim_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/wasakari/wasakari/novasim"
)

// labScenario is the lab from which testdata/lab was recorded. Every phase takes
// a second, so that each can be seen.
const labScenario = `
service_down_time: 10s
token_lifetime: 24h
hosts:
  - {name: compute-1}
  - {name: compute-2}
  - {name: compute-3}
  - {name: compute-4, disabled: true, disabled_reason: reserved host}
aggregates:
  - {name: group}
  - {name: zoned, zone: east}
latency:
  evacuation: {schedule: 1s, rebuild: 1s, mapping: 1s, spawn: 1s, power_off: 1s, move: 1s}
  actions: {create: 1s, delete: 1s, live_migrate: 1s, pause: 1s, reboot: 1s, rescue: 1s, resize: 1s, start: 1s, stop: 1s, suspend: 1s}
`

// difference is one that stays. Both patterns match whole texts.
type difference struct {
	Where  string `json:"where"` // SUBJECT: REQUEST: FIELD
	What   string `json:"what"`
	Reason string `json:"reason"`
	// Sometimes is set where two recordings may differ.
	Sometimes bool `json:"sometimes,omitempty"`

	where, what *regexp.Regexp
	used        bool
}

func differences(t *testing.T) []*difference {
	t.Helper()
	text, err := os.ReadFile("testdata/lab/differences.json")
	if err != nil {
		t.Fatal(err)
	}
	var all []*difference
	if err := json.Unmarshal(text, &all); err != nil {
		t.Fatal(err)
	}
	for _, d := range all {
		if d.Reason == "" {
			t.Errorf("%s: no reason", d.Where)
		}
		d.where, d.what = regexp.MustCompile(`^(?s:`+d.Where+`)$`), regexp.MustCompile(`^(?s:`+d.What+`)$`)
	}
	return all
}

// TestReplay does in the simulated cloud what was done in a real one, and
// compares every answer. What differs is mended, or listed with a reason.
func TestReplay(t *testing.T) {
	known := differences(t)
	all := transcripts(t)
	if len(all) == 0 {
		t.Fatal("no transcripts")
	}
	played := 0
	for _, tr := range all {
		t.Run(tr.Subject, func(t *testing.T) {
			played++
			p := newPlayer(t, &tr)
			for i := range tr.Steps {
				at := fmt.Sprintf("%s: %s", tr.Subject, &tr.Steps[i])
				p.play(&tr.Steps[i], func(where, what string) {
					where = at + ": " + where
					excused := false
					for _, d := range known {
						if d.where.MatchString(where) && d.what.MatchString(what) {
							d.used, excused = true, true
						}
					}
					if !excused {
						t.Errorf("step %d: %s %s", i+1, where, what)
					}
				})
			}
		})
	}
	for _, d := range known {
		if !d.used && !d.Sometimes && !t.Failed() && played == len(all) {
			t.Errorf("differences.json: nothing differs any more: %s %s", d.Where, d.What)
		}
	}
}

// player is the simulated cloud in the lab's place.
type player struct {
	labClient
	cloud *novasim.Cloud
	bound bindings
}

func newPlayer(t *testing.T, tr *transcript) *player {
	sc := parse(t, labScenario)
	// Hosts are listed in the order in which they came up when the lab was made.
	for _, s := range tr.Steps {
		if s.Answer == nil || !strings.HasPrefix(s.Path, "/v2.1/os-hypervisors") {
			continue
		}
		if body, _ := s.Answer.Body.(map[string]any); body["hypervisors"] != nil {
			list := fmt.Sprint(body["hypervisors"])
			slices.SortStableFunc(sc.Hosts, func(a, b novasim.HostSpec) int { return strings.Index(list, a.Name) - strings.Index(list, b.Name) })
			break
		}
	}
	c, err := novasim.New(sc, novasim.Options{ManualTime: true})
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(c.Handler())
	client := &http.Client{Transport: &http.Transport{}}
	t.Cleanup(func() {
		client.CloseIdleConnections()
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		srv.Close()
	})
	cr := c.Credentials()
	p := &player{
		labClient: labClient{
			t: t, http: client, keystone: srv.URL, nova: srv.URL + "/compute", adminName: cr.Username, memberName: cr.MemberUsername,
			passwords: map[string]string{"{password}": cr.Password},
		},
		cloud: c, bound: bindings{"{keystone}": srv.URL, "{since}": "2026-01-01T00:00:00Z", "{since.escaped}": "2026-01-01T00%3A00%3A00Z"},
	}
	p.logIn()
	return p
}

func (p *player) play(s *step, differ func(where, what string)) {
	p.t.Helper()
	switch {
	case s.Do != "":
		p.do(s.Do)
	case s.Watch != "":
		p.watch(s, differ)
	default:
		p.request(s, differ)
	}
}

// do does to the cloud what was done to the lab.
func (p *player) do(what string) {
	p.t.Helper()
	verb, host, _ := strings.Cut(what, " ")
	var err error
	switch verb {
	case "settle": // a server
		p.cloud.Advance(30 * time.Second)
	case "told": // a target, by the conductor: once it has chosen it
		p.cloud.Advance(1500 * time.Millisecond)
	case "begun":
		p.cloud.Advance(2500 * time.Millisecond)
	case "late":
		p.cloud.Advance(15 * time.Second)
	case "kill":
		err = p.cloud.FailHost(host)
	case "fail":
		err = p.cloud.FailHost(host)
		p.cloud.Advance(15 * time.Second)
	case "start":
		err = p.cloud.HealHost(host)
		p.cloud.Advance(15 * time.Second)
	case "hang":
		err = p.cloud.HangHost(host)
	case "continue":
		err = p.cloud.HealHost(host)
	default:
		err = fmt.Errorf("unknown: %s", what)
	}
	if err != nil {
		p.t.Fatal(err)
	}
}

// watch steps through what happens to a server. The lab was polled, so it may
// have been in states that nobody saw.
func (p *player) watch(s *step, differ func(where, what string)) {
	p.t.Helper()
	id := p.bound[s.Watch]
	var states, moves []string
	for range 100 {
		state, _ := stateOf(p.t, p.send("", "compute", "GET", "/v2.1/servers/"+id, "2.90", ""))
		states = noted(states, state)
		moves = noted(moves, moveOf(p.t, p.send("", "compute", "GET", migrationsOf(id), "2.90", "")))
		p.cloud.Advance(250 * time.Millisecond)
	}
	if !within(s.States, states) {
		differ("states", fmt.Sprintf("are %s, recorded are %s", brief(states), brief(s.States)))
	}
	if !within(s.Moves, moves) {
		differ("moves", fmt.Sprintf("are %s, recorded are %s", brief(moves), brief(s.Moves)))
	}
}

// within says whether some lies in all, in this order and with the same end.
func within(some, all []string) bool {
	if len(some) == 0 || len(all) == 0 {
		return len(some) == len(all)
	}
	if some[len(some)-1] != all[len(all)-1] {
		return false
	}
	for _, s := range some {
		i := slices.Index(all, s)
		if i < 0 {
			return false
		}
		all = all[i+1:]
	}
	return true
}

func (p *player) request(s *step, differ func(where, what string)) {
	p.t.Helper()
	body := string(s.Body)
	var text string
	if json.Unmarshal(s.Body, &text) == nil { // no JSON when it was sent
		body = text
	}
	// The catalog names Nova without the prefix that this client uses.
	p.bound["{nova}"] = p.nova
	if s.Service == "identity" {
		p.bound["{nova}"] = p.keystone
	}
	r := p.send(s.As, s.Service, s.Method, p.bound.fill(s.Path), s.Version, p.bound.fill(body))
	if r.status != s.Answer.Status {
		differ("status", fmt.Sprintf("is %d, recorded is %d; bodies %s, %s", r.status, s.Answer.Status, brief(r.body), brief(s.Answer.Body)))
		return
	}
	headers := s.Answer.Headers
	if s.Answer.Request != "" {
		headers = s.usual(s.Answer.Request, r.status)
	}
	for _, name := range kept {
		values := r.header.Values(name)
		slices.Sort(values)
		got, was := strings.Join(values, ", "), headers[name]
		if !p.bound.match(was, got) {
			differ("header "+name, fmt.Sprintf("is %q, recorded is %q", got, p.bound.fill(was)))
		}
	}
	p.bound.compare("body", s.Answer.Body, decoded(r.body), differ)
}

// TestReplayComplains proves that a comparison sees what it is there to see.
func TestReplayComplains(t *testing.T) {
	const recorded = `{"a": "{server1} of {time}", "b": [1, null], "c": {"d": "{#n}", "id": "{server1}"}, "e": "x"}`
	tests := []struct{ name, got, want string }{
		{"same", `{"a": "A of 2026-01-01T00:00:00Z", "b": [1, null], "c": {"d": 7, "id": "A"}, "e": "x"}`, ""},
		{"another id", `{"a": "A of 2026-01-01T00:00:00Z", "b": [1, null], "c": {"d": 7, "id": "B"}, "e": "x"}`, `body.c.id is "B", recorded is "A"`},
		{"another form of time", `{"a": "A of 2026-01-01T00:00:00.000000", "b": [1, null], "c": {"d": 7, "id": "A"}, "e": "x"}`, `body.a is "A of 2026-01-01T00:00:00.000000", recorded is "{server1} of {time}"`},
		{"missing", `{"a": "A of 2026-01-01T00:00:00Z", "b": [1, null], "c": {"d": 7, "id": "A"}}`, `body.e is missing, recorded is "x"`},
		{"more", `{"a": "A of 2026-01-01T00:00:00Z", "b": [1, null], "c": {"d": 7, "id": "A"}, "e": "x", "f": 1}`, `body.f is 1, recorded is nothing`},
		{"shorter list", `{"a": "A of 2026-01-01T00:00:00Z", "b": [1], "c": {"d": 7, "id": "A"}, "e": "x"}`, `body.b is [1], recorded is [1,null]`},
		{"no null", `{"a": "A of 2026-01-01T00:00:00Z", "b": [1, ""], "c": {"d": 7, "id": "A"}, "e": "x"}`, `body.b[1] is "", recorded is null`},
		{"text for a number", `{"a": "A of 2026-01-01T00:00:00Z", "b": [1, null], "c": {"d": "seven", "id": "A"}, "e": "x"}`, `body.c.d is "seven", recorded is "{#n}"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got []string
			bindings{}.compare("body", decoded(recorded), decoded(tt.got), func(where, what string) { got = append(got, where+" "+what) })
			sort.Strings(got)
			if text := strings.Join(got, "; "); text != tt.want {
				t.Errorf("got %q, want %q", text, tt.want)
			}
		})
	}
	if within([]string{"a"}, []string{"a", "b"}) || within([]string{"a", "c", "b"}, []string{"a", "b"}) || within([]string{"b", "a"}, []string{"a", "b"}) || !within([]string{"a", "c"}, []string{"a", "b", "c"}) {
		t.Error("within is wrong")
	}
}
