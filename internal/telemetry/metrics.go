package telemetry

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"go.uber.org/zap"

	"github.com/wasakari/wasakari/recovery"
)

// Metric tells about one metric of this program.
type Metric struct {
	Name   string
	Kind   string // counter, gauge or histogram
	Labels []string
	Help   string
}

// Buckets of the histograms, in seconds.
var (
	requestBuckets = []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30}
	taskBuckets    = []float64{.01, .05, .1, .5, 1, 5, 10, 30, 60, 120, 300, 600, 1800, 3600}
	writeBuckets   = []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}
)

// maxTaskNames bounds the tasks with a label of their own.
const maxTaskNames = 64

// scrapeWait bounds what one source of a scrape may take.
const scrapeWait = 2 * time.Second

// metrics are those of one process.
type metrics struct {
	registry *prometheus.Registry
	log      *zap.Logger
	table    []Metric
	tasks    *names

	notifications *prometheus.CounterVec
	ended         *prometheus.CounterVec
	endedTime     *prometheus.HistogramVec
	waited        *prometheus.HistogramVec
	setbacks      *prometheus.CounterVec
	storeAway     prometheus.Gauge
	unreported    prometheus.Gauge
	runs          *prometheus.CounterVec
	runTime       *prometheus.HistogramVec
	runsActive    prometheus.Gauge
	taskCount     *prometheus.CounterVec
	taskTime      *prometheus.HistogramVec
	reverts       *prometheus.CounterVec
	holds         *prometheus.CounterVec
	vmoves        *prometheus.CounterVec
	ops           *prometheus.CounterVec
	opTime        *prometheus.HistogramVec
	hostCalls     prometheus.Counter
	cpu           prometheus.Counter
	requests      *prometheus.CounterVec
	requestTime   *prometheus.HistogramVec
	served        *prometheus.CounterVec
	servedTime    *prometheus.HistogramVec
	serving       prometheus.Gauge
	transactions  *prometheus.CounterVec
	writeTime     prometheus.Histogram
	leasesLost    prometheus.Counter
	deliveries    *prometheus.CounterVec
	reloads       *prometheus.CounterVec
	audit         *prometheus.CounterVec
	spansLost     prometheus.Counter
	scrapeErrors  *prometheus.CounterVec

	queueDepth, queueAge       *prometheus.Desc
	sandboxes, sandboxMemory   *prometheus.Desc
	compiled, leaseLeft, ready *prometheus.Desc
	storeBytes                 *prometheus.Desc

	mu      sync.Mutex
	sources sources
}

// sources are asked at each scrape.
type sources struct {
	queue     func(context.Context) ([]recovery.QueueItem, error)
	sandboxes func() Sandboxes
	lease     func() time.Duration
	ready     func(context.Context) error
	store     func(context.Context) (StoreBytes, error)
}

