//go:build chaos

package chaos

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/wasakari/wasakari/novasim"
)

// sent is a request that changes something, as Nova got it.
type sent struct {
	node   string
	at     time.Time
	action string // evacuate, os-stop, os-services ...
	server string // id
	host   string // of the service, or of the server when it came
	status int    // 0: it got no answer
	twice  bool   // an evacuation that was accepted while another one ran
}

// nova is the simulated cloud. Each node has a door of its own to it, so that
// what it asks for is known to be its.
type nova struct {
	*novasim.Cloud
	servers []*http.Server
	all     sync.WaitGroup

	mu    sync.Mutex
	sent  []sent
	one   map[string]*sync.Mutex // by server: evacuations are looked at one at a time
	reads int
	lost  int // answers that were dropped
}

func newNova(sc *novasim.Scenario, seed int64) (*nova, error) {
	cloud, err := novasim.New(sc, novasim.Options{Seed: seed})
	if err != nil {
		return nil, err
	}
	return &nova{Cloud: cloud, one: map[string]*sync.Mutex{}}, nil
}

// door listens for one node.
func (v *nova) door(node string) (addr string, err error) {
	ln, err := loopback()
	if err != nil {
		return "", err
	}
	handler := v.Handler()
	s := &http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		v.serve(node, handler, w, r)
	})}
	v.servers = append(v.servers, s)
	v.all.Go(func() { _ = s.Serve(ln) })
	return ln.Addr().String(), nil
}

func (v *nova) close() error {
	for _, s := range v.servers {
		_ = s.Close()
	}
	v.all.Wait()
	return v.Close()
}

// answer notes the status.
type answer struct {
	http.ResponseWriter
	status int
}

func (a *answer) WriteHeader(status int) {
	a.status = status
	a.ResponseWriter.WriteHeader(status)
}

func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

