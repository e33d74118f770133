package oci_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wasakari/wasakari/internal/oci"
	"github.com/wasakari/wasakari/recovery"
)

func TestParseReference(t *testing.T) {
	digest := "sha256:" + strings.Repeat("a", 64)
	for _, tt := range []struct{ text, want, tag, digest string }{
		{"oci://r.example.com/acme/x:1.0", "oci://r.example.com/acme/x:1.0", "1.0", ""},
		{"oci://127.0.0.1:5000/x@" + digest, "oci://127.0.0.1:5000/x@" + digest, "", digest},
		{"oci://r.example.com/x:1@" + digest, "oci://r.example.com/x:1@" + digest, "1", digest},
	} {
		r, err := oci.ParseReference(tt.text)
		if err != nil || r.String() != tt.want || r.Tag() != tt.tag || r.Digest() != tt.digest {
			t.Errorf("%s: got %s, tag %q, digest %q, %v", tt.text, r, r.Tag(), r.Digest(), err)
		}
	}
	for _, text := range []string{
		"", "r.example.com/x:1", "oci://", "oci://x", "oci://r.example.com/", "oci://r.example.com/x", "oci://r.example.com/X:1", "https://r.example.com/x:1",
		"oci://r.example.com/x@sha256:abc", "oci://r.example.com/x@sha512:" + strings.Repeat("a", 128), "oci://u:p@r.example.com/x:1", "oci://r.example.com/x:1 2",
	} {
		if r, err := oci.ParseReference(text); !errors.Is(err, recovery.ErrInvalid) {
			t.Errorf("%q: got %s, %v, want invalid", text, r, err)
		}
	}
}

func FuzzParseReference(f *testing.F) {
	f.Add("oci://r.example.com/acme/x:1.0@sha256:" + strings.Repeat("a", 64))
	f.Fuzz(func(t *testing.T, text string) {
		r, err := oci.ParseReference(text)
		if err != nil {
			return
		}
		again, err := oci.ParseReference(r.String())
		if err != nil || again != r {
			t.Errorf("%q: %q is read as %v, %v", text, r, again, err)
		}
	})
}

// registry is a small registry: what was put, and what it is made to answer.
type registry struct {
	*httptest.Server
	mu     sync.Mutex
	things map[string]thing // by path
	asked  int
	answer func(w http.ResponseWriter, r *http.Request) bool // true: it did
}

type thing struct {
	kind string
	data []byte
}

func sum(data []byte) string {
	d := sha256.Sum256(data)
	return "sha256:" + hex.EncodeToString(d[:])
}

func newRegistry(t *testing.T) *registry {
	reg := &registry{things: map[string]thing{}}
	reg.Server = httptest.NewServer(reg)
	t.Cleanup(reg.Close)
	return reg
}

func (reg *registry) host() string { return strings.TrimPrefix(reg.URL, "http://") }

func (reg *registry) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	reg.mu.Lock()
	defer reg.mu.Unlock()
	reg.asked++
	if reg.answer != nil && reg.answer(w, r) {
		return
	}
	switch r.Method {
	case http.MethodPost:
		w.Header().Set("Location", r.URL.Path+"session")
		w.WriteHeader(http.StatusAccepted)
	case http.MethodPut:
		data, _ := io.ReadAll(r.Body)
		at := r.URL.Path
		if d := r.URL.Query().Get("digest"); d != "" {
			at = strings.TrimSuffix(at, "uploads/session") + d
		} else {
			reg.things[filepath.Dir(at)+"/"+sum(data)] = thing{r.Header.Get("Content-Type"), data}
			w.Header().Set("Docker-Content-Digest", sum(data))
		}
		reg.things[at] = thing{r.Header.Get("Content-Type"), data}
		w.WriteHeader(http.StatusCreated)
	default:
		x, ok := reg.things[r.URL.Path]
		if !ok {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		w.Header().Set("Content-Type", x.kind)
		if strings.Contains(r.URL.Path, "/manifests/") {
			w.Header().Set("Docker-Content-Digest", sum(x.data))
		}
		w.Header().Set("Content-Length", fmt.Sprint(len(x.data)))
		if r.Method != http.MethodHead {
			_, _ = w.Write(x.data)
		}
	}
}

func (reg *registry) put(path, kind string, data []byte) {
	reg.mu.Lock()
	defer reg.mu.Unlock()
	reg.things[path] = thing{kind, data}
}

