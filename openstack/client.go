package openstack

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/gophercloud/gophercloud/v2"
	"go.uber.org/zap"

	"github.com/wasakari/wasakari/recovery"
)

// Microversions of Nova, the part after "2.".
const (
	baseVersion      = 53 // services and hypervisors by uuid: what we cannot do without
	migrationVersion = 59 // migrations with uuid, in pages
	lockVersion      = 73 // a lock with its reason
	testedVersion    = 93 // the newest whose documents are known to us
)

// Client talks to one Nova as one user. It is safe for concurrent use. All
// errors of its methods are *recovery.CloudError.
type Client struct {
	provider  *gophercloud.ProviderClient
	nova      *gophercloud.ServiceClient
	transport *transport
	log       *zap.Logger
	secrets   []string
	region    string // of the services, as iface
	iface     string
	min, max  int // microversions that the cloud offers
	maxList   int // bytes of all pages of one list
}

// Connect logs in, finds Nova and agrees on microversions. Errors wrap
// recovery.ErrInvalid (the options, or a Nova that is too old),
// ErrUnauthorized (credentials), ErrUnavailable or ErrTimeout (no answer),
// ErrNotFound (no Nova in the catalog, no clouds.yaml).
func Connect(ctx context.Context, o Options) (*Client, error) {
	o, err := o.complete()
	if err != nil {
		return nil, err
	}
	httpClient, t, err := o.httpClient()
	if err != nil {
		return nil, err
	}
	c := &Client{transport: t, log: o.Logger, secrets: o.secrets(), region: o.Region, iface: o.Interface, maxList: maxList}
	if err := c.connect(ctx, o, httpClient); err != nil {
		t.CloseIdleConnections()
		return nil, err
	}
	return c, nil
}

func (c *Client) connect(ctx context.Context, o Options, httpClient http.Client) error {
	if err := c.logIn(ctx, o, httpClient); err != nil {
		return err
	}
	endpoint := o.EndpointOverride
	if endpoint == "" {
		var err error
		if endpoint, err = c.locate(o); err != nil {
			return err
		}
	}
	return c.negotiate(ctx, endpoint)
}

// Close lets go of idle connections. The client must not be used afterwards.
func (c *Client) Close() { c.transport.CloseIdleConnections() }

// Calls counts the requests sent to Nova so far, repeated ones included.
func (c *Client) Calls() int { return int(c.transport.calls.Load()) }

var versioned = regexp.MustCompile(`^(.*?/v2(?:\.[0-9]+)?)(?:/.*)?$`)

// negotiate reads the version document once and settles where requests go.
func (c *Client) negotiate(ctx context.Context, endpoint string) error {
	u, err := url.Parse(endpoint)
	if err != nil || u.Host == "" || u.User != nil || u.Scheme != "http" && u.Scheme != "https" {
		return &recovery.CloudError{Op: "find nova", Message: fmt.Sprintf("endpoint %q is no URL of a service", redacted(endpoint)), Err: recovery.ErrInvalid}
	}
	u.RawQuery, u.Fragment = "", ""
	path := strings.TrimSuffix(u.Path, "/")
	rooted := *u
	rooted.Path = path + "/"
	if m := versioned.FindStringSubmatch(path); m != nil {
		rooted.Path = m[1] + "/"
		u.Path = path + "/"
	} else {
		u.Path = path + "/v2.1/"
	}
	// gophercloud's own microversion field is one for all requests; ours goes
	// into each request's headers.
	c.nova = &gophercloud.ServiceClient{ProviderClient: c.provider, Endpoint: u.String(), Type: "compute"}

	op := "ask nova at " + rooted.String() + " for its versions"
	a, err := c.send(ctx, read, op, http.MethodGet, rooted.String(), 0, nil)
	if err != nil {
		return err
	}
	type version struct {
		ID  string `json:"id"`
		Max string `json:"version"`
		Min string `json:"min_version"`
	}
	var doc struct {
		Version  *version  `json:"version"`
		Versions []version `json:"versions"`
	}
	if err := json.Unmarshal(a.body, &doc); err != nil {
		return c.badAnswer(op, a, err)
	}
	if doc.Version != nil {
		doc.Versions = append(doc.Versions, *doc.Version)
	}
	for _, v := range doc.Versions {
		if strings.HasPrefix(v.ID, "v2") && v.Max != "" {
			c.min, c.max = minor(v.Min), minor(v.Max)
		}
	}
	switch {
	case c.max < baseVersion:
		offered := "no microversions"
		if c.max > 0 {
			offered = fmt.Sprintf("microversions up to 2.%d", c.max)
		}
		return &recovery.CloudError{
			Op: op, RequestID: a.requestID, Err: recovery.ErrInvalid,
			Message: fmt.Sprintf("it offers %s, and we need 2.%d", offered, baseVersion),
		}
	case c.min > testedVersion:
		return &recovery.CloudError{
			Op: op, RequestID: a.requestID, Err: recovery.ErrInvalid,
			Message: fmt.Sprintf("it offers microversions from 2.%d, and we know them up to 2.%d", c.min, testedVersion),
		}
	case c.max < lockVersion:
		c.log.Warn("nova is too old to keep the reason of a lock", zap.Int("minor_version", c.max), zap.Int("needed", lockVersion))
	}
	return nil
}

