// Package engine takes notifications from the queue, decides what each needs,
// holds the claim on its run, and brings the run to an end: retried, given up,
// superseded, aborted or handed over.
//
// It knows no database, no cloud and no task: the store, and who makes and
// performs a flow, are handed in.
package engine

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/wasakari/wasakari/flow"
	"github.com/wasakari/wasakari/recovery"
)

// Store is what must not be lost, shared by all nodes. It is safe for
// concurrent use.
type Store interface {
	// Watch tells of every change; of those to the queue, and to what holds its
	// items back, in the field Queue. The channel is closed when ctx ends.
	Watch(ctx context.Context) <-chan recovery.Change
	// Queue lists the notifications that have no final status, oldest first.
	Queue(ctx context.Context) ([]recovery.QueueItem, error)
	// Nodes lists the nodes that are alive, each with the runs that it has
	// claimed.
	Nodes(ctx context.Context) ([]recovery.Node, error)
	Notification(ctx context.Context, uuid string) (recovery.Notification, error)
	// Segment gives a segment, or recovery.ErrNotFound.
	Segment(ctx context.Context, uuid string) (recovery.Segment, error)
	Segments(ctx context.Context) ([]recovery.Segment, error)
	// Hosts lists the hosts of all segments.
	Hosts(ctx context.Context) ([]recovery.Host, error)
	// Claim makes the run of a notification, or takes the one that was begun, and
	// holds its host or server. An error that matches recovery.ErrConflict means
	// that it cannot be had now, recovery.ErrNotFound that the notification is
	// done with. Before a compute host can be had, no new run for a server of it
	// is begun, and those that were are asked to end.
	Claim(ctx context.Context, notification string) (Run, error)
	// EndNotification ends a notification without a run. Errors are as for Claim.
	EndNotification(ctx context.Context, notification string, status recovery.NotificationStatus, message string) error
	// Abort asks that a run ends, whether or not somebody works on it. The error
	// matches recovery.ErrNotFound or recovery.ErrConflict when it has ended.
	Abort(ctx context.Context, run string, a recovery.Abort) error
	SetDraining(ctx context.Context, draining bool) error
}

// Run is a run that this node has claimed. A write fails with
// recovery.ErrLeaseLost when the claim is not this node's any more. It is safe
// for concurrent use.
type Run interface {
	// Journal keeps the run. Start may also be given a run that has ended and left
	// something to undo: nothing but the record changes. End writes record and
	// final status of the notification and gives up the claim; it refuses with
	// recovery.ErrConflict while there is something to undo.
	flow.Journal
	ID() string
	// Record gives the run as it was last written.
	Record(ctx context.Context) (recovery.Run, error)
	History(ctx context.Context) ([]recovery.TaskRecord, error)
	Undos(ctx context.Context) ([]recovery.Undo, error)
	// OpenIntents lists the changes whose outcome is not known.
	OpenIntents(ctx context.Context) ([]recovery.Intent, error)
	// Hosts lists the hosts of the run's segment, in the order in which reserved
	// ones are tried.
	Hosts(ctx context.Context) ([]recovery.Host, error)
	UpdateHost(ctx context.Context, h recovery.Host) error
	// EndLeaving ends the run as End does, whatever is left to undo.
	EndLeaving(ctx context.Context, run recovery.Run) error
	// EndRetry ends the run, gives its notification the status error and lets it
	// wait for another one until notBefore. It refuses as End does.
	EndRetry(ctx context.Context, run recovery.Run, notBefore time.Time) error
	// Release gives up the claim and leaves all else, with no change under way:
	// any node can go on with the run at once. Close is for when that is not
	// known.
	Release(ctx context.Context) error
	Close()
	// ClaimReserved makes a reserved host the run's own, also for a node that
	// takes the run over. It fails with recovery.ErrConflict when another run has
	// it, or when it is reserved no more. ReleaseReserved gives it back.
	ClaimReserved(ctx context.Context, host string) error
	ReleaseReserved(ctx context.Context, host string) error
	// Aborted gives each wish that the run ends, one from before the claim too.
	Aborted() <-chan recovery.Abort
	// Lost is closed when the claim is this node's no more.
	Lost() <-chan struct{}
}

// Flows makes and performs flows.
type Flows interface {
	// Prepare completes a run that has its inputs and its kinds of flow: plans and
	// modules are checked and pinned. An error is for the operator and ends the
	// notification failed.
	Prepare(ctx context.Context, run recovery.Run, seg recovery.Segment) (recovery.Run, error)
	// Perform runs the flow to its end, or goes on with it, as flow.Run does with
	// HandOver. A new run is written by nobody before Journal.Start: nothing may be
	// done for it until then. An error means that the run did not come to an end.
	Perform(ctx context.Context, job Job) (recovery.Run, error)
}

// Job is a claimed run that is to be performed.
type Job struct {
	// Run is what Store.Claim gave.
	Run          Run
	Notification recovery.Notification
	Record       recovery.Run
	// Unwritten says that the plans of Record are not in the store yet: the first
	// Start of Journal begins the run.
	Unwritten bool
	// Journal writes to Run. Its End decides whether the notification is done
	// with.
	Journal flow.Journal
	Aborted <-chan recovery.Abort
	// Reserved puts the claims of reserved hosts, which hold across runs, around
	// what else is to be done with one.
	Reserved func(flow.Reserved) flow.Reserved
	Observe  func(recovery.Event)
}

