package openstack

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/gophercloud/gophercloud/v2"
	"go.uber.org/zap"

	"github.com/wasakari/wasakari/recovery"
)

// Options says which cloud to use and as whom. Of the credentials given, an
// application credential counts before a password, a password before a token.
//
// String and GoString show no secret.
type Options struct {
	// Cloud names an entry of clouds.yaml that gives what is not set here.
	Cloud string
	// CloudsFile is the clouds.yaml to use. Defaults to OS_CLIENT_CONFIG_FILE,
	// else ./clouds.yaml, ~/.config/openstack/clouds.yaml and
	// /etc/openstack/clouds.yaml, whichever is there first.
	CloudsFile string
	// Environ, of the form of os.Environ, gives by its OS_ variables what is
	// not set here. Not used when Cloud is set.
	Environ []string

	// AuthURL is Keystone's address, with or without /v3.
	AuthURL string

	User, UserID             string // a name, which needs a domain, or an id
	UserDomain, UserDomainID string // Defaults to the domain with the id "default".
	Password                 string

	Project, ProjectID             string // a name, which needs a domain, or an id
	ProjectDomain, ProjectDomainID string // Defaults to the domain with the id "default".
	// SystemScope asks for a token of the whole system instead of a project's.
	// The only value that Keystone knows is "all".
	SystemScope string
	// TrustID asks for a token by a trust instead of a project's.
	TrustID string

	ApplicationCredentialID     string
	ApplicationCredentialName   string // needs User or UserID
	ApplicationCredentialSecret string

	// Token is a token that somebody else made. It cannot be renewed.
	Token string

	// Region defaults to the first in the catalog.
	Region string
	// Interface is public, internal or admin, also spelled publicURL and so on.
	// Defaults to public.
	Interface string
	// ServiceType is looked for in the catalog. Defaults to compute.
	ServiceType string
	// ServiceName is looked for in the catalog as well. Defaults to any.
	ServiceName string
	// EndpointOverride is Nova's address when the catalog is not to be asked.
	EndpointOverride string

	// Insecure turns the check of certificates off.
	Insecure bool
	// CAFile holds the certificates to trust, in PEM, instead of the system's.
	CAFile string
	// CertFile holds the client's own certificate, in PEM.
	CertFile string
	// KeyFile holds its key, in PEM. Defaults to CertFile.
	KeyFile string

	// Timeout bounds each request, its answer included.
	//
	// Defaults to 30 seconds.
	Timeout time.Duration
	// Backoff is the pause before a read is repeated for the first time; it
	// doubles from then on.
	//
	// Defaults to 250 milliseconds.
	Backoff time.Duration
	// Attempts is how often a read is sent at most.
	//
	// Defaults to 4.
	Attempts int
	// Observe is called before each single request, repeated ones each, with the
	// service that it goes to: nova, keystone or placement. It gives the request to
	// send, which may have further headers and another context that ends no sooner,
	// and what is to be told the answer's status and header, or why there is none.
	// Defaults to nobody.
	Observe func(service string, req *http.Request) (_ *http.Request, done func(status int, header http.Header, err error))
	// Logger receives repeated reads and what the cloud lacks. Defaults to
	// zap.NewNop.
	Logger *zap.Logger
	// UserAgent is how we present ourselves. Defaults to "wasakari".
	UserAgent string

	// tls is what clouds.yaml said, read already.
	tls *tls.Config
}

// String names the cloud and the user, never a secret.
func (o Options) String() string {
	var b strings.Builder
	put := func(name, value string) {
		if value != "" {
			if b.Len() > 0 {
				b.WriteByte(' ')
			}
			b.WriteString(name + "=" + strconv.Quote(value))
		}
	}
	set := func(secret string) string {
		if secret == "" {
			return ""
		}
		return "***"
	}
	put("cloud", o.Cloud)
	put("auth_url", redacted(o.AuthURL))
	put("user", cmp.Or(o.User, o.UserID))
	put("password", set(o.Password))
	put("project", cmp.Or(o.Project, o.ProjectID))
	put("system_scope", o.SystemScope)
	put("application_credential", cmp.Or(o.ApplicationCredentialID, o.ApplicationCredentialName))
	put("application_credential_secret", set(o.ApplicationCredentialSecret))
	put("token", set(o.Token))
	put("region", o.Region)
	put("interface", o.Interface)
	return b.String()
}

