package audit_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/wasakari/wasakari/internal/audit"
	"github.com/wasakari/wasakari/recovery"
)

func TestLine(t *testing.T) {
	at := time.Date(2026, 11, 23, 13, 0, 0, 0, time.FixedZone("", 3600))
	tests := []struct {
		name   string
		record audit.Record
		want   string
	}{
		{
			"least",
			audit.Record{Time: at, Kind: audit.Reload, Op: "config.reload", Outcome: audit.Done},
			`{"time":"2026-11-23T12:00:00Z","kind":"reload","op":"config.reload","outcome":"done","node":"n1"}`,
		},
		{
			"caller",
			audit.Record{
				Time: at, Kind: audit.API, Op: "segment.create", Target: "s-1", Outcome: audit.Refused, Status: 409, User: "u", UserName: "Ann",
				Project: "p", Remote: "10.0.0.1", RequestID: "req-1", GlobalRequestID: "req-2", Node: "n2",
			},
			`{"time":"2026-11-23T12:00:00Z","kind":"api","op":"segment.create","target":"s-1","outcome":"refused","node":"n2","user":"u","user_name":"Ann","project":"p","remote":"10.0.0.1","request_id":"req-1","global_request_id":"req-2","status":409}`,
		},
		{
			"text of others stays one line",
			audit.Record{Time: at, Kind: audit.HTTP, Op: "http.request", Outcome: audit.Failed, Message: "a\nb\x00\"\xff"},
			`{"time":"2026-11-23T12:00:00Z","kind":"http","op":"http.request","outcome":"failed","message":"a\nb\u0000\"\ufffd","node":"n1"}`,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var b bytes.Buffer
			audit.New(audit.Config{Writer: &b, Node: "n1"}).Write(tt.record)
			if got := b.String(); got != tt.want+"\n" {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

func TestChange(t *testing.T) {
	run := recovery.Run{ID: "r-1", Notification: "n-1"}
	in := recovery.Intent{ID: "i-1", Op: "nova.server_stop", Target: "s-1", Task: "k", Attempt: 2, RequestID: "req-1", Message: "m"}
	for state, outcome := range map[recovery.IntentState]audit.Outcome{
		recovery.IntentDone: audit.Done, recovery.IntentRefused: audit.Refused, recovery.IntentLost: audit.Lost, recovery.IntentOpen: audit.Failed,
	} {
		in.State = state
		want := audit.Record{
			Kind: audit.Nova, Op: "nova.server_stop", Target: "s-1", Outcome: outcome, Message: "m", Run: "r-1", Notification: "n-1", Task: "k",
			Attempt: 2, NovaRequestID: "req-1", Intent: "i-1",
		}
		if got := audit.Change(in, run); got != want {
			t.Errorf("%s: got %+v, want %+v", state, got, want)
		}
	}
	if got := audit.Change(recovery.Intent{Op: "ha.host_update"}, run); got.Kind != audit.HA {
		t.Errorf("kind of ha.host_update = %s", got.Kind)
	}
}

func lines(t *testing.T, file string) []audit.Record {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var list []audit.Record
	for line := range strings.Lines(string(text)) {
		var r audit.Record
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatalf("line %q: %v", line, err)
		}
		list = append(list, r)
	}
	return list
}

// Whoever rotates the file moves it away and need tell nobody: no line is lost
// and none goes where it is not looked for.
func TestFileIsMovedAway(t *testing.T) {
	file := filepath.Join(t.TempDir(), "state", "audit.log")
	l := audit.New(audit.Config{File: file})
	if _, err := os.Stat(filepath.Dir(file)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("there is a folder before there is a line: %v", err)
	}
	l.Write(audit.Record{Op: "first"})
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	if got := info.Mode().Perm(); got != 0o600 {
		t.Errorf("mode = %o, want 600", got)
	}
	if err := os.Rename(file, file+".1"); err != nil {
		t.Fatal(err)
	}
	l.Write(audit.Record{Op: "second"})
	l.Write(audit.Record{Op: "third"})
	if got := lines(t, file+".1"); len(got) != 1 || got[0].Op != "first" {
		t.Errorf("the old file has %v", got)
	}
	if got := lines(t, file); len(got) != 2 || got[1].Op != "third" || got[1].Time.IsZero() {
		t.Errorf("the new file has %v", got)
	}
}

// Many writers, of several Logs as of several processes, keep lines whole.
func TestManyWriters(t *testing.T) {
	file := filepath.Join(t.TempDir(), "audit.log")
	var wg sync.WaitGroup
	const writers, each = 8, 100
	for w := range writers {
		l := audit.New(audit.Config{File: file, Node: fmt.Sprint(w)})
		wg.Go(func() {
			for range each {
				l.Write(audit.Record{Op: "x", Message: strings.Repeat("y", 1500)})
			}
		})
	}
	wg.Wait()
	if got := len(lines(t, file)); got != writers*each {
		t.Errorf("%d lines, want %d", got, writers*each)
	}
}

func TestLongTexts(t *testing.T) {
	var b bytes.Buffer
	long := strings.Repeat("ü", 1<<20)
	audit.New(audit.Config{Writer: &b}).Write(audit.Record{
		Kind: audit.API, Op: long, Target: long, Message: long, Run: long, Task: long, Library: long, Tenant: long, User: long, UserName: long, Project: long,
		Remote: long, NovaRequestID: long, RequestID: long, GlobalRequestID: long, Intent: long, Method: long, Address: long, Node: long, Notification: long,
	})
	if n := b.Len(); n > 16<<10 {
		t.Errorf("a line of %d bytes", n)
	}
	if strings.Contains(b.String(), "\ufffd") {
		t.Error("a character was split")
	}
}

// A line that cannot be written is told of, and is in the process's own log.
func TestLineThatCannotBeWritten(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	core, logged := observer.New(zap.ErrorLevel)
	var told []string
	l := audit.New(audit.Config{
		File: filepath.Join(file, "audit.log"), Logger: zap.New(core),
		Observe: func(kind string, err error) { told = append(told, fmt.Sprint(kind, " ", err != nil)) },
	})
	l.Write(audit.Record{Kind: audit.Nova, Op: "nova.server_stop", Target: "s-1"})
	if fmt.Sprint(told) != "[nova true]" {
		t.Errorf("told = %v", told)
	}
	if all := logged.All(); len(all) != 1 || !strings.Contains(fmt.Sprint(all[0].ContextMap()["line"]), `"target":"s-1"`) {
		t.Errorf("logged = %v", all)
	}
	var none *audit.Log
	none.Write(audit.Record{})
}
