package main_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/wasakari/wasakari/sdk/go/wasakaritest"
)

type (
	step struct {
		permille int
		message  string
	}
	// ended is how a task ended.
	ended struct {
		outcome  wasakaritest.Outcome
		reason   string
		progress []step
		logs     []string
	}
	// opts are options by "group.name", and attempt and reserved_host.
	opts map[string]any
)

// defaults are those of task.yaml; internal/standardtasks compares the two
// through the built module.
func defaults() map[string]map[string]any {
	return map[string]map[string]any{
		"DEFAULT": {
			"host_failure_recovery_threads": 3, "wait_period_after_service_update": 180, "wait_period_after_evacuation": 90,
			"wait_period_after_power_off": 180, "wait_period_after_power_on": 60,
		},
		"host_failure": {
			"service_disable_reason": "Masakari detected host failed.", "evacuate_all_instances": true,
			"ha_enabled_instance_metadata_key": "HA_Enabled", "ignore_instances_in_error_state": false,
			"add_reserved_host_to_aggregate": false, "lock_servers": true, "require_fence_proof": false, "other_states": "evacuate",
		},
		"instance_failure": {"process_all_instances": false, "ha_enabled_instance_metadata_key": "HA_Enabled"},
		"host_repair":      {"wait_period_for_service": 600},
		"process_failure":  {"service_disable_reason": "Masakari detected process failed."},
	}
}

func setOption(t *testing.T, options map[string]map[string]any, name string, v any) {
	t.Helper()
	group, name, _ := strings.Cut(name, ".")
	if _, ok := options[group][name]; !ok {
		t.Fatalf("no option [%s] %s", group, name)
	}
	options[group][name] = v
}

// check compares how a task ended.
func check(t *testing.T, got ended, want wasakaritest.Outcome, reason string, progress ...step) {
	t.Helper()
	if got.outcome != want || got.reason != reason {
		t.Errorf("ended %s %q, want %s %q", got.outcome, got.reason, want, reason)
	}
	if progress != nil && !slices.Equal(got.progress, progress) {
		t.Errorf("progress = %v\nwant %v", got.progress, progress)
	}
}

func equal(t *testing.T, what string, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s = %q\nwant %q", what, got, want)
	}
}
