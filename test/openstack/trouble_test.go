//go:build e2e

package openstack_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
)

// query runs a statement in the lab's database.
func (l *lab) query(ctx context.Context, statement string) error {
	cmd := exec.CommandContext(ctx, "mariadb", "--no-defaults", "--socket="+filepath.Join(l.state, "mysql.sock"), "-uroot", "-e", statement)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", statement, err, out)
	}
	return nil
}

// inTrap runs what a trap does outside of the test's goroutine.
func (l *lab) inTrap(t *testing.T, what func(ctx context.Context) error) func(seen) {
	return func(seen) {
		if err := what(t.Context()); err != nil {
			t.Errorf("in a trap: %v", err)
		}
	}
}

// daemon does something to one of the lab's daemons.
func (l *lab) daemon(ctx context.Context, verb, name string) error {
	_, err := l.script(ctx, "daemon", verb, name)
	return err
}

// sprang fails the test when a trap did not spring.
func sprang(t *testing.T, traps ...*trap) {
	t.Helper()
	for i, tr := range traps {
		select {
		case <-tr.sprung:
		default:
			t.Errorf("trap %d did not spring: the scenario did not happen", i)
		}
	}
}

// TestHostComesBack proves that a host that is up again in the midst of its
// recovery keeps the servers that have not been moved.
func TestHostComesBack(t *testing.T) {
	l := scenario(t)
	p := newProxy(t)
	before := l.boot(t, fixture{name: "vm", count: 4})
	l.must(t, "fail", failed) // not forced down: Nova takes it back by itself
	back := p.set(&trap{match: onChange("evacuate"), nth: 3, before: l.inTrap(t, func(ctx context.Context) error {
		if err := l.daemon(ctx, "start", failed); err != nil {
			return err
		}
		return await(ctx, waitLimit, failed+" to be up", func() (bool, string) {
			all, err := l.services(ctx)
			return all[failed].State == "up", fmt.Sprint(all[failed], err)
		})
	})})
	from := l.logSize(t)
	r := l.run(t, l.newPlace(t, p), "host-auto", "--input", "host_name="+failed, "--set", "DEFAULT.host_failure_recovery_threads=1")
	sprang(t, back)
	ended(t, r, 1, "failed")
	wants, succeeded := map[string]want{}, 0
	for _, v := range r.VMoves {
		if v.Status == "succeeded" {
			wants[v.InstanceName] = moved("active", "active")
			succeeded++
			continue
		}
		wants[v.InstanceName] = want{
			vm: "active", host: "stays", vmove: "failed", says: "still in use",
			posts: map[string]int{"lock": 1, "unlock": 1},
		}
	}
	if succeeded != 2 {
		t.Errorf("%d servers moved, want 2", succeeded)
	}
	l.check(t, r, from, before, wants)
}

