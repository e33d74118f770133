package hostile_test

import (
	"context"
	"os"
	goruntime "runtime"
	"strings"
	"testing"
	"time"

	"github.com/wasakari/wasakari/internal/testwasm"
	"github.com/wasakari/wasakari/runtime"
)

// How many attacks there must be, the two folders counted apart, and how often
// they are made against one process.
const (
	fewest = 250
	rounds = 1000
	// compiled is how many of a quarter of them go through a compiler of their own.
	compiled = 4
)

// A thousand attacks of all kinds leave nothing behind: no goroutine, no file,
// no mapping, no memory. A task that means well runs then as it did before.
func TestRounds(t *testing.T) {
	var all []attack
	for _, g := range groups {
		all = append(all, g.attacks...)
	}
	if len(all) < fewest {
		t.Errorf("%d attacks, want at least %d", len(all), fewest)
	}
	// Every attack has its turn, and those of a kind do not follow one another.
	const step = 7919 // prime, and so without a common divisor
	next, cache := 0, t.TempDir()
	round := func(t *testing.T, n int, compiler bool) {
		c := newCellWith(t, runtime.Config{CacheDir: cache, CompileInProcess: !compiler})
		for range n {
			a := all[next*step%len(all)]
			next++
			if problem := c.perform(t.Context(), a); problem != "" {
				t.Fatalf("%s: the guest %s\n%s", a.name, a.does, problem)
			}
		}
		c.wellMeant(t)
		c.close(t)
	}
	round(t, len(all), false) // what the first time costs, such as buffers of the logger, stays
	round(t, compiled, true)
	before := measure()
	for done := 0; done < rounds; done += rounds / 4 {
		round(t, rounds/4-compiled, false)
		round(t, compiled, true)
	}
	// The collector unmaps compiled code and ends watchers in its own time.
	var after usage
	for end := time.Now().Add(30 * time.Second); ; goruntime.Gosched() {
		if after = measure(); after.within(before) || time.Now().After(end) {
			break
		}
	}
	if !after.within(before) {
		t.Errorf("left behind\n got %+v\nwant %+v, but for some pages", after, before)
	}
}

// usage is what a process holds.
type usage struct {
	goroutines, files, mappings int
	live                        uint64 // bytes on the heap after a collection
}

func measure() usage {
	goruntime.GC()
	goruntime.GC() // finalizers of the first ran before the second ends
	var m goruntime.MemStats
	goruntime.ReadMemStats(&m)
	u := usage{goroutines: goruntime.NumGoroutine(), live: m.HeapAlloc}
	if files, err := os.ReadDir("/proc/self/fd"); err == nil {
		u.files = len(files)
	}
	if maps, err := os.ReadFile("/proc/self/maps"); err == nil {
		u.mappings = strings.Count(string(maps), "\n")
	}
	return u
}

// What may grow although nothing is left behind: pools of the standard library,
// and mappings of Go's heap and of the race detector's shadow of it. Less than
// one attack in fifty may leave a mapping.
const (
	slack        = 256 << 10
	moreMappings = rounds / 50
)

func (u usage) within(before usage) bool {
	return u.goroutines <= before.goroutines && u.files <= before.files && u.mappings <= before.mappings+moreMappings && u.live <= before.live+slack
}

// wellMeant runs a task that does nothing wrong.
func (c *cell) wellMeant(t *testing.T) {
	t.Helper()
	m, err := c.runtime.Admit(t.Context(), "good.wasm", testwasm.Module("change_once"))
	if err != nil {
		t.Fatal(err)
	}
	h := &host{}
	if res, err := m.Run(t.Context(), runtime.Call{Key: testwasm.Key, Host: h}); err != nil || res.HostCalls != 1 {
		t.Errorf("a task that means well: %+v, %v", res, err)
	}
}

func (c *cell) close(t *testing.T) {
	t.Helper()
	if err := c.runtime.Close(context.Background()); err != nil {
		t.Errorf("close: %v", err)
	}
}

// Whatever lengths a guest passes, the host copies what it may need of them,
// and not the guest's memory.
func TestCopies(t *testing.T) {
	c := newCell(t, t.TempDir())
	m, err := c.runtime.Admit(t.Context(), "op_flood.wasm", guest("op_flood"))
	if err != nil {
		t.Fatal(err)
	}
	var before, after goruntime.MemStats
	goruntime.ReadMemStats(&before)
	if _, err := m.Run(t.Context(), runtime.Call{Key: testwasm.Key, Host: &host{}, Limits: runtime.Limits{LogLines: 1}}); err != nil {
		t.Fatal(err)
	}
	goruntime.ReadMemStats(&after)
	const most = 64 << 20 // which is what a single copy would take
	if got := after.TotalAlloc - before.TotalAlloc; got > most {
		t.Errorf("100 calls with 64 MiB each made the host allocate %d bytes, want at most %d", got, most)
	}
}
