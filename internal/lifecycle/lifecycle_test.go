package lifecycle_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"regexp"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/wasakari/wasakari/internal/lifecycle"
)

// manager is a service manager: next gives what it was told.
func manager(t *testing.T) (next func() string) {
	t.Helper()
	name := filepath.Join(t.TempDir(), "notify")
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	t.Setenv("NOTIFY_SOCKET", name)
	return func() string {
		b := make([]byte, 4096)
		n, err := c.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		return string(b[:n])
	}
}

func TestNotify(t *testing.T) {
	next := manager(t)
	var n lifecycle.Notifier
	n.Ready("serving\nat :15868")
	n.Reloading()
	n.Status("working")
	n.Stopping("2 runs at work")
	for _, want := range []string{
		`^READY=1\nSTATUS=serving; at :15868$`, `^RELOADING=1\nMONOTONIC_USEC=[0-9]+$`, `^STATUS=working$`, `^STOPPING=1\nSTATUS=2 runs at work$`,
	} {
		if got := next(); !regexp.MustCompile(want).MatchString(got) {
			t.Errorf("told %q, want %s", got, want)
		}
	}
}

func TestNotifyNobody(t *testing.T) {
	core, logs := observer.New(zap.WarnLevel)
	n := lifecycle.Notifier{Logger: zap.New(core)}
	t.Setenv("NOTIFY_SOCKET", "")
	n.Ready("x")
	if logs.Len() != 0 {
		t.Errorf("without a manager: %v", logs.All())
	}
	t.Setenv("NOTIFY_SOCKET", filepath.Join(t.TempDir(), "nobody"))
	n.Ready("x")
	if logs.Len() != 1 {
		t.Errorf("with one that is away: %v", logs.All())
	}
}

// The manager hears of a process that is alive, and nothing of one that is not.
func TestWatchdog(t *testing.T) {
	next := manager(t)
	t.Setenv("WATCHDOG_USEC", "2000")
	t.Setenv("WATCHDOG_PID", "")
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	asked := 0
	go func() {
		defer close(ended)
		lifecycle.Notifier{}.Watchdog(ctx, func(ctx context.Context) error {
			asked++
			switch asked {
			case 2:
				lifecycle.Notifier{}.Status("bad") // told in between
				return errors.New("stuck")
			case 3:
				lifecycle.Notifier{}.Status("late")
				<-ctx.Done()
				return ctx.Err()
			case 5:
				cancel()
			}
			return nil
		})
	}()
	var got []string
	for range 4 {
		got = append(got, next())
	}
	if want := "[WATCHDOG=1 STATUS=bad STATUS=late WATCHDOG=1]"; fmt.Sprint(got) != want {
		t.Errorf("told %v, want %s", got, want)
	}
	<-ended
}

func TestWatchdogThatNobodyAsksFor(t *testing.T) {
	t.Setenv("WATCHDOG_USEC", "")
	lifecycle.Notifier{}.Watchdog(t.Context(), func(context.Context) error {
		t.Error("asked")
		return nil
	})
}
