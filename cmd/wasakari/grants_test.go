package main

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/wasakari/wasakari/abi"
	"github.com/wasakari/wasakari/config"
	"github.com/wasakari/wasakari/novasim"
)

// instanceConf runs the task x when a server failed.
const instanceConf = "[taskflow_driver_recovery_flows]\ninstance_failure_recovery_tasks = pre:['x'],main:['start_instance_task'],post:['confirm_instance_active_task']\n"

// packedAs gives a module with a manifest of a library.
func packedAs(t *testing.T, module []byte, library string, tasks ...abi.ManifestTask) []byte {
	t.Helper()
	wasm, err := abi.AppendManifest(module, &abi.Manifest{ABI: 1, Library: library, Version: "1.0.0", Tasks: tasks})
	if err != nil {
		t.Fatal(err)
	}
	return wasm
}

// signer makes the same key of the same seed.
func signer(seed byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, ed25519.SeedSize))
}

func signedBy(t *testing.T, wasm []byte, seed byte) []byte {
	t.Helper()
	out, err := abi.Sign(wasm, signer(seed))
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func pin(wasm []byte) string {
	d := sha256.Sum256(wasm)
	return "sha256:" + hex.EncodeToString(d[:])
}

// TestGrants: for each kind of grant a task that asks for it, with and without.
// check refuses what is missing with the line to write, and that line helps.
func TestGrants(t *testing.T) {
	t.Parallel()
	noop := guest("noop")
	ask := func(m abi.ManifestTask) []byte {
		m.Key = "x"
		return packed(t, noop, m)
	}
	ops := ask(abi.ManifestTask{Uses: []string{"kv.*", "nova.server_list", "task.sleep"}})
	fence := ask(abi.ManifestTask{Provides: []string{"fence_proof", "ticket"}})
	options := ask(abi.ManifestTask{Options: []abi.ManifestOption{{Group: "acme", Name: "a", Type: "string"}, {Group: "acme_more", Name: "a", Type: "string"}}})
	requests := ask(abi.ManifestTask{Uses: []string{"http.request"}, HTTP: []string{"POST https://T.example.com:443/v1/*", "GET https://t.example.com/status"}})
	tests := []struct {
		name   string
		module []byte
		grants string // below [grants], from line 4 on
		lacks  string // what is missing; empty: nothing
		write  string // the line to write
	}{
		{"nothing asked", ask(abi.ManifestTask{Requires: []string{"instance_uuid"}, Provides: []string{"ticket"}}), "", "", ""},
		{"free ops", ask(abi.ManifestTask{Uses: []string{"task.sleep", "task.input"}}), "", "", ""},
		{"ops", ops, "acme = nova.server_list, kv.*", "", ""},
		{"ops by their group", ops, "acme = nova.*,\n  kv.*", "", ""},
		{"no line", ops, "", "kv.*, nova.server_list", "write below [grants]: acme = kv.*, nova.server_list"},
		{"another's line", ops, "acme2 = kv.*, nova.*", "kv.*, nova.server_list", "write below [grants]: acme = kv.*, nova.server_list"},
		{"an empty line", ops, "acme =", "kv.*, nova.server_list", "write instead of the line at DIR/conf:4:1: acme = kv.*, nova.server_list"},
		{"one op of a group", ops, "acme = nova.server_list, kv.get, kv.put", "kv.*", "write instead of the line at DIR/conf:4:1: acme = nova.server_list, kv.get, kv.put, kv.*"},
		{"the key's line", ops, "acme = kv.get\nacme/x = nova.*, kv.*", "", ""},
		{"the key's line counts alone", ops, "acme = nova.*, kv.*\nacme/x = kv.*", "nova.server_list", "write instead of the line at DIR/conf:5:1: acme/x = kv.*, nova.server_list"},
		{"another key's line", ops, "acme/y = nova.*, kv.*", "kv.*, nova.server_list", "write below [grants]: acme = kv.*, nova.server_list"},
		{"a tenant's line", ops, "acme@p1 = nova.*, kv.*", "kv.*, nova.server_list", "write below [grants]: acme = kv.*, nova.server_list"},
		{"protected name", fence, "acme = provides:fence_proof", "", ""},
		{"protected name missing", fence, "acme = provides:instance_list", "provides:fence_proof", "write instead of the line at DIR/conf:4:1: acme = provides:instance_list, provides:fence_proof"},
		{"sections", options, "acme = options:acme, options:acme_more", "", ""},
		{"section missing", options, "acme = options:acme", "options:acme_more", "write instead of the line at DIR/conf:4:1: acme = options:acme, options:acme_more"},
		{"requests", requests, "acme = http.request, http:*:https://t.example.com/*", "", ""},
		{
			"request of another method", requests, "acme = http.request, http:GET:https://t.example.com/*", "http:POST:https://t.example.com/v1/*",
			"write instead of the line at DIR/conf:4:1: acme = http.request, http:GET:https://t.example.com/*, http:POST:https://t.example.com/v1/*",
		},
		{
			"requests without the op", requests, "acme = http:*:https://*.example.com/*", "http.request",
			"write instead of the line at DIR/conf:4:1: acme = http:*:https://*.example.com/*, http.request",
		},
		{
			"op without the requests", requests, "acme = http.*, net:10.0.0.0/8", "http:POST:https://t.example.com/v1/*, http:GET:https://t.example.com/status",
			"write instead of the line at DIR/conf:4:1: acme = http.*, net:10.0.0.0/8, http:GET:https://t.example.com/status, http:POST:https://t.example.com/v1/*",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			conf := instanceConf + "[grants]\n" + tt.grants + "\n"
			p := newPlace(t, map[string]string{"tasks/x.wasm": string(tt.module), "conf": conf})
			r := p.run(t.Context(), t, "check", "--config-file", "DIR/conf", "--task-dir", "DIR/tasks")
			if tt.lacks == "" {
				if r.code != exitOK || r.stderr != "" {
					t.Errorf("exit code %d, %s", r.code, r.stderr)
				}
				return
			}
			want := "wasakari: DIR/conf:2:40: flow instance: pre: task \"x\" asks for " + tt.lacks + ", which library acme is not granted; " + tt.write + "\n"
			if r.code != exitUsage || r.stderr != want {
				t.Errorf("exit code %d\n%s\nwant\n%s", r.code, r.stderr, want)
			}
			for what := range strings.SplitSeq(tt.lacks, ", ") {
				if !slices.ContainsFunc(strings.Split(r.stdout, "\n"), func(line string) bool {
					return strings.Contains(line, " "+what+" ") && strings.HasSuffix(line, " missing")
				}) {
					t.Errorf("%s is not missing in\n%s", what, r.stdout)
				}
			}
			// The same words when it is to be run, and nothing is started.
			r = p.run(t.Context(), t, "run", "instance", "--simulate", "--config-file", "DIR/conf", "--task-dir", "DIR/tasks", "--input", "instance_uuid=1")
			if r.code != exitUsage || r.stderr != want || r.stdout != "" || len(p.runs(t)) > 0 {
				t.Errorf("run: exit code %d, %d runs\n%s", r.code, len(p.runs(t)), r.stderr)
			}
			_, line, _ := strings.Cut(tt.write, ": ")
			p.write(t, "more", "[grants]\n"+strings.TrimPrefix(line, "DIR/conf:4:1: ")+"\n")
			if r = p.run(t.Context(), t, "check", "--config-file", "DIR/conf", "--config-file", "DIR/more", "--task-dir", "DIR/tasks"); r.code != exitOK {
				t.Errorf("with the line: exit code %d\n%s", r.code, r.stderr)
			}
		})
	}
}

