package config_test

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/wasakari/wasakari/config"
	"github.com/wasakari/wasakari/recovery"
)

// TestLimitsFor: which line holds for which task, limit by limit.
func TestLimitsFor(t *testing.T) {
	c, msg := load(t, strings.Join([]string{
		"[limits]",
		"acme = memory_mib=32, cpu_units=1e9,",
		"  task_timeout = 90s",
		"acme/fence = cpu_units=600_000_000_000, log_lines=0",
		"@p1 = memory_mib=16, tickets=2, sandboxes=3",
		"acme@p1 = memory_mib=8, kv_library_mib=1",
		"acme/fence@p1 = tickets=1024, task_timeout=6h",
		"none =",
	}, "\n"))
	if msg != "" {
		t.Fatal(msg)
	}
	tests := []struct {
		name string
		task recovery.Task
		want string
	}{
		{"library", recovery.Task{Library: "acme", Key: "page"}, "[limits] acme cpu_units=1000000000 2:23, [limits] acme memory_mib=32 2:8, [limits] acme task_timeout=90 3:3"},
		{
			"key before library",
			recovery.Task{Library: "acme", Key: "fence"},
			"[limits] acme memory_mib=32 2:8, [limits] acme task_timeout=90 3:3, [limits] acme/fence cpu_units=600000000000 4:14, [limits] acme/fence log_lines=0 4:41",
		},
		{
			"library before tenant, none of the operator's",
			recovery.Task{Library: "acme", Key: "page", Tenant: "p1"},
			"[limits] @p1 sandboxes=3 5:33, [limits] @p1 tickets=2 5:22, [limits] acme@p1 kv_library_mib=1 6:25, [limits] acme@p1 memory_mib=8 6:11",
		},
		{
			"tenant's key",
			recovery.Task{Library: "acme", Key: "fence", Tenant: "p1"},
			"[limits] @p1 sandboxes=3 5:33, [limits] acme/fence@p1 task_timeout=21600 7:31, [limits] acme/fence@p1 tickets=1024 7:17, " +
				"[limits] acme@p1 kv_library_mib=1 6:25, [limits] acme@p1 memory_mib=8 6:11",
		},
		{"any library of the tenant", recovery.Task{Library: "b", Key: "c", Tenant: "p1"}, "[limits] @p1 memory_mib=16 5:7, [limits] @p1 sandboxes=3 5:33, [limits] @p1 tickets=2 5:22"},
		{"another tenant", recovery.Task{Library: "acme", Key: "fence", Tenant: "p2"}, ""},
		{"another library", recovery.Task{Library: "acm", Key: "fence"}, ""},
		{"an empty line", recovery.Task{Library: "none", Key: "fence"}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var list []string
			for name, l := range c.LimitsFor(tt.task) {
				if l.Name != name {
					t.Errorf("limit %s has the name %s", name, l.Name)
				}
				list = append(list, fmt.Sprintf("%s=%d %d:%d", l.Option(), l.Value, l.Pos.Line, l.Pos.Col))
			}
			slices.Sort(list)
			if got := strings.Join(list, ", "); got != tt.want {
				t.Errorf("limits\n got %s\nwant %s", got, tt.want)
			}
		})
	}
	if got, want := c.TenantSandboxes(), map[string]int{"p1": 3}; !reflect.DeepEqual(got, want) {
		t.Errorf("TenantSandboxes() = %v, want %v", got, want)
	}
	if got := c.MostOf("memory_mib"); got != 32 {
		t.Errorf("MostOf(memory_mib) = %d, want 32", got)
	}
	if got := c.MostOf("stack_mib"); got != 0 {
		t.Errorf("MostOf(stack_mib) = %d, want 0", got)
	}
	lines := c.LimitLines()
	if got, want := slices.Sorted(maps.Keys(lines)), []string{"@p1", "acme", "acme/fence", "acme/fence@p1", "acme@p1", "none"}; !slices.Equal(got, want) || lines["@p1"].Line != 5 {
		t.Errorf("LimitLines() = %v, want %q, @p1 in line 5", lines, want)
	}
	if got := warnings(c); len(got) > 0 {
		t.Errorf("warnings = %q", got)
	}
	settings, err := c.Effective()
	if err != nil {
		t.Fatal(err)
	}
	shown := map[string]string{}
	for _, s := range settings {
		if s.Group == "limits" {
			shown[s.Name] = s.Text()
		}
	}
	if got, want := shown["acme"], "memory_mib=32, cpu_units=1e9, task_timeout = 90s"; got != want || len(shown) != 6 {
		t.Errorf("config show: %q of %d lines, want %q of 6", got, len(shown), want)
	}
}

