package hostfuncs_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/wasakari/wasakari/abi"
	"github.com/wasakari/wasakari/hostfuncs"
	"github.com/wasakari/wasakari/recovery"
)

// The value of a secret option leaves in no answer, whatever form it comes in.
func TestSecretsAreHandles(t *testing.T) {
	const value = "hunter2-and-more"
	secretSpec := func(group, name string) recovery.OptionSpec {
		return recovery.OptionSpec{Group: group, Name: name, Type: recovery.StringOption, Secret: true}
	}
	tests := []struct {
		name string
		call func(c *hostfuncs.TaskCall)
		want string // options of the input
	}{
		{"a text", func(c *hostfuncs.TaskCall) {
			c.Task.Options = []recovery.OptionSpec{secretSpec("acme", "token"), {Group: "acme", Name: "queue"}}
			c.Options = map[string]map[string]any{"acme": {"token": value, "queue": "ops"}}
		}, `{"acme":{"queue":"ops","token":{"$secret":"acme.token"}}}`},
		{"unset", func(c *hostfuncs.TaskCall) {
			c.Task.Options = []recovery.OptionSpec{secretSpec("acme", "token")}
			c.Options = map[string]map[string]any{"acme": {"token": nil}}
		}, `{"acme":{"token":null}}`},
		{"empty: that it is tells too", func(c *hostfuncs.TaskCall) {
			c.Task.Options = []recovery.OptionSpec{secretSpec("acme", "token")}
			c.Options = map[string]map[string]any{"acme": {"token": ""}}
		}, `{"acme":{"token":{"$secret":"acme.token"}}}`},
		{"a section in another case", func(c *hostfuncs.TaskCall) {
			c.Task.Options = []recovery.OptionSpec{secretSpec("ACME", "token")}
			c.Options = map[string]map[string]any{"acme": {"token": value}}
		}, `{"acme":{"token":{"$secret":"acme.token"}}}`},
		{"a list", func(c *hostfuncs.TaskCall) {
			c.Task.Options = []recovery.OptionSpec{secretSpec("acme", "tokens")}
			c.Options = map[string]map[string]any{"acme": {"tokens": []string{value, value}}}
		}, `{"acme":{"tokens":{"$secret":"acme.tokens"}}}`},
		{"known as a secret by the operator only", func(c *hostfuncs.TaskCall) {
			c.Task.Options = []recovery.OptionSpec{{Group: "acme", Name: "token"}}
			c.Options = map[string]map[string]any{"acme": {"token": value}}
			c.Secrets = map[string]recovery.Secret{"acme.token": {Name: "acme.token", Value: value}}
		}, `{"acme":{"token":{"$secret":"acme.token"}}}`},
		{"a secret by type", func(c *hostfuncs.TaskCall) {
			c.Options = map[string]map[string]any{"acme": {"token": recovery.Secret{Name: "other.name", Value: value}, "key": &recovery.Secret{Value: value}}}
		}, `{"acme":{"key":{"$secret":"acme.key"},"token":{"$secret":"acme.token"}}}`},
	}
	for _, tt := range tests {
		for _, tenant := range []string{"", acme} {
			t.Run(strings.TrimSpace(tt.name+" "+tenant), func(t *testing.T) {
				b := setup(t, newNova())
				task := b.task(tt.call, func(c *hostfuncs.TaskCall) { c.Task.Tenant = tenant })
				in, text := inputOf(t, task)
				got, err := json.Marshal(in.Options)
				if err != nil || string(got) != tt.want {
					t.Errorf("options = %s, %v, want %s", got, err, tt.want)
				}
				for _, req := range []string{`{"name":"acme.token"}`, `{"name":"acme.token","scope":"library"}`, `{"name":"$secret"}`} {
					got, err := do(t.Context(), task, abi.OpKVGet, req)
					text += got + fmt.Sprint(err)
				}
				if strings.Contains(text, value) {
					t.Errorf("the value left: %s", text)
				}
			})
		}
	}
}