// GoString is String, for %#v.
func (o Options) GoString() string { return "openstack.Options{" + o.String() + "}" }

// over returns o with what is not set taken from base.
func (o Options) over(base Options) Options {
	for _, f := range []struct{ to, from *string }{
		{&o.AuthURL, &base.AuthURL},
		{&o.Region, &base.Region},
		{&o.Interface, &base.Interface},
		{&o.ServiceType, &base.ServiceType},
		{&o.ServiceName, &base.ServiceName},
		{&o.EndpointOverride, &base.EndpointOverride},
		{&o.CAFile, &base.CAFile},
		{&o.UserAgent, &base.UserAgent},
	} {
		*f.to = cmp.Or(*f.to, *f.from)
	}
	// What belongs together comes from one place: half a user of one source
	// and half of another would be nobody.
	if o.credentials() == "" {
		o.User, o.UserID, o.UserDomain, o.UserDomainID = base.User, base.UserID, base.UserDomain, base.UserDomainID
		o.Password, o.Token = base.Password, base.Token
		o.ApplicationCredentialID, o.ApplicationCredentialName = base.ApplicationCredentialID, base.ApplicationCredentialName
		o.ApplicationCredentialSecret = base.ApplicationCredentialSecret
	}
	if o.Project == "" && o.ProjectID == "" && o.SystemScope == "" && o.TrustID == "" {
		o.Project, o.ProjectID, o.ProjectDomain, o.ProjectDomainID = base.Project, base.ProjectID, base.ProjectDomain, base.ProjectDomainID
		o.SystemScope, o.TrustID = base.SystemScope, base.TrustID
	}
	if o.CertFile == "" && o.KeyFile == "" {
		o.CertFile, o.KeyFile = base.CertFile, base.KeyFile
	}
	o.Insecure = o.Insecure || base.Insecure
	o.Timeout = cmp.Or(o.Timeout, base.Timeout)
	o.Backoff = cmp.Or(o.Backoff, base.Backoff)
	o.Attempts = cmp.Or(o.Attempts, base.Attempts)
	o.tls = base.tls
	return o
}

// resolve fills o from the sources it names.
func (o Options) resolve() (Options, error) {
	if o.Cloud == "" && o.Environ != nil {
		env, err := OptionsFromEnv(o.Environ)
		if err != nil {
			return o, err
		}
		o = o.over(env)
		o.Cloud, o.CloudsFile = env.Cloud, cmp.Or(o.CloudsFile, env.CloudsFile)
	}
	if o.Cloud != "" {
		var files []string
		if o.CloudsFile != "" {
			files = []string{o.CloudsFile}
		}
		base, err := OptionsFromClouds(o.Cloud, files...)
		if err != nil {
			return o, err
		}
		o = o.over(base)
	}
	return o, nil
}

// complete resolves and checks the options, and puts the defaults in.
func (o Options) complete() (Options, error) {
	o, err := o.resolve()
	if err != nil {
		return o, err
	}
	if err := o.validate(); err != nil {
		return o, err
	}
	o.Timeout = cmp.Or(o.Timeout, 30*time.Second)
	o.Backoff = cmp.Or(o.Backoff, 250*time.Millisecond)
	o.Attempts = cmp.Or(o.Attempts, maxAttempts)
	o.UserAgent = cmp.Or(o.UserAgent, "wasakari")
	o.ServiceType = cmp.Or(o.ServiceType, "compute")
	if o.Logger == nil {
		o.Logger = zap.NewNop()
	}
	o.Logger = o.Logger.Named("openstack")
	return o, nil
}

// credentials says which of the credentials count: application_credential,
// password, token, or none.
func (o Options) credentials() string {
	switch {
	case o.ApplicationCredentialID != "" || o.ApplicationCredentialName != "":
		return "application_credential"
	case o.Password != "":
		return "password"
	case o.Token != "":
		return "token"
	}
	return ""
}

// secrets lists what must never stand in a text.
func (o Options) secrets() []string {
	var all []string
	for _, s := range []string{o.Password, o.ApplicationCredentialSecret, o.Token} {
		if s != "" {
			all = append(all, s)
		}
	}
	return all
}

