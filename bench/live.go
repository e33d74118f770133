package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strings"
	"time"

	"github.com/wasakari/wasakari/bench/internal/workload"
)

// liveSandboxes is how many are held at once.
const liveSandboxes = 1000

// resident is what a child process says: bytes resident before it made its
// sandboxes, the guest being compiled and run once, and with all of them.
type resident struct {
	Before int64 `json:"before"`
	With   int64 `json:"with"`
}

// live asks one child process per peer, so that they do not disturb one
// another.
func (b *bench) live(ctx context.Context) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	for _, l := range []string{"c", "rust"} {
		r := row{
			Case: "live", Clock: memory, Guest: l, Unit: "MB",
			Title: fmt.Sprintf("%d live sandboxes that wait in a host call, %s", liveSandboxes, languageNames[l]),
		}
		if l == "rust" {
			r.Goal, r.GoalValue = "≤ 60 MB", 60
		}
		for _, e := range usual(true) {
			var before, values []float64
			for range b.few() {
				var out, msg bytes.Buffer
				cmd := exec.CommandContext(ctx, self, "-guests", b.guests, "-live", e.peer.name, "-guest", l) // #nosec G204 -- ourselves
				cmd.Stdout, cmd.Stderr = &out, &msg
				if err := cmd.Run(); err != nil {
					return fmt.Errorf("%s, %s: %w: %s", r.Title, e.peer.name, err, &msg)
				}
				var res resident
				if err := json.Unmarshal(out.Bytes(), &res); err != nil {
					return fmt.Errorf("%s, %s: %w", r.Title, e.peer.name, err)
				}
				before = append(before, float64(res.Before)/1e6)
				values = append(values, float64(res.With)/1e6)
			}
			c := cell{Peer: e.peer.name, Way: e.way}
			c.fill(before)
			c.Before = c.Median
			c.fill(values)
			r.Cells = append(r.Cells, c)
		}
		r.ratios()
		b.add(r)
	}
	return nil
}

// liveChild is what the child process of one peer does.
func (b *bench) liveChild(ctx context.Context, name, language string) (resident, error) {
	var res resident
	for _, e := range usual(true) {
		if e.peer.name != name {
			continue
		}
		h, err := newHost(workload.Task, 10, 2<<10)
		if err != nil {
			return res, err
		}
		p, err := b.load(ctx, language, e, h)
		if err != nil {
			return res, err
		}
		if err := p.Task(ctx); err != nil {
			return res, err
		}
		if err := h.set(workload.Hold, 10, 2<<10); err != nil {
			return res, err
		}
		if res.Before, err = residentBytes(); err != nil {
			return res, err
		}
		ended := make(chan error, liveSandboxes)
		for range liveSandboxes {
			go func() { ended <- p.Task(ctx) }()
		}
		for h.held.Load() < liveSandboxes {
			select {
			case err := <-ended:
				return res, fmt.Errorf("a sandbox ended early: %w", err)
			case <-time.After(time.Millisecond):
			}
		}
		if res.With, err = residentBytes(); err != nil {
			return res, err
		}
		close(h.released)
		for range liveSandboxes {
			err = errors.Join(err, <-ended)
		}
		return res, errors.Join(err, p.Close(ctx))
	}
	return res, fmt.Errorf("no peer %q", name)
}

// residentBytes is what the process has in memory once garbage is gone.
func residentBytes() (int64, error) {
	runtime.GC()
	debug.FreeOSMemory()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(status)) {
		var kib int64
		if n, _ := fmt.Sscanf(line, "VmRSS: %d kB", &kib); n == 1 {
			return kib << 10, nil
		}
	}
	return 0, errors.New("/proc/self/status shows no VmRSS")
}