func newMetrics(r *prometheus.Registry, log *zap.Logger, version string) *metrics {
	m := &metrics{registry: r, log: log, tasks: newNames(maxTaskNames)}

	m.notifications = m.counters("notifications_total", "Notifications that were sent to us: accepted, duplicate (of an earlier one), or refused (unknown host, on maintenance, the store away). Malformed ones count as requests only.", "type", "result")
	m.queueDepth = m.desc("queue_notifications", "gauge", "Notifications in the queue: at work, due, or later (waiting for a retry).", "type", "state")
	m.queueAge = m.desc("queue_oldest_seconds", "gauge", "Age of the oldest notification that is due and nobody works on.", "type")

	m.waited = m.histograms("notification_wait_seconds", "From the acceptance of a notification to the beginning of its first run.", requestBuckets, "type")
	m.ended = m.counters("notifications_ended_total", "Notifications that this node brought to their end: finished, ignored or failed.", "type", "status")
	m.endedTime = m.histograms("notification_duration_seconds", "From the acceptance of a notification to its end.", taskBuckets, "type")
	m.setbacks = m.counters("run_setbacks_total", "Runs of this node that failed and are tried again (retried), could not be gone on with for now (put_off), were left to another node (handed_over) or taken by one (lost), or were ended by the run of a host (superseded).", "what")
	m.storeAway = m.gauge("store_away", "1 while the queue cannot be read.")
	m.unreported = m.gauge("hosts_unreported", "Hosts that are down in Nova and that nobody reported, as found when the store came back.")

	m.runs = m.counters("runs_total", "Runs that ended, by the first flow they tried: finished, ignored or failed.", "flow", "outcome")
	m.runTime = m.histograms("run_duration_seconds", "From the start of a run to its end, pauses of a resumed run included.", taskBuckets, "flow")
	m.runsActive = m.gauge("runs_active", "Runs that this process works on.")
	m.taskCount = m.counters("tasks_total", "Executions of tasks that ended. Tasks of tenants count as tenant, the operator's beyond the 64th as other.", "task", "status")
	m.taskTime = m.histograms("task_duration_seconds", "Duration of one execution of a task that was not interrupted.", taskBuckets, "task")
	m.reverts = m.counters("reverts_total", "Reverts of tasks that ended: reverted, revert_failed, or the task's own status when there was nothing to take back.", "task", "status")
	m.vmoves = m.counters("vmoves_total", "Moves of servers that came to an end: succeeded, failed or ignored.", "status")
	m.holds = m.counters("guard_holds_total", "Runs that a guard against harm held before their first change, or one of whose changes it refused.", "guard")

	m.ops = m.counters("ops_total", "Ops of tasks that read or change something outside of this process, by result: ok or the code of the error.", "op", "code")
	m.opTime = m.histograms("op_duration_seconds", "Duration of such an op, waits on the host's side included.", taskBuckets, "op")
	m.hostCalls = m.counter("host_calls_total", "Ops of every kind that tasks asked for.")
	m.cpu = m.counter("cpu_units_total", "What tasks computed, in units of about one simple instruction.")
	m.sandboxes = m.desc("sandboxes", "gauge", "Sandboxes that run, and those that wait for their tenant's turn.", "state")
	m.sandboxMemory = m.desc("sandbox_memory_bytes", "gauge", "Linear memory of the sandboxes that run.")
	m.compiled = m.desc("modules_compiled_total", "counter", "Modules that were admitted: loaded from the cache of compiled ones (hit), or compiled (miss).", "cache")

	m.requests = m.counters("cloud_requests_total", "Requests to the cloud, repeated ones each, by status, or lost when no answer came. Resource is the first part of the path.", "service", "method", "resource", "code")
	m.requestTime = m.histograms("cloud_request_duration_seconds", "Duration of one request to the cloud, its answer included.", requestBuckets, "service", "method")

	m.served = m.counters("http_requests_total", "Requests to us.", "route", "method", "code")
	m.servedTime = m.histograms("http_request_duration_seconds", "Duration of a request to us; that of an event stream is as long as its reader stays.", requestBuckets, "route")
	m.serving = m.gauge("http_requests_active", "Requests to us that are being answered.")

	m.transactions = m.counters("store_transactions_total", "Transactions of the store, by result: ok, conflict (another one was first), lease_lost, or error.", "result")
	m.writeTime = m.histogram("store_transaction_duration_seconds", "Duration of a transaction of the store.", writeBuckets)
	m.leaseLeft = m.desc("lease_left_seconds", "gauge", "How long this node's lease lasts without another keep-alive. Zero or less: it is lost.")
	m.leasesLost = m.counter("leases_lost_total", "Runs that another node may have taken, because this node's lease ran out.")
	m.storeBytes = m.desc("store_bytes", "gauge", "The store's database: its size, what of it is in_use, and the quota beyond which nothing can be written.", "what")
	m.ready = m.desc("ready", "gauge", "1 when the store answers a quorum read, as /readyz tells.")

	m.deliveries = m.counters("webhook_deliveries_total", "Deliveries of events to webhooks: ok, retried, or dropped.", "result")
	m.audit = m.counters("audit_lines_total", "Lines of the audit log: ok, or error when one could not be written.", "kind", "result")
	m.reloads = m.counters("config_reloads_total", "Reloads of the configuration: ok, or error when the former one stays.", "result")
	m.spansLost = m.counter("trace_exports_failed_total", "Batches of spans that could not be sent.")
	m.scrapeErrors = m.counters("scrape_errors_total", "Scrapes that lack what the source could not tell within two seconds.", "source")

	info := m.gauges("build_info", "1, with the version of this program and of Go.", "version", "go")
	info.WithLabelValues(version, runtime.Version()).Set(1)

	r.MustRegister(m, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

const namespace = "wasakari_"

func (m *metrics) note(name, kind, help string, labels []string) string {
	m.table = append(m.table, Metric{Name: namespace + name, Kind: kind, Labels: labels, Help: help})
	return namespace + name
}

func (m *metrics) counters(name, help string, labels ...string) *prometheus.CounterVec {
	v := prometheus.NewCounterVec(prometheus.CounterOpts{Name: m.note(name, "counter", help, labels), Help: help}, labels)
	m.registry.MustRegister(v)
	return v
}

func (m *metrics) counter(name, help string) prometheus.Counter {
	v := prometheus.NewCounter(prometheus.CounterOpts{Name: m.note(name, "counter", help, nil), Help: help})
	m.registry.MustRegister(v)
	return v
}

func (m *metrics) gauges(name, help string, labels ...string) *prometheus.GaugeVec {
	v := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: m.note(name, "gauge", help, labels), Help: help}, labels)
	m.registry.MustRegister(v)
	return v
}

