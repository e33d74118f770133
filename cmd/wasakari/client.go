package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/wasakari/wasakari/api/wasakariv1"
	"github.com/wasakari/wasakari/openstack"
	"github.com/wasakari/wasakari/recovery"
)

const (
	defaultServer = "http://127.0.0.1:15868"
	serviceType   = "instance-ha" // of Masakari's API in the catalog
	maxDocument   = 64 << 20      // bytes of an answer
	requestTime   = 60 * time.Second
)

// remoteFlags say which server to ask, and as whom.
type remoteFlags struct {
	server, osCloud, output string
}

func (f *remoteFlags) flags(cmd *cobra.Command) {
	fl := cmd.Flags()
	fl.StringVar(&f.server, "server", "", "`URL` of wasakari serve (default: WASAKARI_SERVER, then the service "+serviceType+" of the cloud,\nthen "+defaultServer+")")
	fl.StringVar(&f.osCloud, "os-cloud", "", "`name` of a cloud in clouds.yaml to log in at (default: OS_CLOUD, then the other OS_* variables;\nwithout any, nobody logs in)")
	fl.StringVarP(&f.output, "output", "o", "text", "text or json")
}

// client asks a server.
type client struct {
	base  *url.URL
	token string
	http  *http.Client
}

// connect logs in, if there is a cloud to log in at, and finds the server.
func (f *remoteFlags) connect(ctx context.Context, w world) (*client, error) {
	if err := checkOutput(f.output); err != nil {
		return nil, err
	}
	server := f.server
	if server == "" {
		server = w.env("WASAKARI_SERVER")
	}
	c, transport := newClient()
	opt, what, err := f.credentials(w)
	if err != nil {
		return nil, &usageError{err}
	}
	if what != "" {
		opt.UserAgent = "wasakari/" + version
		find := serviceType
		if server != "" {
			find = ""
		}
		l, err := openstack.LogIn(ctx, opt, find)
		if err != nil {
			return nil, usagef("%s: %w%s", what, err, loginHint(err))
		}
		c.token, transport.TLSClientConfig = l.Token, l.TLS
		if server == "" {
			server = l.Endpoint
		}
	}
	if server == "" {
		server = defaultServer
	}
	if c.base, err = serverRoot(server); err != nil {
		return nil, err
	}
	return c, nil
}

