package wasakariv1_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap/zaptest"

	"github.com/wasakari/wasakari/abi"
	"github.com/wasakari/wasakari/api/wasakariv1"
	"github.com/wasakari/wasakari/recovery"
)

// person is a caller with the rules that hold for him: everywhere, or for his
// own project.
type person struct {
	user, project string
	all, own      []string // "*": each
}

func (p person) User() string    { return p.user }
func (p person) Project() string { return p.project }

func (p person) May(rule string, target map[string]string) error {
	holds := func(rules []string) bool { return slices.Contains(rules, rule) || slices.Contains(rules, "*") }
	id, owned := target["project_id"]
	if holds(p.all) || owned && id == p.project && holds(p.own) {
		return nil
	}
	return fmt.Errorf("rule %s: %w", rule, recovery.ErrForbidden)
}

// people are known by their tokens.
var people = map[string]person{
	"admin":  {user: "u-admin", project: "p-admin", all: []string{"*"}},
	"author": {user: "u-author", project: "p-one", own: []string{"*"}},
	"other":  {user: "u-other", project: "p-two", own: []string{"*"}},
	"third":  {user: "u-third", project: "p-three", own: []string{"*"}},
	"lost":   {user: "u-lost", own: []string{"*"}}, // of no project
	"reader": {user: "u-reader", project: "p-admin", all: []string{
		wasakariv1.RuleModuleRead, wasakariv1.RuleRunRead, wasakariv1.RuleFlowRead, wasakariv1.RuleNodeRead, wasakariv1.RuleEventRead,
	}},
	"nobody": {user: "u-nobody", project: "p-one"},
}

// world is a fake of all that the API asks.
type world struct {
	mu       sync.Mutex
	runs     []recovery.Run
	details  map[string]wasakariv1.Detail
	notes    map[string]recovery.Notification
	vmoves   []recovery.VMove
	nodes    []recovery.Node
	aborts   map[string]recovery.Abort
	retries  map[string]string
	versions []recovery.ModuleVersion
	bytes    map[string][]byte
	revision int64
	lag      bool // nodes do not compile
	flows    []wasakariv1.Flow
	owners   map[string]string
	lookups  int
	err      error
	admit    func(tenant string, wasm []byte) error
	entered  chan struct{} // when set, Admit tells that it was entered,
	admitted chan struct{} // and waits for this
	admits   []string      // tenants
}

func (s *world) lock() func() {
	s.mu.Lock()
	return s.mu.Unlock
}

func (s *world) Runs(context.Context) (iter.Seq[recovery.Run], error) {
	defer s.lock()()
	list := slices.Clone(s.runs)
	for i := range list { // as the store does
		list[i].Inputs, list[i].Modules = nil, nil
	}
	return slices.Values(list), s.err
}

func (s *world) RunDetail(_ context.Context, id string) (recovery.Run, wasakariv1.Detail, error) {
	defer s.lock()()
	if s.err != nil {
		return recovery.Run{}, wasakariv1.Detail{}, s.err
	}
	for _, r := range s.runs {
		if r.ID == id {
			return r, s.details[id], nil
		}
	}
	return recovery.Run{}, wasakariv1.Detail{}, fmt.Errorf("run %s: %w", id, recovery.ErrNotFound)
}

func (s *world) Notification(_ context.Context, uuid string) (recovery.Notification, error) {
	defer s.lock()()
	n, ok := s.notes[uuid]
	if !ok {
		return n, recovery.ErrNotFound
	}
	return n, s.err
}

func (s *world) VMoves(_ context.Context, uuid string) ([]recovery.VMove, error) {
	defer s.lock()()
	return slices.DeleteFunc(slices.Clone(s.vmoves), func(v recovery.VMove) bool { return v.NotificationUUID != uuid }), s.err
}

func (s *world) Abort(_ context.Context, run string, a recovery.Abort) error {
	defer s.lock()()
	s.aborts[run] = a
	return s.err
}

