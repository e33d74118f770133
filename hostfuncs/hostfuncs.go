// Package hostfuncs is the hatch: it serves every op that a task may ask for,
// bytes in, bytes out. It checks uses and grants, keeps tenants to their own
// servers, guards the changes of the cloud (intents, undo list, fence proofs,
// counts) and shares reads between tasks.
//
// It knows no wasm and no HTTP: the runtime calls TaskHost, and Cloud, Ledger,
// HA and the key-value stores are handed in.
package hostfuncs

import (
	"cmp"
	"context"
	"encoding/json"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/wasakari/wasakari/abi"
	"github.com/wasakari/wasakari/recovery"
)

// Deps is what a Hatch works with. Cloud, Ledger, Library, Scratch and HA must
// be there.
type Deps struct {
	Cloud   Cloud
	Ledger  Ledger
	Library LibraryKV
	Scratch ScratchKV
	HA      HA

	// HTTP sends the requests of op http.request. Nil: nobody does.
	HTTP HTTP

	// Observe receives log lines, progress and vmoves as they come, from many
	// goroutines. May be nil.
	Observe func(recovery.Event)
	// Op is called before each op that reads or changes something outside of this
	// process, which then goes on with the context that Op gave; end takes "ok" or
	// the name of the error's code. From many goroutines. May be nil.
	Op func(ctx context.Context, op string) (_ context.Context, end func(code string))
	// Answer answers an op that the task may use in the place of the Hatch, unless
	// it gives ok false: with what was recorded. The request was not looked at.
	// From many goroutines. May be nil.
	Answer func(ctx context.Context, op *abi.Op, req []byte) (answer []byte, ok bool, err error)
	// Changed is told how each change of the cloud ended, before that is written
	// into the ledger: of each at least once, after a crash perhaps again with the
	// same ID. Changes of hosts' records and statuses of vmoves are told when they
	// are written, without an ID. From many goroutines. May be nil.
	Changed func(recovery.Intent)
	// Values is a context whose values, never its end, go with the requests that
	// several tasks share. Defaults to one without values.
	Values context.Context
	// Logger receives the hatch's own messages, and the tasks' log lines when
	// Observe is nil. Defaults to zap.NewNop.
	Logger *zap.Logger

	Run     RunInfo
	Options Options

	// Guard is asked before the run changes a server. Nil lets it change any
	// number.
	Guard Guard

	// KnownRun tells of another run of this cluster whether it has ended, and
	// whether it is known at all. Nil knows none.
	KnownRun func(id string) (ended, known bool)
}

// RunInfo says for which run the Hatch works.
type RunInfo struct {
	ID               string
	Cluster          string // part of the mark on disabled services
	FailedHost       string // host name of the failed nova-compute; empty: no host failed
	NotificationUUID string
	Started          time.Time
	// FirstChange is when the run may make its first change; zero: at once. Until
	// then requests of whoever had the run before may be under way.
	FirstChange time.Time
}

// Options are the operator's settings. The zero value is usable.
type Options struct {
	// VerifyInterval is the time between two looks at Nova, start to start.
	//
	// Defaults to 1 second.
	VerifyInterval time.Duration
	// NovaTimeout bounds one request that changes something. It must not be
	// shorter than the Cloud's own HTTP timeout.
	//
	// Defaults to 30 seconds.
	NovaTimeout time.Duration
	// HTTPTimeout bounds one http.request. It must not be shorter than HTTP's own
	// limit.
	//
	// Defaults to 30 seconds.
	HTTPTimeout time.Duration
	// OutcomeWait is how long to look for a change whose answer was lost before
	// it counts as never arrived.
	//
	// Defaults to 60 seconds.
	OutcomeWait time.Duration
	// RequireFenceProof refuses evacuations without a proof that the failed host
	// was fenced in this run.
	RequireFenceProof bool
	// KVTaskBytes bounds names and values that one execution of a task writes, in
	// all scopes, what is under scratch/ from earlier attempts included.
	//
	// Defaults to 1 MiB.
	KVTaskBytes int
	// KVLibraryBytes bounds names and values that one library keeps; the library
	// of a tenant counts for itself.
	//
	// Defaults to 10 MiB.
	KVLibraryBytes int
}

func (o Options) withDefaults() Options {
	if o.VerifyInterval <= 0 {
		o.VerifyInterval = time.Second
	}
	if o.NovaTimeout <= 0 {
		o.NovaTimeout = 30 * time.Second
	}
	if o.HTTPTimeout <= 0 {
		o.HTTPTimeout = 30 * time.Second
	}
	if o.OutcomeWait <= 0 {
		o.OutcomeWait = 60 * time.Second
	}
	if o.KVTaskBytes <= 0 {
		o.KVTaskBytes = 1 << 20
	}
	if o.KVLibraryBytes <= 0 {
		o.KVLibraryBytes = 10 << 20
	}
	return o
}

