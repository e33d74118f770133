package wasakariv1

import (
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3gen"

	"github.com/wasakari/wasakari/api/internal/wire"
	"github.com/wasakari/wasakari/recovery"
)

// The rules of the policy that the routes ask, each with what may be done.
const (
	RuleModuleRead   = "wasakari:modules:read"
	RuleModuleUpload = "wasakari:modules:upload"
	RuleModulePin    = "wasakari:modules:pin"
	RuleModuleDelete = "wasakari:modules:delete"
	RuleRunRead      = "wasakari:runs:read"
	RuleRunAbort     = "wasakari:runs:abort"
	RuleRunRetry     = "wasakari:runs:retry"
	RuleFlowRead     = "wasakari:flows:read"
	RuleNodeRead     = "wasakari:nodes:read"
	RuleEventRead    = "wasakari:events:read"
	RuleHostRepaired = "wasakari:hosts:repaired"
	RuleStoreBackup  = "wasakari:store:backup"
)

// route is one row of the table that both the server and its description are
// made from.
type route struct {
	method, path string // the path below Prefix, as http.ServeMux has it
	id           string
	summary      string
	rule         string
	// tenants is true when a caller to whom the rule allows his own project's
	// things may ask too; serve is told by its view.
	tenants bool
	audited bool // although it changes nothing
	query   []parameter
	headers []parameter
	in      any    // sample of the document that is sent; nil: none
	inType  string // defaults to application/json
	code    int    // of a success
	also    []int  // other successes, with the same document
	fails   []int  // refusals beside those that all routes of its kind have
	out     any    // sample of the document; nil: none
	outType string // defaults to application/json
	serve   func(a *API, w http.ResponseWriter, r *http.Request, c Caller, v view) error
}

// parameter is one parameter of a query, or a header.
type parameter struct {
	name, help string
	schema     *openapi3.Schema
}

func text(name, help string) parameter {
	return parameter{name, help, openapi3.NewStringSchema().WithMinLength(1).WithMaxLength(maxValue)}
}

func number(name, help string, least, most int) parameter {
	return parameter{name, help, openapi3.NewIntegerSchema().WithMin(float64(least)).WithMax(float64(most))}
}

const (
	typeJSON   = "application/json"
	typeWasm   = "application/wasm"
	typeEvents = "text/event-stream"
	typeBytes  = "application/octet-stream"
)

