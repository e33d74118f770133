// Command guide-library holds three tasks of a third party as one module: the
// custom tasks of Masakari's guide to customised recovery flows. The first
// opens a ticket, the others write in it.
package main

import (
	"fmt"
	"hash/crc32"
	"strings"

	wasakari "github.com/wasakari/wasakari/sdk/go"
)

// ticket is what custom_pre_task hands to the other two as recovery_ticket.
type ticket struct {
	ID    string `json:"id"`
	Queue string `json:"queue"`
	Host  string `json:"host"`
}

func init() {
	wasakari.Handle("custom_pre_task", openTicket)
	wasakari.Handle("custom_main_task", countServers)
	wasakari.Handle("custom_post_task", closeTicket)
}

func main() {}

// openTicket provides the ticket. Its number comes from the idempotency key,
// so that the task run again after an interruption opens no second one.
func openTicket(t *wasakari.Task) error {
	tk := ticket{Queue: t.OptionString("guide_library", "ticket_queue"), Host: t.InputString("host_name")}
	tk.ID = fmt.Sprintf("%s-%08x", tk.Queue, crc32.ChecksumIEEE([]byte(t.IdempotencyKey())))
	note(t, tk, "host %s failed", tk.Host)
	t.Progress(1000, "Opened ticket %s", tk.ID)
	return t.KV().Put(t.Context(), "recovery_ticket", tk)
}

// countServers looks at how much there is to recover, and stops the flow when
// that is more than the operator finds plausible.
func countServers(t *wasakari.Task) error {
	var tk ticket
	if err := t.Input("recovery_ticket", &tk); err != nil {
		return err
	}
	ans, err := t.Nova().ServerList(t.Context(), wasakari.NovaServerListRequest{Host: tk.Host, Fields: []string{"id"}})
	if err != nil {
		return err
	}
	n := len(ans.Servers)
	note(t, tk, "%d servers on host %s", n, tk.Host)
	if most := t.OptionInt("guide_library", "max_servers"); most > 0 && int64(n) > most {
		return fmt.Errorf("ticket %s: %d servers on host %s are more than [guide_library] max_servers = %d", tk.ID, n, tk.Host, most)
	}
	t.Progress(1000, "Counted %d servers for ticket %s", n, tk.ID)
	return nil
}

// closeTicket sums up what became of the servers.
func closeTicket(t *wasakari.Task) error {
	var tk ticket
	if err := t.Input("recovery_ticket", &tk); err != nil {
		return err
	}
	ans, err := t.HA().VMoveList(t.Context(), wasakari.HAVMoveListRequest{Latest: true})
	if err != nil {
		return err
	}
	count := map[string]int{}
	for _, v := range ans.VMoves {
		count[v.Status]++
	}
	var parts []string
	for _, status := range []string{"succeeded", "ignored", "failed", "ongoing", "pending"} {
		if count[status] > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", count[status], status))
		}
	}
	sum := strings.Join(parts, ", ")
	if sum == "" {
		sum = "no servers to move"
	}
	note(t, tk, "%s", sum)
	t.Progress(1000, "Closed ticket %s: %s", tk.ID, sum)
	return nil
}

// note writes a line in the ticket.
func note(t *wasakari.Task, tk ticket, format string, args ...any) {
	t.Log().Infof("%s [%s] %s", t.OptionString("guide_library", "note_prefix"), tk.ID, fmt.Sprintf(format, args...))
}
