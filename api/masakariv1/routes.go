package masakariv1

import (
	"net/http"
	"regexp"
	"strings"
)

// route is one thing that a client may ask for. The same table serves and
// describes the API.
type route struct {
	method string
	path   string // below /v1, with {names}
	action string // Masakari's name of it
	// serve does it; nil: the resource lacks it, and the answer is 405.
	serve  func(*call) (any, error)
	policy string               // rule; empty: anyone with a token
	status int                  // of success
	body   func(version) schema // nil: no body is read
	audit  string               // name of the change; empty: none
	doc    description          // for the OpenAPI document
}

// description is what only the OpenAPI document tells.
type description struct {
	summary string
	query   []parameter
	answer  string // name of the schema of the answer
	errors  []int  // statuses, beside those of every route
}

type parameter struct{ name, kind, help string }

const policyPrefix = "os_masakari_api:"

// resource makes the routes of a REST resource. What is not among own is
// answered by 405.
func resource(collection, member string, own ...route) []route {
	lacks := []route{
		{method: http.MethodGet, path: collection, action: "index"},
		{method: http.MethodPost, path: collection, action: "create"},
		{method: http.MethodGet, path: collection + "/new", action: "new"},
		{method: http.MethodGet, path: member, action: "show"},
		{method: http.MethodPut, path: member, action: "update"},
		{method: http.MethodDelete, path: member, action: "delete"},
		{method: http.MethodGet, path: member + "/edit", action: "edit"},
	}
	var out []route
	for _, l := range lacks {
		for _, o := range own {
			if o.action == l.action {
				o.method, o.path = l.method, l.path
				l = o
			}
		}
		out = append(out, l)
	}
	return out
}

var listParameters = []parameter{
	{"limit", "integer", "Greatest number of items; at most osapi_max_limit. 0 gives an empty list."},
	{"marker", "integer", "The id of the last item that the client has seen."},
	{"page_size", "integer", "Checked, and otherwise of no effect."},
	{"sort_key", "string", "A field to sort by; may be repeated. Default created_at."},
	{"sort_dir", "string", "asc or desc, for each sort_key. Default desc."},
}

func listQuery(more ...parameter) []parameter { return append(more, listParameters...) }

const (
	segmentPath      = "/segments/{segment_id}"
	notificationPath = "/notifications/{notification_id}"
)

