// Command standard holds the standard tasks of Wasakari as one module: the
// nine of Masakari under the same keys, with the same options and messages, and
// enable_compute_service_task. task.yaml is its manifest.
package main

import (
	"errors"
	"fmt"

	wasakari "github.com/wasakari/wasakari/sdk/go"
	"github.com/wasakari/wasakari/tasks-examples/standard/evacuate"
)

func init() {
	wasakari.Handle("disable_compute_service_task", disableComputeService)
	wasakari.Handle("prepare_HA_enabled_instances_task", prepareInstances)
	wasakari.Handle("evacuate_instances_task", evacuate.Run)
	wasakari.Handle("stop_instance_task", stopInstance)
	wasakari.Handle("start_instance_task", startInstance)
	wasakari.Handle("confirm_instance_active_task", confirmInstanceActive)
	wasakari.Handle("disable_compute_node_task", disableComputeNode)
	wasakari.Handle("confirm_compute_node_disabled_task", confirmComputeNodeDisabled)
	wasakari.Handle("enable_compute_service_task", enableComputeService)
	wasakari.Handle("no_op", noOp)
}

func main() {}

// seconds reads a limit; 0 means none, to Masakari and to the host alike.
func seconds(t *wasakari.Task, name string) int64 {
	return t.OptionInt("DEFAULT", name)
}

// because adds what Nova says to a reason; a limit that passed says nothing more.
func because(reason string, err error) error {
	if err == nil || errors.Is(err, wasakari.ErrTimeout) {
		return errors.New(reason)
	}
	return fmt.Errorf("%s: %w", reason, err)
}
