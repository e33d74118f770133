package openstack

import (
	"cmp"
	"container/list"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gophercloud/gophercloud/v2"
	"go.uber.org/zap"

	"github.com/wasakari/wasakari/recovery"
)

const (
	maxTokenBytes = 16 << 10        // of one token
	maxChecks     = 64              // asked of Keystone at once
	maxWaiting    = 1024            // asked, or to be asked
	refusedTokens = 5 * time.Second // how long a token that was refused is remembered
	staleWait     = 3 * time.Second // how long Keystone may take where an older answer would do
	maxRoles      = 1000
)

// TokenOptions say how the tokens of callers are checked.
type TokenOptions struct {
	// Options say where Keystone is and who asks it; that user needs a role that
	// may check the tokens of others, such as service or admin. Tokens are
	// checked at AuthURL, whatever the catalog says.
	Options
	// CacheTime is how long after it was last checked a valid token is still
	// taken while Keystone does not answer. Negative: each request is checked.
	//
	// Defaults to 300 seconds.
	CacheTime time.Duration
	// Recheck is the age from which an answer of Keystone does no longer count
	// while Keystone can be asked: so long a revoked token may still be taken.
	//
	// Defaults to 10 seconds.
	Recheck time.Duration
	// CacheSize is how many tokens are remembered; of more, those go first that
	// were not used for the longest time.
	//
	// Defaults to 10000.
	CacheSize int
	// ServiceRoles are roles of which the owner of a service token needs one.
	//
	// Defaults to service.
	ServiceRoles []string
	// ServiceRolesRequired refuses service tokens without such a role; otherwise
	// they count for nothing.
	ServiceRolesRequired bool
}

// TokenIdentity is who a token stands for.
type TokenIdentity struct {
	UserID, UserName string
	DomainID         string // of the user
	ProjectID        string // empty: not scoped to a project
	ProjectName      string
	Roles            []string // names; none: not scoped
	System           bool     // scoped to the whole system
	Expires          time.Time
}

// Tokens checks the tokens of callers at Keystone. It is safe for concurrent
// use. Who made it closes it.
//
// A valid token is taken without asking Keystone for TokenOptions.Recheck; then
// it is checked again, and refused as soon as Keystone says that it was
// revoked. While Keystone does not answer, a token that it called valid no
// longer than TokenOptions.CacheTime ago is taken until it expires: recoveries
// are reported at just such times. No token is kept, logged or told.
type Tokens struct {
	opt   TokenOptions
	log   *zap.Logger
	http  http.Client
	trans *transport
	now   func() time.Time
	stale time.Duration
	slots chan struct{} // one for each check under way
	session
	wg     sync.WaitGroup
	ctx    context.Context // ends with Close
	cancel context.CancelFunc

	mu      sync.Mutex
	entries map[tokenKey]*list.Element // of *tokenEntry
	used    *list.List                 // the last used first
	checks  map[tokenKey]*tokenCheck
	away    bool // the last check got no answer
}

// session is our own login, made when it is needed first.
type session struct {
	turn    chan struct{} // one who may use the rest
	client  *Client
	refused error
	at      time.Time
}

// tokenKey is made of a token, which cannot be found from it, and of whether
// one that expired counts.
type tokenKey [sha256.Size]byte

func keyOfToken(token string, expired bool) tokenKey {
	word := "valid\x00"
	if expired {
		word = "expired\x00"
	}
	return sha256.Sum256([]byte(word + token))
}

type tokenEntry struct {
	key     tokenKey
	id      TokenIdentity
	refused bool
	expired bool      // one that expired counts
	checked time.Time // when Keystone said so
	tried   time.Time // when it was asked last
}

// tokenCheck is one question to Keystone, for all who have it.
type tokenCheck struct {
	begun time.Time
	done  chan struct{} // closed when id and err are there
	id    TokenIdentity
	err   error
}

