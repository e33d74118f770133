package runtime

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	goruntime "runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"

	"github.com/wasakari/wasakari/runtime/meter"
)

// compileCommand is the argument that makes a program the compiler.
const compileCommand = "compile-module"

// hooked says that this program can be started as the compiler.
var hooked atomic.Bool

// MaybeCompile turns the process into a compiler of modules when it was started
// as one, and does not return then. Programs with a Runtime call it first in
// main, tests in TestMain: a Runtime starts the program again, with the single
// argument compile-module and no environment, to validate and compile hostile
// modules within limits of memory and time.
func MaybeCompile() {
	hooked.Store(true)
	if len(os.Args) == 2 && os.Args[1] == compileCommand {
		os.Exit(compileMain(os.Stdin, os.Stdout, os.Stderr))
	}
}

// compileJob is what the compiler is told, in one line of JSON before the
// module.
type compileJob struct {
	// Cache is the cache folder, Staging the folder in it to fill.
	Cache   string `json:"cache"`
	Staging string `json:"staging"`
	// ValidateOnly asks for validation alone.
	ValidateOnly bool `json:"validate_only,omitempty"`
	// Bytes is the size of the module, which follows.
	Bytes int64 `json:"bytes"`
	// Memory bounds the address space in bytes, Seconds the processor time.
	Memory  int64 `json:"memory"`
	Seconds int64 `json:"seconds"`
}

// native is how much machine code a job may make, in bytes.
func (j compileJob) native() int64 { return j.Memory / 2 }

// compileResult is the compiler's answer. Step is that at which the module was
// refused, empty when it was compiled.
type compileResult struct {
	Step   Step   `json:"step,omitempty"`
	Reason string `json:"reason,omitempty"`
	// TooLarge says that there is more machine code than allowed, NoMemory that
	// there was no more memory.
	TooLarge bool `json:"too_large,omitempty"`
	NoMemory bool `json:"no_memory,omitempty"`
}

// Bounds on what passes between the compiler and us.
const (
	maxJob    = 64 << 10 // bytes
	maxResult = 64 << 10
	maxReason = 8 << 10
)

// compileMain is the compiler. It trusts its limits, not the module.
func compileMain(in io.Reader, out, diag io.Writer) int {
	fail := func(what string, err error) int {
		_, _ = fmt.Fprintf(diag, "%s: %v\n", what, err) // there is nobody else to tell
		return 2
	}
	lines := bufio.NewReaderSize(in, maxJob)
	head, err := lines.ReadSlice('\n')
	var job compileJob
	if err == nil {
		err = json.Unmarshal(head, &job)
	}
	if err != nil {
		return fail(compileCommand+" is for Wasakari's own use", err)
	}
	if err := confine(job); err != nil {
		return fail("setting limits", err)
	}
	wasm := make([]byte, job.Bytes)
	if _, err := io.ReadFull(lines, wasm); err != nil {
		return fail("reading the module", err)
	}
	ctx := experimental.WithCompilationWorkers(context.Background(), goruntime.GOMAXPROCS(0))
	if err := json.NewEncoder(out).Encode(compileTo(ctx, job, wasm)); err != nil {
		return fail("answering", err)
	}
	return 0
}

// compileTo validates a module, rewrites it and compiles what comes out of
// that. It leaves in the staging folder what adopt puts into the cache.
//
// Validation comes before rewriting: a rewriter that is given an invalid module
// can be made to hand its own counters to the guest.
func compileTo(ctx context.Context, job compileJob, wasm []byte) compileResult {
	refused := func(step Step, err error) compileResult {
		return compileResult{
			Step: step, Reason: printableLines(clip([]byte(err.Error()), maxReason)),
			TooLarge: errors.Is(err, syscall.EFBIG), NoMemory: errors.Is(err, syscall.ENOMEM),
		}
	}
	if err := validate(ctx, wasm); err != nil {
		return refused(StepValidate, err)
	}
	l, err := scan("", wasm)
	if err == nil {
		_, err = l.measure(wasm)
	}
	if err != nil { // as it was before, in the process that asked
		return refused(StepComplexity, err)
	}
	if job.ValidateOnly {
		return compileResult{}
	}
	instrument := instrumentation()
	code, err := instrument.instrument(wasm, l)
	if err != nil {
		return refused(StepInstrument, err)
	}
	if err := os.WriteFile(filepath.Join(job.Staging, codeName), code, 0o600); err != nil {
		return refused(StepCompile, err)
	}
	if checkNative(nativeFolder(job.Cache, code), job.native()) == nil {
		return compileResult{} // another module, or version of ours, came to the same code
	}
	folder := filepath.Join(job.Staging, nativeName)
	cache, err := wazero.NewCompilationCacheWithDir(folder)
	if err != nil {
		return refused(StepCompile, err)
	}
	rt, _, err := compileWith(ctx, instrument.configure(wazero.NewRuntimeConfigCompiler()), cache, code)
	if err != nil {
		return refused(StepCompile, errors.Join(err, cache.Close(ctx)))
	}
	if err := errors.Join(rt.Close(ctx), cache.Close(ctx), sumNative(folder)); err != nil {
		return refused(StepCompile, err)
	}
	return compileResult{}
}

