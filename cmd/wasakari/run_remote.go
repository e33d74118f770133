package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/wasakari/wasakari/api"
	"github.com/wasakari/wasakari/api/wasakariv1"
	"github.com/wasakari/wasakari/config"
	"github.com/wasakari/wasakari/openstack"
	"github.com/wasakari/wasakari/recovery"
	"github.com/wasakari/wasakari/store"
)

// probeTime bounds the question whether a service answers at an address that
// nobody named.
const probeTime = 5 * time.Second

// live finds the service that recovers the cloud of a run; nil: the run goes on
// in this process. A service that is known of and does not answer is refused, and
// so is a real cloud without a service, unless the caller said --yes.
func (f *runFlags) live(ctx context.Context, w world, cfg *config.Config) (*client, error) {
	if f.simulate || f.dryRun || f.yes {
		if f.server == "" {
			return nil, nil //nolint:nilnil // there is none to go through
		}
		for _, o := range []struct {
			given bool
			name  string
		}{{f.simulate, "--simulate"}, {f.dryRun, "--dry-run"}, {f.yes, "--yes"}} {
			if o.given {
				return nil, usagef("--server and %s: choose one; %s is for a run by this command itself", o.name, o.name)
			}
		}
	}
	const beside = "or repeat with --yes to run beside it, where its guards and claims know nothing of the run"
	server, named := f.server, "--server"
	if server == "" {
		server, named = w.env("WASAKARI_SERVER"), "WASAKARI_SERVER"
	}
	if server != "" {
		c, err := f.client(ctx, w, cfg, server)
		if err != nil {
			return nil, err
		}
		switch err := c.probe(ctx); {
		case errors.Is(err, errSimulated):
			return nil, usagef("%s: the service at %s recovers a simulated cloud; name another, or try it with wasakari run --simulate", named, displayed(server))
		case err != nil:
			return nil, usagef("%s: no service answers at %s: %w; name another with --server, %s", named, displayed(server), err, beside)
		}
		return c, nil
	}
	st, err := storeOf(cfg, w, "")
	if err != nil {
		return nil, err
	}
	who := ""
	switch {
	case len(st.Endpoints) > 0:
		who = "the service whose state is at " + strings.Join(st.Endpoints, ", ") + " ([store] endpoints)"
	case store.InUse(st.Dir):
		who = "the service that has the store folder " + st.Dir
	}
	server = listensAt(cfg)
	c, err := f.client(ctx, w, nil, server)
	if err != nil {
		return nil, err
	}
	err = c.probe(ctx)
	if _, untrusted := errors.AsType[*tls.CertificateVerificationError](err); untrusted || err == nil {
		// Whom the cloud's certificates vouch for is known when it is logged in.
		if c, err = f.client(ctx, w, cfg, server); err != nil {
			return nil, err
		}
		if err = c.probe(ctx); err == nil {
			return c, nil
		}
	}
	switch {
	case who != "":
		return nil, usagef("%s recovers this cloud, and does not answer at %s: name it with --server, %s", who, server, beside)
	}
	return nil, usagef("nothing was started: this changes a real cloud, and no service that recovers it answers at %s; name it with --server, or repeat with --yes to recover from here", server)
}