// TestGrantsOfTwoTasks: the line to write is good for all tasks of the flows.
func TestGrantsOfTwoTasks(t *testing.T) {
	t.Parallel()
	module := packed(t, guest("noop"), abi.ManifestTask{Key: "x", Uses: []string{"kv.get"}}, abi.ManifestTask{Key: "y", Uses: []string{"kv.put"}},
		abi.ManifestTask{Key: "unused", Uses: []string{"nova.*"}})
	p := newPlace(t, map[string]string{"tasks/x.wasm": string(module), "conf": flowConf("pre:['x'],main:['y'],post:[]")})
	r := p.run(t.Context(), t, "check", "--config-file", "DIR/conf", "--task-dir", "DIR/tasks")
	want := "wasakari: DIR/conf:2:41: flow host-auto: pre: task \"x\" asks for kv.get, which library acme is not granted; write below [grants]: acme = kv.get, kv.put\n" +
		"wasakari: DIR/conf:2:52: flow host-auto: main: task \"y\" asks for kv.put, which library acme is not granted; write below [grants]: acme = kv.get, kv.put\n"
	if r.code != exitUsage || r.stderr != want {
		t.Errorf("exit code %d\n%s\nwant\n%s", r.code, r.stderr, want)
	}
	// Below the table too, and nothing in it for a task that is in no flow.
	if want := "\n  unused: write below [grants]: acme = nova.*\n  x, y: write below [grants]: acme = kv.get, kv.put\n"; !strings.HasSuffix(r.stdout, want) {
		t.Errorf("standard output =\n%s\nwant at its end%s", r.stdout, want)
	}
	p.write(t, "more", "[grants]\nacme = kv.get\n")
	r = p.run(t.Context(), t, "check", "--config-file", "DIR/conf", "--config-file", "DIR/more", "--task-dir", "DIR/tasks", "--output", "json")
	var doc checkDoc
	if err := json.Unmarshal([]byte(strings.ReplaceAll(r.stdout, p.dir, "DIR")), &doc); err != nil || r.code != exitUsage {
		t.Fatalf("exit code %d, %v\n%s", r.code, err, r.stdout)
	}
	grants, err := json.Marshal(doc.Grants)
	if err != nil {
		t.Fatal(err)
	}
	const line = `"line":"acme","at":"DIR/more:2:1"`
	wantGrants := `[{"task":"unused","library":"acme",` + line + `,"asked":["nova.*"],"granted":[],"missing":["nova.*"],"write":"write instead of the line at DIR/more:2:1: acme = kv.get, nova.*"},` +
		`{"task":"x","library":"acme",` + line + `,"asked":["kv.get"],"granted":[{"what":"kv.get","by":"kv.get","at":"DIR/more:2:8"}],"missing":[]},` +
		`{"task":"y","library":"acme",` + line + `,"asked":["kv.put"],"granted":[],"missing":["kv.put"],"write":"write instead of the line at DIR/more:2:1: acme = kv.get, kv.put"}]`
	if doc.Good || string(grants) != wantGrants || !slices.Equal(doc.Flows["host-auto"]["main"], []string{"y"}) || len(doc.Flows) != 5 {
		t.Errorf("document = %+v\ngrants = %s\nwant     %s", doc, grants, wantGrants)
	}
}

