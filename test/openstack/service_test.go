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

// recovered waits until a notification is at its end, and gives what the API
// says of its only run.
func (l *lab) recovered(t *testing.T, n *node, uuid, status string) (result, apiRun) {
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
		if status == "finished" && d.State != want {
			t.Errorf("recovery_workflow_details: %s is %s, want %s", d.Name, d.State, want)
		}
	}
	if !slices.Equal(details, states) {
		t.Errorf("recovery_workflow_details tell of %v, the run of %v", details, states)
	}
	if r.Status != status {
		t.Errorf("notification %s ended %s (%s), want %s\n%s", uuid, r.Status, r.Message, status, r.transcript())
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
	r, _ := l.recovered(t, n, vm, "finished")
	restarted := want{vm: "active", host: "stays", posts: map[string]int{"stop": 1, "start": 1}}
	one := map[string]server{"guest": before["guest"]}
	l.check(t, r, from, one, map[string]want{"guest": restarted})
	l.refused(t, n, crashed, http.StatusConflict, "duplicate") // though it has ended

	process := l.accepted(t, n, tell("PROCESS", third, map[string]string{"event": "STOPPED", "process_name": "nova-compute"}))
	r, _ = l.recovered(t, n, process, "finished")
	tasks(t, r, "disable_compute_node_task", "confirm_compute_node_disabled_task")
	if s := l.service(t, third); s.Status != "disabled" || !strings.Contains(s.DisabledReason, r.RunID) {
		t.Errorf("nova-compute on %s is %s (%q), want it disabled by run %s", third, s.Status, s.DisabledReason, r.RunID)
	}
	l.maintenance(t, n, segment, third)
	l.refused(t, n, died(third), http.StatusConflict, "maintenance")

	l.fail(t, failed)
	host := l.accepted(t, n, died(failed))
	r, _ = l.recovered(t, n, host, "finished")
	l.check(t, r, from, before, join(all(before, "web-", moved("active", "active").on(other)), map[string]want{
		"cold": moved("stopped", "stopped").on(other), "frozen": stopped("paused").on(other), "guest": restarted,
	}))
	l.disabled(t, r.RunID)
	l.maintenance(t, n, segment, failed, third)
	l.refused(t, n, died(failed), http.StatusConflict, "maintenance")
}

// takeOver is how a recovery went on after its node was killed.
type takeOver struct {
	killed         time.Time
	result         result
	run            apiRun
	claimed        time.Duration // all since the kill
	read, change   time.Duration
	end            time.Duration
	done           int // evacuations that Nova had taken at the kill
	firstRequest   seen
	firstOfChanges seen
}

// killInTheMiddle notifies a node of the death of a host, kills the node that
// works on it when Nova has taken the nth evacuation, and lets next go on. A node's
// proxy is that in its place.
func (l *lab) killInTheMiddle(t *testing.T, nodes []*node, proxies []*proxy, nth int, next func(killed int) (*node, *proxy)) takeOver {
	t.Helper()
	var k takeOver
	dead := make(chan int, 1)
	var once sync.Once // the next one may send as many
	for i, n := range nodes {
		proxies[i].set(&trap{match: onChange("evacuate"), nth: nth, after: func(seen) {
			once.Do(func() {
				n.kill()
				<-n.done
				k.killed = time.Now()
				k.done = proxies[i].count(onChange("evacuate"))
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
	k.result, k.run = l.recovered(t, n, uuid, "finished")
	change := func(s seen) bool { return s.change() != "" }
	var ok bool
	if k.firstRequest, ok = p.first(k.killed, func(seen) bool { return true }); !ok {
		t.Fatal("the other node asked Nova nothing")
	}
	if k.firstOfChanges, ok = p.first(k.killed, change); !ok {
		t.Fatal("the other node changed nothing: the kill came too late")
	}
	k.read, k.change, k.end = k.firstRequest.at.Sub(k.killed), k.firstOfChanges.at.Sub(k.killed), k.run.Ended.Sub(k.killed)
	if k.claimed = n.claimed(t, k.run.ID).Sub(k.killed); k.run.Node != n.name {
		t.Errorf("the run ended on %s, want %s", k.run.Node, n.name)
	}
	t.Logf("%d servers; %s killed with %d evacuations sent; claimed after %s, first read %s, first change %s (%s), end %s",
		len(k.result.VMoves), nodes[i].name, k.done, round(k.claimed), round(k.read), round(k.change), k.firstOfChanges.change(), round(k.end))
	return k
}

func round(d time.Duration) time.Duration { return d.Round(10 * time.Millisecond) }

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
	if k.done >= len(before) {
		t.Errorf("%d of %d evacuations were sent before the kill, want fewer", k.done, len(before))
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
// one that held it dies, and changes nothing while a request of the dead one
// could be on its way.
func TestServiceTakeOver(t *testing.T) {
	l := scenario(t)
	many := manyServers(t)
	before := l.boot(t, fixture{name: "vm", count: many})
	etcd := storetest.NewEtcd(t, 1)
	const wait = 30 * time.Second // nova_timeout, as it is by default
	conf := "[store]\nlease_seconds = 5\nendpoints = " + strings.Join(etcd.Endpoints(), ",") + "\n"
	w := l.newPlace(t, nil)
	proxies := []*proxy{newProxy(t), newProxy(t)}
	nodes := []*node{l.serve(t, w, "node-1", proxies[0], conf), l.serve(t, w, "node-2", proxies[1], conf)}
	l.segment(t, nodes[0])
	l.liveNodes(t, nodes[1], "node-1", "node-2")
	from := l.logSize(t)
	l.fail(t, failed)
	k := l.killInTheMiddle(t, nodes, proxies, many*2/5, func(killed int) (*node, *proxy) {
		if n := proxies[1-killed].count(func(s seen) bool { return s.change() != "" }); n > 0 {
			t.Errorf("the other node sent %d changes before the kill", n)
		}
		return nodes[1-killed], proxies[1-killed]
	})
	if k.change < wait {
		t.Errorf("the first change (%s) came %s after the kill, want %s at least", k.firstOfChanges.change(), k.change, wait)
	}
	l.checkTakeOver(t, k, from, before)
	for _, n := range nodes {
		if n.name == k.run.Node {
			l.liveNodes(t, n, n.name)
		}
	}
}

// liveNodes checks which nodes a node knows.
func (l *lab) liveNodes(t *testing.T, n *node, want ...string) {
	t.Helper()
	var doc struct{ Nodes []struct{ Name string } }
	l.mustAsk(t, n, "GET", "/wasakari/v1/nodes", nil, &doc)
	var got []string
	for _, k := range doc.Nodes {
		got = append(got, k.Name)
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("nodes %v, want %v", got, want)
	}
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
	k := l.killInTheMiddle(t, []*node{n}, []*proxy{p}, many*2/5, func(int) (*node, *proxy) {
		again := l.serve(t, w, "node-1", p, conf)
		ready = time.Now()
		return again, p
	})
	t.Logf("the node served again %s after the kill", round(ready.Sub(k.killed)))
	if k.change >= wait {
		t.Errorf("the first change came %s after the kill, want it less than %s: nobody else can be at work", k.change, wait)
	}
	l.checkTakeOver(t, k, from, before)
}
