package egress_test

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/wasakari/wasakari/abi"
	"github.com/wasakari/wasakari/recovery"
)

const token = `t0k&n/+"ü-of=acme?`

// plainToken is a token that headers may hold.
const plainToken = "s3cr3t+token/of&acme=="

func (w *world) secret(name, value, origin string, places ...string) {
	if w.call.Secrets == nil {
		w.call.Secrets = map[string]recovery.Secret{}
	}
	w.call.Secrets[name] = recovery.Secret{Name: name, Value: value, Origin: origin, Places: places}
}

func handle(name string) abi.Text { return abi.Text{Secret: &abi.Secret{Name: name}} }

func TestSecretsInTheirPlaces(t *testing.T) {
	w := newWorld(t)
	var got *http.Request
	var body string
	w.serve(public+":443", func(_ http.ResponseWriter, r *http.Request) { got, body = r, string(slurp(r)) })
	w.secret("acme.token", plainToken, "https://api.example.com", "header:Authorization", "header:x-token")
	w.secret("acme.password", token+"\n", "https://*.example.com", "basic", "body")
	w.call.Request = abi.HTTPRequestRequest{
		Method: "POST", URL: "https://api.example.com/v1/new", BodyJSON: []byte(`{"a":[{"$secret":"acme.password"}, 12345678901234567890], "b":"<&>"}`),
		Headers: map[string]abi.Text{"authorization": {Secret: &abi.Secret{Name: "acme.token", Prefix: "Bearer "}}, "X-Token": handle("acme.token")},
	}
	w.good()
	if got.Header.Get("Authorization") != "Bearer "+plainToken || got.Header.Get("X-Token") != plainToken {
		t.Errorf("headers = %v", got.Header)
	}
	// The file's last line feed is no part of it.
	quoted, _ := json.Marshal(token)
	if want := `{"a":[` + strings.ReplaceAll(string(quoted), `\u0026`, "&") + `,12345678901234567890],"b":"<&>"}`; body != want {
		t.Errorf("body = %s, want %s", body, want)
	}
	w.call.Request = abi.HTTPRequestRequest{
		Method: "GET", URL: "https://api.example.com/", Basic: &abi.HTTPBasic{User: abi.Text{Plain: "me"}, Password: handle("acme.password")},
	}
	w.good()
	if user, password, _ := got.BasicAuth(); user != "me" || password != token {
		t.Errorf("user %q, password %q", user, password)
	}
	if s := w.logged(); strings.Contains(s, plainToken) || strings.Contains(s, token) {
		t.Errorf("the log holds a secret: %s", s)
	}
}

