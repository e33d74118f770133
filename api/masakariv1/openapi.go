package masakariv1

import (
	"net/http"
	"slices"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/wasakari/wasakari/api/internal/wire"
)

// OpenAPI describes the API. The caller may add to the document.
func OpenAPI() *openapi3.T {
	doc := &openapi3.T{
		OpenAPI: "3.0.3",
		Info: &openapi3.Info{
			Title:       "Wasakari",
			Version:     maxVersion.String(),
			Description: "Masakari's REST API v1, microversions " + minVersion.String() + " to " + maxVersion.String() + ", and Wasakari's own.",
		},
		Tags:  openapi3.Tags{{Name: "masakari", Description: "Masakari's REST API v1."}},
		Paths: openapi3.NewPaths(),
		Components: &openapi3.Components{
			Schemas:         answerSchemas(),
			SecuritySchemes: openapi3.SecuritySchemes{"keystone": {Value: openapi3.NewSecurityScheme().WithType("apiKey").WithIn("header").WithName("X-Auth-Token")}},
		},
		Security: openapi3.SecurityRequirements{{"keystone": {}}},
	}
	for i := range routes {
		if rt := &routes[i]; rt.serve != nil && rt.doc.summary != "" {
			doc.AddOperation("/v1"+rt.path, rt.method, rt.describe())
		}
	}
	root := operation("listVersions", "List the versions of the API")
	root.Security = openapi3.NewSecurityRequirements()
	root.AddResponse(http.StatusOK, jsonResponse("The versions.", "versions"))
	doc.AddOperation("/", http.MethodGet, root)
	return doc
}

func operation(id, summary string) *openapi3.Operation {
	return &openapi3.Operation{OperationID: id, Summary: summary, Tags: []string{"masakari"}, Responses: &openapi3.Responses{}}
}

func jsonResponse(description, schema string) *openapi3.Response {
	return openapi3.NewResponse().WithDescription(description).WithContent(content("#/components/schemas/" + schema))
}

// content is a document of the schema in either of the two media types.
func content(ref string) openapi3.Content {
	return openapi3.NewContentWithSchemaRef(openapi3.NewSchemaRef(ref, nil), []string{"application/json", mediaType})
}

// describe gives the operation of a route.
func (rt *route) describe() *openapi3.Operation {
	op := operation(rt.operationID(), rt.doc.summary)
	if rt.policy != "" {
		op.Description = "Policy rule: " + rt.policy + "."
	}
	for part := range strings.SplitSeq(rt.path, "/") {
		if strings.HasPrefix(part, "{") {
			s := openapi3.NewStringSchema()
			if strings.HasSuffix(part, "_id}") {
				s.WithFormat("uuid")
			}
			op.AddParameter(openapi3.NewPathParameter(strings.Trim(part, "{}")).WithSchema(s))
		}
	}
	for _, p := range rt.doc.query {
		s := &openapi3.Schema{Type: &openapi3.Types{p.kind}}
		if p.kind == "integer" {
			s.WithMin(0)
		}
		op.AddParameter(openapi3.NewQueryParameter(p.name).WithDescription(p.help).WithSchema(s))
	}
	op.AddParameter(openapi3.NewHeaderParameter(versionHeader).
		WithDescription("instance-ha and a version, or latest. Default " + minVersion.String() + ".").
		WithSchema(openapi3.NewStringSchema()))
	if rt.body != nil {
		body := openapi3.NewRequestBody().WithRequired(true).
			WithContent(openapi3.NewContentWithSchemaRef(rt.body(maxVersion).openAPI(), []string{"application/json", mediaType}))
		op.RequestBody = &openapi3.RequestBodyRef{Value: body}
	}
	if rt.doc.answer != "" {
		r := jsonResponse(http.StatusText(rt.status)+".", rt.doc.answer)
		r.Links = rt.links()
		op.AddResponse(rt.status, r)
	} else {
		op.AddResponse(rt.status, openapi3.NewResponse().WithDescription("Done."))
	}
	statuses := slices.Concat([]int{
		http.StatusBadRequest, http.StatusForbidden, http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusNotAcceptable,
		http.StatusUnsupportedMediaType, http.StatusInternalServerError, http.StatusServiceUnavailable,
	}, rt.doc.errors)
	slices.Sort(statuses)
	for _, status := range slices.Compact(statuses) {
		r := jsonResponse(http.StatusText(status)+".", "fault")
		if status == http.StatusNotFound {
			r.Content["text/plain"] = openapi3.NewMediaType().WithSchema(openapi3.NewStringSchema())
		}
		op.AddResponse(status, r)
	}
	op.AddResponse(http.StatusUnauthorized, openapi3.NewResponse().WithDescription("No good token.").
		WithContent(openapi3.NewContentWithJSONSchemaRef(openapi3.NewSchemaRef("#/components/schemas/unauthorized", nil))))
	op.AddResponse(http.StatusRequestEntityTooLarge, openapi3.NewResponse().WithDescription("The body is too large.").
		WithContent(openapi3.NewContentWithSchema(openapi3.NewStringSchema(), []string{"text/plain"})))
	return op
}

// links tell of the answer to a creation what can be asked about the record.
func (rt *route) links() openapi3.Links {
	if rt.action != "create" {
		return nil
	}
	key := rt.doc.answer + "/uuid"
	if rt.doc.answer == "notification" {
		key = "notification/notification_uuid"
	}
	out := openapi3.Links{}
	for i := range routes {
		to := &routes[i]
		rest, below := strings.CutPrefix(to.path, rt.path+"/{")
		name, rest, _ := strings.Cut(rest, "}")
		if !below || to.serve == nil || strings.Contains(rest, "{") {
			continue
		}
		params := map[string]any{name: "$response.body#/" + key}
		for part := range strings.SplitSeq(rt.path, "/") {
			if strings.HasPrefix(part, "{") {
				params[strings.Trim(part, "{}")] = "$request.path." + strings.Trim(part, "{}")
			}
		}
		out[to.operationID()] = &openapi3.LinkRef{Value: &openapi3.Link{OperationID: to.operationID(), Parameters: params}}
	}
	return out
}

