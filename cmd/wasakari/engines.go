package main

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/wasakari/wasakari/abi"
	"github.com/wasakari/wasakari/internal/engines"
	folders "github.com/wasakari/wasakari/internal/folder"
	"github.com/wasakari/wasakari/recovery"
	"github.com/wasakari/wasakari/runtime"
	"github.com/wasakari/wasakari/store"
)

const (
	// maxEngineFiles is how many engines the state folder keeps.
	maxEngineFiles = 16
	// maxEngineFile bounds one that is read from there, packed, in bytes.
	maxEngineFile = 64 << 20
	engineSuffix  = ".wasm.gz"

	hintBuildAgain = "build the module again: wasakari task build takes its source, or the module itself"
)

// engineKeeper keeps engines for all nodes.
type engineKeeper interface {
	KeepEngine(ctx context.Context, e recovery.ModuleEngine, open func(context.Context) ([]byte, error)) error
	KeptEngine(ctx context.Context, digest string) (io.ReadCloser, error)
	KeptEngines(ctx context.Context) ([]recovery.ModuleEngine, error)
}

// stock is where the engines of script modules are: this program carries some, and
// what modules name of them is kept, in the state folder and in a server's store.
// A program of another release finds them there. Nothing but what a program carried
// gets there: an upload can bring none.
type stock struct {
	carried []runtime.Engine
	dir     string       // folder of engines; empty: none
	store   engineKeeper // nil: there is no server
	log     *zap.Logger
}

// newStock makes the stock of a program without a server; stateDir is what was
// configured.
func newStock(w world, stateDir string, log *zap.Logger) *stock {
	s := &stock{carried: w.carried(), log: log}
	if dir, err := stateFolder(stateDir, w); err == nil {
		s.dir = filepath.Join(dir, "engines")
	}
	return s
}

// carried lists the engines that the program has.
func (w world) carried() []runtime.Engine {
	if w.engines == nil {
		return engines.All()
	}
	return w.engines
}

// other opens an engine that the program does not carry.
func (s *stock) other(ref abi.EngineRef) runtime.Engine {
	return runtime.Engine{Name: ref.Name, Digest: ref.Digest, Stack: engines.Stack, Open: func(ctx context.Context) ([]byte, error) { return s.kept(ctx, ref) }}
}

// unreadEngineError says that nobody can tell now whether an engine is kept: what
// needs it is not refused for good.
type unreadEngineError struct{ err error }

func (e *unreadEngineError) Error() string { return e.err.Error() }
func (e *unreadEngineError) Unwrap() error { return e.err }

// kept gives an engine that is kept. The error matches runtime.ErrNoEngine, or is
// an *unreadEngineError, or says what is wrong with its bytes.
func (s *stock) kept(ctx context.Context, ref abi.EngineRef) ([]byte, error) {
	wasm, err := s.inFolder(ref)
	if err == nil || s.store == nil {
		return wasm, err
	}
	if !errors.Is(err, runtime.ErrNoEngine) {
		s.log.Warn("engine in the state folder is no good", zap.Stringer("engine", &ref), zap.Error(err))
	}
	r, err := s.store.KeptEngine(ctx, ref.Digest)
	if err == nil {
		wasm, err = io.ReadAll(r)
		err = errors.Join(err, r.Close())
	}
	switch {
	case err == nil:
		return wasm, nil
	case errors.Is(err, recovery.ErrNotFound):
		return nil, runtime.ErrNoEngine
	case errors.Is(err, store.ErrDamaged):
		return nil, fmt.Errorf("what the store keeps of it is damaged: %w; %s", err, hintBuildAgain)
	}
	return nil, &unreadEngineError{err}
}

// inFolder gives an engine that the state folder keeps.
func (s *stock) inFolder(ref abi.EngineRef) ([]byte, error) {
	if s.dir == "" {
		return nil, runtime.ErrNoEngine
	}
	file := filepath.Join(s.dir, ref.Digest+engineSuffix)
	packed, err := readFile(file, maxEngineFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, runtime.ErrNoEngine
	}
	var wasm []byte
	if err == nil {
		wasm, err = engines.Unpack(packed)
	}
	if err == nil && digestOf(wasm) != ref.Digest {
		err = fmt.Errorf("its digest is sha256:%s", digestOf(wasm))
	}
	if err != nil {
		return nil, fmt.Errorf("what %s keeps of it is damaged: %w; remove that file, and %s", file, bare(err), hintBuildAgain)
	}
	return wasm, nil
}

// own gives an engine that the program carries.
func (s *stock) own(digest string) (runtime.Engine, bool) {
	i := slices.IndexFunc(s.carried, func(e runtime.Engine) bool { return e.Digest == digest })
	if i < 0 {
		return runtime.Engine{}, false
	}
	return s.carried[i], true
}

