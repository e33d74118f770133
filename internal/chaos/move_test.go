//go:build chaos

package chaos

import (
	"context"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestMoveToCluster moves a node's own store to a cluster in the midst of its
// work, as docs/operation.md tells.
func TestMoveToCluster(t *testing.T) {
	t.Parallel()
	p := plan{auto: names("auto", 6), process: names("process", 3), plain: names("plain", 4), spare: names("spare", 3), each: 3, plainEach: 6}
	v, err := newNova(p.scenario(int64(*seedFlag)), int64(*seedFlag))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = v.close() })
	home := v.serversOf()
	c := newCluster(t, v, 0, 1, nil)
	old := c.nodes[0]
	m := &monitor{nodes: c.nodes}
	if err := m.segments(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	notes := draw(p, v, rand.New(rand.NewPCG(*seedFlag, 1)), 60)
	m.send(t.Context(), notes[:len(notes)/2], 4*time.Second, *seedFlag)
	if err := old.end(); err != nil {
		t.Fatal(err)
	}

	if err := c.startEtcd(3); err != nil {
		t.Fatal(err)
	}
	if err := c.makeNodes(3); err != nil {
		t.Fatal(err)
	}
	fresh := c.nodes[1:]
	backup := filepath.Join(c.dir, "wasakari.backup")
	command := func(n *node, args ...string) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), n.path, append(args, "--config-file", n.args[2], backup)...)
		cmd.Env = n.env
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
	command(old, "store", "backup")
	command(fresh[0], "store", "restore")
	if info, err := os.Stat(backup); err != nil || info.Mode().Perm()&0o077 != 0 {
		t.Errorf("the backup is for others too: %v %v", info.Mode(), err)
	}

	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	t.Cleanup(all.Wait)
	t.Cleanup(cancel)
	h, err := follow(ctx, c.clients, &all)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.etcd.Close() })
	for _, n := range fresh {
		if err := n.start(); err != nil {
			t.Fatal(err)
		}
	}
	for _, n := range fresh {
		c.await(time.Minute, n.name+" is ready", n.ready)
	}
	m.nodes = fresh
	m.send(t.Context(), notes[len(notes)/2:], 4*time.Second, *seedFlag)
	c.await(2*time.Minute, "every accepted notification is final", func(ctx context.Context) error { return m.pending(ctx, fresh[0]) })
	for _, n := range fresh {
		if err := n.end(); err != nil {
			t.Error(err)
		}
	}
	c.await(20*time.Second, "history", h.complete)
	h.mu.Lock()
	defer h.mu.Unlock()
	report(t, "notifications that were accepted and are not there, or not final", h.unfinished(m))
	report(t, "left in the store", h.left())
	report(t, "evacuated twice at once", secondEvacuations(v.changes()))
	report(t, "servers", serversAtEnd(v, m, h, home))
	report(t, "logs", panics(c))
	t.Logf("%s", m.tally())
}
