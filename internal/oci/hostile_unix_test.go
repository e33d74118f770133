//go:build unix

package oci_test

import (
	"bytes"
	"compress/gzip"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/wasakari/wasakari/internal/oci"
	"github.com/wasakari/wasakari/recovery"
)

const manifestType = "application/vnd.oci.image.manifest.v1+json"

// hostile is a registry with TLS that has one artifact and answers as it likes,
// and another server that notes who comes with which password.
type hostile struct {
	*httptest.Server
	other    *httptest.Server
	manifest []byte
	answer   func(h *hostile, w http.ResponseWriter, r *http.Request) bool // true: it did

	mu     sync.Mutex
	visits []string // at the other server: method, path and Authorization
}

func newHostile(t *testing.T, answer func(h *hostile, w http.ResponseWriter, r *http.Request) bool) *hostile {
	t.Helper()
	h := &hostile{answer: answer}
	h.manifest = fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":%q,"config":{"mediaType":%q,"digest":%q,"size":2},"layers":[{"mediaType":%q,"digest":%q,"size":%d}]}`,
		manifestType, oci.ConfigType, sum([]byte("{}")), oci.LayerType, sum(wasm), len(wasm))
	h.other = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.visits = append(h.visits, r.Method+" "+r.URL.Path+" "+r.Header.Get("Authorization"))
		h.serve(w, r)
	}))
	t.Cleanup(h.other.Close)
	h.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if h.answer == nil || !h.answer(h, w, r) {
			h.serve(w, r)
		}
	}))
	t.Cleanup(h.Close)
	return h
}

func (h *hostile) serve(w http.ResponseWriter, r *http.Request) {
	data := wasm
	kind := "application/octet-stream"
	if strings.Contains(r.URL.Path, "/manifests/") {
		data, kind = h.manifest, manifestType
		w.Header().Set("Docker-Content-Digest", sum(data))
	}
	w.Header().Set("Content-Type", kind)
	w.Header().Set("Content-Length", fmt.Sprint(len(data)))
	if r.Method != http.MethodHead {
		_, _ = w.Write(data)
	}
}

