//go:build e2e

package openstack_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/wasakari/wasakari/store/storetest"
)

// node is one wasakari serve on the lab.
type node struct {
	program
	name     string
	url      string // what stands before /v1
	log, out string // files
}

// atOnce is how many servers of a host the suite's configuration moves at once.
const atOnce = 8

// serve starts a node with the configuration file of the lab's Masakari, what
// the suite adds to it, and more. Nova is asked through p unless that is nil.
func (l *lab) serve(t *testing.T, w place, name string, p *proxy, more string) *node {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(l.scripts, "conf", "masakari.conf"))
	if err != nil {
		t.Fatal(err)
	}
	masakari := strings.NewReplacer("@STATE@", w.dir, "@PASSWORD@", "lab", "@REGION@", "RegionOne",
		"@WAIT@", "5", "@THREADS@", "3", "@ALL@", "True").Replace(string(text))
	own := "[telemetry]\nmetrics = false\n[engine]\nnode = " + name + "\n" + more
	if p != nil {
		own += "\n[DEFAULT]\nos_privileged_user_auth_url = " + p.keystone.URL + "\n"
	}
	n := &node{name: name, log: filepath.Join(w.dir, name+".log"), out: filepath.Join(w.dir, name+".out")}
	args := []string{"serve", "--listen", "127.0.0.1:0", "--state-dir", filepath.Join(w.dir, name)}
	for file, text := range map[string]string{name + "-masakari.conf": masakari, name + ".conf": own} {
		if err := os.WriteFile(filepath.Join(w.dir, file), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, file := range []string{name + "-masakari.conf", "e2e.conf", name + ".conf"} {
		args = append(args, "--config-file", filepath.Join(w.dir, file))
	}
	files := map[string]*os.File{}
	for _, name := range []string{n.log, n.out} {
		f, err := os.OpenFile(name, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close() //nolint:errcheck // the process has its own
		files[name] = f
	}
	t.Cleanup(func() {
		if text, err := os.ReadFile(n.log); err == nil && t.Failed() {
			t.Logf("%s:\n%s", name, quiet.ReplaceAll(text, nil))
		}
	})
	l.launch(t, w, &n.program, files[n.out], files[n.log], args...)
	answers := regexp.MustCompile(`answers at (\S+)/v1`)
	until(t, waitLimit, name+" to serve", func() (bool, string) {
		select {
		case <-n.done:
			text, _ := os.ReadFile(n.log)
			t.Fatalf("%s ended with exit %d\n%s", name, n.exit, text)
		default:
		}
		text, err := os.ReadFile(n.out)
		if m := answers.FindSubmatch(text); m != nil {
			n.url = string(m[1])
		}
		return n.url != "", fmt.Sprint(string(text), err)
	})
	return n
}

// quiet matches what a log says of the suite's own looking.
var quiet = regexp.MustCompile(`(?m)^.*api request .*"method": "GET".*\n`)

// ask sends a request to a node's API.
func (l *lab) ask(t *testing.T, n *node, who, method, path string, body, out any) error {
	t.Helper()
	token := ""
	if who != "" {
		var err error
		if token, err = l.token(t.Context(), who); err != nil {
			t.Fatal(err)
		}
	}
	_, err := l.send(t.Context(), token, method, n.url+path, body, out)
	return err
}

// mustAsk sends one as the administrator, which has to be answered well.
func (l *lab) mustAsk(t *testing.T, n *node, method, path string, body, out any) {
	t.Helper()
	if err := l.ask(t, n, admin, method, path, body, out); err != nil {
		t.Fatal(err)
	}
}

// segment makes a segment with all hosts of the lab.
func (l *lab) segment(t *testing.T, n *node) string {
	t.Helper()
	var made struct {
		Segment struct{ UUID string }
	}
	l.mustAsk(t, n, "POST", "/v1/segments", map[string]any{"segment": map[string]any{
		"name": "lab", "service_type": "COMPUTE", "recovery_method": "auto",
	}}, &made)
	for _, h := range hosts {
		l.mustAsk(t, n, "POST", "/v1/segments/"+made.Segment.UUID+"/hosts", map[string]any{"host": map[string]any{
			"name": h, "type": "COMPUTE", "control_attributes": "none", "reserved": h == reserved, "on_maintenance": false,
		}}, nil)
	}
	return made.Segment.UUID
}

// told is a notification as a monitor sends it.
type told struct {
	Type      string            `json:"type"`
	Host      string            `json:"hostname"`
	Generated string            `json:"generated_time"`
	Payload   map[string]string `json:"payload"`
}

func tell(kind, host string, payload map[string]string) told {
	return told{kind, host, time.Now().UTC().Format("2006-01-02T15:04:05.000000"), payload}
}

// died tells of a host that died.
func died(host string) told {
	return tell("COMPUTE_HOST", host, map[string]string{"event": "STOPPED", "host_status": "NORMAL", "cluster_status": "OFFLINE"})
}

// notify sends a notification and gives its UUID.
func (l *lab) notify(t *testing.T, n *node, what told) (string, error) {
	t.Helper()
	var made notification
	err := l.ask(t, n, admin, "POST", "/v1/notifications", map[string]any{"notification": what}, &made)
	return made.Notification.UUID, err
}

// refused checks the status of a notification that is not accepted.
func (l *lab) refused(t *testing.T, n *node, what told, status int, says string) {
	t.Helper()
	if _, err := l.notify(t, n, what); statusOf(err) != status || !strings.Contains(fmt.Sprint(err), says) {
		t.Errorf("%s of %s: %v, want %d with %q", what.Type, what.Host, err, status, says)
	}
}

// notification is what the API says of one.
type notification struct {
	Notification struct {
		UUID    string `json:"notification_uuid"`
		Status  string
		Message string
		Details []struct{ Name, State string } `json:"recovery_workflow_details"`
	}
}

// apiRun is what the API says of a run.
type apiRun struct {
	ID       string
	Node     string
	Delivery int
	Ended    time.Time
	Tasks    []struct {
		taskReport
		Class string
	}
	VMoves  []vmove
	Changes []struct{ Op, Target, State string }
	Undo    []json.RawMessage
}

// accepted notifies a node, which has to take it.
func (l *lab) accepted(t *testing.T, n *node, what told) string {
	t.Helper()
	uuid, err := l.notify(t, n, what)
	if err != nil {
		t.Fatal(err)
	}
	return uuid
}

// recovered waits until a notification is at its end, which has to be a good
// one, and gives what the API says of its only run.
func (l *lab) recovered(t *testing.T, n *node, uuid string) (result, apiRun) {
	t.Helper()
	var doc notification
	until(t, runLimit, "the notification to end", func() (bool, string) {
		select {
		case <-n.done:
			t.Fatalf("%s ended with exit %d", n.name, n.exit)
		default:
		}
		err := l.ask(t, n, admin, "GET", "/v1/notifications/"+uuid, nil, &doc)
		return slices.Contains([]string{"finished", "failed", "ignored"}, doc.Notification.Status), fmt.Sprint(doc.Notification, err)
	})
	var list struct{ Runs []struct{ ID string } }
	l.mustAsk(t, n, "GET", "/wasakari/v1/runs?notification="+uuid, nil, &list)
	if len(list.Runs) != 1 {
		t.Fatalf("notification %s, %s (%s), has the runs %v, want one", uuid, doc.Notification.Status, doc.Notification.Message, list.Runs)
	}
	var answer struct{ Run apiRun }
	l.mustAsk(t, n, "GET", "/wasakari/v1/runs/"+list.Runs[0].ID, nil, &answer)
	run := answer.Run
	r := result{report: report{RunID: run.ID, Status: doc.Notification.Status, Message: doc.Notification.Message, VMoves: l.vmoves(t, n, uuid, run)}}
	var states []string
	for _, k := range run.Tasks {
		r.Tasks = append(r.Tasks, k.taskReport)
		states = append(states, cmp.Or(k.Class, k.Key))
	}
	var details []string
	for i, d := range doc.Notification.Details {
		details = append(details, d.Name)
		want := "SUCCESS"
		if i < len(run.Tasks) && run.Tasks[i].Status == "interrupted" { // and executed again
			want = "FAILURE"
		}
		if d.State != want {
			t.Errorf("recovery_workflow_details: %s is %s, want %s", d.Name, d.State, want)
		}
	}
	if !slices.Equal(details, states) {
		t.Errorf("recovery_workflow_details tell of %v, the run of %v", details, states)
	}
	if r.Status != "finished" {
		t.Errorf("notification %s ended %s (%s), want finished\n%s", uuid, r.Status, r.Message, r.transcript())
	}
	if len(run.Undo) > 0 || run.Delivery != 1 {
		t.Errorf("run %s: delivery %d, left to undo %s; want delivery 1, nothing", run.ID, run.Delivery, run.Undo)
	}
	for _, c := range run.Changes {
		if c.State == "open" {
			t.Errorf("run %s ended, and its change %s of %s is open", run.ID, c.Op, c.Target)
		}
	}
	return r, run
}

// vmoves reads the vmoves of a notification at Masakari's API, which have to be
// those of its run. Only those about hosts have some.
func (l *lab) vmoves(t *testing.T, n *node, uuid string, run apiRun) []vmove {
	t.Helper()
	var doc struct{ VMoves []vmove }
	err := l.ask(t, n, admin, "GET", "/v1/notifications/"+uuid+"/vmoves", nil, &doc)
	if statusOf(err) == http.StatusBadRequest && len(run.VMoves) == 0 {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	slices.Reverse(doc.VMoves) // the latest is first there
	if !slices.Equal(doc.VMoves, run.VMoves) {
		t.Errorf("vmoves of the notification:\n%v\nof its run:\n%v", doc.VMoves, run.VMoves)
	}
	return doc.VMoves
}

// maintenance checks which hosts are on maintenance.
func (l *lab) maintenance(t *testing.T, n *node, segment string, want ...string) {
	t.Helper()
	var doc struct{ Hosts []struct{ Name string } }
	l.mustAsk(t, n, "GET", "/v1/segments/"+segment+"/hosts?on_maintenance=true", nil, &doc)
	var got []string
	for _, h := range doc.Hosts {
		got = append(got, h.Name)
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("on maintenance: %v, want %v", got, want)
	}
}

// TestService proves that the service, with the configuration file of the lab's
// Masakari, takes its place.
func TestService(t *testing.T) {
	l := scenario(t)
	before := l.boot(t,
		fixture{name: "web", count: 3, tagged: true}, fixture{name: "cold", state: "stopped"}, fixture{name: "frozen", state: "paused"},
		fixture{name: "guest", tagged: true, host: other}, fixture{name: "plain", host: other},
	)
	from := l.logSize(t)
	n := l.serve(t, l.newPlace(t, nil), "node-1", nil, "")
	segment := l.segment(t, n)

	for who, status := range map[string]int{"": http.StatusUnauthorized, member: http.StatusForbidden} {
		if err := l.ask(t, n, who, "POST", "/v1/notifications", map[string]any{"notification": died(failed)}, nil); statusOf(err) != status {
			t.Errorf("a notification of %q: %v, want %d", who, err, status)
		}
	}
	err := l.ask(t, n, admin, "POST", "/v1/segments/"+segment+"/hosts", map[string]any{"host": map[string]any{
		"name": "compute-9", "type": "COMPUTE", "control_attributes": "none",
	}}, nil)
	if statusOf(err) != http.StatusBadRequest {
		t.Errorf("a host that Nova does not have: %v, want 400", err)
	}
	l.refused(t, n, died("compute-9"), http.StatusBadRequest, "could not be found")

	crashed := tell("VM", other, map[string]string{"event": "LIFECYCLE", "vir_domain_event": "STOPPED_FAILED", "instance_uuid": before["guest"].ID})
	vm := l.accepted(t, n, crashed)
	l.refused(t, n, crashed, http.StatusConflict, "duplicate")
	r, _ := l.recovered(t, n, vm)
	restarted := want{vm: "active", host: "stays", posts: map[string]int{"stop": 1, "start": 1}}
	one := map[string]server{"guest": before["guest"]}
	l.check(t, r, from, one, map[string]want{"guest": restarted})
	l.refused(t, n, crashed, http.StatusConflict, "duplicate") // though it has ended

	process := l.accepted(t, n, tell("PROCESS", third, map[string]string{"event": "STOPPED", "process_name": "nova-compute"}))
	r, _ = l.recovered(t, n, process)
	tasks(t, r, "disable_compute_node_task", "confirm_compute_node_disabled_task")
	if s := l.service(t, third); s.Status != "disabled" || !strings.Contains(s.DisabledReason, r.RunID) {
		t.Errorf("nova-compute on %s is %s (%q), want it disabled by run %s", third, s.Status, s.DisabledReason, r.RunID)
	}
	l.maintenance(t, n, segment, third)
	l.refused(t, n, died(third), http.StatusConflict, "maintenance")

	l.fail(t, failed)
	host := l.accepted(t, n, died(failed))
	r, _ = l.recovered(t, n, host)
	l.check(t, r, from, before, join(all(before, "web-", moved("active", "active").on(other)), map[string]want{
		"cold": moved("stopped", "stopped").on(other), "frozen": stopped("paused").on(other), "guest": restarted,
	}))
	l.disabled(t, r.RunID)
	l.maintenance(t, n, segment, failed, third)
	l.refused(t, n, died(failed), http.StatusConflict, "maintenance")
}

// cameBack tells of a host that came back.
func cameBack(host string) told {
	return tell("COMPUTE_HOST", host, map[string]string{"event": "STARTED", "host_status": "NORMAL", "cluster_status": "ONLINE"})
}

// TestHostRepair: a host fails, is recovered, is started again and reported to be
// back: the service takes it into service, and servers are built on it.
func TestHostRepair(t *testing.T) {
	l := scenario(t)
	before := l.boot(t, fixture{name: "web", count: 2, tagged: true}, fixture{name: "cold", state: "stopped"})
	n := l.serve(t, l.newPlace(t, nil), "node-1", nil, "[host_repair]\nenabled = true\n")
	segment := l.segment(t, n)
	// Fenced, as a host that has failed should be.
	l.fail(t, failed)
	from := l.logSize(t)
	r, _ := l.recovered(t, n, l.accepted(t, n, died(failed)))
	l.check(t, r, from, before, join(all(before, "web-", moved("active", "active")), map[string]want{"cold": moved("stopped", "stopped")}))
	l.disabled(t, r.RunID)
	l.maintenance(t, n, segment, failed)
	l.refused(t, n, died(failed), http.StatusConflict, "maintenance")

	err := l.ask(t, n, admin, "POST", "/wasakari/v1/hosts/"+failed+"/repaired", nil, nil)
	if statusOf(err) != http.StatusConflict || !strings.Contains(err.Error(), "has not cleaned up after servers that were moved away (3)") {
		t.Errorf("taken back by hand before nova-compute is started: %v, want 409", err)
	}
	l.maintenance(t, n, segment, failed)

	// The monitor is quicker than nova-compute, and than Nova, which takes the host
	// back only when nova-compute has cleaned up after the servers that left.
	back := l.accepted(t, n, cameBack(failed))
	l.must(t, "daemon", "start", failed)
	r, run := l.recovered(t, n, back)
	tasks(t, r, "enable_compute_service_task")
	if s := l.service(t, failed); s.Status != "enabled" || s.State != "up" || s.ForcedDown || s.DisabledReason != "" {
		t.Errorf("nova-compute on %s is %+v, want it in service", failed, s)
	}
	l.maintenance(t, n, segment)
	var ops []string
	for _, c := range run.Changes {
		if c.State == "done" {
			ops = append(ops, c.Op)
		}
	}
	if want := []string{"nova.service_force_down", "nova.service_enable"}; !slices.Equal(ops, want) {
		t.Errorf("the run changed %q, want %q", ops, want)
	}
	if err := l.dropServers(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s := l.boot(t, fixture{name: "new"})["new"]; s.Host != failed {
		t.Errorf("a new server is on %s, want %s", s.Host, failed)
	}

	// What somebody else disabled is his.
	if err := l.nova(t.Context(), admin, "PUT", "/os-services/"+l.service(t, third).ID, map[string]any{"status": "disabled", "disabled_reason": "new disks"}, nil); err != nil {
		t.Fatal(err)
	}
	r, run = l.recovered(t, n, l.accepted(t, n, cameBack(third)))
	if s := l.service(t, third); s.Status != "disabled" || s.DisabledReason != "new disks" || len(run.Changes) > 0 {
		t.Errorf("nova-compute on %s is %+v (%s), want it as somebody else left it", third, s, r.Message)
	}
}

// takeOver is how a recovery went on after its node was killed, or the like.
type takeOver struct {
	victim *node
	at     time.Time
	sent   int // evacuations, until then
	result result
	run    apiRun
	// Of the next node, since then.
	claim, read, change, end time.Duration
	first                    string // change
}

// inTheMiddle tells a node of the death of a host, does what stop does to the node
// that works on it when Nova has taken the nth evacuation, and waits until the
// node that next gives has gone on to the end. The nodes' proxies are in their
// order.
func (l *lab) inTheMiddle(t *testing.T, nodes []*node, proxies []*proxy, nth int, stop func(*node), next func(victim int) (*node, *proxy)) takeOver {
	t.Helper()
	var k takeOver
	dead := make(chan int, 1)
	var once sync.Once // the next one may send as many
	for i, n := range nodes {
		proxies[i].set(&trap{match: onChange("evacuate"), nth: nth, after: func(seen) {
			once.Do(func() {
				stop(n)
				k.victim, k.at, k.sent = n, time.Now(), proxies[i].count(onChange("evacuate"))
				dead <- i
			})
		}})
	}
	uuid := l.accepted(t, nodes[0], died(failed))
	var i int
	select {
	case i = <-dead:
	case <-time.After(runLimit):
		t.Fatalf("no node sent %d evacuations within %s", nth, runLimit)
	}
	n, p := next(i)
	k.result, k.run = l.recovered(t, n, uuid)
	read, ok := p.first(k.at, func(seen) bool { return true })
	change, changed := p.first(k.at, func(s seen) bool { return s.change() != "" })
	if !ok || !changed {
		t.Fatalf("%s changed nothing: %s was stopped too late", n.name, nodes[i].name)
	}
	if k.run.Node != n.name {
		t.Errorf("the run ended on %s, want %s", k.run.Node, n.name)
	}
	k.first = change.change()
	k.claim, k.read, k.change, k.end = n.claimed(t, k.run.ID).Sub(k.at), read.at.Sub(k.at), change.at.Sub(k.at), k.run.Ended.Sub(k.at)
	t.Logf("%d servers; %s stopped with %d evacuations sent; %s claimed after %s, first read %s, first change %s (%s), end %s",
		len(k.result.VMoves), nodes[i].name, k.sent, n.name, round(k.claim), round(k.read), round(k.change), k.first, round(k.end))
	return k
}

func round(d time.Duration) time.Duration { return d.Round(10 * time.Millisecond) }

// crash kills a node as a power cut would.
func crash(n *node) {
	n.kill()
	<-n.done
}

// claimed reads in a node's log when it claimed a run.
func (n *node) claimed(t *testing.T, run string) time.Time {
	t.Helper()
	text, err := os.ReadFile(n.log)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		stamp, _, _ := strings.Cut(line, " ")
		if !strings.Contains(line, "run claimed") || !strings.Contains(line, run) {
			continue
		}
		at, err := time.Parse("2006-01-02T15:04:05.000Z0700", stamp)
		if err != nil {
			t.Fatal(err)
		}
		return at
	}
	t.Errorf("%s does not say that it claimed run %s", n.name, run)
	return time.Time{}
}

// checkTakeOver compares what became of active servers with what is wanted
// after a node was killed.
func (l *lab) checkTakeOver(t *testing.T, k takeOver, from int64, before map[string]server) {
	t.Helper()
	wants := all(before, "vm", moved("active", "active"))
	l.lockedAgain(t, atOnce, before, wants)
	l.check(t, k.result, from, before, wants)
	l.disabled(t, k.result.RunID)
	if k.sent >= len(before) {
		t.Errorf("%d of %d evacuations were sent by the first node, want fewer", k.sent, len(before))
	}
}

// manyServers is on how many servers a scenario runs.
func manyServers(t *testing.T) int {
	t.Helper()
	text := cmp.Or(os.Getenv("E2E_SERVERS"), "20")
	n, err := strconv.Atoi(text)
	if err != nil || n < 2*atOnce {
		t.Fatalf("E2E_SERVERS=%s: want a number, %d or more", text, 2*atOnce)
	}
	return n
}

// TestServiceTakeOver proves that another node goes on with a recovery when the
// one that held it dies, hangs or is stopped, and that no change is sent twice.
func TestServiceTakeOver(t *testing.T) {
	const lease = "[store]\nlease_seconds = 5\n"
	isChange := func(s seen) bool { return s.change() != "" }
	signal := func(s os.Signal) func(*node) {
		return func(n *node) {
			if err := n.cmd.Process.Signal(s); err != nil {
				t.Errorf("%s: %v", n.name, err)
			}
		}
	}
	tests := []struct {
		name string
		stop func(*node)
		wait time.Duration // nova_timeout
		// handed is set where the next node need not wait: nothing can be on its way.
		handed, wakes bool
	}{
		{name: "killed", stop: crash, wait: 30 * time.Second},
		{name: "hangs and wakes up", stop: signal(syscall.SIGSTOP), wait: 30 * time.Second, wakes: true},
		{name: "asked to stop", stop: signal(syscall.SIGTERM), wait: 300 * time.Second, handed: true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := scenario(t)
			many := manyServers(t)
			before := l.boot(t, fixture{name: "vm", count: many})
			conf := fmt.Sprintf("%sendpoints = %s\n[wasakari]\nnova_timeout = %.0f\n", lease, storetest.NewEtcd(t, 1).Endpoints()[0], tt.wait.Seconds())
			w, proxies := l.newPlace(t, nil), []*proxy{newProxy(t), newProxy(t)}
			nodes := []*node{l.serve(t, w, "node-1", proxies[0], conf), l.serve(t, w, "node-2", proxies[1], conf)}
			l.segment(t, nodes[0])
			l.liveNodes(t, nodes[1], "node-1", "node-2")
			from := l.logSize(t)
			l.fail(t, failed)
			var next *node
			var own *proxy // of the one that is stopped
			k := l.inTheMiddle(t, nodes, proxies, many*2/5, tt.stop, func(victim int) (*node, *proxy) {
				if n := proxies[1-victim].count(isChange); n > 0 {
					t.Errorf("the other node sent %d changes before", n)
				}
				next, own = nodes[1-victim], proxies[victim]
				return next, proxies[1-victim]
			})
			if (k.change < tt.wait) != tt.handed {
				t.Errorf("the first change (%s) came after %s; the limit of a request is %s, handed over %v", k.first, k.change, tt.wait, tt.handed)
			}
			switch {
			case tt.wakes:
				l.liveNodes(t, next, next.name)
				woke := time.Now()
				signal(syscall.SIGCONT)(k.victim)
				l.liveNodes(t, next, "node-1", "node-2")
				if s, any := own.first(woke, isChange); any {
					t.Errorf("%s sent a change (%s of %s) after it woke up", k.victim.name, s.change(), s.path)
				}
			case tt.handed:
				if r := k.victim.wait(t); r.exit != 0 {
					t.Errorf("%s ended with exit %d, want 0", k.victim.name, r.exit)
				}
				fallthrough
			default:
				l.liveNodes(t, next, next.name)
			}
			l.checkTakeOver(t, k, from, before)
		})
	}
}

// liveNodes waits until these are the nodes that a node knows.
func (l *lab) liveNodes(t *testing.T, n *node, want ...string) {
	t.Helper()
	until(t, waitLimit, "the live nodes to be "+strings.Join(want, " and "), func() (bool, string) {
		var doc struct{ Nodes []struct{ Name string } }
		err := l.ask(t, n, admin, "GET", "/wasakari/v1/nodes", nil, &doc)
		var got []string
		for _, k := range doc.Nodes {
			got = append(got, k.Name)
		}
		slices.Sort(got)
		return slices.Equal(got, want), fmt.Sprint(got, err)
	})
}

// TestServiceStore proves that a node with a store of its own goes on at once
// when it was killed and is started again: that the store's folder is free is
// proof that nobody else is at work.
func TestServiceStore(t *testing.T) {
	l := scenario(t)
	const many = 20
	before := l.boot(t, fixture{name: "vm", count: many})
	// As long as a node of a cluster would wait with its first change.
	const wait, conf = 300 * time.Second, "[wasakari]\nnova_timeout = 300\n"
	w, p := l.newPlace(t, nil), newProxy(t)
	n := l.serve(t, w, "node-1", p, conf)
	l.segment(t, n)
	from := l.logSize(t)
	l.fail(t, failed)
	var ready time.Time
	k := l.inTheMiddle(t, []*node{n}, []*proxy{p}, many*2/5, crash, func(int) (*node, *proxy) {
		again := l.serve(t, w, "node-1", p, conf)
		ready = time.Now()
		return again, p
	})
	t.Logf("the node served again %s after the kill", round(ready.Sub(k.at)))
	if k.change >= wait {
		t.Errorf("the first change came %s after the kill, want it less than %s: nobody else can be at work", k.change, wait)
	}
	l.checkTakeOver(t, k, from, before)
}