func (s *world) Retry(_ context.Context, uuid, override string) error {
	defer s.lock()()
	s.retries[uuid] = override
	n := s.notes[uuid]
	n.Status = recovery.StatusNew
	s.notes[uuid] = n
	return s.err
}

func (s *world) Nodes(context.Context) ([]recovery.Node, error) {
	defer s.lock()()
	nodes := slices.Clone(s.nodes)
	if !s.lag {
		for i := range nodes {
			nodes[i].Modules = s.revision
		}
	}
	return nodes, s.err
}

func (s *world) Modules(context.Context) ([]recovery.ModuleVersion, error) {
	defer s.lock()()
	return slices.Clone(s.versions), s.err
}

func (s *world) PutModule(_ context.Context, v recovery.ModuleVersion, wasm io.Reader) (recovery.ModuleVersion, int64, error) {
	b, err := io.ReadAll(wasm)
	defer s.lock()()
	if err = firstOf(err, s.err); err != nil {
		return v, 0, err
	}
	s.revision++
	v.Active = true
	for _, o := range s.versions {
		if o.Library == v.Library && o.Tenant == v.Tenant && o.Pinned {
			v.Active = false
		}
	}
	for i := range s.versions {
		if o := &s.versions[i]; v.Active && o.Library == v.Library && o.Tenant == v.Tenant {
			o.Active = false
		}
	}
	s.versions = append(slices.DeleteFunc(s.versions, func(o recovery.ModuleVersion) bool { return o.Digest == v.Digest && o.Tenant == v.Tenant }), v)
	s.bytes[v.Digest] = b
	return v, s.revision, nil
}

func firstOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *world) Module(_ context.Context, digest string) (io.ReadCloser, error) {
	defer s.lock()()
	b, ok := s.bytes[digest]
	if !ok {
		return nil, recovery.ErrNotFound
	}
	return io.NopCloser(bytes.NewReader(b)), s.err
}

func (s *world) PinModule(_ context.Context, tenant, library, digest string) (int64, error) {
	defer s.lock()()
	s.revision++
	for i := range s.versions {
		if o := &s.versions[i]; o.Library == library && o.Tenant == tenant {
			if digest != "" {
				o.Active = o.Digest == digest
			}
			o.Pinned = digest != "" && o.Active
		}
	}
	return s.revision, s.err
}

func (s *world) RemoveModule(_ context.Context, tenant, library, digest string) (int64, error) {
	defer s.lock()()
	of := func(o recovery.ModuleVersion) bool {
		return o.Library == library && o.Tenant == tenant && (digest == "" || o.Digest == digest)
	}
	for _, r := range s.runs {
		for _, d := range r.Modules {
			if !r.Finished && slices.ContainsFunc(s.versions, func(o recovery.ModuleVersion) bool { return of(o) && o.Digest == d }) {
				return 0, recovery.ErrInUse
			}
		}
	}
	s.revision++
	s.versions = slices.DeleteFunc(s.versions, of)
	return s.revision, s.err
}

func (s *world) Admit(ctx context.Context, tenant string, wasm []byte) (recovery.ModuleVersion, error) {
	if s.entered != nil {
		s.entered <- struct{}{}
		select {
		case <-s.admitted:
		case <-ctx.Done():
		}
	}
	defer s.lock()()
	s.admits = append(s.admits, tenant)
	if s.admit != nil {
		if err := s.admit(tenant, wasm); err != nil {
			return recovery.ModuleVersion{}, err
		}
	}
	m, err := abi.ReadManifest(wasm)
	if err != nil {
		return recovery.ModuleVersion{}, &wasakariv1.Refusal{Code: http.StatusUnprocessableEntity, Message: err.Error(), Hint: "give a .wasm file"}
	}
	v := recovery.ModuleVersion{Digest: digestOf(wasm), Library: m.Library, Version: m.Version, Size: int64(len(wasm))}
	for _, t := range m.Tasks {
		v.Keys = append(v.Keys, t.Key)
	}
	return v, nil
}