// routes is the table.
func routes() []route {
	module := "/modules/{key}"
	tenant := text("tenant", "Only what is of the project with this id.")
	resume := []parameter{text("Last-Event-ID", "Go on after the event with this id.")}
	statuses := openapi3.NewStringSchema()
	for _, s := range runStatuses() {
		statuses.Enum = append(statuses.Enum, s)
	}
	return []route{
		{
			method: http.MethodPost, path: "/modules", id: "uploadModule", rule: RuleModuleUpload, tenants: true,
			summary: "Upload a version of a module. It is checked and compiled before it is accepted; 201 when every live node has compiled it, 202 while some have not.",
			query:   []parameter{number("wait", "Seconds to wait for all nodes.", 0, 600)},
			headers: []parameter{text("X-Content-SHA256", "The SHA-256 of the body, in hex."), text("Digest", "The digest of the body, sha-256=BASE64.")},
			in:      []byte{}, inType: typeWasm, code: http.StatusCreated, also: []int{http.StatusAccepted}, fails: []int{http.StatusUnprocessableEntity}, out: ModuleAnswer{}, serve: (*API).uploadModule,
		},
		{
			method: http.MethodGet, path: "/modules", id: "listModules", rule: RuleModuleRead, tenants: true,
			summary: "List the modules.", query: []parameter{tenant}, code: http.StatusOK, out: ModuleList{}, serve: (*API).listModules,
		},
		{
			method: http.MethodGet, path: module, id: "showModule", rule: RuleModuleRead, tenants: true,
			summary: "Show the module that has the task with this key.", query: []parameter{tenant}, code: http.StatusOK, out: ModuleDocument{}, serve: (*API).showModule,
		},
		{
			method: http.MethodDelete, path: module, id: "removeModule", rule: RuleModuleDelete, tenants: true,
			summary: "Remove a module with all its versions. Refused while a flow names one of its tasks, or a run that has not ended uses it.",
			query:   []parameter{tenant}, code: http.StatusNoContent, serve: (*API).removeModule,
		},
		{
			method: http.MethodGet, path: module + "/versions", id: "listModuleVersions", rule: RuleModuleRead, tenants: true,
			summary: "List the versions of a module, newest first.", query: []parameter{tenant}, code: http.StatusOK, out: VersionList{}, serve: (*API).listVersions,
		},
		{
			method: http.MethodGet, path: module + "/versions/{digest}", id: "getVersion", rule: RuleModuleRead, tenants: true,
			summary: "Get the bytes of a version.", query: []parameter{tenant}, code: http.StatusOK, out: []byte{}, outType: typeWasm, serve: (*API).getVersion,
		},
		{
			method: http.MethodDelete, path: module + "/versions/{digest}", id: "removeVersion", rule: RuleModuleDelete, tenants: true,
			summary: "Remove one version. Refused while it is the active one, or a run that has not ended uses it.",
			query:   []parameter{tenant}, code: http.StatusNoContent, serve: (*API).removeVersion,
		},
		{
			method: http.MethodPut, path: module + "/pin", id: "pinModule", rule: RuleModulePin, tenants: true,
			summary: "Make one version the active one, and keep uploads from replacing it.", query: []parameter{tenant},
			in: PinRequest{}, code: http.StatusOK, also: []int{http.StatusAccepted}, out: ModuleAnswer{}, serve: (*API).pinModule,
		},
		{
			method: http.MethodDelete, path: module + "/pin", id: "unpinModule", rule: RuleModulePin, tenants: true,
			summary: "Let uploads replace the active version again.", query: []parameter{tenant}, code: http.StatusOK, out: ModuleDocument{}, serve: (*API).unpinModule,
		},
		{
			method: http.MethodGet, path: "/runs", id: "listRuns", rule: RuleRunRead, tenants: true, summary: "List the runs, newest first.",
			query: []parameter{
				{"status", "Only runs with this status.", statuses},
				text("host", "Only runs about this compute host."),
				text("notification", "Only runs of the notification with this uuid."), text("since", "Only runs that started then or later: a time, or how long ago, such as 90m."),
				number("limit", "The most to list.", 1, maxPage), text("marker", "Go on after the run with this id, as next says."),
			},
			code: http.StatusOK, out: RunList{}, serve: (*API).listRuns,
		},
		{
			method: http.MethodGet, path: "/runs/{run}", id: "showRun", rule: RuleRunRead, tenants: true,
			summary: "Show a run: its tasks, vmoves, changes to the cloud, names of its values, and what is left to undo.",
			code:    http.StatusOK, out: RunDocument{}, serve: (*API).showRun,
		},
		{
			method: http.MethodGet, path: "/runs/{run}/watch", id: "watchRun", rule: RuleRunRead, tenants: true,
			summary: "Follow a run: events run, task, vmove and log, until it has ended.", headers: resume,
			code: http.StatusOK, out: EventDocument{}, outType: typeEvents, serve: (*API).watchRun,
		},
		{
			method: http.MethodPost, path: "/runs/{run}/abort", id: "abortRun", rule: RuleRunAbort,
			summary: "End a run. Either way what must not stay is undone.", in: AbortRequest{}, code: http.StatusAccepted, out: RunAnswer{}, serve: (*API).abortRun,
		},
		{
			method: http.MethodPost, path: "/runs/{run}/retry", id: "retryRun", rule: RuleRunRetry,
			summary: "Run the notification of a run once more. In place of the run's id the notification's uuid will do.",
			in:      RetryRequest{}, code: http.StatusAccepted, out: NotificationAnswer{}, serve: (*API).retryRun,
		},
		{
			method: http.MethodGet, path: "/flows", id: "listFlows", rule: RuleFlowRead, summary: "Show the flows as they stand: each task with its module, version, digest and grants.",
			query: []parameter{text("kind", "Only flows of this kind."), text("segment", "Only flows of the segment with this uuid.")},
			code:  http.StatusOK, out: FlowList{}, serve: (*API).listFlows,
		},
		{
			method: http.MethodGet, path: "/flows/check", id: "checkFlows", rule: RuleFlowRead, summary: "Tell what is wrong with the flows.",
			code: http.StatusOK, out: FlowCheck{}, serve: (*API).checkFlows,
		},
		{
			method: http.MethodGet, path: "/nodes", id: "listNodes", rule: RuleNodeRead, summary: "List the live nodes.",
			code: http.StatusOK, out: NodeList{}, serve: (*API).listNodes,
		},
		{
			method: http.MethodPost, path: "/hosts/{host}/repaired", id: "repairedHost", rule: RuleHostRepaired,
			summary: "Take a host that was repaired back into service: its maintenance ends, and its nova-compute service is enabled. Refused while Nova sees it down.",
			code:    http.StatusOK, fails: []int{http.StatusNotImplemented}, out: HostRepaired{}, serve: (*API).repairedHost,
		},
		{
			method: http.MethodGet, path: "/store/backup", id: "backupStore", rule: RuleStoreBackup, audited: true,
			summary: "Get a backup of all that is durable, as it is at one moment, for wasakari store restore.",
			code:    http.StatusOK, fails: []int{http.StatusConflict, http.StatusNotImplemented}, out: []byte{}, outType: typeBytes, serve: (*API).backup,
		},
		{
			method: http.MethodGet, path: "/events", id: "watchEvents", rule: RuleEventRead, summary: "Follow everything that changes.", headers: resume,
			query: []parameter{text("types", "Only events of these types, with commas between them.")},
			code:  http.StatusOK, out: EventDocument{}, outType: typeEvents, serve: (*API).watchEvents,
		},
	}
}

