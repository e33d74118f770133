package main

import (
	"bufio"
	"context"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"

	"github.com/wasakari/wasakari/novasim"
	"github.com/wasakari/wasakari/recovery"
)

// process makes a command line of the program as a process of its own.
func (p *place) process(ctx context.Context, t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for i := range args {
		args[i] = strings.ReplaceAll(args[i], "DIR", p.dir)
	}
	cmd := exec.CommandContext(ctx, exe, args...)
	cmd.Env = append([]string{
		asProgram + "=" + compiler, "HOME=" + p.dir + "/home", "XDG_CACHE_HOME=" + sharedCache(), "PATH=" + os.Getenv("PATH"),
	}, p.environ...)
	return cmd
}

// TestReaderGoesAway: a recovery goes on when nobody reads what it prints.
func TestReaderGoesAway(t *testing.T) {
	t.Parallel()
	sim, environ := startCloud(t, quickCloud, novasim.Options{})
	p := newPlace(t, map[string]string{"conf": ""})
	p.environ = environ
	cmd := p.process(t.Context(), t, "run", "host-auto", "--yes", "--config-file", "DIR/conf", "--input", "host_name=compute-1")
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	_ = read.Close()
	cmd.Stdout = write
	err = cmd.Run()
	_ = write.Close()
	if cmd.ProcessState == nil || !cmd.ProcessState.Exited() {
		t.Errorf("the process ended by %v", err)
	}
	if n := len(evacuated(sim)); n != 8 {
		t.Errorf("%d evacuations, want 8", n)
	}
	if runs := p.runs(t); len(runs) != 1 || !runs[0].Finished || runs[0].Status != recovery.StatusFinished {
		t.Errorf("journal = %+v, want one run that finished", runs)
	}
}

// TestSignals: each of the signals that ask a process to end lets the run take
// its locks off first.
func TestSignals(t *testing.T) {
	t.Parallel()
	// Where the tests themselves run under nohup, the program would inherit that.
	caught := make(chan os.Signal, 1)
	signal.Notify(caught, syscall.SIGHUP)
	t.Cleanup(func() { signal.Stop(caught) })
	for name, sig := range map[string]os.Signal{"interrupt": os.Interrupt, "terminate": syscall.SIGTERM, "hang up": syscall.SIGHUP} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sim, environ := startCloud(t, slowCloud, novasim.Options{})
			p := newPlace(t, map[string]string{"conf": ""})
			p.environ = environ
			cmd := p.process(t.Context(), t, "run", "host-auto", "--yes", "--config-file", "DIR/conf", "--input", "host_name=compute-1")
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			lines := bufio.NewReader(out)
			text := ""
			for err = nil; err == nil && !strings.Contains(text, "Evacuation of instance started"); {
				var line string
				line, err = lines.ReadString('\n')
				text += line
			}
			_ = cmd.Process.Signal(sig) // it may have ended by itself
			rest, _ := io.ReadAll(lines)
			text += string(rest)
			_ = cmd.Wait()
			if code := cmd.ProcessState.ExitCode(); code != exitInterrupted {
				t.Errorf("exit code %d, want %d\n%s", code, exitInterrupted, text)
			}
			id := p.runs(t)[0].ID
			if want := "\ngo on with: wasakari run --resume " + id + "\n"; !strings.HasSuffix(text, want) {
				t.Errorf("standard output =\n%s\nwant at its end\n%s", text, want)
			}
			for _, s := range sim.Servers() {
				if s.Locked != (s.Name == "pinned") {
					t.Errorf("server %s: locked = %v", s.Name, s.Locked)
				}
			}
		})
	}
}
