package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode"

	"golang.org/x/sys/unix"

	"github.com/wasakari/wasakari/abi"
	"github.com/wasakari/wasakari/novasim"
)

// A pipe in the place of a file is refused: to open one waits for a writer.
func TestPipes(t *testing.T) {
	t.Parallel()
	p := newPlace(t, map[string]string{"task.yaml": "", "tasks/README": "", "scenarios/README": "", "mod.wasm": string(guest("noop"))})
	for _, name := range []string{"tasks/x.wasm", "pipe"} {
		if err := unix.Mkfifo(filepath.Join(p.dir, name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for args, want := range map[string]string{
		"check --task-dir DIR/tasks":                 "DIR/tasks/x.wasm",
		"check --config-file DIR/pipe":               "DIR/pipe",
		"task inspect DIR/pipe":                      "DIR/pipe",
		"task pack DIR/pipe DIR/mod.wasm -o DIR/out": "DIR/pipe",
		"simulate --scenario DIR/pipe":               "DIR/pipe",
		"task inspect /dev/zero":                     "/dev/zero",
		"run host-auto --simulate --scenario DIR/pipe --input host_name=compute-1": "DIR/pipe",
	} {
		r := p.run(t.Context(), t, strings.Fields(args)...)
		if r.code != exitUsage || !strings.HasPrefix(r.stderr, "wasakari: "+want+": ") || !strings.Contains(r.stderr, "not a regular file") {
			t.Errorf("%s: exit code %d, %s; want 2 and that %s is not a regular file", args, r.code, r.stderr, want)
		}
	}
}

// A manifest of a few hundred bytes that stands for gigabytes, or that a reader
// recurses into.
func TestPackBombs(t *testing.T) {
	t.Parallel()
	var bomb strings.Builder
	bomb.WriteString("a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n")
	for i := range 9 {
		bomb.WriteString(strings.NewReplacer("N", string(rune('1'+i)), "M", string(rune('0'+i))).Replace("aN: &aN [*aM,*aM,*aM,*aM,*aM,*aM,*aM,*aM,*aM,*aM]\n"))
	}
	for text, want := range map[string]string{
		bomb.String():                       "DIR/task.yaml:1:5: anchors and aliases are not allowed; write it out",
		"a: " + strings.Repeat("[", 30_000): "DIR/task.yaml:1:36: nested too deep",
		"a: !!binary eA==\n":                "DIR/task.yaml:1:4: tags are not allowed; leave it out",
	} {
		p := newPlace(t, map[string]string{"task.yaml": text, "mod.wasm": string(guest("noop"))})
		r := p.run(t.Context(), t, strings.Fields("task pack DIR/task.yaml DIR/mod.wasm -o DIR/out")...)
		if r.code != exitUsage || r.stderr != "wasakari: "+want+"\n" {
			t.Errorf("%.20q: exit code %d, %s; want %s", text, r.code, r.stderr, want)
		}
	}
}

// nasty moves cursors in several ways: ESC, CSI in one character (which JSON
// does not escape), DEL, and a turn of the direction of text.
const nasty = "a\x1b[2J\u009b2J\x7f\u202eb\U000e0001"

// Names that a cloud gives to servers reach no terminal as they are.
func TestNastyNames(t *testing.T) {
	t.Parallel()
	name, err := json.Marshal(nasty)
	if err != nil {
		t.Fatal(err)
	}
	// YAML knows these escapes of JSON.
	scenario := strings.Replace(quickCloud, "name: broken", "name: "+escaped(string(name)), 1)
	for _, args := range []string{"run host-auto --input host_name=compute-1", "run host-auto --output json --input host_name=compute-1", "run host-auto --dry-run --input host_name=compute-1"} {
		p := newPlace(t, nil)
		_, p.environ = startCloud(t, scenario, novasim.Options{})
		r := p.run(t.Context(), t, append(strings.Fields(args), "--log-level", "debug")...)
		for _, out := range []string{r.stdout, r.stderr} {
			if i := strings.IndexFunc(out, func(r rune) bool { return r != '\n' && !unicode.IsPrint(r) }); i >= 0 {
				t.Errorf("%s: %q", args, out[max(0, i-40):min(len(out), i+40)])
			}
		}
		if strings.Contains(args, "json") {
			found := false
			for _, v := range documentOf(t, r).VMoves {
				found = found || v.InstanceName == nasty
			}
			if !found {
				t.Errorf("no server is named %q in the document: %q", nasty, r.stdout)
			}
		}
	}
}

// escaped writes what is not ASCII as escapes.
func escaped(text string) string {
	var out bytes.Buffer
	if err := printJSON(&out, json.RawMessage(text)); err != nil {
		panic(err)
	}
	return strings.TrimSpace(out.String())
}

// What a stranger's module says of itself reaches no terminal as it is.
func TestInspectNasty(t *testing.T) {
	t.Parallel()
	m := packed(t, guest("noop"), abi.ManifestTask{Key: "x", Summary: "turned \u202e around"})
	p := newPlace(t, map[string]string{"x.wasm": string(m)})
	for _, output := range []string{"text", "json"} {
		r := p.run(t.Context(), t, "task", "inspect", "DIR/x.wasm", "--output", output)
		if r.code != exitOK || strings.Contains(r.stdout, "\u202e") || !strings.Contains(r.stdout, "around") {
			t.Errorf("%s: exit code %d, %q", output, r.code, r.stdout)
		}
	}
}

// Passwords and the options of tasks that are secret stand in no log, no
// journal and no document, even of a run that fails.
func TestSecretsStay(t *testing.T) {
	t.Parallel()
	sim, environ := startCloud(t, quickCloud, novasim.Options{})
	cr := sim.Credentials()
	task := abi.ManifestTask{Key: "x", Options: []abi.ManifestOption{{Group: "acme", Name: "token", Type: "string", Secret: true, Required: true}}}
	p := newPlace(t, map[string]string{
		"tasks/x.wasm": string(packed(t, guest("noop"), task)),
		"conf":         taskIn("x") + "[grants]\nacme = options:acme\n[acme]\ntoken = hunter2-task\n[DEFAULT]\nos_privileged_user_password = hunter2-admin\n",
	})
	p.environ = environ
	var all bytes.Buffer
	for _, args := range []string{"run host-auto", "run host-auto --output json", "run host-auto --set acme.token=hunter2-flag", "run host-auto --set DEFAULT.nova_catalog_admin_info=x"} {
		r := p.run(t.Context(), t, append(strings.Fields(args), strings.Fields("--log-level debug --config-file DIR/conf --task-dir DIR/tasks --input host_name=compute-1")...)...)
		all.WriteString(r.stdout + r.stderr)
	}
	for _, cmd := range []string{"check", "config show --all"} {
		r := p.run(t.Context(), t, append(strings.Fields(cmd), strings.Fields("--config-file DIR/conf --task-dir DIR/tasks")...)...)
		all.WriteString(r.stdout + r.stderr)
	}
	err := filepath.WalkDir(filepath.Join(p.dir, "home"), func(path string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		all.Write(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(p.runs(t)) == 0 {
		t.Error("nothing was run")
	}
	for _, secret := range []string{"hunter2", cr.Password} {
		if i := bytes.Index(all.Bytes(), []byte(secret)); i >= 0 {
			t.Errorf("%s is told: %q", secret, all.Bytes()[max(0, i-80):min(all.Len(), i+40)])
		}
	}
}

// The standard tasks' library cannot be taken by another module.
func TestStandardLibrary(t *testing.T) {
	t.Parallel()
	wasm, err := abi.AppendManifest(guest("noop"), &abi.Manifest{ABI: 1, Library: "wasakari-standard", Version: "1.0.0", Tasks: []abi.ManifestTask{{Key: "x"}}})
	if err != nil {
		t.Fatal(err)
	}
	p := newPlace(t, map[string]string{"tasks/x.wasm": string(wasm)})
	r := p.run(t.Context(), t, "check", "--task-dir", "DIR/tasks")
	want := "wasakari: DIR/tasks/x.wasm: its library wasakari-standard is that of the standard tasks, which are built in; give yours another name in task.yaml\n"
	if r.code != exitUsage || r.stderr != want {
		t.Errorf("exit code %d, %s; want %s", r.code, r.stderr, want)
	}
}
