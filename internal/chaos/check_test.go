//go:build chaos

package chaos

import (
	"context"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// check looks at a round from outside, when all is quiet.
func check(t *testing.T, c *cluster, m *monitor, h *history, home map[string][]string) {
	t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	report(t, "writes of nodes that were fenced off, and claims that clash", h.wrong)
	report(t, "notifications that were accepted and are not there, or not final", h.unfinished(m))
	report(t, "left in the store", h.left())
	report(t, "tasks of which not all that they provide is there", h.halfProvided())
	changes := c.nova.changes()
	report(t, "two nodes at once", twoNodes(changes, h, home))
	report(t, "evacuated twice at once", secondEvacuations(changes))
	report(t, "servers", serversAtEnd(c.nova, m, h, home))
	report(t, "logs", panics(c))
}

func report(t *testing.T, what string, wrong []string) {
	t.Helper()
	for i, w := range wrong {
		if i == 10 {
			t.Errorf("%s: and %d more", what, len(wrong)-i)
			return
		}
		t.Errorf("%s: %s", what, w)
	}
}

// unfinished looks in the store itself.
func (h *history) unfinished(m *monitor) (wrong []string) {
	for key, value := range h.keys {
		id, ok := strings.CutPrefix(key, "r/notification/")
		if !ok {
			continue
		}
		var n struct{ Status, Type string }
		if err := document(value, &n); err != nil || !final(n.Status) {
			wrong = append(wrong, fmt.Sprintf("%s %s is %s (%v)", n.Type, id, n.Status, err))
		}
	}
	for _, n := range m.notes {
		if n.uuid != "" && h.keys["r/notification/"+n.uuid] == nil {
			wrong = append(wrong, n.kind+" "+n.uuid+" is not there")
		}
	}
	return wrong
}

// quiet tells what is still going on.
func (h *history) quiet(ctx context.Context, m *monitor) error {
	if err := h.complete(ctx); err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if going := append(h.unfinished(m), h.left()...); len(going) > 0 {
		return fmt.Errorf("%d things are going on, such as %s", len(going), going[0])
	}
	return nil
}

var leftover = regexp.MustCompile(`^(r/queue/|r/abort/|r/lock/|r/hold/|r/vmrun/|d/work/|d/reserved/|d/run/[^/]+/(undo|open|reserved)/)`)

// left lists what must not stay when everything has ended.
func (h *history) left() (wrong []string) {
	for key, value := range h.keys {
		if leftover.MatchString(key) {
			wrong = append(wrong, fmt.Sprintf("%s: %.300s", key, value))
		}
		if strings.HasPrefix(key, "r/run/") {
			var run struct {
				Status   string
				Finished bool
			}
			if err := document(value, &run); err != nil || !run.Finished {
				wrong = append(wrong, fmt.Sprintf("%s has not ended: %s (%v)", key, run.Status, err))
			}
		}
	}
	slices.Sort(wrong)
	return wrong
}

func (h *history) halfProvided() (wrong []string) {
	for task, sets := range h.provided {
		if len(sets) > 1 {
			wrong = append(wrong, fmt.Sprintf("%s: %v", task, sets))
		}
	}
	return wrong
}

// turns assigns the changes of a host or server to the claims under which they
// were made: in their order, since a node that went on with a run must not be
// followed by what its predecessor still sends.
type turns struct {
	claims []claim
	at     int
}

func (u *turns) take(s sent) bool {
	for i := u.at; i < len(u.claims); i++ {
		if c := u.claims[i]; c.node == s.node && !c.began.After(s.at) {
			u.at = i
			return true
		}
	}
	return false
}

func twoNodes(changes []sent, h *history, home map[string][]string) (wrong []string) {
	hostOf := map[string]string{}
	for host, servers := range home {
		for _, s := range servers {
			hostOf[s] = host
		}
	}
	all := map[string]*turns{}
	of := func(lock string) *turns {
		if all[lock] == nil {
			all[lock] = &turns{claims: h.claims[lock]}
		}
		return all[lock]
	}
	slices.SortStableFunc(changes, func(a, b sent) int { return a.at.Compare(b.at) })
	for _, s := range changes {
		var locks []string
		switch {
		case s.server != "":
			locks = append(locks, "server/"+s.server, "host/"+hostOf[s.server])
		case s.action == "os-services":
			locks = append(locks, "host/"+s.host)
			locks = append(locks, h.bound[s.host]...)
		default:
			wrong = append(wrong, "not expected: "+s.action)
		}
		if !slices.ContainsFunc(locks, func(l string) bool { return of(l).take(s) }) {
			var seen []string
			for _, l := range locks {
				for _, c := range h.claims[l] {
					seen = append(seen, fmt.Sprintf("%s by %s at revision %d, not before %s", l, c.node, c.rev, c.began.Format("05.000")))
				}
			}
			wrong = append(wrong, fmt.Sprintf("%s of %s%s by node %s at %s, status %d; claims: %s", s.action, s.server, s.host, s.node, s.at.Format("05.000"), s.status, strings.Join(seen, "; ")))
		}
	}
	return wrong
}

func secondEvacuations(changes []sent) (wrong []string) {
	for _, s := range changes {
		// What got no answer may have been done all the same.
		if s.action == "evacuate" && s.twice && (s.status == 200 || s.status == 0) {
			wrong = append(wrong, fmt.Sprintf("server %s by node %s at %s (status %d)", s.server, s.node, s.at.Format("05.000"), s.status))
		}
	}
	return wrong
}

// serversAtEnd compares the servers with what the notifications say of them.
func serversAtEnd(v *nova, m *monitor, h *history, home map[string][]string) (wrong []string) {
	finished, vms := map[string]bool{}, map[string]bool{}
	for _, n := range m.notes {
		switch {
		case n.kind == "COMPUTE_HOST" && n.status == "finished":
			finished[n.host] = true
		case n.kind == "VM" && n.uuid != "":
			ok, seen := vms[n.server]
			vms[n.server] = n.status == "finished" && (ok || !seen)
		}
	}
	hostOf := map[string]string{}
	for host, servers := range home {
		for _, s := range servers {
			hostOf[s] = host
		}
	}
	for _, s := range v.Servers() {
		from := hostOf[s.ID]
		if s.Locked && strings.HasPrefix(s.LockedReason, "wasakari ") {
			wrong = append(wrong, fmt.Sprintf("%s is locked: %s", s.ID, s.LockedReason))
		}
		if finished[from] && (s.Host == from || s.Status != "ACTIVE" && s.Status != "SHUTOFF" || s.TaskState != "") {
			wrong = append(wrong, fmt.Sprintf("%s of %s, whose recovery finished, is %s (%s) on %s, fault %q\n%s", s.ID, from, s.Status, s.TaskState, s.Host, s.Fault, h.story(m, from, s.ID)))
		}
		if vms[s.ID] && s.Host == from && strings.HasPrefix(from, "plain") && s.Status != "ACTIVE" {
			wrong = append(wrong, fmt.Sprintf("%s, whose recovery finished, is %s (%s)", s.ID, s.Status, s.TaskState))
		}
	}
	return wrong
}

// stuck tells, for each notification that does not end, what is known of its
// servers.
func stuck(v *nova, m *monitor, h *history, home map[string][]string) (going []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, n := range m.notes {
		if n.uuid == "" || final(n.status) {
			continue
		}
		for _, s := range v.Servers() {
			if !slices.Contains(home[n.host], s.ID) || n.kind == "VM" && n.server != s.ID {
				continue
			}
			text := fmt.Sprintf("%s %s: server %s is %s (%s, %s) on %s, fault %q", n.kind, n.uuid, s.ID, s.Status, s.VMState, s.TaskState, s.Host, s.Fault)
			for _, r := range v.Migrations() {
				if r.Server == s.ID {
					text += fmt.Sprintf("\n  migration %s %s from %s to %s at %s", r.UUID, r.Status, r.Source, r.Destination, r.Created.Format("05.000"))
				}
			}
			for _, c := range v.changes() {
				if c.server == s.ID {
					text += fmt.Sprintf("\n  %s by %s at %s, status %d", c.action, c.node, c.at.Format("05.000"), c.status)
				}
			}
			going = append(going, text+"\n"+h.story(m, n.host, s.ID))
		}
	}
	return going
}

var crashed = regexp.MustCompile(`(?m)^(panic:|fatal error:|WARNING: DATA RACE).*$`)

func panics(c *cluster) (wrong []string) {
	var all []*process
	if c.place == nil { // etcd panics when its disk goes away
		all = append(all, c.members...)
	}
	for _, n := range c.nodes {
		all = append(all, &n.process)
	}
	for _, p := range all {
		text, err := os.ReadFile(p.log)
		if err != nil {
			wrong = append(wrong, err.Error())
		}
		if m := crashed.FindIndex(text); m != nil {
			wrong = append(wrong, fmt.Sprintf("%s: %.3000s", p.name, text[m[0]:]))
		}
	}
	return wrong
}

// counts tells what a round was made of.
func counts(c *cluster, h *history) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	claims, evacuations := 0, 0
	for _, l := range slices.Collect(maps.Values(h.claims)) {
		claims += len(l)
	}
	changes := c.nova.changes()
	for _, s := range changes {
		if s.action == "evacuate" && s.status == 200 {
			evacuations++
		}
	}
	return fmt.Sprintf("%d transactions, %d of them of runs; %d claims, %d taken over from a dead process, %d handed over, %d expired; %d changes at Nova, %d evacuations, %d answers lost",
		h.txns, h.fenced, claims, h.takeovers, h.handed, h.expired, len(changes), evacuations, c.nova.lost)
}

// story tells what is kept about a server of a host's recovery.
func (h *history) story(m *monitor, host, server string) string {
	var b strings.Builder
	if h == nil {
		return ""
	}
	for _, n := range m.notes {
		if n.uuid == "" || n.host != host || n.kind == "VM" && n.server != server {
			continue
		}
		fmt.Fprintf(&b, "  %s %s %s %s\n", n.kind, n.uuid, n.status, n.message)
		for run, notification := range h.noted {
			if notification != n.uuid {
				continue
			}
			for _, key := range slices.Sorted(maps.Keys(h.keys)) {
				value := h.keys[key]
				_, doc, _ := strings.Cut(string(value), "\n")
				switch {
				case strings.HasPrefix(key, "r/task/"+run+"/"):
					fmt.Fprintf(&b, "    %s\n", doc)
				case strings.HasPrefix(key, "d/run/"+run+"/") && strings.Contains(doc, server):
					fmt.Fprintf(&b, "    %s %s\n", key, doc)
				}
			}
		}
	}
	return b.String()
}
