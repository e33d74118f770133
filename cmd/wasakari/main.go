// Command wasakari recovers failed OpenStack hosts, servers and processes by
// running recovery flows whose tasks are sandboxed WebAssembly modules.
//
// This package wires the rooms of the house together; nothing else knows
// everything.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/wasakari/wasakari/runtime"
)

// version is set by the linker.
var version = "0.1.0-dev"

func main() {
	runtime.MaybeCompile()
	home, _ := os.UserHomeDir() // without one, nothing is looked for there
	os.Exit(interruptible(world{stdout: os.Stdout, stderr: os.Stderr, environ: os.Environ(), home: home}))
}

// interruptible runs the command line of this process until signals end it, and
// returns its exit code.
func interruptible(w world) int {
	ctx, cancel := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	if !signal.Ignored(syscall.SIGHUP) { // as under nohup
		signal.Notify(signals, syscall.SIGHUP)
	}
	// A reader that goes away, such as head, must not end a recovery midway.
	signal.Ignore(syscall.SIGPIPE)
	go func() {
		<-signals
		cancel()
		<-signals // whoever asks twice does not want to wait for the undo list
		fmt.Fprint(os.Stderr, "\nwasakari: stopped at once; locks of the run may be left on servers: wasakari run --resume takes them off\n")
		os.Exit(exitInterrupted)
	}()
	return execute(ctx, os.Args[1:], w)
}