// Hatch serves the ops of one run. Its TaskHosts share pollers, coalesced
// reads and the per-server order of changes. It is safe for concurrent use.
// Whoever made it closes it.
type Hatch struct {
	cloud   Cloud
	ledger  Ledger
	library LibraryKV
	scratch ScratchKV
	ha      HA
	http    HTTP
	observe func(recovery.Event)
	op      func(ctx context.Context, op string) (context.Context, func(code string)) // may be nil
	instead func(ctx context.Context, op *abi.Op, req []byte) ([]byte, bool, error)   // may be nil
	changed func(recovery.Intent)                                                     // may be nil
	log     *zap.Logger
	run     RunInfo
	opt     Options
	known   func(id string) (ended, known bool)
	guard   Guard // may be nil

	flights  flights                            // coalesced reads for guards
	followed followed                           // servers that are waited for
	servers  watches[*serversView]              // of all that are followed
	services watches[[]recovery.ComputeService] // by compute host
	owner    owner                              // of every goroutine that outlives an op

	targets keyed // one change at a time for each server, service, aggregate host

	unsettledMu sync.Mutex
	unsettled   map[string]recovery.Intent // by op and target: outcome still unknown

	recent  recent
	reasons atomic.Bool // Nova keeps the reasons of locks: one was seen
	vmoves  vmoves
	libSize libSizes
}

// New makes the Hatch of one run. It panics when something in Deps is missing
// that must be there.
func New(d Deps) *Hatch {
	if d.Cloud == nil || d.Ledger == nil || d.Library == nil || d.Scratch == nil || d.HA == nil {
		panic("hostfuncs: New needs Cloud, Ledger, Library, Scratch and HA")
	}
	if d.Logger == nil {
		d.Logger = zap.NewNop()
	}
	if d.KnownRun == nil {
		d.KnownRun = func(string) (bool, bool) { return false, false }
	}
	h := &Hatch{
		cloud: d.Cloud, ledger: d.Ledger, library: d.Library, scratch: d.Scratch, ha: d.HA, http: d.HTTP,
		observe: d.Observe, op: d.Op, instead: d.Answer, changed: d.Changed, log: d.Logger, run: d.Run, opt: d.Options.withDefaults(), known: d.KnownRun, guard: d.Guard,
		unsettled: map[string]recovery.Intent{},
	}
	h.owner.init(d.Values)
	h.flights.init(h)
	h.servers.init(&h.owner, h.opt.VerifyInterval, h.lookAtServers)
	h.services.init(&h.owner, h.opt.VerifyInterval, func(ctx context.Context, k watchKey) ([]recovery.ComputeService, error) {
		return h.cloud.Services(ctx, recovery.ServiceFilter{Host: k.host})
	})
	return h
}

// Close stops the pollers and waits for them. Ops that still wait end with
// canceled. Calls after the first do nothing.
func (h *Hatch) Close() { h.owner.close() }

// TaskCall says which execution of which task a TaskHost serves.
type TaskCall struct {
	Task  recovery.Task
	Flow  recovery.FlowKind
	Phase recovery.Phase
	Index int // place in the phase, from 0
	Seq   int // number of the execution in the run, for progress events

	Attempt        int // how often this place was started, from 1
	Round          int // which repetition of main or fallback flow, from 1
	IdempotencyKey string

	// Place names the task's scratch keys. Empty: made of flow, phase, index,
	// round and key, the same for every attempt and for the revert.
	Place string

	// Values holds the run's values: inputs and what earlier tasks provided. The
	// task sees those that it requires or lists as optional. It is read-only.
	Values map[string]json.RawMessage
	// Options holds the values of the options that the manifest lists, by group.
	// Those of secret options never leave: the task sees handles.
	Options map[string]map[string]any
	// Secrets holds the secret options of the task that are set, by group.option.
	Secrets map[string]recovery.Secret
	// Networks are the ranges of addresses that are not public and that
	// http.request may ask all the same.
	Networks []netip.Prefix
	Script   []abi.ScriptFile

	Reverting    bool
	Failure      string // in revert: why the flow failed
	ReservedHost string

	// Granted says whether the operator granted an op, http:METHOD:URL with the
	// patterns of the manifest, or "provides:<name>" for a protected name. Nil
	// grants the ops, the manifest's requests, and no protected name.
	Granted func(name string) bool

	// ProviderTenant tells the tenant whose task provides a value of the run,
	// empty for the operator's; known is false when no task does. A tenant's task
	// sees, beside some inputs, only what its own tenant provided. Nil knows none.
	ProviderTenant func(name string) (tenant string, known bool)

	// AnswerBytes bounds one answer. Defaults to 1 MiB.
	AnswerBytes int
	// KVTaskBytes and KVLibraryBytes are those of this task; zero: those of
	// Options.
	KVTaskBytes, KVLibraryBytes int
	// AnswerOption, KVTaskOption and KVLibraryOption name, for errors, what raises
	// these limits. They default to the options of [wasakari].
	AnswerOption, KVTaskOption, KVLibraryOption string
}