// TestLimitsRange: the least and the most of each limit are taken, what lies
// beyond is refused and told with the range.
func TestLimitsRange(t *testing.T) {
	tests := []struct{ name, least, most, below, above, want string }{
		{"memory_mib", "1", "512", "0", "513", "memory_mib=NUMBER, a whole number from 1 to 512"},
		{"stack_mib", "1", "8", "0", "9", "stack_mib=NUMBER, a whole number from 1 to 8"},
		{"cpu_units", "1", "600e9", "0", "600000000001", "cpu_units=NUMBER, a whole number from 1 to 600000000000"},
		{"task_timeout", "1", "6h", "0s", "6h1s", "task_timeout=TIME, such as 90s or 10m, from 1s to 6h"},
		{"host_calls_per_second", "1", "1000000", "0", "1000001", "host_calls_per_second=NUMBER, a whole number from 1 to 1000000"},
		{"tickets", "1", "1024", "0", "1025", "tickets=NUMBER, a whole number from 1 to 1024"},
		{"request_kib", "1", "16384", "0", "16385", "request_kib=NUMBER, a whole number from 1 to 16384"},
		{"answer_mib", "1", "16", "0", "17", "answer_mib=NUMBER, a whole number from 1 to 16"},
		{"log_lines", "0", "1e6", "-1", "1000001", "log_lines=NUMBER, a whole number from 0 to 1000000"},
		{"log_kib", "0", "65536", "-1", "65537", "log_kib=NUMBER, a whole number from 0 to 65536"},
		{"kv_task_kib", "1", "65536", "0", "65537", "kv_task_kib=NUMBER, a whole number from 1 to 65536"},
		{"kv_library_mib", "1", "1024", "0", "1025", "kv_library_mib=NUMBER, a whole number from 1 to 1024"},
		{"sandboxes", "1", "256", "0", "257", "sandboxes=NUMBER, a whole number from 1 to 256"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, v := range []string{tt.least, tt.most} {
				if _, msg := load(t, "[limits]\n@p1 = "+tt.name+"="+v+"\n"); msg != "" {
					t.Errorf("%s: %s", v, msg)
				}
			}
			for _, v := range []string{tt.below, tt.above, "", "x", "1.5", "1e999", "NaN", "0x10", "32 MiB"} {
				item := strings.TrimSpace(tt.name + "=" + v)
				want := "t.conf:2:7: option [limits] @p1: want " + tt.want + ", got '" + item + "'"
				if _, msg := load(t, "[limits]\n@p1 = "+item+"\n"); msg != want {
					t.Errorf("%s:\n got %s\nwant %s", v, msg, want)
				}
			}
		})
	}
}