var routes = concat(
	[]route{
		{method: http.MethodGet, path: "", action: "show", serve: showVersion, status: http.StatusOK, doc: description{summary: "Show the version", answer: "version"}},
		{method: http.MethodGet, path: "/", action: "show", serve: showVersion, status: http.StatusOK},
	},
	resource("/versions", "/versions/{id}",
		route{action: "show", serve: showVersion, status: http.StatusOK, doc: description{summary: "Show the version", answer: "version", errors: []int{404}}},
	),
	resource("/extensions", "/extensions/{alias}",
		route{action: "index", serve: listExtensions, status: http.StatusOK, policy: "extensions:index", doc: description{summary: "List extensions", answer: "extensions"}},
		route{action: "show", serve: showExtension, status: http.StatusOK, policy: "extensions:detail", doc: description{summary: "Show an extension", answer: "extension", errors: []int{404}}},
	),
	resource("/segments", segmentPath,
		route{action: "index", serve: listSegments, status: http.StatusOK, policy: "segments:index", doc: description{
			summary: "List segments", answer: "segments",
			query: listQuery(
				parameter{"recovery_method", "string", "Only those with it."},
				parameter{"service_type", "string", "Only those with it."},
				parameter{"enabled", "string", "Only those that are (1) or are not (0)."},
			),
		}},
		route{
			action: "create", serve: createSegment, status: http.StatusCreated, policy: "segments:create", body: segmentCreate, audit: "segment.create",
			doc: description{summary: "Create a segment", answer: "segment", errors: []int{409}},
		},
		route{
			action: "show", serve: showSegment, status: http.StatusOK, policy: "segments:detail",
			doc: description{summary: "Show a segment", answer: "segment", errors: []int{404}},
		},
		route{
			action: "update", serve: updateSegment, status: http.StatusOK, policy: "segments:update", body: segmentUpdate, audit: "segment.update",
			doc: description{summary: "Update a segment", answer: "segment", errors: []int{404, 409}},
		},
		route{
			action: "delete", serve: deleteSegment, status: http.StatusNoContent, policy: "segments:delete", audit: "segment.delete",
			doc: description{summary: "Delete a segment and its hosts", errors: []int{404, 409}},
		},
	),
	[]route{{method: http.MethodPost, path: segmentPath + "/action", action: "action"}},
	resource(segmentPath+"/hosts", segmentPath+"/hosts/{host_id}",
		route{action: "index", serve: listHosts, status: http.StatusOK, policy: "os-hosts:index", doc: description{
			summary: "List the hosts of a segment", answer: "hosts", errors: []int{404},
			query: listQuery(
				parameter{"type", "string", "Only those with it."},
				parameter{"on_maintenance", "string", "Only those that are, or are not; a boolean word."},
				parameter{"reserved", "string", "Only those that are, or are not; a boolean word."},
			),
		}},
		route{
			action: "create", serve: createHost, status: http.StatusCreated, policy: "os-hosts:create", body: hostCreate, audit: "host.create",
			doc: description{summary: "Add a host to a segment", answer: "host", errors: []int{404, 409}},
		},
		route{
			action: "show", serve: showHost, status: http.StatusOK, policy: "os-hosts:detail",
			doc: description{summary: "Show a host", answer: "host", errors: []int{404}},
		},
		route{
			action: "update", serve: updateHost, status: http.StatusOK, policy: "os-hosts:update", body: hostUpdate, audit: "host.update",
			doc: description{summary: "Update a host", answer: "host", errors: []int{404, 409}},
		},
		route{
			action: "delete", serve: deleteHost, status: http.StatusNoContent, policy: "os-hosts:delete", audit: "host.delete",
			doc: description{summary: "Remove a host", errors: []int{404, 409}},
		},
	),
	resource("/notifications", notificationPath,
		route{action: "index", serve: listNotifications, status: http.StatusOK, policy: "notifications:index", doc: description{
			summary: "List notifications", answer: "notifications",
			query: listQuery(
				parameter{"status", "string", "Only those with it."},
				parameter{"type", "string", "Only those with it."},
				parameter{"source_host_uuid", "string", "Only those about the host."},
				parameter{"generated-since", "string", "Only those generated at that time or later; ISO 8601."},
			),
		}},
		route{
			action: "create", serve: createNotification, status: http.StatusAccepted, policy: "notifications:create", body: notificationCreate, audit: "notification.create",
			doc: description{summary: "Report a failure", answer: "notification", errors: []int{409}},
		},
		route{
			action: "show", serve: showNotification, status: http.StatusOK, policy: "notifications:detail",
			doc: description{summary: "Show a notification", answer: "notification", errors: []int{404}},
		},
	),
	[]route{{method: http.MethodPost, path: notificationPath + "/action", action: "action"}},
	resource(notificationPath+"/vmoves", notificationPath+"/vmoves/{vmove_id}",
		route{action: "index", serve: listVMoves, status: http.StatusOK, policy: "vmoves:index", doc: description{
			summary: "List the moves of servers that a host notification led to", answer: "vmoves", errors: []int{404},
			query: listQuery(
				parameter{"type", "string", "Only those with it."},
				parameter{"status", "string", "Only those with it."},
			),
		}},
		route{
			action: "show", serve: showVMove, status: http.StatusOK, policy: "vmoves:detail",
			doc: description{summary: "Show the move of a server", answer: "vmove", errors: []int{404}},
		},
	),
)

func concat(parts ...[]route) []route {
	var out []route
	for _, p := range parts {
		for _, r := range p {
			if r.policy != "" {
				r.policy = policyPrefix + r.policy
			}
			out = append(out, r)
		}
	}
	return out
}

// match is a route that fits a request.
type match struct {
	route  *route
	params map[string]string
}

// projectPattern is the form of a project id in a path.
var projectPattern = regexp.MustCompile(`^[0-9a-f\-]+$`)

// table is routes with their paths in parts. Its size is that of the API, so
// looking at each is cheap.
var table = func() []patterned {
	out := make([]patterned, len(routes))
	for i := range routes {
		out[i] = patterned{parts: strings.Split(routes[i].path, "/"), route: &routes[i]}
	}
	return out
}()

type patterned struct {
	parts []string
	route *route
}

// find finds the route of a request to path below /v1; nil when there is none.
func find(method, path string) *match {
	parts := strings.Split(path, "/")
	if n := len(parts); n > 1 {
		// A list or record may be asked for with the format's name.
		parts[n-1] = strings.TrimSuffix(parts[n-1], ".json")
	}
	if m := findParts(method, parts); m != nil {
		return m
	}
	if len(parts) > 2 && projectPattern.MatchString(parts[1]) {
		project := parts[1]
		if m := findParts(method, append([]string{""}, parts[2:]...)); m != nil {
			m.params["project_id"] = project
			return m
		}
	}
	return nil
}

func findParts(method string, parts []string) *match {
next:
	for i := range table {
		p := &table[i]
		if p.route.method != method || len(p.parts) != len(parts) {
			continue
		}
		params := map[string]string{}
		for j, want := range p.parts {
			switch {
			case strings.HasPrefix(want, "{"):
				if parts[j] == "" {
					continue next
				}
				params[strings.Trim(want, "{}")] = parts[j]
			case want != parts[j]:
				continue next
			}
		}
		return &match{p.route, params}
	}
	return nil
}