// operationID makes a name of action and path: createSegmentsHosts.
func (rt *route) operationID() string {
	var id strings.Builder
	id.WriteString(rt.action)
	for part := range strings.SplitSeq(rt.path, "/") {
		if part != "" && !strings.HasPrefix(part, "{") {
			id.WriteString(strings.ToUpper(part[:1]) + part[1:])
		}
	}
	return id.String()
}

// props are the fields of an answer; all of them are always there.
type props map[string]*openapi3.Schema

func object(parts ...props) *openapi3.Schema {
	s := openapi3.NewObjectSchema()
	for _, p := range parts {
		for name, schema := range p {
			s.WithProperty(name, schema)
			s.Required = append(s.Required, name)
		}
	}
	slices.Sort(s.Required)
	return s
}

func str() *openapi3.Schema                    { return openapi3.NewStringSchema() }
func integer() *openapi3.Schema                { return openapi3.NewInt64Schema() }
func boolean() *openapi3.Schema                { return openapi3.NewBoolSchema() }
func null(s *openapi3.Schema) *openapi3.Schema { return s.WithNullable() }
func moment() *openapi3.Schema {
	return openapi3.NewStringSchema().WithPattern(`^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}$`)
}

func ref(name string) *openapi3.SchemaRef {
	return openapi3.NewSchemaRef("#/components/schemas/"+name, nil)
}

// wrapped is an answer: an object with one field.
func wrapped(name string, inner *openapi3.SchemaRef) *openapi3.SchemaRef {
	s := openapi3.NewObjectSchema().WithPropertyRef(name, inner)
	s.Required = []string{name}
	return s.NewRef()
}

func listOf(item *openapi3.SchemaRef) *openapi3.SchemaRef {
	s := openapi3.NewArraySchema()
	s.Items = item
	return s.NewRef()
}

// answerSchemas describe what is answered.
func answerSchemas() openapi3.Schemas {
	stamp := props{"id": integer(), "created_at": null(moment()), "updated_at": null(moment()), "deleted_at": null(moment()), "deleted": boolean()}
	segment := object(stamp, props{
		"uuid": str(), "name": str(), "service_type": str(), "enabled": boolean(), "description": null(str()), "recovery_method": str(),
	})
	host := object(stamp, props{
		"uuid": str(), "name": str(), "failover_segment_id": str(), "type": str(), "reserved": boolean(),
		"control_attributes": str(), "on_maintenance": boolean(),
	}).WithPropertyRef("failover_segment", ref("segmentItem"))
	notification := object(stamp, props{
		"notification_uuid": str(), "generated_time": moment(), "source_host_uuid": str(), "type": str(),
		"payload": openapi3.NewObjectSchema().WithAdditionalProperties(str()), "status": str(), "failover_segment_uuid": str(), "message": null(str()),
	})
	detail := object(props{"name": str(), "progress": openapi3.NewFloat64Schema(), "state": str(), "progress_details": openapi3.NewArraySchema().WithItems(
		object(props{"timestamp": str(), "progress": str(), "message": str()}),
	)})
	notification.WithProperty("recovery_workflow_details", openapi3.NewArraySchema().WithItems(detail))
	vmove := object(stamp, props{
		"uuid": str(), "notification_uuid": str(), "instance_uuid": str(), "instance_name": null(str()), "source_host": null(str()),
		"dest_host": null(str()), "start_time": null(moment()), "end_time": null(moment()), "type": str(), "status": str(), "message": null(str()),
	})
	links := openapi3.NewArraySchema().WithItems(openapi3.NewObjectSchema().WithProperty("rel", str()).WithProperty("type", str()).WithProperty("href", str()))
	versionItem := object(props{"id": str(), "status": str(), "version": str(), "min_version": str(), "updated": str(), "links": links})
	versionItem.WithProperty("media-types", openapi3.NewArraySchema().WithItems(object(props{"base": str(), "type": str()})))
	extension := object(props{"name": str(), "alias": str(), "description": str(), "namespace": str(), "updated": str(), "links": openapi3.NewArraySchema().WithItems(str())})

	faultItem := object(props{"code": integer(), "message": str()})
	fault := openapi3.NewObjectSchema().WithMinProperties(1).WithMaxProperties(1)
	for status := range 600 {
		fault.WithProperty(wire.FaultKey(status), faultItem)
	}
	out := openapi3.Schemas{
		"segmentItem":  segment.NewRef(),
		"segment":      wrapped("segment", ref("segmentItem")),
		"segments":     wrapped("segments", listOf(ref("segmentItem"))),
		"fault":        fault.NewRef(),
		"unauthorized": wrapped("error", object(props{"code": integer(), "title": str(), "message": str()}).NewRef()),
		"versions":     wrapped("versions", listOf(versionItem.NewRef())),
	}
	for name, item := range map[string]*openapi3.Schema{"host": host, "notification": notification, "vmove": vmove, "version": versionItem, "extension": extension} {
		out[name+"Item"] = item.NewRef()
		out[name] = wrapped(name, ref(name+"Item"))
		if name != "version" {
			out[name+"s"] = wrapped(name+"s", listOf(ref(name+"Item")))
		}
	}
	return out
}
