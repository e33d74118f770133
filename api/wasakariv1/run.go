package wasakariv1

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/wasakari/wasakari/recovery"
)

// statusHeld is the status of a run that a guard held before its first change.
const statusHeld = "held"

// Run is a run as the API shows it. A tenant gets a part of it.
type Run struct {
	ID           string              `json:"id"`
	Status       string              `json:"status" help:"running, finished, ignored, error or failed; held when a guard held it."`
	Message      string              `json:"message,omitempty"`
	Notification string              `json:"notification,omitempty" help:"UUID; none: a run from the command line."`
	Delivery     int                 `json:"delivery,omitempty" help:"Counts the runs of the notification, from 1."`
	Flows        []recovery.FlowKind `json:"flows" help:"In the order in which they are tried."`
	Host         string              `json:"host,omitempty"`
	Server       string              `json:"server,omitempty"`
	Segment      string              `json:"segment,omitempty"`
	Node         string              `json:"node,omitempty" help:"The node that works on it, or did last."`
	Started      time.Time           `json:"started"`
	Ended        time.Time           `json:"ended,omitzero"`
	Finished     bool                `json:"finished" help:"Whether it is over."`
	Override     string              `json:"override,omitempty" help:"Why a person let it go on beyond the guards' bounds."`
	Held         *recovery.HeldError `json:"held,omitempty"`
	Abort        *recovery.Abort     `json:"abort,omitempty"`
}

// RunDetail is all that is shown of one run.
type RunDetail struct {
	Run
	Inputs  []string              `json:"inputs" help:"Names of the flow's inputs."`
	Values  []string              `json:"values" help:"Names of the values that tasks provided."`
	Modules map[string]string     `json:"modules" help:"Digest of the module by the task's key, pinned at the start."`
	Tasks   []recovery.TaskRecord `json:"tasks"`
	VMoves  []recovery.VMove      `json:"vmoves"`
	Changes []Change              `json:"changes" help:"Changes to the cloud, in order."`
	Undo    []recovery.Undo       `json:"undo" help:"What is left to undo."`
}

// Change is one change to the cloud.
type Change struct {
	Op        string               `json:"op"`
	Target    string               `json:"target"`
	Task      string               `json:"task"`
	Attempt   int                  `json:"attempt"`
	Started   time.Time            `json:"started"`
	State     recovery.IntentState `json:"state" help:"open, done, refused or lost."`
	RequestID string               `json:"request_id,omitempty" help:"Nova's."`
	Message   string               `json:"message,omitempty"`
}

// RunList answers a list of runs.
type RunList struct {
	Runs []Run `json:"runs"`
	// Next is the marker of the next page.
	Next string `json:"next,omitempty" help:"Marker of the next page; none: this is the last."`
}

// RunDocument answers a request for one run.
type RunDocument struct {
	Run RunDetail `json:"run"`
}

// RunAnswer answers a change of a run.
type RunAnswer struct {
	Run Run `json:"run"`
}

// AbortRequest asks for the end of a run.
type AbortRequest struct {
	Mode   recovery.AbortMode `json:"mode" enum:"revert,stop" help:"revert: fail the task at work and revert those that ran; stop: leave what was done."`
	Reason string             `json:"reason" help:"Why, for those who read the notification." min:"1" max:"1000"`
}

// RetryRequest asks for another run.
type RetryRequest struct {
	Override string `json:"override,omitempty" help:"Why the run may go beyond the guards' bounds." max:"1000"`
}

// Notification is what a retry answers with.
type Notification struct {
	UUID    string                      `json:"uuid"`
	Type    recovery.NotificationType   `json:"type"`
	Host    string                      `json:"host,omitempty"`
	Status  recovery.NotificationStatus `json:"status"`
	Message string                      `json:"message,omitempty"`
	Runs    []string                    `json:"runs" help:"Ids of its runs, oldest first."`
}

// NotificationAnswer answers a retry.
type NotificationAnswer struct {
	Notification Notification `json:"notification"`
}

