package webhook_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/wasakari/wasakari/api/wasakariv1/webhook"
	"github.com/wasakari/wasakari/recovery"
)

// source is a store of runs and notifications.
type source struct {
	mu            sync.Mutex
	runs          []recovery.Run
	notifications []recovery.Notification
	watchers      map[chan recovery.Change]bool
	left          chan struct{} // gets one for each watcher that went
}

func newSource() *source {
	return &source{watchers: map[chan recovery.Change]bool{}, left: make(chan struct{}, 100)}
}

func (s *source) Runs(context.Context) (iter.Seq[recovery.Run], error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Values(slices.Clone(s.runs)), nil
}

func (s *source) Notifications(context.Context) (iter.Seq2[recovery.Notification, time.Time], error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := slices.Clone(s.notifications)
	return func(yield func(recovery.Notification, time.Time) bool) {
		for _, n := range list {
			if !yield(n, time.Now()) {
				return
			}
		}
	}, nil
}

func (s *source) Watch(ctx context.Context) <-chan recovery.Change {
	s.mu.Lock()
	defer s.mu.Unlock()
	ch := make(chan recovery.Change, 1000)
	s.watchers[ch] = true
	context.AfterFunc(ctx, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.watchers, ch)
		close(ch)
		s.left <- struct{}{}
	})
	return ch
}

func (s *source) tell(c recovery.Change) {
	for ch := range s.watchers {
		ch <- c
	}
}

// end ends a run, and its notification with it when that is given.
func (s *source) end(r recovery.Run, n ...recovery.Notification) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r.Finished, r.Ended = true, time.Now().UTC()
	s.runs = append([]recovery.Run{r}, s.runs...)
	s.tell(recovery.Change{Run: &r})
	for _, n := range n {
		s.put(n)
	}
}

func (s *source) note(n recovery.Notification) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.put(n)
}

func (s *source) put(n recovery.Notification) {
	n.Stamp.Updated = time.Now().UTC()
	s.notifications = slices.DeleteFunc(s.notifications, func(o recovery.Notification) bool { return o.UUID == n.UUID })
	s.notifications = append(s.notifications, n)
	s.tell(recovery.Change{Notification: &n})
}

// memory is a key-value store with versions and expiry.
type memory struct {
	mu     sync.Mutex
	values map[string]recovery.KVValue
	places chan string // names, when they come to be
}

func newMemory() *memory {
	return &memory{values: map[string]recovery.KVValue{}, places: make(chan string, 100)}
}

func (m *memory) Get(_ context.Context, library, name string) (recovery.KVValue, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	v, ok := m.values[library+" "+name]
	if !ok || !v.Expires.IsZero() && !time.Now().Before(v.Expires) {
		return recovery.KVValue{}, recovery.ErrNotFound
	}
	return v, nil
}

func (m *memory) Put(_ context.Context, library, name string, v recovery.KVValue, ifVersion *int64) (int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	old := m.values[library+" "+name]
	there := old.Version
	if !old.Expires.IsZero() && !time.Now().Before(old.Expires) {
		there = 0
	}
	if *ifVersion != there {
		return 0, recovery.ErrConflict
	}
	v.Version = old.Version + 1
	m.values[library+" "+name] = v
	if v.Version == 1 {
		m.places <- name
	}
	return v.Version, nil
}

// receiver is a program that is told.
type receiver struct {
	*httptest.Server
	mu     sync.Mutex
	bad    func(webhook.Event) int // status to answer with; 0: good
	events chan webhook.Event      // those taken
	all    []string                // ids of all that came
	header http.Header
	body   []byte
}

func newReceiver(t *testing.T) *receiver {
	t.Helper()
	r := &receiver{events: make(chan webhook.Event, 1000)}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, _ := io.ReadAll(req.Body)
		var e webhook.Event
		dec := json.NewDecoder(strings.NewReader(string(body)))
		dec.DisallowUnknownFields()
		if err := dec.Decode(&e); err != nil || req.Method != http.MethodPost {
			t.Errorf("%s %s: %v", req.Method, body, err)
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		r.header, r.body = req.Header.Clone(), body
		r.all = append(r.all, e.ID)
		if r.bad != nil {
			if code := r.bad(e); code != 0 {
				w.Header().Set("Location", "/elsewhere")
				w.WriteHeader(code)
				return
			}
		}
		r.events <- e
	}))
	t.Cleanup(r.Close)
	return r
}

// next gives the ids of the next events, "type id".
func (r *receiver) next(t *testing.T, n int) []string {
	t.Helper()
	var got []string
	for range n {
		select {
		case e := <-r.events:
			got = append(got, e.Type+" "+e.ID)
		case <-t.Context().Done():
			t.Fatalf("only %q came", got)
		case <-time.After(20 * time.Second):
			t.Fatalf("only %q came", got)
		}
	}
	return got
}

func (r *receiver) expect(t *testing.T, want ...string) {
	t.Helper()
	if got := r.next(t, len(want)); !slices.Equal(got, want) {
		t.Errorf("events %q, want %q", got, want)
	}
}