// instrumentation gives the instrumenter that all modules go through.
func instrumentation() instrumenter { return metered{} }

// validate checks the original bytes. The interpreter does it in a tenth of a
// second on modules that take the compiler a minute.
func validate(ctx context.Context, wasm []byte) (err error) {
	cfg := wazero.NewRuntimeConfigInterpreter().WithCoreFeatures(api.CoreFeaturesV2).WithDebugInfoEnabled(false)
	rt := wazero.NewRuntimeWithConfig(ctx, cfg)
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the decoder gave up: %v", p)
		}
		// Nothing was instantiated, so closing cannot fail.
		_ = rt.Close(context.WithoutCancel(ctx))
	}()
	_, err = rt.CompileModule(ctx, wasm)
	return err
}

// compileWith compiles, or loads, in a wazero.Runtime of the module's own: a
// Runtime never forgets the types of its modules.
func compileWith(
	ctx context.Context, cfg wazero.RuntimeConfig, cache wazero.CompilationCache, code []byte,
) (rt wazero.Runtime, compiled wazero.CompiledModule, err error) {
	lasting := context.WithoutCancel(ctx)
	// DWARF is hostile input of which nothing depends but source lines.
	rt = wazero.NewRuntimeWithConfig(lasting, cfg.WithCoreFeatures(api.CoreFeaturesV2).WithDebugInfoEnabled(false).WithCompilationCache(cache))
	defer func() {
		if p := recover(); p != nil {
			cause, ok := p.(error) // such as that no memory was to be had for the code
			if !ok {
				cause = fmt.Errorf("%v", p)
			}
			err = fmt.Errorf("the compiler gave up: %w", cause)
		}
		if err != nil {
			err = errors.Join(err, rt.Close(lasting))
		}
	}()
	compiled, err = rt.CompileModule(ctx, code)
	return rt, compiled, err
}

// errNotCached says that a module would have to be compiled.
var errNotCached = errors.New("not in the cache")

// loaded is a module that was loaded from the cache. Closing it frees its code.
type loaded struct {
	rt       wazero.Runtime
	compiled wazero.CompiledModule
	cache    wazero.CompilationCache
	image    *image // of its memory
}

func (l *loaded) close(ctx context.Context) error {
	return errors.Join(l.compiled.Close(ctx), l.rt.Close(ctx), l.cache.Close(ctx), l.image.close())
}

// cacheMu: wazero finds out its own version on first use, unguarded.
var cacheMu sync.Mutex

// load loads the machine code of a rewritten module from the cache; it never
// compiles. wazero looks into the cache before it looks at the context, and
// with several workers it looks at the context before it compiles a function:
// under a context that is over, what is not cached ends with the context's
// cause.
func (c *cache) load(code []byte, native int64) (*loaded, error) {
	folder := nativeFolder(c.dir, code)
	if err := checkNative(folder, native); err != nil {
		return nil, err
	}
	cacheMu.Lock()
	codes, err := wazero.NewCompilationCacheWithDir(folder)
	cacheMu.Unlock()
	if err != nil {
		return nil, err
	}
	const any2 = 2
	ctx, cancel := context.WithCancelCause(experimental.WithCompilationWorkers(context.Background(), any2))
	cancel(errNotCached)
	rt, compiled, err := compileWith(ctx, instrumentation().configure(wazero.NewRuntimeConfigCompiler()), codes, code)
	if err != nil {
		return nil, errors.Join(err, codes.Close(context.Background()))
	}
	begin, err := meter.ImageOf(code)
	if err != nil { // what was loaded has been read whole
		return nil, errors.Join(err, rt.Close(context.Background()), codes.Close(context.Background()))
	}
	c.touch(folder)
	return &loaded{rt, compiled, codes, newImage(begin, c.log)}, nil
}

// obtain gives the machine code of a module: from the cache, or else compiled
// by a process of our own that fills the cache.
func (r *Runtime) obtain(ctx context.Context, source, digest string, wasm []byte) (*loaded, error) {
	const tries = 3 // what one process puts into the cache another may throw out
	var last error
	compiled := false
	for range tries {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if code := r.cache.code(digest); code != nil {
			l, err := r.cache.load(code, r.job.native())
			if err == nil {
				if !compiled {
					r.hits.Add(1)
				}
				return l, nil
			}
			last = err
			r.cache.drop(digest, code)
		}
		if !compiled {
			r.misses.Add(1)
		}
		compiled = true
		if err := r.compile(ctx, r.job, source, digest, wasm); err != nil {
			return nil, err
		}
	}
	if last == nil {
		last = errNotCached
	}
	e := refuse(source, StepCompile, fmt.Sprintf("the cache folder %s does not keep what is put into it: %v", r.cache.dir, last), "give another with [wasakari] cache_dir, or raise "+optionCache)
	e.Err = last
	return nil, e
}