func client(t *testing.T, reg *registry, cfg oci.Config) *oci.Client {
	t.Helper()
	cfg.PlainHTTP = []string{reg.host()}
	c, err := oci.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func reference(t *testing.T, text string) oci.Reference {
	t.Helper()
	r, err := oci.ParseReference(text)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

var wasm = append([]byte("\x00asm\x01\x00\x00\x00"), make([]byte, 5000)...)

func TestPushAndPull(t *testing.T) {
	reg := newRegistry(t)
	c := client(t, reg, oci.Config{})
	to := reference(t, oci.Scheme+reg.host()+"/acme/recovery:1.4.0")
	at, err := c.Push(t.Context(), to, wasm, oci.Describe{Title: "acme-recovery", Version: "1.4.0"})
	if err != nil {
		t.Fatal(err)
	}
	if again, err := c.Push(t.Context(), to, wasm, oci.Describe{Title: "acme-recovery", Version: "1.4.0"}); err != nil || again != at {
		t.Errorf("pushed again: %s, %v, want %s: the same module is the same artifact", again, err, at)
	}
	for _, r := range []oci.Reference{to, at, reference(t, strings.Replace(at.String(), ":1.4.0@", "@", 1))} {
		a, err := c.Pull(t.Context(), r)
		if err != nil || string(a.Wasm) != string(wasm) || a.Reference.Digest() != at.Digest() {
			t.Errorf("pull %s: %d bytes of %s, %v", r, len(a.Wasm), a.Reference, err)
		}
	}

	// The layout, as other tools read it.
	var m struct {
		MediaType   string
		Config      struct{ MediaType, Digest string }
		Layers      []struct{ MediaType, Digest string }
		Annotations map[string]string
	}
	var conf struct {
		Architecture, OS string
		LayerDigests     []string
	}
	base := "/v2/acme/recovery/"
	if err := json.Unmarshal(reg.things[base+"manifests/1.4.0"].data, &m); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(reg.things[base+"blobs/"+m.Config.Digest].data, &conf); err != nil {
		t.Fatal(err)
	}
	got := fmt.Sprint(m, conf)
	want := fmt.Sprintf("{application/vnd.oci.image.manifest.v1+json {application/vnd.wasm.config.v0+json %s} [{application/wasm %s}] map[org.opencontainers.image.created:1970-01-01T00:00:00Z org.opencontainers.image.title:acme-recovery org.opencontainers.image.version:1.4.0]} {wasm wasip1 [%s]}",
		m.Config.Digest, sum(wasm), sum(wasm))
	if got != want {
		t.Errorf("artifact:\n got %s\nwant %s", got, want)
	}
}

func TestPullRefuses(t *testing.T) {
	manifest := func(config, layer string, size int, layers ...string) []byte {
		one := fmt.Sprintf(`{"mediaType":%q,"digest":%q,"size":%d}`, layer, sum(wasm), size)
		return fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":%q,"digest":%q,"size":2},"layers":[%s]}`,
			config, sum([]byte("{}")), strings.Join(append([]string{one}, layers...), ","))
	}
	good := manifest(oci.ConfigType, oci.LayerType, len(wasm))
	for _, tt := range []struct {
		name     string
		manifest []byte
		layer    []byte
		answer   func(w http.ResponseWriter, r *http.Request) bool
		is       error
		says     string
	}{
		{name: "an image", manifest: manifest("application/vnd.oci.image.config.v1+json", oci.LayerType, len(wasm)), is: recovery.ErrInvalid, says: "it is no wasm artifact"},
		{name: "another layer", manifest: manifest(oci.ConfigType, "application/x-tar", len(wasm)), is: recovery.ErrInvalid, says: "1 layers; want one, of type application/wasm"},
		{name: "two layers", manifest: manifest(oci.ConfigType, oci.LayerType, len(wasm), `{"mediaType":"application/wasm"}`), is: recovery.ErrInvalid, says: "2 layers"},
		{name: "too large", manifest: manifest(oci.ConfigType, oci.LayerType, 10001), is: recovery.ErrTooLarge, says: "a module of 10001 bytes, at most 10000"},
		{name: "a negative size", manifest: manifest(oci.ConfigType, oci.LayerType, -1), is: recovery.ErrTooLarge, says: "-1 bytes"},
		{name: "a large manifest", manifest: append(good, make([]byte, 70000)...), is: recovery.ErrTooLarge, says: "a manifest of"},
		{name: "no JSON", manifest: []byte("{"), is: recovery.ErrInvalid, says: "its manifest is none"},
		{name: "another module", manifest: good, layer: append([]byte("x"), wasm[1:]...), is: recovery.ErrInvalid, says: "mismatch"},
		{name: "not there", manifest: nil, is: recovery.ErrNotFound, says: "not found"},
		{name: "no leave", manifest: good, is: recovery.ErrForbidden, says: "log in", answer: func(w http.ResponseWriter, _ *http.Request) bool {
			w.WriteHeader(http.StatusForbidden)
			return true
		}},
		{name: "a login that is not there", manifest: good, is: recovery.ErrForbidden, says: "log in", answer: func(w http.ResponseWriter, _ *http.Request) bool {
			w.Header().Set("WWW-Authenticate", `Basic realm="r"`)
			w.WriteHeader(http.StatusUnauthorized)
			return true
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			reg := newRegistry(t)
			reg.answer = tt.answer
			if tt.manifest != nil {
				reg.put("/v2/x/manifests/1", "application/vnd.oci.image.manifest.v1+json", tt.manifest)
				reg.put("/v2/x/manifests/"+sum(tt.manifest), "application/vnd.oci.image.manifest.v1+json", tt.manifest)
			}
			layer := wasm
			if tt.layer != nil {
				layer = tt.layer
			}
			reg.put("/v2/x/blobs/"+sum(wasm), "application/octet-stream", layer)
			_, err := client(t, reg, oci.Config{MaxModule: 10000}).Pull(t.Context(), reference(t, oci.Scheme+reg.host()+"/x:1"))
			if !errors.Is(err, tt.is) || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("error = %v, want %v and %q", err, tt.is, tt.says)
			}
		})
	}
	t.Run("a registry that hangs", func(t *testing.T) {
		reg := newRegistry(t)
		hang := make(chan struct{})
		t.Cleanup(func() { close(hang) })
		reg.answer = func(http.ResponseWriter, *http.Request) bool { <-hang; return true }
		_, err := client(t, reg, oci.Config{Timeout: 10 * time.Millisecond}).Pull(t.Context(), reference(t, oci.Scheme+reg.host()+"/x:1"))
		if !errors.Is(err, recovery.ErrTimeout) {
			t.Errorf("error = %v, want a timeout", err)
		}
	})
	t.Run("canceled", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		reg := newRegistry(t)
		if _, err := client(t, reg, oci.Config{}).Pull(ctx, reference(t, oci.Scheme+reg.host()+"/x:1")); !errors.Is(err, context.Canceled) {
			t.Errorf("error = %v, want canceled", err)
		}
	})
}