func (r *receiver) none(t *testing.T) {
	t.Helper()
	select {
	case e := <-r.events:
		t.Errorf("unexpected %s %s", e.Type, e.ID)
	default:
	}
}

// send runs a sender; stop ends it and waits.
func send(t *testing.T, cfg webhook.Config) (stop func()) {
	t.Helper()
	if cfg.Node == "" {
		cfg.Node = "node-a"
	}
	cfg.Backoff, cfg.MaxBackoff = time.Millisecond, 5*time.Millisecond
	s, err := webhook.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return stop
}

// begun waits until endings from now on are told to so many URLs.
func begun(kv *memory, urls int) {
	for urls > 0 {
		if strings.HasPrefix(<-kv.places, "cursor/") {
			urls--
		}
	}
}

func TestDelivery(t *testing.T) {
	src, kv, rec := newSource(), newMemory(), newReceiver(t)
	src.end(recovery.Run{ID: "old", Status: recovery.StatusFinished}) // of before there was a webhook
	send(t, webhook.Config{URLs: []string{rec.URL + "/hook"}, Secret: "hush", Source: src, KV: kv})
	begun(kv, 1)
	src.note(recovery.Notification{UUID: "n0", Status: recovery.StatusNew})
	src.end(recovery.Run{
		ID: "r1", Notification: "n1", Status: recovery.StatusFailed, Message: "no room", Host: "compute-1",
		Inputs: map[string]json.RawMessage{"payload": json.RawMessage(`"private"`)},
	},
		recovery.Notification{UUID: "n1", Status: recovery.StatusError, Runs: []string{"r1"}})
	rec.expect(t, "run.failed run.r1", "notification.error notification.n1.error.1")
	rec.mu.Lock()
	mac := hmac.New(sha256.New, []byte("hush"))
	mac.Write(rec.body)
	if got, want := rec.header.Get("X-Wasakari-Signature"), "sha256="+hex.EncodeToString(mac.Sum(nil)); got != want {
		t.Errorf("signature %s, want %s", got, want)
	}
	if rec.header.Get("X-Wasakari-Event") != "notification.error" || rec.header.Get("X-Wasakari-Delivery") != "notification.n1.error.1" || rec.header.Get("Content-Type") != "application/json" {
		t.Errorf("header %v", rec.header)
	}
	if strings.Contains(string(rec.body), "private") {
		t.Errorf("body %s", rec.body)
	}
	rec.mu.Unlock()
	src.end(recovery.Run{ID: "r2", Notification: "n1", Status: recovery.StatusFailed, Held: &recovery.HeldError{Guard: "hosts"}},
		recovery.Notification{UUID: "n1", Status: recovery.StatusFailed, Runs: []string{"r1", "r2"}})
	rec.expect(t, "run.held run.r2", "notification.failed notification.n1.failed.2")
	src.note(recovery.Notification{UUID: "n2", Status: recovery.StatusIgnored})
	rec.expect(t, "notification.ignored notification.n2.ignored.0")
	rec.none(t)
}

// What a receiver refuses is told again, in order, and holds up nobody else.
func TestRetry(t *testing.T) {
	src, kv, rec, other := newSource(), newMemory(), newReceiver(t), newReceiver(t)
	refused := 0
	rec.bad = func(e webhook.Event) int {
		if e.ID == "run.r1" && refused < 20 {
			refused++
			return []int{500, 302, 400}[refused%3]
		}
		return 0
	}
	var mu sync.Mutex
	delivered := map[string]int{}
	stop := send(t, webhook.Config{
		URLs: []string{rec.URL, other.URL, rec.URL}, Source: src, KV: kv, // the same twice is one
		Delivered: func(result string) {
			mu.Lock()
			defer mu.Unlock()
			delivered[result]++
		},
	})
	begun(kv, 2)
	src.end(recovery.Run{ID: "r1", Notification: "n1", Status: recovery.StatusFailed}, recovery.Notification{UUID: "n1", Status: recovery.StatusFailed, Runs: []string{"r1"}})
	src.end(recovery.Run{ID: "r2", Notification: "n2", Status: recovery.StatusFinished}, recovery.Notification{UUID: "n2", Status: recovery.StatusFinished, Runs: []string{"r2"}})
	got, want := rec.next(t, 4), []string{
		"run.finished run.r2", "notification.finished notification.n2.finished.1", "run.failed run.r1", "notification.failed notification.n1.failed.1",
	}
	if slices.Index(got, want[2]) > slices.Index(got, want[3]) || slices.Index(got, want[0]) > slices.Index(got, want[1]) {
		t.Errorf("events %q", got)
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("events %q, want %q", got, want)
	}
	if got := other.next(t, 4); len(got) != 4 {
		t.Errorf("the other got %q", got)
	}
	rec.none(t)
	other.none(t)
	stop() // what was received was told of then
	mu.Lock()
	defer mu.Unlock()
	if want := (map[string]int{"ok": 8, "retried": 20}); !maps.Equal(delivered, want) {
		t.Errorf("delivered %v, want %v", delivered, want)
	}
}