func (m *metrics) gauge(name, help string) prometheus.Gauge {
	v := prometheus.NewGauge(prometheus.GaugeOpts{Name: m.note(name, "gauge", help, nil), Help: help})
	m.registry.MustRegister(v)
	return v
}

func (m *metrics) histograms(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
	v := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: m.note(name, "histogram", help, labels), Help: help, Buckets: buckets}, labels)
	m.registry.MustRegister(v)
	return v
}

func (m *metrics) histogram(name, help string, buckets []float64) prometheus.Histogram {
	v := prometheus.NewHistogram(prometheus.HistogramOpts{Name: m.note(name, "histogram", help, nil), Help: help, Buckets: buckets})
	m.registry.MustRegister(v)
	return v
}

// desc describes what is asked for at each scrape.
func (m *metrics) desc(name, kind, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(m.note(name, kind, help, labels), help, labels, nil)
}

// List lists the metrics of this program by name.
func (t *Telemetry) List() []Metric {
	list := slices.Clone(t.metrics.table)
	slices.SortFunc(list, func(a, b Metric) int { return strings.Compare(a.Name, b.Name) })
	return list
}

// Describe serves prometheus.Collector.
func (m *metrics) Describe(c chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{m.queueDepth, m.queueAge, m.sandboxes, m.sandboxMemory, m.compiled, m.leaseLeft, m.ready, m.storeBytes} {
		c <- d
	}
}

// Collect serves prometheus.Collector: it asks the sources.
func (m *metrics) Collect(c chan<- prometheus.Metric) {
	m.mu.Lock()
	s := m.sources
	m.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), scrapeWait)
	defer cancel()
	if s.queue != nil {
		items, err := s.queue(ctx)
		if err != nil {
			m.scrapeErrors.WithLabelValues("queue").Inc()
		} else {
			m.collectQueue(c, items, time.Now())
		}
	}
	if s.sandboxes != nil {
		x := s.sandboxes()
		c <- prometheus.MustNewConstMetric(m.sandboxes, prometheus.GaugeValue, float64(x.Live), "live")
		c <- prometheus.MustNewConstMetric(m.sandboxes, prometheus.GaugeValue, float64(x.Waiting), "waiting")
		c <- prometheus.MustNewConstMetric(m.sandboxMemory, prometheus.GaugeValue, float64(x.MemoryBytes))
		c <- prometheus.MustNewConstMetric(m.compiled, prometheus.CounterValue, float64(x.CacheHits), "hit")
		c <- prometheus.MustNewConstMetric(m.compiled, prometheus.CounterValue, float64(x.CacheMisses), "miss")
	}
	if s.lease != nil {
		c <- prometheus.MustNewConstMetric(m.leaseLeft, prometheus.GaugeValue, s.lease().Seconds())
	}
	if s.store != nil {
		x, err := s.store(ctx)
		if err != nil {
			m.scrapeErrors.WithLabelValues("store").Inc()
		} else {
			c <- prometheus.MustNewConstMetric(m.storeBytes, prometheus.GaugeValue, float64(x.Size), "size")
			c <- prometheus.MustNewConstMetric(m.storeBytes, prometheus.GaugeValue, float64(x.InUse), "in_use")
			c <- prometheus.MustNewConstMetric(m.storeBytes, prometheus.GaugeValue, float64(x.Quota), "quota")
		}
	}
	if s.ready != nil {
		ready := 1.
		if s.ready(ctx) != nil {
			ready = 0
		}
		c <- prometheus.MustNewConstMetric(m.ready, prometheus.GaugeValue, ready)
	}
}

