package api

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/wasakari/wasakari/recovery"
)

const referenceHead = `# HTTP API

<!-- Made by "make generate" from the OpenAPI document, which a server has at /wasakari/v1/openapi.json. -->

Paths below ` + "`/v1`" + ` are Masakari's, in microversions 1.0 to 1.3 (` + "`OpenStack-API-Version: instance-ha 1.3`" + `); those below ` + "`/wasakari/v1`" + ` are Wasakari's own, of which
[wasakari-api.md](wasakari-api.md) tells more. A token goes into ` + "`X-Auth-Token`" + `; [api-roles.md](api-roles.md) says who may do what, by the rule named with each request.
`

// Reference describes the API in Markdown: docs/api-reference.md. describe is
// Config.Describe.
func Reference(describe func(*openapi3.T) error) (string, error) {
	body, err := document(describe)
	if err != nil {
		return "", err
	}
	doc, err := openapi3.NewLoader().LoadFromData(body)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	b.WriteString(referenceHead)
	part := ""
	for _, path := range slices.SortedFunc(maps.Keys(doc.Paths.Map()), comparePaths) {
		if at := partOf(path); at != part {
			part = at
			fmt.Fprintf(&b, "\n## %s\n", part)
		}
		item := doc.Paths.Value(path)
		for _, method := range []string{"GET", "POST", "PUT", "DELETE"} {
			if op := item.GetOperation(method); op != nil {
				operation(&b, method, path, slices.Concat(item.Parameters, op.Parameters), op)
			}
		}
	}
	b.WriteString("\n## Documents\n")
	for _, name := range slices.Sorted(maps.Keys(doc.Components.Schemas)) {
		fmt.Fprintf(&b, "\n### %s\n\n", name)
		fields(&b, doc.Components.Schemas[name].Value)
	}
	return b.String(), nil
}

// The parts, in their order.
var parts = []string{"Masakari's", "Wasakari's own", "State of a server"}

func partOf(path string) string {
	switch {
	case below(path, "/wasakari/v1"):
		return parts[1]
	case path == "/" || below(path, "/v1") || path == "/v1/":
		return parts[0]
	}
	return parts[2]
}

func comparePaths(a, b string) int {
	if d := slices.Index(parts, partOf(a)) - slices.Index(parts, partOf(b)); d != 0 {
		return d
	}
	return strings.Compare(a, b)
}

func operation(b *strings.Builder, method, path string, params openapi3.Parameters, op *openapi3.Operation) {
	fmt.Fprintf(b, "\n### %s %s\n\n%s\n", method, path, recovery.TableCell(strings.TrimRight(op.Summary, ".")+"."))
	if rule, ok := op.Extensions["x-policy-rule"].(string); ok {
		fmt.Fprintf(b, "Rule: `%s`.\n", rule)
	}
	var lines strings.Builder
	for _, p := range params {
		fmt.Fprintf(&lines, "| `%s` | %s | %s | %s |\n", p.Value.Name, p.Value.In, typeOf(p.Value.Schema), recovery.TableCell(p.Value.Description))
	}
	if lines.Len() > 0 {
		b.WriteString("\n| Parameter | In | Type | |\n| --- | --- | --- | --- |\n" + lines.String())
	}
	if op.RequestBody != nil {
		b.WriteString("\nBody: " + contentOf(op.RequestBody.Value.Content) + "\n")
	}
	b.WriteString("\n")
	var answers []string
	for _, code := range slices.Sorted(maps.Keys(op.Responses.Map())) {
		text := "otherwise"
		if code != "default" {
			text = "`" + code + "`"
		}
		if what := contentOf(op.Responses.Value(code).Value.Content); what != "" {
			text += " " + what
		}
		answers = append(answers, text)
	}
	b.WriteString("Answers: " + strings.Join(answers, "; ") + ".\n")
}

func contentOf(c openapi3.Content) string {
	if json := c["application/json"]; json != nil {
		return typeOf(json.Schema)
	}
	var all []string
	for _, kind := range slices.Sorted(maps.Keys(c)) {
		all = append(all, "`"+kind+"`")
	}
	return strings.Join(all, " or ")
}

// typeOf names the type of a schema.
func typeOf(ref *openapi3.SchemaRef) string {
	if ref == nil || ref.Value == nil {
		return "any"
	}
	if name, ok := strings.CutPrefix(ref.Ref, "#/components/schemas/"); ok {
		return fmt.Sprintf("[%s](#%s)", name, strings.ToLower(name))
	}
	s := ref.Value
	var kinds []string
	if s.Type != nil {
		kinds = s.Type.Slice()
	}
	switch {
	case len(s.Enum) > 0:
		var words []string
		for _, e := range s.Enum {
			words = append(words, fmt.Sprintf("`%v`", e))
		}
		return strings.Join(words, ", ")
	case s.Items != nil:
		return "list of " + typeOf(s.Items)
	case s.AdditionalProperties.Schema != nil:
		return "object of " + typeOf(s.AdditionalProperties.Schema)
	case len(s.Properties) > 0:
		var names []string
		for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
			names = append(names, fmt.Sprintf("`%s`: %s", name, typeOf(s.Properties[name])))
		}
		return "{" + strings.Join(names, ", ") + "}"
	case len(s.OneOf)+len(s.AnyOf) > 0:
		var all []string
		for _, o := range slices.Concat(s.OneOf, s.AnyOf) {
			all = append(all, typeOf(o))
		}
		return strings.Join(all, " or ")
	case len(kinds) == 0:
		return "any"
	}
	text := strings.Join(kinds, " or ")
	if s.Format != "" {
		text += " (" + s.Format + ")"
	}
	return text
}

// fields lists the properties of a document.
func fields(b *strings.Builder, s *openapi3.Schema) {
	if s.Description != "" {
		b.WriteString(recovery.TableCell(s.Description) + "\n\n")
	}
	if len(s.Properties) == 0 {
		b.WriteString(typeOf(&openapi3.SchemaRef{Value: s}) + "\n")
		return
	}
	b.WriteString("| Name | Type | |\n| --- | --- | --- |\n")
	for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
		p := s.Properties[name]
		note := ""
		if p.Value != nil {
			note = p.Value.Description
		}
		if slices.Contains(s.Required, name) {
			note = strings.TrimSpace("always there. " + note)
		}
		fmt.Fprintf(b, "| `%s` | %s | %s |\n", name, typeOf(p), recovery.TableCell(note))
	}
}
