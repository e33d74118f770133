package openstack

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/gophercloud/gophercloud/v2"
	gopenstack "github.com/gophercloud/gophercloud/v2/openstack"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/tokens"

	"github.com/wasakari/wasakari/recovery"
)

// Refused credentials are not tried again sooner: many pollers with a password
// that was changed would lock the account.
const refusedFor = 30 * time.Second

// logIn makes c.provider.
func (c *Client) logIn(ctx context.Context, o Options, httpClient http.Client) error {
	provider, err := gopenstack.NewClient(o.AuthURL)
	if err != nil {
		return fmt.Errorf("cloud options: %w: auth_url is no URL", recovery.ErrInvalid)
	}
	provider.HTTPClient = httpClient
	provider.UserAgent.Prepend(o.UserAgent)
	c.provider = provider

	ctx = withKind(ctx, login)
	op := "log in at " + redacted(o.AuthURL)
	endpoint, err := c.discover(ctx, op, o.AuthURL)
	if err != nil {
		return err
	}
	// With the version in it, gophercloud asks nobody where to send the password.
	provider.IdentityEndpoint = endpoint
	if err := gopenstack.Authenticate(ctx, provider, o.authOptions()); err != nil {
		return c.loginError(ctx, op, err)
	}
	c.guardReauth(o)
	return nil
}

func (c *Client) loginError(ctx context.Context, op string, err error) error {
	e := c.scrub(translate(ctx, login, op, err))
	switch {
	case e.Status == http.StatusNotFound:
		e.Err = recovery.ErrInvalid
		e.Message += "; there is no Keystone v3 at this URL"
	case strings.Contains(e.Message, "unknown authority"):
		e.Message += "; name the cloud's CA file"
	}
	return e
}

// discover finds Keystone v3 below authURL. The address that the version
// document names is not used: behind a proxy it is often wrong, and the
// password goes where the operator said.
func (c *Client) discover(ctx context.Context, op, authURL string) (string, error) {
	u, err := url.Parse(authURL)
	if err != nil {
		return "", fmt.Errorf("cloud options: %w: auth_url is no URL", recovery.ErrInvalid)
	}
	u.RawQuery, u.Fragment = "", ""
	base := strings.TrimSuffix(u.Path, "/")
	if strings.HasSuffix(base, "/v3") {
		u.Path = base + "/"
		return u.String(), nil
	}
	u.Path = strings.TrimSuffix(base, "/v2.0") + "/"
	var doc struct {
		Versions struct {
			Values []struct {
				ID string `json:"id"`
			} `json:"values"`
		} `json:"versions"`
	}
	_, err = c.provider.Request(ctx, http.MethodGet, u.String(), &gophercloud.RequestOpts{ //nolint:bodyclose // closed where it is decoded
		JSONResponse: &doc, OkCodes: []int{http.StatusOK, http.StatusMultipleChoices},
	})
	if err != nil {
		e := c.scrub(translate(ctx, login, op, err))
		_, answered := errors.AsType[gophercloud.ErrUnexpectedResponseCode](err)
		_, lost := errors.AsType[*lostError](err)
		if !lost && ctx.Err() == nil && (!answered || e.Status < 500 && e.Status != http.StatusTooManyRequests) {
			e.Err = recovery.ErrInvalid
			e.Message += "; there is no Keystone at this URL"
		}
		return "", e
	}
	var found []string
	for _, v := range doc.Versions.Values {
		if strings.HasPrefix(v.ID, "v3") {
			u.Path += "v3/"
			return u.String(), nil
		}
		found = append(found, recovery.Shorten(recovery.OneLine(v.ID), 20))
	}
	return "", &recovery.CloudError{
		Op: op, Err: recovery.ErrInvalid,
		Message: "no Keystone v3 at this URL; versions offered: " + orNone(found),
	}
}

// guardReauth makes logging in again independent of the request that happens to
// need it first: all that wait share the result.
func (c *Client) guardReauth(o Options) {
	reauth := c.provider.ReauthFunc
	if reauth == nil {
		return // a token of somebody else's
	}
	var refused error
	var at time.Time
	// gophercloud runs one at a time, so refused and at need no lock.
	c.provider.ReauthFunc = func(ctx context.Context) error {
		if refused != nil && time.Since(at) < refusedFor {
			return refused
		}
		ctx, cancel := context.WithTimeout(withKind(context.WithoutCancel(ctx), login), 2*o.Timeout)
		defer cancel()
		err := reauth(ctx)
		refused = nil
		if gophercloud.ResponseCodeIs(err, http.StatusUnauthorized) {
			refused, at = err, time.Now()
		}
		if err == nil {
			c.log.Debug("logged in again")
		}
		return err
	}
}

// locate finds Nova in the catalog.
func (c *Client) locate(o Options) (string, error) {
	where, _ := availability(o.Interface)
	endpoint, err := c.provider.EndpointLocator(gophercloud.EndpointOpts{
		Type: o.ServiceType, Name: o.ServiceName, Region: o.Region, Availability: where,
	})
	if err == nil {
		return endpoint, nil
	}
	want := "no " + o.ServiceType + " endpoint"
	if o.ServiceName != "" {
		want += fmt.Sprintf(" named %q", o.ServiceName)
	}
	want += fmt.Sprintf(" with interface %s", where)
	if o.Region != "" {
		want += fmt.Sprintf(" in region %q", o.Region)
	}
	return "", &recovery.CloudError{Op: "find nova in the catalog", Err: recovery.ErrNotFound, Message: want + "; " + c.offers(o.ServiceType)}
}

// offers says what the catalog has instead.
func (c *Client) offers(serviceType string) string {
	var catalog *tokens.ServiceCatalog
	switch r := c.provider.GetAuthResult().(type) {
	case tokens.CreateResult:
		catalog, _ = r.ExtractServiceCatalog()
	case tokens.GetResult:
		catalog, _ = r.ExtractServiceCatalog()
	}
	if catalog == nil || len(catalog.Entries) == 0 {
		return "the catalog is empty: is a project or the system scope set?"
	}
	var types, endpoints []string
	for _, entry := range catalog.Entries {
		types = append(types, entry.Type)
		if entry.Type != serviceType {
			continue
		}
		for _, e := range entry.Endpoints {
			endpoints = append(endpoints, fmt.Sprintf("%s:%s:%s in %s", entry.Type, entry.Name, e.Interface, e.Region))
		}
	}
	if len(endpoints) > 0 {
		return "there are " + orNone(endpoints)
	}
	return "services in the catalog: " + orNone(types)
}

// orNone lists texts of strangers, sorted, each once, and not too many.
func orNone(texts []string) string {
	slices.Sort(texts)
	texts = slices.Compact(texts)
	if len(texts) == 0 {
		return "none"
	}
	if len(texts) > 20 {
		texts = append(texts[:20], "…")
	}
	return recovery.Shorten(recovery.OneLine(strings.Join(texts, ", ")), maxMessage)
}
