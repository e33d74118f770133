package store_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"

	"github.com/wasakari/wasakari/recovery"
	"github.com/wasakari/wasakari/store"
	"github.com/wasakari/wasakari/store/storetest"
)

// One cluster serves all tests of this file, each below its own prefix.
var names atomic.Int64

func clusterName() string { return fmt.Sprintf("test/%d", names.Add(1)) }

func openNode(t *testing.T, cfg store.Config) *store.Store {
	t.Helper()
	if cfg.Version == "" {
		cfg.Version = "test"
	}
	s, err := store.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func TestCluster(t *testing.T) {
	etcd := storetest.NewEtcd(t, 3)
	t.Run("suite", func(t *testing.T) {
		storetest.Run(t, func(t *testing.T) *store.Store {
			return openNode(t, store.Config{Endpoints: etcd.Endpoints(), Node: "n1", Cluster: clusterName()})
		})
	})
	for name, test := range map[string]func(*testing.T, *storetest.Etcd){
		"read your writes": testReadYourWrites,
		"fencing":          testFencing,
		"node name":        testNodeName,
		"newer":            testNewer,
		"migration":        testMigration,
		"answers lost":     testAnswersLost,
		"compacted":        testCompacted,
		"tls":              testTLS,
	} {
		t.Run(name, func(t *testing.T) { test(t, etcd) })
	}
	t.Run("members killed", func(t *testing.T) { testMembersKilled(t, etcd) })
}

// What one node wrote another one reads at once.
func testReadYourWrites(t *testing.T, etcd *storetest.Etcd) {
	ctx, name := t.Context(), clusterName()
	a := openNode(t, store.Config{Endpoints: etcd.Endpoints(), Node: "a", Cluster: name})
	b := openNode(t, store.Config{Endpoints: etcd.Endpoints(), Node: "b", Cluster: name})
	for i := range 100 {
		seg, err := a.CreateSegment(ctx, recovery.Segment{Name: fmt.Sprint(i)})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := b.Segment(ctx, seg.UUID); err != nil {
			t.Fatal(err)
		}
		if got, err := b.Segments(ctx); err != nil || len(got) != i+1 {
			t.Fatalf("%d segments, %v, want %d", len(got), err, i+1)
		}
		a, b = b, a
	}
	nodes, err := a.Nodes(ctx)
	if err != nil || len(nodes) != 2 || nodes[0].Name != "a" || nodes[1].Name != "b" {
		t.Errorf("nodes = %v, %v", nodes, err)
	}
}

// A node whose lease is gone can write nothing of its runs; the next one waits
// before its first change.
func testFencing(t *testing.T, etcd *storetest.Etcd) {
	ctx, name := t.Context(), clusterName()
	a := openNode(t, store.Config{Endpoints: etcd.Endpoints(), Node: "a", Cluster: name})
	b := openNode(t, store.Config{Endpoints: etcd.Endpoints(), Node: "b", Cluster: name, TakeOverWait: 50 * time.Millisecond})
	n := fillOne(t, a)
	ra, err := a.Claim(ctx, n.UUID)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Claim(ctx, n.UUID); !errors.Is(err, recovery.ErrConflict) {
		t.Fatalf("claim of what another node has: %v", err)
	}
	changes := b.Watch(ctx)
	lost := a.NodeLost()

	// As when it could not be renewed in time.
	c := etcd.Client()
	node, err := c.Get(ctx, "/wasakari/"+strings.ReplaceAll(name, "/", "%2F")+"/r/node/a")
	if err != nil || len(node.Kvs) != 1 {
		t.Fatalf("node's record: %v, %v", node, err)
	}
	if _, err := c.Revoke(ctx, clientv3.LeaseID(node.Kvs[0].Lease)); err != nil {
		t.Fatal(err)
	}
	waitFor(t, changes, func(c recovery.Change) bool { return c.Queue })
	rb, err := b.Claim(ctx, n.UUID)
	if err != nil {
		t.Fatal(err)
	}
	if rb.ID() != ra.ID() || rb.Claims() != 2 || rb.FirstChange().IsZero() {
		t.Errorf("run %s, want %s; claims %d, first change %v", rb.ID(), ra.ID(), rb.Claims(), rb.FirstChange())
	}
	if err := ra.PushUndo(ctx, recovery.Undo{Key: "late"}); !errors.Is(err, recovery.ErrLeaseLost) {
		t.Errorf("write of a node that lost its lease: %v", err)
	}
	<-ra.Lost()
	if err := ra.Check(ctx, 0); !errors.Is(err, recovery.ErrLeaseLost) {
		t.Errorf("check of a node that lost its lease: %v", err)
	}
	run, err := rb.Record(ctx)
	if err != nil {
		t.Fatal(err)
	}
	run.Status = recovery.StatusFinished
	for name, err := range map[string]error{
		"values":  ra.SetValues(ctx, nil),
		"end":     ra.End(ctx, run),
		"requeue": ra.Requeue(ctx, time.Time{}, ""),
		"release": ra.Release(ctx),
		"scratch": onlyErr(ra.Scratch().Put(ctx, "p", "n", recovery.KVValue{Value: json.RawMessage(`1`)}, nil)),
		"start":   ra.Start(ctx, run),
	} {
		if !errors.Is(err, recovery.ErrLeaseLost) {
			t.Errorf("%s: %v, want lease lost", name, err)
		}
	}
	if err := rb.Check(ctx, 50*time.Millisecond); err != nil {
		t.Errorf("check: %v", err)
	}
	if left := time.Until(rb.FirstChange()); left > 0 {
		t.Errorf("check let a change through %v too early", left)
	}
	if err := rb.Check(ctx, time.Second); !errors.Is(err, recovery.ErrInvalid) {
		t.Errorf("check of a change that may outlast the wait: %v", err)
	}
	if undos, err := rb.Undos(ctx); err != nil || len(undos) != 0 {
		t.Errorf("undos = %v, %v", undos, err)
	}
	if err := rb.End(ctx, run); err != nil {
		t.Fatal(err)
	}
	// The node that lost its lease registers anew.
	<-lost
	next := fillOne(t, a)
	for {
		r, err := a.Claim(ctx, next.UUID)
		if err == nil {
			r.Close()
			break
		}
		if !errors.Is(err, recovery.ErrUnavailable) {
			t.Fatal(err)
		}
	}
}

// fillOne makes a notification about a host of its own.
func fillOne(t *testing.T, s *store.Store) recovery.Notification {
	t.Helper()
	ctx := t.Context()
	name := fmt.Sprint("host-", names.Add(1))
	seg, err := s.CreateSegment(ctx, recovery.Segment{Name: name})
	if err == nil {
		_, err = s.CreateHost(ctx, recovery.Host{Name: name, SegmentUUID: seg.UUID})
	}
	var n recovery.Notification
	if err == nil {
		n, err = s.Accept(ctx, recovery.Notification{Type: recovery.ComputeHost, HostName: name, Payload: json.RawMessage(`{"event":"STOPPED"}`)}, time.Minute)
	}
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func onlyErr[T any](_ T, err error) error { return err }

func waitFor(t *testing.T, changes <-chan recovery.Change, want func(recovery.Change) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for {
		select {
		case c, ok := <-changes:
			if !ok {
				t.Fatal("the watch ended")
			}
			if want(c) {
				return
			}
		case <-ctx.Done():
			t.Fatal("no such change came")
		}
	}
}

func testNodeName(t *testing.T, etcd *storetest.Etcd) {
	cfg := store.Config{Endpoints: etcd.Endpoints(), Node: "a", Cluster: clusterName()}
	s := openNode(t, cfg)
	short, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	_, err := store.Open(short, cfg)
	if !errors.Is(err, recovery.ErrConflict) || !strings.Contains(err.Error(), "node a: conflict: another process of that name is alive") {
		t.Errorf("a second process of the name: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	openNode(t, cfg) // it gave its name back
}

func testNewer(t *testing.T, etcd *storetest.Etcd) {
	name := "newer"
	if _, err := etcd.Client().Put(t.Context(), "/wasakari/"+name+"/format", "2"); err != nil {
		t.Fatal(err)
	}
	_, err := store.Open(t.Context(), store.Config{Endpoints: etcd.Endpoints(), Node: "a", Cluster: name})
	if want := "store: written by a newer wasakari: format 2, and this one knows up to 1; go on with the newer one"; err == nil || err.Error() != want || !errors.Is(err, store.ErrNewer) {
		t.Errorf("error = %v, want %s", err, want)
	}
}

// What was in a folder moves to a cluster.
func testMigration(t *testing.T, etcd *storetest.Etcd) {
	ctx := t.Context()
	s := open(t, filepath.Join(t.TempDir(), "store"))
	n := fill(t, s)
	var backup bytes.Buffer
	if err := s.Backup(ctx, &backup); err != nil {
		t.Fatal(err)
	}
	want := contents(t, s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	cfg := store.Config{Endpoints: etcd.Endpoints(), Node: "a", Cluster: clusterName()}
	if err := store.Restore(ctx, cfg, &backup); err != nil {
		t.Fatal(err)
	}
	moved := openNode(t, cfg)
	if got := contents(t, moved); got != want {
		t.Errorf("moved:\n%s\nwant:\n%s", got, want)
	}
	r, err := moved.Claim(ctx, n.UUID)
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
}

// proxy stands between a node and a member. It lets requests through while it
// drops answers, and then the connections.
type proxy struct {
	l      net.Listener
	to     string
	closed atomic.Bool // takes no connections
	mu     sync.Mutex
	conns  map[*proxied]struct{}
	wg     sync.WaitGroup
}

type proxied struct {
	client, server net.Conn
	mute           atomic.Bool
}

func newProxy(t *testing.T, to string) *proxy {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return serveProxy(t, l, to)
}

func serveProxy(t *testing.T, l net.Listener, to string) *proxy {
	t.Helper()
	p := &proxy{l: l, to: strings.TrimPrefix(to, "http://"), conns: map[*proxied]struct{}{}}
	p.wg.Go(p.serve)
	t.Cleanup(func() {
		_ = l.Close()
		p.cut()
		p.wg.Wait()
	})
	return p
}

func (p *proxy) serve() {
	for {
		client, err := p.l.Accept()
		if err != nil {
			return
		}
		if p.closed.Load() {
			_ = client.Close()
			continue
		}
		server, err := (&net.Dialer{}).DialContext(context.Background(), "tcp", p.to)
		if err != nil {
			_ = client.Close()
			continue
		}
		c := &proxied{client: client, server: server}
		p.mu.Lock()
		p.conns[c] = struct{}{}
		p.mu.Unlock()
		p.wg.Go(func() {
			_, _ = io.Copy(server, client)
			_, _ = server.Close(), client.Close()
		})
		p.wg.Go(func() {
			buf := make([]byte, 32<<10)
			for {
				n, err := server.Read(buf)
				if n > 0 && !c.mute.Load() {
					_, _ = client.Write(buf[:n])
				}
				if err != nil {
					break
				}
			}
			_, _ = server.Close(), client.Close()
			p.mu.Lock()
			delete(p.conns, c)
			p.mu.Unlock()
		})
	}
}

// mute drops the answers on all connections from now on.
func (p *proxy) mute() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		c.mute.Store(true)
	}
}

// cut drops all connections.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		_, _ = c.client.Close(), c.server.Close()
	}
}

// A change whose answer is lost is never told to have failed, and never made
// twice: each worker counts its key up, and finds what it wrote.
func testAnswersLost(t *testing.T, etcd *storetest.Etcd) {
	ctx := t.Context()
	p := newProxy(t, etcd.Endpoints()[0])
	s := openNode(t, store.Config{Endpoints: []string{"http://" + p.l.Addr().String()}, Node: "a", Cluster: clusterName()})
	n := fillOne(t, s)
	r, err := s.Claim(ctx, n.UUID)
	if err != nil {
		t.Fatal(err)
	}
	var work, cutter sync.WaitGroup
	stop := make(chan struct{})
	cuts := 0
	cutter.Go(func() {
		tick := time.NewTicker(15 * time.Millisecond)
		defer tick.Stop()
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			case <-tick.C:
			}
			switch i % 3 {
			case 0:
				p.cut()
				cuts++
			case 2:
				p.mute()
			}
		}
	})
	const workers, rounds = 8, 12
	for w := range workers {
		work.Go(func() {
			key := fmt.Sprint("k", w)
			for i := range int64(rounds) {
				got, err := s.Library().Put(ctx, "o"+key, key, recovery.KVValue{Value: json.RawMessage(`1`)}, &i)
				if err != nil || got != i+1 {
					t.Errorf("%s: version %d, %v, want %d", key, got, err, i+1)
					return
				}
				if err := r.BeginIntent(ctx, recovery.Intent{ID: fmt.Sprint(key, "-", i)}); err != nil {
					t.Errorf("intent: %v", err)
					return
				}
				if _, err := s.CreateSegment(ctx, recovery.Segment{Name: fmt.Sprint(key, "-", i)}); err != nil {
					t.Errorf("segment: %v", err)
					return
				}
			}
		})
	}
	work.Wait()
	close(stop)
	cutter.Wait()
	p.cut() // a connection that is mute stays so, for longer than a read may take
	segments, err := s.Segments(ctx)
	if err != nil || len(segments) != workers*rounds+1 {
		t.Errorf("%d segments, %v, want %d", len(segments), err, workers*rounds+1)
	}
	if intents, err := r.OpenIntents(ctx); err != nil || len(intents) != workers*rounds {
		t.Errorf("%d intents, %v, want %d", len(intents), err, workers*rounds)
	}
	if cuts == 0 {
		t.Error("nothing was cut")
	}
}

