package runtime

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/tetratelabs/wazero"
	"go.uber.org/zap"

	"github.com/wasakari/wasakari/abi"
)

// DefaultModuleBytes is the largest module admitted by default: 16 MiB.
const DefaultModuleBytes = 16 << 20

// Config configures a Runtime. The zero value is usable.
type Config struct {
	// CacheDir is the folder that keeps compiled modules. It is created with
	// mode 0700, and refused when others may write to it: it holds machine
	// code that this process runs.
	//
	// Defaults to none: compiled modules are kept in memory only.
	CacheDir string

	// Logger receives the runtime's own messages, never those of guests.
	// Defaults to zap.NewNop.
	Logger *zap.Logger

	// Limits are those of a call that brings none. Defaults to DefaultLimits.
	Limits Limits

	// Ceilings bound what the manifest of a task may ask for, see
	// [Module.Limits]. Defaults to DefaultCeilings.
	Ceilings Limits

	// MaxModuleBytes is the size of the largest module admitted.
	// Defaults to DefaultModuleBytes.
	MaxModuleBytes int
}

// Host answers what a task asks for. There is one for each sandbox. Do may be
// called by several goroutines at once, one for each op in flight; Log and
// Progress come from the guest's own goroutine.
type Host interface {
	// Do does an op and returns its answer, a JSON document that the runtime
	// then owns. Refusals are an *abi.Error; any other error reaches the guest
	// as unavailable.
	//
	// req is the guest's and hostile. For Local ops it is a view into the
	// guest's memory, valid during the call only. The context of a Read op ends
	// with the task; that of a Change op does not, and the run is not over
	// before Do returned.
	Do(ctx context.Context, op *abi.Op, req []byte) ([]byte, error)
	// Log takes one line that the task logged: valid UTF-8 without control
	// characters other than tabs.
	Log(level abi.Level, msg string)
	// Progress takes how far the task is, from 0 to 1000.
	Progress(permille int, msg string)
}

// Runtime admits modules. It is safe for concurrent use.
type Runtime struct {
	log        *zap.Logger
	limits     Limits
	ceilings   Limits
	maxModule  int
	cacheDir   string
	cache      wazero.CompilationCache
	instrument instrumenter
	compiler   compiler

	mu      sync.Mutex
	closed  bool
	modules map[*Module]struct{}
}

// New makes a Runtime. The caller closes it.
func New(cfg Config) (*Runtime, error) {
	if cfg.MaxModuleBytes < 0 {
		return nil, fmt.Errorf("runtime: module size limit %d is negative", cfg.MaxModuleBytes)
	}
	r := &Runtime{
		log:        cfg.Logger,
		limits:     cfg.Limits.orElse(DefaultLimits()),
		ceilings:   cfg.Ceilings.orElse(DefaultCeilings()),
		maxModule:  cfg.MaxModuleBytes,
		cacheDir:   cfg.CacheDir,
		instrument: interruptible{},
		modules:    map[*Module]struct{}{},
	}
	if r.log == nil {
		r.log = zap.NewNop()
	}
	if r.maxModule == 0 {
		r.maxModule = DefaultModuleBytes
	}
	cache, err := openCache(cfg.CacheDir)
	if err != nil {
		return nil, err
	}
	r.cache = cache
	r.compiler = inProcess{cache: cache, log: r.log}
	return r, nil
}

// Limits returns the limits of a call that brings none.
func (r *Runtime) Limits() Limits { return r.limits }

// Close closes all modules and then the cache. It waits for runs that have not
// ended as long as ctx allows; when it gives up, what they use stays open and
// Close may be called again.
func (r *Runtime) Close(ctx context.Context) error {
	r.mu.Lock()
	r.closed = true
	modules := make([]*Module, 0, len(r.modules))
	for m := range r.modules {
		modules = append(modules, m)
	}
	r.mu.Unlock()
	var errs []error
	for _, m := range modules {
		errs = append(errs, m.Close(ctx))
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return r.cache.Close(ctx)
}

// adopt notes a module that Close has to close.
func (r *Runtime) adopt(m *Module) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return errClosed
	}
	r.modules[m] = struct{}{}
	return nil
}

func (r *Runtime) forget(m *Module) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.modules, m)
}

var errClosed = errors.New("the runtime is closed")
