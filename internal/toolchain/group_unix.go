//go:build unix

package toolchain

import (
	"os/exec"
	"syscall"
)

// inGroup has an interruption end what the tool started as well.
func inGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
}
