// Package webhook tells other programs how runs and notifications end: it posts a
// document to each URL that the operator configured.
//
// Each ending is told at least once, and those of one notification in their
// order. What was told is kept in the store, so that a crash loses nothing; of
// several nodes one tells. It reads what there is and holds up nobody.
package webhook

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"iter"
	"net"
	"net/http"
	"net/url"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/wasakari/wasakari/recovery"
)

// Headers of a delivery.
const (
	// HeaderEvent is the type of the event, HeaderDelivery its id: whoever gets an id
	// a second time has been told before.
	HeaderEvent    = "X-Wasakari-Event"
	HeaderDelivery = "X-Wasakari-Delivery"
	// HeaderSignature is sha256= and the HMAC-SHA256 of the body in hex.
	HeaderSignature = "X-Wasakari-Signature"
)

// Source is where endings are read. The store serves it.
type Source interface {
	Notifications(ctx context.Context) (iter.Seq2[recovery.Notification, time.Time], error)
	Runs(ctx context.Context) (iter.Seq[recovery.Run], error)
	Watch(ctx context.Context) <-chan recovery.Change
}

// KV keeps how far the deliveries are. The libraries of the store serve it.
type KV interface {
	// Get gives recovery.ErrNotFound for what is not there.
	Get(ctx context.Context, library, name string) (recovery.KVValue, error)
	// Put writes only when the value has the version, 0 being not there; else
	// recovery.ErrConflict.
	Put(ctx context.Context, library, name string, v recovery.KVValue, ifVersion *int64) (int64, error)
}

// owner is the name under which our values are kept. No library can have it: one
// of a tenant has the tenant before its slash.
const owner = "//webhooks"

// Config configures a Sender. Source, KV and Node are needed.
type Config struct {
	// URLs are http or https; one may hold user and password.
	URLs []string
	// Secret signs the body. Empty: nothing is signed.
	Secret string
	Source Source
	KV     KV
	// Node names this process among those that share KV.
	Node string

	// Timeout bounds one request. Defaults to 10 seconds.
	Timeout time.Duration
	// TLS is how https is spoken; nil: with the system's certificates.
	TLS *tls.Config
	// Backoff is the pause after the first failure; it doubles up to MaxBackoff.
	// Default to 1 second and 5 minutes.
	Backoff, MaxBackoff time.Duration
	// GiveUp is how long one ending is tried to be told. Defaults to 24 hours.
	GiveUp time.Duration
	// Lease is how long another node waits before it takes over from one that is
	// silent. Defaults to 30 seconds.
	Lease time.Duration
	// UserAgent is how we present ourselves. Defaults to wasakari.
	UserAgent string
	// Delivered is told of each attempt: ok, retried (it failed and is made again)
	// or dropped. May be nil.
	Delivered func(result string)
	// Logger is told of deliveries that failed. Defaults to zap.NewNop.
	Logger *zap.Logger
}

// Sender tells. Run does the work.
type Sender struct {
	cfg     Config
	log     *zap.Logger
	http    *http.Client
	targets []*target
}

// New makes a Sender. Errors match recovery.ErrInvalid and show no password.
func New(cfg Config) (*Sender, error) {
	if cfg.Source == nil || cfg.KV == nil || cfg.Node == "" {
		return nil, errors.New("webhook: Config.Source, KV and Node are needed")
	}
	if cfg.Logger == nil {
		cfg.Logger = zap.NewNop()
	}
	orElse(&cfg.Timeout, 10*time.Second)
	orElse(&cfg.Backoff, time.Second)
	orElse(&cfg.MaxBackoff, max(5*time.Minute, cfg.Backoff))
	orElse(&cfg.GiveUp, 24*time.Hour)
	orElse(&cfg.Lease, 30*time.Second)
	if cfg.UserAgent == "" {
		cfg.UserAgent = "wasakari"
	}
	s := &Sender{cfg: cfg, log: cfg.Logger.Named("webhook")}
	s.http = &http.Client{
		Timeout: cfg.Timeout,
		Transport: &http.Transport{
			Proxy: http.ProxyFromEnvironment, TLSClientConfig: cfg.TLS,
			DialContext: (&net.Dialer{Timeout: cfg.Timeout}).DialContext, TLSHandshakeTimeout: cfg.Timeout,
			MaxIdleConnsPerHost: 1, IdleConnTimeout: time.Minute, MaxResponseHeaderBytes: 64 << 10,
		},
		// What is told goes where the operator said, and nowhere else.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	seen := map[string]bool{}
	for i, text := range cfg.URLs {
		u, err := url.Parse(text)
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			return nil, fmt.Errorf("webhook %d: %w: want http:// or https:// and a host", i+1, recovery.ErrInvalid)
		}
		if !seen[text] {
			seen[text] = true
			s.targets = append(s.targets, newTarget(s, u))
		}
	}
	return s, nil
}

func orElse(d *time.Duration, def time.Duration) {
	if *d <= 0 {
		*d = def
	}
}

// Run tells until ctx ends, whenever it is this node's turn. It returns nil then;
// without a URL at once.
func (s *Sender) Run(ctx context.Context) error {
	if len(s.targets) == 0 {
		return nil
	}
	defer s.http.CloseIdleConnections()
	for ctx.Err() == nil {
		turn, release := s.lead(ctx)
		if turn == nil {
			return nil
		}
		s.tell(turn)
		release()
	}
	return nil
}

// tell serves all URLs until the turn is over.
func (s *Sender) tell(ctx context.Context) {
	wake := make([]chan struct{}, len(s.targets))
	var group errgroup.Group
	for i, t := range s.targets {
		wake[i] = make(chan struct{}, 1)
		group.Go(func() error {
			t.serve(ctx, wake[i])
			return nil
		})
	}
	changes := s.cfg.Source.Watch(ctx)
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case c, ok := <-changes:
			if !ok {
				changes = nil // the store ends, or ctx does
				continue
			}
			if !ends(c) {
				continue
			}
			for _, w := range wake {
				select {
				case w <- struct{}{}:
				default:
				}
			}
		}
	}
	_ = group.Wait() // gives no errors
}

// ends reports whether there may be something to tell after a change.
func ends(c recovery.Change) bool {
	return c.Lost || c.Run != nil && c.Run.Finished || c.Notification != nil && told(c.Notification.Status)
}

// told reports whether it is told that a notification has a status.
func told(s recovery.NotificationStatus) bool { return s.Final() || s == recovery.StatusError }

// sign gives the signature of a body.
func sign(secret string, body []byte) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write(body)
	return "sha256=" + hex.EncodeToString(mac.Sum(nil))
}
