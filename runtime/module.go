package runtime

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/wasakari/wasakari/abi"
	"github.com/wasakari/wasakari/runtime/meter"
)

// Module is an admitted and compiled module. It is safe for concurrent use;
// each run has a sandbox of its own.
type Module struct {
	runtime  *Runtime
	guest    *guest
	engine   *engine // of the guest, nil when that is the module's own
	source   string
	manifest *abi.Manifest
	script   []abi.ScriptFile
	info     *Info

	mu      sync.Mutex
	closing bool
	closed  bool
	active  sync.WaitGroup // runs
	// stragglers waits for reads that outlive their run.
	stragglers sync.WaitGroup
}

// Manifest returns what the module says about its tasks. Callers must not
// change it.
func (m *Module) Manifest() *abi.Manifest { return m.manifest }

// Digest returns the sha256 of the module's bytes, hex.
func (m *Module) Digest() string { return m.info.Digest }

// Source returns the name under which the module was admitted.
func (m *Module) Source() string { return m.source }

// Script returns the files of the custom section wasakari.script, nil when
// there is none: what op task.script answers.
func (m *Module) Script() []abi.ScriptFile { return slices.Clone(m.script) }

// HasRevert reports whether a task of the module can be reverted: the module
// exports revert, or its script says that it has one for the task.
func (m *Module) HasRevert(key string) bool {
	if m.engine != nil {
		return m.guest.hasRevert && m.info.Engine.Has(key)
	}
	return m.guest.hasRevert
}

// Info returns what Inspect says about the module. Callers must not change it.
func (m *Module) Info() *Info { return m.info }

// Limits returns the limits of a task of the module: those of the Runtime's
// Config, or what its manifest asks for within the ceilings.
func (m *Module) Limits(key string) Limits {
	t := m.manifest.Task(key)
	if t == nil {
		return m.runtime.limits
	}
	return m.runtime.limits.For(t.Limits, m.runtime.ceilings)
}

// Run runs a task of the module in a fresh sandbox.
//
// With an error the task has failed: a *TrapError, an *ExitError, a
// *LimitError, ErrOpenTickets, or what ended ctx; all match by errors.As and
// errors.Is. Without one, Result.Exit is the task's own outcome. Changes that
// the task began are followed to their end before Run returns, whatever
// becomes of the task.
func (m *Module) Run(ctx context.Context, call Call) (Result, error) {
	return m.inTurn(ctx, call, abi.Run)
}

// Revert undoes a task of the module in a fresh sandbox, like Run. The module
// must have a revert for it, see HasRevert.
func (m *Module) Revert(ctx context.Context, call Call) (Result, error) {
	if !m.HasRevert(call.Key) {
		return Result{Exit: abi.ExitFailed}, fmt.Errorf("task %s: module %s has no %s", call.Key, m.source, abi.Revert)
	}
	return m.inTurn(ctx, call, abi.Revert)
}

// Describe lets the engine of a script module describe the script's tasks: the
// description is the Result's Reason, whole; with ExitFailed that says what is
// wrong with the script. See [abi.Describe].
func (m *Module) Describe(ctx context.Context, call Call) (Result, error) {
	if !m.guest.describes {
		return Result{Exit: abi.ExitFailed}, fmt.Errorf("module %s exports no %s", m.source, abi.Describe)
	}
	return m.inTurn(ctx, call, abi.Describe)
}

// inTurn executes a function when it is the tenant's turn.
func (m *Module) inTurn(ctx context.Context, call Call, function string) (Result, error) {
	if err := m.runtime.queue.enter(ctx, call.Tenant); err != nil {
		return Result{Exit: abi.ExitFailed}, fmt.Errorf("task %s: waiting for a sandbox: %w", call.Key, err)
	}
	defer m.runtime.queue.leave(call.Tenant)
	return m.execute(ctx, call, function)
}

// enter notes a run, which ends with active.Done.
func (m *Module) enter() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closing {
		return errors.New("the module is closed")
	}
	m.active.Add(1)
	return nil
}

// Close lets go of the module. New runs are refused; those that go on are
// waited for as long as ctx allows, so cancel their contexts first. When Close
// gives up it returns the context's error, and may be called again.
func (m *Module) Close(ctx context.Context) error {
	m.mu.Lock()
	m.closing = true
	m.mu.Unlock()

	idle := make(chan struct{})
	go func() { // ends with the last run and read, which end by themselves
		m.active.Wait()
		m.stragglers.Wait()
		close(idle)
	}()
	select {
	case <-idle:
	case <-ctx.Done():
		return fmt.Errorf("module %s is still running: %w", m.source, ctx.Err())
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil
	}
	m.closed = true
	m.runtime.forget(m)
	if m.engine != nil {
		return m.runtime.releaseEngine(ctx, m.engine)
	}
	return m.guest.close(ctx)
}

// guest is code that runs in sandboxes: a module's own, or that of an engine.
type guest struct {
	*loaded
	// memoryMin is the size of the memory at the start, tableBytes what the
	// tables take.
	memoryMin, tableBytes            int64
	initialize, hasRevert, describes bool
}

// guestOf obtains the machine code of a module that was found good.
func (r *Runtime) guestOf(ctx context.Context, source, digest string, l *layout, wasm []byte) (*guest, error) {
	code, err := r.obtain(ctx, source, digest, wasm)
	if err != nil {
		return nil, err
	}
	g := &guest{loaded: code, memoryMin: l.memoryMin * pageBytes, tableBytes: l.tableBytes()}
	_, g.initialize = l.export(abi.Initialize)
	_, g.hasRevert = l.export(abi.Revert)
	_, g.describes = l.export(abi.Describe)
	if err := g.provideImports(ctx, l); err != nil {
		ctx := context.WithoutCancel(ctx)
		return nil, errors.Join(fmt.Errorf("%s: %w", source, err), code.close(ctx))
	}
	return g, nil
}

// provideImports instantiates the host modules that the guest imports, and
// that of metering.
func (g *guest) provideImports(ctx context.Context, l *layout) error {
	for _, host := range []struct {
		name      string
		functions []hostFunction
	}{{meter.ImportModule, meterFunctions}, {abi.ImportModule, abiFunctions}, {wasiModule, wasiFunctions}} {
		if host.name != meter.ImportModule && !l.importsModule(host.name) {
			continue
		}
		if err := provide(ctx, g.rt, host.name, host.functions); err != nil {
			return fmt.Errorf("host module %s: %w", host.name, err)
		}
	}
	return nil
}