// mount puts the table into the mux: each path once, so that a wrong method is
// told what there is.
func (a *API) mount() {
	byPath := map[string]map[string]route{}
	for _, rt := range routes() {
		if byPath[rt.path] == nil {
			byPath[rt.path] = map[string]route{}
		}
		byPath[rt.path][rt.method] = rt
	}
	for path, methods := range byPath {
		allow := slices.Sorted(maps.Keys(methods))
		if slices.Contains(allow, http.MethodGet) {
			allow = append(allow, http.MethodHead)
		}
		a.mux.HandleFunc(Prefix+path, func(w http.ResponseWriter, r *http.Request) {
			method := r.Method
			if method == http.MethodHead {
				method = http.MethodGet
			}
			rt, ok := methods[method]
			if !ok {
				w.Header().Set("Allow", strings.Join(allow, ", "))
				a.fail(w, r, refuse(http.StatusMethodNotAllowed, "use "+strings.Join(allow, ", "), "%s is not for this path", cut(r.Method, 20)))
				return
			}
			if err := a.serve(w, r, rt); err != nil {
				a.fail(w, r, err)
			}
		})
	}
	a.mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		a.fail(w, r, refuse(http.StatusNotFound, "the paths are in the OpenAPI document", "there is no such path"))
	})
}

// serve asks who it is and what he may, then does it.
func (a *API) serve(w http.ResponseWriter, r *http.Request, rt route) error {
	info := wire.Of(r.Context())
	info.Route = Prefix + rt.path
	if rt.method != http.MethodGet || rt.audited {
		info.Action, info.Target = rt.id, or(r.PathValue("key"), r.PathValue("run"))
	}
	c, err := a.cfg.Caller(r)
	if err != nil {
		return err
	}
	v, err := viewOf(c, rt.rule, rt.tenants)
	if err != nil {
		return err
	}
	return rt.serve(a, w, r, c, v)
}

// Describe adds the routes to an OpenAPI document. The names of its schemas begin
// with Wasakari.
func Describe(doc *openapi3.T) error {
	if doc.Paths == nil {
		doc.Paths = openapi3.NewPaths()
	}
	if doc.Components == nil {
		doc.Components = &openapi3.Components{}
	}
	if doc.Components.Schemas == nil {
		doc.Components.Schemas = openapi3.Schemas{}
	}
	g := describer{openapi3gen.NewGenerator(openapi3gen.SchemaCustomizer(strict)), doc.Components.Schemas}
	problem, err := g.content(typeJSON, Problem{})
	if err != nil {
		return err
	}
	for _, rt := range routes() {
		op := &openapi3.Operation{OperationID: rt.id, Summary: rt.summary, Tags: []string{"wasakari"}, Responses: openapi3.NewResponsesWithCapacity(4)}
		for _, name := range pathNames(rt.path) {
			op.AddParameter(openapi3.NewPathParameter(name).WithSchema(openapi3.NewStringSchema().WithMinLength(1).WithMaxLength(maxValue)))
		}
		for _, p := range rt.query {
			op.AddParameter(openapi3.NewQueryParameter(p.name).WithDescription(p.help).WithSchema(p.schema))
		}
		for _, p := range rt.headers {
			op.AddParameter(openapi3.NewHeaderParameter(p.name).WithDescription(p.help).WithSchema(p.schema))
		}
		if rt.in != nil {
			content, err := g.content(or(rt.inType, typeJSON), rt.in)
			if err != nil {
				return err
			}
			op.RequestBody = &openapi3.RequestBodyRef{Value: openapi3.NewRequestBody().WithContent(content).WithRequired(rt.inType == typeWasm)}
		}
		for _, code := range append([]int{rt.code}, rt.also...) {
			res := openapi3.NewResponse().WithDescription(http.StatusText(code))
			if rt.out != nil {
				content, err := g.content(or(rt.outType, typeJSON), rt.out)
				if err != nil {
					return err
				}
				res.WithContent(content)
			}
			op.AddResponse(code, res)
		}
		for _, code := range rt.refusals() {
			op.AddResponse(code, openapi3.NewResponse().WithDescription(http.StatusText(code)).WithContent(problem))
		}
		op.Extensions = map[string]any{"x-policy-rule": rt.rule}
		doc.AddOperation(Prefix+rt.path, rt.method, op)
	}
	return nil
}