func (c TaskCall) place() string {
	place := c.Place
	if place == "" {
		place = defaultPlace(c)
	}
	if c.Task.Tenant != "" {
		place = ownerOf(c.Task.Tenant, place)
	}
	return place
}

// TaskHost serves one execution of one task. It has the methods that the
// runtime asks of a host and is safe for concurrent use.
type TaskHost struct {
	h       *Hatch
	call    TaskCall
	place   string
	reads   map[string]bool // names readable in scope run
	writes  map[string]bool // names that may be put in scope run
	refused []*abi.Error    // by abi.Op.Index; nil: allowed
	record  recovery.TaskRecord

	inputMu sync.Mutex
	input   []byte // encoded, of an operator's task

	kvMu    sync.Mutex     // one write of a value at a time
	written map[string]int // bytes, by scope and name: what counts against the task
	counted bool           // written holds what earlier attempts left under scratch/

	mu       sync.Mutex
	staged   map[string]stagedValue
	progress []recovery.Progress

	progressBytes int // of the messages in progress

	refusedRequests atomic.Int64 // of http.request

	// keep counts bytes of staged values against the task's memory; nil: nobody
	// counts.
	keep func(bytes int64) error

	held *recovery.HeldError // the first that the task met
}

// Keep is told, before the task starts, what counts the bytes that the hatch
// keeps for it against its memory; a negative number gives back.
func (t *TaskHost) Keep(take func(bytes int64) error) { t.keep = take }

// Task makes the host side of one execution of a task. It needs no closing.
func (h *Hatch) Task(c TaskCall) *TaskHost {
	if c.AnswerBytes <= 0 {
		c.AnswerBytes = 1 << 20
	}
	c.KVTaskBytes, c.KVLibraryBytes = cmp.Or(c.KVTaskBytes, h.opt.KVTaskBytes), cmp.Or(c.KVLibraryBytes, h.opt.KVLibraryBytes)
	c.AnswerOption = cmp.Or(c.AnswerOption, "[wasakari] answer_mib")
	c.KVTaskOption = cmp.Or(c.KVTaskOption, "[wasakari] kv_task_kib")
	c.KVLibraryOption = cmp.Or(c.KVLibraryOption, "[wasakari] kv_library_mib")
	c.Attempt, c.Round = max(c.Attempt, 1), max(c.Round, 1)
	t := &TaskHost{
		h: h, call: c, place: c.place(),
		reads: map[string]bool{}, writes: map[string]bool{},
		refused: make([]*abi.Error, len(rows)),
		staged:  map[string]stagedValue{}, written: map[string]int{},
		record: recovery.TaskRecord{
			Seq: c.Seq, Flow: c.Flow, Key: c.Task.Key, Class: c.Task.Class, Phase: c.Phase, Index: c.Index,
			Round: c.Round, Attempt: c.Attempt, ReservedHost: c.ReservedHost,
			Status: recovery.TaskRunning, Started: time.Now(),
		},
	}
	for _, n := range slices.Concat(c.Task.Requires, c.Task.Optional) {
		if !c.withheld(n) {
			t.reads[n] = true
		}
	}
	for _, n := range c.Task.Provides {
		t.writes[n] = true
	}
	for i, op := range abi.Ops() {
		t.refused[i] = c.refusal(op)
	}
	return t
}

// refusal says why the task may not use op; nil: it may.
func (c TaskCall) refusal(op *abi.Op) *abi.Error {
	if op.Free {
		return nil
	}
	if may, _ := TenantMay(op.Name); !may && c.Task.Tenant != "" {
		return forbidden(op.Name)
	}
	if !slices.ContainsFunc(c.Task.Uses, func(u string) bool { return u == op.Name || u == op.Group()+".*" }) {
		return abi.Errorf(abi.ErrnoNotGranted, "%s: not among the uses of task %s in its manifest", op.Name, c.Task.Key)
	}
	if c.Granted != nil && !c.Granted(op.Name) {
		return abi.Errorf(abi.ErrnoNotGranted, "%s: not granted to library %s; see [grants]", op.Name, c.Task.Library)
	}
	return nil
}

