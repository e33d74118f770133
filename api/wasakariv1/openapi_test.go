package wasakariv1_test

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers/legacy"

	"github.com/wasakari/wasakari/api/wasakariv1"
	"github.com/wasakari/wasakari/recovery"
)

// What is answered is what the description promises.
func TestOpenAPI(t *testing.T) {
	doc := &openapi3.T{OpenAPI: "3.0.3", Info: &openapi3.Info{Title: "x", Version: "1"}}
	if err := wasakariv1.Describe(doc); err != nil {
		t.Fatal(err)
	}
	if err := openapi3.NewLoader().ResolveRefsIn(doc, nil); err != nil {
		t.Fatal(err)
	}
	if err := doc.Validate(t.Context()); err != nil {
		t.Fatal(err)
	}
	router, err := legacy.NewRouter(doc)
	if err != nil {
		t.Fatal(err)
	}
	w := someRuns()
	w.flows = []wasakariv1.Flow{{Kind: recovery.HostAuto, At: "default", Problems: []string{"x"}, Tasks: []wasakariv1.FlowTask{{Phase: recovery.Pre, Key: "a_task"}}}}
	s := serve(t, w, operatedBy(node{backup: func(w io.Writer) error { _, err := w.Write([]byte("x")); return err }}))
	wasm := module(t, "acme", "1.0.0", "a_task")
	old := module(t, "acme", "0.9.0", "a_task")
	seen := map[string]bool{}
	for _, c := range []struct {
		method, path string
		body         []byte
		kind         string
		code         int
	}{
		{http.MethodPost, "/modules", old, "application/wasm", 201},
		{http.MethodPost, "/modules", wasm, "application/wasm", 201},
		{http.MethodPost, "/modules", []byte("x"), "application/wasm", 422},
		{http.MethodGet, "/modules", nil, "", 200},
		{http.MethodGet, "/modules/a_task", nil, "", 200},
		{http.MethodGet, "/modules/x_task", nil, "", 404},
		{http.MethodGet, "/modules/a_task/versions", nil, "", 200},
		{http.MethodGet, "/modules/a_task/versions/" + digestOf(wasm), nil, "", 200},
		{http.MethodPut, "/modules/a_task/pin", []byte(`{"digest":"` + digestOf(wasm) + `"}`), "application/json", 200},
		{http.MethodDelete, "/modules/a_task/pin", nil, "", 200},
		{http.MethodDelete, "/modules/a_task/versions/" + digestOf(old), nil, "", 204},
		{http.MethodDelete, "/modules/a_task", nil, "", 204},
		{http.MethodGet, "/runs", nil, "", 200},
		{http.MethodGet, "/runs?limit=1", nil, "", 200},
		{http.MethodGet, "/runs/r4", nil, "", 200},
		{http.MethodGet, "/runs/r1", nil, "", 200},
		{http.MethodGet, "/runs/r2/watch", nil, "", 200},
		{http.MethodPost, "/runs/r4/abort", []byte(`{"reason":"x","mode":"stop"}`), "application/json", 202},
		{http.MethodPost, "/runs/r2/retry", []byte(`{}`), "application/json", 202},
		{http.MethodGet, "/flows", nil, "", 200},
		{http.MethodGet, "/flows/check", nil, "", 200},
		{http.MethodGet, "/nodes", nil, "", 200},
		{http.MethodGet, "/store/backup", nil, "", 200},
		{http.MethodPost, "/hosts/h1/repaired", nil, "", 200},
	} {
		r := s.call(t, "admin", c.method, c.path, c.body, "Content-Type: "+c.kind)
		if r.code != c.code {
			t.Errorf("%s %s: %d %s", c.method, c.path, r.code, r.body)
			continue
		}
		req, err := http.NewRequestWithContext(t.Context(), c.method, s.url+c.path, bytes.NewReader(c.body))
		if err != nil {
			t.Fatal(err)
		}
		if c.kind != "" {
			req.Header.Set("Content-Type", c.kind)
		}
		rt, params, err := router.FindRoute(req)
		if err != nil {
			t.Errorf("%s %s: %v", c.method, c.path, err)
			continue
		}
		seen[rt.Operation.OperationID] = true
		in := &openapi3filter.RequestValidationInput{Request: req, PathParams: params, Route: rt}
		out := &openapi3filter.ResponseValidationInput{RequestValidationInput: in, Status: r.code, Header: r.header}
		out.SetBodyBytes([]byte(r.body))
		out.Options = &openapi3filter.Options{IncludeResponseStatus: true, ExcludeResponseBody: strings.Contains(r.header.Get("Content-Type"), "wasm") || strings.Contains(r.header.Get("Content-Type"), "octet-stream") || strings.Contains(r.header.Get("Content-Type"), "event-stream")}
		if c.kind == "application/json" {
			if err := openapi3filter.ValidateRequest(t.Context(), in); err != nil {
				t.Errorf("%s %s: %v", c.method, c.path, err)
			}
		}
		if err := openapi3filter.ValidateResponse(t.Context(), out); err != nil {
			t.Errorf("%s %s: %v", c.method, c.path, err)
		}
	}
	for path, item := range doc.Paths.Map() {
		for method, op := range item.Operations() {
			if op.Responses.Default() != nil {
				t.Errorf("%s %s answers anything", method, path)
			}
		}
		for method, op := range item.Operations() {
			if !seen[op.OperationID] && op.OperationID != "watchEvents" {
				t.Errorf("%s %s is not tried", method, path)
			}
		}
	}
}
