package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/wasakari/wasakari/config"
)

func TestRestartsFor(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, before, after string
		want                []string
	}{
		{"nothing", "", "", nil},
		{"what runs take anew", "", "[DEFAULT]\nverify_interval = 3\n[guards]\nhosts = 7\n[grants]\nacme = nova.server_get\n", nil},
		{"sections and options", "[store]\nlease_seconds = 20\n", "[DEFAULT]\nmasakari_api_listen_port = 1\nverify_interval = 3\n[engine]\nhosts_at_once = 7\n", []string{
			"FILE:2:28: option [DEFAULT] masakari_api_listen_port was changed, and holds when the service is restarted",
			"option [store] lease_seconds was changed, and holds when the service is restarted",
			"FILE:5:17: option [engine] hosts_at_once was changed, and holds when the service is restarted",
		}},
		{"limits", "[limits]\nacme = memory_mib=9\n", "[limits]\nacme = memory_mib=8\n@0b1f6cf9d0a44c2f9d7f3c3c5b9a7f10 = sandboxes=3, tickets=4\n", []string{
			"sandboxes of a tenant in [limits] were changed, and hold when the service is restarted; the other limits there hold now",
		}},
		{"secret", "[DEFAULT]\nos_privileged_user_password = hunter2\n", "[DEFAULT]\nos_privileged_user_password = hunter3\n", []string{
			"FILE:2:31: option [DEFAULT] os_privileged_user_password was changed, and holds when the service is restarted",
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "t.conf")
			var configs []*config.Config
			for _, text := range []string{tt.before, tt.after} {
				if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
				cfg, err := config.Load(config.Sources{Files: []string{file}})
				if err != nil {
					t.Fatal(err)
				}
				configs = append(configs, cfg)
			}
			got := restartsFor(configs[0], configs[1])
			for i := range got {
				got[i] = strings.ReplaceAll(got[i], file, "FILE")
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("got  %q\nwant %q", got, tt.want)
			}
		})
	}
}

// Every name in fixed is that of a section or an option that there is.
func TestFixedOptionsAreThere(t *testing.T) {
	t.Parallel()
	known := map[string]bool{}
	for _, s := range config.Specs() {
		known[s.Group], known[s.Group+"."+s.Name] = true, true
	}
	for name := range fixed {
		if !known[name] {
			t.Errorf("%s is no section and no option", name)
		}
	}
}
