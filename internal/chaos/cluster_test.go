//go:build chaos

package chaos

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const (
	leaseTime   = 3 * time.Second
	clusterName = "chaos"
)

// node is one wasakari serve.
type node struct {
	process
	url   string
	etcd  []*link // to each member
	nova  *link
	steps string // file of the durable writes that it made
}

// cluster is what a round is made of.
type cluster struct {
	t       *testing.T
	dir     string
	nova    *nova
	members []*process // none: each node has a store of its own
	clients []string   // URLs of the members
	mesh    *mesh      // between them
	// place makes the folder for the data of a program; nil: below dir.
	place func(name string) (string, error)
	nodes []*node
	conf  string // more options of the nodes
	armed string // folder: a process dies before the durable write that a file in it is named for
}

// newCluster starts everything.
func newCluster(t *testing.T, v *nova, members, nodes int, place func(name string) (string, error), conf ...string) *cluster {
	t.Helper()
	c := &cluster{t: t, dir: t.TempDir(), nova: v, place: place, conf: strings.Join(conf, "")}
	t.Cleanup(c.close)
	if keep := *keepFlag; keep != "" {
		c.dir = filepath.Join(keep, fmt.Sprintf("%s-%d-%d", strings.ReplaceAll(t.Name(), "/", "-"), os.Getpid(), time.Now().Unix()))
		if err := os.MkdirAll(c.dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	c.armed = filepath.Join(c.dir, "armed")
	if err := errors.Join(os.MkdirAll(c.armed, 0o700), c.startEtcd(members), c.makeNodes(nodes)); err != nil {
		t.Fatal(err)
	}
	for _, n := range c.nodes {
		if err := n.start(); err != nil {
			t.Fatal(err)
		}
	}
	for _, n := range c.nodes {
		c.await(time.Minute, n.name+" is ready", func(ctx context.Context) error {
			// Who loses its lease while it starts ends, and is started again.
			return errors.Join(n.start(), n.ready(ctx))
		})
	}
	return c
}

func (c *cluster) data(name string) (string, error) {
	if c.place != nil {
		return c.place(name)
	}
	return c.dir, nil
}

func (c *cluster) startEtcd(members int) error {
	ports, err := freePorts(2 * members)
	if err != nil {
		return err
	}
	var peers, targets []string
	for i := range members {
		targets = append(targets, fmt.Sprintf("127.0.0.1:%d", ports[2*i+1]))
	}
	if c.mesh, err = newMesh(targets); err != nil {
		return err
	}
	for i := range members {
		peers = append(peers, fmt.Sprintf("m%d=%s", i+1, c.mesh.url(i)))
		c.clients = append(c.clients, fmt.Sprintf("http://127.0.0.1:%d", ports[2*i]))
	}
	for i := range members {
		name := fmt.Sprintf("m%d", i+1)
		peer := strings.TrimPrefix(peers[i], name+"=")
		data, err := c.data(name)
		if err != nil {
			return err
		}
		m := &process{name: name, path: filepath.Join(*programs, "etcd"), log: filepath.Join(c.dir, name+".log"), env: os.Environ(), args: []string{
			"--name", name, "--data-dir", filepath.Join(data, name+".etcd"), "--initial-cluster-state", "new", "--initial-cluster", strings.Join(peers, ","),
			"--listen-peer-urls", "http://" + targets[i], "--initial-advertise-peer-urls", peer, "--listen-client-urls", c.clients[i], "--advertise-client-urls", c.clients[i],
			"--heartbeat-interval", "50", "--election-timeout", "500", "--log-level", "warn",
		}}
		c.members = append(c.members, m)
	}
	c.mesh.members = c.members
	for _, m := range c.members {
		if err := m.start(); err != nil {
			return err
		}
	}
	return nil
}

const nodeConfig = `[DEFAULT]
auth_strategy = noauth2
duplicate_notification_detection_interval = 0
process_unfinished_notifications_interval = 1
retry_notification_new_status_interval = 1
check_expired_notifications_interval = 5
periodic_fuzzy_delay = 0
wait_period_after_service_update = 10
wait_period_after_evacuation = 15
wait_period_after_power_off = 10
wait_period_after_power_on = 10
graceful_shutdown_timeout = 20
[instance_failure]
process_all_instances = true
[wasakari]
cluster = %s
state_dir = %s
cache_dir = %s
nova_timeout = 2
nova_outcome_wait = 3
[http]
timeout_seconds = 2
[engine]
node = %s
hosts_at_once = 8
max_deliveries = 8
[guards]
hosts = 0
hosts_percent = 0
servers_per_run = 0
servers_per_hour = 0
[telemetry]
metrics = false
[store]
%s
`

func (c *cluster) makeNodes(count int) error {
	ports, err := freePorts(count)
	if err != nil {
		return err
	}
	if count == 0 {
		return nil
	}
	cr := c.nova.Credentials()
	for _, port := range ports {
		name := fmt.Sprintf("n%d", len(c.nodes)+1)
		n := &node{url: fmt.Sprintf("http://127.0.0.1:%d", port), steps: filepath.Join(c.dir, name+".steps")}
		door, err := c.nova.door(name)
		if err != nil {
			return err
		}
		if n.nova, err = newLink(door, false); err != nil {
			return err
		}
		var endpoints []string
		for _, m := range c.clients {
			l, err := newLink(strings.TrimPrefix(m, "http://"), true)
			if err != nil {
				return err
			}
			n.etcd = append(n.etcd, l)
			endpoints = append(endpoints, "http://"+l.addr())
		}
		where := "endpoints = " + strings.Join(endpoints, ",")
		if len(endpoints) == 0 {
			data, err := c.data(name)
			if err != nil {
				return err
			}
			where = "dir = " + filepath.Join(data, name+".store")
		}
		state, conf := filepath.Join(c.dir, name), filepath.Join(c.dir, name+".conf")
		text := fmt.Sprintf(nodeConfig, clusterName, state, filepath.Join(*programs, "cache"), name, where) + c.conf
		if err := errors.Join(os.MkdirAll(state, 0o700), os.WriteFile(conf, []byte(text), 0o600)); err != nil {
			return err
		}
		n.process = process{
			name: name, path: filepath.Join(*programs, "wasakari"), log: filepath.Join(c.dir, name+".log"),
			args: []string{"serve", "--config-file", conf, "--listen", strings.TrimPrefix(n.url, "http://"), "--log-level", *logLevel},
			env: append(os.Environ(),
				"OS_AUTH_URL=http://"+n.nova.addr()+"/v3", "OS_USERNAME="+cr.Username, "OS_PASSWORD="+cr.Password, "OS_PROJECT_NAME="+cr.ProjectName,
				"OS_USER_DOMAIN_NAME="+cr.UserDomainName, "OS_PROJECT_DOMAIN_NAME="+cr.ProjectDomainName, "OS_REGION_NAME="+cr.Region,
				"WASAKARI_CHAOS_LEASE="+leaseTime.String(), "WASAKARI_CHAOS_STEPS="+n.steps, "WASAKARI_CHAOS_KILL="+c.armed,
			),
		}
		c.nodes = append(c.nodes, n)
	}
	return nil
}

// renamed gives the node another name at each start, as a container gets one: it
// does not wait for its former process to be forgotten. Its lease is shorter, too.
func (n *node) renamed() func() []string {
	starts := 0
	return func() []string {
		starts++
		conf := n.args[2] + ".name"
		text := fmt.Sprintf("[engine]\nnode = %s.%d\n", n.name, starts)
		if err := os.WriteFile(conf, []byte(text), 0o600); err == nil && starts == 1 {
			n.args = append(n.args, "--config-file", conf)
		}
		return []string{"WASAKARI_CHAOS_LEASE=2s"}
	}
}

// nodeOf gives the node whose process has a name.
func nodeOf(name string) string {
	node, _, _ := strings.Cut(name, ".")
	return node
}

func (c *cluster) close() {
	for _, n := range c.nodes {
		n.kill()
		n.nova.close()
		for _, l := range n.etcd {
			l.close()
		}
	}
	for _, m := range c.members {
		m.kill()
	}
	if err := c.mesh.close(); err != nil {
		c.t.Error(err)
	}
}

// await looks until do succeeds, for a time at most.
func (c *cluster) await(within time.Duration, what string, do func(ctx context.Context) error) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), within)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	var last error // that is not of the end of the time
	for {
		err := do(ctx)
		if err == nil {
			return
		}
		if last == nil || ctx.Err() == nil {
			last = err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			c.logs()
			c.t.Fatalf("%s: not within %s: %v", what, within, last)
		}
	}
}

