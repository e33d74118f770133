//go:build chaos

package chaos

import (
	"context"
	"flag"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"
)

var (
	programs = flag.String("programs", "", "folder with wasakari, built with the tag chaos, and etcd")
	keepFlag = flag.String("keep", "", "folder in which logs and stores are kept")
	logLevel = flag.String("log", "warn", "log level of the nodes")
	timeFlag = flag.Duration("sending", 20*time.Second, "time in which a round's notifications are sent, and things go wrong")
	vmsFlag  = flag.Int("vms", 200, "notifications about servers in a round")
	power    = flag.Bool("power", false, "cut the power: needs root, and ext4")
	seedFlag = flag.Uint64("seed", 1, "seed of the first round")
	lastFlag = flag.Duration("duration", 0, "time after which no further round of the storm begins")
)

func TestMain(m *testing.M) {
	flag.Parse()
	if *programs == "" {
		*programs = filepath.Join("..", "..", "bin", "chaos")
	}
	var err error
	if *programs, err = filepath.Abs(*programs); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

// TestEmbedded kills a node with a store of its own, again and again.
func TestEmbedded(t *testing.T) {
	t.Parallel()
	seed := *seedFlag
	random := rand.New(rand.NewPCG(seed, 1))
	p := plan{auto: names("auto", 4), process: names("process", 4), plain: names("plain", 4), spare: names("spare", 3), each: 3, plainEach: 6}
	v, err := newNova(p.scenario(int64(seed)), int64(seed))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = v.close() })
	c := newCluster(t, v, 0, 1, nil)
	n := c.nodes[0]
	m := &monitor{nodes: c.nodes}
	if err := m.segments(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	notes := draw(p, v, random, 60)
	done := make(chan struct{})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	go func() {
		defer close(done)
		m.send(ctx, notes, 12*time.Second, seed)
	}()
	kills := 0
	for sending := true; sending; {
		select {
		case <-time.After(time.Duration(500+random.IntN(2500)) * time.Millisecond):
			n.kill()
			if err := n.start(); err != nil {
				t.Fatal(err)
			}
			kills++
		case <-done:
			sending = false
		}
	}
	c.await(90*time.Second, "every accepted notification is final", func(ctx context.Context) error { return m.pending(ctx, n) })
	t.Logf("%d kills; %s", kills, m.tally())
	if err := n.end(); err != nil {
		t.Error(err)
	}
}