// refusals lists the statuses of a route's answers that are no success. Where a
// token is needed, that of a missing one comes from the frame, in Keystone's form.
func (rt route) refusals() []int {
	codes := []int{
		http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusRequestEntityTooLarge, http.StatusRequestURITooLong,
		http.StatusInternalServerError, http.StatusServiceUnavailable, http.StatusGatewayTimeout,
	}
	named := strings.Contains(rt.path, "{")
	if named {
		codes = append(codes, http.StatusNotFound)
	}
	if named || rt.method != http.MethodGet { // several tenants may have modules with one key
		codes = append(codes, http.StatusConflict)
	}
	if rt.in != nil {
		codes = append(codes, http.StatusUnsupportedMediaType)
	}
	return append(codes, rt.fails...)
}

// pathNames lists the parameters of a path.
func pathNames(path string) []string {
	var names []string
	for part := range strings.SplitSeq(path, "/") {
		if name, ok := strings.CutPrefix(part, "{"); ok {
			names = append(names, strings.TrimSuffix(name, "}"))
		}
	}
	return names
}

func or(s, def string) string {
	if s == "" {
		return def
	}
	return s
}

// describer makes schemas of Go's types, each named one once.
type describer struct {
	g       *openapi3gen.Generator
	schemas openapi3.Schemas
}

func (d describer) content(kind string, sample any) (openapi3.Content, error) {
	if kind == typeWasm || kind == typeBytes {
		return openapi3.Content{kind: openapi3.NewMediaType().WithSchema(openapi3.NewStringSchema().WithFormat("binary"))}, nil
	}
	name := "Wasakari" + reflect.TypeOf(sample).Name()
	if d.schemas[name] == nil {
		ref, err := d.g.NewSchemaRefForValue(sample, nil)
		if err != nil {
			return nil, fmt.Errorf("schema of %s: %w", name, err)
		}
		d.schemas[name] = openapi3.NewSchemaRef("", ref.Value)
	}
	if kind == typeEvents {
		s := openapi3.NewStringSchema()
		s.Description = "Server-sent events; the data of each but reset and end is a " + name + "."
		return openapi3.Content{kind: openapi3.NewMediaType().WithSchema(s)}, nil
	}
	return openapi3.Content{kind: openapi3.NewMediaType().WithSchemaRef(openapi3.NewSchemaRef("#/components/schemas/"+name, d.schemas[name].Value))}, nil
}

// strict says of a struct which fields it always has, and of a field what its
// tags say beside its name.
func strict(_ string, t reflect.Type, tag reflect.StructTag, s *openapi3.Schema) error {
	if help := tag.Get("help"); help != "" {
		s.Description = help
	}
	if t == reflect.TypeFor[recovery.FlowKind]() {
		s.Enum = nil
		for _, k := range recovery.FlowKinds() {
			s.Enum = append(s.Enum, string(k))
		}
	}
	if enum := tag.Get("enum"); enum != "" {
		s.Enum = nil
		for v := range strings.SplitSeq(enum, ",") {
			s.Enum = append(s.Enum, v)
		}
	}
	if n, err := strconv.ParseUint(tag.Get("max"), 10, 32); err == nil {
		s.MaxLength = &n
	}
	if n, err := strconv.ParseUint(tag.Get("min"), 10, 32); err == nil {
		s.MinLength = n
	}
	if t.Kind() != reflect.Struct || t.PkgPath() == "time" {
		return nil
	}
	for f := range fields(t) {
		name, opts, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name != "" && name != "-" && !strings.Contains(opts, "omit") {
			s.Required = append(s.Required, name)
		}
	}
	return nil
}

// fields goes through the fields of a struct, those of embedded ones included.
func fields(t reflect.Type) func(func(reflect.StructField) bool) {
	return func(yield func(reflect.StructField) bool) {
		for _, f := range reflect.VisibleFields(t) {
			if !f.Anonymous && !yield(f) {
				return
			}
		}
	}
}
