package main

import (
	"cmp"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/wasakari/wasakari/abi"
	"github.com/wasakari/wasakari/novasim"
)

// TestInspectLimits: what holds for a task is what it asks for, within the
// operator's ceilings.
func TestInspectLimits(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	manifest, module, conf := filepath.Join(dir, "task.yaml"), filepath.Join(dir, "x.wasm"), filepath.Join(dir, "conf")
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(manifest, "abi: 1\nlibrary: acme\nversion: 1.0.0\ntasks:\n  - {key: asks, limits: {memory_mib: 128, timeout: 20m, cpu: 20000000000}}\n  - {key: asks_not}\n")
	write(filepath.Join(dir, "raw.wasm"), "\x00asm\x01\x00\x00\x00\x01\x05\x01\x60\x00\x01\x7f\x03\x02\x01\x00\x05\x03\x01\x00\x01"+
		"\x07\x10\x02\x03run\x00\x00\x06memory\x02\x00\x0a\x06\x01\x04\x00\x41\x00\x0b")
	if r := wasakari(t, nil, "task", "pack", manifest, filepath.Join(dir, "raw.wasm"), "-o", module); r.code != exitOK {
		t.Fatalf("pack: exit %d\n%s", r.code, r.stderr)
	}
	write(conf, "[wasakari]\nmemory_mib = 8\nmemory_mib_max = 100\nstack_mib = 2\ncpu_units = 1000\ncpu_units_max = 2000\ntask_timeout = 10\ntask_timeout_max = 600\n")
	lines := filepath.Join(dir, "lines")
	write(lines, "[limits]\nacme = task_timeout=1h, tickets=3\nacme/asks = memory_mib=300, log_lines=0, tickets=64\n@p1 = stack_mib=3, sandboxes=1\n")
	tests := []struct {
		name string
		args []string
		want []string
	}{
		{"defaults", nil, []string{
			"memory 128 MiB (manifest), stack 1 MiB, time 20m0s (manifest), cpu 2e+10 units (manifest)",
			"memory 64 MiB, stack 1 MiB, time 5m0s, cpu 1e+10 units",
		}},
		{"configuration", []string{"--config-file", conf}, []string{
			"memory 100 MiB ([wasakari] memory_mib_max), stack 2 MiB, time 10m0s ([wasakari] task_timeout_max), cpu 2000 units ([wasakari] cpu_units_max)",
			"memory 8 MiB, stack 2 MiB, time 10s, cpu 1000 units",
		}},
		{"lines", []string{"--config-file", conf, "--config-file", lines}, []string{
			"memory 300 MiB ([limits] acme/asks at LINES:3:13), stack 2 MiB, time 1h0m0s ([limits] acme at LINES:2:8), " +
				"cpu 2000 units ([wasakari] cpu_units_max), 64 tickets ([limits] acme/asks at LINES:3:42), 0 log lines ([limits] acme/asks at LINES:3:29)",
			"memory 8 MiB, stack 2 MiB, time 1h0m0s ([limits] acme at LINES:2:8), cpu 1000 units, 3 tickets ([limits] acme at LINES:2:25)",
		}},
		{"tenant", []string{"--config-file", lines, "--tenant", "p1"}, []string{
			"memory 128 MiB (manifest), stack 3 MiB ([limits] @p1 at LINES:4:7), time 20m0s (manifest), " +
				"cpu 2e+10 units (manifest), 1 sandboxes of the tenant ([limits] @p1 at LINES:4:20)",
			"memory 64 MiB, stack 3 MiB ([limits] @p1 at LINES:4:7), time 5m0s, cpu 1e+10 units, 1 sandboxes of the tenant ([limits] @p1 at LINES:4:20)",
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := wasakari(t, nil, append([]string{"task", "inspect", module, "-o", "json"}, tt.args...)...)
			var got struct{ Limits []taskLimits }
			if err := json.Unmarshal([]byte(r.stdout), &got); err != nil {
				t.Fatalf("%v\n%s%s", err, r.stdout, r.stderr)
			}
			shown := wasakari(t, nil, append([]string{"task", "inspect", module}, tt.args...)...).stdout
			for i, l := range got.Limits {
				line := strings.ReplaceAll(strings.Join(l.notes(), ", "), lines, "LINES")
				if line != tt.want[i] {
					t.Errorf("limits of %s\n got %s\nwant %s", l.Task, line, tt.want[i])
				}
				if !strings.Contains(shown, strings.Join(l.notes(), ", ")) {
					t.Errorf("not shown: %s\n%s", line, shown)
				}
			}
			if len(got.Limits) != len(tt.want) {
				t.Errorf("%d tasks, want %d", len(got.Limits), len(tt.want))
			}
		})
	}
}

