// Package auth says who a caller of the API is and what he may do.
//
// Who he is, Keystone says by his token, or nobody. What he may do is a policy
// of rules as OpenStack's services have them: Masakari's rules with Masakari's
// meaning, Wasakari's own, and the operator's files over both.
package auth

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/wasakari/wasakari/recovery"
)

// Identity is a caller of the API. It does not change once it is made.
type Identity struct {
	UserID, UserName    string
	ProjectID, DomainID string // empty: the token is for no project; the domain is the user's
	Roles               []string
	System              bool // the token is for the whole system
	// Admin makes an administrator whatever the roles are: there is no
	// authentication.
	Admin bool
	// Expires is when the token does; zero: never.
	Expires time.Time
}

// Authenticator says who sent a request.
type Authenticator interface {
	// Authenticate gives recovery.ErrUnauthorized for a request without a good
	// token. Any other error says that it could not find out.
	Authenticate(ctx context.Context, r *http.Request) (Identity, error)
}

// Verifier tells who a token stands for.
type Verifier interface {
	// Verify gives recovery.ErrUnauthorized for what is no valid token, any other
	// error when it could not find out. service is the token of a service that
	// passes the request on, empty when there is none. No error holds a token.
	Verify(ctx context.Context, token, service string) (Identity, error)
}

// Keystone is the Authenticator of the strategy keystone: it reads
// X-Auth-Token and X-Service-Token, and asks the Verifier.
type Keystone struct{ Verifier Verifier }

// Authenticate is part of Authenticator.
func (k Keystone) Authenticate(ctx context.Context, r *http.Request) (Identity, error) {
	token, service := r.Header.Values("X-Auth-Token"), r.Header.Values("X-Service-Token")
	// Of two, one proxy would have looked at the first and we at the other.
	if len(token) != 1 || token[0] == "" || len(service) > 1 {
		return Identity{}, fmt.Errorf("%w: want one X-Auth-Token, and one X-Service-Token at most", recovery.ErrUnauthorized)
	}
	return k.Verifier.Verify(ctx, token[0], r.Header.Get("X-Service-Token"))
}

// Nobody is the Authenticator of the strategy noauth2, and of a simulation: no
// token is looked at, and everybody is an administrator without a project. It
// is for a server that only programs of its own machine reach; see
// api.Config.NoAuth.
type Nobody struct{}

// Authenticate is part of Authenticator.
func (Nobody) Authenticate(context.Context, *http.Request) (Identity, error) {
	return Identity{UserID: "admin", UserName: "admin", Roles: []string{"admin"}, Admin: true}, nil
}
