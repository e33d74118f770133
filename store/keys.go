package store

import (
	"fmt"
	"strconv"

	"github.com/wasakari/wasakari/recovery"
)

// keys makes the keys of one cluster. doc.go describes them.
type keys struct {
	root, format, restoring, watched, seq, data string

	segments, hosts, notifications, queue, runs, tasks, vmoves, aborts string
	locks, holds, vmruns, nodes, modules, modulesRev                   string
	chunks, uploads, kept, libraries, recoveries, changes, tx          string
}

func newKeys(cluster string) keys {
	root := "/wasakari/" + esc(cluster) + "/"
	r, d := root+"r/", root+"d/"
	return keys{
		root: root, format: root + "format", restoring: root + "restoring", watched: r, seq: r + "seq", data: d,
		segments: r + "segment/", hosts: r + "host/", notifications: r + "notification/", queue: r + "queue/",
		runs: r + "run/", tasks: r + "task/", vmoves: r + "vmove/", aborts: r + "abort/",
		locks: r + "lock/", holds: r + "hold/", vmruns: r + "vmrun/", nodes: r + "node/",
		modules: r + "module/", modulesRev: r + "modules",
		chunks: d + "chunk/", uploads: d + "upload/", kept: d + "kept/", libraries: d + "lib/",
		recoveries: d + "guard/recovery/", changes: d + "guard/server/", tx: d + "tx/",
	}
}

func (k keys) segment(uuid string) string       { return k.segments + esc(uuid) }
func (k keys) segmentName(name string) string   { return k.data + "segmentname/" + esc(name) }
func (k keys) host(segment, uuid string) string { return k.hosts + esc(segment) + "/" + esc(uuid) }
func (k keys) hostsOf(segment string) string    { return k.hosts + esc(segment) + "/" }
func (k keys) hostName(name string) string      { return k.data + "hostname/" + esc(name) }
func (k keys) notification(uuid string) string  { return k.notifications + esc(uuid) }
func (k keys) queueOf(segment string) string    { return k.queue + esc(segment) + "/" }
func (k keys) run(id string) string             { return k.runs + esc(id) }
func (k keys) runData(id string) string         { return k.data + "run/" + esc(id) + "/" }
func (k keys) tasksOf(run string) string        { return k.tasks + esc(run) + "/" }
func (k keys) task(run string, seq int) string  { return fmt.Sprintf("%s%010d", k.tasksOf(run), seq) }
func (k keys) vmovesOf(n string) string         { return k.vmoves + esc(n) + "/" }
func (k keys) vmove(n, uuid string) string      { return k.vmovesOf(n) + esc(uuid) }
func (k keys) abort(run string) string          { return k.aborts + esc(run) }
func (k keys) lockHost(name string) string      { return k.locks + "host/" + esc(name) }
func (k keys) lockServer(uuid string) string    { return k.locks + "server/" + esc(uuid) }
func (k keys) hold(host string) string          { return k.holds + esc(host) }
func (k keys) vmrunsOf(host string) string      { return k.vmruns + esc(host) + "/" }
func (k keys) vmrun(host, run string) string    { return k.vmrunsOf(host) + esc(run) }
func (k keys) workHost(name string) string      { return k.data + "work/host/" + esc(name) }
func (k keys) workServer(uuid string) string    { return k.data + "work/server/" + esc(uuid) }
func (k keys) reserved(host string) string      { return k.data + "reserved/" + esc(host) }
func (k keys) node(name string) string          { return k.nodes + esc(name) }
func (k keys) slots(node, boot string) string   { return k.tx + esc(node) + "/" + boot + "/" }
func (k keys) slot(node, boot string, n int) string {
	return k.slots(node, boot) + strconv.Itoa(n)
}

func (k keys) item(n recovery.Notification) string {
	return k.queueOf(n.SegmentUUID) + esc(n.HostUUID) + "/" + esc(n.UUID)
}

// dedups is what is remembered of the notifications of a host, of those that
// tell that something failed or of those that tell that it came back.
func (k keys) dedups(host string, up bool, of recovery.NotificationType) string {
	key := k.data + "dedup/" + esc(host) + "/"
	if up {
		key += "up/"
	} else {
		key += "down/"
	}
	if of != "" {
		key += esc(string(of)) + "/"
	}
	return key
}
