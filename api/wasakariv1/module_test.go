package wasakariv1_test

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wasakari/wasakari/api/wasakariv1"
	"github.com/wasakari/wasakari/recovery"
)

func TestUpload(t *testing.T) {
	s := serve(t, nil)
	wasm := module(t, "acme", "1.0.0", "custom_pre_task", "custom_post_task")
	doc := into[wasakariv1.ModuleAnswer](t, s.upload(t, "admin", wasm), http.StatusCreated)
	v := doc.Version
	if v.Digest != digestOf(wasm) || v.Tenant != "" || v.By != "u-admin" || !v.Active || v.Uploaded.IsZero() || v.Size != int64(len(wasm)) {
		t.Errorf("version %+v", v)
	}
	if len(doc.Waiting) != 0 || doc.Note != "" {
		t.Errorf("answer %+v", doc)
	}
	// The same once more is no error.
	if again := into[wasakariv1.ModuleAnswer](t, s.upload(t, "admin", wasm), http.StatusCreated); again.Version.Digest != v.Digest {
		t.Errorf("again %+v", again)
	}

	list := into[wasakariv1.ModuleList](t, s.get(t, "reader", "/modules"), http.StatusOK)
	if len(list.Modules) != 1 || list.Modules[0].Library != "acme" || list.Modules[0].Count != 1 || !slices.Equal(list.Modules[0].Keys, []string{"custom_pre_task", "custom_post_task"}) {
		t.Errorf("list %+v", list)
	}
	for _, key := range []string{"custom_pre_task", "custom_post_task"} {
		if m := into[wasakariv1.ModuleDocument](t, s.get(t, "reader", "/modules/"+key), http.StatusOK).Module; m.Active == nil || m.Active.Digest != v.Digest {
			t.Errorf("%s: %+v", key, m)
		}
	}
	r := s.get(t, "reader", "/modules/custom_pre_task/versions/"+v.Digest)
	if r.code != http.StatusOK || r.body != string(wasm) || r.header.Get("Content-Type") != "application/wasm" || r.header.Get("Etag") != `"`+v.Digest+`"` {
		t.Errorf("bytes: %d %v", r.code, r.header)
	}
	if r := s.get(t, "reader", "/modules/custom_pre_task/versions/sha256:"+strings.ToUpper(v.Digest), "If-None-Match: "+r.header.Get("Etag")); r.code != http.StatusNotModified || r.body != "" {
		t.Errorf("not modified: %d", r.code)
	}
}

func TestUploadRefused(t *testing.T) {
	wasm := module(t, "acme", "1.0.0", "custom_pre_task")
	sum := sha256.Sum256(wasm)
	other := sha256.Sum256([]byte("other"))
	tests := []struct {
		name    string
		as      string
		body    []byte
		path    string
		headers []string
		code    int
		message string
	}{
		{name: "without a token", as: "", body: wasm, code: 401, message: "the request needs a valid token"},
		{name: "without the role", as: "reader", body: wasm, code: 403, message: "the policy does not allow it"},
		{name: "role for one's own, but no project", as: "lost", body: wasm, code: 403},
		{name: "no module", as: "admin", body: []byte("hello"), code: 422},
		{name: "another type", as: "admin", body: wasm, headers: []string{"Content-Type: application/json"}, code: 415, message: `content type "application/json" is no module's`},
		{name: "digest of another body", as: "admin", body: wasm, headers: []string{fmt.Sprintf("X-Content-SHA256: %x", other)}, code: 400, message: fmt.Sprintf("the body's SHA-256 is %x, not what the header says", sum)},
		{name: "digest header of another body", as: "admin", body: wasm, headers: []string{"Digest: sha-256=" + base64.StdEncoding.EncodeToString(other[:])}, code: 400},
		{name: "content digest of another body", as: "admin", body: wasm, headers: []string{"Content-Digest: sha-256=:" + base64.StdEncoding.EncodeToString(other[:]) + ":"}, code: 400},
		{name: "no digest at all in the header", as: "admin", body: wasm, headers: []string{"X-Content-SHA256: abc"}, code: 400, message: "header X-Content-SHA256 holds no SHA-256"},
		{name: "half a digest", as: "admin", body: wasm, headers: []string{"Digest: sha-256=AAAA"}, code: 400, message: "header Digest holds no SHA-256"},
		{name: "too large", as: "admin", body: make([]byte, 2<<20), code: 413, message: "the module is larger than the 1048576 bytes that are taken"},
		{name: "unknown parameter", as: "admin", body: wasm, path: "?tenant=p-one", code: 400, message: `unknown parameter "tenant"`},
		{name: "bad wait", as: "admin", body: wasm, path: "?wait=-1", code: 400, message: `wait "-1" is none`},
		{name: "good digests", as: "admin", body: wasm, code: 201, headers: []string{
			fmt.Sprintf("X-Content-SHA256: %x", sum), "Digest: md5=xyz, SHA-256=" + base64.StdEncoding.EncodeToString(sum[:]),
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := serve(t, nil, func(c *wasakariv1.Config) { c.MaxModule = 1 << 20 })
			r := s.call(t, tt.as, http.MethodPost, "/modules"+tt.path, tt.body, append([]string{"Content-Type: application/wasm"}, tt.headers...)...)
			if tt.code == http.StatusCreated {
				into[wasakariv1.ModuleAnswer](t, r, tt.code)
				return
			}
			refused(t, r, tt.code, tt.message)
			if len(s.versions) != 0 {
				t.Error("it was kept")
			}
		})
	}
}