// listensAt is the URL of the service that has this configuration, seen from its
// own machine.
func listensAt(cfg *config.Config) string {
	scheme, host := "http", cfg.Default.APIListen
	if cfg.Default.UseSSL {
		scheme = "https"
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return scheme + "://" + net.JoinHostPort(host, strconv.Itoa(cfg.Default.APIListenPort))
}

// client asks the service at a URL with the credentials of the run's cloud;
// nobody logs in without a configuration.
func (f *runFlags) client(ctx context.Context, w world, cfg *config.Config, server string) (*client, error) {
	c, transport := newClient()
	var err error
	if c.base, err = serverRoot(server); err != nil || cfg == nil {
		return c, err
	}
	opt, what, err := f.options(w, cfg)
	if err != nil {
		if f.osCloud != "" || w.env("OS_CLOUD") != "" || w.env("OS_AUTH_URL") != "" || cfg.Nova.AuthURL != "" {
			return nil, &usageError{err}
		}
		return c, nil // it may want no token
	}
	opt.UserAgent = "wasakari/" + version
	l, err := openstack.LogIn(ctx, opt, "")
	if err != nil {
		return nil, usagef("%s: %w%s", what, err, loginHint(err))
	}
	c.token, transport.TLSClientConfig = l.Token, l.TLS
	return c, nil
}

// errSimulated says that a service does not recover any real cloud.
var errSimulated = errors.New("its cloud is a simulated one")

// probe asks whether a service of Wasakari's for a real cloud answers.
func (c *client) probe(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodHead, c.base.String()+api.OpenAPIPath, nil)
	if err != nil {
		return err
	}
	res, err := c.http.Do(req)
	if err != nil {
		if u, ok := errors.AsType[*url.Error](err); ok {
			err = u.Err
		}
		return err
	}
	_ = res.Body.Close() // it has none
	switch {
	case res.StatusCode != http.StatusOK:
		return fmt.Errorf("%s: there is no Wasakari", res.Status)
	case res.Header.Get(api.HeaderSimulated) != "":
		return errSimulated
	}
	return nil
}

// discovers lists the options that tell where a service is. No other one can be
// set for it.
var discovers = []string{"store.endpoints", "store.dir", "wasakari.state_dir", "DEFAULT.masakari_api_listen", "DEFAULT.masakari_api_listen_port", "DEFAULT.use_ssl"}

// unsent refuses, by name, what a notification cannot carry.
func (f *runFlags) unsent(server *url.URL) error {
	var errs []error
	refuse := func(given bool, name, do string) {
		if given {
			errs = append(errs, usagef("%s: the service at %s runs the flow; %s", name, server, do))
		}
	}
	const local = "leave it out, or repeat with --yes to run beside the service"
	refuse(len(f.taskDirs) > 0, "--task-dir", "upload the module with wasakari task push, or repeat with --yes to run beside the service")
	refuse(len(f.tenantTaskDirs) > 0, "--tenant-task-dir", "upload the module with wasakari task push --tenant, or repeat with --yes to run beside the service")
	refuse(f.method != "", "--recovery-method", "the recovery method is that of the host's segment there; leave it out")
	refuse(f.override != "", "--override", "leave it out; if the run is held, wasakari runs retry RUN --override REASON lets it go on")
	for _, kv := range f.set {
		name, _, _ := strings.Cut(kv, "=")
		refuse(!slices.Contains(discovers, name), "--set "+name, local)
	}
	for _, pair := range f.inputs {
		name, _, _ := strings.Cut(pair, "=")
		refuse(slices.Contains([]string{"notification_uuid", "recovery_method", "segment", "reserved_host_list"}, name), "--input "+name,
			"it is given by the notification and the host's segment there; leave it out")
	}
	return errors.Join(errs...)
}

// sentNotification is what Masakari's API takes and gives of a notification.
type sentNotification struct {
	UUID      string          `json:"notification_uuid,omitempty"`
	Type      string          `json:"type"`
	Host      string          `json:"hostname,omitempty"`
	Generated string          `json:"generated_time"`
	Payload   json.RawMessage `json:"payload"`
	Status    string          `json:"status,omitempty"`
	Message   string          `json:"message,omitempty"`
}

// notify makes the notification that a monitor would have sent.
func notify(kind recovery.FlowKind, in inputs, now time.Time) (sentNotification, error) {
	n := sentNotification{Type: string(kind.Notification()), Host: text(in, "host_name"), Generated: text(in, "generated_time"), Payload: in["payload"]}
	if n.Host == "" {
		return n, usagef("flow %s: a notification names the host; add --input host_name=compute-1, the host that the server is on", kind)
	}
	if n.Generated == "" {
		n.Generated = now.UTC().Format("2006-01-02T15:04:05")
	}
	if n.Payload != nil {
		return n, nil
	}
	event := text(in, "event")
	payload := map[string]string{"event": recovery.EventStopped}
	switch kind {
	case recovery.HostAuto, recovery.HostReserved:
		payload["host_status"], payload["cluster_status"] = "NORMAL", "OFFLINE"
	case recovery.HostRepair:
		payload = map[string]string{"event": recovery.EventStarted, "host_status": "NORMAL", "cluster_status": "ONLINE"}
	case recovery.ProcessFailure:
		payload["process_name"] = text(in, "process_name")
	case recovery.InstanceFailure:
		payload = map[string]string{"event": "LIFECYCLE", "vir_domain_event": "STOPPED_FAILED", "instance_uuid": text(in, "instance_uuid")}
	}
	if event != "" {
		payload["event"] = event
	}
	var err error
	n.Payload, err = json.Marshal(payload)
	return n, err
}

