package masakariv1

import "github.com/getkin/kin-openapi/openapi3"

// OpenAPI describes the API. The caller may add to the document.
func OpenAPI() *openapi3.T {
	return &openapi3.T{
		OpenAPI: "3.0.3",
		Info:    &openapi3.Info{Title: "Wasakari", Version: "1.3"},
		Paths:   openapi3.NewPaths(),
	}
}
