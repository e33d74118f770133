package main

import (
	"context"
	"errors"
	"os"

	"go.uber.org/zap"

	"github.com/wasakari/wasakari/abi"
	"github.com/wasakari/wasakari/internal/scripts"
	"github.com/wasakari/wasakari/runtime"
)

// buildScript packs a script and what it needs of the files beside it into a
// module. file may be a folder in Python. notes are for the author.
func buildScript(ctx context.Context, w world, file, manifestFile string) (wasm []byte, m *abi.Manifest, notes []string, err error) {
	src, err := scripts.Collect(file)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil, nil, nil, usagef("%s: %w", file, bare(err))
	case errors.Is(err, scripts.ErrSource) && scripts.Language(file) == "javascript":
		return nil, nil, nil, err // it says where, as a compiler does
	case err != nil:
		return nil, nil, nil, usagef("%s: %w", file, err)
	}
	if manifestFile != "" {
		if src.Manifest, err = manifestJSON(manifestFile); err != nil {
			return nil, nil, nil, err
		}
	}
	err = withRuntime(ctx, w, func(rt *runtime.Runtime) error {
		wasm, m, notes, err = scripts.Build(ctx, rt, src)
		return err
	})
	var manifest *abi.ManifestError
	switch {
	case errors.As(err, &manifest) && manifestFile != "":
		err = &usageError{located(manifestFile, err)}
	case errors.As(err, &manifest), errors.As(err, new(*runtime.AdmissionError)):
		err = &usageError{located(file, err)}
	}
	if err != nil {
		return nil, nil, nil, err
	}
	for _, mt := range m.Tasks {
		if err := ownOptions(taskOf(m, mt, file, false)); err != nil {
			return nil, nil, nil, &usageError{err}
		}
	}
	return wasm, m, notes, nil
}

// withRuntime gives work a Runtime whose cache is the user's.
func withRuntime(ctx context.Context, w world, work func(*runtime.Runtime) error) error {
	st := newStock(w, "", zap.NewNop())
	rt, err := authorRuntime(runtime.Config{MaxModuleBytes: maxModuleRead, Engines: st.carried, OtherEngine: st.other}, "", w)
	if err != nil {
		return err
	}
	err = work(rt)
	return errors.Join(err, closeRuntime(ctx, rt))
}

// authorRuntime makes a Runtime for building and testing, with the cache that
// configured names. Where it is "", the user's own: one that is no good keeps
// nobody from either.
func authorRuntime(rc runtime.Config, configured string, w world) (*runtime.Runtime, error) {
	var err error
	if rc.CacheDir, err = cacheFolder(configured, w, zap.NewNop()); err != nil {
		return nil, err
	}
	rc.Compiler = w.compiler
	rt, err := runtime.New(rc)
	if err != nil && configured == "" {
		rc.CacheDir = ""
		rt, err = runtime.New(rc)
	}
	return rt, err
}