// logs shows the ends of the logs.
func (c *cluster) logs() {
	all := append([]*process{}, c.members...)
	for _, n := range c.nodes {
		all = append(all, &n.process)
	}
	for _, p := range all {
		text, _ := os.ReadFile(p.log)
		if len(text) > 3000 {
			text = text[len(text)-3000:]
		}
		c.t.Logf("%s:\n%s", p.name, text)
	}
}

func (n *node) ready(ctx context.Context) error {
	status, body, err := call(ctx, "GET", n.url+"/readyz", nil, nil)
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("%d %s", status, body)
	}
	return err
}

var client = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}

// call sends a request and reads its answer.
func call(ctx context.Context, method, url string, doc, into any) (status int, body []byte, err error) {
	var send io.Reader
	if doc != nil {
		text, err := json.Marshal(doc)
		if err != nil {
			return 0, nil, err
		}
		send = bytes.NewReader(text)
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, url, send)
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("OpenStack-API-Version", "instance-ha 1.3")
	resp, err := client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close() //nolint:errcheck // read only
	if body, err = io.ReadAll(resp.Body); err != nil {
		return 0, nil, err
	}
	if into != nil && resp.StatusCode < 300 {
		err = json.Unmarshal(body, into)
	}
	return resp.StatusCode, body, err
}
