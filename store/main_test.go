package store_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/wasakari/wasakari/recovery"
	"github.com/wasakari/wasakari/store"
	"github.com/wasakari/wasakari/store/storetest"
)

const childEnv = "STORE_TEST_CHILD"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childEnv); dir != "" {
		if err := child(dir); err != nil {
			fmt.Println(err)
		}
		return
	}
	code := m.Run()
	storetest.RemoveEtcd()
	os.Exit(code)
}

// child claims a run, writes intents, and tells of each when it is durable.
func child(dir string) error {
	ctx := context.Background()
	s, err := store.Open(ctx, store.Config{Dir: dir, Node: "n1"})
	if err != nil {
		return err
	}
	seg, err := s.CreateSegment(ctx, recovery.Segment{Name: "seg"})
	if err != nil {
		return err
	}
	if _, err := s.CreateHost(ctx, recovery.Host{Name: "h1", SegmentUUID: seg.UUID}); err != nil {
		return err
	}
	n, err := s.Accept(ctx, recovery.Notification{UUID: "n", Type: recovery.ComputeHost, HostName: "h1"}, 0)
	if err != nil {
		return err
	}
	r, err := s.Claim(ctx, n.UUID)
	if err != nil {
		return err
	}
	for i := range 100_000 {
		if err := r.BeginIntent(ctx, recovery.Intent{ID: fmt.Sprint(i)}); err != nil {
			return err
		}
		fmt.Println(i)
	}
	return nil
}

// What was acknowledged is there after the process was killed, and its claims
// are free at once.
func TestKilledProcess(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), exe)
	cmd.Env = append(os.Environ(), childEnv+"="+dir)
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	acked := -1
	lines := bufio.NewScanner(out)
	for acked < 50 && lines.Scan() {
		if lines.Text() != fmt.Sprint(acked+1) {
			t.Fatalf("child: %s", lines.Text())
		}
		acked++
	}
	if _, err := store.Open(t.Context(), store.Config{Dir: dir, Node: "n1"}); !errors.Is(err, recovery.ErrConflict) {
		t.Errorf("open while the child works: %v", err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	for lines.Scan() {
		acked++
	}
	_ = cmd.Wait() // it was killed
	s := open(t, dir)
	r, err := s.Claim(t.Context(), "n")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	got, err := r.OpenIntents(t.Context())
	if err != nil || len(got) <= acked {
		t.Errorf("%d intents are there, %v, want all %d that were acknowledged", len(got), err, acked+1)
	}
	if err := r.Check(t.Context(), 0); err != nil {
		t.Errorf("check: %v", err)
	}
}