// runOf shows a run.
func runOf(run recovery.Run, v view) Run {
	r := Run{
		ID: run.ID, Status: string(run.Status), Message: run.Message, Notification: run.Notification, Delivery: run.Delivery,
		Flows: append([]recovery.FlowKind{}, run.Flows...), Host: run.Host, Server: run.Server, Segment: run.Segment, Node: run.Node,
		Started: run.Started, Ended: run.Ended, Finished: run.Finished, Override: run.Override, Held: run.Held, Abort: run.Abort,
	}
	if run.Held != nil {
		r.Status = statusHeld
	}
	if !v.all {
		// Hosts, nodes, segments and what persons wrote about them are the operator's.
		r.Host, r.Segment, r.Node, r.Override, r.Held, r.Abort, r.Message = "", "", "", "", nil, nil, ""
	}
	return r
}

// owners remembers whose servers are; that never changes.
type owners struct {
	mu      sync.Mutex
	tenants map[string]string
}

const (
	maxOwners  = 20_000
	maxLookups = 100 // questions to the cloud for one answer
)

// owner gives the project of a server, empty when it is not known. budget counts
// down with each question to the cloud.
func (a *API) owner(ctx context.Context, server string, budget *int) string {
	a.owners.mu.Lock()
	tenant, ok := a.owners.tenants[server]
	a.owners.mu.Unlock()
	if ok || server == "" || a.cfg.Servers == nil || *budget <= 0 {
		return tenant
	}
	*budget--
	tenant, err := a.cfg.Servers.Tenant(ctx, server)
	if err != nil && !errors.Is(err, recovery.ErrNotFound) {
		return "" // the cloud is away: nobody's, for now
	}
	a.owners.mu.Lock()
	defer a.owners.mu.Unlock()
	if a.owners.tenants == nil || len(a.owners.tenants) >= maxOwners {
		a.owners.tenants = map[string]string{}
	}
	a.owners.tenants[server] = tenant
	return tenant
}

// shows reports whether a run is in a view. Tenants see the runs about their own
// servers.
func (a *API) shows(ctx context.Context, v view, run recovery.Run, budget *int) bool {
	return v.all || run.Server != "" && v.tenant != "" && a.owner(ctx, run.Server, budget) == v.tenant
}

// hiddenPrefix begins a marker that does not tell which run it is.
const hiddenPrefix = "after-"

func isHidden(marker string) bool { return strings.HasPrefix(marker, hiddenPrefix) }

// hiddenMarker names the place of a run that is not the caller's: his list may
// end there, and the id is not his business. Ids are random, so that nobody gets
// from one to the other, and every node knows it.
func hiddenMarker(run string) string {
	sum := sha256.Sum256([]byte("wasakari marker " + run))
	return hiddenPrefix + hex.EncodeToString(sum[:16])
}

func (a *API) listRuns(w http.ResponseWriter, r *http.Request, _ Caller, v view) error {
	f, err := parseRunFilter(r, time.Now())
	if err != nil {
		return err
	}
	if f.host != "" && !v.all {
		return refuse(http.StatusForbidden, "leave it out", "which host a server was on is the operator's business")
	}
	runs, err := a.cfg.Store.Runs(r.Context())
	if err != nil {
		return err
	}
	doc, budget := RunList{Runs: []Run{}}, maxLookups
	begun, next := f.marker == "", "" // next: there is no room for more after it
	for run := range runs {
		if next != "" {
			doc.Next = next
			break
		}
		if !begun {
			begun = run.ID == f.marker && a.shows(r.Context(), v, run, &budget) || isHidden(f.marker) && hiddenMarker(run.ID) == f.marker
			continue
		}
		shown := f.takes(run) && a.shows(r.Context(), v, run, &budget)
		if shown {
			doc.Runs = append(doc.Runs, runOf(run, v))
		}
		if len(doc.Runs) >= f.limit || budget <= 0 {
			if next = run.ID; !shown && !v.all {
				next = hiddenMarker(run.ID)
			}
		}
	}
	if !begun {
		return refuse(http.StatusBadRequest, "begin without one", "marker %q is no run that is kept", cut(f.marker, 64))
	}
	return a.answer(w, r, http.StatusOK, doc)
}

