package packaging_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/wasakari/wasakari/config"
)

// epoch is the time of the packages made here.
const epoch = "1700000000"

func command(t *testing.T, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Env = append(os.Environ(), "SOURCE_DATE_EPOCH="+epoch)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s%s", name, args, err, out, stderr.String())
	}
	return string(out)
}

// program stands for wasakari: what a package needs of it.
const program = `#!/bin/sh
case "$*" in
"config sample") echo "# [DEFAULT]" ;;
manual) echo ".TH WASAKARI 8" ;;
"completion bash") echo "complete wasakari" ;;
*) exit 2 ;;
esac
`

func build(t *testing.T, version string) string {
	t.Helper()
	dir := t.TempDir()
	bin := filepath.Join(dir, "wasakari")
	if err := os.WriteFile(bin, []byte(program), 0o755); err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(command(t, "./deb.sh", bin, version, dir))
}

func needsDebian(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("dpkg-deb"); err != nil {
		t.Skip("no dpkg-deb: packages for Debian are built and tested on Debian")
	}
}

func TestDeb(t *testing.T) {
	needsDebian(t)
	deb := build(t, "v1.2.3-4-gabc")
	if base := filepath.Base(deb); !strings.HasPrefix(base, "wasakari_1.2.3+4+gabc_") {
		t.Errorf("package %s", base)
	}
	var got []string
	for line := range strings.Lines(command(t, "dpkg-deb", "-c", deb)) {
		f := strings.Fields(line)
		if !strings.HasPrefix(f[3]+" "+f[4], "2023-11-14 ") {
			t.Errorf("time: %s", line)
		}
		if !strings.HasSuffix(f[5], "/") {
			got = append(got, f[0]+" "+f[1]+" "+strings.TrimPrefix(f[5], "."))
		}
	}
	want := []string{
		"-rw-r--r-- root/root /etc/default/wasakari",
		"-rw-r--r-- root/root /etc/logrotate.d/wasakari",
		"-rw-r----- root/root /etc/wasakari/wasakari.conf",
		"-rwxr-xr-x root/root /usr/bin/wasakari",
		"-rw-r--r-- root/root /usr/lib/systemd/system/wasakari.service",
		"-rw-r--r-- root/root /usr/lib/sysusers.d/wasakari.conf",
		"-rw-r--r-- root/root /usr/lib/tmpfiles.d/wasakari.conf",
		"-rw-r--r-- root/root /usr/share/bash-completion/completions/wasakari",
		"-rw-r--r-- root/root /usr/share/doc/wasakari/changelog.gz",
		"-rw-r--r-- root/root /usr/share/doc/wasakari/copyright",
		"-rw-r--r-- root/root /usr/share/doc/wasakari/operation.md.gz",
		"-rw-r--r-- root/root /usr/share/doc/wasakari/wasakari.conf.sample.gz",
		"-rw-r--r-- root/root /usr/share/man/man8/wasakari.8.gz",
	}
	if !slices.Equal(got, want) {
		t.Errorf("files\n got %s\nwant %s", strings.Join(got, "\n     "), strings.Join(want, "\n     "))
	}
	conffiles := command(t, "dpkg-deb", "-I", deb, "conffiles")
	if want := "/etc/default/wasakari\n/etc/logrotate.d/wasakari\n/etc/wasakari/wasakari.conf\n"; conffiles != want {
		t.Errorf("conffiles = %q, want %q", conffiles, want)
	}
	for _, script := range []string{"postinst", "prerm", "postrm"} {
		command(t, "sh", "-n", filepath.Join("debian", script))
		if text, err := os.ReadFile(filepath.Join("debian", script)); err != nil || command(t, "dpkg-deb", "-I", deb, script) != string(text) {
			t.Errorf("%s is not in the package as it is here (%v)", script, err)
		}
	}
}

// The same input makes the same package.
func TestDebIsReproducible(t *testing.T) {
	needsDebian(t)
	var packages [2]string
	for i := range packages {
		text, err := os.ReadFile(build(t, "1.2.3"))
		if err != nil {
			t.Fatal(err)
		}
		packages[i] = string(text)
	}
	if packages[0] != packages[1] {
		t.Error("two builds differ")
	}
}

// Versions sort as the commits do.
func TestDebVersion(t *testing.T) {
	needsDebian(t)
	list := []string{"abc1234", "v0.9.0", "v1.2.3", "v1.2.3-4-gabc", "v1.2.3-4-gabc-dirty", "v1.2.4"}
	before := "0~"
	for _, v := range list {
		got := strings.TrimSpace(command(t, "dpkg-deb", "-f", build(t, v), "Version"))
		if command(t, "sh", "-c", `dpkg --compare-versions "$0" lt "$1" && echo yes || echo no`, before, got) != "yes\n" {
			t.Errorf("%s makes %s, which is not after %s", v, got, before)
		}
		before = got
	}
}

// The configuration that is installed is good, with everything in comments
// brought to life too.
func TestConfigIsGood(t *testing.T) {
	text := read(t, "wasakari.conf")
	for name, text := range map[string]string{
		"as it is": text, "all of it": regexp.MustCompile(`(?m)^#([a-z_]+ = .|\[)`).ReplaceAllString(text, "$1"),
	} {
		file := filepath.Join(t.TempDir(), "wasakari.conf")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		cfg, err := config.Load(config.Sources{Files: []string{file}})
		if err != nil {
			t.Fatalf("%s: %v\n%s", name, err, text)
		}
		if w := cfg.Warnings(); len(w) > 0 {
			t.Errorf("%s: %v", name, w)
		}
		if got := cfg.Wasakari.StateDir; got != "/var/lib/wasakari" {
			t.Errorf("%s: state_dir = %q", name, got)
		}
	}
}

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// The unit lets the compiler's machine code run, and agrees with the
// configuration and the user that are installed beside it.
func TestUnit(t *testing.T) {
	unit := read(t, "wasakari.service")
	if regexp.MustCompile(`(?m)^MemoryDenyWriteExecute`).MatchString(unit) {
		t.Error("MemoryDenyWriteExecute is set: no task could run")
	}
	conf, user, files := read(t, "wasakari.conf"), read(t, "wasakari.sysusers"), read(t, "wasakari.tmpfiles")
	for _, c := range []struct{ unit, in, other string }{
		{"User=wasakari", user, "u wasakari "},
		{"StateDirectory=wasakari", conf, "state_dir = /var/lib/wasakari"},
		{"CacheDirectory=wasakari", conf, "cache_dir = /var/cache/wasakari"},
		{"LogsDirectory=wasakari", conf, "audit_file = /var/log/wasakari/"},
		{"LogsDirectory=wasakari", read(t, "wasakari.logrotate"), "/var/log/wasakari/audit.log"},
		{"EnvironmentFile=-/etc/default/wasakari", read(t, "wasakari.default"), "WASAKARI_ARGS="},
		{"Type=notify", files, "z /etc/wasakari/wasakari.conf 0640 root wasakari"},
		{"NoNewPrivileges=yes", conf, "task_dir = /etc/wasakari/tasks"},
	} {
		if !strings.Contains(unit, "\n"+c.unit+"\n") || !strings.Contains(c.in, c.other) {
			t.Errorf("%s in the unit, %s elsewhere: one of them is not there", c.unit, c.other)
		}
	}
}
