package storetest

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

// Etcd is a cluster of etcd processes of the version that this module is built
// with, on loopback ports, for tests. It ends with the test.
type Etcd struct {
	tb      testing.TB
	bin     string
	members []*member
}

type member struct {
	name, dir    string
	client, peer string // URLs
	log          string
	cmd          *exec.Cmd
	exited       chan struct{}
}

// building makes the program once for all tests of a process.
var building struct {
	sync.Once
	bin string
	err error
}

func buildEtcd() (string, error) {
	building.Do(func() {
		dir, err := os.MkdirTemp("", "etcd-")
		if err != nil {
			building.err = err
			return
		}
		building.bin = filepath.Join(dir, "etcd")
		//nolint:gosec // the path is our own
		out, err := exec.CommandContext(context.Background(), "go", "build", "-o", building.bin, "go.etcd.io/etcd/server/v3").CombinedOutput()
		if err != nil {
			building.err = fmt.Errorf("building etcd: %w: %s", err, out)
		}
	})
	return building.bin, building.err
}

// RemoveEtcd removes the program that NewEtcd built; for TestMain.
func RemoveEtcd() {
	if building.bin != "" {
		_ = os.RemoveAll(filepath.Dir(building.bin))
	}
}

// NewEtcd starts a cluster and waits until it serves.
func NewEtcd(tb testing.TB, members int) *Etcd {
	tb.Helper()
	bin, err := buildEtcd()
	if err != nil {
		tb.Fatal(err)
	}
	e := &Etcd{tb: tb, bin: bin}
	dir := tb.TempDir()
	for i := range members {
		name := fmt.Sprintf("m%d", i)
		e.members = append(e.members, &member{
			name: name, dir: filepath.Join(dir, name), log: filepath.Join(dir, name+".log"),
			client: "http://" + freePort(tb), peer: "http://" + freePort(tb),
		})
	}
	tb.Cleanup(func() {
		for i := range e.members {
			e.Kill(i)
		}
	})
	for i := range e.members {
		e.Start(i)
	}
	e.waitReady()
	return e
}

func freePort(tb testing.TB) string {
	tb.Helper()
	l, err := (&net.ListenConfig{}).Listen(tb.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	defer l.Close() //nolint:errcheck // only its number matters
	return l.Addr().String()
}

// Endpoints lists the members' addresses.
func (e *Etcd) Endpoints() []string {
	var out []string
	for _, m := range e.members {
		out = append(out, m.client)
	}
	return out
}

// Start starts a member that does not run.
func (e *Etcd) Start(i int) {
	e.tb.Helper()
	m := e.members[i]
	var peers []string
	for _, p := range e.members {
		peers = append(peers, p.name+"="+p.peer)
	}
	log, err := os.OpenFile(m.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		e.tb.Fatal(err)
	}
	defer log.Close() //nolint:errcheck // the process has its own
	//nolint:gosec // what was just built
	m.cmd = exec.CommandContext(context.WithoutCancel(e.tb.Context()), e.bin,
		"--name", m.name, "--data-dir", m.dir, "--listen-client-urls", m.client, "--advertise-client-urls", m.client,
		"--listen-peer-urls", m.peer, "--initial-advertise-peer-urls", m.peer, "--initial-cluster", strings.Join(peers, ","),
		"--heartbeat-interval", "50", "--election-timeout", "500", "--log-level", "warn")
	m.cmd.Stdout, m.cmd.Stderr = log, log
	if err := m.cmd.Start(); err != nil {
		e.tb.Fatal(err)
	}
	m.exited = make(chan struct{})
	go func(cmd *exec.Cmd, exited chan struct{}) {
		_ = cmd.Wait() // it is killed
		close(exited)
	}(m.cmd, m.exited)
}

func (e *Etcd) signal(i int, s syscall.Signal) {
	if m := e.members[i]; m.cmd != nil && m.cmd.Process != nil {
		_ = m.cmd.Process.Signal(s) // it may have ended
	}
}

// Kill kills a member, as a crash does, and waits until it is gone.
func (e *Etcd) Kill(i int) {
	e.signal(i, syscall.SIGKILL)
	if m := e.members[i]; m.exited != nil {
		<-m.exited
	}
}

// Pause stops a member without ending it; Resume lets it go on.
func (e *Etcd) Pause(i int) { e.signal(i, syscall.SIGSTOP) }

// Resume lets a member go on that was paused.
func (e *Etcd) Resume(i int) { e.signal(i, syscall.SIGCONT) }

// Client gives a client of the whole cluster, for what the store does not do.
func (e *Etcd) Client() *clientv3.Client {
	e.tb.Helper()
	c, err := clientv3.New(clientv3.Config{Endpoints: e.Endpoints(), DialTimeout: 10 * time.Second, Logger: zap.NewNop()})
	if err != nil {
		e.tb.Fatal(err)
	}
	e.tb.Cleanup(func() { _ = c.Close() })
	return c
}

// Leader gives the member that leads.
func (e *Etcd) Leader() int {
	e.tb.Helper()
	c := e.Client()
	for {
		for i, m := range e.members {
			ctx, cancel := context.WithTimeout(e.tb.Context(), time.Second)
			st, err := c.Status(ctx, m.client)
			cancel()
			if err == nil && st.Leader == st.Header.MemberId {
				return i
			}
		}
		if err := e.tb.Context().Err(); err != nil {
			e.tb.Fatal(err)
		}
	}
}

func (e *Etcd) waitReady() {
	e.tb.Helper()
	c := e.Client()
	ctx, cancel := context.WithTimeout(e.tb.Context(), time.Minute)
	defer cancel()
	for {
		try, stop := context.WithTimeout(ctx, time.Second)
		_, err := c.Put(try, "ready", "")
		stop()
		if err == nil {
			return
		}
		if ctx.Err() != nil {
			log, _ := os.ReadFile(e.members[0].log)
			e.tb.Fatalf("etcd does not serve: %v\n%s", err, log)
		}
	}
}
