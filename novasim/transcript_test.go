package novasim_test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// transcript is what a client asked and a real cloud answered, one subject per
// file of testdata/lab. Whatever differs from one run to the next has a stable
// name in braces: {server1}, {time}, {#migration1} for a number. The same name
// is the same value everywhere in one transcript.
type transcript struct {
	Subject string `json:"subject"`
	About   string `json:"about"`
	Steps   []step `json:"steps"`
}

// step is one thing that is done: a request, something done to the lab (Do), or
// a server that is watched until it rests (Watch).
type step struct {
	Do string `json:"do,omitempty"` // fail, kill, start, hang, continue, late HOST; settle, told, begun SERVER

	Watch  string   `json:"watch,omitempty"`  // id of a server
	States []string `json:"states,omitempty"` // each state seen, once in a row: status vm_state task_state host
	Moves  []string `json:"moves,omitempty"`  // likewise its newest migration: status dest_compute

	As      string          `json:"as,omitempty"` // admin (default), member, other: administrator in another project, nobody, stranger: a token that is none
	Service string          `json:"service,omitempty"`
	Method  string          `json:"method,omitempty"`
	Path    string          `json:"path,omitempty"`
	Version string          `json:"version,omitempty"`
	Body    json.RawMessage `json:"body,omitempty"`
	Answer  *labAnswer      `json:"answer,omitempty"`
}

type labAnswer struct {
	Status  int               `json:"status"`
	Request string            `json:"request,omitempty"` // its id; then the headers are the usual ones
	Headers map[string]string `json:"headers,omitempty"`
	Body    any               `json:"body,omitempty"`
}

// usual are the headers of nearly all answers of Nova.
func (s *step) usual(requestID string, status int) map[string]string {
	kind := "application/json"
	if status >= 400 {
		kind += "; charset=UTF-8"
	}
	return map[string]string{
		"Content-Type": kind, "Vary": "OpenStack-API-Version, X-OpenStack-Nova-API-Version",
		"OpenStack-Api-Version": "compute " + s.Version, "X-Openstack-Nova-Api-Version": s.Version,
		"X-Compute-Request-Id": requestID, "X-Openstack-Request-Id": requestID,
	}
}

func (s *step) String() string {
	switch {
	case s.Do != "":
		return s.Do
	case s.Watch != "":
		return "watch " + s.Watch
	}
	name := s.Method + " " + s.Path
	if s.Version != "" {
		name += " at " + s.Version
	}
	if s.As != "" {
		name += " as " + s.As
	}
	var body bytes.Buffer
	if s.Service == "" && json.Compact(&body, s.Body) == nil && body.Len() < 120 {
		name += " " + body.String()
	}
	return name
}

// kept are the headers that a client of Nova may want.
var kept = []string{
	"Content-Type", "Location", "OpenStack-Api-Version", "Retry-After", "Vary", "Www-Authenticate",
	"X-Compute-Request-Id", "X-Openstack-Nova-Api-Version", "X-Openstack-Request-Id", "X-Subject-Token",
}

// labClient sends a transcript's requests with plain net/http.
type labClient struct {
	t                 *testing.T
	http              *http.Client
	keystone, nova    string            // without a version in the path
	adminName         string            // an administrator
	memberName        string            // a plain member of the project lab
	passwords, tokens map[string]string // by placeholder, by As
}

// logIn fetches the tokens.
func (c *labClient) logIn() {
	c.t.Helper()
	c.tokens = map[string]string{"nobody": "", "stranger": "gAAAAAno-such-token"}
	for _, who := range []struct{ as, user, password, project string }{
		{"", c.adminName, "{password}", "lab"}, {"other", c.adminName, "{password}", "admin"}, {"member", c.memberName, "{password}", "lab"},
	} {
		r := c.send("nobody", "identity", "POST", "/v3/auth/tokens", "", passwordLogin(who.user, who.password, who.project))
		if r.status != 201 {
			c.t.Fatalf("login of %s: %d %s", who.user, r.status, r.body)
		}
		c.tokens[who.as] = r.header.Get("X-Subject-Token")
	}
}

