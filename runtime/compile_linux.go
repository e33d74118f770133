package runtime

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"os/signal"
	goruntime "runtime"
	"runtime/debug"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// canStart says that modules are compiled in a process with limits here.
const canStart = true

// ourselves is the file of this program, even when it was replaced since.
const ourselves = "/proc/self/exe"

// exitTime is the exit code of a compiler whose processor time is over.
const exitTime = 3

// wallFactor is how many times its processor time a compiler may take by the
// clock. It runs at low priority, so it waits while there is other work.
const wallFactor = 5

// startCompiler runs a compiler, with nothing of ours but three pipes. It ends
// with ctx and with this process.
func (r *Runtime) startCompiler(ctx context.Context, job compileJob, wasm []byte) (compileResult, error) {
	keepDescriptors()
	limit := time.Duration(job.Seconds) * time.Second
	ctx, cancel := context.WithTimeoutCause(ctx, wallFactor*limit, job.timeError())
	defer cancel()
	in, err := job.encode(wasm)
	if err != nil {
		return compileResult{}, err
	}
	out, diag := &capped{most: maxResult}, &capped{most: maxReason}
	cmd := exec.CommandContext(ctx, r.compiler, compileCommand) //nolint:gosec // see Config.Compiler
	cmd.Env = []string{}                                        // nil would stand for ours
	cmd.Dir = job.Staging
	cmd.Stdin, cmd.Stdout, cmd.Stderr = in, out, diag
	// A group of its own: what the terminal sends to ours is for us to handle.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	cmd.WaitDelay = time.Second
	// The kernel takes the end of the starting thread for that of the parent.
	goruntime.LockOSThread()
	defer goruntime.UnlockOSThread()
	err = cmd.Run()
	var result compileResult
	switch {
	case ctx.Err() != nil:
		return result, context.Cause(ctx)
	case cmd.ProcessState == nil:
		return result, fmt.Errorf("the compiler's process cannot be started: %w", err)
	case err == nil:
		if err := json.Unmarshal(out.Bytes(), &result); err != nil {
			return result, fmt.Errorf("the compiler's answer cannot be read: %w", err)
		}
		return result, nil
	}
	state := cmd.ProcessState
	if state.ExitCode() == exitTime {
		return result, job.timeError()
	}
	if ws, ok := state.Sys().(syscall.WaitStatus); ok && ws.Signaled() && ws.Signal() == syscall.SIGKILL {
		return result, errors.New("the compiler was killed from outside, as the kernel does when memory runs out")
	}
	return result, job.broken(state.String(), diag.String())
}

// keepDescriptors keeps descriptors that this process inherited from its
// children. Those that Go opens are not inherited in any case.
func keepDescriptors() {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return
	}
	for _, e := range entries {
		if fd, err := strconv.Atoi(e.Name()); err == nil && fd > 2 {
			syscall.CloseOnExec(fd)
		}
	}
}

// reserved is how much address space Go's heap may reserve before it uses any of
// it: it does so in pieces of 64 MiB, from an address by chance in the first. Its
// first bytes may so need a second piece, and those after them a third.
const reserved = 2 * 64 << 20

// confine puts the limits of a job on this process, before it reads anything
// hostile.
func confine(job compileJob) error {
	statm, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return err
	}
	// The limits are added to what there is at the start. Go reserves address
	// space that it does not use, with the race detector terabytes of it.
	var space, data, other int64 // pages; data can be written, and is ours alone
	if _, err = fmt.Sscan(string(statm), &space, &other, &other, &other, &other, &data); err != nil {
		return err
	}
	page := int64(os.Getpagesize())
	if job.Memory <= 0 || job.Seconds <= 0 || job.Seconds > math.MaxInt32 || job.Bytes < 0 || job.Bytes > job.Memory || max(space, data) > (math.MaxInt64-job.Memory-reserved)/page {
		return errors.New("odd figures")
	}
	debug.SetMemoryLimit(job.Memory / 4 * 3)
	// At the limit of time the kernel sends a signal each second, later it kills.
	over := make(chan os.Signal, 1)
	signal.Notify(over, unix.SIGXCPU)
	go func() { // ends with the process
		<-over
		os.Exit(exitTime)
	}()
	set := func(resource int, soft, hard int64) {
		err = errors.Join(err, unix.Setrlimit(resource, &unix.Rlimit{Cur: uint64(soft), Max: uint64(hard)})) //nolint:gosec // checked to be positive
	}
	setBoth := func(resource int, n int64) { set(resource, n, n) }
	const (
		descriptors = 64
		grace       = 5 // seconds to end by itself
	)
	setBoth(unix.RLIMIT_DATA, data*page+job.Memory)
	setBoth(unix.RLIMIT_AS, space*page+job.Memory+reserved)
	set(unix.RLIMIT_CPU, job.Seconds, job.Seconds+grace)
	setBoth(unix.RLIMIT_FSIZE, job.native())
	setBoth(unix.RLIMIT_NOFILE, descriptors)
	setBoth(unix.RLIMIT_CORE, 0)
	const low = 5
	// The group is this process alone.
	return errors.Join(err, unix.Setpriority(unix.PRIO_PGRP, 0, low))
}
