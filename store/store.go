package store

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"

	"github.com/wasakari/wasakari/recovery"
)

// Config configures a Store. Dir or Endpoints, and Node, must be set.
type Config struct {
	// Dir is the folder of the embedded etcd. It is made with mode 0700 when it is
	// not there, and locked.
	Dir string
	// Endpoints lists the members of an etcd cluster; used when Dir is empty. TLS,
	// Username and Password are for them.
	Endpoints          []string
	TLS                *tls.Config
	Username, Password string
	// Cluster names the Wasakari cluster among those that share an etcd.
	//
	// Defaults to "default".
	Cluster string
	// Node names this process; it is unique in the cluster. Version is Wasakari's.
	Node, Version string
	// LeaseTTL is how long a node that is no longer heard of keeps its claims.
	//
	// Defaults to 15 s.
	LeaseTTL time.Duration
	// TakeOverWait is how long a node that goes on with another one's run waits
	// before its first change: as long as a request of the other one may be under
	// way.
	//
	// Defaults to 30 s.
	TakeOverWait time.Duration
	// QuotaMiB bounds the database of the embedded etcd.
	//
	// Defaults to 2048.
	QuotaMiB int
	// Retention is how long what is done with is kept.
	//
	// Defaults to 30 days.
	Retention time.Duration
	// RetentionRuns is how many runs that ended are kept.
	//
	// Defaults to 10 000.
	RetentionRuns int
	// KVLibraryBytes is how much one library may keep, ScratchBytes how much one
	// task under scratch/.
	//
	// Default to 10 MiB and 1 MiB.
	KVLibraryBytes, ScratchBytes int64
	// HouseEvery is the time between two looks for what is past its time.
	//
	// Defaults to 1 minute.
	HouseEvery time.Duration
	// HostRepair lets notifications be taken that a host on maintenance is back.
	HostRepair bool
	// Logger receives the store's own messages. Defaults to zap.NewNop.
	Logger *zap.Logger
	// Step, when it is set, is called before each durable write with its name, such
	// as "task.finish".
	Step func(name string)
	// Committed, when it is set, is told of each transaction: how long it took, and
	// why it was not made; recovery.ErrConflict when something it compared had
	// changed, which is nothing unusual. It must not block.
	Committed func(name string, took time.Duration, err error)
}

func (c Config) withDefaults() Config {
	def := func(d *time.Duration, v time.Duration) {
		if *d <= 0 {
			*d = v
		}
	}
	def(&c.LeaseTTL, 15*time.Second)
	def(&c.TakeOverWait, 30*time.Second)
	def(&c.Retention, 30*24*time.Hour)
	def(&c.HouseEvery, time.Minute)
	if c.Cluster == "" {
		c.Cluster = "default"
	}
	if c.QuotaMiB <= 0 {
		c.QuotaMiB = 2048
	}
	if c.RetentionRuns <= 0 {
		c.RetentionRuns = 10_000
	}
	if c.KVLibraryBytes <= 0 {
		c.KVLibraryBytes = recovery.DefaultLibraryBytes
	}
	if c.ScratchBytes <= 0 {
		c.ScratchBytes = recovery.DefaultScratchBytes
	}
	if c.Logger == nil {
		c.Logger = zap.NewNop()
	}
	return c
}

func (c Config) validate() error {
	var errs []error
	bad := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("store: %w: "+format, append([]any{recovery.ErrInvalid}, args...)...))
	}
	if c.Dir == "" && len(c.Endpoints) == 0 {
		bad("no folder and no endpoints")
	}
	if c.Dir != "" && len(c.Endpoints) != 0 {
		bad("both a folder and endpoints")
	}
	if c.Node == "" || len(c.Node) > maxOwner {
		bad("node name of %d bytes, want 1 to %d", len(c.Node), maxOwner)
	}
	if len(c.Cluster) > maxOwner {
		bad("cluster name of %d bytes, at most %d", len(c.Cluster), maxOwner)
	}
	if c.LeaseTTL < 2*time.Second {
		bad("lease of %s, at least 2s", c.LeaseTTL)
	}
	return errors.Join(errs...)
}

