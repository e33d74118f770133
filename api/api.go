// Package api is the door of the service: HTTP in, JSON out. It says who may
// come in, and how large, how long and in which words; what is asked is
// answered by api/masakariv1 (Masakari's API) and by the handler of
// Wasakari's own API.
package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"go.uber.org/zap"

	"github.com/wasakari/wasakari/api/auth"
	"github.com/wasakari/wasakari/api/internal/wire"
	"github.com/wasakari/wasakari/api/masakariv1"
	"github.com/wasakari/wasakari/recovery"
)

// Config configures the API.
type Config struct {
	// Authenticator says who sent a request. It is needed.
	Authenticator auth.Authenticator
	// WWWAuthenticateURI is where a client without a token gets one.
	WWWAuthenticateURI string
	// NoAuth says that the Authenticator lets everybody in. Requests from web
	// pages (Origin), and those whose Host is not this machine's loopback, are
	// refused then, and every answer has the header X-Wasakari-No-Auth.
	NoAuth bool
	// Simulated says that there is no cloud. Every answer says so by the header
	// X-Wasakari-Simulated.
	Simulated bool

	// Masakari is served at / and /v1. Its Logger defaults to Logger.
	Masakari masakariv1.Config
	// Wasakari serves /wasakari/v1 and what is below; it gets the path whole and
	// bounds the bodies that it reads. Nil: there is no such path.
	Wasakari http.Handler
	// Describe adds what Wasakari serves to the OpenAPI document; may be nil.
	Describe func(*openapi3.T) error

	// MaxBody bounds the body of a request to Masakari's API, in bytes.
	//
	// Defaults to 114688.
	MaxBody int64
	// MaxUpload bounds the body of a request to Wasakari's own API, in bytes.
	//
	// Defaults to 64 MiB.
	MaxUpload int64
	// LinkPrefix replaces scheme and host of links, and goes before their path.
	LinkPrefix string
	// ProxyHeaders believes X-Forwarded-Proto, -Host, -Prefix and -For. Only for
	// a server that is reached through a proxy alone.
	ProxyHeaders bool
	// DisableFile makes /healthcheck answer 503 while it exists.
	//
	// Defaults to /etc/masakari/healthcheck_disable.
	DisableFile string
	// Ready is asked by /readyz; nil: always ready.
	Ready func(context.Context) error

	// Trace gives the W3C traceparent of the span that the context is in. Nil:
	// that of the request's header.
	Trace func(context.Context) string
	// Observe is told of every answer. It must not block.
	Observe func(Answer)
	// Audit is told of every request that was to change something, refused ones
	// included; of those whose caller is not known, 20 in a minute. It must not
	// block.
	//
	// Defaults to a line in the log.
	Audit func(context.Context, Change)
	// Logger gets a line for each request. Defaults to none.
	Logger *zap.Logger
}

// Answer is what was answered to a request.
type Answer struct {
	Method string
	Route  string // such as /v1/segments/{segment}; "other" when it has no route
	Status int
	Took   time.Duration
}

// Change is a request that was to change something, and how it went.
type Change struct {
	Time     time.Time
	User     string // id; empty when it did not get so far
	UserName string
	Project  string
	Remote   string // address of the client
	Action   string // such as segment.create
	Target   string // uuid or name of what was to be changed; may be empty
	// Outcome is done, refused (the status is 4xx) or failed (5xx).
	Outcome string
	// Message says what else is to be known: that requests of strangers were only
	// counted. Mostly empty.
	Message             string
	Status              int
	RequestID, GlobalID string
}

const (
	defaultMaxBody   = 114688
	defaultMaxUpload = 64 << 20
	readyTimeout     = 5 * time.Second
)

// HeaderSimulated is in every answer of a service whose cloud is a simulated one.
const HeaderSimulated = wire.HeaderSimulated

// OpenAPIPath is where the OpenAPI document of the whole API is.
const OpenAPIPath = "/wasakari/v1/openapi.json"

type server struct {
	cfg      Config
	log      *zap.Logger
	masakari http.Handler
	versions http.Handler
	openapi  []byte

	strangers strangers
}

