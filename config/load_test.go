package config_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wasakari/wasakari/config"
	"github.com/wasakari/wasakari/recovery"
)

// TestLines has the rules of lines, each on one option.
func TestLines(t *testing.T) {
	tests := []struct {
		name, text string
		unset      bool
		want       string // of [grp] s
		wantErr    string
	}{
		{name: "plain", text: "[grp]\ns = a", want: "a"},
		{name: "no blanks", text: "[grp]\ns=a", want: "a"},
		{name: "colon", text: "[grp]\ns: a", want: "a"},
		{name: "first separator counts", text: "[grp]\ns:a=b", want: "a=b"},
		{name: "equals first", text: "[grp]\ns = a:b", want: "a:b"},
		{name: "section without regard to case", text: "[GrP]\ns = a", want: "a"},
		{name: "blanks in the brackets", text: "[ grp ]\ns = a", unset: true},
		{name: "blanks behind the brackets", text: "[grp]  \ns = a", want: "a"},
		{name: "sections merge", text: "[grp]\ns = a\n[DEFAULT]\n[grp]\nt = b", want: "a"},
		{name: "names mind case", text: "[grp]\nS = a", unset: true},
		{name: "comments", text: "[grp]\n# s = a\n; s = b", unset: true},
		{name: "no inline comments", text: "[grp]\ns = a # note", want: "a # note"},
		{name: "continuation", text: "[grp]\ns = a\n  b\n\tc", want: "a\nb\nc"},
		{name: "continuation of nothing", text: "[grp]\ns =\n  b", want: "\nb"},
		{name: "indented comment", text: "[grp]\ns = a\n  # b", want: "a\n# b"},
		{name: "quotes", text: "[grp]\ns = \" a \"", want: " a "},
		{name: "quotes of two", text: "[grp]\ns = 'a' and 'b'", want: "a' and 'b"},
		{name: "one quote", text: "[grp]\ns = \"", want: ""},
		{name: "unmatched quote", text: "[grp]\ns = \"a", want: `"a`},
		{name: "quote only on the first line", text: "[grp]\ns = 'a'\n  'b'", want: "a\n'b'"},
		{name: "CRLF", text: "[grp]\r\ns = a\r\n  b\r\n", want: "a\nb"},
		{name: "lone CR", text: "[grp]\rs = a\r", want: "a"},
		{name: "UTF-8", text: "[grp]\ns = häßlich", want: "häßlich"},
		{name: "percent", text: "[grp]\ns = %(x)s", want: "%(x)s"},
		{name: "last wins", text: "[grp]\ns = a\ns = b", want: "b"},
		{name: "no line end", text: "[grp]\ns = a", want: "a"},
		{name: "empty file", text: "", unset: true},

		{name: "comment behind a header", text: "[grp] # x\ns = a", wantErr: "t.conf:1:1: invalid section (must end with ]): '[grp] # x'; a comment stands in a line of its own"},
		{name: "header not closed", text: "[grp", wantErr: "t.conf:1:1: invalid section (must end with ]): '[grp'; a section header is [name] alone in its line"},
		{name: "no section name", text: "[]", wantErr: "t.conf:1:1: empty section name"},
		{name: "indented first assignment", text: "[grp]\n  debug = a", wantErr: "t.conf:2:3: unexpected continuation line: '  debug = a'; an option begins in column 0: remove the blanks before it"},
		{name: "indented comment at the start", text: "  # b", wantErr: "t.conf:1:3: unexpected continuation line: '  # b'; a comment begins in column 0: remove the blanks before it"},
		{name: "indented header", text: "  [grp]", wantErr: "t.conf:1:3: unexpected continuation line: '  [grp]'; a section header begins in column 0: remove the blanks before it"},
		{name: "continuation behind a blank line", text: "[DEFAULT]\nlog_dir = a\n\n  b\n  c", wantErr: "t.conf:4:3: unexpected continuation line: '  b'; the value of 'log_dir' ended at the blank line in line 3: remove that line, or move it above the option"},
		{name: "continuation behind a comment", text: "[DEFAULT]\nlog_dir = a\n# x\n  b", wantErr: "t.conf:4:3: unexpected continuation line: '  b'; the value of 'log_dir' ended at the comment in line 3: remove that line, or move it above the option"},
		{name: "no separator", text: "[grp]\nhello", wantErr: "t.conf:2:1: no ':' or '=' found in assignment: 'hello'; write name = value; a line that belongs to the value above begins with a blank"},
		{name: "no name", text: "[grp]\n= a", wantErr: "t.conf:2:1: key cannot be empty: '= …'; write name = value"},
		{name: "no section, told once", text: "debug = a\nverify_interval = b\n", wantErr: "t.conf:1:1: section must be started before assignment; write [DEFAULT], or the section of the option, above it"},
		{name: "byte-order mark", text: "\ufeff[grp]\ns = a", wantErr: "t.conf:1:1: the file begins with a byte-order mark; save it as UTF-8 without one"},
		{name: "not UTF-8", text: "[grp]\ns = a\xff", wantErr: "t.conf:2:6: a byte that is not UTF-8; save the file as UTF-8"},
		{name: "control character", text: "[grp]\na\x1fb = c", wantErr: "t.conf:2:2: control character in the name of an option"},
		{name: "control character in a section", text: "[g\x1fp]", wantErr: "t.conf:1:3: control character in the name of a section"},
		{name: "all mistakes at once", text: "[grp]\nhello\n[]\n[DEFAULT]\nverify_interval = x", wantErr: "t.conf:2:1: no ':' or '=' found in assignment: 'hello'; write name = value; a line that belongs to the value above begins with a blank\n" +
			"t.conf:3:1: empty section name\nt.conf:5:19: option [DEFAULT] verify_interval: want an int (seconds), got 'x'"},
		{name: "too large", text: strings.Repeat("#\n", 1<<19) + "#", wantErr: "t.conf: larger than 1048576 bytes"},
		{name: "too many lines", text: strings.Repeat("\n", 1<<16+1), wantErr: "t.conf:65537:1: the file has more than 65536 lines"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, err := load(t, tt.text)
			if err != tt.wantErr {
				t.Fatalf("error = %s\nwant    %s", err, tt.wantErr)
			}
			if err != "" {
				return
			}
			got, _, ok := c.Raw("grp", "s")
			if got != tt.want || ok == tt.unset {
				t.Errorf("value = %q, %t, want %q, %t", got, ok, tt.want, !tt.unset)
			}
		})
	}
}