// TestNoCacheFolder: without a folder for them, compiled modules last as long
// as the process, and it leaves nothing behind.
func TestNoCacheFolder(t *testing.T) {
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	r := wasakari(t, []string{"XDG_CACHE_HOME=" + filepath.Join(file, "cache")}, "check")
	if r.code != exitOK {
		t.Errorf("exit %d\n%s", r.code, r.stderr)
	}
	if left, _ := os.ReadDir(temp); len(left) > 0 {
		t.Errorf("left among the temporary files: %v", left)
	}
}

// TestPackKeepsWhatItCompiled: what task pack compiled for its check, the first
// run finds in the user's cache; where there can be none, it packs all the same.
func TestPackKeepsWhatItCompiled(t *testing.T) {
	t.Parallel()
	const manifest = "abi: 1\nlibrary: acme\nversion: 1.0.0\nsummary: s\ntasks:\n  - {key: x, summary: s}\n"
	for name, tt := range map[string]struct {
		file string // where the cache would be
		want int
	}{"folder": {"", 1}, "no folder": {"cache/wasakari", 0}} {
		t.Run(name, func(t *testing.T) {
			files := map[string]string{"task.yaml": manifest, "raw.wasm": string(guest("no_manifest"))}
			if tt.file != "" {
				files[tt.file] = ""
			}
			p := newPlace(t, files)
			p.environ = []string{"XDG_CACHE_HOME=DIR/cache"}
			if r := p.run(t.Context(), t, strings.Fields("task pack DIR/task.yaml DIR/raw.wasm -o DIR/x.wasm")...); r.code != exitOK {
				t.Fatalf("exit %d\n%s", r.code, r.stderr)
			}
			kept, err := filepath.Glob(filepath.Join(p.dir, "cache/wasakari/code-*"))
			if err != nil || len(kept) != tt.want {
				t.Errorf("%d modules in the cache, want %d (%v)", len(kept), tt.want, err)
			}
		})
	}
}