// TestLibraries: whose a module is, the operator says, not its manifest.
func TestLibraries(t *testing.T) {
	t.Parallel()
	task := abi.ManifestTask{Key: "x"}
	plain := packed(t, guest("noop"), task)
	other := packed(t, guest("noop"), abi.ManifestTask{Key: "x", Summary: "Another"})
	signed := signedBy(t, plain, 1)
	broken := bytes.Clone(signed)
	broken[len(broken)-1] ^= 1
	key, foreign := config.PublicKey(signer(1).Public().(ed25519.PublicKey)), config.PublicKey(signer(2).Public().(ed25519.PublicKey))
	twice := func(a, b []byte) map[string]string {
		return map[string]string{"tasks/x.wasm": string(a), "more/x.wasm": string(b)}
	}
	one := func(wasm []byte) map[string]string { return map[string]string{"tasks/x.wasm": string(wasm)} }
	theirs := func(wasm []byte) map[string]string { return map[string]string{"theirs/x.wasm": string(wasm)} }
	// A refused task is not there for the flow.
	const unknown = "\nwasakari: DIR/conf:2:40: flow instance: pre: unknown task \"x\"; put x.wasm into a task directory, or mend the name"
	impostor := func(by, line, wasm string) string {
		return "DIR/tasks/x.wasm: it says that it is of library acme, but " + by + ", and neither that nor its digest stands in the library's line (DIR/conf:4:1); " +
			"if you know it, write instead of that line: " + line + ", " + wasm
	}
	tests := []struct {
		name  string
		files map[string]string
		conf  string // behind the flow, from line 3 on
		want  string // on standard error, without "wasakari: "; empty: good
		warns bool   // want is a warning only
	}{
		{name: "no section", files: one(plain)},
		{name: "section without lines", files: one(plain), conf: "[libraries]\n"},
		{name: "registered without pins", files: one(plain), conf: "[libraries]\nacme =\n"},
		{
			name: "not registered", files: one(plain), conf: "[libraries]\nacm =\n",
			want: "DIR/tasks/x.wasm: library acme is not registered; if you know this module, write below [libraries]: acme = " + pin(plain),
		},
		{
			name: "not registered, signed", files: one(signed), conf: "[libraries]\nacm =\n",
			want: "DIR/tasks/x.wasm: library acme is not registered; if you know this module, write below [libraries]: acme = " + key,
		},
		{
			name: "registered for a tenant only", files: one(plain), conf: "[libraries]\nacme@p1 =\n",
			want: "DIR/tasks/x.wasm: library acme is not registered; if you know this module, write below [libraries]: acme = " + pin(plain),
		},
		{name: "pinned digest", files: one(plain), conf: "[libraries]\nacme = " + pin(plain) + "\n"},
		{
			name: "another digest", files: one(other), conf: "[libraries]\nacme = " + pin(plain) + "\n",
			want: impostor("it is not signed", "acme = "+pin(plain), pin(other)),
		},
		{name: "pinned key", files: one(signed), conf: "[libraries]\nacme = " + pin(other) + ", " + key + "\n"},
		{
			name: "not signed", files: one(plain), conf: "[libraries]\nacme = " + key + "\n",
			want: impostor("it is not signed", "acme = "+key, pin(plain)),
		},
		{
			name: "signed by another", files: one(signedBy(t, plain, 2)), conf: "[libraries]\nacme = " + key + "\n",
			want: impostor("it is signed with "+foreign, "acme = "+key, foreign),
		},
		{
			name: "broken signature", files: one(broken), conf: "[libraries]\nacme = " + key + "\n",
			want: "DIR/tasks/x.wasm: the signature does not fit the module: it was changed after it was signed; sign it anew with wasakari task sign",
		},
		{
			name: "broken signature, whoever is registered", files: one(broken),
			want: "DIR/tasks/x.wasm: the signature does not fit the module: it was changed after it was signed; sign it anew with wasakari task sign",
		},

		{
			name: "to be signed, and not signed", files: one(plain), conf: "[signatures]\noperator = signed\n",
			want: "DIR/tasks/x.wasm: it is not signed, and of the operator's modules only those are taken that are signed with a key that is trusted (DIR/conf:4:1); " +
				"have it signed with wasakari task sign, or write below [libraries]: acme = " + pin(plain),
		},
		{
			name: "signed with a key that nobody trusts", files: one(signed), conf: "[signatures]\noperator = signed\ntrusted = " + foreign + "\n",
			want: "DIR/tasks/x.wasm: it is signed with " + key + ", and of the operator's modules only those are taken that are signed with a key that is trusted (DIR/conf:4:1); " +
				"have it signed with wasakari task sign, or write below [libraries]: acme = " + pin(signed),
		},
		{name: "signed with a trusted key", files: one(signed), conf: "[signatures]\noperator = signed\ntrusted = " + key + "\n"},
		{name: "to be signed, with the key of the library", files: one(signed), conf: "[signatures]\noperator = signed\n[libraries]\nacme = " + key + "\n"},
		{name: "to be signed, and pinned", files: one(plain), conf: "[signatures]\noperator = signed\n[libraries]\nacme = " + pin(plain) + "\n"},
		{
			name: "a tenant's, to be signed with his key", files: theirs(signedBy(t, plain, 2)), conf: "[signatures]\n@p1 = " + key + "\n",
			want: "DIR/theirs/x.wasm: it is signed with " + foreign + ", and of modules of tenant p1 only those are taken that are signed with a key that is trusted (DIR/conf:4:1); " +
				"have it signed with wasakari task sign, or write below [libraries]: acme@p1 = " + pin(signedBy(t, plain, 2)) + unknown,
		},
		{name: "the operator's, when tenants' are to be signed", files: one(plain), conf: "[signatures]\ntenants = signed\n"},

		{name: "the same module twice", files: twice(plain, plain)},
		{
			name: "one key in two modules", files: twice(plain, other),
			want: "DIR/more/x.wasm: task x is in DIR/tasks/x.wasm too; remove one of them, or pin one in [libraries], such as acme = " + pin(other),
		},
		{
			name: "one key in two modules, one pinned", files: twice(plain, packedAs(t, guest("noop"), "more", task)), conf: "[libraries]\nacme =\nmore = " + pin(packedAs(t, guest("noop"), "more", task)) + "\n",
			want: "warning: task x of DIR/tasks/x.wasm is left aside: [libraries] pins that of DIR/more/x.wasm", warns: true,
		},
		{
			name: "one key in two modules, both pinned", files: twice(plain, other), conf: "[libraries]\nacme = " + pin(plain) + ", " + pin(other) + "\n",
			want: "DIR/more/x.wasm: task x is in DIR/tasks/x.wasm too; remove one of them, or pin one in [libraries], such as acme = " + pin(other),
		},
		{
			name: "library of the standard tasks", files: one(packedAs(t, guest("noop"), "wasakari-standard", task)),
			want: "DIR/tasks/x.wasm: its library wasakari-standard is that of the standard tasks, which are built in; give yours another name in task.yaml",
		},

		{name: "a tenant's", files: theirs(plain)},
		{name: "a tenant's, registered", files: theirs(plain), conf: "[libraries]\nacme@p1 = " + pin(plain) + "\n"},
		{
			name: "a tenant's, not registered", files: theirs(plain), conf: "[libraries]\nacme@p2 =\n",
			want: "DIR/theirs/x.wasm: library acme of tenant p1 is not registered; if you know this module, write below [libraries]: acme@p1 = " + pin(plain) + unknown,
		},
		{
			name: "a tenant in the operator's library", files: map[string]string{"theirs/x.wasm": string(plain), "tasks/y.wasm": string(packed(t, guest("noop"), abi.ManifestTask{Key: "y"}))},
			want: "DIR/theirs/x.wasm: its library acme is the operator's (DIR/tasks/y.wasm); give it another name in task.yaml, or register acme@p1 in [libraries]" + unknown,
		},
		{
			name:  "a tenant in the operator's library, registered",
			files: map[string]string{"theirs/x.wasm": string(plain), "tasks/y.wasm": string(packed(t, guest("noop"), abi.ManifestTask{Key: "y"}))},
			conf:  "[libraries]\nacme =\nacme@p1 =\n",
		},
		{
			name: "a tenant in the library of the standard tasks", files: theirs(packedAs(t, guest("noop"), "wasakari-standard", task)), conf: "[libraries]\nwasakari-standard@p1 =\n",
			want: "DIR/theirs/x.wasm: its library wasakari-standard is that of the standard tasks, which are built in; give yours another name in task.yaml" + unknown,
		},
		{
			name:  "a tenant with the key of a standard task",
			files: map[string]string{"theirs/x.wasm": string(packed(t, guest("noop"), task, abi.ManifestTask{Key: "start_instance_task"}))},
			want:  "DIR/theirs/x.wasm: task start_instance_task is a standard task, which is built in; give yours another key",
		},
		{
			name: "a tenant with the operator's key", files: map[string]string{"theirs/x.wasm": string(plain), "tasks/x.wasm": string(packedAs(t, guest("noop"), "more", task))},
			want: "DIR/theirs/x.wasm: task x is in DIR/tasks/x.wasm too; remove one of them, or pin one in [libraries], such as acme@p1 = " + pin(plain),
		},
		{
			name: "a tenant with the operator's module", files: map[string]string{"theirs/x.wasm": string(plain), "tasks/x.wasm": string(plain)}, conf: "[libraries]\nacme =\nacme@p1 =\n",
			want: "DIR/theirs/x.wasm: task x is in DIR/tasks/x.wasm too; remove one of them, or pin one in [libraries], such as acme@p1 = " + pin(plain),
		},
		{
			name: "a tenant that asks for what no tenant has", files: theirs(packed(t, guest("noop"), abi.ManifestTask{Key: "x", Uses: []string{"nova.service_disable", "nova.server_stop", "ha.host_list"}})),
			want: "DIR/theirs/x.wasm: task x uses nova.service_disable, ha.host_list, which is not for tenants; take it out of task.yaml" + unknown,
		},
		{
			name: "a tenant granted in its own line", files: theirs(packed(t, guest("noop"), abi.ManifestTask{Key: "x", Uses: []string{"kv.get"}})), conf: "[grants]\nacme@p1 = kv.get\n",
		},
		{
			name: "a tenant granted in the operator's line", files: theirs(packed(t, guest("noop"), abi.ManifestTask{Key: "x", Uses: []string{"kv.get"}})), conf: "[grants]\nacme = kv.get\n",
			want: `DIR/conf:2:40: flow instance: pre: task "x" asks for kv.get, which library acme is not granted; write below [grants]: acme@p1 = kv.get`,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			files := map[string]string{"conf": instanceConf + tt.conf, "tasks/README": "", "more/README": "", "theirs/README": ""}
			maps.Copy(files, tt.files)
			p := newPlace(t, files)
			r := p.run(t.Context(), t, "check", "--config-file", "DIR/conf", "--task-dir", "DIR/tasks", "--task-dir", "DIR/more", "--tenant-task-dir", "p1=DIR/theirs")
			code, want := exitUsage, "wasakari: "+tt.want+"\n"
			switch {
			case tt.warns:
				code, want = exitOK, tt.want+"\n"
			case tt.want == "":
				code, want = exitOK, ""
			}
			if r.code != code || r.stderr != want {
				t.Errorf("exit code %d, want %d\n%s\nwant\n%s", r.code, code, r.stderr, want)
			}
		})
	}
}