// Tenants whose uploads do not come keep no other one from his: they have no
// place until all is there.
func TestSlowUploads(t *testing.T) {
	s := serve(t, nil)
	type sending struct {
		w   *io.PipeWriter
		res chan int
	}
	slow := func(as string) sending {
		t.Helper()
		r, w := io.Pipe()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.url+"/modules", r)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("X-Auth-Token", as)
		req.Header.Set("Content-Type", "application/wasm")
		x := sending{w, make(chan int, 1)}
		go func() {
			res, err := http.DefaultClient.Do(req)
			if err != nil {
				x.res <- 0
				return
			}
			_ = res.Body.Close() // only its status counts
			x.res <- res.StatusCode
		}()
		return x
	}
	wasm := module(t, "mine", "1.0.0", "m_task")
	first, second := slow("author"), slow("other")
	for _, x := range []sending{first, second} {
		if _, err := x.w.Write(wasm[:10]); err != nil {
			t.Fatal(err)
		}
	}
	into[wasakariv1.ModuleAnswer](t, s.upload(t, "third", module(t, "theirs", "1.0.0", "t_task")), http.StatusCreated)
	into[wasakariv1.ModuleAnswer](t, s.upload(t, "admin", module(t, "ours", "1.0.0", "o_task")), http.StatusCreated)
	refused(t, s.upload(t, "author", wasm), 503, "too many modules are being uploaded")
	if _, err := first.w.Write(wasm[10:]); err != nil {
		t.Fatal(err)
	}
	for _, x := range []sending{first, second} {
		_ = x.w.Close() // the second one is not whole
	}
	if got := <-first.res; got != http.StatusCreated {
		t.Errorf("the first slow upload: %d, want 201", got)
	}
	if got := <-second.res; got == http.StatusCreated {
		t.Errorf("the upload that is not whole: %d", got)
	}
}

// A body that stops coming is given up long before the time for a whole one.
func TestUploadPace(t *testing.T) {
	s := serve(t, nil)
	rec := &deadlines{ResponseWriter: httptest.NewRecorder()}
	start := time.Now()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, wasakariv1.Prefix+"/modules",
		io.MultiReader(strings.NewReader(strings.Repeat("x", 512<<10)), &deadlines{}))
	r.Header.Set("X-Auth-Token", "author")
	r.Header.Set("Content-Type", "application/wasm")
	s.api.ServeHTTP(rec, r)
	if got := rec.last.Sub(start); got < 28*time.Second || got > 2*time.Minute {
		t.Errorf("after 512 KiB the next must come within %s, want 28 s", got)
	}
}

// deadlines notes until when something must be read; as a body, nothing comes.
type deadlines struct {
	http.ResponseWriter
	last time.Time
}

func (d *deadlines) SetReadDeadline(t time.Time) error { d.last = t; return nil }
func (d *deadlines) Read([]byte) (int, error)          { return 0, os.ErrDeadlineExceeded }

// A body without an announced length is bounded too.
func TestUploadStreamed(t *testing.T) {
	s := serve(t, nil, func(c *wasakariv1.Config) { c.MaxModule = 1 << 20 })
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.url+"/modules", struct{ *strings.Reader }{strings.NewReader(strings.Repeat("x", 3<<20))})
	if err != nil {
		t.Fatal(err)
	}
	req.ContentLength = -1
	req.Header.Set("X-Auth-Token", "admin")
	req.Header.Set("Content-Type", "application/wasm")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close() //nolint:errcheck // only its status counts
	if res.StatusCode != http.StatusRequestEntityTooLarge || len(s.admits) != 0 {
		t.Errorf("status %d, admitted %v", res.StatusCode, s.admits)
	}
}