func TestSecretsElsewhere(t *testing.T) {
	header := func(name, secret string) abi.HTTPRequestRequest {
		return abi.HTTPRequestRequest{Method: "GET", URL: "https://api.example.com/", Headers: map[string]abi.Text{name: handle(secret)}}
	}
	tests := []struct {
		name string
		req  abi.HTTPRequestRequest
		want string
	}{
		{"other origin", header("Authorization", "acme.other"), "forbidden: http.request: secret acme.other: it is bound to https://other.example.com and not sent to https://api.example.com"},
		{"other port", header("Authorization", "acme.port"), "forbidden: http.request: secret acme.port: it is bound to https://api.example.com:8443 and not sent to https://api.example.com"},
		{"other header", header("X-Token", "acme.token"), "forbidden: http.request: secret acme.token: it is bound to header:Authorization and not put into header:X-Token"},
		{"unbound", header("Authorization", "acme.loose"), "forbidden: http.request: secret acme.loose: the operator did not bind it to an origin and a place; see [secrets]"},
		{"not set", header("Authorization", "acme.empty"), "forbidden: http.request: secret acme.empty: it is not set"},
		{"of others", header("Authorization", "others.token"), `forbidden: http.request: secret "others.token": the task has no secret option of that name`},
		{
			"basic",
			abi.HTTPRequestRequest{Method: "GET", URL: "https://api.example.com/", Basic: &abi.HTTPBasic{Password: handle("acme.token")}},
			"forbidden: http.request: secret acme.token: it is bound to header:Authorization and not put into basic",
		},
		{
			"body",
			abi.HTTPRequestRequest{Method: "POST", URL: "https://api.example.com/", BodyJSON: []byte(`{"$secret":"acme.token"}`)},
			"forbidden: http.request: secret acme.token: it is bound to header:Authorization and not put into body; the request was not sent",
		},
		{
			"tls",
			abi.HTTPRequestRequest{Method: "GET", URL: "https://api.example.com/", TLS: &abi.HTTPTLS{CA: &abi.Secret{Name: "acme.token"}}},
			"forbidden: http.request: secret acme.token: it is bound to header:Authorization and not put into tls",
		},
		{
			"more than a handle",
			abi.HTTPRequestRequest{Method: "POST", URL: "https://api.example.com/", BodyJSON: []byte(`{"$secret":"acme.token","x":1}`)},
			"invalid: http.request: body_json: a handle has the key $secret alone, with a string; the request was not sent",
		},
		{
			"prefix in basic",
			abi.HTTPRequestRequest{Method: "GET", URL: "https://api.example.com/", Basic: &abi.HTTPBasic{Password: abi.Text{Secret: &abi.Secret{Name: "acme.basic", Prefix: "x"}}}},
			"invalid: http.request: basic: a prefix is for headers only",
		},
		{"value of two lines", header("Authorization", "acme.lines"), "invalid: http.request: headers: the value of Authorization holds more than printable ASCII, or blanks at an end"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			w.secret("acme.token", plainToken, "https://api.example.com", "header:Authorization")
			w.secret("acme.other", plainToken, "https://other.example.com", "header:Authorization")
			w.secret("acme.port", plainToken, "https://api.example.com:8443", "header:Authorization")
			w.secret("acme.basic", plainToken, "https://api.example.com", "basic")
			w.secret("acme.lines", plainToken+"\r\nX-Evil: 1", "https://api.example.com", "header:Authorization")
			w.secret("acme.loose", plainToken, "")
			w.secret("acme.empty", "", "https://api.example.com", "header:Authorization")
			w.call.Request = tt.req
			w.refused(tt.want)
			if len(w.dialled) != 0 {
				t.Error("something was sent")
			}
			if n := w.logs.FilterMessage("http request").Len(); n != 1 || strings.Contains(w.logged(), plainToken) {
				t.Errorf("%d lines in the log, want 1 without the secret: %s", n, w.logged())
			}
		})
	}
}

// A short document that names a long secret often is no long one.
func TestSecretsDoNotGrow(t *testing.T) {
	w := newWorld(t)
	w.secret("acme.long", strings.Repeat("k", 60<<10), "https://api.example.com", "body")
	w.call.Request = abi.HTTPRequestRequest{Method: "POST", URL: "https://api.example.com/", BodyJSON: []byte("[" + strings.Repeat(`{"$secret":"acme.long"},`, 1000) + "0]")}
	w.refused("too_large: http.request: body: it has more than 1048576 bytes; the request was not sent")
}

func TestEchoesAreMasked(t *testing.T) {
	both := "me:" + plainToken
	forms := map[string]string{
		"as it is":             plainToken,
		"in a text":            "token=" + plainToken + ";",
		"twice":                plainToken + plainToken,
		"query":                url.QueryEscape(plainToken),
		"path":                 url.PathEscape(plainToken),
		"lower escapes":        strings.ReplaceAll(strings.ReplaceAll(url.QueryEscape(plainToken), "%2B", "%2b"), "%2F", "%2f"),
		"every byte escaped":   escaped(plainToken),
		"hex":                  hex.EncodeToString([]byte(plainToken)),
		"HTML":                 "s3cr3t+token/of&amp;acme==",
		"JSON":                 `"s3cr3t+token/of\u0026acme=="`,
		"JSON of others":       `"s3cr3t+token\/of&acme=="`,
		"base64":               base64.StdEncoding.EncodeToString([]byte(plainToken)),
		"base64 after 1":       base64.StdEncoding.EncodeToString([]byte("x" + plainToken + "yz")),
		"base64 after 2":       base64.StdEncoding.EncodeToString([]byte("xy" + plainToken + "z")),
		"base64 after 3":       base64.URLEncoding.EncodeToString([]byte("xyz" + plainToken + "z")),
		"basic authentication": base64.StdEncoding.EncodeToString([]byte(both)),
		"base64 in a URL":      url.QueryEscape(base64.StdEncoding.EncodeToString([]byte("x" + plainToken))),
	}
	for name, form := range forms {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.secret("acme.token", plainToken, "https://api.example.com", "basic")
			// Another secret of the task, not used in this request.
			w.secret("acme.other", "of-the-other-kind", "https://other.example.com", "body")
			w.serve(public+":443", func(rw http.ResponseWriter, _ *http.Request) {
				rw.Header().Set("X-Echo", form)
				rw.Header().Set("X-of-the-other-kind", "of-the-other-kind")
				_, _ = fmt.Fprintf(rw, "before %s after of-the-other-kind", form)
			})
			w.call.Request.Basic = &abi.HTTPBasic{User: abi.Text{Plain: "me"}, Password: handle("acme.token")}
			ans := w.good()
			all := fmt.Sprint(ans)
			for what, bad := range map[string]string{"form": form, "secret": plainToken, "other secret": "of-the-other-kind", "middle of the form": form[len(form)/3 : len(form)*2/3]} {
				if strings.Contains(strings.ToLower(all), strings.ToLower(bad)) {
					t.Errorf("the answer holds the %s: %s", what, all)
				}
			}
			if !strings.HasPrefix(ans.Body, "before ") || !strings.Contains(ans.Body, "***") || !strings.Contains(ans.Body, " after ***") {
				t.Errorf("body = %q", ans.Body)
			}
		})
	}
}