// Store is Wasakari's durable state. It is safe for concurrent use. Whoever
// opened it closes it.
//
// Errors match recovery.ErrUnavailable while etcd cannot be reached or has no
// quorum, and fs.ErrClosed after Close.
type Store struct {
	cfg  Config
	log  *zap.Logger
	key  keys
	etcd *clientv3.Client
	own  *server // nil: a cluster
	boot string  // names this process among those of the node
	// began is when the process registered.
	began time.Time

	slots chan *slot
	index *index

	library *Library
	guards  *Guards

	stop    context.CancelFunc
	done    chan struct{} // closed by Close
	once    sync.Once
	tasks   sync.WaitGroup
	closing error

	mu       sync.Mutex
	session  *session
	lost     chan struct{}   // of the session, or of the last one while there is none
	claiming map[string]bool // notifications that are being claimed
	draining bool
	compiled int64
	keeps    []string        // see SetKept
	claims   map[string]*Run // by run id

	usage atomic.Pointer[Usage]
}

// Open opens the store and registers this node. With a folder that another
// process has, the error matches recovery.ErrConflict and names the folder;
// with a node name that another process keeps alive, recovery.ErrConflict too.
func Open(ctx context.Context, cfg Config) (*Store, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	s := newStore(cfg)
	if err := s.connect(ctx); err != nil {
		return nil, err
	}
	if err := s.begin(ctx); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func newStore(cfg Config) *Store {
	s := &Store{
		cfg: cfg, log: cfg.Logger, key: newKeys(cfg.Cluster), boot: uuid.NewString(), began: now(),
		slots: make(chan *slot, slotCount), done: make(chan struct{}), claims: map[string]*Run{}, claiming: map[string]bool{},
	}
	for i := range slotCount {
		s.slots <- &slot{key: s.key.slot(cfg.Node, s.boot, i), known: true}
	}
	s.index = newIndex(s.key)
	s.library = newLibrary(s)
	s.guards = newGuards(s)
	return s
}

func (s *Store) connect(ctx context.Context) (err error) {
	if s.cfg.Dir != "" {
		s.own, s.etcd, err = embedded(ctx, s.cfg.Dir, int64(s.cfg.QuotaMiB)<<20, s.log)
		return err
	}
	s.etcd, err = clientv3.New(clientv3.Config{
		Endpoints: s.cfg.Endpoints, TLS: s.cfg.TLS, Username: s.cfg.Username, Password: s.cfg.Password,
		Context: context.WithoutCancel(ctx), Logger: quiet(s.log),
		DialTimeout: tryBound, DialKeepAliveTime: 5 * time.Second, DialKeepAliveTimeout: 5 * time.Second, PermitWithoutStream: true,
		BackoffWaitBetween: 50 * time.Millisecond, BackoffJitterFraction: 0.2,
		DialOptions: []grpc.DialOption{},
	})
	if err != nil {
		return fmt.Errorf("store: %w", translate(err))
	}
	return nil
}

// begin makes the store ready: versions checked, index filled, node registered.
func (s *Store) begin(ctx context.Context) error {
	if s.own == nil {
		if err := s.checkServers(ctx); err != nil {
			return fmt.Errorf("store: %w", err)
		}
	}
	if err := s.checkFormat(ctx); err != nil {
		return fmt.Errorf("store: %w", err)
	}
	if s.own != nil {
		if err := s.endPredecessors(ctx); err != nil {
			return fmt.Errorf("store: %w", err)
		}
	}
	live, stop := context.WithCancel(context.WithoutCancel(ctx))
	s.stop = stop
	rev, err := s.load(ctx)
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	s.start(func() { s.follow(live, rev) })
	first, err := s.register(ctx, true)
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	s.start(func() { s.keepRegistered(live, first) })
	s.start(func() { s.keepHouse(live) })
	return nil
}

// checkFormat writes the version of the layout into an empty store, and refuses
// that of a newer Wasakari.
func (s *Store) checkFormat(ctx context.Context) error {
	r, err := s.getAll(ctx, clientv3.OpGet(s.key.format), clientv3.OpGet(s.key.restoring))
	if err != nil {
		return err
	}
	if len(r[1].GetKvs()) > 0 {
		return fmt.Errorf("%w: a restoration broke off; empty the store and restore again", ErrDamaged)
	}
	kvs := r[0].GetKvs()
	if len(kvs) == 0 {
		res, err := s.commit(ctx, (&txn{name: "format"}).when(absent(s.key.format), absent(s.key.restoring)).do(put(s.key.format, []byte(strconv.Itoa(format)))))
		if err != nil || res.ok {
			return err
		}
		return s.checkFormat(ctx)
	}
	n, err := strconv.Atoi(string(kvs[0].Value))
	switch {
	case err != nil || n < 1:
		return fmt.Errorf("%w: no format", ErrDamaged)
	case n > format:
		return fmt.Errorf("%w: format %d, and this one knows up to %d; go on with the newer one", ErrNewer, n, format)
	}
	return nil
}

// oldestServer is the first version of etcd without known defects that could
// lose or repeat a change.
var oldestServer = [3]int{3, 6, 9}

func (s *Store) checkServers(ctx context.Context) error {
	var reached int
	var last error
	for _, endpoint := range s.cfg.Endpoints {
		try, cancel := context.WithTimeout(ctx, tryBound)
		st, err := s.etcd.Status(try, endpoint)
		cancel()
		if err != nil {
			last = translate(err)
			continue
		}
		reached++
		if v, ok := parseVersion(st.Version); !ok || older(v, oldestServer) {
			return fmt.Errorf("%w: etcd %.40q at %s is older than %d.%d.%d; upgrade the cluster", recovery.ErrInvalid, st.Version, endpoint, oldestServer[0], oldestServer[1], oldestServer[2])
		}
	}
	if reached == 0 {
		return last
	}
	return nil
}

func parseVersion(s string) (v [3]int, ok bool) {
	s, _, _ = strings.Cut(s, "-")
	s, _, _ = strings.Cut(s, "+")
	fields := strings.Split(s, ".")
	if len(fields) != 3 {
		return v, false
	}
	for i, f := range fields {
		n, err := strconv.Atoi(f)
		if err != nil {
			return v, false
		}
		v[i] = n
	}
	return v, true
}

func older(a, b [3]int) bool {
	for i := range a {
		if a[i] != b[i] {
			return a[i] < b[i]
		}
	}
	return false
}

// Close gives the node's claims back and closes the store. Runs that were not
// released are gone on with by other nodes after their wait.
func (s *Store) Close() error {
	s.once.Do(func() {
		if s.stop != nil {
			s.stop()
		}
		s.mu.Lock()
		close(s.done)
		s.mu.Unlock()
		s.tasks.Wait()
		s.unregister()
		s.index.close()
		s.closing = s.etcd.Close()
		if errors.Is(s.closing, context.Canceled) {
			s.closing = nil // what a client without connections answers
		}
		if s.own != nil {
			s.closing = errors.Join(s.closing, s.own.close())
		}
	})
	return s.closing
}

// Ready reads by quorum.
func (s *Store) Ready(ctx context.Context) error {
	if s.closed() {
		return fmt.Errorf("store: %w", fs.ErrClosed)
	}
	_, err := s.get(ctx, s.key.format)
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	return nil
}

// start runs do in a goroutine that Close waits for, unless the store is closed.
func (s *Store) start(do func()) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed() {
		return false
	}
	s.tasks.Go(do)
	return true
}

func (s *Store) closed() bool {
	select {
	case <-s.done:
		return true
	default:
		return false
	}
}

// Library returns the values that libraries keep beyond a run.
func (s *Store) Library() *Library { return s.library }

// Guards returns the counts of the guards.
func (s *Store) Guards() *Guards { return s.guards }

// now is our clock as records keep it.
func now() time.Time { return time.Now().UTC().Truncate(time.Microsecond) }