// A node that was cut off until what it missed is gone reads everything anew.
func testCompacted(t *testing.T, etcd *storetest.Etcd) {
	ctx, name := t.Context(), clusterName()
	p := newProxy(t, etcd.Endpoints()[0])
	a := openNode(t, store.Config{Endpoints: []string{"http://" + p.l.Addr().String()}, Node: "a", Cluster: name})
	b := openNode(t, store.Config{Endpoints: etcd.Endpoints(), Node: "b", Cluster: name})
	gone := fillOne(t, b)
	if _, err := a.Notification(ctx, gone.UUID); err != nil {
		t.Fatal(err)
	}
	changes := a.Watch(ctx)
	p.closed.Store(true)
	p.cut()
	n := fillOne(t, b)
	if err := errors.Join(b.EndNotification(ctx, gone.UUID, recovery.StatusFinished, ""), b.Compact(ctx)); err != nil {
		t.Fatal(err)
	}
	p.closed.Store(false)
	waitFor(t, changes, func(c recovery.Change) bool { return c.Lost })
	items, err := a.Queue(ctx)
	if err != nil || len(items) != 1 || items[0].Notification != n.UUID {
		t.Errorf("queue = %v, %v", items, err)
	}
	if got, err := a.Notification(ctx, gone.UUID); err != nil || got.Status != recovery.StatusFinished {
		t.Errorf("notification %v, %v", got, err)
	}
	next := fillOne(t, b)
	if _, err := a.Notification(ctx, next.UUID); err != nil {
		t.Error(err)
	}
}