// TestDefaultSection: DEFAULT alone is matched exactly.
func TestDefaultSection(t *testing.T) {
	c, err := load(t, "[default]\ndebug = true\n[ DEFAULT ]\ndebug = true\n[Host_Failure]\nlock_servers = off\n")
	if err != "" {
		t.Fatal(err)
	}
	if c.Default.Debug || c.HostFailure.LockServers {
		t.Errorf("debug = %t, lock_servers = %t, want both false", c.Default.Debug, c.HostFailure.LockServers)
	}
	want := []string{
		"t.conf:1:1: unknown section [default], ignored; did you mean [DEFAULT]?",
		"t.conf:3:1: unknown section [ DEFAULT ], ignored; did you mean [DEFAULT]?",
	}
	if got := warnings(c); !slices.Equal(got, want) {
		t.Errorf("warnings = %q, want %q", got, want)
	}
}

// warnings prints warnings without the folder of t.conf.
func warnings(c *config.Config, extra ...recovery.OptionSpec) []string {
	var out []string
	for _, w := range c.Warnings(extra...) {
		s := w.String()
		if i := strings.Index(s, "t.conf:"); i >= 0 {
			s = s[i:]
		}
		out = append(out, s)
	}
	return out
}

func TestWarnings(t *testing.T) {
	c, err := load(t, strings.Join([]string{
		"[DEFAULT]",
		"debgu = true",                          // 2: near
		"verify-interval = 3",                   // 3: dash
		"evacuate_all_instances = true",         // 4: of another section
		"enabled_apis = x",                      // 5: known to be written
		"something_else = x",                    // 6: near nothing
		"masakari_topic = x",                    // 7: deprecated
		"wait_period_after_power_on =",          // 8: empty
		"log_dir = x",                           //
		"  host_failure_recovery_threads = 8",   // 10: swallowed
		"  [host_failure]",                      // 11: swallowed
		"[host_failures]",                       // 12: near
		"x = 1",                                 //
		"[acme]",                                // of tasks
		"urll = y",                              // 15
		"[oslo_db]",                             // a library's
		"whatever = 1",                          //
		"[keystone_authtoken]", "something = 1", //
		"[wasakari]", "taskdir = x", "[acme-tasks]", // 21: near; 22
	}, "\n"))
	if err != "" {
		t.Fatal(err)
	}
	want := []string{
		"t.conf:8:29: option [DEFAULT] wait_period_after_power_on is empty: its default 60 is used",
		"t.conf:12:1: unknown section [host_failures], ignored; did you mean [host_failure]?",
		"t.conf:2:1: unknown option [DEFAULT] 'debgu', ignored; did you mean debug?",
		"t.conf:3:1: unknown option [DEFAULT] 'verify-interval', ignored; did you mean verify_interval?",
		"t.conf:4:1: unknown option [DEFAULT] 'evacuate_all_instances', ignored; it belongs to [host_failure]",
		"t.conf:6:1: unknown option [DEFAULT] 'something_else', ignored",
		"t.conf:7:1: option [DEFAULT] masakari_topic is deprecated: no effect here",
		"t.conf:10:3: option host_failure_recovery_threads is a part of the value of [DEFAULT] 'log_dir', because it does not begin in column 0",
		"t.conf:11:3: section [host_failure] is a part of the value of [DEFAULT] 'log_dir', because it does not begin in column 0",
		"t.conf:21:1: unknown option [wasakari] 'taskdir', ignored; did you mean task_dir?",
	}
	if got := warnings(c); !slices.Equal(got, want) {
		t.Errorf("warnings = %s\nwant %s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	got := warnings(c, recovery.OptionSpec{Group: "acme", Name: "url", Type: recovery.StringOption}, recovery.OptionSpec{Group: "acme_tasks", Name: "x"})
	for _, w := range []string{
		"t.conf:15:1: unknown option [acme] 'urll', ignored; did you mean url?",
		"t.conf:22:1: unknown section [acme-tasks], ignored; did you mean [acme_tasks]?",
	} {
		if !slices.Contains(got, w) {
			t.Errorf("with the tasks' options no warning %q in %q", w, got)
		}
	}
}

func TestPrecedence(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		f := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(f), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(f, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return f
	}
	src := config.Sources{
		Files: []string{
			file("1.conf", "[DEFAULT]\nverify_interval = 1\nwait_period_after_power_on = 11\nwait_period_after_power_off = 21\nhost_failure_recovery_threads = 4\n[wasakari]\ntask_dir = a\ntask_dir = b\n[grp]\nMixed = file\n"),
			file("0.conf", "[DEFAULT]\nverify_interval = 2\n[wasakari]\ntask_dir = c\n"),
		},
		Dirs: []string{filepath.Join(dir, "d")},
		Environ: []string{
			"OS_DEFAULT__WAIT_PERIOD_AFTER_POWER_ON=12", "OS_DEFAULT__HOST_FAILURE_RECOVERY_THREADS=5",
			"OS_GRP__MIXED=environment", "OS_AUTH_URL=x", "os_default__debug=true", "PATH=x", "OS_DEFAULT__UNKNOWN=1",
		},
		Flags: []config.Flag{{Group: "DEFAULT", Name: "host_failure_recovery_threads", Value: "6", Origin: "--set"}},
	}
	file("d/b.conf", "[DEFAULT]\nwait_period_after_power_off = 23\n")
	file("d/a.conf", "[DEFAULT]\nwait_period_after_power_off = 22\n")
	file("d/c.conf.bak", "nonsense")
	c, err := config.Load(src)
	if err != nil {
		t.Fatal(err)
	}
	d := c.Default
	if d.VerifyInterval != 2*time.Second || d.WaitPeriodAfterPowerOff != 23*time.Second || d.WaitPeriodAfterPowerOn != 12*time.Second || d.HostFailureRecoveryThreads != 6 || d.Debug {
		t.Errorf("got %+v", d)
	}
	if got, want := c.Wasakari.TaskDirs, []string{"a", "b", "c"}; !slices.Equal(got, want) {
		t.Errorf("task_dir = %q, want %q", got, want)
	}
	if v, pos, _ := c.Raw("grp", "Mixed"); v != "environment" || pos.String() != "environment OS_GRP__MIXED" {
		t.Errorf("Mixed = %q from %s", v, pos)
	}
	var names []string
	for _, f := range c.Files() {
		names = append(names, filepath.Base(f))
	}
	if want := []string{"1.conf", "0.conf", "a.conf", "b.conf"}; !slices.Equal(names, want) {
		t.Errorf("files = %q, want %q", names, want)
	}
	if got, want := warnings(c), []string{"environment OS_DEFAULT__UNKNOWN: unknown option [DEFAULT] 'unknown', ignored"}; !slices.Equal(got, want) {
		t.Errorf("warnings = %q, want %q", got, want)
	}

	src.Flags = []config.Flag{
		{Group: "wasakari", Name: "task_dir", Value: "x", Origin: "--task-dir"},
		{Group: "wasakari", Name: "task_dir", Value: "y", Origin: "--task-dir"},
	}
	if c, err = config.Load(src); err != nil {
		t.Fatal(err)
	}
	if got, want := c.Wasakari.TaskDirs, []string{"x", "y"}; !slices.Equal(got, want) {
		t.Errorf("task_dir = %q, want %q", got, want)
	}

	src.Flags = []config.Flag{{Group: "DEFAULT", Name: "debug", Value: "maybe", Origin: "--set"}, {Name: "x"}}
	_, err = config.Load(src)
	want := "flag .x: section and name of the option must be given, the value must be UTF-8 text of at most 1 MiB\n" +
		"--set: option [DEFAULT] debug: want a bool (true, 1, on, yes, false, 0, off, no), got 'maybe'"
	if err == nil || err.Error() != want {
		t.Errorf("error = %v, want %s", err, want)
	}
}

func TestDiscover(t *testing.T) {
	all := []string{
		"home/.masakari/masakari.conf", "home/masakari.conf", "etc/masakari/masakari.conf", "etc/masakari.conf",
		"etc/masakari/masakari-engine.conf", "home/wasakari.conf", "etc/wasakari/wasakari.conf",
		"etc/masakari/masakari.conf.d/z.conf", "etc/masakari/masakari.conf.d/a.conf", "etc/wasakari.conf.d/w.conf",
		"etc/masakari/custom-recovery-methods.conf",
	}
	tests := []struct {
		name   string
		have   []string
		files  []string
		noHome bool
		want   []string
	}{
		{name: "nothing there"},
		{name: "all", have: all, want: []string{
			"home/.masakari/masakari.conf", "etc/masakari/masakari-engine.conf", "home/wasakari.conf",
			"etc/masakari/masakari.conf.d/a.conf", "etc/masakari/masakari.conf.d/z.conf", "etc/wasakari.conf.d/w.conf",
		}},
		{name: "no home", have: all, noHome: true, want: []string{
			"etc/masakari/masakari.conf", "etc/masakari/masakari-engine.conf", "etc/wasakari/wasakari.conf",
			"etc/masakari/masakari.conf.d/a.conf", "etc/masakari/masakari.conf.d/z.conf", "etc/wasakari.conf.d/w.conf",
		}},
		{name: "home before etc", have: all[1:4], want: []string{"home/masakari.conf"}},
		{name: "project folder before etc", have: all[2:4], want: []string{"etc/masakari/masakari.conf"}},
		{name: "etc", have: all[3:4], want: []string{"etc/masakari.conf"}},
		{name: "files given: directories are still looked for", have: all, files: []string{"etc/masakari/custom-recovery-methods.conf"}, want: []string{
			"etc/masakari/custom-recovery-methods.conf",
			"etc/masakari/masakari.conf.d/a.conf", "etc/masakari/masakari.conf.d/z.conf", "etc/wasakari.conf.d/w.conf",
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			root := t.TempDir()
			for _, f := range tt.have {
				if err := os.MkdirAll(filepath.Join(root, filepath.Dir(f)), 0o700); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(filepath.Join(root, f), nil, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			src := config.Sources{Discover: true, Root: root, Home: filepath.Join(root, "home")}
			if tt.noHome {
				src.Home = ""
			}
			for _, f := range tt.files {
				src.Files = append(src.Files, filepath.Join(root, f))
			}
			c, err := config.Load(src)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, f := range c.Files() {
				rel, err := filepath.Rel(root, f)
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, rel)
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("files = %q, want %q", got, tt.want)
			}
		})
	}
}

func TestUnreadableSources(t *testing.T) {
	dir := t.TempDir()
	_, err := config.Load(config.Sources{Files: []string{dir + "/none.conf", dir}, Dirs: []string{dir + "/none.d"}})
	want := dir + "/none.d: no such directory; check --config-dir\n" + dir + "/none.conf: no such file; check --config-file\n" +
		dir + ": not a regular file; check --config-file; a folder goes with --config-dir"
	if err == nil || err.Error() != want {
		t.Errorf("error = %v\nwant    %s", err, want)
	}
}

func TestAutoIsNoNumber(t *testing.T) {
	flag := config.Flag{Group: "DEFAULT", Name: "host_failure_recovery_threads", Value: "auto", Origin: "--set"}
	c, err := config.Load(config.Sources{Flags: []config.Flag{flag}})
	if err != nil {
		t.Fatal(err)
	}
	if got := c.Default.HostFailureRecoveryThreads; got != 0 {
		t.Errorf("threads = %d, want 0", got)
	}
	o := recovery.OptionSpec{Group: flag.Group, Name: flag.Name, Type: recovery.IntOrAutoOption, Default: int64(3)}
	if got, err := c.TaskOptions([]recovery.OptionSpec{o}); err != nil || got["DEFAULT"][flag.Name] != "auto" {
		t.Errorf("option of a task = %v, %v, want auto", got, err)
	}
}
