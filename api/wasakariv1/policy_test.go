package wasakariv1_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/wasakari/wasakari/api/auth"
	"github.com/wasakari/wasakari/api/wasakariv1"
)

// role is a caller of the service's own policy.
type role struct {
	auth.Identity
	policy *auth.Policy
}

func (c role) User() string    { return c.UserID }
func (c role) Project() string { return c.ProjectID }

func (c role) May(rule string, target map[string]string) error {
	return c.policy.Enforce(rule, c.Identity, target)
}

// Who may do what, by the policy as it is when nobody wrote one.
func TestRoles(t *testing.T) {
	policy, err := auth.NewPolicy(auth.PolicyConfig{})
	if err != nil {
		t.Fatal(err)
	}
	s := serve(t, someRuns(), func(c *wasakariv1.Config) {
		c.Caller = func(r *http.Request) (wasakariv1.Caller, error) {
			id := auth.Identity{UserID: "u", ProjectID: "p-one"}
			if name := r.Header.Get("X-Auth-Token"); name == "wasakari_author without a project" {
				id.ProjectID, id.Roles = "", []string{"wasakari_author"}
			} else if name != "" {
				id.Roles = []string{name}
			}
			return role{id, policy}, nil
		}
	})
	const none = "no role"
	operators, readers := []string{"admin", "wasakari_operator"}, []string{"admin", "wasakari_operator", "wasakari_reader"}
	for _, op := range []struct {
		method, path string
		all          []string // for whom it is done
		author       int      // the status that an author gets
	}{
		{http.MethodGet, "/modules", readers, 200},
		{http.MethodPost, "/modules", operators, 415},
		{http.MethodGet, "/modules/x_task", readers, 404},
		{http.MethodGet, "/modules/x_task/versions", readers, 404},
		{http.MethodPut, "/modules/x_task/pin", operators, 404},
		{http.MethodDelete, "/modules/x_task/pin", operators, 404},
		{http.MethodDelete, "/modules/x_task", operators, 404},
		{http.MethodGet, "/runs", readers, 200},
		{http.MethodGet, "/runs/r2", readers, 404},
		{http.MethodPost, "/runs/r9/abort", operators, 403},
		{http.MethodPost, "/runs/r9/retry", operators, 403},
		{http.MethodGet, "/flows", readers, 403},
		{http.MethodGet, "/flows/check", readers, 403},
		{http.MethodGet, "/nodes", readers, 403},
		{http.MethodGet, "/events?types=x", readers, 403},
	} {
		for _, who := range []string{"admin", "wasakari_operator", "wasakari_reader", "wasakari_author", "wasakari_author without a project", "wasakari_monitor", "member", none} {
			r := s.call(t, strings.TrimPrefix(who, none), op.method, op.path, nil)
			switch {
			case who == "wasakari_author":
				if r.code != op.author {
					t.Errorf("%s %s by %s: %d, want %d", op.method, op.path, who, r.code, op.author)
				}
			case slices.Contains(op.all, who) == (r.code == http.StatusForbidden):
				t.Errorf("%s %s by %s: %d", op.method, op.path, who, r.code)
			}
		}
	}
}
