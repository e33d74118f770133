package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

// TestInspectLimits: what holds for a task is what it asks for, within the
// operator's ceilings.
func TestInspectLimits(t *testing.T) {
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
	tests := []struct {
		name string
		args []string
		want []taskLimits
	}{
		{"defaults", nil, []taskLimits{{"asks", 128, 1, 20e9, "20m0s"}, {"asks_not", 64, 1, 10e9, "5m0s"}}},
		{"configuration", []string{"--config-file", conf}, []taskLimits{{"asks", 100, 2, 2000, "10m0s"}, {"asks_not", 8, 2, 1000, "10s"}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := wasakari(t, nil, append([]string{"task", "inspect", module, "-o", "json"}, tt.args...)...)
			var got struct{ Limits []taskLimits }
			if err := json.Unmarshal([]byte(r.stdout), &got); err != nil {
				t.Fatalf("%v\n%s%s", err, r.stdout, r.stderr)
			}
			if len(got.Limits) != len(tt.want) || got.Limits[0] != tt.want[0] || got.Limits[1] != tt.want[1] {
				t.Errorf("limits = %+v, want %+v", got.Limits, tt.want)
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
