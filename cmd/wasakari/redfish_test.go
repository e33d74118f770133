package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wasakari/wasakari/abi"
	"github.com/wasakari/wasakari/internal/audit"
	"github.com/wasakari/wasakari/novasim"
)

const redfishPassword = "c0ntroller+pass/word"

// redfish is a system of a Redfish service, that of a host's baseboard
// controller.
type redfish struct {
	path string
	url  string

	mu       sync.Mutex
	host     string // what it says the host's name is
	state    string
	looksOff int // looks after a reset until it is off; negative: never
	left     int
	resets   int
	seen     []string
}

// controllers is a Redfish service over TLS with the systems of all tests: one
// address, and thus one module whose manifest names it.
var controllers struct {
	once    sync.Once
	addr    string
	ca      []byte // PEM
	mu      sync.Mutex
	systems []*redfish
}

func startControllers(t *testing.T) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	cert := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "controller"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, cert, cert, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	controllers.ca = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	// It lives as long as the tests do.
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		controllers.mu.Lock()
		i := slices.IndexFunc(controllers.systems, func(b *redfish) bool { return strings.HasPrefix(r.URL.Path+"/", b.path+"/") })
		if i < 0 {
			controllers.mu.Unlock()
			http.NotFound(w, r)
			return
		}
		b := controllers.systems[i]
		controllers.mu.Unlock()
		b.ServeHTTP(w, r)
	}))
	s.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	controllers.addr = s.Listener.Addr().String()
}

func newRedfish(t *testing.T, host string) *redfish {
	t.Helper()
	controllers.once.Do(func() { startControllers(t) })
	controllers.mu.Lock()
	defer controllers.mu.Unlock()
	b := &redfish{host: host, state: "On", looksOff: 2, path: fmt.Sprintf("/redfish/v1/Systems/%d", len(controllers.systems)+1)}
	b.url = "https://" + controllers.addr + b.path
	controllers.systems = append(controllers.systems, b)
	return b
}

// ServeHTTP answers as DSP0266 says.
func (b *redfish) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.seen = append(b.seen, r.Method+" "+strings.TrimPrefix(r.URL.Path, b.path))
	user, password, _ := r.BasicAuth()
	system, reset := b.path, b.path+"/Actions/ComputerSystem.Reset"
	switch {
	case user != "wasakari" || password != redfishPassword:
		w.WriteHeader(http.StatusUnauthorized)
		fmt.Fprintf(w, "who is %s?", password)
	case r.Method == http.MethodGet && r.URL.Path == system:
		if b.state == "PoweringOff" {
			if b.left--; b.left == 0 {
				b.state = "Off"
			}
		}
		_ = json.NewEncoder(w).Encode(map[string]any{
			"@odata.id": system, "PowerState": b.state, "HostName": b.host, "AssetTag": password, // some echo what they were sent
			"Actions": map[string]any{"#ComputerSystem.Reset": map[string]any{"target": reset, "ResetType@Redfish.AllowableValues": []string{"On", "ForceOff"}}},
		})
	case r.Method == http.MethodPost && r.URL.Path == reset:
		var req struct{ ResetType string }
		if err := json.NewDecoder(r.Body).Decode(&req); err != nil || req.ResetType != "ForceOff" {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		b.resets++
		b.state, b.left = "PoweringOff", b.looksOff
		w.WriteHeader(http.StatusNoContent)
	default:
		http.NotFound(w, r)
	}
}

// redfishTask builds the example once.
var redfishTask = func() func(t *testing.T) (raw []byte, manifest string) {
	var once sync.Once
	var wasm []byte
	return func(t *testing.T) ([]byte, string) {
		t.Helper()
		const folder = "../../tasks-examples"
		once.Do(func() {
			raw := filepath.Join(t.TempDir(), "raw.wasm")
			cmd := exec.CommandContext(t.Context(), "go", "build", "-buildmode=c-shared", "-trimpath", "-ldflags=-s -w", "-o", raw, "./redfish_fence/go")
			cmd.Dir = folder
			cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "CGO_ENABLED=0")
			out, err := cmd.CombinedOutput()
			if err == nil {
				wasm, err = os.ReadFile(raw)
			}
			if err != nil {
				t.Fatalf("go build: %v\n%s", err, out)
			}
		})
		text, err := os.ReadFile(filepath.Join(folder, "redfish_fence/go/task.yaml"))
		if err != nil {
			t.Fatal(err)
		}
		return wasm, string(text)
	}
}()

