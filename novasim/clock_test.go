package novasim_test

import (
	"testing"
	"time"

	"github.com/wasakari/wasakari/novasim"
)

// Where time goes on by itself it can be moved ahead: what follows from one event
// is due as long after it as ever, and what is due is done before Advance returns.
func TestAdvanceAheadOfTheSystem(t *testing.T) {
	t.Parallel()
	s := setup(t, `
token_lifetime: 24h
hosts: [{name: compute-1, fails_after: 1h, heals_after: 3h}, {name: compute-2}]
servers: [{name: web, id: 00000000-0000-4000-8000-000000000001, host: compute-1}]
latency: {evacuation: {schedule: 10m, rebuild: 10m, mapping: 10m, spawn: 10m, move: 10m}}
`, novasim.Options{})
	up := func(want string) {
		t.Helper()
		if got := s.service("compute-1").Process; got != want {
			t.Errorf("compute-1 is %s, want %s", got, want)
		}
	}
	up("up")
	s.Advance(90 * time.Minute)
	up("down")
	s.act(200, "", evacuate)
	s.Advance(45 * time.Minute)
	if host := s.Servers()[0].Host; host != "compute-1" {
		t.Errorf("the server is on %s before its evacuation can have ended", host)
	}
	s.Advance(10 * time.Minute)
	if host := s.Servers()[0].Host; host != "compute-2" {
		t.Errorf("the server is on %s, want compute-2: all phases are over", host)
	}
	up("down")
	s.Advance(time.Hour)
	up("up")
	s.Advance(24 * time.Hour)
	if got := s.do("GET", "/v2.1/servers", "").status; got != 401 {
		t.Errorf("a token that is a day old gives %d, want 401", got)
	}
}