func escaped(s string) string {
	var b strings.Builder
	for i := range len(s) {
		fmt.Fprintf(&b, "%%%02X", s[i])
	}
	return b.String()
}

func TestEchoInBinaryIsMasked(t *testing.T) {
	w := newWorld(t)
	w.secret("acme.token", plainToken, "https://api.example.com", "body")
	w.serve(public+":443", func(rw http.ResponseWriter, _ *http.Request) { _, _ = rw.Write([]byte("\xff\xfe" + plainToken)) })
	ans := w.good()
	if got, _ := base64.StdEncoding.DecodeString(ans.BodyBase64); string(got) != "\xff\xfe***" || ans.Body != "" {
		t.Errorf("answer = %+v", ans)
	}
}

func TestEchoInARedirectIsMasked(t *testing.T) {
	w := newWorld(t)
	w.secret("acme.token", plainToken, "https://api.example.com", "header:X-Token")
	w.serve(public+":443", func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Location", "https://other.example.com/?t="+url.QueryEscape(r.Header.Get("X-Token")))
		rw.WriteHeader(http.StatusFound)
	})
	w.call.Request.Headers = map[string]abi.Text{"X-Token": handle("acme.token")}
	if ans := w.good(); ans.Headers["Location"] != "https://other.example.com/?t=***" {
		t.Errorf("headers = %v", ans.Headers)
	}
	w.call.Request.MaxRedirects = 1
	w.refused("not_granted: http.request: GET https://other.example.com/?t=***: none of the requests that are granted")
	if strings.Contains(w.logged(), url.QueryEscape(plainToken)) {
		t.Errorf("the log holds the secret: %s", w.logged())
	}
}

func TestKeysAreMaskedLineByLine(t *testing.T) {
	w := newWorld(t)
	_, key := w.ca.issuePEM(t, unchanged)
	line := strings.Split(string(key), "\n")[1]
	w.secret("acme.key", string(key), "https://api.example.com", "tls")
	w.serve(public+":443", func(rw http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprint(rw, line) })
	if ans := w.good(); ans.Body != "***" {
		t.Errorf("body = %q", ans.Body)
	}
}

// The letters at the ends of base64 hold bits of the secret and of its
// neighbours: they go, too.
func TestEndsOfBase64AreMasked(t *testing.T) {
	for lead, want := range []string{"***=", "***eg==", "e***==", "eH***="} {
		w := newWorld(t)
		w.secret("acme.token", plainToken, "https://api.example.com", "body")
		text := []string{plainToken, "x" + plainToken + "yz", "xy" + plainToken + "z", "xyz" + plainToken + "z"}[lead]
		w.serve(public+":443", func(rw http.ResponseWriter, _ *http.Request) {
			_, _ = rw.Write([]byte(base64.StdEncoding.EncodeToString([]byte(text))))
		})
		if ans := w.good(); ans.Body != want {
			t.Errorf("%d bytes before: body = %q, want %q", lead, ans.Body, want)
		}
	}
}
