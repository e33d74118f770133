package runtime

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"go.uber.org/zap"

	"github.com/wasakari/wasakari/abi"
)

// maxEngineBytes is the size of the largest engine, whatever is admitted of
// modules.
const maxEngineBytes = 64 << 20

// ErrNoEngine is what [Engine].Open returns for one that is not there.
var ErrNoEngine = errors.New("the engine is not there")

// Engine is a module that runs the scripts of others: an ordinary guest that
// gets its script by op task.script. It is one that a release of this program
// carries, never a tenant's.
type Engine struct {
	// Name is that of the language, such as python.
	Name string
	// Digest is the sha256 of its bytes, hex.
	Digest string
	// Stack is the call stack that it needs to tell a script of a recursion
	// without end, in bytes: a task gets as much, or Limits.Stack when that is
	// more.
	Stack int64
	// Open gives its bytes, which are held against Digest.
	Open func(ctx context.Context) ([]byte, error)
}

// engine is an Engine and its code, which all script modules that name it share
// for as long as there is one.
type engine struct {
	Engine
	turn  chan struct{} // holds a token of who looks at the rest
	guest *guest        // nil while there are no users
	users int

	wanted int // by its users and those who wait for it; of Runtime.mu
}

func newEngine(e Engine) *engine { return &engine{Engine: e, turn: make(chan struct{}, 1)} }

// engineOf gives the code of the engine that a script module names, and counts
// it as a user, to be released.
func (r *Runtime) engineOf(ctx context.Context, source string, ref *abi.EngineRef) (_ *engine, _ *guest, err error) {
	e := r.findEngine(ref)
	if e == nil {
		return nil, nil, r.noEngine(source, ref)
	}
	defer func() {
		if err != nil {
			r.dropEngine(e)
		}
	}()
	select {
	case e.turn <- struct{}{}:
		defer func() { <-e.turn }()
	case <-ctx.Done():
		return nil, nil, ctx.Err()
	}
	if e.guest == nil {
		if e.guest, err = r.admitEngine(ctx, e.Engine); err != nil {
			if errors.Is(err, ErrNoEngine) {
				err = r.noEngine(source, ref)
			}
			return nil, nil, err
		}
	}
	e.users++
	return e, e.guest, nil
}

// findEngine finds the engine that a module was built for, and no other; nil:
// there is none. Whether one that is not of Config.Engines is there is not known
// before it is opened. What is found is wanted until dropEngine.
func (r *Runtime) findEngine(ref *abi.EngineRef) *engine {
	for _, e := range r.engines {
		if e.Digest == ref.Digest {
			return e
		}
	}
	if r.otherEngine == nil {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	e := r.others[ref.Digest]
	if e == nil {
		e = newEngine(r.otherEngine(*ref))
		r.others[ref.Digest] = e
	}
	e.wanted++
	return e
}

// dropEngine forgets an engine that is not of Config.Engines, and that nobody
// wants any more: a module may name what nobody has.
func (r *Runtime) dropEngine(e *engine) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.others[e.Digest] != e {
		return
	}
	if e.wanted--; e.wanted == 0 {
		delete(r.others, e.Digest)
	}
}

// noEngine refuses a module whose engine is not there.
func (r *Runtime) noEngine(source string, ref *abi.EngineRef) error {
	reason := fmt.Sprintf("it is a script for the engine %s, which is not here; this program has ", ref)
	var own []string
	for _, e := range r.engines {
		if e.Name == ref.Name {
			return refuse(source, StepInterface, reason+e.String(), hintEngine)
		}
		own = append(own, e.Name)
	}
	if len(own) == 0 {
		return refuse(source, StepInterface, reason+"no engines", "")
	}
	return refuse(source, StepInterface, reason+strings.Join(own, ", "), "")
}

// Engine names the engine of a language that is one of Config.Engines.
func (r *Runtime) Engine(language string) (abi.EngineRef, bool) {
	for _, e := range r.engines {
		if e.Name == language {
			return abi.EngineRef{Name: e.Name, Digest: e.Digest}, true
		}
	}
	return abi.EngineRef{}, false
}

// String gives name and digest, as in messages.
func (e Engine) String() string { return (&abi.EngineRef{Name: e.Name, Digest: e.Digest}).String() }

// admitEngine admits an engine as any guest, but for what is bounded by what an
// operator trusts: it is of the program itself.
func (r *Runtime) admitEngine(ctx context.Context, e Engine) (*guest, error) {
	source := "engine " + e.Name
	wasm, err := e.Open(ctx)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", source, err)
	}
	if len(wasm) > maxEngineBytes {
		return nil, refuse(source, StepSize, fmt.Sprintf("it has %s; at most %s are admitted", size(int64(len(wasm))), size(maxEngineBytes)), "")
	}
	sum := sha256.Sum256(wasm)
	if digest := hex.EncodeToString(sum[:]); digest != e.Digest {
		return nil, refuse(source, StepValidate, fmt.Sprintf("its digest is sha256:%s, not sha256:%s", digest, e.Digest), "")
	}
	l, err := scan(source, wasm)
	if err != nil {
		return nil, err
	}
	complexity, _ := l.measure(wasm) // what cannot be measured is not valid, which the compiler says
	if err := complexity.check(source); err != nil {
		return nil, err
	}
	if err := l.checkInterface(source); err != nil {
		return nil, err
	}
	if err := l.checkExport(source, abi.Describe, "() -> i32", false); err != nil {
		return nil, err
	}
	g, err := r.guestOf(ctx, source, e.Digest, l, wasm)
	if err == nil {
		r.log.Debug("engine admitted", zap.String("engine", e.Name), zap.String("digest", e.Digest))
	}
	return g, err
}

// releaseEngine lets go of an engine, and frees its code with the last user.
func (r *Runtime) releaseEngine(ctx context.Context, e *engine) error {
	defer r.dropEngine(e)
	e.turn <- struct{}{} // held while an engine is compiled, which has bounds of its own
	defer func() { <-e.turn }()
	if e.users--; e.users > 0 {
		return nil
	}
	g := e.guest
	e.guest = nil
	return g.close(ctx)
}