// TestHangs is about daemons that neither work nor die.
func TestHangs(t *testing.T) {
	t.Run("a host that hangs is recovered, and does no harm when it wakes up", func(t *testing.T) {
		l := scenario(t)
		before := l.boot(t, fixture{name: "vm", count: 3}, fixture{name: "frozen", state: "paused"})
		from := l.logSize(t)
		l.must(t, "daemon", "pause", failed)
		r := l.run(t, l.newPlace(t, nil), "host-auto", "--input", "host_name="+failed)
		ended(t, r, 0, "finished")
		wants := join(all(before, "vm-", moved("active", "active")), all(before, "frozen", stopped("paused")))
		l.check(t, r, from, before, wants)
		l.must(t, "daemon", "resume", failed)
		until(t, waitLimit, failed+" to be up", func() (bool, string) {
			all, err := l.services(t.Context())
			return all[failed].State == "up", fmt.Sprint(all[failed], err)
		})
		l.check(t, r, from, before, wants)
	})
	t.Run("a target that hangs for a while only delays", func(t *testing.T) {
		l := scenario(t)
		p := newProxy(t)
		before := l.boot(t, fixture{name: "vm", count: 2})
		l.setService(t, "disabled", third)
		l.fail(t, failed)
		tr := p.set(&trap{
			match:  onChange("evacuate"),
			before: l.inTrap(t, func(ctx context.Context) error { return l.daemon(ctx, "pause", other) }),
		})
		from := l.logSize(t)
		prog := l.start(t, l.newPlace(t, p), "host-auto", "--input", "host_name="+failed)
		until(t, waitLimit, "an evacuation that does not go on", func() (bool, string) {
			all, err := l.servers(t.Context())
			n := 0
			for _, s := range all {
				if strings.HasPrefix(s.Task, "rebuild") {
					n++
				}
			}
			return n == 2, fmt.Sprint(n, " evacuations ", err)
		})
		l.must(t, "daemon", "resume", other)
		r := prog.wait(t)
		sprang(t, tr)
		ended(t, r, 0, "finished")
		l.check(t, r, from, before, all(before, "vm-", moved("active", "active").on(other)))
	})
	t.Run("a target that hangs too long fails the move, and a later run sends no second one", func(t *testing.T) {
		l := scenario(t)
		p := newProxy(t)
		before := l.boot(t, fixture{name: "vm"})
		l.setService(t, "disabled", third)
		l.fail(t, failed)
		first := p.set(&trap{
			match:  onChange("evacuate"),
			before: l.inTrap(t, func(ctx context.Context) error { return l.daemon(ctx, "pause", other) }),
		})
		from, w := l.logSize(t), l.newPlace(t, p)
		r := l.run(t, w, "host-auto", "--input", "host_name="+failed, "--set", "DEFAULT.wait_period_after_evacuation=10")
		sprang(t, first)
		ended(t, r, 1, "failed")
		for _, v := range r.VMoves {
			if v.Status != "failed" || !strings.Contains(v.Message, "it may still complete the move") {
				t.Errorf("vmove %s: %s, want it failed because of the limit", v.Status, v.Message)
			}
		}
		for _, s := range l.mustServers(t) {
			if s.Locked || s.Host != failed || !strings.HasPrefix(s.Task, "rebuild") {
				t.Errorf("after the first run: %s, locked %v; want it being rebuilt and unlocked", s, s.Locked)
			}
		}
		second := p.set(&trap{match: onChange("lock"), after: func(seen) {}})
		prog := l.start(t, w, "host-auto", "--input", "host_name="+failed)
		select {
		case <-second.sprung:
		case <-prog.done:
		}
		l.must(t, "daemon", "resume", other)
		r = prog.wait(t)
		ended(t, r, 0, "finished")
		l.check(t, r, from, before, map[string]want{"vm": moved("active", "active").on(other).and("lock", "unlock")})
	})
}

// TestOwner is about people who are at the servers while they are recovered.
func TestOwner(t *testing.T) {
	t.Run("servers that their owner deletes or stops before their turn", func(t *testing.T) {
		l := scenario(t)
		p := newProxy(t)
		before := l.boot(t, fixture{name: "first", tagged: true}, fixture{name: "doomed"}, fixture{name: "halted"})
		l.fail(t, failed)
		tr := p.set(&trap{match: onChange("evacuate"), before: l.inTrap(t, func(ctx context.Context) error {
			// The one at work is locked: its owner has to wait.
			if err := l.act(ctx, member, before["first"].ID, "os-stop", nil); statusOf(err) != http.StatusConflict {
				t.Errorf("the owner stops a locked server: %v, want 409", err)
			}
			return errors.Join(
				l.nova(ctx, member, "DELETE", "/servers/"+before["doomed"].ID, nil, nil),
				l.act(ctx, member, before["halted"].ID, "os-stop", nil),
			)
		})})
		from := l.logSize(t)
		r := l.run(t, l.newPlace(t, p), "host-auto", "--input", "host_name="+failed, "--set", "DEFAULT.host_failure_recovery_threads=1")
		sprang(t, tr)
		ended(t, r, 0, "finished")
		l.check(t, r, from, before, map[string]want{
			"first": moved("active", "active"), "halted": moved("active", "active"),
			"doomed": {host: "gone", vmove: "ignored", says: "deleted meanwhile"},
		})
	})
	t.Run("a server that an administrator deletes in the midst of its evacuation", func(t *testing.T) {
		l := scenario(t)
		p := newProxy(t)
		before := l.boot(t, fixture{name: "doomed", tagged: true}, fixture{name: "vm"})
		l.fail(t, failed)
		tr := p.set(&trap{match: onChange("evacuate"), after: l.inTrap(t, func(ctx context.Context) error {
			return l.nova(ctx, admin, "DELETE", "/servers/"+before["doomed"].ID, nil, nil)
		})})
		from := l.logSize(t)
		r := l.run(t, l.newPlace(t, p), "host-auto", "--input", "host_name="+failed, "--set", "DEFAULT.host_failure_recovery_threads=1")
		sprang(t, tr)
		ended(t, r, 0, "finished")
		l.check(t, r, from, before, map[string]want{
			"vm":     moved("active", "active"),
			"doomed": {host: "gone", vmove: "ignored", says: "deleted meanwhile"},
		})
	})
}