// NewTokens makes a Tokens. It asks nobody yet, so that a service can start
// before its Keystone. Errors wrap recovery.ErrInvalid.
func NewTokens(o TokenOptions) (*Tokens, error) {
	var err error
	if o.Options, err = o.complete(); err != nil {
		return nil, err
	}
	o.CacheTime = cmp.Or(o.CacheTime, 300*time.Second)
	o.Recheck = cmp.Or(o.Recheck, 10*time.Second)
	o.CacheSize = cmp.Or(o.CacheSize, 10_000)
	if o.CacheSize < 0 || o.Recheck < 0 {
		return nil, fmt.Errorf("token options: %w: size and recheck cannot be negative", recovery.ErrInvalid)
	}
	if o.ServiceRoles == nil {
		o.ServiceRoles = []string{"service"}
	}
	t := &Tokens{
		opt: o, log: o.Logger.Named("tokens"), now: time.Now, stale: staleWait,
		slots:   make(chan struct{}, maxChecks),
		session: session{turn: make(chan struct{}, 1)},
		entries: map[tokenKey]*list.Element{}, used: list.New(), checks: map[tokenKey]*tokenCheck{},
	}
	if t.http, t.trans, err = o.httpClient(); err != nil {
		return nil, err
	}
	t.ctx, t.cancel = context.WithCancel(context.Background())
	return t, nil
}

// Close ends the checks under way and waits for them.
func (t *Tokens) Close() {
	t.cancel()
	t.wg.Wait()
	t.trans.CloseIdleConnections()
}

// Validate tells who a token stands for. service is the token of a service that
// passes the request on, empty when there is none: with one whose owner has one
// of the service roles, the token may have expired meanwhile, as Keystone
// allows it. Errors wrap recovery.ErrUnauthorized when one of them is no valid
// token, recovery.ErrUnavailable when Keystone could not tell, and
// recovery.ErrCanceled or ErrTimeout when ctx ended; none holds a token.
func (t *Tokens) Validate(ctx context.Context, token, service string) (TokenIdentity, error) {
	expired := false
	if service != "" {
		id, err := t.validate(ctx, service, false)
		if err != nil {
			return TokenIdentity{}, fmt.Errorf("service token: %w", err)
		}
		expired = slices.ContainsFunc(id.Roles, func(r string) bool {
			return slices.ContainsFunc(t.opt.ServiceRoles, func(want string) bool { return strings.EqualFold(r, want) })
		})
		if !expired && t.opt.ServiceRolesRequired {
			return TokenIdentity{}, fmt.Errorf("service token: %w: its owner has none of the roles %s", recovery.ErrUnauthorized, strings.Join(t.opt.ServiceRoles, ", "))
		}
	}
	id, err := t.validate(ctx, token, false)
	if expired && errors.Is(err, recovery.ErrUnauthorized) {
		id, err = t.validate(ctx, token, true)
	}
	if err != nil {
		return TokenIdentity{}, fmt.Errorf("token: %w", err)
	}
	id.Roles = slices.Clone(id.Roles)
	return id, nil
}

func (t *Tokens) validate(ctx context.Context, token string, expired bool) (TokenIdentity, error) {
	if !wellFormed(token) {
		return TokenIdentity{}, recovery.ErrUnauthorized
	}
	key := keyOfToken(token, expired)
	t.mu.Lock()
	now := t.now()
	old, known := t.recall(key, now)
	if known {
		switch {
		case old.refused:
			t.mu.Unlock()
			return TokenIdentity{}, recovery.ErrUnauthorized
		case now.Sub(old.checked) < t.opt.Recheck, now.Sub(old.tried) < t.opt.Recheck:
			t.mu.Unlock()
			return old.id, nil
		}
	}
	check := t.checks[key]
	if check == nil {
		if t.ctx.Err() != nil {
			t.mu.Unlock()
			return TokenIdentity{}, fmt.Errorf("%w: closed", recovery.ErrUnavailable)
		}
		if len(t.checks) >= maxWaiting {
			t.mu.Unlock()
			if known {
				return old.id, nil
			}
			return TokenIdentity{}, fmt.Errorf("%w: too many tokens to check", recovery.ErrUnavailable)
		}
		check = &tokenCheck{begun: time.Now(), done: make(chan struct{})}
		t.checks[key] = check
		t.wg.Go(func() { t.check(key, check, token, expired) })
	}
	t.mu.Unlock()

	var late <-chan time.Time
	if known {
		timer := time.NewTimer(time.Until(check.begun.Add(t.stale)))
		defer timer.Stop()
		late = timer.C
	}
	select {
	case <-check.done:
		if known && errors.Is(check.err, recovery.ErrUnavailable) {
			return old.id, nil
		}
		return check.id, check.err
	case <-late:
		return old.id, nil
	case <-ctx.Done():
		return TokenIdentity{}, ended(ctx)
	}
}

