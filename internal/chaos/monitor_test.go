//go:build chaos

package chaos

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// note is a notification that a monitor sends.
type note struct {
	kind, host string
	server     string // VM
	process    string // PROCESS; nova-compute when it is empty
	generated  time.Time

	uuid    string // when it was answered with 202
	refused string // when it was not
	tries   int
	status  string
	message string
	before  func() // what the monitor saw
}

func (n *note) body() any {
	payload := map[string]string{}
	switch n.kind {
	case "COMPUTE_HOST":
		payload = map[string]string{"event": "STOPPED", "host_status": "NORMAL", "cluster_status": "OFFLINE"}
	case "PROCESS":
		payload = map[string]string{"event": "STOPPED", "process_name": cmp.Or(n.process, "nova-compute")}
	case "VM":
		payload = map[string]string{"event": "LIFECYCLE", "vir_domain_event": "STOPPED_FAILED", "instance_uuid": n.server}
	}
	return map[string]any{"notification": map[string]any{
		"type": n.kind, "hostname": n.host, "generated_time": n.generated.UTC().Format("2006-01-02T15:04:05.000000"), "payload": payload,
	}}
}

// monitor sends notifications to whichever node takes them, as Masakari's
// monitors do behind a load balancer.
type monitor struct {
	nodes []*node

	mu    sync.Mutex
	notes []*note
	tries int // requests
	again int // that got no answer, or 503
}

// segments makes the segments and hosts of a plan.
func (m *monitor) segments(ctx context.Context, p plan) error {
	for _, seg := range []struct {
		name, method   string
		hosts, reserve []string
	}{
		{"auto", "auto", slices.Concat(p.auto, p.process, p.plain), nil},
		{"reserved", "rh_priority", p.reserve, p.reserved},
	} {
		if len(seg.hosts) == 0 {
			continue
		}
		var made struct{ Segment struct{ UUID string } }
		status, body, err := call(ctx, "POST", m.nodes[0].url+"/v1/segments", map[string]any{"segment": map[string]any{
			"name": seg.name, "service_type": "COMPUTE", "recovery_method": seg.method,
		}}, &made)
		if err != nil || status != http.StatusCreated {
			return fmt.Errorf("segment %s: %d %s %w", seg.name, status, body, err)
		}
		for i, h := range slices.Concat(seg.hosts, seg.reserve) {
			for {
				status, body, err := call(ctx, "POST", m.nodes[i%len(m.nodes)].url+"/v1/segments/"+made.Segment.UUID+"/hosts", map[string]any{"host": map[string]any{
					"name": h, "type": "COMPUTE", "control_attributes": "SSH", "reserved": i >= len(seg.hosts),
				}}, nil)
				if status == http.StatusCreated || status == http.StatusConflict {
					break
				}
				if ctx.Err() != nil {
					return fmt.Errorf("host %s: %d %s %w", h, status, body, err)
				}
				// Nova has its faults from the start.
			}
		}
	}
	return nil
}

// draw makes the notifications of a plan, in the order in which they are sent:
// all hosts fail, and vms notifications tell of servers, those of hosts that fail
// too.
func draw(p plan, v *nova, random *rand.Rand, vms int) []*note {
	var all []*note
	servers := v.serversOf()
	for _, h := range slices.Concat(p.auto, p.reserve) {
		all = append(all, &note{kind: "COMPUTE_HOST", host: h, before: func() { _ = v.FailHost(h) }})
	}
	for _, h := range p.process {
		all = append(all, &note{kind: "PROCESS", host: h})
	}
	hosts := slices.Concat(p.plain, p.plain, p.plain, p.auto)
	for range vms {
		h := hosts[random.IntN(len(hosts))]
		if s := servers[h]; len(s) > 0 {
			all = append(all, &note{kind: "VM", host: h, server: s[random.IntN(len(s))]})
		}
	}
	random.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all
}

// send sends the notes within a time, so many at once, and returns when all are
// answered.
func (m *monitor) send(ctx context.Context, notes []*note, within time.Duration, seed uint64) {
	began := time.Now()
	next := make(chan *note)
	var all sync.WaitGroup
	for w := range 16 {
		random := rand.New(rand.NewPCG(seed, uint64(w)))
		all.Go(func() {
			for n := range next {
				m.report(ctx, n, random)
			}
		})
	}
	for i, n := range notes {
		due := began.Add(within * time.Duration(i) / time.Duration(len(notes)))
		select {
		case <-time.After(time.Until(due)):
		case <-ctx.Done():
		}
		n.generated = began.Add(time.Duration(i) * time.Second) // each later than the one before
		select {
		case next <- n:
		case <-ctx.Done():
		}
	}
	close(next)
	all.Wait()
}

// report sends a note until it is answered.
func (m *monitor) report(ctx context.Context, n *note, random *rand.Rand) {
	if n.before != nil {
		n.before()
	}
	for ctx.Err() == nil {
		n.tries++
		var doc struct {
			Notification struct {
				UUID string `json:"notification_uuid"`
			}
		}
		try, cancel := context.WithTimeout(ctx, 5*time.Second)
		status, body, err := call(try, "POST", m.nodes[random.IntN(len(m.nodes))].url+"/v1/notifications", n.body(), &doc)
		cancel()
		m.mu.Lock()
		m.tries++
		switch {
		case err == nil && status == http.StatusAccepted:
			n.uuid = doc.Notification.UUID
		case err == nil && status < 500:
			n.refused = fmt.Sprintf("%d %s", status, body)
		default:
			m.again++
		}
		if n.uuid != "" || n.refused != "" {
			m.notes = append(m.notes, n)
			m.mu.Unlock()
			return
		}
		m.mu.Unlock()
		select {
		case <-time.After(time.Duration(50+random.IntN(400)) * time.Millisecond):
		case <-ctx.Done():
		}
	}
}

// pending looks which of the accepted notifications have no final status.
func (m *monitor) pending(ctx context.Context, n *node) error {
	m.mu.Lock()
	notes := slices.Clone(m.notes)
	m.mu.Unlock()
	left := map[string]int{}
	example := ""
	for _, x := range notes {
		if x.uuid == "" || final(x.status) {
			continue
		}
		var doc struct {
			Notification struct {
				Status  string
				Message *string
			}
		}
		status, body, err := call(ctx, "GET", n.url+"/v1/notifications/"+x.uuid, nil, &doc)
		if err != nil || status != http.StatusOK {
			return fmt.Errorf("notification %s: %d %s %w", x.uuid, status, body, err)
		}
		x.status = doc.Notification.Status
		if doc.Notification.Message != nil {
			x.message = *doc.Notification.Message
		}
		if !final(x.status) {
			left[x.kind+" "+x.status]++
			example = x.uuid + " " + x.host + " " + x.server
		}
	}
	if len(left) > 0 {
		return fmt.Errorf("not final: %v, such as %s", left, example)
	}
	return nil
}

func final(status string) bool {
	return status == "finished" || status == "failed" || status == "ignored"
}

// tally counts what became of the notes.
func (m *monitor) tally() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	counts := map[string]int{}
	for _, n := range m.notes {
		if n.uuid == "" {
			code, _, _ := strings.Cut(n.refused, " ")
			counts[n.kind+" "+code]++
			continue
		}
		counts[n.kind+" "+n.status]++
	}
	text, _ := json.Marshal(counts)
	return fmt.Sprintf("%d notifications in %d requests (%d repeated): %s", len(m.notes), m.tries, m.again, text)
}