// TestTenantsFlow: a tenant's task may stand where servers are recovered only.
func TestTenantsFlow(t *testing.T) {
	t.Parallel()
	files := map[string]string{
		"theirs/x.wasm": string(packed(t, guest("noop"), abi.ManifestTask{Key: "x"})),
		"conf":          flowConf("pre:['x'],main:[],post:['evacuate_instances_task']"),
	}
	p := newPlace(t, files)
	r := p.run(t.Context(), t, "check", "--config-file", "DIR/conf", "--tenant-task-dir", "p1=DIR/theirs")
	want := "wasakari: DIR/conf:2:41: flow host-auto: pre: task \"x\" is of tenant p1, and hosts are not for tenants; a tenant's task may stand in flow instance only: remove it here\n"
	if r.code != exitUsage || r.stderr != want {
		t.Errorf("exit code %d\n%s\nwant\n%s", r.code, r.stderr, want)
	}
	for _, bad := range []string{"p1", "p1=", "=DIR/theirs", "p 1=DIR/theirs"} {
		r := p.run(t.Context(), t, "check", "--tenant-task-dir", bad)
		want := "wasakari: --tenant-task-dir " + bad + ": want PROJECT=folder, PROJECT being the id of a project\n"
		if r.code != exitUsage || r.stderr != want {
			t.Errorf("exit code %d\n%s\nwant\n%s", r.code, r.stderr, want)
		}
	}
	if r = p.run(t.Context(), t, "check", "--tenant-task-dir", "p1=DIR/nope"); r.stderr != "wasakari: task folder DIR/nope: no such file or directory; check --tenant-task-dir\n" {
		t.Errorf("standard error = %s", r.stderr)
	}
}