// wellFormed keeps out what cannot be a token, and must not become a header.
func wellFormed(token string) bool {
	return token != "" && len(token) <= maxTokenBytes && !strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' })
}

func ended(ctx context.Context) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fmt.Errorf("%w: %w", recovery.ErrTimeout, ctx.Err())
	}
	return fmt.Errorf("%w: %w", recovery.ErrCanceled, ctx.Err())
}

// recall finds what is known of a token and may still be taken, be it that
// Keystone does not answer. mu is held.
func (t *Tokens) recall(key tokenKey, now time.Time) (tokenEntry, bool) {
	el := t.entries[key]
	if el == nil {
		return tokenEntry{}, false
	}
	e := el.Value.(*tokenEntry) //nolint:forcetypeassert // nothing else is put there
	age := now.Sub(e.checked)
	switch {
	case e.refused && age < refusedTokens, !e.refused && age < t.opt.CacheTime && (e.expired || now.Before(e.id.Expires)):
		t.used.MoveToFront(el)
		return *e, true
	}
	t.forget(key)
	return tokenEntry{}, false
}

func (t *Tokens) forget(key tokenKey) {
	if el := t.entries[key]; el != nil {
		t.used.Remove(el)
		delete(t.entries, key)
	}
}

// keep remembers an answer. mu is held.
func (t *Tokens) keep(e *tokenEntry) {
	t.forget(e.key)
	if t.opt.CacheTime < 0 {
		return
	}
	t.entries[e.key] = t.used.PushFront(e)
	for len(t.entries) > t.opt.CacheSize {
		t.forget(t.used.Back().Value.(*tokenEntry).key) //nolint:forcetypeassert // nothing else is put there
	}
}

// check asks Keystone for all who wait, whoever of them goes away.
func (t *Tokens) check(key tokenKey, check *tokenCheck, token string, expired bool) {
	ctx, cancel := context.WithTimeout(t.ctx, 2*t.opt.Timeout)
	defer cancel()
	started := t.now()
	select {
	case t.slots <- struct{}{}:
		check.id, check.err = t.ask(ctx, token, expired)
		<-t.slots
	case <-ctx.Done():
		check.err = fmt.Errorf("%w: too many tokens to check", recovery.ErrUnavailable)
	}
	t.mu.Lock()
	delete(t.checks, key)
	switch {
	case check.err == nil:
		// What was known when it was asked, not when the answer came.
		t.keep(&tokenEntry{key: key, id: check.id, expired: expired, checked: started, tried: started})
	case errors.Is(check.err, recovery.ErrUnauthorized):
		t.keep(&tokenEntry{key: key, refused: true, checked: t.now()})
	default:
		if el := t.entries[key]; el != nil {
			el.Value.(*tokenEntry).tried = t.now() //nolint:forcetypeassert // nothing else is put there
		}
	}
	away := errors.Is(check.err, recovery.ErrUnavailable)
	changed := away != t.away && t.ctx.Err() == nil
	t.away = away
	t.mu.Unlock()
	defer close(check.done)
	switch {
	case changed && away:
		t.log.Error("keystone cannot check tokens", zap.Error(check.err))
	case changed:
		t.log.Info("keystone checks tokens again")
	}
}

