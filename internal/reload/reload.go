// Package reload calls a function when files change, or somebody asks for it.
//
// It does not know what is in the files: whoever loads them says whether they
// are any good, and keeps what was there before when they are not.
package reload

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/fsnotify/fsnotify"
	"go.uber.org/zap"
)

// Config says what to watch.
type Config struct {
	// Files lists the files, and the folders whose files count, all of them. They
	// need not be there. It is asked again after each load, so that what a file
	// names can be watched.
	Files func() []string
	// Before is what State told of the files before they were loaded for the first
	// time: what changed since is loaded at once. Defaults to what it tells when
	// Watch begins.
	Before string
	// Signals asks for a load whatever the files say, as SIGHUP does. May be nil.
	Signals <-chan os.Signal
	// Load loads what is there now; why is for people. Its error says that what
	// was loaded before stays. Loads come one after the other.
	Load func(ctx context.Context, why string) error
	// Settle is how long nothing may happen to the files before they are loaded:
	// who writes several has the time.
	//
	// Defaults to 500 milliseconds.
	Settle time.Duration
	// Logger is told of each load, and what cannot be watched. Defaults to
	// zap.NewNop.
	Logger *zap.Logger
}

// most is how many files and folders are watched; those beyond need a signal.
const most = 4096

// Watch loads when something changed, until ctx ends. Where the system gives no
// notice of changes, signals are heard all the same.
//
// Files are compared by what is in them, large ones by size and time, through
// symbolic links: a file that is moved into place counts, and a folder that is
// exchanged as a whole. When a folder that is watched goes away and comes back,
// somebody has to ask for the load.
func Watch(ctx context.Context, c Config) {
	w := &watcher{Config: c}
	if w.Settle <= 0 {
		w.Settle = 500 * time.Millisecond
	}
	if w.Logger == nil {
		w.Logger = zap.NewNop()
	}
	var events <-chan fsnotify.Event
	var errs <-chan error
	if n, err := fsnotify.NewWatcher(); err != nil {
		w.Logger.Warn("files are not watched; send a signal to reload", zap.Error(err))
	} else {
		defer n.Close() //nolint:errcheck // nothing to lose
		w.notices, events, errs = n, n.Events, n.Errors
	}
	w.look()
	if w.Before != "" && w.Before != w.seen {
		w.load(ctx, "a file changed")
	}
	settled := time.NewTimer(0)
	if !settled.Stop() {
		<-settled.C
	}
	for {
		select {
		case <-ctx.Done():
			return
		case s := <-w.Signals:
			w.load(ctx, fmt.Sprint(s))
		case e := <-events:
			if e.Op != fsnotify.Chmod { // as when a file is read by a virus scanner
				settled.Reset(w.Settle)
			}
		case err := <-errs: // too many at once to be told
			w.Logger.Debug("notices of changes were lost", zap.Error(err))
			settled.Reset(w.Settle)
		case <-settled.C:
			before := w.seen
			if w.look(); w.seen != before {
				w.load(ctx, "a file changed")
			}
		}
	}
}

type watcher struct {
	Config
	notices *fsnotify.Watcher // nil: there are none
	seen    string            // what the files looked like
}

func (w *watcher) load(ctx context.Context, why string) {
	// What changes while it is loaded is loaded again.
	w.look()
	began := time.Now()
	if err := w.Load(ctx, why); err != nil {
		w.Logger.Error("not reloaded, what was loaded before stays", zap.String("why", why), zap.Error(err))
	} else {
		w.Logger.Info("reloaded", zap.String("why", why), zap.Duration("took", time.Since(began)))
	}
	w.follow()
}

// look watches what is to be watched and notes what it looks like.
func (w *watcher) look() {
	w.follow()
	w.seen = State(w.Files())
}

// follow watches the folders in which something may happen.
func (w *watcher) follow() {
	if w.notices == nil {
		return
	}
	folders := map[string]bool{}
	for i, name := range w.Files() {
		if i >= most {
			break
		}
		name, err := filepath.Abs(name)
		if err != nil {
			continue
		}
		folders[filepath.Dir(name)] = true
		// The target of a link may change where it is, or the link above it.
		if target, err := filepath.EvalSymlinks(name); err == nil {
			folders[filepath.Dir(target)] = true
			name = target
		}
		if st, err := os.Stat(name); err == nil && st.IsDir() {
			folders[name] = true
		}
	}
	watched := w.notices.WatchList()
	for _, f := range watched {
		if !folders[f] {
			_ = w.notices.Remove(f) // it may be gone
		}
	}
	for f := range folders {
		if slices.Contains(watched, f) {
			continue
		}
		if err := w.notices.Add(f); err != nil {
			w.Logger.Debug("folder not watched", zap.String("folder", f), zap.Error(err))
		}
	}
}

// State describes files, and those in folders, so that it differs when one of
// them was changed. It is never empty.
func State(names []string) string {
	var b strings.Builder
	b.WriteString("files:\n")
	for i, name := range names {
		if i >= most {
			break
		}
		st, err := os.Stat(name)
		if err == nil && st.IsDir() {
			fmt.Fprintf(&b, "%q\n", name)
			entries, _ := os.ReadDir(name) // what can be read counts
			for _, e := range entries[:min(len(entries), most)] {
				below := filepath.Join(name, e.Name())
				if st, err := os.Stat(below); err == nil && st.Mode().IsRegular() {
					describe(&b, below, st)
				}
			}
			continue
		}
		if err == nil && st.Mode().IsRegular() {
			describe(&b, name, st)
		}
	}
	return b.String()
}

// maxCompared bounds the files that are compared by what is in them, in bytes.
const maxCompared = 1 << 20

func describe(b *strings.Builder, name string, st os.FileInfo) {
	if st.Size() <= maxCompared {
		if text, err := os.ReadFile(name); err == nil { //nolint:gosec // whoever runs this names the files
			fmt.Fprintf(b, "%q %x\n", name, sha256.Sum256(text))
			return
		}
	}
	fmt.Fprintf(b, "%q %d %d\n", name, st.Size(), st.ModTime().UnixNano())
}
