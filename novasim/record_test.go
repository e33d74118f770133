//go:build lab

package novasim_test

import (
	"bytes"
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
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

const (
	labScripts = "../test/openstack/lab"
	// somebody is a server that does not exist.
	somebody = "00000000-0000-4000-8000-0000000000ff"
)

// TestRecord writes testdata/lab from the lab that is running on this machine:
// all subjects, or those that -run names. It leaves the lab without servers and
// with all hosts up.
func TestRecord(t *testing.T) {
	for _, s := range subjects {
		t.Run(s.name, func(t *testing.T) {
			r := newRecorder(t)
			r.clean()
			t.Cleanup(r.clean)
			r.tr = transcript{Subject: s.name, About: s.about}
			s.script(r)
			r.save()
		})
	}
}

// recorder is one subject being recorded.
type recorder struct {
	labClient
	tr    transcript
	names map[string]string // by value
	known bindings          // by name
	count map[string]int
	boots int
}

func newRecorder(t *testing.T) *recorder {
	password := os.Getenv("OPENSTACK_LAB_PASSWORD")
	if password == "" {
		password = "lab"
	}
	r := &recorder{
		labClient: labClient{
			t: t, http: &http.Client{Timeout: time.Minute, Transport: &http.Transport{DisableKeepAlives: true}},
			keystone: "http://127.0.0.1:5000", nova: "http://127.0.0.1:8774", adminName: "admin", memberName: "lab",
			passwords: map[string]string{"{password}": password},
		},
		names: map[string]string{}, known: bindings{}, count: map[string]int{},
	}
	r.logIn()
	r.known["{since}"] = time.Now().UTC().Truncate(time.Second).Format(time.RFC3339)
	r.call(r.keystone, "{keystone}")
	r.call(r.nova, "{nova}")
	return r
}

// call names a value.
func (r *recorder) call(value, name string) {
	r.names[value], r.known[name] = name, value
}

// named is the name of a value, a new one if it has none.
func (r *recorder) named(value, kind string) string {
	if r.names[value] == "" {
		r.count[kind]++
		if strings.Contains(kind, ".") { // it says all
			r.call(value, "{"+kind+"}")
		} else {
			r.call(value, fmt.Sprintf("{%s%d}", kind, r.count[kind]))
		}
	}
	return r.names[value]
}

// lab runs a line of shell with the helpers of the lab's scripts.
func (r *recorder) lab(line string, args ...string) {
	r.t.Helper()
	cmd := exec.CommandContext(r.t.Context(), "bash", append([]string{"-c", ". " + labScripts + "/lib.sh; " + line, labScripts + "/x"}, args...)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		r.t.Fatalf("%s %v: %v: %s", line, args, err, out)
	}
}

// clean brings the lab back to where every subject begins.
func (r *recorder) clean() {
	for _, h := range []string{"compute-1", "compute-2", "compute-3", "compute-4"} {
		// One that was killed just now still looks up.
		script(r.t, "bash", "-c", `. `+labScripts+`/lib.sh; if alive "$1"; then kill -CONT -- "-$(pid_of "$1")"; else "$LAB/heal" "$1"; fi`, labScripts+"/x", h)
	}
	script(r.t, labScripts+"/servers", "--delete")
	for _, s := range r.services() {
		if s["state"] != "up" || s["forced_down"] == true || (s["status"] == "disabled") != (s["host"] == "compute-4") {
			script(r.t, labScripts+"/heal", s["host"].(string))
		}
		if s["host"] == "compute-4" {
			r.send("", "compute", "PUT", "/v2.1/os-services/"+s["id"].(string), "2.90", `{"status": "disabled", "disabled_reason": "reserved host"}`)
		}
	}
	for _, a := range newest(r.t, r.send("", "compute", "GET", "/v2.1/os-aggregates", "2.90", "").body, "aggregates") {
		at := fmt.Sprintf("/v2.1/os-aggregates/%v", a["id"])
		for _, h := range a["hosts"].([]any) {
			r.send("", "compute", "POST", at+"/action", "2.90", fmt.Sprintf(`{"remove_host": {"host": %q}}`, h))
		}
		r.send("", "compute", "DELETE", at, "2.90", "")
	}
}

// script has no context of the test: it also cleans up after it.
func script(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := exec.CommandContext(context.WithoutCancel(t.Context()), name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %v: %v: %s", name, args, err, out)
	}
}

func (r *recorder) services() []map[string]any {
	return newest(r.t, r.send("", "compute", "GET", "/v2.1/os-services?binary=nova-compute", "2.90", "").body, "services")
}

// until polls for at most a minute and a half.
func (r *recorder) until(what string, done func() bool) {
	r.t.Helper()
	for end := time.Now().Add(90 * time.Second); !done(); {
		if time.Now().After(end) {
			r.t.Fatalf("gave up waiting until %s", what)
		}
		time.Sleep(200 * time.Millisecond)
	}
}

// do does something to the lab.
func (r *recorder) do(what, host string) {
	r.t.Helper()
	switch what {
	case "fail":
		script(r.t, labScripts+"/fail", host)
	case "kill":
		r.lab(`stop "$1" KILL`, host)
	case "heal":
		script(r.t, labScripts+"/heal", host)
	case "start":
		r.lab(`start_compute "$1"`, host)
		before := r.stamp(host)
		r.until(host+" has started", func() bool { return r.stamp(host) != before })
	case "hang":
		r.lab(`kill -STOP -- "-$(pid_of "$1")"`, host)
	case "continue":
		r.lab(`kill -CONT -- "-$(pid_of "$1")"`, host)
	case "late":
		r.until(host+" looks down", func() bool { return r.service(host)["state"] == "down" })
	default:
		r.t.Fatal(what)
	}
	r.tr.Steps = append(r.tr.Steps, step{Do: what + " " + host})
}

func (r *recorder) service(host string) map[string]any {
	for _, s := range r.services() {
		if s["host"] == host {
			return s
		}
	}
	r.t.Fatal("no service on " + host)
	return nil
}

func (r *recorder) stamp(host string) any { return r.service(host)["updated_at"] }

// ask sends a request and keeps it with its answer.
func (r *recorder) ask(as, version, method, path, body string) reply {
	r.t.Helper()
	return r.keep(step{As: as, Method: method, Path: "/v2.1" + path, Version: version}, body)
}

func (r *recorder) keep(s step, body string) reply {
	r.t.Helper()
	a := r.send(s.As, s.Service, s.Method, r.known.fill(s.Path), s.Version, r.known.fill(body))
	if body != "" {
		s.Body = json.RawMessage(body)
		if !json.Valid(s.Body) {
			s.Body, _ = json.Marshal(body) // sent as it stands in the string
		}
	}
	s.Answer = &labAnswer{Status: a.status, Headers: map[string]string{}, Body: r.normal(decoded(a.body), nil)}
	for _, name := range kept {
		values := a.header.Values(name)
		slices.Sort(values)
		for i, v := range values {
			if name == "X-Subject-Token" {
				v = "{token}"
			}
			values[i] = r.text(v, "uuid")
		}
		if len(values) > 0 {
			s.Answer.Headers[name] = strings.Join(values, ", ")
		}
	}
	if id := s.Answer.Headers["X-Openstack-Request-Id"]; maps.Equal(s.Answer.Headers, s.usual(id, a.status)) {
		s.Answer.Request, s.Answer.Headers = id, nil
	}
	r.tr.Steps = append(r.tr.Steps, s)
	return a
}

func (r *recorder) get(path string) { r.ask("", "2.90", "GET", path, "") }

// act sends a server action.
func (r *recorder) act(server, body string) {
	r.ask("", "2.90", "POST", "/servers/"+server+"/action", body)
}

func (r *recorder) state(server string) { r.get("/servers/" + server) }

// boot boots a server and gives its name in the transcript.
func (r *recorder) boot(host, metadata string) string {
	r.t.Helper()
	if r.known["{image}"] == "" {
		out, err := exec.CommandContext(r.t.Context(), "bash", "-c",
			". "+labScripts+`/lib.sh; TOKEN=$(token admin lab); api GET "$GLANCE/v2/images?name=tiny" | jq -r .images[0].id`, labScripts+"/x").Output()
		if err != nil {
			r.t.Fatal(err)
		}
		r.call(strings.TrimSpace(string(out)), "{image}")
	}
	r.boots++
	if metadata == "" {
		metadata = "{}"
	}
	a := r.ask("", "2.90", "POST", "/servers", fmt.Sprintf(
		`{"server": {"name": "web-%d", "flavorRef": "1", "imageRef": "{image}", "networks": "none", "host": %q, "metadata": %s}}`, r.boots, host, metadata))
	if a.status != 202 {
		r.t.Fatalf("boot: %d %s", a.status, a.body)
	}
	name := fmt.Sprintf("{server%d}", r.boots)
	r.settle(name)
	return name
}

// settle waits until a server rests.
func (r *recorder) settle(server string) {
	r.t.Helper()
	r.until(server+" rests", func() bool {
		a := r.send("", "compute", "GET", "/v2.1/servers/"+r.known[server], "2.90", "")
		if a.status == 404 {
			return true
		}
		s, rests := stateOf(r.t, a)
		return rests && !strings.HasPrefix(s, "BUILD") && !strings.HasPrefix(s, "DELETED")
	})
	r.tr.Steps = append(r.tr.Steps, step{Do: "settle " + server})
}

// watch polls servers as fast as it can, until each rests for a while.
func (r *recorder) watch(servers ...string) {
	r.t.Helper()
	steps := make([]step, len(servers))
	var wg sync.WaitGroup
	for i, server := range servers {
		wg.Go(func() {
			st := &steps[i]
			st.Watch = server
			var rested time.Time
			for end := time.Now().Add(time.Minute); time.Now().Before(end); {
				state, rests := stateOf(r.t, r.send("", "compute", "GET", "/v2.1/servers/"+r.known[server], "2.90", ""))
				if len(noted(st.States, state)) != len(st.States) {
					rested = time.Time{}
				}
				st.States = noted(st.States, state)
				move := moveOf(r.t, r.send("", "compute", "GET", migrationsOf(r.known[server]), "2.90", ""))
				st.Moves = noted(st.Moves, move)
				switch {
				case !rests && !strings.Contains(state, " error "):
					rested = time.Time{}
				case rested.IsZero():
					rested = time.Now()
				case time.Since(rested) > 5*time.Second:
					return
				}
			}
		})
	}
	wg.Wait()
	r.tr.Steps = append(r.tr.Steps, steps...)
}

// told waits until the conductor has told a target to evacuate a server.
func (r *recorder) told(server string) {
	r.t.Helper()
	actions := "/v2.1/servers/" + r.known[server] + "/os-instance-actions"
	id := fmt.Sprint(newest(r.t, r.send("", "compute", "GET", actions, "2.90", "").body, "instanceActions")[0]["request_id"])
	r.until("the target is told", func() bool {
		return strings.Contains(r.send("", "compute", "GET", actions+"/"+id, "2.90", "").body, `"result": "Success"`)
	})
	r.tr.Steps = append(r.tr.Steps, step{Do: "told " + server})
}

// begun waits until the target of an evacuation has begun.
func (r *recorder) begun(server string) {
	r.t.Helper()
	for {
		move := moveOf(r.t, r.send("", "compute", "GET", migrationsOf(r.known[server]), "2.90", ""))
		if !strings.HasPrefix(move, "accepted") {
			break
		}
	}
	r.tr.Steps = append(r.tr.Steps, step{Do: "begun " + server})
}

func (r *recorder) save() {
	text := r.tr.text(r.t)
	for _, secret := range []string{r.tokens[""], r.tokens["member"], r.tokens["other"]} {
		if bytes.Contains(text, []byte(secret)) {
			r.t.Fatal("a token in the transcript")
		}
	}
	if err := os.WriteFile(filepath.Join("testdata/lab", r.tr.Subject+".json"), text, 0o644); err != nil {
		r.t.Fatal(err)
	}
}

// text is the transcript as JSON, short things on one line.
func (tr *transcript) text(t *testing.T) []byte {
	t.Helper()
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", " ")
	if err := enc.Encode(tr); err != nil {
		t.Fatal(err)
	}
	text := buf.Bytes()
	for range 3 { // from the inside outwards
		text = flat.ReplaceAllFunc(text, func(b []byte) []byte {
			line := lines.ReplaceAll(b, []byte(" "))
			if len(line) > 240 {
				return b
			}
			return line
		})
	}
	return text
}

var (
	// flat finds objects and lists, with at most one level of short ones in them.
	flat  = regexp.MustCompile(`[\[{]\n(?:[^\[\]{}"]|"(?:[^"\\]|\\.)*"|\{[^\[\]{}\n]*\}|\[[^\[\]{}\n]*\])*[\]}]`)
	lines = regexp.MustCompile(`\s*\n\s*`)
)

var (
	someUUID      = regexp.MustCompile(`(req-)?[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)
	someHex       = regexp.MustCompile(`\b(?:[0-9a-f]{56}|[0-9a-f]{32})\b`)
	someAggregate = regexp.MustCompile(`\b[Aa]ggregate \d+\b`)
	reservation   = regexp.MustCompile(`\br-[0-9a-z]{8}\b`)
	instance      = regexp.MustCompile(`\binstance-[0-9a-f]{8}\b`)
	times         = []struct{ name, form string }{{"{time.long}", shapes["{time.long}"]}, {"{time}", shapes["{time}"]}, {"{time.micro}", shapes["{time.micro}"]}}
)

// text puts names for what differs from run to run.
func (r *recorder) text(s, kind string) string {
	for _, tm := range times {
		s = regexp.MustCompile(tm.form).ReplaceAllString(s, tm.name)
	}
	s = strings.ReplaceAll(s, url.QueryEscape(r.known["{since}"]), "{since.escaped}")
	s = strings.ReplaceAll(strings.ReplaceAll(s, r.keystone, "{keystone}"), r.nova, "{nova}")
	s = someUUID.ReplaceAllStringFunc(s, func(id string) string {
		switch {
		case strings.HasPrefix(id, "req-"):
			return r.named(id, "request")
		case strings.HasPrefix(id, "00000000-"):
			return id
		}
		return r.named(id, kind)
	})
	s = someAggregate.ReplaceAllStringFunc(s, func(text string) string {
		word, id, _ := strings.Cut(text, " ")
		if name := r.names["aggregate "+id]; name != "" {
			return word + " " + name
		}
		return text
	})
	s = someHex.ReplaceAllStringFunc(s, func(id string) string { return r.named(id, kind) })
	s = reservation.ReplaceAllStringFunc(s, func(id string) string { return r.named(id, "reservation") })
	return instance.ReplaceAllStringFunc(s, func(id string) string { return r.named(id, "instance") })
}

// normal is a value with names for what differs from run to run. keys lead to it.
func (r *recorder) normal(v any, keys []string, siblings ...map[string]any) any {
	last := func(n int) string {
		if len(keys) < n {
			return ""
		}
		return keys[len(keys)-n]
	}
	var around map[string]any
	if len(siblings) > 0 {
		around = siblings[0]
	}
	switch v := v.(type) {
	case map[string]any:
		m := map[string]any{}
		var order []string
		for k := range v {
			order = append(order, k)
		}
		slices.Sort(order)
		for _, k := range order {
			m[k] = r.normal(v[k], append(slices.Clip(keys), k), v)
		}
		return m
	case []any:
		list := []any{}
		for _, e := range v {
			if last(1) == "catalog" {
				if kind := e.(map[string]any)["type"]; kind != "identity" && kind != "compute" {
					continue
				}
			}
			list = append(list, r.normal(e, keys, around))
		}
		return list
	case json.Number:
		switch {
		case last(1) == "id" && last(2) == "migrations":
			return r.named("migration "+v.String(), "#migration")
		case last(1) == "id" && (last(2) == "services" || last(2) == "service"):
			return r.named("service "+v.String(), fmt.Sprintf("#service.%v", around["host"]))
		case last(1) == "id" && (last(2) == "aggregate" || last(2) == "aggregates"):
			name := r.named("aggregate "+v.String(), "#aggregate")
			r.known[name] = v.String()
			return name
		}
		return v
	case string:
		kind := "uuid"
		switch last(1) {
		case "adminPass":
			return "{password}"
		case "details", "traceback":
			return "{traceback}"
		case "audit_ids":
			return r.named(v, "audit")
		case "host_ip", "dest_host":
			return "{address}"
		case "host", "hypervisor_hostname":
			if !strings.HasPrefix(v, "compute-") && slices.Contains([]string{"services", "service", "events"}, last(2)) {
				r.call(v, "{controller}")
				return "{controller}"
			}
			return v
		case "id":
			switch last(2) {
			case "servers", "server":
				kind = "server"
			case "services", "service":
				kind = fmt.Sprintf("service.%v", around["host"])
				if strings.Contains(fmt.Sprint(around["binary"]), "nova-") && around["binary"] != "nova-compute" {
					kind = fmt.Sprintf("service.%v", around["binary"])
				}
			case "hypervisors", "hypervisor":
				kind = fmt.Sprintf("hypervisor.%v", around["hypervisor_hostname"])
			case "roles", "project", "user":
				kind = fmt.Sprintf("%s.%v", last(2), around["name"])
			case "image":
				kind = "image"
			default:
				kind = last(2)
			}
		case "uuid":
			kind = "uuid_of_" + strings.TrimSuffix(last(2), "s")
		case "instance_uuid":
			kind = "server"
		case "tenant_id", "project_id":
			kind = "project"
		case "user_id":
			kind = "user"
		case "hostId":
			kind = "hostid"
		}
		return r.text(v, kind)
	}
	return v
}