// TestOutages stops a part of the control plane while servers are being
// moved, and starts it again. Without its database or its message queue Nova
// itself may lose an evacuation for good: the server stays in task state
// rebuilding, the program waits for it as long as it was told to and says so.
func TestOutages(t *testing.T) {
	for _, daemon := range []string{"nova-api", "keystone", "rabbitmq", "mariadb"} {
		t.Run(daemon+" stops and starts", func(t *testing.T) {
			l := scenario(t)
			before := l.boot(t, fixture{name: "vm", count: 5}, fixture{name: "frozen", state: "paused"})
			l.fail(t, failed)
			from := l.logSize(t)
			prog := l.start(t, l.newPlace(t, nil), "host-auto", "--input", "host_name="+failed, "--set", "DEFAULT.host_failure_recovery_threads=2",
				"--set", "DEFAULT.wait_period_after_evacuation=60")
			until(t, waitLimit, "the first server to be moved", func() (bool, string) {
				all, err := l.servers(t.Context())
				n := 0
				for _, s := range all {
					if s.Host != failed {
						n++
					}
				}
				return n > 0, fmt.Sprint(n, " moved ", err)
			})
			verb := "kill" // an orderly end may hang, see lab/down
			if daemon == "rabbitmq" || daemon == "mariadb" {
				verb = "stop"
			}
			l.must(t, "daemon", verb, daemon)
			select {
			case <-prog.done:
				t.Error("the run had ended before: the scenario did not happen")
			default:
			}
			l.must(t, "daemon", "start", daemon)
			r := prog.wait(t)
			wants := join(all(before, "vm-", moved("active", "active")), all(before, "frozen", stopped("paused")))
			lost := l.lostByNova(t, r, wants)
			for name, w := range wants {
				w.cut = daemon == "nova-api"
				wants[name] = w
			}
			if lost == 0 {
				ended(t, r, 0, "finished")
			} else {
				ended(t, r, 1, "failed")
				t.Logf("Nova lost %d evacuations: they need a person, and the vmoves say so", lost)
			}
			l.check(t, r, from, before, wants)
		})
	}
}

// lostByNova changes what is wanted of servers whose evacuation Nova itself
// has lost in an outage, is late with, or could not begin. Nobody may send a
// second evacuation while Nova shows the first. It returns how many there are.
func (l *lab) lostByNova(t *testing.T, r result, wants map[string]want) int {
	t.Helper()
	now, n := l.mustServers(t), 0
	for _, v := range r.VMoves {
		if v.Status != "failed" {
			continue
		}
		n++
		s := now[v.InstanceUUID]
		w := want{
			vm: s.VMState, host: "stays", vmove: "failed", late: true, says: "it may still complete the move",
			posts: map[string]int{"lock": 1, "evacuate": 1, "unlock": 1},
		}
		if s.VMState == "error" && s.Task == "" {
			w.late, w.says = false, s.Fault.Message
		}
		if wants[v.InstanceName].posts["resetState"] > 0 {
			w = w.and("resetState")
		}
		wants[v.InstanceName] = w
	}
	return n
}

