// Command staged_start holds a task that moves all servers off a failed host at
// once, and then starts those that are to run a few at a time on each host they
// came to: disks and networks do not have to bear all of them booting together.
package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	wasakari "github.com/wasakari/wasakari/sdk/go"
)

const group = "staged_start"

func init() { wasakari.Handle("staged_start", stagedStart) }

func main() {}

// moved is a server that was evacuated.
type moved struct {
	server wasakari.Server // where and how it is now
	start  bool
	err    error
}

func stagedStart(t *wasakari.Task) error {
	host, limit := t.InputString("host_name"), t.OptionInt(group, "timeout")
	if _, err := t.Nova().ServiceWait(t.Context(), wasakari.NovaServiceWaitRequest{Host: host, State: "down", TimeoutSeconds: limit}); err != nil {
		return err
	}
	list, err := t.Nova().ServerList(t.Context(), wasakari.NovaServerListRequest{
		Host: host, Fields: []string{"id", "name", "metadata", "OS-EXT-STS:vm_state"},
	})
	if err != nil {
		return err
	}
	all := parallel(list.Servers, func(s wasakari.Server) moved { return evacuate(t, s, limit) })
	byHost := map[string][]wasakari.Server{}
	var failed []string
	hosts := map[string]bool{}
	for i, m := range all {
		switch {
		case m.err != nil:
			failed = append(failed, fmt.Sprintf("%s: %v", list.Servers[i].Name, m.err))
			continue
		case m.start:
			byHost[m.server.Host] = append(byHost[m.server.Host], m.server)
		}
		if m.server.Host != "" {
			hosts[m.server.Host] = true
		}
	}
	t.Log().Infof("evacuated %d of %d servers to %d hosts", len(all)-len(failed), len(all), len(hosts))
	t.Progress(500, "evacuated %d of %d servers", len(all)-len(failed), len(all))

	var started []string
	var mu sync.Mutex
	var batches [][]wasakari.Server
	for _, servers := range byHost {
		batches = append(batches, servers)
	}
	parallel(batches, func(servers []wasakari.Server) error {
		for batch := range slices.Chunk(servers, int(t.OptionInt(group, "batch"))) {
			errs := parallel(batch, func(s wasakari.Server) error { return start(t, s, limit) })
			mu.Lock()
			for i, s := range batch {
				if errs[i] != nil {
					failed = append(failed, fmt.Sprintf("%s: %v", s.Name, errs[i]))
				} else {
					started = append(started, s.Name)
				}
			}
			mu.Unlock()
		}
		return nil
	})
	slices.Sort(started)
	t.Log().Infof("started %d servers", len(started))
	if len(failed) > 0 {
		slices.Sort(failed)
		return fmt.Errorf("%d of %d servers failed: %s", len(failed), len(all), strings.Join(failed, "; "))
	}
	return t.KV().Put(t.Context(), "started_servers", append([]string{}, started...))
}

// evacuate moves a server and says whether it is to be started: it ran before,
// or its owner's metadata wants it, and it does not run now.
func evacuate(t *wasakari.Task, s wasakari.Server, limit int64) moved {
	_, err := t.Nova().ServerEvacuate(t.Context(), wasakari.NovaServerEvacuateRequest{ID: s.ID})
	// A conflict: an earlier attempt of this task has begun it, or it is gone.
	if err != nil && !errors.Is(err, wasakari.ErrConflict) {
		return moved{err: err}
	}
	ans, err := t.Nova().ServerWait(t.Context(), wasakari.NovaServerWaitRequest{
		ID: s.ID, Until: "moved", TimeoutSeconds: limit,
		Fields: []string{"id", "name", "OS-EXT-STS:vm_state", "OS-EXT-SRV-ATTR:host"},
	})
	switch {
	case err != nil:
		return moved{err: err}
	case ans.Outcome == "error":
		return moved{err: errors.New(ans.Message)}
	case ans.Outcome == "deleted":
		return moved{}
	}
	wanted := s.VMState == "active" || s.Metadata["start_after_recovery"] == "true"
	return moved{server: ans.Server, start: wanted && ans.Server.VMState == "stopped"}
}

func start(t *wasakari.Task, s wasakari.Server, limit int64) error {
	if _, err := t.Nova().ServerStart(t.Context(), wasakari.NovaServerStartRequest{ID: s.ID}); err != nil {
		return err
	}
	ans, err := t.Nova().ServerWait(t.Context(), wasakari.NovaServerWaitRequest{
		ID: s.ID, Until: "vm_state", VMStates: []string{"active"}, TimeoutSeconds: limit, Fields: []string{"id"},
	})
	if err == nil && ans.Outcome == "error" {
		err = errors.New(ans.Message)
	}
	return err
}

// parallel does f for all at once and gives what it gave, in order.
func parallel[T, R any](all []T, f func(T) R) []R {
	results := make([]R, len(all))
	var wg sync.WaitGroup
	for i, v := range all {
		wg.Add(1)
		go func() {
			defer wg.Done()
			results[i] = f(v)
		}()
	}
	wg.Wait()
	return results
}
