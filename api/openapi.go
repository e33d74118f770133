package api

import (
	"context"
	"fmt"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/wasakari/wasakari/api/internal/wire"
	"github.com/wasakari/wasakari/api/masakariv1"
)

// document makes the OpenAPI document of the whole API.
func document(describe func(*openapi3.T)) ([]byte, error) {
	doc := masakariv1.OpenAPI()
	if describe != nil {
		describe(doc)
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
