package config_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/wasakari/wasakari/config"
	"github.com/wasakari/wasakari/recovery"
)

// upstream is what oslo.config made of a fixture.
type upstream struct {
	Load  string
	Flows map[string]struct {
		Value  map[string][]string
		Usable bool
	}
}

func keys(refs []recovery.TaskRef) []string {
	out := []string{}
	for _, r := range refs {
		out = append(out, r.Key)
	}
	return out
}

// TestFixtures reads every sample file. Where the original takes a flow and so
// do we, both read the same.
func TestFixtures(t *testing.T) {
	wantErr := map[string]string{
		"22-braces-multiline-flush-left.conf":  `22-braces-multiline-flush-left.conf:2:36: option host_auto_failure_recovery_tasks: the '{' is not closed; the lines in column 0 from line 3 on are options of their own; indent them`,
		"40-missing-key.conf":                  `40-missing-key.conf:2:36: option host_auto_failure_recovery_tasks: post is missing; add post:['…'], or post:[] for no tasks`,
		"41-empty-value.conf":                  `41-empty-value.conf:2:35: option host_auto_failure_recovery_tasks: the value is empty; write pre:[…],main:[…],post:[…], or remove the option to keep the default`,
		"42-quoted-keys-no-braces.conf":        `42-quoted-keys-no-braces.conf:2:36: option host_auto_failure_recovery_tasks: the key 'pre' is in quotes; write keys without quotes, or put { } around the whole value`,
		"43-forgotten-bracket.conf":            `43-forgotten-bracket.conf:2:71: option host_auto_failure_recovery_tasks: the '[' of pre is not closed before main; write ']' behind its last task, 'disable_compute_service_task'`,
		"44-forgotten-quote.conf":              `44-forgotten-quote.conf:2:41: option host_auto_failure_recovery_tasks: the quote ' before 'disable_compute_service_task' is not closed before ']'; write ' behind the name`,
		"45-forgotten-comma-between-keys.conf": `45-forgotten-comma-between-keys.conf:4:31: option host_rh_failure_recovery_tasks: a comma is missing between 'evacuate_instances_task' and post; write ',' behind the list of main`,
		"46-trailing-comma-in-list.conf":       `46-trailing-comma-in-list.conf:2:72: option host_auto_failure_recovery_tasks: an empty task name in pre; remove the comma before ']'`,
		"47-upper-case-key.conf":               `47-upper-case-key.conf:2:36: option host_auto_failure_recovery_tasks: unknown key 'Pre'; write pre`,
		"48-indented-comment-inside.conf":      `48-indented-comment-inside.conf:3:5: option host_auto_failure_recovery_tasks: '#' starts no comment here; put the comment above the option, beginning in column 0`,
		"60-trailing-comma.conf":               `60-trailing-comma.conf:2:148: option host_auto_failure_recovery_tasks: a comma at the end of the value; remove it`,
		"61-bare-scalar.conf":                  `61-bare-scalar.conf:2:40: option host_auto_failure_recovery_tasks: the value of pre is no list; write pre:['disable_compute_service_task']`,
		"62-duplicate-key.conf":                `62-duplicate-key.conf:2:50: option host_auto_failure_recovery_tasks: pre is given twice; put all its tasks into one list`,
		"63-inline-comment.conf":               `63-inline-comment.conf:2:85: option process_failure_recovery_tasks: '#' starts no comment here; put the comment above the option, beginning in column 0`,
		"64-semicolons.conf":                   `64-semicolons.conf:2:67: option process_failure_recovery_tasks: ';' between the lists of pre and main; write ','`,
		"65-equals-as-separator.conf":          `65-equals-as-separator.conf:2:37: option process_failure_recovery_tasks: '=' behind 'pre'; write pre:[…]`,
		"66-unknown-interpolation.conf":        `66-unknown-interpolation.conf:2:40: option [taskflow_driver_recovery_flows] process_failure_recovery_tasks: unknown reference $site_task; there is no option 'site_task' in [taskflow_driver_recovery_flows] or [DEFAULT]; write $$ for a dollar sign`,
		"80-load-error-blank-line.conf":        `80-load-error-blank-line.conf:4:5: unexpected continuation line: '    main:['prepare_HA_enabled_instances_task'],'; the value of 'host_auto_failure_recovery_tasks' ended at the blank line in line 3: remove that line, or move it above the option`,
		"81-load-error-comment-column-0.conf":  `81-load-error-comment-column-0.conf:4:5: unexpected continuation line: '    main:['prepare_HA_enabled_instances_task'],'; the value of 'host_auto_failure_recovery_tasks' ended at the comment in line 3: remove that line, or move it above the option`,
		"82-load-error-indented-block.conf":    `82-load-error-indented-block.conf:2:5: unexpected continuation line: '    host_auto_failure_recovery_tasks = {'; an option begins in column 0: remove the blanks before it`,
		"83-load-error-no-section.conf":        `83-load-error-no-section.conf:1:1: section must be started before assignment; write [DEFAULT], or the section of the option, above it`,
		"84-load-error-section-comment.conf":   `84-load-error-section-comment.conf:1:1: invalid section (must end with ]): '[taskflow_driver_recovery_flows]  ; flows'; a comment stands in a line of its own`,
	}
	// What the original refuses, and Masakari's guide recommends.
	braces := map[string]map[recovery.FlowKind]map[string][]string{
		"20-braces-one-line.conf": {recovery.HostAuto: {
			"pre": {"disable_compute_service_task", "custom_pre_task"}, "main": {"prepare_HA_enabled_instances_task"}, "post": {"evacuate_instances_task"},
		}},
		"21-braces-multiline-indented.conf": {recovery.HostAuto: {
			"pre":  {"disable_compute_service_task", "custom_pre_task"},
			"main": {"custom_main_task", "prepare_HA_enabled_instances_task"},
			"post": {"evacuate_instances_task", "custom_post_task"},
		}},
		"23-braces-closing-own-line.conf": {recovery.HostReserved: {
			"pre": {"disable_compute_service_task"}, "main": {"prepare_HA_enabled_instances_task", "evacuate_instances_task"},
		}},
		"24-json.conf": {recovery.InstanceFailure: {
			"pre": {"stop_instance_task"}, "main": {"start_instance_task"}, "post": {"confirm_instance_active_task"},
		}},
	}
	b, err := os.ReadFile("testdata/expected-upstream.json")
	if err != nil {
		t.Fatal(err)
	}
	var oracle map[string]upstream
	if err := json.Unmarshal(b, &oracle); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("testdata/conf/*.conf")
	if err != nil || len(files) != len(oracle) {
		t.Fatalf("%d files, %d expectations, %v", len(files), len(oracle), err)
	}
	for _, f := range files {
		name := filepath.Base(f)
		t.Run(name, func(t *testing.T) {
			c, err := config.Load(config.Sources{Files: []string{f}})
			got := ""
			if err != nil {
				got = strings.ReplaceAll(err.Error(), "testdata/conf/", "")
			}
			if got != wantErr[name] {
				t.Fatalf("error = %s\nwant    %s", got, wantErr[name])
			}
			if err != nil {
				return
			}
			if w := c.Warnings(); len(w) > 0 {
				t.Errorf("warnings = %v, want none", w)
			}
			for _, k := range recovery.FlowKinds() {
				if k == recovery.HostRepair { // Masakari has none
					continue
				}
				up := oracle[name].Flows[k.Option()]
				if !up.Usable {
					up.Value = braces[name][k]
				}
				f, err := c.Flow(k)
				if err != nil {
					t.Fatal(err)
				}
				for _, ph := range recovery.Phases() {
					if got, want := keys(f.Tasks(ph)), up.Value[string(ph)]; !slices.Equal(got, want) {
						t.Errorf("%s %s = %q, want %q", k, ph, got, want)
					}
				}
			}
		})
	}
}