// Whose a module is the token says; an author's is his project's.
func TestUploadTenant(t *testing.T) {
	s := serve(t, nil)
	wasm := module(t, "mine", "1.0.0", "my_task")
	if v := into[wasakariv1.ModuleAnswer](t, s.upload(t, "author", wasm), http.StatusCreated).Version; v.Tenant != "p-one" || v.By != "u-author" {
		t.Errorf("version %+v", v)
	}
	if !slices.Equal(s.admits, []string{"p-one"}) {
		t.Errorf("admitted for %q", s.admits)
	}
	for as, want := range map[string]int{"admin": 1, "author": 1, "other": 0, "reader": 1} {
		if l := into[wasakariv1.ModuleList](t, s.get(t, as, "/modules"), http.StatusOK); len(l.Modules) != want {
			t.Errorf("%s sees %+v, want %d", as, l, want)
		}
	}
	refused(t, s.get(t, "other", "/modules/my_task"), 404, "no uploaded module has a task my_task")
	refused(t, s.get(t, "other", "/modules/my_task/versions/"+digestOf(wasm)), 404, "")
	refused(t, s.call(t, "other", http.MethodDelete, "/modules/my_task", nil), 404, "")
	refused(t, s.get(t, "nobody", "/modules"), 403, "")
}

func TestKeyClash(t *testing.T) {
	first := module(t, "acme", "1.0.0", "a_task", "b_task")
	tests := []struct {
		name           string
		first, second  string // who uploads
		library        string
		code           int
		message        string
		hiddenFromThat string
	}{
		{name: "operator's two", first: "admin", second: "admin", library: "other", code: 409, message: "task b_task is in library acme 1.0.0 (sha256:%.12[1]s) too, besides library other 2.0.0 (sha256:%.12[2]s)"},
		{name: "a version of the same", first: "admin", second: "admin", library: "acme", code: 201},
		{name: "tenant against operator", first: "admin", second: "author", library: "other", code: 409, message: "task b_task of library other 2.0.0 (sha256:%.12[2]s) of tenant p-one is somebody else's already"},
		{name: "tenant against tenant", first: "other", second: "author", library: "other", code: 409, message: "task b_task of library other 2.0.0 (sha256:%.12[2]s) of tenant p-one is somebody else's already"},
		{name: "tenant against himself", first: "author", second: "author", library: "other", code: 409, message: "task b_task is in library acme 1.0.0 (sha256:%.12[1]s) of tenant p-one too, besides library other 2.0.0 (sha256:%.12[2]s) of tenant p-one"},
		{name: "nobody squats on the operator's keys", first: "author", second: "admin", library: "other", code: 201},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := serve(t, nil)
			into[wasakariv1.ModuleAnswer](t, s.upload(t, tt.first, first), http.StatusCreated)
			second := module(t, tt.library, "2.0.0", "b_task", "c_task")
			r := s.upload(t, tt.second, second)
			if tt.code == http.StatusCreated {
				into[wasakariv1.ModuleAnswer](t, r, tt.code)
				return
			}
			message := strings.ReplaceAll(strings.ReplaceAll(tt.message, "%.12[1]s", digestOf(first)[:12]), "%.12[2]s", digestOf(second)[:12])
			refused(t, r, tt.code, message)
		})
	}
}

func TestSameVersion(t *testing.T) {
	s := serve(t, nil)
	one := module(t, "acme", "1.0.0", "a_task")
	s.upload(t, "admin", one)
	refused(t, s.upload(t, "admin", module(t, "acme", "1.0.0", "a_task", "b_task")), 409, fmt.Sprintf("library acme 1.0.0 (sha256:%.12s) is there already, with other bytes", digestOf(one)))
	into[wasakariv1.ModuleAnswer](t, s.upload(t, "author", module(t, "acme", "1.0.0", "c_task")), http.StatusCreated) // another's
}

func TestOperatorSetsAside(t *testing.T) {
	s := serve(t, nil)
	theirs := module(t, "theirs", "1.0.0", "a_task")
	s.upload(t, "author", theirs)
	doc := into[wasakariv1.ModuleAnswer](t, s.upload(t, "admin", module(t, "acme", "1.0.0", "a_task")), http.StatusCreated)
	if want := fmt.Sprintf("it has a key of library theirs 1.0.0 (sha256:%.12s) of tenant p-one, which is not active any more", digestOf(theirs)); doc.Note != want {
		t.Errorf("note %q, want %q", doc.Note, want)
	}
}

