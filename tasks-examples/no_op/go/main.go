// Command no_op is the smallest task: it says that it ran.
package main

import wasakari "github.com/wasakari/wasakari/sdk/go"

func init() {
	wasakari.Handle("my_noop_task", func(t *wasakari.Task) error {
		t.Log().Infof("nothing to do for %s", t.InputStringOr("host_name", t.InputStringOr("instance_uuid", "this flow")))
		return nil
	})
}

func main() {}
