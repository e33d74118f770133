package main

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/wasakari/wasakari/engine"
	"github.com/wasakari/wasakari/store"
)

// The service manager hears of a process whose engine goes round and whose own
// store answers.
func TestAlive(t *testing.T) {
	st, err := store.Open(t.Context(), store.Config{Dir: filepath.Join(t.TempDir(), "store"), Node: "n1"})
	if err != nil {
		t.Fatal(err)
	}
	sv := &daemon{store: st, engine: engine.New(engine.Config{Node: "n1", Store: engineStore{st}, Flows: &performer{}, FirstJob: -1}), log: zap.NewNop()}
	ask := func(limit time.Duration) error {
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		defer cancel()
		return sv.alive(ctx)
	}
	if err := ask(time.Millisecond); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("without a loop: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- sv.engine.Run(ctx) }()
	if err := ask(time.Minute); err != nil {
		t.Errorf("at work: %v", err)
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	if err := ask(time.Minute); err == nil {
		t.Error("alive without its store")
	}
	sv.takeOverWait = time.Second // as with a cluster
	if err := ask(time.Minute); err != nil {
		t.Errorf("a cluster that is away: %v", err)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// The secret of webhooks may stand in a file of its own.
func TestWebhookSecretFile(t *testing.T) {
	type delivery struct {
		body      []byte
		signature string
	}
	got := make(chan delivery, 10)
	hook := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		got <- delivery{body, r.Header.Get("X-Wasakari-Signature")}
	}))
	defer hook.Close()
	p := newPlace(t, map[string]string{"secret": "a long random text\n"})
	r := p.run(t.Context(), t, "serve", "--simulate", "--listen", "127.0.0.1:0", "--set", "webhooks.url="+hook.URL, "--set", "webhooks.secret=file:DIR/none")
	if want := "wasakari: [webhooks] secret: its file cannot be read: no such file or directory; want file: and the absolute path of a file that holds the value alone: invalid\n"; r.code != exitUsage || !strings.HasSuffix(r.stderr, want) {
		t.Errorf("exit code %d, %q, want %d, %q", r.code, r.stderr, exitUsage, want)
	}
	s := p.serve(t, "--simulate", "--set", "webhooks.url="+hook.URL, "--set", "webhooks.secret=file:DIR/secret")
	s.ask(t, "POST", "/v1/notifications", deadHost("compute-2"), nil, nil)
	d := <-got
	mac := hmac.New(sha256.New, []byte("a long random text"))
	_, _ = mac.Write(d.body)
	if want := "sha256=" + hex.EncodeToString(mac.Sum(nil)); d.signature != want {
		t.Errorf("signature %s, want %s", d.signature, want)
	}
}
