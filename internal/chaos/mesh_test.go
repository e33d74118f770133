//go:build chaos

package chaos

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

// mesh is the network among the members of an etcd cluster. Each advertises a
// door instead of itself; behind it is a link for each of the others, told apart
// by whose the connection is.
type mesh struct {
	members []*process
	doors   []net.Listener
	links   [][]*link // from one that connects to another; nil to itself
	all     sync.WaitGroup
}

// newMesh makes the network for members that listen at the targets.
func newMesh(targets []string) (*mesh, error) {
	m := &mesh{links: make([][]*link, len(targets))}
	for to, target := range targets {
		ln, err := loopback()
		if err != nil {
			return nil, errors.Join(err, m.close())
		}
		m.doors = append(m.doors, ln)
		for from := range targets {
			var l *link
			if from != to {
				l = &link{target: target, late: true, changed: make(chan struct{}), conns: map[net.Conn]struct{}{}}
			}
			m.links[from] = append(m.links[from], l)
		}
		m.all.Go(func() { m.accept(ln, to) })
	}
	return m, nil
}

// url is what a member advertises.
func (m *mesh) url(i int) string { return "http://" + m.doors[i].Addr().String() }

func (m *mesh) accept(ln net.Listener, to int) {
	for {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		m.all.Go(func() {
			from := m.owner(c)
			if from < 0 || from == to {
				_ = c.Close() // its process died
				return
			}
			m.links[from][to].carry(c)
		})
	}
}

// owner gives the number of the member that made a connection, or -1.
func (m *mesh) owner(c net.Conn) int {
	socket := socketOf(c)
	if socket == "" {
		return -1
	}
	for i, p := range m.members {
		files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", p.pid()))
		for _, f := range files {
			if to, err := os.Readlink(f); err == nil && to == socket {
				return i
			}
		}
	}
	return -1
}

// socketOf names the other end of a connection as the files of its process do.
func socketOf(c net.Conn) string {
	hex := func(a net.Addr) string {
		t := a.(*net.TCPAddr)
		ip := t.IP.To4()
		return fmt.Sprintf("%02X%02X%02X%02X:%04X", ip[3], ip[2], ip[1], ip[0], t.Port)
	}
	table, err := os.ReadFile("/proc/net/tcp")
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(table)) {
		if f := strings.Fields(line); len(f) > 9 && f[1] == hex(c.RemoteAddr()) && f[2] == hex(c.LocalAddr()) {
			return "socket:[" + f[9] + "]"
		}
	}
	return ""
}

// way is how members are cut off from one another.
type way int

const (
	apart   way = iota // connections end, and no new ones are made
	lost               // nothing gets through either way, and nobody is told
	unheard            // what the first one says does not get through
	hearsay            // what the others say does not get through to it
)

func (w way) String() string {
	return []string{"refused", "silent", "not heard", "hears nothing"}[w]
}

// cut cuts a member off from others; the func joins them again.
func (m *mesh) cut(member int, others []int, w way) (join func()) {
	// Messages go along the connections that their sender made, and against those
	// that it was asked for.
	out := []trouble{apart: refused, lost: silent, unheard: deaf, hearsay: mute}[w]
	in := []trouble{apart: refused, lost: silent, unheard: mute, hearsay: deaf}[w]
	set := func(out, in trouble) {
		for _, o := range others {
			m.links[member][o].set(out)
			m.links[o][member].set(in)
		}
	}
	set(out, in)
	return func() { set(fine, fine) }
}

func (m *mesh) close() error {
	if m == nil {
		return nil
	}
	var errs []error
	for _, d := range m.doors {
		errs = append(errs, d.Close())
	}
	for _, row := range m.links {
		for _, l := range row {
			if l != nil {
				l.close()
			}
		}
	}
	m.all.Wait()
	return errors.Join(errs...)
}

// TestMesh cuts the leader off, in each way: the others choose another one, and
// agree with it again afterwards.
func TestMesh(t *testing.T) {
	t.Parallel()
	c := newCluster(t, nil, 3, 0, nil)
	etcd, err := clientv3.New(clientv3.Config{Endpoints: c.clients, DialTimeout: 5 * time.Second, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = etcd.Close() })
	// leader asks the members whom they follow: the number of that member.
	leader := func(ctx context.Context, of ...int) (int, error) {
		var first uint64
		at := -1
		for n, i := range of {
			st, err := etcd.Status(ctx, c.clients[i])
			if err != nil {
				return -1, err
			}
			if n > 0 && st.Leader != first || st.Leader == 0 {
				return -1, fmt.Errorf("they follow %x and %x", first, st.Leader)
			}
			first = st.Leader
			if st.Header.MemberId == first {
				at = i
			}
		}
		if at < 0 {
			return -1, fmt.Errorf("they follow %x", first)
		}
		return at, nil
	}
	for w := apart; w <= hearsay; w++ {
		var old int
		c.await(20*time.Second, "a leader", func(ctx context.Context) (err error) {
			old, err = leader(ctx, 0, 1, 2)
			return err
		})
		others := []int{(old + 1) % 3, (old + 2) % 3}
		join := c.mesh.cut(old, others, w)
		c.await(20*time.Second, "another leader than one that is cut off: "+w.String(), func(ctx context.Context) error {
			_, err := leader(ctx, others...)
			return err
		})
		join()
	}
	c.await(20*time.Second, "all follow one leader", func(ctx context.Context) error {
		_, err := leader(ctx, 0, 1, 2)
		return err
	})
}
