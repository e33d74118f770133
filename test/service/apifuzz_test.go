//go:build apifuzz

package service_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

var (
	schemathesis = flag.String("schemathesis", "../../.bin/schemathesis/bin/schemathesis", "the program")
	seed         = flag.Int("seed", 20261123, "what schemathesis draws its requests from")
	examples     = flag.Int("examples", 70, "how many requests are drawn for one operation, at most")
	least        = flag.Int("least", 5000, "how many requests there must be, at least")
)

// TestAPIFuzz sends random requests, right and wrong ones, of every operation
// of the OpenAPI document that is served. None may be answered with a 5xx, with a
// status or media type that the document does not name, or with a body that does
// not fit it.
func TestAPIFuzz(t *testing.T) {
	hosts := names(40)
	var scenario strings.Builder
	scenario.WriteString("seed: 1\nhosts:\n")
	for i, h := range hosts {
		fmt.Fprintf(&scenario, "  - {name: %s, disabled: %t}\n", h, i%4 == 3)
	}
	scenario.WriteString("servers:\n  - {count: 4, name: web, host: compute-1}\n")
	total := 0
	for name, open := range map[string]func(t *testing.T) *service{
		"simulated": func(t *testing.T) *service {
			file := filepath.Join(t.TempDir(), "cloud.yaml")
			if err := os.WriteFile(file, []byte(scenario.String()), 0o600); err != nil {
				t.Fatal(err)
			}
			return serve(t, "--simulate", "--scenario", file)
		},
		"keystone": func(t *testing.T) *service {
			c, keystone := cloud(t, scenario.String())
			s := serve(t, "--config-file", config(t, c, keystone, ""))
			s.token = token(t, c, keystone)
			for i := range 10 {
				s.segment(t, fmt.Sprintf("segment-%d", i), hosts[3*i:3*i+3]...)
			}
			return s
		},
	} {
		t.Run(name, func(t *testing.T) { total += fuzz(t, open(t), hosts) })
	}
	t.Logf("%d requests of seed %d", total, *seed)
	if total < *least {
		t.Errorf("%d requests, want at least %d", total, *least)
	}
}

// checks are what is held against each answer.
const checks = "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,response_schema_conformance"

// fuzz runs schemathesis, and gives the number of requests.
func fuzz(t *testing.T, s *service, hosts []string) int {
	t.Helper()
	dir := t.TempDir()
	document, report := filepath.Join(dir, "openapi.json"), filepath.Join(dir, "report.json")
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.url+"/wasakari/v1/openapi.json", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close() //nolint:errcheck // read only
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(document, text, 0o600); err != nil {
		t.Fatal(err)
	}
	program, err := filepath.Abs(*schemathesis)
	if err != nil {
		t.Fatal(err)
	}
	data, err := filepath.Abs("testdata")
	if err != nil {
		t.Fatal(err)
	}
	// Streams have no end: they have tests of their own.
	args := []string{
		"run", document, "--url", s.url, "--seed", strconv.Itoa(*seed), "--max-examples", strconv.Itoa(*examples), "--checks", checks,
		"--exclude-path-regex", "/(events|watch)$", "--request-timeout", "60", "--generation-database", "none", "--continue-on-failure",
		"--no-color", "--warnings", "off", "--suppress-health-check", "all", "--report", "json", "--report-json-path", report,
	}
	if s.token != "" {
		args = append(args, "--header", "X-Auth-Token: "+s.token)
	}
	cmd := exec.CommandContext(t.Context(), program, args...)
	cmd.Dir = dir
	cmd.Env = []string{
		"PATH=/usr/bin:/bin", "HOME=" + dir, "LC_ALL=C.UTF-8", "PYTHONHASHSEED=0", "SCHEMATHESIS_HOOKS=" + filepath.Join(data, "hooks.py"),
		"WASAKARI_URL=" + s.url, "WASAKARI_TOKEN=" + s.token, "WASAKARI_HOSTS=" + strings.Join(hosts, ","), "WASAKARI_MODULE=" + filepath.Join(data, "module.wasm"),
	}
	out, failed := cmd.CombinedOutput()
	text, err = os.ReadFile(report)
	if err != nil {
		t.Fatalf("%v: %v\n%s", failed, err, out)
	}
	var doc struct {
		Complete  bool
		TestCases struct{ Generated int }                                                        `json:"test_cases"`
		Rates     map[string]map[string]struct{ Accepted, Unreachable, Conflicts, Rejected int } `json:"valid_rates"`
	}
	if err := json.Unmarshal(text, &doc); err != nil {
		t.Fatal(err)
	}
	accepted := 0
	for _, phases := range doc.Rates {
		for _, n := range phases {
			accepted += n.Accepted
		}
	}
	t.Logf("%d requests; of the well-formed ones %d were accepted", doc.TestCases.Generated, accepted)
	if failed != nil || !doc.Complete {
		t.Errorf("schemathesis: %v\n%s", failed, out)
	}
	if strings.Contains(s.out.String(), "request panicked") {
		t.Error("a request panicked")
	}
	return doc.TestCases.Generated
}
