//go:build clients

package clients_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"
)

// registry is Debian's docker-registry with TLS and a login.
type registry struct {
	addr, ca, login string // files
}

func write(t *testing.T, path, text string) string {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func startRegistry(t *testing.T) registry {
	t.Helper()
	dir := t.TempDir()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "registry"}, NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}, &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "registry"}}, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	hash, err := bcrypt.GenerateFromPassword([]byte("open sesame"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	r := registry{addr: freeAddress(t), ca: write(t, filepath.Join(dir, "ca.pem"), string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert})))}
	keyFile := write(t, filepath.Join(dir, "key.pem"), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})))
	users := write(t, filepath.Join(dir, "htpasswd"), "ali:"+string(hash)+"\n")
	conf := write(t, filepath.Join(dir, "registry.yml"), fmt.Sprintf(`version: 0.1
log: {level: warn, accesslog: {disabled: true}}
storage: {filesystem: {rootdirectory: %s}}
http: {addr: %q, tls: {certificate: %s, key: %s}}
auth: {htpasswd: {realm: registry, path: %s}}
`, filepath.Join(dir, "data"), r.addr, r.ca, keyFile, users))
	start(t, os.Environ(), "docker-registry", "serve", conf)
	r.login = write(t, filepath.Join(dir, "login.json"), fmt.Sprintf(`{"auths":{%q:{"auth":%q}}}`, r.addr, base64.StdEncoding.EncodeToString([]byte("ali:open sesame"))))
	until(t, "the registry listens", func() bool {
		c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", r.addr)
		if err == nil {
			err = c.Close()
		}
		return err == nil
	})
	return r
}

// TestRegistry: a module goes to a registry, comes back, and is run from there by
// its digest, by the command line and by the service, which needs the registry
// once.
func TestRegistry(t *testing.T) {
	t.Parallel()
	r, dir := startRegistry(t), t.TempDir()
	tasks, err := filepath.Abs("../../bin/tasks")
	if err != nil {
		t.Fatal(err)
	}
	module := filepath.Join(tasks, "my_noop_task.wasm")
	environ := append(os.Environ(), "HOME="+dir, "XDG_CACHE_HOME="+filepath.Join(dir, "cache"))
	wasakari := func(want int, args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), program(t), args...)
		cmd.Env = environ
		out, err := cmd.CombinedOutput()
		if cmd.ProcessState.ExitCode() != want {
			t.Fatalf("wasakari %s: %v\n%s", strings.Join(args, " "), err, out)
		}
		return string(out)
	}
	to := "oci://" + r.addr + "/acme/noop:0.1.0"

	if out := wasakari(1, "task", "push", module, to, "--ca-file", r.ca); !strings.Contains(out, "forbidden") || !strings.Contains(out, "log in") {
		t.Errorf("without a login: %s", out)
	}
	if out := wasakari(1, "task", "push", module, to, "--credentials", r.login); !strings.Contains(out, "certificate") {
		t.Errorf("without the CA: %s", out)
	}
	out := wasakari(0, "task", "push", module, to, "--ca-file", r.ca, "--credentials", r.login)
	ref := regexp.MustCompile(`modules = (oci://\S+@sha256:[0-9a-f]{64})`).FindStringSubmatch(out)
	if ref == nil {
		t.Fatalf("push: %s", out)
	}
	for i, from := range []string{to, ref[1]} {
		file := filepath.Join(dir, fmt.Sprintf("back-%d.wasm", i))
		wasakari(0, "task", "pull", from, "--ca-file", r.ca, "--credentials", r.login, "--file", file)
		was, err := os.ReadFile(module)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(file); err != nil || string(got) != string(was) {
			t.Errorf("pull %s: %d bytes, %v, want the %d that were pushed", from, len(got), err, len(was))
		}
	}
	if out := wasakari(1, "task", "pull", to+"x", "--ca-file", r.ca, "--credentials", r.login); !strings.Contains(out, "not found") {
		t.Errorf("a tag that is not there: %s", out)
	}

	conf := func(ca string) string {
		return write(t, filepath.Join(dir, "conf"), fmt.Sprintf(`[taskflow_driver_recovery_flows]
instance_failure_recovery_tasks = pre:['my_noop_task'],main:[],post:[]
[wasakari]
modules = %s
[registries]
ca_file = %s
credentials_file = %s
`, ref[1], ca, r.login))
	}
	run := []string{"run", "instance", "--config-file", conf(r.ca), "--simulate", "--input", "instance_uuid=none"}
	if out := wasakari(0, run...); !strings.Contains(out, "my_noop_task: succeeded") {
		t.Errorf("run: %s", out)
	}
	// From now on it is in the cache folder: a registry that cannot be reached
	// keeps nobody from starting.
	write(t, r.login, `{}`)
	serve := func() (addr string) {
		addr = freeAddress(t)
		start(t, environ, program(t), "serve", "--simulate", "--config-file", conf(r.ca), "--listen", addr)
		until(t, "the service is ready", func() bool {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+addr+"/readyz", nil)
			if err != nil {
				t.Fatal(err)
			}
			resp, err := http.DefaultClient.Do(req)
			if err == nil {
				err = resp.Body.Close()
			}
			return err == nil && resp.StatusCode == http.StatusOK
		})
		return addr
	}
	addr := serve()
	if out := wasakari(0, "flow", "show", "--server", "http://"+addr); !strings.Contains(out, "my_noop_task") {
		t.Errorf("flow show: %s", out)
	}
	wasakari(0, "flow", "check", "--server", "http://"+addr)

	// A module that cannot be fetched keeps only the flow from running that needs it.
	ref[1] = ref[1][:len(ref[1])-64] + strings.Repeat("0", 64)
	wasakari(2, run[0], run[1], run[2], conf(r.ca), run[4], run[5], run[6])
	if out := wasakari(2, "flow", "check", "--server", "http://"+serve()); !strings.Contains(out, "my_noop_task") || strings.Contains(out, "host-auto") {
		t.Errorf("flow check: %s", out)
	}
}