// keepInFolder puts an engine that the program carries into the state folder,
// where the next release finds it, and notes that one which is there is used.
func (s *stock) keepInFolder(ctx context.Context, e recovery.ModuleEngine) error {
	if s.dir == "" {
		return nil
	}
	file := filepath.Join(s.dir, e.Digest+engineSuffix)
	if os.Chtimes(file, time.Time{}, time.Now()) == nil {
		return nil
	}
	own, ok := s.own(e.Digest)
	if !ok {
		return nil
	}
	wasm, err := own.Open(ctx)
	if err != nil {
		return err
	}
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	if _, err := z.Write(wasm); err != nil {
		return err
	}
	if err := errors.Join(z.Close(), folders.Own("engine folder", s.dir)); err != nil {
		return err
	}
	if err := writeModule(file, packed.Bytes()); err != nil {
		return err
	}
	return s.prune()
}

// keepInFolderAll puts engines there. What cannot be kept is told, and keeps nothing
// from running.
func (s *stock) keepInFolderAll(ctx context.Context, list []recovery.ModuleEngine) {
	for _, e := range list {
		if err := s.keepInFolder(ctx, e); err != nil {
			s.log.Warn("engine not kept in the state folder", zap.String("engine", e.Name), zap.String("digest", e.Digest), zap.Error(err))
		}
	}
}

// prune removes from the state folder what no program used for the longest time.
func (s *stock) prune() error {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return err
	}
	type file struct {
		name string
		used time.Time
	}
	var files []file
	for _, e := range entries {
		if info, err := e.Info(); err == nil && strings.HasSuffix(e.Name(), engineSuffix) {
			files = append(files, file{e.Name(), info.ModTime()})
		}
	}
	slices.SortFunc(files, func(a, b file) int { return cmp.Or(a.used.Compare(b.used), strings.Compare(a.name, b.name)) })
	for len(files) > maxEngineFiles {
		if err := os.Remove(filepath.Join(s.dir, files[0].name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		files = files[1:]
	}
	return nil
}

// keepInStore puts an engine into the store, where the nodes of other releases find
// it.
func (s *stock) keepInStore(ctx context.Context, e recovery.ModuleEngine) error {
	return s.store.KeepEngine(ctx, e, func(ctx context.Context) ([]byte, error) {
		if own, ok := s.own(e.Digest); ok {
			return own.Open(ctx)
		}
		return s.inFolder(abi.EngineRef{Name: e.Name, Digest: e.Digest})
	})
}

// state says where an engine is; inStore are those that the store keeps.
func (s *stock) state(e recovery.ModuleEngine, inStore []recovery.ModuleEngine) recovery.EngineState {
	if _, ok := s.own(e.Digest); ok {
		return recovery.EngineCarried
	}
	if slices.ContainsFunc(inStore, func(k recovery.ModuleEngine) bool { return k.Digest == e.Digest }) {
		return recovery.EngineKept
	}
	if _, err := s.inFolder(abi.EngineRef{Name: e.Name, Digest: e.Digest}); err == nil {
		return recovery.EngineKept
	}
	return recovery.EngineMissing
}

// engineOf tells of the engine that a module names; nil: it names none.
func engineOf(ref *abi.EngineRef) *recovery.ModuleEngine {
	if ref == nil {
		return nil
	}
	return &recovery.ModuleEngine{Name: ref.Name, Digest: ref.Digest}
}

// engines lists those that the modules name, by digest.
func (c *catalog) engines() []recovery.ModuleEngine {
	byDigest := map[string]recovery.ModuleEngine{}
	for _, m := range c.modules {
		if e := engineOf(m.Info().Engine); e != nil {
			byDigest[e.Digest] = *e
		}
	}
	var list []recovery.ModuleEngine
	for _, digest := range slices.Sorted(maps.Keys(byDigest)) {
		list = append(list, byDigest[digest])
	}
	return list
}

// unreadEngine gives the first of several errors that tells of an engine that
// could not be read.
func unreadEngine(errs []error) error {
	for _, err := range errs {
		if _, ok := errors.AsType[*unreadEngineError](err); ok {
			return err
		}
	}
	return nil
}

// engineNote says which engine a module names, and where it is; empty: it names
// none.
func engineNote(e *recovery.ModuleEngine) string {
	if e == nil {
		return ""
	}
	text := e.Name + " sha256:" + e.Digest
	switch e.State {
	case recovery.EngineKept:
		return text + ", of another release, which is kept"
	case recovery.EngineMissing:
		return text + ", which is not here: build the module again with wasakari task build"
	}
	return text
}
