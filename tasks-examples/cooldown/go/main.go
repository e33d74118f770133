// Command cooldown holds a task that lets no second recovery of a host begin
// within some minutes of the first: a host that fails again and again needs a
// person. It stands first in pre.
package main

import (
	"errors"
	"fmt"
	"time"

	wasakari "github.com/wasakari/wasakari/sdk/go"
)

func init() { wasakari.Handle("cooldown", cooldown, forget) }

func main() {}

// mark is what the library keeps of a host until the time is over.
type mark struct {
	Run string `json:"run"`
}

func name(t *wasakari.Task) string { return "host/" + t.InputString("host_name") }

func cooldown(t *wasakari.Task) error {
	minutes := t.OptionInt("cooldown", "minutes")
	// Written only when nobody else's is there: of two runs at the same moment
	// one goes on.
	_, err := t.KV().Library().Put(t.Context(), name(t), mark{t.RunID()},
		wasakari.IfVersion(0), wasakari.ForgetAfter(time.Duration(minutes)*time.Minute))
	if !errors.Is(err, wasakari.ErrConflict) {
		return err
	}
	var last mark
	if _, err := t.KV().Library().Get(t.Context(), name(t), &last); err != nil {
		return err
	}
	if last.Run == t.RunID() {
		return nil // the task runs again after an interruption
	}
	return wasakari.Ignore(fmt.Sprintf("host %s was acted on less than %d minutes ago, by run %s", t.InputString("host_name"), minutes, last.Run))
}

// forget takes the run's own mark away: a recovery that failed does not count.
func forget(t *wasakari.Task) error {
	var last mark
	version, err := t.KV().Library().Get(t.Context(), name(t), &last)
	switch {
	case errors.Is(err, wasakari.ErrNotFound):
		return wasakari.NothingToDo("the mark is gone")
	case err != nil:
		return err
	case last.Run != t.RunID():
		return wasakari.NothingToDo("the mark is another run's")
	}
	return t.KV().Library().DeleteVersion(t.Context(), name(t), version)
}