// redfishPlace has the example as its README tells to install it, for a
// controller. change edits the configuration.
func redfishPlace(t *testing.T, b *redfish, change ...string) *place {
	t.Helper()
	raw, manifest := redfishTask(t)
	conf, err := os.ReadFile("../../tasks-examples/redfish_fence/redfish-fence.conf")
	if err != nil {
		t.Fatal(err)
	}
	p := newPlace(t, map[string]string{
		"raw.wasm": string(raw), "task.yaml": strings.ReplaceAll(manifest, "*.bmc.example.com", controllers.addr),
		"password": redfishPassword + "\n", "ca.pem": string(controllers.ca), "tasks/none": "",
	})
	for i := range change {
		change[i] = strings.ReplaceAll(change[i], "ADDRESS", controllers.addr)
	}
	text := strings.NewReplacer(append(change,
		"https://{short}.bmc.example.com/redfish/v1/Systems/1", b.url, "*.bmc.example.com", controllers.addr, "10.9.0.0/16", "127.0.0.1/32",
		"/etc/wasakari/redfish-password", p.dir+"/password", "/etc/wasakari/redfish-ca.pem", p.dir+"/ca.pem",
		"\nuser = wasakari", "\nuser = wasakari\nlook_interval = 1\nlooks = 2")...).Replace(string(conf))
	p.write(t, "conf", text)
	if r := p.run(t.Context(), t, "task", "pack", "DIR/task.yaml", "DIR/raw.wasm", "-o", "DIR/tasks/redfish_fence_task.wasm"); r.code != exitOK {
		t.Fatalf("pack: exit %d\n%s", r.code, r.stderr)
	}
	return p
}

func recoverFenced(t *testing.T, p *place, args ...string) result {
	t.Helper()
	return p.run(t.Context(), t, append(strings.Fields("run host-auto --config-file DIR/conf --task-dir DIR/tasks --input host_name=compute-1 --output json"), args...)...)
}

// all gives every word that the program left, on its output and in its state.
func (p *place) all(t *testing.T, r result) string {
	t.Helper()
	text := r.stdout + r.stderr
	err := filepath.WalkDir(filepath.Join(p.dir, "home"), func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		text += string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestRedfishFence(t *testing.T) {
	t.Parallel()
	b := newRedfish(t, "compute-1.example.com")
	sim, environ := startCloud(t, demoCloud(t), novasim.Options{})
	p := redfishPlace(t, b)
	p.environ = environ
	r := recoverFenced(t, p)
	if r.code != exitOK {
		t.Fatalf("exit code %d\n%s%s", r.code, r.stdout, r.stderr)
	}
	doc := documentOf(t, r)
	var proof struct{ Host, Method, Run string }
	if err := json.Unmarshal(doc.KV["fence_proof"], &proof); err != nil || proof.Host != "compute-1" || proof.Method != "redfish" || proof.Run == "" {
		t.Errorf("fence_proof = %s (%v)", doc.KV["fence_proof"], err)
	}
	if want := []string{"GET ", "POST /Actions/ComputerSystem.Reset", "GET ", "GET ", "GET "}; !slices.Equal(b.seen, want) {
		t.Errorf("the controller saw %q, want %q", b.seen, want)
	}
	if n := len(evacuated(sim)); n != 20 {
		t.Errorf("%d servers were evacuated, want 20", n)
	}
	text := p.all(t, r)
	if strings.Contains(text, redfishPassword) {
		t.Error("the password is shown somewhere")
	}
	var requests, evacuations int
	for _, line := range p.audited(t) {
		switch {
		case line.Kind == audit.HTTP && line.Library == "redfish-fence" && line.Task == "redfish_fence_task" && line.Run == proof.Run && line.Status/100 == 2:
			requests++
		case line.Op == abi.OpNovaServerEvacuate && line.Outcome == audit.Done && line.NovaRequestID != "" && line.Run == proof.Run:
			evacuations++
		}
	}
	if requests != 5 || evacuations != 20 {
		t.Errorf("%d requests and %d evacuations in the audit log, want 5 and 20:\n%+v", requests, evacuations, p.audited(t))
	}
}

// audited reads the audit log in the state folder.
func (p *place) audited(t *testing.T) (list []audit.Record) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(p.dir, "home/.local/state/wasakari", auditFile))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		var r audit.Record
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatalf("line %q: %v", line, err)
		}
		list = append(list, r)
	}
	return list
}

