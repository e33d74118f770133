package recovery_test

import (
	"slices"
	"testing"

	"github.com/wasakari/wasakari/recovery"
)

func TestAsks(t *testing.T) {
	tests := []struct {
		name string
		task recovery.Task
		want []string
	}{
		{"nothing", recovery.Task{}, nil},
		{
			"ops, but not those that are everybody's",
			recovery.Task{Uses: []string{"task.sleep", "kv.*", "nova.server_list", "task.*"}},
			[]string{"kv.*", "nova.server_list"},
		},
		{
			"requests",
			recovery.Task{Uses: []string{"http.request"}, HTTP: []string{"POST https://h.example.com/v1/*", "* http://10.0.0.1:8080/"}},
			[]string{"http.request", "http:POST:https://h.example.com/v1/*", "http:*:http://10.0.0.1:8080/"},
		},
		{
			"protected names only",
			recovery.Task{Provides: []string{"ticket", "fence_proof", "host_name"}, Requires: []string{"instance_list"}},
			[]string{"provides:fence_proof", "provides:host_name"},
		},
		{
			"each section once",
			recovery.Task{Options: []recovery.OptionSpec{{Group: "acme", Name: "a"}, {Group: "acme", Name: "b"}, {Group: "more", Name: "a"}}},
			[]string{"options:acme", "options:more"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.task.Asks(); !slices.Equal(got, tt.want) {
				t.Errorf("Asks() = %q, want %q", got, tt.want)
			}
		})
	}
}