// Cloud tells which services Nova sees.
type Cloud interface {
	Services(ctx context.Context, f recovery.ServiceFilter) ([]recovery.ComputeService, error)
}

// Intervals are those of Masakari's periodic jobs. Ages count from the
// acceptance of a notification, by this node's clock.
type Intervals struct {
	// Unfinished is the time between two looks at notifications that were left
	// new, and before a failed recovery is tried again the first time; it doubles
	// from one try to the next. Negative: there are neither.
	//
	// Defaults to 2 minutes.
	Unfinished time.Duration
	// RetryNew is the age from which that look takes up a notification left new,
	// whatever kept it waiting. Defaults to 1 minute.
	RetryNew time.Duration
	// CheckExpired is the time between two looks for notifications that have
	// expired. Negative: there are none. Defaults to 10 minutes.
	CheckExpired time.Duration
	// Expired is the age from which an unfinished notification fails, and its run
	// is aborted. Defaults to 24 hours.
	Expired time.Duration
}

// Config configures an Engine.
type Config struct {
	// Node is the name of this node. What the store says that it works on, and the
	// engine does not know of, is a claim whose answer was lost.
	Node  string
	Store Store
	Flows Flows
	// Cloud serves Unreported. Defaults to nil: nothing is known to be down.
	Cloud Cloud
	// HostsAtOnce bounds the runs for hosts (COMPUTE_HOST, PROCESS) that this node
	// works on at a time. Defaults to 4.
	HostsAtOnce int
	// ServersAtOnce bounds the runs for servers (VM). Defaults to 32.
	ServersAtOnce int
	// MaxDeliveries is how many runs a notification gets before it fails for
	// good. Defaults to 5.
	MaxDeliveries int
	// MaxAttempts is how often one task may be begun anew because the process
	// ended while it ran; then the run is aborted. Defaults to 20.
	MaxAttempts int
	Intervals   Intervals
	// FirstJob is the longest, random wait before the first look of each periodic
	// job. Defaults to 1 minute; negative: none.
	FirstJob time.Duration
	// MaxWait bounds the wait before a failed recovery is tried again.
	//
	// Defaults to 1 hour.
	MaxWait time.Duration
	// Repair is the kind of flow that answers a host that came back (STARTED). It
	// waits until what was reported of the host before has ended.
	//
	// Defaults to none: such a notification is finished at once.
	Repair recovery.FlowKind
	// DrainTimeout bounds the end of Run. Defaults to 3 minutes.
	DrainTimeout time.Duration
	// Observer is told what happens. Defaults to NoObserver.
	Observer Observer
	// Logger defaults to zap.NewNop.
	Logger *zap.Logger
}

func (c Config) withDefaults() Config {
	for _, d := range []struct {
		v  *int
		to int
	}{{&c.HostsAtOnce, 4}, {&c.ServersAtOnce, 32}, {&c.MaxDeliveries, 5}, {&c.MaxAttempts, 20}} {
		if *d.v <= 0 {
			*d.v = d.to
		}
	}
	for _, d := range []struct {
		v  *time.Duration
		to time.Duration
	}{{&c.MaxWait, time.Hour}, {&c.DrainTimeout, 3 * time.Minute}} {
		if *d.v <= 0 {
			*d.v = d.to
		}
	}
	if c.FirstJob == 0 {
		c.FirstJob = time.Minute
	}
	if c.Observer == nil {
		c.Observer = NoObserver{}
	}
	if c.Logger == nil {
		c.Logger = zap.NewNop()
	}
	return c
}

func (i Intervals) withDefaults() Intervals {
	if i.Unfinished == 0 {
		i.Unfinished = 2 * time.Minute
	}
	if i.RetryNew <= 0 {
		i.RetryNew = time.Minute
	}
	if i.CheckExpired == 0 {
		i.CheckExpired = 10 * time.Minute
	}
	if i.Expired <= 0 {
		i.Expired = 24 * time.Hour
	}
	return i
}

// Engine works the queue off. It is safe for concurrent use.
type Engine struct {
	cfg       Config
	log       *zap.Logger
	intervals atomic.Pointer[Intervals]
	asked     chan struct{} // by Alive
}

// New makes an engine. Store and Flows must be there.
func New(cfg Config) *Engine {
	if cfg.Store == nil || cfg.Flows == nil {
		panic("engine: a store and flows are needed")
	}
	e := &Engine{cfg: cfg.withDefaults(), asked: make(chan struct{})}
	e.log = e.cfg.Logger
	e.SetIntervals(cfg.Intervals)
	return e
}

// Alive returns nil when the loop that Run is answers before ctx ends. A store that
// is away holds it up for 20 seconds at a time; whatever else does is a defect.
func (e *Engine) Alive(ctx context.Context) error {
	select {
	case e.asked <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("engine: its loop does not answer: %w", ctx.Err())
	}
}

// SetIntervals changes the intervals of a running engine. They count from the
// next look on.
func (e *Engine) SetIntervals(i Intervals) {
	i = i.withDefaults()
	e.intervals.Store(&i)
}

// storeWait bounds one call of the store that must be made although the engine
// was told to stop.
const storeWait = 20 * time.Second

// lasting gives a context that outlives ctx by storeWait.
func lasting(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), storeWait)
}