// TestLimitLines: what a line of [limits] sets holds for the tasks that it is
// for, whatever their manifest and [wasakari] say, and the task that runs into
// it is told which line that is.
func TestLimitLines(t *testing.T) {
	t.Parallel()
	large := abi.ManifestTask{Limits: abi.ManifestLimits{MemoryMiB: 200}} // memory_minimum starts with 128 MiB
	asks, kv := asking(t, "task.input {}"), asking(t, `kv.put {"scope":"library","name":"n","value":"`+strings.Repeat("v", 3000)+`"}`)
	tests := []struct {
		name, library string // acme if empty
		guest         []byte
		task          abi.ManifestTask
		lines         string
		want          string // empty: it succeeds
		told          bool   // as the answer to an op, so it succeeds too
	}{
		{name: "memory below what the manifest asks for", guest: guest("memory_minimum"), task: large, lines: "acme = memory_mib=32", want: "memory limit of 32 MiB reached: the module starts with 128 MiB (option [limits] acme memory_mib)"},
		{name: "memory above the default", guest: guest("memory_minimum"), lines: "acme = memory_mib=128"},
		{name: "another library", library: "other", guest: guest("memory_minimum"), task: large, lines: "acme = memory_mib=32"},
		{name: "a tenant's library", guest: guest("memory_minimum"), task: large, lines: "acme@p1 = memory_mib=32\n@p1 = memory_mib=32"},
		{name: "key before library", guest: guest("memory_minimum"), lines: "acme/x = memory_mib=512\nacme = memory_mib=32"},
		{name: "key below library", guest: guest("memory_minimum"), lines: "acme/x = memory_mib=33\nacme = memory_mib=200", want: "memory limit of 33 MiB reached: the module starts with 128 MiB (option [limits] acme/x memory_mib)"},
		{name: "another key", guest: guest("memory_minimum"), task: large, lines: "acme/y = memory_mib=33"},
		{name: "what the key's line leaves out", guest: guest("memory_minimum"), task: large, lines: "acme/x = tickets=1\nacme = memory_mib=32", want: "memory limit of 32 MiB reached: the module starts with 128 MiB (option [limits] acme memory_mib)"},
		{name: "cpu", guest: asks, lines: "acme = cpu_units=100", want: "cpu limit of 100 units reached (option [limits] acme cpu_units)"},
		{name: "cpu of another library", library: "other", guest: asks, lines: "acme = cpu_units=100"},
		{name: "stack", guest: guest("recursion"), lines: "acme = stack_mib=2", want: "stack overflow; stack limit of 2 MiB reached: the guest called too deep, most likely a recursion without end (option [limits] acme stack_mib)"},
		{name: "time", guest: guest("loop"), lines: "acme = task_timeout=1s", want: "time limit of 1s reached (option [limits] acme task_timeout)"},
		{name: "no log", guest: guest("spin"), lines: "acme = log_lines=0, task_timeout=1s", want: "log limit of 0 lines reached (option [limits] acme log_lines); further lines are dropped"},
		{name: "request", guest: kv, lines: "acme = request_kib=1", want: "request limit of 1 KiB reached: the request has 3041 bytes (option [limits] acme request_kib)", told: true},
		{name: "values of a task", guest: kv, lines: "acme = kv_task_kib=2", want: "the task would have written 3003 bytes, at most 2048 (option [limits] acme kv_task_kib)", told: true},
	}
	_, environ := startCloud(t, quickCloud, novasim.Options{})
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			library := cmp.Or(tt.library, "acme")
			tt.task.Key, tt.task.Uses = "x", []string{"kv.put"}
			p := newPlace(t, map[string]string{
				"conf":         "[taskflow_driver_recovery_flows]\nprocess_failure_recovery_tasks = pre:['x'],main:[],post:[]\n[grants]\n" + library + " = kv.*\n[limits]\n" + tt.lines + "\n",
				"tasks/x.wasm": string(packedAs(t, tt.guest, library, tt.task)),
			})
			p.environ = environ
			r := p.run(t.Context(), t, strings.Fields("run process --config-file DIR/conf --task-dir DIR/tasks --input process_name=nova-compute --input host_name=compute-2")...)
			if !strings.Contains(r.stdout, tt.want) || (r.code == exitOK) != (tt.want == "" || tt.told) {
				t.Errorf("exit code %d, want %q in\n%s%s", r.code, tt.want, r.stdout, r.stderr)
			}
			if tt.want == "" && strings.Contains(r.stdout, "limit of") {
				t.Errorf("a limit was reached:\n%s", r.stdout)
			}
		})
	}
}