// Do serves one op. Refusals and failures are *abi.Error; the answer is JSON
// and must not be changed. req is not kept.
func (t *TaskHost) Do(ctx context.Context, op *abi.Op, req []byte) ([]byte, error) {
	if t.h.op == nil || op.Kind == abi.Local || op.Index() < 0 {
		return t.serve(ctx, op, req)
	}
	ctx, end := t.h.op(ctx, op.Name)
	code := abi.ErrnoUnavailable.String() // what a panic is answered with
	defer func() { end(code) }()
	ans, err := t.serve(ctx, op, req)
	if code = "ok"; err != nil {
		code = toError(op.Name, err).Code.String()
	}
	return ans, err
}

func (t *TaskHost) serve(ctx context.Context, op *abi.Op, req []byte) ([]byte, error) {
	i := op.Index()
	if i < 0 || rows[i] == nil {
		return nil, abi.Errorf(abi.ErrnoInvalid, "%s: not an op of this hatch", recovery.Cut(op.Name, 64))
	}
	refused := t.refused[i]
	switch {
	case refused != nil:
	case len(req) > maxRequest:
		refused = abi.Errorf(abi.ErrnoTooLarge, "%s: request of %d bytes, at most %d", op.Name, len(req), maxRequest)
	case ctx.Err() != nil:
		refused = toError(op.Name, endOf(ctx))
	}
	if refused != nil {
		t.unread(op.Name, req, refused)
		return nil, refused
	}
	ans, err := t.row(ctx, op, req)
	if err != nil {
		t.noteHeld(err)
		if t.tenant() != "" {
			return nil, t.toTenant(op, err)
		}
		return nil, toError(op.Name, err)
	}
	if len(ans) > t.call.AnswerBytes {
		return nil, t.tooLong(op.Name)
	}
	return ans, nil
}

// row answers an op that is not refused.
func (t *TaskHost) row(ctx context.Context, op *abi.Op, req []byte) ([]byte, error) {
	if t.h.instead != nil {
		if ans, ok, err := t.h.instead(ctx, op, req); ok {
			return ans, err
		}
	}
	return rows[op.Index()](ctx, t, req)
}

// Log passes on one line that the task logged.
func (t *TaskHost) Log(level abi.Level, msg string) {
	if t.h.observe != nil {
		t.h.observe(recovery.Event{Time: time.Now(), Log: &recovery.LogLine{Task: t.call.Task.Key, Tenant: t.tenant(), Level: level.String(), Message: msg}})
		return
	}
	if ce := t.h.log.Check(zapLevel(level), "task log"); ce != nil {
		fields := []zap.Field{zap.String("task", t.call.Task.Key), zap.String("message", msg)}
		if t.tenant() != "" {
			fields = append(fields, zap.String("tenant", t.tenant()))
		}
		ce.Write(fields...)
	}
}

// maxProgress and maxProgressBytes bound the progress messages kept; older ones
// go first. They end in the journal.
const (
	maxProgress      = 2000
	maxProgressBytes = 256 << 10
)

// Progress passes on how far the task is, in thousandths.
func (t *TaskHost) Progress(permille int, msg string) {
	p := recovery.Progress{Time: time.Now().UTC(), Permille: min(max(permille, 0), 1000), Message: recovery.Cut(msg, maxText)}
	t.mu.Lock()
	for n := len(t.progress); n >= maxProgress || n > 0 && t.progressBytes+len(p.Message) > maxProgressBytes; n = len(t.progress) {
		for _, gone := range t.progress[:(n+1)/2] {
			t.progressBytes -= len(gone.Message)
		}
		t.progress = slices.Clone(t.progress[(n+1)/2:])
	}
	t.progress = append(t.progress, p)
	t.progressBytes += len(p.Message)
	// Entries never change once appended, so that a reader may keep the slice.
	seen := t.progress[:len(t.progress):len(t.progress)]
	t.mu.Unlock()
	if t.h.observe != nil {
		r := t.record
		r.Progress = seen
		t.h.observe(recovery.Event{Time: p.Time, Task: &r})
	}
}

// ProgressLog returns the progress messages so far.
func (t *TaskHost) ProgressLog() []recovery.Progress {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.progress)
}

func zapLevel(l abi.Level) zapcore.Level {
	switch l {
	case abi.LevelDebug:
		return zap.DebugLevel
	case abi.LevelWarn:
		return zap.WarnLevel
	case abi.LevelError:
		return zap.ErrorLevel
	}
	return zap.InfoLevel
}
