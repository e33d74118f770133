package novasim

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"slices"
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

func orNullTime(t time.Time) null {
	if t.IsZero() {
		return orNull("")
	}
	return orNull(t.UTC().Format(timeMicro))
}

// nova answers a request to Nova.
func (k *call) nova() answer {
	switch strings.TrimSuffix(k.path, "/") {
	case "":
		old := map[string]any{
			"id": "v2.0", "status": "SUPPORTED", "version": "", "min_version": "", "updated": "2011-01-21T11:33:21Z",
			"links": []any{map[string]any{"rel": "self", "href": k.base + "/v2/"}},
		}
		return ok(map[string]any{"versions": []any{old, k.novaVersion()}})
	case "/v2.1":
		if k.r.Method != "GET" && k.r.Method != "HEAD" {
			return k.noRoute()
		}
		if a, good := k.chooseVersion(); !good {
			return a
		}
		v := k.novaVersion()
		v["media-types"] = []any{map[string]any{"base": "application/json", "type": "application/vnd.openstack.compute+json;version=2.1"}}
		v["links"] = append(v["links"].([]any), map[string]any{"rel": "describedby", "type": "text/html", "href": "http://docs.openstack.org/"})
		return ok(map[string]any{"version": v})
	}
	if !strings.HasPrefix(k.path, "/v2.1/") {
		return k.noRoute()
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
		return k.noRoute()
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
		return k.noRoute()
	}
	return handler(seg[1:])
}

func (k *call) novaVersion() map[string]any {
	return map[string]any{
		"id": "v2.1", "status": "CURRENT", "version": "2." + number(k.c.maxVersion), "min_version": "2." + number(k.c.minVersion),
		"updated": "2013-07-23T11:33:21Z", "links": []any{map[string]any{"rel": "self", "href": k.base + "/v2.1/"}},
	}
}

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
	return []link{{Rel: "next", Href: k.base + k.path + "?" + q.Encode()}}
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

// strangers refuses parameters of a query that are not known.
func strangers(q url.Values, known ...string) (answer, bool) {
	for _, key := range sortedKeys(q) {
		if !slices.Contains(known, key) {
			return fail(400, "Additional properties are not allowed ('%.64s' was unexpected)", key), false
		}
	}
	return answer{}, true
}

const notTruth = "Unrecognized value '%.40s', acceptable values are: '0', '1', 'f', 'false', 'n', 'no', 'off', 'on', 't', 'true', 'y', 'yes'"

// schema checks an object against the properties it may and must have. Types
// are boolean, string, null, integer, any, text: a string of 1 to 255
// characters, switch: a boolean or a word for one; several are joined by |. A
// type "one of A B" has these strings.
type schema struct {
	name     string // of the attribute, empty for a whole body
	may      map[string]string
	required []string
}

// switches are what Nova takes for a boolean in a body.
const switches = "[True, 'True', 'TRUE', 'true', '1', 'ON', 'On', 'on', 'YES', 'Yes', 'yes', False, 'False', 'FALSE', 'false', '0', 'OFF', 'Off', 'off', 'NO', 'No', 'no']"

// invalid is Nova's refusal of a value; name is empty for a whole body.
func invalid(name string, raw json.RawMessage, what string) answer {
	if name == "" {
		return fail(400, "%s", what)
	}
	shown := python(raw)
	var text string
	if json.Unmarshal(raw, &text) == nil && string(raw) != "null" {
		shown = text[:min(len(text), 200)]
	}
	return fail(400, "Invalid input for field/attribute %s. Value: %s. %s", name, shown, what)
}

func (s schema) check(raw json.RawMessage) (map[string]any, answer, bool) {
	if !json.Valid(raw) {
		return nil, fail(400, "Malformed request body"), false
	}
	var m map[string]json.RawMessage
	if json.Unmarshal(raw, &m) != nil || m == nil {
		return nil, invalid(s.name, raw, python(raw)+" is not of type 'object'"), false
	}
	var extra []string
	for _, key := range sortedKeys(m) {
		if _, known := s.may[key]; !known {
			extra = append(extra, "'"+key+"'")
		}
	}
	if len(extra) > 0 {
		verb := "was"
		if len(extra) > 1 {
			verb = "were"
		}
		return nil, invalid(s.name, raw, fmt.Sprintf("Additional properties are not allowed (%s %s unexpected)", strings.Join(extra, ", "), verb)), false
	}
	for _, key := range s.required {
		if _, there := m[key]; !there {
			return nil, invalid(s.name, raw, fmt.Sprintf("'%s' is a required property", key)), false
		}
	}
	values := map[string]any{}
	for _, key := range sortedKeys(m) {
		var v any
		_ = json.Unmarshal(m[key], &v)
		if what := unfit(s.may[key], m[key], v); what != "" {
			return nil, invalid(key, m[key], what), false
		}
		values[key] = v
	}
	return values, answer{}, true
}

// unfit says why a value is not of a type, nothing when it is.
func unfit(kind string, raw json.RawMessage, v any) string {
	if kind == "any" {
		return ""
	}
	text, isText := v.(string)
	if list, enum := strings.CutPrefix(kind, "one of "); enum {
		switch of := strings.Fields(list); {
		case !isText:
			return python(raw) + " is not of type 'string'"
		case !slices.Contains(of, text):
			return python(raw) + " is not one of ['" + strings.Join(of, "', '") + "']"
		}
		return ""
	}
	kinds := strings.Split(kind, "|")
	for _, one := range kinds {
		switch is := kindOf(v); {
		case one == is:
			return ""
		case one == "switch" && (is == "boolean" || isText && strings.Contains(switches, "'"+text+"'")):
			return ""
		case one == "switch":
			return python(raw) + " is not one of " + switches
		case one == "text" && isText && text == "":
			return "'' is too short"
		case one == "text" && len(text) > 255:
			return python(raw) + " is too long"
		case one == "text" && isText:
			return ""
		}
	}
	return python(raw) + " is not of type '" + strings.ReplaceAll(strings.Join(kinds, "', '"), "text", "string") + "'"
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

// python prints a value as Nova's messages do: keys in the order of the request.
func python(raw json.RawMessage) string {
	if len(raw) > 4<<10 {
		return "..."
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	first, err := dec.Token()
	if err != nil {
		return "None"
	}
	inside := func(end string) string {
		var parts []string
		for dec.More() && len(parts) < 20 {
			part := ""
			var v json.RawMessage
			if end == "}" {
				key, _ := dec.Token()
				part = fmt.Sprintf("'%v': ", key)
			}
			if dec.Decode(&v) != nil {
				break
			}
			parts = append(parts, part+python(v))
		}
		return strings.Join(parts, ", ") + end
	}
	switch v := first.(type) {
	case json.Delim:
		return v.String() + inside(map[json.Delim]string{'{': "}", '[': "]"}[v])
	case bool:
		if v {
			return "True"
		}
		return "False"
	case string:
		return "'" + v[:min(len(v), 200)] + "'"
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	}
	return "None"
}
