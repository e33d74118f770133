package api

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/wasakari/wasakari/api/internal/wire"
	"github.com/wasakari/wasakari/api/masakariv1"
)

// document makes the OpenAPI document of the whole API.
func document(describe func(*openapi3.T) error) ([]byte, error) {
	doc := masakariv1.OpenAPI()
	for path, summary := range map[string]string{
		"/healthcheck": "Whether a load balancer may send requests here",
		"/healthz":     "Whether the process is alive",
		"/readyz":      "Whether requests can be answered",
	} {
		op := &openapi3.Operation{OperationID: "get" + strings.ToUpper(path[1:2]) + path[2:], Summary: summary, Security: openapi3.NewSecurityRequirements()}
		text := openapi3.NewContentWithSchema(openapi3.NewStringSchema(), []string{"text/plain"})
		op.AddResponse(http.StatusOK, openapi3.NewResponse().WithDescription("It is so.").WithContent(text))
		op.AddResponse(http.StatusServiceUnavailable, openapi3.NewResponse().WithDescription("It is not so.").WithContent(text))
		doc.AddOperation(path, http.MethodGet, op)
	}
	if describe != nil {
		if err := describe(doc); err != nil {
			return nil, fmt.Errorf("openapi document: %w", err)
		}
	}
	if err := openapi3.NewLoader().ResolveRefsIn(doc, nil); err != nil {
		return nil, fmt.Errorf("openapi document: %w", err)
	}
	if err := doc.Validate(context.Background()); err != nil {
		return nil, fmt.Errorf("openapi document: %w", err)
	}
	body, err := wire.Marshal(doc)
	if err != nil {
		return nil, fmt.Errorf("openapi document: %w", err)
	}
	return body, nil
}