// Without a folder nothing is kept, neither here nor where the process stands.
func TestCacheNowhere(t *testing.T) {
	reg := newRegistry(t)
	c := client(t, reg, oci.Config{})
	at, err := c.Push(t.Context(), reference(t, oci.Scheme+reg.host()+"/x:1"), wasm, oci.Describe{})
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir())
	theirs := "sha256-" + strings.Repeat("0", 64)
	if err := os.Mkdir(theirs, 0o700); err != nil {
		t.Fatal(err)
	}
	cache := oci.NewCache(c, "")
	for range 2 {
		before := reg.asked
		got, kept, err := cache.Pull(t.Context(), at)
		if err != nil || kept != nil || string(got) != string(wasm) || reg.asked == before {
			t.Errorf("pull = %d bytes, %v, %v, the registry asked %d times", len(got), kept, err, reg.asked-before)
		}
	}
	if err := cache.Prune(nil); err != nil {
		t.Error(err)
	}
	if entries, err := os.ReadDir("."); err != nil || len(entries) != 1 || entries[0].Name() != theirs {
		t.Errorf("entries = %v, %v, want nothing more and nothing less", entries, err)
	}
}

func TestCache(t *testing.T) {
	reg := newRegistry(t)
	c := client(t, reg, oci.Config{})
	at, err := c.Push(t.Context(), reference(t, oci.Scheme+reg.host()+"/x:1"), wasm, oci.Describe{})
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "registries")
	cache := oci.NewCache(c, dir)
	pull := func(asks bool) {
		t.Helper()
		before := reg.asked
		got, kept, err := cache.Pull(t.Context(), at)
		if err != nil || kept != nil || string(got) != string(wasm) {
			t.Fatalf("pull = %d bytes, %v, %v", len(got), kept, err)
		}
		if asked := reg.asked > before; asked != asks {
			t.Errorf("the registry was asked: %v, want %v", asked, asks)
		}
	}
	if _, _, err := cache.Pull(t.Context(), reference(t, oci.Scheme+reg.host()+"/x:1")); !errors.Is(err, recovery.ErrInvalid) {
		t.Errorf("a tag: %v, want invalid", err)
	}
	pull(true)
	pull(false)
	folder := filepath.Join(dir, strings.ReplaceAll(at.Digest(), ":", "-"))
	for _, name := range []string{"module.wasm", "manifest.json"} { // damaged in the folder
		if err := os.WriteFile(filepath.Join(folder, name), []byte("{}"), 0o600); err != nil {
			t.Fatal(err)
		}
		pull(true)
		pull(false)
	}
	if err := cache.Prune([]oci.Reference{at}); err != nil {
		t.Fatal(err)
	}
	pull(false)
	if err := cache.Prune(nil); err != nil {
		t.Fatal(err)
	}
	pull(true)
}

// A registry without TLS, which nobody named as one: what to write is said.
func TestRegistryWithoutTLS(t *testing.T) {
	reg := newRegistry(t)
	c, err := oci.New(oci.Config{MaxModule: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	_, err = c.Pull(t.Context(), reference(t, "oci://"+reg.host()+"/acme/x:1"))
	if want := "give --plain-http, or write below [registries]: plain_http = " + reg.host(); err == nil || !strings.HasSuffix(err.Error(), want) {
		t.Errorf("error = %v, want at its end %s", err, want)
	}
}
