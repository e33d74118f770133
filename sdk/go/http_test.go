package wasakari_test

import (
	"context"
	"strings"
	"testing"

	wasakari "github.com/wasakari/wasakari/sdk/go"
	"github.com/wasakari/wasakari/sdk/go/wasakaritest"
)

func TestHTTPRequest(t *testing.T) {
	fake := &wasakaritest.Fake{Options: map[string]map[string]any{
		"acme": {"token": wasakari.Secret{Name: "acme.token"}, "ca": wasakari.Secret{Name: "acme.ca"}, "unset": nil, "plain": "x"},
	}}
	wasakaritest.Answer(fake, "http.request", func(_ context.Context, r wasakari.HTTPRequestRequest) (wasakari.HTTPRequestAnswer, error) {
		return wasakari.HTTPRequestAnswer{Status: 201, URL: r.URL, Body: r.Method}, nil
	})
	r := run(t, fake, func(t *wasakari.Task) error {
		token := t.Secret("acme", "token")
		ans, err := t.HTTP().Request(t.Context(), wasakari.HTTPRequestRequest{
			Method: "POST", URL: "https://example.com/",
			Headers: map[string]wasakari.Text{"Accept": "application/json", "Authorization": token.WithPrefix("Bearer ")},
			Basic:   &wasakari.HTTPBasic{User: "me", Password: token},
			TLS:     &wasakari.HTTPTLS{CA: t.Secret("acme", "ca").Ref(), Cert: t.Secret("acme", "unset").Ref()},
		})
		t.Log().Infof("%d %s %s %s", ans.Status, ans.Body, ans.URL, t.OptionString("acme", "token"))
		return err
	})
	if r.Outcome != wasakaritest.Succeeded {
		t.Fatalf("ended %s %q", r.Outcome, r.Reason)
	}
	want := `{"method":"POST","url":"https://example.com/","headers":{"Accept":"application/json","Authorization":{"$secret":"acme.token","prefix":"Bearer "}},` +
		`"basic":{"user":"me","password":{"$secret":"acme.token"}},"tls":{"ca":{"$secret":"acme.ca"}}}`
	if len(r.Calls) != 1 || string(r.Calls[0].Request) != want {
		t.Errorf("calls %s, want %s", r.Calls, want)
	}
	if want := `201 POST https://example.com/ {"$secret":"acme.token"}`; r.Logs[0].Message != want {
		t.Errorf("log %q, want %q", r.Logs[0].Message, want)
	}
}

func TestSecretThatIsNone(t *testing.T) {
	fake := &wasakaritest.Fake{Options: map[string]map[string]any{"acme": {"plain": "x"}}}
	for name, want := range map[string]string{"plain": "panic: option [acme] plain: ", "missing": "panic: option [acme] missing: not found"} {
		r := run(t, fake, func(t *wasakari.Task) error {
			t.Secret("acme", name)
			return nil
		})
		if r.Outcome != wasakaritest.Failed || !strings.HasPrefix(r.Reason, want) {
			t.Errorf("ended %s %q, want %s", r.Outcome, r.Reason, want)
		}
	}
}
