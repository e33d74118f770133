// Command ticket holds a task that opens a ticket for a failed host in a system
// that takes them by HTTP, and provides its id.
package main

import (
	"encoding/json"
	"errors"
	"fmt"

	wasakari "github.com/wasakari/wasakari/sdk/go"
)

func init() { wasakari.Handle("ticket", ticket) }

func main() {}

func ticket(t *wasakari.Task) error {
	id, err := open(t)
	if err != nil {
		if t.OptionBool("ticket", "required") {
			return err
		}
		// A recovery without a ticket is better than none.
		t.Log().Warnf("no ticket: %v", err)
	} else {
		t.Log().Infof("opened ticket %s", id)
	}
	return t.KV().Put(t.Context(), "ticket_id", id)
}

// open gives the id of the ticket.
func open(t *wasakari.Task) (string, error) {
	body, err := json.Marshal(map[string]any{
		"queue": t.OptionString("ticket", "queue"),
		"title": fmt.Sprintf("host %s failed", t.InputString("host_name")),
		"text":  fmt.Sprintf("Recovery %s began.", t.Flow()),
	})
	if err != nil {
		return "", err
	}
	ans, err := t.HTTP().Request(t.Context(), wasakari.HTTPRequestRequest{
		Method: "POST",
		URL:    t.OptionString("ticket", "url"),
		Headers: map[string]wasakari.Text{
			// The host puts the token in; the task never sees it.
			"Authorization": t.Secret("ticket", "token").WithPrefix("Bearer "),
			// The same when the task is run again: no second ticket.
			"Idempotency-Key": t.IdempotencyKey(),
		},
		BodyJSON: body,
	})
	if err != nil {
		return "", err
	}
	if ans.Status != 200 && ans.Status != 201 {
		return "", fmt.Errorf("the ticket system answered %d", ans.Status)
	}
	var opened struct {
		ID json.RawMessage `json:"id"`
	}
	if err := json.Unmarshal([]byte(ans.Body), &opened); err != nil {
		return "", fmt.Errorf("the ticket system's answer: %w", err)
	}
	var text string
	switch {
	case len(opened.ID) == 0:
		return "", errors.New("the ticket system told no id")
	case json.Unmarshal(opened.ID, &text) == nil:
		return text, nil
	}
	return string(opened.ID), nil // a number
}