// ask puts the question. Whatever is no answer to it wraps
// recovery.ErrUnavailable: that we cannot log in is not the caller's fault.
func (t *Tokens) ask(ctx context.Context, token string, expired bool) (TokenIdentity, error) {
	unavailable := func(reason string) error {
		return fmt.Errorf("%w: %s", recovery.ErrUnavailable, strings.ReplaceAll(reason, token, "***"))
	}
	c, err := t.logIn(ctx)
	if err != nil {
		return TokenIdentity{}, unavailable(err.Error())
	}
	target := c.provider.IdentityEndpoint + "auth/tokens?nocatalog"
	if expired {
		target += "&allow_expired=1"
	}
	const op = "check a token"
	resp, err := c.provider.Request(withKind(ctx, login), http.MethodGet, target, &gophercloud.RequestOpts{
		KeepResponseBody: true, OkCodes: []int{http.StatusOK, http.StatusNonAuthoritativeInfo},
		MoreHeaders: map[string]string{"X-Subject-Token": token},
	})
	if err != nil {
		e := c.scrub(translate(ctx, read, op, err))
		_, ours := errors.AsType[*gophercloud.ErrUnableToReauthenticate](err)
		if e.Status == http.StatusNotFound && !ours && fromKeystone(err) {
			return TokenIdentity{}, recovery.ErrUnauthorized
		}
		reason := e.Error()
		if e.Status == http.StatusForbidden {
			reason += "; the user of [keystone_authtoken] needs a role that may check tokens, such as service"
		}
		return TokenIdentity{}, unavailable(reason)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body) // transport bounded it
	if err != nil {
		return TokenIdentity{}, unavailable(err.Error())
	}
	id, err := readToken(body)
	if err != nil && !errors.Is(err, recovery.ErrUnauthorized) {
		return id, unavailable(op + ": the answer cannot be understood: " + recovery.Shorten(explain(err), maxMessage))
	}
	return id, err
}

// fromKeystone tells an error of Keystone from that of a proxy without one
// behind it.
func fromKeystone(err error) bool {
	answer, _ := errors.AsType[gophercloud.ErrUnexpectedResponseCode](err)
	var doc struct {
		Error struct {
			Code int `json:"code"`
		} `json:"error"`
	}
	return json.Unmarshal(answer.Body, &doc) == nil && doc.Error.Code == answer.Actual
}

// readToken reads the document of a token.
func readToken(body []byte) (TokenIdentity, error) {
	type domain struct {
		ID string `json:"id"`
	}
	var doc struct {
		Token *struct {
			Expires time.Time `json:"expires_at"`
			User    struct {
				ID     string `json:"id"`
				Name   string `json:"name"`
				Domain domain `json:"domain"`
			} `json:"user"`
			Project *struct {
				ID   string `json:"id"`
				Name string `json:"name"`
			} `json:"project"`
			System *struct {
				All bool `json:"all"`
			} `json:"system"`
			Roles []struct {
				Name string `json:"name"`
			} `json:"roles"`
			Credential *struct {
				Rules []json.RawMessage `json:"access_rules"`
			} `json:"application_credential"`
		} `json:"token"`
	}
	if err := json.Unmarshal(body, &doc); err != nil {
		return TokenIdentity{}, err
	}
	tok := doc.Token
	switch {
	case tok == nil || tok.User.ID == "" || tok.Expires.IsZero():
		return TokenIdentity{}, errors.New("a field of the token is missing")
	case len(tok.Roles) > maxRoles:
		return TokenIdentity{}, fmt.Errorf("more than %d roles", maxRoles)
	case tok.Credential != nil && len(tok.Credential.Rules) > 0:
		// Keystone does not tell of such a token unless one says to mind its
		// rules.
		return TokenIdentity{}, fmt.Errorf("%w: bound to access rules", recovery.ErrUnauthorized)
	}
	id := TokenIdentity{UserID: tok.User.ID, UserName: tok.User.Name, DomainID: tok.User.Domain.ID, Expires: tok.Expires}
	if tok.Project != nil {
		id.ProjectID, id.ProjectName = tok.Project.ID, tok.Project.Name
	}
	id.System = tok.System != nil && tok.System.All
	for _, r := range tok.Roles {
		id.Roles = append(id.Roles, r.Name)
	}
	return id, nil
}

// logIn gives our own session.
func (t *Tokens) logIn(ctx context.Context) (*Client, error) {
	select {
	case t.turn <- struct{}{}:
		defer func() { <-t.turn }()
	case <-ctx.Done():
		return nil, ended(ctx)
	}
	if t.client != nil {
		return t.client, nil
	}
	if t.refused != nil && time.Since(t.at) < refusedFor {
		return nil, t.refused
	}
	c := &Client{transport: t.trans, log: t.log, secrets: t.opt.secrets()}
	err := c.logIn(ctx, t.opt.Options, t.http)
	t.refused = nil
	if err != nil {
		if errors.Is(err, recovery.ErrUnauthorized) {
			t.refused, t.at = err, time.Now()
		}
		return nil, err
	}
	t.client = c
	return c, nil
}
