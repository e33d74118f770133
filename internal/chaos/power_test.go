//go:build chaos && linux

package chaos

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"
	"unsafe"
)

// disk is a file system of its own. When its power is cut, everything is gone
// that was not synced: ext4 drops what it holds, and what its journal had not
// written.
type disk struct{ image, dir string }

func newDisk(image, dir string) (*disk, error) {
	d := &disk{image, dir}
	f, err := os.Create(image)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(f.Truncate(512<<20), f.Close(), os.MkdirAll(dir, 0o700)); err != nil {
		return nil, err
	}
	if err := command("mkfs.ext4", "-q", "-F", image); err != nil {
		return nil, err
	}
	return d, d.mount()
}

func command(name string, args ...string) error {
	if out, err := exec.CommandContext(context.Background(), name, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", name, err, out)
	}
	return nil
}

func (d *disk) mount() error { return command("mount", "-o", "loop", d.image, d.dir) }

func (d *disk) unmount() error {
	var err error
	for range 50 { // a process that was just killed may hold it for a moment
		if err = command("umount", d.dir); err == nil {
			return nil
		}
		time.Sleep(100 * time.Millisecond)
	}
	return err
}

const (
	shutdownFile = 0x8004587d // EXT4_IOC_SHUTDOWN, linux/ext4.h
	withoutLog   = 2          // EXT4_GOING_FLAGS_NOLOGFLUSH
)

// cut ends the power: from here on nothing can be read or written.
func (d *disk) cut() error {
	f, err := os.Open(d.dir)
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // read only
	how := uint32(withoutLog)
	if _, _, e := syscall.Syscall(syscall.SYS_IOCTL, f.Fd(), shutdownFile, uintptr(unsafe.Pointer(&how))); e != 0 {
		return fmt.Errorf("EXT4_IOC_SHUTDOWN: %w", e)
	}
	return nil
}

// disks gives each program a disk of its own.
type disks struct {
	base string
	mu   sync.Mutex
	all  map[string]*disk
}

// powered skips the test where power cannot be cut, and says why.
func powered(t *testing.T) *disks {
	t.Helper()
	if !*power {
		t.Skip("SKIP: only with -power: make chaos-power")
	}
	if os.Geteuid() != 0 {
		t.Skip("SKIP: mounting needs root")
	}
	for _, tool := range []string{"mkfs.ext4", "mount", "umount"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("SKIP: %v", err)
		}
	}
	ds := &disks{base: t.TempDir(), all: map[string]*disk{}}
	if _, err := ds.place("probe"); err != nil {
		t.Skipf("SKIP: no ext4 on a loop device: %v", err)
	}
	t.Cleanup(func() {
		for _, d := range ds.all {
			if err := d.unmount(); err != nil {
				t.Error(err)
			}
		}
	})
	probe := ds.all["probe"]
	file := filepath.Join(probe.dir, "unsynced")
	if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := probe.cut(); err != nil {
		t.Skipf("SKIP: %v", err)
	}
	if err := errors.Join(probe.unmount(), probe.mount()); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(file); err == nil {
		t.Fatal("what was not synced is still there: this cuts no power")
	}
	return ds
}

func (ds *disks) place(name string) (string, error) {
	ds.mu.Lock()
	defer ds.mu.Unlock()
	d, err := newDisk(filepath.Join(ds.base, name+".img"), filepath.Join(ds.base, name))
	if err != nil {
		return "", err
	}
	ds.all[name] = d
	return d.dir, nil
}

// outage cuts the power of programs, all at the same moment, and gives it back.
func (ds *disks) outage(programs ...*process) error {
	var errs []error
	for _, p := range programs {
		errs = append(errs, ds.all[p.name].cut())
	}
	for _, p := range programs {
		p.kill()
	}
	for _, p := range programs {
		d := ds.all[p.name]
		errs = append(errs, d.unmount(), d.mount(), p.start())
	}
	return errors.Join(errs...)
}

// TestPowerEmbedded cuts the power of a node with a store of its own.
func TestPowerEmbedded(t *testing.T) {
	ds := powered(t)
	seed := *seedFlag
	p := plan{auto: names("auto", 6), process: names("process", 6), plain: names("plain", 6), spare: names("spare", 3), each: 3, plainEach: 6}
	v, err := newNova(p.scenario(int64(seed)), int64(seed))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = v.close() })
	home := v.serversOf()
	c := newCluster(t, v, 0, 1, ds.place)
	n := c.nodes[0]
	m := &monitor{nodes: c.nodes}
	if err := m.segments(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	cuts := during(t, m, draw(p, v, rand.New(rand.NewPCG(seed, 1)), 150), func() error { return ds.outage(&n.process) })
	c.await(2*time.Minute, "every accepted notification is final", func(ctx context.Context) error { return m.pending(ctx, n) })
	if err := n.end(); err != nil {
		t.Error(err)
	}
	report(t, "evacuated twice at once", secondEvacuations(v.changes()))
	report(t, "servers", serversAtEnd(v, m, nil, home))
	t.Logf("%d times no power; %s", cuts, m.tally())
}

// during sends notes, and calls cut every few seconds until all are answered.
func during(t *testing.T, m *monitor, notes []*note, cut func() error) (cuts int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		m.send(ctx, notes, 25*time.Second, *seedFlag)
	}()
	random := rand.New(rand.NewPCG(*seedFlag, 4))
	for {
		select {
		case <-time.After(time.Duration(1000+random.IntN(2500)) * time.Millisecond):
			if err := cut(); err != nil {
				t.Error(err)
			}
			cuts++
		case <-done:
			return cuts
		}
	}
}

// TestPowerCluster cuts the power of one member, or of all at the same moment.
func TestPowerCluster(t *testing.T) {
	ds := powered(t)
	f := prepare(t, plan{
		auto: names("auto", 8), reserve: names("reserve", 2), reserved: names("reserved", 6), process: names("process", 8),
		plain: names("plain", 8), spare: names("spare", 4), each: 3, plainEach: 8,
	}, *seedFlag, ds.place)
	random := rand.New(rand.NewPCG(f.seed, 5))
	cuts := during(t, f.m, draw(f.plan, f.nova, f.random, 200), func() error {
		if random.IntN(2) == 0 {
			return ds.outage(f.members[random.IntN(len(f.members))])
		}
		return ds.outage(f.members...)
	})
	f.finish()
	t.Logf("%d times no power", cuts)
}