// New makes the handler of the whole API. It starts no goroutine.
func New(cfg Config) (http.Handler, error) {
	if cfg.Authenticator == nil {
		return nil, errors.New("api: no authenticator")
	}
	if cfg.Logger == nil {
		cfg.Logger = zap.NewNop()
	}
	if cfg.MaxBody <= 0 {
		cfg.MaxBody = defaultMaxBody
	}
	if cfg.MaxUpload <= 0 {
		cfg.MaxUpload = defaultMaxUpload
	}
	if cfg.DisableFile == "" {
		cfg.DisableFile = "/etc/masakari/healthcheck_disable"
	}
	if cfg.LinkPrefix != "" {
		if u, err := url.Parse(cfg.LinkPrefix); err != nil || u.Scheme == "" || u.Host == "" {
			return nil, fmt.Errorf("api: osapi_masakari_link_prefix %q: %w: want scheme, host and perhaps a path", cfg.LinkPrefix, recovery.ErrInvalid)
		}
	}
	cfg.Masakari.AnyProject = cfg.Masakari.AnyProject || cfg.NoAuth
	if cfg.Masakari.Logger == nil {
		cfg.Masakari.Logger = cfg.Logger.Named("masakari")
	}
	s := &server{cfg: cfg, log: cfg.Logger}
	if s.cfg.Audit == nil {
		s.cfg.Audit = s.audit
	}
	var err error
	if s.masakari, err = masakariv1.New(cfg.Masakari); err != nil {
		return nil, err
	}
	s.versions = masakariv1.Versions()
	if s.openapi, err = document(cfg.Describe); err != nil {
		return nil, err
	}
	return s.outer(http.HandlerFunc(s.mount)), nil
}

// mount finds who serves a path. There is no cleaning and no redirecting: a
// path is what the client wrote.
func (s *server) mount(w http.ResponseWriter, r *http.Request) {
	path := r.URL.Path
	info := wire.Of(r.Context())
	switch {
	case path == "/healthcheck" || strings.HasPrefix(path, "/healthcheck/"):
		info.Route = "/healthcheck"
		s.healthcheck(w)
	case path == "/healthz":
		info.Route = path
		wire.Text(w, http.StatusOK, "ok")
	case path == "/readyz":
		info.Route = path
		s.readyz(w, r)
	case path == OpenAPIPath && (r.Method == http.MethodGet || r.Method == http.MethodHead):
		info.Route = path
		wire.Bytes(w, http.StatusOK, "application/json", s.openapi)
	case below(path, "/wasakari/v1") && s.cfg.Wasakari != nil:
		s.authenticated(w, r, s.cfg.MaxUpload, s.cfg.Wasakari)
	case below(path, "/v1"):
		s.authenticated(w, r, s.cfg.MaxBody, s.masakari)
	default:
		info.Route = "/"
		s.versions.ServeHTTP(w, r)
	}
}

// Caller gives who sent the request of the context, as the Authenticator said;
// the zero value where no token is needed.
func Caller(ctx context.Context) auth.Identity { return wire.Of(ctx).Caller }

// RequestID gives the id of the request of the context.
func RequestID(ctx context.Context) string { return wire.Of(ctx).ID }

// below reports whether path is base or below it.
func below(path, base string) bool {
	rest, ok := strings.CutPrefix(path, base)
	return ok && (rest == "" || rest[0] == '/')
}

func (s *server) healthcheck(w http.ResponseWriter) {
	if _, err := os.Stat(s.cfg.DisableFile); err == nil {
		wire.Text(w, http.StatusServiceUnavailable, "DISABLED BY FILE")
		return
	}
	wire.Text(w, http.StatusOK, "OK")
}

func (s *server) readyz(w http.ResponseWriter, r *http.Request) {
	if s.cfg.Ready != nil {
		ctx, cancel := context.WithTimeout(r.Context(), readyTimeout)
		defer cancel()
		if err := s.cfg.Ready(ctx); err != nil {
			s.log.Warn("not ready", zap.Error(err))
			wire.Text(w, http.StatusServiceUnavailable, "not ready")
			return
		}
	}
	wire.Text(w, http.StatusOK, "ok")
}