// Members are killed while notifications are taken: each one that was taken is
// there, and none that is there was told to have failed.
func testMembersKilled(t *testing.T, etcd *storetest.Etcd) {
	ctx := t.Context()
	s := openNode(t, store.Config{Endpoints: etcd.Endpoints(), Node: "a", Cluster: clusterName()})
	fillOne(t, s)
	hosts, err := s.Hosts(ctx)
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	taken := map[string]bool{}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				payload := fmt.Sprintf(`{"instance_uuid":"%d-%d"}`, w, i)
				n, err := s.Accept(ctx, recovery.Notification{Type: recovery.VM, HostName: hosts[0].Name, Payload: json.RawMessage(payload)}, time.Hour)
				if err != nil {
					t.Errorf("accept: %v", err)
					return
				}
				mu.Lock()
				taken[n.UUID] = true
				mu.Unlock()
			}
		})
	}
	for range 2 {
		leader := etcd.Leader()
		etcd.Kill(leader)
		if _, err := s.CreateSegment(ctx, recovery.Segment{Name: fmt.Sprint("without ", leader, names.Add(1))}); err != nil {
			t.Errorf("segment: %v", err)
		}
		etcd.Start(leader)
	}
	close(stop)
	wg.Wait()
	list := storetest.Notifications(t, s)
	slices.Reverse(list)
	items, err := s.Queue(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if len(list) != len(taken)+1 || len(items) != len(list) {
		t.Errorf("%d notifications and %d items, want %d", len(list), len(items), len(taken)+1)
	}
	for i, n := range list {
		if i > 0 && !taken[n.UUID] {
			t.Errorf("notification %s is there and was told to have failed", n.UUID)
		}
		if i > 0 && n.Stamp.ID <= list[i-1].Stamp.ID {
			t.Errorf("id %d after %d", n.Stamp.ID, list[i-1].Stamp.ID)
		}
	}
}

