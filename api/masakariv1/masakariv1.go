// Package masakariv1 serves Masakari's REST API v1, microversions 1.0 to 1.3:
// segments, hosts, notifications and vmoves, in the words, errors and order of
// checks that Masakari's monitors and clients know.
//
// It differs where Masakari fails: null for a host's type or control attributes,
// sorting hosts by their segment, and a vmove of an unknown notification are
// the client's mistakes and told so, not answered by 500; a name or host name
// does not end with a newline; a vmove is found below its own notification
// only; and recovery_workflow_details tell of every task, whoever wrote it, and
// are there without an engine and after host and segment are gone.
package masakariv1

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"iter"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/wasakari/wasakari/api/auth"
	"github.com/wasakari/wasakari/api/internal/wire"
	"github.com/wasakari/wasakari/recovery"
)

// Store keeps the records. Its errors wrap recovery's sentinels.
type Store interface {
	Segments(ctx context.Context) ([]recovery.Segment, error)
	Segment(ctx context.Context, uuid string) (recovery.Segment, error)
	CreateSegment(ctx context.Context, s recovery.Segment) (recovery.Segment, error)
	UpdateSegment(ctx context.Context, uuid string, change func(*recovery.Segment) error) (recovery.Segment, error)
	DeleteSegment(ctx context.Context, uuid string) error

	Hosts(ctx context.Context) ([]recovery.Host, error)
	Host(ctx context.Context, uuid string) (recovery.Host, error)
	CreateHost(ctx context.Context, h recovery.Host) (recovery.Host, error)
	// UpdateHost calls change after it has refused a host in use, perhaps more
	// than once; change may take its time.
	UpdateHost(ctx context.Context, uuid string, change func(*recovery.Host) error) (recovery.Host, error)
	DeleteHost(ctx context.Context, uuid string) error

	// Notifications gives the notifications, newest first by their numbers; there
	// may be very many. The second value tells that none that comes later was created
	// after it, but for the fraction of a second.
	Notifications(ctx context.Context) (iter.Seq2[recovery.Notification, time.Time], error)
	Notification(ctx context.Context, uuid string) (recovery.Notification, error)
	Accept(ctx context.Context, n recovery.Notification, window time.Duration) (recovery.Notification, error)
	VMoves(ctx context.Context, notification string) ([]recovery.VMove, error)
	VMove(ctx context.Context, notification, uuid string) (recovery.VMove, error)
	RunDetail(ctx context.Context, id string) (recovery.Run, []recovery.TaskRecord, map[string]json.RawMessage, []recovery.Undo, []recovery.Intent, error)
}

// Enforcer decides who may do what.
type Enforcer interface {
	// Enforce gives an error that wraps recovery.ErrForbidden when the policy
	// does not allow it.
	Enforce(rule string, id auth.Identity, target map[string]string) error
}

// HostChecker asks Nova about compute hosts.
type HostChecker interface {
	// HostExists reports whether Nova has a nova-compute service on the host.
	// When Nova refuses to tell, the error is a *recovery.CloudError.
	HostExists(ctx context.Context, name string) (bool, error)
}

// Config configures the API.
type Config struct {
	Store  Store       // needed
	Policy Enforcer    // needed
	Nova   HostChecker // needed
	// MaxLimit is the greatest page of a list.
	//
	// Defaults to 1000.
	MaxLimit int
	// DuplicateWindow is how much older than a stored notification a new one
	// with the same content may be and still tell nothing new. Zero is none.
	DuplicateWindow time.Duration
	// AnyProject accepts any project in a path, for callers that have none.
	AnyProject bool
	// Verdict tells of a notification that needs no recovery how it ends, and
	// why. It is then stored with that end, in the one transaction that accepts
	// it. Nil, or an empty status: the engine decides.
	Verdict func(recovery.Notification) (recovery.NotificationStatus, string)
	// Timeout bounds the work on one request.
	//
	// Defaults to 1 minute.
	Timeout time.Duration
	// Logger gets what went wrong and is not told the client. Defaults to none.
	Logger *zap.Logger
}

const (
	defaultMaxLimit = 1000
	defaultTimeout  = time.Minute
)

type server struct {
	cfg Config
	log *zap.Logger
}

// New makes the handler of /v1 and what is below. It wants what wire.Of tells
// of a request, the caller included, and a body that is bounded.
func New(cfg Config) (http.Handler, error) {
	switch {
	case cfg.Store == nil:
		return nil, errors.New("masakariv1: no store")
	case cfg.Policy == nil:
		return nil, errors.New("masakariv1: no policy")
	case cfg.Nova == nil:
		return nil, errors.New("masakariv1: nobody to ask about hosts")
	}
	if cfg.MaxLimit <= 0 {
		cfg.MaxLimit = defaultMaxLimit
	}
	if cfg.Timeout <= 0 {
		cfg.Timeout = defaultTimeout
	}
	if cfg.Logger == nil {
		cfg.Logger = zap.NewNop()
	}
	return &server{cfg: cfg, log: cfg.Logger}, nil
}

// call is a request on its way.
type call struct {
	*server
	r       *http.Request
	info    *wire.Request
	version version
	params  map[string]string // of the path
	query   url.Values
	body    value
}