// TestLimitLinesOfTenant: a line for all libraries of a tenant holds for its
// modules, and not for those of others.
func TestLimitLinesOfTenant(t *testing.T) {
	t.Parallel()
	_, environ := startCloud(t, twoTenants, novasim.Options{})
	p := newPlace(t, nil)
	p.environ = environ
	ids := projects(t, p)
	wasm := string(packedAs(t, guest("memory_minimum"), "theirs", abi.ManifestTask{Key: "x", Limits: abi.ManifestLimits{MemoryMiB: 200}}))
	p.write(t, "theirs/x.wasm", wasm)
	for lines, want := range map[string]string{
		"@TENANT = memory_mib=32":                                 "memory limit of 32 MiB reached: the module starts with 128 MiB (option [limits] @TENANT memory_mib)",
		"@TENANT = memory_mib=32\ntheirs@TENANT = tickets=1":      "memory limit of 32 MiB reached: the module starts with 128 MiB (option [limits] @TENANT memory_mib)",
		"@TENANT = memory_mib=32\ntheirs@TENANT = memory_mib=200": "",
		"@OTHER = memory_mib=32\ntheirs = memory_mib=32":          "",
	} {
		names := strings.NewReplacer("TENANT", ids["mine"], "OTHER", ids["theirs"])
		p.write(t, "conf", "[taskflow_driver_recovery_flows]\ninstance_failure_recovery_tasks = pre:['x'],main:[],post:[]\n[limits]\n"+names.Replace(lines)+"\n")
		r := p.run(t.Context(), t, "run", "instance", "--config-file", "DIR/conf", "--tenant-task-dir", ids["mine"]+"=DIR/theirs", "--input", "instance_uuid=00000000-0000-4000-8000-000000000000")
		if (r.code == exitOK) != (want == "") || !strings.Contains(r.stdout, names.Replace(want)) {
			t.Errorf("%s: exit code %d, want %q in\n%s%s", lines, r.code, want, r.stdout, r.stderr)
		}
	}
}

// TestLimitsIdle: a line for a library that is not there is told.
func TestLimitsIdle(t *testing.T) {
	t.Parallel()
	p := newPlace(t, map[string]string{
		"conf":         instanceConf + "[limits]\nacne = tickets=1\nacme/y = tickets=1\nacme = tickets=1\nacme/x = tickets=2\n@p1 = tickets=1\nwasakari-standard = memory_mib=128\n",
		"tasks/x.wasm": string(packed(t, guest("noop"), abi.ManifestTask{Key: "x"})),
	})
	r := p.run(t.Context(), t, "check", "--config-file", "DIR/conf", "--task-dir", "DIR/tasks")
	want := "warning: DIR/conf:5:1: [limits] acme/y limits nothing: no task at hand is of that name; did you mean acme/x?\n" +
		"warning: DIR/conf:4:1: [limits] acne limits nothing: no task at hand is of that name; did you mean acme?\n"
	if r.code != exitOK || r.stderr != want {
		t.Errorf("exit code %d\n got %s\nwant %s", r.code, r.stderr, want)
	}
	for _, want := range []string{
		"\nlimits\n", "\n  x: memory 64 MiB, stack 1 MiB, time 5m0s, cpu 1e+10 units, 2 tickets ([limits] acme/x at " + p.dir + "/conf:7:10)\n",
		"\n  start_instance_task: memory 128 MiB ([limits] wasakari-standard at " + p.dir + "/conf:9:21), stack 1 MiB, no limit of time (standard task), cpu 6e+11 units (standard task)\n",
	} {
		if !strings.Contains(r.stdout, want) {
			t.Errorf("no %q in\n%s", want, r.stdout)
		}
	}
	var doc checkDoc
	r = p.run(t.Context(), t, "check", "--config-file", "DIR/conf", "--task-dir", "DIR/tasks", "--output", "json")
	if err := json.Unmarshal([]byte(r.stdout), &doc); err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(doc.Limits, func(l taskLimits) bool { return l.Task == "x" })
	if i < 0 || doc.Limits[i].Tickets != 2 || doc.Limits[i].From["tickets"] != "[limits] acme/x at "+p.dir+"/conf:7:10" {
		t.Errorf("limits = %+v", doc.Limits)
	}
}
