//go:build e2e && bench

package openstack_test

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// contender is one who recovers the failed host.
type contender struct {
	Name    string `json:"name"`
	AtOnce  string `json:"at_once"` // host_failure_recovery_threads
	Locks   bool   `json:"locks"`
	agent   string // part of its name in the request logs
	recover func(*testing.T, *lab, contender) time.Duration
}

const (
	nameLimit    = "limit"
	nameOurs     = "wasakari"
	nameMasakari = "Masakari"
	limitAtOnce  = 8
)

// contenders in their order: the limit is measured again and again in between,
// so that a machine that drifts does so for all.
func contenders() []contender {
	limit := contender{Name: nameLimit, AtOnce: strconv.Itoa(limitAtOnce), agent: "bench-limit", recover: plainClient}
	ours := func(atOnce string, locks bool) contender {
		return contender{Name: nameOurs, AtOnce: atOnce, Locks: locks, agent: "wasakari", recover: runProgram}
	}
	return []contender{
		limit, ours("8", true), limit, ours("8", false), limit, ours("auto", true), ours("3", true),
		{Name: nameMasakari, AtOnce: "3", Locks: true, agent: "python-novaclient", recover: runMasakari},
	}
}

// figure is what one recovery took.
type figure struct {
	contender
	Servers  int     `json:"servers"`
	Seconds  float64 `json:"seconds"`
	Ratio    float64 `json:"ratio"`       // to the mean of the limits with as many servers
	First    float64 `json:"first"`       // seconds until the first request to Nova; 0 for Masakari, whose clock its own client starts
	UnderWay int     `json:"under_way"`   // most servers at once between their lock and unlock; 0 without locks
	Requests int     `json:"requests"`    // to Nova
	Logins   int     `json:"logins"`      // at Keystone
	Busy     float64 `json:"busy_before"` // part of the processors' time that was used in the second before
	Kinds    []kind  `json:"kinds"`
}

// kind is what there was of one kind of request.
type kind struct {
	Request string `json:"request"`
	Count   int    `json:"count"`
	MeanMS  int64  `json:"mean_ms"` // by Nova's own clock
}

type benchReport struct {
	Date    string   `json:"date"`
	Machine string   `json:"machine"`
	Program string   `json:"program"`
	Figures []figure `json:"figures"`
}