func (c *call) ctx() context.Context { return c.r.Context() }

// ServeHTTP serves /v1 and what is below.
func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	info := wire.Of(r.Context())
	found := find(r.Method, strings.TrimPrefix(r.URL.Path, "/v1"))
	if found == nil {
		wire.Text(w, http.StatusNotFound, "404 Not Found\n\nThe resource could not be found.\n\n   ")
		return
	}
	info.Route, info.Action = "/v1"+found.route.path, found.route.audit
	ctx, cancel := context.WithTimeout(r.Context(), s.cfg.Timeout)
	defer cancel()
	c := &call{server: s, r: r.WithContext(ctx), info: info, params: found.params, query: r.URL.Query()}
	w.Header().Set("Content-Type", answerType(r))

	var shown string
	var err error
	c.version, shown, err = negotiate(r.Header)
	var doc any
	if err == nil {
		doc, err = c.serve(found.route)
	}
	if shown != "" {
		service := "masakari "
		if err != nil {
			service = serviceType + " "
		}
		w.Header().Set(versionHeader, service+shown)
		w.Header().Add("Vary", versionHeader)
	}
	switch {
	case errors.Is(err, errTooLarge):
		w.Header().Del(versionHeader)
		wire.TooLarge(w)
	case err != nil:
		s.answerError(w, c, err)
	case doc == nil:
		w.Header().Del("Content-Type")
		w.WriteHeader(found.route.status)
	default:
		wire.JSON(w, found.route.status, doc)
	}
}

var errTooLarge = errors.New("body over the limit")

// serve makes the checks in Masakari's order and then does what is asked.
func (c *call) serve(rt *route) (any, error) {
	if err := c.checkContentType(); err != nil {
		return nil, err
	}
	if rt.serve == nil {
		return nil, faultf(http.StatusMethodNotAllowed, "The request method: '%s' with action: '%s' is not allowed on this resource", c.r.Method, rt.action)
	}
	if rt.body != nil {
		if err := c.readBody(); err != nil {
			return nil, err
		}
	}
	if p, ok := c.params["project_id"]; ok && p != c.info.Caller.ProjectID && !c.cfg.AnyProject {
		mine := c.info.Caller.ProjectID
		if mine == "" {
			mine = "None"
		}
		return nil, faultf(http.StatusBadRequest, "Malformed request URL: URL's project_id '%s' doesn't match Context's project_id '%s'", p, mine)
	}
	if rt.body != nil {
		if m := rt.body(c.version).check(c.body); m != nil {
			return nil, faultf(http.StatusBadRequest, "%s", m.text())
		}
	}
	if rt.policy != "" {
		if err := c.may(rt.policy); err != nil {
			return nil, err
		}
	}
	return rt.serve(c)
}

// may asks the policy.
func (c *call) may(rule string) error {
	id := c.info.Caller
	err := c.cfg.Policy.Enforce(rule, id, map[string]string{"project_id": id.ProjectID, "user_id": id.UserID})
	if errors.Is(err, recovery.ErrForbidden) {
		return faultf(http.StatusForbidden, "Policy doesn't allow %s to be performed.", rule)
	}
	return err
}

func (c *call) checkContentType() error {
	given := c.r.Header.Get("Content-Type")
	kind, _, err := mime.ParseMediaType(given)
	if err != nil {
		kind, _, _ = strings.Cut(given, ";")
		kind = strings.ToLower(strings.TrimSpace(kind))
	}
	switch kind {
	case "", "text/plain", "application/json", mediaType:
		return nil
	}
	return faultf(http.StatusUnsupportedMediaType, "Unsupported Content-Type")
}

// readBody reads the body; an empty one is null.
func (c *call) readBody() error {
	body, err := io.ReadAll(c.r.Body)
	if _, over := errors.AsType[*http.MaxBytesError](err); over {
		return errTooLarge
	}
	if err != nil {
		return faultf(http.StatusBadRequest, "Malformed request body")
	}
	if len(body) == 0 {
		c.body = value{kind: kindNull}
		return nil
	}
	if c.body, err = parse(body); err != nil {
		return faultf(http.StatusBadRequest, "Malformed request body")
	}
	return nil
}

// answerError tells the client of an error: a fault as it is, and of all else
// no more than that it happened.
func (s *server) answerError(w http.ResponseWriter, c *call, err error) {
	if f, ok := errors.AsType[*fault](err); ok {
		wire.Fault(w, f.status, f.message)
		return
	}
	log := s.log.With(zap.String("request_id", c.info.ID), zap.String("route", c.info.Route), zap.Error(err))
	switch {
	case errors.Is(err, recovery.ErrUnavailable), errors.Is(err, recovery.ErrTimeout), errors.Is(err, context.DeadlineExceeded),
		errors.Is(err, recovery.ErrUnknownOutcome):
		log.Error("request not answered")
		wire.Fault(w, http.StatusServiceUnavailable, "The store of Wasakari is temporarily unavailable.")
	case errors.Is(err, context.Canceled):
		log.Debug("client went away")
		wire.Fault(w, http.StatusServiceUnavailable, "The request was given up.")
	default:
		log.Error("request failed")
		wire.Fault(w, http.StatusInternalServerError, wire.Unexpected(c.ctx()))
	}
}
