// Package wasakariv1 is Wasakari's own HTTP API, below /wasakari/v1: modules,
// runs, flows, nodes and events. Masakari's API is beside it.
//
// It asks a store and a catalog through the interfaces declared here, decides
// who may see what, and knows neither etcd nor wasm.
package wasakariv1

import (
	"context"
	"errors"
	"io"
	"iter"
	"net/http"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/wasakari/wasakari/recovery"
)

// Prefix is the path that all routes are below.
const Prefix = "/wasakari/v1"

// Caller is who sent a request.
type Caller interface {
	// User gives the user's id, Project that of the project that the token is
	// for; empty when it is for none.
	User() string
	Project() string
	// May refuses with an error that matches recovery.ErrForbidden. The target of
	// what belongs to a project has its project_id; that of the operator's things
	// has none.
	May(rule string, target map[string]string) error
}

// Store is what must not be lost, as this package reads and changes it. Errors
// match the sentinels of recovery.
type Store interface {
	// Runs gives the runs, newest first; there may be very many.
	Runs(ctx context.Context) (iter.Seq[recovery.Run], error)
	// RunDetail gives one run and what belongs to it; recovery.ErrNotFound.
	RunDetail(ctx context.Context, id string) (recovery.Run, Detail, error)
	// Notification gives one notification; recovery.ErrNotFound.
	Notification(ctx context.Context, uuid string) (recovery.Notification, error)
	// VMoves lists the vmoves of a notification.
	VMoves(ctx context.Context, notification string) ([]recovery.VMove, error)
	// Abort asks for the end of a run; recovery.ErrNotFound, or
	// recovery.ErrConflict when it has ended.
	Abort(ctx context.Context, run string, a recovery.Abort) error
	// Retry puts a final notification back into the queue; recovery.ErrNotFound,
	// or recovery.ErrConflict when it is not final.
	Retry(ctx context.Context, notification, override string) error
	// Nodes lists the live nodes.
	Nodes(ctx context.Context) ([]recovery.Node, error)
}

// Detail is what belongs to a run.
type Detail struct {
	Tasks []recovery.TaskRecord
	// Values holds the names of the run's key-value store; their values are not
	// for this package.
	Values  []string
	Undo    []recovery.Undo
	Intents []recovery.Intent
}

// Modules keeps uploaded modules. A module is all versions of one library of
// one tenant.
type Modules interface {
	// Modules lists all versions, in the order of their upload.
	Modules(ctx context.Context) ([]recovery.ModuleVersion, error)
	// PutModule keeps a version and makes it the active one, unless another
	// version of its module is pinned. It is durable when it returns, and seen by
	// every claim that comes after. The revision is the one that a node's
	// recovery.Node.Modules reaches when the node has it. A version that is there
	// already is no error. recovery.ErrExists when there are other bytes of the same
	// version, recovery.ErrConflict when a key is taken meanwhile; tenants' versions
	// that SetsAside tells of make way.
	PutModule(ctx context.Context, v recovery.ModuleVersion, wasm io.Reader) (kept recovery.ModuleVersion, revision int64, err error)
	// Module opens the bytes of a version; recovery.ErrNotFound.
	Module(ctx context.Context, digest string) (io.ReadCloser, error)
	// PinModule makes a version the active one and keeps uploads from replacing
	// it. Digest "" takes the pin away and leaves the active version as it is.
	PinModule(ctx context.Context, tenant, library, digest string) (revision int64, err error)
	// RemoveModule removes a version, or with digest "" the whole module.
	// recovery.ErrInUse when a run that has not ended has it pinned, or when the
	// version is active.
	RemoveModule(ctx context.Context, tenant, library, digest string) (revision int64, err error)
}

// Admitter decides whether an uploaded module can be taken.
type Admitter interface {
	// Admit checks a module of a tenant, of the operator when tenant is empty, and
	// compiles it on this node. It fills in what the module says about itself:
	// Digest, Library, Version, Keys and Size. A refusal is a *Refusal.
	Admit(ctx context.Context, tenant string, wasm []byte) (recovery.ModuleVersion, error)
}

// Flows tells of the flows as they stand.
type Flows interface {
	// Flows gives every flow of the configuration, those of segments and
	// projects too.
	Flows(ctx context.Context) ([]Flow, error)
}

// Servers tells whose server one is.
type Servers interface {
	// Tenant gives the project of a server; recovery.ErrNotFound.
	Tenant(ctx context.Context, server string) (string, error)
}