func TestRedfishFenceAgain(t *testing.T) {
	t.Parallel()
	b := newRedfish(t, "")
	b.state = "Off"
	sim, environ := startCloud(t, demoCloud(t), novasim.Options{})
	p := redfishPlace(t, b)
	p.environ = environ
	if r := recoverFenced(t, p); r.code != exitOK || b.resets != 0 || len(evacuated(sim)) != 20 {
		t.Errorf("exit code %d, %d resets of a host that was off, %d servers evacuated\n%s", r.code, b.resets, len(evacuated(sim)), r.stderr)
	}
}

// TestRedfishFenceFails: what moves no server.
func TestRedfishFenceFails(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		bmc    func(b *redfish)
		change []string
		want   string // in the message
		resets int
	}{
		{
			name: "never off", bmc: func(b *redfish) { b.looksOff = -1 }, change: []string{"[redfish_fence]", "[redfish_fence]\ntimeout = 3"},
			want: "not off within 3s: its power state is PoweringOff", resets: 1,
		},
		{name: "another host's controller", bmc: func(b *redfish) { b.host = "compute-2" }, want: "is the system of host compute-2, not of compute-1"},
		{name: "no password for this origin", change: []string{"redfish_fence.password = https://*.bmc.example.com basic", "redfish_fence.password = https://elsewhere.example basic"}, want: "secret redfish_fence.password: it is bound to https://elsewhere.example and not sent to https://127.0.0.1:"},
		{name: "no password in this place", change: []string{"redfish_fence.password = https://*.bmc.example.com basic", "redfish_fence.password = https://ADDRESS body"}, want: "secret redfish_fence.password: it is bound to body and not put into basic"},
		{name: "wrong password", change: []string{"password = file:/etc/wasakari/redfish-password", "password = wrong-but-secret"}, want: "answered with 401: user or password is wrong"},
		{name: "network that is not granted", change: []string{"10.9.0.0/16", "10.9.0.0/16"}, want: "127.0.0.1 is a loopback address; to allow it, the operator grants net:127.0.0.1/32"},
		{name: "CA that did not sign it", change: []string{"ca = file:/etc/wasakari/redfish-ca.pem\n", ""}, want: "is signed by an authority that is not known; name its CA in tls.ca, or in [http] ca_file"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := newRedfish(t, "compute-1")
			if tt.bmc != nil {
				tt.bmc(b)
			}
			sim, environ := startCloud(t, demoCloud(t), novasim.Options{})
			p := redfishPlace(t, b, tt.change...)
			p.environ = environ
			r := recoverFenced(t, p)
			doc := documentOf(t, r)
			if r.code != exitFailed || !strings.Contains(doc.Message, tt.want) {
				t.Errorf("exit code %d, message %q, want %d and %q in it\n%s", r.code, doc.Message, exitFailed, tt.want, r.stderr)
			}
			if b.resets != tt.resets {
				t.Errorf("%d resets, want %d", b.resets, tt.resets)
			}
			if got := changes(sim); len(got) != 0 {
				t.Errorf("changes of the cloud: %q, want none", got)
			}
			if text := p.all(t, r); strings.Contains(text, redfishPassword) || strings.Contains(text, "wrong-but-secret") {
				t.Error("the password is shown somewhere")
			}
		})
	}
}

