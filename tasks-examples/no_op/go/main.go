// Command no_op is the smallest task: it says that it ran.
package main

import wasakari "github.com/wasakari/wasakari/sdk/go"

func init() {
	wasakari.Handle("my_noop_task", func(t *wasakari.Task) error {
		t.Log().Infof("nothing to do on %s", t.InputString("host_name"))
		return nil
	})
}

func main() {}