// TestTenantsCannotStop: what is wrong with a tenant's module is told, by check
// as a mistake, and keeps no flow of the operator's from running. Where no task
// of tenants may stand, their modules are not looked at; where one may, those
// that the flow names are.
func TestTenantsCannotStop(t *testing.T) {
	t.Parallel()
	task := abi.ManifestTask{Key: "x"}
	secretive := abi.ManifestTask{Key: "y", Options: []abi.ManifestOption{{Group: "acme", Name: "queue", Type: "string", Secret: true}}}
	tests := []struct {
		name, file string
		wasm       []byte
		refused    string
	}{
		{"no module", "bad.wasm", []byte("hello"), "DIR/theirs/bad.wasm: not a WebAssembly module: it does not begin with 00 61 73 6d; give a .wasm file"},
		{"the operator's key", "x.wasm", packedAs(t, guest("noop"), "more", task), "DIR/theirs/x.wasm: task x is in DIR/tasks/x.wasm too; remove one of them, or pin one in [libraries], such as more@p1 = PIN"},
		{"the operator's library", "y.wasm", packed(t, guest("noop"), abi.ManifestTask{Key: "y"}), "DIR/theirs/y.wasm: its library acme is the operator's (DIR/tasks/x.wasm); give it another name in task.yaml, or register acme@p1 in [libraries]"},
		{"the operator's option called secret", "y.wasm", packedAs(t, guest("noop"), "more", secretive), ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			own := abi.ManifestTask{Key: "x", Options: []abi.ManifestOption{{Group: "acme", Name: "queue", Type: "list"}}}
			p := newPlace(t, map[string]string{
				"conf": "[taskflow_driver_recovery_flows]\nprocess_failure_recovery_tasks = pre:['x'],main:[],post:[]\n" +
					"instance_failure_recovery_tasks = pre:['x'],main:[],post:[]\n[grants]\nacme = options:acme\n[acme]\nqueue = a,b\n",
				"tasks/x.wasm":      string(packed(t, guest("noop"), own)),
				"theirs/" + tt.file: string(tt.wasm),
			})
			flags := strings.Fields("--config-file DIR/conf --task-dir DIR/tasks --tenant-task-dir p1=DIR/theirs")
			refused := strings.ReplaceAll(tt.refused, "PIN", pin(tt.wasm))
			r := p.run(t.Context(), t, append([]string{"check"}, flags...)...)
			code, want := exitOK, ""
			if refused != "" {
				code, want = exitUsage, "wasakari: "+refused+"\n"
			}
			if r.code != code || r.stderr != want {
				t.Errorf("check: exit code %d\n%s\nwant\n%s", r.code, r.stderr, want)
			}
			_, p.environ = startCloud(t, quickCloud, novasim.Options{})
			r = p.run(t.Context(), t, append([]string{"run", "process", "--input", "process_name=nova-compute", "--input", "host_name=compute-2"}, flags...)...)
			if r.code != exitOK || r.stderr != "" {
				t.Errorf("run process: exit code %d\n%s", r.code, r.stderr)
			}
			want = ""
			if tt.file == "x.wasm" {
				want = "warning: left aside: " + refused + "\n"
			}
			r = p.run(t.Context(), t, append([]string{"run", "instance", "--input", "instance_uuid=1"}, flags...)...)
			if r.code != exitOK || r.stderr != want {
				t.Errorf("run instance: exit code %d\n%s\nwant\n%s", r.code, r.stderr, want)
			}
		})
	}
}

// TestTenantsCannotStopHosts: the flow for a server names a tenant's task. That
// keeps the flows for hosts from nothing, and tells them of the operator's own
// mistakes only.
func TestTenantsCannotStopHosts(t *testing.T) {
	t.Parallel()
	own := packedAs(t, guest("noop"), "ours", abi.ManifestTask{Key: "own", Uses: []string{"kv.get"}})
	tests := []struct {
		name string
		flow string
		wasm string // of the tenant's hello_task; empty: there is not even the folder
		own  bool   // there is no tenant
		code int
		want string
		// check is what check tells, on its first line.
		check string
	}{
		{
			name: "a good module", flow: "pre:['hello_task'],main:[],post:[]", wasm: string(packed(t, guest("noop"), abi.ManifestTask{Key: "hello_task"})),
		},
		{
			name: "no module", flow: "pre:['hello_task'],main:[],post:[]", wasm: "hello",
			check: "wasakari: DIR/theirs/hello_task.wasm: not a WebAssembly module: it does not begin with 00 61 73 6d; give a .wasm file",
		},
		{
			name: "no folder", flow: "pre:['hello_task'],main:[],post:[]",
			check: "wasakari: task folder DIR/theirs: no such file or directory; check --tenant-task-dir",
		},
		{
			name: "an option of a secret that cannot be read", flow: "pre:['hello_task'],main:[],post:[]",
			wasm: string(packed(t, guest("noop"), abi.ManifestTask{
				Key: "hello_task", Options: []abi.ManifestOption{{Group: "hello", Name: "token", Type: "string", Secret: true}},
			})),
			check: "wasakari: DIR/conf:6:9: option [hello] token: its file cannot be read: no such file or directory; want file: and the absolute path of a file that holds the value alone",
		},
		{
			name: "a mistake beside it", flow: "pre:['hello_task'],main:['own'],post:[]", wasm: string(packed(t, guest("noop"), abi.ManifestTask{Key: "hello_task"})),
			want:  "warning: DIR/conf:2:60: flow instance: main: task \"own\" asks for kv.get, which library ours is not granted; write below [grants]: ours = kv.get\n",
			check: "wasakari: DIR/conf:2:60: flow instance: main: task \"own\" asks for kv.get, which library ours is not granted; write below [grants]: ours = kv.get",
		},
		{
			name: "a mistake of the operator's own", flow: "pre:['own'],main:[],post:[]", code: exitUsage, wasm: "hello",
			want:  "wasakari: DIR/conf:2:40: flow instance: pre: task \"own\" asks for kv.get, which library ours is not granted; write below [grants]: ours = kv.get\n",
			check: "wasakari: DIR/theirs/hello_task.wasm: not a WebAssembly module: it does not begin with 00 61 73 6d; give a .wasm file",
		},
		{
			name: "an unknown task where there are no tenants", flow: "pre:['hello_task'],main:[],post:[]", own: true, code: exitUsage,
			want:  "wasakari: DIR/conf:2:40: flow instance: pre: unknown task \"hello_task\"; put hello_task.wasm into a task directory, or mend the name\n",
			check: "wasakari: DIR/conf:2:40: flow instance: pre: unknown task \"hello_task\"; put hello_task.wasm into a task directory, or mend the name",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			files := map[string]string{
				"conf":           "[taskflow_driver_recovery_flows]\ninstance_failure_recovery_tasks = " + tt.flow + "\n[grants]\nacme@p1 = options:hello\n[hello]\ntoken = file:/nonexistent/secret\n[secrets]\nhello.token = https://t.example.com body\n",
				"tasks/own.wasm": string(own),
			}
			if tt.wasm != "" {
				files["theirs/hello_task.wasm"] = tt.wasm
			}
			if !strings.Contains(tt.name, "secret") {
				files["conf"], _, _ = strings.Cut(files["conf"], "[grants]")
			}
			p := newPlace(t, files)
			flags := strings.Fields("--config-file DIR/conf --task-dir DIR/tasks --tenant-task-dir p1=DIR/theirs")
			if tt.own {
				flags = flags[:4]
			}
			r := p.run(t.Context(), t, append([]string{"check"}, flags...)...)
			if first, _, _ := strings.Cut(r.stderr, "\n"); first != tt.check || (r.code == exitOK) != (tt.check == "") {
				t.Errorf("check: exit code %d\n%s\nwant\n%s", r.code, r.stderr, tt.check)
			}
			_, p.environ = startCloud(t, quickCloud, novasim.Options{})
			for _, command := range []string{
				"run host-auto --dry-run --input host_name=compute-1",
				"run host-rh --dry-run --input host_name=compute-1 --input reserved_host_list=compute-4",
				"run process --dry-run --input process_name=nova-compute --input host_name=compute-2",
				"plan host compute-1",
			} {
				r := p.run(t.Context(), t, append(strings.Fields(command), flags...)...)
				if (r.code == exitUsage) != (tt.code == exitUsage) || (r.stdout == "") != (tt.code == exitUsage) || r.stderr != tt.want {
					t.Errorf("%s: exit code %d\n%s\nwant %d\n%s", command, r.code, r.stderr, tt.code, tt.want)
				}
			}
		})
	}
}