// client has a login for the registry, and trusts its certificate.
func (h *hostile) client(t *testing.T) *oci.Client {
	t.Helper()
	login := base64.StdEncoding.EncodeToString([]byte("user:hunter2"))
	doc, err := json.Marshal(map[string]any{"auths": map[string]any{strings.TrimPrefix(h.URL, "https://"): map[string]string{"auth": login}}})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "config.json")
	if err := os.WriteFile(file, doc, 0o600); err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(h.Certificate())
	c, err := oci.New(oci.Config{RootCAs: pool, Credentials: file, MaxModule: 10_000, Timeout: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// reference names the artifact by its digest.
func (h *hostile) reference(t *testing.T) oci.Reference {
	t.Helper()
	return reference(t, oci.Scheme+strings.TrimPrefix(h.URL, "https://")+"/x@"+sum(h.manifest))
}

func isBlob(r *http.Request) bool { return strings.Contains(r.URL.Path, "/blobs/") }

// ask sends a challenge for a login.
func ask(w http.ResponseWriter, challenge string) bool {
	w.Header().Set("WWW-Authenticate", challenge)
	w.WriteHeader(http.StatusUnauthorized)
	return true
}

// A registry that means ill gets no password to another place, leads nobody from
// TLS to what has none, and slips no other module in.
func TestHostileRegistry(t *testing.T) {
	compressed := func(n int) []byte {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		_, _ = z.Write(make([]byte, n))
		_ = z.Close()
		return b.Bytes()
	}
	bomb := compressed(100 << 20) // before any client waits for it
	for _, tt := range []struct {
		name   string
		does   string
		answer func(h *hostile, w http.ResponseWriter, r *http.Request) bool
		is     error // nil: the module comes
	}{
		{name: "honest", does: "answers as it should"},
		{name: "down", does: "sends those who want the module to a place without TLS", is: recovery.ErrUnavailable, answer: func(h *hostile, w http.ResponseWriter, r *http.Request) bool {
			if isBlob(r) {
				http.Redirect(w, r, h.other.URL+r.URL.Path, http.StatusTemporaryRedirect)
			}
			return isBlob(r)
		}},
		{name: "manifest down", does: "sends those who want the manifest to a place without TLS", is: recovery.ErrUnavailable, answer: func(h *hostile, w http.ResponseWriter, r *http.Request) bool {
			http.Redirect(w, r, h.other.URL+r.URL.Path, http.StatusFound)
			return true
		}},
		{name: "file", does: "sends those who want the module to a file", is: recovery.ErrUnavailable, answer: func(_ *hostile, w http.ResponseWriter, r *http.Request) bool {
			if isBlob(r) {
				http.Redirect(w, r, "file:///etc/passwd", http.StatusTemporaryRedirect)
			}
			return isBlob(r)
		}},
		{name: "loop", does: "sends in circles", is: recovery.ErrUnavailable, answer: func(_ *hostile, w http.ResponseWriter, r *http.Request) bool {
			http.Redirect(w, r, r.URL.Path, http.StatusTemporaryRedirect)
			return true
		}},
		{name: "realm without TLS", does: "wants the password told to a place without TLS", is: recovery.ErrUnavailable, answer: func(h *hostile, w http.ResponseWriter, _ *http.Request) bool {
			return ask(w, `Bearer realm="`+h.other.URL+`/token",service="x"`)
		}},
		{name: "realm inside", does: "wants the password told to the machine itself", is: recovery.ErrUnavailable, answer: func(h *hostile, w http.ResponseWriter, _ *http.Request) bool {
			return ask(w, `Bearer realm="`+strings.Replace(h.other.URL, "http://127.0.0.1", "https://localhost", 1)+`/token",service="x"`)
		}},
		{name: "realm that leads on", does: "has its own place for tokens lead to a place without TLS", is: recovery.ErrUnavailable, answer: func(h *hostile, w http.ResponseWriter, r *http.Request) bool {
			if r.URL.Path == "/token" {
				http.Redirect(w, r, h.other.URL+"/token", http.StatusTemporaryRedirect)
				return true
			}
			return ask(w, `Bearer realm="`+h.URL+`/token",service="x"`)
		}},
		{name: "redirect with a password", does: "asks for the password and then sends on to a place without TLS", is: recovery.ErrUnavailable, answer: func(h *hostile, w http.ResponseWriter, r *http.Request) bool {
			if r.Header.Get("Authorization") == "" {
				return ask(w, `Basic realm="x"`)
			}
			http.Redirect(w, r, h.other.URL+r.URL.Path, http.StatusTemporaryRedirect)
			return true
		}},
		{name: "endless token", does: "answers with a token without end", is: recovery.ErrUnavailable, answer: func(h *hostile, w http.ResponseWriter, r *http.Request) bool {
			if r.URL.Path == "/token" {
				_, _ = w.Write([]byte(`{"token":"`))
				for range 1000 {
					_, _ = w.Write(bytes.Repeat([]byte("x"), 1000))
				}
				return true
			}
			return ask(w, `Bearer realm="`+h.URL+`/token",service="x"`)
		}},
		{name: "another manifest", does: "gives another manifest than that of the digest", is: recovery.ErrInvalid, answer: func(h *hostile, w http.ResponseWriter, r *http.Request) bool {
			if isBlob(r) {
				return false
			}
			w.Header().Set("Content-Type", manifestType)
			w.Header().Set("Content-Length", fmt.Sprint(len(h.manifest)))
			w.Header().Set("Docker-Content-Digest", sum(h.manifest))
			if r.Method != http.MethodHead {
				_, _ = w.Write(bytes.Replace(h.manifest, []byte(sum(wasm)), []byte(sum(nil)), 1))
			}
			return true
		}},
		{name: "manifest of another digest", does: "says itself that its manifest has another digest", is: recovery.ErrUnavailable, answer: func(h *hostile, w http.ResponseWriter, r *http.Request) bool {
			if isBlob(r) {
				return false
			}
			w.Header().Set("Content-Type", manifestType)
			w.Header().Set("Content-Length", fmt.Sprint(len(h.manifest)))
			w.Header().Set("Docker-Content-Digest", sum(nil))
			return true
		}},
		{name: "endless module", does: "gives a module without end", is: recovery.ErrInvalid, answer: func(_ *hostile, w http.ResponseWriter, r *http.Request) bool {
			if !isBlob(r) {
				return false
			}
			w.WriteHeader(http.StatusOK)
			for range 1000 {
				if _, err := w.Write(wasm); err != nil {
					break
				}
			}
			return true
		}},
		{name: "short module", does: "breaks off in the middle of the module", is: recovery.ErrUnavailable, answer: func(_ *hostile, w http.ResponseWriter, r *http.Request) bool {
			if !isBlob(r) {
				return false
			}
			w.Header().Set("Content-Length", fmt.Sprint(len(wasm)))
			_, _ = w.Write(wasm[:100])
			return true
		}},
		{name: "compressed", does: "gives 100 MiB in 100 KiB", is: recovery.ErrInvalid, answer: func(_ *hostile, w http.ResponseWriter, r *http.Request) bool {
			if !isBlob(r) {
				return false
			}
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = w.Write(bomb)
			return true
		}},
		{name: "manifest without a length", does: "gives a manifest of unknown length", is: recovery.ErrUnavailable, answer: func(_ *hostile, w http.ResponseWriter, r *http.Request) bool {
			if isBlob(r) {
				return false
			}
			w.Header().Set("Content-Type", manifestType)
			w.WriteHeader(http.StatusOK)
			w.(http.Flusher).Flush()
			for range 1000 {
				if _, err := w.Write(make([]byte, 1000)); err != nil {
					break
				}
			}
			return true
		}},
		{name: "curses", does: "writes terminal commands without end into its refusal", is: recovery.ErrForbidden, answer: func(_ *hostile, w http.ResponseWriter, _ *http.Request) bool {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusForbidden)
			_, _ = fmt.Fprintf(w, `{"errors":[{"code":"DENIED","message":%q}]}`, strings.Repeat("\\u001b[2J", 100_000))
			return true
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := newHostile(t, tt.answer)
			a, err := h.client(t).Pull(t.Context(), h.reference(t))
			if tt.is == nil && (err != nil || !bytes.Equal(a.Wasm, wasm)) || !errors.Is(err, tt.is) {
				t.Errorf("the registry %s: %d bytes, %.300v, want %v", tt.does, len(a.Wasm), err, tt.is)
			}
			if err != nil {
				if len(err.Error()) > 20_000 {
					t.Errorf("an error of %d bytes", len(err.Error()))
				}
			}
			h.mu.Lock()
			defer h.mu.Unlock()
			if len(h.visits) > 0 {
				t.Errorf("the registry %s: %q went there", tt.does, h.visits)
			}
		})
	}
}

// What a tag stands for is fetched by the digest that it had when it was asked
// for: a tag that moves meanwhile gives the one artifact or none, never parts of
// two.
func TestTagMoves(t *testing.T) {
	asked := 0
	h := newHostile(t, func(h *hostile, w http.ResponseWriter, r *http.Request) bool {
		if isBlob(r) {
			return false
		}
		if asked++; asked > 1 && strings.HasSuffix(r.URL.Path, "/1") {
			t.Errorf("%s %s: the tag was asked for again", r.Method, r.URL.Path)
		}
		return false
	})
	tag := reference(t, oci.Scheme+strings.TrimPrefix(h.URL, "https://")+"/x:1")
	a, err := h.client(t).Pull(t.Context(), tag)
	if err != nil || a.Reference.Digest() != sum(h.manifest) {
		t.Errorf("pull = %s, %v", a.Reference, err)
	}
}

// A registry that takes a module sends nobody elsewhere with it.
func TestHostilePush(t *testing.T) {
	for name, location := range map[string]func(h *hostile) string{
		"without TLS": func(h *hostile) string { return h.other.URL + "/upload" },
		"elsewhere":   func(*hostile) string { return "https://localhost:1/upload" },
		"a file":      func(*hostile) string { return "file:///etc/passwd" },
	} {
		t.Run(name, func(t *testing.T) {
			h := newHostile(t, func(h *hostile, w http.ResponseWriter, r *http.Request) bool {
				switch {
				case r.Header.Get("Authorization") == "":
					return ask(w, `Basic realm="x"`)
				case r.Method == http.MethodHead:
					w.WriteHeader(http.StatusNotFound)
				default:
					w.Header().Set("Location", location(h))
					w.WriteHeader(http.StatusAccepted)
				}
				return true
			})
			to := reference(t, oci.Scheme+strings.TrimPrefix(h.URL, "https://")+"/x:1")
			if _, err := h.client(t).Push(t.Context(), to, wasm, oci.Describe{}); !errors.Is(err, recovery.ErrUnavailable) {
				t.Errorf("push = %v, want unavailable", err)
			}
			h.mu.Lock()
			defer h.mu.Unlock()
			if len(h.visits) > 0 {
				t.Errorf("%q went there", h.visits)
			}
		})
	}
}

// What lies in the cache folder and is not what was put there does not count,
// and keeps nobody waiting.
func TestCacheHostile(t *testing.T) {
	reg := newRegistry(t)
	c := client(t, reg, oci.Config{})
	at, err := c.Push(t.Context(), reference(t, oci.Scheme+reg.host()+"/x:1"), wasm, oci.Describe{})
	if err != nil {
		t.Fatal(err)
	}
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("hunter2"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, plant := range map[string]func(file string) error{
		"a link":    func(file string) error { return os.Symlink(secret, file) },
		"a device":  func(file string) error { return os.Symlink("/dev/zero", file) },
		"a pipe":    func(file string) error { return syscall.Mkfifo(file, 0o600) },
		"cut off":   func(file string) error { return os.WriteFile(file, wasm[:100], 0o600) },
		"a byte":    func(file string) error { return os.WriteFile(file, append(bytes.Clone(wasm[:5007]), 1), 0o600) },
		"too long":  func(file string) error { return os.WriteFile(file, append(bytes.Clone(wasm), 0), 0o600) },
		"not there": func(string) error { return nil },
	} {
		for _, file := range []string{"module.wasm", "manifest.json"} {
			t.Run(name+" as "+file, func(t *testing.T) {
				dir := t.TempDir()
				cache := oci.NewCache(c, dir)
				if _, _, err := cache.Pull(t.Context(), at); err != nil {
					t.Fatal(err)
				}
				path := filepath.Join(dir, strings.ReplaceAll(at.Digest(), ":", "-"), file)
				if err := errors.Join(os.Remove(path), plant(path)); err != nil {
					t.Fatal(err)
				}
				before := reg.asked
				got, kept, err := cache.Pull(t.Context(), at)
				if err != nil || kept != nil || !bytes.Equal(got, wasm) || reg.asked == before {
					t.Errorf("pull = %d bytes, %v, %v", len(got), kept, err)
				}
				if text, err := os.ReadFile(secret); err != nil || string(text) != "hunter2" {
					t.Errorf("what the link leads to is now %q, %v", text, err)
				}
			})
		}
	}
}
