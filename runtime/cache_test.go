package runtime_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wasakari/wasakari/internal/testwasm"
	"github.com/wasakari/wasakari/runtime"
)

// filesIn lists the files below a folder.
func filesIn(t *testing.T, dir string) []string {
	t.Helper()
	var files []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			files = append(files, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// An admission leaves nothing behind that a later one could trip over.
func TestCache(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "cache", "wasm")
	var before []string
	for range 2 {
		r := newRuntime(t, runtime.Config{CacheDir: dir})
		m := admit(t, r, "noop")
		if _, err := m.Run(t.Context(), runtime.Call{Key: testwasm.Key, Host: &host{}}); err != nil {
			t.Error(err)
		}
		if err := r.Close(t.Context()); err != nil {
			t.Error(err)
		}
		files := filesIn(t, dir)
		if got, want := len(files), 3; got != want { // the module, its machine code, its checksum
			t.Errorf("%d files, want %d: %v", got, want, files)
		}
		if before != nil && strings.Join(files, " ") != strings.Join(before, " ") {
			t.Errorf("files\n got %v\nwant %v", files, before)
		}
		before = files
	}
	info, err := os.Stat(dir)
	if err != nil {
		t.Fatal(err)
	}
	if got := info.Mode().Perm(); got != 0o700 {
		t.Errorf("mode of the cache folder = %o, want 700", got)
	}
}

// Without a folder, what is compiled lasts as long as the Runtime.
func TestCacheOfNoFolder(t *testing.T) {
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	r := newRuntime(t, runtime.Config{})
	admit(t, r, "noop")
	found := filesIn(t, temp)
	if len(found) == 0 {
		t.Error("nothing in the folder for temporary files")
	}
	if err := r.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if left, _ := os.ReadDir(temp); len(left) > 0 {
		t.Errorf("left after Close: %v", left)
	}
}

// What is damaged, or of another version, is compiled again. A count of
// functions in the head of the machine code, which wazero's checksum does not
// cover, would else make it allocate gigabytes.
func TestCacheDamaged(t *testing.T) {
	damages := map[string]func(b []byte) []byte{
		"empty":     func([]byte) []byte { return nil },
		"truncated": func(b []byte) []byte { return b[:len(b)/2] },
		"longer":    func(b []byte) []byte { return append(b, 0) },
		"head":      func(b []byte) []byte { b[6]++; return b },
		"count":     func(b []byte) []byte { return damageAfter(b, "WAZEVO", 1+int(b[6])+3) },
		"last byte": func(b []byte) []byte { b[len(b)-1]++; return b },
	}
	for name, damage := range damages {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			use := func() {
				t.Helper()
				m := admit(t, newRuntime(t, runtime.Config{CacheDir: dir}), "noop")
				if _, err := m.Run(t.Context(), runtime.Call{Key: testwasm.Key, Host: &host{}}); err != nil {
					t.Fatal(err)
				}
			}
			use()
			for _, file := range filesIn(t, dir) {
				good, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(file, damage([]byte(string(good))), 0o600); err != nil {
					t.Fatal(err)
				}
				use()
				if mended, err := os.ReadFile(file); err != nil || string(mended) != string(good) {
					t.Errorf("%s was not mended: %v", filepath.Base(file), err)
				}
				if err := os.Remove(file); err != nil {
					t.Fatal(err)
				}
				use()
			}
		})
	}
}

// damageAfter changes the byte at an offset behind a mark; without the mark,
// the first byte.
func damageAfter(b []byte, mark string, offset int) []byte {
	if strings.HasPrefix(string(b), mark) {
		b[len(mark)+offset] ^= 0x7f
	} else {
		b[0] ^= 0x7f
	}
	return b
}

// A cache that gets too large loses what was not used for the longest time, and
// nothing that is not its own.
func TestCacheBound(t *testing.T) {
	dir := t.TempDir()
	own := filepath.Join(dir, "notes.txt")
	if err := os.WriteFile(own, make([]byte, 64<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	names := []string{"noop", "revert", "loop", "unreachable", "read_once"}
	files := map[string][]string{} // made by the admission of a module
	seen := map[string]bool{own: true}
	total := int64(0)
	for _, name := range names {
		admit(t, newRuntime(t, runtime.Config{CacheDir: dir}), name)
		for _, f := range filesIn(t, dir) {
			if seen[f] {
				continue
			}
			seen[f] = true
			files[name] = append(files[name], f)
			info, err := os.Stat(f)
			if err != nil {
				t.Fatal(err)
			}
			total += info.Size()
		}
	}
	// Uses lie apart as they would, whatever the clock of the file system.
	for i, name := range names {
		then := time.Now().Add(time.Duration(i-len(names)) * time.Hour)
		for _, f := range files[name] {
			for _, touched := range []string{f, filepath.Dir(f), filepath.Dir(filepath.Dir(f))} {
				if strings.HasPrefix(touched, dir+"/") {
					if err := os.Chtimes(touched, then, then); err != nil {
						t.Fatal(err)
					}
				}
			}
		}
	}
	r := newRuntime(t, runtime.Config{CacheDir: dir, CacheBytes: total})
	admit(t, r, "noop") // the oldest, until now
	admit(t, r, "recursion")
	there := map[string]bool{}
	for _, f := range filesIn(t, dir) {
		there[f] = true
	}
	if !there[own] {
		t.Error("a stranger's file was removed")
	}
	for i, name := range names {
		left := 0
		for _, f := range files[name] {
			if there[f] {
				left++
			}
		}
		want := len(files[name])
		if name == "revert" {
			want = 0
		}
		if left != want && i < 2 {
			t.Errorf("%s: %d of %d files left, want %d", name, left, len(files[name]), want)
		}
	}
	// What was just made stays, however small the bound.
	tiny := newRuntime(t, runtime.Config{CacheDir: dir, CacheBytes: 1})
	admit(t, tiny, "loop_in_initialize")
	if got, want := len(filesIn(t, dir)), 1+3; got != want {
		t.Errorf("%d files left, want %d", got, want)
	}
}

// Several that fill one cache with the same at once do not get into one
// another's way, nor do those that find it damaged.
func TestCacheShared(t *testing.T) {
	const rounds, together = 20, 4
	for range rounds {
		dir := t.TempDir()
		for _, damaged := range []bool{false, true} {
			if damaged {
				for _, file := range filesIn(t, dir) {
					if err := os.WriteFile(file, nil, 0o600); err != nil {
						t.Fatal(err)
					}
				}
			}
			var all sync.WaitGroup
			for range together {
				r := newRuntime(t, runtime.Config{CacheDir: dir})
				all.Go(func() {
					if _, err := r.Admit(t.Context(), "noop.wasm", testwasm.Module("noop")); err != nil {
						t.Error(err)
					}
				})
			}
			all.Wait()
			if got, want := len(filesIn(t, dir)), 3; got != want {
				t.Errorf("%d files in the cache, want %d", got, want)
			}
		}
	}
}