// explain validates a module that is refused for another reason: one that is
// not even valid had better be built again.
func (r *Runtime) explain(ctx context.Context, refusal error, source string, wasm []byte) error {
	job := r.job
	job.ValidateOnly = true
	var e *AdmissionError
	if err := r.compile(ctx, job, source, "", wasm); errors.As(err, &e) && e.Step == StepValidate {
		return err
	}
	return refusal
}

// compile lets a compiler do a job, which fills the cache with a module.
func (r *Runtime) compile(ctx context.Context, job compileJob, source, digest string, wasm []byte) error {
	select {
	case r.compilers <- struct{}{}:
		defer func() { <-r.compilers }()
	case <-ctx.Done():
		return ctx.Err()
	}
	staging, err := r.cache.stage()
	if err != nil {
		return fmt.Errorf("%s: %w", source, err)
	}
	defer os.RemoveAll(staging) //nolint:errcheck // what stays is thrown out later
	job.Staging = staging
	var result compileResult
	if r.inProcess {
		result = compileTo(ctx, job, wasm)
		if ctx.Err() != nil {
			return ctx.Err()
		}
	} else if result, err = r.startCompiler(ctx, job, wasm); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		e := refuse(source, StepCompile, err.Error(), "")
		if e.Err = err; errors.As(err, new(*LimitError)) {
			e.Hint = hintSimplify
		}
		return e
	}
	switch {
	case result.NoMemory:
		return refuseLimit(source, job.memoryError(), hintSimplify)
	case result.TooLarge:
		return refuseLimit(source, job.nativeError(), hintSmaller)
	case result.Step == StepValidate:
		return refuse(source, StepValidate, "not valid WebAssembly: "+clip([]byte(result.Reason), maxText), hintInvalid)
	case result.Step == StepComplexity:
		return refuse(source, StepComplexity, clip([]byte(result.Reason), maxText), hintInvalid)
	case result.Step != "":
		return refuse(source, result.Step, clip([]byte(result.Reason), maxText), "")
	}
	if job.ValidateOnly {
		return nil
	}
	if err := r.cache.adopt(staging, digest); err != nil {
		return fmt.Errorf("%s: %w", source, err)
	}
	return nil
}

func refuseLimit(source string, limit *LimitError, hint string) *AdmissionError {
	e := refuse(source, StepCompile, limit.Error(), hint)
	e.Err = limit
	return e
}

func (j compileJob) memoryError() *LimitError {
	return &LimitError{Limit: "compile memory", Value: size(j.Memory), Option: optionCompileMemory}
}

func (j compileJob) nativeError() *LimitError {
	return &LimitError{Limit: "machine code", Value: size(j.native()) + ", half of the compile memory", Option: optionCompileMemory}
}

func (j compileJob) timeError() *LimitError {
	return &LimitError{Limit: "compile time", Value: (time.Duration(j.Seconds) * time.Second).String(), Option: optionCompileTime}
}

// encode writes what the compiler reads.
func (j compileJob) encode(wasm []byte) (io.Reader, error) {
	j.Bytes = int64(len(wasm))
	head, err := json.Marshal(j)
	if err != nil {
		return nil, err
	}
	return io.MultiReader(bytes.NewReader(append(head, '\n')), bytes.NewReader(wasm)), nil
}

// capped keeps the beginning of what is written to it.
type capped struct {
	bytes.Buffer
	most int
}

func (c *capped) Write(p []byte) (int, error) {
	c.Buffer.Write(p[:min(len(p), c.most-c.Len())])
	return len(p), nil
}

// broken says how a compiler ended that gave no answer. diag is what it wrote
// to its standard error.
func (j compileJob) broken(end string, diag string) error {
	for _, sign := range []string{
		"out of memory", "cannot allocate memory", "failed to create new OS thread", "pthread_create failed",
		"failed to allocate", "address space collisions", // with the race detector
		// Go's runtime itself, whose collector does not look whether it got what it
		// asked for. What is wrong elsewhere is a panic.
		"\nSIGSEGV: ", "fatal error: unexpected signal during runtime execution",
	} {
		if strings.Contains("\n"+diag, sign) {
			return j.memoryError()
		}
	}
	text := "the compiler gave up: " + end
	if line, _, _ := strings.Cut(strings.TrimSpace(diag), "\n"); line != "" {
		text += ": " + line
	}
	return errors.New(printableLines(clip([]byte(text), maxText)))
}

// nativeFolder is where the machine code of a rewritten module is kept.
func nativeFolder(dir string, code []byte) string {
	digest := sha256.Sum256(code)
	return filepath.Join(dir, nativePrefix+hex.EncodeToString(digest[:]))
}
