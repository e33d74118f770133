package novasim

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"
)

// The two ways in which Nova writes times.
const (
	timeZ     = "2006-01-02T15:04:05Z"
	timeMicro = "2006-01-02T15:04:05.000000"
)

// null is a string that is null in JSON when it is empty, and absent when it
// was never set.
type null struct {
	s   string
	set bool
}

func orNull(s string) null { return null{s, true} }

// since answers a field that came with a microversion.
func (k *call) since(version int, s string) null {
	if k.version < version {
		return null{}
	}
	return null{s, true}
}

func (n null) IsZero() bool { return !n.set }

func (n null) MarshalJSON() ([]byte, error) {
	if n.s == "" {
		return []byte("null"), nil
	}
	for _, b := range []byte(n.s) {
		if b < ' ' || b > '~' || b == '"' || b == '\\' {
			return json.Marshal(n.s)
		}
	}
	// Plain text, as nearly always: a list of 1000 servers has 10 000 of them.
	return append(append(append(make([]byte, 0, len(n.s)+2), '"'), n.s...), '"'), nil
}

func orNullTime(t time.Time, layout string) null {
	if t.IsZero() {
		return orNull("")
	}
	return orNull(t.UTC().Format(layout))
}

// nova answers a request to Nova.
func (k *call) nova() answer {
	switch strings.TrimSuffix(k.path, "/") {
	case "":
		return ok(map[string]any{"versions": []any{k.novaVersion()}})
	case "/v2.1":
		if k.r.Method == "GET" || k.r.Method == "HEAD" {
			return ok(map[string]any{"version": k.novaVersion()})
		}
		return noRoute
	}
	if !strings.HasPrefix(k.path, "/v2.1/") {
		return noRoute
	}
	k.token = k.c.valid(k.r.Header.Get("X-Auth-Token"))
	if k.token == nil {
		return k.unauthorized()
	}
	if a, good := k.chooseVersion(); !good {
		return a
	}
	if k.token.project == nil && !k.token.system {
		return k.unauthorized()
	}
	seg := k.segments
	if len(seg) == 0 {
		return noRoute
	}
	handler, found := map[string]func([]string) answer{
		"servers":              k.routeServers,
		"os-services":          k.routeServices,
		"os-aggregates":        k.routeAggregates,
		"os-hypervisors":       k.routeHypervisors,
		"os-migrations":        k.routeMigrations,
		"os-availability-zone": k.routeZones,
		"flavors":              k.routeFlavors,
		"limits":               k.routeLimits,
	}[seg[0]]
	if !found {
		return noRoute
	}
	return handler(seg[1:])
}

func (k *call) novaVersion() map[string]any {
	return map[string]any{
		"id": "v2.1", "status": "CURRENT", "version": "2." + number(k.c.maxVersion), "min_version": "2." + number(k.c.minVersion),
		"updated":     "2013-07-23T11:33:21Z",
		"links":       []any{map[string]any{"rel": "self", "href": k.base + "/v2.1/"}},
		"media-types": []any{map[string]any{"base": "application/json", "type": "application/vnd.openstack.compute+json;version=2.1"}},
	}
}

func badMethod() answer { return fail(405, "The method is not allowed for this resource.") }

// may refuses a caller who is no administrator, in Nova's words.
func (k *call) may(policy string) (answer, bool) {
	if k.token.admin() {
		return answer{}, true
	}
	return fail(403, "Policy doesn't allow os_compute_api:%s to be performed.", policy), false
}

// page is what a list request asks for.
type page struct {
	limit  int
	marker string
	given  bool // a limit was
}

func (k *call) page(q url.Values) (page, answer, bool) {
	p := page{limit: k.c.pageLimit(), marker: q.Get("marker")}
	if text := q.Get("limit"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 0 {
			return p, fail(400, "Invalid input for query parameters limit. Value: %.40s. '%.40s' does not match '^[0-9]*$'", text, text), false
		}
		p.given = true
		if n > 0 && n < p.limit {
			p.limit = n
		}
	}
	return p, answer{}, true
}