// TestTokenExpires takes the program's token away while it works.
func TestTokenExpires(t *testing.T) {
	l := scenario(t)
	p := newProxy(t)
	before := l.boot(t, fixture{name: "vm", count: 3})
	l.fail(t, failed)
	var old atomic.Value
	tr := p.set(&trap{match: onChange("evacuate"), nth: 2, before: func(s seen) {
		old.Store(s.token)
		ctx := t.Context()
		// Nova believes in a token for five minutes without asking: a new
		// process asks.
		if err := errors.Join(l.revoke(ctx, s.token), l.daemon(ctx, "kill", "nova-api"), l.daemon(ctx, "start", "nova-api")); err != nil {
			t.Errorf("revoke: %v", err)
		}
	}})
	from := l.logSize(t)
	r := l.run(t, l.newPlace(t, p), "host-auto", "--input", "host_name="+failed, "--set", "DEFAULT.host_failure_recovery_threads=1")
	sprang(t, tr)
	ended(t, r, 0, "finished")
	l.check(t, r, from, before, all(before, "vm-", moved("active", "active")))
	if n := p.count(func(s seen) bool { return s.token != old.Load() }); n == 0 {
		t.Error("no request came with another token")
	}
}

// TestLost lets requests and answers get lost on the way.
func TestLost(t *testing.T) {
	l := scenario(t)
	p := newProxy(t)
	before := l.boot(t, fixture{name: "vm", count: 3, tagged: true}, fixture{name: "frozen", state: "paused"}, fixture{name: "broken", state: "error"})
	l.fail(t, failed)
	nothing := func(seen) {}
	traps := []*trap{
		p.set(&trap{match: onChange("service"), after: nothing, lose: true}),
		p.set(&trap{match: onChange("lock"), nth: 1, after: nothing, lose: true}),
		p.set(&trap{match: onChange("lock"), nth: 2, before: nothing, lose: true}),
		p.set(&trap{match: onChange("evacuate"), nth: 1, after: nothing, lose: true}),
		p.set(&trap{match: onChange("evacuate"), nth: 2, before: nothing, lose: true}),
		p.set(&trap{match: onChange("unlock"), nth: 1, after: nothing, lose: true}),
		p.set(&trap{match: onChange("unlock"), nth: 2, before: nothing, lose: true}),
		p.set(&trap{match: onChange("os-stop"), nth: 1, after: nothing, lose: true}),
		p.set(&trap{match: onChange("os-stop"), nth: 2, before: nothing, lose: true}),
		p.set(&trap{match: onChange("os-resetState"), nth: 1, after: nothing, lose: true}),
	}
	from := l.logSize(t)
	r := l.run(t, l.newPlace(t, p), "host-auto", "--input", "host_name="+failed)
	sprang(t, traps...)
	ended(t, r, 0, "finished")
	l.check(t, r, from, before, join(all(before, "vm-", moved("active", "active")), map[string]want{"frozen": stopped("paused"), "broken": inError()}))
	l.disabled(t, r.RunID)
}

// TestKilled kills one run again and again, each time at another point, and
// resumes it each time.
func TestKilled(t *testing.T) {
	l := scenario(t)
	p := newProxy(t)
	before := l.boot(t, fixture{name: "web", count: 2, tagged: true}, fixture{name: "frozen", state: "paused"}, fixture{name: "broken", state: "error"})
	l.fail(t, failed)
	points := []struct {
		change string
		before bool // it never arrives; else its answer gets lost
	}{
		{"service", true},
		{"service", false},
		{"lock", true},
		{"lock", false},
		{"evacuate", true},
		{"evacuate", false},
		{"unlock", true},
		{"unlock", false},
		{"os-resetState", true},
		{"os-resetState", false},
		{"os-stop", true},
		{"os-stop", false},
	}
	w := l.newPlace(t, p)
	from := l.logSize(t)
	args := []string{"host-auto", "--input", "host_name=" + failed, "--set", "DEFAULT.host_failure_recovery_threads=1"}
	for _, point := range points {
		var prog atomic.Pointer[program]
		started := make(chan struct{})
		kill := func(seen) {
			<-started
			prog.Load().kill()
			<-prog.Load().done
		}
		tr := &trap{match: onChange(point.change), lose: true, before: kill}
		if !point.before {
			tr.before, tr.after = nil, kill
		}
		p.set(tr)
		prog.Store(l.start(t, w, args...))
		close(started)
		if r := prog.Load().wait(t); r.exit != -1 {
			t.Fatalf("%+v: the run ended with exit %d before it was killed\n%s", point, r.exit, r.transcript())
		}
		sprang(t, tr)
		t.Logf("killed at %+v", point)
		args = []string{"--resume", w.runID(t)}
	}
	r := l.run(t, w, args...)
	ended(t, r, 0, "finished")
	wants := join(all(before, "web-", moved("active", "active")), map[string]want{"frozen": stopped("paused"), "broken": inError()})
	l.lockedAgain(t, 1, before, wants)
	l.check(t, r, from, before, wants)
	l.disabled(t, r.RunID)
}