func TestUploadWaitsForNodes(t *testing.T) {
	s := serve(t, &world{lag: true, nodes: []recovery.Node{{Name: "n1"}, {Name: "n2"}, {Name: "n3", Draining: true}}})
	doc := into[wasakariv1.ModuleAnswer](t, s.upload(t, "admin", module(t, "acme", "1.0.0", "a_task")), http.StatusAccepted)
	if !slices.Equal(doc.Waiting, []string{"n1", "n2"}) {
		t.Errorf("waiting for %q", doc.Waiting)
	}
	// Once they have it the same request is told so.
	done := make(chan reply)
	go func() {
		done <- s.call(t, "admin", http.MethodPost, "/modules?wait=600", module(t, "acme", "1.0.1", "a_task"), "Content-Type: application/wasm")
	}()
	for compiled := false; !compiled; {
		s.mu.Lock()
		if compiled = s.revision == 2; compiled {
			s.lag = false
		}
		s.mu.Unlock()
	}
	if doc := into[wasakariv1.ModuleAnswer](t, <-done, http.StatusCreated); len(doc.Waiting) != 0 {
		t.Errorf("waiting for %q", doc.Waiting)
	}
}

func TestPin(t *testing.T) {
	s := serve(t, nil)
	one, two, three := module(t, "acme", "1.0.0", "a_task"), module(t, "acme", "1.1.0", "a_task"), module(t, "acme", "1.2.0", "a_task")
	s.upload(t, "admin", one)
	s.upload(t, "admin", two)
	pin := func(digest string) reply {
		return s.call(t, "admin", http.MethodPut, "/modules/a_task/pin", []byte(`{"digest":"`+digest+`"}`))
	}
	refused(t, pin("abc"), 400, `"abc" is no digest`)
	refused(t, pin(digestOf(three)), 404, "")
	refused(t, s.call(t, "reader", http.MethodPut, "/modules/a_task/pin", nil), 403, "")
	if v := into[wasakariv1.ModuleAnswer](t, pin("sha256:"+digestOf(one)), http.StatusOK).Version; !v.Active || !v.Pinned || v.Version != "1.0.0" {
		t.Errorf("pinned %+v", v)
	}
	// An upload does not replace what is pinned, and says so.
	doc := into[wasakariv1.ModuleAnswer](t, s.upload(t, "admin", three), http.StatusCreated)
	if doc.Version.Active || doc.Note != "another version is pinned and stays the active one" {
		t.Errorf("upload beside a pin: %+v", doc)
	}
	list := into[wasakariv1.VersionList](t, s.get(t, "reader", "/modules/a_task/versions"), http.StatusOK).Versions
	var versions []string
	for _, v := range list {
		versions = append(versions, fmt.Sprintf("%s %t %t", v.Version, v.Active, v.Pinned))
	}
	if want := []string{"1.2.0 false false", "1.1.0 false false", "1.0.0 true true"}; !slices.Equal(versions, want) {
		t.Errorf("versions %q, want %q", versions, want)
	}
	if m := into[wasakariv1.ModuleDocument](t, s.call(t, "admin", http.MethodDelete, "/modules/a_task/pin", nil), http.StatusOK).Module; m.Pinned || m.Active.Version != "1.0.0" {
		t.Errorf("unpinned %+v", m)
	}
	if v := into[wasakariv1.ModuleAnswer](t, s.upload(t, "admin", three), http.StatusCreated).Version; !v.Active {
		t.Errorf("after the pin: %+v", v)
	}
}

