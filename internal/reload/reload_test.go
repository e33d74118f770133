package reload_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"
	"go.uber.org/zap/zaptest/observer"

	"github.com/wasakari/wasakari/internal/reload"
)

// loads is a Watch at work; each load tells what the file said and why.
type loads struct {
	t       *testing.T
	dir     string
	c       reload.Config
	signals chan os.Signal
	told    chan string
	fail    chan error // the answer of the next load
	end     context.CancelFunc
	ended   chan struct{}
}

func start(t *testing.T, change func(*loads)) *loads {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	l := &loads{
		t: t, dir: t.TempDir(), signals: make(chan os.Signal, 1), told: make(chan string, 1000), fail: make(chan error, 1),
		end: cancel, ended: make(chan struct{}),
	}
	l.write("a.conf", "one")
	l.c = reload.Config{
		Signals: l.signals, Settle: time.Millisecond, Logger: zaptest.NewLogger(t),
		Files: func() []string { return []string{filepath.Join(l.dir, "a.conf")} },
		Load: func(_ context.Context, why string) error {
			select {
			case err := <-l.fail:
				l.told <- "failed"
				return err
			default:
			}
			text, _ := os.ReadFile(filepath.Join(l.dir, "a.conf"))
			l.told <- why + ": " + string(text)
			return nil
		},
	}
	if change != nil {
		change(l)
	}
	go func() { defer close(l.ended); reload.Watch(ctx, l.c) }()
	t.Cleanup(func() { cancel(); <-l.ended })
	l.signals <- syscall.SIGHUP // after its load, the files are known and watched
	<-l.told
	return l
}

// write puts a file into place, whole.
func (l *loads) write(name, text string) {
	l.t.Helper()
	temp := filepath.Join(l.t.TempDir(), "temp")
	if err := errors.Join(os.WriteFile(temp, []byte(text), 0o600), os.Rename(temp, filepath.Join(l.dir, name))); err != nil {
		l.t.Fatal(err)
	}
}

// overwrite writes a file where it stands.
func (l *loads) overwrite(name, text string) {
	l.t.Helper()
	if err := os.WriteFile(filepath.Join(l.dir, name), []byte(text), 0o600); err != nil {
		l.t.Fatal(err)
	}
}

// until waits for a load that tells so; others before it are as good.
func (l *loads) until(want string) {
	l.t.Helper()
	for got := range l.told {
		if got == want {
			return
		}
		l.t.Logf("before it: %s", got)
	}
}

// next waits for the next load.
func (l *loads) next(want string) {
	l.t.Helper()
	if got := <-l.told; got != want {
		l.t.Errorf("load %q, want %q", got, want)
	}
}

// signal asks for a load, so that whatever was noticed before it was told of.
func (l *loads) signal(want string) {
	l.t.Helper()
	l.signals <- syscall.SIGHUP
	l.next(want)
}

func TestSignal(t *testing.T) {
	l := start(t, nil)
	l.signal("hangup: one")
	l.signal("hangup: one") // nothing need have changed
}

func TestFileChanges(t *testing.T) {
	tests := []struct {
		name   string
		change func(l *loads) error
	}{
		{"written", func(l *loads) error { l.overwrite("a.conf", "two"); return nil }},
		{"moved into place", func(l *loads) error { l.write("a.conf", "two"); return nil }},
		{"removed and made again", func(l *loads) error {
			if err := os.Remove(filepath.Join(l.dir, "a.conf")); err != nil {
				return err
			}
			l.until("a file changed: ")
			l.write("a.conf", "two")
			return nil
		}},
		{"many writes", func(l *loads) error {
			for range 100 {
				l.overwrite("a.conf", "half")
			}
			l.overwrite("a.conf", "two")
			return nil
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := start(t, nil)
			if err := tt.change(l); err != nil {
				t.Fatal(err)
			}
			l.until("a file changed: two")
		})
	}
}

// What changes nothing in the files loads nothing.
func TestNoChange(t *testing.T) {
	l := start(t, nil)
	l.write("a.conf", "one")
	l.write("other.conf", "x")
	if err := os.Chmod(filepath.Join(l.dir, "a.conf"), 0o644); err != nil {
		t.Fatal(err)
	}
	l.signal("hangup: one")
	l.write("a.conf", "two")
	l.until("a file changed: two")
}

// A link to a folder that is exchanged as a whole, as containers do it.
func TestLinksThatMove(t *testing.T) {
	l := start(t, func(l *loads) {
		for _, name := range []string{"v1", "v2"} {
			if err := os.Mkdir(filepath.Join(l.dir, name), 0o700); err != nil {
				t.Fatal(err)
			}
			l.write(name+"/a.conf", name)
		}
		for _, err := range []error{
			os.Symlink("v1", filepath.Join(l.dir, "data")), os.Remove(filepath.Join(l.dir, "a.conf")),
			os.Symlink("data/a.conf", filepath.Join(l.dir, "a.conf")),
		} {
			if err != nil {
				t.Fatal(err)
			}
		}
	})
	if err := errors.Join(os.Symlink("v2", filepath.Join(l.dir, "new")), os.Rename(filepath.Join(l.dir, "new"), filepath.Join(l.dir, "data"))); err != nil {
		t.Fatal(err)
	}
	l.until("a file changed: v2")
	l.write("v2/a.conf", "v3") // what it leads to now is watched
	l.until("a file changed: v3")
}

// All files of a folder count, and what a load names is watched from then on.
func TestFolderAndFilesNamedLater(t *testing.T) {
	more := filepath.Join(t.TempDir(), "later")
	l := start(t, func(l *loads) {
		l.c.Files = func() []string {
			files := []string{l.dir}
			if text, _ := os.ReadFile(filepath.Join(l.dir, "a.conf")); string(text) == "more" {
				files = append(files, more)
			}
			return files
		}
	})
	l.write("b.conf", "x")
	l.next("a file changed: one")
	l.write("a.conf", "more")
	l.until("a file changed: more")
	l.signals <- syscall.SIGHUP // after its load, the load before is over and its files are watched
	l.until("hangup: more")
	if err := os.WriteFile(more, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	l.until("a file changed: more")
}

// What changed between the first load and the beginning of Watch is loaded.
func TestChangedBefore(t *testing.T) {
	name := filepath.Join(t.TempDir(), "a.conf")
	files := []string{name}
	before := reload.State(files)
	if err := os.WriteFile(name, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	loads := 0
	reload.Watch(ctx, reload.Config{Files: func() []string { return files }, Before: before, Load: func(context.Context, string) error {
		loads++
		cancel()
		return nil
	}})
	if loads != 1 {
		t.Errorf("%d loads, want 1", loads)
	}
	if got := reload.State(files); got == before || got != reload.State(files) {
		t.Errorf("State = %q, before %q", got, before)
	}
}

// A load that fails is told of as such, and the next one is made all the same.
func TestLoadThatFails(t *testing.T) {
	core, logs := observer.New(zap.InfoLevel)
	l := start(t, func(l *loads) { l.c.Logger = zap.New(core) })
	l.fail <- errors.New("a.conf:1:1: nonsense")
	l.signal("failed")
	l.signal("hangup: one")
	l.end()
	<-l.ended
	var got []string
	for _, e := range logs.All() {
		got = append(got, e.Message)
	}
	if want := "reloaded|not reloaded, what was loaded before stays|reloaded"; strings.Join(got, "|") != want {
		t.Errorf("logged %q, want %q", got, want)
	}
}
