package runtime

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"go.uber.org/zap"

	"github.com/wasakari/wasakari/internal/regular"
)

// What lies in the cache folder:
//
//	code-KEY        a rewritten module; the key is that of the original bytes
//	                and of the compiler, so its being there says that this
//	                compiler has validated the original
//	native-DIGEST/  its machine code as wazero keeps it, by the digest of the
//	                rewritten bytes, and in "sum" the checksum of that: wazero's
//	                own does not cover all that its decoder believes
//	staging-RANDOM/ what a compiler is about to make
//
// Anything may be missing or damaged at any time: it is compiled again then.
const (
	codePrefix    = "code-"
	nativePrefix  = "native-"
	stagingPrefix = "staging-"
	wazeroPrefix  = "wazero-" // of wazero, and of earlier versions of ours
	codeName      = "code"
	nativeName    = "native"
	sumName       = "sum"
)

// maxCode bounds a rewritten module, in bytes.
const maxCode = 1 << 30

// stagingAge is how old a staging folder gets when nobody is left to remove it.
const stagingAge = 24 * time.Hour

// cache is the folder of compiled modules. They are machine code: whoever can
// write there runs code as us.
type cache struct {
	dir  string
	most int64 // bytes
	temp bool  // removed at the end
	// version is that of the program that validates and rewrites.
	version string
	log     *zap.Logger
}

// openCache opens the cache folder; "" makes a private one for as long as the
// Runtime is open.
func openCache(dir string, most int64, version string, log *zap.Logger) (*cache, error) {
	c := &cache{dir: dir, most: most, version: version, log: log}
	var err error
	if dir == "" {
		c.temp = true
		if c.dir, err = os.MkdirTemp("", "wasakari-cache-"); err != nil {
			return nil, fmt.Errorf("cache folder: %w", err)
		}
		return c, nil
	}
	if c.dir, err = filepath.Abs(dir); err != nil {
		return nil, fmt.Errorf("cache folder: %w", err)
	}
	if err := os.MkdirAll(c.dir, 0o700); err != nil {
		return nil, fmt.Errorf("cache folder: %w", err)
	}
	// What lies there from a time when others could write is theirs still.
	err = filepath.WalkDir(c.dir, func(path string, _ fs.DirEntry, err error) error {
		if err == nil {
			err = checkPrivate(path)
		}
		if errors.Is(err, fs.ErrNotExist) { // another process put it in place, or away
			return nil
		}
		return err
	})
	return c, err
}

func (c *cache) close() error {
	if !c.temp {
		return nil
	}
	return os.RemoveAll(c.dir)
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

// programVersion tells apart programs that may validate or rewrite otherwise:
// what was built from which sources, and which file it is.
var programVersion = sync.OnceValue(func() string {
	info, ok := debug.ReadBuildInfo()
	file, err := os.Executable()
	var st fs.FileInfo
	if err == nil {
		st, err = os.Stat(file)
	}
	if !ok || err != nil { // nothing then outlives the process
		return fmt.Sprintf("process %d of %d", os.Getpid(), time.Now().UnixNano())
	}
	return fmt.Sprintf("%s\n%d %d", info, st.Size(), st.ModTime().UnixNano())
})

// compilerVersion does so for another program than this one, by what is in its
// file.
func compilerVersion(name string) (string, error) {
	f, err := os.Open(name) //nolint:gosec // named by who wrote this program, see Config.Compiler
	if err != nil {
		return "", err
	}
	defer f.Close() //nolint:errcheck // opened for reading
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return "compiler " + hex.EncodeToString(h.Sum(nil)), nil
}

// codeFile is where the rewritten form of a module is kept.
func (c *cache) codeFile(digest string) string {
	key := sha256.Sum256([]byte(c.version + "\n" + digest))
	return filepath.Join(c.dir, codePrefix+hex.EncodeToString(key[:]))
}

// code gives the rewritten form of a module, nil when it is not there.
func (c *cache) code(digest string) []byte {
	name := c.codeFile(digest)
	code, err := regular.Read(name, maxCode)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			c.log.Warn("cached module cannot be read", zap.Error(err))
		}
		return nil
	}
	c.touch(name)
	return code
}

// touch notes that an entry was used.
func (c *cache) touch(name string) {
	now := time.Now()
	_ = os.Chtimes(name, now, now) // at worst it is thrown out too early
}

// drop throws out a module that could not be loaded.
func (c *cache) drop(digest string, code []byte) {
	if err := errors.Join(os.Remove(c.codeFile(digest)), os.RemoveAll(nativeFolder(c.dir, code))); err != nil && !errors.Is(err, fs.ErrNotExist) {
		c.log.Warn("cached module cannot be removed", zap.Error(err))
	}
}

// stage makes a folder for a compiler to fill.
func (c *cache) stage() (string, error) {
	// Whoever cleans up temporary files may have taken the folder away.
	if err := os.MkdirAll(c.dir, 0o700); err != nil {
		return "", fmt.Errorf("cache folder: %w", err)
	}
	return os.MkdirTemp(c.dir, stagingPrefix)
}