func (m *metrics) collectQueue(c chan<- prometheus.Metric, items []recovery.QueueItem, now time.Time) {
	types := []recovery.NotificationType{recovery.ComputeHost, recovery.VM, recovery.Process}
	states := []string{"at_work", "due", "later"}
	depth := map[[2]string]int{}
	oldest := map[string]time.Duration{}
	for _, it := range items {
		kind, state := oneOf(it.Type, types...), "due"
		switch {
		case it.Run != "":
			state = "at_work"
		case it.NotBefore.After(now):
			state = "later"
		default:
			oldest[kind] = max(oldest[kind], now.Sub(it.Added))
		}
		depth[[2]string{kind, state}]++
	}
	for _, kind := range types {
		for _, state := range states {
			c <- prometheus.MustNewConstMetric(m.queueDepth, prometheus.GaugeValue, float64(depth[[2]string{string(kind), state}]), string(kind), state)
		}
		c <- prometheus.MustNewConstMetric(m.queueAge, prometheus.GaugeValue, oldest[string(kind)].Seconds(), string(kind))
	}
}

func (t *Telemetry) source(set func(*sources)) {
	if t == nil {
		return
	}
	t.metrics.mu.Lock()
	defer t.metrics.mu.Unlock()
	set(&t.metrics.sources)
}

// Queue gives what lists the queue at each scrape. It has two seconds.
func (t *Telemetry) Queue(list func(context.Context) ([]recovery.QueueItem, error)) {
	t.source(func(s *sources) { s.queue = list })
}

// Sandboxes tells about the sandboxes of this process.
type Sandboxes struct {
	Live, Waiting          int
	MemoryBytes            int64
	CacheHits, CacheMisses int64 // modules loaded, and compiled, since the start
}

// Sandboxes gives what counts the sandboxes at each scrape; it answers at once.
func (t *Telemetry) Sandboxes(count func() Sandboxes) {
	t.source(func(s *sources) { s.sandboxes = count })
}

// Lease gives what tells at each scrape how long this node's lease lasts; it
// answers at once.
func (t *Telemetry) Lease(left func() time.Duration) {
	t.source(func(s *sources) { s.lease = left })
}

// StoreBytes tells how full the store is.
type StoreBytes struct{ Size, InUse, Quota int64 }

// Store gives what tells at each scrape how full the store is. It shares two
// seconds with Queue's.
func (t *Telemetry) Store(bytes func(context.Context) (StoreBytes, error)) {
	t.source(func(s *sources) { s.store = bytes })
}

// Ready gives what tells at each scrape whether the store answers, nil: it does.
// It shares two seconds with Queue's.
func (t *Telemetry) Ready(ready func(context.Context) error) {
	t.source(func(s *sources) { s.ready = ready })
}

// Transaction counts a transaction of the store.
func (t *Telemetry) Transaction(took time.Duration, err error) {
	if t == nil {
		return
	}
	result := "ok"
	switch {
	case errors.Is(err, recovery.ErrLeaseLost):
		result = "lease_lost"
	case errors.Is(err, recovery.ErrConflict):
		result = "conflict"
	case err != nil:
		result = "error"
	}
	t.metrics.transactions.WithLabelValues(result).Inc()
	t.metrics.writeTime.Observe(took.Seconds())
}

// LeaseLost counts a run that was lost with its lease.
func (t *Telemetry) LeaseLost() {
	if t != nil {
		t.metrics.leasesLost.Inc()
	}
}

// Delivery counts a delivery to a webhook: ok, retried (it will be tried again),
// or dropped.
func (t *Telemetry) Delivery(result string) {
	if t != nil {
		t.metrics.deliveries.WithLabelValues(oneOf(result, "ok", "retried", "dropped")).Inc()
	}
}

// Reloaded counts a reload of the configuration; with an error the former one
// stays.
func (t *Telemetry) Reloaded(err error) {
	if t != nil {
		t.metrics.reloads.WithLabelValues(okOr(err)).Inc()
	}
}

// Audited counts a line of the audit log that was written, or could not be.
func (t *Telemetry) Audited(kind string, err error) {
	if t != nil {
		t.metrics.audit.WithLabelValues(oneOf(kind, auditKinds...), okOr(err)).Inc()
	}
}

var auditKinds = []string{"api", "nova", "ha", "http", "override", "module", "reload"}

func okOr(err error) string {
	if err != nil {
		return "error"
	}
	return "ok"
}