// Config says what the API works with. All interfaces but Servers and Operation are needed.
type Config struct {
	// Caller gives who sent a request; recovery.ErrUnauthorized.
	Caller  func(*http.Request) (Caller, error)
	Store   Store
	Modules Modules
	Admit   Admitter
	Flows   Flows
	// Operation may be nil: then the node takes no orders of operators.
	Operation Operation
	// Servers may be nil: then tenants see no runs.
	Servers Servers
	// Events is where changes come from. Defaults to one that nothing is
	// published to.
	Events *Events

	// MaxModule bounds an upload, in bytes. Defaults to 16 MiB.
	MaxModule int64
	// MaxVersions bounds the versions that a tenant has of all its modules.
	// Defaults to 200.
	MaxVersions int
	// UploadTime bounds how long the body of an upload may take to arrive; one that
	// comes at less than 64 KiB a second is given up sooner. Defaults to 5 minutes.
	UploadTime time.Duration
	// SpoolDir is where bodies of uploads are kept while they arrive, at most 24 of
	// MaxModule bytes. Defaults to the folder for temporary files.
	SpoolDir string
	// CompileWait bounds how long an upload waits for all nodes. Defaults to 60
	// seconds.
	CompileWait time.Duration
	// Node is the name of this node. Whoever follows a run of another one here is
	// told by a log line that lines of tasks and their progress come from there.
	Node string
	// Heartbeat is the pause after which a stream of events without any gets a
	// comment. Defaults to 15 seconds.
	Heartbeat time.Duration
	// Streams bounds the streams of events at a time. Defaults to 256.
	Streams int
	// Logger receives changes and failures. Defaults to zap.NewNop.
	Logger *zap.Logger
}

// API serves the routes. Close it when no request comes any more.
type API struct {
	cfg     Config
	log     *zap.Logger
	mux     *http.ServeMux
	uploads uploads
	owners  owners
	// backingUp is held by the one backup that is being taken.
	backingUp sync.Mutex
	streams   streams
	closed    chan struct{}
	closing   sync.Once
}

// New makes the API. Errors name what the configuration lacks.
func New(cfg Config) (*API, error) {
	for name, missing := range map[string]bool{
		"Caller": cfg.Caller == nil, "Store": cfg.Store == nil, "Modules": cfg.Modules == nil, "Admit": cfg.Admit == nil, "Flows": cfg.Flows == nil,
	} {
		if missing {
			return nil, errors.New("wasakariv1: Config." + name + " is nil")
		}
	}
	if cfg.Events == nil {
		cfg.Events = NewEvents(0)
	}
	if cfg.Logger == nil {
		cfg.Logger = zap.NewNop()
	}
	orElse(&cfg.MaxModule, 16<<20)
	orElse(&cfg.MaxVersions, 200)
	orElse(&cfg.UploadTime, 5*time.Minute)
	orElse(&cfg.CompileWait, time.Minute)
	orElse(&cfg.Heartbeat, 15*time.Second)
	orElse(&cfg.Streams, 256)
	a := &API{cfg: cfg, uploads: newUploads(), log: cfg.Logger.Named("api"), mux: http.NewServeMux(), closed: make(chan struct{})}
	a.mount()
	return a, nil
}

func orElse[T int | int64 | time.Duration](v *T, def T) {
	if *v <= 0 {
		*v = def
	}
}

// ServeHTTP serves a request whose path is below Prefix.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) { a.mux.ServeHTTP(w, r) }

// Close ends the streams of events, so that the server can shut down.
func (a *API) Close() { a.closing.Do(func() { close(a.closed) }) }

// view is what a caller may see: all, or what is of one project.
type view struct {
	all    bool
	tenant string
}

// owns reports whether what is of a tenant is in the view; the operator's
// things are of tenant "".
func (v view) owns(tenant string) bool { return v.all || v.tenant == tenant }

// view asks the policy. What belongs to a project has it as its target.
func viewOf(c Caller, rule string, tenants bool) (view, error) {
	err := c.May(rule, map[string]string{})
	if err == nil {
		return view{all: true}, nil
	}
	if p := c.Project(); tenants && p != "" && errors.Is(err, recovery.ErrForbidden) && c.May(rule, map[string]string{"project_id": p}) == nil {
		return view{tenant: p}, nil
	}
	return view{}, err
}