func (c *labClient) send(as, service, method, path, version, body string) reply {
	c.t.Helper()
	base := c.nova
	if service == "identity" {
		base = c.keystone
	}
	for name, password := range c.passwords {
		body = strings.ReplaceAll(body, name, password)
	}
	req, err := http.NewRequestWithContext(context.WithoutCancel(c.t.Context()), method, base+path, strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	if token := c.tokens[as]; token != "" {
		req.Header.Set("X-Auth-Token", token)
		if service == "identity" {
			req.Header.Set("X-Subject-Token", token)
		}
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	if version != "" {
		req.Header.Set("OpenStack-API-Version", "compute "+version)
	}
	res, err := c.http.Do(req)
	if err != nil {
		c.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(res.Body, 4<<20))
	if err != nil {
		c.t.Fatal(err)
	}
	return reply{res.StatusCode, res.Header, string(text)}
}

// decoded is a body as JSON, or as text when it is none.
func decoded(body string) any {
	if body == "" {
		return nil
	}
	dec := json.NewDecoder(strings.NewReader(body))
	dec.UseNumber()
	var v any
	if !json.Valid([]byte(body)) || dec.Decode(&v) != nil {
		return body
	}
	return sorted(v)
}

// unordered are the lists whose order means nothing, with what sorts them here.
var unordered = map[string]string{"aggregates": "id", "catalog": "type", "endpoints": "interface", "roles": "name", "services": "binary"}

// sorted puts such lists into order.
func sorted(v any) any {
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			sorted(e)
		}
	case map[string]any:
		for key, e := range v {
			sorted(e)
			list, _ := e.([]any)
			if by := unordered[key]; by != "" {
				slices.SortStableFunc(list, func(a, b any) int {
					x, y := a.(map[string]any), b.(map[string]any)
					return cmp.Or(strings.Compare(fmt.Sprintf("%20v", x[by]), fmt.Sprintf("%20v", y[by])), strings.Compare(fmt.Sprint(x["host"]), fmt.Sprint(y["host"])))
				})
			}
		}
	}
	return v
}

// newest lists the entries of a list under key.
func newest(t *testing.T, body, key string) []map[string]any {
	t.Helper()
	var doc map[string]json.RawMessage
	var list []map[string]any
	if json.Unmarshal([]byte(body), &doc) != nil || json.Unmarshal(doc[key], &list) != nil {
		t.Fatalf("no %s: %s", key, body)
	}
	return list
}

// stateOf is a server as Watch writes it, and whether it rests.
func stateOf(t *testing.T, r reply) (string, bool) {
	t.Helper()
	var doc struct{ Server map[string]any }
	r.json(t, &doc)
	s := doc.Server
	task, _ := s["OS-EXT-STS:task_state"].(string)
	state := fmt.Sprintf("%v %v %s %v", s["status"], s["OS-EXT-STS:vm_state"], orDash(task), s["OS-EXT-SRV-ATTR:host"])
	return state, task == ""
}

