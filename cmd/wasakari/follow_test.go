package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/wasakari/wasakari/config"
	"github.com/wasakari/wasakari/internal/audit"
)

// A configuration that is good takes the place of the former one; one that is
// not leaves it, and is told of.
func TestFollow(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "wasakari.conf")
	write := func(text string) {
		t.Helper()
		if err := errors.Join(os.WriteFile(file+".new", []byte(text), 0o600), os.Rename(file+".new", file)); err != nil {
			t.Fatal(err)
		}
	}
	read := func() (*config.Config, error) { return config.Load(config.Sources{Files: []string{file}}) }
	write("[DEFAULT]\nverify_interval = 1\n")
	first, err := read()
	if err != nil {
		t.Fatal(err)
	}
	core, logs := observer.New(zap.InfoLevel)
	var lines bytes.Buffer
	signals := make(chan os.Signal, 1)
	loaded := make(chan struct{}, 10)
	var applied []string
	f := &follower{
		now: first, signals: signals, read: read, files: func(*config.Config) []string { return nil }, // signals alone: one load for each
		apply: func(_ context.Context, cfg *config.Config) error {
			if cfg.Default.Host == "refused" {
				return errors.New("task x: not granted")
			}
			applied = append(applied, cfg.Default.VerifyInterval.String())
			return nil
		},
		log: zap.New(core),
	}
	f.audit = audit.New(audit.Config{Writer: &lines, Observe: func(string, error) { loaded <- struct{}{} }})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); f.follow(ctx) }()
	for _, text := range []string{
		"[DEFAULT]\nverify_interval = 2\n[store]\nlease_seconds = 20\n", "[DEFAULT]\nverify_interval = x\n", "[DEFAULT]\nhost = refused\nverify_interval = 3\n",
		"[DEFAULT]\nverify_interval = 4\n[store]\nlease_seconds = 20\n",
	} {
		write(text)
		signals <- syscall.SIGHUP
		<-loaded
	}
	cancel()
	<-ended
	if got, want := strings.Join(applied, " "), "2s 4s"; got != want {
		t.Errorf("applied %s, want %s", got, want)
	}
	flags := &settings{configFiles: []string{"more.conf"}, configDirs: []string{"conf.d"}}
	if got, want := configFiles(f.now, flags), []string{file, "more.conf", "conf.d"}; !slices.Equal(got, want) {
		t.Errorf("files = %q, want %q", got, want)
	}
	if f.now.Default.VerifyInterval.String() != "4s" {
		t.Errorf("what holds has verify_interval %s", f.now.Default.VerifyInterval)
	}
	for _, want := range []string{`"op":"config.reload","outcome":"done"`, `"outcome":"refused","message":"hangup: ` + file + `:2:19: option [DEFAULT] verify_interval: `, "hangup: task x: not granted"} {
		if !strings.Contains(lines.String(), want) {
			t.Errorf("audit log has no %s:\n%s", want, lines.String())
		}
	}
	restarts := logs.FilterMessage("restart needed").All()
	if len(restarts) != 1 || !strings.Contains(restarts[0].ContextMap()["reason"].(string), "option [store] lease_seconds was changed") {
		t.Errorf("restarts: %v", restarts)
	}
	changed := logs.FilterMessage("option changed").All()
	if len(changed) < 3 || changed[0].ContextMap()["option"] != "[DEFAULT] verify_interval" || changed[0].ContextMap()["value"] != "2" {
		t.Errorf("changed: %v", changed)
	}
}