// validate names every mistake at once.
func (o Options) validate() error {
	var errs []error
	bad := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("cloud options: %w: "+format, append([]any{recovery.ErrInvalid}, args...)...))
	}
	checkURL := func(name, text string) {
		u, err := url.Parse(text)
		switch {
		case err != nil:
			bad("%s is no URL", name) // the text may hold a password, and url.Error quotes it
		case u.Scheme != "http" && u.Scheme != "https":
			bad("%s %q: want http:// or https://", name, redacted(text))
		case u.Host == "":
			bad("%s %q names no host", name, redacted(text))
		case u.User != nil:
			bad("%s %q holds credentials: give user and password as options", name, redacted(text))
		}
	}
	if o.AuthURL == "" {
		bad("the URL of Keystone (auth_url) is not set")
	} else {
		checkURL("auth_url", o.AuthURL)
	}
	if o.EndpointOverride != "" {
		checkURL("compute endpoint", o.EndpointOverride)
	}
	switch o.credentials() {
	case "":
		bad("no credentials: want user and password, an application credential, or a token")
	case "password":
		if o.User == "" && o.UserID == "" {
			bad("a password without a user")
		}
	case "application_credential":
		if o.ApplicationCredentialSecret == "" {
			bad("an application credential without its secret")
		}
		if o.ApplicationCredentialID == "" && o.User == "" && o.UserID == "" {
			bad("application credential %q: a name needs its user", o.ApplicationCredentialName)
		}
	}
	if o.SystemScope != "" && o.SystemScope != "all" {
		bad("system scope %q: the only one is \"all\"", o.SystemScope)
	}
	if _, ok := availability(o.Interface); !ok {
		bad("interface %q: want public, internal or admin", o.Interface)
	}
	if o.KeyFile != "" && o.CertFile == "" {
		bad("key file %s: the client certificate that it belongs to is not set", o.KeyFile)
	}
	if o.Timeout < 0 || o.Backoff < 0 || o.Attempts < 0 {
		bad("timeout, back-off and attempts cannot be negative")
	}
	return errors.Join(errs...)
}

// availability reads an interface as it stands in configuration files.
func availability(s string) (gophercloud.Availability, bool) {
	switch strings.TrimSuffix(s, "URL") {
	case "", "public":
		return gophercloud.AvailabilityPublic, true
	case "internal":
		return gophercloud.AvailabilityInternal, true
	case "admin":
		return gophercloud.AvailabilityAdmin, true
	}
	return "", false
}

// authOptions gives gophercloud exactly the fields that the kind of
// credentials takes; it refuses what is redundant.
func (o Options) authOptions() gophercloud.AuthOptions {
	a := gophercloud.AuthOptions{AllowReauth: true, Scope: o.scope()}
	user := func() {
		if a.UserID = o.UserID; a.UserID == "" {
			a.Username = o.User
			a.DomainID, a.DomainName = domain(o.UserDomainID, o.UserDomain)
		}
	}
	switch o.credentials() {
	case "application_credential":
		a.ApplicationCredentialID, a.ApplicationCredentialSecret = o.ApplicationCredentialID, o.ApplicationCredentialSecret
		if a.ApplicationCredentialID == "" {
			a.ApplicationCredentialName = o.ApplicationCredentialName
			user()
		}
		a.Scope = nil // it brings its own
	case "password":
		a.Password = o.Password
		user()
	case "token":
		a.TokenID = o.Token
		a.AllowReauth = false
	}
	return a
}

func (o Options) scope() *gophercloud.AuthScope {
	switch {
	case o.TrustID != "":
		return &gophercloud.AuthScope{TrustID: o.TrustID}
	case o.SystemScope != "":
		return &gophercloud.AuthScope{System: true}
	case o.ProjectID != "":
		return &gophercloud.AuthScope{ProjectID: o.ProjectID}
	case o.Project != "":
		s := &gophercloud.AuthScope{ProjectName: o.Project}
		s.DomainID, s.DomainName = domain(o.ProjectDomainID, o.ProjectDomain)
		return s
	}
	return nil
}

// domain gives one of id and name, as Keystone wants it.
func domain(id, name string) (string, string) {
	switch {
	case id != "":
		return id, ""
	case name != "":
		return "", name
	}
	return "default", ""
}

// redacted is a URL without the password that may stand in it.
func redacted(text string) string {
	if text == "" {
		return ""
	}
	u, err := url.Parse(text)
	if err != nil {
		return "(not a URL)"
	}
	return u.Redacted()
}
