//go:build chaos

package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/wasakari/wasakari/store"
)

// The program of internal/chaos: it kills itself at the durable writes that
// WASAKARI_CHAOS_KILL lists as name:n, the n-th of that name, and writes the name
// of each first one of a kind to the file WASAKARI_CHAOS_STEPS.
// WASAKARI_CHAOS_LEASE is a shorter lease than the options allow.
func init() {
	tuneStore = func(c *store.Config) {
		if d, err := time.ParseDuration(os.Getenv("WASAKARI_CHAOS_LEASE")); err == nil {
			c.LeaseTTL = d
		}
		k := &killer{at: map[string]int{}, seen: map[string]int{}, file: os.Getenv("WASAKARI_CHAOS_STEPS")}
		for entry := range strings.SplitSeq(os.Getenv("WASAKARI_CHAOS_KILL"), ",") {
			if name, n, ok := strings.Cut(entry, ":"); ok {
				k.at[name], _ = strconv.Atoi(n)
			}
		}
		c.Step = k.step
	}
}

type killer struct {
	mu   sync.Mutex
	at   map[string]int // which one of a name is the last thing that happens
	seen map[string]int
	file string
}

func (k *killer) step(name string) {
	k.mu.Lock()
	k.seen[name]++
	n := k.seen[name]
	if n == 1 {
		k.tell("step " + name)
	}
	if n != k.at[name] {
		k.mu.Unlock()
		return
	}
	// Nothing else is written by this process: the lock is kept.
	k.tell("killed " + name)
	// Half of the time what is under way elsewhere in the process goes on a little.
	if rand.IntN(2) == 0 {
		time.Sleep(time.Duration(rand.IntN(20)) * time.Millisecond)
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