// A member is spoken to by TLS when there is a configuration for it, and only
// when its certificate is known.
func testTLS(t *testing.T, etcd *storetest.Etcd) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := serveProxy(t, tls.NewListener(l, &tls.Config{
		MinVersion: tls.VersionTLS12, NextProtos: []string{"h2"}, Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}},
	}), etcd.Endpoints()[0])
	cfg := store.Config{Endpoints: []string{"https://" + p.l.Addr().String()}, Node: "a", Cluster: clusterName(), TLS: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: x509.NewCertPool()}}
	short, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err := store.Open(short, cfg); !errors.Is(err, recovery.ErrUnavailable) {
		t.Errorf("with a certificate that is not known: %v", err)
	}
	cfg.TLS.RootCAs.AddCert(cert)
	s := openNode(t, cfg)
	fillOne(t, s)
	if items, err := s.Queue(t.Context()); err != nil || len(items) != 1 {
		t.Errorf("queue = %v, %v", items, err)
	}
}

// With users, the store is its user's.
func TestUser(t *testing.T) {
	ctx := t.Context()
	etcd := storetest.NewEtcd(t, 1)
	c := etcd.Client()
	_, err := c.UserAdd(ctx, "root", "secret")
	if err == nil {
		_, err = c.UserGrantRole(ctx, "root", "root")
	}
	if err == nil {
		_, err = c.AuthEnable(ctx)
	}
	if err != nil {
		t.Fatal(err)
	}
	cfg := store.Config{Endpoints: etcd.Endpoints(), Node: "a", Username: "root", Password: "wrong"}
	if _, err := store.Open(ctx, cfg); !errors.Is(err, recovery.ErrForbidden) || strings.Contains(err.Error(), "wrong") {
		t.Errorf("with a wrong password: %v", err)
	}
	cfg.Password = "secret"
	s := openNode(t, cfg)
	n := fillOne(t, s)
	r, err := s.Claim(ctx, n.UUID)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(r.PushUndo(ctx, recovery.Undo{Key: "k"}), r.Check(ctx, 0), r.Release(ctx)); err != nil {
		t.Error(err)
	}
}

