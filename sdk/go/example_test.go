package wasakari_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	wasakari "github.com/wasakari/wasakari/sdk/go"
	"github.com/wasakari/wasakari/sdk/go/wasakaritest"
)

// A task that stops the servers of a failed host, many at a time, and tells
// the tasks after it how many there were.
func ExampleHandle() {
	wasakari.Handle("stop_servers", func(t *wasakari.Task) error {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		list, err := t.Nova().ServerList(ctx, wasakari.NovaServerListRequest{
			Host: t.InputString("host_name"), Fields: []string{"id"},
		})
		if err != nil {
			return err
		}
		if len(list.Servers) == 0 {
			return wasakari.NothingToDo("no servers on the host")
		}
		var wg sync.WaitGroup
		errs := make([]error, len(list.Servers))
		for i, s := range list.Servers {
			wg.Add(1)
			go func() {
				defer wg.Done()
				_, errs[i] = t.Nova().ServerStop(ctx, wasakari.NovaServerStopRequest{ID: s.ID})
			}()
		}
		wg.Wait()
		for _, err := range errs {
			if err != nil {
				return err
			}
		}
		return t.KV().Put(ctx, "stopped", len(list.Servers))
	})

	f := &wasakaritest.Fake{Inputs: map[string]any{"host_name": "compute-1"}}
	wasakaritest.Answer(f, "nova.server_list",
		func(_ context.Context, req wasakari.NovaServerListRequest) (wasakari.NovaServerListAnswer, error) {
			return wasakari.NovaServerListAnswer{Servers: []wasakari.Server{{ID: req.Host + "-a"}, {ID: req.Host + "-b"}}}, nil
		})
	wasakaritest.Answer(f, "nova.server_stop",
		func(context.Context, wasakari.NovaServerStopRequest) (wasakari.NovaServerStopAnswer, error) {
			return wasakari.NovaServerStopAnswer{}, nil
		})
	r := wasakaritest.Run(&testing.T{}, "stop_servers", f)
	fmt.Println(r.Outcome, string(r.Values["stopped"]))
	// Output: succeeded 2
}
