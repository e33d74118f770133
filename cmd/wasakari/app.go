package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/wasakari/wasakari/config"
	"github.com/wasakari/wasakari/recovery"
	"github.com/wasakari/wasakari/runtime"
)

// Exit codes, the same for every command.
const (
	exitOK          = 0
	exitFailed      = 1 // a run failed, or the program itself
	exitUsage       = 2 // wrong use or bad configuration; nothing was started
	exitInterrupted = 130
)

// world is what the program has from outside.
type world struct {
	stdout, stderr io.Writer
	environ        []string
	home           string // empty: none
	root           string // put before /etc where configuration is looked for
	// hangups gives the SIGHUPs that ask for a reload; nil: none.
	hangups  <-chan os.Signal
	compiler string           // the program that compiles modules; empty: this one
	engines  []runtime.Engine // that the program carries; nil: those of this one
}

func (w world) env(name string) string {
	for _, kv := range w.environ {
		if v, ok := strings.CutPrefix(kv, name+"="); ok {
			return v
		}
	}
	return ""
}

// usageError marks what the caller must mend before anything can start.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

func usagef(format string, args ...any) error {
	return &usageError{fmt.Errorf(format, args...)}
}

// locatedError gives every line of an error the file that it speaks of.
type locatedError struct {
	file string
	err  error
}

// located names the file in every line of err.
func located(file string, err error) error {
	if err == nil {
		return nil
	}
	return &locatedError{file, err}
}

func (e *locatedError) Error() string {
	lines := strings.Split(e.err.Error(), "\n")
	for i, line := range lines {
		if !strings.HasPrefix(line, e.file+":") {
			lines[i] = e.file + ": " + line
		}
	}
	return strings.Join(lines, "\n")
}

func (e *locatedError) Unwrap() error { return e.err }

// noArgs is for commands that take flags only.
func noArgs(cmd *cobra.Command, given []string) error {
	if len(given) > 0 {
		return fmt.Errorf("%q: %s takes no arguments", given[0], cmd.CommandPath())
	}
	return nil
}

// errReported says that the command failed and has told why itself.
var errReported = errors.New("reported")

// execute runs one command line and returns its exit code.
func execute(ctx context.Context, args []string, w world) int {
	root := newRoot(w)
	root.SetArgs(args)
	root.SetOut(w.stdout)
	root.SetErr(w.stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	if !errors.Is(err, errReported) {
		for line := range strings.SplitSeq(strings.TrimRight(err.Error(), "\n"), "\n") {
			fmt.Fprintf(w.stderr, "wasakari: %s\n", oneLine(line))
		}
	}
	_, usage := errors.AsType[*usageError](err)
	switch {
	case errors.Is(err, recovery.ErrInterrupted), errors.Is(err, context.Canceled) && ctx.Err() != nil:
		return exitInterrupted
	case usage:
		return exitUsage
	}
	return exitFailed
}

func newRoot(w world) *cobra.Command {
	root := &cobra.Command{
		Use:   "wasakari",
		Short: "Recover failed OpenStack hosts with sandboxed WebAssembly tasks",
		Long: `Wasakari runs the recovery flows of Masakari's configuration. Each task of a
flow is a WebAssembly module in a sandbox of its own: it can do what its
manifest asks for and you granted, within limits of memory and time.

Exit codes: 0 finished (nothing to do and ignored included), 1 failed or
something is left to undo, 2 wrong use or bad configuration (nothing was
started), 130 interrupted.`,
		Example: `  # check flows and tasks before the worst day of your cloud
  wasakari check --config-file custom-recovery-methods.conf --task-dir tasks/

  # watch a host being recovered on a simulated cloud
  wasakari run host-auto --simulate --input host_name=compute-1

  # recover a host of a real one
  wasakari run host-auto --os-cloud mycloud --input host_name=compute-1`,
		Version:       version,
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usagef("%w; see %s --help", err, cmd.CommandPath())
	})
	root.CompletionOptions.HiddenDefaultCmd = true
	root.AddCommand(newCheck(w), newConfig(w), newRun(w), newPlan(w), newServe(w), newSimulate(w), newTask(w), newRuns(w), newFlow(w), newNode(w), newHost(w), newStore(w), newManual(w))
	refuseUnknown(root)
	return root
}

// refuseUnknown makes every wrong count of arguments, and every unknown
// subcommand, a wrong use.
func refuseUnknown(cmd *cobra.Command) {
	if args := cmd.Args; args != nil {
		cmd.Args = func(cmd *cobra.Command, given []string) error {
			if err := args(cmd, given); err != nil {
				return usagef("%w; usage: %s", err, cmd.UseLine())
			}
			return nil
		}
	}
	if cmd.HasSubCommands() && cmd.Run == nil && cmd.RunE == nil {
		cmd.Args = cobra.ArbitraryArgs
		cmd.RunE = func(cmd *cobra.Command, given []string) error {
			if len(given) == 0 {
				return cmd.Help()
			}
			var names []string
			for _, sub := range cmd.Commands() {
				names = append(names, sub.Name())
			}
			hint := ""
			if near, ok := config.Nearest(given[0], names); ok {
				hint = fmt.Sprintf("did you mean %s? ", near)
			}
			return usagef("unknown command %q; %ssee %s --help", given[0], hint, cmd.CommandPath())
		}
	}
	for _, sub := range cmd.Commands() {
		refuseUnknown(sub)
	}
}

// newLogger logs to standard error, which never carries a command's result.
func newLogger(w world, level string) (*zap.Logger, error) {
	l, err := zapcore.ParseLevel(level)
	if err != nil {
		return nil, usagef("--log-level %s: want debug, info, warn or error", level)
	}
	enc := zap.NewProductionEncoderConfig()
	enc.EncodeTime = zapcore.ISO8601TimeEncoder
	core := zapcore.NewCore(zapcore.NewConsoleEncoder(enc), zapcore.Lock(zapcore.AddSync(terminalSafe{w.stderr})), l)
	return zap.New(core), nil
}