// oldMember tells an old version.
type oldMember struct {
	pb.UnimplementedMaintenanceServer
	version string
}

func (m oldMember) Status(context.Context, *pb.StatusRequest) (*pb.StatusResponse, error) {
	return &pb.StatusResponse{Version: m.version}, nil
}

func TestOldServersAreRefused(t *testing.T) {
	for _, version := range []string{"3.6.8", "3.5.21", "2.0.0", "what"} {
		t.Run(version, func(t *testing.T) {
			l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			server := grpc.NewServer()
			pb.RegisterMaintenanceServer(server, oldMember{version: version})
			var wg sync.WaitGroup
			wg.Go(func() { _ = server.Serve(l) })
			defer wg.Wait()
			defer server.Stop()
			endpoint := l.Addr().String()
			_, err = store.Open(t.Context(), store.Config{Endpoints: []string{endpoint}, Node: "a"})
			want := fmt.Sprintf("store: invalid: etcd %q at %s is older than 3.6.9; upgrade the cluster", version, endpoint)
			if err == nil || err.Error() != want || !errors.Is(err, recovery.ErrInvalid) {
				t.Errorf("error = %v, want %s", err, want)
			}
		})
	}
}

func TestNobodyThere(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if _, err := store.Open(ctx, store.Config{Endpoints: []string{"127.0.0.1:1"}, Node: "a"}); !errors.Is(err, recovery.ErrUnavailable) {
		t.Errorf("error = %v, want unavailable", err)
	}
}