// minor gives 53 for "2.53", 0 for what is no microversion of API 2.
func minor(s string) int {
	rest, ok := strings.CutPrefix(s, "2.")
	n, err := strconv.Atoi(rest)
	if !ok || err != nil || n < 0 {
		return 0
	}
	return n
}

// at is the microversion to use where want would be best.
func (c *Client) at(want int) int { return max(min(want, c.max), c.min) }

// answer is a success of Nova.
type answer struct {
	status    int
	body      []byte
	requestID string
}

var okCodes = []int{http.StatusOK, http.StatusCreated, http.StatusAccepted, http.StatusNonAuthoritativeInfo, http.StatusNoContent}

// call sends a request to a path below Nova's endpoint.
func (c *Client) call(ctx context.Context, k kind, op, method, path string, minorVersion int, body any) (answer, error) {
	return c.send(ctx, k, op, method, c.nova.Endpoint+path, minorVersion, body)
}

// send sends a request to Nova; minorVersion 0 means without a microversion.
func (c *Client) send(ctx context.Context, k kind, op, method, target string, minorVersion int, body any) (answer, error) {
	opts := &gophercloud.RequestOpts{JSONBody: body, KeepResponseBody: true, OkCodes: okCodes, MoreHeaders: map[string]string{}}
	if minorVersion > 0 {
		version := "2." + strconv.Itoa(minorVersion)
		opts.MoreHeaders["OpenStack-API-Version"] = "compute " + version
		opts.MoreHeaders["X-OpenStack-Nova-API-Version"] = version
	}
	bounded := withKind(ctx, k)
	if k == change {
		// Whoever asks for a change has made sure that he may make it for as
		// long as one request takes; logging in again must not delay it beyond.
		var cancel context.CancelFunc
		bounded, cancel = context.WithTimeout(bounded, c.transport.timeout)
		defer cancel()
	}
	resp, err := c.nova.Request(bounded, method, target, opts)
	if err != nil {
		return answer{}, c.scrub(translate(ctx, k, op, err))
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body) // transport bounded it
	if err != nil {
		return answer{}, c.scrub(translate(ctx, k, op, err))
	}
	return answer{status: resp.StatusCode, body: text, requestID: requestID(resp.Header)}, nil
}

// badAnswer is a success whose document makes no sense.
func (c *Client) badAnswer(op string, a answer, err error) error {
	return c.scrub(&recovery.CloudError{
		Op: op, Status: a.status, RequestID: a.requestID, Err: recovery.ErrUnavailable,
		Message: "the answer cannot be understood: " + recovery.Shorten(explain(err), maxMessage),
	})
}

// explain names the field that a JSON error is about.
func explain(err error) string {
	if t, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return fmt.Sprintf("field %q: unexpected %s", t.Field, t.Value)
	}
	return recovery.OneLine(err.Error())
}

