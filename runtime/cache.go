package runtime

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/tetratelabs/wazero"
)

// openCache opens the cache of compiled modules in dir; "" keeps it in memory.
//
// The entries are keyed on the instrumented bytes, wazero's version, and the
// processor. They are machine code: whoever can write here runs code as us.
func openCache(dir string) (wazero.CompilationCache, error) {
	if dir == "" {
		return wazero.NewCompilationCache(), nil
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("cache folder: %w", err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("cache folder: %w", err)
	}
	// wazero keeps its entries in folders of its own, one for each version. What
	// lies there from a time when others could write is theirs still.
	err = filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err == nil {
			err = checkPrivate(path)
		}
		if errors.Is(err, fs.ErrNotExist) { // another process put it in place, or away
			return nil
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	cache, err := wazero.NewCompilationCacheWithDir(dir)
	if err != nil {
		return nil, fmt.Errorf("cache folder %s: %w", dir, err)
	}
	return cache, nil
}

// checkPrivate refuses what belongs to somebody else or can be written by
// others. Symbolic links are refused: their target can change.
func checkPrivate(path string) error {
	info, err := os.Lstat(path)
	if err != nil {
		return fmt.Errorf("cache folder: %w", err)
	}
	const mend = "it holds machine code that this process runs"
	if info.Mode()&fs.ModeSymlink != 0 {
		return fmt.Errorf("cache folder %s is a symbolic link: name its target instead; %s", path, mend)
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok && int(st.Uid) != os.Geteuid() {
		return fmt.Errorf("cache folder %s belongs to user %d, not to user %d who runs this: choose another or change its owner; %s",
			path, st.Uid, os.Geteuid(), mend)
	}
	if mode := info.Mode().Perm(); mode&0o022 != 0 {
		return fmt.Errorf("cache folder %s has mode %04o, so others can write to it: chmod 700 %s and remove what is in it; %s",
			path, mode, path, mend)
	}
	return nil
}