func (c *Cloud) pageLimit() int {
	if c.sc.PageLimit > 0 {
		return c.sc.PageLimit
	}
	return 1000
}

// next is the links field of a list that may go on.
func (k *call) next(q url.Values, marker string) []link {
	q = maps.Clone(q)
	q.Set("marker", marker)
	return []link{{Rel: "next", Href: k.base + k.r.URL.Path + "?" + q.Encode()}}
}

type link struct {
	Rel  string `json:"rel"`
	Href string `json:"href"`
}

// truth reads a boolean of a query as Nova does; empty counts as true, because
// ?all_tenants alone asks for it.
func truth(s string) (value, valid bool) {
	switch strings.ToLower(s) {
	case "", "1", "t", "true", "on", "y", "yes":
		return true, true
	case "0", "f", "false", "off", "n", "no":
		return false, true
	}
	return false, false
}

// object decodes a JSON object, or says what Nova says.
func object(body []byte) (map[string]json.RawMessage, answer, bool) {
	var m map[string]json.RawMessage
	if json.Unmarshal(body, &m) != nil || m == nil {
		return nil, fail(400, "Malformed request body"), false
	}
	return m, answer{}, true
}

// schema checks an object against the properties it may and must have. Types
// are bool, string, null, integer; several are joined by |.
type schema struct {
	name     string
	may      map[string]string
	required []string
}

func (s schema) check(raw json.RawMessage) (map[string]any, answer, bool) {
	var v any
	if json.Unmarshal(raw, &v) != nil {
		return nil, fail(400, "Malformed request body"), false
	}
	m, isObject := v.(map[string]any)
	if !isObject {
		return nil, fail(400, "Invalid input for field/attribute %s. Value: %s. %s is not of type 'object'", s.name, python(v), python(v)), false
	}
	var extra []string
	for key := range m {
		if _, known := s.may[key]; !known {
			extra = append(extra, "'"+key+"'")
		}
	}
	if len(extra) > 0 {
		sort.Strings(extra)
		verb := "was"
		if len(extra) > 1 {
			verb = "were"
		}
		return nil, fail(400, "Invalid input for field/attribute %s. Value: %s. Additional properties are not allowed (%s %s unexpected)", s.name, python(v), strings.Join(extra, ", "), verb), false
	}
	for _, key := range s.required {
		if _, there := m[key]; !there {
			return nil, fail(400, "Invalid input for field/attribute %s. Value: %s. '%s' is a required property", s.name, python(v), key), false
		}
	}
	for _, key := range sortedKeys(m) {
		kinds := strings.Split(s.may[key], "|")
		if kind := kindOf(m[key]); !slices.Contains(kinds, kind) && kinds[0] != "any" {
			return nil, fail(400, "Invalid input for field/attribute %s. Value: %s. %s is not of type '%s'", key, python(m[key]), python(m[key]), strings.Join(kinds, "', '")), false
		}
	}
	return m, answer{}, true
}

func kindOf(v any) string {
	switch v := v.(type) {
	case nil:
		return "null"
	case bool:
		return "boolean"
	case string:
		return "string"
	case float64:
		if v == float64(int64(v)) {
			return "integer"
		}
		return "number"
	case []any:
		return "array"
	}
	return "object"
}

// python prints a value as Nova's messages do.
func python(v any) string {
	switch v := v.(type) {
	case nil:
		return "None"
	case bool:
		if v {
			return "True"
		}
		return "False"
	case string:
		return "'" + v[:min(len(v), 200)] + "'"
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	case []any:
		parts := make([]string, 0, len(v))
		for _, e := range v[:min(len(v), 20)] {
			parts = append(parts, python(e))
		}
		return "[" + strings.Join(parts, ", ") + "]"
	case map[string]any:
		var parts []string
		for i, key := range sortedKeys(v) {
			if i < 20 {
				parts = append(parts, python(key)+": "+python(v[key]))
			}
		}
		return "{" + strings.Join(parts, ", ") + "}"
	}
	return fmt.Sprint(v)
}