// TestTenantsKeys: of two tenants' tasks with one key the one that could be run
// has it, else the one that is pinned, else the one whose library the operator
// knows; else it is neither's.
func TestTenantsKeys(t *testing.T) {
	t.Parallel()
	x := abi.ManifestTask{Key: "x"}
	forbidden, foreign := x, x
	forbidden.Uses = []string{"nova.service_disable"}
	foreign.Options = []abi.ManifestOption{{Group: "DEFAULT", Name: "a", Type: "string"}}
	one, two := packedAs(t, guest("noop"), "one", x), packedAs(t, guest("noop"), "two", x)
	const flow = "[taskflow_driver_recovery_flows]\ninstance_failure_recovery_tasks = pre:['x'],main:[],post:[]\n"
	tests := []struct {
		name, conf string
		two        []byte
		more       map[string]string
		want       string // on standard error; that the key is p1's, or else nobody's
		nobodys    bool
	}{
		{
			name: "two like one", nobodys: true,
			want: "warning: left aside: task x is contested by tenants p1 (DIR/one/x.wasm) and p2 (DIR/two/x.wasm); remove all but one, or pin one in [libraries], such as two@p2 = " + pin(two) + "\n" +
				"wasakari: DIR/conf:2:40: flow instance: pre: task x is contested by tenants p1 (DIR/one/x.wasm) and p2 (DIR/two/x.wasm); remove all but one, or pin one in [libraries], such as two@p2 = " + pin(two) + "\n",
		},
		{
			name: "one tenant's own two", nobodys: true, two: []byte("hello"), more: map[string]string{"one/y.wasm": string(packedAs(t, guest("noop"), "one", x, abi.ManifestTask{Key: "y"}))},
			want: "task x of tenant p1 is in DIR/one/x.wasm and in DIR/one/y.wasm",
		},
		{
			name: "one of no use", two: packedAs(t, guest("noop"), "two", forbidden),
			want: "warning: left aside: DIR/two/x.wasm: task x uses nova.service_disable, which is not for tenants; take it out of task.yaml\n",
		},
		{
			name: "one that asks for another's options", two: packedAs(t, guest("noop"), "two", foreign),
			want: "warning: left aside: DIR/two/x.wasm: task x asks for option [DEFAULT] a: that section belongs to Wasakari, Masakari or an OpenStack library; " +
				"give its options a section of their own in task.yaml, such as [two]\n",
		},
		{
			name: "one granted", conf: "[grants]\none@p1 = kv.get\ntwo@p3 = kv.get\ntwo = kv.get\n",
			want: "warning: task x of DIR/two/x.wasm is left aside: the operator knows the library of DIR/one/x.wasm\n",
		},
		{
			name: "one granted for the key", conf: "[grants]\none/x@p1 = kv.get\ntwo/y@p2 = kv.get\n",
			want: "warning: task x of DIR/two/x.wasm is left aside: the operator knows the library of DIR/one/x.wasm\n",
		},
		{name: "both granted", conf: "[grants]\none@p1 = kv.get\ntwo@p2 = kv.get\n", nobodys: true, want: "task x is contested by tenants p1 (DIR/one/x.wasm) and p2 (DIR/two/x.wasm)"},
		{
			name: "one pinned", conf: "[libraries]\none@p1 = " + pin(one) + "\ntwo@p2 =\n[grants]\ntwo@p2 = kv.get\n",
			want: "warning: task x of DIR/two/x.wasm is left aside: [libraries] pins that of DIR/one/x.wasm\n",
		},
		{
			name: "one that is not named and no module", more: map[string]string{"two/y.wasm": "hello", "one/z.wasm": string(packedAs(t, []byte(wasmHead+"\x01\x01\x7f"), "one", abi.ManifestTask{Key: "z"}))},
			conf: "[grants]\none@p1 = kv.get\n", want: "warning: task x of DIR/two/x.wasm is left aside: the operator knows the library of DIR/one/x.wasm\n",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if tt.two == nil {
				tt.two = two
			}
			files := map[string]string{"conf": flow + tt.conf, "one/x.wasm": string(one), "two/x.wasm": string(tt.two)}
			maps.Copy(files, tt.more)
			p := newPlace(t, files)
			_, p.environ = startCloud(t, quickCloud, novasim.Options{})
			folders := []string{"--tenant-task-dir", "p1=DIR/one", "--tenant-task-dir", "p2=DIR/two"}
			for range 2 {
				args := append(strings.Fields("run instance --config-file DIR/conf --input instance_uuid=1"), folders...)
				r := p.run(t.Context(), t, args...)
				if tt.nobodys {
					if r.code != exitUsage || !strings.Contains(r.stderr, tt.want) || len(p.runs(t)) > 0 {
						t.Errorf("exit code %d\n%s\nwant\n%s", r.code, r.stderr, tt.want)
					}
					return
				}
				if r.code != exitOK || r.stderr != tt.want {
					t.Fatalf("%v: exit code %d\n%s\nwant\n%s", folders, r.code, r.stderr, tt.want)
				}
				slices.Reverse(folders) // nobody's place among the folders counts
				folders[0], folders[1], folders[2], folders[3] = folders[1], folders[0], folders[3], folders[2]
			}
			for _, run := range p.runs(t) {
				if got := "sha256:" + run.Modules["x"]; got != pin(one) {
					t.Errorf("the run had module %s, want that of p1", got)
				}
			}
		})
	}
}

