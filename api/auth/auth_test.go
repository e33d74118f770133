package auth_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/wasakari/wasakari/api/auth"
	"github.com/wasakari/wasakari/recovery"
)

// verifier knows one token; it tells what it was asked.
type verifier struct{ asked []string }

func (v *verifier) Verify(_ context.Context, token, service string) (auth.Identity, error) {
	v.asked = append(v.asked, token+" "+service)
	if token != "good" {
		return auth.Identity{}, fmt.Errorf("token: %w", recovery.ErrUnauthorized)
	}
	return ann, nil
}

func TestKeystone(t *testing.T) {
	for _, tt := range []struct {
		name   string
		header http.Header
		asked  string
		want   error
	}{
		{name: "token", header: http.Header{"X-Auth-Token": {"good"}}, asked: "[good ]"},
		{name: "service token", header: http.Header{"X-Auth-Token": {"good"}, "X-Service-Token": {"service"}}, asked: "[good service]"},
		{name: "refused", header: http.Header{"X-Auth-Token": {"bad"}}, asked: "[bad ]", want: recovery.ErrUnauthorized},
		{name: "none", asked: "[]", want: recovery.ErrUnauthorized},
		{name: "empty", header: http.Header{"X-Auth-Token": {""}}, asked: "[]", want: recovery.ErrUnauthorized},
		{name: "two", header: http.Header{"X-Auth-Token": {"good", "good"}}, asked: "[]", want: recovery.ErrUnauthorized},
		{name: "two of services", header: http.Header{"X-Auth-Token": {"good"}, "X-Service-Token": {"a", "b"}}, asked: "[]", want: recovery.ErrUnauthorized},
		{name: "a service alone", header: http.Header{"X-Service-Token": {"good"}}, asked: "[]", want: recovery.ErrUnauthorized},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/v1", http.NoBody)
			r.Header = tt.header
			v := &verifier{}
			var a auth.Authenticator = auth.Keystone{Verifier: v}
			id, err := a.Authenticate(t.Context(), r)
			if !errors.Is(err, tt.want) || fmt.Sprint(v.asked) != tt.asked {
				t.Fatalf("error = %v, asked for %s, want %v, %s", err, v.asked, tt.want, tt.asked)
			}
			if err == nil && id.UserID != ann.UserID || err != nil && id.UserID != "" {
				t.Errorf("identity = %+v", id)
			}
		})
	}
}
