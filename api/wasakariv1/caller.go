package wasakariv1

import (
	"net/http"

	"github.com/wasakari/wasakari/api/auth"
	"github.com/wasakari/wasakari/api/internal/wire"
)

// Enforcer is the policy.
type Enforcer interface {
	// Enforce refuses with an error that matches recovery.ErrForbidden.
	Enforce(rule string, id auth.Identity, target map[string]string) error
}

// Callers gives Config.Caller for requests that came through the frame of package
// api, which has authenticated them.
func Callers(policy Enforcer) func(*http.Request) (Caller, error) {
	return func(r *http.Request) (Caller, error) {
		return caller{wire.Of(r.Context()).Caller, policy}, nil
	}
}

type caller struct {
	id     auth.Identity
	policy Enforcer
}

func (c caller) User() string    { return c.id.UserID }
func (c caller) Project() string { return c.id.ProjectID }

func (c caller) May(rule string, target map[string]string) error {
	return c.policy.Enforce(rule, c.id, target)
}