// through has a service run the flow, shows the run and reports it.
func (f *runFlags) through(ctx context.Context, w world, c *client, kind recovery.FlowKind) error {
	if err := f.unsent(c.base); err != nil {
		return err
	}
	given := f.inputs
	if kind == recovery.HostReserved { // which they are, the segment there tells
		given = append(slices.Clone(given), "reserved_host_list=")
	}
	in, err := parseInputs([]recovery.FlowKind{kind}, given)
	if err != nil {
		return err
	}
	n, err := notify(kind, in, time.Now())
	if err != nil {
		return err
	}
	if kind.FailedHost() {
		if err := c.sameFlow(ctx, kind, n.Host); err != nil {
			return err
		}
	}
	var sent struct {
		Notification sentNotification `json:"notification"`
	}
	if err := c.masakari(ctx, http.MethodPost, "/v1/notifications", map[string]any{"notification": n}, &sent); err != nil {
		return err
	}
	out := w.stdout
	if f.output == "json" {
		out = io.Discard
	}
	fmt.Fprintln(out, oneLine(fmt.Sprintf("%s of %s by the service at %s, notification %s", kind, n.Host, c.base, sent.Notification.UUID)))
	goesOn := fmt.Errorf("%w: the service goes on with it; look with wasakari runs list --notification %s", recovery.ErrInterrupted, sent.Notification.UUID)
	run, err := c.runOf(ctx, sent.Notification.UUID)
	switch {
	case ctx.Err() != nil:
		return goesOn
	case err != nil:
		return err
	case run == "":
		return f.endedWithout(ctx, w, c, kind, sent.Notification.UUID)
	}
	v := &watcher{client: c, run: run, w: world{stdout: out}, quiet: true}
	if err := v.watch(ctx); err != nil {
		if ctx.Err() != nil {
			return goesOn
		}
		return err
	}
	var doc wasakariv1.RunDocument
	if err := c.call(ctx, http.MethodGet, path("runs", run), nil, nil, &doc); err != nil {
		return err
	}
	return f.tell(w, remoteReport(c, doc.Run))
}

// tell prints the report of a run at a service and tells how it ended.
func (f *runFlags) tell(w world, r report) error {
	print := r.text
	if f.output == "json" {
		print = r.json
	}
	if err := print(w.stdout); err != nil {
		return err
	}
	if !slices.Contains([]string{string(recovery.StatusFinished), string(recovery.StatusIgnored)}, r.Status) || len(r.LeftToUndo) > 0 {
		return errReported
	}
	return nil
}

// remoteReport makes the report of a run at a service. Values are not told
// there, only their names, nor how many requests were sent.
func remoteReport(c *client, d wasakariv1.RunDetail) report {
	run := recovery.Run{
		ID: d.ID, Status: recovery.NotificationStatus(d.Status), Message: d.Message, Flows: d.Flows, Started: d.Started, Ended: d.Ended,
		Override: d.Override, Held: d.Held, Finished: d.Finished,
	}
	kv := map[string]json.RawMessage{}
	for _, name := range d.Values {
		kv[name] = json.RawMessage("null")
	}
	r := newReport(run, "the service at "+c.base.String(), 0, d.Tasks, d.VMoves, kv)
	r.Status, r.LeftToUndo, r.Notification, r.gone = d.Status, d.Undo, d.Notification, true
	return r
}

