// Package wasakari is for writing recovery tasks: WebAssembly modules that
// Wasakari runs in a sandbox when a compute host, a process or a server of an
// OpenStack cloud failed.
//
// A task is a function registered under its entry-point key:
//
//	func init() {
//		wasakari.Handle("custom_pre_task", func(t *wasakari.Task) error {
//			t.Log().Infof("host %s failed", t.InputString("host_name"))
//			return nil
//		})
//	}
//
//	func main() {}
//
// Build it as a reactor and put its manifest in:
//
//	GOOS=wasip1 GOARCH=wasm go build -buildmode=c-shared -trimpath -ldflags='-s -w' -o task.wasm .
//	wasakari task pack task.yaml task.wasm -o custom_pre_task.wasm
//
// Calls of the host block only the goroutine that makes them, so work is made
// parallel with goroutines: a thousand may wait for Nova at the same time.
// time.Sleep, context.WithTimeout and time.After work as ever; a function
// given to time.AfterFunc may run up to a second late when every goroutine is
// waiting for the host. Wait for the goroutines that you start: a task that
// returns while calls are open has failed.
//
// On other targets than wasip1 tasks are plain Go; package wasakaritest runs
// them against a fake host.
package wasakari
