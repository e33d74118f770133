// Package bridge lets package wasakaritest run tasks of package wasakari
// without making the way public.
package bridge

import "context"

// Host stands for the host of a task. Its methods may be called concurrently.
type Host interface {
	// Do does an op, JSON in, JSON out.
	Do(ctx context.Context, op string, req []byte) ([]byte, error)
	Log(level int32, msg string)
	Progress(permille int32, msg string)
}

// Run runs, or reverts, the task that task.input of the host names, and gives
// what the export run or revert would return. Package wasakari sets it.
var Run func(h Host, revert bool) int32
