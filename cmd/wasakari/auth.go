package main

import (
	"cmp"
	"context"
	"fmt"

	"go.uber.org/zap"

	"github.com/wasakari/wasakari/api/auth"
	"github.com/wasakari/wasakari/config"
	"github.com/wasakari/wasakari/openstack"
	"github.com/wasakari/wasakari/recovery"
)

// tokenVerifier tells the API who a token stands for.
type tokenVerifier struct{ *openstack.Tokens }

// Verify is auth.Verifier's.
func (v tokenVerifier) Verify(ctx context.Context, token, service string) (auth.Identity, error) {
	id, err := v.Validate(ctx, token, service)
	return auth.Identity{
		UserID: id.UserID, UserName: id.UserName, ProjectID: id.ProjectID, DomainID: id.DomainID,
		Roles: id.Roles, System: id.System, Expires: id.Expires,
	}, err
}

// callersTokens makes what checks the tokens of callers, by section
// [keystone_authtoken]. It asks nobody yet. observe may be nil.
func callersTokens(cfg *config.Config, observe requestObserver, log *zap.Logger) (*openstack.Tokens, error) {
	a := cfg.AuthToken
	o := openstack.TokenOptions{
		Options: openstack.Options{
			AuthURL: a.AuthURL,
			User:    a.Username, UserID: a.UserID, UserDomain: a.UserDomainName, UserDomainID: a.UserDomainID,
			Project: a.ProjectName, ProjectID: a.ProjectID, ProjectDomain: a.ProjectDomainName, ProjectDomainID: a.ProjectDomainID,
			CAFile: a.CAFile, CertFile: a.CertFile, KeyFile: a.KeyFile, Insecure: a.Insecure,
			Timeout: cmp.Or(a.HTTPConnectTimeout, cfg.Wasakari.NovaTimeout), Attempts: a.HTTPRequestMaxRetries + 1, Observe: observe, Logger: log,
		},
		CacheTime:    cmp.Or(a.TokenCacheTime, -1), // 0 is no time at all here, and the default there
		ServiceRoles: a.ServiceTokenRoles, ServiceRolesRequired: a.ServiceTokenRolesRequired,
	}
	byPassword := func() { o.Password = string(a.Password) }
	byCredential := func() {
		o.ApplicationCredentialID, o.ApplicationCredentialName = a.ApplicationCredentialID, a.ApplicationCredentialName
		o.ApplicationCredentialSecret = string(a.ApplicationCredentialSecret)
	}
	switch a.AuthType {
	case "":
		byPassword()
		byCredential()
	case "password", "v3password":
		byPassword()
	case "v3applicationcredential":
		byCredential()
	default:
		_, pos, _ := cfg.Raw("keystone_authtoken", "auth_type")
		return nil, &usageError{&recovery.ConfigError{
			Pos: pos, Reason: fmt.Sprintf("option [keystone_authtoken] auth_type: want password, v3password or v3applicationcredential, got '%.60s'", a.AuthType),
		}}
	}
	tokens, err := openstack.NewTokens(o)
	if err != nil {
		return nil, &usageError{fmt.Errorf("section [keystone_authtoken]: %w", err)}
	}
	return tokens, nil
}

// callersPolicy reads the policy, by sections [oslo_policy] and [api]. Files
// that are not there are no mistake, but the operator is told of those that he
// named.
func callersPolicy(cfg *config.Config) (p *auth.Policy, warnings []string, err error) {
	pc := auth.PolicyConfig{
		DefaultRule: cfg.Policy.DefaultRule,
		Operator:    cfg.API.OperatorRoles, Author: cfg.API.AuthorRoles, Monitor: cfg.API.MonitorRoles, Reader: cfg.API.ReaderRoles,
	}
	find := func(option, name string, use func(path string)) {
		path, ok := cfg.Find(name)
		_, pos, named := cfg.Raw("oslo_policy", option)
		switch {
		case ok:
			use(path)
		case named && name != "":
			warnings = append(warnings, fmt.Sprintf("%s: option [oslo_policy] %s: there is no %s; the built-in rules hold", pos, option, name))
		}
	}
	find("policy_file", cfg.Policy.File, func(path string) { pc.File = path })
	for _, dir := range cfg.Policy.Dirs {
		find("policy_dirs", dir, func(path string) { pc.Dirs = append(pc.Dirs, path) })
	}
	if p, err = auth.NewPolicy(pc); err != nil {
		return nil, nil, &usageError{err}
	}
	return p, append(warnings, p.Warnings()...), nil
}
