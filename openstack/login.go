package openstack

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"time"

	"go.uber.org/zap"

	"github.com/wasakari/wasakari/recovery"
)

// Login is a token of a cloud and what a client of one of its services needs
// beside it. String and GoString show no token.
type Login struct {
	Token string
	// Endpoint is the address of the service in the catalog; empty: it has none.
	Endpoint string
	// TLS is how the cloud's services are to be spoken to.
	TLS *tls.Config
}

// String shows no token.
func (l Login) String() string { return "login, endpoint " + redacted(l.Endpoint) }

// GoString is String, for %#v.
func (l Login) GoString() string { return "openstack.Login{" + l.String() + "}" }

// LogIn gets a token, and finds the service of the type in the catalog, such as
// instance-ha; type "" finds none. Errors are those of Connect; a catalog
// without the service is none.
func LogIn(ctx context.Context, o Options, serviceType string) (Login, error) {
	o, err := o.resolve()
	if err != nil {
		return Login{}, err
	}
	if err := o.validate(); err != nil {
		return Login{}, err
	}
	o.Timeout = cmp.Or(o.Timeout, 30*time.Second)
	o.Backoff = cmp.Or(o.Backoff, 250*time.Millisecond)
	o.UserAgent = cmp.Or(o.UserAgent, "wasakari")
	if o.Logger == nil {
		o.Logger = zap.NewNop()
	}
	o.Logger = o.Logger.Named("openstack")
	httpClient, t, err := o.httpClient()
	if err != nil {
		return Login{}, err
	}
	defer t.CloseIdleConnections()
	c := &Client{transport: t, log: o.Logger, secrets: o.secrets(), region: o.Region, iface: o.Interface}
	if err := c.logIn(ctx, o, httpClient); err != nil {
		return Login{}, err
	}
	l := Login{Token: c.provider.Token()}
	if l.TLS, err = o.tlsConfig(); err != nil {
		return Login{}, err
	}
	if serviceType != "" {
		o.ServiceType, o.ServiceName = serviceType, ""
		if l.Endpoint, err = c.locate(o); err != nil && !errors.Is(err, recovery.ErrNotFound) {
			return Login{}, err
		}
	}
	return l, nil
}