// TestTenantResumes: a resumed run knows the tenants' folders again.
func TestTenantResumes(t *testing.T) {
	t.Parallel()
	sim, environ := startCloud(t, quickCloud, novasim.Options{})
	p := newPlace(t, map[string]string{
		"theirs/x.wasm": string(packed(t, guest("unreachable"), abi.ManifestTask{Key: "x"})), "conf": instanceConf,
	})
	p.environ = environ
	id := server(t, sim, "other").ID
	r := p.run(t.Context(), t, "run", "instance", "--config-file", "DIR/conf", "--tenant-task-dir", "p1=DIR/theirs", "--input", "instance_uuid="+id, "--output", "json")
	doc := documentOf(t, r)
	if r.code != exitFailed || len(doc.Tasks) != 1 || doc.Tasks[0].Key != "x" {
		t.Fatalf("exit code %d, %+v\n%s", r.code, doc.Tasks, r.stderr)
	}
	runs := p.runs(t)
	if len(runs) != 1 {
		t.Fatalf("%d runs, want one", len(runs))
	}
	var c command
	if err := json.Unmarshal(runs[0].Command, &c); err != nil || !slices.Equal(c.TenantTaskDirs, []string{"p1=" + p.dir + "/theirs"}) {
		t.Errorf("tenants' folders in the journal = %q, %v", c.TenantTaskDirs, err)
	}
}

// TestSign: what task sign signs, inspect and [libraries] know.
func TestSign(t *testing.T) {
	t.Parallel()
	der, err := x509.MarshalPKCS8PrivateKey(signer(1))
	if err != nil {
		t.Fatal(err)
	}
	plain := packed(t, guest("noop"), abi.ManifestTask{Key: "x", Uses: []string{"kv.get", "kv.put"}})
	p := newPlace(t, map[string]string{
		"key.pem": string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})), "tasks/x.wasm": string(plain),
		"two.pem":  strings.Repeat(string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})), 2),
		"enc.pem":  string(pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: der})),
		"raw.wasm": string(guest("no_manifest")), "no.pem": "secret words", "short.pem": "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
	})
	key := config.PublicKey(signer(1).Public().(ed25519.PublicKey))
	r := p.run(t.Context(), t, "task", "sign", "DIR/tasks/x.wasm", "--key", "DIR/key.pem")
	line := "acme = " + key + "\n"
	if want := "DIR/tasks/x.wasm: signed; to know its library by this key, write below [libraries]:\n" + line; r.code != exitOK || strings.ReplaceAll(r.stdout, p.dir, "DIR") != want {
		t.Fatalf("exit code %d\n%s%s\nwant %s", r.code, r.stdout, r.stderr, want)
	}
	p.write(t, "conf", instanceConf+"[libraries]\n"+line+"[grants]\nacme = kv.get\nacme@p1 = kv.*\n")
	r = p.run(t.Context(), t, "task", "inspect", "DIR/tasks/x.wasm", "--config-file", "DIR/conf")
	for _, want := range []string{
		"\n  signed   " + key + "\n", "\n  line     acme = " + key + " (DIR/conf:4:1)\n",
		"\n    asks for  kv.get                       granted at DIR/conf:6:8\n    asks for  kv.put                       missing\n" +
			"    write instead of the line at DIR/conf:6:1: acme = kv.get, kv.put\n",
	} {
		if !strings.Contains(strings.ReplaceAll(r.stdout, p.dir, "DIR"), want) {
			t.Errorf("standard output =\n%s%s\nwant in it\n%s", r.stdout, r.stderr, want)
		}
	}
	p.write(t, "tenants", "[grants]\nacme@p1 = kv.*\nacme/x@p2 = kv.get\nacme/y@p3 = kv.get\nother@p4 = kv.get\n")
	r = p.run(t.Context(), t, "task", "inspect", "DIR/tasks/x.wasm", "--config-file", "DIR/tenants")
	if want := "\n    [grants] has lines of library acme for tenants only; look at a tenant's module with --tenant p1, or --tenant p2\n    write below [grants]: acme = kv.get, kv.put\n"; !strings.Contains(r.stdout, want) {
		t.Errorf("standard output =\n%s%s\nwant in it\n%s", r.stdout, r.stderr, want)
	}
	r = p.run(t.Context(), t, "task", "inspect", "DIR/tasks/x.wasm", "--config-file", "DIR/conf", "--tenant", "p1", "--output", "json")
	var doc struct {
		SignedBy string       `json:"signed_by"`
		Refused  string       `json:"refused"`
		Grants   []taskGrants `json:"grants"`
	}
	if err := json.Unmarshal([]byte(strings.ReplaceAll(r.stdout, p.dir, "DIR")), &doc); err != nil {
		t.Fatalf("%v\n%s%s", err, r.stdout, r.stderr)
	}
	if want := "DIR/tasks/x.wasm: library acme of tenant p1 is not registered; if you know this module, write below [libraries]: acme@p1 = " + key; doc.SignedBy != key || doc.Refused != want {
		t.Errorf("signed by %s, refused %s; want %s, %s", doc.SignedBy, doc.Refused, key, want)
	}
	got, err := json.Marshal(doc.Grants)
	if err != nil {
		t.Fatal(err)
	}
	if want := `[{"task":"x","library":"acme","tenant":"p1","line":"acme@p1","at":"DIR/conf:7:1","asked":["kv.get","kv.put"],` +
		`"granted":[{"what":"kv.get","by":"kv.*","at":"DIR/conf:7:11"},{"what":"kv.put","by":"kv.*","at":"DIR/conf:7:11"}],"missing":[]}]`; string(got) != want {
		t.Errorf("grants = %s\nwant     %s", got, want)
	}

	for args, want := range map[string]string{
		"task sign DIR/tasks/x.wasm":                       "name the key to sign with: --key key.pem",
		"task sign DIR/tasks/x.wasm --key DIR/nope":        "DIR/nope: no such file or directory",
		"task sign DIR/tasks/x.wasm --key DIR/no.pem":      "DIR/no.pem: want an Ed25519 private key in PEM; make one with openssl genpkey -algorithm ed25519 -out key.pem",
		"task sign DIR/tasks/x.wasm --key DIR/two.pem":     "DIR/two.pem: it holds several keys; name a file with the one to sign with",
		"task sign DIR/tasks/x.wasm --key DIR/enc.pem":     "DIR/enc.pem: the key is encrypted; write it in the clear where only you can read it: openssl pkey -in DIR/enc.pem -out key.pem",
		"task sign DIR/tasks/x.wasm --key DIR/short.pem":   "DIR/short.pem: want an Ed25519 private key in PEM; make one with openssl genpkey -algorithm ed25519 -out key.pem",
		"task sign DIR/key.pem --key DIR/key.pem":          "DIR/key.pem: not a WebAssembly module: it does not begin with 00 61 73 6d",
		"task sign DIR/raw.wasm --key DIR/key.pem":         "DIR/raw.wasm: no manifest: the module has no custom section wasakari.task; add one with wasakari task pack task.yaml module.wasm -o out.wasm",
		"task inspect DIR/tasks/x.wasm --tenant a/b":       "--tenant a/b: want the id of a project",
		"task inspect DIR/tasks/x.wasm --config-file nope": "nope: no such file; check --config-file",
	} {
		if r := p.run(t.Context(), t, strings.Fields(args)...); r.code != exitUsage || r.stderr != "wasakari: "+want+"\n" {
			t.Errorf("%s: exit code %d, %s\nwant %s", args, r.code, r.stderr, want)
		}
	}
	file := filepath.Join(p.dir, "key.pem")
	if err := os.Chmod(file, 0o644); err != nil {
		t.Fatal(err)
	}
	r = p.run(t.Context(), t, strings.Fields("task sign DIR/tasks/x.wasm --key DIR/key.pem")...)
	if want := "note: DIR/key.pem is not yours alone: who reads it signs in your name; chmod 600 DIR/key.pem\n"; r.code != exitOK || r.stderr != want {
		t.Errorf("exit code %d, %s\nwant %s", r.code, r.stderr, want)
	}
}