// moveOf is a server's newest migration as Watch writes it.
func moveOf(t *testing.T, r reply) string {
	t.Helper()
	list := newest(t, r.body, "migrations")
	if len(list) == 0 {
		return ""
	}
	dest, _ := list[0]["dest_compute"].(string)
	return fmt.Sprintf("%v %s", list[0]["status"], orDash(dest))
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// noted appends a state that differs from the last one.
func noted(states []string, state string) []string {
	if state == "" || len(states) > 0 && states[len(states)-1] == state {
		return states
	}
	return append(states, state)
}

func migrationsOf(id string) string {
	return "/v2.1/os-migrations?instance_uuid=" + id + "&limit=1"
}

var placeholder = regexp.MustCompile(`\{[#a-zA-Z][a-zA-Z0-9_.-]*\}`)

// bindings are the values of the names in a transcript.
type bindings map[string]string

// fill puts the values in.
func (b bindings) fill(text string) string {
	return placeholder.ReplaceAllStringFunc(text, func(name string) string {
		if v, bound := b[name]; bound {
			return v
		}
		return name
	})
}

// shapes are names that stand for any text of a form, a different one each time.
var shapes = map[string]string{
	"{time}":       `\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ`,
	"{time.micro}": `\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}`,
	"{time.long}":  `\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z`,
	"{#count}":     `\d+`,
	"{password}":   `\S+`,
	"{token}":      `\S+`,
	"{address}":    `\d+\.\d+\.\d+\.\d+`,
	"{traceback}":  `.*`,
}

// match compares a text with the one recorded, and binds the names in it that
// are new.
func (b bindings) match(recorded, got string) bool {
	var names []string
	var re strings.Builder
	re.WriteString(`^(?s:`)
	last := 0
	for _, at := range placeholder.FindAllStringIndex(recorded, -1) {
		re.WriteString(regexp.QuoteMeta(recorded[last:at[0]]))
		last = at[1]
		name := recorded[at[0]:at[1]]
		value, bound := b[name]
		shape, anything := shapes[name]
		switch {
		case bound:
			re.WriteString(regexp.QuoteMeta(value))
		case anything:
			re.WriteString(shape)
		case strings.HasPrefix(name, "{#"):
			names = append(names, name)
			re.WriteString(`(\d+)`)
		default:
			names = append(names, name)
			re.WriteString(`(\S+?)`)
		}
	}
	re.WriteString(regexp.QuoteMeta(recorded[last:]) + `)$`)
	found := regexp.MustCompile(re.String()).FindStringSubmatch(got)
	if found == nil {
		return false
	}
	for i, name := range names {
		b[name] = found[i+1]
	}
	return true
}

// compare lists where got differs from what was recorded.
func (b bindings) compare(where string, recorded, got any, differ func(where, what string)) {
	switch recorded := recorded.(type) {
	case map[string]any:
		m, isMap := got.(map[string]any)
		if !isMap {
			differ(where, fmt.Sprintf("is %s, recorded is an object", brief(got)))
			return
		}
		for _, key := range keysOf(recorded, m) {
			at := where + "." + key
			was, wasThere := recorded[key]
			is, isThere := m[key]
			switch {
			case !isThere:
				differ(at, "is missing, recorded is "+brief(was))
			case !wasThere:
				differ(at, "is "+brief(is)+", recorded is nothing")
			default:
				b.compare(at, was, is, differ)
			}
		}
	case []any:
		list, isList := got.([]any)
		if !isList || len(list) != len(recorded) {
			differ(where, fmt.Sprintf("is %s, recorded is %s", brief(got), brief(recorded)))
			return
		}
		for i := range recorded {
			b.compare(fmt.Sprintf("%s[%d]", where, i), recorded[i], list[i], differ)
		}
	case string:
		text, isText := got.(string)
		if n, isNumber := got.(json.Number); isNumber && strings.HasPrefix(recorded, "{#") {
			text, isText = n.String(), true
		}
		if !isText || !b.match(recorded, text) {
			differ(where, fmt.Sprintf("is %s, recorded is %s", brief(got), brief(b.fill(recorded))))
		}
	default:
		if brief(recorded) != brief(got) {
			differ(where, fmt.Sprintf("is %s, recorded is %s", brief(got), brief(recorded)))
		}
	}
}

// keysOf are the keys of both, those with an id first: later texts name it.
func keysOf(a, b map[string]any) []string {
	var keys []string
	for k := range a {
		keys = append(keys, k)
	}
	for k := range b {
		if _, both := a[k]; !both {
			keys = append(keys, k)
		}
	}
	slices.SortFunc(keys, func(x, y string) int {
		if (x == "id") != (y == "id") {
			return map[bool]int{true: -1, false: 1}[x == "id"]
		}
		return strings.Compare(x, y)
	})
	return keys
}

func brief(v any) string {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(v)
	text := strings.TrimSpace(buf.String())
	if len(text) > 500 {
		text = text[:500] + "…"
	}
	return text
}

func transcripts(t *testing.T) []transcript {
	t.Helper()
	files, err := filepath.Glob("testdata/lab/*.json")
	if err != nil {
		t.Fatal(err)
	}
	var all []transcript
	for _, f := range files {
		if filepath.Base(f) == "differences.json" {
			continue
		}
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		dec := json.NewDecoder(bytes.NewReader(text))
		dec.UseNumber()
		dec.DisallowUnknownFields()
		var tr transcript
		if err := dec.Decode(&tr); err != nil {
			t.Fatalf("%s: %v", f, err)
		}
		all = append(all, tr)
	}
	return all
}