// TestBenchNova measures how long it takes to get all servers off a dead host,
// and how many requests: a plain client that does no more than it must, this
// program, and Masakari. Each recovery begins with new servers on a host that
// Nova already shows down, on a machine at rest. make bench-nova runs it.
func TestBenchNova(t *testing.T) {
	l := theLab
	doc := benchReport{Date: time.Now().UTC().Format(time.RFC3339), Machine: machine(), Program: programVersion(t, l)}
	warm(t, l)
	for _, n := range sizes(t) {
		first := len(doc.Figures)
		for i, c := range contenders() {
			name := fmt.Sprintf("%d servers/%d %s %s", n, i+1, c.Name, c.AtOnce)
			if !t.Run(name, func(t *testing.T) { doc.Figures = append(doc.Figures, measure(t, l, c, n)) }) {
				t.FailNow()
			}
		}
		rate(doc.Figures[first:])
	}
	fmt.Print(table(doc))
	if file := os.Getenv("BENCH_NOVA_JSON"); file != "" {
		text, err := json.MarshalIndent(doc, "", "  ")
		if err == nil {
			err = os.WriteFile(file, append(text, '\n'), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// sizes are the numbers of servers, 20 and 100 unless BENCH_NOVA_SERVERS lists
// others.
func sizes(t *testing.T) []int {
	t.Helper()
	var list []int
	for word := range strings.SplitSeq(cmp.Or(os.Getenv("BENCH_NOVA_SERVERS"), "20,100"), ",") {
		n, err := strconv.Atoi(strings.TrimSpace(word))
		if err != nil || n < 1 {
			t.Fatalf("BENCH_NOVA_SERVERS: %q is no number of servers", word)
		}
		list = append(list, n)
	}
	return list
}

// measure has one contender recover a host with n servers.
func measure(t *testing.T, l *lab, c contender, n int) figure {
	t.Helper()
	if c.Name == nameMasakari {
		// Ended after the host was healed, which ends Masakari's mark on it.
		t.Cleanup(func() {
			if out, err := l.script(context.WithoutCancel(t.Context()), "daemon", "stop", "masakari-engine", "masakari-api"); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
	l = scenario(t)
	if c.Name == nameMasakari {
		l.must(t, "masakari-up")
	}
	before := l.boot(t, fixture{name: "vm", count: n})
	l.fail(t, failed)
	f := figure{contender: c, Servers: n, Busy: rest(t)}
	nova, keystone := l.logSizeOf(t, "nova-api"), l.logSizeOf(t, "keystone")
	began := time.Now()
	took := c.recover(t, l, c)
	ended := time.Now()
	f.Seconds = took.Seconds()
	for id, s := range l.mustServers(t) {
		if s.Host == failed || s.VMState != "active" || s.Task != "" || s.Locked {
			t.Errorf("after it: server %s: %s, locked %v", id, s, s.Locked)
		}
	}
	if now := len(l.mustServers(t)); now != len(before) {
		t.Errorf("%d servers, want %d", now, len(before))
	}
	requests, err := l.requests(nova)
	if err != nil {
		t.Fatal(err)
	}
	logins, err := l.requestsOf("keystone", keystone)
	if err != nil {
		t.Fatal(err)
	}
	requests = slices.DeleteFunc(requests, func(r logged) bool { return r.start.After(ended) || !strings.Contains(r.agent, c.agent) })
	f.Requests, f.Kinds = len(requests), kinds(requests)
	if c.Locks {
		f.UnderWay = underWay(requests)
	}
	if len(requests) > 0 && c.Name != nameMasakari {
		f.First = requests[0].start.Sub(began).Seconds()
	}
	for _, r := range logins {
		if r.method == "POST" && r.path == "/v3/auth/tokens" && !r.start.After(ended) && c.logsIn(r.agent) {
			f.Logins++
		}
	}
	t.Log(f.details())
	return f
}

// logsIn tells a contender's logins at Keystone, by the client's name. Masakari
// has none of its own there; those of others who ask meanwhile are known.
func (c contender) logsIn(agent string) bool {
	if c.Name != nameMasakari {
		return strings.Contains(agent, c.agent)
	}
	return !slices.ContainsFunc([]string{"curl", "openstacksdk", "e2e", "nova/", "placement/", "uwsgi "}, func(s string) bool { return strings.HasPrefix(agent, s) })
}

// plainClient is Nova's limit: one login; a list of the host's servers; as many
// evacuations at a time as it may have, each of which counts until the server
// has left the list of the host, which is read each second.
func plainClient(t *testing.T, _ *lab, limit contender) time.Duration {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), runLimit)
	defer cancel()
	began, c := time.Now(), newCloud()
	c.agent = limit.agent
	list := func() map[string]server {
		var answer struct{ Servers []server }
		if err := c.nova(ctx, admin, http.MethodGet, "/servers/detail?all_tenants=1&limit=1000&host="+failed, nil, &answer); err != nil {
			t.Fatal(err)
		}
		out := map[string]server{}
		for _, s := range answer.Servers {
			out[s.ID] = s
		}
		return out
	}
	type accepted struct {
		id  string
		err error
	}
	todo := slices.Sorted(maps.Keys(list()))
	posted := make(chan accepted, len(todo))
	flying := map[string]bool{} // by id; true once Nova took the request
	look := time.NewTicker(time.Second)
	defer look.Stop()
	for len(todo)+len(flying) > 0 {
		for len(todo) > 0 && len(flying) < limitAtOnce {
			id := todo[0]
			todo, flying[id] = todo[1:], false
			go func() { posted <- accepted{id, c.act(ctx, admin, id, "evacuate", map[string]any{})} }()
		}
		select {
		case a := <-posted:
			if a.err != nil {
				t.Fatal(a.err)
			}
			flying[a.id] = true
		case <-look.C:
			here := list()
			for id, taken := range flying {
				s, still := here[id]
				switch {
				case s.VMState == "error":
					t.Fatalf("evacuation failed: %s", s)
				case taken && !still:
					delete(flying, id)
				}
			}
		case <-ctx.Done():
			t.Fatalf("%d servers not begun, %d under way: %v", len(todo), len(flying), ctx.Err())
		}
	}
	return time.Since(began)
}

// runProgram is this program, from the start of its process to its end.
func runProgram(t *testing.T, l *lab, c contender) time.Duration {
	t.Helper()
	r := l.run(t, l.newPlace(t, nil), "host-auto", "--input", "host_name="+failed,
		"--set", "DEFAULT.host_failure_recovery_threads="+c.AtOnce, "--set", fmt.Sprintf("host_failure.lock_servers=%v", c.Locks))
	if r.exit != 0 || r.Status != "finished" {
		t.Fatalf("exit %d, %s: %s", r.exit, r.Status, r.Message)
	}
	return r.took
}

// masakariTook is in what masakari-recover prints.
var masakariTook = regexp.MustCompile(`notification \S+: (\w+) after ([0-9.]+) s`)

// runMasakari is Masakari, from its answer to the notification until that is
// finished, as its API tells.
func runMasakari(t *testing.T, l *lab, _ contender) time.Duration {
	t.Helper()
	out, err := l.longScript(t.Context(), time.Hour, "masakari-recover", failed)
	if err != nil {
		t.Fatal(err)
	}
	m := masakariTook.FindStringSubmatch(out)
	if m == nil || m[1] != "finished" {
		t.Fatalf("Masakari:\n%s", out)
	}
	took, err := time.ParseDuration(m[2] + "s")
	if err != nil {
		t.Fatal(err)
	}
	return took
}

// warm has the program compile its tasks, so that no measurement does.
func warm(t *testing.T, l *lab) {
	t.Helper()
	cmd := l.command(t, "check")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("wasakari check: %v\n%s", err, out)
	}
}

func programVersion(t *testing.T, l *lab) string {
	t.Helper()
	out, err := l.command(t, "--version").CombinedOutput()
	if err != nil {
		t.Fatalf("wasakari --version: %v\n%s", err, out)
	}
	return strings.TrimSpace(string(out))
}

// command is the program with the cache that start gives it.
func (l *lab) command(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), filepath.Join(l.tools, "wasakari"), args...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "XDG_CACHE_HOME=" + filepath.Join(l.tools, "cache")}
	return cmd
}

// rest waits until the machine does little, for half a minute at most, and
// gives the part of the processors' time that was used in the last second.
func rest(t *testing.T) float64 {
	t.Helper()
	busy := 1.0
	deadline := time.Now().Add(30 * time.Second)
	used, all := processors(t)
	for range time.Tick(time.Second) {
		u, a := processors(t)
		busy = (u - used) / max(a-all, 1)
		used, all = u, a
		if busy < 0.25 || time.Now().After(deadline) {
			break
		}
	}
	return busy
}

// processors gives the time that the processors have spent, used and in all.
func processors(t *testing.T) (used, all float64) {
	t.Helper()
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		t.Fatal(err)
	}
	line, _, _ := strings.Cut(string(text), "\n")
	for i, word := range strings.Fields(line)[1:] {
		n, err := strconv.ParseFloat(word, 64)
		if err != nil {
			t.Fatalf("/proc/stat: %v", err)
		}
		all += n
		if i != 3 && i != 4 { // idle, waiting for a disk
			used += n
		}
	}
	return used, all
}

func machine() string {
	text, _ := os.ReadFile("/proc/cpuinfo")
	model := "unknown"
	for line := range strings.Lines(string(text)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			model = strings.TrimSpace(value)
			break
		}
	}
	return fmt.Sprintf("%d × %s, %s", runtime.NumCPU(), model, runtime.Version())
}