// TestSecretsAtCheck: what is said of secret options before anything runs.
func TestSecretsAtCheck(t *testing.T) {
	t.Parallel()
	token := abi.ManifestOption{Group: "acme", Name: "token", Type: "string", Secret: true}
	plainToken := abi.ManifestOption{Group: "acme", Name: "token", Type: "string"}
	x := packed(t, guest("noop"), abi.ManifestTask{Key: "x", Options: []abi.ManifestOption{token}})
	spy := func(o abi.ManifestOption) []byte {
		return packedAs(t, guest("noop"), "spy", abi.ManifestTask{Key: "y", Options: []abi.ManifestOption{o}})
	}
	const conf = instanceConf + "[grants]\nacme = options:acme\nspy = options:acme\n[acme]\ntoken = h4nter2s\n" // 8 lines
	const short = "option [acme] token is a secret of fewer than 8 characters: in answers, messages and logs of requests these are masked wherever they stand, also by chance, " +
		"and what is masked is guessed easily; take a longer one\n"
	list := plainToken
	list.Type = "list"
	tests := []struct {
		name  string
		files map[string]string
		conf  string
		code  int
		want  string
	}{
		{name: "bound", conf: "[secrets]\nacme.token = https://t.example.com header:X-Token\n"},
		{
			name: "bound to nothing",
			want: "warning: option [acme] token is a secret that no request may carry; write below [secrets]: acme.token = https://HOST header:NAME\n",
		},
		{
			name: "a line for no option", conf: "[secrets]\nacme.token = https://t.example.com header:X-Token\nacme.tokn = https://t.example.com body\n",
			want: "warning: DIR/conf:10:1: no task at hand has the option [acme] tokn\n",
		},
		{
			name: "file that is not there", conf: "[acme]\ntoken = file:/nonexistent/h4nter2s\n", code: exitUsage,
			want: "wasakari: DIR/conf:9:9: option [acme] token: its file cannot be read: no such file or directory; want file: and the absolute path of a file that holds the value alone\n",
		},
		{
			name: "a short one", conf: "[secrets]\nacme.token = https://t.example.com header:X-Token\n[acme]\ntoken = s3\u00e9cret\n",
			want: "warning: DIR/conf:11:9: " + short,
		},
		{
			name: "a short one in a file", files: map[string]string{"pass": "s3cret2\n"}, conf: "[secrets]\nacme.token = https://t.example.com header:X-Token\n[acme]\ntoken = file:DIR/pass\n",
			want: "warning: DIR/conf:11:9: " + short,
		},
		{
			name: "another library that does not call it secret", files: map[string]string{"tasks/y.wasm": string(spy(plainToken))},
			want: "warning: option [acme] token is a secret that no request may carry; write below [secrets]: acme.token = https://HOST header:NAME\n",
		},
		{
			name: "another library that calls it a list", files: map[string]string{"tasks/y.wasm": string(spy(list))}, code: exitUsage,
			want: "wasakari: DIR/tasks/y.wasm: task y has the option [acme] token, which is a secret elsewhere; call it secret, of type string and without a default, in task.yaml\n",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			files := map[string]string{"conf": conf + tt.conf, "tasks/x.wasm": string(x)}
			maps.Copy(files, tt.files)
			p := newPlace(t, files)
			p.write(t, "conf", strings.ReplaceAll(files["conf"], "DIR", p.dir))
			r := p.run(t.Context(), t, "check", "--config-file", "DIR/conf", "--task-dir", "DIR/tasks")
			if r.code != tt.code || r.stderr != tt.want {
				t.Errorf("exit code %d, want %d\n%s\nwant\n%s", r.code, tt.code, r.stderr, tt.want)
			}
			show := p.run(t.Context(), t, "config", "show", "--config-file", "DIR/conf", "--task-dir", "DIR/tasks")
			if text := r.stdout + r.stderr + show.stdout + show.stderr; strings.Contains(text, "h4nter2s") {
				t.Errorf("a secret, or its file, is shown:\n%s", text)
			}
		})
	}
}
