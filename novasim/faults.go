package novasim

import (
	"path"
	"strings"
	"time"
)

// fault is a rule with its counters.
type fault struct {
	FaultSpec
	matched, fired int
}

// plan is what the faults make of one request.
type plan struct {
	answer     *answer // instead of handling it
	dropBefore bool
	dropAfter  bool
	hang       time.Duration
	hangs      bool
	delay      time.Duration

	evacuationError  string
	evacuationTarget string
}

// faultsFor lets the rules look at a request. The first rule that gives an
// answer of its own wins; everything else adds up. Cloud.mu is held.
func (c *Cloud) faultsFor(k *call) plan {
	var p plan
	for i := range c.faults {
		f := &c.faults[i]
		if !c.matches(&f.Match, k) {
			continue
		}
		f.matched++
		m := f.Match
		switch {
		case m.Nth > 0 && f.matched != m.Nth,
			f.matched <= m.After,
			m.Every > 0 && (f.matched-m.After)%m.Every != 0,
			m.Times > 0 && f.fired >= m.Times:
			continue
		}
		f.fired++
		c.plan(&p, &f.Do, k, i)
	}
	return p
}

func (c *Cloud) plan(p *plan, do *EffectSpec, k *call, rule int) {
	if p.answer == nil && !p.dropBefore && !p.dropAfter && !p.hangs {
		switch {
		case do.Status != 0:
			text := do.Message
			if text == "" {
				text = "Simulated fault."
			}
			a := fail(do.Status, "%s", text)
			if k.service == "identity" {
				a = keystoneError(do.Status, text)
			}
			if do.RetryAfter > 0 {
				a.header("Retry-After", number(do.RetryAfter))
			}
			p.answer = &a
		case do.Drop == "before":
			p.dropBefore = true
		case do.Drop == "after":
			p.dropAfter = true
		case do.Hang != nil:
			p.hangs, p.hang = true, time.Duration(*do.Hang)
		}
	}
	if do.Delay != nil {
		p.delay += c.draw(*do.Delay, "fault", number(rule), number(k.seq))
	}
	if do.EvacuationError != "" {
		p.evacuationError = do.EvacuationError
	}
	if do.EvacuationTarget != "" {
		p.evacuationTarget = do.EvacuationTarget
	}
	for _, h := range []struct {
		name string
		do   func(*host)
	}{{do.HostDown, c.fail}, {do.HostHang, c.hang}, {do.HostUp, c.heal}} {
		if h.name != "" {
			h.do(c.hostByName[h.name])
		}
	}
}

func (c *Cloud) matches(m *MatchSpec, k *call) bool {
	if m.Service != "" && m.Service != k.service || m.Method != "" && m.Method != k.r.Method || m.Action != "" && m.Action != k.action {
		return false
	}
	if m.Path != "" {
		// Seen with and without the version in front.
		long, _ := path.Match(m.Path, k.path)
		short, _ := path.Match(m.Path, strings.TrimPrefix(strings.TrimPrefix(k.path, "/v2.1"), "/v3"))
		if !long && !short {
			return false
		}
	}
	s := c.serverByID[k.serverID]
	if m.Server != "" && (s == nil || s.id != m.Server && s.name != m.Server) {
		return false
	}
	if m.Host != "" && m.Host != c.hostOf(k, s) {
		return false
	}
	return true
}

// hostOf is the host that a request is about: its server's, its service's, or
// the one it names.
func (c *Cloud) hostOf(k *call, s *server) string {
	if s != nil {
		return s.hostName()
	}
	if len(k.segments) == 2 && k.segments[0] == "os-services" {
		for _, h := range c.hosts {
			if h.service.id == k.segments[1] || number(h.service.number) == k.segments[1] {
				return h.name
			}
		}
	}
	if h := k.r.URL.Query().Get("host"); h != "" {
		return h
	}
	var body map[string]struct {
		Host string `json:"host"`
	}
	if k.action != "" && decodeLoose(k.body, &body) {
		return body[k.action].Host
	}
	return ""
}