// TestRedfishFenceDryRun asks the controller and sends no reset.
func TestRedfishFenceDryRun(t *testing.T) {
	t.Parallel()
	b := newRedfish(t, "compute-1")
	sim, environ := startCloud(t, demoCloud(t), novasim.Options{})
	p := redfishPlace(t, b)
	p.environ = environ
	r := recoverFenced(t, p, "--dry-run")
	if r.code != exitOK {
		t.Fatalf("exit code %d\n%s%s", r.code, r.stdout, r.stderr)
	}
	doc := documentOf(t, r)
	if len(doc.Changes) == 0 || doc.Changes[0].Op != abi.OpHTTPRequest || doc.Changes[0].Type != "POST" || doc.Changes[0].Target != b.url+"/Actions/ComputerSystem.Reset" {
		t.Errorf("changes = %+v, want the reset first", doc.Changes)
	}
	if b.resets != 0 || b.state != "On" || len(changes(sim)) != 0 {
		t.Errorf("%d resets, state %s, changes of the cloud %q", b.resets, b.state, changes(sim))
	}
}

// forger provides a fence_proof that it was given.
func forger(t *testing.T, proof string) []byte {
	t.Helper()
	request := `{"name":"fence_proof","value":` + proof + `}`
	data := make([]byte, 64)
	for i, n := range []int{32, len(abi.OpKVPut), 64, len(request)} {
		binary.LittleEndian.PutUint32(data[4*i:], uint32(n))
	}
	copy(data[32:], abi.OpKVPut)
	data = append(data, request...)
	segment := append([]byte{1, 0, 0x41, 0, 0x0b}, binary.AppendUvarint(nil, uint64(len(data)))...)
	segment = append(segment, data...)
	wasm := slices.Concat(guest("ops"), []byte{11}, binary.AppendUvarint(nil, uint64(len(segment))), segment)
	return packed(t, wasm, abi.ManifestTask{Key: "forger", Uses: []string{"kv.put"}, Provides: []string{"fence_proof"}})
}

// TestForgedProofs: the evacuation looks at what a proof says.
func TestForgedProofs(t *testing.T) {
	t.Parallel()
	now := time.Now().UTC().Format(time.RFC3339)
	tests := []struct{ name, proof, grants, want string }{
		{"of another run", `{"host":"compute-1","method":"m","run":"run-1","time":"` + now + `"}`, "kv.put, provides:fence_proof", `fence_proof is of run "run-1", not of this run`},
		{"of another host", `{"host":"compute-2","method":"m","run":"run-1","time":"` + now + `"}`, "kv.put, provides:fence_proof", `fence_proof is of host "compute-2", not of "compute-1"`},
		{"without the grant", `{}`, "kv.put", "provides:fence_proof"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			sim, environ := startCloud(t, demoCloud(t), novasim.Options{})
			p := newPlace(t, map[string]string{
				"tasks/forger.wasm": string(forger(t, tt.proof)),
				"conf": "[taskflow_driver_recovery_flows]\nhost_auto_failure_recovery_tasks = pre:['forger','disable_compute_service_task'],main:['prepare_HA_enabled_instances_task'],post:['evacuate_instances_task']\n" +
					"[host_failure]\nrequire_fence_proof = true\n[grants]\nacme = " + tt.grants + "\n",
			})
			p.environ = environ
			r := recoverFenced(t, p)
			if r.code == exitOK || !strings.Contains(r.stdout+r.stderr, strings.ReplaceAll(tt.want, `"`, `\"`)) && !strings.Contains(r.stdout+r.stderr, tt.want) {
				t.Errorf("exit code %d, want a failure with %s\n%s%s", r.code, tt.want, r.stdout, r.stderr)
			}
			if n := len(evacuated(sim)); n != 0 {
				t.Errorf("%d servers were evacuated", n)
			}
		})
	}
}
