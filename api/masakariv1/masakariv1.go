// Package masakariv1 serves Masakari's REST API v1, microversions 1.0 to 1.3:
// segments, hosts, notifications and vmoves, in the words, errors and order of
// checks that Masakari's monitors and clients know.
package masakariv1

import (
	"net/http"

	"github.com/getkin/kin-openapi/openapi3"
	"go.uber.org/zap"
)

// Config configures the API.
type Config struct {
	// Logger gets what went wrong and is not told the client. Defaults to none.
	Logger *zap.Logger
}

// New makes the handler of /v1 and what is below.
func New(cfg Config) (http.Handler, error) {
	return http.NotFoundHandler(), nil
}

// Versions makes the handler of every path outside /v1: the versions document
// at /, and elsewhere the choice of versions.
func Versions() http.Handler { return http.NotFoundHandler() }

// OpenAPI describes the API. The caller may add to the document.
func OpenAPI() *openapi3.T {
	return &openapi3.T{
		OpenAPI: "3.0.3",
		Info:    &openapi3.Info{Title: "Wasakari", Version: "1.3"},
		Paths:   openapi3.NewPaths(),
	}
}