// scrub takes out of a text what must not be in it, should the other side have
// sent it back.
func (c *Client) scrub(e *recovery.CloudError) *recovery.CloudError {
	for _, s := range c.secrets {
		e.Message = strings.ReplaceAll(e.Message, s, "***")
	}
	if c.provider != nil {
		if t := c.provider.Token(); t != "" {
			e.Message = strings.ReplaceAll(e.Message, t, "***")
		}
	}
	return e
}

// pages reads a list page by page and hands each to take.
func pages[T any](ctx context.Context, c *Client, op, path string, query url.Values, minorVersion int, key string, id func(T) string, take func([]T) error) error {
	const maxPages = 10_000
	seen, total := make(map[string]bool), 0
	for range maxPages {
		target := path
		if len(query) > 0 {
			target += "?" + query.Encode()
		}
		a, err := c.call(ctx, read, op, http.MethodGet, target, minorVersion, nil)
		if err != nil {
			return err
		}
		// Callers keep what they are given.
		if total += len(a.body); total > c.maxList {
			return c.scrub(&recovery.CloudError{
				Op: op, Status: a.status, RequestID: a.requestID, Err: recovery.ErrTooLarge,
				Message: fmt.Sprintf("the list has more than %d MiB", c.maxList>>20),
			})
		}
		items, next, err := decodePage[T](a.body, key, id)
		if err != nil {
			return c.badAnswer(op, a, err)
		}
		if len(items) == 0 {
			return nil
		}
		if err := take(items); err != nil {
			return err
		}
		if next == "" {
			return nil
		}
		if seen[next] {
			return c.badAnswer(op, a, fmt.Errorf("its pages go in a circle at marker %q", recovery.Shorten(recovery.OneLine(next), maxRequestID)))
		}
		seen[next] = true
		query = maps.Clone(query)
		if query == nil {
			query = url.Values{}
		}
		query.Set("marker", next)
	}
	return c.badAnswer(op, answer{}, fmt.Errorf("more than %d pages", maxPages))
}

// decodePage reads one page of a list and the marker of the next. The link to
// the next is not followed as it stands, since a proxy may know the host by
// another name; only its marker is used.
func decodePage[T any](body []byte, key string, id func(T) string) (items []T, marker string, err error) {
	var doc map[string]json.RawMessage
	if err := json.Unmarshal(body, &doc); err != nil {
		return nil, "", err
	}
	raw, ok := doc[key]
	if !ok {
		return nil, "", fmt.Errorf("field %q is missing", key)
	}
	if err := json.Unmarshal(raw, &items); err != nil {
		if t, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
			t.Field = strings.TrimSuffix(key+"."+t.Field, ".")
		}
		return nil, "", err
	}
	// null would read as a list without entries: nothing to recover.
	if items == nil {
		return nil, "", fmt.Errorf("field %q: unexpected null", key)
	}
	if i := slices.IndexFunc(items, func(item T) bool { return id(item) == "" }); i >= 0 {
		return nil, "", fmt.Errorf("field %q: entry %d has no id", key, i)
	}
	var links []struct {
		Rel  string `json:"rel"`
		Href string `json:"href"`
	}
	if raw, ok := doc[key+"_links"]; ok {
		if err := json.Unmarshal(raw, &links); err != nil {
			return nil, "", fmt.Errorf("field %q: %s", key+"_links", explain(err))
		}
	}
	for _, l := range links {
		if l.Rel != "next" || len(items) == 0 {
			continue
		}
		if u, err := url.Parse(l.Href); err == nil {
			marker = u.Query().Get("marker")
		}
		return items, cmp.Or(marker, id(items[len(items)-1])), nil
	}
	return items, "", nil
}

// one reads the document under key.
func one[T any](c *Client, op string, a answer, key string) (T, error) {
	var doc map[string]json.RawMessage
	var v *T
	err := json.Unmarshal(a.body, &doc)
	if err == nil {
		if raw, ok := doc[key]; ok {
			err = json.Unmarshal(raw, &v)
		}
		if err == nil && v == nil {
			err = fmt.Errorf("field %q is missing", key)
		}
	}
	if err != nil {
		var zero T
		return zero, c.badAnswer(op, a, err)
	}
	return *v, nil
}
