package main

import wasakari "github.com/wasakari/wasakari/sdk/go"

// noOp does nothing, for trying out flows.
func noOp(t *wasakari.Task) error {
	t.Log().Infof("Custom task executed successfully..!!")
	return nil
}