// lockedAgain changes what is wanted of the server that was unlocked when the
// program ended in the midst of its work, if there is one: the resumed run
// locks and unlocks it once more, and evacuates it no more. There are at most as
// many as it worked on at once.
func (l *lab) lockedAgain(t *testing.T, atOnce int, before map[string]server, wants map[string]want) {
	t.Helper()
	n := 0
	for name, s := range before {
		did, err := l.actions(t.Context(), s.ID)
		if err != nil {
			t.Fatal(err)
		}
		if did["lock"] == 2 {
			n++
			wants[name] = wants[name].and("lock", "unlock")
		}
	}
	if n > atOnce {
		t.Errorf("%d servers were locked twice, want at most the %d at work", n, atOnce)
	}
}

// TestForeignMark proves that a run leaves a host alone that another Wasakari,
// with a state folder of its own, has disabled.
func TestForeignMark(t *testing.T) {
	l := scenario(t)
	before := l.boot(t, fixture{name: "vm"})
	l.fail(t, failed)
	args := []string{"host-auto", "--input", "host_name=" + failed, "--set", "host_failure.evacuate_all_instances=false"}
	first := l.run(t, l.newPlace(t, nil), args...) // nobody is tagged: it disables the host and moves nothing
	ended(t, first, 0, "finished")
	from := l.logSize(t)
	r := l.run(t, l.newPlace(t, nil), args[:3]...)
	ended(t, r, 1, "failed")
	if !strings.Contains(r.Message, first.RunID) {
		t.Errorf("it says %q, want the run %s in it", r.Message, first.RunID)
	}
	l.check(t, r, from, before, nil)
	l.disabled(t, first.RunID)
}

// TestInterrupted proves that Ctrl-C leaves no locks, and that the run can be
// gone on with.
func TestInterrupted(t *testing.T) {
	l := scenario(t)
	p := newProxy(t)
	before := l.boot(t, fixture{name: "vm", count: 3})
	l.fail(t, failed)
	w := l.newPlace(t, p)
	var prog atomic.Pointer[program]
	started := make(chan struct{})
	tr := p.set(&trap{match: onChange("evacuate"), nth: 2, after: func(seen) {
		<-started
		if err := prog.Load().cmd.Process.Signal(syscall.SIGINT); err != nil {
			t.Errorf("interrupt: %v", err)
		}
	}})
	from := l.logSize(t)
	prog.Store(l.start(t, w, "host-auto", "--input", "host_name="+failed, "--set", "DEFAULT.host_failure_recovery_threads=1"))
	close(started)
	r := prog.Load().wait(t)
	sprang(t, tr)
	ended(t, r, 130, "interrupted")
	for _, s := range l.mustServers(t) {
		if s.Locked {
			t.Errorf("%s is locked", s)
		}
	}
	r = l.run(t, w, "--resume", r.RunID)
	ended(t, r, 0, "finished")
	wants := all(before, "vm-", moved("active", "active"))
	l.lockedAgain(t, 1, before, wants)
	l.check(t, r, from, before, wants)
}
