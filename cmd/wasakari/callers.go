package main

import (
	"context"
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
	var err error
	if c.policy, err = auth.NewPolicy(auth.PolicyConfig{
		File: cfg.Policy.File, Dirs: cfg.Policy.Dirs, DefaultRule: cfg.Policy.DefaultRule,
		Operator: cfg.API.OperatorRoles, Author: cfg.API.AuthorRoles, Monitor: cfg.API.MonitorRoles, Reader: cfg.API.ReaderRoles,
	}); err != nil {
		return nil, &usageError{err}
	}
	for _, warning := range c.policy.Warnings() {
		sv.log.Warn("policy", zap.String("problem", warning))
	}
	if sv.cloud.sim != nil || cfg.Default.AuthStrategy == "noauth2" {
		return c, nil
	}
	opt, err := tokenOptions(cfg)
	if err != nil {
		return nil, err
	}
	opt.Logger, opt.UserAgent = sv.log.Named("keystone"), "wasakari/"+version
	if c.tokens, err = openstack.NewTokens(opt); err != nil {
		return nil, usagef("[keystone_authtoken] %w", err)
	}
	c.authenticator = auth.Keystone{Verifier: verifier{c.tokens}}
	return c, nil
}

// tokenOptions are those of section [keystone_authtoken]. Where that names no
// Keystone, the user that acts on Nova checks tokens too.
func tokenOptions(cfg *config.Config) (openstack.TokenOptions, error) {
	a := cfg.AuthToken
	opt := openstack.TokenOptions{
		CacheTime: a.TokenCacheTime, ServiceRoles: a.ServiceTokenRoles, ServiceRolesRequired: a.ServiceTokenRolesRequired,
	}
	if opt.CacheTime == 0 {
		opt.CacheTime = -1
	}
	if a.AuthURL == "" {
		if cfg.Nova.AuthURL == "" {
			return opt, usagef("[keystone_authtoken] auth_url: unset, so nobody can check the tokens of callers; set it, or auth_strategy = noauth2 for a server that only this machine reaches")
		}
		user, err := privilegedUser(cfg.Nova)
		if err != nil {
			return opt, &usageError{err}
		}
		opt.Options = user
		return opt, nil
	}
	opt.Options = openstack.Options{
		AuthURL: a.AuthURL, User: a.Username, UserID: a.UserID, Password: string(a.Password),
		UserDomain: a.UserDomainName, UserDomainID: a.UserDomainID,
		Project: a.ProjectName, ProjectID: a.ProjectID, ProjectDomain: a.ProjectDomainName, ProjectDomainID: a.ProjectDomainID,
		ApplicationCredentialID: a.ApplicationCredentialID, ApplicationCredentialName: a.ApplicationCredentialName, ApplicationCredentialSecret: string(a.ApplicationCredentialSecret),
		CAFile: a.CAFile, CertFile: a.CertFile, KeyFile: a.KeyFile, Insecure: a.Insecure,
		Timeout: a.HTTPConnectTimeout, Attempts: a.HTTPRequestMaxRetries + 1,
	}
	return opt, nil
}

// verifier checks tokens at Keystone. It serves auth.Verifier.
type verifier struct{ *openstack.Tokens }

// Verify tells who a token stands for.
func (v verifier) Verify(ctx context.Context, token, service string) (auth.Identity, error) {
	id, err := v.Validate(ctx, token, service)
	if err != nil {
		return auth.Identity{}, err
	}
	return auth.Identity{
		UserID: id.UserID, UserName: id.UserName, ProjectID: id.ProjectID, DomainID: id.DomainID,
		Roles: id.Roles, System: id.System, Expires: id.Expires,
	}, nil
}

// caller is who sent a request to Wasakari's own API.
type caller struct {
	auth.Identity
	policy *auth.Policy
}

// of tells who sent a request that the frame of the API let in.
func (c *callers) of(r *http.Request) (wasakariv1.Caller, error) {
	return caller{api.CallerOf(r.Context()), c.policy}, nil
}

// User gives the user's id.
func (c caller) User() string { return c.UserID }

// Project gives the project of the token.
func (c caller) Project() string { return c.ProjectID }

// May asks the policy.
func (c caller) May(rule string, target map[string]string) error {
	return c.policy.Enforce(rule, c.Identity, target)
}