func TestRemove(t *testing.T) {
	one, two := module(t, "acme", "1.0.0", "a_task"), module(t, "acme", "1.1.0", "a_task")
	tests := []struct {
		name    string
		as      string
		world   *world
		digest  string
		code    int
		message string
	}{
		{name: "an old version", as: "admin", digest: digestOf(one), code: 204},
		{name: "the active version", as: "admin", digest: digestOf(two), code: 409, message: "version 1.1.0 of library acme (sha256:" + digestOf(two) + ") is the active one"},
		{name: "a version that is not there", as: "admin", digest: strings.Repeat("0", 64), code: 404},
		{name: "the module", as: "admin", code: 204},
		{name: "without the role", as: "reader", code: 403},
		{
			name: "a version that a run uses", as: "admin", digest: digestOf(one), code: 409, message: "run r1 uses library acme",
			world: &world{runs: []recovery.Run{{ID: "r0", Finished: true, Modules: map[string]string{"a_task": digestOf(one)}}, {ID: "r1", Modules: map[string]string{"a_task": digestOf(one)}}}},
		},
		{
			name: "a module that a run uses", as: "admin", code: 409, message: "run r1 uses library acme",
			world: &world{runs: []recovery.Run{{ID: "r1", Modules: map[string]string{"a_task": digestOf(one)}}}},
		},
		{
			name: "a version that a run used", as: "admin", digest: digestOf(one), code: 204,
			world: &world{runs: []recovery.Run{{ID: "r0", Finished: true, Modules: map[string]string{"a_task": digestOf(one)}}}},
		},
		{
			name: "a module in a flow", as: "admin", code: 409, message: "task a_task of library acme stands in flow host-auto (f.conf:3:1)",
			world: &world{flows: []wasakariv1.Flow{{Kind: recovery.HostAuto, Tasks: []wasakariv1.FlowTask{{Key: "a_task", Library: "acme", At: "f.conf:3:1"}}}}},
		},
		{
			name: "an old version of a module in a flow", as: "admin", digest: digestOf(one), code: 204,
			world: &world{flows: []wasakariv1.Flow{{Kind: recovery.HostAuto, Tasks: []wasakariv1.FlowTask{{Key: "a_task", Library: "acme"}}}}},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := serve(t, tt.world)
			s.upload(t, "admin", one)
			s.upload(t, "admin", two)
			path := "/modules/a_task"
			if tt.digest != "" {
				path += "/versions/" + tt.digest
			}
			r := s.call(t, tt.as, http.MethodDelete, path, nil)
			if tt.code == http.StatusNoContent {
				if r.code != tt.code || r.body != "" {
					t.Errorf("status %d: %s", r.code, r.body)
				}
				want := 1
				if tt.digest == "" {
					want = 0
				}
				if len(s.versions) != want {
					t.Errorf("left are %+v", s.versions)
				}
				return
			}
			refused(t, r, tt.code, tt.message)
			if len(s.versions) != 2 {
				t.Errorf("left are %+v", s.versions)
			}
		})
	}
}

func TestUploadQuota(t *testing.T) {
	s := serve(t, nil, func(c *wasakariv1.Config) { c.MaxVersions = 1 })
	one := module(t, "mine", "1.0.0", "a_task")
	s.upload(t, "author", one)
	refused(t, s.upload(t, "author", module(t, "mine", "1.1.0", "a_task")), 413, "the project has 1 versions of modules, which is all it may have")
	into[wasakariv1.ModuleAnswer](t, s.upload(t, "author", one), http.StatusCreated) // there already
	into[wasakariv1.ModuleAnswer](t, s.upload(t, "admin", module(t, "a", "1.0.0", "c_task")), http.StatusCreated)
	into[wasakariv1.ModuleAnswer](t, s.upload(t, "admin", module(t, "a", "1.0.1", "c_task")), http.StatusCreated)
}

// A tenant who uploads keeps neither the operator waiting nor takes a second
// place.
func TestUploadsAtATime(t *testing.T) {
	s := serve(t, &world{entered: make(chan struct{}), admitted: make(chan struct{})})
	done := make(chan reply, 9)
	start := func(as string, wasm []byte) {
		t.Helper()
		go func() { done <- s.upload(t, as, wasm) }()
		<-s.entered
	}
	start("author", module(t, "mine", "1.0.0", "m_task"))
	r := s.upload(t, "author", module(t, "mine", "1.0.1", "m_task"))
	refused(t, r, 503, "too many modules are being uploaded")
	if r.header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	start("admin", module(t, "a", "1.0.0", "a_task"))
	start("admin", module(t, "b", "1.0.0", "b_task"))
	// More of the operator's wait for their turn, to a bound.
	for i := range 6 {
		wasm := module(t, fmt.Sprint("c", i), "1.0.0", fmt.Sprintf("c%d_task", i))
		go func() {
			r := s.upload(t, "admin", wasm)
			for r.code == http.StatusServiceUnavailable { // the one below was there at the moment
				r = s.upload(t, "admin", wasm)
			}
			done <- r
		}()
	}
	var one reply
	for one = (reply{code: http.StatusCreated}); one.code != http.StatusServiceUnavailable; { // as soon as all have come
		one = s.call(t, "admin", http.MethodPost, "/modules", []byte("\x00asm"), "Content-Type: application/wasm", "X-Content-SHA256: "+strings.Repeat("0", 64))
	}
	refused(t, one, 503, "too many modules are being uploaded")
	go func() {
		for range 6 {
			<-s.entered
		}
	}()
	close(s.admitted)
	for range 9 {
		if r := <-done; r.code != http.StatusCreated {
			t.Errorf("status %d: %s", r.code, r.body)
		}
	}
	// The places are free again.
	go func() { <-s.entered }()
	into[wasakariv1.ModuleAnswer](t, s.upload(t, "author", module(t, "mine", "1.0.1", "m_task")), http.StatusCreated)
}