// endedWithout reports a notification that ended without a run.
func (f *runFlags) endedWithout(ctx context.Context, w world, c *client, kind recovery.FlowKind, notification string) error {
	var doc struct {
		Notification sentNotification `json:"notification"`
	}
	if err := c.masakari(ctx, http.MethodGet, "/v1/"+path("notifications", notification), nil, &doc); err != nil {
		return err
	}
	n := doc.Notification
	message := "the service ended notification " + notification + " without a run" + because(n.Message)
	if kind == recovery.HostRepair && n.Message == "" {
		message += "; is [host_repair] enabled there?"
	}
	run := recovery.Run{Status: recovery.NotificationStatus(n.Status), Message: message, Flows: []recovery.FlowKind{kind}, Started: time.Now().UTC(), Finished: true}
	r := newReport(run, "the service at "+c.base.String(), 0, nil, nil, nil)
	r.Status, r.Notification, r.gone = n.Status, notification, true
	return f.tell(w, r)
}

// sameFlow refuses a host whose segment is recovered by another flow.
func (c *client) sameFlow(ctx context.Context, kind recovery.FlowKind, host string) error {
	var segments struct {
		Segments []struct {
			UUID   string                  `json:"uuid"`
			Name   string                  `json:"name"`
			Method recovery.RecoveryMethod `json:"recovery_method"`
		} `json:"segments"`
	}
	if err := c.masakari(ctx, http.MethodGet, "/v1/segments", nil, &segments); err != nil {
		return err
	}
	for _, s := range segments.Segments {
		var hosts struct {
			Hosts []struct {
				Name string `json:"name"`
			} `json:"hosts"`
		}
		if err := c.masakari(ctx, http.MethodGet, "/v1/"+path("segments", s.UUID, "hosts"), nil, &hosts); err != nil {
			return err
		}
		for _, h := range hosts.Hosts {
			if h.Name != host {
				continue
			}
			if flows := s.Method.Flows(); len(flows) > 0 && flows[0] != kind {
				return usagef("flow %s: segment %s of host %s recovers by %s; run %s, or change the segment's recovery method", kind, s.Name, host, s.Method, flows[0])
			}
			return nil
		}
	}
	return nil // the service says that it has no such host
}

// Bounds of the wait for a run to begin.
const (
	firstRunPause = 100 * time.Millisecond
	mostRunPause  = 2 * time.Second
)

// runOf waits until a notification has a run, and names it; none: it ended
// without one.
func (c *client) runOf(ctx context.Context, notification string) (string, error) {
	at, query := path("runs"), url.Values{"notification": {notification}, "limit": {"1"}}
	for pause := firstRunPause; ; pause = min(2*pause, mostRunPause) {
		var n struct {
			Notification sentNotification `json:"notification"`
		}
		// Asked for first: it has a run before it has ended with one.
		if err := c.masakari(ctx, http.MethodGet, "/v1/"+path("notifications", notification), nil, &n); err != nil {
			return "", err
		}
		var runs wasakariv1.RunList
		if err := c.call(ctx, http.MethodGet, at, query, nil, &runs); err != nil {
			return "", err
		}
		switch {
		case len(runs.Runs) > 0:
			return runs.Runs[0].ID, nil
		case recovery.NotificationStatus(n.Notification.Status).Final():
			return "", nil
		}
		select {
		case <-ctx.Done():
			return "", context.Cause(ctx)
		case <-time.After(pause):
		}
	}
}

// masakari asks Masakari's API.
func (c *client) masakari(ctx context.Context, method, at string, body, doc any) error {
	ctx, cancel := context.WithTimeoutCause(ctx, requestTime, fmt.Errorf("server %s: %w", c.base, recovery.ErrTimeout))
	defer cancel()
	b, err := json.Marshal(body)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base.String()+at, nil)
	if err != nil {
		return err
	}
	if body != nil {
		req.Body, req.ContentLength = io.NopCloser(bytes.NewReader(b)), int64(len(b))
		req.Header.Set("Content-Type", "application/json")
	}
	c.sign(req)
	req.Header.Set("OpenStack-API-Version", "instance-ha 1.3")
	res, err := c.send(req)
	if err != nil {
		return err
	}
	return c.read(res, doc)
}
