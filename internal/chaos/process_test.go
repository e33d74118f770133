//go:build chaos

package chaos

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"slices"
	"sync"
	"syscall"
	"time"
)

// process is a program that is started over and over.
type process struct {
	name string
	path string
	args []string
	env  []string
	log  string // file
	// more is asked for further environment at each start; may be nil.
	more func() []string

	mu      sync.Mutex
	cmd     *exec.Cmd
	ended   chan struct{}
	stopped bool // by SIGSTOP
}

// start starts the program, unless it runs.
func (p *process) start() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.alive() {
		return nil
	}
	out, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer out.Close() //nolint:errcheck // the program has it too
	if _, err := fmt.Fprintf(out, "--- started at %s\n", time.Now().UTC().Format(time.RFC3339Nano)); err != nil {
		return err
	}
	env := append([]string{}, p.env...)
	if p.more != nil {
		env = append(env, p.more()...)
	}
	cmd := exec.CommandContext(context.Background(), p.path, p.args...)
	cmd.Env = env
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(ended)
	}()
	p.cmd, p.ended, p.stopped = cmd, ended, false
	return nil
}

// alive needs mu.
func (p *process) alive() bool {
	if p.cmd == nil {
		return false
	}
	select {
	case <-p.ended:
		return false
	default:
		return true
	}
}

// pid is 0 while it does not run.
func (p *process) pid() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.alive() {
		return 0
	}
	return p.cmd.Process.Pid
}

func (p *process) running() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.alive()
}

// over is closed when the program that was started last has ended.
func (p *process) over() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.ended
}

func (p *process) signal(s syscall.Signal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.alive() {
		_ = syscall.Kill(-p.cmd.Process.Pid, s)
	}
}

// kill ends the program at once and waits for its end.
func (p *process) kill() {
	p.signal(syscall.SIGKILL)
	if ended := p.over(); ended != nil {
		<-ended
	}
}

func (p *process) stop() {
	p.mu.Lock()
	p.stopped = true
	p.mu.Unlock()
	p.signal(syscall.SIGSTOP)
}

func (p *process) cont() {
	p.mu.Lock()
	p.stopped = false
	p.mu.Unlock()
	p.signal(syscall.SIGCONT)
}

// end asks the program to end, and tells how it did.
func (p *process) end() error {
	const within = 30 * time.Second
	p.signal(syscall.SIGCONT)
	p.signal(syscall.SIGTERM)
	select {
	case <-p.over():
	case <-time.After(within):
		p.signal(syscall.SIGQUIT) // the log then shows where it is
		select {
		case <-p.over():
		case <-time.After(5 * time.Second):
			p.kill()
		}
		return fmt.Errorf("%s did not end within %s", p.name, within)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if code := p.cmd.ProcessState.ExitCode(); code != 0 {
		return fmt.Errorf("%s: exit code %d", p.name, code)
	}
	return nil
}

// freePorts finds ports of loopback that nobody has now, and that nobody who
// leaves the choice to the kernel gets.
func freePorts(n int) ([]int, error) {
	var ports []int
	var errs []error
	for range 1000 {
		if len(ports) == n {
			return ports, errors.Join(errs...)
		}
		port := 15000 + rand.IntN(15000)
		l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil || slices.Contains(ports, port) {
			continue
		}
		errs = append(errs, l.Close())
		ports = append(ports, port)
	}
	return nil, errors.New("no free ports")
}
