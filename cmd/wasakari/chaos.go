//go:build chaos

package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/wasakari/wasakari/store"
)

// The program of internal/chaos: it kills itself right before a durable write
// whose name is that of a file in the folder WASAKARI_CHAOS_KILL. It takes the
// file away before, so that one process dies for each. The name of each first
// write of a kind goes to the file WASAKARI_CHAOS_STEPS. WASAKARI_CHAOS_LEASE,
// WASAKARI_CHAOS_RETENTION and WASAKARI_CHAOS_HOUSE are shorter times than the
// options allow.
func init() {
	tuneStore = func(c *store.Config) {
		for name, into := range map[string]*time.Duration{
			"WASAKARI_CHAOS_LEASE": &c.LeaseTTL, "WASAKARI_CHAOS_RETENTION": &c.Retention, "WASAKARI_CHAOS_HOUSE": &c.HouseEvery,
		} {
			if d, err := time.ParseDuration(os.Getenv(name)); err == nil {
				*into = d
			}
		}
		k := &killer{dir: os.Getenv("WASAKARI_CHAOS_KILL"), seen: map[string]bool{}, file: os.Getenv("WASAKARI_CHAOS_STEPS")}
		c.Step = k.step
	}
}

type killer struct {
	dir  string
	mu   sync.Mutex
	seen map[string]bool
	file string
}

func (k *killer) step(name string) {
	k.mu.Lock()
	if !k.seen[name] {
		k.seen[name] = true
		k.tell("step " + name)
	}
	if k.dir == "" || os.Remove(filepath.Join(k.dir, name)) != nil {
		k.mu.Unlock()
		return
	}
	// Nothing else is written by this process: the lock is kept.
	k.tell("killed " + name)
	// Half of the time what is under way elsewhere in the process goes on a little.
	if d := time.Duration(rand.IntN(40)-20) * time.Millisecond; d > 0 { //nolint:gosec // no secret
		time.Sleep(d)
	}
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {}
}

func (k *killer) tell(line string) {
	f, err := os.OpenFile(k.file, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return
	}
	fmt.Fprintln(f, line)
	_ = f.Close()
}