// adopt moves what a compiler made to its place, and throws out the oldest
// entries when the cache has become too large.
func (c *cache) adopt(staging, digest string) error {
	code, err := regular.Read(filepath.Join(staging, codeName), maxCode)
	if err != nil {
		return fmt.Errorf("cache folder: %w", err)
	}
	native, file := nativeFolder(c.dir, code), c.codeFile(digest)
	if err := adoptNative(staging, native); err != nil {
		return fmt.Errorf("cache folder: %w", err)
	}
	if err := os.Rename(filepath.Join(staging, codeName), file); err != nil {
		return fmt.Errorf("cache folder: %w", err)
	}
	if err := c.prune(file, native); err != nil {
		c.log.Warn("cache not cleaned", zap.String("folder", c.dir), zap.Error(err))
	}
	return nil
}

// adoptNative moves machine code from a staging folder to its place, if there is
// any. Other processes may do the same, and load what they put there.
func adoptNative(staging, native string) error {
	made, old := filepath.Join(staging, nativeName), filepath.Join(staging, "old")
	for {
		err := os.Rename(made, native)
		if !errors.Is(err, fs.ErrExist) {
			if _, missing := os.Lstat(made); errors.Is(missing, fs.ErrNotExist) {
				return nil // there was none, or it is in its place
			}
			return err
		}
		if checkNative(native, maxCode) == nil {
			return nil // another process was quicker; its code is as good
		}
		// What is damaged gives way at once: to remove it piece by piece would
		// take away what another process puts there meanwhile.
		if err := os.RemoveAll(old); err != nil {
			return err
		}
		if err := os.Rename(native, old); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
}

// entry is something in the cache folder.
type entry struct {
	name string
	size int64
	used time.Time
}

// prune throws out the entries that were not used for the longest time until
// the rest is within the bound, but for those to keep.
func (c *cache) prune(keep ...string) error {
	list, err := os.ReadDir(c.dir)
	if err != nil {
		return err
	}
	var entries []entry
	var errs []error
	total := int64(0)
	for _, e := range list {
		name := filepath.Join(c.dir, e.Name())
		info, err := e.Info()
		if err != nil { // another process threw it out
			continue
		}
		switch {
		case strings.HasPrefix(e.Name(), stagingPrefix):
			if time.Since(info.ModTime()) > stagingAge {
				errs = append(errs, os.RemoveAll(name))
			}
		case strings.HasPrefix(e.Name(), codePrefix), strings.HasPrefix(e.Name(), nativePrefix), strings.HasPrefix(e.Name(), wazeroPrefix):
			n := sizeOf(name)
			total += n
			if !slices.Contains(keep, name) {
				entries = append(entries, entry{name, n, info.ModTime()})
			}
		}
	}
	slices.SortFunc(entries, func(a, b entry) int { return cmp.Or(a.used.Compare(b.used), cmp.Compare(a.name, b.name)) })
	for _, e := range entries {
		if total <= c.most {
			break
		}
		errs = append(errs, os.RemoveAll(e.name))
		total -= e.size
	}
	return errors.Join(errs...)
}

// sizeOf adds up the files below name.
func sizeOf(name string) int64 {
	total := int64(0)
	_ = filepath.WalkDir(name, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return nil
		}
		if info, err := d.Info(); err == nil {
			total += info.Size()
		}
		return nil
	})
	return total
}

// nativeFile finds the one file of machine code in a folder.
func nativeFile(folder string) (string, error) {
	file := ""
	list, err := os.ReadDir(folder)
	for _, e := range list {
		if !strings.HasPrefix(e.Name(), wazeroPrefix) {
			continue
		}
		inner, err := os.ReadDir(filepath.Join(folder, e.Name()))
		if err != nil || len(inner) != 1 || file != "" {
			return "", cmp.Or(err, errNotCached)
		}
		file = filepath.Join(folder, e.Name(), inner[0].Name())
	}
	if file == "" {
		return "", cmp.Or(err, errNotCached)
	}
	return file, nil
}

// sum is the checksum of a file of at most so many bytes, and its size.
func sum(name string, most int64) (string, error) {
	f, err := os.Open(name) //nolint:gosec // a file of the cache
	if err != nil {
		return "", err
	}
	defer f.Close() //nolint:errcheck // opened for reading
	info, err := f.Stat()
	if err != nil {
		return "", err
	}
	if info.Size() > most || !info.Mode().IsRegular() {
		return "", fmt.Errorf("%s has %s, and at most %s are read", name, size(info.Size()), size(most))
	}
	h := crc32.New(crc32.MakeTable(crc32.Castagnoli))
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return fmt.Sprintf("%08x %d\n", h.Sum32(), info.Size()), nil
}

// sumNative writes the checksum of what wazero left in a folder.
func sumNative(folder string) error {
	file, err := nativeFile(folder)
	if err != nil {
		return err
	}
	text, err := sum(file, maxCode)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(folder, sumName), []byte(text), 0o600)
}

// checkNative checks that a folder holds machine code of at most so many
// bytes, unharmed.
func checkNative(folder string, most int64) error {
	const maxSum = 64
	want, err := regular.Read(filepath.Join(folder, sumName), maxSum)
	if errors.Is(err, fs.ErrNotExist) {
		return errNotCached
	}
	if err != nil {
		return err
	}
	file, err := nativeFile(folder)
	if err != nil {
		return err
	}
	got, err := sum(file, most)
	if err != nil {
		return err
	}
	if got != string(want) {
		return fmt.Errorf("%s is damaged", file)
	}
	return nil
}
