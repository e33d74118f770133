package runtime

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"

	"go.uber.org/zap"

	"github.com/wasakari/wasakari/abi"
)

// maxEngineBytes is the size of the largest engine, whatever is admitted of
// modules.
const maxEngineBytes = 64 << 20

// Engine is a module that runs the scripts of others: an ordinary guest that
// gets its script by op task.script. It is the program's own, not a tenant's.
type Engine struct {
	// Name is that of the language, such as python.
	Name string
	// Digest is the sha256 of its bytes, hex.
	Digest string
	// Stack is the call stack that it needs to tell a script of a recursion
	// without end, in bytes: a task gets as much, or Limits.Stack when that is
	// more.
	Stack int64
	// Open gives its bytes.
	Open func() ([]byte, error)
}

// engine is an Engine and its code, which all script modules that name it share
// for as long as there is one.
type engine struct {
	Engine
	turn  chan struct{} // holds a token of who looks at the rest
	guest *guest        // nil while there are no users
	users int
}

// engineOf gives the code of the engine that a script module names, and counts
// it as a user, to be released.
func (r *Runtime) engineOf(ctx context.Context, source string, ref *abi.EngineRef) (*engine, *guest, error) {
	e, err := r.findEngine(source, ref)
	if err != nil {
		return nil, nil, err
	}
	select {
	case e.turn <- struct{}{}:
		defer func() { <-e.turn }()
	case <-ctx.Done():
		return nil, nil, ctx.Err()
	}
	if e.guest == nil {
		if e.guest, err = r.admitEngine(ctx, e.Engine); err != nil {
			return nil, nil, err
		}
	}
	e.users++
	return e, e.guest, nil
}

// findEngine finds the engine that a module was built for, and no other.
func (r *Runtime) findEngine(source string, ref *abi.EngineRef) (*engine, error) {
	var names []string
	var same *engine
	for _, e := range r.engines {
		if e.Digest == ref.Digest {
			return e, nil
		}
		if e.Name == ref.Name {
			same = e
		}
		names = append(names, e.Name)
	}
	switch {
	case same != nil:
		return nil, refuse(source, StepInterface,
			fmt.Sprintf("it is built for the engine %s sha256:%s; this program has %s sha256:%s", ref.Name, ref.Digest, same.Name, same.Digest), hintScript)
	case len(names) == 0:
		return nil, refuse(source, StepInterface, fmt.Sprintf("it is a script for the engine %s sha256:%s; this program has no engines", ref.Name, ref.Digest), "")
	}
	return nil, refuse(source, StepInterface,
		fmt.Sprintf("it is a script for the engine %s sha256:%s; this program has %s", ref.Name, ref.Digest, strings.Join(names, ", ")), hintScript)
}

// admitEngine admits an engine as any guest, but for what is bounded by what an
// operator trusts: it is of the program itself.
func (r *Runtime) admitEngine(ctx context.Context, e Engine) (*guest, error) {
	source := "engine " + e.Name
	wasm, err := e.Open()
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

// release lets go of the engine, and frees its code with the last user.
func (e *engine) release(ctx context.Context) error {
	e.turn <- struct{}{} // held while an engine is compiled, which has bounds of its own
	defer func() { <-e.turn }()
	if e.users--; e.users > 0 {
		return nil
	}
	g := e.guest
	e.guest = nil
	return g.close(ctx)
}