func (v *nova) serve(node string, next http.Handler, w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodGet || strings.Contains(r.URL.Path, "/auth/tokens") {
		v.mu.Lock()
		v.reads++
		v.mu.Unlock()
		next.ServeHTTP(w, r)
		return
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	if err != nil {
		return // the connection broke: Nova got no request
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	c := sent{node: node, at: time.Now()}
	c.action, c.server, c.host = v.describe(r, body)
	if c.action == "evacuate" {
		one := v.lock(c.server)
		one.Lock()
		defer one.Unlock()
		c.twice = v.evacuating(c.server)
	}
	a := &answer{ResponseWriter: w}
	defer func() {
		dropped := recover()
		v.mu.Lock()
		c.status = a.status
		if a.status == 0 && dropped == nil {
			c.status = http.StatusOK
		}
		if dropped != nil {
			v.lost++
		}
		v.sent = append(v.sent, c)
		v.mu.Unlock()
		if dropped != nil {
			panic(dropped)
		}
	}()
	next.ServeHTTP(a, r)
}

func (v *nova) lock(server string) *sync.Mutex {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.one[server] == nil {
		v.one[server] = &sync.Mutex{}
	}
	return v.one[server]
}

// evacuating reports whether an evacuation of the server runs.
func (v *nova) evacuating(server string) bool {
	for _, s := range v.Servers() {
		if s.ID == server && strings.HasPrefix(s.TaskState, "rebuild") {
			return true
		}
	}
	open := []string{"accepted", "pre-migrating", "migrating", "running", "queued", "preparing"}
	return slices.ContainsFunc(v.Migrations(), func(m novasim.MigrationState) bool {
		return m.Server == server && m.Type == "evacuation" && slices.Contains(open, m.Status)
	})
}

func (v *nova) describe(r *http.Request, body []byte) (action, server, host string) {
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	for i, part := range parts {
		if i+1 == len(parts) {
			break
		}
		switch part {
		case "os-services":
			for _, s := range v.Services() {
				if s.ID == parts[i+1] {
					return "os-services", "", s.Host
				}
			}
		case "servers":
			for _, s := range v.Servers() {
				if s.ID == parts[i+1] {
					host = s.Host
				}
			}
			var doc map[string]json.RawMessage
			_ = json.Unmarshal(body, &doc)
			for key := range doc {
				action = key
			}
			if path.Base(r.URL.Path) != "action" {
				action = path.Base(r.URL.Path)
			}
			return action, parts[i+1], host
		}
	}
	return r.Method + " " + r.URL.Path, "", ""
}

// changes are the requests so far that change something.
func (v *nova) changes() []sent {
	v.mu.Lock()
	defer v.mu.Unlock()
	return slices.Clone(v.sent)
}

// plan is what a round's cloud holds.
type plan struct {
	auto      []string // hosts that die, recovered by Nova's scheduler
	reserve   []string // hosts that die, in the segment with reserved hosts
	reserved  []string // those
	process   []string // hosts whose nova-compute fails
	plain     []string // hosts whose servers fail
	spare     []string // hosts to which servers go
	each      int      // servers of each host that dies
	plainEach int
	stubborn  bool // to stop a server takes long, and the first evacuations from each host fail
}

func names(kind string, n int) (all []string) {
	for i := range n {
		all = append(all, fmt.Sprintf("%s-%d", kind, i+1))
	}
	return all
}

func (p plan) scenario(seed int64) *novasim.Scenario {
	ms := func(lo, hi int) novasim.Span {
		return novasim.Span{Min: time.Duration(lo) * time.Millisecond, Max: time.Duration(hi) * time.Millisecond}
	}
	sc := &novasim.Scenario{
		Seed: seed,
		Latency: novasim.LatencySpec{
			Requests:   novasim.RequestLatency{Default: ms(1, 15)},
			Actions:    map[string]novasim.Span{"stop": ms(50, 300), "start": ms(50, 300)},
			Evacuation: novasim.EvacuationLatency{Schedule: ms(10, 200), Rebuild: ms(10, 200), Mapping: ms(10, 100), Spawn: ms(100, 1500), PowerOff: ms(50, 100), Move: ms(0, 200)},
		},
	}
	if p.stubborn {
		sc.Latency.Actions["stop"] = ms(700, 1500)
	}
	fault := func(m novasim.MatchSpec, do novasim.EffectSpec) {
		sc.Faults = append(sc.Faults, novasim.FaultSpec{Match: m, Do: do})
	}
	hang := novasim.Duration(4 * time.Second)
	fault(novasim.MatchSpec{Method: "POST", Path: "/servers/*/action", After: 3, Every: 23}, novasim.EffectSpec{Drop: "after"})
	fault(novasim.MatchSpec{Method: "POST", Path: "/servers/*/action", After: 9, Every: 31}, novasim.EffectSpec{Drop: "before"})
	fault(novasim.MatchSpec{Method: "POST", Path: "/servers/*/action", After: 11, Every: 41}, novasim.EffectSpec{Status: 503, RetryAfter: 1})
	fault(novasim.MatchSpec{Method: "POST", Path: "/servers/*/action", After: 17, Every: 61}, novasim.EffectSpec{Hang: &hang})
	fault(novasim.MatchSpec{Method: "PUT", After: 2, Every: 17}, novasim.EffectSpec{Drop: "after"})
	fault(novasim.MatchSpec{Method: "PUT", After: 4, Every: 29}, novasim.EffectSpec{Status: 500})
	fault(novasim.MatchSpec{Method: "GET", Every: 97}, novasim.EffectSpec{Status: 503})
	fault(novasim.MatchSpec{Action: "evacuate", After: 5, Every: 37}, novasim.EffectSpec{EvacuationError: "No valid host was found."})
	for i, h := range append(slices.Clone(p.auto), p.reserve...) { // some need another run, or another reserved host
		times := 1
		if p.stubborn {
			times = p.each
		} else if i%3 != 0 {
			continue
		}
		fault(novasim.MatchSpec{Action: "evacuate", Host: h, Times: times}, novasim.EffectSpec{EvacuationError: "No valid host was found."})
	}
	// Hosts that die have no room: a server whose target dies while it moves is a
	// person's to recover, and its host's recovery fails only after all deliveries.
	for _, h := range slices.Concat(p.auto, p.reserve) {
		sc.Hosts = append(sc.Hosts, novasim.HostSpec{Name: h, Capacity: p.each})
	}
	for _, h := range slices.Concat(p.process, p.plain, p.spare) {
		sc.Hosts = append(sc.Hosts, novasim.HostSpec{Name: h})
	}
	for _, h := range p.reserved {
		sc.Hosts = append(sc.Hosts, novasim.HostSpec{Name: h, Disabled: true, DisabledReason: "reserved"})
	}
	put := func(h string, i int) {
		s := novasim.ServerSpec{Name: fmt.Sprintf("%s-server-%d", h, i+1), Host: h, Metadata: map[string]string{"HA_Enabled": "True"}}
		if i%5 == 4 {
			s.VMState = "stopped"
		}
		sc.Servers = append(sc.Servers, s)
	}
	for _, h := range append(slices.Clone(p.auto), p.reserve...) {
		for i := range p.each {
			put(h, i)
		}
	}
	for _, h := range p.plain {
		for i := range p.plainEach {
			put(h, i%4)
			sc.Servers[len(sc.Servers)-1].Name = fmt.Sprintf("%s-server-%d", h, i+1)
		}
	}
	return sc
}

// serversOf lists the servers that were on each host at the start.
func (v *nova) serversOf() map[string][]string {
	out := map[string][]string{}
	for _, s := range v.Servers() {
		out[s.Host] = append(out[s.Host], s.ID)
	}
	return out
}
