package config

import (
	"net"
	"net/textproto"
	"net/url"
	"regexp"
	"strconv"
	"strings"

	"github.com/wasakari/wasakari/recovery"
)

// checkService tells what is wrong with single values that only the service
// reads.
func (c *Config) checkService(values map[key]any) []*recovery.ConfigError {
	var errs []*recovery.ConfigError
	// items asks each item of an option, and names the place of those refused.
	items := func(group, name, want string, fits func(string) bool) {
		k := key{group, name}
		o := known[k].OptionSpec
		var list []string
		switch v := values[k].(type) {
		case []string:
			list = v
		case string:
			list = []string{v}
		}
		as := c.all(k)
		for i, item := range list {
			if fits(item) || len(as) == 0 {
				continue
			}
			a := as[len(as)-1]
			if o.Type == recovery.MultiOption && i < len(as) {
				a = as[i]
			}
			t := text{s: item, file: a.value.file, segs: []seg{seg1(a.value, 0)}, secret: o.Secret || a.value.secret}
			errs = append(errs, wrong(o, t, want))
		}
	}
	items("engine", "node", "at most 64 letters, digits and . _ -", clusterForm.MatchString)
	items("store", "endpoints", "URLs of etcd, such as https://10.0.0.1:2379", func(s string) bool {
		u, ok := webURL(s)
		return ok && u.User == nil && strings.Trim(u.Path, "/") == "" && u.RawQuery == ""
	})
	items("webhooks", "url", "a URL, such as https://hooks.example.com/wasakari", func(s string) bool {
		_, ok := webURL(s)
		return ok
	})
	items("telemetry", "metrics_listen", "an address and a port, such as 127.0.0.1:15869", func(s string) bool {
		_, port, err := net.SplitHostPort(s)
		n, err2 := strconv.ParseUint(port, 10, 16)
		return err == nil && err2 == nil && n > 0
	})
	items("telemetry", "otlp_endpoint", "a URL, such as http://collector:4318", func(s string) bool {
		_, ok := webURL(s)
		return ok
	})
	items("telemetry", "otlp_headers", "NAME=VALUE, such as Authorization=Basic …", func(s string) bool {
		name, value, ok := strings.Cut(s, "=")
		return ok && headerForm.MatchString(textproto.CanonicalMIMEHeaderKey(name)) && !strings.ContainsAny(value, "\r\n")
	})
	items("wasakari", "modules", "oci://HOST[:PORT]/REPOSITORY@sha256: and 64 hex digits", artifactForm.MatchString)
	items("registries", "plain_http", "registries, each HOST[:PORT]", func(s string) bool { return s != "" && !strings.ContainsAny(s, "/@ ") })
	for _, name := range []string{"operator_roles", "author_roles", "monitor_roles", "reader_roles"} {
		items("api", name, "names of roles", func(s string) bool { return s != "" && len(s) <= 255 })
	}
	return errs
}

// artifactForm is how a module in an OCI registry is named.
var artifactForm = regexp.MustCompile(`^oci://[^/\s@]+/[^\s@]+@sha256:[0-9a-f]{64}$`)

// webURL reads a URL of http or https with a host.
func webURL(s string) (*url.URL, bool) {
	u, err := url.Parse(s)
	return u, err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Hostname() != ""
}

// CheckService tells what the service needs and the configuration does not
// have. All mistakes are told at once, each a *recovery.ConfigError.
func (c *Config) CheckService() error {
	var errs []*recovery.ConfigError
	need := func(group, name, why, hint string) {
		o := known[key{group, name}].OptionSpec
		e := &recovery.ConfigError{Reason: "option " + title(o) + " is required: " + why, Hint: hint}
		if a, ok := c.lookup(key{group, name}); ok {
			e.Pos = a.value.start()
		}
		errs = append(errs, e)
	}
	if c.Default.UseSSL {
		const why, hint = "use_ssl is true", "name the file, or set use_ssl = false where a proxy speaks TLS"
		if c.WSGI.SSLCertFile == "" {
			need("wsgi", "ssl_cert_file", why, hint)
		}
		if c.WSGI.SSLKeyFile == "" {
			need("wsgi", "ssl_key_file", why, hint)
		}
	}
	if c.Default.AuthStrategy == "keystone" && c.AuthToken.AuthURL == "" {
		need("keystone_authtoken", "auth_url", "auth_strategy is keystone", "write auth_url = … below [keystone_authtoken], with the user who checks tokens")
	}
	if (c.Store.CertFile == "") != (c.Store.KeyFile == "") {
		name := "certfile"
		if c.Store.KeyFile == "" {
			name = "keyfile"
		}
		need("store", name, "certfile and keyfile go together", "")
	}
	if len(errs) == 0 {
		return nil
	}
	return join(errs)
}