// takes reports whether a run passes the filter.
func (f runFilter) takes(run recovery.Run) bool {
	status := string(run.Status)
	if run.Held != nil {
		status = statusHeld
	}
	return (f.status == "" || f.status == status) && (f.host == "" || f.host == run.Host) &&
		(f.notification == "" || f.notification == run.Notification) && !run.Started.Before(f.since)
}

// run finds the run of a request.
func (a *API) run(r *http.Request, v view) (recovery.Run, Detail, error) {
	id := r.PathValue("run")
	run, detail, err := a.cfg.Store.RunDetail(r.Context(), id)
	budget := 1
	if err == nil && !a.shows(r.Context(), v, run, &budget) {
		err = recovery.ErrNotFound
	}
	if errors.Is(err, recovery.ErrNotFound) {
		return run, detail, &Refusal{Code: http.StatusNotFound, Message: "there is no run " + cut(id, 64), Hint: "list what there is with GET " + Prefix + "/runs", Err: err}
	}
	return run, detail, err
}

func (a *API) showRun(w http.ResponseWriter, r *http.Request, _ Caller, v view) error {
	if _, err := parameters(r); err != nil {
		return err
	}
	run, d, err := a.run(r, v)
	if err != nil {
		return err
	}
	doc := RunDetail{
		Run: runOf(run, v), Inputs: slices.Sorted(maps.Keys(run.Inputs)), Values: append([]string{}, d.Values...), Modules: run.Modules,
		Tasks: []recovery.TaskRecord{}, VMoves: []recovery.VMove{}, Changes: []Change{}, Undo: append([]recovery.Undo{}, d.Undo...),
	}
	slices.Sort(doc.Values)
	for _, i := range d.Intents {
		doc.Changes = append(doc.Changes, Change{i.Op, i.Target, i.Task, i.Attempt, i.Started, i.State, i.RequestID, i.Message})
	}
	// A run from the command line has no notification, and keeps its vmoves elsewhere.
	if v.all && run.Notification != "" {
		vmoves, err := a.cfg.Store.VMoves(r.Context(), run.Notification)
		if err != nil && !errors.Is(err, recovery.ErrNotFound) {
			return err
		}
		doc.VMoves = append(doc.VMoves, vmoves...)
	}
	own, err := a.ownKeys(r.Context(), v, run)
	if err != nil {
		return err
	}
	for _, t := range d.Tasks {
		doc.Tasks = append(doc.Tasks, taskFor(v, own, t))
	}
	if !v.all {
		doc.Changes, doc.Undo, doc.Values = []Change{}, []recovery.Undo{}, []string{}
		doc.Inputs = slices.DeleteFunc(doc.Inputs, func(name string) bool { return !slices.Contains(recovery.TenantInputs(), name) })
		doc.Modules = maps.Clone(doc.Modules)
		maps.DeleteFunc(doc.Modules, func(key, _ string) bool { return !own[key] })
	}
	if doc.Inputs == nil {
		doc.Inputs = []string{}
	}
	if doc.Modules == nil {
		doc.Modules = map[string]string{}
	}
	return a.answer(w, r, http.StatusOK, RunDocument{doc})
}

// ownKeys lists the tasks of a run that are of the view's tenant.
func (a *API) ownKeys(ctx context.Context, v view, run recovery.Run) (map[string]bool, error) {
	if v.all {
		return nil, nil
	}
	versions, err := a.cfg.Modules.Modules(ctx)
	if err != nil {
		return nil, err
	}
	own := map[string]bool{}
	for _, m := range versions {
		for _, key := range m.Keys {
			if m.Tenant == v.tenant && run.Modules[key] == m.Digest {
				own[key] = true
			}
		}
	}
	return own, nil
}

// taskFor shows an entry of the journal. What the operator's tasks say speaks of
// hosts, which are not for tenants.
func taskFor(v view, own map[string]bool, t recovery.TaskRecord) recovery.TaskRecord {
	if v.all || own[t.Key] {
		return t
	}
	t.Message, t.Progress, t.ReservedHost = "", nil, ""
	if t.Revert != nil {
		r := *t.Revert
		r.Reason = ""
		t.Revert = &r
	}
	return t
}