func TestGiveUp(t *testing.T) {
	src, kv, rec := newSource(), newMemory(), newReceiver(t)
	rec.bad = func(e webhook.Event) int {
		if e.ID == "run.r1" {
			return http.StatusInternalServerError
		}
		return 0
	}
	core, logs := observer.New(zapcore.WarnLevel)
	var dropped atomic.Int32
	send(t, webhook.Config{
		URLs: []string{strings.Replace(rec.URL, "http://", "http://robot:hush@", 1) + "/token-in-the-path"}, Source: src, KV: kv,
		GiveUp: 20 * time.Millisecond, Logger: zap.New(core),
		Delivered: func(result string) {
			if result == "dropped" {
				dropped.Add(1)
			}
		},
	})
	begun(kv, 1)
	src.end(recovery.Run{ID: "r1", Notification: "n1", Status: recovery.StatusFailed}, recovery.Notification{UUID: "n1", Status: recovery.StatusFailed, Runs: []string{"r1"}})
	rec.expect(t, "notification.failed notification.n1.failed.1") // comes when the one before was given up
	if n := logs.FilterMessage("delivery given up").Len(); n != 1 {
		t.Errorf("given up %d times", n)
	}
	if n := dropped.Load(); n != 1 {
		t.Errorf("%d told of as dropped", n)
	}
	for _, l := range logs.All() {
		if text := fmt.Sprint(l.Message, l.ContextMap()); strings.Contains(text, "hush") || strings.Contains(text, "token-in-the-path") {
			t.Errorf("the log tells: %s", text)
		}
	}
	rec.mu.Lock()
	defer rec.mu.Unlock()
	if !strings.HasPrefix(rec.header.Get("Authorization"), "Basic ") {
		t.Error("no user was named")
	}
}

// A restart goes on where it was: nothing is lost, and nothing told twice that
// was told long before.
func TestRestart(t *testing.T) {
	src, kv, rec := newSource(), newMemory(), newReceiver(t)
	cfg := webhook.Config{URLs: []string{rec.URL}, Source: src, KV: kv}
	stop := send(t, cfg)
	begun(kv, 1)
	src.end(recovery.Run{ID: "r1", Status: recovery.StatusFinished})
	rec.expect(t, "run.finished run.r1")
	stop()
	src.end(recovery.Run{ID: "r2", Status: recovery.StatusFinished})
	stop = send(t, cfg)
	rec.expect(t, "run.finished run.r2")
	stop()
	rec.none(t)
}

// Of two nodes one tells; when it stops the other goes on at once, and when it
// goes silent after its lease.
func TestTwoNodes(t *testing.T) {
	src, kv, rec := newSource(), newMemory(), newReceiver(t)
	stopA := send(t, webhook.Config{Node: "node-a", URLs: []string{rec.URL}, Source: src, KV: kv, Lease: 50 * time.Millisecond})
	begun(kv, 1)
	send(t, webhook.Config{Node: "node-b", URLs: []string{rec.URL}, Source: src, KV: kv, Lease: 50 * time.Millisecond})
	var want []string
	for i := range 20 {
		id := fmt.Sprintf("a%02d", i)
		src.end(recovery.Run{ID: id, Status: recovery.StatusFinished})
		want = append(want, "run.finished run."+id)
	}
	rec.expect(t, want...)
	stopA()
	src.end(recovery.Run{ID: "b1", Status: recovery.StatusFinished})
	rec.expect(t, "run.finished run.b1")
	rec.none(t)
	if v, err := kv.Get(t.Context(), "//webhooks", "leader"); err != nil || string(v.Value) != `"node-b"` {
		t.Errorf("leader %s, %v", v.Value, err)
	}
}

// Whoever lost his place to another stops telling.
func TestLeaderLost(t *testing.T) {
	src, kv, rec := newSource(), newMemory(), newReceiver(t)
	send(t, webhook.Config{URLs: []string{rec.URL}, Source: src, KV: kv, Lease: 30 * time.Millisecond})
	begun(kv, 1)
	kv.mu.Lock()
	kv.values["//webhooks leader"] = recovery.KVValue{Value: json.RawMessage(`"another"`), Version: 1000, Expires: time.Now().Add(time.Hour)}
	kv.mu.Unlock()
	<-src.left
	src.end(recovery.Run{ID: "r1", Status: recovery.StatusFinished})
	rec.none(t)
	kv.mu.Lock()
	delete(kv.values, "//webhooks leader")
	kv.mu.Unlock()
	rec.expect(t, "run.finished run.r1")
}

func TestNew(t *testing.T) {
	for _, bad := range []string{"", "ftp://x", "http://", "hooks.example.com", "http://user:hush@[::"} {
		_, err := webhook.New(webhook.Config{URLs: []string{bad}, Source: newSource(), KV: newMemory(), Node: "n"})
		if !errors.Is(err, recovery.ErrInvalid) || strings.Contains(err.Error(), "hush") {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if _, err := webhook.New(webhook.Config{}); err == nil {
		t.Error("a configuration without anything is taken")
	}
	s, err := webhook.New(webhook.Config{Source: newSource(), KV: newMemory(), Node: "n"})
	if err != nil || s.Run(t.Context()) != nil {
		t.Errorf("without a URL: %v", err)
	}
}
