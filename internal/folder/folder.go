// Package folder makes folders for what nobody else may touch.
package folder

import (
	"fmt"
	"os"

	"github.com/wasakari/wasakari/recovery"
)

// Own makes a folder that only its owner can enter, or makes sure that nobody
// else can write to the one that is there. Errors begin with what, such as
// "state folder"; one about others' rights matches recovery.ErrForbidden.
func Own(what, path string) error {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	info, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	if mode := info.Mode().Perm(); mode&0o022 != 0 {
		return fmt.Errorf("%s %s: %w: others may write to it (mode %04o); chmod 700 it, or name another folder", what, path, recovery.ErrForbidden, mode)
	}
	if !owned(info) {
		return fmt.Errorf("%s %s: %w: it belongs to another user; name another folder", what, path, recovery.ErrForbidden)
	}
	return nil
}