func (a *API) abortRun(w http.ResponseWriter, r *http.Request, c Caller, v view) error {
	if _, err := parameters(r); err != nil {
		return err
	}
	req := AbortRequest{Mode: recovery.AbortRevert}
	if err := decode(w, r, &req); err != nil {
		return err
	}
	if req.Mode != recovery.AbortRevert && req.Mode != recovery.AbortStop {
		return refuse(http.StatusBadRequest, "want revert or stop", "mode %q is none", cut(string(req.Mode), 64))
	}
	if err := reason("reason", req.Reason, true); err != nil {
		return err
	}
	run, _, err := a.run(r, v)
	if err != nil {
		return err
	}
	if run.Finished {
		return refuse(http.StatusConflict, "", "run %s has ended already: %s", run.ID, run.Status)
	}
	abort := recovery.Abort{Mode: req.Mode, Reason: req.Reason, By: c.User(), Status: recovery.StatusFailed}
	err = a.cfg.Store.Abort(r.Context(), run.ID, abort)
	if errors.Is(err, recovery.ErrConflict) {
		return &Refusal{Code: http.StatusConflict, Message: "run " + run.ID + " has ended meanwhile", Err: err}
	}
	if err != nil {
		return err
	}
	run.Abort = &abort
	return a.answer(w, r, http.StatusAccepted, RunAnswer{runOf(run, v)})
}

// reason checks a text that a person gave for others to read.
func reason(name, s string, required bool) error {
	switch {
	case required && strings.TrimSpace(s) == "":
		return refuse(http.StatusBadRequest, "say why, for those who look at it later", "%s is not set", name)
	case len(s) > maxReason:
		return refuse(http.StatusBadRequest, "", "%s has %d bytes, at most %d", name, len(s), maxReason)
	case strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }):
		return refuse(http.StatusBadRequest, "write one line of text", "%s holds characters that cannot be printed", name)
	}
	return nil
}

func (a *API) retryRun(w http.ResponseWriter, r *http.Request, _ Caller, v view) error {
	if _, err := parameters(r); err != nil {
		return err
	}
	var req RetryRequest
	if err := decode(w, r, &req); err != nil {
		return err
	}
	if err := reason("override", req.Override, false); err != nil {
		return err
	}
	ctx := r.Context()
	uuid := r.PathValue("run")
	run, _, err := a.run(r, v)
	switch {
	case err == nil && run.Notification == "":
		return refuse(http.StatusConflict, "go on with it where it was started: wasakari run --resume "+run.ID, "run %s is one from the command line", run.ID)
	case err == nil:
		uuid = run.Notification
	case !errors.Is(err, recovery.ErrNotFound):
		return err
	}
	n, err := a.cfg.Store.Notification(ctx, uuid)
	if errors.Is(err, recovery.ErrNotFound) {
		return &Refusal{Code: http.StatusNotFound, Message: "there is no run and no notification " + cut(uuid, 64), Hint: "list the runs with GET " + Prefix + "/runs", Err: err}
	}
	if err != nil {
		return err
	}
	if !n.Status.Final() && n.Status != recovery.StatusError {
		return refuse(http.StatusConflict, "wait for its end, or abort its run", "notification %s is being worked on: %s", n.UUID, n.Status)
	}
	err = a.cfg.Store.Retry(ctx, n.UUID, req.Override)
	if errors.Is(err, recovery.ErrConflict) {
		return &Refusal{Code: http.StatusConflict, Message: "notification " + n.UUID + " is being worked on", Hint: "wait for its end, or abort its run", Err: err}
	}
	if err != nil {
		return err
	}
	if again, err := a.cfg.Store.Notification(ctx, uuid); err == nil {
		n = again
	}
	return a.answer(w, r, http.StatusAccepted, NotificationAnswer{notificationOf(n)})
}

func notificationOf(n recovery.Notification) Notification {
	return Notification{UUID: n.UUID, Type: n.Type, Host: n.HostName, Status: n.Status, Message: n.Message, Runs: append([]string{}, n.Runs...)}
}