// newClient makes a client that has no server yet; its transport is its own.
func newClient() (*client, *http.Transport) {
	transport := &http.Transport{
		Proxy:       http.ProxyFromEnvironment,
		DialContext: (&net.Dialer{Timeout: 10 * time.Second}).DialContext, TLSHandshakeTimeout: 10 * time.Second,
		ResponseHeaderTimeout:  15 * time.Minute, // an upload waits for the nodes
		MaxResponseHeaderBytes: 1 << 20,
	}
	return &client{http: &http.Client{
		Transport: transport,
		// The token would go to whom the answer names.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, transport
}

// credentials says where to log in; what is empty when nowhere.
func (f *remoteFlags) credentials(w world) (opt openstack.Options, what string, err error) {
	name := f.osCloud
	if name == "" {
		name = w.env("OS_CLOUD")
	}
	switch {
	case name != "":
		opt, err = cloudOptions(w, name)
		return opt, "cloud " + name, err
	case w.env("OS_AUTH_URL") != "":
		opt, err = openstack.OptionsFromEnv(w.environ)
		return opt, "cloud of the OS_* variables", err
	}
	return openstack.Options{}, "", nil
}

// serverRoot is the URL below which the API's paths are: what stands before /v1,
// where an endpoint of the catalog ends, or before our own part.
func serverRoot(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.User != nil {
		return nil, usagef("server %s: want http://HOST:PORT or https://HOST:PORT, such as %s", displayed(text), defaultServer)
	}
	var path []string
	for part := range strings.SplitSeq(strings.Trim(u.Path, "/"), "/") {
		if part == "v1" || part == "wasakari" {
			break
		}
		if part != "" {
			path = append(path, part)
		}
	}
	prefix := ""
	if len(path) > 0 {
		prefix = "/" + strings.Join(path, "/")
	}
	return &url.URL{Scheme: u.Scheme, Host: u.Host, Path: prefix}, nil
}

// displayed is a URL as it may be shown.
func displayed(text string) string {
	if u, err := url.Parse(text); err == nil {
		return u.Redacted()
	}
	return "(no URL)"
}

// path joins the parts of a path below the API's own, each escaped.
func path(parts ...string) string {
	for i := range parts {
		parts[i] = url.PathEscape(parts[i])
	}
	return strings.Join(parts, "/")
}

// request makes a request; at is the path below the API's own.
func (c *client) request(ctx context.Context, method, at string, query url.Values, body io.Reader) (*http.Request, error) {
	target := c.base.String() + wasakariv1.Prefix + "/" + at
	if len(query) > 0 {
		target += "?" + query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, method, target, body)
	if err != nil {
		return nil, err
	}
	c.sign(req)
	return req, nil
}

// sign says who sends a request.
func (c *client) sign(req *http.Request) {
	req.Header.Set("User-Agent", "wasakari/"+version)
	req.Header.Set("Accept", "application/json")
	if c.token != "" {
		req.Header.Set("X-Auth-Token", c.token)
	}
}

// send sends a request and gives an answer that is a success; the caller closes
// its body.
func (c *client) send(req *http.Request) (*http.Response, error) {
	res, err := c.http.Do(req)
	if err != nil {
		if ctx := req.Context(); ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if u, ok := errors.AsType[*url.Error](err); ok {
			err = u.Err
		}
		hint := "is wasakari serve running there? name another with --server"
		if c.base.Scheme == "https" && strings.Contains(err.Error(), "certificate") {
			hint = "name the CA's file in OS_CACERT, or as cacert in clouds.yaml"
		}
		return nil, usagef("server %s: %w; %s", c.base, err, hint)
	}
	if res.StatusCode >= 200 && res.StatusCode < 300 {
		return res, nil
	}
	defer res.Body.Close() //nolint:errcheck // read only
	return nil, c.refusal(res)
}

// remoteError is a refusal of the server.
type remoteError struct {
	code int
	text string
}

func (e *remoteError) Error() string { return e.text }

// refusal says in one line what the server said.
func (c *client) refusal(res *http.Response) error {
	body, _ := io.ReadAll(io.LimitReader(res.Body, 64<<10)) // part of it is better than none
	var p wasakariv1.Problem
	known := json.Unmarshal(body, &p) == nil && p.Error.Message != ""
	switch {
	case res.StatusCode == http.StatusUnauthorized && c.token == "":
		return usagef("server %s: it wants a token; name a cloud to log in at with --os-cloud, or set OS_CLOUD or the OS_* variables", c.base)
	case res.StatusCode == http.StatusUnauthorized:
		return usagef("server %s: it does not take the token; is it of the same cloud?", c.base)
	case known:
		return &remoteError{res.StatusCode, p.Error.Error()}
	case masakariMessage(body) != "":
		return &remoteError{res.StatusCode, fmt.Sprintf("server %s: %s: %s", c.base, res.Status, masakariMessage(body))}
	case res.StatusCode == http.StatusRequestEntityTooLarge:
		return &remoteError{res.StatusCode, "it is larger than the server takes; strip it (Go -ldflags='-s -w', Rust strip = true, wasm-opt --strip-debug), or raise [wasakari] module_mib there"}
	case res.StatusCode == http.StatusNotFound, res.StatusCode < 400:
		return usagef("server %s: %s: there is no Wasakari; name another with --server", c.base, res.Status)
	}
	return &remoteError{res.StatusCode, fmt.Sprintf("server %s: %s", c.base, res.Status)}
}

// masakariMessage is what an error of Masakari's API says; empty when it is none.
func masakariMessage(body []byte) string {
	var doc map[string]struct {
		Code    int    `json:"code"`
		Message string `json:"message"`
	}
	if json.Unmarshal(body, &doc) != nil || len(doc) != 1 {
		return ""
	}
	for _, e := range doc {
		return e.Message
	}
	return ""
}

// call sends a document, if body is one, and reads the answer, if doc wants one.
func (c *client) call(ctx context.Context, method, at string, query url.Values, body, doc any) error {
	ctx, cancel := context.WithTimeoutCause(ctx, 15*requestTime, fmt.Errorf("server %s: %w", c.base, recovery.ErrTimeout))
	defer cancel()
	var in io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return err
		}
		in = bytes.NewReader(b)
	}
	req, err := c.request(ctx, method, at, query, in)
	if err != nil {
		return err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := c.send(req)
	if err != nil {
		return err
	}
	return c.read(res, doc)
}

// read reads an answer and closes it.
func (c *client) read(res *http.Response, doc any) error {
	defer res.Body.Close() //nolint:errcheck // read only
	if doc == nil {
		return nil
	}
	text, err := io.ReadAll(io.LimitReader(res.Body, maxDocument))
	if err != nil {
		return fmt.Errorf("server %s: %w", c.base, err)
	}
	if err := json.Unmarshal(text, doc); err != nil {
		return usagef("server %s: its answer is no document of Wasakari; name another with --server", c.base)
	}
	return nil
}

// show calls and prints the answer: the document itself, or what text makes of
// it.
func show[T any](ctx context.Context, f *remoteFlags, w world, method, at string, query url.Values, body any, text func(io.Writer, T) error) error {
	c, err := f.connect(ctx, w)
	if err != nil {
		return err
	}
	var raw json.RawMessage
	if err := c.call(ctx, method, at, query, body, &raw); err != nil {
		return err
	}
	if f.output == "json" {
		return printJSON(w.stdout, raw)
	}
	var doc T
	if err := json.Unmarshal(raw, &doc); err != nil {
		return usagef("server %s: its answer is no document of Wasakari; name another with --server", c.base)
	}
	return text(w.stdout, doc)
}

// printTable prints rows in columns; the texts of strangers are made fit for a
// terminal.
func printTable(out io.Writer, rows [][]string) error {
	var b bytes.Buffer
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		for i := range row {
			row[i] = oneLine(row[i])
		}
		fmt.Fprintln(t, strings.Join(row, "\t"))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	var lines strings.Builder
	for line := range strings.Lines(b.String()) {
		lines.WriteString(strings.TrimRight(line, " \n") + "\n")
	}
	_, err := io.WriteString(out, lines.String())
	return err
}

// moment shows a time.
func moment(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02 15:04:05Z")
}

// brief is the beginning of a digest.
func brief(digest string) string {
	if len(digest) > 12 {
		return digest[:12]
	}
	return digest
}
