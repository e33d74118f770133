package main

import (
	"net/http"

	"go.uber.org/zap"

	"github.com/wasakari/wasakari/api"
	"github.com/wasakari/wasakari/api/auth"
	"github.com/wasakari/wasakari/api/wasakariv1"
	"github.com/wasakari/wasakari/config"
	"github.com/wasakari/wasakari/openstack"
)

// callers says who sent a request to the API, and what he may do.
type callers struct {
	authenticator auth.Authenticator
	policy        *auth.Policy
	tokens        *openstack.Tokens // nil: nobody has to log in
}

// open reports whether everybody is let in.
func (c *callers) open() bool { return c.tokens == nil }

// close gives back what the callers' tokens are checked with.
func (c *callers) close() {
	if c.tokens != nil {
		c.tokens.Close()
	}
}

// newCallers reads the policy, and who checks tokens.
func (sv *daemon) newCallers(cfg *config.Config) (*callers, error) {
	c := &callers{authenticator: auth.Nobody{}}
	var warnings []string
	var err error
	if c.policy, warnings, err = callersPolicy(cfg); err != nil {
		return nil, err
	}
	for _, warning := range warnings {
		sv.log.Warn("policy", zap.String("problem", warning))
	}
	if sv.cloud.sim != nil || cfg.Default.AuthStrategy == "noauth2" {
		return c, nil
	}
	if c.tokens, err = callersTokens(cfg, sv.tel.Request, sv.log.Named("keystone")); err != nil {
		return nil, err
	}
	c.authenticator = auth.Keystone{Verifier: tokenVerifier{c.tokens}}
	return c, nil
}

// caller is who sent a request to Wasakari's own API.
type caller struct {
	auth.Identity
	policy *auth.Policy
}

// of tells who sent a request that the frame of the API let in.
func (c *callers) of(r *http.Request) (wasakariv1.Caller, error) {
	return caller{api.Caller(r.Context()), c.policy}, nil
}

// User gives the user's id.
func (c caller) User() string { return c.UserID }

// Project gives the project of the token.
func (c caller) Project() string { return c.ProjectID }

// May asks the policy.
func (c caller) May(rule string, target map[string]string) error {
	return c.policy.Enforce(rule, c.Identity, target)
}