func (s *world) Flows(context.Context) ([]wasakariv1.Flow, error) {
	defer s.lock()()
	return s.flows, s.err
}

func (s *world) Tenant(_ context.Context, server string) (string, error) {
	defer s.lock()()
	s.lookups++
	t, ok := s.owners[server]
	if !ok {
		return "", recovery.ErrNotFound
	}
	return t, nil
}

// service is an API over HTTP, and what it asks.
type service struct {
	*world
	url    string
	events *wasakariv1.Events
	api    *wasakariv1.API
}

func serve(t *testing.T, w *world, change ...func(*wasakariv1.Config)) *service {
	t.Helper()
	if w == nil {
		w = &world{}
	}
	w.bytes, w.aborts, w.retries = map[string][]byte{}, map[string]recovery.Abort{}, map[string]string{}
	if w.nodes == nil {
		w.nodes = []recovery.Node{{Name: "n1"}}
	}
	events := wasakariv1.NewEvents(8)
	cfg := wasakariv1.Config{
		Caller: func(r *http.Request) (wasakariv1.Caller, error) {
			p, ok := people[r.Header.Get("X-Auth-Token")]
			if !ok {
				return nil, recovery.ErrUnauthorized
			}
			return p, nil
		},
		Store: w, Modules: w, Admit: w, Flows: w, Servers: w, Events: events, Logger: zaptest.NewLogger(t),
		CompileWait: 50 * time.Millisecond,
	}
	for _, f := range change {
		f(&cfg)
	}
	api, err := wasakariv1.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(api)
	t.Cleanup(func() {
		api.Close()
		server.Close()
	})
	return &service{world: w, url: server.URL + wasakariv1.Prefix, events: events, api: api}
}

// reply is an answer.
type reply struct {
	code   int
	header http.Header
	body   string
}

// call sends a request as a person; headers are "Name: value".
func (s *service) call(t *testing.T, as, method, path string, body []byte, headers ...string) reply {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, s.url+path, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Auth-Token", as)
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		req.Header.Set(name, value)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close() //nolint:errcheck // read to its end
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return reply{res.StatusCode, res.Header, string(b)}
}

func (s *service) get(t *testing.T, as, path string, headers ...string) reply {
	t.Helper()
	return s.call(t, as, http.MethodGet, path, nil, headers...)
}

func (s *service) upload(t *testing.T, as string, wasm []byte) reply {
	t.Helper()
	return s.call(t, as, http.MethodPost, "/modules", wasm, "Content-Type: application/wasm")
}

// into decodes an answer strictly.
func into[T any](t *testing.T, r reply, code int) T {
	t.Helper()
	var doc T
	if r.code != code {
		t.Fatalf("status %d, want %d\n%s", r.code, code, r.body)
	}
	dec := json.NewDecoder(strings.NewReader(r.body))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&doc); err != nil {
		t.Fatalf("%v\n%s", err, r.body)
	}
	return doc
}

// refused checks an error answer.
func refused(t *testing.T, r reply, code int, message string) {
	t.Helper()
	p := into[wasakariv1.Problem](t, r, code).Error
	if p.Code != code || p.Title != http.StatusText(code) {
		t.Errorf("code %d, title %q", p.Code, p.Title)
	}
	if message != "" && p.Message != message {
		t.Errorf("message %q, want %q", p.Message, message)
	}
}

// module makes a module of a library with these keys.
func module(t *testing.T, library, version string, keys ...string) []byte {
	t.Helper()
	m := &abi.Manifest{ABI: 1, Library: library, Version: version}
	for _, k := range keys {
		m.Tasks = append(m.Tasks, abi.ManifestTask{Key: k})
	}
	wasm, err := abi.AppendManifest([]byte("\x00asm\x01\x00\x00\x00"), m)
	if err != nil {
		t.Fatal(err)
	}
	return wasm
}

func digestOf(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}