// TestLimitsRefused: what may not stand in [limits]; all is told at once.
func TestLimitsRefused(t *testing.T) {
	const (
		notName = "not the name of a library or a tenant; "
		names   = "a limit and its value, such as memory_mib=32; the limits are memory_mib, stack_mib, cpu_units, task_timeout, " +
			"host_calls_per_second, tickets, request_kib, answer_mib, log_lines, log_kib, kv_task_kib, kv_library_mib, sandboxes"
	)
	tests := []struct{ name, text, want string }{
		{
			"all at once", "[limits]\nAcme = tickets=1\nacme = memory_mb=3, tickets=0,\n  stack_mib=1, stack_mib=2\n",
			"t.conf:2:1: option [limits] 'Acme': " + notName + "a library has lower-case letters, digits and . _ -\n" +
				"t.conf:3:8: option [limits] acme: want " + names + ", got 'memory_mb=3'; did you mean memory_mib?\n" +
				"t.conf:3:21: option [limits] acme: want tickets=NUMBER, a whole number from 1 to 1024, got 'tickets=0'\n" +
				"t.conf:4:16: option [limits] acme: want each limit once, got 'stack_mib=2'; stack_mib stands in this line already",
		},
		{"name alone", "[limits]\nacme = tickets\n", "t.conf:2:8: option [limits] acme: want tickets=NUMBER, a whole number from 1 to 1024, got 'tickets'"},
		{"limit of all", "[limits]\nacme = module=3\n", "t.conf:2:8: option [limits] acme: want " + names + ", got 'module=3'"},
		{"key", "[limits]\nacme/a b = tickets=1\n", "t.conf:2:1: option [limits] 'acme/a b': " + notName + "behind the / stands the key of a task"},
		{"tenant", "[limits]\n@ = tickets=1\n", "t.conf:2:1: option [limits] '@': " + notName + "behind the @ stands the id of a project"},
		{"two tenants", "[limits]\n@a@b = tickets=1\n", "t.conf:2:1: option [limits] '@a@b': " + notName + "behind the @ stands the id of a project"},
		{
			"sandboxes of a library", "[limits]\nacme@p1 = sandboxes=1\n",
			"t.conf:2:11: option [limits] acme@p1: want a limit of tasks, which sandboxes is not, got 'sandboxes=1'; it is for all libraries of a tenant together: write it into the line @PROJECT",
		},
		{
			"values of a library for a key", "[limits]\nacme/x = kv_library_mib=1\n",
			"t.conf:2:10: option [limits] acme/x: want a limit of one task, which kv_library_mib is not, got 'kv_library_mib=1'; it is for a library as a whole: leave /x out",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, msg := load(t, tt.text); msg != tt.want {
				t.Errorf("error\n got %s\nwant %s", msg, tt.want)
			}
		})
	}
}

// TestLimitsOfFlags: a flag replaces the line of a file.
func TestLimitsOfFlags(t *testing.T) {
	_, src := write(t, "[limits]\nacme = memory_mib=32, tickets=1\n")
	src.Flags = []config.Flag{{Group: "limits", Name: "acme", Value: "memory_mib=$wasakari.stack_mib", Origin: "--set"}}
	c, err := config.Load(src)
	if err != nil {
		t.Fatal(err)
	}
	got := c.LimitsFor(recovery.Task{Library: "acme", Key: "x"})
	if l := got["memory_mib"]; len(got) != 1 || l.Value != 1 || l.Pos.String() != "--set" {
		t.Errorf("limits = %+v, want memory_mib=1 of --set alone", got)
	}
}

// FuzzLimits: no panic, and whatever is taken lies in its range.
func FuzzLimits(f *testing.F) {
	for _, s := range []string{"memory_mib=32, cpu_units=1e9", "task_timeout=1h30m", "tickets=0x1", "log_kib=-0,", "cpu_units=+6_0e1", "= ,=", "sandboxes=1e400"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if len(s) > 1<<12 {
			return
		}
		c, err := config.Load(config.Sources{Flags: []config.Flag{{Group: "limits", Name: "@p1", Value: s}}})
		if err != nil {
			return
		}
		for _, l := range c.LimitsFor(recovery.Task{Library: "a", Key: "b", Tenant: "p1"}) {
			if l.Value < 0 || l.Value > 600e9 || l.Value == 0 && !strings.HasPrefix(l.Name, "log_") {
				t.Fatalf("%q: %+v", s, l)
			}
		}
	})
}
