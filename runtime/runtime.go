package runtime

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/wasakari/wasakari/abi"
)

// Defaults of Config.
const (
	DefaultModuleBytes   = 16 << 20
	DefaultCacheBytes    = 1 << 30
	DefaultCompileMemory = 1 << 30
	DefaultCompileTime   = 2 * time.Minute
	DefaultSandboxes     = 16
	DefaultAllSandboxes  = 64
)

// maxCompilers bounds the compilers that a Runtime has at work at once.
const maxCompilers = 2

// Config configures a Runtime. The zero value is usable.
type Config struct {
	// CacheDir is the folder that keeps compiled modules. It is created with
	// mode 0700, and refused when others may write to it: it holds machine
	// code that this process runs.
	//
	// Defaults to a private folder among the temporary files, which Close
	// removes.
	CacheDir string

	// CacheBytes bounds the cache folder. When it gets larger, what was not used
	// for the longest time is thrown out. Defaults to DefaultCacheBytes, 1 GiB.
	CacheBytes int64

	// CompileMemory bounds the memory of the process that validates and compiles
	// a module, in bytes; machine code may have half as many.
	// Defaults to DefaultCompileMemory, 1 GiB.
	CompileMemory int64

	// CompileTime bounds that process's time on processors, rounded up to
	// seconds; by the clock it may take five times as long.
	// Defaults to DefaultCompileTime, 2 minutes.
	CompileTime time.Duration

	// CompileInProcess validates and compiles modules here, where neither memory
	// nor time can be bounded: for trusted modules in programs that cannot call
	// MaybeCompile. Systems other than Linux, whose limits of processes are not
	// enough, do so in any case.
	CompileInProcess bool

	// Compiler is the file of the program to start as the compiler, one that
	// calls MaybeCompile; it stays as it is while the Runtime is open. What it
	// leaves in the cache is machine code that this process runs, and its file is
	// part of the cache's keys: no configuration may name it. It is for tests,
	// whose own program may be many times slower.
	// Defaults to this program, which has called MaybeCompile then.
	Compiler string

	// Logger receives the runtime's own messages, never those of guests.
	// Defaults to zap.NewNop.
	Logger *zap.Logger

	// Limits are those of a call that brings none. Defaults to DefaultLimits.
	Limits Limits

	// Ceilings bound what the manifest of a task may ask for, see
	// [Module.Limits]. Defaults to DefaultCeilings.
	Ceilings Limits

	// Sandboxes bounds the sandboxes of one tenant that run at once, see
	// [Call].Tenant; further runs wait for their turn. Defaults to
	// DefaultSandboxes, 16.
	Sandboxes int

	// TenantSandboxes bounds those of single tenants instead, by tenant: what
	// stands in lines @PROJECT of section [limits].
	TenantSandboxes map[string]int

	// AllSandboxes bounds those of all together: tenants wait while there are so
	// many, the operator's tasks, which count too, never do. Defaults to
	// DefaultAllSandboxes, 64.
	AllSandboxes int

	// MaxModuleBytes is the size of the largest module admitted.
	// Defaults to DefaultModuleBytes.
	MaxModuleBytes int

	// Engines are what runs script modules. None is looked at before a module
	// needs it. Defaults to none.
	Engines []Engine

	// OtherEngine says how to open an engine that is none of Engines, such as one
	// of another release. Nil: there are no others.
	OtherEngine func(abi.EngineRef) Engine
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
	log       *zap.Logger
	limits    Limits
	ceilings  Limits
	maxModule int
	cache     *cache
	job       compileJob // but for the folder
	compiler  string     // file of the program
	inProcess bool
	queue     *queue
	compilers chan struct{} // holds a token for each compiler at work
	engines   []*engine

	otherEngine func(abi.EngineRef) Engine // nil: there are no others

	memory       atomic.Int64 // linear memory of all sandboxes, in bytes
	hits, misses atomic.Int64 // modules that the cache had, and had not

	mu      sync.Mutex
	closed  bool
	modules map[*Module]struct{}
	others  map[string]*engine // that are not of Config.Engines, by digest
}

// New makes a Runtime. The caller closes it.
func New(cfg Config) (*Runtime, error) {
	if cfg.MaxModuleBytes < 0 || cfg.CacheBytes < 0 || cfg.CompileMemory < 0 || cfg.CompileTime < 0 || cfg.Sandboxes < 0 || cfg.AllSandboxes < 0 {
		return nil, errors.New("runtime: a negative limit of module, cache, compiler or sandboxes")
	}
	if canStart && !cfg.CompileInProcess && cfg.Compiler == "" && !hooked.Load() {
		return nil, errors.New("runtime: modules are compiled by starting this program again: call runtime.MaybeCompile first in main, or TestMain; or set Config.CompileInProcess")
	}
	r := &Runtime{
		log:       cfg.Logger,
		limits:    cfg.Limits.orElse(DefaultLimits()),
		ceilings:  cfg.Ceilings.orElse(DefaultCeilings()),
		maxModule: cmp.Or(cfg.MaxModuleBytes, DefaultModuleBytes),
		job: compileJob{
			Memory:  cmp.Or(cfg.CompileMemory, DefaultCompileMemory),
			Seconds: int64((cmp.Or(cfg.CompileTime, DefaultCompileTime) + time.Second - 1) / time.Second),
		},
		compiler:  ourselves,
		inProcess: cfg.CompileInProcess || !canStart,
		queue:     newQueue(cmp.Or(cfg.Sandboxes, DefaultSandboxes), cfg.TenantSandboxes, cmp.Or(cfg.AllSandboxes, DefaultAllSandboxes)),
		compilers: make(chan struct{}, maxCompilers),
		modules:   map[*Module]struct{}{},
		others:    map[string]*engine{},

		otherEngine: cfg.OtherEngine,
	}
	if r.log == nil {
		r.log = zap.NewNop()
	}
	version := ""
	if r.inProcess || cfg.Compiler == "" {
		version = programVersion()
	} else {
		file, err := filepath.Abs(cfg.Compiler) // it is started in another folder
		if err == nil {
			version, err = compilerVersion(file)
		}
		if err != nil {
			return nil, fmt.Errorf("runtime: the compiler: %w", err)
		}
		r.compiler = file
	}
	var err error
	if r.cache, err = openCache(cfg.CacheDir, cmp.Or(cfg.CacheBytes, DefaultCacheBytes), version, r.log); err != nil {
		return nil, err
	}
	r.job.Cache = r.cache.dir
	for _, e := range cfg.Engines {
		r.engines = append(r.engines, newEngine(e))
	}
	return r, nil
}

// Limits returns the limits of a call that brings none.
func (r *Runtime) Limits() Limits { return r.limits }

// Stats tells what a Runtime is doing and did.
type Stats struct {
	// Live counts the sandboxes that run, Waiting the runs of tenants' tasks that
	// wait for their turn.
	Live, Waiting int
	// MemoryBytes is the linear memory of the live sandboxes.
	MemoryBytes int64
	// CacheHits and CacheMisses count, since New, the modules that were loaded
	// from the cache, and those for which a compiler was started.
	CacheHits, CacheMisses int64
}

// Stats tells what the Runtime is doing now. It is cheap.
func (r *Runtime) Stats() Stats {
	s := Stats{MemoryBytes: r.memory.Load(), CacheHits: r.hits.Load(), CacheMisses: r.misses.Load()}
	s.Live, s.Waiting = r.queue.count()
	return s
}

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
	return r.cache.close()
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
