package wasakariv1_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/wasakari/wasakari/api/wasakariv1"
	"github.com/wasakari/wasakari/recovery"
)

// FuzzRequest sends any query, headers and body to any path: nothing ends in a
// 5xx, and each refusal is a document.
func FuzzRequest(f *testing.F) {
	for _, seed := range []struct{ method, path, query, header, body string }{
		{"GET", "/runs", "status=failed&limit=2&since=90m&marker=r3", "", ""},
		{"GET", "/runs", "since=2026-11-23T09:00:00.5%2B01:00", "", ""},
		{"GET", "/runs/r2/watch", "", "5.1", ""},
		{"POST", "/runs/r4/abort", "", "", `{"mode":"revert","reason":"x"}`},
		{"POST", "/runs/r2/retry", "", "", `{"override":"why"}`},
		{"PUT", "/modules/my_task/pin", "tenant=p-one", "", `{"digest":"sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"}`},
		{"POST", "/modules", "wait=0", "sha-256=AAAA", "\x00asm\x01\x00\x00\x00"},
		{"GET", "/modules/my_task/versions/sha256:00", "", "", ""},
		{"DELETE", "/modules/my_task", "", "", ""},
		{"GET", "/flows", "kind=instance&segment=x", "", ""},
	} {
		f.Add(seed.method, seed.path, seed.query, seed.header, seed.body)
	}
	f.Fuzz(func(t *testing.T, method, path, query, header, body string) {
		if path == "/events" || strings.HasSuffix(path, "/watch") && !strings.Contains(path, "r2") {
			return // has no end
		}
		w := someRuns()
		w.bytes, w.aborts, w.retries = map[string][]byte{}, map[string]recovery.Abort{}, map[string]string{}
		api, err := wasakariv1.New(wasakariv1.Config{
			Caller: func(*http.Request) (wasakariv1.Caller, error) { return people["admin"], nil },
			Store:  w, Modules: w, Admit: w, Flows: w, Servers: w, MaxModule: 1 << 20,
		})
		if err != nil {
			t.Fatal(err)
		}
		req, err := http.NewRequestWithContext(t.Context(), method, "http://x/", strings.NewReader(body))
		if err != nil {
			return
		}
		req.URL = &url.URL{Scheme: "http", Host: "x", Path: wasakariv1.Prefix + path, RawQuery: query}
		req.RequestURI = ""
		for _, name := range []string{"Digest", "X-Content-SHA256", "Last-Event-ID", "If-None-Match"} {
			if header != "" {
				req.Header.Set(name, header)
			}
		}
		if method == http.MethodPost && path == "/modules" {
			req.Header.Set("Content-Type", "application/wasm")
		}
		rec := httptest.NewRecorder()
		api.ServeHTTP(rec, req)
		if rec.Code >= 500 {
			t.Errorf("%s %s?%s: %d %s", method, path, query, rec.Code, rec.Body)
		}
		if rec.Code >= 400 && !strings.HasPrefix(rec.Body.String(), `{"error":{"code":`) {
			t.Errorf("%s %s?%s: %d %s", method, path, query, rec.Code, rec.Body)
		}
	})
}