func (l *lab) logSizeOf(t *testing.T, name string) int64 {
	t.Helper()
	st, err := os.Stat(filepath.Join(l.state, "log", name+".requests"))
	if err != nil {
		t.Fatal(err)
	}
	return st.Size()
}

var ids = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f-]{27}`)

// kinds counts requests by method, path and the names in the query.
func kinds(requests []logged) []kind {
	count, total := map[string]int{}, map[string]time.Duration{}
	for _, r := range requests {
		path, query, _ := strings.Cut(r.path, "?")
		name := r.method + " " + ids.ReplaceAllString(strings.TrimPrefix(path, "/v2.1"), "ID")
		if values, err := url.ParseQuery(query); err == nil && len(values) > 0 {
			name += "?" + strings.Join(slices.Sorted(maps.Keys(values)), "&")
		}
		count[name]++
		total[name] += r.took
	}
	var list []kind
	for name, n := range count {
		list = append(list, kind{Request: name, Count: n, MeanMS: (total[name] / time.Duration(n)).Milliseconds()})
	}
	slices.SortFunc(list, func(a, b kind) int { return cmp.Or(b.Count-a.Count, strings.Compare(a.Request, b.Request)) })
	return list
}

// underWay gives how many servers at most were at once between the beginning
// of their first action and the end of their last one.
func underWay(requests []logged) int {
	type span struct{ from, to time.Time }
	spans := map[string]span{}
	for _, r := range requests {
		id := ids.FindString(r.path)
		if r.method != http.MethodPost || id == "" {
			continue
		}
		s, ok := spans[id]
		if !ok || r.start.Before(s.from) {
			s.from = r.start
		}
		if end := r.start.Add(r.took); end.After(s.to) {
			s.to = end
		}
		spans[id] = s
	}
	most := 0
	for _, s := range spans {
		n := 0
		for _, other := range spans {
			if !other.from.After(s.from) && other.to.After(s.from) {
				n++
			}
		}
		most = max(most, n)
	}
	return most
}

// rate relates the figures of one size to the mean of the limits among them.
func rate(figures []figure) {
	sum, n := 0.0, 0
	for _, f := range figures {
		if f.Name == nameLimit {
			sum, n = sum+f.Seconds, n+1
		}
	}
	if n == 0 {
		return // none was asked for
	}
	for i := range figures {
		figures[i].Ratio = figures[i].Seconds / (sum / float64(n))
	}
}

// table prints the figures for docs/performance.md, and what the requests were.
func table(doc benchReport) string {
	var b strings.Builder
	fmt.Fprintf(&b, "\n%s, %s, %s\n\n", doc.Date, doc.Machine, doc.Program)
	b.WriteString("| Servers | Who | At once | Locks | Seconds | × limit | Requests to Nova | Each server | Logins |\n")
	b.WriteString("| --- | --- | --- | --- | --- | --- | --- | --- | --- |\n")
	for _, f := range doc.Figures {
		locks := "no"
		if f.Locks {
			locks = "yes"
		}
		fmt.Fprintf(&b, "| %d | %s | %s | %s | %.1f | %.2f | %d | %.2f | %d |\n",
			f.Servers, f.Name, f.AtOnce, locks, f.Seconds, f.Ratio, f.Requests, float64(f.Requests)/float64(f.Servers), f.Logins)
	}
	for _, f := range doc.Figures {
		b.WriteString("\n" + f.details())
	}
	return b.String()
}

// details tells what the requests were.
func (f figure) details() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d servers, %s, %s at once, locks %v: %.1f s, %d requests, %d logins; up to %d servers between lock and unlock; first request to Nova after %.2f s; processors busy before: %.0f %%\n",
		f.Servers, f.Name, f.AtOnce, f.Locks, f.Seconds, f.Requests, f.Logins, f.UnderWay, f.First, 100*f.Busy)
	for _, k := range f.Kinds {
		fmt.Fprintf(&b, "%6d × %4d ms  %s\n", k.Count, k.MeanMS, k.Request)
	}
	return b.String()
}
